"""Procedure 1, step 3: when the issue began, what is suspect, and what may be gone back to.

- Reads only. What is uncertain is a warning in the run, not a guess.
- A candidate that is bad on its own address is passed over, and that is said.
- Where production was moved off the suspect already and looks well, nobody goes further back unasked: a pipeline
  that is started twice would.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import cached_property, partial
from typing import TypeVar

from rollback_lib.clock import to_iso
from rollback_lib.errors import BadParameters, Unreachable
from rollback_lib.model import Check, CheckStatus, DeploymentId
from rollback_lib.procedures.candidates import Candidate, Suspect, find_suspect, refusal, stable_candidates
from rollback_lib.procedures.earlier import Done, refuse_unasked, tried_before, what_was_done
from rollback_lib.procedures.issue import issue_began
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.vercel_facts import Stable, skew_of, state_of
from rollback_lib.providers.app import HealthReading, PageReading
from rollback_lib.providers.vercel import Deployment, Project
from rollback_lib.signals.checks import check_health, check_page, read_rate, side_by_side

__all__ = ["Search"]

R = TypeVar("R", HealthReading, PageReading)
PROBED_AT_MOST = 3  # candidates; each costs a few requests
_UNCHANGED = "Nothing was changed."


@dataclass
class Search:
    """Finds the last stable deployment for one run."""

    session: Session
    _listed: list[Deployment] = field(default_factory=list)

    def deployments(self) -> list[Deployment]:
        """List the production deployments, newest first, read once a kernel."""
        if not self._listed:
            self._listed = list(self.session.clients.vercel.deployments(target="production"))
        return self._listed

    def stable(self) -> Stable:
        """Find the last stable deployment, or check the one asked for.

        Raises:
            BadParameters: No time of the issue, no suspect, no candidate, or the one asked for is not fit.
            Unreachable: Vercel gave no usable answer.
        """
        project = self.session.clients.vercel.project()
        issue_at, issue_from = issue_began(self.session, self._skew_s)
        suspect = self._suspect(project, issue_at)
        candidates = self._candidates(project, suspect)
        self._refuse_further_back_unasked(project, suspect)
        with ThreadPoolExecutor(
            max_workers=1
        ) as pool:  # the baseline is read while the candidates are probed
            rate = pool.submit(self._rate_before)
            chosen, probes, passed_over = self._first_sound(candidates)
        deployment = chosen.deployment
        return Stable(
            deployment=deployment,
            suspect=suspect,
            live=DeploymentId(project.production_id or ""),
            issue_at=issue_at,
            issue_from=issue_from,
            undone=chosen.undone,
            notes=(*chosen.notes, *passed_over),
            probes=probes,
            rate_before=rate.result(),
            preview=self._address(deployment),
            state=state_of(project, deployment),
        )

    def undone(self) -> Stable:
        """Look at what the run that is to be undone left, and whether production is still where it put it.

        Raises:
            BadParameters: Nothing that can be undone, production has moved since, or what it left is gone.
            Unreachable: Vercel gave no usable answer.
        """
        done = what_was_done(self.session, 1, self.session.parameters.undo)
        vercel = self.session.clients.vercel
        project, left, target = (
            vercel.project(),
            vercel.deployment(DeploymentId(done.left)),
            vercel.deployment(DeploymentId(done.target)),
        )
        trouble = _why_no_undo(done, project, left)
        if trouble:
            raise BadParameters(
                f"Run {done.run} cannot be undone: {trouble}.",
                _UNCHANGED,
                "Look at the list of deployments; to move production to another one, begin a rollback with the parameter deployment.",
            )
        probes = self._probe(left) if self._address(left) else ()
        bad = [probe for probe in probes if probe.status is CheckStatus.FAILED]
        notes = tuple(f"{left.id} is bad on its own address: {probe.title}: {probe.seen}" for probe in bad)
        for note in notes:
            self.session.warn(f"undoing brings back what was rolled back: {note}")
        return Stable(
            deployment=left,
            suspect=Suspect(target, done.at, (f"live since run {done.run}",)),
            live=target.id,
            issue_at=done.at,
            issue_from=f"when run {done.run} moved production",
            undone=(),
            notes=notes,
            probes=probes,
            rate_before=self._rate_before(),
            preview=self._address(left),
            state=state_of(project, left),
            undo_of=done.run,
        )

    @cached_property
    def _tried(self) -> dict[str, str]:
        """Return what this incident's other runs went back to; the archive is read once a kernel."""
        return tried_before(self.session, 1, "vercel")

    @property
    def _skew_s(self) -> float:
        """Return how far Vercel's clock is ahead of ours, as far as it tells."""
        return skew_of(self.session.clients.vercel.heard) or 0.0

    def _suspect(self, project: Project, issue_at: datetime) -> Suspect:
        long_live = timedelta(hours=self.session.resolved.policy.suspect_live_long_h)
        found = find_suspect(self.deployments(), project, issue_at, long_live, self._tried)
        if found is None:
            raise BadParameters(
                f"No production deployment was live at {to_iso(issue_at)}, when the issue began.",
                _UNCHANGED,
                "Correct issue_started_at; the list above shows when each deployment went live.",
            )
        for note in found.notes:
            self.session.warn(f"suspect {found.deployment.id}: {note}")
        return found

    def _refuse_further_back_unasked(self, project: Project, suspect: Suspect) -> None:
        live = next((d for d in self.deployments() if d.id == project.production_id), None)
        if (
            live is None
            or live.created_at >= suspect.deployment.created_at
            or self.session.parameters.deployment
        ):
            return
        app, pages = self.session.clients.app, self.session.resolved.platform.app.pages
        jobs = [partial(check_health, app, "P1.S3", "health")]
        jobs += [partial(check_page, app, "P1.S3", page.flow, page.path, page.marker) for page in pages]
        if any(check.status is not CheckStatus.PASSED for check in side_by_side(jobs)):
            return
        already = f"production was moved off the suspect {suspect.deployment.id} already, to {live.id}, and its health and pages are well there"
        refuse_unasked(self.session, already, "deployment")

    def _candidates(self, project: Project, suspect: Suspect) -> tuple[Candidate, ...]:
        found = stable_candidates(self.deployments(), suspect.deployment, project.production_id, project)
        wanted = self.session.parameters.deployment
        if wanted:
            asked = tuple(candidate for candidate in found if candidate.deployment.id == wanted)
            if not asked:
                fit = ", ".join(candidate.deployment.id for candidate in found[:5]) or "there is none"
                raise BadParameters(
                    f"Deployment {wanted} cannot be gone back to: {self._why_not(wanted, suspect, project)}.",
                    _UNCHANGED,
                    f"Choose another: {fit}.",
                )
            return asked
        found = self._not_tried(found)
        if not found:
            raise BadParameters(
                f"No deployment can be gone back to: none before the suspect {suspect.deployment.id} is READY, was in production and is eligible.",
                _UNCHANGED,
                "Roll forward: fix and deploy, or build an older commit again. Check issue_started_at first.",
            )
        return found

    def _not_tried(self, candidates: tuple[Candidate, ...]) -> tuple[Candidate, ...]:
        """Pass over what this incident's other runs went back to already; whoever wants it again names it."""
        for candidate in candidates:
            run = self._tried.get(candidate.deployment.id)
            if run is not None:
                told = f"{candidate.deployment.id} is passed over: run {run} of this incident went back to it already"
                self.session.warn(told)
        return tuple(candidate for candidate in candidates if candidate.deployment.id not in self._tried)

    def _why_not(self, wanted: str, suspect: Suspect, project: Project) -> str:
        known = next((d for d in self.deployments() if d.id == wanted), None)
        if known is None:
            return "it is not a production deployment of this project"
        return (
            refusal(known, suspect.deployment, project.production_id, project)
            or "it is not among the candidates"
        )

    def _first_sound(
        self, candidates: tuple[Candidate, ...]
    ) -> tuple[Candidate, tuple[Check, ...], tuple[str, ...]]:
        """Probe candidates on their own address, newest first; take the first that is not shown to be bad."""
        passed_over: list[str] = []
        looked: list[tuple[Candidate, tuple[Check, ...]]] = []
        for candidate in candidates[:PROBED_AT_MOST]:
            name = candidate.deployment.id
            if not self._address(candidate.deployment):
                passed_over.append(f"{name}: its address {candidate.deployment.url!r} cannot be looked at")
                continue
            probes = self._probe(candidate.deployment)
            bad = next((probe for probe in probes if probe.status is CheckStatus.FAILED), None)
            if bad is None:
                return candidate, probes, tuple(passed_over)
            looked.append((candidate, probes))
            passed_over.append(f"{name} is bad on its own address: {bad.title}: {bad.seen}")
        return self._in_spite_of(passed_over, looked, candidates[0])

    def _in_spite_of(
        self, passed_over: list[str], looked: list[tuple[Candidate, tuple[Check, ...]]], newest: Candidate
    ) -> tuple[Candidate, tuple[Check, ...], tuple[str, ...]]:
        """Take one that was passed over, where a person named it or can be asked; what nobody saw has to be named."""
        doubt = "every candidate tried is bad on its own address, or cannot be looked at: the cause may lie outside the frontend; triage before going on"
        asked = self.session.parameters.mode == "interactive" and bool(looked)
        if not asked and not self.session.parameters.deployment:
            raise BadParameters(
                f"Nothing can be gone back to unseen: {doubt}. {'; '.join(passed_over)}.",
                _UNCHANGED,
                "Triage. To go back all the same, name it in the parameter deployment and begin a new run (new_run = True).",
            )
        self.session.warn(doubt)
        chosen, probes = looked[0] if looked else (newest, ())
        return chosen, probes, (*passed_over, doubt)

    def _address(self, deployment: Deployment) -> str:
        """Return where a deployment itself can be looked at; empty where its address is none."""
        try:
            return self.session.clients.app.preview_url(deployment.url)
        except Unreachable:
            return ""

    def _probe(self, deployment: Deployment) -> tuple[Check, ...]:
        pages = self.session.resolved.platform.app.pages
        jobs: list[Callable[[], Check]] = [partial(self._probe_health, deployment)]
        jobs += [partial(self._probe_page, deployment, page.path, page.marker) for page in pages]
        return tuple(side_by_side(jobs))

    def _probe_health(self, deployment: Deployment) -> Check:
        app = self.session.clients.app
        return self._probed(
            deployment,
            "health on its own address",
            "200 OK",
            lambda: app.health(deployment.url),
            lambda reading: f"HTTP {reading.status}",
        )

    def _probe_page(self, deployment: Deployment, path: str, marker: str) -> Check:
        app = self.session.clients.app
        return self._probed(
            deployment,
            f"{path} on its own address",
            f"200 with the text {marker!r}",
            lambda: app.page(path, marker, deployment.url),
            lambda reading: f"HTTP {reading.status}, text {'found' if reading.marker_found else 'missing'}",
        )

    def _probed(
        self, deployment: Deployment, title: str, wanted: str, read: Callable[[], R], seen: Callable[[R], str]
    ) -> Check:
        """Read something on a deployment's own address; no answer and a closed door say nothing about it."""
        source = self.session.clients.app.preview_url(deployment.url)

        def check(status: CheckStatus, text: str) -> Check:
            return Check("P1.S3", title, status, text, wanted, source, required=False)

        try:
            reading = read()
        except Unreachable as exc:
            return check(CheckStatus.UNKNOWN, exc.reason)
        if reading.protected:
            return check(
                CheckStatus.UNKNOWN, "protected by Vercel: set VERCEL_AUTOMATION_BYPASS_SECRET to look"
            )
        return check(CheckStatus.PASSED if reading.ok else CheckStatus.FAILED, seen(reading))

    def _rate_before(self) -> float | None:
        policy = self.session.resolved.policy
        end = self.session.clock.now() + timedelta(seconds=self._skew_s - policy.telemetry_lag_s)
        reading = read_rate(
            self.session.clients.sentry, end - timedelta(seconds=policy.baseline_window_s), end
        )
        if isinstance(reading, str):
            self.session.warn(f"the error rate before the rollback could not be read: {reading}")
            return None
        if reading.doubt:
            self.session.warn(f"the error rate before the rollback is no sound measure: {reading.doubt}")
            return None
        return reading.rate if reading.count >= policy.min_requests else None


def _why_no_undo(done: Done, project: Project, left: Deployment) -> str:
    reasons = (
        (
            done.before["project"] != project.id,
            f"it moved project {done.before['project']}, this is {project.id}",
        ),
        (
            project.production_id != done.target,
            f"production is not on {done.target} any more but on {project.production_id}: undoing would overrun what was done since",
        ),
        (left.deleted, f"{left.id}, which it left, is deleted"),
        (left.state != "READY", f"{left.id}, which it left, is {left.state}, not READY"),
    )
    return next((reason for applies, reason in reasons if applies), "")
