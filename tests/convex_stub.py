"""A stand-in for a Convex deployment and its control plane, for the official command line to push to.

It accepts whatever is pushed, writes down each request, and answers otherwise where a test says so. It knows no data and
runs no code: what it says is scripted.
"""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

from rollback_lib.node import node_binary

__all__ = ["ConvexStub", "Seen"]

NAME = "happy-otter-123"
KEY = f"prod:{NAME}|2718281828deploykey"
VALUE = "sk_live_2718281828"  # of an environment variable: each reply to a push holds them all
USERS = {
    "name": "list",
    "udfType": "Query",
    "visibility": {"kind": "public"},
    "args": '{"type":"object","value":{}}',
    "returns": None,
}
TABLE = {"tableName": "users", "indexes": [], "documentType": {"type": "object", "value": {}}}
_NO_CHANGE = {
    "allocatedComponentIds": {},
    "schemaIds": {},
    "indexDiffs": {"": {"added_indexes": [], "removed_indexes": []}},
}
_ROOT = {
    "definition": {
        "path": "",
        "definitionType": {"type": "app"},
        "childComponents": [],
        "httpMounts": {},
        "exports": {"type": "branch", "branch": []},
    },
    "schema": {"tables": [TABLE], "schemaValidation": True},
    "functions": {
        "users.js": {"functions": [USERS], "httpRoutes": None, "cronSpecs": None, "sourceMapped": None}
    },
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
_STARTED = {
    "environmentVariables": {"STRIPE_KEY": VALUE},
    "externalDepsId": None,
    "componentDefinitionPackages": {},
    "appAuth": [],
    "analysis": {"": _ROOT},
    "app": _APP,
    "schemaChange": _NO_CHANGE,
}
_HASHES = {
    "config": {"functions": "convex/"},
    "moduleHashes": [],
    "nodeDependencies": [],
    "udfServerVersion": "1.0.0",
    "nodeVersion": None,
}
_FINISHED = {"authDiff": {"added": [], "removed": []}, "definitionDiffs": {}, "componentDiffs": {}}


@dataclass(frozen=True)
class Seen:
    """One request."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes

    def json(self) -> Any:
        """Return its body, unpacked where it was packed."""
        packed = self.headers.get("content-encoding") == "br"
        return json.loads(_unpacked(self.body) if packed else self.body)


Answer = tuple[int, Any]


@dataclass
class ConvexStub:
    """What it has seen, and what it is to answer: by path, once for each in the list, the last one from then on."""

    address: str = ""
    seen: list[Seen] = field(default_factory=list)
    script: dict[str, list[Answer | Callable[[], Answer]]] = field(default_factory=dict)

    def answers(self, path: str, *script: Answer | Callable[[], Answer]) -> None:
        """Answer a path so from now on."""
        self.script[path] = list(script)

    @property
    def paths(self) -> list[str]:
        """Return the paths that were asked, in order."""
        return [one.path for one in self.seen]

    def last(self, path: str) -> Seen:
        """Return the last request to a path."""
        return next(one for one in reversed(self.seen) if one.path == path)

    def answer(self, path: str) -> Answer:
        """Say what is answered."""
        scripted = self.script.get(path)
        if scripted:
            found = scripted.pop(0) if len(scripted) > 1 else scripted[0]
            return found() if callable(found) else found
        known: dict[str, Any] = {
            "/api/deployment/url_for_key": self.address,
            "/api/deployment/team_and_project_for_key": _TEAM,
            "/api/get_config_hashes": _HASHES,
            "/api/deploy2/evaluate_push": {"schemaChange": _NO_CHANGE},
            "/api/deploy2/start_push": _STARTED,
            "/api/deploy2/wait_for_schema": {"type": "complete"},
            "/api/deploy2/finish_push": _FINISHED,
            "/api/deploy2/report_push_completed": {},
        }
        return (200, known[path]) if path in known else (404, {"code": "NotFound", "message": "no such path"})

    @contextmanager
    def serving(self) -> Iterator[ConvexStub]:
        """Serve on loopback."""
        server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))
        server.daemon_threads = True
        self.address = f"http://127.0.0.1:{server.server_address[1]}"
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield self
        finally:
            server.shutdown()
            server.server_close()
            thread.join()


_TEAM = {"team": "t", "project": "p", "teamId": 1, "projectId": 1, "reference": None, "isDefault": True}


def _handler(stub: ConvexStub) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def log_message(self, *_: Any) -> None:
            """Say nothing."""

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            headers = {name.lower(): value for name, value in self.headers.items()}
            path = self.path.partition("?")[0]
            stub.seen.append(Seen(self.command, path, headers, body))
            status, answer = stub.answer(path)
            if status == 0:  # an answer that is lost
                self.connection.close()
                return
            packed = json.dumps(answer).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(packed)))
            self.end_headers()
            self.wfile.write(packed)

        do_GET = do_POST  # noqa: N815 - the server's name for it

    return Handler


def _unpacked(body: bytes) -> bytes:
    script = "process.stdout.write(zlib.brotliDecompressSync(fs.readFileSync(0)))"
    command = [node_binary(), "-e", script]
    return subprocess.run(command, input=body, capture_output=True, check=True).stdout
