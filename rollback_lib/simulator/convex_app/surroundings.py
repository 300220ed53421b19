"""What the app's code lives with: the variables that it reads, and what the pages ask it.

- The variables are those of the deployment at the beginning of a world: all that `good` and `bad` read, made up from
  the seed. What only an older revision reads (`RETIRED`) was deleted long ago.
- The questions are reads alone, so that traffic changes no data.
"""

from __future__ import annotations

import base64
from dataclasses import dataclass
from random import Random
from typing import Any

from rollback_lib.simulator.convex_app.seeding import CANARY, Seeded

__all__ = ["RETIRED", "Call", "page_calls", "variables"]

RETIRED = ("TRAINER_FEED_TOKEN",)  # read by `narrow`, which fails without it in one function
_WITH_TIERS = ("bad", "hotfix")
_FORTNIGHT_MS = 14 * 86_400_000


@dataclass(frozen=True)
class Call:
    """A query that a page makes."""

    path: str
    args: dict[str, Any]


def variables(seed: int) -> dict[str, str]:
    """Give the deployment's environment variables by name; the values lead nowhere."""
    secret = Random(f"clerk:{seed}").randbytes(24)  # noqa: S311 - repeatable, not secret
    return {
        "BOOKING_MAIL_FROM": "sessions@derrimut247.drill",
        "CLERK_JWT_ISSUER_DOMAIN": "https://clerk.derrimut247.drill",
        "CLERK_WEBHOOK_SECRET": f"whsec_{base64.b64encode(secret).decode()}",
        "MAIL_FROM": "hello@derrimut247.drill",
    }


def page_calls(role: str, seeded: Seeded, at_ms: int) -> tuple[Call, ...]:
    """Give what the pages of a revision ask its backend, once each.

    Args:
        role: The revision whose pages are open.
        seeded: The documents that there are.
        at_ms: Now.
    """
    member, trainer = seeded.members[len(seeded.members) // 2], seeded.trainers[0]
    booking = "bookings:listByTrainer" if role in _WITH_TIERS else "bookings:listForTrainer"
    return (
        Call("users:getUserByClerkId", {"clerkId": CANARY}),
        Call("memberships:plans", {}),
        Call("memberships:current", {"userId": seeded.canary}),
        Call(booking, {"trainerId": trainer, "from": at_ms, "to": at_ms + _FORTNIGHT_MS}),
        Call("bookings:listForUser", {"userId": member}),
        Call("products:list", {"category": "supplements"}),
        Call("orders:listForUser", {"userId": member}),
    )
