"""Procedure 1, steps 4 to 6: did it happen, what is live, and is production well again.

- Reads only. A job counts as ours by its target, its type and its time.
- What is live is proven by the project and every production domain agreeing, and the app's own marker where it tells one.
- The error rate is judged in a window that begins when production was seen on the target, and only as long as it is.
- This run's own looks at the app do not count as traffic.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from functools import partial

from rollback_lib.errors import CheckFailed, OutcomeUnknown, RollbackError
from rollback_lib.model import Check, CheckStatus
from rollback_lib.procedures.effects import Observation, Seen, pauses
from rollback_lib.procedures.session import Session
from rollback_lib.procedures.vercel_facts import Moved, Stable, skew_of
from rollback_lib.providers.deployments import AliasJob, Project
from rollback_lib.providers.slack import escape
from rollback_lib.signals.checks import (
    RateLimits,
    check_health,
    check_page,
    judge_rate,
    percent,
    read_rate,
    side_by_side,
)

__all__ = ["Watch"]


@dataclass
class Watch:
    """Looks at production for one run."""

    session: Session
    moves: tuple[str, ...]  # the kinds of job that may be ours: rollback, promote
    _looks: list[datetime] = field(default_factory=list)  # when this kernel looked at the app

    def observe(self, target: str, since: datetime) -> Observation:
        """Ask Vercel whether the job that may have been sent since then is there.

        Raises:
            Unreachable: No usable answer.
        """
        project = self.session.clients.vercel.project()
        skew_s, job = skew_of(self.session.clients.vercel.heard), project.last_alias_job
        tolerance_s = self.session.resolved.policy.clock_skew_s
        earliest = since + timedelta(seconds=(skew_s or 0.0) - tolerance_s)
        if job is None or job.requested_at is None or job.requested_at < earliest:
            found = _without_job(project, target)
        elif job.to_id != target or job.type not in self.moves:
            found = _overtaken(job, job.requested_at, project)
        else:
            found = _of_job(job, project, target)
        return replace(found, skew_s=skew_s)

    def until_over(self, moved: Moved) -> Observation:
        """Wait until the job is over.

        Raises:
            OutcomeUnknown: Not over within the deadline, or somebody else's job has taken its place.
        """
        policy, clock = self.session.resolved.policy, self.session.clock
        deadline = clock.monotonic() + policy.alias_job_deadline_s
        found = Observation(Seen.UNCLEAR, "not asked yet")
        for pause in pauses(policy.poll_first_s, policy.poll_max_s):
            found = self._observe_calmly(moved)
            if found.seen in (Seen.HAPPENED, Seen.BROKEN):
                data = {
                    "name": f"job to {moved.target}",
                    "seen": found.seen.value,
                    "detail": found.detail,
                    "skew_s": found.skew_s,
                }
                self.session.journal.append("job.over", step="P1.S5", data=data)
                return found
            if found.overtaken or clock.monotonic() >= deadline:
                break
            self.session.thread.update_if_due(f"Rollback to {moved.target}: {escape(found.detail)}")
            clock.sleep(pause)
        raise self._not_over(moved, found)

    def half_way(self, moved: Moved, found: Observation) -> CheckFailed:
        """Say which domains moved when a job ended badly."""
        return CheckFailed(
            f"Vercel's job to {moved.target} ended badly: {found.detail}.",
            self.where_domains_are(moved.target),
            "Begin a new run (new_run = True): it reads the state as it is now and tries again. If it fails again, move the domains in the Vercel dashboard.",
        )

    def where_domains_are(self, target: str) -> str:
        """Say for each production domain what it serves now."""
        try:
            aliases = self._aliases()
        except RollbackError as exc:
            return f"Unknown which domains moved: {exc.happened}"
        if not aliases:
            return "Unknown: Vercel lists no production domain of the project."
        told = "; ".join(
            f"{host} → {where}{' (moved)' if where == target else ' (NOT moved)'}"
            for host, where in aliases.items()
        )
        moved = sum(where == target for where in aliases.values())
        return f"{moved} of {len(aliases)} production domains serve {target}: {told}."

    def proof_of_live(self, target: str, sha: str) -> Check:
        """Look until production is shown to be the target, or the time to look is over."""
        policy, clock = self.session.resolved.policy, self.session.clock
        deadline = clock.monotonic() + policy.observe_s
        while True:
            check = self._live_now(target, sha)
            if check.status is CheckStatus.PASSED or clock.monotonic() >= deadline:
                return check
            clock.sleep(policy.poll_max_s)

    def until_well(self, stable: Stable, sha: str) -> list[Check]:
        """Look at what is live, health, error rate and pages until all passed in one look, or the time is over.

        Ends at once where production is not on the target any more.

        Args:
            stable: What production was moved to.
            sha: Its commit if that tells it from every other deployment; else empty.

        Returns:
            The checks of the last look.
        """
        policy, clock = self.session.resolved.policy, self.session.clock
        deadline = clock.monotonic() + policy.verify_deadline_s
        while True:
            checks = self._look(stable, sha)
            well = all(check.status is CheckStatus.PASSED for check in checks)
            moved_away = (
                checks[0].status is CheckStatus.FAILED
            )  # nothing that is seen now is about the target
            if well or moved_away or clock.monotonic() >= deadline:
                return checks
            self.session.thread.update_if_due(
                "Rolled back; watching: " + "; ".join(f"{escape(c.title)}: {c.status}" for c in checks)
            )
            clock.sleep(policy.verify_poll_s)

    def limits(self) -> RateLimits:
        """Return what an error rate is held against: the plan's threshold, policy's window and traffic."""
        policy, limit = self.session.resolved.policy, self.session.plan.criterion("P1.C3").limit
        if limit is None:
            raise RuntimeError("the plan's criterion P1.C3 has no limit")
        return RateLimits(limit.threshold, policy.min_requests, policy.error_window_s, policy.telemetry_lag_s)

    def _observe_calmly(self, moved: Moved) -> Observation:
        try:
            return self.observe(moved.target, moved.sent_at)
        except RollbackError as exc:
            return Observation(Seen.UNCLEAR, exc.reason)

    def _not_over(self, moved: Moved, found: Observation) -> OutcomeUnknown:
        self.session.journal.append(
            "job.unknown", step="P1.S5", data={"name": f"job to {moved.target}", "reason": found.detail}
        )
        if found.overtaken:
            return OutcomeUnknown(
                f"The request to move production to {moved.target} was sent, but {found.detail}.",
                self.where_domains_are(moved.target),
                "Ask in the incidents channel who did that and why. If the move is still wanted, begin a new run (new_run = True): it looks at everything again. Running this cell again only looks once more.",
            )
        return OutcomeUnknown(
            f"The rollback to {moved.target} is not over after {self.session.resolved.policy.alias_job_deadline_s:g} s: {found.detail}.",
            self.where_domains_are(moved.target),
            "Run this cell again: it goes on watching and sends nothing. If it stays so, look at the Vercel dashboard and its status page.",
        )

    def _aliases(self) -> dict[str, str]:
        vercel = self.session.clients.vercel
        hosts = [domain.host for domain in vercel.domains() if not domain.git_branch and not domain.redirect]
        found = side_by_side([partial(vercel.alias, host) for host in hosts])
        return {
            host: str(alias.deployment_id) if alias is not None else "nothing"
            for host, alias in zip(hosts, found, strict=True)
        }

    def _live_now(self, target: str, sha: str) -> Check:
        """Hold the app's own marker, where it tells one, and every record against the target; all must agree."""
        title = self.session.plan.criterion("P1.C1").text
        records = self.live_by_records(target, title)
        told = self._told_by_app(target, sha)
        if told is None or records.status is not CheckStatus.PASSED:
            return records
        same, seen = told
        status = CheckStatus.PASSED if same else CheckStatus.FAILED
        return Check(
            "P1.C1",
            title,
            status,
            f"{seen}; {records.seen}",
            f"{target} live",
            f"the app's version path and {records.source}",
        )

    def _told_by_app(self, target: str, sha: str) -> tuple[bool, str] | None:
        """Return whether the app says it is the target, and what it says; None where it says nothing that counts."""
        marker = self._marker()
        if marker is None:
            return None
        deployment, commit = marker
        if deployment:
            return deployment == target, f"the app says it is {deployment}"
        return (commit == sha, f"the app says it is commit {commit}") if sha else None

    def live_by_records(self, target: str, title: str) -> Check:
        """Say whether the project and every production domain's alias record agree on the target."""
        source = "Vercel's project and alias records"
        try:
            production, aliases = self.session.clients.vercel.project().production_id, self._aliases()
        except RollbackError as exc:
            return Check("P1.C1", title, CheckStatus.UNKNOWN, exc.reason, f"{target} live", source)
        agree = production == target and bool(aliases) and set(aliases.values()) == {target}
        seen = f"project says {production}; " + ", ".join(
            f"{host} → {where}" for host, where in aliases.items()
        )
        status = CheckStatus.PASSED if agree else CheckStatus.FAILED
        return Check("P1.C1", title, status, seen, f"{target} live", source)

    def _marker(self) -> tuple[str, str] | None:
        """Return (deployment, commit) as the app tells, or None where it tells neither."""
        try:
            version = self.session.clients.app.version()
        except RollbackError:
            return None
        if not (version.deployment or version.sha):
            return None
        return version.deployment or "", version.sha or ""

    def _look(self, stable: Stable, sha: str) -> list[Check]:
        app, pages = self.session.clients.app, self.session.resolved.platform.app.pages
        self._looks.append(self.session.clock.now())
        jobs: list[Callable[[], Check]] = [
            partial(self._live_now, stable.deployment.id, sha),
            partial(check_health, app, "P1.C2", self.session.plan.criterion("P1.C2").text),
            partial(self._rate_check, stable),
            *(
                partial(check_page, app, f"P1.C4.{n}", page.flow, page.path, page.marker)
                for n, page in enumerate(pages, start=1)
            ),
        ]
        return side_by_side(jobs)

    def _no_rate(self, why: str) -> Check:
        limits, title = self.limits(), self.session.plan.criterion("P1.C3").text
        wanted = f"< {percent(limits.threshold)} over {limits.window_s:g} s"
        return Check("P1.C3", title, CheckStatus.UNKNOWN, why, wanted, "Sentry")

    def _rate_check(self, stable: Stable) -> Check:
        """Judge the newest complete window that begins after production was seen on the target."""
        limits, title = self.limits(), self.session.plan.criterion("P1.C3").text
        over = self.session.journal.last("job.over", "P1.S5")
        if over is None:
            return self._no_rate("when production moved is not on record: monitoring was skipped")
        skew_s = over.data["skew_s"]
        if skew_s is None:
            return self._no_rate("Vercel does not tell its time, so this machine's clock cannot be trusted")
        if abs(skew_s) > self.session.resolved.policy.clock_skew_s:
            return self._no_rate(
                f"this machine's clock is {skew_s:+.0f} s off the platform's, so no window can be trusted"
            )
        ahead = timedelta(seconds=skew_s)  # the monitoring's clock is the platform's
        end = (self.session.clock.now() + ahead - timedelta(seconds=limits.lag_s)).replace(microsecond=0)
        began = datetime.fromisoformat(over.at) + ahead
        start = max(_next_second(began), end - timedelta(seconds=limits.window_s))
        if end - start < timedelta(seconds=limits.window_s):
            return self._no_rate("the window after the rollback is not complete yet")
        reading = read_rate(self.session.clients.sentry, start, end)
        own = self._own_requests(start - ahead, end - ahead)
        return judge_rate("P1.C3", title, reading, stable.rate_before, limits, own=own)

    def _own_requests(self, start: datetime, end: datetime) -> int:
        """Count this kernel's own requests to the public address in a window by our clock, give or take a look at its ends."""
        app = self.session.resolved.platform.app
        each = len(app.pages) + len([path for path in (app.health_path, app.version_path) if path])
        return each * sum(start <= at <= end for at in self._looks)


def _overtaken(job: AliasJob, requested_at: datetime, project: Project) -> Observation:
    """Say that another change took the place of ours; the platform then tells nothing of ours any more."""
    what = f"another {job.type} to {job.to_id} ({job.status}, {requested_at:%H:%M:%S} UTC) has taken its place; live: {project.production_id}"
    return Observation(Seen.UNCLEAR, what, overtaken=job.status in ("succeeded", "failed", "skipped"))


def _without_job(project: Project, target: str) -> Observation:
    if project.production_id == target:
        return Observation(Seen.HAPPENED, "production is on the target, without a job on record")
    return Observation(Seen.NOT_HAPPENED, f"no job since then, and production is on {project.production_id}")


def _of_job(job: AliasJob, project: Project, target: str) -> Observation:
    """Read our own job; only `succeeded` is success, and a skipped one counts where production is on the target anyway."""
    if job.status in ("pending", "in-progress"):
        return Observation(Seen.RUNNING, f"job {job.status}")
    if job.status == "succeeded" or (job.status == "skipped" and project.production_id == target):
        return Observation(Seen.HAPPENED, f"job {job.status}")
    return Observation(Seen.BROKEN, f"job {job.status}")


def _next_second(instant: datetime) -> datetime:
    whole = instant.replace(microsecond=0)
    return whole if whole == instant else whole + timedelta(seconds=1)
