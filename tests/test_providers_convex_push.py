"""Reading what the command line says, where the real one cannot be made to say it."""

from __future__ import annotations

import json

import pytest

from rollback_lib.providers.convex_push import (
    Transcript,
    analysis_of,
    outcome_of,
    refusal_of,
    unknown_option,
)


def transcript(*lines: str) -> Transcript:
    """Hand over lines as they are written."""
    made = Transcript(lambda text: text.replace("2718281828", "[redacted]"), lambda _: None)
    for line in lines:
        made.take(line)
    return made


@pytest.mark.parametrize(
    ("why", "field"),
    [
        ("Object contains extra field `plan` that is not in the validator.\n\nObject: {plan: 1}", "plan"),
        (
            "Value does not match validator.\nPath: .address.zip\nValue: 1.0\nValidator: v.string()",
            "address.zip",
        ),
        ('Found ID "j5" from table `a`, which does not match the table name in validator `v.id("b")`.', ""),
    ],
)
@pytest.mark.parametrize(
    "begins", ['Document with ID "j57" in table "users"', 'New document in table "users"']
)
def test_document_that_does_not_match_is_found_in_every_wording(begins, why, field):
    """A concurrent write's too, which has no id."""
    text = f"✖ Schema validation failed.\n{begins} does not match the schema: {why}"
    found = refusal_of(text)
    assert found is not None
    assert (found.kind, found.table, found.field) == ("schema", "users", field)
    assert found.document == ("j57" if "ID" in begins else "")
    assert found.why == why.partition("\n")[0]


def test_schema_refused_in_other_words_is_still_one():
    """Without a table; the words are there."""
    found = refusal_of('✖ Schema validation failed in component "mail".\nsomething new')
    assert found is not None
    assert (found.kind, found.table, found.why) == ("schema", "", found.words)


def test_question_that_nobody_answers_is_a_prompt():
    """It would have waited for a person."""
    found = refusal_of("✖ Cannot prompt for input in non-interactive terminals. (Really?)")
    assert found is not None
    assert (found.kind, found.flag) == ("prompt", "")


def test_paused_deployment_is_told():
    """In the words of the backend."""
    found = refusal_of("✖ Cannot run functions while this deployment is paused. Resume the deployment")
    assert found is not None
    assert found.kind == "paused"


@pytest.mark.parametrize(
    "text", ["", "Document not found", "✖ Unexpected Error: x", "✖ TypeError: fetch failed"]
)
def test_what_is_not_recognised_is_no_refusal(text):
    """It failed; that Convex refused it is not claimed."""
    assert refusal_of(text) is None
    assert outcome_of(text, 1, dry=False) == "failed"


DEPLOYED, WOULD_HAVE = (
    "✔ Deployed Convex functions to https://x",
    "✔ Would have deployed Convex functions to https://x",
)


UNSET = "✖ Environment variable A is declared as required in convex.config.ts but its value was not set."


@pytest.mark.parametrize(
    ("text", "code", "dry", "kind"),
    [
        (DEPLOYED, 0, False, "done"),
        (WOULD_HAVE, 0, True, "done"),
        (WOULD_HAVE, 0, False, "unclear"),
        (DEPLOYED, 0, True, "failed"),
        ("", 0, False, "unclear"),
        ("", 0, True, "failed"),
        (DEPLOYED, 1, False, "unclear"),
        (f"Finalizing push...\n{DEPLOYED}", 1, False, "unclear"),
        ("Uploading functions", None, False, "unclear"),
        ("Uploading functions", None, True, "failed"),
        ("Finalizing push...\n✖ x 400 Bad Request: ConcurrentPush: x", 1, True, "refused"),
        (f"Finalizing push...\n{UNSET}", 1, False, "refused"),
        (f"Finalizing push...\n{UNSET}", None, False, "unclear"),
        ("Finalizing push...\n✖ x 400 Bad Request: ConcurrentPush: x", 1, False, "unclear"),
        ("✖ Schema validation failed.", 1, False, "refused"),
        ("✖ Schema validation failed.", None, False, "unclear"),
    ],
)
def test_exit_code_and_text_say_together_what_became_of_it(text, code, dry, kind):
    """Success is what both say; behind the last request nothing else is certain, but that a variable is missing."""
    assert outcome_of(text, code, dry=dry) == kind


def test_command_line_that_is_too_old_says_what_it_does_not_know():
    """So that people hear of its age and not of a failed push."""
    assert unknown_option("x\nerror: unknown option '--message'\n(Did you mean --messages?)") == "--message"
    assert unknown_option("✖ 400 Bad Request: error: unknown option '--message'") == ""


def test_lines_are_made_readable():
    """Colours and what a terminal would obey go; secrets too."""
    assert transcript("\x1b[31m✖ red\x1b[0m\x07 2718281828").text == "✖ red [redacted]"


def test_answers_are_left_out_whole_and_read():
    """Also one that is broken off; the value of a variable that an older command line prints is in neither."""
    answer = {"environmentVariables": {"A": "clear"}, "analysis": {"": {"functions": {}}, "mail": {}}}
    crons = {"cronSpecs": [{"identifier": "nightly", "spec": {}}], "functions": []}
    answer["analysis"][""]["functions"] = {"crons.js": {"sourceMapped": crons, "functions": []}}
    made = transcript(
        "before",
        *f"startPush: {json.dumps(answer, indent=2)}".splitlines(),
        "after",
        "{",
        '  "x": "clear"',
        "}",
    )
    assert made.text == "\n".join(["before", *["(left out here: what Convex answered to the push)"]]) + (
        "\nafter\n(left out here: what Convex answered to the push)"
    )
    assert made.analysis is not None
    assert (made.analysis.crons, made.analysis.components, made.analysis.schema) == (("nightly",), True, None)
    assert transcript("before", "startPush: {", '  "A": "clear"').text == "before"


def test_crons_that_are_told_by_name_are_read_too():
    """Sources differ in it."""
    functions = {
        "crons.js": {"functions": [], "cronSpecs": {"nightly": {}, "hourly": {}}, "sourceMapped": None}
    }
    found = analysis_of(json.dumps({"analysis": {"": {"functions": functions}}}))
    assert found is not None
    assert found.crons == ("hourly", "nightly")
    assert analysis_of("{") is None
    assert analysis_of('{"authDiff": {}}') is None


def test_content_of_documents_is_left_out_up_to_the_validator():
    """Over several lines too."""
    made = transcript("Object: {", "  name: Ana", "}", "Validator: v.any()", "✖ x", "Value: Ana", "✔ y")
    assert made.text.splitlines() == [
        "Object: (left out here: a document's content)",
        "Validator: v.any()",
        "✖ x",
        "Value: (left out here: a document's content)",
        "✔ y",
    ]
