"""What a journal keeps, whatever happens to the process, the disk or the file."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from journals import RUN, START, FakeClock, begin, hashed_anew, post

from rollback_lib.errors import GateClosed, JournalError, LeaseHeld, PlanViolation
from rollback_lib.journal import FILE_NAME, GENESIS, Journal, read_journal
from rollback_lib.model import Answer, Redactor, RequestClass, RunId

HERE = Path(__file__).parent


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Give the place of a run's folder that is not there yet."""
    return tmp_path / "incidents" / "INC-1" / RUN


@pytest.fixture
def journal(folder: Path) -> Iterator[Journal]:
    """Give a journal with three lines."""
    journal = begin(folder)
    for number in (1, 2, 3):
        journal.append("note", step="P1.S1", data={"text": f"line {number}", "number": number})
    yield journal
    journal.release()


def resume(folder: Path, run: str = RUN, by: str = "Ben Second") -> Journal:
    """Open a journal again."""
    return Journal.resume(folder, RunId(run), by=by, clock=FakeClock(), redactor=Redactor())


def child_code(code: str, folder: Path) -> str:
    """Give a child's code the names of this folder's builders."""
    head = f"import sys\nsys.path.insert(0, {str(HERE)!r})\nfrom journals import *\nfolder = Path({str(folder)!r})\n"
    return head + code


def in_child(code: str, folder: Path, *, kill: bool = False) -> list[str]:
    """Run code in another process; return the words it printed, one a line."""
    command = [sys.executable, "-c", child_code(code, folder)]
    child = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60)
    assert child.returncode == (-signal.SIGKILL if kill else 0), child.stderr
    return child.stdout.splitlines()


def rewrite(folder: Path, change: Callable[[list[bytes]], list[bytes]]) -> None:
    """Change the lines of a journal file."""
    path = folder / FILE_NAME
    path.write_bytes(b"".join(change(path.read_bytes().splitlines(keepends=True))))


def test_appended_lines_are_chained_and_read_back(folder: Path, journal: Journal) -> None:
    """What was appended is in the file, line by line, each with the hash of the one before."""
    reading = read_journal(folder / FILE_NAME)
    assert reading.lines == journal.lines
    assert (reading.defect, reading.torn, reading.head) == (None, b"", journal.head)
    assert [line.prev for line in reading.lines] == [GENESIS, reading.lines[0].hash, reading.lines[1].hash]
    assert [(line.seq, line.run, line.by, line.step) for line in reading.lines] == [
        (n, RUN, "Ana Operator", "P1.S1") for n in (1, 2, 3)
    ]
    assert reading.lines[0].at == "2026-11-23T21:58:00.000Z"


def test_append_returns_what_a_reader_sees(folder: Path, journal: Journal) -> None:
    """Tuples and number keys become what JSON makes of them before the line is hashed and handed back."""
    line = journal.append("note", data={"pair": (1, 2), "nested": {3: "three"}, "text": "→ ✅ \ud800"})
    assert line.data == {"pair": [1, 2], "nested": {"3": "three"}, "text": "→ ✅ \ud800"}
    assert read_journal(folder / FILE_NAME).lines[-1] == line


def test_begin_in_an_existing_folder_is_refused(folder: Path, journal: Journal) -> None:
    """A run never begins in the folder of another, which stays as it was."""
    before = journal.path.read_bytes()
    with pytest.raises(JournalError):
        begin(folder)
    assert journal.path.read_bytes() == before


def change_third(text: bytes, other: bytes) -> Callable[[list[bytes]], list[bytes]]:
    """Replace something in the third line."""
    return lambda lines: [*lines[:2], lines[2].replace(text, other), *lines[3:]]


@pytest.mark.parametrize(
    ("change", "line", "reason"),
    [
        pytest.param(change_third(b"line 3", b"line 4"), 3, "hash does not fit", id="changed word"),
        pytest.param(
            change_third(b'"number":3', b'"number":3.0'), 3, "hash does not fit", id="changed kind of number"
        ),
        pytest.param(change_third(b'"number":3', b'"number": 3'), 3, "not spelled", id="added space"),
        pytest.param(
            change_third(b'{"at"', b'{"event":"run.closed","at"'), 3, "not spelled", id="field twice"
        ),
        pytest.param(
            change_third(b"line 3", b"line \\u0033"), 3, "not spelled", id="other spelling of a letter"
        ),
        pytest.param(change_third(b"}\n", b"}\r\n"), 3, "not spelled", id="other line end"),
        pytest.param(
            change_third(b'"v":1', b'"v":2'), 3, "not a journal line of version 1", id="other version"
        ),
        pytest.param(change_third(b'"seq":3', b'"seq":true'), 3, "fields", id="other kind of field"),
        pytest.param(change_third(b'"step":"P1.S1",', b""), 3, "fields", id="field missing"),
        pytest.param(change_third(b'"v":1', b'"v":1,"x":1'), 3, "fields", id="field too many"),
        pytest.param(lambda lines: [*lines[:2], b"\xff\xfe\n"], 3, "not readable", id="not text"),
        pytest.param(
            lambda lines: [*lines[:2], b"[" * 100_000 + b"\n"], 3, "nested too deeply", id="nested deeply"
        ),
        pytest.param(
            change_third(b'"data":{', b'"data":{"x":' + b"[" * 64 + b"]" * 64 + b","),
            3,
            "nested too deeply",
            id="nested a level too deeply",
        ),
        pytest.param(lambda lines: [lines[0], lines[2]], 2, "does not follow", id="line missing"),
        pytest.param(lambda lines: lines[1:], 1, "does not follow", id="first line missing"),
        pytest.param(
            lambda lines: [lines[0], lines[2], lines[1]], 2, "does not follow", id="lines reordered"
        ),
        pytest.param(lambda lines: [*lines, lines[2]], 4, "does not follow", id="line twice"),
        pytest.param(lambda lines: [b"\n", *lines], 1, "not readable", id="empty line before"),
        pytest.param(lambda lines: [*lines, b"\n"], 4, "not readable", id="empty line after"),
    ],
)
def test_changed_journal_names_its_first_bad_line(
    folder: Path, journal: Journal, change: Callable[[list[bytes]], list[bytes]], line: int, reason: str
) -> None:
    """The lines before the first bad one are still told; the bad one and what follows are not, and it cannot be resumed."""
    told = journal.lines
    journal.release()
    rewrite(folder, change)
    changed = journal.path.read_bytes()
    reading = read_journal(journal.path)
    assert reading.defect is not None
    assert reading.defect.line == line
    assert reason in reading.defect.reason
    assert reading.lines == told[: line - 1]
    with pytest.raises(JournalError, match=f"line {line}: "):
        resume(folder)
    assert journal.path.read_bytes() == changed


@pytest.mark.parametrize("field", [{"seq": 7}, {"run": RunId("P1-other")}], ids=["number", "run"])
def test_line_hashed_anew_with_a_wrong_field_is_named(
    folder: Path, journal: Journal, field: dict[str, Any]
) -> None:
    """A number out of order or the name of another run does not hold, even under a hash that fits it."""
    journal.release()
    forged = hashed_anew(replace(journal.lines[-1], **field))
    assert forged.holds()
    rewrite(folder, lambda lines: [*lines[:2], forged.text().encode() + b"\n"])
    defect = read_journal(journal.path).defect
    assert defect is not None
    assert defect.line == 3
    assert str(*field.values()) in defect.reason


def test_missing_journal_cannot_be_read_or_resumed(tmp_path: Path) -> None:
    """A mistyped name is an error and leaves no folder behind."""
    with pytest.raises(JournalError):
        read_journal(tmp_path / "nowhere" / FILE_NAME)
    with pytest.raises(JournalError):
        resume(tmp_path / "nowhere")
    assert list(tmp_path.iterdir()) == []


def test_torn_end_is_set_aside_and_the_run_goes_on(folder: Path, journal: Journal) -> None:
    """Half a line was never synced: it is kept in a file of its own and noted, and the chain goes on without it."""
    journal.release()
    with journal.path.open("ab") as file:
        file.write(b'{"at":"2026')
    assert read_journal(journal.path).torn == b'{"at":"2026'
    again = resume(folder)
    assert [line.event for line in again.lines] == ["note", "note", "note", "journal.torn"]
    kept = folder / again.lines[-1].data["kept_in"]
    assert kept.read_bytes() == b'{"at":"2026'
    again.append("note", data={"text": "on"})
    again.release()
    reading = read_journal(journal.path)
    assert (reading.defect, reading.torn, len(reading.lines)) == (None, b"", 5)


def test_torn_end_set_aside_before_a_second_cut_is_kept_twice(folder: Path, journal: Journal) -> None:
    """A session killed while setting the end aside does not keep the next one from going on."""
    journal.release()
    with journal.path.open("ab") as file:
        file.write(b"half")
    (folder / "journal.torn-4.txt").write_bytes(b"ha")
    again = resume(folder)
    again.release()
    assert (folder / "journal.torn-4.txt").read_bytes() == b"ha"
    assert (folder / again.lines[-1].data["kept_in"]).read_bytes() == b"half"


def test_line_is_synced_before_append_returns(journal: Journal, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was written and not synced is lost with the power: each line is synced once it stands in the file whole."""
    synced: list[int] = []

    def sync(descriptor: int) -> None:
        synced.append(os.fstat(descriptor).st_size)
        real(descriptor)

    real = os.fdatasync
    monkeypatch.setattr(os, "fdatasync", sync)
    sizes = []
    for number in range(2):
        journal.append("note", data={"text": str(number)})
        sizes.append(journal.path.stat().st_size)
    assert synced == sizes


def test_disk_full_leaves_no_half_line(folder: Path) -> None:
    """A line that does not fit raises JournalError and is cut off again; the one after it, once there is room, is whole."""
    code = """
import resource
from rollback_lib.errors import JournalError
journal = begin(folder)
kept = [journal.append("note", data={"text": str(n)}).hash for n in range(3)]
size = journal.path.stat().st_size
resource.setrlimit(resource.RLIMIT_FSIZE, (size + 50, resource.RLIM_INFINITY))
for _ in range(2):
    try:
        journal.append("effect.sending", data={"text": "does not fit"})
    except JournalError as exc:
        print("refused", journal.path.stat().st_size == size, len(journal.lines), "too large" in str(exc))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
journal.append("note", data={"text": "room again"})
"""
    assert in_child(code, folder) == ["refused True 3 True"] * 2
    reading = read_journal(folder / FILE_NAME)
    assert (reading.defect, reading.torn) == (None, b"")
    assert [line.data["text"] for line in reading.lines] == ["0", "1", "2", "room again"]


def test_folder_removed_is_a_journal_error(folder: Path, journal: Journal) -> None:
    """Without its folder nothing is written, nowhere, and the caller is told."""
    shutil.rmtree(folder)
    with pytest.raises(JournalError, match="cannot be written"):
        journal.append("effect.sending")
    assert not folder.exists()
    assert len(journal.lines) == 3


@pytest.mark.parametrize(
    "foreign", [b"half a line", b'{"a":"whole line"}\n'], ids=["half a line", "a whole line"]
)
def test_file_changed_by_another_hand_is_not_written_behind(journal: Journal, foreign: bytes) -> None:
    """Behind bytes that are not its own the journal writes nothing, so that no line is ever glued to them."""
    with journal.path.open("ab") as file:
        file.write(foreign)
    found = journal.path.read_bytes()
    with pytest.raises(JournalError, match="not as this process left it"):
        journal.append("effect.sending")
    assert journal.path.read_bytes() == found


def test_file_cut_short_by_another_hand_is_not_written_behind(folder: Path, journal: Journal) -> None:
    """A journal that lost its end is not continued over the gap."""
    os.truncate(journal.path, journal.path.stat().st_size - 5)
    with pytest.raises(JournalError, match="not as this process left it"):
        journal.append("effect.sending")
    again = resume(folder)
    assert again is not journal
    assert [line.event for line in again.lines] == ["note", "note", "journal.torn"]
    again.release()


def test_second_process_is_told_who_holds_it(folder: Path, journal: Journal) -> None:
    """Another process gets LeaseHeld with the holder's name, and writes nothing."""
    code = """
from rollback_lib.errors import LeaseHeld
try:
    Journal.resume(folder, RUN, by="Ben Second", clock=FakeClock(), redactor=Redactor())
except LeaseHeld as exc:
    print(exc.happened)
"""
    before = journal.path.read_bytes()
    (told,) = in_child(code, folder)
    assert "last written by Ana Operator at 2026-11-23T21:58:00.000Z" in told
    assert journal.path.read_bytes() == before


def test_journal_that_was_let_go_of_is_free_for_another_process(folder: Path, journal: Journal) -> None:
    """After release, also from another thread, a second process goes on with the run."""
    thread = threading.Thread(target=journal.release)
    thread.start()
    thread.join()
    code = """
journal = Journal.resume(folder, RUN, by="Ben Second", clock=FakeClock(), redactor=Redactor())
print(journal.append("run.continued").seq)
"""
    assert in_child(code, folder) == ["4"]


def test_journal_that_was_let_go_of_writes_no_more(journal: Journal) -> None:
    """A thread that comes late cannot write into a record that is sealed or held by another."""
    journal.release()
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match="not held by this process"):
        journal.append("warning")
    assert journal.path.read_bytes() == before


def test_forked_child_neither_writes_nor_frees_the_journal(folder: Path) -> None:
    """A process forked from the holder has the object but not the journal."""
    code = """
import os, sys
from rollback_lib.errors import JournalError, LeaseHeld
journal = begin(folder)
journal.append("note", data={"text": "parent"})
pid = os.fork()
if pid == 0:
    for work in (lambda: journal.append("note"), lambda: Journal.resume(folder, RUN, by="x", clock=FakeClock(), redactor=Redactor())):
        try:
            work()
        except (JournalError, LeaseHeld) as exc:
            os.write(1, (type(exc).__name__ + chr(10)).encode())
    journal.release()
    os._exit(0)
os.waitpid(pid, 0)
print(journal.append("note", data={"text": "parent"}).seq, journal.held, flush=True)
"""
    assert in_child(code, folder) == ["JournalError", "LeaseHeld", "2 True"]
    assert read_journal(folder / FILE_NAME).defect is None


def test_resume_in_the_same_process_gives_the_same_journal(folder: Path, journal: Journal) -> None:
    """Running the open cell again goes on with the open journal, under the name of who runs it now."""
    again = resume(folder)
    assert again is journal
    assert again.append("note").by == "Ben Second"


def test_resume_under_another_run_is_refused(folder: Path, journal: Journal) -> None:
    """A journal is continued only as the run that it is of."""
    journal.release()
    before = journal.path.read_bytes()
    with pytest.raises(JournalError, match="not of P1-other"):
        resume(folder, run="P1-other")
    assert journal.path.read_bytes() == before
    resume(folder).release()


def test_resumed_journal_continues_the_chain(folder: Path, journal: Journal) -> None:
    """What a later session appends follows what the earlier one wrote."""
    head = journal.head
    journal.release()
    again = resume(folder)
    line = again.append("run.continued")
    again.release()
    assert (line.seq, line.prev) == (4, head)
    assert read_journal(folder / FILE_NAME).defect is None


def test_working_directory_may_change(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A journal opened by a relative path is written to the same file from anywhere."""
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path)
    journal = begin(Path("relative") / RUN)
    monkeypatch.chdir(tmp_path / "elsewhere")
    journal.append("note")
    journal.release()
    assert len(read_journal(tmp_path / "relative" / RUN / FILE_NAME).lines) == 1


def test_threads_append_whole_lines(folder: Path) -> None:
    """Lines of several threads come one after the other, none lost and none mixed."""
    journal = begin(folder)
    threads = [
        threading.Thread(
            target=lambda n=n: [
                journal.append("note", data={"thread": n, "text": "x" * 2000}) for _ in range(25)
            ]
        )
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    journal.release()
    reading = read_journal(folder / FILE_NAME)
    assert (reading.defect, reading.torn, len(reading.lines)) == (None, b"", 200)
    assert sorted(line.data["thread"] for line in reading.lines) == sorted(list(range(8)) * 25)


def test_killed_process_leaves_every_line_it_was_told_of(folder: Path) -> None:
    """After kill -9 all lines whose append had returned are there, and the run can be resumed."""
    code = """
import os, signal, threading
journal = begin(folder)
threading.Timer(0.15, lambda: os.kill(os.getpid(), signal.SIGKILL)).start()
while True:
    line = journal.append("note", data={"text": "x" * 500})
    os.write(1, (line.hash + chr(10)).encode())
"""
    told = in_child(code, folder, kill=True)
    assert told
    reading = read_journal(folder / FILE_NAME)
    assert reading.defect is None
    assert [line.hash for line in reading.lines][: len(told)] == told
    assert len(reading.lines) <= len(told) + 1
    again = resume(folder)
    again.append("run.continued")
    again.release()
    assert read_journal(folder / FILE_NAME).defect is None


def test_interrupted_append_leaves_a_journal_that_holds(folder: Path) -> None:
    """An operator's interrupt, whenever it strikes, leaves whole lines; opening the run again goes on with it.

    Struck while writing or syncing, the line is taken back; only in the few instructions after that may it stay.
    """
    code = """
import signal
from rollback_lib.errors import JournalError
from rollback_lib.journal import read_journal
armed, struck, told = False, 0, []
def interrupt(*_):
    if armed:
        raise KeyboardInterrupt
journal = begin(folder)
signal.signal(signal.SIGALRM, interrupt)
for delay_us in range(20, 2000, 20):
    try:
        armed = True
        signal.setitimer(signal.ITIMER_REAL, delay_us / 1e6)
        told.append(journal.append("note", data={"text": "x" * 3000}).hash)
        armed = False
    except (KeyboardInterrupt, JournalError):
        armed = False
        struck += 1
        journal = Journal.resume(folder, RUN, by="Ana Operator", clock=FakeClock(), redactor=Redactor())
told.append(journal.append("note").hash)
hashes = [line.hash for line in read_journal(journal.path).lines]
print(struck > 0, set(told) <= set(hashes), len(hashes) - len(told) <= struck / 2)
"""
    assert in_child(code, folder) == ["True True True"]
    reading = read_journal(folder / FILE_NAME)
    assert (reading.defect, reading.torn) == (None, b"")


def test_known_secret_reaches_no_line(folder: Path) -> None:
    """A secret value is replaced in texts, lists and names alike, in the file and in what is handed back."""
    secret = "vcp_0123456789"
    journal = begin(folder, secrets=(secret,))
    line = journal.append(
        "note", data={"text": f"Bearer {secret}", "list": [{secret: secret}], "pair": (secret,)}
    )
    intent = journal.prepare("message", step=None, data={"text": secret})
    sending = post(f"/hook/{secret}", RequestClass.PREPARE)
    intent.admit(sending)
    intent.answered(sending, Answer("refused", 403, f"bad token {secret}"))
    intent.failed(f"token {secret}")
    journal.release()
    assert secret not in journal.path.read_text()
    assert line.data == {
        "text": "Bearer [redacted]",
        "list": [{"[redacted]": "[redacted]"}],
        "pair": ["[redacted]"],
    }


def test_intent_is_on_disk_before_each_attempt(journal: Journal) -> None:
    """The intent, every attempt and every answer are in the file when the call returns, attempts counted."""
    sending = post("/chat.postMessage", RequestClass.PREPARE)

    def events() -> list[str]:
        return [line.event for line in read_journal(journal.path).lines[3:]]

    intent = journal.prepare("message alert", step="P1.S3", data={"text": "hello"})
    assert events() == ["prepare.intent"]
    intent.admit(sending)
    assert events() == ["prepare.intent", "prepare.sending"]
    intent.answered(sending, Answer("unclear", None, "no answer"))
    intent.admit(sending)
    intent.answered(sending, Answer("accepted", 200, "ok"))
    intent.done({"ts": "1.1"})
    lines = read_journal(journal.path).lines[3:]
    assert [line.data.get("attempt") for line in lines] == [None, 1, 1, 2, 2, None]
    assert {line.data["name"] for line in lines} == {"message alert"}
    assert {line.step for line in lines} == {"P1.S3"}
    assert lines[1].data["body_sha256"] == "ab" * 32
    assert (lines[-1].event, lines[-1].data["ts"]) == ("prepare.done", "1.1")


def test_intent_refuses_an_effect(journal: Journal) -> None:
    """Leave for a harmless change never lets an effect through, and no attempt is written down."""
    intent = journal.prepare("message", step=None)
    with pytest.raises(PlanViolation, match="changes production"):
        intent.admit(post(of=RequestClass.EFFECT))
    assert [line.event for line in read_journal(journal.path).lines[3:]] == ["prepare.intent"]
    assert intent.attempts == 0


def test_intent_without_its_journal_admits_nothing(folder: Path, journal: Journal) -> None:
    """If the attempt cannot be written down, `admit` raises, so nothing leaves."""
    intent = journal.prepare("message", step=None)
    shutil.rmtree(folder)
    with pytest.raises(JournalError):
        intent.admit(post(of=RequestClass.PREPARE))


def test_dry_run_withholds_leave_to_prepare(journal: Journal) -> None:
    """A dry run gets no pass at all; not even the intent is written."""
    journal.may_prepare = False
    with pytest.raises(GateClosed, match="dry run"):
        journal.prepare("message", step=None)
    assert len(read_journal(journal.path).lines) == 3


def test_clock_without_zone_writes_nothing(journal: Journal) -> None:
    """Naive time is a programmer's mistake; no line with it reaches the file."""
    journal.clock = FakeClock(START.replace(tzinfo=None))
    with pytest.raises(ValueError, match="naive"):
        journal.append("note")
    assert len(read_journal(journal.path).lines) == 3
    journal.clock = FakeClock()
    assert journal.append("note").seq == 4


def test_find_and_last_pick_by_event_and_step(journal: Journal) -> None:
    """Lines are found by event and step, oldest first; the last one is the newest."""
    journal.append("note", step="P1.S2")
    assert [line.seq for line in journal.find("note")] == [1, 2, 3, 4]
    assert [line.seq for line in journal.find("note", "P1.S1")] == [1, 2, 3]
    newest = journal.last("note", "P1.S1")
    assert newest is not None
    assert newest.seq == 3
    assert journal.last("run.closed") is None


def test_journal_is_free_once_its_holder_was_killed(folder: Path, journal: Journal) -> None:
    """While another process holds the run this one is refused, and goes on once that one is gone."""
    journal.release()
    code = """
journal = Journal.resume(folder, RUN, by="Ben Second", clock=FakeClock(), redactor=Redactor())
print("held", flush=True)
sys.stdin.read()
"""
    command = [sys.executable, "-c", child_code(code, folder)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "held\n"
        with pytest.raises(LeaseHeld):
            resume(folder)
        child.kill()
        child.wait()
    resume(folder).release()
