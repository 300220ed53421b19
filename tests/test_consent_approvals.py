"""Who approves by a reaction in Slack, and what is asked, found and kept; Slack itself is at the other end of the wire."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from conftest import BEGAN, FakeClock
from consents import HOME, NAME, RUN, By, Tenure, begin, events, make_ask, open_gate, resume
from slack_fake import BOT, CHANNEL, TOKEN, Workspace

from rollback_lib.consent.approvals import SlackApprovals, judge_reactions
from rollback_lib.consent.gates import Approval, Ask
from rollback_lib.errors import JournalError
from rollback_lib.journal import Journal
from rollback_lib.model import UserId
from rollback_lib.parameters import Contacts, Person
from rollback_lib.parameters.contacts import load_contacts
from rollback_lib.providers.slack import Reaction, Reactions, SlackUser

LEAD = "engineering_lead"
TTL_S = 3600.0
ANA, LEE, DEE, SAM, CAT = "U0ANA", "U0LEE", "U0DEE", "U0SAM", "U0CAT"


@pytest.fixture(scope="module")
def contacts() -> Contacts:
    """Give the people of the drill."""
    return load_contacts(HOME, "drill")


@pytest.fixture
def slack(clock: FakeClock) -> Workspace:
    """Give the workspace with its incidents channel."""
    return Workspace(clock)


@pytest.fixture
def journal(tmp_path: Path, clock: FakeClock) -> Journal:
    """Give the journal of a run that has asked nothing yet."""
    return begin(tmp_path, clock)


@pytest.fixture
def approvals(slack: Workspace, journal: Journal, contacts: Contacts, clock: FakeClock) -> SlackApprovals:
    """Give the approvals of a run whose operator is Ana."""
    return SlackApprovals(slack.client(), journal, contacts, CHANNEL, contacts.person("ana"), clock, TTL_S)


def asked(approvals: SlackApprovals, ask: Ask | None = None) -> None:
    """Have the request posted; nobody has reacted yet."""
    assert approvals.collect(ask or make_ask(), LEAD)[0] is None


# Who counts


def test_a_lead_who_approves_counts_and_is_kept_with_id_time_and_place(
    approvals: SlackApprovals, slack: Workspace, journal: Journal, clock: FakeClock
) -> None:
    """The ✅ of the role's person is the approval, and the account names who, when and where."""
    asked(approvals)
    clock.advance(42)
    slack.react(LEE)
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is not None
    assert reason == ""
    assert (found.role, found.person, found.slack_user, found.way) == (LEAD, "Lee Lead", LEE, "slack")
    assert (found.gate, found.digest) == ("P1.G1", make_ask().digest)
    (line,) = journal.find("approval.seen", "P1.G1")
    assert line.data["slack_user"] == LEE
    assert line.data["seen_at"] == "2026-11-23T21:58:42.000Z"
    assert line.data["expires_at"] == "2026-11-23T22:58:00.000Z"
    assert line.data["permalink"] == f"http://127.0.0.1:7403/archives/{CHANNEL}/p{slack.messages[0]['ts']}"


def test_a_deputy_who_approves_counts(approvals: SlackApprovals, slack: Workspace) -> None:
    """A deputy of the role approves as well as its person."""
    asked(approvals)
    slack.react(DEE)
    found, _ = approvals.collect(make_ask(), LEAD)
    assert found is not None
    assert (found.person, found.slack_user) == ("Dee Deputy", DEE)


def test_who_reacted_first_is_the_approver(approvals: SlackApprovals, slack: Workspace) -> None:
    """Of two holders who approved, the one that Slack lists first is named."""
    asked(approvals)
    slack.react(DEE)
    slack.react(LEE)
    found, _ = approvals.collect(make_ask(), LEAD)
    assert found is not None
    assert found.slack_user == DEE


def test_nobody_approves_their_own_request(
    approvals: SlackApprovals, slack: Workspace, contacts: Contacts
) -> None:
    """The lead as operator cannot approve; the deputy can."""
    own = replace(approvals, operator=contacts.person("lee"))
    asked(own)
    slack.react(LEE)
    assert own.collect(make_ask(), LEAD) == (
        None,
        "the ✅ is the operator's own: nobody approves their own request",
    )
    slack.react(DEE)
    found, _ = own.collect(make_ask(), LEAD)
    assert found is not None
    assert found.slack_user == DEE


def test_who_asked_does_not_approve_for_who_goes_on(
    approvals: SlackApprovals, slack: Workspace, contacts: Contacts
) -> None:
    """A deputy who asked and reacted is no approver because somebody else continues the run."""
    asked(replace(approvals, operator=contacts.person("dee")))
    slack.react(DEE)
    found, reason = replace(approvals, operator=contacts.person("ana")).collect(make_ask(), LEAD)
    assert found is None
    assert reason == "the ✅ is the operator's own: nobody approves their own request"


def test_nobody_who_operated_the_run_at_any_time_approves_it(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """A deputy who took the run over for a while and gave it back is no approver of it."""
    journal.append("run.opened", data={"operator": "ana"})
    journal.append("run.continued", data={"operator": "dee"})
    asked(approvals)
    slack.react(DEE)
    assert approvals.collect(make_ask(), LEAD)[1] == (
        "the ✅ is the operator's own: nobody approves their own request"
    )
    slack.react(LEE)
    found, _ = approvals.collect(make_ask(), LEAD)
    assert found is not None
    assert found.slack_user == LEE


def test_an_approval_on_record_falls_when_its_approver_operates_the_run(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """Approved first, operated later, handed back: it is still no second pair of eyes."""
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    journal.append("run.continued", data={"operator": "lee"})
    assert approvals.collect(make_ask(), LEAD)[0] is None


def test_an_approval_is_none_for_an_operator_who_gave_it(
    approvals: SlackApprovals, slack: Workspace, contacts: Contacts
) -> None:
    """An approver who takes the run over as operator needs somebody else's approval."""
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    taken_over = replace(approvals, operator=contacts.person("lee"))
    assert taken_over.collect(make_ask(), LEAD)[0] is None


@pytest.mark.parametrize(
    ("user", "account"),
    [
        (BOT, {}),
        (SAM, {}),
        (CAT, {}),
        (ANA, {}),
        ("U0FALSE", {"id": "U0FALSE", "real_name": "Lee Lead", "is_bot": False, "deleted": False}),
        (LEE, {"is_bot": True}),
        (LEE, {"deleted": True}),
    ],
    ids=[
        "the bot itself",
        "a person without a role",
        "another role's person",
        "the operator",
        "the lead's name on another account",
        "a bot with the lead's id",
        "the lead's deleted account",
    ],
)
def test_a_reaction_of_anybody_else_does_not_count(
    approvals: SlackApprovals, slack: Workspace, user: str, account: dict[str, object]
) -> None:
    """A person is a Slack user id with the role, living and no bot; names count for nothing."""
    slack.users.setdefault(user, {}).update(account)
    asked(approvals)
    slack.react(user)
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is None
    assert reason
    assert list(approvals.journal.find("approval.seen")) == []


@pytest.mark.parametrize("name", ["heavy_check_mark", "thumbsup", "+1", "ok", "white_check_mark_green"])
def test_another_reaction_of_the_lead_does_not_count(
    approvals: SlackApprovals, slack: Workspace, name: str
) -> None:
    """Only ✅ approves."""
    asked(approvals)
    slack.react(LEE, name)
    assert approvals.collect(make_ask(), LEAD) == (None, "no ✅ yet by Lee Lead or Dee Deputy")


@pytest.mark.parametrize("blocker", [LEE, DEE])
def test_a_refusal_by_any_holder_blocks_even_beside_an_approval(
    approvals: SlackApprovals, slack: Workspace, blocker: str
) -> None:
    """A ❌ by the person or a deputy wins over a ✅, and is named; taken back, the ✅ counts."""
    asked(approvals)
    slack.react(LEE if blocker == DEE else DEE)
    slack.react(blocker, "x")
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is None
    assert reason.startswith("refused by ")
    assert {LEE: "Lee Lead", DEE: "Dee Deputy"}[blocker] in reason
    slack.take_back(blocker, "x")
    assert approvals.collect(make_ask(), LEAD)[0] is not None


def test_the_operators_own_refusal_blocks_where_the_operator_holds_the_role(
    approvals: SlackApprovals, slack: Workspace, contacts: Contacts
) -> None:
    """Nobody approves their own request, but every holder may refuse it."""
    own = replace(approvals, operator=contacts.person("lee"))
    asked(own)
    slack.react(DEE)
    slack.react(LEE, "x")
    assert own.collect(make_ask(), LEAD) == (None, "refused by Lee Lead (❌ on the request)")


@pytest.mark.parametrize("user", [SAM, BOT, "U0STRANGER"])
def test_a_refusal_by_anybody_else_does_not_block(
    approvals: SlackApprovals, slack: Workspace, user: str
) -> None:
    """Only holders of the role refuse."""
    asked(approvals)
    slack.react(LEE)
    slack.react(user, "x")
    assert approvals.collect(make_ask(), LEAD)[0] is not None


def test_a_list_of_refusals_cut_short_is_unknown_and_opens_nothing(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """If Slack counts more ❌ than it lists, a ✅ does not count: one of the hidden may block."""
    asked(approvals)
    slack.react(LEE)
    slack.react(SAM, "x")
    slack.counted["x"] = 1
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is None
    assert "unknown whether one of them blocks" in reason


def test_a_list_of_approvals_cut_short_is_unknown_unless_a_holder_is_on_it(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """If Slack hides some ✅, that is said; a holder who is listed counts all the same."""
    asked(approvals)
    slack.react(SAM)
    slack.counted["white_check_mark"] = 3
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is None
    assert "unknown whether one of them may approve" in reason
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None


def test_an_account_that_slack_does_not_describe_does_not_count() -> None:
    """Without the account nobody knows whether it is a bot or deleted."""
    lee = Person("lee", "Lee Lead", UserId(LEE), "", "")
    reactions = Reactions((Reaction("white_check_mark", (UserId(LEE),), 1),))
    assert judge_reactions(reactions, (lee,), askers={ANA}, users={}).approver is None
    known = {UserId(LEE): SlackUser(UserId(LEE), "Lee Lead", is_bot=False, deleted=False, email=None)}
    assert judge_reactions(reactions, (lee,), askers={ANA}, users=known).approver == lee


def test_an_operator_who_alone_holds_the_role_reads_that_nobody_can_approve(
    approvals: SlackApprovals, contacts: Contacts
) -> None:
    """Where only the operator has the role, the text does not name the operator as who is waited for."""
    own = replace(approvals, operator=contacts.person("cat"))
    assert own.collect(make_ask(), "cto") == (None, "no ✅ yet by anybody else with the role")


# The request


def test_the_request_says_what_is_asked_of_whom(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """Approvers read effect, what stays, run, gate and digest, and are mentioned by id."""
    asked(approvals, make_ask(effect={"from": "dpl_bad", "to": "dpl_good <!channel> & more"}))
    (text,) = slack.texts
    assert f"<@{LEE}> <@{DEE}>" in text
    assert f"asked by <@{ANA}>" in text
    assert "• to: dpl_good &lt;!channel&gt; &amp; more" in text  # nobody is called by what a commit says
    assert "Convex functions, schema and data" in text
    assert RUN in text
    assert "gate P1.G1" in text
    (line,) = journal.find("approval.requested", "P1.G1")
    assert line.data["digest"][:16] in text
    assert (line.data["channel"], line.data["ts"]) == (CHANNEL, slack.messages[0]["ts"])
    assert line.data["asked_by"] == ANA
    assert line.data["permalink"].endswith(slack.messages[0]["ts"])


def test_the_operator_is_not_among_those_mentioned(
    approvals: SlackApprovals, slack: Workspace, contacts: Contacts
) -> None:
    """An operator who holds the role is not called to approve."""
    asked(replace(approvals, operator=contacts.person("lee")))
    assert f"lead: <@{DEE}>\n" in slack.texts[0]


def test_the_same_thing_is_asked_once(approvals: SlackApprovals, slack: Workspace, journal: Journal) -> None:
    """Looking again, and a restarted kernel, find the request that is there."""
    asked(approvals)
    asked(approvals)
    again = replace(approvals, slack=slack.client(), journal=resume(journal))
    asked(again)
    assert slack.count("chat.postMessage") == 1
    assert len(list(again.journal.find("approval.requested"))) == 1


def test_another_digest_is_asked_anew_and_an_old_approval_does_not_count_for_it(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """What was approved is exactly one thing; the next one needs its own request."""
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    other = make_ask(state={"live deployment": "dpl_hotfix"})
    assert approvals.collect(other, LEAD) == (None, "no ✅ yet by Lee Lead or Dee Deputy")
    assert slack.count("chat.postMessage") == 2
    assert len({line.data["digest"] for line in approvals.journal.find("approval.requested")}) == 2


def test_another_role_is_asked_by_its_own_request(approvals: SlackApprovals, slack: Workspace) -> None:
    """The lead's ✅ on the lead's request is no approval by the CTO."""
    asked(approvals)
    slack.react(LEE)
    found, reason = approvals.collect(make_ask(), "cto")
    assert (found, reason) == (None, "no ✅ yet by Cat Chief")
    assert slack.count("chat.postMessage") == 2


def test_a_request_whose_answer_was_lost_is_found_and_not_posted_twice(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """The message is there although no answer came: it is found by its metadata at once."""
    slack.troubles["chat.postMessage"] = ["lost"]
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    assert slack.count("chat.postMessage") == 1


@pytest.mark.parametrize("cut_at", ["prepare.sending", "prepare.answered", "prepare.done"])
def test_a_session_cut_off_around_the_request_does_not_ask_twice(
    approvals: SlackApprovals, slack: Workspace, journal: Journal, cut_at: str
) -> None:
    """Wherever a session ended after the request had left, the next one finds it."""
    asked(approvals)
    cut = _cut_after(journal, cut_at)
    asked(replace(approvals, slack=slack.client(), journal=cut))
    assert slack.count("chat.postMessage") == 1
    assert next(cut.find("approval.requested")).data["ts"] == slack.messages[0]["ts"]


def test_a_session_cut_off_before_the_request_left_asks(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """An intent alone sent nothing."""
    asked(approvals)
    cut = _cut_after(journal, "prepare.intent")
    slack.messages.clear()
    asked(replace(approvals, slack=slack.client(), journal=cut))
    assert slack.count("chat.postMessage") == 2
    assert slack.count("conversations.history") == 0


def test_a_request_is_written_down_before_it_leaves(approvals: SlackApprovals, journal: Journal) -> None:
    """The request is a harmless change with its own lines."""
    asked(approvals)
    assert events(journal, "prepare", "approval") == [
        "prepare.intent",
        "prepare.sending",
        "prepare.answered",
        "prepare.done",
        "approval.requested",
    ]


# Answered


def test_an_answered_request_is_marked_and_still_says_what_was_approved(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """Who comes later sees that it was answered, by whom, and for what."""
    asked(approvals)
    before = slack.texts[0]
    slack.react(LEE)
    approvals.collect(make_ask(), LEAD)
    assert slack.texts == [
        f"{before}\n*Approved by <@{LEE}>.* Until the change is made, a ❌ still stops it."
    ]


def test_a_request_that_cannot_be_marked_is_a_warning(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """The mark is for readers; without it the approval counts."""
    asked(approvals)
    slack.react(LEE)
    slack.troubles["chat.update"] = ["cant_update_message"]
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    assert "cant_update_message" in journal.lines[-1].data["text"]
    assert events(journal, "warning") == ["warning"]


def test_an_approval_on_record_counts_for_the_next_kernel_also_while_slack_is_down(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """Approved is approved, as the request itself says: a restart goes on with it, also while Slack is down."""
    asked(approvals)
    slack.react(LEE)
    first, _ = approvals.collect(make_ask(), LEAD)
    slack.take_back(LEE)
    slack.broken = "down"
    again = replace(approvals, slack=slack.client(), journal=resume(journal))
    assert again.collect(make_ask(), LEAD) == (first, "")
    assert again.collect(make_ask(), LEAD) == (first, "")
    (warned,) = again.journal.find("warning")  # once: that nobody could look for a ❌
    assert "could not be asked again whether anybody refuses" in warned.data["text"]
    assert len(list(again.journal.find("approval.seen"))) == 1


def test_an_approval_on_record_is_for_its_digest_only(approvals: SlackApprovals, slack: Workspace) -> None:
    """What is on record for one thing is none for another, nor for another role."""
    asked(approvals)
    slack.react(LEE)
    approvals.collect(make_ask(), LEAD)
    assert approvals.collect(make_ask(environment="production"), LEAD)[0] is None
    assert approvals.collect(make_ask(), "cto")[0] is None


def test_one_person_with_two_roles_approves_each_on_its_own(
    approvals: SlackApprovals, slack: Workspace, contacts: Contacts
) -> None:
    """What is on record for one role does not count for the other, though the person holds both."""
    both = replace(contacts, roles=dict(contacts.roles) | {"cto": ("lee",)})
    approvals = replace(approvals, contacts=both)
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    assert approvals.collect(make_ask(), "cto") == (None, "no ✅ yet by Lee Lead")


# Too old


@pytest.mark.parametrize(("age_s", "counts"), [(TTL_S - 1, True), (TTL_S, True), (TTL_S + 1, False)])
def test_a_request_counts_for_its_time_only(
    approvals: SlackApprovals, slack: Workspace, clock: FakeClock, age_s: float, counts: bool
) -> None:
    """A ✅ on a request older than its time is not accepted, and the text says what to do."""
    asked(approvals)
    clock.advance(age_s)
    slack.react(LEE)
    found, reason = approvals.collect(make_ask(), LEAD)
    assert (found is not None) is counts
    assert ("begin a new run (new_run = True)" in reason) is not counts
    assert slack.count("chat.postMessage") == 1


def test_an_approval_on_record_stops_counting_with_its_request(
    approvals: SlackApprovals, slack: Workspace, clock: FakeClock, journal: Journal
) -> None:
    """An approval that was seen in time is none an hour later."""
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    clock.advance(TTL_S + 1)
    again = replace(approvals, journal=resume(journal))
    assert again.collect(make_ask(), LEAD)[0] is None


def test_a_gate_closes_again_when_its_approval_has_aged(
    approvals: SlackApprovals, slack: Workspace, clock: FakeClock
) -> None:
    """Gate and approvals together: open while it counts, closed after."""
    asked(approvals)
    slack.react(LEE)
    gate = open_gate(approvals.journal, collect=approvals.collect)
    assert gate.approvers == ("Lee Lead",)
    clock.advance(TTL_S + 1)
    gate.look()
    assert not gate.is_open
    assert "counted until 2026-11-23T22:58:00.000Z" in gate.missing()[0]


# Looked at again, and used


def approved(approvals: SlackApprovals, slack: Workspace) -> Approval:
    """Have the request approved by the lead."""
    asked(approvals)
    slack.react(LEE)
    found, _ = approvals.collect(make_ask(), LEAD)
    assert found is not None
    assert approvals.objection(make_ask(), found) == ""
    return found


@pytest.mark.parametrize(
    ("since", "says"),
    [
        pytest.param(lambda slack: slack.react(DEE, "x"), "refused by Dee Deputy", id="a deputy's refusal"),
        pytest.param(
            lambda slack: slack.react(LEE, "x"), "refused by Lee Lead", id="the approver's own refusal"
        ),
        pytest.param(lambda slack: slack.users[LEE].update(deleted=True), "no person's any more", id="left"),
        pytest.param(
            lambda slack: slack.users[LEE].update(is_bot=True), "no person's any more", id="a bot now"
        ),
        pytest.param(
            lambda slack: slack.counted.update(x=1) or slack.react(SAM, "x"), "unknown", id="cut short"
        ),
    ],
)
def test_what_happened_since_the_approval_stops_it_until_the_effect(
    approvals: SlackApprovals, slack: Workspace, since: Callable[[Workspace], object], says: str
) -> None:
    """A ✅ that was seen does not count any more, neither now nor for the next kernel."""
    found = approved(approvals, slack)
    since(slack)
    assert says in approvals.objection(make_ask(), found)
    assert says in approvals.collect(make_ask(), LEAD)[1]


def test_an_approval_taken_back_or_a_strangers_refusal_stops_nothing(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """What was seen counts; only a holder's ❌ speaks against it."""
    found = approved(approvals, slack)
    slack.take_back(LEE)
    slack.react(SAM, "x")
    assert approvals.objection(make_ask(), found) == ""


def test_slack_down_at_the_last_look_stops_nothing_and_is_warned_of(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """What was seen counts; that nobody could look for a ❌ is on record, once."""
    found = approved(approvals, slack)
    slack.broken = "down"
    assert [approvals.objection(make_ask(), found) for _ in range(2)] == ["", ""]
    (line,) = journal.find("warning")
    assert "whether anybody refuses" in line.data["text"]


def test_a_used_request_says_for_what_and_is_marked_once(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """Later reactions are visibly moot; what was asked still stands above it."""
    asked(approvals, make_ask(state={"live deployment": "dpl_other"}))
    before = slack.texts[0]
    approved(approvals, slack)
    request = slack.texts[1].split("\n*Approved")[0]
    for _ in range(2):
        approvals.mark_used(make_ask().digest, "roll production back to <dpl_good>")
    assert slack.texts[0] == before  # another digest's request
    assert slack.texts[1] == (
        f"{request}\n*Used by run {RUN} at 21:58:00 UTC: roll production back to &lt;dpl_good&gt;.* Reactions change nothing any more."
    )
    assert slack.count("chat.update") == 2  # answered, then used
    assert [line.data["name"] for line in journal.find("prepare.done")][-1] == (
        "approval request of the engineering lead marked as used"
    )


def test_a_used_request_that_cannot_be_marked_is_a_warning_and_tried_again(
    approvals: SlackApprovals, slack: Workspace, journal: Journal
) -> None:
    """The change is made all the same."""
    approved(approvals, slack)
    slack.troubles["chat.update"] = ["down"]
    approvals.mark_used(make_ask().digest, "roll back")
    (line,) = journal.find("warning")
    assert "could not be marked as used" in line.data["text"]
    approvals.mark_used(make_ask().digest, "roll back")
    assert "*Used by run" in slack.texts[0]


def test_the_request_says_how_else_it_can_be_approved_and_where_it_is(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """Who has no Slack at hand signs; the gate gives the address of the message."""
    approvals.also = "\nOr sign it: `rollback approve {digest} -e drill`"
    assert approvals.where(make_ask()) == ""
    asked(approvals)
    assert slack.texts[0].endswith(f"\nOr sign it: `rollback approve {make_ask().digest[:16]} -e drill`")
    assert approvals.where(make_ask()).endswith(slack.messages[0]["ts"])


# Slack in trouble


@pytest.mark.parametrize(
    "trouble", ["down", "lost before", "invalid_auth", "channel_not_found", "internal_error"]
)
def test_slack_in_trouble_is_no_approval_and_raises_nothing(
    approvals: SlackApprovals, slack: Workspace, journal: Journal, trouble: str
) -> None:
    """Whatever is wrong with Slack, the gate stays closed with the reason, and the account is complete."""
    slack.broken = trouble
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is None
    assert reason.startswith("Slack could not be asked: slack: POST /")
    assert list(journal.find("approval.requested")) == []
    assert journal.lines[-1].event in ("prepare.failed", "prepare.unknown")
    assert TOKEN not in journal.path.read_text() + reason


@pytest.mark.parametrize("method", ["reactions.get", "users.info"])
def test_reactions_that_cannot_be_read_are_no_approval(
    approvals: SlackApprovals, slack: Workspace, method: str
) -> None:
    """Half of the facts decide nothing; the next look may have them."""
    asked(approvals)
    slack.react(LEE)
    slack.troubles[method] = ["missing_scope"]
    found, reason = approvals.collect(make_ask(), LEAD)
    assert found is None
    assert "missing_scope" in reason
    assert approvals.collect(make_ask(), LEAD)[0] is not None


def test_slack_that_comes_back_is_asked_at_the_next_look(approvals: SlackApprovals, slack: Workspace) -> None:
    """A request refused for sure is posted when Slack works again, without looking for it first."""
    slack.troubles["chat.postMessage"] = ["channel_not_found"]
    asked(approvals)
    assert slack.messages == []
    asked(approvals)
    assert len(slack.messages) == 1
    assert slack.count("conversations.history") == 0


def test_a_request_in_doubt_is_not_repeated_while_it_cannot_be_looked_for(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """As long as nobody can say whether the request is there, no second one is posted."""
    slack.troubles["chat.postMessage"] = ["lost"]
    slack.troubles["conversations.history"] = ["down", "down"]
    asked(approvals)
    asked(approvals)
    assert slack.count("chat.postMessage") == 1
    asked(approvals)
    slack.react(LEE)
    assert approvals.collect(make_ask(), LEAD)[0] is not None
    assert slack.count("chat.postMessage") == 1


def test_a_missing_permalink_does_not_matter(approvals: SlackApprovals, slack: Workspace) -> None:
    """The address is for readers."""
    slack.troubles["chat.getPermalink"] = ["down", "down"]
    asked(approvals)
    slack.react(LEE)
    found, _ = approvals.collect(make_ask(), LEAD)
    assert found is not None
    assert found.permalink == ""


def test_a_journal_that_cannot_be_written_is_raised_not_swallowed(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """Without a record nothing is asked and nothing counts."""
    approvals.journal.release()
    with pytest.raises(JournalError):
        approvals.collect(make_ask(), LEAD)
    assert slack.count("chat.postMessage") == 0


def test_a_journal_lost_between_reaction_and_record_approves_nothing(
    approvals: SlackApprovals, slack: Workspace
) -> None:
    """An approval that is not on record is none."""
    asked(approvals)
    slack.react(LEE)
    approvals.journal.release()
    with pytest.raises(JournalError):
        approvals.collect(make_ask(), LEAD)
    assert slack.count("chat.update") == 0


def test_a_role_that_the_plan_does_not_have_is_a_mistake_in_the_program(approvals: SlackApprovals) -> None:
    """An unknown role is not taken for one that nobody has to approve."""
    with pytest.raises(ValueError, match="no role 'product_lead'"):
        approvals.collect(make_ask(), "product_lead")


def test_a_gate_shows_the_reason_that_slack_gave(approvals: SlackApprovals, slack: Workspace) -> None:
    """The operator reads in the gate itself why there is no approval."""
    from rollback_lib.consent.gates import Gate
    from rollback_lib.consent.policy import Demand

    slack.broken = "down"
    gate = Gate(
        make_ask(),
        Demand((LEAD,), (), (), "severity P1"),
        approvals.journal,
        Tenure(),
        source=By(approvals.collect),
    )
    gate.confirm(NAME, by="Ana Operator", way="panel")
    gate.look()
    assert "Slack could not be asked" in gate.missing()[0]


def _cut_after(journal: Journal, event: str) -> Journal:
    """Give the journal as the next session finds it if this one had ended right after the first such line."""
    last = next(line for line in journal.lines if line.event == event)
    journal.release()
    kept = journal.path.read_bytes().split(b"\n")[: last.seq]
    journal.path.write_bytes(b"\n".join(kept) + b"\n")
    assert journal.clock.now() == BEGAN
    return resume(journal)
