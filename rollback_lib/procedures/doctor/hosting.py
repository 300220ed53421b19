"""Vercel: does the token work, may its holder roll back, is the project ours, is there something to go back to.

- Whether a role is enough is Vercel's own rule: owners and members roll back; a developer or contributor may by a
  role in the project, which cannot be read, so that it stays unknown.
- The candidates are what procedure 1 would offer if the deployment that is live now were the bad one.
"""

from __future__ import annotations

from collections.abc import Iterator

from rollback_lib.procedures.candidates import Candidate, stable_candidates
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, not_checked, ok, unknown, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.providers.vercel import Deployment

__all__ = ["checks", "way_back"]

HOBBY = "hobby"
_ENOUGH = ("OWNER", "MEMBER")
_PERHAPS = ("DEVELOPER", "CONTRIBUTOR")
_NEW_TOKEN = "Make a new token of a member who may roll back, and put it where VERCEL_TOKEN comes from."  # noqa: S105 - advice
_TEAM = "Set platform.vercel.team_id to the team's id, and take the token of one of its members."


def checks(_: Readings) -> Iterator[Check]:
    """List the checks of this subject."""
    yield Check("Vercel", "token", token, _NEW_TOKEN)
    yield Check("Vercel", "role", role, _TEAM)
    yield Check(
        "Vercel",
        "project",
        project,
        "Correct platform.vercel.project (id or name) and platform.vercel.team_id.",
    )
    yield Check("Vercel", "domain", domain)
    yield Check("Vercel", "plan", plan)
    yield Check("Vercel", "production", production)
    yield Check("Vercel", "candidates", candidates)
    yield Check("Vercel", "candidate's preview", preview)


def token(readings: Readings) -> Finding:
    """See whose token it is."""
    account = readings.account.tell()
    return ok(f"works; it is {account.username or account.id}'s")


def role(readings: Readings) -> Finding:
    """See whether the token's holder may roll back."""
    readings.account.use()
    team = readings.clients.use().vercel.team()
    if team is None:
        return ok("personal account: its owner may roll back")
    if team.confirmed is False:
        return wrong(f"has not joined {team.name} yet", "Accept the invitation to the team.")
    if team.role in _ENOUGH:
        return ok(f"{team.role.lower()} of {team.name}")
    if team.role in _PERHAPS:
        return unknown(
            f"{team.role.lower()} of {team.name}: rolls back only with a role in the project, which cannot be read",
            "Ask an owner for the role of a member, or try it on staging.",
        )
    if not team.role:
        return unknown(f"in {team.name}; Vercel does not say as what", "Look in the team's member list.")
    return wrong(f"{team.role.lower()} of {team.name}: may not roll back", _NEW_TOKEN)


def project(readings: Readings) -> Finding:
    """See that the project is there."""
    found = readings.project.tell()
    return ok(f"{found.name} ({found.id})")


def domain(readings: Readings) -> Finding:
    """See that the domain whose alias tells what is live is one of the project's."""
    readings.project.use()
    wanted = readings.platform.app.domain
    found = readings.clients.use().vercel.domains()
    ours = next((one for one in found if one.host == wanted), None)
    known = ", ".join(one.host for one in found) or "none"
    if ours is None:
        return wrong(
            f"{wanted} is not among its production domains: {known}",
            "Correct platform.app.domain, or the project.",
        )
    if ours.verified is False:
        return wrong(f"{wanted} is not verified by Vercel", "Verify it in the project's domain settings.")
    if ours.redirect:
        return warning(
            f"{wanted} only leads on to {ours.redirect}",
            f"Set platform.app.domain to {ours.redirect}: its alias tells which deployment is live.",
        )
    return ok(f"{wanted}, one of {known}")


def plan(readings: Readings) -> Finding:
    """See which plan the account is on: it decides how far one can go back."""
    if readings.project.use().production_id is None:
        return unknown("the project names no production deployment", "Look at the project in the dashboard.")
    found = readings.vercel_plan.tell()
    if not found:
        return unknown("Vercel does not say", "Look at the team's billing settings.")
    if found == HOBBY:
        return warning(
            "hobby: Vercel goes back to the deployment right before the live one, no further",
            "Know it, or move the project to a paid plan.",
        )
    return ok(f"{found}: any earlier deployment that was in production")


def production(readings: Readings) -> Finding:
    """See what is live, and whether something holds it there."""
    found = readings.project.use()
    live = f"live: {found.production_id or 'unknown'}"
    if found.production_id is None:
        return unknown(live, "Look at the project in the dashboard.")
    if found.paused:
        return wrong(f"{live}; the project is PAUSED, nothing answers", "Unpause it in the dashboard.")
    if found.auto_assign is None:
        return unknown(
            f"{live}; Vercel does not say whether new builds go live", "Look at the project in the dashboard."
        )
    if found.auto_assign is False:
        return warning(
            f"{live}; pinned: new builds stay staged until one is promoted",
            "If no rollback is meant to hold, promote the newest good build.",
        )
    if found.rolling_release:
        return warning(f"{live}; a rolling release is under way", "A rollback would stop it.")
    return ok(f"{live}; new builds go live by themselves")


def candidates(readings: Readings) -> Finding:
    """See whether there is something to go back to, if what is live now were bad."""
    readings.deployments.tell()
    found = way_back(readings)
    if isinstance(found, Finding):
        return found
    return ok(f"{_reach(readings, len(found))} to go back to; the first is {_named(found[0].deployment)}")


def preview(readings: Readings) -> Finding:
    """See whether the first of them can be looked at before it is chosen."""
    found = way_back(readings)
    if isinstance(found, Finding):
        return not_checked("there is nothing to look at")
    deployment = found[0].deployment
    seen = readings.clients.use().app.health(deployment.url)
    if seen.protected:
        given = readings.secrets.use().usable().optional("VERCEL_AUTOMATION_BYPASS_SECRET") is not None
        return warning(
            f"{deployment.url} is closed {'although a' if given else 'and no'} bypass secret is given",
            "Set VERCEL_AUTOMATION_BYPASS_SECRET (project settings, Deployment Protection); else a person has to look.",
        )
    if not seen.ok:
        return warning(
            f"{deployment.url} answers {seen.status} at the health path",
            "Look at it: procedure 1 would pass it over, or ask you.",
        )
    return ok(f"{deployment.url} answers 200 at the health path")


def way_back(readings: Readings) -> tuple[Candidate, ...] | Finding:
    """List what procedure 1 could go back to if the live deployment were bad, or say why there is nothing."""
    project, deployments = readings.project.use(), readings.deployments.use()
    live = next((one for one in deployments if one.id == project.production_id), None)
    if live is None:
        return unknown(
            f"the live deployment {project.production_id} is not among the last {len(deployments)} of production",
            "Look at the deployments in the dashboard.",
        )
    found = stable_candidates(deployments, live, live.id, project)
    if not found:
        return wrong(
            f"nothing: of the last {len(deployments)} deployments none before {live.id} is ready, was in production and is eligible",
            "Only a new build would help: keep an older commit ready, and look at the deployment retention.",
        )
    return found


def _reach(readings: Readings, count: int) -> int:
    """Return how many of them Vercel lets one go back to."""
    try:
        return 1 if readings.vercel_plan.use() == HOBBY else count
    except NotKnown:
        return count


def _named(deployment: Deployment) -> str:
    return f"{deployment.id} of {deployment.created_at:%Y-%m-%d %H:%M} UTC"
