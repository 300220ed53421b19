"""Injected values come before the file's and the defaults, and all of it is checked before anything is sent."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import FrozenInstanceError

import pytest
from parameters_project import VercelParameters, as_injected, configured, edit, opened, project, snapshot

import rollback_lib.parameters
from rollback_lib.errors import BadParameters
from rollback_lib.parameters import PROCEDURE_PARAMETERS, RunParameters, resolve

PRODUCTION = {"environment": "production", "operator": "lead"}


@pytest.fixture
def home(tmp_path):
    """A project whose production and staging are configured."""
    return configured(tmp_path)


def refused(home, namespace, **more):
    """Open, expect a refusal that leaves nothing behind, and return its message."""
    before = snapshot(home)
    with pytest.raises(BadParameters) as caught:
        opened(home, namespace, **more)
    assert snapshot(home) == before
    assert caught.value.state == "Nothing was sent; no run was begun or changed."
    return str(caught.value)


# -- the notebook's own parameters


def test_default_parameters_touch_only_a_drill(home):
    """With nothing given the environment is the drill, interactive, operated by its persona."""
    resolved = opened(home)
    assert resolved.parameters.environment == "drill"
    assert resolved.parameters.mode == "interactive"
    assert resolved.operator.name == "Ana Operator"
    assert resolved.injected == ()


@pytest.mark.parametrize("value", ["no", "FALSE", "true", "False", 0, 1, None, "", 1.0])
@pytest.mark.parametrize("flag", ["dry_run", "new_run"])
def test_a_flag_that_is_no_flag_is_refused_with_what_came(home, flag, value):
    """A text such as papermill's `-p dry_run no` gives is refused: Python would take it for true."""
    message = refused(home, {flag: value})
    assert f"{flag} must be true or false" in message
    assert f"{value!r} came" in message


@pytest.mark.parametrize("value", [True, False])
def test_a_real_flag_is_taken(home, value):
    """True and false pass as they are."""
    assert opened(home, {"dry_run": value}).parameters.dry_run is value


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("mode", "headles", "mode must be 'interactive' or 'headless' (the text 'headles' came)"),
        ("severity", "P3", "severity must be '', 'P0', 'P1' or 'P2'"),
        ("severity", "p0", "severity must be"),
        ("method", "redeploy", "method must be 'rollback' or 'promote' (the text 'redeploy' came)"),
        ("incident", 5, "incident must be text; put a number in quotes (5 came)"),
        ("incident", 5, """on the command line: -p 'incident="5"'"""),
        ("deployment", None, "deployment must be text"),
        ("platform", "x", "platform must be a mapping"),
        ("platform", json, "platform must be a mapping of names to values (a module came)"),
        ("confirm", 5, "confirm must be text, or a mapping of gate ids to texts"),
        ("confirm", {"P1.G1": 5}, "confirm must be text, or a mapping of gate ids to texts"),
        ("incident", "../../etc", "incident must be an id"),
        ("incident", "..", "incident must be an id"),
        ("run", "a/b", "run must be an id"),
        ("run", "a\n", "run must be an id"),
    ],
)
def test_an_ill_typed_parameter_is_refused_with_what_is_allowed(home, name, value, said):
    """The message names the parameter, what came and what is allowed, in plain words."""
    message = refused(home, {name: value})
    assert said in message
    assert message.count("confirm must") <= 1
    assert "pydantic" not in message
    assert "Input should" not in message


def test_all_ill_typed_parameters_are_told_at_once(home):
    """One correction round is enough."""
    message = refused(home, {"mode": "x", "dry_run": "no", "run": 7})
    assert all(name in message for name in ("mode must", "dry_run must", "run must"))


@pytest.mark.parametrize(
    "text", ["", "-20m", "-90 s", "-1.5h", "-2d", "2026-11-23T21:50:00Z", "2026-11-23T21:50:00.5+11:00"]
)
def test_a_beginning_in_either_form_is_taken(home, text):
    """A time with its zone or a span before now, or nothing."""
    assert opened(home, {"issue_started_at": text}).parameters.issue_started_at == text


@pytest.mark.parametrize(
    "text",
    ["yesterday", "2026-11-23T21:50:00", "20m", "-20", "-20w", "2026-13-01T00:00:00Z", "-99999999999d"],
)
def test_a_beginning_in_another_form_is_refused_showing_both(home, text):
    """Without a zone the time would be guessed; the message shows both forms."""
    message = refused(home, {"issue_started_at": text})
    assert "2026-11-23T21:50:00Z" in message
    assert "-20m" in message


@pytest.mark.parametrize(("number", "meant"), [(-20, "-20m"), (20, "-20m"), (-1.5, "-1.5m")])
def test_a_beginning_without_its_unit_is_refused_with_what_to_write(home, number, meant):
    """A shell's -20 is a number: quotes would not help, the unit does; and what is said to write is taken."""
    message = refused(home, {"issue_started_at": number})
    assert f"issue_started_at is the number {number}, without a unit: write {meant} " in message
    assert "quotes" not in message
    assert opened(home, {"issue_started_at": meant}).parameters.issue_started_at == meant


def test_a_procedures_own_parameters_are_among_the_known():
    """What procedure 1 adds may stand in a parameter file."""
    assert set(VercelParameters.model_fields) - set(RunParameters.model_fields) <= PROCEDURE_PARAMETERS


# -- the operator


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_an_unnamed_operator_is_refused_outside_drills(home, environment):
    """Only a drill has a persona to stand in; the people to choose from are listed."""
    assert "known for" in (message := refused(home, {"environment": environment}))
    assert "lead, oncall" in message.replace("chief, ", "")


def test_an_operator_named_in_productions_file_does_not_stand_in(home):
    """Whoever operates outside drills says so in the run's own parameters."""
    edit(home, "production.yaml", "mode: headless", "operator: lead\nmode: headless")
    assert "operator is empty" in refused(home, {"environment": "production"})


@pytest.mark.parametrize("environment", ["production", "drill"])
def test_an_operator_who_is_nobody_is_refused(home, environment):
    """The operator is one of the environment's people, in drills too."""
    assert "'eve' is nobody" in refused(home, {"environment": environment, "operator": "eve"})


# -- precedence


def test_an_injected_value_comes_before_the_file_in_a_drill(home):
    """A drill's override is laid over the file key by key; what it leaves out stays."""
    resolved = opened(
        home,
        {
            "platform": {
                "vercel": {"api_url": "http://127.0.0.1:9001"},
                "app": {"pages": [{"path": "/x", "marker": "X", "flow": "User login"}]},
            },
            "policy": {"approval_wait_s": 1},
        },
    )
    assert resolved.platform.vercel.api_url == "http://127.0.0.1:9001"
    assert resolved.platform.vercel.project == "derrimut-platform"
    assert resolved.platform.sentry.api_url == "http://127.0.0.1:7402"
    assert [page.path for page in resolved.platform.app.pages] == ["/x"]
    assert (resolved.policy.approval_wait_s, resolved.policy.observe_s) == (1, 2)
    assert resolved.injected == ("platform", "policy")


def test_a_drill_with_productions_policy_runs_in_real_time(home):
    """Production's numbers can be read and injected into a drill as they are."""
    resolved = opened(home, {"policy": as_injected(home, "production")["policy"]})
    assert resolved.policy == opened(home, PRODUCTION).policy


def test_a_drill_override_that_reaches_out_is_refused(home):
    """No parameter makes a drill talk to another machine."""
    message = refused(home, {"platform": {"vercel": {"api_url": "https://api.vercel.com"}}})
    assert "parameter platform: platform.vercel.api_url is not loopback" in message


def test_productions_file_in_a_drill_is_refused(home):
    """Injecting production.yaml but forgetting the environment touches nothing."""
    namespace = as_injected(home, "production") | {"environment": "drill", "operator": "ana"}
    assert "is not loopback" in refused(home, namespace)


@pytest.mark.parametrize(
    ("override", "said"),
    [
        ({"vercel": {"regoin": "x"}}, "parameter platform: platform.vercel.regoin is not a known name"),
        ({"vercle": {}}, "parameter platform: platform.vercle is not a known name"),
        ({"vercel": None}, "parameter platform: platform.vercel must be a mapping"),
        ({"vercel": "x"}, "parameter platform: platform.vercel must be a mapping"),
        ({"app": {"pages": [{"path": "/x"}]}}, "parameter platform: platform.app.pages.0.marker is missing"),
        ({"app": {"pages": 5}}, "parameter platform: platform.app.pages must be a list"),
        ({"vercel": {"project": object()}}, "platform holds something that is no plain data"),
        (
            {"flows": {"user": "u", "timeout_s": float("nan")}},
            "platform holds something that is no plain data",
        ),
    ],
)
def test_a_wrong_override_is_told_as_the_parameters_fault(home, override, said):
    """A fault of the injected value is not blamed on the file."""
    assert said in refused(home, {"platform": override})


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_the_files_own_content_may_be_injected(home, environment):
    """What papermill's -f makes of the environment's file is the same as the file itself."""
    injected = as_injected(home, environment)
    assert (
        opened(home, injected | {"operator": "lead"}).platform
        == opened(home, {"environment": environment, "operator": "lead"}).platform
    )


@pytest.mark.parametrize(
    ("name", "path", "value"),
    [
        ("platform", ("vercel", "project"), "another"),
        ("platform", ("app", "pages"), []),
        ("platform", ("extra",), {}),
        ("policy", ("telemetry_lag_s",), 0),
        ("policy", ("telemetry_lag_s",), 120.0),
        ("policy", ("unverified_is_success",), True),
        ("policy", ("unverified_is_success",), 0),
    ],
)
def test_anything_but_the_files_content_is_refused_outside_drills(home, name, path, value):
    """Production's platform and policy change by review, not by a parameter."""
    namespace = as_injected(home, "production") | {"operator": "lead"}
    part = namespace[name]
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = value
    message = refused(home, namespace)
    assert (
        f"{name}.{'.'.join(path)} was injected for production and is not what parameters/production.yaml says"
        in message
    )


def test_a_part_of_the_files_content_is_refused_outside_drills(home):
    """An injected value must be all of it: what it leaves out would be unclear."""
    platform = as_injected(home, "production")["platform"]
    assert "platform.sentry was injected" in refused(
        home, PRODUCTION | {"platform": {"vercel": platform["vercel"]}}
    )


def test_the_environments_file_is_read_where_the_variable_points(home, tmp_path, monkeypatch):
    """Without a given home the project is found by ROLLBACK_HOME."""
    monkeypatch.chdir(tmp_path)
    resolved = resolve({}, VercelParameters, cells=(), environ={"ROLLBACK_HOME": str(home)})
    assert resolved.home == home.resolve()
    assert resolved.archive_root == home.resolve() / "incidents"


def test_papermills_own_cell_is_understood(home):
    """The cell that papermill writes for `-f production.yaml` opens production, and a misspelt -p does not."""
    values = as_injected(home, "production") | {"operator": "lead"}
    script = (
        "import json, sys\n"
        "from papermill.translators import PythonTranslator\n"
        "print(json.dumps([PythonTranslator.codify(told) for told in json.load(sys.stdin)]))"
    )
    told = json.dumps([values, values | {"dry_rnu": True}])
    child = subprocess.run(
        [sys.executable, "-c", script], input=told, capture_output=True, text=True, check=True
    )
    made = json.loads(child.stdout)
    good, bad = ({} for _ in made)
    for cell, namespace in zip(made, (good, bad), strict=True):
        exec(cell, namespace)  # noqa: S102  # papermill's own text of our own values
    assert opened(home, good, cells=made[:1]).parameters.operator == "lead"
    assert "dry_rnu is no parameter" in refused(home, bad, cells=made[1:])


# -- what comes out


def test_what_goes_to_the_journal_is_plain_and_complete(home):
    """Parameters stand by name beside the effective platform, policy and people."""
    public = opened(
        home, {"reason": "errors", "dry_run": True}, environ={"ROLLBACK_DRILL_VERCEL_TOKEN": "vcp_token"}
    ).public()
    assert json.loads(json.dumps(public)) == public
    assert set(VercelParameters.model_fields) < set(public)
    assert public["platform"]["vercel"]["project"] == "derrimut-platform"
    assert public["policy"]["min_requests"] == 50
    assert public["injected"] == ["dry_run", "reason"]
    assert public["secrets"] == {"VERCEL_TOKEN": "environment variable ROLLBACK_DRILL_VERCEL_TOKEN"}
    assert "vcp_token" not in json.dumps(public)


@pytest.mark.parametrize(
    "change",
    [
        {"confirm": "derrimut-platform"},
        {"confirm": {"P1.G1": "derrimut-platform"}},
        {"run": "P1-1"},
        {"incident": "INC-1"},
        {"mode": "headless"},
        {"new_run": True},
        {"operator": "ana"},
        {"policy": {"observe_s": 2}},
        {"platform": {"vercel": {"project": "derrimut-platform"}}},
    ],
)
def test_what_only_names_or_confirms_a_run_leaves_its_fingerprint(home, change):
    """Going on with a run under its id, headless, or with the gate's text is the same run."""
    assert opened(home, change).fingerprint() == opened(home).fingerprint()


@pytest.mark.parametrize(
    "change",
    [
        {"severity": "P1"},
        {"criterion": "P0.T2"},
        {"reason": "x"},
        {"impact": "x"},
        {"operator": "lee"},
        {"issue_started_at": "-21m"},
        {"deployment": "dpl_a"},
        {"method": "promote"},
        {"dry_run": True},
        {"policy": {"min_requests": 51}},
        {"platform": {"vercel": {"api_url": "http://127.0.0.1:7499"}}},
    ],
)
def test_what_decides_a_runs_doing_changes_its_fingerprint(home, change):
    """The same run with other parameters can be told."""
    assert opened(home, change).fingerprint() != opened(home).fingerprint()


def test_a_changed_file_changes_the_fingerprint(home):
    """A threshold that moved in the file makes it another run too."""
    before = opened(home).fingerprint()
    edit(home, "drill.yaml", "min_requests: 50", "min_requests: 49")
    assert opened(home).fingerprint() != before


def test_what_was_resolved_cannot_be_changed(home):
    """Nobody moves the target between the check and the request."""
    resolved = opened(home)
    with pytest.raises(FrozenInstanceError):
        resolved.platform = None  # type: ignore[misc]  # the point of the test
    with pytest.raises(ValueError, match="frozen"):
        resolved.platform.vercel.project = "another"
    with pytest.raises(ValueError, match="frozen"):
        resolved.parameters.dry_run = False


def test_an_archive_at_an_address_is_refused_when_used(home):
    """Records can only be kept in a folder so far; this is said, not ignored."""
    edit(home, "production.yaml", "archive: incidents", "archive: s3://derrimut-records")
    resolved = opened(home, PRODUCTION)
    with pytest.raises(BadParameters, match="only be kept in a folder"):
        _ = resolved.archive_root


def test_an_archive_elsewhere_is_taken_as_written(home):
    """An absolute folder is not put under the project."""
    edit(home, "production.yaml", "archive: incidents", "archive: /srv/records")
    assert str(opened(home, PRODUCTION).archive_root) == "/srv/records"


def test_opening_writes_nothing(home):
    """A successful check leaves no file either."""
    before = snapshot(home)
    opened(home, PRODUCTION)
    assert snapshot(home) == before


def test_public_names_are_listed():
    """What others may import is what the package says."""
    names = rollback_lib.parameters.__all__
    assert list(names) == sorted(names, key=lambda name: (not name.isupper(), name.islower(), name))
    assert all(hasattr(rollback_lib.parameters, name) for name in names)


def test_a_missing_production_file_does_not_hide_stagings_check(tmp_path):
    """Staging opens on its own where production's file is not deployed."""
    home = configured(tmp_path)
    (home / "parameters/production.yaml").unlink()
    assert opened(home, {"environment": "staging", "operator": "lead"}).parameters.environment == "staging"


def test_an_unconfigured_project_still_drills(tmp_path):
    """Drills work from the first day."""
    assert opened(project(tmp_path)).platform.app.domain == "derrimut247.drill"
