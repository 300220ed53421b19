"""A run's journal in the store: what goes up, who may extend it, and what another machine gets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from buckets import bucket_server
from conftest import FakeClock
from stores import BadDay, bucket_store, folder_store

from rollback_lib.errors import JournalError, LeaseHeld, Unreachable
from rollback_lib.journal import FILE_NAME, Journal, read_journal
from rollback_lib.model import Redactor, RunId
from rollback_lib.parameters import Secrets
from rollback_lib.procedures import handover
from rollback_lib.procedures.handover import Mirror, Seal, lines_up
from rollback_lib.store import Bucket, Store

RUN, INCIDENT = RunId("P1-20261123-215800-7f3a"), "INC-20261123-2158"
OURS = "xoxb-2718281828-of-the-team"


@pytest.fixture(scope="module")
def server() -> Iterator[Bucket]:
    with bucket_server("state") as bucket:
        yield bucket


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    if request.param == "folder":
        return folder_store(tmp_path)
    return bucket_store(request.getfixturevalue("server"), tmp_path)


@pytest.fixture
def folder(tmp_path: Path) -> Store:
    return folder_store(tmp_path)


def archive(tmp_path: Path, machine: str) -> Path:
    return tmp_path / machine / "incidents"


def begin(tmp_path: Path, machine: str = "a") -> Journal:
    """Begin the run on a machine."""
    place = archive(tmp_path, machine) / INCIDENT / RUN
    journal = Journal.begin(place, RUN, by="ana", clock=FakeClock(), redactor=Redactor())
    journal.append("run.opened", data={"incident": INCIDENT, "run": RUN, "procedure": 1})
    return journal


def go_on(folder: Path, by: str = "ben") -> Journal:
    """Go on with the run in its folder."""
    journal = Journal.resume(folder, RUN, by=by, clock=FakeClock(), redactor=Redactor())
    journal.append("run.continued")
    return journal


def secrets_of(token: str = OURS) -> Secrets:
    """Give the secrets of a machine that may act."""
    return Secrets.open("production", Path("/nowhere"), {"SLACK_BOT_TOKEN": token}, None)


def fetch(store: Store, run: str, place: Path, secrets: Secrets | None = None) -> Path | None:
    """Bring the run from the store as such a machine does."""
    return handover.fetch(store, run, place, secrets or secrets_of())


def mirror_of(store: Store, journal: Journal) -> Mirror:
    return Mirror(store, journal, lines_up(store, RUN, journal.lines), Seal.of(secrets_of()))


def pieces(store: Store) -> list[str]:
    return [key.rpartition("/")[2] for key in store.keys(f"runs/{RUN}/journal")]


# Going up


def test_lines_go_up_once_in_pieces_named_by_their_first(store: Store, tmp_path: Path) -> None:
    """Whatever is there stays as it was; nothing new is no piece."""
    journal = begin(tmp_path)
    mirror = mirror_of(store, journal)
    mirror.push()
    mirror.push()
    for event in ("step.started", "step.done"):
        journal.append(event)
    mirror.push()
    assert pieces(store) == ["00000001", "00000002"]
    found = [store.get(key) for key in store.keys(f"runs/{RUN}/journal")]
    told = [line for piece in found if piece for line in piece.data.splitlines(keepends=True)]
    kept = [line for line in told if not line.startswith(b"hmac-sha256 ")]
    assert (len(told) - len(kept), b"".join(kept)) == (2, journal.path.read_bytes())


def test_run_that_goes_on_here_goes_on_from_what_is_up(folder: Store, tmp_path: Path) -> None:
    """A restarted kernel looks first; lines that were not up yet follow."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    journal.append("step.started")
    journal.release()
    again = go_on(journal.folder)
    mirror = mirror_of(folder, again)
    assert mirror.up == 1
    mirror.push()
    assert pieces(folder) == ["00000001", "00000002"]
    assert lines_up(folder, RUN, again.lines) == 3


def test_piece_whose_answer_was_lost_is_known_again(folder: Store, tmp_path: Path) -> None:
    """Our own lines are ours, also where more of them follow in the next try."""
    journal = begin(tmp_path)
    mirror = Mirror(_Lost(folder, FakeClock()), journal, 0, Seal.of(secrets_of()))
    with pytest.raises(Unreachable):
        mirror.push()
    journal.append("step.started")
    mirror.store = folder
    mirror.push()
    assert mirror.up == 2
    assert pieces(folder) == ["00000001", "00000002"]


class _Lost(BadDay):
    def create(self, key: str, data: bytes) -> bool:
        super().create(key, data)
        raise Unreachable("no answer", "unknown", "look")


def test_attachments_go_up_as_they_are_and_come_down_where_missing(folder: Store, tmp_path: Path) -> None:
    """What leads elsewhere does not, and nothing here is written over."""
    journal = begin(tmp_path)
    mirror = mirror_of(folder, journal)
    mirror.push_files()
    attached = journal.folder / "attachments"
    attached.mkdir()
    (attached / "issues.json").write_text("[1]")
    (attached / "link").symlink_to("/etc/hostname")
    mirror.push()
    mirror.push_files()
    assert folder.keys(f"runs/{RUN}/attachments") == (f"runs/{RUN}/attachments/issues.json",)
    there = fetch(folder, RUN, archive(tmp_path, "b"))
    assert there is not None
    assert (there / "attachments" / "issues.json").read_text() == "[1]"
    (there / "attachments" / "issues.json").write_text("[2]")
    fetch(folder, RUN, archive(tmp_path, "b"))
    assert (there / "attachments" / "issues.json").read_text() == "[2]"


# Two machines


def test_machine_that_was_left_behind_writes_no_more(store: Store, tmp_path: Path) -> None:
    """The run was fetched and went on elsewhere: the first one's next line has no place any more."""
    journal = begin(tmp_path)
    first = mirror_of(store, journal)
    first.push()
    there = fetch(store, RUN, archive(tmp_path, "b"))
    assert there is not None
    second = mirror_of(store, go_on(there))
    second.push()
    journal.append("effect.sending", data={"name": "rollback"})
    for _ in range(2):
        with pytest.raises(LeaseHeld) as caught:
            first.push()
    assert f"Run {RUN} was continued on another machine" in caught.value.happened
    assert "by ben" in caught.value.happened
    assert f"rollback resume {RUN}" in caught.value.next_step
    assert pieces(store) == ["00000001", "00000002"]


def test_run_that_went_on_elsewhere_is_not_gone_on_with_here(folder: Store, tmp_path: Path) -> None:
    """Behind, or apart from it: seen before a line is written."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    there = fetch(folder, RUN, archive(tmp_path, "b"))
    assert there is not None
    mirror_of(folder, go_on(there)).push()
    for _ in ("behind", "apart"):
        with pytest.raises(LeaseHeld, match="continued on another machine"):
            lines_up(folder, RUN, journal.lines)
        journal.append("step.started")


def test_of_two_that_fetched_it_one_goes_on(folder: Store, tmp_path: Path) -> None:
    """Both begin at the same line; the second one to write is refused."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    mirrors = []
    for machine in "bc":
        there = fetch(folder, RUN, archive(tmp_path, machine))
        assert there is not None
        mirrors.append(mirror_of(folder, go_on(there, by=machine)))
    mirrors[0].push()
    with pytest.raises(LeaseHeld):
        mirrors[1].push()


# Coming down


def test_run_that_the_store_does_not_know_is_none(folder: Store, tmp_path: Path) -> None:
    """Nothing is written; a name that could lead elsewhere is not even asked for."""
    assert fetch(folder, RUN, archive(tmp_path, "b")) is None
    assert fetch(folder, "../../x", archive(tmp_path, "b")) is None
    assert not archive(tmp_path, "b").exists()


def test_fetched_journal_is_the_same_and_holds(store: Store, tmp_path: Path) -> None:
    """Byte by byte, in the folder that a run of its incident has; what is behind is brought up to it."""
    journal = begin(tmp_path)
    mirror = mirror_of(store, journal)
    mirror.push()
    fetch(store, RUN, archive(tmp_path, "b"))
    journal.append("step.started")
    mirror.push()
    there = fetch(store, RUN, archive(tmp_path, "b"))
    assert there == archive(tmp_path, "b") / INCIDENT / RUN
    assert (there / FILE_NAME).read_bytes() == journal.path.read_bytes()
    assert read_journal(there / FILE_NAME).defect is None


def test_journal_that_is_further_here_stays(folder: Store, tmp_path: Path) -> None:
    """The store is behind until the next beat."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    journal.append("step.started")
    journal.release()
    before = journal.path.read_bytes()
    assert fetch(folder, RUN, archive(tmp_path, "a")) == journal.folder
    assert journal.path.read_bytes() == before


def test_journal_that_differs_is_left_alone(folder: Store, tmp_path: Path) -> None:
    """Each has lines that the other has not: a person decides what becomes of those here."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    there = fetch(folder, RUN, archive(tmp_path, "b"))
    assert there is not None
    mirror_of(folder, go_on(there)).push()
    journal.append("step.started")
    journal.release()
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match="differs from the one in the store") as caught:
        fetch(folder, RUN, archive(tmp_path, "a"))
    assert "under another name" in caught.value.next_step
    assert journal.path.read_bytes() == before


def test_run_that_is_open_here_is_not_written_over(folder: Store, tmp_path: Path) -> None:
    """Its kernel would go on behind bytes that are not its own."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    there = fetch(folder, RUN, archive(tmp_path, "b"))
    assert there is not None
    mirror_of(folder, go_on(there)).push()
    before = journal.path.read_bytes()
    with pytest.raises(LeaseHeld, match="open in another process"):
        fetch(folder, RUN, archive(tmp_path, "a"))
    assert journal.path.read_bytes() == before


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"step.started", b"step.skipped"),
        (INCIDENT.encode(), b"../../../etc/cron.d"),
        (b"run.opened", b"run.closed"),
        (RUN.encode(), b"P1-20261123-215800-7f3b"),
        (b"}\n", b"}"),
        (b"{", b"["),
    ],
    ids=["changed", "leads elsewhere", "begins otherwise", "another run's", "not whole", "no line"],
)
def test_copy_that_does_not_hold_is_refused_and_leaves_nothing(
    folder: Store, tmp_path: Path, old: bytes, new: bytes
) -> None:
    """Whoever may write in the store cannot make up a run, nor write elsewhere."""
    journal = begin(tmp_path)
    journal.append("step.started")
    key = f"runs/{RUN}/journal/00000001"
    folder.put(key, journal.path.read_bytes().replace(old, new))
    with pytest.raises(JournalError, match="in the store does not hold"):
        fetch(folder, RUN, archive(tmp_path, "b"))
    assert not archive(tmp_path, "b").exists()


def forged(journal: Journal, tmp_path: Path) -> bytes:
    """Make up what follows in a journal, hashed as it has to be: an approval, and a severity that needs none."""
    place = archive(tmp_path, "forger") / INCIDENT / RUN
    place.mkdir(parents=True)
    (place / FILE_NAME).write_bytes(journal.path.read_bytes())
    copy = Journal.resume(place, RUN, by="lee", clock=FakeClock(), redactor=Redactor())
    copy.append("approval.seen", step="P1.G1", data={"way": "slack", "person": "Lee Lead"})
    copy.append("run.continued", data={"filled": {"severity": "P0", "criterion": "P0.T1"}})
    copy.release()
    return b"".join(f"{line.text()}\n".encode() for line in copy.lines[len(journal.lines) :])


@pytest.mark.parametrize("sealed", ["not at all", "by another's token", "for another place", "as text"])
def test_lines_that_nobody_who_may_act_put_there_are_not_believed(
    store: Store, tmp_path: Path, sealed: str
) -> None:
    """Who can write into the store and nothing else makes up no approval: neither here nor on another machine."""
    journal = begin(tmp_path)
    mirror_of(store, journal).push()
    journal.release()
    before, body = journal.path.read_bytes(), forged(journal, tmp_path)
    key, mine = f"runs/{RUN}/journal/00000002", Seal.of(secrets_of())
    content = {
        "not at all": body,
        "by another's token": Seal.of(secrets_of("xoxb-2718281828-made-up")).close(key, body),
        "for another place": mine.close(key.replace(RUN, "P1-20261123-215800-0000"), body),
        "as text": body + b"hmac-sha256 " + b"0" * 64 + b"\n",
    }[sealed]
    store.put(key, content)
    for machine in ("a", "b"):
        with pytest.raises(JournalError, match="nothing in it is believed"):
            fetch(store, RUN, archive(tmp_path, machine))
    assert journal.path.read_bytes() == before
    assert not (archive(tmp_path, "b") / INCIDENT / RUN / FILE_NAME).exists()
    store.put(key, mine.close(key, body))  # the same by somebody who may act
    there = fetch(store, RUN, archive(tmp_path, "b"))
    assert there is not None
    assert len(read_journal(there / FILE_NAME).lines) == 3


def test_run_that_is_here_as_far_needs_no_seal(folder: Store, tmp_path: Path) -> None:
    """A token that was changed since holds up nobody who goes on where the run was begun."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    journal.release()
    assert fetch(folder, RUN, archive(tmp_path, "a"), secrets_of("xoxb-2718281828-new")) == journal.folder


def test_attachment_whose_name_leads_elsewhere_is_left_out(folder: Store, tmp_path: Path) -> None:
    """The name becomes a file's."""
    journal = begin(tmp_path)
    mirror_of(folder, journal).push()
    folder.put(f"runs/{RUN}/attachments/.hidden", b"x")
    there = fetch(folder, RUN, archive(tmp_path, "b"))
    assert there is not None
    assert sorted(path.name for path in there.rglob("*")) == [".lock", FILE_NAME]
