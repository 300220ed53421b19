"""`make torture`: every crash point, bad day, forgery and mutant, within a time, going on where the last one stopped.

- A test that has passed with the very sources that it depends on is not run again; one that has failed is.
- The page about it is written at the end, whatever came of it; `--page` writes it from what there is and runs nothing.
- It ends with 0 only if everything there is was tried and has passed.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import time
from pathlib import Path

HERE = Path(__file__).resolve().parent
sys.path[:0] = [str(HERE), str(HERE.parent)]  # as pytest has it

from enumerated import POINTS_VARIABLE, loaded_by_procedure, write_points  # noqa: E402
from reliability import PAGE, Facts, Group, groups_of, page  # noqa: E402 - the path comes first
from repository import ROOT  # noqa: E402
from results import Trees, read_earlier, read_results  # noqa: E402

FOLDER = ROOT / ".torture"
RESULTS = FOLDER / "results.jsonl"
EVERYTHING = ("-m", "torture or not torture")


def main() -> int:
    """Torture, then write the page."""
    asked = argparse.ArgumentParser(description=__doc__)
    asked.add_argument("--minutes", type=float, default=30.0, help="begin no test after that time")
    asked.add_argument("--workers", type=int, default=2, help="tests at the same time")
    asked.add_argument("--page", action="store_true", help="run nothing, write the page from what was found")
    given = asked.parse_args()
    FOLDER.mkdir(exist_ok=True)
    points = FOLDER / f"points-{Trees.of_here({}).everything}.json"
    if not given.page:
        until = time.time() + given.minutes * 60
        if not points.exists():
            tell("Running once without faults, to learn which points there are ...")
            write_points(points)
        torture(points, until, given.workers)
    trees = Trees.of_here(loaded_by_procedure(points))
    results, earlier = read_results(RESULTS, trees), read_earlier(RESULTS, trees)
    if not results and not earlier:
        tell(f"Nothing was tried yet; {PAGE.relative_to(ROOT)} is as it was. First: make torture")
        return 1
    groups = groups_of(every_test(points), results, earlier)
    PAGE.write_text(page(groups, Facts.of_here(trees)), encoding="utf-8")
    tell(f"Written: {PAGE.relative_to(ROOT)}")
    return report(groups)


def torture(points: Path, until: float, workers: int) -> None:
    """Run what is left: first what is quick, then the crash points."""
    trees = Trees.of_here(loaded_by_procedure(points)).to_json()
    environment = {"TORTURE_RESULTS": str(RESULTS), "TORTURE_TREES": trees, "TORTURE_UNTIL": str(until)}
    quick = [str(path) for path in sorted(HERE.glob("test_*.py")) if path.name != "test_crash_points.py"]
    for files in (quick, [str(HERE / "test_crash_points.py")]):
        words = ("-n", str(workers), "-p", "recording", "-p", "no:cacheprovider", "--tb=short")
        call_pytest(*EVERYTHING, *words, *files, environment=environment, points=points)


def every_test(points: Path) -> list[str]:
    """List the names of all tests that there are."""
    done = call_pytest(*EVERYTHING, "--collect-only", str(HERE), points=points, capture=True)
    found = [line for line in done.stdout.splitlines() if "::" in line]
    if done.returncode != 0 or not found:
        raise SystemExit(f"The tests cannot be listed:\n{done.stdout}{done.stderr}")
    return found


def call_pytest(
    *words: str, points: Path, environment: dict[str, str] | None = None, capture: bool = False
) -> subprocess.CompletedProcess[str]:
    """Run pytest in a process of its own."""
    path = os.pathsep.join(
        [str(HERE), str(HERE.parent), str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])]
    )
    known = {POINTS_VARIABLE: str(points)} if points.exists() else {}
    return subprocess.run(
        [sys.executable, "-m", "pytest", *words],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": path, **known, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=capture,
        text=True,
        check=False,
    )


def report(groups: list[Group]) -> int:
    """Say what failed and what was not tried; return the exit code."""
    failed = [result for group in groups for result in group.failed]
    left = sum(len(group.left) for group in groups)
    for result in failed:
        tell(f"FAILED {result.test}\n{result.why}\n")
    if left:
        tell(f"{left} not tried yet: run it again, it goes on where it stopped.")
    tell("Everything was tried and has passed." if not failed and not left else f"{len(failed)} failed.")
    return 1 if failed or left else 0


def tell(text: str) -> None:
    """Print at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(main())
