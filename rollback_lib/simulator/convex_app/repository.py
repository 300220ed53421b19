"""The app's git repository, made anew with real git: the same commits for the same moment.

- Nothing of the user's enters it: no configuration, hook, template, key or variable.
- Times follow from the moment at which the world began and at which the bad commit went live.
- The working tree is that of `main`, clean.
"""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from rollback_lib.simulator import company
from rollback_lib.simulator.convex_app.revisions import BRANCH, REVISIONS, files

__all__ = ["LIVE_BEFORE_S", "Commit", "History", "build_repository"]

LIVE_BEFORE_S = 1500  # that long before the world begins the bad commit went live, if nothing else is said
_ZONE = "+1100"  # the company's own
_LONGEST_S = 60.0
_PEOPLE = {person.email.partition("@")[0]: person for person in company.PEOPLE}


@dataclass(frozen=True)
class Commit:
    """One commit as it stands in the repository."""

    role: str
    sha: str
    tree: str
    committed_ms: int
    author: str  # name, as in the commit
    message: str
    parents: tuple[str, ...]  # shas
    branch: str  # on which it was made


@dataclass(frozen=True)
class History:
    """The repository and its commits, parents first."""

    folder: Path
    commits: tuple[Commit, ...]

    def commit(self, role: str) -> Commit:
        """Give the commit that plays a part.

        Raises:
            KeyError: None does.
        """
        for commit in self.commits:
            if commit.role == role:
                return commit
        raise KeyError(role)

    def on_main_at(self, at_ms: int) -> Commit | None:
        """Give the newest commit of the main branch that was made by a moment."""
        made = [one for one in self.commits if one.branch == BRANCH and one.committed_ms <= at_ms]
        return max(made, key=lambda one: one.committed_ms, default=None)


def build_repository(folder: Path, began_ms: int, bad_live_ms: int | None = None) -> History:
    """Make the repository in a new or empty folder.

    Args:
        folder: Where; its working tree is that of `main`.
        began_ms: When the world begins.
        bad_live_ms: When the bad commit went live; None: LIVE_BEFORE_S before that.

    Raises:
        FileExistsError: The folder is not empty.
        subprocess.CalledProcessError: git failed.
    """
    folder.mkdir(parents=True, exist_ok=True)
    if any(folder.iterdir()):
        raise FileExistsError(folder)
    live_ms = began_ms - 1000 * LIVE_BEFORE_S if bad_live_ms is None else bad_live_ms
    times = _times(began_ms, live_ms)
    _git(folder, "init", "--quiet", "--template=", f"--initial-branch={BRANCH}")
    _git(folder, "fast-import", "--quiet", "--date-format=raw", send=b"".join(_stream(times)))
    _git(folder, "checkout", "--quiet", "--force", BRANCH)
    return History(folder, tuple(_read(folder, times)))


def _times(began_ms: int, live_ms: int) -> dict[str, int]:
    """Tell when each commit was made; what came after the bad one lies between its going live and the beginning."""
    times = {one.role: live_ms - round(1000 * one.before_live_s) for one in REVISIONS}
    for one in REVISIONS:
        if one.before_live_s < 0:
            after = min(-one.before_live_s, (began_ms - live_ms) / 2000)
            times[one.role] = live_ms + round(1000 * after)
    return times


def _stream(times: dict[str, int]) -> Iterator[bytes]:
    """Write all commits in the language of git fast-import."""
    marks = {one.role: number for number, one in enumerate(REVISIONS, 1)}
    for one in REVISIONS:
        made_s = times[one.role] // 1000
        yield f"commit refs/heads/{one.branch}\nmark :{marks[one.role]}\n".encode()
        yield _who("author", one.author, made_s - round(one.authored_before_s))
        yield _who("committer", one.author, made_s)
        yield _data(one.message.encode() + b"\n")
        for word, parent in zip(("from", "merge"), one.parents, strict=False):
            yield f"{word} :{marks[parent]}\n".encode()
        yield b"deleteall\n"
        for path, content in files(one.role).items():
            yield f"M 100644 inline {path}\n".encode() + _data(content)


def _who(what: str, name: str, at_s: int) -> bytes:
    person = _PEOPLE[name]
    return f"{what} {person.name} <{person.email}> {at_s} {_ZONE}\n".encode()


def _data(content: bytes) -> bytes:
    return b"data %d\n%b\n" % (len(content), content)


def _read(folder: Path, times: dict[str, int]) -> Iterator[Commit]:
    """Find each revision's commit by branch and message, which are its own."""
    listed = _git(folder, "log", "--all", "--format=%H%x00%T%x00%P%x00%an%x00%B%x01").decode()
    rows = [row.strip("\n").split("\0") for row in listed.split("\x01") if row.strip("\n")]
    by_message = {
        message.strip("\n"): (sha, tree, parents, name) for sha, tree, parents, name, message in rows
    }
    for one in REVISIONS:
        sha, tree, parents, name = by_message[one.message]
        at_ms = times[one.role] // 1000 * 1000
        yield Commit(one.role, sha, tree, at_ms, name, one.message, tuple(parents.split()), one.branch)


def _git(folder: Path, *arguments: str, send: bytes = b"") -> bytes:
    own = {
        "PATH": os.environ.get("PATH", os.defpath),
        "HOME": str(folder),
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CEILING_DIRECTORIES": str(folder.parent),
        "LC_ALL": "C",
    }
    command = ["git", "-c", "core.autocrlf=false", "-c", "gc.auto=0", *arguments]
    done = subprocess.run(  # noqa: S603 - git with arguments of our own
        command, cwd=folder, env=own, input=send, capture_output=True, check=True, timeout=_LONGEST_S
    )
    return done.stdout
