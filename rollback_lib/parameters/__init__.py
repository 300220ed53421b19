"""What a run is told: notebook parameters, the environment's file, people and secrets.

- All of it is checked before the first request; a refusal leaves nothing behind.
- Precedence: injected (papermill, or the parameters cell) > `parameters/<environment>.yaml` > default.
- A drill talks to loopback only; every other environment talks https to other machines only.
- Outside drills an injected platform or policy must be the file's.
- Secrets come from the environment, a private file or a prompt, and appear nowhere else.
"""

from __future__ import annotations

from rollback_lib.parameters.contacts import Contacts, Person, load_contacts
from rollback_lib.parameters.home import project_home
from rollback_lib.parameters.layer import Layer, known_environment, open_contacts, open_places, read_layer
from rollback_lib.parameters.namespace import notebook_cells
from rollback_lib.parameters.phones import load_phones
from rollback_lib.parameters.platform import (
    App,
    Convex,
    Flows,
    Maintenance,
    Page,
    Platform,
    Query,
    Sentry,
    Slack,
    Tickets,
    Vercel,
)
from rollback_lib.parameters.policy import Policy
from rollback_lib.parameters.resolved import Resolved, refuse_webhook_elsewhere, resolve
from rollback_lib.parameters.run import ENVIRONMENTS, PROCEDURE_PARAMETERS, Id, RunParameters
from rollback_lib.parameters.secrets import SECRET_NAMES, Secrets

__all__ = [
    "ENVIRONMENTS",
    "PROCEDURE_PARAMETERS",
    "SECRET_NAMES",
    "App",
    "Contacts",
    "Convex",
    "Flows",
    "Id",
    "Layer",
    "Maintenance",
    "Page",
    "Person",
    "Platform",
    "Policy",
    "Query",
    "Resolved",
    "RunParameters",
    "Secrets",
    "Sentry",
    "Slack",
    "Tickets",
    "Vercel",
    "known_environment",
    "load_contacts",
    "load_phones",
    "notebook_cells",
    "open_contacts",
    "open_places",
    "project_home",
    "read_layer",
    "refuse_webhook_elsewhere",
    "resolve",
]
