"""The platforms on loopback: one simulated company, with its own visitors, faults and account of it all.

- It shares no code with the clients that it stands in for, and listens on this machine only.
- A world is data (`WorldSpec`); serving it (`serve`) gives the addresses and credentials of the services.
- What really happened is told by the world (`World.outcome_view`, the ledger), never by a client.
"""

from __future__ import annotations

from rollback_lib.simulator.outcome import OutcomeView
from rollback_lib.simulator.remote import reset_running
from rollback_lib.simulator.server import DEFAULT_PORTS, Ports, Serving, serve, start
from rollback_lib.simulator.spec import (
    Broken,
    BrokenPage,
    Fault,
    Jobs,
    Persona,
    RollingRelease,
    Signer,
    TokenSpec,
    WorldSpec,
)
from rollback_lib.simulator.world import World

__all__ = [
    "DEFAULT_PORTS",
    "Broken",
    "BrokenPage",
    "Fault",
    "Jobs",
    "OutcomeView",
    "Persona",
    "Ports",
    "RollingRelease",
    "Serving",
    "Signer",
    "TokenSpec",
    "World",
    "WorldSpec",
    "reset_running",
    "serve",
    "start",
]
