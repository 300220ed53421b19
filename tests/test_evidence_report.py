"""The report tells a post-mortem what the journal tells, in words, and nothing in it does anything."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path

import pytest
from journals import LOG_COLUMNS, RUN, FakeClock, Story, whole_story

from rollback_lib.errors import JournalError
from rollback_lib.evidence.account import account_of
from rollback_lib.evidence.record import verify_record, write_record
from rollback_lib.evidence.report import bars_of, render_report
from rollback_lib.journal import FILE_NAME, read_journal

HOSTILE = "</title><script>alert(1)</script><img src=x onerror=alert(2)>{{ 7*7 }}{% raw %}&\"' \u202e \ud800"


class Page(HTMLParser):
    """Collects the text, the tags and the addresses of a page."""

    def __init__(self, html: str) -> None:
        super().__init__()
        self.words: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.hidden = False
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.hidden = tag == "style"

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser hands it over
        self.hidden = False

    def handle_data(self, data: str) -> None:
        if not self.hidden:
            self.words.append(data)

    @property
    def text(self) -> str:
        """The page as a reader sees it, on one line."""
        return " ".join(" ".join(self.words).split())


def page_of(story: Story) -> Page:
    """Render a run and read the page."""
    return Page(render_report(story.folder).read_text(encoding="utf-8"))


@pytest.fixture
def story(tmp_path: Path) -> Story:
    """Give an opened run."""
    return Story(tmp_path / RUN).opened()


def test_whole_run_is_on_the_page(tmp_path: Path) -> None:
    """Why, who, from what to what, approvals, checks, steps, messages, what is open, undo, log row and head are told."""
    story = whole_story(tmp_path / RUN)
    text = page_of(story).text
    for wanted in (
        "Procedure 1: Vercel Deployment Rollback",
        "Incident INC-20261123-2158",
        "Verified The rollback was carried out and every required check passed.",
        "Reason Error rate 34 % since 21:50 UTC",
        "Impact One in three members cannot sign in",
        "severity P1",
        "Operator Ana Operator",
        "Started 2026-11-23 21:58:00 UTC, headless",
        "Closed 2026-11-23 21:58:44 UTC, after 44.7 s",
        "First change sent 21:58:19 UTC, after 19.7 s",
        "dpl_1 (2 days, a41c) → dpl_2 (9 days, 77fe)",
        "Ended as done at 21:58:22",
        "accepted (201)",
        "Its inverse roll back to dpl_1",
        "Still open production stays pinned until a different build is promoted post-mortem within 24 hours",
        f"How to undo rollback undo {RUN}",
        "Gate P1.G1: opened at 21:58:16",
        "Asked for dpl_1 (2 days, a41c) → dpl_2 (9 days, 77fe) method: instant rollback",
        "State before production: dpl_1",
        "Will not undo the Convex backend",
        "Approved Lee Lead (engineering lead) at 21:59:00, by slack, user U0LEE",
        "Criterion P1.C2 P1.C2 ✓ passed 0.4 % < 1 % Sentry, 180 s window 21:58:30, look 2",
        "P1.C9, not required ? unknown",
        "+1.0 s Access Vercel Dashboard P1.S1 done 2.0 s",
        "warning: the preview was not reviewed by a person",
        "🚨 INCIDENT ALERT - Rollback in Progress",
        "Data Loss None",
        f"head {story.journal.head}",
        "Plan version 1.0.0",
        '"min_requests": 50',
    ):
        assert wanted in text, wanted


@pytest.mark.parametrize(
    ("outcome", "words", "tone"),
    [
        ("verified", "Verified", "good"),
        ("completed_unverified", "Completed, not verified", "care"),
        ("failed", "Failed", "bad"),
        ("refused", "Refused at a gate", "care"),
        ("unknown", "Unknown: a person must look", "unknown"),
        ("splendid", "Unknown: a person must look", "unknown"),
    ],
)
def test_outcome_is_told_in_words_and_tone(story: Story, outcome: str, words: str, tone: str) -> None:
    """The banner says the outcome in words; a word that is no outcome is shown as unknown, never as success."""
    page = page_of(story.closed(outcome))
    assert words in page.text
    assert ("section", {"class": f"banner {tone}"}) in page.tags


def test_open_run_says_that_it_is_provisional(story: Story) -> None:
    """A refused run shows what is missing, that nothing was changed, and that it is not closed."""
    text = page_of(story.gate_shown().gate_refused().provisional("refused")).text
    assert "The run is not closed: this is provisional." in text
    assert "Missing no approval by the engineering lead yet" in text
    assert "Nothing: no request that changes production was sent by this run." in text
    assert "Production now production is unchanged Next get the approval" in text


def test_how_it_was_approved_is_shown(story: Story) -> None:
    """Spoken is said loudly, a key by its fingerprint, and what spoke against an approval beside it."""
    spoken = {
        "role": "engineering_lead",
        "person": "Lee Lead",
        "way": "spoken",
        "attested_by": "Ana Operator",
    }
    signed = {"role": "cto", "person": "Cat Chief", "way": "signature", "key": "SHA256:abc"}
    story.gate_shown().write("approval.seen", "P1.G1", gate="P1.G1", **spoken)
    story.write("approval.seen", "P1.G1", gate="P1.G1", **signed)
    story.write("approval.fallen", "P1.G1", gate="P1.G1", reason="the key was taken out", **signed)
    text = page_of(story).text
    assert "spoken, attested by Ana Operator" in text
    assert "by signature , key SHA256:abc" in text or "by signature, key SHA256:abc" in text
    assert "did not count any more: the key was taken out" in text


def test_cut_off_effect_is_shown_as_open(story: Story) -> None:
    """An attempt without an answer, an effect and a step without an end are said to be that, and how to undo is told."""
    text = page_of(story.gate_shown().gate_opened().effect("unclear", "cut off")).text
    assert "Unknown: a person must look" in text
    assert "Ended as open: nothing says what became of it" in text
    assert "none on record" in text
    assert "started, not ended" in text
    assert "How to undo roll back to dpl_1" in text


def test_change_that_was_only_accepted_is_not_called_done(story: Story) -> None:
    """Recovered while its job was pending: accepted, is said; what came of it stands with the checks."""
    story.gate_shown().gate_opened().effect("unclear")
    story.write(
        "effect.done", "P1.S4", name="roll production back to dpl_2", seen="running", detail="job pending"
    )
    text = page_of(story).text
    assert "Ended as accepted; the checks below say what came of it" in text
    assert "Ended as done" not in text


def test_step_that_was_not_let_through_is_refused_not_failed(story: Story) -> None:
    """A closed gate is no failure of the step."""
    story.write("step.started", "P1.S4", title="Promote to Production")
    story.write("step.failed", "P1.S4", error="GateClosed", happened="no approval yet")
    text = page_of(story).text
    assert "Promote to Production P1.S4 no approval yet refused" in text


def test_row_of_the_log_is_in_the_plans_order_and_names_people(tmp_path: Path) -> None:
    """The journal keeps mappings by alphabet, and the operator by key: the page has the plan's columns and the name."""
    columns = [*LOG_COLUMNS]
    story = Story(tmp_path / RUN).opened(operator="ana", operator_name="Ana Operator", log_columns=columns)
    story.write("run.continued", mode="headless", operator="lee", operator_name="Lee Lead", filled={})
    text = page_of(story.check("P1.C2").closed()).text
    row = text.partition("Row of the rollback log")[2]
    places = [row.index(f" {column} ") for column in (*columns, "Outcome")]
    assert places == sorted(places)
    assert "Operator Ana Operator" in text
    assert "by Lee Lead" in text


def test_failed_step_and_message_say_why(story: Story) -> None:
    """A failure is on the page with its reason."""
    story.write("step.started", "P1.S2", title="Go to Deployments")
    story.write("step.failed", "P1.S2", error="Unreachable", happened="no answer from Vercel")
    story.journal.prepare("message alert", step=None, data={"text": "hello"}).failed("channel_not_found")
    text = page_of(story).text
    assert "Go to Deployments P1.S2 no answer from Vercel failed" in text
    assert "message alert failed" in text
    assert "channel_not_found" in text


def test_dry_run_and_ticks_are_told_as_they_were_last(story: Story) -> None:
    """What was found before the gate, and who had builds stopped and looked; without any there is no such heading."""
    assert "Rehearsed and ticked" not in page_of(story).text
    story.write("rehearsed", "P2.S3", told=["found in the first"])
    story.write("rehearsed", "P2.S3", told=["Convex would take it", "functions that go away: users:list"])
    story.write("freeze", frozen=False, mode="interactive")
    story.write("review", "P1.S3", reviewed=True, by="Ana Operator")
    text = page_of(story).text
    assert "Rehearsed and ticked" in text
    assert re.search("Dry run [0-9:]+ Convex would take it functions that go away: users:list", text)
    assert "found in the first" not in text
    assert re.search("Builds [0-9:]+ NOT stopped", text)
    assert re.search("Preview [0-9:]+ was the right version, said Ana Operator", text)
    story.write("freeze", frozen=True, by="Ana Operator")
    assert re.search("Builds [0-9:]+ were stopped, said Ana Operator", page_of(story).text)


@pytest.mark.parametrize(
    ("method", "shown"),
    [
        ("CLI", "convex deploy --message 'rollback to a1 (run P2-1)'"),
        ("POST", "convex deploy --message rollback%20to%20a1%20(run%20P2-1)"),
    ],
)
def test_command_line_is_shown_as_a_shell_takes_it(story: Story, method: str, shown: str) -> None:
    """Nobody reads %20; an address of the web stays as it was sent."""
    story.write("effect.intent", "P2.S4", name="push a1")
    path = "convex deploy --message rollback%20to%20a1%20(run%20P2-1)"
    story.write(
        "effect.sending", "P2.S4", name="push a1", service="convex", method=method, path=path, attempt=1
    )
    assert f"convex {method} {shown}" in page_of(story).text


def test_hostile_text_is_shown_and_does_nothing(tmp_path: Path) -> None:
    """Markup in any text of a run is shown as text: no script, no picture, no template, no address but http."""
    story = Story(tmp_path / RUN).opened(
        reason=HOSTILE,
        title=HOSTILE,
        impact=HOSTILE,
        parameters={HOSTILE: [HOSTILE]},
        versions={HOSTILE: HOSTILE},
    )
    gate = {
        "gate": "P1.G1",
        "effect": {"from": HOSTILE, "to": HOSTILE},
        "will_not_undo": [HOSTILE],
        "rule": HOSTILE,
        "digest": HOSTILE,
    }
    story.write("gate.shown", "P1.G1", **gate)
    story.write("approval.requested", "P1.G1", gate="P1.G1", role=HOSTILE, permalink="javascript:alert(3)")
    story.write(
        "approval.seen",
        "P1.G1",
        gate="P1.G1",
        role=HOSTILE,
        person=HOSTILE,
        seen_at=HOSTILE,
        way=HOSTILE,
        key=HOSTILE,
        attested_by=HOSTILE,
        permalink='https://x/"onclick="alert(4)',
    )
    fallen = {"role": HOSTILE, "person": HOSTILE, "way": HOSTILE, "reason": HOSTILE}
    story.write("approval.fallen", "P1.G1", gate="P1.G1", **fallen)
    story.write("step.started", "P1.S1", title=HOSTILE)
    story.write("step.failed", "P1.S1", happened=HOSTILE)
    story.write(
        "effect.intent", "P1.S4", name=HOSTILE, gate="P1.G1", before={HOSTILE: HOSTILE}, inverse=HOSTILE
    )
    story.write("effect.sending", "P1.S4", name=HOSTILE, path=HOSTILE, attempt=1)
    story.write("effect.answered", "P1.S4", name=HOSTILE, text=HOSTILE, kind=HOSTILE, attempt=1)
    story.write(
        "check", id=HOSTILE, title=HOSTILE, status=HOSTILE, seen=HOSTILE, wanted=HOSTILE, source=HOSTILE
    )
    story.write("rehearsed", "P2.S3", told=[HOSTILE])
    story.write("freeze", frozen=True, by=HOSTILE)
    story.write("warning", text=HOSTILE)
    story.write("prepare.intent", name=HOSTILE, text=HOSTILE)
    story.write(
        "run.closed", outcome=HOSTILE, why=HOSTILE, still_open=[HOSTILE], undo=HOSTILE, log={HOSTILE: HOSTILE}
    )
    page = page_of(story)
    assert {tag for tag, _ in page.tags} <= {
        *(
            "html",
            "head",
            "meta",
            "title",
            "style",
            "body",
            "main",
            "header",
            "section",
            "div",
            "span",
            "p",
            "h1",
            "h2",
            "h3",
        ),
        *(
            "strong",
            "b",
            "i",
            "dl",
            "dt",
            "dd",
            "ul",
            "li",
            "table",
            "thead",
            "tbody",
            "tr",
            "th",
            "td",
            "code",
            "pre",
            "a",
        ),
    }
    assert not [
        attrs for _, attrs in page.tags if any(name.startswith("on") or name == "src" for name in attrs)
    ]
    assert [attrs["href"] for tag, attrs in page.tags if tag == "a"] == ['https://x/"onclick="alert(4)']
    assert "<script>alert(1)</script>" in page.text
    assert "{{ 7*7 }}" in page.text
    assert "javascript:alert(3)" in page.text


def test_page_stands_alone(tmp_path: Path) -> None:
    """Nothing is fetched: no address but the links, no import, no url(), and the page forbids it itself."""
    html = render_report(whole_story(tmp_path / RUN).folder).read_text(encoding="utf-8")
    page = Page(html)
    assert (
        "meta",
        {"http-equiv": "Content-Security-Policy", "content": "default-src 'none'; style-src 'unsafe-inline'"},
    ) in page.tags
    assert not {"script", "link", "img", "iframe", "object", "base", "form"} & {tag for tag, _ in page.tags}
    assert not re.search(r"@import|url\(", html)


def test_same_journal_gives_the_same_bytes(tmp_path: Path) -> None:
    """Rendering again, at any time, changes nothing; a run that went on has another report."""
    story = Story(tmp_path / RUN).opened().provisional("refused")
    first = render_report(story.folder).read_bytes()
    assert render_report(story.folder).read_bytes() == first
    story.provisional("failed")
    assert render_report(story.folder).read_bytes() != first


def test_report_of_a_sealed_record_stays_as_it_is(tmp_path: Path) -> None:
    """Once the record covers it the report is not written again, even if it was changed; the record tells that."""
    story = whole_story(tmp_path / RUN)
    path = render_report(story.folder)
    write_record(story.folder, provisional=False, clock=FakeClock())
    path.write_text("changed")
    assert render_report(story.folder) == path
    assert path.read_text() == "changed"
    assert not verify_record(story.folder).ok
    path.unlink()
    render_report(story.folder)
    assert verify_record(story.folder).ok


def test_damaged_journal_is_said_loudly(tmp_path: Path) -> None:
    """What is told from the lines before a bad one is marked as not the whole story."""
    story = whole_story(tmp_path / RUN)
    path = story.folder / FILE_NAME
    path.write_bytes(path.read_bytes().replace(b"P1.S2", b"P1.S9"))
    text = page_of(story).text
    assert "This journal does not hold from line 4 on" in text
    assert "Verified" not in text


def test_torn_end_is_said(story: Story) -> None:
    """A journal that ends in half a line says so."""
    with (story.folder / FILE_NAME).open("ab") as file:
        file.write(b"half")
    assert "the journal ends in 4 bytes of a line that was never completed" in page_of(story).text


def test_journal_without_opening_gives_no_report(tmp_path: Path) -> None:
    """There is nothing to tell, and no file is left."""
    story = Story(tmp_path / RUN)
    with pytest.raises(JournalError):
        render_report(story.folder)
    assert not (story.folder / "report.html").exists()


def test_run_over_midnight_shows_dates(tmp_path: Path) -> None:
    """Times of another day than the first carry their date."""
    story = Story(tmp_path / RUN).opened()
    story.write("note", after_s=3 * 3600, text="the next day")
    assert "2026-11-24 00:58:00 note: the next day" in page_of(story).text


def test_bars_lie_within_the_timeline(tmp_path: Path) -> None:
    """Every step's bar starts where the step did and ends no later than the run."""
    lines = whole_story(tmp_path / RUN).journal.lines
    bars = bars_of(account_of(lines), lines[-1].at)
    assert [bar.offset_s for bar in bars] == sorted(bar.offset_s for bar in bars)
    assert all(bar.left >= 0 and bar.width > 0 and bar.left + bar.width <= 100.01 for bar in bars)
    assert (bars[0].left, bars[0].width) == (2.2, 4.5)


def test_bars_of_a_run_of_no_time_are_seen(tmp_path: Path) -> None:
    """A step skipped at once, in a run that has taken no time at all, still has its bar."""
    story = Story(tmp_path / RUN).opened()
    story.write("step.skipped", "P1.S1", after_s=0, reason="no need")
    (bar,) = bars_of(account_of(story.journal.lines), read_journal(story.folder / FILE_NAME).lines[-1].at)
    assert (bar.left, bar.width, bar.tone) == (0, 0.6, "care")
