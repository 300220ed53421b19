"""Who acts on an environment now: one lease for each environment, in the store that its machines share.

- Generations are numbered, and each is got by putting a claim where there is none: of several takers one gets it.
- Only its holder writes a generation's beat. It ends by `released`, or when nothing was heard for its time to live.
- Expiry is reckoned by the store's own times; no machine's clock is held against another's.
- Before a request that changes production leaves, the holder is heard and looks for a higher generation.
- Whoever takes a lease over waits until what the other one may have had under way is over.
- No platform here refuses the request of somebody who lost the lease, so the window between the last look and the
  request's arrival is narrowed, not closed.
"""

from __future__ import annotations

import json
import os
import secrets
import threading
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime, timedelta
from typing import Any, Literal, Self

from rollback_lib.clock import Clock
from rollback_lib.errors import LeaseHeld, Unreachable
from rollback_lib.machine import Machine
from rollback_lib.store import Store

__all__ = ["LOOK_S", "Holder", "Lease", "Tenancy", "Terms", "peek"]

LOOK_S = 2.0  # a look that is older than this does not count for a request that leaves now
COARSE_S = 1.0  # a bucket's times are whole seconds
_PROCESS = secrets.token_hex(8)  # of this process: a number that was used again is not taken for it
_NOTHING = "Nothing was sent by this."
_TRIES = 3
_LONGEST_S = 366 * 86400.0  # what is beyond it is nobody's policy, and cannot be reckoned with as a date


@dataclass(frozen=True)
class Holder:
    """Which run acts, for whom and where."""

    run: str
    operator: str  # key in contacts.yaml
    host: str
    pid: int
    process: str  # tells two processes of the same number apart
    boot: str | None = None  # of its machine, see there; None: an older version did not say

    @classmethod
    def here(cls, run: str, operator: str) -> Self:
        """Return the holder that this process would be."""
        machine = Machine.here()
        return cls(run, operator, machine.host, os.getpid(), _PROCESS, machine.boot)

    @property
    def machine(self) -> Machine:
        """Return where it acts."""
        return Machine(self.host, self.boot)

    def __str__(self) -> str:
        return f"run {self.run} of {self.operator} on {self.host} (process {self.pid})"


@dataclass(frozen=True)
class Terms:
    """How long a lease lasts, in seconds, and what becomes of one that expired."""

    ttl_s: float  # without being heard of
    settle_s: float  # by when a request that the one before may have had under way is over
    expired: Literal["take", "ask"]  # whether the expired lease of another run is taken unasked


@dataclass(frozen=True)
class Tenancy:
    """The newest generation of a lease as it was found; all times are the store's."""

    environment: str
    generation: int
    holder: Holder
    since: datetime
    heard_at: datetime
    ttl_s: float
    looked_at: datetime
    released: bool

    @property
    def expires_at(self) -> datetime:
        """Return until when it is held if its holder is not heard of again."""
        return self.heard_at + timedelta(seconds=self.ttl_s + COARSE_S)

    @property
    def expired(self) -> bool:
        """Say whether its holder was not heard of for its time to live."""
        return self.looked_at > self.expires_at

    def standing(self) -> str:
        """Say who holds it, since when, when it was last heard of and when it expires."""
        if self.released:
            return f"{self.environment} is free; it was last held by {self.holder}."
        since = f"{self.environment} is held by {self.holder} since {self.since:%Y-%m-%d %H:%M:%S} UTC"
        heard_s = (self.looked_at - self.heard_at).total_seconds()
        left_s = (self.expires_at - self.looked_at).total_seconds()
        ends = (
            f"it expired {-left_s:.0f} s ago"
            if self.expired
            else f"unless heard of again it expires in {left_s:.0f} s"
        )
        return f"{since}; last heard of {heard_s:.0f} s ago; {ends}."

    def may_be_taken(self, me: Holder, terms: Terms, from_run: str) -> bool:
        """Say whether a holder may have it: free, its own, named, or expired where that is enough."""
        if self.released or from_run == self.holder.run:
            return True
        if (
            self.holder.run == me.run
        ):  # on one machine the journal's lock has shown that the other process ended
            return self.holder.machine.is_surely(me.machine) or self.expired
        return self.expired and terms.expired == "take"

    def refusal(self, me: Holder, from_run: str) -> LeaseHeld:
        """Return the error for one who may not have it."""
        named = f" take_over names {from_run}, which does not hold it." if from_run else ""
        taking = f'take_over = "{self.holder.run}" in the parameters cell (headless: -p take_over={self.holder.run})'
        return LeaseHeld(
            f"{self.standing()}{named}",
            f"{_NOTHING} The environment is as that run leaves it.",
            f"{self._first(me)} {taking}, and run the open cell again.",
        )

    def _first(self, me: Holder) -> str:
        """Say what to do before it is taken over."""
        run, operator = self.holder.run, self.holder.operator
        if run == me.run:
            where = (
                f"in a process of {me.host} that cannot be looked at from here (in another container, or before a restart)"
                if self.holder.host == me.host
                else "there"
            )
            return f"This very run was going on {where}: end that process, or be sure that its machine is gone. Then wait until it expires, or set"
        if self.expired:
            return f"See first what became of that run (its thread, its record, {operator}). To go on in its place set"
        here = self.holder.process == me.process
        ending = 'rollback.abort("...") in this kernel' if here else f"rollback abort {run} --reason ..."
        ask = (
            "It is your own run: finish it, or"
            if operator == me.operator
            else f"Ask {operator} to finish it, or to"
        )
        return f"{ask} end it ({ending}). If you have to act in its place, set"


def peek(store: Store, environment: str) -> Tenancy | None:
    """Look who holds an environment's lease; None where nobody ever did. Changes nothing but a probe for the time.

    Raises:
        Unreachable: The store gave no usable answer.
    """
    keys = store.keys(f"leases/{environment}")
    claims = [key for key in keys if key.endswith("/claim")]
    if not claims:
        return None
    place = claims[-1].removesuffix("/claim")
    claim = store.get(claims[-1])
    released = f"{place}/released" in keys
    beat = store.get(f"{place}/beat") if f"{place}/beat" in keys and not released else None
    if claim is None:
        raise _unreadable(claims[-1])
    heard_at = beat.modified_at if beat is not None else claim.modified_at
    try:
        told: dict[str, Any] = json.loads(claim.data)
        holder = _holder(told)
        ttl_s = float(told["ttl_s"])
    except (ValueError, TypeError, KeyError) as exc:
        raise _unreadable(claims[-1]) from exc
    if not 0 <= ttl_s <= _LONGEST_S:  # NaN is not either
        raise _unreadable(claims[-1])
    looked_at = heard_at if released else store.now()
    generation = int(place.rpartition("/")[2])
    return Tenancy(environment, generation, holder, claim.modified_at, heard_at, ttl_s, looked_at, released)


@dataclass
class Lease:
    """One generation that this process holds; get it by `take`. Threads may share it."""

    store: Store
    environment: str
    generation: int
    holder: Holder
    terms: Terms
    clock: Clock
    taken_from: Tenancy | None = None  # who had not given it back; None: it was free, or this run's own
    _heard: float = field(init=False)  # monotonic, from before the beat left
    _looked: float = field(init=False)  # monotonic, from before the look at higher generations left
    _settled: float = field(init=False)  # monotonic; before it no request may leave
    _over: bool = False  # given back
    _guard: threading.RLock = field(default_factory=threading.RLock, repr=False)

    def __post_init__(self) -> None:
        self._heard = self._looked = self._settled = self.clock.monotonic()

    @classmethod
    def take(
        cls,
        store: Store,
        environment: str,
        me: Holder,
        *,
        terms: Terms,
        clock: Clock,
        from_run: str = "",
        seen: Tenancy | None = None,
        unsettled: bool = False,
    ) -> Self:
        """Take an environment's lease, or go on with the one that this process holds for this run.

        Args:
            store: What the environment's machines share.
            environment: Its name.
            me: Who takes it.
            terms: For how long, and on what terms from others.
            clock: For spans; only its monotonic time is used.
            from_run: The run whose lease may be taken over although it did not give it back; empty: none.
            seen: What was found a moment ago; None: look now.
            unsettled: Whether this run took it over in an earlier session, so that it has to settle once more.

        Raises:
            LeaseHeld: Somebody else has it; nothing was sent.
            Unreachable: The store gave no usable answer; a later try of this run knows its own claim.
        """
        for _ in range(_TRIES):
            found, seen = seen or peek(store, environment), None
            generation = found.generation if found is not None else 0
            lease = cls(store, environment, generation, me, terms, clock)
            if unsettled:
                lease._unsettle()
            if found is not None and found.holder == me and not found.released:
                lease.renew()
                return lease
            if found is not None and not found.may_be_taken(me, terms, from_run):
                raise found.refusal(me, from_run)
            if lease._claim_next(found):
                return lease
        raise LeaseHeld(
            f"The lease on {environment} changed hands {_TRIES} times while it was being taken.",
            _NOTHING,
            "Several people are acting: agree in the incidents channel who goes on, then run the open cell again.",
        )

    def _claim_next(self, found: Tenancy | None) -> bool:
        """Put the claim of the next generation; say whether it is ours."""
        self.generation += 1
        key = _key(self.environment, self.generation, "claim")
        if not self.store.create(key, _claim(self.holder, self.terms)):
            return False
        if found is not None and not found.released and found.holder.run != self.holder.run:
            self.taken_from = found
            self._unsettle()
        return True

    def _unsettle(self) -> None:
        """Let what the one before may have under way be over before anything leaves here."""
        self._settled = self.clock.monotonic() + self.terms.settle_s

    def settle(self) -> None:
        """Wait until what the one before may have under way is over; nothing to wait for where it was not taken over."""
        left_s = self._settled - self.clock.monotonic()
        if left_s > 0:
            self.clock.sleep(left_s)

    def renew(self) -> None:
        """Be heard of, and look whether somebody took it over; does nothing once it was given back.

        Raises:
            LeaseHeld: Taken over; nothing more may be sent.
            Unreachable: The store gave no usable answer.
        """
        with self._guard:
            if self._over:
                return
            heard = self.clock.monotonic()
            self.store.put(_key(self.environment, self.generation, "beat"), b"")
            looked = self.clock.monotonic()
            self._refuse_lost()
            self._heard, self._looked = heard, looked

    def require(self, deadline_s: float, *, at_most_s: float = 0.0) -> None:
        """Let one request pass that is over within its deadline, or refuse.

        Waits where a take-over has to settle. A pause of this process after the look is not covered.

        Args:
            deadline_s: By when the request has its answer or is given up.
            at_most_s: How old a look may be that still counts; none by default, never more than `LOOK_S`.

        Raises:
            LeaseHeld: Given back, taken over, or too short for the deadline; nothing may be sent.
            Unreachable: The store gave no usable answer, or not soon enough; nothing may be sent.
        """
        with self._guard:
            if self._over:
                raise self._given_back()
            self.settle()
            if not at_most_s or self.clock.monotonic() - self._looked > at_most_s:
                self.renew()
            self._refuse_late(deadline_s)

    def keep(self) -> None:
        """Make sure that it is still held while a change is under way that takes longer than one request.

        A store that gives no answer is borne with for as long as the lease lasts.

        Raises:
            LeaseHeld: Given back, taken over, or not heard of for its time to live: what is under way has to end.
        """
        with self._guard:
            if self._over:
                raise self._given_back()
            if self.clock.monotonic() - self._looked <= LOOK_S:
                return
            try:
                self.renew()
            except Unreachable as exc:
                if self.clock.monotonic() - self._heard <= self.terms.ttl_s:
                    return
                raise LeaseHeld(
                    f"The lease on {self.environment} ran out: the store could not be told of run {self.holder.run} for {self.terms.ttl_s:g} s.",
                    _NOTHING,
                    "See to the store, then run the open cell and this cell again.",
                ) from exc

    def release(self) -> None:
        """Give it back; it is not renewed any more whatever comes of it.

        Raises:
            Unreachable: The store gave no usable answer; it expires by itself.
        """
        with self._guard:
            if not self._over:
                self._over = True
                self.store.create(
                    _key(self.environment, self.generation, "released"), _claim(self.holder, self.terms)
                )

    def _given_back(self) -> LeaseHeld:
        return LeaseHeld(
            f"Run {self.holder.run} has given the lease on {self.environment} back.",
            _NOTHING,
            "Run the cell again: it takes the lease first.",
        )

    def _refuse_lost(self) -> None:
        place = f"leases/{self.environment}"
        keys = self.store.keys(place, after=f"{place}/{self.generation:08d}")
        claims = [key for key in keys if key.endswith("/claim")]
        if claims == [_key(self.environment, self.generation, "claim")]:
            return
        now = peek(self.store, self.environment) if claims else None
        by = (
            f"{now.holder} took it at {now.since:%Y-%m-%d %H:%M:%S} UTC."
            if now is not None
            else "Its claim is gone from the store: somebody took it away."
        )
        whom = now.holder.operator if now is not None else "whoever keeps the store"
        again = (
            f'set take_over = "{now.holder.run}" in the parameters cell and run that, '
            if now is not None and not now.released
            else "run "
        )
        raise LeaseHeld(
            f"Run {self.holder.run} no longer has the lease on {self.environment}. {by}",
            _NOTHING,
            f"Ask {whom} before anything else. To go on here, {again}the open cell and this cell again.",
        )

    def _refuse_late(self, deadline_s: float) -> None:
        now = self.clock.monotonic()
        if now - self._looked > LOOK_S:
            raise Unreachable(
                f"The store took longer than {LOOK_S:g} s to say who has the lease on {self.environment}.",
                _NOTHING,
                "Run the cell again. If production cannot wait, act by the platform's own dashboard.",
            )
        left_s = self.terms.ttl_s - (now - self._heard)
        if left_s < deadline_s:
            raise LeaseHeld(
                f"The lease on {self.environment} is good for {left_s:.1f} s more, the request may take {deadline_s:g} s.",
                _NOTHING,
                "Run the cell again. If it stays so, the store is too slow or policy.lease_ttl_s too short; if production cannot wait, act by the platform's own dashboard.",
            )


def _key(environment: str, generation: int, what: str) -> str:
    return f"leases/{environment}/{generation:08d}/{what}"


def _claim(holder: Holder, terms: Terms) -> bytes:
    """Write who claims; with a number used once, so that it is known again after a lost answer."""
    told = {**asdict(holder), "ttl_s": terms.ttl_s, "nonce": secrets.token_hex(8)}
    return json.dumps(told, sort_keys=True).encode()


def _holder(told: Mapping[str, Any]) -> Holder:
    """Read who claimed; an older version did not say of which boot its machine is."""
    named = {name: told[name] for name in Holder.__dataclass_fields__ if name != "boot"}
    return Holder(**named, boot=Machine.told(told).boot)


def _unreadable(key: str) -> Unreachable:
    return Unreachable(
        f"{key} in the store is no claim that can be read.",
        f"Who holds the lease is not known. {_NOTHING}",
        "Look at that object in the store (platform.state). If it is damaged, take it away once nobody is acting on the environment.",
    )
