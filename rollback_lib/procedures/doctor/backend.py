"""Convex: does the deploy key lead to the deployment, and is all there that a push of an earlier commit needs.

- An environment whose parameters describe no deployment has no procedure 2: that is said, and nothing else is looked at.
- Whether the key may push cannot be read: only a dry run tells.
- Nothing is installed here; packages that are not in the cache are a warning, because the night may have no network.
"""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from functools import partial

from rollback_lib.node import cache_folder, is_installed, node_version
from rollback_lib.parameters.platform import Query
from rollback_lib.procedures.convex_before import unknown_variables
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, not_checked, ok, unknown, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.providers.command_line import is_too_old, pinned_is_here
from rollback_lib.providers.convex_facts import NotAvailable
from rollback_lib.providers.convex_key import KEY_NAME
from rollback_lib.providers.repository import Commit

__all__ = ["checks"]

LOOK_BACK = timedelta(days=30)
LOG_PATIENCE_S = 2.0
_SUBJECT = "Convex"
_KEY = (
    f"Make a production deploy key (Convex dashboard, Settings, URL & Deploy Key) and set {KEY_NAME} to it."
)
_MAY = "Use a deploy key that may read it; the dashboard lists what a key may do."


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject; one alone where there is nothing to look at."""
    try:
        given = readings.platform.convex is not None
        key = readings.secrets.use().optional(KEY_NAME) is not None
    except NotKnown:
        return  # told by the checks of parameters and secrets
    if not given:
        yield Check(_SUBJECT, "deployment", no_backend)
        return
    if readings.given.environment == "drill" and not key:
        yield Check(_SUBJECT, "deployment", no_drill_backend)
        return
    yield Check(_SUBJECT, "deploy key", deploy_key, _KEY)
    yield Check(_SUBJECT, "leave to push", leave_to_push)
    yield Check(_SUBJECT, "state", state, _MAY)
    yield Check(_SUBJECT, "last push", last_push, _MAY)
    yield Check(_SUBJECT, "audit log", audit_log, _MAY)
    yield Check(_SUBJECT, "functions", functions, _MAY)
    yield Check(_SUBJECT, "function log", function_log, _MAY)
    yield Check(_SUBJECT, "app's repository", repository)
    yield Check(_SUBJECT, "variables", variables, _MAY)
    yield Check(_SUBJECT, "command line", command_line)
    yield Check(_SUBJECT, "canary", canary)
    for query in readings.convex_settings.queries:
        yield Check(_SUBJECT, f"query {query.path}", partial(query_works, query=query))


def no_backend(readings: Readings) -> Finding:
    """Say that there is no procedure 2 here."""
    return not_checked(
        f"{readings.given.environment}.yaml describes none (platform.convex): procedure 2 cannot be run here"
    )


def no_drill_backend(_: Readings) -> Finding:
    """Say that the simulated company is served without its backend."""
    return not_checked("the simulated company has no backend; it has one by: rollback simulator --backend")


def deploy_key(readings: Readings) -> Finding:
    """See that the key leads to the deployment of the parameters."""
    found = readings.backend.tell()
    told = f"leads to {found.name} ({found.type or 'type not told'}), {found.url}"
    if readings.given.environment == "production" and found.type not in ("prod", ""):
        return wrong(f"{told}: not a production deployment", _KEY)
    return ok(told)


def leave_to_push(_: Readings) -> Finding:
    """Say that it cannot be seen."""
    return not_checked("whether the key may push is told by the first dry run, and by nothing before it")


def state(readings: Readings) -> Finding:
    """See that functions are answered."""
    readings.backend.use()
    found = readings.convex.state()
    if found.running:
        return ok("running")
    return wrong(f"{found.name}: {found.why}; no function answers", "Resume it in the dashboard (Settings).")


def last_push(readings: Readings) -> Finding:
    """See what was pushed last, and that the repository has it."""
    found = readings.last_push.tell()
    if found is None:
        return wrong("nothing was ever pushed", "Correct platform.convex.deployment.")
    told = f"{found.at:%Y-%m-%d %H:%M} UTC by {found.actor}"
    if not found.message:
        return warning(
            f"{told}, without a message: which commit is live is a guess",
            "Let whatever pushes name the commit: npx convex deploy --message ...",
        )
    clone = readings.repository.use()
    commit = clone.mentioned(found.message) or clone.worded(found.message)
    if commit is None:
        return warning(
            f"{told}: {found.message!r} names no commit of the clone",
            "Fetch in the clone (git fetch); let whatever pushes name the commit.",
        )
    return ok(f"{told}: {commit.short} {commit.subject}")


def audit_log(readings: Readings) -> Finding:
    """See whether past pushes can be read where they are surest."""
    readings.backend.use()
    found = readings.convex.audit_log(readings.given.clock.now() - LOOK_BACK)
    if isinstance(found, NotAvailable) and found.days is not None:
        return ok(f"reaches back {found.days} days")
    if isinstance(found, NotAvailable):
        return warning(
            f"cannot be read: {found.reason}",
            "Know it: past pushes are then taken from Vercel's builds, and where those tell nothing a person names the commit.",
        )
    return ok(f"{sum(event.push for event in found.events)} pushes in {LOOK_BACK.days} days")


def functions(readings: Readings) -> Finding:
    """See that what is live can be read: it is what a push is proven by."""
    readings.backend.use()
    found = readings.convex.functions()
    return ok(f"{len(found)}") if found else wrong("none is live", "Look at the deployment in the dashboard.")


def function_log(readings: Readings) -> Finding:
    """See that the log of calls can be read; a silent one is not known to work."""
    readings.backend.use()
    now = readings.given.clock.now()
    seen = readings.convex.executions(
        now - timedelta(minutes=1), now + timedelta(seconds=LOG_PATIENCE_S), LOG_PATIENCE_S
    )
    if seen.calls:
        return ok(f"{seen.calls} calls seen")
    return unknown(
        f"no call within {LOG_PATIENCE_S:g} s: {seen.note}"
        if seen.note
        else f"no call within {LOG_PATIENCE_S:g} s",
        "Look again at a busier hour; in a quiet one a push could not be verified by its errors.",
    )


def repository(readings: Readings) -> Finding:
    """See that the clone from which is pushed is there, whole and of today."""
    found = readings.repository.tell()
    clone = found.state()
    if clone.shallow:
        return wrong(
            f"{clone.folder} is shallow: older commits are missing", "Fetch them: git fetch --unshallow."
        )
    head = _branch(readings)
    return ok(
        f"{clone.folder}; {readings.convex_settings.branch} is at {head.short} of {head.committed_at:%Y-%m-%d}"
    )


def variables(readings: Readings) -> Finding:
    """See that the variables can be read, and that what the branch's code reads is set."""
    readings.backend.use()
    known = set(readings.convex.variables())
    unset = sorted(set(readings.repository.use().variables(_branch(readings).sha)) - known)
    if unset:
        return warning(
            f"the code reads {', '.join(unset)}, not set",
            "Set them (npx convex env set --prod NAME), or see that none is needed.",
        )
    return ok(f"{len(known)}; all that the code reads are set")


def command_line(readings: Readings) -> Finding:
    """See that the branch's command line of Convex can be had without a network."""
    commit = _branch(readings)
    files = readings.repository.use().files(commit.sha)
    version = files.convex_version
    if not version:
        return wrong(
            f"{commit.short} has no package-lock.json that names convex: nothing can be pushed from it",
            "Commit the app's package-lock.json.",
        )
    told = f"convex {version} by Node {node_version()}"
    if not is_installed(files.lockfile_sha256, cache_folder(readings.given.environ)):
        return warning(
            f"{told}; its packages are not on this machine: a push needs npm's registry first",
            "Go through procedure 2 as far as its dry run once on a quiet day.",
        )
    if is_too_old(version) and not pinned_is_here(cache_folder(readings.given.environ)):
        return warning(
            f"{told} cannot say which commit a push is; the pinned one, which does, is not on this machine",
            "Go through procedure 2 as far as its dry run once on a quiet day.",
        )
    return ok(f"{told}; its packages are on this machine")


def canary(readings: Readings) -> Finding:
    """See that the plan's own query finds its user."""
    query = readings.convex_settings.canary
    if query is None:
        return warning(
            "no user is named: the plan's query stays unchecked after a push",
            "Set platform.convex.canary to a user who exists for such checks.",
        )
    return query_works(readings, query)


def query_works(readings: Readings, query: Query) -> Finding:
    """See that a query of the parameters answers as it has to after a push."""
    readings.backend.use()
    not_known = unknown_variables(readings.convex)  # what a function says may hold what one of them holds
    unsaid = "what it says is left out, for what the variables hold is not known" if not_known else ""
    called = readings.convex.query(query.path, query.args)
    if not called.ok:
        said = unsaid or called.error.partition("\n")[0]
        return unknown(
            f"{query.path} fails: {said}",
            "The backend is failing now: that is no reason why a rollback would not work. Look again once it is well.",
        )
    trouble = called.trouble(query.fields)
    if trouble:
        return wrong(
            f"{query.path}: {trouble}",
            "Correct the query in the parameters: as it is, a good push would look bad.",
        )
    return ok(f"{query.path} answers")


def _branch(readings: Readings) -> Commit:
    """Return the newest commit that production is built from."""
    return readings.repository.use().commit(readings.convex_settings.branch)
