"""What Convex tells, as values: a deployment, its pushes, functions, schema, crons and waiting functions.

- A function is named `users:list` wherever it comes from; an HTTP action by its verb and path.
- What only some plans or keys may read is a value too, `NotAvailable`, with the reason.
- No document and no argument of a function is kept: they are people's data.
- The same reading serves what is live and what a push was analysed as, so that both compare.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any, Self

from rollback_lib.http import Reply
from rollback_lib.model import digest_of
from rollback_lib.providers.shapes import (
    Shape,
    a_list,
    a_mapping,
    a_text,
    a_whole,
    ms_time,
    needed,
    unusable,
)

__all__ = [
    "STAGED",
    "Audit",
    "AuditEvent",
    "BackendState",
    "Called",
    "Cron",
    "DeploymentIdentity",
    "Function",
    "Live",
    "Module",
    "NotAvailable",
    "Scheduled",
    "Schema",
    "Table",
    "Waiting",
    "actor_of",
    "analysed_functions",
    "crons_of",
    "function_name",
    "functions_of",
    "same_schema",
    "schema_of",
    "waiting_of",
]

PUSHES = frozenset({"push_config", "push_config_with_components"})
_ANYTHING = {"type": "any"}  # what a function takes or gives that says nothing about it
_CREATED = "_creationTime"
STAGED = "staged"  # an index that is filled while others already work
_INDEX_KINDS = (  # where a table lists them, what they are called here, where the field is
    ("indexes", "by", "fields"),
    ("searchIndexes", "search in", "searchField"),
    ("vectorIndexes", "vectors of", "vectorField"),
    ("stagedDbIndexes", f"{STAGED}, by", "fields"),
    ("stagedSearchIndexes", f"{STAGED}, search in", "searchField"),
    ("stagedVectorIndexes", f"{STAGED}, vectors of", "vectorField"),
)


@dataclass(frozen=True)
class NotAvailable:
    """Something that Convex does not tell this key, or on this plan."""

    code: str  # AuditLogsDisabled, AuditLogsTooOld, Forbidden
    reason: str  # in Convex's own words
    days: int | None = None  # how far back it can be read, where that is the reason


@dataclass(frozen=True)
class DeploymentIdentity:
    """Which deployment the key leads to."""

    name: str  # as in the key
    kind: str  # cloud, selfHosted
    type: str  # prod, dev, preview; empty: not said
    id: int | None
    project: str
    url: str  # that Convex gives for the key
    site_url: str  # of its HTTP actions


@dataclass(frozen=True)
class BackendState:
    """Whether functions may run."""

    name: str  # running, paused, disabled, suspended; others are kept as they are written
    why: str  # empty while it runs

    @property
    def running(self) -> bool:
        """Say whether functions are answered."""
        return self.name == "running"


@dataclass(frozen=True)
class AuditEvent:
    """One line of a deployment's audit log."""

    action: str
    at: datetime
    actor: str  # member 12, token 7, system
    message: str  # of a push, as it was given; empty: none
    added: tuple[str, ...] = ()  # modules of a push
    removed: tuple[str, ...] = ()
    schema_changed: bool | None = None  # by a push; None: not said

    @property
    def push(self) -> bool:
        """Say whether it put code live."""
        return self.action in PUSHES

    @classmethod
    def of(cls, reply: Reply, raw: Shape) -> Self:
        """Read a line of the log, or the row that a system query gives.

        Raises:
            Unreachable: It has no action or no time.
        """
        at = ms_time(raw.get("createTime")) or ms_time(raw.get("_creationTime"))
        if at is None:
            raise unusable(reply, "audit events with a time")
        told = a_mapping(raw.get("metadata"))
        diffs = [
            a_mapping(a_mapping(one).get("component_diff")) for one in a_list(told.get("component_diffs"))
        ]
        modules = [a_mapping(diff.get("module_diff")) for diff in diffs]
        return cls(
            action=needed(reply, raw, "action"),
            at=at,
            actor=actor_of(raw),
            message=a_text(told.get("message")) or "",
            added=_texts(name for one in modules for name in a_list(one.get("added"))),
            removed=_texts(name for one in modules for name in a_list(one.get("removed"))),
            schema_changed=any(diff.get("schema_diff") for diff in diffs) if diffs else None,
        )


@dataclass(frozen=True)
class Audit:
    """A deployment's audit log since an instant, oldest first and whole."""

    since: datetime
    events: tuple[AuditEvent, ...]

    @property
    def pushes(self) -> tuple[AuditEvent, ...]:
        """Return the pushes, oldest first."""
        return tuple(event for event in self.events if event.push)


@dataclass(frozen=True)
class Function:
    """One function of a deployment or of a revision."""

    name: str  # users:list, or GET /stripe for an HTTP action
    type: str  # Query, Mutation, Action, HttpAction
    public: bool
    shape: str  # digest of what it takes and gives; empty: not known


@dataclass(frozen=True)
class Module:
    """A pushed file, known by the digest of its bundle."""

    path: str
    environment: str  # isolate, node
    sha256: str


@dataclass(frozen=True)
class Live:
    """The code that a deployment runs, as digests."""

    modules: tuple[Module, ...]
    server_version: str  # of the convex package that it was pushed with

    def runs(self, bundle: Iterable[Module]) -> bool:
        """Say whether every module of a bundle is live, and none besides."""
        wanted = {(one.path, one.sha256) for one in bundle}
        live = {(one.path, one.sha256) for one in self.modules}
        besides = {path for path, _ in live - wanted}
        return wanted <= live and not besides - _BESIDES


# Files with a meaning of their own, which some backends list beside the functions.
_BESIDES = frozenset({"schema.js", "auth.config.js", "convex.config.js"})


@dataclass(frozen=True)
class Table:
    """A table and how many documents it has."""

    name: str
    documents: int


@dataclass(frozen=True)
class Schema:
    """What the documents of each table must look like, and which indexes there are."""

    tables: tuple[tuple[str, str], ...]  # name and digest of its validator, by name
    validated: bool  # False: the schema is not enforced
    indexes: tuple[tuple[str, str], ...] | None = (
        None  # users.by_clerk and its fields; None: an old run did not say
    )

    @classmethod
    def of(cls, raw: Any) -> Self | None:
        """Read a schema, or the text of one; None where there is none."""
        shape = a_mapping(json.loads(raw)) if isinstance(raw, str) else a_mapping(raw)
        if not shape:
            return None
        found = [a_mapping(table) for table in a_list(shape.get("tables"))]
        named = {
            a_text(table.get("tableName")) or "": digest_of(table.get("documentType")) for table in found
        }
        indexes = sorted(one for table in found for one in _indexes(table))
        return cls(tuple(sorted(named.items())), shape.get("schemaValidation") is not False, tuple(indexes))


@dataclass(frozen=True)
class Cron:
    """A job that runs by the clock."""

    name: str
    function: str
    schedule: str  # every 3600 s, daily at 03:15 UTC, 0 4 * * *


@dataclass(frozen=True)
class Waiting:
    """A function that was scheduled and has not run yet."""

    function: str
    at: datetime | None
    running: bool  # it has begun


@dataclass(frozen=True)
class Scheduled:
    """The functions that wait, soonest first."""

    waiting: tuple[Waiting, ...]
    complete: bool  # False: there are more than were read


@dataclass(frozen=True)
class Called:
    """What came of calling a function: Convex answers 200 also where the function failed."""

    path: str
    ok: bool
    value: Any = field(default=None, repr=False)  # JSON; may be people's data
    error: str = (
        ""  # in the function's or Convex's own words; in production often no more than "Server Error"
    )
    data: Any = field(default=None, repr=False)  # what a ConvexError carries

    def lacks(self, fields: Iterable[str]) -> tuple[str, ...]:
        """Return which fields its value does not have; all of them where it is no object."""
        shape = a_mapping(self.value)
        return tuple(name for name in fields if name not in shape)

    def trouble(self, fields: Iterable[str]) -> str:
        """Say why it is not the answer that a test asks for: one that is not null and has these fields; empty: it is."""
        if not self.ok:
            return f"it failed: {self.error[:200]}"
        if self.value is None:
            return "null: nobody was found"
        lacking = self.lacks(fields)
        return f"an answer without {', '.join(lacking)}" if lacking else ""


def function_name(identifier: str) -> str:
    """Name a function as people call it: `users.js:list` is `users:list`, `crons.js:default` is `crons`."""
    module, colon, name = identifier.partition(":")
    module = module.removesuffix(".js")
    return module if name == "default" or not colon else f"{module}:{name}"


def functions_of(reply: Reply, value: Any) -> tuple[Function, ...]:
    """Read the list of a deployment's functions, by name.

    Raises:
        Unreachable: It is no list.
    """
    if not isinstance(value, list):
        raise unusable(reply, "a list of functions")
    return _by_name(_function(a_mapping(raw)) for raw in value)


def analysed_functions(modules: Any) -> tuple[Function, ...]:
    """Read the functions that Convex found in pushed modules (`analysis[""].functions`), by name."""
    found = []
    for path, raw in a_mapping(modules).items():
        module = a_mapping(raw)
        told = a_mapping(module.get("sourceMapped")) or module
        for one in map(a_mapping, a_list(told.get("functions"))):
            function = {"identifier": f"{path}:{one.get('name')}", "functionType": one.get("udfType")}
            function |= {"visibility": one.get("visibility") or {"kind": "public"}}
            function |= {name: _validator(one.get(name)) for name in ("args", "returns")}
            found.append(_function(function))
        routes = (a_mapping(a_mapping(one).get("route")) for one in a_list(told.get("httpRoutes")))
        found += [_function({"functionType": "HttpAction"} | dict(route)) for route in routes]
    return _by_name(found)


def schema_of(reply: Reply, value: Any) -> Schema | None:
    """Read the schema that is enforced now.

    Raises:
        Unreachable: It is not readable.
    """
    try:
        return Schema.of(a_mapping(value).get("active"))
    except ValueError as exc:
        raise unusable(reply, "a schema as JSON text") from exc


def same_schema(one: Schema | None, other: Schema | None) -> bool:
    """Say whether two ask the same of documents, and have the same indexes where those of both are known."""
    if one is None or other is None:
        return one is other
    if None in (one.indexes, other.indexes):
        one, other = replace(one, indexes=None), replace(other, indexes=None)
    return one == other


def crons_of(value: Any) -> tuple[Cron, ...]:
    """Read the crons, by name."""
    found = []
    for raw in map(a_mapping, a_list(value)):
        spec = a_mapping(raw.get("cronSpec"))
        named = function_name(a_text(spec.get("udfPath")) or "")
        found.append(
            Cron(a_text(raw.get("name")) or "", named, _schedule(a_mapping(spec.get("cronSchedule"))))
        )
    return tuple(sorted(found, key=lambda cron: cron.name))


def waiting_of(value: Any) -> tuple[Waiting, ...]:
    """Read one page of functions that wait."""
    found = map(a_mapping, a_list(value))
    return tuple(
        Waiting(
            function_name(a_text(raw.get("name")) or ""), ms_time(raw.get("at")), raw.get("running") is True
        )
        for raw in found
    )


def actor_of(raw: Shape) -> str:
    """Say who did it, as far as Convex tells."""
    actor = a_mapping(raw.get("actor"))
    kind = a_text(actor.get("kind")) or ""
    number = a_text(actor.get(f"{kind}_id")) or a_text(raw.get("member_id"))
    of = a_text(actor.get("member_id")) if kind == "token" else None
    named = f"{kind or 'member'} {number}" if number else kind or "unknown"
    return f"{named} of member {of}" if of else named


def _indexes(table: Shape) -> Iterator[tuple[str, str]]:
    """Read the indexes of a table; Convex adds the time of creation to the fields of each, which some lists say."""
    name = a_text(table.get("tableName")) or ""
    for kind, word, place in _INDEX_KINDS:
        for one in map(a_mapping, a_list(table.get(kind))):
            fields = [str(part) for part in a_list(one.get("fields")) if part != _CREATED]
            about = ", ".join(fields) or a_text(one.get(place)) or ""
            size = a_whole(one.get("dimensions"))
            filters = ", ".join(sorted(map(str, a_list(one.get("filterFields")))))
            told = (
                f"{word} {about}{f' ({size})' if size else ''}{f', filtered by {filters}' if filters else ''}"
            )
            yield f"{name}.{a_text(one.get('indexDescriptor')) or ''}", told


def _by_name(found: Iterable[Function]) -> tuple[Function, ...]:
    return tuple(sorted(found, key=lambda function: function.name))


def _function(raw: Shape) -> Function:
    if raw.get("functionType") == "HttpAction" and not raw.get("identifier"):
        named = f"{a_text(raw.get('method')) or '?'} {a_text(raw.get('path')) or '?'}"
        return Function(named, "HttpAction", public=True, shape="")
    return Function(
        name=function_name(a_text(raw.get("identifier")) or "unknown"),
        type=a_text(raw.get("functionType")) or "unknown",
        public=a_mapping(raw.get("visibility")).get("kind") == "public",
        shape=digest_of([raw.get("args") or _ANYTHING, raw.get("returns") or _ANYTHING]),
    )


def _validator(raw: Any) -> Any:
    """Read a validator that comes as text; what cannot be read counts as it is written."""
    if not isinstance(raw, str):
        return raw
    try:
        return json.loads(raw)
    except ValueError:
        return raw


def _schedule(raw: Shape) -> str:
    kind = a_text(raw.get("type")) or "unknown"
    numbers = {
        name: a_whole(raw.get(name)) or 0 for name in ("seconds", "minuteUTC", "hourUTC", "day", "dayOfWeek")
    }
    clock = f"{numbers['hourUTC']:02}:{numbers['minuteUTC']:02} UTC"
    told = {
        "interval": f"every {numbers['seconds']} s",
        "hourly": f"hourly at minute {numbers['minuteUTC']}",
        "daily": f"daily at {clock}",
        "weekly": f"weekly on day {numbers['dayOfWeek']} at {clock}",
        "monthly": f"monthly on day {numbers['day']} at {clock}",
        "cron": a_text(raw.get("cronExpr")) or "",
    }
    return told.get(kind) or kind


def _texts(values: Iterable[Any]) -> tuple[str, ...]:
    return tuple(sorted(text for text in values if isinstance(text, str)))
