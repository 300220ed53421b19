"""What the official command line says of a push, read: whether it happened, and why not.

- Only what the command line wrote is read, by the texts of its own source; what is not recognised is never a refusal.
- Code goes live with the last request of a push. Before the line that announces it nothing has changed; after it only
  success is certain, whatever the exit code: a lost answer makes it send again, and the second one may be refused.
  One refusal is certain there, too: for variables that are not set. Those of code that is live cannot be removed.
- No document's content and no answer to a push is handed on: they hold people's data and all environment variables.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

from rollback_lib.errors import BadParameters
from rollback_lib.http.reply import readable
from rollback_lib.providers.convex_facts import Function, Schema, analysed_functions
from rollback_lib.providers.shapes import a_list, a_mapping

__all__ = [
    "Analysis",
    "Outcome",
    "Refusal",
    "Transcript",
    "analysis_of",
    "outcome_of",
    "refusal_of",
    "too_old",
    "unknown_option",
]

Outcome = Literal["done", "refused", "failed", "unclear"]

_DEPLOYED, _WOULD_HAVE = "✔ Deployed Convex functions to", "✔ Would have deployed Convex functions to"
_FINALIZING = "Finalizing push"
_LEFT_OUT = "(left out here: what Convex answered to the push)"
_CONTENT = re.compile(r"(Object|Value): ")
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[ -/]*[@-~]")
_VIOLATION = re.compile(
    r'(?:Document|New document) (?:with ID "(?P<document>[^"]*)" )?in table "(?P<table>[^"]+)" '
    r"does not match the schema: (?P<why>[^\n]+)"
)
_FIELD = re.compile(r"(?:required|extra) field `([^`]+)`|^Path: \.?(\S+)", re.MULTILINE)
_DECLARED = re.compile(r"Environment variables? (.+?) (?:is|are) declared as required")
_IN_AUTH = re.compile(r"Environment variable (\S+) is used in auth config file")
_CODE = re.compile(r" (?P<status>4\d\d) [A-Za-z ]*: (?P<code>[A-Z][A-Za-z]+): (?P<words>.*)", re.DOTALL)
_PERMISSION = re.compile(r"You do not have permission to perform this operation(?: \(([^)]+)\))?")
_FLAG = re.compile(r"with the (--[a-z-]+) flag")
_PROMPTS = ("Cannot prompt for input", "To confirm the push:")
_RACES = ("Schema was overwritten by another push", "Environment variables have changed during push")
_BAD_KEYS = frozenset({"BadAdminKey", "BadDeployKey", "InvalidDeployKey", "MissingAdminKey"})
_BAD_KEY = "deploy key was invalid"
_TOO_OLD = re.compile(r"^error: unknown option '(--[a-z-]+)", re.MULTILINE)
_PAUSED = "while this deployment is paused"


@dataclass(frozen=True)
class Refusal:
    """Why a push was refused, as far as Convex says."""

    kind: Literal[
        "schema", "variables", "race", "concurrent", "key", "permission", "paused", "prompt", "other"
    ]
    words: str  # of the command line, on one line
    table: str = ""  # schema: whose document does not match
    document: str = ""
    field: str = ""
    why: str = ""
    names: tuple[str, ...] = ()  # variables that are missing; the permission that the key lacks
    flag: str = ""  # prompt: what would have let it through
    code: str = ""  # Convex's own


@dataclass(frozen=True)
class Analysis:
    """What Convex found in the code of a dry run."""

    functions: tuple[Function, ...]
    schema: Schema | None
    crons: tuple[str, ...]  # by name
    components: bool  # there is more code than that of the app itself, which is not listed here


@dataclass
class Transcript:
    """Takes the lines of the command line one by one and hands on what may be seen.

    Args:
        redact: Takes every known secret out of a line.
        on_line: Gets each line that may be seen.
    """

    redact: Callable[[str], str]
    on_line: Callable[[str], None]
    lines: list[str] = field(default_factory=list)
    analysis: Analysis | None = None
    _answer: list[str] | None = None  # the lines of an answer, while inside one
    _in_content: bool = False

    def take(self, raw: str) -> None:
        """Take one line as it was written."""
        line = _COLOURS.sub("", raw)
        if self._answer is not None:
            self._inside_answer(line)
        elif line.startswith("startPush: {") or line == "{":
            self._answer = [line.removeprefix("startPush: ")]
        elif self._content(line):
            pass
        else:
            self._show(line)

    @property
    def text(self) -> str:
        """Return all that may be seen."""
        return "\n".join(self.lines)

    def _inside_answer(self, line: str) -> None:
        assert self._answer is not None
        self._answer.append(line)
        if line == "}":
            self.analysis = analysis_of("\n".join(self._answer)) or self.analysis
            self._answer = None
            self._show(_LEFT_OUT)

    def _content(self, line: str) -> bool:
        """Say whether a line is part of a document's content, and show that it was there."""
        begins = _CONTENT.match(line)
        if begins is not None:
            self._in_content = True
            self._show(f"{begins[1]}: (left out here: a document's content)")
        elif line.startswith(("Validator: ", "Path: ", "✖", "✔")):
            self._in_content = False
        return self._in_content

    def _show(self, line: str) -> None:
        shown = str(readable(self.redact(line)))
        self.lines.append(shown)
        self.on_line(shown)


def analysis_of(text: str) -> Analysis | None:
    """Read an answer to the beginning of a push; None if it is none."""
    try:
        told = a_mapping(a_mapping(json.loads(text)).get("analysis"))
    except ValueError:
        return None
    root = a_mapping(told.get(""))
    if not root:
        return None
    modules = a_mapping(root.get("functions"))
    return Analysis(
        functions=analysed_functions(modules),
        schema=Schema.of(a_mapping(root.get("schema"))),
        crons=_crons(modules),
        components=len(told) > 1,
    )


def outcome_of(text: str, code: int | None, *, dry: bool) -> Outcome:
    """Say what became of a push.

    Args:
        text: All that the command line wrote.
        code: Its exit code; None: it was ended from outside.
        dry: Nothing was to be changed.
    """
    lines = text.splitlines()
    if code == 0:
        said = any(line.startswith(_WOULD_HAVE if dry else _DEPLOYED) for line in lines)
        return "done" if said else ("failed" if dry else "unclear")
    refusal = refusal_of(text) if code is not None else None
    if not dry and (code is None or any(_FINALIZING in line or line.startswith(_DEPLOYED) for line in lines)):
        return "refused" if refusal is not None and refusal.kind == "variables" else "unclear"
    return "refused" if refusal is not None else "failed"


def unknown_option(text: str) -> str:
    """Return what was asked of a command line that is too old to know it; empty: nothing."""
    found = _TOO_OLD.search(text)
    return found[1] if found is not None else ""


def refusal_of(text: str) -> Refusal | None:
    """Find why Convex refused a push; None if no refusal is recognised."""
    marked = text.find("✖")
    if marked < 0:
        return None
    said = text[marked:]
    words = " ".join(said.replace("✖", " ").split())[:600]
    for look in (_schema, _variables, _prompt, _named):
        found = look(said, words)
        if found is not None:
            return found
    return None


def too_old(sha: str, option: str) -> BadParameters:
    """Say that a commit's command line does not know what is asked of it."""
    return BadParameters(
        f"The command line of commit {sha[:12]} is too old to be run from here: it does not know {option}.",
        "Nothing was changed.",
        "Name a commit with a newer convex in the parameter commit, or roll forward with a fix; or push this one by hand, from a folder of its own (npm ci, then npx convex deploy).",
    )


def _schema(said: str, words: str) -> Refusal | None:
    found = _VIOLATION.search(said)
    if found is not None:
        field = _FIELD.search(said)
        named = next(filter(None, field.groups()), "") if field is not None else ""
        document = found["document"] or ""
        return Refusal("schema", words, found["table"], document, named, found["why"].strip())
    return Refusal("schema", words, why=words) if "Schema validation failed" in said else None


def _variables(said: str, words: str) -> Refusal | None:
    found = _DECLARED.search(said) or _IN_AUTH.search(said)
    return Refusal("variables", words, names=tuple(found[1].split(", "))) if found is not None else None


def _prompt(said: str, words: str) -> Refusal | None:
    if not any(text in said for text in _PROMPTS):
        return None
    flag = _FLAG.search(said)
    return Refusal("prompt", words, flag=flag[1] if flag is not None else "")


def _named(said: str, words: str) -> Refusal | None:
    permission = _PERMISSION.search(said)
    if permission is not None:
        return Refusal("permission", words, names=tuple(filter(None, permission.groups())))
    told = _CODE.search(said)
    code = told["code"] if told is not None else ""
    if code in _BAD_KEYS or _BAD_KEY in said:
        return Refusal("key", words, code=code)
    if code == "RaceDetected" or any(text in said for text in _RACES):
        return Refusal("race", words, code=code)
    if _PAUSED in said:
        return Refusal("paused", words, code=code)
    return Refusal("concurrent" if code == "ConcurrentPush" else "other", words, code=code) if code else None


def _crons(modules: Any) -> tuple[str, ...]:
    """Name the crons; they are told as a list, or by name."""
    found: set[str] = set()
    for raw in a_mapping(modules).values():
        module = a_mapping(raw)
        specs = (a_mapping(module.get("sourceMapped")) or module).get("cronSpecs")
        found |= set(a_mapping(specs))
        found |= {str(a_mapping(one).get("identifier")) for one in a_list(specs)}
    return tuple(sorted(found))
