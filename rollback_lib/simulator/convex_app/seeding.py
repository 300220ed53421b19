"""The company's documents: what members, trainers and the shop have left since the app began.

- The same seed, moment and count give the same documents, table by table, each table as a stream.
- References hold: every id is one that was given for a document of that table.
- A document has only fields that some revision had written by then. All of them fit the schemas of `good` and `bad`;
  what members did since `merge` does not fit an older one.
- `since_bad` of the memberships were sold by the bad code: they carry a tier, which `good` does not know.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from random import Random
from typing import Any, TypeAlias

from rollback_lib.simulator import company
from rollback_lib.simulator.convex_app.revisions import of_role

__all__ = ["CANARY", "FEWEST", "Documents", "Reminder", "Seeded", "seed_documents"]

Document: TypeAlias = dict[str, Any]
CANARY = company.CANARY_ID  # clerkId of the user that the plan asks for
FEWEST = 40  # documents; with fewer a table would be empty
_DAY_MS, _HOUR_MS = 86_400_000, 3_600_000
_USERS, _MEMBERSHIPS, _BOOKINGS = 0.30, 0.20, 0.25  # shares; products are few, and orders are the rest
_WITH_GOALS, _WAITLISTED = 4, 5  # of every 13 users and of every 12 bookings since the merge, which one
_MOST_PRODUCTS, _MOST_REMINDERS = 400, 200
_LETTERS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
_FIRST = (
    "Amelia",
    "Ben",
    "Chloe",
    "Dev",
    "Ella",
    "Farid",
    "Grace",
    "Huy",
    "Isla",
    "Jack",
    "Kiri",
    "Liam",
    "Mai",
    "Noah",
    "Olive",
    "Priya",
    "Quinn",
    "Rosa",
    "Sam",
    "Tariq",
)
_LAST = (
    "Abdi",
    "Brown",
    "Chen",
    "Dimitriou",
    "Evans",
    "Farrugia",
    "Georgiou",
    "Haddad",
    "Ivanov",
    "Jones",
    "Khan",
    "Le",
    "Martin",
    "Nguyen",
    "Okafor",
)
_SUBURBS = (("Derrimut", "3026"), ("Sunshine", "3020"), ("Footscray", "3011"), ("Deer Park", "3023"))
_STREETS = ("Foleys Road", "Hampshire Road", "Barkly Street", "Station Road")
_REASONS = ("travel", "injury", None)
_WARES = {
    "supplements": ("Whey protein", "Creatine", "Electrolytes", "Casein"),
    "apparel": ("Singlet", "Hoodie", "Shorts", "Cap"),
    "equipment": ("Lifting belt", "Wrist wraps", "Kettlebell", "Skipping rope"),
    "vouchers": ("Personal training", "Sauna", "Guest day", "Massage"),
}
_PLANS: tuple[tuple[str, int, str, int | None, str], ...] = (
    ("18-month", 1495, "fortnight", 548, "essential"),
    ("12-month", 1795, "fortnight", 365, "plus"),
    ("no-lock-in", 2195, "fortnight", None, "plus"),
    ("12-month-upfront", 74900, "once", 365, "black"),
)
_CANARYS_PLAN = _PLANS[1]
_GOALS = (("strength", "100 kg deadlift"), ("weight", "80 kg"), ("endurance", "10 km in 50 minutes"))


@dataclass(frozen=True)
class Reminder:
    """A function that the app had scheduled, and that has not run yet."""

    function: str
    booking: str
    at_ms: int


@dataclass(frozen=True)
class Seeded:
    """What was put in."""

    counts: dict[str, int]
    canary: str  # id of the user with the clerkId CANARY
    members: tuple[str, ...]  # ids of users
    trainers: tuple[str, ...]
    products: tuple[str, ...]
    reminders: tuple[Reminder, ...]  # the bad code's, and the nearest of the others; in order of time


@dataclass(frozen=True)
class Documents:
    """How many documents of which times.

    Args:
        count: Of all tables together, at least FEWEST.
        seed: What everything follows from.
        began_ms: When the world begins; nothing is newer.
        live_ms: When the bad commit went live.
        since_bad: How many of the memberships were sold since then, by the bad code; a quarter as many sessions
            were booked.
    """

    count: int
    seed: int
    began_ms: int
    live_ms: int
    since_bad: int = 0


def seed_documents(wanted: Documents, insert: Callable[[str, Iterable[Document]], list[str]]) -> Seeded:
    """Make the documents and hand them over, a stream for each table.

    Args:
        wanted: How many of which times.
        insert: Takes a table and its documents, each with `_creationTime` in ms since 1970; gives their ids in order.

    Raises:
        ValueError: Fewer than FEWEST, or more sold by the bad code than there are memberships.
    """
    return _Author(wanted, insert).write()


class _Author:
    def __init__(self, wanted: Documents, insert: Callable[[str, Iterable[Document]], list[str]]) -> None:
        self._wanted, self._insert = wanted, insert
        self._rng = Random(f"documents:{wanted.seed}")  # noqa: S311 - repeatable, not secret
        products = max(8, min(_MOST_PRODUCTS, round(wanted.count * 0.03)))
        users, memberships, bookings = (round(wanted.count * n) for n in (_USERS, _MEMBERSHIPS, _BOOKINGS))
        orders = wanted.count - users - memberships - bookings - products
        self._counts = {
            "users": users,
            "products": products,
            "memberships": memberships,
            "bookings": bookings,
            "orders": orders,
        }
        if wanted.count < FEWEST or not 0 <= wanted.since_bad < memberships:
            raise ValueError(
                f"{wanted} cannot be made: at least {FEWEST}, and an older membership for the canary"
            )
        self._trainers = max(2, users // 60)
        self._merge_ms = self._ms("merge")
        self._joined_ms: list[int] = []
        self._prices: list[int] = []
        self._starts: list[
            tuple[int, int]
        ] = []  # of each booking: when it was made and when it begins; 0: not open

    def write(self) -> Seeded:
        """Write all tables, those first that others refer to."""
        users = self._insert("users", self._users())
        products = self._insert("products", self._products())
        self._insert("memberships", self._memberships(users))
        bookings = self._insert("bookings", self._bookings(users))
        self._insert("orders", self._orders(users, products))
        trainers = tuple(users[1 : 1 + self._trainers])
        members = (users[0], *users[1 + self._trainers :])
        return Seeded(
            dict(self._counts), users[0], members, trainers, tuple(products), tuple(self._reminders(bookings))
        )

    def _ms(self, role: str) -> int:
        return self._wanted.live_ms - round(1000 * of_role(role).before_live_s)

    def _times(self, table: str, since_ms: int, until_ms: int) -> Iterator[tuple[int, int]]:
        """Number a table's documents and give each its time, in order and evenly."""
        count = self._counts[table]
        step = (until_ms - since_ms) / count
        for number in range(count):
            yield number, since_ms + int(step * (number + self._rng.random()))

    def _some(self, share: float) -> bool:
        return self._rng.random() < share

    # --- tables ------------------------------------------------------------------------------------------

    def _users(self) -> Iterator[Document]:
        """The canary, the trainers, then members as they came."""
        rng = self._rng
        for number, at_ms in self._times("users", self._ms("first"), self._wanted.began_ms - _HOUR_MS):
            self._joined_ms.append(at_ms)
            first, last = rng.choice(_FIRST), rng.choice(_LAST)
            user: Document = {
                "_creationTime": at_ms,
                "clerkId": "user_" + "".join(rng.choices(_LETTERS, k=27)) if number else CANARY,
                "email": f"{first}.{last}.{number}@members.drill".lower()
                if number
                else "canary@members.drill",
                "name": f"{first} {last}" if number else "Canary Member",
                "role": "trainer" if 1 <= number <= self._trainers else "member",
            }
            if self._some(0.7):
                units = "imperial" if self._some(0.1) else "metric"
                user["preferences"] = {"newsletter": self._some(0.4), "units": units}
            if at_ms >= self._ms("memberships"):
                user["phone"] = f"+614{rng.randrange(10**8):08}"
            # Goals can be set since the merge, whenever somebody joined.
            if number % 13 == _WITH_GOALS:
                kind, target = rng.choice(_GOALS)
                since = rng.randrange(max(at_ms, self._merge_ms), self._wanted.began_ms)
                user["goals"] = [{"kind": kind, "target": target, "since": since}]
            yield user

    def _products(self) -> Iterator[Document]:
        rng = self._rng
        for number, at_ms in self._times("products", self._ms("first"), self._ms("first") + _DAY_MS):
            category = list(_WARES)[number % len(_WARES)]
            ware = rng.choice(_WARES[category])
            price = rng.randrange(15, 240) * 50 - 5
            self._prices.append(price)
            stock = rng.randrange(0, 120) if number % 9 else 0
            yield {
                "_creationTime": at_ms,
                "sku": f"{category[:3].upper()}-{number:04}",
                "name": f"{ware} no. {number}",
                "category": category,
                "priceCents": price,
                "stock": stock,
                "tags": rng.sample(("new", "sale", "local", "vegan", "member price"), rng.randrange(3)),
                "active": stock > 0,
            }

    def _memberships(self, users: list[str]) -> Iterator[Document]:
        """One each, the canary first; the last `since_bad` of them with what the bad code writes."""
        count, sold = self._counts["memberships"], self._wanted.since_bad
        last_ms, began_ms = self._wanted.live_ms - 1000, self._wanted.began_ms
        for number in range(count):
            who = number if number == 0 else number + self._trainers
            if number < count - sold:
                earliest = max(self._joined_ms[who], self._ms("memberships"))
                at_ms = min(last_ms, earliest + self._rng.randrange(_HOUR_MS, 3 * _DAY_MS))
                yield self._membership(users[who], at_ms, canary=number == 0)
            else:
                at_ms = self._rng.randrange(self._wanted.live_ms, began_ms)
                yield self._sold_by_the_bad_code(users[who], at_ms)

    def _membership(self, user: str, at_ms: int, *, canary: bool) -> Document:
        rng = self._rng
        plan, cents, every, days, _ = _CANARYS_PLAN if canary else rng.choice(_PLANS)
        # Half of them were members before there was an app.
        starts_ms = at_ms if canary or self._some(0.5) else at_ms - rng.randrange(500) * _DAY_MS
        ends_ms = None if days is None else starts_ms + days * _DAY_MS
        over = ends_ms is not None and ends_ms < self._wanted.live_ms
        left = "cancelled" if self._some(0.5) else "paused"
        pauses = []
        if not canary and self._some(0.1):
            reason = rng.choice(_REASONS)
            pause: Document = {"from": starts_ms + 14 * _DAY_MS, "to": starts_ms + 28 * _DAY_MS}
            pauses.append(pause if reason is None else {**pause, "reason": reason})
        return {
            "_creationTime": at_ms,
            "userId": user,
            "plan": plan,
            "status": "expired" if over else "active" if canary or self._some(0.9) else left,
            "startsAt": starts_ms,
            "endsAt": ends_ms,
            "price": {"cents": cents, "every": every},
            "pauses": pauses,
        }

    def _sold_by_the_bad_code(self, user: str, at_ms: int) -> Document:
        plan, cents, every, days, level = self._rng.choice(_PLANS)
        return {
            "_creationTime": at_ms,
            "userId": user,
            "plan": plan,
            "status": "active",
            "startsAt": at_ms,
            "endsAt": None if days is None else at_ms + days * _DAY_MS,
            "price": {"cents": cents, "every": every},
            "pauses": [],
            "tier": {"level": level, "since": at_ms},
        }

    def _bookings(self, users: list[str]) -> Iterator[Document]:
        rng, began_ms, trainers = self._rng, self._wanted.began_ms, self._trainers
        old = self._counts["bookings"] - self._wanted.since_bad // 4
        for number, before_ms in self._times("bookings", self._ms("narrow"), self._wanted.live_ms):
            at_ms = before_ms if number < old else rng.randrange(self._wanted.live_ms, began_ms)
            starts_ms = (at_ms // _HOUR_MS + rng.randrange(3, 14 * 24)) * _HOUR_MS
            booking: Document = {
                "_creationTime": at_ms,
                "userId": users[self._joined_by(at_ms, 1 + trainers)],
                "trainerId": users[1 + rng.randrange(trainers)],
                "startsAt": starts_ms,
                "minutes": rng.choice((30, 45, 60)),
                "status": self._outcome(starts_ms, may_be_cancelled=number < old),
            }
            if self._some(0.2):
                booking["notes"] = rng.choice(("First session", "Left knee", "Bring the belt"))
            if self._merge_ms <= at_ms and number < old and number % 12 == _WAITLISTED:
                booking["status"] = "waitlisted"
                booking["waitlist"] = {"position": rng.randrange(1, 4), "joinedAt": at_ms}
            self._starts.append((at_ms, starts_ms if booking["status"] == "booked" else 0))
            yield booking

    def _joined_by(self, at_ms: int, first: int) -> int:
        """Choose a user, by number, who had joined by a moment; the canary is the oldest of all."""
        joined = bisect_right(self._joined_ms, at_ms)
        return self._rng.randrange(first, joined) if joined > first else 0

    def _outcome(self, starts_ms: int, *, may_be_cancelled: bool) -> str:
        if may_be_cancelled and self._some(0.12):
            return "cancelled"
        return "booked" if starts_ms > self._wanted.began_ms else "completed"

    def _orders(self, users: list[str], products: list[str]) -> Iterator[Document]:
        rng = self._rng
        for _, at_ms in self._times("orders", self._ms("first"), self._wanted.began_ms):
            chosen = rng.sample(range(len(products)), rng.choice((1, 1, 1, 2, 2, 3)))
            items: list[Document] = [
                {
                    "productId": products[one],
                    "quantity": rng.randrange(1, 4),
                    "unitPriceCents": self._prices[one],
                }
                for one in chosen
            ]
            status = rng.choice(("placed", "paid", "paid", "shipped", "shipped", "shipped", "refunded"))
            order: Document = {
                "_creationTime": at_ms,
                "userId": users[self._joined_by(at_ms, 0)],
                "items": items,
                "totalCents": sum(item["quantity"] * item["unitPriceCents"] for item in items),
                "status": status,
                "shipTo": self._address() if self._some(0.6) else None,
            }
            if status != "placed":
                order["paidAt"] = at_ms + rng.randrange(1000, 600_000)
            yield order

    def _address(self) -> Document:
        suburb, postcode = self._rng.choice(_SUBURBS)
        street = f"{self._rng.randrange(1, 200)} {self._rng.choice(_STREETS)}"
        return {"street": street, "suburb": suburb, "postcode": postcode}

    # --- what is still to come ---------------------------------------------------------------------------

    def _reminders(self, bookings: list[str]) -> list[Reminder]:
        """Two hours before each session, by the function that the code of that moment scheduled."""
        began_ms, live_ms = self._wanted.began_ms, self._wanted.live_ms
        open_ = [
            Reminder(
                "reminders:send" if at_ms >= live_ms else "bookings:remind", id_, starts_ms - 2 * _HOUR_MS
            )
            for id_, (at_ms, starts_ms) in zip(bookings, self._starts, strict=True)
            if starts_ms - 2 * _HOUR_MS > began_ms
        ]
        first = sorted(open_, key=lambda one: (one.function != "reminders:send", one.at_ms))[:_MOST_REMINDERS]
        return sorted(first, key=lambda one: (one.at_ms, one.booking))
