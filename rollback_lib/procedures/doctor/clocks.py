"""Clocks: a window of the error rate, an approval's age and a lease all need them to agree.

- A platform's time is read from an answer that was there anyway, a refusal too; it is known to about a second.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any

from rollback_lib.http import Heard
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, Once, ok, unknown, wrong
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.providers import Clients

__all__ = ["agreement", "checks"]

_LISTENING: dict[str, tuple[Callable[[Readings], Once[Any]], Callable[[Clients], Heard | None]]] = {
    "Vercel": (lambda readings: readings.account, lambda clients: clients.vercel.heard),
    "Sentry": (lambda readings: readings.sentry_scopes, lambda clients: clients.sentry.heard),
    "Slack": (lambda readings: readings.bot, lambda clients: clients.slack.heard),
    "App": (lambda readings: readings.health, lambda clients: clients.app.heard),
}


def checks(_: Readings) -> Iterator[Check]:
    """List the checks of this subject, one for each platform."""
    for name in _LISTENING:
        yield Check("Clocks", name, partial(clock, name=name))


def clock(readings: Readings, name: str) -> Finding:
    """Hold a platform's clock against ours."""
    asked, listen = _LISTENING[name]
    missing: NotKnown | None = None
    try:
        asked(readings).use()
    except NotKnown as exc:
        missing = exc
    heard = listen(readings.clients.use())
    if heard is None and missing is not None:
        raise missing
    if heard is None:
        return unknown("no answer told its time", "Look again; every server should send Date.")
    return agreement(heard.ahead_s, heard.within_s, readings.policy.clock_skew_s)


def agreement(ahead_s: float, within_s: float, allowed_s: float) -> Finding:
    """Judge a difference between two clocks.

    Args:
        ahead_s: By how much the other is ahead of ours.
        within_s: How well that is known.
        allowed_s: `policy.clock_skew_s`.
    """
    if abs(ahead_s) - within_s <= allowed_s:
        return ok(f"agrees within {max(abs(ahead_s), within_s):.0f} s" if abs(ahead_s) >= 1 else "agrees")
    return wrong(
        f"its clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} this machine's; {allowed_s:g} s are allowed",
        "Have this machine's clock set by NTP; if it is the only one that differs, it is theirs.",
    )
