"""The project is found from every folder that a notebook may run in."""

from __future__ import annotations

import pytest
from parameters_project import project, snapshot

from rollback_lib.errors import BadParameters
from rollback_lib.parameters import project_home


@pytest.mark.parametrize("inside", [".", "notebooks", "incidents/INC-1/P1-1"])
def test_a_folder_inside_the_project_finds_it(tmp_path, monkeypatch, inside):
    """From the root, the notebooks and a run's folder the project is the nearest one upwards."""
    home = project(tmp_path)
    place = home / inside
    place.mkdir(parents=True, exist_ok=True)
    monkeypatch.chdir(place)
    assert project_home(None, {}) == home.resolve()
    assert project_home(place, {"ROLLBACK_HOME": ""}) == home.resolve()


def test_an_unrelated_folder_finds_it_by_the_variable(tmp_path, monkeypatch):
    """ROLLBACK_HOME says where the project is, wherever the notebook runs."""
    home = project(tmp_path)
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    assert project_home(None, {"ROLLBACK_HOME": str(home)}) == home.resolve()


def test_the_variable_comes_before_the_folder(tmp_path):
    """A project that is merely nearer does not win over ROLLBACK_HOME."""
    near, named = project(tmp_path / "near"), project(tmp_path / "named")
    assert project_home(near, {"ROLLBACK_HOME": str(named)}) == named.resolve()


def test_no_project_anywhere_is_refused_with_the_way_out(tmp_path):
    """Outside of any project the message names the variable to set, and nothing is created."""
    with pytest.raises(BadParameters, match="ROLLBACK_HOME"):
        project_home(tmp_path, {})
    assert snapshot(tmp_path) == {}


def test_a_folder_called_parameters_is_not_enough(tmp_path):
    """The library's own package of that name is no project."""
    home = project(tmp_path)
    package = home / "rollback_lib" / "parameters"
    package.mkdir(parents=True)
    assert project_home(package.parent, {}) == home.resolve()


def test_a_variable_that_names_no_project_is_refused(tmp_path):
    """A wrong ROLLBACK_HOME is an error, not a reason to look elsewhere."""
    home = project(tmp_path)
    with pytest.raises(BadParameters, match=r"has no parameters/plan\.yaml"):
        project_home(home, {"ROLLBACK_HOME": str(tmp_path)})
