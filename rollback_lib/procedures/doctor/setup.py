"""The machine, the project's files, and the secrets: what can be seen without asking anybody.

- A secret's value is never shown, only where it comes from.
- A plan past its review date is a warning: it is followed all the same.
- Another version than the locked one is a warning: it works, perhaps, but nobody has tried it.
"""

from __future__ import annotations

import platform
import re
from collections.abc import Iterator
from functools import partial
from importlib import metadata
from pathlib import Path

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import refuse_webhook_elsewhere
from rollback_lib.parameters.secrets import secrets_file
from rollback_lib.procedures.doctor.checks import Check
from rollback_lib.procedures.doctor.finding import Finding, NotKnown, not_checked, ok, warning, wrong
from rollback_lib.procedures.doctor.readings import Readings
from rollback_lib.procedures.vercel_rollback import VercelRollback
from rollback_lib.store import SCHEME

__all__ = ["checks"]

DISTRIBUTION = "rollback-runbooks"
_PINNED = re.compile(r"^([A-Za-z0-9._-]+)==([^\s;\\]+)", re.MULTILINE)
_NAME = re.compile(r"[A-Za-z0-9._-]+")
_STORE_KEYS = ("STORE_ACCESS_KEY_ID", "STORE_SECRET_ACCESS_KEY")
_OPTIONAL = {
    "VERCEL_AUTOMATION_BYPASS_SECRET": ("bypass secret", "only protected previews need it"),
    "SLACK_WEBHOOK_URL": ("webhook", "a second way to post, for when the bot cannot"),
}


def checks(readings: Readings) -> Iterator[Check]:
    """List the checks of this subject."""
    yield Check("This machine", "Python and packages", packages)
    yield Check("Parameters", "plan.yaml", plan)
    yield Check("Parameters", "plan's review", review)
    yield Check("Parameters", f"{readings.given.environment}.yaml", parameters)
    yield Check("Parameters", "contacts.yaml", contacts)
    yield Check("Secrets", "file", file)
    for name in (*VercelRollback.needs, *_store_keys(readings)):
        yield Check("Secrets", name, partial(secret, name=name))
    for name, (title, _) in _OPTIONAL.items():
        yield Check("Secrets", title, partial(optional_secret, name=name))


def packages(readings: Readings) -> Finding:
    """Hold what is installed against the lock."""
    python = f"Python {platform.python_version()}"
    missing = [name for name in _direct() if _installed(name) is None]
    if missing:
        return wrong(
            f"{python}; not installed: {', '.join(missing)}", "Install the project: make drill does."
        )
    lock = readings.given.home / "requirements.lock"
    if not lock.is_file():
        return not_checked(f"{python}; there is no requirements.lock here to hold the packages against")
    locked = _locked(lock)
    others = [
        f"{name} {found} (locked {' or '.join(sorted(locked[name]))})"
        for name in sorted(locked)
        if (found := _installed(name)) is not None and found not in locked[name]
    ]
    if others:
        return warning(f"{python}; other than locked: {', '.join(others)}", "make clean, then make drill.")
    return ok(f"{python}; {len(locked)} packages, as locked")


def plan(readings: Readings) -> Finding:
    """Read the plan as a whole."""
    found = readings.plan.tell()
    return ok(f"version {found.version} of {found.last_updated}")


def review(readings: Readings) -> Finding:
    """See whether the plan's review is due."""
    due, today = readings.plan.use().next_review, readings.given.clock.now().date()
    if due < today:
        return warning(
            f"was due on {due}, {(today - due).days} days ago",
            "Review the plan with its owner, then set next_review in parameters/plan.yaml.",
        )
    return ok(f"next on {due}")


def parameters(readings: Readings) -> Finding:
    """Read where the platforms are and how long to wait."""
    found, _ = readings.places.tell()
    return ok(f"project {found.vercel.project}, app {found.app.url}")


def contacts(readings: Readings) -> Finding:
    """Read who is who."""
    found = readings.contacts.tell()
    return ok(f"{len(found.people)} people, {len(found.roles)} roles")


def file(readings: Readings) -> Finding:
    """See that the secrets file, where there is one, is its owner's alone."""
    given = readings.given
    path, _ = secrets_file(given.environment, given.home, given.environ)
    readings.secrets.tell()
    if not path.exists():
        return ok(f"none at {given.short(path)}: secrets can only come from environment variables")
    return ok(f"{given.short(path)}, mode {path.stat().st_mode & 0o777:04o}")


def secret(readings: Readings, name: str) -> Finding:
    """See whether a secret that is needed is there, and from where."""
    secrets = readings.secrets.use()
    if secrets.optional(name) is None:
        todo = f"Set {name}, or write it into {secrets.file_shown} (chmod 600)."
        return wrong("not given", readings.given.when_no_secret or todo)
    return ok(f"from {secrets.source(name)}")


def optional_secret(readings: Readings, name: str) -> Finding:
    """See whether a secret that helps is there; a webhook is not tried, because that would post."""
    secrets = readings.secrets.use()
    if secrets.optional(name) is None:
        return not_checked(f"{name} is not given: {_OPTIONAL[name][1]}")
    if name == "SLACK_WEBHOOK_URL":
        refuse_webhook_elsewhere(secrets, readings.given.environment)
        return not_checked(f"from {secrets.source(name)}; it cannot be tried without posting")
    return ok(f"from {secrets.source(name)}")


def _store_keys(readings: Readings) -> tuple[str, ...]:
    """Name the secrets of the state store, where it is one that needs them."""
    try:
        return _STORE_KEYS if readings.platform.state.startswith(SCHEME) else ()
    except NotKnown:
        return ()


def _direct() -> list[str]:
    """List what the project itself asks for."""
    try:
        asked = metadata.requires(DISTRIBUTION) or []
    except metadata.PackageNotFoundError as exc:
        raise BadParameters(
            f"{DISTRIBUTION} itself is not installed, it only runs from its folder.",
            "Nothing was sent.",
            "Install it: make drill does.",
        ) from exc
    return [found[0] for line in asked if "extra ==" not in line and (found := _NAME.match(line))]


def _installed(name: str) -> str | None:
    try:
        return metadata.version(name)
    except metadata.PackageNotFoundError:
        return None


def _locked(lock: Path) -> dict[str, set[str]]:
    """Read the lock: a package may have several versions in it, for several Pythons."""
    found: dict[str, set[str]] = {}
    for name, version in _PINNED.findall(lock.read_text(encoding="utf-8")):
        found.setdefault(name, set()).add(version)
    return found
