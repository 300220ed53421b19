"""Why the command line of procedure 2 came to nothing, in words for people, and what can be done about it.

- What Convex refused is told apart from a command line that broke: the one is Convex's word, the other says nothing of it.
"""

from __future__ import annotations

from rollback_lib.providers.convex_cli import CliRun
from rollback_lib.providers.convex_key import KEY_NAME
from rollback_lib.providers.convex_push import Refusal

__all__ = ["told", "ways"]

_WAYS: dict[str, str] = {
    "schema": "Ways out: push a commit whose schema takes both (widen it: v.optional, v.union), or mend or remove these documents, "
    "or restore data from before (procedure 3), or roll forward with a fix.",
    "variables": "Set these environment variables on the deployment again (npx convex env set --prod NAME; without --prod it is your own dev deployment)",
    "race": "Somebody else pushes: ask in the incidents channel",
    "concurrent": "Somebody else pushes: ask in the incidents channel",
    "key": f"Check the deploy key ({KEY_NAME}), run the open cell",
    "permission": "Use a deploy key with the permission deployment:deploy, run the open cell",
    "paused": "Resume the deployment in Convex's dashboard (Settings)",
    "prompt": "Convex asks a person something first, which no run answers. Take another commit; or answer it yourself in a push by hand: that "
    "leaves this runbook, so end the run (rollback abort), have the push approved, announce it in the incidents channel, and make it from "
    "a folder of your own (git worktree add, npm ci, npx convex deploy).",
    "other": "Read the output. If it stays so, roll forward with a fix.",
}


def told(done: CliRun) -> str:
    """Say why, for a sentence, without a full stop."""
    refusal = done.refusal
    if refusal is None:
        return done.ending
    if refusal.kind == "schema" and refusal.table:
        return _document(refusal)
    if refusal.kind == "variables":
        return f"environment variables that it needs are not set: {', '.join(refusal.names)}"
    return refusal.words.rstrip(".")


def ways(done: CliRun, after: str) -> str:
    """Say what can be done, as an instruction.

    Args:
        done: What came of it.
        after: What comes once that is done: "then run this cell again."
    """
    way = _WAYS[done.refusal.kind if done.refusal is not None else "other"]
    return way if way.endswith(".") else f"{way}, {after}"


def _document(refusal: Refusal) -> str:
    field = f", field {refusal.field}" if refusal.field else ""
    named = f"document {refusal.document or '(unknown)'} of table {refusal.table}{field}"
    return f"{named} does not fit its schema: {refusal.why.rstrip('.')}"
