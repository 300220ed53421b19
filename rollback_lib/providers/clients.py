"""All clients of a run, made once from its settings; making them sends nothing.

- Each has its own door with its own rules; they share one redactor, one clock and the process's connections.
- A token that is not given is not sent: the platform's refusal then names where it was looked for.
- Slack gets the time of a message, not that of a rollback: telling people must not hold it up.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from pydantic import SecretStr

from rollback_lib.clock import Clock
from rollback_lib.http import Api, Limits, Rule, Service, Transport
from rollback_lib.parameters.platform import Convex, Platform
from rollback_lib.parameters.policy import Policy
from rollback_lib.parameters.secrets import Secrets
from rollback_lib.providers.app import AppClient
from rollback_lib.providers.convex import CLIENT_HEADER, CONTROL_RULES, CONVEX_RULES, ConvexClient, Doors
from rollback_lib.providers.convex_key import KEY_NAME, Credential
from rollback_lib.providers.convex_logs import LONGEST_POLL_S
from rollback_lib.providers.sentry import SENTRY_RULES, SentryClient
from rollback_lib.providers.slack import (
    SLACK_RULES,
    WEBHOOK_RULES,
    SlackClient,
    judge_slack,
    judge_webhook,
    slack_limited,
)
from rollback_lib.providers.vercel import VERCEL_RULES, VercelClient, judge_vercel

__all__ = ["Clients", "connect", "convex_client"]


@dataclass(frozen=True)
class Clients:
    """Whom a run can talk to."""

    vercel: VercelClient
    sentry: SentryClient
    slack: SlackClient
    app: AppClient
    convex: ConvexClient | None = None  # where the parameters describe one


def connect(
    platform: Platform, policy: Policy, secrets: Secrets, clock: Clock, transport: Transport | None = None
) -> Clients:
    """Make the clients of one environment.

    Args:
        platform: Where the platforms are.
        policy: How long and how often they are asked.
        secrets: Tokens; their redactor learns what else must not be shown.
        clock: For every wait and deadline.
        transport: Stands in for the network in tests; None is the network.

    Raises:
        BadParameters: A token that cannot be one. Nothing was sent.
    """
    limits = _limits(policy)

    def door(service: Service) -> Api:
        return Api(service, limits, clock, secrets.redactor, transport)

    def slack_door(service: Service) -> Api:
        return Api(service, _for_slack(limits, policy), clock, secrets.redactor, transport)

    return Clients(
        vercel=VercelClient(door(_vercel(platform, secrets)), platform.vercel),
        sentry=SentryClient(door(_sentry(platform, secrets)), platform.sentry, clock),
        slack=_slack(platform, secrets, slack_door),
        app=AppClient(platform.app, door, secrets.optional("VERCEL_AUTOMATION_BYPASS_SECRET")),
        convex=convex_client(platform.convex, secrets, clock, limits, transport) if platform.convex else None,
    )


def _limits(policy: Policy) -> Limits:
    return Limits(
        request_timeout_s=policy.request_timeout_s,
        read_attempts=policy.read_attempts,
        read_deadline_s=policy.read_deadline_s,
        effect_attempts=policy.effect_attempts,
        effect_wait_limit_s=policy.effect_wait_limit_s,
    )


def _for_slack(limits: Limits, policy: Policy) -> Limits:
    """Give each request, and all waits of one message together, no more than Slack's own deadline."""
    most_s = policy.slack_deadline_s
    return replace(
        limits,
        request_timeout_s=min(limits.request_timeout_s, most_s),
        read_deadline_s=min(limits.read_deadline_s, most_s),
        effect_wait_limit_s=min(limits.effect_wait_limit_s, most_s),
    )


def _vercel(platform: Platform, secrets: Secrets) -> Service:
    headers, source = _bearer(secrets, "VERCEL_TOKEN")
    return Service("vercel", platform.vercel.api_url, VERCEL_RULES, headers, source, judge=judge_vercel)


def _sentry(platform: Platform, secrets: Secrets) -> Service:
    headers, source = _bearer(secrets, "SENTRY_AUTH_TOKEN")
    return Service("sentry", platform.sentry.api_url, SENTRY_RULES, headers, source)


def _slack(platform: Platform, secrets: Secrets, door: Callable[[Service], Api]) -> SlackClient:
    headers, source = _bearer(secrets, "SLACK_BOT_TOKEN")
    service = Service(
        "slack",
        platform.slack.api_url,
        SLACK_RULES,
        headers,
        source,
        judge=judge_slack,
        limited=slack_limited,
    )
    address = secrets.optional("SLACK_WEBHOOK_URL")
    if address is None:
        return SlackClient(door(service))
    where = secrets.source("SLACK_WEBHOOK_URL")
    return SlackClient(
        door(service),
        door(Service("slack webhook", address, WEBHOOK_RULES, token_source=where, judge=judge_webhook)),
    )


def convex_client(
    convex: Convex, secrets: Secrets, clock: Clock, limits: Limits, transport: Transport | None = None
) -> ConvexClient:
    """Make the client of a deployment; a key that cannot be one of a deployment's is not sent anywhere."""
    value = secrets.optional(KEY_NAME)
    source = (
        secrets.source(KEY_NAME) if value is not None else f"environment variable {KEY_NAME} (it is not set)"
    )
    credential = Credential(value, source)
    key = credential.presentable
    secrets.redactor.learn([key.secret] if key is not None else [])

    def door(name: str, url: str, rules: tuple[Rule, ...], scheme: str, within: Limits) -> Api:
        token = (("authorization", SecretStr(f"{scheme} {key.whole.get_secret_value()}")),) if key else ()
        service = Service(name, url, rules, (*token, CLIENT_HEADER), source)
        return Api(service, within, clock, secrets.redactor, transport)

    # Asked once, and for as long as Convex holds a request open.
    polling = replace(
        limits, read_attempts=1, read_deadline_s=LONGEST_POLL_S, request_timeout_s=LONGEST_POLL_S
    )
    doors = Doors(
        deployment=door("convex", convex.url, CONVEX_RULES, "Convex", limits),
        logs=door("convex", convex.url, CONVEX_RULES, "Convex", polling),
        control=door("convex control", convex.api_url, CONTROL_RULES, "Bearer", limits),
    )
    return ConvexClient(doors, convex, credential, secrets.redactor, clock)


def _bearer(secrets: Secrets, name: str) -> tuple[tuple[tuple[str, SecretStr], ...], str]:
    """Return the header that carries a token, and where the token comes from."""
    token = secrets.optional(name)
    if token is None:
        return (), f"environment variable {name} (it is not set)"
    return (("authorization", SecretStr(f"Bearer {token.get_secret_value()}")),), secrets.source(name)
