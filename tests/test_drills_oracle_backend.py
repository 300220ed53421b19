"""The outside judge on procedure 2: honest runs are held everywhere, and each lie is found under what it breaks.

The honest run is made once for all the lies: it takes the official command line, a served world, and real seconds.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from doctoring import Doctor, honest

from rollback_lib.drills.oracle import judge
from rollback_lib.drills.oracle.backend_looks import _WINDOW, _before
from rollback_lib.drills.oracle.lines import ms_of
from rollback_lib.drills.oracle.pushes import commit_of, finish_of
from rollback_lib.providers.convex_cli import cli_path, push_arguments
from rollback_lib.providers.push_words import push_message
from rollback_lib.simulator.convex.audit import COLLEAGUE, Row
from rollback_lib.simulator.convex.backend import Backend

FINISH = "/api/deploy2/finish_push"


def backend(doctor: Doctor) -> Backend:
    assert doctor.world.convex is not None
    return doctor.world.convex


def line(doctor: Doctor, event: str, name: str = "") -> dict[str, Any]:
    lines = doctor.lines
    return lines[doctor.place(lines, event, name, 0)]


def push_without_line(doctor: Doctor) -> None:
    """The line that says that the push leaves is missing."""
    doctor.drop("effect.sending")


def dry_run_without_line(doctor: Doctor) -> None:
    """The line that says that the dry run leaves is missing."""
    doctor.drop("prepare.sending", "dry run of")


def line_behind_the_push(doctor: Doctor) -> None:
    """The push was written down when it was over."""
    doctor.move("effect.sending", "effect.answered")


def push_without_opened_gate(doctor: Doctor) -> None:
    """The gate was never opened."""
    doctor.drop("gate.opened")


def push_finished_twice(doctor: Doctor) -> None:
    """While the command line ran, a push went live a second time."""
    doctor.arrive(FINISH, -1)


def pushed_again_with_a_line(doctor: Doctor) -> None:
    """The same push was made a second time, with a line of its own."""
    sending, answered = line(doctor, "effect.sending"), line(doctor, "effect.answered")
    doctor.insert("effect.done", sending, answered)
    for path in ("/api/deploy2/start_push", FINISH):
        doctor.arrive(path, -1)


def dry_run_that_pushed(doctor: Doctor) -> None:
    """What was to be a dry run put its code live."""
    entry = doctor.entry(FINISH)
    entry.body, entry.weight, entry.applied = {**entry.body, "dryRun": False}, "production", True


def dry_run_never_finished(doctor: Doctor) -> None:
    """The dry run is told as accepted, and Convex never said so."""
    doctor.entry(FINISH).status = 400


def refused_push_told_as_done(doctor: Doctor) -> None:
    """Convex refused the push, and verified is claimed."""
    entry = doctor.entry(FINISH, -1)
    entry.status, entry.applied = 400, False


def other_code_is_live(doctor: Doctor) -> None:
    """Right after the push the code from before is live again, and verified is claimed."""
    lived = backend(doctor).was_live
    lived.append((lived[-1][0] + 1, lived[-2][1]))


def functions_that_fail(doctor: Doctor) -> None:
    """What visitors call fails with the pushed code as well."""
    log, since_ms = backend(doctor).logs, backend(doctor).was_live[-1][0]
    failing = [
        (
            at_ms,
            replace(call, error="TypeError")
            if call.caller == "SyncWorker" and call.began_ms > since_ms
            else call,
        )
        for at_ms, call in log._entries
    ]
    doctor.patch.setattr(log, "_entries", failing)


def function_that_always_fails(doctor: Doctor) -> None:
    """One function fails each time with the pushed code, which is little among all calls."""
    log, check = backend(doctor).logs, line(doctor, "check", "P2.C2")
    until_ms = _before(ms_of(check["at"]), _WINDOW.search(check["data"]["source"])[2])
    some = next(call for _, call in log._entries if call.caller == "SyncWorker")
    at_ms = until_ms - 1000 + doctor.world.spec.clock_skew_s * 1000  # surely within, however it was rounded
    well = replace(some, began_ms=at_ms, error=None)
    failing = replace(well, identifier="orders.js:count", error="TypeError")
    more = [(at_ms, call) for call in (*[well] * 1000, *[failing] * 3)]
    doctor.patch.setattr(log, "_entries", [*log._entries, *more])


def canary_never_asked(doctor: Doctor) -> None:
    """The plan's query passed without having been made."""
    doctor.forget(lambda entry: (entry.body or {}).get("path") != "users:getUserByClerkId")


def canary_found_nobody(doctor: Doctor) -> None:
    """The plan's query passed, and its answer was null."""
    log = backend(doctor).logs
    emptied = [
        (at_ms, call if call.caller == "SyncWorker" else replace(call, value_bytes=len("null")))
        for at_ms, call in log._entries
    ]
    doctor.patch.setattr(log, "_entries", emptied)


def share_without_the_log(doctor: Doctor) -> None:
    """The share of failed calls is told, and nobody read the log."""
    doctor.forget(lambda entry: "stream_function_logs" not in entry.path)


def more_calls_than_there_were(doctor: Doctor) -> None:
    """The share is said to be of many calls."""
    doctor.edit(
        "check", lambda data: data.update(seen="0.00 % of 98765 Convex function calls failed"), "P2.C2"
    )


def window_from_before_the_push(doctor: Doctor) -> None:
    """The share of failed calls was taken from before the push."""
    source = "Convex: function log, 00:00:00-00:00:01 UTC"
    doctor.edit("check", lambda data: data.update(source=source), "P2.C2")


def verified_without_a_check(doctor: Doctor) -> None:
    """The functions were never compared, and verified is claimed."""
    doctor.drop("check", "P2.S6.1")
    doctor.record(
        lambda content: content.update(checks=[c for c in content["checks"] if c["id"] != "P2.S6.1"])
    )


def refused_after_a_push(doctor: Doctor) -> None:
    """Code was pushed, and refused is claimed."""
    doctor.word("refused")


def somebody_pushed_meanwhile(doctor: Doctor) -> None:
    """After the gate was shown a colleague pushed, which could be seen before our push left."""
    at_ms = ms_of(line(doctor, "gate.opened")["at"])
    backend(doctor).audit.rows.append(Row(at_ms, "push_config_with_components", {"message": None}, COLLEAGUE))


def other_commit_than_shown(doctor: Doctor) -> None:
    """The gate named another commit than the one that was pushed."""
    doctor.edit("gate.shown", lambda data: data["effect"].update(to=f"{'0' * 40} Another"))


def variable_in_an_attachment(doctor: Doctor) -> None:
    """The value of one of the backend's variables stands in a file."""
    doctor.attach(backend(doctor).variables["CLERK_WEBHOOK_SECRET"].encode())


LIES: dict[Callable[[Doctor], None], set[int]] = {
    push_without_line: {1, 3, 4, 10},
    dry_run_without_line: {1, 3},
    line_behind_the_push: {1},
    push_without_opened_gate: {1, 10},
    push_finished_twice: {1, 2, 3, 10},
    pushed_again_with_a_line: {2, 11},
    dry_run_that_pushed: {1, 2, 3, 10},
    dry_run_never_finished: {3},
    refused_push_told_as_done: {3, 4},
    other_code_is_live: {3, 4},
    functions_that_fail: {3, 4},
    function_that_always_fails: {3},
    canary_never_asked: {3},
    canary_found_nobody: {3},
    share_without_the_log: {3},
    more_calls_than_there_were: {3},
    window_from_before_the_push: {3},
    verified_without_a_check: {4},
    refused_after_a_push: {4},
    somebody_pushed_meanwhile: {11},
    other_commit_than_shown: {11},
    variable_in_an_attachment: {7},
}


def test_honest_push_is_held_and_each_lie_about_it_is_found(tmp_path: Path):
    """A verified run of procedure 2 breaks nothing; each falsification breaks what it contradicts, and no other."""
    case = honest("convex_rollback_p0")
    assert case.folder is not None
    assert outcome(case.folder) == "verified"
    verdict = judge(case)
    assert verdict.summary == "10 held", str(verdict)
    found = {}
    for lie in LIES:
        with pytest.MonkeyPatch.context() as patch:
            (tmp_path / lie.__name__).mkdir()
            doctor = Doctor("convex_rollback_p0", tmp_path / lie.__name__, patch)
            lie(doctor)
            found[lie.__name__] = set(judge(doctor.case).broken)
    assert found == {lie.__name__: broken for lie, broken in LIES.items()}
    assert judge(case).summary == "10 held"  # nothing of the lies is left


@pytest.mark.parametrize("undo_of", ["", "P2-20261124-215800-a1b2"], ids=["rollback", "undo"])
def test_commit_of_a_push_is_read_from_its_own_words(undo_of: str):
    """Those of a rollback and those of an undo, as the journal has the command line."""
    told = push_message("a" * 40, "INC-20261124-2158", "P2-20261124-221500-c3d4", undo_of)
    assert commit_of(cli_path(push_arguments(told))) == "a" * 40


def test_refused_dry_run_is_held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A dry run that Convex refused is a failed run of an untouched backend; that it was accepted would be found."""
    case = honest("convex_rollback_refused_by_schema")
    assert case.folder is not None
    assert outcome(case.folder) == "failed"
    verdict = judge(case)
    assert verdict.summary == "10 held", str(verdict)
    doctor = Doctor("convex_rollback_refused_by_schema", tmp_path, monkeypatch)
    doctor.edit("prepare.answered", lambda data: data.update(kind="accepted"), "dry run of")
    assert judge(doctor.case).broken == (3,)


def outcome(folder: Path) -> str:
    return str(json.loads((folder / "record.json").read_text())["outcome"]["outcome"])


@pytest.mark.parametrize(
    ("finishes", "chosen"),
    [
        (((None, False), (200, False)), 1),  # a dry run whose first answer was lost
        (((None, True), (400, False)), 0),  # live, and its second try refused
        (((None, True), (200, False)), 0),
        (((503, False), (None, False)), 0),
        ((), None),
    ],
)
def test_push_is_judged_by_the_request_that_came_through(finishes, chosen):
    """The command line asks again where an answer was lost: that one tells what the push came to."""
    start = SimpleNamespace(path="/api/deploy2/start_push", status=200, applied=True)
    found = [SimpleNamespace(path="/api/deploy2/finish_push", status=s, applied=a) for s, a in finishes]
    wanted = None if chosen is None else found[chosen]
    assert finish_of(SimpleNamespace(group=(start, *found))) is wanted
