"""What a person is told where the command line of procedure 2 comes to nothing."""

from __future__ import annotations

import re

import pytest
from repository import ROOT

from rollback_lib.procedures.convex_refused import ways
from rollback_lib.providers.convex_cli import CliRun
from rollback_lib.providers.convex_push import refusal_of

# Commands of Convex's own that act on the caller's development deployment unless told otherwise; a push does not.
_NEEDS_PROD = re.compile(r"npx convex (?:env|function-spec|run|data|logs|export|import|insights)\b[^)`;,.]*")
_TEXTS = [*ROOT.glob("rollback_lib/p*/**/*.py"), *ROOT.glob("docs/*.md"), ROOT / "README.md"]


def refused(words: str) -> CliRun:
    """Give a run of the command line that Convex refused with these words."""
    return CliRun("refused", 1, words, refusal_of(words), None, 1.0)


def test_commands_for_a_person_are_about_production():
    """Convex's own command line takes the developer's deployment where nothing is said: there all looks well."""
    found = [match[0] for path in _TEXTS for match in _NEEDS_PROD.finditer(path.read_text(encoding="utf-8"))]
    assert found
    assert [command for command in found if "--prod" not in command] == []


@pytest.mark.parametrize("words", ["✖ Cannot prompt for input in non-interactive terminals."], ids=["prompt"])
def test_question_that_no_run_answers_is_not_answered_past_the_gate(words: str):
    """By hand it has no gate: so it is said that this leaves the runbook, and what a person then owes."""
    told = ways(refused(words), "then run this cell again.")
    assert "leaves this runbook" in told
    assert "have the push approved, announce it in the incidents channel" in told
    assert "a folder of your own" in told
    assert told.endswith(".")
