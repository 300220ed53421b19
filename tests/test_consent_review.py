"""A request as its approver sees it, and what nobody should sign."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from consents import HOME, make_ask
from parameters_project import opened, project
from test_consent_documents import make_request

from rollback_lib.consent.documents import Request
from rollback_lib.consent.review import age, listed, refuse, roles_of, shown
from rollback_lib.errors import NotApproved
from rollback_lib.parameters import Policy, load_contacts

CONTACTS = load_contacts(HOME, "drill")
NOW = datetime(2026, 11, 23, 22, 1, tzinfo=UTC)


@pytest.fixture(scope="module")
def policy(tmp_path_factory: pytest.TempPathFactory) -> Policy:
    home: Path = project(tmp_path_factory.mktemp("review"))
    return opened(home).policy


def refused(request: Request, policy: Policy, who: str = "lee", **other: Any) -> None:
    facts: dict[str, Any] = {"environment": "drill", "contacts": CONTACTS, "policy": policy, "now": NOW}
    refuse(request, CONTACTS.person(who), **(facts | other))


def text_of(request: Request, who: str = "lee") -> str:
    return "\n".join(shown(request, CONTACTS.person(who), CONTACTS, NOW))


def test_everything_that_the_digest_covers_is_shown(policy: Policy) -> None:
    """Who asks, what, from where to where, what is sent, on what state, what stays; how long it counts."""
    request = make_request()
    refused(request, policy)
    text = text_of(request)
    assert text.startswith("Ana Operator (ana) asks for your approval in DRILL, 3 minutes ago.")
    assert "It counts until 22:58:00 UTC, 57 minutes more." in text
    plain = make_ask().plain()
    covered = [plain["title"], *plain["effect"].values(), *plain["state"].values(), *plain["requests"]]
    assert [value for value in (*covered, *plain["will_not_undo"]) if value not in text] == []
    assert text.index("from:") < text.index("to:") < text.index("what:")
    assert f"Digest {request.digest[:16]}, worked out again" in text
    assert "You approve as engineering lead: Lee Lead (lee)." in text
    assert "LOOK CLOSELY" not in text


def test_what_is_not_plain_is_visible_and_warned_of() -> None:
    """A turned direction and a look-alike cannot make one target read as another."""
    text = text_of(make_request(make_ask(effect={"to": "dpl_g\u043eod \u202e3202"})))
    assert "\u202e" not in text
    assert "dpl_g⟨\u043e U+043E⟩od ⟨U+202E⟩3202" in text
    assert "LOOK CLOSELY" in text
    assert "CYRILLIC SMALL LETTER O" in text
    assert "RIGHT-TO-LEFT OVERRIDE" in text


@pytest.mark.parametrize(
    ("changed", "other", "says"),
    [
        pytest.param({}, {"environment": "production"}, "is for drill, not for production", id="environment"),
        pytest.param({"requested_by": "mallory"}, {}, "'mallory', who is nobody", id="asked by nobody"),
        pytest.param(
            {}, {"now": datetime(2026, 11, 23, 21, 57, tzinfo=UTC)}, "has not come yet", id="to come"
        ),
        pytest.param(
            {"expires_at": "2026-11-24T21:58:00.000Z"}, {}, "count for 24 hours", id="counts too long"
        ),
        pytest.param({}, {"now": datetime(2026, 11, 23, 23, 1, tzinfo=UTC)}, "3 minutes ago", id="expired"),
        pytest.param({"requested_by": "lee"}, {}, "you asked for this yourself", id="own request"),
        pytest.param({"roles": ("cto",)}, {}, "Lee Lead is not cto", id="without the role"),
        pytest.param({"roles": ("janitor",)}, {}, "Lee Lead is not janitor", id="a role that is none"),
    ],
)
def test_what_could_not_count_is_refused_before_anything_is_signed(
    policy: Policy, changed: dict[str, Any], other: dict[str, Any], says: str
) -> None:
    """With what to do instead."""
    with pytest.raises(NotApproved, match=says) as caught:
        refused(make_request(**changed), policy, **other)
    assert caught.value.state == "Nothing was signed."
    assert caught.value.next_step


def test_clocks_that_differ_a_little_are_no_hindrance(policy: Policy) -> None:
    """Within the policy's clock skew a request from the near future is read as of now."""
    refused(make_request(), policy, now=datetime(2026, 11, 23, 21, 57, 57, tzinfo=UTC))
    assert age(-3) == "0 seconds"


def test_a_deputy_is_asked_in_the_role_and_somebody_with_two_roles_in_both() -> None:
    """Only those of the request's roles that are held."""
    request = make_request(roles=("engineering_lead", "cto"))
    assert roles_of(request, CONTACTS.person("dee"), CONTACTS) == ("engineering_lead",)
    assert roles_of(request, CONTACTS.person("ana"), CONTACTS) == ()


def test_a_request_is_told_in_one_line() -> None:
    """Digest, what, which run, of whom, by whom, how old, how long it counts."""
    assert listed(make_request(), CONTACTS, NOW).endswith(
        "Promote to Production, run P1-1; of the engineering lead, asked by Ana Operator 3 minutes ago, counts for 57 minutes more"
    )
    late = datetime(2026, 11, 24, tzinfo=UTC)
    assert "EXPIRED" in listed(make_request(requested_by="mallory"), CONTACTS, late)


@pytest.mark.parametrize(
    ("seconds", "text"), [(59, "59 seconds"), (120, "2 minutes"), (7200, "2 hours"), (172800, "2 days")]
)
def test_spans_are_said_as_people_say_them(seconds: float, text: str) -> None:
    """In the largest unit of which there are two."""
    assert age(seconds) == text
