"""What each client needs to know of the parameters: no more than these names.

The models in `parameters` have them; so may anything else that a client is given.
"""

from __future__ import annotations

from typing import Protocol

__all__ = ["AppSettings", "ConvexSettings", "SentrySettings", "VercelSettings"]


class VercelSettings(Protocol):
    """Which project, in which team."""

    @property
    def team_id(self) -> str:
        """Return the team's id; empty for a personal account."""

    @property
    def project(self) -> str:
        """Return the project's id or name."""


class ConvexSettings(Protocol):
    """Which deployment, and where it answers."""

    @property
    def url(self) -> str:
        """Return the deployment's address."""

    @property
    def deployment(self) -> str:
        """Return its name, as it stands in its deploy keys."""


class SentrySettings(Protocol):
    """Which project, seen from where, by which measure."""

    @property
    def organization(self) -> str:
        """Return the organization's slug or id."""

    @property
    def project(self) -> str:
        """Return the project's id or slug."""

    @property
    def environment(self) -> str:
        """Return the environment, e.g. production."""

    @property
    def error_metric(self) -> str:
        """Return the field that is the error rate, e.g. http_response_rate(5)."""


class AppSettings(Protocol):
    """Where the app answers."""

    @property
    def url(self) -> str:
        """Return its public address; a path prefix is kept."""

    @property
    def preview_suffix(self) -> str:
        """Return how the host of a deployment of ours ends; no other host is shown the bypass secret."""

    @property
    def preview(self) -> str:
        """Return the template of a deployment's own address, with {url} for its host."""

    @property
    def health_path(self) -> str:
        """Return the path of the health endpoint."""

    @property
    def version_path(self) -> str:
        """Return the path that tells which build answers; empty if there is none."""
