"""The papers of an approval: one spelling, one version, and a request that holds all that its digest is made of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from consents import make_ask

from rollback_lib.consent.documents import (
    APPROVAL_BLOCK,
    Request,
    Signed,
    Statement,
    as_pasted,
    from_pasted,
    read_paper,
    request_key,
    sha256_of,
)
from rollback_lib.consent.gates import Ask
from rollback_lib.errors import NotApproved


def make_request(ask: Ask | None = None, **changed: Any) -> Request:
    """Give the request for what a gate asks."""
    plain = (ask or make_ask()).plain()
    facts: dict[str, Any] = {
        **plain,
        "requests": tuple(plain["requests"]),
        "will_not_undo": tuple(plain["will_not_undo"]),
        "incident": "INC-1",
        "run": "P1-1",
        "roles": ("engineering_lead",),
        "digest": (ask or make_ask()).digest,
        "requested_by": "ana",
        "requested_at": "2026-11-23T21:58:00.000Z",
        "expires_at": "2026-11-23T22:58:00.000Z",
        "nonce": "ab" * 16,
    }
    return Request(**(facts | changed))


def make_signed(**changed: Any) -> Signed:
    """Give a signed approval with a signature that nobody made."""
    statement = Statement(
        approver="lee",
        roles=("engineering_lead",),
        signed_at="2026-11-23T21:59:00.000Z",
        request=make_request(),
    )
    return Signed(**({"statement": statement.text, "signature": "none"} | changed))


def test_request_tells_the_whole_ask_and_its_digest_follows_from_it() -> None:
    """Who reads it can work the digest out again; the journal's, the store's and the signed one are one text."""
    request = make_request()
    assert request.ask == make_ask()
    assert request.ask.digest == request.digest
    assert read_paper(request.text.encode(), Request) == request
    assert request.text.isascii()
    assert json.loads(request.text)["state"] == make_ask().state
    assert request_key("drill", request.digest) == f"approvals/drill/{request.digest}/request.json"


@pytest.mark.parametrize("name", sorted(set(make_ask().plain()) - {"environment"}))
def test_whatever_is_shown_belongs_to_the_digest(name: str) -> None:
    """Another title, target, state, request or name to type is another digest, and refused under the old one."""
    plain = json.loads(make_request().text)
    value = plain[name]
    plain[name] = (
        {**value, "more": "x"}
        if isinstance(value, dict)
        else [*value, "x"]
        if isinstance(value, list)
        else "x"
    )
    with pytest.raises(NotApproved, match="it was changed"):
        read_paper(json.dumps(plain, sort_keys=True, separators=(",", ":")).encode(), Request)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        pytest.param({"run": "P1-2"}, None, id="a run that the effect does not name"),
        pytest.param({"expires_at": "2026-11-23T21:58:00.000Z"}, "expires before", id="no time at all"),
        pytest.param({"expires_at": "2026-11-23T22:58"}, "must be a time", id="a time without its zone"),
        pytest.param({"expires_at": "tomorrow"}, "must be a time", id="no time"),
        pytest.param({"requested_by": "l\u0435e"}, "printable ASCII", id="a look-alike"),
        pytest.param({"requested_by": " lee"}, "printable ASCII", id="padded"),
        pytest.param({"roles": ()}, "at least 1", id="no role"),
        pytest.param({"roles": ["cto"]}, "tuple", id="no tuple in Python"),
        pytest.param({"nonce": "short"}, "pattern", id="no nonce"),
        pytest.param({"digest": "AB" * 32}, "pattern", id="a digest in capitals"),
        pytest.param({"v": 2}, "should be 1", id="another version"),
    ],
)
def test_request_that_does_not_hold_together_is_none(changed: dict[str, Any], says: str | None) -> None:
    """Each identifier is plain, each time is whole, and nothing is told in two ways."""
    if says is None:
        assert make_request(**changed).run == "P1-2"
        return
    with pytest.raises(ValueError, match=says):
        make_request(**changed)


@pytest.mark.parametrize("name", ["incident", "run"])
def test_incident_and_run_are_told_in_one_way(name: str) -> None:
    """What the effect says of them is what the request says."""
    ask = make_ask(effect={"to": "dpl_good", name: "another"})
    with pytest.raises(ValueError, match=f"its {name} is told in two ways"):
        make_request(ask)


@pytest.mark.parametrize(
    ("raw", "says"),
    [
        pytest.param(b"", "Invalid JSON", id="empty"),
        pytest.param(b"null", "should be an object", id="nothing"),
        pytest.param(b"[" * 5000, "Invalid JSON", id="nested"),
        pytest.param(b"\xff", "Invalid JSON", id="no text"),
        pytest.param(b"{" + b" " * 200_000, "more than any real one", id="too large"),
        pytest.param(make_request().text.encode() + b"\n", "not spelled", id="a line end behind it"),
        pytest.param(json.dumps(json.loads(make_request().text)).encode(), "not spelled", id="with spaces"),
        pytest.param(
            make_request().text.replace('"v":1', '"v":1.0').encode(),
            "not spelled|should be 1",
            id="1.0 for 1",
        ),
        pytest.param(
            make_request().text.replace('{"digest"', '{"digest":"x","digest"').encode(), "not", id="twice"
        ),
        pytest.param(make_signed().text.encode(), "no rollback approval request", id="another paper"),
    ],
)
def test_anything_but_the_one_spelling_is_no_paper(raw: bytes, says: str) -> None:
    """Two readers can never take the same bytes differently."""
    with pytest.raises(NotApproved, match=says) as caught:
        read_paper(raw, Request)
    assert caught.value.state == "Nothing was signed, and nothing was handed over."


def test_signed_approval_is_kept_under_the_request_by_its_own_content() -> None:
    """Its name in the store says what it is and what it belongs to."""
    paper = make_signed()
    sha256 = sha256_of(paper.text.encode())
    assert paper.key == f"approvals/drill/{make_request().digest}/signed-{sha256}.json"


@pytest.mark.parametrize(
    "bend",
    [
        pytest.param(lambda text: text, id="as it is"),
        pytest.param(lambda text: f"Hi Ana,\n\n{text}\nLee", id="within a message"),
        pytest.param(lambda text: text.replace("\n", "\r\n"), id="with other line ends"),
        pytest.param(lambda text: "".join(f"> {line}\n" for line in text.splitlines()), id="quoted"),
        pytest.param(lambda text: text.replace("\n", "  \n   "), id="indented"),
        pytest.param(lambda _: make_signed().text, id="the JSON itself"),
        pytest.param(lambda _: f"\n {make_signed().text} \n", id="the JSON with space around"),
    ],
)
def test_pasted_text_survives_what_chat_programs_do(bend: Any) -> None:
    """Line ends, quoting and indenting change nothing."""
    assert read_paper(from_pasted(bend(as_pasted(make_signed(), APPROVAL_BLOCK))), Signed) == make_signed()


def test_pasted_text_that_lost_a_letter_is_refused() -> None:
    """What was cut is no approval."""
    lines = as_pasted(make_signed(), APPROVAL_BLOCK).splitlines()
    cut = "\n".join([lines[0], lines[1][:-1], *lines[2:]])
    with pytest.raises(NotApproved):
        read_paper(from_pasted(cut), Signed)
