"""The fixed facts of the simulated company: who works there, where it lives, what its app shows.

- What a scenario may change stands in `spec`; what every world has in common stands here.
- No name resolves outside the machine: all hosts end in `.drill`.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = [
    "AUTOMATIC_ALIAS",
    "BOT_USER",
    "CANARY",
    "CANARY_ID",
    "CHANNELS",
    "CHANNEL_ENGINEERING",
    "CHANNEL_INCIDENTS",
    "DEPLOYMENT_SUFFIX",
    "DOMAINS",
    "ENVIRONMENT",
    "ENVIRONMENT_PREVIEW",
    "HEALTH_PATH",
    "MEMBER_EMAIL",
    "OTHER_PROJECT_ID",
    "OTHER_PROJECT_NAME",
    "PAGES",
    "PEOPLE",
    "PROJECT_ID",
    "PROJECT_NAME",
    "QUERIES",
    "SENTRY_ORGANIZATION",
    "SENTRY_OTHER_PROJECT",
    "SENTRY_PROJECT",
    "SENTRY_PROJECT_ID",
    "STAGING_DOMAIN",
    "TEAM_ID",
    "TEAM_SLUG",
    "USER_ID",
    "VERSION_PATH",
    "WEBHOOK_PATH",
    "Page",
    "Person",
]


@dataclass(frozen=True)
class Page:
    """A page of the app; `marker` is the text that proves it is really there."""

    path: str
    marker: str
    flow: str
    share: float  # of the visitors' requests


@dataclass(frozen=True)
class Person:
    """Someone with a Slack account."""

    user: str
    name: str
    role: str  # on-call, engineering-lead, cto, engineering-lead deputy, or "" for none
    email: str


TEAM_ID = "team_drill"
TEAM_SLUG = "derrimut"
USER_ID = "usr_drill"  # owner of the platform's token
PROJECT_ID = "prj_drill"
PROJECT_NAME = "derrimut-platform"
CANARY_ID = "test_user_id"  # the plan's own, of a user who exists for checks
CANARY = {
    "path": "users:getUserByClerkId",
    "args": {"clerkId": CANARY_ID},
    "fields": ["_id", "email"],
}
QUERIES = ({"path": "memberships:plans"},)
OTHER_PROJECT_ID = "prj_admin"
OTHER_PROJECT_NAME = "derrimut-admin"
DOMAINS = ("derrimut247.drill", "www.derrimut247.drill")
AUTOMATIC_ALIAS = "derrimut-platform.vercel.drill"
DEPLOYMENT_SUFFIX = ".vercel.drill"  # of a deployment's own host
STAGING_DOMAIN = "staging.derrimut247.drill"  # of this project, but bound to a branch: no production domain

SENTRY_ORGANIZATION = "derrimut"
SENTRY_PROJECT = "web"
SENTRY_PROJECT_ID = 4509
SENTRY_OTHER_PROJECT = "admin"
ENVIRONMENT = "production"
ENVIRONMENT_PREVIEW = "preview"

CHANNEL_INCIDENTS = "C0INCIDENTS"
CHANNEL_ENGINEERING = "C0ENGINEER"
CHANNELS = {CHANNEL_INCIDENTS: "incidents", CHANNEL_ENGINEERING: "engineering"}
BOT_USER = "U0RUNBOOK"
PEOPLE = (
    Person("U0ANA", "Ana Operator", "on-call", "ana@derrimut247.drill"),
    Person("U0LEE", "Lee Lead", "engineering-lead", "lee@derrimut247.drill"),
    Person("U0CAT", "Cat Chief", "cto", "cat@derrimut247.drill"),
    Person("U0DEE", "Dee Deputy", "engineering-lead deputy", "dee@derrimut247.drill"),
    Person("U0SAM", "Sam Support", "", "sam@derrimut247.drill"),
)
WEBHOOK_PATH = "/services/T0DRILL/B0RUNBOOK/{secret}"  # at the root of the Slack port

HEALTH_PATH = "/api/health"
VERSION_PATH = "/api/version"
MEMBER_EMAIL = "member@derrimut247.drill"
PAGES = (
    Page("/sign-in", "Sign in to Derrimut", "User login", 0.25),
    Page("/membership", "Membership plans", "Membership page", 0.30),
    Page("/trainer-booking", "Book a trainer", "Trainer booking", 0.20),
    Page("/marketplace", "Marketplace", "Marketplace", 0.15),
    Page("/ai-plan", "AI plan generator", "AI plan generator", 0.10),
)
