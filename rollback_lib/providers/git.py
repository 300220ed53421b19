"""The git command, run so that nobody's settings and no repository's hooks take part.

- The environment is built from nothing: no GIT_* variable, no global or system configuration, no prompt, no pager.
- No hook runs, no file system monitor, no external or textual diff; nothing is fetched, also not by a partial clone.
- A repository is read also if it belongs to somebody else: it is named in the parameters.
- Reading changes nothing in a repository, its index included.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from rollback_lib.errors import BadParameters, Unreachable

__all__ = ["Git", "Said"]

LONGEST_S = 60.0
_UNTOUCHED = "Nothing was sent, and the repository was not changed."
_SETTINGS = (
    ("core.hooksPath", os.devnull),
    ("core.fsmonitor", "false"),
    ("i18n.logOutputEncoding", "UTF-8"),
    ("log.showSignature", "false"),
    ("protocol.allow", "never"),
    ("safe.directory", "*"),
    ("advice.detachedHead", "false"),
)
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C",
}


@dataclass(frozen=True)
class Said:
    """What git said, and whether it did what it was asked."""

    code: int
    out: bytes
    err: str

    @property
    def ok(self) -> bool:
        """Say whether it succeeded."""
        return self.code == 0

    @property
    def text(self) -> str:
        """Return its output as text."""
        return self.out.decode(errors="replace")


@dataclass(frozen=True)
class Git:
    """git in one folder.

    Args:
        folder: Inside the repository.
        program: The command; a name is looked for on the path.
        timeout_s: For each run.
    """

    folder: Path
    program: str = "git"
    timeout_s: float = LONGEST_S

    def run(self, *arguments: str) -> Said:
        """Run it, whatever comes of it.

        Raises:
            BadParameters: There is no git, or no such folder.
            Unreachable: It took too long.
        """
        found = shutil.which(self.program)
        if found is None:
            raise BadParameters(
                f"The command {self.program} is not on this machine.",
                _UNTOUCHED,
                "Install git (apt-get install git, or Xcode's command line tools), then run the cell again.",
            )
        options = [part for name, value in _SETTINGS for part in ("-c", f"{name}={value}")]
        try:
            done = subprocess.run(  # noqa: S603 - a program of our own choice; arguments are no shell's
                [found, "--no-pager", *options, *arguments],
                cwd=self.folder,
                env=_ENVIRONMENT | {"PATH": os.defpath, "HOME": os.devnull},
                stdin=subprocess.DEVNULL,
                capture_output=True,
                timeout=self.timeout_s,
                check=False,
            )
        except subprocess.TimeoutExpired as exc:
            raise Unreachable(
                f"git {arguments[0]} in {self.folder} took longer than {self.timeout_s:g} s.",
                _UNTOUCHED,
                "Run the cell again; if it stays so, look at the disk that the repository is on.",
            ) from exc
        except (FileNotFoundError, NotADirectoryError) as exc:
            raise BadParameters(
                f"{self.folder} is no folder.",
                _UNTOUCHED,
                "Set convex.repository in the parameters to a clone of the app's repository.",
            ) from exc
        return Said(done.returncode, done.stdout, done.stderr.decode(errors="replace").strip())

    def out(self, *arguments: str) -> str:
        """Run it and return its output.

        Raises:
            BadParameters: There is no git, or no repository.
            Unreachable: It failed, or took too long.
        """
        said = self.run(*arguments)
        if said.ok:
            return said.text
        if "not a git repository" in said.err:
            raise BadParameters(
                f"{self.folder} is no git repository.",
                _UNTOUCHED,
                "Set convex.repository in the parameters to a full clone of the app's repository.",
            )
        raise Unreachable(
            f"git {arguments[0]} failed in {self.folder}: {said.err[:300] or f'exit code {said.code}'}.",
            _UNTOUCHED,
            "Look at the repository yourself (git fsck), or name another clone of it in convex.repository.",
        )
