"""The Slack of a simulated company, served at the root of its own port.

- An API call is answered with HTTP 200, whether it worked or not; only a limited rate is a 429.
- A caller is known by the token, then by its scopes, and only then are the arguments looked at.
- GET and POST, form and JSON are the same call, except where a method does not take JSON.
- The webhook is the opposite: its HTTP status tells, its body is plain text.
"""

from __future__ import annotations

import json
from collections import deque
from collections.abc import Sequence
from typing import Any, Literal, Protocol
from urllib.parse import parse_qs

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from rollback_lib.simulator import company
from rollback_lib.simulator.slack_arguments import Arguments, Sent
from rollback_lib.simulator.slack_call import Call, Method
from rollback_lib.simulator.slack_limits import checked_blocks, cut_text
from rollback_lib.simulator.slack_reading import READING
from rollback_lib.simulator.slack_store import Draft, SlackRefusal, SlackState
from rollback_lib.simulator.slack_workspace import WEBHOOK_TEAM_AND_BOT
from rollback_lib.simulator.slack_writing import WRITING
from rollback_lib.simulator.spec import WorldSpec

__all__ = ["CHANGES", "SlackState", "World", "changes", "make_app", "rate_limited_response"]

_METHODS: dict[str, Method] = {**READING, **WRITING}
CHANGES = frozenset(name for name, method in _METHODS.items() if method.changes)
_API = "/api/"
_WEBHOOK_SCOPE = "incoming-webhook"
_WEBHOOK_STATUS = {"action_prohibited": 403, "no_service": 404, "rollup_error": 500}
_MINUTE_MS = 60_000
_POSTS_PER_MINUTE = 60  # a message a second in each channel


class World(Protocol):
    """What the chat needs to know of its world."""

    @property
    def spec(self) -> WorldSpec:
        """Return the world as data."""

    @property
    def slack(self) -> SlackState:
        """Return the workspace."""

    def now_ms(self) -> int:
        """Return the platforms' time."""

    def token_scopes(self, authorization: str | None, service: Literal["slack"], /) -> frozenset[str] | None:
        """Give what a caller may do; None for an unknown one."""


def changes(method: str, path: str) -> bool:
    """Tell whether a request changes something in the chat; what is not known is taken to."""
    name = path.removeprefix(_API)
    return name not in READING if path.startswith(_API) else method.upper() not in ("GET", "HEAD", "OPTIONS")


def rate_limited_response(retry_after_s: int = 30) -> Response:
    """Build the answer to a caller that asks too often."""
    return JSONResponse(
        {"ok": False, "error": "ratelimited"}, 429, headers={"Retry-After": str(retry_after_s)}
    )


def make_app(world: World) -> Starlette:
    """Build the application of one world's chat."""
    world.slack.follow(world.now_ms)
    door = _Door(world)
    return Starlette(
        routes=[
            Route("/api/{method}", door.api, methods=["GET", "POST"]),
            Route("/services/{team}/{bot}/{secret}", door.webhook, methods=["POST"]),
        ]
    )


class _Door:
    """What stands before every method."""

    def __init__(self, world: World) -> None:
        self._world = world

    @property
    def _state(self) -> SlackState:
        return self._world.slack

    async def api(self, request: Request) -> Response:
        """Answer a call of the API."""
        name = request.path_params["method"]
        method = _METHODS.get(name)
        if method is None:
            return _answer({"ok": False, "error": "unknown_method", "req_method": name})
        sent = Sent(request.query_params, request.headers.get("content-type", ""), await request.body())
        scopes: frozenset[str] | None = None
        with self._state.lock:
            try:
                authorization = request.headers.get("authorization")
                scopes = self._scopes(authorization or (f"Bearer {sent.token}" if sent.token else None))
                call = Call(self._state, Arguments({}), scopes, self._state.now_ms())
                call.need(*method.scopes)
                args = sent.arguments(takes_json=method.takes_json)
                wait_s = self._wait_s(name, method, args, call.now_ms)
                if wait_s:
                    return rate_limited_response(wait_s)
                found = method.run(Call(self._state, args, scopes, call.now_ms))
                body = {"ok": True, **found}
            except SlackRefusal as exc:
                body = {"ok": False, "error": exc.error, **exc.extra}
        response = _answer(_with_warning(body, "missing_charset") if sent.charset_missing else body)
        if scopes is not None:  # also with a refusal, as long as the token is one
            response.headers["x-oauth-scopes"] = ",".join(sorted(scopes))
            response.headers["x-accepted-oauth-scopes"] = ",".join(method.scopes)
        return response

    def _scopes(self, authorization: str | None) -> frozenset[str]:
        if authorization is None:
            raise SlackRefusal("not_authed")
        scopes = self._world.token_scopes(authorization, "slack")
        if scopes is None:
            raise SlackRefusal("invalid_auth")
        return scopes

    def _wait_s(self, name: str, method: Method, args: Arguments, now_ms: int) -> int:
        """Count a call; give the seconds to wait if there were too many in the last minute."""
        if not self._state.switches.enforce_tiers:
            return 0
        posting = name == "chat.postMessage"
        limit = _POSTS_PER_MINUTE if posting else method.per_minute
        calls = self._state.calls.setdefault((name, args.text("channel") if posting else ""), deque())
        while calls and calls[0] <= now_ms - _MINUTE_MS:
            calls.popleft()
        if len(calls) >= limit:
            return max(1, -(-(calls[0] + _MINUTE_MS - now_ms) // 1000))
        calls.append(now_ms)
        return 0

    async def webhook(self, request: Request) -> Response:
        """Take a message by an incoming webhook; its channel is fixed."""
        team, bot, secret = (request.path_params[name] for name in ("team", "bot", "secret"))
        scopes = self._world.token_scopes(f"Bearer {secret}", "slack") or frozenset()
        if (team, bot) != WEBHOOK_TEAM_AND_BOT or _WEBHOOK_SCOPE not in scopes:
            return PlainTextResponse("no_service", 404)
        mood = self._state.switches.webhook
        if mood != "works":
            return PlainTextResponse(mood, _WEBHOOK_STATUS[mood])
        raw = await request.body()
        with self._state.lock:
            channel = self._state.channels[company.CHANNEL_INCIDENTS]
            if channel.is_archived:
                return PlainTextResponse("channel_is_archived", 410)
            try:
                draft = _webhook_draft(raw, request.headers.get("content-type", ""))
            except SlackRefusal as exc:
                return PlainTextResponse(exc.error, 400)
            self._state.post(channel.id, draft, self._state.now_ms(), user=None, bot_id=bot)
        return PlainTextResponse("ok")


def _webhook_draft(raw: bytes, content_type: str) -> Draft:
    text = raw.decode("utf-8", errors="replace")
    if content_type.startswith("application/x-www-form-urlencoded"):
        text = parse_qs(text).get("payload", [""])[0]
    try:
        payload = json.loads(text)
    except ValueError as exc:
        raise SlackRefusal("invalid_payload") from exc
    if not isinstance(payload, dict):
        raise SlackRefusal("invalid_payload")
    args = Arguments(payload)
    blocks = checked_blocks(args.structure("blocks", "invalid_blocks"))
    said, _ = cut_text(args.text("text"))
    if not said and not blocks and not payload.get("attachments"):
        raise SlackRefusal("no_text")
    return Draft(said, blocks=blocks, attachments=payload.get("attachments"))


def _with_warning(body: dict[str, Any], warning: str) -> dict[str, Any]:
    metadata = body.get("response_metadata", {})
    warnings: Sequence[str] = [*metadata.get("warnings", []), warning]
    return {
        **body,
        "warning": ",".join(warnings),
        "response_metadata": {**metadata, "warnings": list(warnings)},
    }


def _answer(body: dict[str, Any]) -> Response:
    return JSONResponse(body, headers={"Content-Type": "application/json; charset=utf-8"})
