"""Runs of procedure 1 in simulated companies, each with a bad day of its own, played to their end in this process.

The clock moves on a little at each look at it, so that what comes first has the earlier time, on both sides.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from conftest import FakeClock
from rehearsal import Rehearsal

from rollback_lib.drills.oracle import Case
from rollback_lib.procedures import VercelRollback
from rollback_lib.simulator import Broken, BrokenPage, Fault, WorldSpec
from rollback_lib.simulator.signing import SIGNERS_FILE, SigningDesk, signed_paper
from rollback_lib.simulator.spec import Signer

__all__ = ["SCENES", "Scene", "keys_of", "play", "sign"]

Raw = dict[str, Any]
Hook = Callable[[Rehearsal, VercelRollback], None]
ROLLBACK = {"service": "vercel", "method": "POST", "path": "*/rollback/*"}
APPROVED = {"severity": "P1", "criterion": "P1.T3"}
ALWAYS = {"from": 1}
# What the digest of a request covers, and how it is spelled for that.
COVERED = ("gate", "title", "environment", "requests", "effect", "state", "will_not_undo", "typed_wanted")
CANONICAL: Raw = {"sort_keys": True, "separators": (",", ":")}


class TickingClock(FakeClock):
    """A clock on which no two looks are at the same moment."""

    def now(self) -> datetime:
        """Return the instant it stands at, a millisecond after the last one asked for."""
        with self._lock:
            self.at += timedelta(milliseconds=1)
            return self.at


def _nothing(_company: Rehearsal, _rollback: VercelRollback) -> None:
    """Let the day go on."""


@dataclass(frozen=True)
class Scene:
    """One company, one run, and what happens in between."""

    outcome: str  # that a right run has
    spec: WorldSpec = field(default_factory=WorldSpec)
    given: Raw = field(default_factory=dict)
    signs: bool = False  # people of the company have keys
    at_gate: Hook = _nothing  # when the gate was shown
    moved: Hook = _nothing  # when production was told to move
    verified: Hook = _nothing  # before the run is closed


def fault(kind: str, **more: Any) -> WorldSpec:
    """Give the default company with one fault, on the rollback unless another request is named."""
    return WorldSpec(faults=(Fault(**(ROLLBACK | {"kind": kind} | more)),))


# --- what happens in between -----------------------------------------------------------------------------------------


def _live_for_long(company: Rehearsal, rollback: VercelRollback) -> None:
    """Let the heart beat while minutes pass: the dead-man notice is scheduled and pushed ahead."""
    assert rollback.dead_man is not None
    for _ in range(3):
        rollback.dead_man.beat()
        company.clock.advance(300)


def _colleague_promotes(company: Rehearsal, _: VercelRollback) -> None:
    """Let somebody else promote the hotfix while the gate is open."""
    hosting = company.world.hosting
    company.clock.advance(1)
    hosting.promote(company.role("hotfix"), "colleague", company.world.advance())
    company.clock.advance(5)
    company.world.advance()


def _domain_moved_back(company: Rehearsal, _: VercelRollback) -> None:
    """Let somebody point one domain back by hand."""
    company.clock.advance(1)
    now_ms = company.world.advance()
    company.world.hosting.move_host("www.derrimut247.drill", company.role("bad"), now_ms, "by hand", "dee")
    company.clock.advance(1)


def _wait_too_long(company: Rehearsal, _: VercelRollback) -> None:
    """Let the approval grow old."""
    company.clock.advance(2 * 3600)


def _dee_signs(company: Rehearsal, rollback: VercelRollback) -> None:
    """Let the deputy sign, and look at the gate again."""
    sign(company.home, "dee")
    rollback.gate("P1.G1", rollback.identify_stable_deployment())


def _signed_elsewhere(company: Rehearsal, rollback: VercelRollback) -> None:
    """Put beside the request what the deputy signed for another run."""
    sign(company.home, "dee", of_run="P1-20261101-000000-aaaa")
    rollback.gate("P1.G1", rollback.identify_stable_deployment())


def _kernel_dies_with_the_answer(company: Rehearsal, _: VercelRollback) -> None:
    """Stop the session right when the platform has done what was asked."""
    company.transport.after["/rollback/"] = _die


def _kernel_dies_with_the_request(company: Rehearsal, _: VercelRollback) -> None:
    """Stop the session right when the request is about to leave."""
    company.transport.before["/rollback/"] = _die


def _die() -> None:
    raise KeyboardInterrupt


def _pin_moves_after_the_answer(company: Rehearsal, _: VercelRollback) -> None:
    """Let somebody switch auto-assign off once the first attempt was answered."""

    def switch() -> None:
        company.clock.advance(0.01)
        company.world.hosting.set_auto_assign(False, company.world.advance(), "dee")

    company.transport.after["/rollback/"] = switch


# So few that a window from before the rollback may well have none.
FEW_ERRORS = WorldSpec(
    baseline_error_rate=0,
    broken=Broken(pages=(BrokenPage(path="*", share=0.02),), health_red=False),
)

SCENES: dict[str, Scene] = {
    "P0": Scene("verified"),
    "P1": Scene("verified", given=APPROVED),
    "promote": Scene("verified", given={"method": "promote"}),
    "signed": Scene("verified", WorldSpec(personas=()), APPROVED, signs=True, at_gate=_dee_signs),
    "signed elsewhere": Scene(
        "refused", WorldSpec(personas=()), APPROVED, signs=True, at_gate=_signed_elsewhere
    ),
    "refused": Scene("refused", WorldSpec(personas=()), APPROVED),
    "own approval": Scene("refused", given=APPROVED | {"operator": "lee"}),
    "old approval": Scene("refused", given=APPROVED, at_gate=_wait_too_long),
    "typed in other case": Scene("refused", given={"confirm": "Derrimut-Platform"}),
    "dry": Scene("refused", given={"dry_run": True}),
    "moved meanwhile": Scene("refused", at_gate=_colleague_promotes),
    "retried": Scene("verified", fault("reset_before")),
    "lost": Scene("verified", fault("reset_after")),
    "cut off": Scene("verified", at_gate=_kernel_dies_with_the_answer),
    "cut off before": Scene("verified", at_gate=_kernel_dies_with_the_request),
    "in doubt": Scene("unknown", fault("503"), at_gate=_pin_moves_after_the_answer),
    "denied": Scene("failed", fault("deny")),
    "job failed": Scene("failed", fault("job_failed")),
    "job skipped": Scene("failed", fault("job_skipped")),
    "job stuck": Scene("unknown", fault("job_stuck")),
    "overtaken": Scene("unknown", fault("concurrent_promote", delay_s=0.0)),
    "moved back": Scene("failed", verified=_domain_moved_back),
    "noticed": Scene("verified", moved=_live_for_long),
    "health red": Scene("failed", fault("503", service="app", method="GET", path="/api/health", nth=ALWAYS)),
    "hollow page": Scene(
        "failed", fault("html_body", service="app", method="GET", path="/membership", nth=ALWAYS)
    ),
    "quiet": Scene("completed_unverified", WorldSpec(ingest_lag_s=3600)),
    "few errors": Scene("verified", FEW_ERRORS),
}


# --- playing ---------------------------------------------------------------------------------------------------------


def play(name: str, folder: Path) -> Case:
    """Play a scene to its end, whatever that is; return it as the judge wants it.

    Args:
        name: Of the scene.
        folder: An empty one, for the company's project and what its machines share.
    """
    scene = SCENES[name]
    company = Rehearsal(folder, TickingClock(), scene.spec)
    given = dict(scene.given)
    if scene.signs:
        given["platform"] = {"signers": str(keys_of(company.home) / SIGNERS_FILE)}
    with _at_home(company.home):
        rollback = company.open(**given)
        try:
            _all_cells(scene, company, rollback)
        except KeyboardInterrupt:
            company.restart(rollback)
            rollback = company.open(**given, run=rollback.journal.run)
            _all_cells(SCENES["P0"], company, rollback)
        company.restart(rollback)
    company.close()
    signers = keys_of(company.home) / SIGNERS_FILE if scene.signs else None
    return Case(company.world, rollback.folder, company.home, state=company.home / "state", signers=signers)


def _all_cells(scene: Scene, company: Rehearsal, rollback: VercelRollback) -> None:
    with suppress(Exception):  # whatever a cell raises, the notebook stops there
        rollback.access_dashboard()
        rollback.go_to_deployments()
        stable = rollback.identify_stable_deployment()
        rollback.review(stable)
        rollback.gate("P1.G1", stable)
        scene.at_gate(company, rollback)
        moved = rollback.move_production(stable)
        scene.moved(company, rollback)
        rollback.monitor(moved)
        rollback.verify(stable)
        scene.verified(company, rollback)
        rollback.close()


def keys_of(home: Path) -> Path:
    """Make the keys of the company's people, once; return their folder."""
    keys = home.parent / "keys"
    SigningDesk((Signer(person="lee"), Signer(person="dee")), home / "state", keys)
    return keys


def sign(home: Path, person: str, of_run: str = "") -> Path:
    """Let somebody sign the request that lies in the store, or the like of another run; return the paper beside it."""
    (place,) = (home / "state").glob("approvals/drill/*/request.json")
    request = json.loads(place.read_bytes())
    if of_run:
        request |= {"run": of_run, "effect": request["effect"] | {"run": of_run}}
        covered = json.dumps({"v": 1} | {name: request[name] for name in COVERED}, **CANONICAL)
        request["digest"] = hashlib.sha256(covered.encode()).hexdigest()
    raw = signed_paper(request, person, ["engineering_lead"], keys_of(home) / person)
    paper = place.with_name(f"signed-{hashlib.sha256(raw).hexdigest()}.json")
    paper.write_bytes(raw)
    return paper


@contextmanager
def _at_home(home: Path) -> Iterator[None]:
    before = os.environ.get("ROLLBACK_HOME")
    os.environ["ROLLBACK_HOME"] = str(home)
    try:
        yield
    finally:
        os.environ.pop("ROLLBACK_HOME")
        if before is not None:
            os.environ["ROLLBACK_HOME"] = before
