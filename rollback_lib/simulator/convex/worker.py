"""The node process in which pushed code runs: one for each world, started when it is first needed.

- It keeps no data: what a function asks is answered by whoever called it, in the caller's own thread.
- Many calls may be under way at once; their lines are told apart by numbers.
- A process that ended, or that took too long, is replaced at the next call. No call waits for ever.
"""

from __future__ import annotations

import json
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from itertools import count
from pathlib import Path
from queue import Empty, SimpleQueue
from typing import Any, TypeAlias

from rollback_lib.node import node_binary

__all__ = ["Answer", "CodeError", "Refused", "Worker"]

Answer: TypeAlias = Callable[[str, Any], Any]  # operation, arguments -> what the function gets
_HERE = Path(__file__).parent / "node"
_LONGEST_S = 60.0
_STOP_S = 2.0
_GONE: dict[str, Any] = {"gone": True}


class CodeError(Exception):
    """What pushed code threw, or why it could not be run.

    Attributes:
        message: In the platform's form, with the places in the code.
        data: What a ConvexError carries; None for any other.
        has_data: Whether it was a ConvexError.
        logs: What was logged before.
        missing: The environment variables that were asked for and not there.
    """

    def __init__(self, told: Mapping[str, Any], logs: list[Any]) -> None:
        super().__init__(told["message"])
        self.message: str = told["message"]
        self.plain: str = told.get("plain", self.message)
        self.has_data, self.data = "data" in told, told.get("data")
        self.logs = logs
        self.missing: list[str] = told.get("missing", [])


class Refused(Exception):
    """A question of a function that is answered with an error; `data` is that of a ConvexError."""

    def __init__(self, message: str, data: Any = None, *, has_data: bool = False) -> None:
        super().__init__(message)
        self.told: dict[str, Any] = {"message": message, **({"data": data} if has_data else {})}


def _no_answer(operation: str, _arguments: Any) -> Any:
    raise Refused(f"Unknown operation {operation}")


class Worker:
    """The process and what is under way in it."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._writing = (
            threading.Lock()
        )  # of its own: who writes may have to wait until somebody has listened
        self._process: subprocess.Popen[str] | None = None
        self._calls: dict[int, tuple[subprocess.Popen[str], SimpleQueue[dict[str, Any]]]] = {}
        self._codes: dict[str, list[dict[str, Any]]] = {}
        self._numbers = count(1)
        self._closed = False

    def load(self, code: str, modules: list[dict[str, Any]]) -> None:
        """Make code known under a name: its modules with path, source, sourceMap and environment."""
        with self._lock:
            known, self._codes[code] = code in self._codes, modules
        if not known:
            self.request("load", code=code, modules=modules)

    def unload(self, code: str) -> None:
        """Forget code."""
        with self._lock:
            known = self._codes.pop(code, None)
        if known is not None:
            self.request("unload", code=code)

    def request(self, op: str, answer: Answer = _no_answer, **fields: Any) -> Any:
        """Have something done, and give its result.

        Args:
            op: What.
            answer: Answers what the code asks meanwhile; a `Refused` that it raises is thrown in the code.
            fields: Its arguments.

        Raises:
            CodeError: The code threw, or the process ended.
        """
        number, mine = next(self._numbers), SimpleQueue[dict[str, Any]]()
        with self._lock:
            process = self._running()
            self._calls[number] = process, mine
        self._send(process, {"id": number, "op": op, **fields})
        until = time.monotonic() + _LONGEST_S
        try:
            while True:
                message = self._next(process, mine, until)
                if "sys" not in message:
                    return _result(message)
                self._send(process, _reply(message, answer))
        finally:
            with self._lock:
                self._calls.pop(number, None)

    def close(self) -> None:
        """End the process."""
        with self._lock:
            self._closed, process = True, self._process
            self._process = None
        if process is not None:
            _end(process)

    def _next(
        self, process: subprocess.Popen[str], mine: SimpleQueue[dict[str, Any]], until: float
    ) -> dict[str, Any]:
        try:
            message = mine.get(timeout=max(0.0, until - time.monotonic()))
        except Empty:
            _end(process)  # a loop without an end stops everything else in there as well
            raise CodeError({"message": "Function execution timed out"}, []) from None
        if message is _GONE:
            raise CodeError({"message": "The process that runs functions ended"}, [])
        return message

    def _send(self, process: subprocess.Popen[str], message: dict[str, Any]) -> None:
        line = json.dumps(message) + "\n"
        try:
            with self._writing:
                assert process.stdin is not None
                process.stdin.write(line)
                process.stdin.flush()
        except (OSError, ValueError) as exc:
            raise CodeError({"message": "The process that runs functions ended"}, []) from exc

    def _running(self) -> subprocess.Popen[str]:
        """Give the process, a new one where there is none; the lock is held."""
        if self._closed:
            raise CodeError({"message": "This deployment has ended"}, [])
        if self._process is None or self._process.poll() is not None:
            self._process = _started()
            for code, modules in self._codes.items():
                assert self._process.stdin is not None
                message = {"id": 0, "op": "load", "code": code, "modules": modules}
                self._process.stdin.write(json.dumps(message) + "\n")
            threading.Thread(
                target=self._listen, args=(self._process,), name="functions", daemon=True
            ).start()
        return self._process

    def _listen(self, process: subprocess.Popen[str]) -> None:
        assert process.stdout is not None
        with process.stdout:
            for line in process.stdout:
                message = json.loads(line)
                with self._lock:
                    waiting = self._calls.get(message["id"])
                if waiting is not None:
                    waiting[1].put(message)
        process.wait()
        with self._lock:
            lost = [mine for of, mine in self._calls.values() if of is process]
        for mine in lost:
            mine.put(_GONE)


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait(_STOP_S)
    if process.stdin is not None:
        with suppress(OSError):  # what was not written yet is lost with the process
            process.stdin.close()


def _result(message: dict[str, Any]) -> Any:
    if "error" in message:
        raise CodeError(message["error"], message.get("logs", []))
    return message["ok"]


def _reply(question: dict[str, Any], answer: Answer) -> dict[str, Any]:
    try:
        return {"reply": question["sys"], "ok": answer(question["op"], question["args"])}
    except Refused as refused:
        return {"reply": question["sys"], "error": refused.told}


def _started() -> subprocess.Popen[str]:
    return subprocess.Popen(  # noqa: S603 - our own words
        [str(node_binary()), "--experimental-vm-modules", "--no-warnings", str(_HERE / "worker.mjs")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env={"NO_COLOR": "1"},
        text=True,
        encoding="utf-8",
    )
