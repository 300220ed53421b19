"""One request to a deployment, whose caller is known."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

from starlette.requests import Request

from rollback_lib.simulator.convex import keys, wire
from rollback_lib.simulator.convex.backend import Backend
from rollback_lib.simulator.convex.callers import Caller
from rollback_lib.simulator.ledger import Weight
from rollback_lib.simulator.refusal import Refusal
from rollback_lib.simulator.spec import Fault, TokenSpec

__all__ = ["Call"]

_STRUCTURED = ("npm-cli-", "dashboard-")


@dataclass(frozen=True)
class Call:
    """A request as the endpoints see it."""

    backend: Backend
    keys: tuple[TokenSpec, ...]
    request: Request
    raw: bytes

    @cached_property
    def tree(self) -> dict[str, Any]:
        """The body as a JSON object; raises Refusal where it is none."""
        return wire.parsed(wire.unpacked(self.raw, self.request.headers.get("content-encoding")))

    def field(self, name: str) -> Any:
        """Give a field that the body must have; raises Refusal where it has not."""
        if name not in self.tree:
            raise Refusal(
                400, "BadJsonBody", f"Failed to parse the request body as JSON: missing field `{name}`"
            )
        return self.tree[name]

    @cached_property
    def caller(self) -> Caller:
        """Who makes it, by header or query; raises Refusal for a key that is none of this deployment."""
        return keys.caller_of(
            self.request.headers.get("authorization"), self.query("adminKey"), self.keys, self.backend.name
        )

    def admin(self, action: str = "", *, in_body: bool = False) -> Caller:
        """Insist on a key that may do something.

        Args:
            action: What; empty: any key will do.
            in_body: Whether the key stands in the body.

        Raises:
            Refusal: There is no key, or it may not.
        """
        shown = str(self.tree.get("adminKey", "")) if in_body else ""
        caller = keys.of_key(shown, self.keys, self.backend.name) if shown else self.caller
        if not caller.is_admin:
            raise Refusal(
                403,
                "BadDeployKey",
                f"The provided deploy key was invalid for deployment '{self.backend.name}'. Double check that the "
                "environment this key was generated for matches the desired deployment.",
            )
        if action:
            caller.insist(action)
        return caller

    @property
    def fault(self) -> Fault | None:
        """What is to go wrong with this request beyond its transport."""
        fault: Fault | None = self.request.scope.get("state", {}).get("fault")
        return fault

    @property
    def reads_structured(self) -> bool:
        """Whether the client takes log lines as data."""
        return self.request.headers.get("convex-client", "").startswith(_STRUCTURED)

    def query(self, name: str) -> str | None:
        """Give a query parameter, or None where it is absent."""
        return self.request.query_params.get(name)

    def mark(self, *, applied: bool, weight: Weight | None = None) -> None:
        """Say whether anything was changed, and how much it could have changed, where path and status do not."""
        state = self.request.scope.setdefault("state", {})
        state["applied"] = applied
        entry = state.get("entry")
        if weight is not None and entry is not None:
            entry.weight, entry.changes = weight, weight != "nothing"
