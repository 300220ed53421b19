"""Convex: which deployment it is, what runs on it, who pushed what, and whether its functions answer.

- Nothing here changes anything: reads of Convex are POSTs too, so each is listed by path and verb. Code is pushed by
  the official command line alone (`convex_cli`).
- A key for another deployment is found out from its own words before anything is sent, and from Convex's before
  anything is pushed.
- The values of environment variables are taught to the redactor and let go of; only names are returned.
- 200 is no success: a function's failure comes with it (`Called.ok`).
- Reads of Convex's own tables (`_system/...`) answer while the deployment is paused; the app's functions do not.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rollback_lib.clock import Clock
from rollback_lib.errors import BadParameters, ReadRefused
from rollback_lib.http import Api, Heard, Reply, Rule
from rollback_lib.model import Redactor, RequestClass
from rollback_lib.providers.convex_facts import (
    Audit,
    AuditEvent,
    BackendState,
    Called,
    Cron,
    DeploymentIdentity,
    Function,
    Live,
    Module,
    NotAvailable,
    Scheduled,
    Schema,
    Table,
    Waiting,
    crons_of,
    functions_of,
    schema_of,
    waiting_of,
)
from rollback_lib.providers.convex_key import Credential, DeployKey
from rollback_lib.providers.convex_logs import Executions, LogReader
from rollback_lib.providers.pages import pages
from rollback_lib.providers.revealing import revealing
from rollback_lib.providers.settings import ConvexSettings
from rollback_lib.providers.shapes import (
    a_mapping,
    a_text,
    a_whole,
    items,
    mapping_of,
    needed,
    unusable,
)

__all__ = [
    "CLIENT_HEADER",
    "CONTROL_RULES",
    "CONVEX_RULES",
    "ConvexClient",
    "Doors",
]

CONVEX_RULES = (
    Rule("GET", r"/api/v1/(deployment_info|get_canonical_urls)", RequestClass.READ),
    Rule("GET", r"/api/v1/(list_audit_log_events|list_environment_variables)", RequestClass.READ),
    Rule("GET", r"/api/stream_function_logs", RequestClass.READ),
    Rule("POST", r"/api/query", RequestClass.READ),
    Rule("POST", r"/api/run_test_function", RequestClass.READ),  # a query that Convex keeps from writing
    Rule("POST", r"/api/get_config_hashes", RequestClass.READ),
)
CONTROL_RULES = (Rule("POST", r"/api/deployment/(url_for_key|team_and_project_for_key)", RequestClass.READ),)
CLIENT_HEADER = (
    "convex-client",
    "npm-cli-1.48.0",
)  # known to Convex; the log then comes with structured lines

PAGE_SIZE = 100
TABLES_A_PAGE = 1000
WAITING_A_PAGE = 500
MOST_WAITING_PAGES = 20
_UNKNOWN = "Could not find"  # how a query that this backend does not have is refused
_FORBIDDEN = "permission"
_LIMITED_LOGS = frozenset({"AuditLogsDisabled", "AuditLogsTooOld"})
_DAYS = re.compile(r"last (\d+) days?")
_REQUEST_ID = re.compile(r"\[Request ID: [^\]]*\]\s*")
_UNTOUCHED = "Nothing was changed by this request."

# Waiting functions page by page; the cursor stands where CURSOR is. No arguments: they are people's data.
_WAITING = """import { query } from "convex:/_system/repl/wrappers.js";
export default query({
  handler: async (ctx) => {
    const found = await ctx.db.system.query("_scheduled_functions").order("desc")
      .paginate({ cursor: CURSOR, numItems: COUNT });
    const waiting = found.page
      .filter((job) => job.state.kind === "pending" || job.state.kind === "inProgress")
      .map((job) => ({ name: job.name, at: job.scheduledTime, running: job.state.kind === "inProgress" }));
    return { waiting, isDone: found.isDone, cursor: found.continueCursor };
  },
});
"""


@dataclass(frozen=True)
class Doors:
    """The ways to Convex; each has its own rules and limits."""

    deployment: Api
    logs: Api  # the deployment too, asked once and for as long as a long poll takes
    control: Api  # where a key is asked about


class ConvexClient:
    """Reads one deployment.

    Args:
        doors: To the deployment and to the control plane.
        settings: Which deployment it must be.
        credential: Its deploy key; without one each read is refused by Convex.
        redactor: Learns what environment variables hold.
        clock: For deadlines of the log.
    """

    def __init__(
        self,
        doors: Doors,
        settings: ConvexSettings,
        credential: Credential,
        redactor: Redactor,
        clock: Clock,
    ) -> None:
        self._api, self._doors, self._settings = doors.deployment, doors, settings
        self._credential, self._redactor, self._clock = credential, redactor, clock

    @property
    def heard(self) -> Heard | None:
        """Return Convex's time beside ours, as its latest answer told it."""
        return self._api.heard

    # Which deployment

    def identity(self) -> DeploymentIdentity:
        """Make sure that the key leads to the deployment of the parameters, and read what it is.

        Raises:
            BadParameters: No key, or it is for another deployment, or the address is not the deployment's. Nothing
                was changed, and nothing but the key's own address was asked for.
            Unreachable: No usable answer.
        """
        key = self.require_key()
        address = self._address_of(key)
        if _bare(address) != _bare(self._settings.url):
            raise BadParameters(
                f"The deploy key of {key.deployment} leads to {address}, expected {self._settings.url} (convex.url).",
                "Nothing was changed; the deployment was not asked anything.",
                "Set convex.url to the address that Convex gives for this key, if that is the right deployment.",
            )
        info = mapping_of(self._api.read("GET", "/api/v1/deployment_info"))
        urls = mapping_of(self._api.read("GET", "/api/v1/get_canonical_urls"))
        return DeploymentIdentity(
            name=key.deployment,
            kind=a_text(info.get("kind")) or "unknown",
            type=a_text(info.get("deploymentType")) or "",
            id=a_whole(info.get("id")),
            project=a_text(info.get("projectSlug")) or a_text(info.get("projectName")) or "",
            url=a_text(urls.get("convexCloudUrl")) or address,
            site_url=a_text(urls.get("convexSiteUrl")) or "",
        )

    def require_key(self) -> DeployKey:
        """Return the key, if it says it is for the deployment of the parameters. Sends nothing.

        Raises:
            BadParameters: It is not there, or says something else.
        """
        return self._credential.key(self._settings.deployment)

    def state(self) -> BackendState:
        """Read whether the deployment answers functions.

        Raises:
            ReadRefused: The key may not read it.
            Unreachable: No usable answer.
        """
        reply, value = self._system("_system/frontend/backendState:backendState", {})
        told = a_mapping(value)
        system, user = a_text(told.get("system")) or "none", a_text(told.get("user")) or "none"
        limit = a_text(told.get("usage_limit")) or "none"
        if not told:
            raise unusable(reply, "the state of the deployment")
        if system != "none":
            return BackendState(system, f"{system} by Convex")
        if limit != "none":
            return BackendState("disabled", f"over a limit of its plan: {limit}")
        return BackendState(user, "paused by a person") if user != "none" else BackendState("running", "")

    # Who pushed what

    def last_push(self) -> AuditEvent | None:
        """Read the newest push; None before the first one. Told on every plan.

        Raises:
            ReadRefused: The key may not read it.
            Unreachable: No usable answer.
        """
        reply, value = self._system("_system/frontend/deploymentEvents:lastPushEvent", {})
        return AuditEvent.of(reply, a_mapping(value)) if value is not None else None

    def audit_log(self, since: datetime) -> Audit | NotAvailable:
        """Read the whole audit log since an instant, oldest first.

        Args:
            since: Aware.

        Returns:
            `NotAvailable` where the plan has none, it does not reach back so far, or the key may not read it.

        Raises:
            ReadRefused: Refused for another reason.
            Unreachable: No usable answer, or more than 50 pages: an incomplete log is never passed off as the whole.
        """
        begin = str(round(since.timestamp() * 1000))

        def fetch(cursor: str) -> Reply:
            more = [("cursor", cursor)] if cursor else []
            asked = [("from", begin), ("limit", str(PAGE_SIZE)), *more]
            path = "/api/v1/list_audit_log_events"
            return self._api.read("GET", path, params=asked, also=frozenset({403}))

        events: list[AuditEvent] = []
        for reply in pages(fetch, _next_page):
            if not reply.success:
                return self._not_available(reply)
            events += [AuditEvent.of(reply, raw) for raw in items(reply, "items")]
        return Audit(since, tuple(events))

    def _not_available(self, reply: Reply) -> NotAvailable:
        body = a_mapping(reply.json)
        code, words = a_text(body.get("code")) or "", a_text(body.get("message")) or reply.words
        days = _DAYS.search(words)
        if code in _LIMITED_LOGS:
            return NotAvailable(code, words, int(days[1]) if days is not None else None)
        if _FORBIDDEN in words:
            return NotAvailable(code or "Forbidden", words)
        raise self._refused(reply.source, f"answered {reply.status}: {words}")

    # What runs

    def functions(self) -> tuple[Function, ...]:
        """List the functions that are live, by name.

        Raises:
            ReadRefused: The key may not read them.
            Unreachable: No usable answer.
        """
        return functions_of(*self._system("_system/cli/modules:apiSpec", {}))

    def live(self) -> Live:
        """Read the digests of all modules that are live.

        Raises:
            ReadRefused: The key may not read them.
            Unreachable: No usable answer.
        """
        body = {"version": CLIENT_HEADER[1].rpartition("-")[2], "adminKey": self._admin()}
        reply = self._api.read("POST", "/api/get_config_hashes", json=body)
        modules = [
            Module(
                needed(reply, raw, "path"),
                a_text(raw.get("environment")) or "isolate",
                needed(reply, raw, "hash"),
            )
            for raw in items(reply, "moduleHashes")
        ]
        version = a_text(mapping_of(reply).get("udfServerVersion")) or ""
        return Live(tuple(sorted(modules, key=lambda module: module.path)), version)

    def schema(self) -> Schema | None:
        """Read the schema that is enforced; None where there is none.

        Raises:
            ReadRefused: The key may not read it, or this backend does not tell it.
            Unreachable: No usable answer.
        """
        return schema_of(*self._system("_system/frontend/getSchemas:default", {}))

    def tables(self) -> tuple[Table, ...]:
        """List the tables and how many documents each has, by name.

        Raises:
            ReadRefused: The key may not read them.
            Unreachable: No usable answer.
        """
        return tuple(Table(name, self._documents(name)) for name in sorted(self._table_names()))

    def crons(self) -> tuple[Cron, ...]:
        """List the jobs that run by the clock, by name.

        Raises:
            ReadRefused: The key may not read them, or this backend does not tell them.
            Unreachable: No usable answer.
        """
        reply, value = self._system("_system/frontend/listCronJobs:default", {})
        if not isinstance(value, list):
            raise unusable(reply, "a list of crons")
        return crons_of(value)

    def scheduled(self) -> Scheduled:
        """List the functions that wait to be run, soonest first; they outlive every push.

        Raises:
            ReadRefused: The key may not run queries of its own.
            Unreachable: No usable answer.
        """
        found: list[Waiting] = []
        cursor: str | None = None
        for _ in range(MOST_WAITING_PAGES):
            source = _WAITING.replace("CURSOR", json.dumps(cursor)).replace("COUNT", str(WAITING_A_PAGE))
            page = a_mapping(self._inline(source))
            found += waiting_of(page.get("waiting"))
            cursor = a_text(page.get("cursor"))
            if page.get("isDone") is not False or not cursor:
                return Scheduled(_soonest(found), complete=True)
        return Scheduled(_soonest(found), complete=False)

    def variables(self) -> tuple[str, ...]:
        """List the names of the environment variables; their values are taught to the redactor and let go of.

        Raises:
            ReadRefused: The key may not read them.
            Unreachable: No usable answer.
        """
        reply = self._api.read("GET", "/api/v1/list_environment_variables")
        found = mapping_of(reply).get("environmentVariables")
        if not isinstance(found, dict):
            raise unusable(reply, "an object 'environmentVariables'")
        self._redactor.learn(revealing(value for value in found.values() if isinstance(value, str)))
        return tuple(sorted(map(str, found)))

    # Whether functions answer

    def query(self, path: str, args: Mapping[str, Any]) -> Called:
        """Call a query as the runbook's tests do; a function that fails is an answer, not an error.

        Args:
            path: `users:getUserByClerkId`; internal ones too.
            args: Its arguments, as JSON.

        Raises:
            ReadRefused: The key is not accepted.
            Unreachable: No usable answer.
        """
        body = {"path": path, "args": dict(args), "format": "json"}
        # 560 carries what a function's failure is otherwise said with at 200.
        return _called(path, self._api.read("POST", "/api/query", json=body, also=frozenset({560})))

    def executions(self, start: datetime, end: datetime, deadline_s: float) -> Executions:
        """Read how many function calls that began and ended in a window failed.

        Args:
            start: Aware.
            end: Aware; may lie ahead, it is then waited for.
            deadline_s: For how long to read at most. The log is one of the future: it is waited for.

        Raises:
            ReadRefused: The key may not read the log.
        """

        def poll(cursor: str, timeout_s: float) -> Reply:
            path, asked = "/api/stream_function_logs", [("cursor", cursor)]
            return self._doors.logs.read("GET", path, params=asked, timeout_s=timeout_s)

        return LogReader(poll, self._clock, start, end).read(deadline_s)

    # Below

    def _address_of(self, key: DeployKey) -> str:
        """Ask where a key leads: a deployment may have a domain of its own."""
        asked = {"deployKey": key.whole.get_secret_value()}
        reply = self._doors.control.read("POST", "/api/deployment/url_for_key", json=asked)
        try:
            address = json.loads(reply.text)  # a text alone, which is no object
        except ValueError:
            address = None
        if not isinstance(address, str) or "://" not in address:
            raise unusable(reply, "an address as JSON text")
        return address

    def _system(self, path: str, args: Mapping[str, Any]) -> tuple[Reply, Any]:
        """Ask one of Convex's own queries; return its answer and the value in it."""
        body = {"path": path, "args": dict(args), "format": "json"}
        reply = self._api.read("POST", "/api/query", json=body)
        called = _called(path, reply)
        if called.ok:
            return reply, called.value
        raise self._refused(f"{reply.source} ({path})", called.error)

    def _inline(self, source: str) -> Any:
        """Run a query of our own, which Convex keeps from writing."""
        bundle = {"path": "testQuery.js", "source": source}
        body = {"adminKey": self._admin(), "args": {}, "bundle": bundle, "format": "convex_encoded_json"}
        reply = self._api.read("POST", "/api/run_test_function", json=body)
        called = _called("an inline query", reply)
        if called.ok:
            return called.value
        raise self._refused(reply.source, called.error)

    def _refused(self, source: str, words: str) -> ReadRefused:
        known = "This deployment's backend does not tell it." if words.startswith(_UNKNOWN) else ""
        advice = (
            known
            or f"Check what the deploy key from {self._credential.source} may do: Convex names the permission it lacks."
        )
        return ReadRefused(f"{source}: {words.rstrip('.')}.", _UNTOUCHED, advice)

    def _admin(self) -> str:
        key = self._credential.presentable
        return key.whole.get_secret_value() if key is not None else ""

    def _table_names(self) -> Iterator[str]:
        cursor: str | None = None
        for _ in range(MOST_WAITING_PAGES):
            asked = {"paginationOpts": {"cursor": cursor, "numItems": TABLES_A_PAGE}}
            reply, value = self._system("_system/cli/tables:default", asked)
            page = a_mapping(value)
            if not isinstance(page.get("page"), list):
                raise unusable(reply, "a page of tables")
            named = (a_text(a_mapping(raw).get("name")) for raw in page["page"])
            yield from (name for name in named if name and not name.startswith("_"))
            cursor = a_text(page.get("continueCursor"))
            if page.get("isDone") is not False or not cursor:
                return

    def _documents(self, table: str) -> int:
        reply, value = self._system("_system/cli/tableSize:default", {"tableName": table})
        count = a_whole(value)
        if count is None:
            raise unusable(reply, "a number of documents")
        return count


def _called(path: str, reply: Reply) -> Called:
    body = mapping_of(reply)
    if body.get("status") == "success":
        return Called(path, ok=True, value=body.get("value"))
    if body.get("status") != "error":
        raise unusable(reply, "a field 'status' that says success or error")
    words = _REQUEST_ID.sub("", a_text(body.get("errorMessage")) or "no text").strip()
    return Called(path, ok=False, error=words, data=body.get("errorData"))


def _next_page(reply: Reply) -> str:
    told = a_mapping(a_mapping(reply.json).get("pagination"))
    following = a_text(told.get("nextCursor"))
    return following if following and told.get("hasMore") is not False else ""


def _soonest(found: list[Waiting]) -> tuple[Waiting, ...]:
    return tuple(sorted(found, key=lambda one: (one.at is None, one.at, one.function)))


def _bare(address: str) -> str:
    return address.rstrip("/").lower()
