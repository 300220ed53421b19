"""Forged, misused and stale approvals: each is tried at a real gate with its real ways, and none lets anything through.

Every case is also a control of itself: where an honest approval can still count afterwards it is given, and opens the
gate, so that a case cannot pass because something else was wrong. `pytest --collect-only` counts them.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from approvers import INCIDENT, ROLE, Scene, edited, public_of, sign_text, signed, statement_for
from conftest import FakeClock
from consents import NAME
from parameters_project import configured

from rollback_lib.consent.documents import Request, Signed, folder_of, sha256_of
from rollback_lib.errors import GateClosed, NotApproved
from rollback_lib.model import canonical_text, digest_of
from rollback_lib.parameters import load_contacts

EFFECT = "rollback production to dpl_good"


@dataclass(frozen=True)
class Forgery:
    """One thing that somebody tries."""

    name: str
    attempt: Callable[[Scene], None]
    says: str  # part of why the gate stays closed
    honest: bool = True  # whether an honest approval opens the same gate afterwards
    environment: str = "drill"


def changed(request: Request, **fields: Any) -> dict[str, Any]:
    """Give a request with other values; its digest is worked out again, as a careful forger would."""
    plain = json.loads(request.text) | fields
    if "digest" not in fields:
        names = (
            "gate",
            "title",
            "environment",
            "requests",
            "effect",
            "state",
            "will_not_undo",
            "typed_wanted",
        )
        plain["digest"] = digest_of({"v": 1} | {name: plain[name] for name in names})
    return plain


def signs(**fields: Any) -> Callable[[Scene], None]:
    """Have the lead really sign a request that differs, and put it beside the one that was asked."""

    def attempt(scene: Scene) -> None:
        request = changed(scene.request(), **fields)
        scene.put(signed(statement_for(request, scene.lead), scene.lead, f"rollback@{scene.environment}"))

    return attempt


def effect_of(scene_request: Request, **fields: str) -> dict[str, str]:
    """Give the effect with other values."""
    return dict(scene_request.effect) | fields


def other_target(scene: Scene) -> None:
    request = scene.request()
    signs(effect=effect_of(request, to="dpl_evil 99ee0000"))(scene)


def other_run(scene: Scene) -> None:
    request = scene.request()
    run = "P1-20261123-220000-aaaa"
    signs(run=run, effect=effect_of(request, run=run))(scene)


def other_incident(scene: Scene) -> None:
    request = scene.request()
    incident = "INC-20260101-0000"
    signs(incident=incident, effect=effect_of(request, incident=incident))(scene)


def expired(scene: Scene) -> None:
    scene.approve()
    scene.clock.advance(3601)


def replayed_in_a_second_run(scene: Scene) -> None:
    """What was signed for an earlier run of the same incident, put beside this one's request."""
    earlier = Scene(
        scene.journal.folder.parent / "earlier",
        scene.clock,
        run="P1-20261123-215700-0001",
        order=("signature",),
    )
    earlier.allow(lee="lee")
    old = earlier.store.get(earlier.approve())
    assert old is not None
    earlier.journal.release()
    scene.request()
    scene.put(old.data)


def marked(scene: Scene, **other: str) -> None:
    """Put down that the approvals were used, for something else than what is asked now."""
    mark = {"v": 1, "kind": "used rollback approval", "digest": scene.ask.digest, "gate": scene.ask.gate}
    mark |= {"incident": INCIDENT, "run": scene.run, "effect": EFFECT} | other
    scene.store.put(f"{folder_of(scene.environment, scene.ask.digest)}/used", canonical_text(mark).encode())


def used_by_another_run(scene: Scene) -> None:
    scene.approve()
    marked(scene, run="P1-20261123-215700-0001")


def used_for_a_second_effect(scene: Scene) -> None:
    scene.approve()
    marked(scene, effect="promote production to dpl_evil")


def used_by_something_unreadable(scene: Scene) -> None:
    scene.approve()
    scene.store.put(f"{folder_of(scene.environment, scene.ask.digest)}/used", b"\x00")


def used_once_before_in_this_run(scene: Scene) -> None:
    scene.approve()
    scene.gate.look()
    scene.gate.permit("promote production to dpl_evil", step="P1.S4", data={}, check=lambda: None)


def by_who_operated_the_run_earlier(scene: Scene) -> None:
    scene.journal.append("run.continued", data={"operator": "lee"})
    scene.journal.append("run.continued", data={"operator": "ana"})
    scene.approve()


def by_who_wrote_into_the_run(scene: Scene) -> None:
    scene.journal.by = "lee"
    scene.journal.append("note", data={"text": "looked at it"})
    scene.journal.by = "ana"
    scene.approve()


def by_the_requester(scene: Scene) -> None:
    scene.journal.release()
    scene.__init__(scene.journal.folder.parent / "own", scene.clock, operator="lee")  # type: ignore[misc]
    scene.approve()


def key_removed_since(scene: Scene) -> None:
    scene.approve()
    scene.gate.look()
    assert scene.gate.is_open
    scene.allow(dee="dee")


def role_taken_since(scene: Scene) -> None:
    scene.approve()
    scene.gate.look()
    assert scene.gate.is_open
    from rollback_lib.parameters import Contacts

    scene.contacts = Contacts(scene.contacts.people, {**scene.contacts.roles, "engineering_lead": ("dee",)})


def key_revoked_by_date(scene: Scene) -> None:
    scene.allow(f'lee valid-before="20261123215900" {public_of("lee")}', dee="dee")
    scene.approve()
    scene.clock.advance(120)


def signers(*lines: str) -> Callable[[Scene], None]:
    """Have the lead's approval signed by a stranger's key that a bad signers file lets in."""

    def attempt(scene: Scene) -> None:
        scene.approve(key="stranger")
        scene.allow(*(line.format(stranger=public_of("stranger"), lee=public_of("lee")) for line in lines))

    return attempt


def moved_since(scene: Scene) -> None:
    """Approved as the world was; the gate is shown again with the world as it is."""
    scene.approve()
    scene.ask = scene.make_ask(state={"live deployment": "dpl_hotfix"})
    scene.gate = scene.make_gate()


def shown_otherwise(**fields: Any) -> Callable[[Scene], None]:
    """Approved as it was shown; then something else is asked by the same gate."""

    def attempt(scene: Scene) -> None:
        scene.approve()
        scene.ask = scene.make_ask(**fields)
        scene.gate = scene.make_gate()

    return attempt


def edit_after_signing(name: str) -> Callable[[Scene], None]:
    """Change one field of what was signed, and leave the signature as it is."""

    def attempt(scene: Scene) -> None:
        request = scene.request()
        honest = statement_for(request, "lee")
        statement = statement_for(edited(request, name), "lee")
        scene.put(Signed(statement=statement, signature=sign_text(honest, "lee")).text.encode())

    return attempt


def edit_before_signing(name: str) -> Callable[[Scene], None]:
    """Change one field of the request in the store; the lead's own tools are fooled and really sign it."""

    def attempt(scene: Scene) -> None:
        scene.put(signed(statement_for(edited(scene.request(), name), "lee")))

    return attempt


def edit_statement(**said: Any) -> Callable[[Scene], None]:
    """Change what the approver says of themselves, and leave the signature as it is."""

    def attempt(scene: Scene) -> None:
        request = scene.request()
        honest = sign_text(statement_for(request, "lee"), "lee")
        plain = json.loads(statement_for(request, "lee")) | said
        scene.put(Signed(statement=canonical_text(plain), signature=honest).text.encode())

    return attempt


def paper(make: Callable[[Scene], bytes], name: str = "") -> Callable[[Scene], None]:
    def attempt(scene: Scene) -> None:
        scene.request()
        scene.put(make(scene), name=name)

    return attempt


def with_signature(signature: str) -> Callable[[Scene], bytes]:
    return lambda scene: Signed(
        statement=statement_for(scene.request(), "lee"), signature=signature
    ).text.encode()


def other_statements_signature(scene: Scene) -> bytes:
    return Signed(
        statement=statement_for(scene.request(), "lee"), signature=sign_text("something else", "lee")
    ).text.encode()


def cut_signature(scene: Scene) -> bytes:
    statement = statement_for(scene.request(), "lee")
    armour = sign_text(statement, "lee").splitlines()
    return Signed(statement=statement, signature="\n".join([*armour[:2], *armour[3:], ""])).text.encode()


def bent_signature(scene: Scene) -> bytes:
    statement = statement_for(scene.request(), "lee")
    armour = sign_text(statement, "lee").splitlines()
    raw = bytearray(base64.b64decode("".join(armour[1:-1])))
    raw[-1] ^= 1
    lines = base64.b64encode(raw).decode()
    return Signed(statement=statement, signature="\n".join([armour[0], lines, armour[-1], ""])).text.encode()


def respelled(scene: Scene) -> bytes:
    return json.dumps(json.loads(signed(statement_for(scene.request(), "lee"))), indent=1).encode()


def respelled_inside(scene: Scene) -> bytes:
    statement = json.dumps(json.loads(statement_for(scene.request(), "lee")))
    return signed(statement)


def doubled_key(scene: Scene) -> bytes:
    statement = statement_for(scene.request(), "dee").replace(
        '{"approver":"dee"', '{"approver":"lee","approver":"dee"'
    )
    return signed(statement, "dee")


def renamed_to_this_digest(scene: Scene) -> None:
    """An approval that was signed for another digest, under the name that this one's would have."""
    request = scene.request()
    other = signed(statement_for(changed(request, effect=effect_of(request, to="dpl_evil")), "lee"))
    scene.put(other, name=f"signed-{sha256_of(signed(statement_for(request, 'lee')))}.json")


def honest_under_another_name(scene: Scene) -> None:
    scene.put(signed(statement_for(scene.request(), "lee")), name=f"signed-{'0' * 64}.json")


def as_production(scene: Scene) -> None:
    """A production gate; the drill's lead signs with the drill's key, for the drill's namespace."""
    scene.put(signed(statement_for(scene.request(), "lee"), "lee", "rollback@drill"))


def drill_key_as_production_lead(scene: Scene) -> None:
    scene.put(signed(statement_for(scene.request(), scene.lead), "lee", "rollback@production"))


def drill_namespace_in_production(scene: Scene) -> None:
    scene.put(signed(statement_for(scene.request(), scene.lead), scene.lead, "rollback@drill"))


def drill_request_in_production(scene: Scene) -> None:
    request = scene.request()
    scene.put(
        signed(
            statement_for(changed(request, environment="drill"), scene.lead),
            scene.lead,
            "rollback@production",
        )
    )


def drill_persona_in_slack(scene: Scene) -> None:
    scene.react("U0LEE")


# -- by a reaction


def reacts(user: str, name: str = "white_check_mark", **account: Any) -> Callable[[Scene], None]:
    def attempt(scene: Scene) -> None:
        scene.slack.users.setdefault(user, {}).update(account)
        scene.react(user, name)

    return attempt


def on_another_message(scene: Scene) -> None:
    scene.request()
    scene.slack.messages.append(
        dict(scene.slack.messages[0]) | {"ts": "1.000", "user": "U0SAM", "reactions": {}}
    )
    scene.slack.react("U0LEE")


def refused_after_the_approval(scene: Scene) -> None:
    scene.react("U0LEE")
    scene.gate.look()
    assert scene.gate.is_open
    scene.slack.react("U0DEE", "x", 0)


def refused_in_slack_signed_all_the_same(scene: Scene) -> None:
    scene.approve()
    scene.slack.react("U0DEE", "x")


def hidden_refusals(scene: Scene) -> None:
    scene.react("U0LEE")
    scene.slack.react("U0SAM", "x")
    scene.slack.counted["x"] = 1


def left_the_company_since(scene: Scene) -> None:
    scene.react("U0LEE")
    scene.gate.look()
    assert scene.gate.is_open
    scene.slack.users["U0LEE"]["deleted"] = True


def reaction_too_late(scene: Scene) -> None:
    scene.react("U0LEE")
    scene.clock.advance(3601)


def reaction_of_who_operates_now(scene: Scene) -> None:
    scene.react("U0LEE")
    scene.gate.look()
    scene.journal.append("run.continued", data={"operator": "lee"})


# -- by word of mouth


def attests(speaker: str, at: str = "21:57") -> Callable[[Scene], None]:
    def attempt(scene: Scene) -> None:
        source = scene.gate.source
        with pytest.raises(NotApproved):
            source.spoken.attest(scene.ask, ROLE, speaker, at)  # type: ignore[union-attr]

    return attempt


def spoken_about_another(scene: Scene) -> None:
    other = scene.make_ask(state={"live deployment": "dpl_hotfix"})
    scene.gate.source.spoken.attest(other, ROLE, "lee", "21:57")  # type: ignore[union-attr]


def spoken_long_ago(scene: Scene) -> None:
    scene.gate.source.spoken.attest(scene.ask, ROLE, "lee", "21:57")  # type: ignore[union-attr]
    scene.clock.advance(3601)


def spoken_where_policy_does_not_allow_it(scene: Scene) -> None:
    scene.gate.source.spoken.attest(scene.ask, ROLE, "lee", "21:57")  # type: ignore[union-attr]
    scene.order = ("slack", "signature")
    scene.gate = scene.make_gate()


LOOKALIKE = {
    "environment": "dr\u0456ll",
    "gate": "P1.G\u0131",
    "run": "P1-2026\u200b",
    "incident": "INC\u2010X",
}
FIELDS = tuple(name for name in Request.model_fields if name != "digest")

FORGERIES = (
    Forgery("other incident", other_incident, "another incident"),
    Forgery("other run", other_run, "another run"),
    Forgery("other gate", signs(gate="P1.G2"), "another gate"),
    Forgery("other target", other_target, "another digest"),
    Forgery("other environment", signs(environment="staging"), "another environment"),
    Forgery("other state", signs(state={"live deployment": "dpl_other"}), "another digest"),
    Forgery("other request to the platform", signs(requests=["POST /promote/dpl_evil"]), "another digest"),
    Forgery(
        "digest of this one over another content", signs(title="Nothing much", digest="0" * 64), "changed"
    ),
    Forgery("expired", expired, "counted until", honest=False),
    Forgery("longer expiry", signs(expires_at="2026-12-24T00:00:00.000Z"), "another request"),
    Forgery("replayed in a second run", replayed_in_a_second_run, "another run"),
    Forgery("used by another run", used_by_another_run, "used already", honest=False),
    Forgery("used for a second effect", used_for_a_second_effect, "used already", honest=False),
    Forgery("used by something unreadable", used_by_something_unreadable, "used already", honest=False),
    Forgery("used once before in this run", used_once_before_in_this_run, "used already", honest=False),
    Forgery("wrong role", lambda scene: scene.approve(approver="cat", key="cat"), "may not approve"),
    Forgery(
        "role not asked for", lambda scene: scene.approve(roles=("cto",)), "not given as engineering lead"
    ),
    Forgery(
        "nobody's name", lambda scene: scene.approve(approver="mallory", key="stranger"), "may not approve"
    ),
    Forgery("by the requester", by_the_requester, "operator of this run"),
    Forgery("by who operated the run earlier", by_who_operated_the_run_earlier, "operator of this run"),
    Forgery("by who wrote into the run", by_who_wrote_into_the_run, "operator of this run"),
    Forgery("key removed since", key_removed_since, "has no key of lee"),
    Forgery("role taken since", role_taken_since, "without the role"),
    Forgery("key no longer valid by its date", key_revoked_by_date, "signature does not count"),
    Forgery("key never there", lambda scene: scene.approve(key="stranger"), "signature does not count"),
    Forgery("the deputy's key in the lead's name", lambda scene: scene.approve(key="dee"), "does not count"),
    Forgery("signers: a pattern for a name", signers("* {stranger}"), "must be one person's"),
    Forgery(
        "signers: a pattern beside the key", signers("lee {lee}", "l?e {stranger}"), "must be one person's"
    ),
    Forgery("signers: a list of names", signers("lee,dee {stranger}"), "must be one person's"),
    Forgery("signers: an authority", signers("lee cert-authority {stranger}"), "authority"),
    Forgery("signers: a name that looks alike", signers("l\u0435e {stranger}"), "must be one person's"),
    Forgery(
        "signers: one key under two names", signers("ana {stranger}", "lee {stranger}"), "one key is one"
    ),
    Forgery("signers: no file", lambda scene: (scene.approve(), scene.signers.unlink())[0], "cannot be read"),
    Forgery("digest moved since: another live deployment", moved_since, "no ✅ yet"),
    Forgery("digest moved since: another target", shown_otherwise(effect={"to": "dpl_evil"}), "no ✅ yet"),
    Forgery(
        "digest moved since: another request", shown_otherwise(requests=("POST /promote/x",)), "no ✅ yet"
    ),
    Forgery("digest moved since: less is said", shown_otherwise(will_not_undo=()), "no ✅ yet"),
    *(Forgery(f"edited after signing: {name}", edit_after_signing(name), "count") for name in FIELDS),
    *(Forgery(f"edited before signing: {name}", edit_before_signing(name), "count") for name in FIELDS),
    Forgery("edited statement: approver", edit_statement(approver="dee"), "signature does not count"),
    Forgery("edited statement: roles", edit_statement(roles=["cto", ROLE]), "signature does not count"),
    Forgery("edited statement: time", edit_statement(signed_at="2026-11-23T21:58:31.000Z"), "not count"),
    Forgery("edited statement: version", edit_statement(v=2), "no rollback approval"),
    Forgery("edited statement: kind", edit_statement(kind="rollback refusal"), "no rollback approval"),
    Forgery("edited statement: more in it", edit_statement(note="also for everything else"), "no rollback"),
    *(Forgery(f"look-alike: {name}", signs(**{name: text}), "ASCII") for name, text in LOOKALIKE.items()),
    Forgery("look-alike: person", lambda scene: scene.approve(approver="l\u0435e"), "ASCII"),
    Forgery("look-alike: role", lambda scene: scene.approve(roles=("engineering_le\u0430d",)), "ASCII"),
    Forgery("look-alike: role asked", signs(roles=["engineering_le\u0430d"]), "ASCII"),
    Forgery("look-alike: target", signs(effect={"to": "dpl_g\u043eod 77fe0000"}), "another digest"),
    Forgery("look-alike: name of a field", signs(effect={"t\u043e": "dpl_good"}), "ASCII"),
    Forgery("look-alike: turned direction", signs(typed_wanted="derrimut\u202emroftalp"), "ASCII"),
    Forgery("look-alike: requester", signs(requested_by="\u0430na"), "ASCII"),
    Forgery("drill persona in production", as_production, "may not approve", environment="production"),
    Forgery("drill key in production", drill_key_as_production_lead, "not count", environment="production"),
    Forgery("drill namespace in production", drill_namespace_in_production, "not", environment="production"),
    Forgery("drill request in production", drill_request_in_production, "another", environment="production"),
    Forgery(
        "drill persona's ✅ in production", drill_persona_in_slack, "no ✅ yet", environment="production"
    ),
    Forgery("signature over another namespace", lambda scene: scene.approve(namespace="file"), "not count"),
    Forgery("signature of another statement", paper(other_statements_signature), "not count"),
    Forgery("signature empty", paper(with_signature("")), "not count"),
    Forgery("signature garbage", paper(with_signature("garbage\x00\u202e")), "not count"),
    Forgery("signature without its middle", paper(cut_signature), "not count"),
    Forgery("signature with one bit changed", paper(bent_signature), "not count"),
    Forgery("signature of an option", paper(with_signature("-f/dev/null")), "not count"),
    Forgery("file empty", paper(lambda _: b"", "signed-.json"), "no signed rollback approval"),
    Forgery("file garbage", paper(lambda _: b"\xff\xfe{", "signed-x.json"), "no signed rollback approval"),
    Forgery("file huge", paper(lambda _: b"[" * 200_000), "more than any real one"),
    Forgery("file nested without end", paper(lambda _: b"[" * 100_000), "no signed rollback approval"),
    Forgery("file spelled otherwise", paper(respelled), "not spelled"),
    Forgery("statement spelled otherwise", paper(respelled_inside), "not spelled"),
    Forgery("statement with a key twice", paper(doubled_key), "not spelled"),
    Forgery("signed file renamed to this digest", renamed_to_this_digest, "another digest|its name"),
    Forgery("signed file under another name", honest_under_another_name, "its name in the store"),
    Forgery("slack: by the requester", reacts("U0ANA"), "nobody approves their own"),
    Forgery("slack: by the bot", reacts("U0RUNBOOK"), "no ✅ yet"),
    Forgery("slack: by another role", reacts("U0CAT"), "no ✅ yet"),
    Forgery("slack: by nobody's role", reacts("U0SAM"), "no ✅ yet"),
    Forgery(
        "slack: by a stranger with the lead's name", reacts("U0FALSE", real_name="Lee Lead"), "no ✅ yet"
    ),
    Forgery("slack: by a bot with the lead's id", reacts("U0LEE", is_bot=True), "no ✅ yet", honest=False),
    Forgery("slack: by the lead's deleted account", reacts("U0LEE", deleted=True), "no ✅ yet", honest=False),
    Forgery("slack: another emoji of the lead", reacts("U0LEE", "heavy_check_mark"), "no ✅ yet"),
    Forgery("slack: on another message", on_another_message, "no ✅ yet"),
    Forgery(
        "slack: refused after the approval", refused_after_the_approval, "refused by Dee Deputy", honest=False
    ),
    Forgery(
        "slack: refused beside a signature", refused_in_slack_signed_all_the_same, "refused by", honest=False
    ),
    Forgery(
        "slack: refusal that may hide in a list cut short",
        hidden_refusals,
        "one of them blocks",
        honest=False,
    ),
    Forgery("slack: by who has left since", left_the_company_since, "no person's any more", honest=False),
    Forgery("slack: too late", reaction_too_late, "older than 60 minutes", honest=False),
    Forgery(
        "slack: by who operates the run now",
        reaction_of_who_operates_now,
        "own request|operated",
        honest=False,
    ),
    Forgery("spoken by the operator", attests("ana"), "nothing was attested"),
    Forgery("spoken by another role", attests("cat"), "nothing was attested"),
    Forgery("spoken by nobody", attests(""), "nothing was attested"),
    Forgery("spoken at a time to come", attests("lee", "21:59"), "nothing was attested"),
    Forgery("spoken at no time", attests("lee", "9 o'clock"), "nothing was attested"),
    Forgery("spoken about something else", spoken_about_another, "nothing was attested"),
    Forgery("spoken long ago", spoken_long_ago, "nothing was attested", honest=False),
    Forgery("spoken where policy does not allow it", spoken_where_policy_does_not_allow_it, "no ✅ yet"),
)


@pytest.fixture
def scene(request: pytest.FixtureRequest, tmp_path: Path, clock: FakeClock) -> Scene:
    """Give a run that waits at its gate, in the forgery's environment."""
    forgery: Forgery = request.getfixturevalue("forgery")
    if forgery.environment == "drill":
        return Scene(tmp_path, clock)
    contacts = load_contacts(configured(tmp_path), "production")
    found = Scene(
        tmp_path, clock, environment="production", contacts=contacts, operator="oncall", lead="lead"
    )
    found.allow(lead="lead")
    return found


@pytest.mark.parametrize("forgery", FORGERIES, ids=[one.name for one in FORGERIES])
def test_forged_approval_lets_nothing_through(forgery: Forgery, scene: Scene) -> None:
    """The gate stays closed and says why, no permit is given, no effect is intended; an honest approval still counts."""
    forgery.attempt(scene)
    gate = scene.gate
    gate.look()
    with pytest.raises(GateClosed) as closed:
        gate.permit(EFFECT, step="P1.S4", data={}, check=lambda: None)
    assert any(part in str(closed.value) for part in forgery.says.split("|")), str(closed.value)
    assert [line for line in scene.journal.find("effect.intent") if line.data["name"] == EFFECT] == []
    if not forgery.honest:
        return
    for path in scene.signers.parent.glob("signers"):
        path.unlink()
    lead = "dee" if "dee" in scene.contacts.people else scene.lead
    scene.allow(**{lead: lead})
    scene.lead = lead
    scene.approve(scene.request())
    gate.reconfirm()
    gate.permit(EFFECT, step="P1.S4", data={}, check=lambda: None)
    assert scene.journal.last("effect.intent") is not None


@pytest.mark.parametrize(
    "typed",
    [
        "derrimut-platf\u043erm",
        "derrimut\u2010platform",
        "derrimut-platform\u200b",
        " derrimut-platform",
        "Derrimut-platform",
        "derrimut-platform\n",
        "\uff44errimut-platform",
        "",
    ],
)
def test_typed_name_that_only_looks_alike_opens_nothing(typed: str, tmp_path: Path, clock: FakeClock) -> None:
    """Compared letter by letter with the platform's own name."""
    scene = Scene(tmp_path, clock)
    gate = Scene.make_gate(scene)
    gate._typed_by = ""
    assert not gate.confirm(typed, by="Ana Operator", way="panel")
    scene.approve(scene.request())
    gate.look()
    assert not gate.is_open
    assert any(NAME in text for text in gate.missing())
