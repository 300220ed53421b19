"""Serving a world: each service at the root of its own port, on loopback, in a thread of its own.

- Every port is bound before anything is served; what cannot be bound is named and nothing runs.
- No address but a loopback one is ever bound.
- Worlds share nothing: many can be served by one process, side by side. Each has a folder of its own for the
  state that its machines share, and takes it along when it ends.
- It ends quickly, whatever is still being answered.
"""

from __future__ import annotations

import asyncio
import os
import socket
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from typing import Any

from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn import Config, Server

from rollback_lib.errors import BadParameters
from rollback_lib.simulator import app, company, control, sentry, slack, vercel
from rollback_lib.simulator.faults import Door
from rollback_lib.simulator.signing import SigningDesk
from rollback_lib.simulator.spec import Service, WorldSpec
from rollback_lib.simulator.wire import Wire
from rollback_lib.simulator.world import World

__all__ = ["DEFAULT_PORTS", "Ports", "Serving", "serve", "start"]

_VARIABLE_PREFIX = "ROLLBACK_DRILL_"  # a real token in somebody's shell has none
_NOTHING_RUNS = "No world is being served by this command."
_STOP_S = 5.0  # for the thread to end; it takes a fraction of a second
_SIGNING_POLL_S = 0.1  # how often those who sign look for requests
_SETTLED_S = 0.3  # a world that lives no longer needs no past
_OWNER_ONLY = 0o600
_OWNER_FOLDER = 0o700


def _make_deployment(world: World) -> ASGIApp:
    from rollback_lib.simulator.convex.service import make_deployment  # not every company has a backend

    return make_deployment(world)


def _make_api(world: World) -> ASGIApp:
    from rollback_lib.simulator.convex.service import make_api

    return make_api(world)


_MAKERS: dict[Service, Callable[[World], ASGIApp]] = {
    "vercel": vercel.make_app,
    "sentry": sentry.make_app,
    "slack": slack.make_app,
    "app": app.make_app,
    "convex": _make_deployment,
    "convex_api": _make_api,
}
_CONVEX: tuple[Service, ...] = ("convex", "convex_api")  # served only where a world may have it


@dataclass(frozen=True)
class Ports:
    """Where to listen; 0 means any free port."""

    host: str = "127.0.0.1"
    control: int = 0
    vercel: int = 0
    sentry: int = 0
    slack: int = 0
    app: int = 0
    convex: int = 0
    convex_api: int = 0


DEFAULT_PORTS = Ports(
    control=7400, vercel=7401, sentry=7402, slack=7403, app=7404, convex=7405, convex_api=7406
)


class _Server(Server):
    """A server that says when it is up, and leaves as soon as it is told to."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self.up, self.leaving = asyncio.Event(), asyncio.Event()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to answer."""
        await super().startup(sockets)
        self.up.set()

    async def main_loop(self) -> None:
        """Wait for the end, without ticking."""
        await self.leaving.wait()


class Serving:
    """A world that is being served."""

    _world: World
    _apps: dict[str, ASGIApp]

    def __init__(
        self,
        spec: WorldSpec,
        sockets: Mapping[str, socket.socket],
        state: Path | None = None,
        keys: Path | None = None,
    ) -> None:
        self._sockets = dict(sockets)
        self._scratch = tempfile.TemporaryDirectory(prefix="world-")
        self.state = state if state is not None else Path(self._scratch.name) / "state"
        self.state.mkdir(parents=True, exist_ok=True)
        self._keys = keys if keys is not None else Path(self._scratch.name) / "keys"
        self.addresses = {name: _address(bound) for name, bound in sockets.items()}
        self._asked_to_end = threading.Event()
        self._ready = threading.Event()
        self._servers: dict[str, _Server] = {}
        self._loop = asyncio.new_event_loop()
        self.reset(spec)
        self._thread = threading.Thread(target=self._run, name="simulator", daemon=True)
        self._thread.start()
        self._signing = threading.Thread(target=self._let_sign, name="signers", daemon=True)
        self._signing.start()
        self._ready.wait()

    @property
    def world(self) -> World:
        """The world that is served now."""
        return self._world

    @property
    def control(self) -> str:
        """The address of the control port."""
        return self.addresses["control"]

    @property
    def platform(self) -> dict[str, Any]:
        """The notebook parameter `platform` that leads to this world."""
        at = self.addresses
        own_address = at["app"] + app.OWN_ADDRESS
        pages = [{"path": page.path, "marker": page.marker, "flow": page.flow} for page in company.PAGES]
        return {
            "vercel": {
                "api_url": at["vercel"],
                "team_id": self._world.spec.team_id,
                "project": company.PROJECT_NAME,
            },
            "sentry": {
                "api_url": at["sentry"],
                "organization": company.SENTRY_ORGANIZATION,
                "project": self._world.spec.sentry_project,
                "environment": company.ENVIRONMENT,
            },
            "slack": {
                "api_url": at["slack"] + "/api",
                "incidents_channel": company.CHANNEL_INCIDENTS,
                "engineering_channel": company.CHANNEL_ENGINEERING,
            },
            "app": {
                "url": at["app"],
                "domain": company.DOMAINS[0],
                "preview": own_address,
                "preview_suffix": company.DEPLOYMENT_SUFFIX,
                "health_path": company.HEALTH_PATH,
                "version_path": company.VERSION_PATH,
                "pages": pages,
            },
            **self._convex_platform(),
            "state": str(self.state),
            **({"signers": str(signers)} if (signers := self._desk.signers_file) is not None else {}),
        }

    def _convex_platform(self) -> dict[str, Any]:
        backend = self._world.convex
        if backend is None:
            return {}
        at = self.addresses
        return {
            "convex": {
                "url": at["convex"],
                "api_url": at["convex_api"],
                "deployment": backend.name,
                "repository": str(self._repository(self._world)),
                **({"canary": company.CANARY, "queries": company.QUERIES} if backend.spec.live else {}),
            },
        }

    @property
    def secrets(self) -> dict[str, str]:
        """The world's credentials by the name that the runbook has for each."""
        found = {token.name: token.value for token in self._world.spec.tokens if token.name.isupper()}
        if "SLACK_WEBHOOK_URL" in found:
            path = company.WEBHOOK_PATH.format(secret=found["SLACK_WEBHOOK_URL"])
            found["SLACK_WEBHOOK_URL"] = self.addresses["slack"] + path
        return found

    @property
    def variables(self) -> dict[str, str]:
        """The environment variables that hand the credentials to a run in a drill."""
        return {f"{_VARIABLE_PREFIX}{name}": value for name, value in self.secrets.items()}

    def write_secrets(self, path: Path) -> None:
        """Write the credentials as `NAME=value` lines, readable by their owner alone."""
        path.parent.mkdir(parents=True, exist_ok=True, mode=_OWNER_FOLDER)
        lines = "".join(f"{name}={value}\n" for name, value in self.secrets.items())
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, _OWNER_ONLY)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(handle, _OWNER_ONLY)  # also where the file was there before
            file.write(lines)

    def reset(self, spec: WorldSpec | None = None) -> None:
        """Begin a new world at the same addresses, of the same spec unless another is given."""
        spec = spec if spec is not None else self._world.spec
        if spec.has_convex and "convex" not in self.addresses:
            raise BadParameters(
                "This world is served without ports for a backend, and the new one has a backend.",
                "The world goes on as it was.",
                "Start the simulator with a world that has one.",
            )
        world = World(spec)
        self._desk = SigningDesk(world.spec.signers, self.state, self._keys)
        makers = {name: make for name, make in _MAKERS.items() if name in self.addresses}
        apps: dict[str, ASGIApp] = {name: Door(world, name, make(world)) for name, make in makers.items()}
        apps["control"] = control.make_app(self, lambda: self.platform)
        before = getattr(self, "_world", None)
        if world.convex is not None:
            self._furnish(world)
            world.convex.address = world.convex.site = self.addresses["convex"]
            world.convex.open()
        self._world, self._apps = world, apps
        if before is not None:
            before.close()

    def _furnish(self, world: World) -> None:
        """Give a company's backend its repository, code and data, where it is to have them."""
        if world.spec.convex is not None and world.spec.convex.live:
            from rollback_lib.simulator.convex.furnishing import furnish  # not every company has a backend

            furnish(world, self._repository(world))

    def _repository(self, world: World) -> Path:
        wanted = world.spec.convex.repository if world.spec.convex is not None else ""
        return Path(wanted) if wanted else Path(self._scratch.name) / "repository"

    def close(self) -> None:
        """Ask for the end; returns at once."""
        self._asked_to_end.set()

    def wait(self, timeout_s: float | None = None) -> bool:
        """Wait until somebody asks for the end; tells whether somebody did."""
        return self._asked_to_end.wait(timeout_s)

    def stop(self) -> None:
        """End it: no port answers any more when this returns."""
        self.close()
        for server in self._servers.values():
            self._loop.call_soon_threadsafe(server.leaving.set)
        self._thread.join(_STOP_S)
        self._signing.join(_STOP_S)
        self._world.close()
        self._scratch.cleanup()
        if self._thread.is_alive():
            raise RuntimeError("the simulator's thread does not end")

    def _let_sign(self) -> None:
        while not self._asked_to_end.wait(_SIGNING_POLL_S if self._desk.is_attended else _SETTLED_S):
            self._desk.act()

    def _run(self) -> None:
        try:
            with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
                runner.run(self._serve_all())
        finally:
            self._ready.set()  # whatever happened, nobody waits for ever

    async def _serve_all(self) -> None:
        self._servers = {name: _Server(self._config(name)) for name in self._sockets}
        serving = [
            asyncio.create_task(server.serve(sockets=[self._sockets[name]]))
            for name, server in self._servers.items()
        ]
        await asyncio.gather(*(server.up.wait() for server in self._servers.values()))
        self._ready.set()
        remembering = asyncio.create_task(self._remember())
        await asyncio.gather(*serving)
        remembering.cancel()

    async def _remember(self) -> None:
        """Make up the past between the requests, so that no client has to wait for an hour of visitors."""
        known: World | None = None
        while True:
            await asyncio.sleep(_SETTLED_S)
            if known is self._world:
                continue
            known = self._world
            for since_ms, until_ms in known.past_minutes():
                if known is not self._world:
                    break
                known.spans(since_ms, until_ms)
                await asyncio.sleep(0)

    def _config(self, name: str) -> Config:
        return Config(
            self._current(name),
            http=Wire,
            ws="websockets-sansio" if name == "convex" else "none",
            ws_ping_interval=None,
            ws_per_message_deflate=False,
            loop="asyncio",
            lifespan="off",
            log_config=None,
            log_level="critical",  # cut and cancelled requests are meant; the door tells of real failures
            access_log=False,
            date_header=False,
            timeout_graceful_shutdown=0,
        )

    def _current(self, name: str) -> ASGIApp:
        """Give the app of a service that leads to whichever world is served when a request comes."""

        async def lead(scope: Scope, receive: Receive, send: Send) -> None:
            await self._apps[name](scope, receive, send)

        return lead


@contextmanager
def serve(
    spec: WorldSpec, ports: Ports | None = None, *, state: Path | None = None, keys: Path | None = None
) -> Iterator[Serving]:
    """Serve a world for as long as the block runs.

    Args:
        spec: The company.
        ports: Where to listen; None: wherever there is room.
        state: The folder that its machines share; None: one that ends with the world.
        keys: Where its people's keys are, or are made; None: in a folder that ends with the world.

    Raises:
        BadParameters: A port is taken, or the host is not a loopback one. Nothing is served.
    """
    serving = start(spec, ports, state=state, keys=keys)
    try:
        yield serving
    finally:
        serving.stop()


def start(
    spec: WorldSpec, ports: Ports | None = None, *, state: Path | None = None, keys: Path | None = None
) -> Serving:
    """Serve a world until `stop` is called; all services answer when this returns. Arguments as of `serve`.

    Raises:
        BadParameters: A port is taken, or the host is not a loopback one. Nothing is served.
    """
    ports = ports or Ports()
    if not _is_loopback(ports.host):
        raise BadParameters(
            f"The simulator listens on this machine only; {ports.host!r} is not a loopback address.",
            _NOTHING_RUNS,
            "Use 127.0.0.1.",
        )
    sockets: dict[str, socket.socket] = {}
    try:
        for name in ("control", *_MAKERS):
            port = getattr(ports, name)
            if name not in _CONVEX or port or spec.has_convex:
                sockets[name] = _bound(ports.host, port, name)
    except BadParameters:
        for bound in sockets.values():
            bound.close()
        raise
    return Serving(spec, sockets, state, keys)


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return False


def _bound(host: str, port: int, name: str) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # The protocol is named, because asyncio sends small answers at once only on sockets that say they are TCP.
    bound = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as exc:
        bound.close()
        raise BadParameters(
            f"Port {port} of {host}, meant for the simulator's {name}, cannot be used: {exc.strerror}.",
            _NOTHING_RUNS,
            "End what uses the port (perhaps another simulator), or choose other ports.",
        ) from exc
    return bound


def _address(bound: socket.socket) -> str:
    host, port = bound.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
