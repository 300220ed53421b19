"""A registry of npm packages on loopback, with one package in it, so that installing needs no network."""

from __future__ import annotations

import base64
import hashlib
import io
import json
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

__all__ = ["Registry", "write_project"]

PACKAGE = "tiny"
_MANIFEST = {"name": PACKAGE, "version": "1.0.0", "scripts": {"install": "touch ran-a-script"}}


def _tarball() -> bytes:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as tar:
        for name, text in (("package.json", json.dumps(_MANIFEST)), ("index.js", "module.exports = 1\n")):
            entry = tarfile.TarInfo(f"package/{name}")
            entry.size, entry.mode = len(text), 0o644
            tar.addfile(entry, io.BytesIO(text.encode()))
    return packed.getvalue()


class Registry:
    """One package in two versions; it notes who asked with which authorization, and may keep everybody waiting."""

    def __init__(self) -> None:
        self.tarball = _tarball()
        self.asked: list[tuple[str, str]] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.address = ""
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(self))

    @property
    def integrity(self) -> str:
        """The hash of the package, as a lockfile has it."""
        return "sha512-" + base64.b64encode(hashlib.sha512(self.tarball).digest()).decode()

    @contextmanager
    def serving(self) -> Iterator[Registry]:
        """Serve it until the end of the block, or until it is closed."""
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()
        try:
            yield self
        finally:
            self.close()

    def close(self) -> None:
        """Be gone: who asks from now on is refused the connection."""
        self.go_on.set()
        self._server.shutdown()
        self._server.server_close()

    def answer(self, path: str) -> bytes:
        """Give the package, or what is known of it."""
        if path.endswith(".tgz"):
            return self.tarball
        dist = {"tarball": f"{self.address}tiny/-/tiny-1.0.0.tgz", "integrity": self.integrity}
        versions = {number: {**_MANIFEST, "version": number, "dist": dist} for number in ("1.0.0", "2.0.0")}
        about = {"name": PACKAGE, "dist-tags": {"latest": "1.0.0"}}
        return json.dumps({**about, "versions": versions}).encode()


def _handler(registry: Registry) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            registry.asked.append((self.path, self.headers.get("Authorization", "")))
            registry.go_on.wait(20)
            body = registry.answer(self.path)
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-cache")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    return Handler


def write_project(folder: Path, integrity: str) -> Path:
    """Write a project that wants the package, and its lockfile."""
    folder.mkdir(parents=True, exist_ok=True)
    wanted = {"name": "app", "dependencies": {PACKAGE: "1.0.0"}}
    found = {"version": "1.0.0", "integrity": integrity, "hasInstallScript": True}
    packages = {"": wanted, f"node_modules/{PACKAGE}": found}
    lock = {"name": "app", "lockfileVersion": 3, "requires": True, "packages": packages}
    (folder / "package.json").write_text(json.dumps(wanted), encoding="utf-8")
    (folder / "package-lock.json").write_text(json.dumps(lock), encoding="utf-8")
    return folder
