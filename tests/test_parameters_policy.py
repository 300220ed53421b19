"""Each environment's numbers are all there, and within reason."""

from __future__ import annotations

import json

import pytest
import yaml
from parameters_project import ROOT, configured, edit, line_number, opened, project
from pydantic import ValidationError

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import Policy

FILES = {
    name: yaml.safe_load((ROOT / f"parameters/{name}.yaml").read_text())["policy"]
    for name in ("production", "staging", "drill")
}
REAL = {
    "telemetry_lag_s": 120,
    "error_window_s": 300,
    "baseline_window_s": 600,
    "min_requests": 50,
    "suspect_live_long_h": 24,
    "request_timeout_s": 10,
    "read_attempts": 4,
    "read_deadline_s": 30,
    "effect_attempts": 3,
    "effect_wait_limit_s": 60,
    "observe_s": 20,
    "poll_first_s": 0.25,
    "poll_max_s": 2,
    "alias_job_deadline_s": 180,
    "push_limit_s": 900,
    "effect_again_within_s": 120,
    "push_deadline_s": 300,
    "clock_skew_s": 30,
    "verify_deadline_s": 900,
    "verify_poll_s": 15,
    "slack_deadline_s": 5,
    "approval_wait_s": 0,
    "approval_poll_s": 5,
    "approval_ways": ["slack", "signature"],
    "approval_ttl_s": 3600,
    "lease_ttl_s": 90,
    "heartbeat_s": 20,
    "lease_expired": "ask",
    "unverified_is_success": False,
}


def made(**changes):
    """Build production's policy with some values replaced."""
    return Policy.model_validate_json(json.dumps(FILES["production"] | changes))


@pytest.mark.parametrize("name", FILES)
def test_each_file_gives_every_value(name):
    """No threshold has a silent default, and no file has one that does not exist."""
    assert set(FILES[name]) == set(Policy.model_fields)
    assert not [field for field, info in Policy.model_fields.items() if not info.is_required()]
    Policy.model_validate_json(json.dumps(FILES[name]))


def test_production_and_staging_have_the_real_values():
    """A rehearsal in staging runs with production's numbers."""
    assert {name: FILES["production"][name] for name in REAL} == REAL
    assert FILES["staging"] == FILES["production"]


@pytest.mark.parametrize("field", Policy.model_fields)
def test_a_missing_value_is_refused_by_name(tmp_path, field):
    """Leaving a line out stops the run, even in a drill."""
    home = project(tmp_path)
    edit(home, "drill.yaml", f"  {field}:", f"  # {field}:")
    with pytest.raises(BadParameters, match=rf"drill\.yaml, line \d+: policy\.{field} is missing"):
        opened(home)


@pytest.mark.parametrize(
    "field", [name for name, value in FILES["production"].items() if isinstance(value, int | float)]
)
def test_a_negative_or_endless_value_is_refused(field):
    """Spans and counts are finite and not below zero."""
    for value in (-1, -0.001, float("inf"), float("nan"), "10", None):
        with pytest.raises(ValidationError):
            made(**{field: value})


@pytest.mark.parametrize(
    "field", ["read_attempts", "effect_attempts", "poll_first_s", "error_window_s", "verify_poll_s"]
)
def test_zero_is_refused_where_nothing_would_happen(field):
    """No attempt at all, or polling without a pause, is refused."""
    with pytest.raises(ValidationError):
        made(**{field: 0})


@pytest.mark.parametrize("field", ["approval_wait_s", "telemetry_lag_s", "observe_s", "min_requests"])
def test_zero_is_taken_where_it_means_none(field):
    """No wait, no lag, no least age are real settings."""
    assert getattr(made(**{field: 0}), field) == 0


@pytest.mark.parametrize(
    ("changes", "word"),
    [
        ({"poll_first_s": 2.1}, "poll_first_s"),
        ({"request_timeout_s": 31}, "request_timeout_s"),
        ({"verify_deadline_s": 419}, "verify_deadline_s"),
        ({"approval_wait_s": 4}, "approval_poll_s"),
        ({"approval_ways": []}, "approval_ways"),
        ({"approval_ways": ["shouted"]}, "approval_ways"),
        ({"lease_ttl_s": 59}, "lease_ttl_s"),
        ({"lease_ttl_s": 12, "heartbeat_s": 1}, "request_timeout_s and 2 s"),
        ({"lease_expired": "wait"}, "lease_expired"),
        ({"unverified_is_success": "no"}, "unverified_is_success"),
        ({"read_attempts": 1.5}, "read_attempts"),
    ],
)
def test_values_that_cannot_work_are_refused(changes, word):
    """What would never verify, never be asked for or never be approved is refused."""
    with pytest.raises(ValidationError, match=word):
        made(**changes)


@pytest.mark.parametrize(
    "changes",
    [
        {"poll_first_s": 2},
        {"request_timeout_s": 30},
        {"verify_deadline_s": 420},
        {"approval_wait_s": 5},
        {"lease_ttl_s": 12.1, "heartbeat_s": 1},
    ],
)
def test_values_that_just_fit_are_taken(changes):
    """The limits themselves pass."""
    made(**changes)


def test_a_wrong_value_is_told_with_its_line(tmp_path):
    """The person who edits the file sees which line."""
    home = configured(tmp_path)
    edit(home, "production.yaml", "read_attempts: 4", "read_attempts: 0")
    line = line_number(home, "production.yaml", "read_attempts: 0")
    with pytest.raises(BadParameters, match=rf"line {line}: policy\.read_attempts must be at least 1"):
        opened(home, {"environment": "production", "operator": "lead"})


def test_policy_reached_through_an_override_names_the_parameter(tmp_path):
    """A wrong value that was injected is not blamed on the file."""
    home = project(tmp_path)
    with pytest.raises(BadParameters, match=r"parameter policy: policy\.observe_s must be at least 0"):
        opened(home, {"policy": {"observe_s": -1}})
