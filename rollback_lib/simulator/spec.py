"""What one simulated company looks like and how it is broken: the `world:` of a scenario.

- Every field has a default; the defaults together are the default drill world.
- A spec is data: it says how the world begins and what it will do, never what the outcome is.
- Token values are derived from the seed unless written down; a spec never shows them.
"""

from __future__ import annotations

import hashlib
from typing import Literal, Self

from pydantic import Field, model_validator

from rollback_lib.simulator.company import SENTRY_PROJECT, TEAM_ID
from rollback_lib.simulator.convex.spec import ConvexSpec
from rollback_lib.simulator.switches import SentrySpec, SlackSpec
from rollback_lib.yamlfile import Frozen

__all__ = [
    "Broken",
    "BrokenPage",
    "Fault",
    "FaultKind",
    "From",
    "Jobs",
    "Persona",
    "RollingRelease",
    "Signer",
    "TokenSpec",
    "WorldSpec",
]

Service = Literal["vercel", "sentry", "slack", "app", "convex", "convex_api"]
Role = Literal["OWNER", "MEMBER", "DEVELOPER", "SECURITY", "BILLING", "VIEWER", "CONTRIBUTOR"]
FaultKind = Literal[
    "429",
    "500",
    "502",
    "503",
    "reset_before",  # the connection is cut, nothing was done
    "reset_after",  # it was done, then the connection is cut without a reply
    "slow",
    "empty_body",
    "html_body",
    "deny",
    "refuse",  # in the service's own shape, with the status or the code that is given
    "job_failed",
    "job_skipped",
    "job_stuck",
    "partial",
    "concurrent_promote",
    "push_race",  # a colleague begins a push while this one's schema is being checked
    "concurrent_push",  # a colleague's push was quicker: this one is refused as it would go live
    "colleague_push",  # a colleague pushes some time after this push went live
]


class BrokenPage(Frozen):
    """How one page of the bad deployment fails."""

    path: str  # "*" for every page that has no entry of its own
    share: float = Field(default=1.0, ge=0, le=1)  # of its requests that get a 5xx
    status: int = Field(default=500, ge=500, le=599)
    marker_missing: bool = False  # it answers 200, but without the text that proves it is there


class Broken(Frozen):
    """What is wrong, and since when."""

    pages: tuple[BrokenPage, ...] = (BrokenPage(path="*"),)
    health_red: bool = True  # the health address answers 503
    slow_factor: float = Field(default=1.0, gt=0)  # latency of the bad deployment over the normal one
    issue_age_s: float = Field(default=1200, ge=0)  # how long before the world began the issue began
    live_before_issue_s: float = Field(default=300, ge=0)  # the bad deployment was live that long before it
    went_live_by: Literal["build", "promote"] = (
        "build"  # promote: built long before, then promoted by somebody
    )
    cause: Literal["deployment", "outside", "nothing"] = (
        "deployment"  # outside: every deployment fails, no rollback heals; nothing: all are well, the alarm is false
    )
    also_broken: int = Field(default=0, ge=0)  # that many of the newest older deployments fail as well


class Jobs(Frozen):
    """How long the platform takes."""

    pending_s: float = Field(default=0.1, ge=0)
    running_s: float = Field(default=0.3, ge=0)
    build_s: float = Field(default=0.6, ge=0)  # from queued to ready
    build_outcome: Literal["ready", "error"] = "ready"


class RollingRelease(Frozen):
    """A gradual rollout of the staged hotfix that is under way when the world begins."""

    percentage: float = Field(default=10, ge=0, le=100)  # of the traffic
    ends_after_s: float | None = None  # after the world began; None: not by itself


class Persona(Frozen):
    """Somebody of the company who reacts to a message in Slack."""

    user: str
    reaction: str = "white_check_mark"
    after_s: float = Field(default=0.2, ge=0)
    remove_after_s: float | None = Field(
        default=None, ge=0
    )  # takes the reaction back that long after giving it
    match: str = ""  # text the message must hold; empty: any of the bot's


class Signer(Frozen):
    """Somebody of the company who has a key to approve with."""

    person: str = Field(pattern="^[a-z][a-z0-9_-]*$")  # as the contacts have it
    roles: tuple[str, ...] = ("engineering_lead",)
    after_s: float | None = Field(
        default=0.2, ge=0
    )  # signs that long after a request was saved; None: leaves it to whoever practises


class TokenSpec(Frozen):
    """A credential of the world; names in capitals are environment variables of the runbook."""

    name: str
    service: Service
    value: str = Field(default="", repr=False)
    scopes: tuple[str, ...] = ()


class From(Frozen):
    """Every matching request from this one on."""

    first: int = Field(alias="from", ge=1)


class Fault(Frozen):
    """What goes wrong with which of the matching requests.

    `nth` counts the requests that match service, method and path since the fault was set: one number
    (and `times` in a row), a list of numbers, or `{from: n}`.
    """

    service: Service
    kind: FaultKind
    method: str = "*"
    path: str = "*"  # glob on the path without its query
    nth: int | tuple[int, ...] | From = 1
    times: int | None = Field(default=None, ge=1)  # None: once, or without end after `from`
    with_retry_after: bool | None = None  # on a 429 or 503; None: what the platform itself does
    retry_after_s: int = Field(default=1, ge=0)
    delay_s: float = Field(default=1.0, ge=0)  # of `slow`, or until the colleague's promote
    hold: Literal["request", "reply"] = "reply"  # of `slow`: done late, or done at once and told late
    effect_applied: bool | None = (
        None  # under a 5xx, a refusal, an empty or an HTML body; None: as the kind usually is
    )
    pushes: str = ""  # of the last three: the part in the past of what is pushed; empty: what is live
    promotes: str = ""  # of `concurrent_promote`: role of the deployment; empty: the staged hotfix
    status: int | None = Field(
        default=None, ge=400, le=499
    )  # of `refuse`; the chat has none, it fails with 200
    code: str = ""  # of `refuse`: the error's name; empty: the platform's usual one for that status
    message: str = ""  # of `refuse`: its words; empty: the platform's usual ones

    @model_validator(mode="after")
    def _fitting(self) -> Self:
        """Refuse a refusal that its service could not give."""
        if self.kind != "refuse":
            return self
        if self.service == "slack" and (not self.code or self.status is not None):
            raise ValueError("refuse by slack needs a code and has no status: it fails with HTTP 200")
        if self.service != "slack" and self.status is None:
            raise ValueError(f"refuse by {self.service} needs a status")
        return self

    def fires_at(self, count: int) -> bool:
        """Tell whether the count-th matching request (from 1) is struck."""
        if isinstance(self.nth, tuple):
            return count in self.nth
        if isinstance(self.nth, From):
            return count >= self.nth.first and (self.times is None or count < self.nth.first + self.times)
        return self.nth <= count < self.nth + (self.times or 1)


_DEFAULT_TOKENS = (
    TokenSpec(name="VERCEL_TOKEN", service="vercel", scopes=("read", "write")),
    TokenSpec(name="VERCEL_AUTOMATION_BYPASS_SECRET", service="app", scopes=("bypass",)),
    TokenSpec(
        name="SENTRY_AUTH_TOKEN",
        service="sentry",
        scopes=("org:read", "event:read", "project:read", "project:releases"),
    ),
    TokenSpec(
        name="SLACK_BOT_TOKEN",
        service="slack",
        scopes=(
            "chat:write",
            "reactions:read",
            "reactions:write",
            "channels:read",
            "channels:history",
            "users:read",
            "users:read.email",
            "usergroups:read",
        ),
    ),
    TokenSpec(name="SLACK_WEBHOOK_URL", service="slack", scopes=("incoming-webhook",)),
    TokenSpec(name="member", service="app", scopes=("sign-in",)),
)
_CONVEX_TOKENS = (
    TokenSpec(name="CONVEX_DEPLOY_KEY", service="convex"),  # no scopes: it may do everything
    TokenSpec(name="CONVEX_ACCESS_TOKEN", service="convex_api"),
)
_TOKEN_PREFIX = {
    "vercel": "vck",
    "sentry": "sntryu_",
    "slack": "xoxb-",
    "app": "app",
    "convex": "prod:|",
    "convex_api": "cvx",
}


class WorldSpec(Frozen):
    """One simulated company."""

    seed: int = 1
    broken: Broken = Broken()
    plan: Literal["hobby", "pro", "enterprise"] = "pro"
    team_id: str | None = TEAM_ID  # None: a personal account
    role: Role = "MEMBER"  # of the token's holder in the team
    missing_team_status: Literal[403, 404] = 403  # what a team's resource answers without its teamId
    jobs: Jobs = Jobs()
    promote_again: Literal["accept", "409", "422"] = "accept"  # of one that was promoted before
    older_deployments: int = Field(default=120, ge=3)
    traps: bool = True  # failed, deleted, ineligible, staged, preview and other projects' deployments
    hotfix: Literal["staged", "failed", "live", "none"] = "staged"  # tried after the issue began
    stale_job: Literal["promote", "rollback", "none"] = "promote"  # hours old, in lastAliasRequest
    suspect_alias_time_known: bool = True  # False: the bad deployment's aliasAssigned is `true`
    rolling_release: RollingRelease | None = None
    traffic_rps: float = Field(default=40, ge=0)
    history_s: float = Field(default=5400, ge=0)  # how far the monitoring reaches back before the world began
    baseline_error_rate: float = Field(default=0.002, ge=0, le=1)
    bot_share: float = Field(default=0.04, ge=0, le=1)  # of the requests, answered 404
    latency_ms: float = Field(default=120, gt=0)  # median
    ingest_lag_s: float = Field(default=1.0, ge=0)
    sentry_project: str = SENTRY_PROJECT
    personas: tuple[Persona, ...] = (Persona(user="U0LEE"),)
    signers: tuple[Signer, ...] = ()
    tokens: tuple[TokenSpec, ...] = _DEFAULT_TOKENS
    faults: tuple[Fault, ...] = ()
    sentry: SentrySpec = SentrySpec()
    slack: SlackSpec = SlackSpec()
    convex: ConvexSpec | None = None  # None: this company's backend is not simulated
    clock_skew_s: float = 0  # the platforms' clocks are ahead by that

    @model_validator(mode="after")
    def _complete(self) -> Self:
        """Give each token without a value one that follows from the seed; refuse what cannot go together."""
        if self.rolling_release is not None and self.hotfix != "staged":
            raise ValueError("rolling_release rolls out the staged hotfix: it needs hotfix: staged")
        known = {token.service for token in self.tokens}
        more = tuple(t for t in _CONVEX_TOKENS if self.has_convex and t.service not in known)
        minted = tuple(
            token if token.value else token.model_copy(update={"value": self._value_of(token)})
            for token in (*self.tokens, *more)
        )
        object.__setattr__(self, "tokens", minted)  # frozen for everybody else
        return self

    @property
    def has_convex(self) -> bool:
        """Whether the company's backend is simulated."""
        return self.convex is not None and self.convex.enabled

    def _value_of(self, token: TokenSpec) -> str:
        # No dash in the Vercel one: its official command line refuses a token that holds one.
        prefix = _TOKEN_PREFIX[token.service]
        if token.service == "convex" and self.convex is not None:
            prefix = f"prod:{self.convex.deployment}|"
        return prefix + hashlib.sha256(f"{self.seed}:{token.name}".encode()).hexdigest()[:32]
