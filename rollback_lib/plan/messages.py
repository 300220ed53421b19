"""The plan's messages: verbatim text, and which of its words are filled in.

- A filled message differs from the plan's text in its fields only.
- Nothing is filled with nothing: a missing, empty or unknown field is refused.
- For procedures 2-4 the one line that names the deployment names commit, backup or variable instead.
- The plan has no words for an undo: there the lines that speak of a rollback are replaced by ours; all others stay.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Literal

from pydantic import Field

from rollback_lib.errors import BadParameters
from rollback_lib.plan.values import Role, Text
from rollback_lib.yamlfile import Frozen

__all__ = ["FieldName", "Message", "MessageField", "MessageName", "Template", "UndoLine", "Variant"]

MessageName = Literal["alert", "follow_up", "restore_started", "restore_complete"]
FieldName = Literal[
    "issue",
    "severity",
    "target",
    "eta",
    "impact",
    "mentions",
    "completion_time",
    "error_rate",
    "postmortem",
    "run",
]
_RUN = "[run]"  # in the line of an undo, the run that is undone


class MessageField(Frozen):
    """A part of a message that is filled in, and the words that stand for it in the plan."""

    name: FieldName
    placeholder: Text
    one_of: tuple[Text, ...] = ()
    roles: tuple[Role, ...] = ()  # whom it names


class Variant(Frozen):
    """The line that names the target, for another procedure."""

    procedure: int
    line: Text
    placeholder: Text


class UndoLine(Frozen):
    """What stands in the place of a line where a run is undone."""

    replaces: Text
    line: Text


class Template(Frozen):
    """A message for one procedure, ready to be filled."""

    name: MessageName
    procedure: int
    channel: Text
    text: Text
    fields: tuple[MessageField, ...]
    undo: tuple[UndoLine, ...] = ()  # of all procedures

    def for_undo(self) -> Template:
        """Return what is said where a run is undone; it has the run as a field more."""
        ours = {one.replaces: one.line for one in self.undo}
        text = "\n".join(ours.get(line, line) for line in self.text.split("\n"))
        run = MessageField(name="run", placeholder=_RUN)
        return self.model_copy(update={"text": text, "fields": (*self.fields, run), "undo": ()})

    def fill(self, **fields: str) -> str:
        """Put the fields into the plan's text; every other character stays.

        A value is put in as it is, even where it looks like another field.

        Args:
            fields: A text for each of the template's fields, by its name; none may be empty.

        Raises:
            BadParameters: A field is missing, empty, unknown or not one of its choices. Nothing was sent.
        """
        faults = list(self._field_faults(fields))
        if faults:
            raise BadParameters(
                f"The message {self.name!r} of procedure {self.procedure} cannot be filled: {'; '.join(faults)}.",
                "Nothing was sent.",
                f"Give exactly these, none of them empty: {', '.join(field.name for field in self.fields) or 'no field'}.",
            )
        by_placeholder = {field.placeholder: fields[field.name] for field in self.fields}
        if not by_placeholder:
            return self.text
        anywhere = re.compile("|".join(re.escape(words) for words in by_placeholder))
        return anywhere.sub(lambda found: by_placeholder[found[0]], self.text)

    def _field_faults(self, given: dict[str, str]) -> Iterator[str]:
        for name in sorted(given.keys() - {field.name for field in self.fields}):
            yield f"it has no field {name!r}"
        for field in self.fields:
            value = given.get(field.name)
            if value is None or not value.strip():
                yield f"{field.name} is {'missing' if value is None else 'empty'}"
            elif field.one_of and value not in field.one_of:
                yield f"{field.name} is {value!r}, expected one of {', '.join(field.one_of)}"


class Message(Frozen):
    """A message of the plan: its text as it stands, and its target line for the other procedures."""

    name: MessageName
    title: Text
    channel: Text
    procedures: tuple[int, ...]  # those for which the text holds as it stands
    text: Text
    fields: tuple[MessageField, ...] = ()
    target_line: Text | None = None
    variants: tuple[Variant, ...] = ()
    undo: tuple[UndoLine, ...] = ()
    update_every_min: int | None = Field(default=None, gt=0)

    def templates(self) -> tuple[Template, ...]:
        """Give one template for each procedure the message serves."""
        as_it_stands = [self._template(number, self.text, self.fields) for number in self.procedures]
        return (*as_it_stands, *(self._for_variant(variant) for variant in self.variants))

    def _for_variant(self, variant: Variant) -> Template:
        lines = [variant.line if line == self.target_line else line for line in self.text.split("\n")]
        fields = tuple(
            field.model_copy(update={"placeholder": variant.placeholder}) if field.name == "target" else field
            for field in self.fields
        )
        return self._template(variant.procedure, "\n".join(lines), fields)

    def _template(self, procedure: int, text: str, fields: tuple[MessageField, ...]) -> Template:
        return Template(
            name=self.name,
            procedure=procedure,
            channel=self.channel,
            text=text,
            fields=fields,
            undo=self.undo,
        )
