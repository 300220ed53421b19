"""Procedure 2, when it is opened: which calls failed until then. Convex forgets its newest calls within minutes.

- Read beside the cells: opening waits for none of it, sealing a little, and a Convex that is down stops nothing.
- No text of an error is kept unless the deployment's variables are known, whose values are taken out of it.
- Kept once, and only while nothing was sent: what fails after the push is no evidence from before it.
"""

from __future__ import annotations

import json
import threading
from dataclasses import asdict, dataclass, field
from datetime import timedelta
from functools import cached_property
from pathlib import Path
from typing import Any

from rollback_lib.errors import RollbackError
from rollback_lib.evidence.files import write_whole
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.vercel_facts import skew_of
from rollback_lib.providers.convex import ConvexClient
from rollback_lib.providers.convex_logs import Executions

__all__ = ["CallsBefore", "unknown_variables"]

KEPT_IN = "attachments/convex-calls-before.json"
READ_S = 5.0  # for what Convex still has; what it has, it gives at once
WAIT_S = 3.0  # before a record is sealed


@dataclass
class CallsBefore:
    """Keeps the evidence of one run."""

    session: Session
    _thread: threading.Thread | None = None
    _trouble: str = ""
    _given_up: bool = False
    _guard: threading.Lock = field(default_factory=threading.Lock)

    def begin(self) -> None:
        """Begin to read, unless that was done or the change was sent; returns at once and never raises."""
        convex, journal = self.session.clients.convex, self.session.journal
        over = any(journal.last(event) is not None for event in ("effect.sending", "run.closed"))
        if convex is None or over or self._place.exists():
            return
        self._thread = threading.Thread(target=self._keep, args=(convex,), name="calls before", daemon=True)
        self._thread.start()

    def note(self) -> None:
        """Write down, once, what was found, or why nothing was; what comes later than in a moment is dropped.

        Raises:
            JournalError: It cannot be written.
            OSError: What was kept cannot be read.
        """
        if self._thread is not None:
            self._thread.join(WAIT_S)
            with self._guard:
                late = self._thread.is_alive()
                self._given_up = self._given_up or late
            self._trouble = self._trouble or ("Convex had not answered yet" if late else "")
            self._thread = None
        journal = self.session.journal
        if journal.last("calls") is not None:
            return
        if self._place.exists():
            told: dict[str, Any] = json.loads(self._place.read_text(encoding="utf-8"))
            told.pop("samples", None)
            journal.append("calls", data=told | {"kept_in": KEPT_IN})
        elif self._trouble:
            journal.append(
                "warning", data={"text": f"which calls failed before is not known: {self._trouble}"}
            )
            self._trouble = ""

    @cached_property
    def _place(self) -> Path:
        return self.session.journal.folder / KEPT_IN

    def _keep(self, convex: ConvexClient) -> None:
        try:
            unknown = unknown_variables(convex)
            now = self.session.clock.now() + timedelta(seconds=skew_of(convex.heard) or 0.0)
            since = now - timedelta(seconds=self.session.resolved.policy.baseline_window_s)
            found = convex.executions(since, now, READ_S)
            if not found.calls and not found.complete:  # silence is no data
                self._trouble = found.note
                return
            kept = self.session.journal.redactor.clean(_as_kept(found, unknown))
            with self._guard:
                if not self._given_up:
                    self._place.parent.mkdir(exist_ok=True)
                    write_whole(self._place, json.dumps(kept, indent=1).encode())
        except RollbackError as exc:
            self._trouble = exc.reason
        except OSError as exc:
            self._trouble = f"it cannot be kept: {exc.strerror}"


def unknown_variables(convex: ConvexClient) -> str:
    """Teach the redactor what the deployment's variables hold; return why that cannot be done."""
    try:
        convex.variables()
    except RollbackError as exc:
        return exc.reason
    return ""


def _as_kept(found: Executions, unknown: str) -> dict[str, Any]:
    left_out = f"texts of errors are not kept: the deployment's variables are not known ({unknown})"
    return {
        "start": found.start.isoformat(),
        "end": found.end.isoformat(),
        "calls": found.calls,
        "failed": found.failed,
        "functions": [asdict(one) for one in found.functions],
        "samples": [] if unknown else list(found.samples),
        "note": "; ".join(filter(None, (found.note, left_out if unknown else ""))),
    }
