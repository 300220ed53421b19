"""A run's hold on its environment: taken when the run is opened, kept while people read, given back when it stops.

- Looked at before a run is begun: whoever is refused leaves no run behind.
- Taking and giving back are written down first; every take-over is a warning, and told in the incident's thread.
- It is given back before the run's last line, because a closed journal is never changed; and whenever the run stops,
  unless nobody can tell what became of a change: then the next one has to take it over knowingly.
- Reading goes on without it; nothing that changes production leaves without it.
- A dry run takes none, and leaves nothing in the store.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from rollback_lib.clock import Clock, to_iso
from rollback_lib.consent.lease import LOOK_S, Holder, Lease, Tenancy, Terms, peek
from rollback_lib.errors import JournalError, LeaseHeld, RollbackError
from rollback_lib.journal import FILE_NAME, Journal, Line, read_journal
from rollback_lib.messages.thread import Thread
from rollback_lib.parameters import Resolved
from rollback_lib.procedures.handover import Mirror, Seal, lines_up
from rollback_lib.procedures.identity import Identity
from rollback_lib.procedures.shown import Notice, show, warn
from rollback_lib.providers.slack import escape
from rollback_lib.store import Store

__all__ = ["FirstLook", "Leasing", "look_first"]


@dataclass(frozen=True)
class FirstLook:
    """What the store said before the run's journal was touched."""

    tenancy: Tenancy | None
    lines_up: int


def look_first(store: Store, resolved: Resolved, identity: Identity) -> FirstLook:
    """Refuse a run whose environment somebody else holds, or which another machine went on with; changes nothing.

    Raises:
        LeaseHeld: As said; no run was begun or changed.
        Unreachable: The store gave no usable answer; no run was begun or changed.
    """
    parameters = resolved.parameters
    lines = () if identity.is_new else read_journal(identity.folder / FILE_NAME).lines
    up = lines_up(store, identity.run, lines) if lines else 0
    if parameters.dry_run:
        return FirstLook(None, up)
    found, me = peek(store, parameters.environment), Holder.here(identity.run, parameters.operator)
    named = _named(parameters.take_over, lines)
    if found is not None and not found.may_be_taken(me, _terms(resolved), named):
        raise found.refusal(me, named)
    return FirstLook(found, up)


def _named(take_over: str, lines: tuple[Line, ...]) -> str:
    """Return the run to take over from; once it was done, the parameter left in its cell does it no more."""
    done = any(line.event == "lease.taken_over" and line.data["from_run"] == take_over for line in lines)
    return "" if done else take_over


def _terms(resolved: Resolved) -> Terms:
    policy = resolved.policy
    return Terms(policy.lease_ttl_s, LOOK_S + policy.request_timeout_s, policy.lease_expired)


@dataclass(eq=False)
class Leasing:
    """The lease of one run's environment, and the copy of its journal in the store."""

    store: Store
    resolved: Resolved
    journal: Journal
    thread: Thread
    clock: Clock
    first_look: FirstLook
    mirror: Mirror = field(init=False)
    _lease: Lease | None = None
    _lost: bool = False  # and shown to be

    def __post_init__(self) -> None:
        self.mirror = Mirror(
            self.store, self.journal, self.first_look.lines_up, Seal.of(self.resolved.secrets)
        )

    @property
    def environment(self) -> str:
        """Return the environment that it is about."""
        return self.resolved.parameters.environment

    @property
    def beats(self) -> tuple[Callable[[], None], ...]:
        """Return what keeps the lease and brings the journal up, to be called again and again; a dry run has none."""
        return () if self.resolved.parameters.dry_run else (self._renew, self.mirror.push)

    def begin(self) -> None:
        """Take the lease, by what was seen before the journal was touched.

        Raises:
            LeaseHeld: Somebody else was faster; nothing was sent.
            Unreachable: The store gave no usable answer; nothing was sent.
        """
        self.hold(self.first_look.tenancy)

    def hold(self, seen: Tenancy | None = None) -> None:
        """Take the lease unless this run has it or is a dry one.

        Raises:
            LeaseHeld: Somebody else has it; nothing was sent.
            Unreachable: The store gave no usable answer; nothing was sent.
        """
        if self._lease is not None or self.resolved.parameters.dry_run:
            return
        parameters, terms = self.resolved.parameters, _terms(self.resolved)
        me = Holder.here(self.journal.run, self.journal.by)
        leave = self.journal.prepare(
            f"lease on {self.environment}",
            step=None,
            data={**me.machine.written(), "pid": me.pid, "ttl_s": terms.ttl_s},
        )
        try:
            lease = Lease.take(
                self.store,
                self.environment,
                me,
                terms=terms,
                clock=self.clock,
                from_run=_named(parameters.take_over, self.journal.lines),
                seen=seen,
                unsettled=self.journal.last("lease.taken_over") is not None,
            )
        except RollbackError as exc:
            leave.failed(exc.happened)
            raise
        leave.done({"generation": lease.generation})
        self._lease, self._lost = lease, False
        if lease.taken_from is not None:
            self._tell_taken_over(lease.taken_from)

    def hold_for_reading(self) -> None:
        """Take the lease if it can be had; a step that only reads goes on without it, with a warning."""
        try:
            self.hold()
        except RollbackError as exc:
            warn(self.journal, f"this step reads on without the lease: {exc.happened}")

    def settle(self) -> None:
        """Wait, after a take-over, until what the other one may have under way is over."""
        if self._lease is not None:
            self._lease.settle()

    def require(self, deadline_s: float) -> None:
        """Let a request pass that is over within its deadline, or refuse; looks at the store now.

        Raises:
            LeaseHeld: The run does not have the lease, or not for long enough; nothing may be sent.
            Unreachable: The store gave no usable answer; nothing may be sent.
        """
        self._held().require(deadline_s)

    def hand_over(self, deadline_s: float) -> None:
        """Bring the journal's lines up, so that another machine knows of the request that leaves next.

        Raises:
            LeaseHeld: Another machine goes on with the run, or the lease was lost meanwhile; nothing may be sent.
            Unreachable: The store gave no usable answer; nothing may be sent.
        """
        self.mirror.push()
        self._held().require(deadline_s, at_most_s=LOOK_S)

    def keep(self) -> None:
        """Make sure that the run still has the lease while a long change is under way; asks the store, not the memory.

        Raises:
            LeaseHeld: It was taken over, or ran out: what is under way has to be ended.
        """
        self._held().keep()

    def let_go(self) -> None:
        """Give the lease back, on record; a store that cannot be reached is a warning, the lease expires by itself."""
        lease, self._lease = self._lease, None
        if lease is None:
            return
        leave = self.journal.prepare(f"end of the lease on {self.environment}", step=None)
        try:
            lease.release()
        except RollbackError as exc:
            leave.failed(exc.happened)
            warn(
                self.journal,
                f"the lease on {self.environment} was not given back; it expires by itself within {lease.terms.ttl_s:g} s: {exc.happened}",
            )
        else:
            leave.done({"generation": lease.generation})

    def copy_up(self) -> None:
        """Bring up what the journal and the attachments hold now; what fails is shown and holds nothing up."""
        if self.resolved.parameters.dry_run:
            return
        try:
            self.mirror.push()
            self.mirror.push_files()
        except (RollbackError, OSError) as exc:
            show(
                Notice(f"⚠ The store has not all of this run, another machine could not go on with it: {exc}")
            )

    def _held(self) -> Lease:
        if self._lease is None:
            raise LeaseHeld(
                f"Run {self.journal.run} does not have the lease on {self.environment}.",
                "Nothing was sent by this.",
                "Run the gate's cell again, which takes it, then this one.",
            )
        return self._lease

    def _tell_taken_over(self, found: Tenancy) -> None:
        holder = found.holder
        data = {
            "from_run": holder.run,
            "operator": holder.operator,
            "host": holder.host,
            "pid": holder.pid,
            "since": to_iso(found.since),
            "heard_at": to_iso(found.heard_at),
            "expired": found.expired,
            "by": "policy" if self.resolved.parameters.take_over != holder.run else "the parameter take_over",
        }
        self.journal.append("lease.taken_over", data=data)
        warn(self.journal, f"lease taken over. {found.standing()}")
        if self.thread.said("alert"):
            self.thread.say(
                f"take-over from {holder.run}",
                f"⚠️ Run {self.journal.run} acts on {self.environment} now. {escape(found.standing())}",
            )

    def _renew(self) -> None:
        if not self.journal.held:  # whoever has the run now keeps the lease
            raise JournalError(
                f"The journal of run {self.journal.run} is not held by this process any more.",
                "Nothing more is sent by it.",
                "Run the notebook's open cell again.",
            )
        lease = self._lease
        try:
            if lease is not None:
                lease.renew()
        except LeaseHeld as exc:
            if not self._lost:
                self._lost = True
                show(Notice(f"⚠ {exc}"))
            raise
