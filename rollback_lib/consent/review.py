"""A request as its approver sees it: what is shown before anything is signed, and what is not signed at all.

- Nothing is shown that the digest does not cover, and nothing that it covers is left out.
- What is not plain ASCII is made visible and warned of; identifiers that are not have been refused before.
- What could not count at the gate is refused here already, in words that say what to do.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timedelta

from rollback_lib.consent.documents import Request
from rollback_lib.consent.plain import odd_characters, visible
from rollback_lib.errors import NotApproved
from rollback_lib.model import canonical_text
from rollback_lib.parameters import Contacts, Person, Policy

__all__ = ["age", "listed", "refuse", "roles_of", "shown"]

_NOT_SIGNED = "Nothing was signed."
_TELL = "Do not sign it. Ring the operator, and tell the incidents channel."
_DAY_S, _HOUR_S, _MINUTE_S = 86400, 3600, 60


def roles_of(request: Request, approver: Person, contacts: Contacts) -> tuple[str, ...]:
    """Return which of the roles that a request needs somebody holds now."""
    held = [role for role, keys in contacts.roles.items() if approver.key in keys]
    return tuple(role for role in request.roles if role in held)


def refuse(
    request: Request, approver: Person, *, environment: str, contacts: Contacts, policy: Policy, now: datetime
) -> None:
    """Refuse a request that this approver must not sign.

    Raises:
        NotApproved: With the reason; nothing was signed.
    """
    if request.environment != environment:
        raise NotApproved(
            f"The request is for {request.environment}, not for {environment}.",
            _NOT_SIGNED,
            f"If that is what you mean to approve: -e {request.environment}",
        )
    for applies, happened, next_step in (
        *_about_time(request, policy, now),
        *_about_people(request, approver, contacts),
    ):
        if applies:
            raise NotApproved(happened, _NOT_SIGNED, next_step)


def _about_time(request: Request, policy: Policy, now: datetime) -> tuple[tuple[bool, str, str], ...]:
    made, ends = _span(request)
    counts, most = (ends - made).total_seconds(), policy.approval_ttl_s
    return (
        (
            made - now > timedelta(seconds=policy.clock_skew_s),
            f"It was made at {request.requested_at}, which has not come yet: it is {now:%Y-%m-%d %H:%M:%S} UTC here.",
            "Correct the clock of this machine or of the operator's; then begin a new run.",
        ),
        (
            counts > most,
            f"It would count for {age(counts)}; in {request.environment} an approval counts for {age(most)}.",
            _TELL,
        ),
        (
            now > ends,
            f"It counted until {request.expires_at}, {age((now - ends).total_seconds())} ago.",
            "The operator has to begin a new run (new_run = True), which asks again.",
        ),
    )


def _about_people(
    request: Request, approver: Person, contacts: Contacts
) -> tuple[tuple[bool, str, str], ...]:
    roles = " or ".join(role.replace("_", " ") for role in request.roles)
    ring = f"rollback status --phones -e {request.environment} shows whom to ring."
    return (
        (
            request.requested_by not in contacts.people,
            f"It is asked by {request.requested_by!r}, who is nobody in {request.environment}'s contacts.",
            _TELL,
        ),
        (
            request.requested_by == approver.key,
            f"You are {approver.name}, and you asked for this yourself; nobody approves their own request.",
            f"Somebody else with the role has to approve it: {ring}",
        ),
        (
            not roles_of(request, approver, contacts),
            f"{approver.name} is not {roles} in {request.environment}.",
            f"Whoever has the role, or a deputy, has to approve it: {ring}",
        ),
    )


def _span(request: Request) -> tuple[datetime, datetime]:
    return datetime.fromisoformat(request.requested_at), datetime.fromisoformat(request.expires_at)


def shown(request: Request, approver: Person, contacts: Contacts, now: datetime) -> Iterator[str]:
    """Give the lines that an approver reads before signing."""
    made, ends = _span(request)
    asker = contacts.people[request.requested_by]
    yield f"{asker.name} ({asker.key}) asks for your approval in {request.environment.upper()}, {age((now - made).total_seconds())} ago."
    yield f"It counts until {ends:%H:%M:%S} UTC, {age((ends - now).total_seconds())} more."
    yield ""
    yield f"  {visible(request.title)}   (gate {request.gate}, incident {request.incident}, run {request.run})"
    first = [name for name in ("from", "to") if name in request.effect]
    for name in (*first, *(name for name in request.effect if name not in first)):
        yield f"    {name + ':':12} {visible(request.effect[name])}"
    for sent in request.requests:
        yield f"    {'sends:':12} {sent}"
    yield "  decided on this state of the platform, and on no other:"
    for name, value in request.state.items():
        yield f"    {name}: {visible(value if isinstance(value, str) else canonical_text(value))}"
    yield "  it will NOT undo:"
    yield from (f"    - {visible(text)}" for text in request.will_not_undo or ("nothing known",))
    yield ""
    roles = ", ".join(role.replace("_", " ") for role in roles_of(request, approver, contacts))
    yield f"You approve as {roles}: {approver.name} ({approver.key})."
    yield f"Digest {request.short}, worked out again from what is shown here: it fits."
    odd = odd_characters(_texts(request))
    if odd:
        yield f"LOOK CLOSELY: these characters are not plain letters, and may look like others: {'; '.join(odd)}"


def listed(request: Request, contacts: Contacts, now: datetime) -> str:
    """Tell a request in one line."""
    made, ends = _span(request)
    asker = contacts.people.get(request.requested_by)
    name = asker.name if asker is not None else f"{request.requested_by} (nobody in the contacts)"
    left = f"counts for {age((ends - now).total_seconds())} more" if now <= ends else "EXPIRED"
    roles = " and ".join(role.replace("_", " ") for role in request.roles)
    return f"{request.short}  {visible(request.title)}, run {request.run}; of the {roles}, asked by {name} {age((now - made).total_seconds())} ago, {left}"


def age(seconds: float) -> str:
    """Write a span as a person says it."""
    for unit, name in ((_DAY_S, "days"), (_HOUR_S, "hours"), (_MINUTE_S, "minutes")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.0f} {name}"
    return f"{max(seconds, 0):.0f} seconds"


def _texts(request: Request) -> tuple[str, ...]:
    state = (value if isinstance(value, str) else canonical_text(value) for value in request.state.values())
    return (request.title, *request.effect.values(), *state, *request.will_not_undo)
