"""What the doctor's checks share: the project's files, the clients, and what each platform answered.

- Each is read once, whoever asks first; its failure is told by one check and named by the others.
- Nothing here changes anything; the clients are made of the run's own, with less patience: a quiet day's answer that
  takes longer would not help on the night.
- A secret that cannot be one counts as not given, so that it hides nothing but its own platform.
"""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from rollback_lib.clock import Clock
from rollback_lib.consent.signatures import Signers, read_signers
from rollback_lib.errors import BadParameters
from rollback_lib.http import Transport
from rollback_lib.model import Redactor
from rollback_lib.parameters import (
    Contacts,
    Layer,
    Platform,
    Policy,
    Secrets,
    load_contacts,
    open_contacts,
    open_places,
    read_layer,
)
from rollback_lib.parameters.effective import effective_platform, effective_policy
from rollback_lib.parameters.platform import Convex, signers_file
from rollback_lib.parameters.secrets import redactor_of
from rollback_lib.plan import Plan, load_plan
from rollback_lib.procedures.doctor.finding import NotKnown, Once
from rollback_lib.providers import Clients, connect
from rollback_lib.providers.accounts import Account
from rollback_lib.providers.app import HealthReading, VersionReading
from rollback_lib.providers.convex import ConvexClient
from rollback_lib.providers.convex_facts import AuditEvent, DeploymentIdentity
from rollback_lib.providers.repository import Repository
from rollback_lib.providers.slack import SlackChannel, SlackIdentity
from rollback_lib.providers.vercel import Deployment, Project
from rollback_lib.store import Store, open_store

__all__ = ["Circumstances", "Readings"]

PATIENCE_S = 5.0  # for one answer, second attempt included
STORE_PATIENCE_S = 2.5
ATTEMPTS = 2


@dataclass(frozen=True)
class Circumstances:
    """Whom the doctor looks at, and how."""

    environment: str
    home: Path
    environ: Mapping[str, str]
    clock: Clock
    read_only: bool = False
    when_down: str = ""  # what to do where no platform answers; empty: the usual
    when_no_secret: str = ""  # what to do where a secret is missing; empty: the usual
    transport: Transport | None = None  # stands in for the network in tests

    def short(self, path: Path) -> str:
        """Write a path below the project's folder without it."""
        return str(path.relative_to(self.home)) if path.is_relative_to(self.home) else str(path)


class Readings:
    """Everything that more than one check needs."""

    def __init__(self, given: Circumstances) -> None:
        self.given = given
        parameters = f"Parameters: {given.environment}.yaml"
        self.plan: Once[Plan] = Once("Parameters: plan.yaml", lambda: load_plan(given.home))
        self.layer: Once[Layer] = Once(parameters, self._layer)
        self.places: Once[tuple[Platform, Policy]] = Once(parameters, self._places)
        self.contacts: Once[Contacts] = Once("Parameters: contacts.yaml", self._contacts)
        self.secrets: Once[Secrets] = Once("Secrets: file", self._secrets)
        self.clients: Once[Clients] = Once("Secrets: file", self._clients)
        self.account: Once[Account] = Once("Vercel: token", self._account)
        self.project: Once[Project] = Once("Vercel: project", self._project)
        self.vercel_plan: Once[str] = Once("Vercel: plan", self._vercel_plan)
        self.deployments: Once[tuple[Deployment, ...]] = Once("Vercel: candidates", self._deployments)
        self.backend: Once[DeploymentIdentity] = Once("Convex: deploy key", self._backend)
        self.repository: Once[Repository] = Once("Convex: app's repository", self._repository)
        self.last_push: Once[AuditEvent | None] = Once("Convex: last push", self._last_push)
        self.sentry_scopes: Once[frozenset[str] | None] = Once("Sentry: token", self._sentry_scopes)
        self.environments: Once[tuple[str, ...]] = Once("Sentry: project", self._environments)
        self.bot: Once[SlackIdentity] = Once("Slack: token", self._bot)
        self.channels: tuple[Once[SlackChannel], ...] = (
            Once("Slack: incidents channel", lambda: self._channel("incidents_channel")),
            Once("Slack: engineering channel", lambda: self._channel("engineering_channel")),
        )
        self.health: Once[HealthReading] = Once("App: health", self._health)
        self.version: Once[VersionReading] = Once("App: version", self._version)
        self.signers: Once[Signers] = Once("Approvals: signers", self._signers)
        self.store: Once[Store] = Once("Records: state store", self._store)

    @property
    def platform(self) -> Platform:
        """Return where the platforms are."""
        return self.places.use()[0]

    @property
    def policy(self) -> Policy:
        """Return how long to wait."""
        return self.places.use()[1]

    @property
    def convex_settings(self) -> Convex:
        """Return where the Convex deployment is; only for environments that have one."""
        found = self.platform.convex
        assert found is not None
        return found

    @property
    def convex(self) -> ConvexClient:
        """Return the client of the Convex deployment; only for environments that have one."""
        found = self.clients.use().convex
        assert found is not None
        return found

    def redact(self, text: str) -> str:
        """Take every known secret, and every telephone number, out of a text."""
        redactor = self._redactor()
        with suppress(NotKnown):
            redactor.learn(person.phone for person in self.contacts.use().people.values())
        return redactor.redact(text)

    def need(self, name: str) -> None:
        """Go on only if a secret was given.

        Raises:
            NotKnown: It was not, or it cannot be one.
        """
        if self.secrets.use().usable().optional(name) is None:
            raise NotKnown(f"Secrets: {name}")

    # How each is taken

    def _redactor(self) -> Redactor:
        """Return what knows the secrets: all of them, or where they cannot be read those of the environment."""
        try:
            return self.secrets.use().redactor
        except NotKnown:
            return redactor_of(self.given.environ)

    def _layer(self) -> Layer:
        return read_layer(self.given.home, self.given.environment, self._redactor())

    def _places(self) -> tuple[Platform, Policy]:
        layer = self.layer.tell()
        _refuse_open(layer.name, open_places(layer))
        return effective_platform(layer, {}, self.given.home), effective_policy(layer, {})

    def _contacts(self) -> Contacts:
        _refuse_open("parameters/contacts.yaml", open_contacts(self.given.home, self.given.environment))
        return load_contacts(self.given.home, self.given.environment)

    def _secrets(self) -> Secrets:
        return Secrets.open(self.given.environment, self.given.home, self.given.environ, None)

    def _clients(self) -> Clients:
        secrets, policy = self.secrets.use().usable(), self.policy
        hasty = policy.model_copy(
            update={
                "request_timeout_s": min(policy.request_timeout_s, PATIENCE_S),
                "read_deadline_s": min(policy.read_deadline_s, PATIENCE_S),
                "read_attempts": min(policy.read_attempts, ATTEMPTS),
            }
        )
        return connect(self.platform, hasty, secrets, self.given.clock, self.given.transport)

    def _account(self) -> Account:
        self.need("VERCEL_TOKEN")
        return self.clients.use().vercel.whoami()

    def _project(self) -> Project:
        self.need("VERCEL_TOKEN")
        return self.clients.use().vercel.project()

    def _vercel_plan(self) -> str:
        live = self.project.use().production_id
        return self.clients.use().vercel.deployment(live).plan if live is not None else ""

    def _deployments(self) -> tuple[Deployment, ...]:
        self.project.use()
        return tuple(self.clients.use().vercel.deployments(max_pages=1))

    def _backend(self) -> DeploymentIdentity:
        return self.convex.identity()

    def _repository(self) -> Repository:
        settings = self.convex_settings
        found = Repository(settings.clone(self.given.home), settings.functions_folder)
        found.state()  # there is one
        return found

    def _last_push(self) -> AuditEvent | None:
        self.backend.use()
        return self.convex.last_push()

    def _sentry_scopes(self) -> frozenset[str] | None:
        self.need("SENTRY_AUTH_TOKEN")
        return self.clients.use().sentry.scopes()

    def _environments(self) -> tuple[str, ...]:
        self.need("SENTRY_AUTH_TOKEN")
        return self.clients.use().sentry.environments()

    def _bot(self) -> SlackIdentity:
        self.need("SLACK_BOT_TOKEN")
        return self.clients.use().slack.auth()

    def _channel(self, name: str) -> SlackChannel:
        self.need("SLACK_BOT_TOKEN")
        return self.clients.use().slack.channel(getattr(self.platform.slack, name))

    def _health(self) -> HealthReading:
        return self.clients.use().app.health()

    def _version(self) -> VersionReading:
        self.health.use()
        return self.clients.use().app.version()

    def _signers(self) -> Signers:
        path = self.given.home / signers_file(self.platform, self.given.environment)
        shown = self.given.short(path)
        return read_signers(path, shown) if path.exists() else Signers(shown, b"", ())

    def _store(self) -> Store:
        return open_store(self.platform, self.given.home, self.secrets.use().usable(), STORE_PATIENCE_S)


def _refuse_open(name: str, places: tuple[str, ...]) -> None:
    if places:
        lines = "\n".join(place.removeprefix(f"{name}, ") for place in places)
        raise BadParameters(
            f"{len(places)} places are still to be filled in:\n{lines}",
            "Nothing was sent.",
            f"Fill in these lines of {name}.",
        )
