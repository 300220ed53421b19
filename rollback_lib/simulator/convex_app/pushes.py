"""A revision as the official command line pushes it, recorded once and kept.

- Modules and schema are made by the `convex` of the revision's own lockfile; there is no second bundler.
- A recording is named by the files that the push is made of, the command line's version and Node's, and appears
  whole or not at all. What was recorded needs neither Node nor a network.
- Revisions that differ in their pages alone share a recording.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rollback_lib.node import installed, laid_out, node_binary, node_version
from rollback_lib.simulator.convex_app.recorder import ADMIN_KEY, Recorder
from rollback_lib.simulator.convex_app.revisions import files

__all__ = ["FUNCTIONS", "RecordedPush", "cli_version", "on_this_machine", "prepared", "write_files"]

FUNCTIONS = "convex/"
_LOCKFILE = "package-lock.json"
_LONGEST_S = 180.0
_FORM = 1  # of a recording; another number makes all of them anew
_OWN_TO_A_PUSH = ("adminKey", "dryRun", "forCodegen")
_UNPACK = "process.stdin.pipe(require('zlib').createBrotliDecompress()).pipe(process.stdout)"


@dataclass(frozen=True)
class RecordedPush:
    """What the command line sends to the deployment in a push, but for the key and whether it is a dry run."""

    cli_version: str
    request: Mapping[str, Any]  # the StartPushRequest

    @property
    def definition(self) -> Mapping[str, Any]:
        """The app itself: `changedModules` (all of them), `schema`, `definition`, ..."""
        found: Mapping[str, Any] = self.request["appDefinition"]
        return found


def prepared(role: str, cache: Path) -> RecordedPush:
    """Give a revision as it is pushed; the first time, install its lockfile and let its command line push it.

    Args:
        role: The revision (`revisions.REVISIONS`).
        cache: Where recordings and installations are kept (`node.cache_folder`).

    Raises:
        KeyError: No revision has that role.
        RuntimeError: The command line did not push it.
        Unreachable: It was never installed here, and npm gets no packages.
    """
    app = files(role)
    version = cli_version(app)
    kept = cache / "pushes" / f"{_digest(app)}-convex{version}-node{node_version()}-{_FORM}.json"
    try:
        request = json.loads(kept.read_bytes())
    except (FileNotFoundError, ValueError):
        request = _record(app, cache)
        _keep(kept, request)
    return RecordedPush(version, request)


def cli_version(app: Mapping[str, bytes]) -> str:
    """Tell which command line a revision's lockfile pins."""
    return str(json.loads(app[_LOCKFILE])["packages"]["node_modules/convex"]["version"])


def on_this_machine(address: str) -> dict[str, str]:
    """Give the variables that keep the command line from asking its maker for news and from sending traces there."""
    return dict.fromkeys(("CONVEX_PROVISION_HOST", "CONVEX_VERSION_API_ORIGIN"), address)


def write_files(app: Mapping[str, bytes], folder: Path) -> None:
    """Write a revision's files into a folder."""
    for path, data in app.items():
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(data)


def _digest(app: Mapping[str, bytes]) -> str:
    """Name what a push is made of."""
    digest = hashlib.sha256()
    for path, data in sorted(app.items()):
        if path.startswith(FUNCTIONS) or path in ("package.json", _LOCKFILE):
            digest.update(f"{path}\0{len(data)}\0".encode() + data)
    return digest.hexdigest()


def _record(app: Mapping[str, bytes], cache: Path) -> dict[str, Any]:
    with tempfile.TemporaryDirectory(prefix="push-") as scratch, Recorder.serving() as recorder:
        folder = Path(scratch) / "app"
        write_files(app, folder)
        packages = laid_out(installed(folder, cache), folder)
        script = packages / "convex" / "bin" / "main.js"
        target = ("--url", recorder.address, "--admin-key", ADMIN_KEY)
        done = subprocess.run(  # noqa: S603 - our own Node and the pinned command line
            [str(node_binary()), str(script), "deploy", *target, "--typecheck", "disable"],
            cwd=folder,
            env=_environment(scratch, recorder.address),
            capture_output=True,
            text=True,
            errors="replace",
            stdin=subprocess.DEVNULL,
            timeout=_LONGEST_S,
            check=False,
        )
        if done.returncode != 0 or not recorder.pushed:
            raise RuntimeError(f"the command line did not push the app: {done.stdout}{done.stderr}")
        request: dict[str, Any] = json.loads(_unpacked(recorder.pushed))
    return {name: value for name, value in request.items() if name not in _OWN_TO_A_PUSH}


def _environment(scratch: str, address: str) -> dict[str, str]:
    own = {"PATH": str(node_binary().parent), "HOME": scratch, "TMPDIR": scratch, "NO_COLOR": "1"}
    return {**own, **on_this_machine(address)}


def _unpacked(body: bytes) -> bytes:
    command = [str(node_binary()), "-e", _UNPACK]
    return subprocess.run(command, input=body, capture_output=True, check=True, timeout=_LONGEST_S).stdout  # noqa: S603 - as above


def _keep(kept: Path, request: Mapping[str, Any]) -> None:
    kept.parent.mkdir(parents=True, exist_ok=True)
    descriptor, making = tempfile.mkstemp(prefix=".making-", dir=kept.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        json.dump(request, file)
    Path(making).replace(kept)
