"""Which incident and run a notebook is about, told from the folders and journals of the archive."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from conftest import BEGAN, FakeClock

from rollback_lib.errors import BadParameters
from rollback_lib.evidence.archive import Archive
from rollback_lib.journal import FILE_NAME, Journal
from rollback_lib.model import Redactor, RunId
from rollback_lib.parameters import RunParameters
from rollback_lib.procedures.identity import Identity, choose

INCIDENT = "INC-20261123-2158"


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    """Give an archive that is not there yet."""
    return Archive(tmp_path / "incidents")


def write_run(
    archive: Archive, run: str, *, incident: str = INCIDENT, closed: bool = False, **said: Any
) -> Path:
    """Write a run's journal as opening and closing it does."""
    facts = {"procedure": 1, "title": "Vercel Deployment Rollback", "environment": "production"}
    facts |= {"mode": "interactive", "incident": incident, "run": run, "severity": "P1", "operator": "ana"}
    folder = archive.root / incident / run
    journal = Journal.begin(folder, RunId(run), by="ana", clock=FakeClock(), redactor=Redactor())
    journal.append("run.opened", data=facts | said)
    if closed:
        journal.append("run.closed", data={"outcome": "verified", "why": "every required check passed"})
    journal.release()
    return folder


def chosen(archive: Archive, procedure: int = 1, left: str = "", **parameters: Any) -> Identity:
    """Decide for an interactive notebook in production, unless told otherwise; `left` is the run that new_run began."""
    given = RunParameters(**({"environment": "production"} | parameters))
    return choose(archive, given, procedure, BEGAN, lambda found: found.run == left)


def tree(archive: Archive) -> list[tuple[str, int]]:
    """List every file below the archive with its size."""
    return sorted((str(path), path.stat().st_size) for path in archive.root.rglob("*") if path.is_file())


def refused(archive: Archive, procedure: int = 1, **parameters: Any) -> BadParameters:
    """Expect a refusal that leaves everything as it was."""
    before = tree(archive)
    with pytest.raises(BadParameters) as caught:
        chosen(archive, procedure, **parameters)
    assert caught.value.state.startswith("Nothing was sent")
    assert tree(archive) == before
    return caught.value


# Beginning


def test_a_new_run_has_its_time_and_procedure_in_its_id_and_a_folder_that_is_not_made_yet(
    archive: Archive,
) -> None:
    """Deciding writes nothing: the journal makes the folder."""
    found = chosen(archive, incident=INCIDENT)
    assert found.is_new
    assert found.incident == INCIDENT
    assert found.run.startswith("P1-20261123-215800-")
    assert found.folder == archive.root / INCIDENT / found.run
    assert not archive.root.exists()


def test_two_runs_of_the_same_second_have_different_ids(archive: Archive) -> None:
    """Two operators who begin at once do not share a folder."""
    assert len({chosen(archive, incident=INCIDENT, new_run=True).run for _ in range(20)}) > 1


def test_the_procedures_number_is_in_the_runs_id(archive: Archive) -> None:
    """A folder says by its name what it is."""
    assert chosen(archive, 3, incident=INCIDENT).run.startswith("P3-")


def test_production_insists_on_an_incident(archive: Archive) -> None:
    """Nothing is begun in production without saying for which incident; the text gives one to use."""
    error = refused(archive)
    assert "production needs an incident id" in error.happened
    assert '"INC-20261123-2158"' in error.next_step


@pytest.mark.parametrize("environment", ["drill", "staging"])
def test_elsewhere_an_incident_is_made_up_from_the_time(archive: Archive, environment: str) -> None:
    """A rehearsal needs no ticket."""
    found = chosen(archive, environment=environment)
    assert (found.incident, found.is_new) == (INCIDENT, True)


@pytest.mark.parametrize("environment", ["drill", "staging", "production"])
@pytest.mark.parametrize(
    "incident", ["INC", "INC-", "inc-20261123-2158", "20261123", "INC-.hidden", "INC-" + "9" * 65]
)
def test_an_incident_that_is_none_is_refused(archive: Archive, environment: str, incident: str) -> None:
    """The id becomes a folder's name and is looked for again later: its form is checked everywhere."""
    error = refused(archive, environment=environment, incident=incident)
    assert f"incident {incident!r} is not an incident id" in error.happened


# Continuing the open one


@pytest.mark.parametrize("incident", ["", INCIDENT], ids=["no incident given", "its incident given"])
def test_the_one_open_run_goes_on(archive: Archive, incident: str) -> None:
    """Restart kernel and run all: the same run, in production without naming anything."""
    folder = write_run(archive, "P1-20261123-215000-aaaa")
    write_run(archive, "P1-20261122-120000-bbbb", incident="INC-20261122-1200", closed=True)
    found = chosen(archive, incident=incident)
    assert found == Identity(found.incident, found.run, folder, is_new=False)
    assert (found.incident, found.run) == (INCIDENT, "P1-20261123-215000-aaaa")


@pytest.mark.parametrize(
    "said",
    [{"procedure": 2}, {"environment": "staging"}, {"environment": "drill"}],
    ids=["another procedure", "staging", "drill"],
)
def test_an_open_run_of_something_else_does_not_go_on(archive: Archive, said: dict[str, Any]) -> None:
    """Only this procedure in this environment counts."""
    write_run(archive, "P1-20261123-215000-aaaa", **said)
    assert chosen(archive, incident=INCIDENT).is_new


def test_an_open_run_of_another_incident_does_not_go_on_where_one_is_named(archive: Archive) -> None:
    """A named incident is meant."""
    write_run(archive, "P1-20261122-120000-bbbb", incident="INC-20261122-1200")
    found = chosen(archive, incident=INCIDENT)
    assert (found.is_new, found.incident) == (True, INCIDENT)


def test_more_than_one_open_run_is_refused_naming_them(archive: Archive) -> None:
    """Nobody guesses which of two is meant; naming run or incident decides."""
    write_run(archive, "P1-20261123-215000-aaaa")
    write_run(archive, "P1-20261122-120000-bbbb", incident="INC-20261122-1200")
    error = refused(archive)
    assert "P1-20261123-215000-aaaa (INC-20261123-2158)" in error.happened
    assert "P1-20261122-120000-bbbb (INC-20261122-1200)" in error.happened
    assert chosen(archive, incident=INCIDENT).run == "P1-20261123-215000-aaaa"
    assert chosen(archive, run="P1-20261122-120000-bbbb").run == "P1-20261122-120000-bbbb"
    assert chosen(archive, incident=INCIDENT, new_run=True).is_new


def test_a_new_run_asked_for_is_begun_beside_an_open_one(archive: Archive) -> None:
    """new_run = True leaves the open one as it is."""
    write_run(archive, "P1-20261123-215000-aaaa")
    before = tree(archive)
    found = chosen(archive, incident=INCIDENT, new_run=True)
    assert found.is_new
    assert found.run != "P1-20261123-215000-aaaa"
    assert tree(archive) == before


def test_new_run_left_on_goes_on_with_the_run_that_it_began(archive: Archive) -> None:
    """The kernel was restarted with new_run = True still in the cell: no third run."""
    write_run(archive, "P1-20261123-215000-aaaa")
    left = write_run(archive, "P1-20261123-215100-bbbb")
    found = chosen(archive, incident=INCIDENT, new_run=True, left=left.name)
    assert (found.run, found.is_new) == (left.name, False)


def test_new_run_of_another_incident_is_begun(archive: Archive) -> None:
    """What new_run began for one incident is not gone on with in another."""
    left = write_run(archive, "P1-20261123-215100-bbbb")
    assert chosen(archive, incident="INC-OTHER", new_run=True, left=left.name).is_new


def test_new_run_whose_run_is_closed_begins_another(archive: Archive) -> None:
    """It was ended: what is asked for now is another one."""
    left = write_run(archive, "P1-20261123-215100-bbbb", closed=True)
    assert chosen(archive, incident=INCIDENT, new_run=True, left=left.name).is_new


def test_a_new_run_in_production_needs_its_incident_too(archive: Archive) -> None:
    """Asking for a new run is no way around naming the incident."""
    write_run(archive, "P1-20261123-215000-aaaa")
    assert "production needs an incident id" in refused(archive, new_run=True).happened


def test_a_broken_folder_does_not_stand_in_the_way(archive: Archive) -> None:
    """A run that cannot be read is not the open one."""
    broken = archive.root / INCIDENT / "P1-20261123-215000-aaaa"
    broken.mkdir(parents=True)
    (broken / FILE_NAME).write_text("{}\n")
    assert chosen(archive, incident=INCIDENT).is_new


# Drills


def test_a_headless_drill_begins_a_new_run_beside_an_open_one(archive: Archive) -> None:
    """Drills are repeated; each is a run of its own, also in the same incident and after a closed one."""
    write_run(archive, "P1-20261123-215000-aaaa", environment="drill")
    write_run(archive, "P1-20261123-214000-bbbb", environment="drill", closed=True)
    for incident in ("", INCIDENT):
        assert chosen(archive, environment="drill", mode="headless", incident=incident).is_new


def test_a_headless_drill_that_names_its_run_goes_on_with_it(archive: Archive) -> None:
    """Given a run, a drill continues it."""
    write_run(archive, "P1-20261123-215000-aaaa", environment="drill", mode="headless")
    found = chosen(archive, environment="drill", mode="headless", run="P1-20261123-215000-aaaa")
    assert not found.is_new


def test_an_interactive_drill_goes_on_with_its_open_run(archive: Archive) -> None:
    """A person practising in JupyterLab restarts the kernel as in production."""
    write_run(archive, "P1-20261123-215000-aaaa", environment="drill", mode="interactive")
    assert chosen(archive, environment="drill").run == "P1-20261123-215000-aaaa"


def test_nobody_goes_on_with_a_headless_drill_unasked(archive: Archive) -> None:
    """A drill that ended early stays open for ever; who practises next does not step into it."""
    write_run(archive, "P1-20261123-215000-aaaa", environment="drill", mode="headless")
    for incident in ("", INCIDENT):
        assert chosen(archive, environment="drill", incident=incident).is_new


@pytest.mark.parametrize("environment", ["production", "staging"])
def test_headless_elsewhere_goes_on_with_the_open_run(archive: Archive, environment: str) -> None:
    """A run refused for a missing approval is taken up again when papermill is started again."""
    write_run(archive, "P1-20261123-215000-aaaa", environment=environment, mode="headless")
    found = chosen(archive, environment=environment, mode="headless", incident=INCIDENT)
    assert not found.is_new


# A run that is named


@pytest.mark.parametrize(
    "name", ["P1-20261123-215000-aaaa", "P1-20261123-2150"], ids=["whole", "its beginning"]
)
def test_a_named_run_goes_on(archive: Archive, name: str) -> None:
    """By its id, or by enough of it; its incident need not be named."""
    folder = write_run(archive, "P1-20261123-215000-aaaa")
    write_run(archive, "P1-20261123-215500-bbbb")
    found = chosen(archive, run=name)
    assert (found.run, found.incident, found.folder, found.is_new) == (
        "P1-20261123-215000-aaaa",
        INCIDENT,
        folder,
        False,
    )


def test_a_named_run_that_is_not_there_is_refused(archive: Archive) -> None:
    """A mistyped run begins nothing."""
    write_run(archive, "P1-20261123-215000-aaaa")
    assert "no run is named 'P1-2027'" in refused(archive, run="P1-2027").happened


def test_a_name_that_fits_two_runs_is_refused(archive: Archive) -> None:
    """Too short a beginning names nothing."""
    write_run(archive, "P1-20261123-215000-aaaa")
    write_run(archive, "P1-20261123-215500-bbbb")
    assert "2 runs fit" in refused(archive, run="P1-20261123").happened


def test_a_named_run_of_another_incident_is_refused(archive: Archive) -> None:
    """Run and incident contradict each other: one of the two is wrong."""
    write_run(archive, "P1-20261123-215000-aaaa")
    error = refused(archive, run="P1-20261123-215000-aaaa", incident="INC-20261122-1200")
    assert "belongs to incident INC-20261123-2158, not INC-20261122-1200" in error.happened


@pytest.mark.parametrize(
    ("procedure", "environment"),
    [(2, "production"), (1, "staging"), (1, "drill")],
    ids=["another procedure", "staging", "drill"],
)
def test_a_named_run_of_something_else_is_refused(archive: Archive, procedure: int, environment: str) -> None:
    """The notebook and the environment must be the run's own."""
    write_run(archive, "P1-20261123-215000-aaaa")
    error = refused(archive, procedure, run="P1-20261123-215000-aaaa", environment=environment)
    assert "is of procedure 1 in production, not procedure" in error.happened


def test_a_named_run_that_is_broken_is_refused_with_the_reason(archive: Archive) -> None:
    """A damaged journal is not taken for a run of some other procedure."""
    folder = write_run(archive, "P1-20261123-215000-aaaa")
    (folder / FILE_NAME).write_text('{"v":1}\n')
    error = refused(archive, run="P1-20261123-215000-aaaa")
    assert "run P1-20261123-215000-aaaa cannot be read: journal.jsonl" in error.happened


def test_a_named_run_that_is_closed_is_refused(archive: Archive) -> None:
    """A sealed account is never written on."""
    write_run(archive, "P1-20261123-215000-aaaa", closed=True)
    error = refused(archive, run="P1-20261123-215000-aaaa")
    assert "is closed (verified)" in error.happened
    assert "new_run = True" in error.next_step


@pytest.mark.parametrize("closed", [False, True])
def test_a_named_run_and_a_new_one_contradict_each_other(archive: Archive, closed: bool) -> None:
    """Neither wish is dropped in silence."""
    write_run(archive, "P1-20261123-215000-aaaa", closed=closed)
    error = refused(archive, run="P1-20261123-215000-aaaa", new_run=True)
    assert "new_run = True asks for another" in error.happened


# After the close


@pytest.mark.parametrize("mode", ["interactive", "headless"])
def test_an_incident_whose_run_is_closed_begins_another_only_when_asked(archive: Archive, mode: str) -> None:
    """Running all cells once more does not roll production back once more."""
    write_run(archive, "P1-20261123-215000-aaaa", closed=True)
    error = refused(archive, incident=INCIDENT, mode=mode)
    assert "P1-20261123-215000-aaaa of incident INC-20261123-2158 is closed" in error.happened
    assert "new_run = True" in error.next_step
    assert chosen(archive, incident=INCIDENT, mode=mode, new_run=True).is_new


@pytest.mark.parametrize(
    "said", [{"procedure": 2}, {"environment": "staging"}, {"incident": "INC-20261122-1200"}], ids=str
)
def test_a_closed_run_of_something_else_does_not_stand_in_the_way(
    archive: Archive, said: dict[str, Any]
) -> None:
    """Another procedure, environment or incident is another matter."""
    write_run(archive, "P1-20261123-215000-aaaa", closed=True, **said)
    assert chosen(archive, incident=INCIDENT).is_new


def test_an_open_run_beside_a_closed_one_goes_on(archive: Archive) -> None:
    """The second rollback of an incident is continued like the first."""
    write_run(archive, "P1-20261123-215000-aaaa", closed=True)
    write_run(archive, "P1-20261123-215500-bbbb")
    assert chosen(archive, incident=INCIDENT).run == "P1-20261123-215500-bbbb"


def test_a_provisional_outcome_does_not_close_a_run(archive: Archive) -> None:
    """Refused for a missing approval is open still."""
    folder = write_run(archive, "P1-20261123-215000-aaaa")
    journal = Journal.resume(
        folder, RunId("P1-20261123-215000-aaaa"), by="ana", clock=FakeClock(), redactor=Redactor()
    )
    journal.append("run.provisional", data={"outcome": "refused", "why": "no approval yet"})
    journal.release()
    assert not chosen(archive, incident=INCIDENT).is_new
