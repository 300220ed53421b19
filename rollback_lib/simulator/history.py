"""What happened before the world began: the deployments of the last weeks and who served when.

- Everything follows from the spec's seed and the moment the world began.
- What misleads is here on purpose; `roles` names it, so that tests and judges need not guess.
- The recorded past holds together: whoever served was built before, one at a time for each host.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from random import Random
from typing import Literal

from rollback_lib.simulator import company
from rollback_lib.simulator.deployments import AliasJob, AliasTable, Deployment, Rolling
from rollback_lib.simulator.spec import WorldSpec

__all__ = ["COLLEAGUE", "Past", "new_deployment_id", "new_url", "write_past"]

COLLEAGUE = "colleague"  # who acts in the world besides the runbook
_HOSTS = (*company.DOMAINS, company.AUTOMATIC_ALIAS)
_SECOND, _MINUTE, _HOUR = 1_000, 60_000, 3_600_000
_BUILD_MS = 95 * _SECOND
_READY_TO_LIVE_MS = 1_200
_ALPHABET = "ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789"
_SUBJECTS = (
    "Cache the membership tiers for a minute",
    "Let trainers close single days",
    "Show prices with tax in the marketplace",
    "Bump the framework to its latest patch",
    "Fix the date picker on small screens",
    "Ask for the goal before an AI plan is made",
    "Move the cookie banner out of the way",
    "Remove an unused feature flag",
)
_AUTHORS = ("ana", "lee", "dee")
_PREVIEW_SHARE = 0.4  # of the old deployments


@dataclass
class Past:
    """The state of the platform at the moment the world begins."""

    deployments: dict[str, Deployment] = field(default_factory=dict)
    aliases: AliasTable = field(default_factory=AliasTable)
    roles: dict[str, str] = field(default_factory=dict)  # role -> deployment id
    job: AliasJob | None = None
    rolling: Rolling | None = None


def new_deployment_id(rng: Random) -> str:
    """Make an id as the platform does."""
    return "dpl_" + "".join(rng.choices(_ALPHABET, k=24))


def new_url(rng: Random, name: str) -> str:
    """Make the host of a deployment, which never changes and is never used again."""
    return f"{name}-{''.join(rng.choices('abcdefghijkmnpqrstuvwxyz23456789', k=9))}-derrimut.vercel.drill"


def write_past(spec: WorldSpec, began_ms: int) -> Past:
    """Make up the deployments, the moves of the domains and the last alias job before the world began."""
    return _Author(spec, began_ms).write()


class _Author:
    """Writes one past, from the oldest deployment to the newest."""

    def __init__(self, spec: WorldSpec, began_ms: int) -> None:
        self._spec = spec
        self._began_ms = began_ms
        self._rng = Random(f"past:{spec.seed}")  # noqa: S311 - the past must be repeatable, not secret
        self._issue_ms = began_ms - round(spec.broken.issue_age_s * _SECOND)
        self._bad_live_ms = self._issue_ms - round(spec.broken.live_before_issue_s * _SECOND)
        self._stable_live_ms = self._bad_live_ms - 5 * _HOUR
        self._live_ms: dict[str, int] = {}  # where it cannot be told from the deployment
        self._past = Past()

    def write(self) -> Past:
        """Write all of it."""
        self._older()
        self._recent_stable()
        if self._spec.traps:
            self._traps()
        self._culprit()
        self._hotfix()
        self._move_domains()
        self._spoil()
        if self._spec.traps:
            self._other_project()
        return self._past

    def _add(self, role: str, live_ms: int, **fields: object) -> Deployment:
        """Add a deployment that was ready just before `live_ms`; as written it is a production build."""
        created_ms = live_ms - _BUILD_MS - self._rng.randrange(_SECOND, 9 * _SECOND)
        name = str(fields.pop("name", company.PROJECT_NAME))
        deployment = Deployment(
            id=new_deployment_id(self._rng),
            name=name,
            project_id=str(fields.pop("project_id", company.PROJECT_ID)),
            url=new_url(self._rng, name),
            created_ms=created_ms,
            building_ms=created_ms + 1_400,
            ready_ms=live_ms - _READY_TO_LIVE_MS,
            state="READY",
            target="production",
            creator=self._rng.choice(_AUTHORS),
            meta=self._commit("main"),
            alias_assigned=live_ms,
        )
        for key, value in fields.items():
            setattr(deployment, key, value)
        self._past.deployments[deployment.id] = deployment
        self._past.aliases.move(deployment.url, deployment.id, created_ms)
        if role:
            self._past.roles[role] = deployment.id
        return deployment

    def _commit(self, branch: str) -> dict[str, str]:
        return {
            "githubCommitSha": f"{self._rng.getrandbits(160):040x}",
            "githubCommitRef": branch,
            "githubCommitMessage": self._rng.choice(_SUBJECTS),
            "githubCommitAuthorLogin": self._rng.choice(_AUTHORS),
            "githubOrg": "derrimut",
            "githubRepo": company.PROJECT_NAME,
            "githubRepoId": "70415",
            "githubDeployment": "1",
        }

    def _preview(self, role: str, ready_ms: int, branch: str) -> Deployment:
        return self._add(role, ready_ms, target=None, meta=self._commit(branch))

    def _older(self) -> None:
        """Weeks of ordinary work, enough that nobody sees it all on one page."""
        at_ms = self._stable_live_ms - 40 * _HOUR
        times = []
        for _ in range(self._spec.older_deployments):
            at_ms -= self._rng.randrange(40 * _MINUTE, 9 * _HOUR)
            times.append(at_ms)
        for live_ms in reversed(times):
            if self._rng.random() < _PREVIEW_SHARE:
                self._preview("", live_ms, f"work/{self._rng.randrange(900)}")
            else:
                self._add("", live_ms, substate="PROMOTED")

    def _recent_stable(self) -> None:
        """The three that served before the culprit; the middle one was deployed by hand, without a commit."""
        self._add("third", self._stable_live_ms - 30 * _HOUR, substate="PROMOTED", alias_assigned=True)
        self._add(
            "second",
            self._stable_live_ms - 21 * _HOUR,
            substate="PROMOTED",
            source="cli",
            meta={"gitDirty": "1"},
        )
        self._add("stable", self._stable_live_ms, substate="PROMOTED")

    def _traps(self) -> None:
        """Deployments that look like an answer and are none."""
        hobby = self._spec.plan == "hobby"  # there, only the very previous one may be gone back to
        live_ms = self._stable_live_ms - 30 * _MINUTE if hobby else self._bad_live_ms - 90 * _MINUTE
        deleted_ms = min(_MINUTE + (self._stable_live_ms if hobby else self._bad_live_ms), self._began_ms)
        self._add("ineligible", self._stable_live_ms - _HOUR, substate="PROMOTED", retained=False)
        self._add("deleted", live_ms, substate="PROMOTED", state="DELETED", deleted_ms=deleted_ms)
        self._add("staged", self._bad_live_ms - 4 * _HOUR, substate="STAGED")
        self._add(
            "canceled", self._bad_live_ms - 3 * _HOUR, state="CANCELED", ready_ms=None, alias_assigned=None
        )
        self._failed_build("error", self._bad_live_ms - 2 * _HOUR)
        self._preview("preview_before", self._bad_live_ms - _HOUR, "work/checkout")
        staging = self._preview("preview_staging", self._bad_live_ms - 40 * _MINUTE, "staging")
        self._past.aliases.move(company.STAGING_DOMAIN, staging.id, self._bad_live_ms - 40 * _MINUTE)

    def _failed_build(self, role: str, at_ms: int) -> None:
        self._add(
            role,
            at_ms,
            state="ERROR",
            ready_ms=None,
            alias_assigned=None,
            error=("BUILD_UTILS_SPAWN_1", 'Command "npm run build" exited with 1'),
        )

    def _culprit(self) -> None:
        """The one that carries the fault; it is created before the issue, sometimes long before it went live."""
        promoted = self._spec.broken.went_live_by == "promote"
        built_ms = self._stable_live_ms - 90 * _MINUTE if promoted else self._bad_live_ms
        known = self._spec.suspect_alias_time_known
        bad = self._add(
            "bad", built_ms, substate="PROMOTED", broken=True, alias_assigned=built_ms if known else True
        )
        self._live_ms[bad.id] = self._bad_live_ms

    def _hotfix(self) -> None:
        """What somebody tried in a hurry; it does not help."""
        at_ms = self._issue_ms + (self._began_ms - self._issue_ms) // 2
        if self._spec.hotfix == "staged":
            rolling = self._spec.rolling_release
            self._add("hotfix", at_ms, substate="ROLLING" if rolling else "STAGED", broken=True)
        elif self._spec.hotfix == "live":
            self._add("hotfix", at_ms, substate="PROMOTED", broken=True)
        elif self._spec.hotfix == "failed":
            self._failed_build("hotfix", at_ms)
        if self._spec.traps:
            self._preview("preview_after", (at_ms + self._began_ms) // 2, "hotfix/membership")

    def _move_domains(self) -> None:
        """Let each promoted build take the domains when it was ready, and lay the old alias job between."""
        moves = [
            (self._took_over_ms(item), item.id)
            for item in self._past.deployments.values()
            if item.is_live_once
        ]
        moves += self._old_job()
        moves.sort()
        for at_ms, deployment_id in moves:
            for host in _HOSTS:
                self._past.aliases.move(host, deployment_id, at_ms)
        self._promotion_of_the_culprit([id_ for _, id_ in moves])
        self._start_rolling()

    def _promotion_of_the_culprit(self, served: list[str]) -> None:
        if self._spec.broken.went_live_by == "promote":
            bad = self._past.roles["bad"]
            before = served[served.index(bad) - 1]
            self._past.job = self._done_job("promote", before, bad, self._bad_live_ms)

    @staticmethod
    def _done_job(kind: Literal["rollback", "promote"], from_id: str, to_id: str, at_ms: int) -> AliasJob:
        hosts = dict.fromkeys(_HOSTS, "completed")
        return AliasJob(kind, from_id, to_id, at_ms - 2 * _SECOND, COLLEAGUE, "succeeded", hosts)

    def _took_over_ms(self, item: Deployment) -> int:
        """Tell when it took the domains, also where the platform only says that it did."""
        if item.id in self._live_ms:
            return self._live_ms[item.id]
        if isinstance(item.alias_assigned, bool) or item.alias_assigned is None:
            return (item.ready_ms or item.created_ms) + _READY_TO_LIVE_MS
        return item.alias_assigned

    def _old_job(self) -> list[tuple[int, str]]:
        """An earlier incident: rolled back from the second to the third, and perhaps promoted again."""
        kind = self._spec.stale_job
        if kind == "none":
            return []
        second, third = self._past.roles["second"], self._past.roles["third"]
        back_ms = self._stable_live_ms - 4 * _HOUR
        again_ms = self._stable_live_ms - 2 * _HOUR
        from_id, to_id, at_ms = (third, second, again_ms) if kind == "promote" else (second, third, back_ms)
        self._past.job = self._done_job(kind, from_id, to_id, at_ms)
        return [(back_ms, third), (again_ms, second)] if kind == "promote" else [(back_ms, third)]

    def _start_rolling(self) -> None:
        rolling = self._spec.rolling_release
        if rolling is None or "hotfix" not in self._past.roles:
            return
        canary = self._past.roles["hotfix"]
        since_ms = self._past.deployments[canary].ready_ms or self._began_ms
        self._past.rolling = Rolling(canary, rolling.percentage, since_ms)

    def _spoil(self) -> None:
        """Let the newest eligible older ones carry the fault too, if the spec says so."""
        left = self._spec.broken.also_broken
        for item in sorted(self._past.deployments.values(), key=lambda item: -item.created_ms):
            if left and item.is_rollback_candidate and not item.broken:
                item.broken = True
                left -= 1

    def _other_project(self) -> None:
        """A second project of the team, with the newest production deployment of all."""
        other = {"name": company.OTHER_PROJECT_NAME, "project_id": company.OTHER_PROJECT_ID}
        for days in (9, 4, 1):
            live_ms = self._began_ms - days * 24 * _HOUR
            self._add(f"other_{days}", live_ms, substate="PROMOTED", **other)
        self._add("other", self._began_ms - 2 * _MINUTE, substate="PROMOTED", **other)
