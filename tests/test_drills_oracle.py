"""The outside judge: an honest run is held everywhere, and each lie is found under the invariants that it breaks."""

from __future__ import annotations

import base64
import hashlib
import json
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from doctoring import Doctor, digest, honest
from scenes import SCENES, keys_of

from rollback_lib.clock import from_ms, to_iso
from rollback_lib.drills.oracle import judge
from rollback_lib.simulator.signing import signed_paper
from rollback_lib.simulator.slack_store import Draft

Raw = dict[str, Any]
ALERT = "message alert"
TARGET = "rollback production to"


@pytest.fixture
def doctored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Doctor]:
    return lambda kind: Doctor(kind, tmp_path, monkeypatch)


def later(text: str, seconds: float) -> str:
    moved = datetime.fromisoformat(text) + timedelta(seconds=seconds)
    return moved.isoformat(timespec="milliseconds").replace("+00:00", "Z")


# --- honest runs -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("scene", SCENES)
def test_honest_run_is_held_everywhere(scene: str):
    """Whatever its outcome, a run that tells the truth breaks nothing and leaves nothing unjudged."""
    case = honest(scene)
    assert case.folder is not None
    record = json.loads((case.folder / "record.json").read_text())
    assert record["outcome"]["outcome"] == SCENES[scene].outcome
    verdict = judge(case)
    assert verdict.summary == "10 held", str(verdict)


def test_judge_changes_nothing_and_is_quick(doctored):
    """It reads only, and a campaign can afford it after every run."""
    doctor = doctored("P1")
    before = {path: digest(path) for path in doctor.folder.rglob("*") if path.is_file()}
    requests = len(doctor.entries)
    took_s = []
    for _ in range(3):
        began = time.process_time()
        judge(doctor.case)
        took_s.append(time.process_time() - began)
    assert min(took_s) < 0.2
    assert {path: digest(path) for path in doctor.folder.rglob("*") if path.is_file()} == before
    assert len(doctor.entries) == requests


def test_each_finding_has_its_evidence_in_words(doctored):
    """A held invariant says what was looked at, a broken one names the line and the ledger's entry."""
    doctor = doctored("P0")
    assert all(finding.evidence for finding in judge(doctor.case).findings)
    doctor.entry("/rollback/").status = 403
    text = str(judge(doctor.case))
    assert "ledger entry" in text
    assert "journal line" in text


# --- lies ------------------------------------------------------------------------------------------------------------


def alert_without_line(doctor: Doctor) -> None:
    """The line that says that the alert leaves is missing."""
    doctor.drop("prepare.sending", ALERT)


def effect_without_line(doctor: Doctor) -> None:
    """The line that says that the effect leaves is missing."""
    doctor.drop("effect.sending")


def line_after_arrival(doctor: Doctor) -> None:
    """The alert was written down a second after it had arrived."""
    doctor.edit("prepare.sending", lambda _: {"at": later(doctor.lines[0]["at"], 3600)}, ALERT)


def alert_without_intent(doctor: Doctor) -> None:
    """Nothing says beforehand what the alert was to be."""
    doctor.drop("prepare.intent", ALERT)


def intent_after_sending(doctor: Doctor) -> None:
    """The intent was written after the request had left."""
    doctor.move("prepare.intent", "prepare.answered", ALERT)


def effect_without_opened_gate(doctor: Doctor) -> None:
    """The gate was never opened."""
    doctor.drop("gate.opened")


def gate_opened_after_effect(doctor: Doctor) -> None:
    """The gate was opened when the effect was done."""
    doctor.move("gate.opened", "effect.done")


def gate_refused_last(doctor: Doctor) -> None:
    """Between opening and effect the gate had closed again."""
    closed = {"event": "gate.refused", "data": {"gate": "P1.G1", "missing": ["it expired"]}}
    doctor.insert("effect.intent", closed)


def effect_of_another_gate(doctor: Doctor) -> None:
    """The intent names a gate that nobody opened."""
    doctor.edit("effect.intent", lambda data: data.update(gate="P1.G2"))


def effect_called_harmless(doctor: Doctor) -> None:
    """The line of the effect says that it changes nothing that harms."""
    doctor.edit("effect.sending", lambda data: data.update({"class": "prepare"}))


def applied_twice(doctor: Doctor) -> None:
    """The world applied the effect a second time, with a line of its own."""
    sending, answered = (
        next(line for line in doctor.lines if line["event"] == event) for event in EFFECT_LINES
    )
    doctor.insert("effect.done", sending, answered)
    doctor.arrive("/rollback/")


EFFECT_LINES = ("effect.sending", "effect.answered")


def sent_when_done(doctor: Doctor) -> None:
    """It was sent again after it was known to be done; the platform refused."""
    intent, sending, answered = (
        next(line for line in doctor.lines if line["event"] == event)
        for event in ("effect.intent", *EFFECT_LINES)
    )
    refused = {**answered, "data": answered["data"] | {"kind": "refused", "status": 409}}
    doctor.insert("step.started", intent, sending, refused, nth=4)
    doctor.arrive("/rollback/", applied=False, status=409, at_ms=doctor.entry("/rollback/").at_ms + 1)


def sent_again_without_a_look(doctor: Doctor) -> None:
    """After an attempt without an answer nobody asked the platform."""
    doctor.drop("effect.observed", nth=None)


def somebody_posts_in_silence(doctor: Doctor) -> None:
    """A message of the runbook's token that no journal knows."""
    doctor.arrive("chat.postMessage", body_sha256="0" * 64)


def refused_effect_in_silence(doctor: Doctor) -> None:
    """An attempt on production that was refused, and that no journal knows."""
    doctor.arrive("/rollback/", applied=False, status=403, path="/v1/projects/prj_drill/rollback/dpl_other")


def answer_to_nothing(doctor: Doctor) -> None:
    """An answer is on record to a message that the world never got."""
    about = {"name": "message ghost"}
    sending = {"service": "slack", "method": "POST", "path": "/api/chat.postMessage", "body_sha256": "1" * 64}
    doctor.insert(
        "run.closing",
        {"event": "prepare.intent", "data": about},
        {"event": "prepare.sending", "data": about | sending | {"class": "prepare", "attempt": 1}},
        {"event": "prepare.answered", "data": about | {"kind": "accepted", "status": 200}},
    )


def other_status(doctor: Doctor) -> None:
    """The world refused what the journal calls accepted."""
    doctor.entry("chat.postMessage").status = 403


def phantom_message(doctor: Doctor) -> None:
    """The alert stands in no channel."""
    messages = doctor.world.slack._messages
    del messages[next(key for key, message in messages.items() if "INCIDENT ALERT" in message.text)]


def other_words(doctor: Doctor) -> None:
    """The channel reads something else than the journal."""
    message = next(one for one in doctor.world.slack._messages.values() if "INCIDENT ALERT" in one.text)
    message.text = message.text.replace("Rolling back", "Looking")


def job_that_never_succeeded(doctor: Doctor) -> None:
    """The failed job is told as having happened."""
    doctor.edit("job.over", lambda data: data.update(seen="happened"))


def refusal_told_as_done(doctor: Doctor) -> None:
    """A rollback that was refused is told as accepted."""
    doctor.edit("effect.failed", lambda data: {"event": "effect.done", "data": data | {"seen": "running"}})


def done_told_as_failed(doctor: Doctor) -> None:
    """A rollback that was applied is told as not having happened; what follows is true."""
    found = next(line for line in doctor.lines if line["event"] == "effect.done")
    doctor.insert("effect.done", {**found, "event": "effect.failed", "data": found["data"] | {"reason": "?"}})


def health_never_asked(doctor: Doctor) -> None:
    """Health passed without a request."""
    doctor.forget(lambda entry: entry.path != "/api/health")


def health_was_red(doctor: Doctor) -> None:
    """Health passed, and the last answer was a 503."""
    doctor.entry("/api/health", -1).status = 503


def hollow_page(doctor: Doctor) -> None:
    """A page passed that answered 200 without its text."""
    doctor.entry("/membership", -1).fault = "html_body"


def window_from_before(doctor: Doctor) -> None:
    """The error rate was read from a window that begins before the rollback."""
    entry = [entry for entry in doctor.entries if entry.path.endswith("/events/")][-1]
    entry.query = entry.query.replace("start=2026-11-23T21%3A58", "start=2026-11-23T21%3A57")
    doctor.edit(
        "check", lambda data: data.update(source=data["source"].replace(" 21:58", " 21:57", 1)), "P1.C3"
    )


def window_never_asked(doctor: Doctor) -> None:
    """The check names a window that nobody asked for."""
    doctor.edit("check", lambda data: data.update(source="Sentry, 21:50:00-21:50:03 UTC"), "P1.C3")


def notice_left_standing(doctor: Doctor) -> None:
    """The dead-man notice was taken back, and the chat still holds it."""
    run = doctor.lines[0]["run"]
    now_ms = doctor.world.now_ms()
    doctor.patch.setattr(doctor.world.slack, "_scheduled", {})
    doctor.world.slack.schedule("C0INCIDENTS", Draft(f"silent: {run}"), now_ms // 1000 + 900, now_ms)


def notice_renewed_after_its_end(doctor: Doctor) -> None:
    """A notice is scheduled again when it was taken back."""
    renewed = {"path": "/api/chat.scheduleMessage", "body_sha256": "0" * 64}
    doctor.arrive("chat.deleteScheduledMessage", -1, **renewed)


def rate_that_was_not(doctor: Doctor) -> None:
    """Visitors met errors in the window that is said to be free of them."""
    spans = doctor.world.spans
    doctor.patch.setattr(
        doctor.world,
        "spans",
        lambda since, until: [replace(span, http_status=500) for span in spans(since, until)],
    )


def production_elsewhere(doctor: Doctor) -> None:
    """The domains were pointed back before the checks, which say otherwise."""
    hosting = doctor.world.hosting
    moved_ms = max(at_ms for at_ms, _ in hosting.production)
    doctor.patch.setattr(hosting, "production", [*hosting.production, (moved_ms, hosting.roles["bad"])])


def pin_that_was_off(doctor: Doctor) -> None:
    """The pin was never set, and the check says that it is."""
    effects = doctor.world.hosting.effects
    effects[:] = [effect for effect in effects if effect.what != "auto-assign set"]
    doctor.patch.setattr(doctor.world.hosting.project, "auto_assign", True)


def failed_without_a_reason(doctor: Doctor) -> None:
    """Everything went well, and failed is claimed."""
    doctor.word("failed")


def unknown_without_a_doubt(doctor: Doctor) -> None:
    """Everything is known, and unknown is claimed."""
    doctor.word("unknown")


def unverified_without_a_gap(doctor: Doctor) -> None:
    """Every check passed, and completed_unverified is claimed."""
    doctor.word("completed_unverified")


def refused_after_an_effect(doctor: Doctor) -> None:
    """Production was changed, and refused is claimed."""
    doctor.word("refused")


def verified_with_an_unknown_check(doctor: Doctor) -> None:
    """A required check had no data, and verified is claimed."""
    doctor.word("verified")


def verified_without_a_check(doctor: Doctor) -> None:
    """The error rate was never looked at, and verified is claimed."""
    doctor.drop("check", "P1.C3")
    doctor.record(lambda content: content.update(checks=[c for c in content["checks"] if c["id"] != "P1.C3"]))


def verified_with_a_skipped_step(doctor: Doctor) -> None:
    """A step was left out, and verified is claimed."""
    doctor.insert("run.closing", {"event": "step.skipped", "step": "P1.S6", "data": {"reason": "in a hurry"}})


def fault_that_stayed(doctor: Doctor) -> None:
    """The deployment that was rolled back to carries the fault as well."""
    hosting = doctor.world.hosting
    doctor.patch.setattr(hosting.deployments[hosting.current], "broken", True)


def record_of_another_outcome(doctor: Doctor) -> None:
    """The record says something else than the journal."""
    doctor.record(lambda content: content["outcome"].update(outcome="completed_unverified"))


def record_that_shows_unknown_as_passed(doctor: Doctor) -> None:
    """The record shows a check as passed that the journal has as unknown."""

    def change(content: Raw) -> None:
        next(check for check in content["checks"] if check["id"] == "P1.C3")["status"] = "passed"

    doctor.record(change)


def notebook_of_another_outcome(doctor: Doctor) -> None:
    """The executed notebook shows another outcome than the journal."""
    shown = {
        "output_type": "execute_result",
        "data": {"text/plain": ["Run closed\n", "Outcome: unknown - why\n"]},
    }
    path = doctor.folder / "notebook.ipynb"
    path.write_text(json.dumps({"cells": [{"cell_type": "code", "outputs": [shown]}]}))
    manifest = {"sha256": digest(path), "record_sha256": digest(doctor.folder / "record.json")}
    (doctor.folder / "notebook.json").write_text(json.dumps(manifest))


def other_exit_code(doctor: Doctor) -> None:
    """The process ends with 0 for a run that failed."""
    doctor.case = replace(doctor.case, exit_code=0, outcome="failed")


def cut_off_and_called_success(doctor: Doctor) -> None:
    """The journal breaks off after the effect, and the process says verified."""
    cut_off(doctor, "effect.answered")
    doctor.case = replace(doctor.case, exit_code=0, outcome="verified")


def cut_off(doctor: Doctor, end: str) -> None:
    """Let the run have been killed right after a line: neither journal nor world know more, there is no record."""
    lines = doctor.lines
    kept = lines[: doctor.place(lines, end, "", 0) + 1]
    doctor.rewrite(kept)
    (doctor.folder / "record.json").unlink()
    left = [line["data"]["body_sha256"] for line in kept if line["event"].endswith(".sending")]
    doctor.forget(lambda entry: not entry.changes or entry.body_sha256 in left)


def route_left_on(doctor: Doctor) -> None:
    """A route was set that leads visitors elsewhere."""
    doctor.arrive("/rollback/", method="PUT", path="/v1/projects/prj_drill/routes")


def changed_file(doctor: Doctor) -> None:
    """A byte of the report was changed after it was sealed."""
    with (doctor.folder / "report.html").open("a") as file:
        file.write(" ")


def missing_file(doctor: Doctor) -> None:
    """An attachment is gone."""
    (doctor.folder / "attachments" / "sentry-issues-close.json").unlink()


def file_left_out(doctor: Doctor) -> None:
    """The record's list leaves a file out."""
    doctor.record(lambda content: content["files"].pop())


def extra_file(doctor: Doctor) -> None:
    """A file was put into the folder afterwards."""
    (doctor.folder / "attachments" / "more.txt").write_text("hello")


def broken_chain(doctor: Doctor) -> None:
    """A word in the journal was changed, and nothing else."""
    path = doctor.folder / "journal.jsonl"
    path.write_text(path.read_text().replace("Access Vercel Dashboard", "Access Vercel dashboard"))
    doctor.seal()


def lost_record(doctor: Doctor) -> None:
    """The record is gone from a closed run."""
    (doctor.folder / "record.json").unlink()


def other_head(doctor: Doctor) -> None:
    """The record was sealed over another journal."""
    doctor.record(lambda content: content["journal"].update(head="f" * 64))


def provisional_for_ever(doctor: Doctor) -> None:
    """The run is closed, and its record says that it may still change."""
    doctor.record(lambda content: content.update(provisional=True))


def notebook_of_another_record(doctor: Doctor) -> None:
    """The second manifest belongs to an earlier record."""
    notebook_of_another_outcome(doctor)
    path = doctor.folder / "notebook.ipynb"
    path.write_text(path.read_text().replace("Outcome: unknown", "Outcome: verified"))
    (doctor.folder / "notebook.json").write_text(
        json.dumps({"sha256": digest(path), "record_sha256": "0" * 64})
    )


def secret_in_an_attachment(doctor: Doctor) -> None:
    """A token stands in a file of the record."""
    doctor.attach(f"authorization: {doctor.world.token('VERCEL_TOKEN')}".encode())


def secret_in_base64(doctor: Doctor) -> None:
    """A token stands in a file in the form of a basic authorization."""
    doctor.attach(base64.b64encode(f"user:{doctor.world.token('SENTRY_AUTH_TOKEN')}\n".encode()))


def secret_in_an_address(doctor: Doctor) -> None:
    """A mail address stands percent-encoded in a file."""
    doctor.attach(f"https://x.drill/?to={quote('lee@derrimut247.drill', safe='')}".encode())


def secret_in_widget_state(doctor: Doctor) -> None:
    """A token stands in the saved state of the notebook's widgets."""
    path = doctor.folder / "notebook.ipynb"
    state = {"widgets": {"state": {"1": {"value": doctor.world.token("SLACK_BOT_TOKEN")}}}}
    path.write_text(json.dumps({"cells": [], "metadata": state}))
    manifest = {"sha256": digest(path), "record_sha256": digest(doctor.folder / "record.json")}
    (doctor.folder / "notebook.json").write_text(json.dumps(manifest))


def secret_on_the_terminal(doctor: Doctor) -> None:
    """A telephone number was printed."""
    doctor.case = replace(doctor.case, said="call +61 000 000 002 now")


def secret_between_machines(doctor: Doctor) -> None:
    """A token stands in what the machines share."""
    (doctor.state / "more").write_text(doctor.world.token("VERCEL_TOKEN"))


def secret_in_the_channel(doctor: Doctor) -> None:
    """A token was posted."""
    doctor.world.slack.say("U0SAM", "C0INCIDENTS", f"use {doctor.world.token('VERCEL_TOKEN')}")


def address_elsewhere(doctor: Doctor) -> None:
    """The run's platform leads to the real one."""
    doctor.edit(
        "run.opened",
        lambda data: data["parameters"]["platform"]["vercel"].update(api_url="https://api.vercel.com"),
    )


def real_environment(doctor: Doctor) -> None:
    """The gate was one of production."""
    doctor.edit("gate.shown", lambda data: data.update(environment="production"))


def dry_run_that_acts(doctor: Doctor) -> None:
    """The run was to change nothing."""
    doctor.edit("run.opened", lambda data: data.update(dry_run=True))


def other_target(doctor: Doctor) -> None:
    """The gate named another deployment."""
    doctor.edit("gate.shown", lambda data: data["effect"].update(to="dpl_other 1234 Something"))


def other_way(doctor: Doctor) -> None:
    """The gate spoke of a promotion."""
    doctor.edit("gate.shown", lambda data: data["effect"].update(what="promote"))


def other_digest_intended(doctor: Doctor) -> None:
    """The intent is of another digest than what was shown."""
    doctor.edit("effect.intent", lambda data: data.update(digest="a" * 64))


def other_digest_approved(doctor: Doctor) -> None:
    """The approval that opened the gate is of another digest."""
    doctor.drop("approval.seen")
    doctor.edit("gate.opened", lambda data: data["approvals"][0].update(digest="a" * 64))


def approvals(doctor: Doctor, **changed: str) -> None:
    """Change the approval wherever it stands."""
    doctor.edit("approval.seen", lambda data: data.update(changed))
    doctor.edit("gate.opened", lambda data: data["approvals"][0].update(changed))


def expired_approval(doctor: Doctor) -> None:
    """The approval had run out before the effect."""
    approvals(doctor, expires_at=later(doctor.lines[0]["at"], 0.1))


def own_approval(doctor: Doctor) -> None:
    """The deputy who operates the run approved it."""
    doctor.edit("run.opened", lambda data: data.update(operator="lee"))


def approval_by_somebody(doctor: Doctor) -> None:
    """Who approved does not hold the role."""
    approvals(doctor, slack_user="U0SAM", person="Sam Support")


def approval_by_nobody(doctor: Doctor) -> None:
    """Who approved is not of this world."""
    approvals(doctor, slack_user="U0REAL", person="Somebody Else")


def phantom_approval(doctor: Doctor) -> None:
    """The request has no ✅ in the world's chat."""
    for message in doctor.world.slack._messages.values():
        message.reactions.clear()
    doctor.patch.setattr(doctor.world.slack._personas, "_personas", ())


def no_approval(doctor: Doctor) -> None:
    """The plan asks for the engineering lead, and nobody approved."""
    doctor.drop("approval.seen")
    doctor.edit("gate.opened", lambda data: data.update(approvals=[]))


def way_not_allowed(doctor: Doctor) -> None:
    """The approval was spoken, which the drill's policy does not allow."""
    approvals(doctor, way="spoken", attested_by="Ana Operator")


def signed_anew(doctor: Doctor, change: Callable[[Raw], object]) -> None:
    """Put another paper in the place of the signed one, under the name of its content, and point to that."""
    paper = json.loads(doctor.paper.read_bytes())
    change(paper)
    raw = json.dumps(paper).encode()
    name = f"signed-{hashlib.sha256(raw).hexdigest()}.json"
    doctor.paper.with_name(name).write_bytes(raw)
    evidence = next(line["data"]["evidence"] for line in doctor.lines if line["event"] == "approval.seen")
    approvals(doctor, evidence=evidence.rpartition("/")[0] + "/" + name)


def signed_with_another_key(doctor: Doctor) -> None:
    """The signature is by a key that is not that person's."""
    request = json.loads(next(doctor.state.glob("approvals/drill/*/request.json")).read_bytes())
    keys = keys_of(doctor.case.home)
    forged = json.loads(signed_paper(request, "dee", ["engineering_lead"], keys / "lee"))
    signed_anew(doctor, lambda paper: paper.update(forged))


def signed_for_another_run(doctor: Doctor) -> None:
    """A true signature, given on the request of another run."""
    request = json.loads(next(doctor.state.glob("approvals/drill/*/request.json")).read_bytes())
    keys = keys_of(doctor.case.home)
    other = json.loads(signed_paper(request | {"run": "P1-other"}, "dee", ["engineering_lead"], keys / "dee"))
    signed_anew(doctor, lambda paper: paper.update(other))


def signed_text_changed(doctor: Doctor) -> None:
    """The statement was changed after it was signed."""
    signed_anew(doctor, lambda paper: paper.update(statement=paper["statement"] + " "))


def signature_by_nobody_with_a_key(doctor: Doctor) -> None:
    """The paper is in no place where it was said to be."""
    approvals(doctor, evidence="approvals/drill/x/signed-0.json")


def request_not_in_store(doctor: Doctor) -> None:
    """The request is said to be in the store, and is not."""
    next(doctor.state.glob("approvals/drill/*/request.json")).unlink()


def moved_before_the_effect(doctor: Doctor) -> None:
    """A colleague moved production while the approval was waited for, and the effect went out all the same."""
    shown_ms = doctor.entry("chat.postMessage").at_ms
    doctor.happen(shown_ms + 50, "promote requested", to="dpl_other")


def not_read_again(doctor: Doctor) -> None:
    """Nobody read the platform between the gate and the effect."""
    effect = doctor.entry("/rollback/")
    opened_ms = doctor.entry("chat.update").at_ms
    doctor.forget(
        lambda entry: (
            entry is effect or entry.service != "vercel" or not opened_ms <= entry.at_ms <= effect.at_ms
        )
    )


LIES: list[tuple[str, Callable[[Doctor], None], set[int]]] = [
    ("P0", alert_without_line, {1, 3}),
    ("P0", effect_without_line, {1, 3, 4, 10}),
    ("P0", line_after_arrival, {1}),
    ("P0", alert_without_intent, {1}),
    ("P0", intent_after_sending, {1}),
    ("P0", effect_without_opened_gate, {1, 10}),
    ("P0", gate_opened_after_effect, {1, 10}),
    ("P0", gate_refused_last, {1, 10}),
    ("P0", effect_of_another_gate, {1, 10, 11}),
    ("P0", effect_called_harmless, {1}),
    ("P0", applied_twice, {2, 11}),
    ("P0", sent_when_done, {2, 11}),
    ("retried", sent_again_without_a_look, {2}),
    ("P0", somebody_posts_in_silence, {1, 3}),
    ("P0", refused_effect_in_silence, {1, 3, 10}),
    ("P0", answer_to_nothing, {3}),
    ("P0", other_status, {3}),
    ("P0", phantom_message, {3}),
    ("P0", other_words, {3}),
    ("job failed", job_that_never_succeeded, {3}),
    ("denied", refusal_told_as_done, {3}),
    ("P0", done_told_as_failed, {3}),
    ("P0", health_never_asked, {3}),
    ("P0", health_was_red, {3}),
    ("P0", hollow_page, {3}),
    ("P0", window_from_before, {3}),
    ("P0", window_never_asked, {3}),
    ("noticed", notice_left_standing, {3}),
    ("noticed", notice_renewed_after_its_end, {1, 3}),
    ("P0", rate_that_was_not, {3}),
    ("P0", production_elsewhere, {3, 4}),
    ("P0", pin_that_was_off, {3, 4}),
    ("P0", failed_without_a_reason, {4}),
    ("P0", unknown_without_a_doubt, {4}),
    ("P0", unverified_without_a_gap, {4}),
    ("P0", refused_after_an_effect, {4}),
    ("quiet", verified_with_an_unknown_check, {4}),
    ("P0", verified_without_a_check, {4}),
    ("P0", verified_with_a_skipped_step, {4}),
    ("P0", fault_that_stayed, {4}),
    ("P0", record_of_another_outcome, {4}),
    ("quiet", record_that_shows_unknown_as_passed, {4}),
    ("P0", notebook_of_another_outcome, {4}),
    ("job failed", other_exit_code, {4}),
    ("P0", cut_off_and_called_success, {4}),
    ("P0", route_left_on, {1, 3, 5, 10}),
    ("P0", changed_file, {6}),
    ("P0", missing_file, {6}),
    ("P0", file_left_out, {6}),
    ("P0", extra_file, {6}),
    ("P0", broken_chain, {6}),
    ("P0", lost_record, {6}),
    ("P0", other_head, {6}),
    ("P0", provisional_for_ever, {6}),
    ("P0", notebook_of_another_record, {6}),
    ("P0", secret_in_an_attachment, {7}),
    ("P0", secret_in_base64, {7}),
    ("P0", secret_in_an_address, {7}),
    ("P0", secret_in_widget_state, {7}),
    ("P0", secret_on_the_terminal, {7}),
    ("P0", secret_between_machines, {7}),
    ("P0", secret_in_the_channel, {7}),
    ("P0", address_elsewhere, {8}),
    ("P0", real_environment, {8, 11}),
    ("P0", dry_run_that_acts, {10}),
    ("P0", other_target, {11}),
    ("P0", other_way, {11}),
    ("P0", other_digest_intended, {11}),
    ("P1", other_digest_approved, {11}),
    ("P1", expired_approval, {11}),
    ("P1", own_approval, {11}),
    ("P1", approval_by_somebody, {11}),
    ("P1", approval_by_nobody, {8, 11}),
    ("P1", phantom_approval, {11}),
    ("P1", no_approval, {11}),
    ("P1", way_not_allowed, {11}),
    ("signed", signed_with_another_key, {11}),
    ("signed", signed_for_another_run, {11}),
    ("signed", signed_text_changed, {11}),
    ("signed", signature_by_nobody_with_a_key, {11}),
    ("signed", request_not_in_store, {3}),
    ("P1", moved_before_the_effect, {11}),
    ("P1", not_read_again, {11}),
]


@pytest.mark.parametrize(("kind", "lie", "broken"), [pytest.param(*one, id=one[1].__name__) for one in LIES])
def test_lie_is_found_under_what_it_breaks(
    doctored, kind: str, lie: Callable[[Doctor], None], broken: set[int]
):
    """Each falsification breaks exactly the invariants that it contradicts, and no other."""
    doctor = doctored(kind)
    assert not judge(doctor.case).broken
    lie(doctor)
    verdict = judge(doctor.case)
    assert set(verdict.broken) == broken, str(verdict)


def test_evidence_of_a_leak_does_not_leak(doctored):
    """What was found is named, its value is not repeated."""
    doctor = doctored("P0")
    secret_in_an_attachment(doctor)
    secret_on_the_terminal(doctor)
    text = str(judge(doctor.case))
    assert "VERCEL_TOKEN" in text
    assert doctor.world.token("VERCEL_TOKEN") not in text
    assert "000 002" not in text


# --- what cannot be judged --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "end", ["effect.intent", "effect.sending", "effect.answered", "job.over", "run.closing"]
)
def test_killed_run_is_not_called_held_where_it_said_nothing(doctored, end: str):
    """Killed before its record: the outcome and the record are not judged, the rest holds."""
    doctor = doctored("P0")
    cut_off(doctor, end)
    doctor.case = replace(doctor.case, killed=True, exit_code=-9)
    verdict = judge(doctor.case)
    assert not verdict.broken, str(verdict)
    assert [finding.invariant for finding in verdict.of("not judged")] == [4, 6]
    assert all(finding.evidence for finding in verdict.findings)


def test_torn_last_line_of_a_killed_run_breaks_nothing(doctored):
    """Half a line was never synced: it is no claim, and no damage either."""
    doctor = doctored("refused")
    with (doctor.folder / "journal.jsonl").open("a") as file:
        file.write('{"at": "2026')
    doctor.case = replace(doctor.case, killed=True)
    verdict = judge(doctor.case)
    assert not verdict.broken
    assert [finding.invariant for finding in verdict.of("not judged")] == [6]
    doctor.case = replace(doctor.case, killed=False)
    assert judge(doctor.case).broken == (6,)


def test_run_that_was_never_begun_changes_nothing(doctored):
    """Without a folder every change in the ledger is one too many, and success may not be claimed."""
    doctor = doctored("P0")
    changing = [entry for entry in doctor.entries if entry.changes]
    case = replace(doctor.case, folder=None, exit_code=2)
    assert set(judge(case).broken) == {1, 3, 10}
    doctor.forget(lambda entry: entry not in changing)
    verdict = judge(case)
    assert not verdict.broken
    assert [finding.invariant for finding in verdict.of("not judged")] == [6, 8]
    assert judge(replace(case, exit_code=0)).broken == (4,)


def test_attempt_that_never_left_takes_no_request_from_the_one_that_did(doctored):
    """Killed between its line and its request, looked for and sent again: the request is the second attempt's."""
    doctor = doctored("P0")
    intent, sending = (
        next(line for line in doctor.lines if line["event"] == event)
        for event in ("effect.intent", "effect.sending")
    )
    looked = {"name": intent["data"]["name"], "seen": "not happened", "detail": "production has not moved"}
    place = doctor.entries.index(doctor.entry("/rollback/"))
    look = next(entry for entry in reversed(doctor.entries[:place]) if entry.service == "vercel")
    at = {"at": to_iso(from_ms(look.at_ms))}
    doctor.insert(
        "effect.intent",
        intent | at,
        sending | at,
        {"event": "effect.observed", "step": intent["step"], "data": looked},
        {"event": "effect.failed", "step": intent["step"], "data": looked},
    )
    verdict = judge(doctor.case)
    assert not verdict.broken, str(verdict)


WEBHOOK = {"service": "slack webhook", "path": "[redacted]"}


def test_request_to_an_address_that_is_a_secret_is_known_by_its_body(doctored):
    """A webhook is a service of its own to the journal, its whole path blanked; to the ledger only its last part is secret."""
    doctor = doctored("P0")
    for event in ("prepare.sending", "prepare.answered"):
        doctor.edit(event, lambda data: data.update(WEBHOOK), name="message notice")
    notice = next(line for line in doctor.lines if "message notice" in str(line["data"].get("name")))
    posts = [entry for entry in doctor.entries if "chat.postMessage" in entry.path]
    sent = next(entry for entry in posts if entry.body["text"] == notice["data"]["text"])
    sent.path = "/services/T0DRILL/B0RUNBOOK/[SLACK_WEBHOOK_URL]"
    verdict = judge(doctor.case)
    assert not verdict.broken, str(verdict)


def test_what_another_run_of_the_same_world_sent_is_not_held_against_this_one(doctored):
    """Two runs in one world: each is judged by its own lines, and the other's requests are told apart."""
    doctor = doctored("P0")
    other = doctor.scratch / "other"
    other.mkdir()
    lines = doctor.lines
    (other / "journal.jsonl").write_bytes((doctor.folder / "journal.jsonl").read_bytes())
    doctor.rewrite(lines[: doctor.place(lines, "gate.shown", "", 0)])
    (doctor.folder / "record.json").unlink()
    assert 3 in judge(doctor.case).broken
    assert not judge(replace(doctor.case, others=(other,))).broken


def test_copy_of_the_run_on_another_machine_hides_nothing(doctored):
    """Where a run was handed over, its lines stand in two journals: a request sent twice is still one too many."""
    doctor = doctored("P0")
    other = doctor.scratch / "other"
    other.mkdir()
    (other / "journal.jsonl").write_bytes((doctor.folder / "journal.jsonl").read_bytes())
    handed_over = replace(doctor.case, others=(other,))
    assert not judge(handed_over).broken
    doctor.arrive("/rollback/")
    assert {1, 2, 3} <= set(judge(handed_over).broken)


def test_folder_that_makes_no_sense_is_broken_not_a_crash(doctored):
    """Whatever stands in the folder, the judge comes to a verdict."""
    doctor = doctored("P0")
    doctor.edit("run.opened", lambda data: data.update(parameters=["?"], procedure="one"))
    doctor.edit("gate.opened", lambda data: data.update(approvals="all"))
    doctor.record(lambda content: content.update(files=[1], checks=3))
    assert judge(doctor.case).broken
