"""Whether two commits push the same backend code, as far as their files tell it without bundling them.

- The bundler takes in whatever the functions import: files outside their folder, packages, and by settings of its own.
- The same means that nothing differs which could be taken in. In doubt two commits differ: what they really push is
  compared by the dry run.
- Where an import leaves the functions' folder, or may, the whole tree is compared but for what is plainly no code.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, field

from rollback_lib.providers.repository import Repository

__all__ = ["BackendCode"]

# By which a folder says how code below it is bundled, and with which packages.
_SETTINGS = (
    *("package.json", "package-lock.json", "npm-shrinkwrap.json", "yarn.lock", "pnpm-lock.yaml", "bun.lock"),
    *("bun.lockb", "pnpm-workspace.yaml", ".npmrc", "convex.json", "tsconfig*.json", "jsconfig.json"),
)
_NO_CODE = (  # by the ending of a name: the bundler makes no code of these
    *("md", "mdx", "rst", "pdf", "css", "scss", "sass", "less", "woff", "woff2", "ttf", "otf"),
    *("png", "jpg", "jpeg", "gif", "svg", "ico", "webp", "avif", "mp3", "mp4", "webm"),
)
_QUOTED = r"""["'`]([^"'`\n]+)["'`]"""
_RELATIVE = re.compile(r"""["'`](\.\.?(?:/[^"'`\n]*)?)["'`]""")
_IMPORTED = re.compile(rf"\b(?:from|import|require)\s*\(?\s*{_QUOTED}")
_BY_NODE = re.compile(
    r"node:.+|(?:assert|async_hooks|buffer|crypto|dns|events|fs|http|https|http2|net|os|path|perf_hooks|process|punycode"
    r"|querystring|stream|string_decoder|timers|tls|tty|url|util|v8|vm|worker_threads|zlib|child_process)(?:/.+)?"
)
_ELSEWHERE = re.compile(r"workspace:|file:|link:|portal:|\.|/|~")  # in the place of a package's version


@dataclass
class BackendCode:
    """Compares commits of one repository."""

    repository: Repository
    _outside: dict[str, str] = field(default_factory=dict)

    def same(self, one: str, other: str) -> bool:
        """Say whether nothing differs between two commits that their functions could take in.

        Raises:
            BadParameters: No git, no repository, or one of them is not in the clone.
            Unreachable: git failed.
        """
        if one == other:
            return True
        folder = self.repository.functions_folder
        if self.repository.differ(one, other, f":(top,literal){folder}", *self._settings()):
            return False
        return not self.outside(one) or not self.repository.differ(one, other, *_all_code())

    def outside(self, sha: str) -> str:
        """Name an import that leaves the functions' folder, or may: `convex/users.ts: ../src/lib/x`; empty: none does.

        Raises:
            BadParameters: No git, no repository, or no such commit.
        """
        if sha not in self._outside:
            self._outside[sha] = next(self._leaving(sha), "")
        return self._outside[sha]

    def _leaving(self, sha: str) -> Iterator[str]:
        folder, linked = self.repository.functions_folder, self.repository.linked(sha)
        yield from (f"{path}: it is a link" for path in linked)
        known, told = self._packages(sha), self._paths(sha)
        for path, text in self._sources(sha):
            inside = posixpath.dirname(path)
            for found in _RELATIVE.findall(text):
                if not f"{posixpath.normpath(posixpath.join(inside, found))}/".startswith(folder):
                    yield f"{path}: {found}"
            for found in _IMPORTED.findall(text):
                if not found.startswith(".") and not _is_package(found, known, told):
                    yield f"{path}: {found}"

    def _sources(self, sha: str) -> Iterator[tuple[str, str]]:
        lines: dict[str, list[str]] = defaultdict(list)
        for path, line in self.repository.lines(sha, f":(top,literal){self.repository.functions_folder}"):
            lines[path].append(line)
        return ((path, "\n".join(text)) for path, text in lines.items())

    def _packages(self, sha: str) -> frozenset[str]:
        """Return the packages that come from a registry; none where some may be the repository's own."""
        found: set[str] = {"convex"}
        for folder in self._folders():
            manifest = _object(self.repository.text(sha, f"{folder}package.json"))
            if (
                "workspaces" in manifest
                or self.repository.text(sha, f"{folder}pnpm-workspace.yaml") is not None
            ):
                return frozenset({"convex"})
            for kind in ("dependencies", "devDependencies", "peerDependencies", "optionalDependencies"):
                named = manifest.get(kind)
                for name, version in (named if isinstance(named, dict) else {}).items():
                    if isinstance(version, str) and _ELSEWHERE.match(version) is None:
                        found.add(name)
        return frozenset(found)

    def _paths(self, sha: str) -> str:
        """Return the settings that may lead an import elsewhere, as text."""
        names = [
            f"{folder}{name}" for folder in self._folders() for name in ("tsconfig.json", "jsconfig.json")
        ]
        names.append(f"{self.repository.functions_folder}tsconfig.json")
        texts = (self.repository.text(sha, name) or "" for name in names)
        return "\n".join(text for text in texts if '"paths"' in text)

    def _folders(self) -> tuple[str, ...]:
        """List the folders above the functions', the root first, each with its slash; the root is empty."""
        parts = self.repository.project_folder.split("/") if self.repository.project_folder else []
        return tuple("".join(f"{part}/" for part in parts[:depth]) for depth in range(len(parts) + 1))

    def _settings(self) -> tuple[str, ...]:
        return tuple(f":(top,glob){folder}{name}" for folder in self._folders() for name in _SETTINGS)


def _is_package(name: str, known: frozenset[str], paths: str) -> bool:
    """Say whether an import is of a package of a registry, or of Node itself; an alias of the project's is not."""
    package = "/".join(name.split("/")[: 2 if name.startswith("@") else 1])
    if f'"{package}' in paths:
        return False
    return package in known or _BY_NODE.fullmatch(name) is not None


def _all_code() -> tuple[str, ...]:
    return (":(top)", *(f":(top,exclude,icase,glob)**/*.{ending}" for ending in _NO_CODE))


def _object(text: str | None) -> dict[str, object]:
    try:
        value = json.loads(text or "")
    except ValueError:
        return {}
    return value if isinstance(value, dict) else {}
