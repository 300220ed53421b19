"""A project folder as operators have it, for the tests of the parameters."""

from __future__ import annotations

import functools
import shutil
import tempfile
from pathlib import Path
from typing import Any, Literal

import yaml

from rollback_lib.parameters import Resolved, RunParameters, resolve

ROOT = Path(__file__).parents[1]
FILES = ("plan.yaml", "drill.yaml", "staging.yaml", "production.yaml", "contacts.yaml")

PRODUCTION = {
    "team_id: CHANGE-ME": "team_id: team_real1",
    "https://CHANGE-ME.sentry.io": "https://us.sentry.io",
    "organization: CHANGE-ME": "organization: derrimut",
    "project: CHANGE-ME": "project: web",
    "incidents_channel: CHANGE-ME": "incidents_channel: C111",
    "engineering_channel: CHANGE-ME": "engineering_channel: C222",
    "version_path: CHANGE-ME": 'version_path: ""',
    "path: CHANGE-ME": "path: /page",
    "marker: CHANGE-ME": "marker: Welcome",
    "url: https://CHANGE-ME": "url: https://staging.derrimut247.com.au",
    "domain: CHANGE-ME": "domain: staging.derrimut247.com.au",
}


class VercelParameters(RunParameters):
    """As procedure 1 extends the parameters."""

    deployment: str = ""
    method: Literal["rollback", "promote"] = "rollback"


def project(folder: Path) -> Path:
    """Copy the committed parameter files, placeholders and all."""
    home = folder / "project"
    (home / "parameters").mkdir(parents=True)
    for name in FILES:
        shutil.copy(ROOT / "parameters" / name, home / "parameters" / name)
    return home


def configured(folder: Path) -> Path:
    """Make a project whose production and staging are filled in."""
    home = project(folder)
    for name, text in _filled_in().items():
        (home / "parameters" / name).write_text(text)
    return home


@functools.cache
def _filled_in() -> dict[str, str]:
    with tempfile.TemporaryDirectory() as folder:
        home = project(Path(folder))
        _fill_in(home)
        return {name: (home / "parameters" / name).read_text() for name in FILES}


def _fill_in(home: Path) -> None:
    for name in ("production.yaml", "staging.yaml"):
        for old, new in PRODUCTION.items():
            edit(home, name, old, new)
    contacts = yaml.safe_load((home / "parameters/contacts.yaml").read_text())
    for environment in ("production", "staging"):
        for at, (key, person) in enumerate(contacts[environment]["people"].items()):
            person |= {"name": key.title(), "slack": f"U{at}REAL", "phone": f"+61 3 9999 000{at}"}
            person["email"] = f"{key}@derrimut247.com.au"
    (home / "parameters/contacts.yaml").write_text(yaml.safe_dump(contacts))


def edit(home: Path, name: str, old: str, new: str) -> None:
    """Replace a text in a parameter file, wherever it stands."""
    path = home / "parameters" / name
    path.write_text(path.read_text().replace(old, new))


def line_number(home: Path, name: str, text: str) -> int:
    """Find the line (from 1) of a parameter file that holds a text."""
    lines = (home / "parameters" / name).read_text().splitlines()
    return next(at for at, line in enumerate(lines, 1) if text in line)


def as_injected(home: Path, environment: str) -> dict[str, Any]:
    """Return what papermill's -f puts into the namespace."""
    values: dict[str, Any] = yaml.safe_load((home / f"parameters/{environment}.yaml").read_text())
    return values


def opened(home: Path, namespace: dict[str, Any] | None = None, **more: Any) -> Resolved:
    """Resolve as procedure 1 does, with an empty process environment unless one is given."""
    return resolve(namespace or {}, VercelParameters, **({"cells": (), "home": home, "environ": {}} | more))


def snapshot(folder: Path) -> dict[str, bytes]:
    """Read every file under a folder, to see that a refusal left nothing behind."""
    return {str(path): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
