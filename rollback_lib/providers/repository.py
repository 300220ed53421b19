"""The app's repository: which commits there are, what they hold, and one of them in a folder of its own.

- The clone that a person works in is read only: it is never fetched into, checked out, or given a worktree.
- A commit in a folder of its own is a small repository there, which borrows the clone's objects. It appears whole or not
  at all, and is removed by removing its folder, also after a crash.
- A commit is named by all of its 40 digits once it is found; a short name must mean exactly one.
- What is not in the clone is said to be so: a shallow clone, or one that was not fetched, lacks commits.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rollback_lib.errors import BadParameters
from rollback_lib.http.reply import readable
from rollback_lib.providers.checkout import Checkout, make_checkout
from rollback_lib.providers.git import Git
from rollback_lib.providers.push_words import is_of_revert, named_digits

__all__ = ["Change", "Commit", "CommitFiles", "Repository", "RepositoryState"]

MOST_COMMITS = 500
MOST_NAMED = 200  # dirty paths that are named
PATCH_LIMIT = 20_000  # characters
_UNTOUCHED = "Nothing was sent, and the repository was not changed."
_FIELD, _RECORD = "\x1f", "\x1e"
_FORMAT = f"--format={_RECORD}%H{_FIELD}%P{_FIELD}%an{_FIELD}%at{_FIELD}%ct{_FIELD}%B"
_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._/-]*")
_SCRIPT = re.compile(r"\b(?:npm run|pnpm run|pnpm|yarn run|yarn|bun run)\s+([\w:.-]+)")
# Whatever the clone's own settings say.
_PLAIN = ("--no-ext-diff", "--no-textconv", "--no-renames", "--no-relative", "--ignore-submodules=none")
_STATUS = {"A": "added", "D": "removed", "M": "changed", "T": "changed"}


@dataclass(frozen=True)
class RepositoryState:
    """What a clone is like, as far as it limits what can be found in it."""

    folder: Path
    head: str  # the commit that is checked out; empty: none yet
    branch: str  # empty: none is checked out
    shallow: bool  # older commits are missing
    dirty: tuple[str, ...]  # files that differ from head: they may be live and are in no commit


@dataclass(frozen=True)
class Commit:
    """One commit."""

    sha: str
    parents: tuple[str, ...]
    author: str
    authored_at: datetime
    committed_at: datetime  # when it got its place: a rebase or a merge moves it
    message: str

    @property
    def subject(self) -> str:
        """Return the first line of its message."""
        return self.message.partition("\n")[0]

    @property
    def short(self) -> str:
        """Return the digits by which people tell commits apart."""
        return self.sha[:12]


@dataclass(frozen=True)
class Change:
    """How a file differs between two commits."""

    path: str
    what: str  # added, removed, changed
    added: int | None  # lines; None: no text
    removed: int | None


@dataclass(frozen=True)
class CommitFiles:
    """What a commit says about how it is built."""

    lockfile_sha256: str  # empty: it has none of npm's
    convex_version: str  # of its lockfile; empty: not named there
    build_command: str  # Vercel's: of vercel.json, else of package.json; empty: neither says
    build_steps: tuple[str, ...] = ()  # it, and the scripts of package.json that it runs

    @property
    def build_pushes(self) -> bool:
        """Say whether each build on Vercel pushes the backend too."""
        return any("convex deploy" in step for step in self.build_steps)


class Repository:
    """Reads one clone.

    Args:
        folder: A folder in the clone.
        functions_folder: Of the backend, below the repository's root: `convex/`.
        program: The git command.
    """

    def __init__(self, folder: Path, functions_folder: str = "convex/", program: str = "git") -> None:
        self.folder, self.functions_folder = folder, functions_folder
        self._git = Git(folder, program)

    def __repr__(self) -> str:
        return f"Repository({str(self.folder)!r})"

    @property
    def project_folder(self) -> str:
        """Return where the app's package.json is, below the root; empty: at the root."""
        return "/".join(self.functions_folder.rstrip("/").split("/")[:-1])

    def state(self) -> RepositoryState:
        """Read what the clone is like.

        Raises:
            BadParameters: No git, or no repository.
            Unreachable: git failed.
        """
        root = Path(self._git.out("rev-parse", "--show-toplevel").strip())
        head = self._git.run("rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        branch = self._git.run("symbolic-ref", "--quiet", "--short", "HEAD")
        listed = Git(root, self._git.program).out("status", "--porcelain=v1", "-z", "--no-renames")
        dirty = [entry[3:] for entry in listed.split("\0") if entry]
        return RepositoryState(
            folder=root,
            head=head.text.strip() if head.ok else "",
            branch=branch.text.strip() if branch.ok else "",
            shallow=self._shallow(),
            dirty=tuple(sorted(dirty)[:MOST_NAMED]),
        )

    def commit(self, name: str) -> Commit:
        """Find a commit by its full or short sha, or by a branch or tag.

        Raises:
            BadParameters: No git, no repository, no such commit in the clone, or a short sha of several.
            Unreachable: git failed.
        """
        return self._read("-1", "--no-walk", self._resolve(name))[0]

    def mentioned(self, text: str) -> Commit | None:
        """Find the one commit that a text names by its sha, such as the message of a push; None if it names none.

        Digits that are no commit of the clone, or that name several, name none; a branch or tag of digits is no commit's
        sha. What a text says of another commit, such as the one that it reverts, is passed over.

        Raises:
            BadParameters: No git, or no repository.
        """
        found = {sha for sha in map(self._by_digits, named_digits(text)) if sha}
        return self.commit(found.pop()) if len(found) == 1 else None

    def worded(self, text: str) -> Commit | None:
        """Find the one commit of the clone whose subject or whole message a text is; None if there is none, or several.

        Whitespace at the ends does not count. The message of a revert leads to no commit.

        Raises:
            BadParameters: No git, or no repository.
            Unreachable: git failed.
        """
        told = text.strip()
        if not told or "\0" in told or is_of_revert(told):
            return None
        first = told.partition("\n")[0].rstrip()
        likely = self._read("--all", "--fixed-strings", f"--grep={first}")
        found = [one for one in likely if told in (one.subject.strip(), one.message.strip())]
        return found[0] if len(found) == 1 else None

    def history(
        self, branch: str, *, limit: int = MOST_COMMITS, touching: str = "", first_parent: bool = False
    ) -> tuple[Commit, ...]:
        """List the commits of a branch, here and as it was last fetched, newest first.

        Args:
            branch: Its name, such as main.
            limit: Commits at most; there may be more.
            touching: Only those that changed something in this folder.
            first_parent: Only the branch's own line: each merge once, not what it merged.

        Raises:
            BadParameters: No git, no repository, or no such branch.
            Unreachable: git failed.
        """
        tips = self._tips(branch)
        if not tips:
            raise BadParameters(
                f"{self.folder} has no branch {branch}, neither its own nor one that was fetched.",
                _UNTOUCHED,
                "Set convex.branch in the parameters to what production is built from.",
            )
        only = ["--", touching] if touching else []
        line = ["--first-parent"] if first_parent else []
        return self._read(f"-{limit}", *line, *tips, *only)

    def is_ancestor(self, older: str, newer: str) -> bool:
        """Say whether a commit is part of another's history.

        Raises:
            BadParameters: No git, no repository, or one of them is not in the clone.
        """
        return self._git.run("merge-base", "--is-ancestor", self._resolve(older), self._resolve(newer)).ok

    def text(self, sha: str, path: str) -> str | None:
        """Read a file of a commit; None if it has none by that name.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        said = self._git.run("cat-file", "blob", f"{self._resolve(sha)}:{path}")
        return said.text if said.ok else None

    def files(self, sha: str) -> CommitFiles:
        """Read what a commit says about how it is built.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        full = self._resolve(sha)
        lockfile = self.text(full, self._path("package-lock.json"))
        packages = _object(_object(lockfile).get("packages"))
        version = _object(packages.get("node_modules/convex")).get("version")
        digest = hashlib.sha256(lockfile.encode()).hexdigest() if lockfile is not None else ""
        command, scripts = self._build_command(full)
        version = version if isinstance(version, str) else ""
        return CommitFiles(digest, version, command, _steps(command, scripts))

    def variables(self, sha: str) -> tuple[str, ...]:
        """List the environment variables that a commit's functions read by name, sorted; Convex's own are left out.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        found = self._grep(sha, r"process\.env(\.|\[.)[A-Z][A-Z0-9_]*", self._within(self.functions_folder))
        names = {re.split(r"\.|\[.", text)[-1] for text in found}
        return tuple(sorted(name for name in names if not name.startswith("CONVEX_")))

    def named(self, sha: str, functions: Iterable[str]) -> tuple[str, ...]:
        """List which functions a commit's code outside the functions' folder names, sorted.

        Args:
            sha: The commit.
            functions: As `users:list`; the code may name one so, or as `api.users.list`.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        forms = {form: name for name in functions for form in (name, f"api.{re.sub('[:/]', '.', name)}")}
        if not forms:
            return ()
        any_of = "|".join(map(re.escape, sorted(forms, key=len, reverse=True)))
        outside = f":(top,exclude,literal){self.functions_folder}"
        found = self._grep(sha, rf"({any_of})([^A-Za-z0-9_]|$)", ":(top)", outside)
        return tuple(sorted({forms[text] for hit in found for text in re.findall(any_of, hit)}))

    def changes(self, older: str, newer: str, folder: str | None = None) -> tuple[Change, ...]:
        """List how the files of a folder differ between two commits, by path.

        Args:
            older: The commit to come from.
            newer: The commit to go to; for a rollback the older one in time.
            folder: Below the root; the functions' folder if not given, everything if empty.

        Raises:
            BadParameters: No git, no repository, or one of them is not in the clone.
            Unreachable: git failed.
        """
        span = self._span(older, newer, folder)
        names = self._git.out("diff", "--name-status", "-z", *span).split("\0")
        what = {
            path: _STATUS.get(letter[:1], "changed")
            for letter, path in zip(names[::2], names[1::2], strict=False)
        }
        found = []
        for entry in filter(None, self._git.out("diff", "--numstat", "-z", *span).split("\0")):
            added, removed, path = entry.split("\t", 2)
            found.append(Change(path, what.get(path, "changed"), _lines(added), _lines(removed)))
        return tuple(sorted(found, key=lambda change: change.path))

    def differ(self, one: str, other: str, *where: str) -> bool:
        """Say whether any file differs between two commits.

        Args:
            one: A commit.
            other: Another one.
            where: Git's patterns of the files that count.

        Raises:
            BadParameters: No git, no repository, or one of them is not in the clone.
            Unreachable: git failed.
        """
        spoken = ["diff", "--quiet", *_PLAIN]
        said = self._git.run(*spoken, one, other, "--", *where)
        if said.code in (0, 1):
            return not said.ok
        self._git.out(*spoken, self._resolve(one), self._resolve(other), "--", *where)
        return True

    def lines(self, sha: str, where: str) -> tuple[tuple[str, str], ...]:
        """List the lines of a commit's text files, each with its file's path below the root.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        full = self._resolve(sha)
        spoken = ["grep", "-I", "-z", "--full-name", "--no-line-number", "--no-column", "--no-color"]
        said = self._git.run(*spoken, "-e", "", full, "--", where)
        parts = (line.partition("\0") for line in said.text.split("\n") if "\0" in line)
        return tuple((name.removeprefix(f"{full}:"), line) for name, _, line in parts)

    def linked(self, sha: str) -> tuple[str, ...]:
        """List what in the functions' folder is a link or another repository: what it leads to is not compared.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        listed = ["ls-tree", "-r", "-z", "--full-tree", self._resolve(sha), "--", self.functions_folder]
        entries = (entry.partition("\t") for entry in self._git.out(*listed).split("\0"))
        return tuple(path for mode, _, path in entries if mode.startswith(("120000", "160000")))

    def patch(self, older: str, newer: str, path: str) -> str:
        """Return how one file, or a folder, differs, as text of at most 20,000 characters.

        Raises:
            BadParameters: No git, no repository, or one of them is not in the clone.
            Unreachable: git failed.
        """
        text: str = readable(self._git.out("diff", *self._span(older, newer, path)))
        return text if len(text) <= PATCH_LIMIT else text[:PATCH_LIMIT] + "\n[cut]\n"

    def checkout(self, sha: str, into: Path) -> Checkout:
        """Put a commit into a folder of its own; what an earlier run left there is replaced.

        Args:
            sha: The commit.
            into: The folder; its parent is made. The same commit in the same place gives the same bundle.

        Raises:
            BadParameters: No git, no repository, no such commit, or something else stands there.
            Unreachable: git failed.
        """
        full = self._resolve(sha)
        common = Path(self._git.out("rev-parse", "--path-format=absolute", "--git-common-dir").strip())
        return make_checkout(common / "objects", full, into, self._git.program)

    # Below

    def _read(self, *arguments: str) -> tuple[Commit, ...]:
        listed = self._git.out("log", _FORMAT, *arguments)
        return tuple(_commit(record) for record in listed.split(_RECORD) if record.strip())

    def _resolve(self, name: str) -> str:
        known = self._known(name)
        if known:
            return known
        self._git.out("rev-parse", "--git-dir")  # no repository, rather than no commit
        several = (
            len(self._git.run("rev-parse", f"--disambiguate={name}").text.split()) if _is_hex(name) else 0
        )
        if several > 1:
            raise BadParameters(
                f"{name} is the beginning of {several} objects in {self.folder}, expected that of one commit.",
                _UNTOUCHED,
                "Give more of its digits, or all 40.",
            )
        shallow = self._shallow()
        lacks = "a shallow clone, which lacks older commits" if shallow else "as far as it was fetched"
        fetch = f"git -C {self.folder} fetch {'--unshallow' if shallow else '--all'}"
        raise BadParameters(
            f"There is no commit {name!r} in {self.folder} ({lacks}).",
            _UNTOUCHED,
            f"Run `{fetch}`, then this cell again; if it stays so, the commit was never pushed there.",
        )

    def _known(self, name: str) -> str:
        """Return the sha that a name means; empty if it means none, or several."""
        if _NAME.fullmatch(name) is None or ".." in name:
            return ""
        for meant in (name, f"refs/remotes/origin/{name}"):
            said = self._git.run("rev-parse", "--verify", "--quiet", f"{meant}^{{commit}}")
            if said.ok:
                return said.text.strip()
        return ""

    def _by_digits(self, digits: str) -> str:
        """Return the sha of the one commit that begins with these digits; empty if none does, or several do."""
        listed = self._git.run("rev-parse", f"--disambiguate={digits}").text.split()
        commits = [sha for sha in listed if self._known(sha) == sha]  # a tag is known by what it points to
        return commits[0] if len(commits) == 1 else ""

    def _tips(self, branch: str) -> list[str]:
        listed = self._git.out(
            "for-each-ref", "--format=%(refname) %(objectname)", "refs/heads", "refs/remotes"
        )
        named = [line.split(" ", 1) for line in listed.splitlines()]
        local, fetched = f"refs/heads/{branch}", re.compile(rf"refs/remotes/[^/]+/{re.escape(branch)}")
        return [sha for name, sha in named if name == local or fetched.fullmatch(name)]

    def _shallow(self) -> bool:
        return self._git.out("rev-parse", "--is-shallow-repository").strip() == "true"

    def _span(self, older: str, newer: str, folder: str | None) -> list[str]:
        within = self.functions_folder if folder is None else folder
        return [
            *_PLAIN,
            self._resolve(older),
            self._resolve(newer),
            "--",
            *([self._within(within)] if within else []),
        ]

    def _grep(self, sha: str, pattern: str, *where: str) -> list[str]:
        """Return what matches in a commit's text files; nothing where nothing does."""
        said = self._git.run("grep", "-I", "-h", "-o", "-E", pattern, self._resolve(sha), "--", *where)
        return said.text.splitlines()

    @staticmethod
    def _within(folder: str) -> str:
        return f":(top,literal){folder}"

    def _path(self, name: str) -> str:
        return f"{self.project_folder}/{name}" if self.project_folder else name

    def _build_command(self, sha: str) -> tuple[str, dict[str, Any]]:
        """Find what Vercel runs, in the order in which Vercel looks, and all scripts; its dashboard may say otherwise."""
        scripts = _object(_object(self.text(sha, self._path("package.json"))).get("scripts"))
        told = _object(self.text(sha, self._path("vercel.json"))).get("buildCommand")
        named = (told, *(scripts.get(name) for name in ("vercel-build", "build")))
        return next((command for command in named if isinstance(command, str) and command), ""), scripts


def _steps(command: str, scripts: dict[str, Any]) -> tuple[str, ...]:
    """Return a command and the scripts that it runs, one through the other, each once."""
    found: dict[str, None] = {}
    waiting = [command] if command else []
    while waiting:
        one = waiting.pop()
        if one not in found:
            found[one] = None
            named = (scripts.get(name) for name in _SCRIPT.findall(one))
            waiting += [script for script in named if isinstance(script, str)]
    return tuple(found)


def _commit(record: str) -> Commit:
    sha, parents, author, authored, committed, message = record.split(_FIELD, 5)
    return Commit(
        sha=sha.strip(),
        parents=tuple(parents.split()),
        author=str(readable(author)),
        authored_at=datetime.fromtimestamp(int(authored), UTC),
        committed_at=datetime.fromtimestamp(int(committed), UTC),
        message=str(readable(message)).strip(),
    )


def _object(value: Any) -> dict[str, Any]:
    """Return a JSON object, also out of text; anything else as an empty one."""
    if isinstance(value, str):
        try:
            value = json.loads(value)
        except ValueError:
            return {}
    return value if isinstance(value, dict) else {}


def _is_hex(name: str) -> bool:
    return re.fullmatch(r"[0-9a-f]{4,40}", name) is not None


def _lines(text: str) -> int | None:
    return int(text) if text.isdecimal() else None
