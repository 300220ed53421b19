"""Kills a notebook's kernel, or the process that runs it, at one point: imported by Python itself, from PYTHONPATH.

- The product knows nothing of this: it is wrapped from outside, right after its own import.
- Only a kernel is armed, and only where `CRASH_AT` is set; any other process with this folder on its path is left alone.
- Death is SIGKILL: no handler, no `finally`, nothing is flushed. SIGTERM is only for the victim that is asked to end.

`CRASH_AT` is JSON, with

- the place: a journal line (`event`, `step`, `said`: its name, `nth`), or the beginning of a program (`event`: child,
  `said`: its name);
- `how`: torn, after: at that line. unsent: right before the request that it announces leaves, or the program
  begins. marked: that request only carries a mark, and the world kills. begun: right after the program began; amid: some
  time later. listen: nobody is killed; each program that begins is only written down, and each module of the project
  that this process, the one that runs the notebook, or any of theirs loads;
- `victim`: kernel; run: the process that runs the notebook; both; held: that process, and the kernel is halted; stopped:
  that process is asked to end by SIGTERM; child: the program; pair: kernel and program; all: these two and `run`;
- `pid`: the file in which the kernel leaves its process id. Beside it, with `.struck` behind its name, stands that the
  point was reached; with `.children`, which programs began; with `.modules`, what was loaded.
"""

from __future__ import annotations

import json
import os
import re
import signal
import sys
import threading
import time
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import PathFinder
from pathlib import Path

MARK = "x-crash-here"
HELD_UP_S = 3.0
HALTED_WITHIN_S = 0.1
SIGNALS = {
    "kernel": (("kernel", signal.SIGKILL),),
    "both": (("run", signal.SIGKILL), ("kernel", signal.SIGKILL)),
    "run": (("run", signal.SIGKILL),),
    "held": (("run", signal.SIGKILL), ("kernel", signal.SIGSTOP)),
    "stopped": (("run", signal.SIGTERM),),
    "child": (("child", signal.SIGKILL),),
    "pair": (("child", signal.SIGKILL), ("kernel", signal.SIGKILL)),
    "all": (("run", signal.SIGKILL), ("child", signal.SIGKILL), ("kernel", signal.SIGKILL)),
}
AMID_S = 0.7
DIFFERING = re.compile(", digest|[0-9a-f]{40}")  # as where the places are named


class Armed:
    """The one point at which somebody dies."""

    def __init__(self, given: dict) -> None:
        self.how, self.victim = given["how"], given["victim"]
        self._place = given["event"], given["step"], given["said"]
        self._left = given["nth"]
        self._struck = Path(given["pid"] + ".struck")
        self._children = Path(given["pid"] + ".children")
        self.announced_in: int | None = None  # the thread that has written the line before a request

    def meets(self, raw: bytes) -> bool:
        """Count the line; say whether it is the one."""
        body = json.loads(raw)
        name = DIFFERING.split(str(body["data"].get("name", "")))[0].strip()
        said = name if body["event"].startswith("prepare.") else ""
        here = (body["event"], body["step"], said) == self._place
        self._left -= here
        return here and self._left == 0

    def meets_child(self, name: str) -> bool:
        """Count the program; say whether it is the one."""
        if self.how == "listen":
            with self._children.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")
        here = self._place == ("child", None, name)
        self._left -= here
        return here and self._left == 0

    def die(self, child: int = 0) -> None:
        """Kill the victim; returns only where the kernel is not it."""
        self._struck.touch()
        pids = {"run": os.getppid(), "kernel": os.getpid(), "child": child}
        for who, number in SIGNALS[self.victim]:
            leads = who == "child" and os.getpgid(child) == child
            (os.killpg if leads else os.kill)(pids[who], number)
        if self.victim == "held":
            time.sleep(HALTED_WITHIN_S)  # all threads halt, but not at the same moment
        if self.victim == "stopped":
            time.sleep(HELD_UP_S)  # until the interrupt comes, which the run process answers its signal with


def wrap_journal(module, armed: Armed) -> None:
    """Put the point around the writing of a line."""
    write = module.Journal._write_all

    def writing(self, descriptor: int, raw: bytes) -> None:
        how = armed.how if armed.meets(raw) else ""
        if how == "torn":
            half = len(raw) // 2
            os.write(descriptor, raw[:half])
            armed.die()
            raw = raw[half:]
        write(self, descriptor, raw)
        if how == "after":
            armed.die()
        if how in {"unsent", "marked"}:
            armed.announced_in = threading.get_ident()

    module.Journal._write_all = writing


def wrap_client(module, armed: Armed) -> None:
    """Put the point right before a request leaves, or the mark on it."""
    send = module.Client.send

    def sending(self, request, **named):
        if armed.announced_in == threading.get_ident():
            armed.announced_in = None
            if armed.how == "unsent":
                armed.die()
            request.headers[MARK] = "1"
        return send(self, request, **named)

    module.Client.send = sending


def program_of(words) -> str:
    """Name a program by what it is to do; its places and numbers differ from run to run."""
    words = [words] if isinstance(words, str) else list(map(str, words))
    if words[1:2] == ["-c"]:  # the shell that keeps its exit code
        words = words[6:]
    name, rest = Path(words[0]).name, words[1:]
    if name == "node":
        name, rest = "npm" if "npm" in Path(rest[0]).name else "convex", rest[1:]
    if name == "git":
        rest = [word for before, word in zip(["", *rest], rest, strict=False) if before != "-c"]
        rest = [word for word in rest if not word.startswith("-")][:1]
    flags = [word for word in rest[1:] if word in ("--dry-run", "--write-push-request")]
    return " ".join([name, *rest[:1], *flags])


def wrap_programs(armed: Armed) -> None:
    """Put the point around the beginning of a program."""
    import subprocess

    begin = subprocess.Popen.__init__

    def beginning(self, args, *more, **named):
        here = armed.meets_child(program_of(args))
        if here and armed.how == "unsent":
            armed.die()
        begin(self, args, *more, **named)
        if here and armed.how == "amid":
            time.sleep(AMID_S)
        if here and armed.how in {"begun", "amid"}:
            armed.die(self.pid)

    subprocess.Popen.__init__ = beginning


class Watch(MetaPathFinder):
    """Finds the two modules as Python would, and wraps them right after they are loaded."""

    def __init__(self, armed: Armed) -> None:
        self._armed = armed
        self._wraps = {"rollback_lib.journal.book": wrap_journal, "httpx": wrap_client}

    def find_spec(self, name, path=None, target=None):
        """Find a module, once."""
        wrap = self._wraps.pop(name, None)
        spec = PathFinder.find_spec(name, path, target) if wrap is not None else None
        if spec is not None and spec.loader is not None:
            spec.loader = Wrapping(spec.loader, wrap, self._armed)
        return spec


class Witness(MetaPathFinder):
    """Finds nothing, and writes down which of the project's modules are looked for."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def find_spec(self, name, path=None, target=None):  # noqa: ARG002 - as Python calls it
        """Leave it to the next finder."""
        if name.partition(".")[0] == "rollback_lib":
            with self._place.open("a", encoding="utf-8") as file:
                file.write(f"{name}\n")


class Wrapping(Loader):
    """Loads a module, then wraps it."""

    def __init__(self, loader: Loader, wrap, armed: Armed) -> None:
        self._loader, self._wrap, self._armed = loader, wrap, armed

    def create_module(self, spec):
        """Leave it to the real loader."""
        return self._loader.create_module(spec)

    def exec_module(self, module) -> None:
        """Load it and wrap it."""
        self._loader.exec_module(module)
        self._wrap(module, self._armed)


asked = json.loads(os.environ.get("CRASH_AT", "{}"))
if asked.get("how") == "listen":
    sys.meta_path.insert(0, Witness(Path(asked["pid"] + ".modules")))
if asked and "ipykernel_launcher" in sys.orig_argv:
    Path(asked["pid"]).write_text(str(os.getpid()), encoding="utf-8")
    armed = Armed(asked)
    sys.meta_path.insert(0, Watch(armed))
    wrap_programs(armed)
