"""The app itself, as a visitor sees it: on its public address, or on a deployment's own.

- A status is a reading, not a fault: only no answer at all raises.
- A deployment's own address may be closed to strangers: that is called protected, not broken.
- The bypass secret goes to a deployment's own address only; redirects are not followed, so it goes nowhere else.
- A page is judged by its marker text, never by its status alone.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from dataclasses import dataclass
from urllib.parse import parse_qsl, urlsplit

from pydantic import SecretStr

from rollback_lib.errors import BadParameters, Unreachable
from rollback_lib.http import Api, Heard, Reply, Rule, Service
from rollback_lib.model import RequestClass
from rollback_lib.providers.settings import AppSettings
from rollback_lib.providers.shapes import a_mapping, a_text

__all__ = ["APP_RULES", "AppClient", "HealthReading", "PageReading", "VersionReading"]

APP_RULES = (Rule("GET", r"/.*|", RequestClass.READ),)

RAW_LIMIT = 500  # characters of a version answer that are kept
_ANY_REFUSAL = frozenset(range(300, 600))
_FRESH = (("accept", "*/*"), ("cache-control", "no-cache"))
_HOST = re.compile(r"[A-Za-z0-9.-]+(:[0-9]+)?")
_COMMENT = re.compile(r"<!--.*?-->", re.DOTALL)  # React puts one between two pieces of one text
_LOGIN = re.compile(r"/(sso|sso-api|login|\.well-known/vercel)(/|\?|$)")
_UNAUTHORIZED = 401
_OK = 200


@dataclass(frozen=True)
class HealthReading:
    """What the health endpoint answered."""

    status: int
    ok: bool  # 200, nothing else
    protected: bool  # closed to us: says nothing about health
    elapsed_s: float


@dataclass(frozen=True)
class VersionReading:
    """Which build answered."""

    status: int
    sha: str | None
    deployment: str | None
    raw: str  # redacted and cut
    protected: bool


@dataclass(frozen=True)
class PageReading:
    """What a page showed."""

    path: str
    status: int
    marker_found: bool
    protected: bool
    elapsed_s: float

    @property
    def ok(self) -> bool:
        """Say whether the page came and shows its marker."""
        return self.status == _OK and self.marker_found


class AppClient:
    """Reads the app.

    Args:
        settings: Addresses and paths.
        door: Makes the door to one address.
        bypass: Opens a protected deployment's own address; None: there is none.
    """

    def __init__(
        self, settings: AppSettings, door: Callable[[Service], Api], bypass: SecretStr | None
    ) -> None:
        self._settings, self._door, self._bypass = settings, door, bypass
        self._doors: dict[str, Api] = {}

    @property
    def heard(self) -> Heard | None:
        """Return the time of the public address beside ours, as its latest answer told it."""
        return self._api(None).heard

    def health_url(self, deployment: str | None = None) -> str:
        """Return the whole address of the health endpoint."""
        return self._base(deployment).rstrip("/") + self._settings.health_path

    def preview_url(self, deployment: str) -> str:
        """Return a deployment's own address, for a person to look at.

        Raises:
            Unreachable: What Vercel gives for its host is none; nothing was sent.
        """
        return self._base(deployment)

    def health(self, deployment: str | None = None) -> HealthReading:
        """Ask the health endpoint once.

        Args:
            deployment: Its host, to ask on its own address; None: the public address.

        Raises:
            BadParameters: A path with dots that lead elsewhere; nothing was sent.
            Unreachable: No answer at all, or the deployment's host is none.
        """
        reply = self._get(self._settings.health_path, deployment)
        shut = self._shut(reply, deployment)
        return HealthReading(reply.status, reply.status == _OK, shut, reply.elapsed_s)

    def version(self, deployment: str | None = None) -> VersionReading:
        """Ask which build answers; without a `version_path` nothing is asked and nothing known.

        Args:
            deployment: Its host, to ask on its own address; None: the public address.

        Raises:
            BadParameters: A path with dots that lead elsewhere; nothing was sent.
            Unreachable: No answer at all, or the deployment's host is none.
        """
        if not self._settings.version_path:
            return VersionReading(0, None, None, "no version_path in the parameters", protected=False)
        reply = self._get(self._settings.version_path, deployment)
        body = a_mapping(reply.json) if reply.status == _OK else {}
        raw = self._api(deployment).redact(reply.text)[:RAW_LIMIT]
        shut = self._shut(reply, deployment)
        sha, name = a_text(body.get("sha")) or None, a_text(body.get("deployment")) or None
        return VersionReading(reply.status, sha, name, raw, protected=shut)

    def page(self, path: str, marker: str, deployment: str | None = None) -> PageReading:
        """Fetch a page and look for its marker text.

        Args:
            path: Below the app's address.
            marker: As a visitor reads it; markup between its words does not count.
            deployment: Its host, to ask on its own address; None: the public address.

        Raises:
            BadParameters: A path with dots that lead elsewhere; nothing was sent.
            Unreachable: No answer at all, or the deployment's host is none.
        """
        reply = self._get(path, deployment)
        shut = self._shut(reply, deployment)
        return PageReading(path, reply.status, _shows(reply.text, marker), shut, reply.elapsed_s)

    def _get(self, path: str, deployment: str | None) -> Reply:
        bare, _, query = path.partition("#")[0].partition("?")
        if {".", ".."} & set(bare.split("/")):
            raise BadParameters(
                f"{path!r} is not a path of the app: it has dots that lead elsewhere.",
                "Nothing was sent.",
                "Correct the path in the parameters (app.*_path, app.pages).",
            )
        params = parse_qsl(query, keep_blank_values=True)
        return self._api(deployment).read("GET", bare, params=params, also=_ANY_REFUSAL)

    def _api(self, deployment: str | None) -> Api:
        base = self._base(deployment)
        if base not in self._doors:
            ours = deployment is not None and deployment.endswith(self._settings.preview_suffix)
            secret = self._bypass if ours else None
            opening = () if secret is None else (("x-vercel-protection-bypass", secret),)
            source = "VERCEL_AUTOMATION_BYPASS_SECRET"
            self._doors[base] = self._door(Service("app", base, APP_RULES, (*_FRESH, *opening), source))
        return self._doors[base]

    def _base(self, deployment: str | None) -> str:
        if deployment is None:
            return self._settings.url
        if not _HOST.fullmatch(deployment):
            raise Unreachable(
                f"{deployment!r} is not the host of a deployment, so it cannot be looked at.",
                "Nothing was sent there.",
                "Look at the deployment in the Vercel dashboard.",
            )
        return self._settings.preview.replace("{url}", deployment)

    def _shut(self, reply: Reply, deployment: str | None) -> bool:
        """Say whether a deployment's own address turned us away to log in."""
        if deployment is None:
            return False
        if reply.status == _UNAUTHORIZED:
            return True
        target = reply.headers.get("location", "") if 300 <= reply.status < 400 else ""  # noqa: PLR2004 - redirections
        host, ours = urlsplit(target).netloc, urlsplit(self._base(deployment)).netloc
        return bool(target) and (
            host not in {"", ours} or _LOGIN.search(urlsplit(target).path + "?") is not None
        )


def _shows(text: str, marker: str) -> bool:
    """Look for a text as a reader would: without comments, entities and line breaks."""
    shown = " ".join(html.unescape(_COMMENT.sub("", text)).split())
    return " ".join(marker.split()) in shown
