"""What each service answers when it does not do what it was asked.

- The bodies and headers are those of the real services; whoever reads them needs no simulator.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable

from starlette.responses import HTMLResponse, JSONResponse, PlainTextResponse, Response

from rollback_lib.simulator.spec import Fault, Service

__all__ = ["denied", "other_answer", "refused", "too_many"]

_GATEWAY_PAGE = "<html><head><title>{0}</title></head><body><h1>{0}</h1><hr>edge</body></html>"


def other_answer(service: Service, fault: Fault, status: int | None) -> Response:
    """Give the answer that comes in place of the service's own, whose status is known if it did the work."""
    if fault.kind == "empty_body":
        return Response(status_code=200 if status is None else status)
    if fault.kind == "html_body":
        return HTMLResponse(_GATEWAY_PAGE.format("Just a moment..."))
    if fault.kind == "502":
        return HTMLResponse(_GATEWAY_PAGE.format("502 Bad Gateway"), 502)
    return _SERVER_ERROR[service](int(fault.kind), _wait(fault, by_itself=False))


def too_many(service: Service, fault: Fault, reset_s: int) -> Response:
    """Give the 429 of a service; `reset_s` is on the platform's clock."""
    return _TOO_MANY[service](fault, reset_s)


def refused(service: Service, fault: Fault, path: str) -> Response:
    """Give the refusal that a fault names, in the service's own shape; `path` is what was asked for."""
    return _REFUSED[service](fault, path)


def denied(service: Service) -> Response:
    """Give the answer to a token that lacks the permission."""
    return _DENIED[service]()


_SERVER_ERROR: dict[str, Callable[[int, dict[str, str]], Response]] = {
    "vercel": lambda status, headers: JSONResponse(
        {"error": {"code": "internal_server_error", "message": "An unexpected internal error occurred"}},
        status,
        headers,
    ),
    "sentry": lambda status, headers: JSONResponse({"detail": "Internal Error"}, status, headers),
    "slack": lambda status, headers: JSONResponse({"ok": False, "error": "internal_error"}, status, headers),
    "app": lambda status, headers: PlainTextResponse("Internal Server Error", status, headers),
    **dict.fromkeys(
        ("convex", "convex_api"),
        lambda status, headers: JSONResponse(
            {
                "code": "InternalServerError",
                "message": "Your request couldn't be completed. Try again later.",
            },
            status,
            headers,
        ),
    ),
}


def _wait(fault: Fault, by_itself: bool) -> dict[str, str]:
    wanted = by_itself if fault.with_retry_after is None else fault.with_retry_after
    return {"Retry-After": str(fault.retry_after_s)} if wanted else {}


def _vercel_too_many(fault: Fault, reset_s: int) -> Response:
    limit = {"remaining": 0, "reset": reset_s, "resetMs": reset_s * 1000, "total": 120}
    text = "The rate limit of 120 exceeded for 'api-drill'. Try again in 1 second"
    headers = {"X-RateLimit-Limit": "120", "X-RateLimit-Remaining": "0", "X-RateLimit-Reset": str(reset_s)}
    body = {"error": {"code": "rate_limited", "message": text, "limit": limit}}
    return JSONResponse(body, 429, {**headers, **_wait(fault, by_itself=False)})


def _sentry_too_many(fault: Fault, reset_s: int) -> Response:
    text = "You are attempting to use this endpoint too frequently. Limit is 50 requests in 1 seconds"
    headers = {
        "X-Sentry-Rate-Limit-Limit": "50",
        "X-Sentry-Rate-Limit-Remaining": "0",
        "X-Sentry-Rate-Limit-Reset": str(reset_s),
        "X-Sentry-Rate-Limit-ConcurrentLimit": "50",
        "X-Sentry-Rate-Limit-ConcurrentRemaining": "49",
    }
    # Text in JSON form, but not declared as JSON: so the real one does.
    return HTMLResponse(json.dumps({"detail": text}), 429, {**headers, **_wait(fault, by_itself=False)})


_TOO_MANY: dict[str, Callable[[Fault, int], Response]] = {
    "vercel": _vercel_too_many,
    "sentry": _sentry_too_many,
    "slack": lambda fault, _: JSONResponse(
        {"ok": False, "error": "ratelimited"}, 429, _wait(fault, by_itself=True)
    ),
    "app": lambda fault, _: PlainTextResponse("Too Many Requests", 429, _wait(fault, by_itself=True)),
    **dict.fromkeys(
        ("convex", "convex_api"),
        lambda fault, _: JSONResponse(
            {"code": "RateLimited", "message": "Too many requests. Try again later."},
            429,
            _wait(fault, by_itself=False),
        ),
    ),
}


_DENIED: dict[str, Callable[[], Response]] = {
    "vercel": lambda: JSONResponse({"error": {"code": "forbidden", "message": "Not authorized"}}, 403),
    "sentry": lambda: JSONResponse({"detail": "You do not have permission to perform this action."}, 403),
    "slack": lambda: JSONResponse(
        {"ok": False, "error": "missing_scope", "needed": "chat:write", "provided": "identify"}
    ),
    "app": lambda: PlainTextResponse("Forbidden", 403),
    **dict.fromkeys(
        ("convex", "convex_api"),
        lambda: JSONResponse(
            {
                "code": "OperationNotPermitted",
                "message": "You do not have permission to perform this operation (deployment:deploy).",
            },
            403,
        ),
    ),
}


# Code and words by status; {0} is the last part of the path. Where no source quotes the real code, it is a likely one.
_VERCEL_WORDS = {
    400: ("bad_request", "Invalid request: `id` should be a deployment id, got {0!r}."),
    401: ("forbidden", "Not authorized"),
    402: ("payment_required", "To roll back further than the previous production deployment, upgrade to pro"),
    403: ("forbidden", "Not authorized"),
    404: ("not_found", "Deployment not found"),
    409: ("conflict", "A rollback to {0} is already in progress."),
    410: ("gone", "The deployment {0} has been deleted."),
    422: ("unprocessable_entity", "Deployment {0} is not eligible for rollback."),
}
_PROMOTE_WORDS = {
    409: ("conflict", "The provided deploymentId ({0}) is already the current production deployment."),
    422: ("unprocessable_entity", "Deployment {0} cannot be promoted."),
}
_SENTRY_WORDS = {
    400: "Invalid query.",
    401: "Invalid token",
    403: "You do not have permission to perform this action.",
    404: "The requested resource does not exist",
}


def _vercel_refusal(fault: Fault, path: str) -> Response:
    known = _VERCEL_WORDS | (_PROMOTE_WORDS if "/promote/" in path else {})
    if re.fullmatch(r"/v\d+/projects/[^/]+", path):
        known[404] = ("not_found", "Could not find the Project: {0}")
    code, words = known.get(fault.status or 0, ("bad_request", "Invalid request."))
    words = fault.message or words.format(path.rpartition("/")[2])
    return JSONResponse({"error": {"code": fault.code or code, "message": words}}, fault.status or 400)


def _sentry_refusal(fault: Fault, _path: str) -> Response:
    words = fault.message or _SENTRY_WORDS.get(fault.status or 0, "Invalid request.")
    return JSONResponse({"detail": words}, fault.status or 400)


def _slack_refusal(fault: Fault, path: str) -> Response:
    """Fail with HTTP 200 and the code; an incoming webhook fails with a status and the code as text."""
    if path.startswith("/services/"):
        return PlainTextResponse(fault.code, 400)
    return JSONResponse({"ok": False, "error": fault.code})


_REFUSED: dict[str, Callable[[Fault, str], Response]] = {
    "vercel": _vercel_refusal,
    "sentry": _sentry_refusal,
    "slack": _slack_refusal,
    "app": lambda fault, _: PlainTextResponse(fault.message or "Refused", fault.status or 400),
    **dict.fromkeys(
        ("convex", "convex_api"),
        lambda fault, _: JSONResponse(
            {"code": fault.code or "BadRequest", "message": fault.message or "Refused"}, fault.status or 400
        ),
    ),
}
