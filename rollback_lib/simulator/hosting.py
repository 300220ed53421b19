"""The hosting platform's own state and what may be done to it.

- Production moves by an alias job or by a finished build while auto-assign is on, never by a request alone.
- A rollback that succeeded switches auto-assign off; a promotion that succeeded switches it on.
- A job that did not succeed leaves auto-assign and the production target as they were.
- Each change is written down with its time and its cause, for whoever judges from outside.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial
from random import Random
from typing import Any, Literal

from rollback_lib.simulator import company
from rollback_lib.simulator.agenda import Agenda
from rollback_lib.simulator.deployments import AliasJob, Deployment, Project, RollbackNote
from rollback_lib.simulator.history import COLLEAGUE, new_deployment_id, new_url, write_past
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.spec import Fault, WorldSpec
from rollback_lib.simulator.variables import Variables

__all__ = ["Effect", "Hosting"]

_SHOWN_MS = 2_000  # how long lastRollbackTarget is filled
_INITIALIZING, _BUILDING = 0.1, 0.25  # shares of the build time
_RUNNING = ("QUEUED", "INITIALIZING", "BUILDING")


@dataclass(frozen=True)
class Effect:
    """One change of the platform, with its time on the world's clock."""

    at_ms: int
    what: str
    by: str
    detail: dict[str, Any] = field(default_factory=dict)


class Hosting:
    """Deployments, domains, the project and its jobs; time passes through the agenda."""

    def __init__(
        self, spec: WorldSpec, began_ms: int, agenda: Agenda, witness: Callable[[str, int], None]
    ) -> None:
        self.spec = spec
        self._agenda = agenda
        self._witness = witness  # is told of a colleague's requests: path and time
        self._rng = Random(f"platform:{spec.seed}")  # noqa: S311 - repeatable, not secret
        past = write_past(spec, began_ms)
        self.deployments, self.aliases, self.roles = past.deployments, past.aliases, past.roles
        hosts = (*company.DOMAINS, company.AUTOMATIC_ALIAS)
        created_ms = min(deployment.created_ms for deployment in self.deployments.values())
        self.project = Project(company.PROJECT_ID, company.PROJECT_NAME, hosts, created_ms, last_job=past.job)
        self.project.rolling = past.rolling
        self.production = self.aliases.moves(hosts[0])  # when each became the production deployment
        self.project.crons_deployment, self.project.crons_updated_ms = self.current, self.production[-1][0]
        self.variables = Variables(spec.seed, created_ms)
        for deployment in self.deployments.values():
            deployment.env = self.variables.for_build(deployment.target)
        self.effects: list[Effect] = []
        if (
            past.rolling is not None
            and spec.rolling_release
            and spec.rolling_release.ends_after_s is not None
        ):
            agenda.at(began_ms + round(spec.rolling_release.ends_after_s * 1000), self._end_rolling)

    # --- looking -----------------------------------------------------------------------------------------

    @property
    def current(self) -> str:
        """The production deployment as the project names it."""
        return self.production[-1][1]

    @property
    def previous(self) -> str | None:
        """The one before it."""
        return next((id_ for _, id_ in reversed(self.production) if id_ != self.current), None)

    def find(self, id_or_host: str) -> Deployment:
        """Find a deployment by its id, its own host or a host that points at it."""
        found = self.deployments.get(id_or_host) or self.deployments.get(self.aliases.now(id_or_host) or "")
        if found is None:
            raise Refusal(404, "not_found", "Deployment not found")
        if found.deleted_ms is not None:
            raise Refusal(410, "gone", f"The deployment {found.id} has been deleted.")
        return found

    @property
    def is_rolling(self) -> bool:
        """A gradual rollout is under way."""
        return self.project.rolling is not None and self.project.rolling.until_ms is None

    # --- moving production --------------------------------------------------------------------------------

    def rollback(self, to_id: str, by: str, at_ms: int, note: str = "", fault: Fault | None = None) -> None:
        """Take a request for an instant rollback; the domains move later."""
        target = self._target(to_id)
        if not target.is_rollback_candidate:
            raise Refusal(422, "unprocessable_entity", f"Deployment {to_id} is not eligible for rollback.")
        if to_id == self.current:
            raise Refusal(422, "unprocessable_entity", f"Deployment {to_id} is already the current one.")
        if self.spec.plan == "hobby" and to_id != self.previous:
            text = "To roll back further than the previous production deployment, upgrade to pro"
            raise Refusal(402, "payment_required", text)
        self._refuse_while_running()
        self._stop_rolling(at_ms)
        if note:
            self.project.rollback_note = RollbackNote(note, at_ms)
        self._start(AliasJob("rollback", self.current, to_id, at_ms, by), fault)

    def promote(
        self, to_id: str, by: str, at_ms: int, fault: Fault | None = None
    ) -> Literal["accepted", "queued"]:
        """Take a request for a promotion; the domains move later, after a rolling release if one is under way."""
        target = self._target(to_id)
        if to_id == self.current:
            text = f"The provided deploymentId ({to_id}) is already the current production deployment."
            raise Refusal(409, "conflict", text)
        if target.target != "production" or target.state != "READY":
            raise Refusal(422, "unprocessable_entity", f"Deployment {to_id} cannot be promoted.")
        if target.is_live_once and self.spec.promote_again != "accept":
            text = f"Deployment {to_id} has been promoted before; roll back to it instead."
            raise Refusal(int(self.spec.promote_again), "cannot_promote_again", text)
        self._refuse_while_running()
        job = AliasJob("promote", self.current, to_id, at_ms, by)
        if self.is_rolling:
            self.project.queued_promote = job
            return "queued"
        self._start(job, fault)
        return "accepted"

    def _target(self, to_id: str) -> Deployment:
        if not to_id.startswith("dpl_"):
            raise Refusal(
                400, "bad_request", f"Invalid request: `id` should be a deployment id, got {to_id!r}."
            )
        target = self.find(to_id)
        if target.project_id != self.project.id:
            raise Refusal(404, "not_found", "Deployment not found")
        return target

    def _refuse_while_running(self) -> None:
        job = self.project.last_job
        if job is not None and job.is_running:
            raise Refusal(409, "conflict", f"A {job.kind} to {job.to_id} is already in progress.")

    def _start(self, job: AliasJob, fault: Fault | None = None) -> None:
        """Begin a job; an earlier one that is still running never moves anything."""
        if self.project.last_job is not None and self.project.last_job.is_running:
            self.project.last_job.superseded = True
        job.hosts = dict.fromkeys(self.project.production_hosts, "pending")
        self.project.last_job = job
        self._note(job.requested_ms, f"{job.kind} requested", job.by, to=job.to_id)
        begin_ms = job.requested_ms + round(self.spec.jobs.pending_s * 1000)
        self._agenda.at(begin_ms, partial(self._begin, job))
        if fault is None or fault.kind != "job_stuck":
            finish_ms = begin_ms + round(self.spec.jobs.running_s * 1000)
            self._agenda.at(finish_ms, partial(self._finish, job, fault))
        if fault is not None and fault.kind == "concurrent_promote":
            at_ms = job.requested_ms + round(fault.delay_s * 1000)
            self._agenda.at(at_ms, partial(self._colleague_promotes, fault, job.to_id))

    @staticmethod
    def _begin(job: AliasJob, _at_ms: int) -> None:
        if not job.superseded:
            job.status = "in-progress"
            job.hosts = dict.fromkeys(job.hosts, "in-progress")

    def _finish(self, job: AliasJob, fault: Fault | None, at_ms: int) -> None:
        """End a job as the fault wants it, or well."""
        if job.superseded:
            return
        kind = fault.kind if fault is not None else ""
        hosts = list(job.hosts)
        lost = {"job_failed": hosts, "job_skipped": hosts, "partial": hosts[1:2]}.get(kind, [])
        for host in hosts:
            job.hosts[host] = (
                ("skipped" if kind == "job_skipped" else "failed") if host in lost else "completed"
            )
            if host not in lost:
                self.move_host(host, job.to_id, at_ms, job.kind, job.by)
        job.status = "skipped" if kind == "job_skipped" else "failed" if lost else "succeeded"
        self._note(at_ms, f"{job.kind} {job.status}", job.by, to=job.to_id)
        if job.status == "succeeded":
            self._settle(job, at_ms)

    def _settle(self, job: AliasJob, at_ms: int) -> None:
        self._become_production(self.deployments[job.to_id], at_ms)
        self.set_auto_assign(job.kind == "promote", at_ms, job.by)
        if job.kind == "rollback":
            self.project.rollback_target = (job.to_id, at_ms + _SHOWN_MS)
        else:
            self.project.rollback_note = None

    def _become_production(self, deployment: Deployment, at_ms: int) -> None:
        deployment.substate = "PROMOTED"  # aliasAssigned stays that of its own hosts: it need not tell this
        self.production.append((at_ms, deployment.id))
        self.project.crons_deployment, self.project.crons_updated_ms = deployment.id, at_ms

    def move_host(self, host: str, to_id: str, at_ms: int, why: str, by: str) -> str | None:
        """Point one host at a deployment; returns the one it pointed at before."""
        before = self.aliases.now(host)
        self.aliases.move(host, to_id, at_ms)
        self._note(at_ms, "host moved", by, host=host, before=before, to=to_id, why=why)
        return before

    def set_auto_assign(self, value: bool, at_ms: int, by: str) -> None:
        """Let later production builds take the domains, or not."""
        if self.project.auto_assign != value:
            self._note(at_ms, "auto-assign set", by, value=value)
        self.project.auto_assign = value

    def describe_rollback(self, text: str, by: str, at_ms: int) -> None:
        """Keep another reason with the rollback."""
        self.project.rollback_note = RollbackNote(text, at_ms)
        self._note(at_ms, "rollback described", by)

    def new_bypass(self, at_ms: int) -> None:
        """Make a further secret that opens protected deployments."""
        self.project.bypass_secrets[f"{self._rng.getrandbits(128):032x}"] = at_ms

    def note_change(self, at_ms: int, what: str, by: str, **detail: Any) -> None:
        """Write down a change that was made elsewhere, such as to a variable."""
        self._note(at_ms, what, by, **detail)

    def _note(self, at_ms: int, what: str, by: str, **detail: Any) -> None:
        self.effects.append(Effect(at_ms, what, by, detail))

    # --- rolling releases and colleagues -------------------------------------------------------------------

    def _stop_rolling(self, at_ms: int) -> None:
        if self.project.rolling is not None and self.is_rolling:
            self.project.rolling.until_ms = at_ms
            self.deployments[self.project.rolling.canary_id].substate = "STAGED"
            self.project.queued_promote = None

    def _end_rolling(self, at_ms: int) -> None:
        """Let the canary take everything; then a promotion that waited begins."""
        rolling = self.project.rolling
        if rolling is None or rolling.until_ms is not None:
            return
        rolling.until_ms = at_ms
        self._take_domains(self.deployments[rolling.canary_id], at_ms, "rolling release", COLLEAGUE)
        waiting = self.project.queued_promote
        if waiting is not None:
            self.project.queued_promote = None
            waiting.from_id, waiting.requested_ms = self.current, at_ms
            self._start(waiting)

    def _take_domains(self, deployment: Deployment, at_ms: int, why: str, by: str) -> None:
        for host in self.project.production_hosts:
            self.move_host(host, deployment.id, at_ms, why, by)
        self._become_production(deployment, at_ms)

    def _colleague_promotes(self, fault: Fault, besides: str, at_ms: int) -> None:
        """Let somebody else promote another deployment; the platform takes it although a job may be running."""
        roles = [role for role in (fault.promotes, "hotfix", "second", "third") if role in self.roles]
        choice = next(
            self.roles[role]
            for role in roles
            if self.roles[role] != besides and self.deployments[self.roles[role]].state == "READY"
        )
        self._witness(f"/v10/projects/{self.project.id}/promote/{choice}", at_ms)
        self._start(AliasJob("promote", self.current, choice, at_ms, COLLEAGUE))

    # --- builds ---------------------------------------------------------------------------------------------

    def build(self, plan: Deployment, by: str) -> Deployment:
        """Queue a build; it is ready, and perhaps live, after a while."""
        self.deployments[plan.id] = plan
        self.aliases.move(plan.url, plan.id, plan.created_ms)
        plan.env = self.variables.for_build(plan.target)
        at_ms, whole_ms = plan.created_ms, self.spec.jobs.build_s * 1000
        self._note(at_ms, "deployment created", by, id=plan.id, target=plan.target)
        self._agenda.at(at_ms + round(whole_ms * _INITIALIZING), partial(self._advance, plan, "INITIALIZING"))
        self._agenda.at(at_ms + round(whole_ms * _BUILDING), partial(self._advance, plan, "BUILDING"))
        self._agenda.at(at_ms + round(whole_ms), partial(self._end_build, plan, by))
        return plan

    def plan_build(
        self, source: Deployment | None, target: str | None, meta: dict[str, str], at_ms: int
    ) -> Deployment:
        """Prepare a build of an earlier deployment's source, or of a commit named in `meta`."""
        sha = meta.get("githubCommitSha")
        same = source or next((old for old in self.deployments.values() if sha and old.sha == sha), None)
        return Deployment(
            id=new_deployment_id(self._rng),
            name=self.project.name,
            project_id=self.project.id,
            url=new_url(self._rng, self.project.name),
            created_ms=at_ms,
            state="QUEUED",
            target=target,
            source="redeploy" if source else "git",
            meta={**(source.meta if source else {}), **meta},
            broken=same.broken if same else False,
        )

    def cancel(self, deployment: Deployment, by: str, at_ms: int) -> None:
        """Stop a build that has not come to its end."""
        if deployment.state not in _RUNNING:
            raise Refusal(
                400, "bad_request", f"The deployment {deployment.id} is {deployment.state}, not building."
            )
        deployment.state = "CANCELED"
        self._note(at_ms, "build canceled", by, id=deployment.id)

    @staticmethod
    def _advance(plan: Deployment, state: Literal["INITIALIZING", "BUILDING"], at_ms: int) -> None:
        if plan.state in _RUNNING:
            plan.state = state
            plan.building_ms = at_ms if state == "BUILDING" else plan.building_ms

    def _end_build(self, plan: Deployment, by: str, at_ms: int) -> None:
        if plan.state not in _RUNNING:
            return
        if self.spec.jobs.build_outcome == "error":
            plan.state, plan.error = "ERROR", ("BUILD_FAILED", 'Command "npm run build" exited with 1')
            return
        plan.state, plan.ready_ms, plan.alias_assigned = "READY", at_ms, at_ms
        if plan.target == "production":
            plan.substate = "STAGED"
            if self.project.auto_assign:
                self._take_domains(plan, at_ms, "build", by)
