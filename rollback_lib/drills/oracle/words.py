"""Invariant 4: the outcome that was claimed, everywhere the same, and what it says of the world.

- `verified`: production and all its domains on the target, well, pinned where the run pins; or the backend on the target's
  code, its functions answering; every check there and passed.
- `refused`: no request that changes production ever left.
- `failed`, `completed_unverified`, `unknown`: there is what the word stands for.
- A run that did not say how it ended is not judged by words that it did not use, but it may not pass as success.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from rollback_lib.drills.oracle.backend import failed_share
from rollback_lib.drills.oracle.case import NOTEBOOK, Bench
from rollback_lib.drills.oracle.lines import Line
from rollback_lib.drills.oracle.pairs import Sent
from rollback_lib.drills.oracle.truth import named
from rollback_lib.drills.oracle.verdict import Inquiry

__all__ = ["judge_words"]

_EXITS = {"verified": 0, "failed": 1, "refused": 3, "completed_unverified": 4, "unknown": 6}
_SHOWN = re.compile(r"^Outcome: (\w+)", re.MULTILINE)
_PINS = "rollback"  # the verb in the path of what pins production; a promotion unpins it
_SURELY_NOT = ("refused", "not_sent")
_SETTLED = ("effect.done", "effect.recovered")  # that it was not seen does not say that it will not come


def judge_words(bench: Bench, inquiry: Inquiry) -> None:
    """Invariant 4: the outcome means what it says."""
    if bench.case.folder is None:
        _judge_nothing(bench, inquiry)
        return
    word = bench.told.word
    if word is None:
        _judge_silence(bench, inquiry)
        return
    claimed = str(word.data.get("outcome"))
    for reason in (*_other_words(bench, claimed), *_false_record(bench)):
        inquiry.breaks(reason)
    judge = _MEANINGS.get(claimed)
    if judge is None:
        inquiry.breaks(f"{word}: {claimed!r} is no outcome")
        return
    for reason in judge(bench, word):
        inquiry.breaks(f"{claimed} is claimed ({word}), but {reason}")
    inquiry.sees(f"{claimed}, everywhere the same ({word})")


def _judge_nothing(bench: Bench, inquiry: Inquiry) -> None:
    if bench.case.exit_code == 0 or bench.case.outcome is not None:
        inquiry.breaks(f"no run was begun, but it ended with {bench.case.exit_code} ({bench.case.outcome})")
    inquiry.sees(f"no run was begun, and none is claimed (exit code {bench.case.exit_code})")


def _judge_silence(bench: Bench, inquiry: Inquiry) -> None:
    """Judge a run whose journal does not say how it ended."""
    in_doubt = bool(bench.pairs.effects)
    possible = (None, "unknown") if in_doubt else (None, "failed", "unknown")
    if bench.case.exit_code == 0 or bench.case.outcome not in possible:
        said = f"exit code {bench.case.exit_code}, {bench.case.outcome}"
        inquiry.breaks(f"the journal does not say how the run ended, its process did: {said}")
    inquiry.leaves_open(
        "the journal ends without a word on how the run ended: it was cut off, or is going on"
    )


# --- the same word everywhere ------------------------------------------------------------------------------------


def _other_words(bench: Bench, claimed: str) -> Iterator[str]:
    """Name each place that tells another outcome than the journal's last word."""
    if bench.case.killed:
        places = {}
    else:
        places = {"the process": bench.case.outcome}
        code = bench.case.exit_code
        if code is not None and code != _EXITS.get(claimed):
            yield f"the process ended with exit code {code}, the journal with {claimed}"
    outcome = (bench.record or {}).get("outcome")
    places["record.json"] = outcome.get("outcome") if isinstance(outcome, dict) else None
    places["the notebook"] = _shown(bench)
    for place, told in places.items():
        if told is not None and told != claimed:
            yield f"{place} says {told}, the journal {claimed}"


def _shown(bench: Bench) -> str | None:
    """Return the outcome that the executed notebook shows last; None where it shows none."""
    cells = (bench.json_of(NOTEBOOK) or {}).get("cells", [])
    texts = [
        "".join(output.get("data", {}).get("text/plain", ()))
        for cell in cells
        for output in cell.get("outputs", ())
        if isinstance(output, dict)
    ]
    found = [word for text in texts for word in _SHOWN.findall(text)]
    return found[-1] if found else None


def _false_record(bench: Bench) -> Iterator[str]:
    """Name the checks that the record shows otherwise than the journal has them."""
    if bench.record is None or not bench.told.is_closed:
        return
    listed = {check.get("id"): check.get("status") for check in bench.record.get("checks", ())}
    for name, line in _last_checks(bench).items():
        if listed.get(name) != line.data.get("status"):
            yield f"record.json shows check {name} as {listed.get(name)}; {line} says {line.data.get('status')}"


# --- what the words mean -----------------------------------------------------------------------------------------


def _verified(bench: Bench, word: Line) -> Iterator[str]:
    if word.event != "run.closed":
        yield "the run was not closed"
    applied = [sent for sent in bench.pairs.effects if sent.entry is not None and sent.entry.applied]
    if len({sent.target for sent in applied}) != 1:
        yield f"the run's effects led to {len({sent.target for sent in applied})} targets"
        return
    yield from _not_passed(bench)
    for line in bench.told.of("step.skipped"):
        yield f"{line.step} was skipped ({line})"
    yield from _in_doubt(bench)
    yield from _not_healed(bench, applied[-1], word)


def _not_healed(bench: Bench, done: Sent, word: Line) -> Iterator[str]:
    """Say what is wrong with the world at the end; what moved after the last look nobody could have seen."""
    faults = _unwell(bench, done, word.at_ms)
    look = _last_checks(bench).get(f"P{bench.procedure}.PIN")
    if faults and look is not None and look.data.get("status") == "passed":
        looks = bench.truth.reads(bench.service, look.at_ms)
        faults = _unwell(bench, done, looks[-1].at_ms) if looks else faults
    yield from faults


def _unwell(bench: Bench, done: Sent, at_ms: int) -> list[str]:
    if done.is_push:
        return _backend_unwell(bench, done.target, at_ms)
    truth, target, faults = bench.truth, done.target, []
    if not truth.is_on(target, at_ms):
        faults.append(
            f"production was on {truth.production(at_ms)}, its domains on {truth.live(at_ms)}, not on {target}"
        )
    if truth.is_struck(target, at_ms):
        faults.append(f"{target} carries the fault")
    if truth.is_pinned(at_ms) is not (done.verb == _PINS):
        faults.append(f"production was {'' if truth.is_pinned(at_ms) else 'not '}pinned after a {done.verb}")
    return faults


def _backend_unwell(bench: Bench, target: str, at_ms: int) -> list[str]:
    if not bench.backend.runs(target, at_ms):
        return [f"the backend did not run the code of {target}"]
    limit = bench.plan.criterion("P1.C3").limit  # what the plan calls a normal error rate
    share = failed_share(bench.backend.calls(bench.backend.live_since(at_ms), at_ms))
    if share is None:
        return ["none of its functions was called"]
    if limit is not None and share >= limit.threshold:
        return [f"{share:.0%} of the calls of its functions failed"]
    return []


def _refused(bench: Bench, _: Line) -> Iterator[str]:
    for sent in bench.pairs.effects:
        yield f"an effect left ({sent.line})"
    for entry in bench.pairs.orphans:
        if entry.weight == "production":
            yield f"production was changed ({named(entry)})"


def _failed(bench: Bench, _: Line) -> Iterator[str]:
    yield from _in_doubt(bench)
    checks = [line for line in _last_checks(bench).values() if line.data.get("status") == "failed"]
    reasons = [*checks, *bench.told.of("step.failed", "run.aborted", "run.interrupted")]
    if not reasons:
        yield "nothing in the journal failed"


def _unknown(bench: Bench, _: Line) -> Iterator[str]:
    lost = [line for line in bench.told.of("step.failed") if line.data.get("error") == "OutcomeUnknown"]
    doubts = [*_in_doubt(bench), *lost, *bench.told.of("effect.unknown", "job.unknown")]
    if not doubts:
        yield "everything in the journal is known"


def _completed(bench: Bench, word: Line) -> Iterator[str]:
    if word.event != "run.closed":
        yield "the run was not closed"
    yield from _in_doubt(bench)
    required = [line for line in _last_checks(bench).values() if line.data.get("required") is not False]
    for line in required:
        if line.data.get("status") == "failed":
            yield f"a required check failed ({line})"
    unsure = [line for line in required if line.data.get("status") in ("unknown", "skipped")]
    if required and not unsure and next(bench.told.of("step.skipped"), None) is None:
        yield "every required check passed and nothing was skipped"


def _in_doubt(bench: Bench) -> Iterator[str]:
    """Name the effects that may have happened without the journal having settled it."""
    for sent in bench.pairs.effects:
        later = [
            line for line in bench.told.of(*_SETTLED) if line.name == sent.name and line.seq > sent.line.seq
        ]
        if sent.answered not in _SURELY_NOT and not later:
            yield f"nobody settled what became of {sent.line}"


def _not_passed(bench: Bench) -> Iterator[str]:
    """Name the required checks that are missing or did not pass."""
    checks = _last_checks(bench)
    for name in _wanted(bench):
        if name not in checks:
            yield f"check {name} was never made"
    for name, line in checks.items():
        if line.data.get("required") is not False and line.data.get("status") != "passed":
            yield f"check {name} is {line.data.get('status')} ({line})"


def _wanted(bench: Bench) -> list[str]:
    """List the checks that a verified run of the procedure has made."""
    platform = bench.told.parameters.get("platform", {})
    if bench.service == "convex":
        queries = (platform.get("convex") or {}).get("queries", ())
        names = (
            "C1",
            "C2",
            "C3",
            "C4",
            "PIN",
            "S6.1",
            *(f"S7.{at}" for at, _ in enumerate(queries, start=1)),
        )
    else:
        pages = platform.get("app", {}).get("pages", ())
        names = ("C1", "C2", "C3", "PIN", *(f"C4.{at}" for at, _ in enumerate(pages, start=1)))
    return [f"P{bench.procedure}.{name}" for name in names]


def _last_checks(bench: Bench) -> dict[str, Line]:
    return {str(line.data.get("id")): line for line in bench.told.of("check")}


_MEANINGS = {
    "verified": _verified,
    "refused": _refused,
    "failed": _failed,
    "unknown": _unknown,
    "completed_unverified": _completed,
}
