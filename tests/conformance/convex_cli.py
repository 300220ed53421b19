"""The official `convex` command, run against the backend of a simulated company, on an app of a few files."""

from __future__ import annotations

import json
import signal
import subprocess
import time
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tools import PACKAGES, place, run, tool

from rollback_lib.simulator import Serving

__all__ = ["SCHEMA", "Cli", "Ran", "make_app"]

SCHEMA = """
import { defineSchema, defineTable } from "convex/server";
import { v } from "convex/values";
export default defineSchema({
  users: defineTable({ FIELDS }).index("by_clerk", ["clerkId"]),
});
"""
USUAL_FIELDS = 'clerkId: v.string(), name: v.string(), plan: v.optional(v.union(v.literal("plus"), v.null()))'
USERS = """
import { internalMutation, mutation, query } from "./_generated/server";
import { v } from "convex/values";
export const getUserByClerkId = query({
  args: { clerkId: v.string() },
  handler: async (ctx, { clerkId }) => {
    console.log("looking for", clerkId);
    return await ctx.db.query("users").withIndex("by_clerk", (q) => q.eq("clerkId", clerkId)).unique();
  },
});
export const add = mutation({
  args: { clerkId: v.string(), name: v.string() },
  returns: v.id("users"),
  handler: async (ctx, args) => await ctx.db.insert("users", args),
});
export const broken = query({ args: {}, handler: async () => { throw new Error("it broke"); } });
export const tidy = internalMutation({ args: {}, handler: async (ctx) => {
  for (const user of await ctx.db.query("users").collect()) await ctx.db.patch(user._id, { plan: "plus" });
} });
"""


def make_app(folder: Path, fields: str = USUAL_FIELDS, users: str = USERS, **more: str) -> Path:
    """Write the app's files; `more` are further ones of its functions' folder, by name."""
    functions = folder / "convex"
    functions.mkdir(parents=True, exist_ok=True)
    (folder / "package.json").write_text(
        json.dumps({"name": "app", "private": True, "dependencies": {"convex": "1.48.0"}}), encoding="utf-8"
    )
    if not (folder / "node_modules").exists():
        (folder / "node_modules").symlink_to(PACKAGES)
    (functions / "schema.ts").write_text(SCHEMA.replace("FIELDS", fields), encoding="utf-8")
    (functions / "users.ts").write_text(users, encoding="utf-8")
    for name, text in more.items():
        (functions / f"{name}.ts").write_text(text, encoding="utf-8")
    return folder


@dataclass(frozen=True)
class Ran:
    """What a call of the command line said, and what it asked of the platform."""

    code: int
    out: str
    said: tuple[str, ...]  # on stderr: for people
    requests: tuple[str, ...]  # "VERB path status", in their order

    @property
    def steps(self) -> tuple[str, ...]:
        """The requests, with each that was repeated named once."""
        return tuple(request for request, _ in groupby(self.requests))


class Cli:
    """Calls the command line.

    Args:
        serving: The company.
        folder: The app.
    """

    def __init__(self, serving: Serving, folder: Path) -> None:
        self._serving, self._folder = serving, folder

    def __call__(self, *args: str, key: str | None = None) -> Ran:
        """Run it to its end, with the world's key or another one."""
        before = len(self._serving.world.ledger.entries())
        with place() as where:
            done = run(self._command(*args), where, self._folder, **self._own(key))
        return self._ran(before, done.returncode, done.stdout, done.stderr)

    def until(self, words: str, *args: str, timeout_s: float = 60) -> Ran:
        """Run a command that never ends until it has said something, then interrupt it."""
        before = len(self._serving.world.ledger.entries())
        with place() as where:
            process = subprocess.Popen(
                self._command(*args),
                env={**where.environment, **self._own(None)},
                cwd=self._folder,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                stdin=subprocess.DEVNULL,
                text=True,
            )
            assert process.stdout is not None
            said, deadline = "", time.monotonic() + timeout_s
            while words not in said and time.monotonic() < deadline:
                line = process.stdout.readline()
                if not line:
                    break
                said += line
            process.send_signal(signal.SIGINT)
            rest, errors = process.communicate(timeout=timeout_s)
            assert where.reached == []
        return self._ran(before, process.returncode, said + rest, errors)

    def _command(self, *args: str) -> list[str]:
        return [*tool("convex", "bin/main.js"), *args]

    def _own(self, key: str | None) -> dict[str, str]:
        at = self._serving.addresses["convex_api"]
        return {
            "CONVEX_DEPLOY_KEY": key or self._serving.world.token("CONVEX_DEPLOY_KEY"),
            "CONVEX_PROVISION_HOST": at,
            "CONVEX_VERSION_API_ORIGIN": at,  # else it asks its maker for a newer release
        }

    def _ran(self, before: int, code: int, out: str, said: str) -> Ran:
        new = [e for e in self._serving.world.ledger.entries()[before:] if e.service == "convex"]
        told = tuple(f"{e.method} {e.path} {'cut' if e.status is None else e.status}" for e in new)
        return Ran(code, out, tuple(line for line in said.splitlines() if line.strip()), told)
