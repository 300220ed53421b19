"""A deployment that takes any push and keeps what it was given: enough for the official command line, and no more.

- It answers each request of `convex deploy` with the least that the command line accepts.
- It says that it has no modules, so that every module is pushed.
- Bodies are kept as they came, compressed.
"""

from __future__ import annotations

import json
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

__all__ = ["ADMIN_KEY", "Recorder"]

ADMIN_KEY = "recorder|made-up"
_SCHEMA_CHANGE: dict[str, Any] = {
    "allocatedComponentIds": {},
    "schemaIds": {},
    "indexDiffs": {"": {"added_indexes": [], "removed_indexes": []}},
}
_ANALYSIS = {
    "definition": {
        "path": "",
        "definitionType": {"type": "app"},
        "childComponents": [],
        "httpMounts": {},
        "exports": {"type": "branch", "branch": []},
    },
    "schema": None,
    "functions": {},
    "udfConfig": {"serverVersion": "1.0.0", "importPhaseRngSeed": "", "importPhaseUnixTimestamp": ""},
}
_APP = {
    "definitionPath": "",
    "componentPath": "",
    "args": {},
    "childComponents": {},
    "httpRoutes": {"httpModuleRoutes": None, "mounts": []},
    "exports": {},
}
_ANSWERS: dict[str, Any] = {
    "/api/get_config_hashes": {
        "config": {"functions": "convex/"},
        "moduleHashes": [],
        "nodeDependencies": [],
        "udfServerVersion": "1.0.0",
        "nodeVersion": None,
    },
    "/api/deploy2/evaluate_push": {"schemaChange": _SCHEMA_CHANGE},
    "/api/deploy2/start_push": {
        "environmentVariables": {},
        "externalDepsId": None,
        "componentDefinitionPackages": {},
        "appAuth": [],
        "analysis": {"": _ANALYSIS},
        "app": _APP,
        "schemaChange": _SCHEMA_CHANGE,
    },
    "/api/deploy2/wait_for_schema": {"type": "complete"},
    "/api/deploy2/finish_push": {
        "authDiff": {"added": [], "removed": []},
        "definitionDiffs": {},
        "componentDiffs": {},
    },
    "/api/deploy2/report_push_completed": {},
}


class Recorder:
    """Served on a port of its own; `pushed` is the compressed body of the last start_push, `asked` every path."""

    def __init__(self) -> None:
        self.pushed = b""
        self.asked: list[str] = []
        self.address = ""

    @classmethod
    @contextmanager
    def serving(cls) -> Iterator[Recorder]:
        """Serve a new one until the end of the block."""
        recorder = cls()
        server = _Server(("127.0.0.1", 0), _handler(recorder))
        recorder.address = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        try:
            yield recorder
        finally:
            server.shutdown()
            server.server_close()

    def take(self, path: str, body: bytes) -> tuple[int, Any]:
        """Note a request and tell its answer; what is not known gets a 404, as from an older deployment."""
        self.asked.append(path)
        if path == "/api/deploy2/start_push":
            self.pushed = body
        if path == "/api/v1/get_canonical_urls":  # before it runs a build command
            return 200, dict.fromkeys(("convexCloudUrl", "convexSiteUrl"), self.address)
        if path not in _ANSWERS:
            return 404, {"code": "NotFound", "message": f"{path} is not recorded"}
        return 200, _ANSWERS[path]


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of connections that the command line drops at its end."""
        if not isinstance(sys.exc_info()[1], ConnectionError):
            super().handle_error(request, client_address)


def _handler(recorder: Recorder) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self.do_POST()

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            status, answer = recorder.take(self.path.partition("?")[0], body)
            data = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        def log_message(self, *_: Any) -> None:
            """Keep the terminal free."""

    return Handler
