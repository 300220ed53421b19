"""A Slack workspace behind the real HTTP interface: it keeps messages, reactions and accounts, and can misbehave.

- `troubles[method]` holds what happens to the next calls of a method, one each: `down` (no connection), `lost`
  (done, but the answer is lost), `lost before` (not done, no answer), an error such as `missing_scope`.
- `broken` names what happens to every call.
"""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl

import httpx
from conftest import FakeClock
from http_fakes import LIMITS
from pydantic import SecretStr

from rollback_lib.http import Api, Service
from rollback_lib.model import Redactor
from rollback_lib.providers.slack import (
    SLACK_RULES,
    WEBHOOK_RULES,
    SlackClient,
    judge_slack,
    judge_webhook,
    slack_limited,
)

__all__ = ["BOT", "CHANNEL", "TOKEN", "WEBHOOK", "Workspace"]

CHANNEL, BOT = "C0INCIDENTS", "U0RUNBOOK"
TOKEN = "xoxb-2718281828-runbook"
WEBHOOK = "http://127.0.0.1:7403/services/T0DRILL/B0HOOK/3141592653"
_NAMES = {"U0ANA": "Ana Operator", "U0LEE": "Lee Lead", "U0CAT": "Cat Chief", "U0DEE": "Dee Deputy"}


@dataclass
class Workspace:
    """One channel with its messages, and the people in it."""

    clock: FakeClock
    messages: list[dict[str, Any]] = field(default_factory=list)
    by_webhook: list[str] = field(default_factory=list)
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    troubles: dict[str, list[str]] = field(default_factory=lambda: defaultdict(list))
    broken: str = ""
    users: dict[str, dict[str, Any]] = field(default_factory=dict)
    counted: dict[str, int] = field(default_factory=dict)  # reaction -> how many more than are listed

    def __post_init__(self) -> None:
        for user, name in (_NAMES | {"U0SAM": "Sam Support", BOT: "runbook"}).items():
            self.users[user] = {"id": user, "real_name": name, "is_bot": user == BOT, "deleted": False}

    def client(self, *, webhook: bool = False) -> SlackClient:
        """Make the client that the library makes, with this workspace in the network's place."""
        headers = (("authorization", SecretStr(f"Bearer {TOKEN}")),)
        service = Service(
            "slack",
            "http://127.0.0.1:7403/api",
            SLACK_RULES,
            headers,
            judge=judge_slack,
            limited=slack_limited,
        )
        hook = Service("slack webhook", SecretStr(WEBHOOK), WEBHOOK_RULES, judge=judge_webhook)
        return SlackClient(self._door(service), self._door(hook) if webhook else None)

    def react(self, user: str, name: str = "white_check_mark", at: int = -1) -> None:
        """Put a person's reaction on a message."""
        users = self.messages[at]["reactions"].setdefault(name, [])
        users.append(user)

    def take_back(self, user: str, name: str = "white_check_mark", at: int = -1) -> None:
        """Remove a person's reaction."""
        self.messages[at]["reactions"][name].remove(user)

    def count(self, method: str) -> int:
        """Count the calls of a method, the troubled ones included."""
        return sum(1 for name, _ in self.calls if name == method)

    @property
    def texts(self) -> list[str]:
        """Return what stands in the channel."""
        return [message["text"] for message in self.messages]

    def __call__(self, request: httpx.Request) -> httpx.Response:
        method = request.url.path.removeprefix("/api/") if request.url.path.startswith("/api/") else "webhook"
        body = _body_of(request)
        self.calls.append((method, body))
        trouble = self.broken or (self.troubles[method].pop(0) if self.troubles[method] else "")
        if trouble == "down":
            raise httpx.ConnectError("[Errno 111] Connection refused")
        if trouble == "lost before":
            raise httpx.ReadTimeout("timed out")
        if trouble == "lost":
            self._answer(method, body)
            raise httpx.ReadTimeout("timed out")
        if trouble:
            return _json({"ok": False, "error": trouble})
        return self._answer(method, body)

    def _door(self, service: Service) -> Api:
        return Api(service, LIMITS, self.clock, Redactor(), httpx.MockTransport(self))

    def _answer(self, method: str, body: dict[str, Any]) -> httpx.Response:
        if method == "webhook":
            self.by_webhook.append(body["text"])
            return httpx.Response(200, text="ok")
        answers = {
            "auth.test": self._auth,
            "chat.postMessage": self._post,
            "chat.update": self._update,
            "chat.getPermalink": self._permalink,
            "conversations.history": self._history,
            "conversations.replies": self._replies,
            "reactions.get": self._reactions,
            "users.info": self._user,
        }
        return _json({"ok": True} | answers[method](body))

    def _auth(self, _: dict[str, Any]) -> dict[str, Any]:
        return {"user_id": BOT, "bot_id": "B0RUNBOOK", "team_id": "T0DRILL"}

    def _post(self, body: dict[str, Any]) -> dict[str, Any]:
        ts = f"{self.clock.now().timestamp():.0f}.{len(self.messages):06d}"
        kept = {key: body.get(key) for key in ("text", "thread_ts", "metadata")}
        self.messages.append(kept | {"ts": ts, "user": BOT, "reactions": {}})
        return {"channel": body["channel"], "ts": ts}

    def _update(self, body: dict[str, Any]) -> dict[str, Any]:
        self._message(body["ts"])["text"] = body["text"]
        return {"channel": body["channel"], "ts": body["ts"]}

    def _permalink(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"permalink": f"http://127.0.0.1:7403/archives/{body['channel']}/p{body['message_ts']}"}

    def _history(self, body: dict[str, Any]) -> dict[str, Any]:
        found = [one for one in self._since(body) if one["thread_ts"] is None]
        return {"messages": found[::-1]}

    def _replies(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"messages": [one for one in self._since(body) if body["ts"] in (one["ts"], one["thread_ts"])]}

    def _since(self, body: dict[str, Any]) -> list[dict[str, Any]]:
        return [one for one in self.messages if float(one["ts"]) >= float(body["oldest"])]

    def _reactions(self, body: dict[str, Any]) -> dict[str, Any]:
        listed = [
            {"name": name, "users": users, "count": len(users) + self.counted.get(name, 0)}
            for name, users in self._message(body["timestamp"])["reactions"].items()
        ]
        return {"type": "message", "message": {"reactions": listed}}

    def _user(self, body: dict[str, Any]) -> dict[str, Any]:
        return {"user": self.users[body["user"]]}

    def _message(self, ts: str) -> dict[str, Any]:
        return next(one for one in self.messages if one["ts"] == ts)


def _body_of(request: httpx.Request) -> dict[str, Any]:
    if request.headers.get("content-type", "").startswith("application/json"):
        return dict(json.loads(request.content))
    return dict(parse_qsl(request.content.decode()))


def _json(body: dict[str, Any]) -> httpx.Response:
    return httpx.Response(200, json=body)
