"""Vercel: what is deployed, what serves, and moving production to another deployment.

- Every call names the team (`teamId`) when one is set; a personal account names none.
- Rollback and promote are accepted, not done, when they return: what became of the job, the project tells.
- A change is sent once; the reads to find out whether it happened are `project`, `alias` and `deployment`.
- A list is read to its end or up to the pages asked for, and never in a circle.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from rollback_lib.errors import BadParameters, NotApplied, OutcomeUnknown
from rollback_lib.http import Api, Heard, Reply, Rule, path_part
from rollback_lib.model import Answer, DeploymentId, Pass, ProjectId, RequestClass
from rollback_lib.providers.accounts import Account, Team
from rollback_lib.providers.deployments import AliasJob, AliasMove, Deployment, ProductionTarget, Project
from rollback_lib.providers.pages import pages
from rollback_lib.providers.settings import VercelSettings
from rollback_lib.providers.shapes import (
    Shape,
    a_mapping,
    a_text,
    a_whole,
    flag,
    items,
    mapping_of,
    ms_time,
    unusable,
)

__all__ = [
    "VERCEL_RULES",
    "Account",
    "AliasJob",
    "AliasMove",
    "BuildEvent",
    "Deployment",
    "Domain",
    "DomainAlias",
    "JobAccepted",
    "ProductionTarget",
    "Project",
    "Team",
    "VercelClient",
    "judge_vercel",
    "move_path",
]

PAGE_SIZE = 100
DESCRIPTION_LIMIT = 250  # characters

VERCEL_RULES = (
    Rule("GET", r"/v2/user", RequestClass.READ),
    Rule("GET", r"/v2/teams/[^/]+", RequestClass.READ),
    Rule("GET", r"/v6/deployments", RequestClass.READ),
    Rule("GET", r"/v13/deployments/[^/]+", RequestClass.READ),
    Rule("GET", r"/v2/deployments/[^/]+/aliases", RequestClass.READ),
    Rule("GET", r"/v3/deployments/[^/]+/events", RequestClass.READ),
    Rule("GET", r"/v4/aliases/[^/]+", RequestClass.READ),
    Rule("GET", r"/v9/projects/[^/]+", RequestClass.READ),
    Rule("GET", r"/v9/projects/[^/]+/domains", RequestClass.READ),
    Rule("GET", r"/v9/projects/[^/]+/rollback/aliases", RequestClass.READ),
    Rule("GET", r"/v1/projects/[^/]+/promote/aliases", RequestClass.READ),
    Rule("POST", r"/v1/projects/[^/]+/rollback/[^/]+", RequestClass.EFFECT),
    Rule("POST", r"/v10/projects/[^/]+/promote/[^/]+", RequestClass.EFFECT),
    Rule("PATCH", r"/v9/projects/[^/]+", RequestClass.EFFECT),
)

_DEPLOYMENT_ID = re.compile(r"dpl_[A-Za-z0-9_-]+")
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
_ASK_AGAIN = "Run the cell of procedure 1, step 4 again: it asks the platform first and sends nothing twice."
_EXPLAINED = frozenset({402, 404, 409, 410, 422})
_MAY_BE_PROMOTED_BEFORE = frozenset({409, 422})
_MEANING = {
    402: "The team's plan forbids it: a Hobby team can go back to the deployment right before the current one only.",
    404: "Vercel does not know this project or deployment in this team.",
    409: "Usually it is the current production deployment already, or another rollback or promotion is running.",
    410: "The deployment is gone: deleted, or past its retention.",
    422: "Usually it is the current production deployment already, or it is not eligible: not READY, not a "
    "production deployment, or it never served production.",
}
_NEXT = {
    402: "Begin a new run (new_run = True) and name in its parameter deployment the production deployment right before the current one; or build the old commit again (git revert).",
    404: "Look in the Vercel dashboard whether the deployment is still there, and check vercel.project and vercel.team_id; then begin a new run (new_run = True).",
    409: "Look in the Vercel dashboard which deployment is live and whether a rollback or promotion is running; when it is over, begin a new run (new_run = True): it looks at everything again.",
    410: "Begin a new run (new_run = True): it offers what is still there.",
    422: "Look in the Vercel dashboard which deployment is live. If it is not the wanted one, begin a new run (new_run = True) and name another in its parameter deployment.",
}
_PROMOTED_BEFORE = (
    " Or it was promoted before: Vercel may want a rollback to it instead.",
    ' Or set method = "rollback" there.',
)


def move_path(job: Literal["rollback", "promote"], project_id: str, deployment_id: str) -> str:
    """Return the path of the request that points production at a deployment."""
    version = "v1" if job == "rollback" else "v10"
    return f"/{version}/projects/{path_part(project_id)}/{job}/{path_part(deployment_id)}"


@dataclass(frozen=True)
class JobAccepted:
    """Vercel took the request; the domains move afterwards, or not."""

    type: Literal["rollback", "promote"]
    deployment_id: DeploymentId
    queued: bool  # behind a rolling release: nothing moves before that ends


@dataclass(frozen=True)
class DomainAlias:
    """What one host serves by its alias record."""

    host: str
    deployment_id: DeploymentId | None
    deployment_url: str
    project_id: ProjectId | None
    redirect: str  # the host that it redirects to; empty if it serves itself


@dataclass(frozen=True)
class Domain:
    """A domain of the project."""

    host: str
    redirect: str
    git_branch: str  # set: the domain follows a branch, not production
    verified: bool | None


@dataclass(frozen=True)
class BuildEvent:
    """A line of a deployment's build log."""

    type: str
    at: datetime | None
    level: str
    text: str


class VercelClient:
    """Reads and changes one project.

    Args:
        api: The door to Vercel, with `VERCEL_RULES`.
        settings: Team and project.
    """

    def __init__(self, api: Api, settings: VercelSettings) -> None:
        self._api, self._settings = api, settings
        self._known_id: ProjectId | None = None

    @property
    def heard(self) -> Heard | None:
        """Return Vercel's time beside ours, as its latest answer told it."""
        return self._api.heard

    # Reads

    def project(self) -> Project:
        """Read the project: what it serves, whether it is pinned, what the last alias job did.

        Raises:
            Unreachable: No usable answer.
        """
        path = f"/v9/projects/{path_part(self._settings.project)}"
        reply = self._api.read("GET", path, params=self._scoped(("rollbackInfo", "true")))
        project = Project.from_response(reply, mapping_of(reply))
        self._known_id = project.id
        return project

    def deployments(
        self,
        *,
        target: str = "production",
        since: datetime | None = None,
        until: datetime | None = None,
        state: str = "",
        limit: int = PAGE_SIZE,
        max_pages: int = 10,
    ) -> Iterator[Deployment]:
        """Yield the project's deployments, newest first, page by page as they are needed.

        Times compare with when a deployment was created, not with when it went live. Ends quietly after
        `max_pages`.

        Args:
            target: `production`, `preview` or a custom environment; empty for all.
            since: Created at or after; aware.
            until: Created before; aware.
            state: Comma-separated states, e.g. `READY`.
            limit: Deployments a page, at most 100.
            max_pages: Pages read at most.

        Raises:
            Unreachable: No usable answer, or a list that does not end.
        """
        given = (("target", target), ("since", _ms(since)), ("state", state), ("limit", str(limit)))
        asked = [("projectId", self._settings.project), *((name, text) for name, text in given if text)]

        def fetch(cursor: str) -> Reply:
            before = cursor or _ms(until)
            more = [("until", before)] if before else []
            return self._api.read("GET", "/v6/deployments", params=self._scoped(*asked, *more))

        seen: set[DeploymentId] = set()
        for reply in pages(fetch, _next, max_pages):
            for raw in items(reply, "deployments"):
                deployment = Deployment.from_response(reply, raw)
                # The next page begins at an instant: it may repeat the last deployment of the one before.
                if deployment.id not in seen:
                    seen.add(deployment.id)
                    yield deployment

    def deployment(self, id_or_host: str) -> Deployment:
        """Read one deployment by its id or its own host.

        Raises:
            BadParameters: Neither an id nor a host; nothing was sent.
            Unreachable: Unknown, or no usable answer.
        """
        path = f"/v13/deployments/{_id_or_host(id_or_host)}"
        reply = self._api.read("GET", path, params=self._scoped())
        return Deployment.from_response(reply, mapping_of(reply))

    def alias(self, host: str) -> DomainAlias | None:
        """Read which deployment a host serves by its alias record; None if it has none.

        Raises:
            Unreachable: No usable answer.
        """
        path = f"/v4/aliases/{path_part(host)}"
        reply = self._api.read("GET", path, params=self._scoped(), also=frozenset({404}))
        if not reply.success:
            return None
        raw = mapping_of(reply)
        inner = a_mapping(raw.get("deployment"))
        deployment = a_text(raw.get("deploymentId")) or a_text(inner.get("id"))
        project = a_text(raw.get("projectId"))
        return DomainAlias(
            host=a_text(raw.get("alias")) or host,
            deployment_id=DeploymentId(deployment) if deployment else None,
            deployment_url=a_text(inner.get("url")) or "",
            project_id=ProjectId(project) if project else None,
            redirect=a_text(raw.get("redirect")) or "",
        )

    def domains(self) -> tuple[Domain, ...]:
        """List the project's production domains.

        Raises:
            Unreachable: No usable answer.
        """
        path = f"/v9/projects/{path_part(self._settings.project)}/domains"
        asked = (("production", "true"), ("limit", str(PAGE_SIZE)))
        found = self._all(path, asked, "domains")
        return tuple(_domain(reply, raw) for reply, raw in found)

    def alias_moves(
        self, job: Literal["rollback", "promote"], *, failed_only: bool = False
    ) -> tuple[AliasMove, ...]:
        """List what the last job of a type did host by host; empty if Vercel does not say.

        Raises:
            Unreachable: No usable answer.
        """
        version = "v9" if job == "rollback" else "v1"
        path = f"/{version}/projects/{path_part(self._project_id())}/{job}/aliases"
        asked = (("failedOnly", "true" if failed_only else "false"), ("limit", "20"))
        return tuple(AliasMove.from_response(raw) for _, raw in self._all(path, asked, "aliases"))

    def deployment_aliases(self, id_or_host: str) -> tuple[str, ...]:
        """List the hosts that point at a deployment now.

        Raises:
            BadParameters: Neither an id nor a host; nothing was sent.
            Unreachable: No usable answer.
        """
        path = f"/v2/deployments/{_id_or_host(id_or_host)}/aliases"
        reply = self._api.read("GET", path, params=self._scoped())
        hosts = (a_text(raw.get("alias")) for raw in items(reply, "aliases"))
        return tuple(host for host in hosts if host)

    def build_log(self, id_or_host: str, limit: int = 100) -> tuple[BuildEvent, ...]:
        """Read the first lines of a deployment's build log.

        Raises:
            BadParameters: Neither an id nor a host; nothing was sent.
            Unreachable: No usable answer.
        """
        path = f"/v3/deployments/{_id_or_host(id_or_host)}/events"
        asked = (("builds", "1"), ("follow", "0"), ("limit", str(limit)), ("direction", "forward"))
        reply = self._api.read("GET", path, params=self._scoped(*asked))
        return tuple(_event(raw) for raw in items(reply, "events"))

    def whoami(self) -> Account:
        """Read whose token it is.

        Raises:
            Unreachable: No usable answer, or a token that is not accepted.
        """
        reply = self._api.read("GET", "/v2/user", params=self._scoped())
        return Account.from_response(reply, mapping_of(reply))

    def team(self) -> Team | None:
        """Read the team and the token holder's place in it; None for a personal account, which nothing is asked of.

        Raises:
            ReadRefused: No such team, or not one of the token's.
            Unreachable: No usable answer.
        """
        if not self._settings.team_id:
            return None
        path = f"/v2/teams/{path_part(self._settings.team_id)}"
        reply = self._api.read("GET", path, params=self._scoped())
        return Team.from_response(reply, mapping_of(reply))

    # Changes

    def rollback(self, deployment_id: DeploymentId, permit: Pass, description: str) -> JobAccepted:
        """Point production back at an earlier deployment, without rebuilding it; pins production there.

        Returns as soon as Vercel accepts: the domains have not necessarily moved. Ask `project()`.

        Args:
            deployment_id: A production deployment in state READY that once served production.
            permit: From the open gate; without it nothing is sent.
            description: The reason, kept by Vercel; cut at 250 characters.

        Raises:
            BadParameters: No deployment id; nothing was sent.
            Unreachable: No connection, or the project's id could not be read; the request did not leave.
            NotApplied: Refused; production was not moved by it.
            OutcomeUnknown: No clear answer; production may have moved. Not sent again here.

        Plan: Procedure 1, step 4.
        """
        reason = " ".join(description.split())[:DESCRIPTION_LIMIT]
        asked = [("description", reason)] if reason else []
        target = _deployment_id(deployment_id)
        self._move(move_path("rollback", self._project_id(), target), asked, permit)
        return JobAccepted("rollback", deployment_id, queued=False)

    def promote(self, deployment_id: DeploymentId, permit: Pass) -> JobAccepted:
        """Point production at a deployment, without rebuilding it; ends a pin.

        Returns as soon as Vercel accepts: the domains have not necessarily moved. Ask `project()`.

        Args:
            deployment_id: A production deployment in state READY.
            permit: From the open gate; without it nothing is sent.

        Raises:
            BadParameters: No deployment id; nothing was sent.
            Unreachable: No connection, or the project's id could not be read; the request did not leave.
            NotApplied: Refused; production was not moved by it.
            OutcomeUnknown: No clear answer; production may have moved. Not sent again here.

        Plan: Procedure 1, step 4.
        """
        target = _deployment_id(deployment_id)
        reply = self._move(move_path("promote", self._project_id(), target), [], permit)
        return JobAccepted("promote", deployment_id, queued=reply.status == 202)  # noqa: PLR2004 - Accepted

    def set_auto_assign(self, wanted: bool, permit: Pass) -> bool | None:
        """Switch whether new production builds take the domains; moves no traffic.

        Args:
            wanted: True lets the next production build go live by itself.
            permit: From the open gate; without it nothing is sent.

        Returns:
            What Vercel says it is now; None if it does not say.

        Raises:
            Unreachable: No connection; the request did not leave.
            NotApplied: Refused; unchanged.
            OutcomeUnknown: No clear answer; read `project().auto_assign`.
        """
        reply = self._api.change(
            "PATCH",
            f"/v9/projects/{path_part(self._settings.project)}",
            permit=permit,
            params=self._scoped(),
            json={"autoAssignCustomDomains": wanted},
            if_unanswered="Run the cell again: it reads the project's setting first.",
        )
        return flag(a_mapping(reply.json).get("autoAssignCustomDomains"))

    # Below the surface

    def _scoped(self, *params: tuple[str, str]) -> list[tuple[str, str]]:
        team = self._settings.team_id
        return [*params, ("teamId", team)] if team else list(params)

    def _project_id(self) -> str:
        """Return the project's id for a path: what has to do with rollback and promote does not take its name."""
        if self._settings.project.startswith("prj_"):
            return self._settings.project
        return self._known_id if self._known_id is not None else self.project().id

    def _all(self, path: str, asked: tuple[tuple[str, str], ...], name: str) -> Iterator[tuple[Reply, Shape]]:
        """Yield the items of all pages; an empty object is an empty list."""

        def fetch(cursor: str) -> Reply:
            more = [("until", cursor)] if cursor else []
            return self._api.read("GET", path, params=self._scoped(*asked, *more))

        for reply in pages(fetch, _next):
            if reply.json != {}:
                yield from ((reply, raw) for raw in items(reply, name))

    def _move(self, path: str, asked: list[tuple[str, str]], permit: Pass) -> Reply:
        reply = self._api.change(
            "POST",
            path,
            permit=permit,
            params=self._scoped(*asked),
            json={},
            also=_EXPLAINED,
            if_unanswered=_ASK_AGAIN,
        )
        if reply.success and judge_vercel(reply) is None:
            return reply
        if reply.success:
            raise OutcomeUnknown(
                f"{reply.source} answered {reply.status}, but with {reply.words}: something else than Vercel has answered.",
                "Unknown: production may or may not be moving.",
                _ASK_AGAIN,
            )
        again = "/promote/" in path and reply.status in _MAY_BE_PROMOTED_BEFORE
        more, instead = _PROMOTED_BEFORE if again else ("", "")
        raise NotApplied(
            f"{reply.source} answered {reply.status}: {reply.words}. {_MEANING[reply.status]}{more}",
            "Vercel refused it: production was not moved by this request.",
            _NEXT[reply.status] + instead,
        )


def judge_vercel(reply: Reply) -> Answer | None:
    """Say what a 2xx reply to a change means: a web page comes from something in between, and tells nothing."""
    return Answer("unclear", reply.status, reply.words) if reply.text.lstrip()[:1] == "<" else None


def _deployment_id(text: str) -> str:
    if _DEPLOYMENT_ID.fullmatch(text):
        return text
    raise BadParameters(
        f"{text!r} is not the id of a deployment: expected dpl_ and letters or digits.",
        "Nothing was sent.",
        "Give the deployment's id as Vercel shows it (dpl_...), not its address or its commit.",
    )


def _id_or_host(text: str) -> str:
    if _DEPLOYMENT_ID.fullmatch(text) or _HOST.fullmatch(text):
        return path_part(text)
    raise BadParameters(
        f"{text!r} is neither the id of a deployment nor a host: expected dpl_... or name.vercel.app without https://.",
        "Nothing was sent.",
        "Give the deployment's id as Vercel shows it.",
    )


def _ms(instant: datetime | None) -> str:
    return "" if instant is None else str(round(instant.timestamp() * 1000))


def _next(reply: Reply) -> str:
    following = a_whole(a_mapping(a_mapping(reply.json).get("pagination")).get("next"))
    return str(following) if following else ""


def _domain(reply: Reply, raw: Shape) -> Domain:
    host = a_text(raw.get("name")) or a_text(raw.get("domain"))
    if not host:
        raise unusable(reply, "domains with a name")
    return Domain(
        host, a_text(raw.get("redirect")) or "", a_text(raw.get("gitBranch")) or "", flag(raw.get("verified"))
    )


def _event(raw: Shape) -> BuildEvent:
    inner: Any = a_mapping(raw.get("payload"))  # older versions of the endpoint put the text one level down
    text = a_text(raw.get("text")) or a_text(inner.get("text")) or ""
    at = ms_time(raw.get("created")) or ms_time(raw.get("date")) or ms_time(inner.get("date"))
    return BuildEvent(a_text(raw.get("type")) or "unknown", at, a_text(raw.get("level")) or "", text)
