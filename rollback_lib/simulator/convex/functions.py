"""Calling functions of the live code: who may, with which arguments, on which data.

- A query sees one state of the data; a mutation is done as a whole or not at all, with all that it calls.
- Arguments, results and written documents are held against their validators.
- Each call stands in the log, and has a number by which it is found there; also one of a function that is not there,
  or that may not run, by the name and as the kind that it was asked for as. Where no kind is asked for, nothing was
  called: only the scheduler logs that, as a mutation.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING, Any, NoReturn

from rollback_lib.simulator.convex import queries
from rollback_lib.simulator.convex.access import Access, Scope
from rollback_lib.simulator.convex.callers import Caller
from rollback_lib.simulator.convex.code import Function, Revision, canonical
from rollback_lib.simulator.convex.logs import Completion
from rollback_lib.simulator.convex.storage import SCHEDULED
from rollback_lib.simulator.convex.worker import CodeError, Refused

if TYPE_CHECKING:
    from rollback_lib.simulator.convex.backend import Backend

__all__ = ["SCHEDULER", "Functions", "Outcome"]

SCHEDULER = "Scheduler"  # where the log says that a scheduled call comes from

PAUSED = (
    "Cannot run functions while this deployment is paused. Resume the deployment in the dashboard settings to allow "
    "functions to run."
)
_DEEPEST = 8
_INLINE = "testQuery.js"
_OF_KIND = {"query": "Query", "mutation": "Mutation", "action": "Action"}


@dataclass(frozen=True)
class Outcome:
    """What became of a call."""

    request_id: str
    value: Any = None
    error: str | None = None  # in full, as the log has it
    data: Any = None  # of a ConvexError
    has_data: bool = False
    told_to_all: bool = False  # an error whose text is not kept from users
    lines: list[dict[str, Any]] = field(default_factory=list)


class _Failed(Exception):
    """A call that failed: the text in full."""

    def __init__(
        self, text: str, *, told_to_all: bool = False, data: Any = None, has_data: bool = False
    ) -> None:
        super().__init__(text)
        self.text, self.told_to_all, self.data, self.has_data = text, told_to_all, data, has_data
        self.lines: list[dict[str, Any]] = []


class Functions:
    """Runs functions of one deployment."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._access = Access(backend)

    # --- from outside --------------------------------------------------------------------------------------

    def call(
        self, path: str, args: Any, caller: Caller, kind: str | None = None, origin: str = "HttpApi"
    ) -> Outcome:
        """Call a function by its path.

        Args:
            path: As `users:get`.
            args: The one object of arguments.
            caller: Who calls.
            kind: query, mutation or action; None: whatever it is.
            origin: What the log names as the place of the call.

        Raises:
            Refusal: The caller's key may not do this.
        """
        request_id, began_ms = self._backend.number(8), self._backend.now_ms()
        try:
            revision = self._revision()
            function = self._find(revision, path, caller, kind)
        except _Failed as failed:
            asked_as = kind or ("mutation" if origin == SCHEDULER else "")
            if not asked_as:
                return Outcome(request_id, error=failed.text, told_to_all=failed.told_to_all)
            scope = self._scope(asked_as, self._backend.live, caller, request_id, canonical(path))
            return self._logged(scope, origin, began_ms, partial(_refuse, failed))
        scope = self._scope(function.kind.lower(), revision, caller, request_id, function.identifier)
        return self._logged(scope, origin, began_ms, lambda: self._run(scope, function, args))

    def call_inline(self, source: str, args: Any, caller: Caller) -> Outcome:
        """Run a query that was written on the spot; arguments and errors as of `call`."""
        request_id, began_ms = self._backend.number(8), self._backend.now_ms()
        try:
            revision = self._revision()
        except _Failed as failed:
            return Outcome(request_id, error=failed.text, told_to_all=True)
        scope = self._scope("query", revision, caller, request_id, f"{_INLINE}:default")
        run = partial(self._invoke, scope, _INLINE, "default", args, source)
        return self._logged(scope, "Tester", began_ms, run)

    def _revision(self) -> Revision:
        if self._backend.paused:
            raise _Failed(PAUSED, told_to_all=True)
        return self._backend.live

    def _scope(
        self, kind: str, revision: Revision, caller: Caller, request_id: str, identifier: str
    ) -> Scope:
        return Scope(kind, revision, caller, request_id, self._backend.number(8), identifier)

    def _find(self, revision: Revision, path: str, caller: Caller, kind: str | None) -> Function:
        function = revision.functions.get(canonical(path))
        if function is None or not (function.public or caller.is_admin):
            shown = path.removesuffix(":default")
            if caller.is_admin and kind is None:
                words = f"Could not find function for '{shown}'. Did you forget to run `npx convex dev`?"
            else:
                words = (
                    f"Could not find public function for '{shown}'. Did you forget to run `npx convex dev` or "
                    "`npx convex deploy`?"
                )
            raise _Failed(words, told_to_all=True)
        if not function.public:
            plural = {"Query": "Queries", "Mutation": "Mutations", "Action": "Actions"}[function.kind]
            caller.insist(f"deployment:functions:runInternal{plural}")
        if kind is not None and function.kind != _OF_KIND[kind]:
            words = f"Trying to execute {function.identifier} as {_OF_KIND[kind]}, but it is defined as {function.kind}."
            raise _Failed(words)
        return function

    def _logged(self, scope: Scope, origin: str, began_ms: float, run: Callable[[], Any]) -> Outcome:
        """Run and put into the log.

        Args:
            scope: The execution.
            origin: The place of the call.
            began_ms: A moment before its code was chosen: what the log dates behind a push ran the pushed code.
            run: Does it.
        """
        began = time.perf_counter()
        lines: list[dict[str, Any]] = []
        value, failed = None, None
        try:
            value, lines = run()
        except _Failed as exc:
            failed, lines = exc, exc.lines
        ended_ms = self._backend.now_ms()
        # Whoever reads the log counts back from the end: that must not lead behind a push that came meanwhile.
        took_s = max(time.perf_counter() - began, (ended_ms - began_ms) / 1000)
        entry = Completion(
            kind=_OF_KIND[scope.kind],
            identifier=scope.identifier,
            lines=lines,
            began_ms=began_ms,
            took_s=took_s,
            error=failed.text if failed is not None else None,
            request_id=scope.request_id,
            execution_id=scope.execution_id,
            caller=origin,
            identity=scope.caller.kind,
            parent=scope.parent,
            value_bytes=len(json.dumps(value)),
            read=scope.budget.read,
        )
        self._backend.logs.add(entry, ended_ms)
        if failed is None:
            return Outcome(scope.request_id, value=value, lines=lines)
        return Outcome(
            scope.request_id,
            error=failed.text,
            data=failed.data,
            has_data=failed.has_data,
            told_to_all=failed.told_to_all,
            lines=lines,
        )

    # --- one execution -------------------------------------------------------------------------------------

    def _run(self, scope: Scope, function: Function, args: Any) -> tuple[Any, list[dict[str, Any]]]:
        wrong = function.check_args(args, "")
        if wrong is not None:
            raise _Failed(f"ArgumentValidationError: {wrong.text}")
        with self._within(scope.kind):
            value, lines = self._invoke(scope, function.module, function.name, args)
            wrong = function.check_returns(value, "")
            if wrong is not None:
                failed = _Failed(f"ReturnsValidationError: {wrong.text}")
                failed.lines = lines
                raise failed
        if scope.parent is None and scope.written:
            self._backend.pushes.wrote(scope.written)
        return value, lines

    def _within(self, kind: str) -> AbstractContextManager[Any]:
        storage = self._backend.storage
        if kind == "mutation":
            return storage.transaction()
        return storage.lock if kind == "query" else nullcontext()

    def _invoke(
        self, scope: Scope, path: str, name: str, args: Any, source: str | None = None
    ) -> tuple[Any, list[dict[str, Any]]]:
        backend = self._backend
        extra = {} if source is None else {"source": source}
        with self._within(scope.kind if scope.kind == "query" else "action"):
            try:
                found = backend.worker.request(
                    "invoke",
                    lambda op, given: self._answer(scope, op, given),
                    code=scope.revision.app.key,
                    path=path,
                    name=name,
                    kind=scope.kind,
                    args=args,
                    env=dict(backend.variables),
                    now=backend.now_ms(),
                    seed=int(scope.execution_id[:8], 16),
                    tables=backend.storage.numbers(),
                    request=scope.request_id,
                    **extra,
                )
            except CodeError as exc:
                failed = _Failed(exc.message, data=exc.data, has_data=exc.has_data)
                failed.lines = exc.logs
                raise failed from exc
        return found["value"], found["logs"]

    def _answer(self, scope: Scope, op: str, given: Any) -> Any:
        answer = self._access.answer(scope, op) if scope.kind != "action" else None
        answer = answer or self._others(scope, op)
        if answer is None:
            raise Refused(f"Unknown async operation {op}")
        try:
            return answer(given)
        except (queries.QueryError, ValueError) as exc:
            raise Refused(str(exc)) from exc

    def _others(self, scope: Scope, op: str) -> Callable[[Any], Any] | None:
        """Give what answers a question that is not about documents."""
        place = "1.0/actions/" if scope.kind == "action" else "1.0/"
        known: dict[str, Callable[[Any], Any]] = {
            "1.0/getUserIdentity": lambda _: scope.caller.identity,
            "1.0/getFunctionMetadata": lambda _: _facts(scope),
            "1.0/getRequestMetadata": lambda _: _facts(scope),
            "1.0/createFunctionHandle": lambda given: self._handle(scope, given),
            "1.0/storageGetUrl": lambda _: None,
            "1.0/storageGetMetadata": lambda _: None,
        }
        if scope.kind != "query":
            known[f"{place}schedule"] = lambda given: self._schedule(scope, given)
            known[f"{place}cancel_job"] = self._cancel
        if scope.kind == "action":
            for kind in _OF_KIND:
                known[f"{place}{kind}"] = lambda given, kind=kind: self._run_other(scope, given, kind)  # type: ignore[misc]
        else:
            known["1.0/runUdf"] = lambda given: self._run_other(scope, given)
        return known.get(op)

    # --- calling others ------------------------------------------------------------------------------------

    def _run_other(self, scope: Scope, given: Any, kind: str | None = None) -> Any:
        """Run another function of the same code; within a query or mutation it is part of it."""
        if scope.depth >= _DEEPEST:
            raise Refused(f"Cross component call depth limit exceeded. Limit: {_DEEPEST}")
        wanted = kind or {"snapshotQuery": "query"}.get(given["udfType"], given["udfType"])
        if scope.kind == "query" and wanted != "query":
            raise Refused("Queries may only run queries")
        function = self._named(scope.revision, given, wanted)
        inner = Scope(
            kind=wanted,
            revision=scope.revision,
            caller=scope.caller,
            request_id=scope.request_id,
            execution_id=self._backend.number(8),
            identifier=function.identifier,
            budget=scope.budget if scope.kind != "action" else queries.Budget(),
            written=scope.written if scope.kind != "action" else [],
            depth=scope.depth + 1,
            parent=scope.execution_id,
        )
        if scope.kind != "action":
            written = len(scope.written)
            try:
                return self._run(inner, function, given["args"])[0]
            except _Failed as failed:
                del scope.written[written:]  # it was undone
                raise Refused(failed.text, failed.data, has_data=failed.has_data) from failed
        run = partial(self._run, inner, function, given["args"])
        outcome = self._logged(inner, "Action", self._backend.now_ms(), run)
        if inner.written and outcome.error is None:
            self._backend.pushes.wrote(inner.written)
        if outcome.error is not None:
            raise Refused(outcome.error, outcome.data, has_data=outcome.has_data)
        return outcome.value

    def _named(self, revision: Revision, given: Any, kind: str | None) -> Function:
        path = given.get("name") or str(given.get("functionHandle", "")).removeprefix("function://;")
        function = revision.functions.get(canonical(path))
        if function is None:
            raise Refused(
                f"Could not find function for '{path}'. Did you forget to run `npx convex dev` or `npx convex deploy`?"
            )
        if kind is not None and function.kind != _OF_KIND[kind]:
            raise Refused(
                f"Trying to execute {function.identifier} as {_OF_KIND[kind]}, but it is defined as {function.kind}."
            )
        return function

    def _schedule(self, scope: Scope, given: Any) -> Any:
        function = self._named(scope.revision, given, None)
        if function.kind == "Query":
            raise Refused("Only mutations and actions can be scheduled")
        job = {
            "name": function.identifier,
            "args": [given["args"]],
            "scheduledTime": given["ts"] * 1000,
            "state": {"kind": "pending"},
        }
        return self._backend.storage.insert(SCHEDULED, job)

    def _cancel(self, given: Any) -> Any:
        job = self._backend.storage.get(given["id"])
        if job is not None and job["state"]["kind"] == "pending":
            done = {"state": {"kind": "canceled"}, "completedTime": self._backend.now_ms()}
            self._backend.storage.replace(given["id"], {**job, **done})
        return None

    def _handle(self, scope: Scope, given: Any) -> str:
        return "function://;" + self._named(scope.revision, given, None).identifier.replace(".js:", ":")


def _refuse(failed: _Failed) -> NoReturn:
    raise failed


def _facts(scope: Scope) -> dict[str, Any]:
    return {
        "name": scope.identifier.replace(".js:", ":"),
        "componentPath": "",
        "requestId": scope.request_id,
        "ip": None,
        "userAgent": None,
        "scheduledFunctionId": None,
        "authToken": None,
        "region": None,
        "class": "s16",
    }
