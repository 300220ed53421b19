"""Speaking to a world that another process serves."""

from __future__ import annotations

from urllib.error import URLError
from urllib.request import ProxyHandler, Request, build_opener

from rollback_lib.errors import Unreachable
from rollback_lib.simulator.server import Ports

__all__ = ["reset_running"]

_TIMEOUT_S = 30.0  # a backend takes its time to be made anew


def reset_running(ports: Ports) -> str:
    """Renew the world that is served at these ports, broken as it was in the beginning.

    Raises:
        Unreachable: No world answers there. Nothing was changed.
    """
    address = f"http://{ports.host}:{ports.control}"
    request = Request(f"{address}/reset", data=b"", method="POST")  # noqa: S310 - always http on this machine
    try:
        # No proxy: the way to this machine never leads over another one.
        with build_opener(ProxyHandler({})).open(request, timeout=_TIMEOUT_S):
            return f"The world at {address} was renewed; its production is broken again."
    except (URLError, TimeoutError) as exc:
        raise Unreachable(
            f"No simulated world answers at {address}: {getattr(exc, 'reason', exc)}.",
            "Nothing was changed.",
            "Start one with: rollback simulator",
        ) from exc
