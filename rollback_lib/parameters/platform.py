"""Where the platforms are: addresses, ids and names, one model a platform.

- A value of the wrong shape is refused, so that a name is never sent where an id is meant.
- `addresses` finds every address by its type; an address in a plain text field would escape it.
- Trailing slashes of addresses go, a path prefix stays.
"""

from __future__ import annotations

import pathlib
import re
from collections.abc import Iterator
from enum import Enum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, Field, StringConstraints

from rollback_lib.parameters.hosts import (
    Address,
    address_of,
    fault_in_drill,
    fault_outside_drills,
    template_of,
)
from rollback_lib.parameters.words import Fault, Place
from rollback_lib.yamlfile import Frozen

__all__ = [
    "App",
    "Bucket",
    "Convex",
    "Flows",
    "Kind",
    "Maintenance",
    "Page",
    "Platform",
    "Query",
    "Sentry",
    "Slack",
    "Tickets",
    "Vercel",
    "address_faults",
    "addresses",
    "signers_file",
]

_STORES = ("s3", "gs", "az")  # buckets, by the scheme of their address


class Kind(Enum):
    """What an address is; it marks the fields that hold one."""

    URL = "url"
    TEMPLATE = "template"
    LOCATION = "location"  # a folder, or an address


def _url(text: str) -> str:
    address_of(text)
    return text.rstrip("/")


def _template(text: str) -> str:
    template_of(text)
    return text.rstrip("/")


def _location(text: str | None) -> str | None:
    if text is None:
        return None
    if not text.strip():
        raise ValueError("must be a folder, or the address of a bucket")
    scheme, mark, _ = text.partition("://")
    if mark and scheme not in _STORES:
        address_of(text)
    return text


def _path(text: str) -> str:
    if re.fullmatch(r"/(?!/)[!-~]*", text) is None or any(sign in text for sign in "\\#"):
        raise ValueError("must be a path that begins with one /, such as /api/health")
    return text


def _optional_path(text: str) -> str:
    return _path(text) if text else text


def _folder(text: str) -> str:
    parts = text.rstrip("/").split("/")
    if any(re.fullmatch(r"[A-Za-z0-9_][A-Za-z0-9._-]*", part) is None for part in parts):
        raise ValueError("must be a folder inside the repository, such as convex/")
    return "/".join(parts) + "/"


def _host(text: str) -> str:
    if (
        re.fullmatch(r"(?=.{4,253}$)([a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?\.)+[a-z][a-z0-9-]{1,62}", text)
        is None
    ):
        raise ValueError("must be a bare host name in lower case, such as derrimut247.com.au")
    return text


def _sentry_root(text: str) -> str:
    if "/api/0" in text:
        raise ValueError("must end before /api/0, such as https://us.sentry.io")
    return text


def _shaped(pattern: str, wanted: str) -> AfterValidator:
    def check(text: str) -> str:
        if re.fullmatch(pattern, text) is None:
            raise ValueError(f"must be {wanted}")
        return text

    return AfterValidator(check)


Text = Annotated[str, StringConstraints(min_length=1)]
Url = Annotated[str, Kind.URL, AfterValidator(_url)]
Template = Annotated[str, Kind.TEMPLATE, AfterValidator(_template)]
Location = Annotated[str, Kind.LOCATION, AfterValidator(_location)]
MaybeLocation = Annotated[str | None, Kind.LOCATION, AfterValidator(_location)]
Path = Annotated[str, AfterValidator(_path)]
Channel = Annotated[
    str, _shaped(r"[CG][A-Z0-9]{2,}", "a channel's id such as C0123456789, not its name: the name can change")
]
Suffix = Annotated[
    str, _shaped(r"(\.[a-z0-9-]+){2,}", "the end of a host name with its leading dot, such as .vercel.app")
]
Slug = Annotated[str, _shaped(r"[A-Za-z0-9][A-Za-z0-9._-]*", "an id or short name of letters, digits, . _ -")]
FunctionPath = Annotated[
    str,
    _shaped(r"[A-Za-z0-9_]+(/[A-Za-z0-9_]+)*(:[A-Za-z0-9_]+)?", "a function such as users:getUserByClerkId"),
]
Team = Annotated[
    str, _shaped(r"(team_[A-Za-z0-9]+)?", "a team's id such as team_a1B2c3, or empty for a personal account")
]


class Vercel(Frozen):
    """The Vercel project that a run may change."""

    api_url: Url
    team_id: Team
    project: Slug  # id or name


class Query(Frozen):
    """A query of the app's own that is made after a push, and what its answer must have."""

    path: FunctionPath
    args: Annotated[dict[str, Any], Field(default_factory=dict)]  # as JSON: what the function is called with
    fields: tuple[Text, ...] = ()  # of the object that comes back; none: any answer but null will do


class Convex(Frozen):
    """The Convex deployment, and the app's repository from which its code is pushed.

    `api_url` is Convex's own control plane, whose command line asks it where a key leads.
    """

    url: Url  # of the deployment itself, as Convex tells it for the deploy key
    api_url: Url
    deployment: Slug  # its name, as it stands in the deploy key: happy-otter-123
    repository: Text  # a folder: a full clone of the app's repository; a relative one is under the project's
    branch: Annotated[str, _shaped(r"[A-Za-z0-9_][A-Za-z0-9._/-]*", "the name of a branch")] = (
        "main"  # what production is built from
    )
    functions_folder: Annotated[str, AfterValidator(_folder)] = "convex/"
    canary: Query | None = None  # finds a user who exists for such checks; None: unchecked, and said so
    queries: tuple[Query, ...] = ()  # more that must work

    def clone(self, home: pathlib.Path) -> pathlib.Path:
        """Return the folder of the app's repository; a relative one is below the project's."""
        return home / pathlib.Path(self.repository).expanduser()


class Sentry(Frozen):
    """Where the error rate is read; `api_url` ends before /api/0."""

    api_url: Annotated[Url, AfterValidator(_sentry_root)]
    organization: Slug
    project: Slug
    environment: Slug
    error_metric: Text = "http_response_rate(5)"


class Slack(Frozen):
    """The workspace's channels, by id."""

    api_url: Url
    incidents_channel: Channel
    engineering_channel: Channel


class Page(Frozen):
    """A critical page: reached by its path, recognised by text, never by status alone."""

    path: Path
    marker: Text
    flow: Text  # of the plan's critical flows


class App(Frozen):
    """The app itself. `preview` is the template of a deployment's own address."""

    url: Url
    domain: Annotated[str, AfterValidator(_host)]
    preview: Template = "https://{url}"
    preview_suffix: Suffix = ".vercel.app"  # only deployments' hosts that end so are shown the bypass secret
    health_path: Path
    version_path: Annotated[str, AfterValidator(_optional_path)]  # empty: the app does not tell
    pages: Annotated[tuple[Page, ...], Field(min_length=1)]


class Tickets(Frozen):
    """Where incident tickets are kept."""

    api_url: Url
    repository: Annotated[
        str, _shaped(r"[A-Za-z0-9-]+/[A-Za-z0-9._-]+", "owner/name of the tickets' repository")
    ]
    labels: tuple[Text, ...] = ("incident",)


class Flows(Frozen):
    """Who walks the critical flows in a browser; the password is a secret."""

    user: Text
    timeout_s: Annotated[float, Field(gt=0, allow_inf_nan=False)]


class Maintenance(Frozen):
    """The maintenance page, and the header by which our own checks pass it."""

    page: Path
    bypass_header: Annotated[str, _shaped(r"[A-Za-z0-9-]+", "the name of a header")]


class Bucket(Frozen):
    """How an s3:// location is reached; the keys are secrets."""

    endpoint: Url | None = None  # None: the region's own
    region: Slug = "us-east-1"


class Platform(Frozen):
    """Every place that a run of one environment may talk to."""

    vercel: Vercel
    sentry: Sentry
    slack: Slack
    app: App
    archive: Location = "incidents"
    convex: Convex | None = None
    tickets: Tickets | None = None
    flows: Flows | None = None
    maintenance: Maintenance | None = None
    backups: MaybeLocation = None
    state: Location = "state"  # leases, approvals, and what another machine needs to take a run over
    bucket: Bucket = Bucket()
    signers: Text | None = None  # file of the keys that may approve; None: parameters/signers/<environment>


def signers_file(platform: Platform, environment: str) -> pathlib.Path:
    """Return the file of an environment's keys that may approve; a relative one is under the project's folder."""
    if platform.signers is not None:
        return pathlib.Path(platform.signers).expanduser()
    return pathlib.Path("parameters", "signers", environment)


def addresses(model: BaseModel, place: Place = ()) -> Iterator[tuple[Place, Kind, str]]:
    """Walk over every field that may hold an address, with its place."""
    for name, field in type(model).model_fields.items():
        value: Any = getattr(model, name)
        kind = next((mark for mark in field.metadata if isinstance(mark, Kind)), None)
        if kind is not None and value is not None:
            yield (*place, name), kind, value
        elif isinstance(value, BaseModel):
            yield from addresses(value, (*place, name))


def address_faults(platform: Platform, environment: str) -> Iterator[Fault]:
    """Find the addresses that this environment must not use.

    Args:
        platform: Well-shaped values.
        environment: `drill` takes loopback only; the others take https and never loopback.
    """
    local_bucket = platform.bucket.endpoint is not None  # which is an address, and judged as one
    for place, kind, text in addresses(platform):
        fault = _fault(kind, text, environment == "drill", local_bucket)
        if fault is not None:
            yield place, fault


def _fault(kind: Kind, text: str, in_drill: bool, local_bucket: bool) -> str | None:
    if kind is Kind.LOCATION and "://" not in text:
        return None
    if kind is Kind.LOCATION and text.partition("://")[0] in _STORES:
        unbound = in_drill and not local_bucket
        return "must be a folder or a loopback address in a drill" if unbound else None
    address: Address = template_of(text) if kind is Kind.TEMPLATE else address_of(text)
    return fault_in_drill(address) if in_drill else fault_outside_drills(address)
