"""The platforms, one typed client each; their JSON ends here."""

from __future__ import annotations

from rollback_lib.providers.clients import Clients, connect

__all__ = ["Clients", "connect"]
