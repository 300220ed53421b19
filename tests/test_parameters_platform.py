"""Platforms are described by addresses, ids and names of the right shape."""

from __future__ import annotations

import json

import pytest
import yaml
from parameters_project import ROOT, configured, edit, line_number, opened, project, snapshot
from pydantic import ValidationError

from rollback_lib.errors import BadParameters
from rollback_lib.parameters.platform import Platform, address_faults, addresses

DRILL = yaml.safe_load((ROOT / "parameters/drill.yaml").read_text())["platform"]
LATER = {
    "convex": {
        "url": "https://x.convex.cloud",
        "api_url": "https://api.convex.dev",
        "deployment": "quick-fox-1",
        "repository": "../app",
    },
    "tickets": {"api_url": "https://api.github.com", "repository": "derrimut/ops"},
    "flows": {"user": "member@derrimut247.com.au", "timeout_s": 30},
    "maintenance": {"page": "/maintenance.html", "bypass_header": "x-maintenance-bypass"},
    "backups": "s3://derrimut-backups",
    "state": "state",
}


def made(**changes):
    """Build a platform from the drill's, with some parts replaced by dotted name."""
    tree = json.loads(json.dumps(DRILL))
    for name, value in changes.items():
        *path, last = name.split("__")
        part = tree
        for key in path:
            part = part[key]
        part[last] = value
    return Platform.model_validate_json(json.dumps(tree))


def test_the_drill_file_describes_the_simulated_company():
    """The committed drill is well-shaped and loopback throughout."""
    platform = made()
    assert list(address_faults(platform, "drill")) == []
    assert platform.app.pages[0].marker == "Sign in to Derrimut"


def test_every_address_in_the_platform_is_found():
    """No field that holds an address escapes the judgement on hosts."""
    platform = made(**LATER, archive="https://records.derrimut247.com.au/a")
    found = {text for _, _, text in addresses(platform)}
    written = {text for text in _leaves(platform.model_dump()) if "://" in text}
    assert len(written) > 8
    assert written <= found


def _leaves(value):
    if isinstance(value, str):
        yield value
    for part in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list | tuple) else ()
    ):
        yield from _leaves(part)


def test_platforms_of_later_procedures_are_accepted_by_shape():
    """Convex, tickets, flows, maintenance, backups and state may already be described."""
    platform = made(**LATER)
    assert platform.tickets is not None
    assert platform.tickets.labels == ("incident",)
    assert [place for place, _ in address_faults(platform, "drill")] == [
        ("convex", "url"),
        ("convex", "api_url"),
        ("tickets", "api_url"),
        ("backups",),
    ]


def test_convex_needs_four_values_and_has_defaults_for_the_rest():
    """Branch and folder are what is usual; no query is made unless it is named."""
    convex = made(**LATER).convex
    assert convex is not None
    assert (convex.branch, convex.functions_folder) == ("main", "convex/")
    assert (convex.canary, convex.queries) == (None, ())
    asked = {"path": "users:getUserByClerkId", "args": {"clerkId": "user_1"}, "fields": ["_id", "email"]}
    told = LATER["convex"] | {
        "canary": asked,
        "queries": [{"path": "plans:list"}],
        "functions_folder": "src/convex",
    }
    convex = made(convex=told).convex
    assert convex is not None
    assert convex.canary is not None
    assert (convex.canary.args, convex.canary.fields) == ({"clerkId": "user_1"}, ("_id", "email"))
    assert (convex.queries[0].args, convex.queries[0].fields) == ({}, ())
    assert convex.functions_folder == "src/convex/"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("functions_folder", "../convex"),
        ("functions_folder", "/convex"),
        ("functions_folder", ""),
        ("branch", "--all"),
        ("deployment", "prod:happy-otter-123"),
        ("canary", {"path": "users.js:get"}),
        ("canary", {"path": "../users:get"}),
        ("canary", {"path": "users:get", "field": ["a"]}),
    ],
)
def test_convex_of_another_shape_is_refused(name, value):
    """A folder that leads elsewhere, a branch that is an option, a name that is a key's."""
    with pytest.raises(ValidationError):
        made(convex=LATER["convex"] | {name: value})


def test_defaults_are_those_of_the_platforms():
    """Preview, error metric and archive need not be written."""
    tree = json.loads(json.dumps(DRILL))
    del tree["app"]["preview"], tree["sentry"]["error_metric"], tree["archive"]
    platform = Platform.model_validate_json(json.dumps(tree))
    assert (platform.app.preview, platform.archive) == ("https://{url}", "incidents")
    assert platform.sentry.error_metric == "http_response_rate(5)"


def test_a_path_prefix_of_the_app_is_kept():
    """Only the trailing slash goes."""
    assert made(app__url="http://127.0.0.1:7404/base/").app.url == "http://127.0.0.1:7404/base"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("vercel__api_url", "api.vercel.com"),
        ("vercel__api_url", "https://user:pass@api.vercel.com"),
        ("vercel__team_id", "derrimut"),
        ("vercel__project", "derrimut/platform"),
        ("sentry__api_url", "http://127.0.0.1:7402/api/0"),
        ("sentry__project", 4509),
        ("slack__incidents_channel", "#incidents"),
        ("slack__incidents_channel", "incidents"),
        ("app__domain", "https://derrimut247.drill"),
        ("app__domain", "127.0.0.1"),
        ("app__health_path", "api/health"),
        ("app__health_path", "//evil.com/health"),
        ("app__health_path", "@evil.com"),
        ("app__health_path", ""),
        ("app__health_path", "/\\evil.com"),
        ("app__pages", []),
        ("app__pages", [{"path": "/a", "marker": "", "flow": "User login"}]),
        ("app__pages", [{"path": "/a", "marker": "A"}]),
        ("app__preview", "https://app.vercel.app"),
        ("app__preview_suffix", "vercel.app"),  # evilvercel.app ends so too
        ("app__preview_suffix", ".app"),
        ("app__preview_suffix", ""),
        ("archive", ""),
        ("archive", "ftp://host/x"),
        ("backups", " "),
        ("app__custom_environment", "staging"),
    ],
)
def test_a_value_of_the_wrong_shape_is_refused(name, value):
    """Names where ids belong, addresses where hosts belong and the like do not pass."""
    with pytest.raises(ValidationError):
        made(**{name: value})


@pytest.mark.parametrize("value", ["", "team_a1B2"])
def test_a_personal_account_has_no_team(value):
    """The team's id may be empty, and then nothing is sent for it."""
    assert made(vercel__team_id=value).vercel.team_id == value


def test_an_app_without_a_version_page_says_so_by_an_empty_path():
    """An empty version path is a statement, not a fault."""
    assert made(app__version_path="").app.version_path == ""


@pytest.mark.parametrize(
    ("archive", "in_drill", "outside"),
    [
        ("incidents", True, True),
        ("/srv/records", True, True),
        ("s3://bucket/prefix", False, True),
        ("https://records.derrimut247.com.au", False, True),
        ("http://127.0.0.1:9000/records", True, False),
    ],
)
def test_an_archive_is_a_folder_or_an_address_of_the_environment(archive, in_drill, outside):
    """A drill's records stay on this machine."""
    platform = made(archive=archive)
    faulty = [{place for place, _ in address_faults(platform, name)} for name in ("drill", "production")]
    assert [("archive",) not in places for places in faulty] == [in_drill, outside]


def test_a_public_host_in_the_drill_file_is_refused_with_its_line(tmp_path):
    """A drill that would reach out is not opened, and leaves no file."""
    home = project(tmp_path)
    edit(home, "drill.yaml", "http://127.0.0.1:7402", "https://us.sentry.io")
    line = line_number(home, "drill.yaml", "us.sentry.io")
    before = snapshot(tmp_path)
    with pytest.raises(
        BadParameters, match=rf"drill\.yaml, line {line}: platform\.sentry\.api_url.*loopback"
    ):
        opened(home)
    assert snapshot(tmp_path) == before


@pytest.mark.parametrize("url", ["http://derrimut247.com.au", "https://127.0.0.1:7404", "https://localhost"])
def test_a_plain_or_local_host_in_production_is_refused(tmp_path, url):
    """Production never talks without https, and never to a simulator."""
    home = configured(tmp_path)
    edit(home, "production.yaml", "url: https://derrimut247.com.au", f"url: {url}")
    line = line_number(home, "production.yaml", f"url: {url}")
    with pytest.raises(BadParameters, match=rf"production\.yaml, line {line}: platform\.app\.url"):
        opened(home, {"environment": "production", "operator": "lead"})


def test_staging_in_productions_project_is_refused_with_the_reason(tmp_path):
    """A custom environment of production's project cannot be rolled back alone."""
    home = configured(tmp_path)
    edit(home, "staging.yaml", "    project: web  # staging's own", "    project: derrimut-platform  #")
    with pytest.raises(BadParameters, match="a rollback in it moves production"):
        opened(home, {"environment": "staging", "operator": "lead"})
