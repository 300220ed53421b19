"""`python -m rollback_lib.cli`: the same as `rollback`."""

from rollback_lib.cli import main

__all__ = ["main"]

if __name__ == "__main__":
    main()
