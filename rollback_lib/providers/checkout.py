"""One commit in a folder of its own, from which code is pushed.

- The folder is a repository that borrows another's objects: nothing is written to the other one.
- It is made beside its place and renamed into it, so that a crash leaves no half of it.
- Only what was made here is removed here; no link of the commit is followed to the place of its packages.
- Whether it still is the commit can be asked: what is pushed is what was reviewed.
"""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path

from rollback_lib.errors import BadParameters, PlanViolation
from rollback_lib.node import laid_out
from rollback_lib.providers.git import Git

__all__ = ["Checkout", "make_checkout"]

_MARK = Path(".git", "rollback-checkout")
_MAKING = ".making-"
_UNTOUCHED = "Nothing was sent."


@dataclass(frozen=True)
class Checkout:
    """A commit in its folder."""

    folder: Path
    sha: str
    program: str = "git"

    def furnish(self, packages: Path, project: str = "") -> None:
        """Put the installed packages where the project looks for them, in place of others.

        Args:
            packages: A folder `node_modules` (`node.installed`); nothing in it may be changed.
            project: Where package.json is, below the checkout's folder.

        Raises:
            BadParameters: A link of the commit leads elsewhere. Nothing was changed there.
        """
        self.require_own_place(project)
        place = self.folder / project / "node_modules"
        if place != packages:  # which may have been installed right there
            if place.exists():
                shutil.rmtree(place)
            laid_out(packages, place.parent)

    def require_own_place(self, project: str = "") -> None:
        """Refuse a commit whose packages would lie elsewhere: what runs with the deploy key is the lockfile's alone.

        Args:
            project: Where package.json is, below the checkout's folder.

        Raises:
            BadParameters: The place of its packages, or a folder above it, is a link of the commit.
        """
        below = Path(project) / "node_modules"
        for part in (below, *below.parents[:-1]):
            if (self.folder / part).is_symlink():
                raise BadParameters(
                    f"Commit {self.sha[:12]} has a link at {part}, where its own packages have to lie.",
                    _UNTOUCHED,
                    "Take a revision without that link in the parameter commit, or roll forward with a fix.",
                )

    def changed(self) -> tuple[str, ...]:
        """List the files that are not as the commit has them; `node_modules` and generated code do not count."""
        git = Git(self.folder, self.program)
        head = git.out("rev-parse", "HEAD").strip()
        if head != self.sha:
            return (f"HEAD ({head[:12]})",)
        listed = git.out("status", "--porcelain=v1", "-z", "--no-renames", "--untracked-files=all")
        paths = [entry[3:] for entry in listed.split("\0") if entry]
        return tuple(sorted(path for path in paths if "_generated" not in path.split("/")))

    def require_unchanged(self) -> None:
        """Refuse if the folder is not the commit any more.

        Raises:
            PlanViolation: It is not. Nothing was sent.
        """
        changed = self.changed()
        if changed:
            raise PlanViolation(
                f"{self.folder} is not commit {self.sha[:12]} any more: {', '.join(changed[:5])}.",
                _UNTOUCHED,
                "Nobody should work in that folder. Run the cell that made it again: it is made anew.",
            )

    def remove(self) -> None:
        """Remove the folder; gone already is as good."""
        _remove(self.folder)


def make_checkout(objects: Path, sha: str, into: Path, program: str = "git") -> Checkout:
    """Put a commit into a folder.

    Args:
        objects: Where the commit is kept: the folder `objects` of a repository.
        sha: All 40 digits.
        into: The folder to make; what was made there before is replaced.
        program: The git command.

    Raises:
        BadParameters: Something else stands there, or it cannot be made.
        Unreachable: git failed.
    """
    into = into.absolute()
    try:
        into.parent.mkdir(parents=True, exist_ok=True)
        for half in into.parent.glob(f"{_MAKING}{into.name}-*"):
            shutil.rmtree(half, ignore_errors=True)  # of a run that was cut off
        _remove(into)
        making = Path(tempfile.mkdtemp(prefix=f"{_MAKING}{into.name}-", dir=into.parent))
    except OSError as exc:
        raise BadParameters(
            f"{into} cannot be made: {exc.strerror}.", _UNTOUCHED, "Make room there, or name another folder."
        ) from exc
    try:
        _fill(making, objects, sha, program)
        making.rename(into)
    except BaseException:
        shutil.rmtree(making, ignore_errors=True)
        raise
    return Checkout(into, sha, program)


def _fill(folder: Path, objects: Path, sha: str, program: str) -> None:
    git = Git(folder, program)
    git.out("init", "--quiet", "--template=", ".")
    own = folder / ".git"
    (own / "objects" / "info").mkdir(parents=True, exist_ok=True)
    (own / "objects" / "info" / "alternates").write_text(f"{objects}\n", encoding="utf-8")
    (own / "info").mkdir(exist_ok=True)
    (own / "info" / "exclude").write_text("node_modules\n", encoding="utf-8")
    git.out("checkout", "--quiet", "--detach", sha)
    (folder / _MARK).touch()


def _remove(folder: Path) -> None:
    if not folder.exists():
        return
    if not (folder / _MARK).is_file():
        raise BadParameters(
            f"{folder} is there already and was not made by these runbooks.",
            _UNTOUCHED,
            "Move it away, or name another folder.",
        )
    gone = folder.with_name(f"{_MAKING}{folder.name}-removed")
    shutil.rmtree(gone, ignore_errors=True)
    folder.rename(gone)  # at once, so that no half of it keeps its name
    shutil.rmtree(gone, ignore_errors=True)
