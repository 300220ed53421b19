"""An environment's file is its own, complete, and says which lines are still open."""

from __future__ import annotations

import re

import pytest
import yaml
from parameters_project import ROOT, as_injected, configured, edit, line_number, opened, project, snapshot

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import ENVIRONMENTS, read_layer
from rollback_lib.parameters.layer import known_environment


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_each_environment_has_a_file_of_its_own(environment):
    """The committed files name their own environment."""
    layer = read_layer(ROOT, environment)
    assert layer.tree["environment"] == environment
    assert layer.platform
    assert layer.policy


@pytest.mark.parametrize("value", ["prod", "Production", "", "drill ", 5, None, ["drill"]])
def test_an_unknown_environment_is_refused_with_the_known_ones(tmp_path, value):
    """The three environments are listed, and nothing is left behind."""
    home = project(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(BadParameters, match="production, staging, drill"):
        opened(home, {"environment": value})
    assert snapshot(tmp_path) == before


def test_a_long_text_in_the_environments_place_is_not_repeated():
    """It may be a token that was put there by mistake."""
    with pytest.raises(BadParameters, match="the text of 24 characters came"):
        known_environment("x" * 24)


def test_a_missing_file_is_refused_by_name(tmp_path):
    """An environment without its file cannot be opened."""
    home = configured(tmp_path)
    (home / "parameters/staging.yaml").unlink()
    with pytest.raises(BadParameters, match=r"staging\.yaml cannot be read"):
        opened(home, {"environment": "staging", "operator": "lead"})


def test_another_environments_file_is_refused(tmp_path):
    """A copied file that still says production is not staging's."""
    home = configured(tmp_path)
    edit(home, "staging.yaml", "environment: staging\nmode", "environment: production\nmode")
    line = line_number(home, "staging.yaml", "environment: production")
    with pytest.raises(BadParameters, match=rf"line {line}: environment must be staging in this file"):
        opened(home, {"environment": "staging", "operator": "lead"})


def test_an_unknown_name_at_the_top_is_refused_with_its_line(tmp_path):
    """A misspelt parameter in the file is not passed over, though only platform and policy count."""
    home = project(tmp_path)
    edit(home, "drill.yaml", "severity: P0", "severty: P0")
    line = line_number(home, "drill.yaml", "severty")
    with pytest.raises(BadParameters, match=rf"drill\.yaml, line {line}: severty .*did you mean severity"):
        opened(home)


@pytest.mark.parametrize(
    "name", ["deployment", "method", "backup", "variable", "commit", "dry_run", "incident"]
)
def test_names_of_any_procedure_are_known_at_the_top(tmp_path, name):
    """One file serves papermill's -f for every procedure."""
    home = project(tmp_path)
    edit(home, "drill.yaml", "severity: P0", f"{name}: x")
    assert opened(home).parameters.environment == "drill"


@pytest.mark.parametrize("name", ["platform", "policy"])
@pytest.mark.parametrize("text", ["", " 5", " []"])
def test_a_file_without_platform_or_policy_is_refused(tmp_path, name, text):
    """Both must be there, and be mappings."""
    home = project(tmp_path)
    path = home / "parameters/drill.yaml"
    tree = yaml.safe_load(path.read_text())
    del tree[name]
    path.write_text(yaml.safe_dump(tree) + (f"{name}:{text}\n" if text else ""))
    with pytest.raises(BadParameters, match=f"{name} must be there"):
        opened(home)


def test_only_platform_and_policy_of_the_file_count(tmp_path):
    """The file's mode, confirm, severity and the like are for papermill's -f alone."""
    parameters = opened(project(tmp_path)).parameters
    assert (parameters.mode, parameters.confirm, parameters.severity) == ("interactive", "", "")
    assert (parameters.reason, parameters.issue_started_at, parameters.criterion) == ("", "", "")


def test_the_drill_file_serves_papermill(tmp_path):
    """Injected as a whole it makes a complete headless run of procedure 1."""
    home = project(tmp_path)
    parameters = opened(home, as_injected(home, "drill")).parameters
    assert (parameters.environment, parameters.mode, parameters.operator) == ("drill", "headless", "ana")
    assert (parameters.severity, parameters.criterion) == ("P0", "P0.T1")
    assert parameters.confirm == {"P1.G1": "derrimut-platform", "P2.G1": "happy-otter-123"}
    assert parameters.issue_started_at == "-20m"
    assert parameters.reason
    assert parameters.impact


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_an_unconfigured_environment_names_every_open_line(tmp_path, environment):
    """Opening it before it is configured says exactly which lines to fill in, in both files."""
    home = project(tmp_path)
    before = snapshot(tmp_path)
    with pytest.raises(BadParameters, match=f"{environment} is not configured yet") as refused:
        opened(home, {"environment": environment, "operator": "lead"})
    told = set(re.findall(r"(\w+\.yaml), line (\d+)", str(refused.value)))
    assert told == _open_lines(home, environment)
    assert len(told) > 20
    assert snapshot(tmp_path) == before


def _open_lines(home, environment):
    """Find the lines with a placeholder in the environment's file and its part of the contacts."""
    found = set()
    section = ""
    for name in (f"{environment}.yaml", "contacts.yaml"):
        for at, line in enumerate((home / "parameters" / name).read_text().splitlines(), 1):
            top = re.match(r"(\w+):", line)
            section = top[1] if top else section
            is_open = "CHANGE-ME" in line.partition("#")[0]
            if is_open and (name != "contacts.yaml" or section == environment):
                found.add((name, str(at)))
    return found


def test_the_known_facts_of_the_plan_are_filled_in(tmp_path):
    """What the plan says about production is there already."""
    platform = read_layer(project(tmp_path), "production").platform
    assert platform["app"]["url"] == "https://derrimut247.com.au"
    assert platform["app"]["health_path"] == "/api/health"
    assert platform["vercel"]["project"] == "derrimut-platform"
    assert "engineering@derrimut247.com.au" in (ROOT / "parameters/contacts.yaml").read_text()


@pytest.mark.parametrize(
    "placeholder",
    [
        "CHANGE-ME",
        "change_me",
        "[Email]",
        "[Phone]",
        "x@example.invalid",
        "https://api.example.com",
        "changeme",
    ],
)
def test_one_open_place_is_enough(tmp_path, placeholder):
    """Any placeholder left in an otherwise configured environment stops it, named by its line."""
    home = configured(tmp_path)
    edit(
        home,
        "production.yaml",
        "marker: Welcome\n        flow: Marketplace",
        f"marker: '{placeholder}'\n        flow: Marketplace",
    )
    line = line_number(home, "production.yaml", f"'{placeholder}'")
    with pytest.raises(
        BadParameters, match=rf"production\.yaml, line {line}: platform\.app\.pages\.3\.marker"
    ):
        opened(home, {"environment": "production", "operator": "lead"})


def test_ordinary_texts_are_no_placeholders(tmp_path):
    """Brackets and similar words in real values do not stop production."""
    home = configured(tmp_path)
    edit(home, "production.yaml", "marker: Welcome", "marker: 'Change menu [1] for example'")
    assert opened(home, {"environment": "production", "operator": "lead"}).platform.app.pages


def test_configured_production_opens(tmp_path):
    """Once every line is filled in, production and staging are accepted."""
    home = configured(tmp_path)
    for environment in ("production", "staging"):
        resolved = opened(home, {"environment": environment, "operator": "lead"})
        assert resolved.platform.vercel.team_id == "team_real1"
        assert resolved.operator.name == "Lead"


def test_a_drills_personas_may_live_at_an_example_address(tmp_path):
    """What would be a placeholder elsewhere is a fine address for somebody who does not exist."""
    home = project(tmp_path)
    edit(home, "contacts.yaml", "sam@derrimut247.drill", "sam@example.com")
    assert opened(home).contacts.person("sam").email == "sam@example.com"
