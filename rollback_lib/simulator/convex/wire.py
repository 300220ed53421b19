"""What goes over the wire to and from a deployment: bodies, formats, results of calls.

- A body may be packed (brotli), as the official command line packs its pushes.
- The result of a call is told with status 200 also where the function failed; what it printed and why it failed is
  for those who have a key.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import brotli

from rollback_lib.simulator.convex import values
from rollback_lib.simulator.convex.callers import Caller
from rollback_lib.simulator.convex.functions import Outcome
from rollback_lib.simulator.convex.logs import as_text
from rollback_lib.simulator.refusal import Refusal

__all__ = ["FORMATS", "as_reply", "failure", "formatted", "only_args", "parsed", "unpacked"]

FORMATS = ("json", "convex_encoded_json", "export_json")


def unpacked(body: bytes, encoding: str | None) -> bytes:
    """Unpack a body; what cannot be unpacked is given as it is."""
    if (encoding or "").lower() != "br":
        return body
    try:
        return bytes(brotli.decompress(body))
    except brotli.error:
        return body


def parsed(body: bytes) -> dict[str, Any]:
    """Read a body as a JSON object.

    Raises:
        Refusal: It is none.
    """
    try:
        tree = json.loads(body) if body.strip() else {}
    except ValueError as exc:
        raise Refusal(400, "BadJsonBody", f"Failed to parse the request body as JSON: {exc}") from exc
    if not isinstance(tree, dict):
        raise Refusal(400, "BadJsonBody", "The request body must be a JSON object")
    return tree


def only_args(tree: Mapping[str, Any]) -> Any:
    """Give the one object of arguments, which may stand in a list.

    Raises:
        Refusal: There is another number of them.
    """
    given = tree.get("args", {})
    if isinstance(given, list):
        if len(given) > 1:
            raise Refusal(400, "BadRequest", f"Expected 1 argument, got {len(given)}")
        given = given[0] if given else {}
    if not isinstance(given, dict):
        raise Refusal(400, "BadRequest", "Arguments must be an object")
    return given


def formatted(value: Any, wanted: str | None) -> Any:
    """Write a value in a format; none named is `json`.

    Raises:
        Refusal: There is no such format.
    """
    if wanted is not None and wanted not in FORMATS:
        raise Refusal(400, "BadFormat", f"format param must be one of [`json`]. Got {wanted}")
    return values.exact(value) if wanted == "convex_encoded_json" else values.plain(value)


def failure(outcome: Outcome, *, told: bool) -> str:
    """Give the text of a failure: in full, or as much of it as everybody may know."""
    if outcome.told_to_all:
        return str(outcome.error)
    head = f"[Request ID: {outcome.request_id}] Server Error"
    return f"{head}\n{outcome.error}" if told else head


def as_reply(outcome: Outcome, wanted: str | None, caller: Caller, *, hides: bool) -> dict[str, Any]:
    """Give the body that tells what became of a call.

    Args:
        outcome: What became of it.
        wanted: The format.
        caller: Who called.
        hides: Whether errors are kept from those without a key.
    """
    told = caller.is_admin or not hides
    lines = [as_text(line) for line in outcome.lines] if told else []
    logs = {"logLines": lines} if lines else {}
    if outcome.error is None:
        return {"status": "success", "value": formatted(outcome.value, wanted), **logs}
    data = {"errorData": formatted(outcome.data, wanted)} if outcome.has_data else {}
    return {"status": "error", "errorMessage": failure(outcome, told=told), **data, **logs}
