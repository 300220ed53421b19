"""The project's environment variables.

- A row is known by its id; key, target and branch together are unique.
- No earlier value is kept anywhere but in the deployments that were built with it.
- A sensitive value never comes out again.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from random import Random
from typing import Any

from rollback_lib.simulator.deployments import EnvVar
from rollback_lib.simulator.refusal import Refusal

__all__ = ["Variables"]

_TYPES = ("system", "plain", "encrypted", "sensitive")
_TARGETS = ("production", "preview", "development")
_FIRST_ROWS = (
    ("NEXT_PUBLIC_SITE_URL", "plain", ("production",), "https://derrimut247.drill"),
    ("NEXT_PUBLIC_CONVEX_URL", "plain", ("production",), "https://happy-otter-123.convex.drill"),
    ("CLERK_SECRET_KEY", "encrypted", ("production",), None),
    ("CLERK_SECRET_KEY", "encrypted", ("preview", "development"), None),
    ("SENTRY_DSN", "encrypted", ("production", "preview"), None),
    ("STRIPE_SECRET_KEY", "sensitive", ("production",), None),
)


class Variables:
    """The rows of one project."""

    def __init__(self, seed: int, created_ms: int) -> None:
        self._rng = Random(f"variables:{seed}")  # noqa: S311 - repeatable, not secret
        self.rows: dict[str, EnvVar] = {}
        for key, kind, target, value in _FIRST_ROWS:
            made_up = f"drill{self._rng.getrandbits(128):032x}"
            self._add(
                EnvVar(self._new_id(), key, value or made_up, kind, list(target), created_ms, created_ms)
            )

    def _new_id(self) -> str:
        return "".join(self._rng.choices("ABCDEFGHJKLMNPQRSTUVWXYZabcdefghjkmnpqrstuvwxyz23456789", k=16))

    def _add(self, row: EnvVar) -> EnvVar:
        self.rows[row.id] = row
        return row

    def for_build(self, target: str | None) -> dict[str, str]:
        """Give the values that a build of now gets."""
        wanted = target or "preview"
        return {row.key: row.value for row in self.rows.values() if wanted in row.target}

    def get(self, row_id: str) -> EnvVar:
        """Find a row by its id."""
        row = self.rows.get(row_id)
        if row is None:
            raise Refusal(404, "not_found", f"Could not find the environment variable: {row_id}")
        return row

    def create(self, wish: Any, upsert: bool, at_ms: int) -> EnvVar:
        """Make a row, or with `upsert` change the one of the same key, target and branch."""
        row = self._read(wish, at_ms)
        clash = next((old for old in self.rows.values() if _clashes(old, row)), None)
        if clash is None:
            return self._add(row)
        if upsert and sorted(clash.target) == sorted(row.target):
            return self.edit(clash.id, wish, at_ms)
        raise Refusal(
            400,
            "ENV_CONFLICT",
            f"A variable with the name `{row.key}` already exists for the target {', '.join(clash.target)} "
            f"on branch {clash.git_branch or 'undefined'}",
            {"envVarId": clash.id, "envVarKey": clash.key, "key": clash.key, "target": clash.target},
        )

    def edit(self, row_id: str, wish: Any, at_ms: int) -> EnvVar:
        """Change any part of a row."""
        row = self.get(row_id)
        if not isinstance(wish, dict):
            raise Refusal(400, "bad_request", "Invalid request: should be object.")
        _check(wish)
        changed = EnvVar(**{**vars(row), **_fields(wish), "updated_ms": at_ms})
        if any(_clashes(old, changed) for old in self.rows.values() if old.id != row_id):
            raise Refusal(400, "ENV_CONFLICT", f"A variable with the name `{changed.key}` already exists.")
        if row.type == "sensitive" and changed.type != "sensitive" and "value" not in wish:
            raise Refusal(
                400, "bad_request", "You cannot change the type of a Sensitive Environment Variable."
            )
        self.rows[row_id] = changed
        return changed

    def delete(self, row_id: str) -> EnvVar:
        """Remove a row."""
        row = self.get(row_id)
        del self.rows[row_id]
        return row

    def _read(self, wish: Any, at_ms: int) -> EnvVar:
        if not isinstance(wish, dict):
            raise Refusal(400, "bad_request", "Invalid request: should be object.")
        for name in ("key", "value", "type", "target"):
            if name not in wish:
                raise Refusal(400, "bad_request", f"Invalid request: missing required property `{name}`.")
        _check(wish)
        found = _fields(wish)
        return EnvVar(id=self._new_id(), created_ms=at_ms, updated_ms=at_ms, **found)


def ciphertext(row: EnvVar) -> str:
    """Give what the list shows in place of an encrypted value."""
    return "eyJ2IjoidjIi" + hashlib.sha256(f"{row.id}{row.value}".encode()).hexdigest()


def _fields(wish: dict[str, Any]) -> dict[str, Any]:
    """Translate the platform's names into ours."""
    names = {"key": "key", "value": "value", "type": "type", "gitBranch": "git_branch", "comment": "comment"}
    found = {ours: wish[theirs] for theirs, ours in names.items() if theirs in wish}
    if "visibility" in wish:
        found["visibility"] = wish["visibility"]
    if "target" in wish:
        found["target"] = _targets(wish["target"])
    return found


def _targets(value: Any) -> list[str]:
    return [value] if isinstance(value, str) else list(value)


def _check(wish: dict[str, Any]) -> None:
    kind = wish.get("type", "plain")
    if kind not in _TYPES:
        raise Refusal(400, "bad_request", f"Invalid request: `type` should be one of {', '.join(_TYPES)}.")
    targets: Sequence[str] = _targets(wish.get("target", []))
    if any(target not in _TARGETS for target in targets):
        raise Refusal(400, "bad_request", f"Invalid request: `target` should be of {', '.join(_TARGETS)}.")
    if kind == "sensitive" and "development" in targets:
        raise Refusal(
            400, "bad_request", "You cannot set a Sensitive Environment Variable's target to development."
        )
    for name in ("key", "value"):
        if name in wish and not isinstance(wish[name], str):
            raise Refusal(400, "bad_request", f"Invalid request: `{name}` should be string.")


def _clashes(old: EnvVar, new: EnvVar) -> bool:
    return old.key == new.key and old.git_branch == new.git_branch and bool({*old.target} & {*new.target})
