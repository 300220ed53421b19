"""One crash, proven: killed at a point, run again in a new process to the end, and judged by world, journal and record.

- Death is a real SIGKILL: by the kernel's own hand beside a journal line, by the world's between request and answer.
- What is waited for is what really happens: an orphaned kernel ends when it notices by itself.
- Right is: production moved once, each message posted once, the run closed once and verified, its record whole.
"""

from __future__ import annotations

import re
import signal
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

from points import CHANGING, CHILD, REQUEST, SURVIVED, Place, Point, named, places
from repository import ROOT
from stage import SCENARIOS, Ended, Stage, await_end, is_there, kill, lines_of, stage
from striking import Ear, Killer, Tap, listening, loaded, place_at_doors, programs_begun

from rollback_lib.clock import SystemClock
from rollback_lib.drills.oracle import Case as OracleCase
from rollback_lib.drills.oracle import judge
from rollback_lib.evidence.archive import RunFolder
from rollback_lib.evidence.record import verify_record
from rollback_lib.execute import EXIT_CODES
from rollback_lib.journal import FILE_NAME, Line, read_journal
from rollback_lib.model import Outcome

HELD_BY_ANOTHER, CLOSED_ALREADY = 5, 2
PATIENCE_S = 30.0  # for a lease of somebody who died to run out


@dataclass(frozen=True)
class Clean:
    """What a run without faults passes and leaves behind."""

    places: tuple[Place, ...]
    posts: Counter[str]  # messages in Slack, by name
    deeds: Counter[str]  # changes of production, by kind
    loaded: tuple[
        str, ...
    ] = ()  # the project's Python files that it needed, by whatever process, relative to the root


def clean_run(scenario: str) -> Clean:
    """Run without faults."""
    with stage(scenario) as here:
        heard: list[str] = []
        place_at_doors(here, lambda app: Ear(app, heard))
        ended = here.start(environment=listening(here)).wait()
        run = here.run_on_disk()
        assert ended.code == 0, ended.said
        assert run is not None
        assert run.outcome is Outcome.VERIFIED
        began = [name for name in programs_begun(here) if name in CHANGING]
        found = [*places(lines_of(run.folder)), *named(CHILD, began), *named(REQUEST, heard)]
        return Clean(tuple(found), posts(here), deeds(here), tuple(sorted(loaded(here))))


def prove(point: Point, clean: Clean) -> list[str]:
    """Kill at a point, go on to the end, and return what is not right: what a run without faults would not have left."""
    with stage(point.scenario, official=point.at_program) as here:
        killer = Killer(point, here)
        place_at_doors(here, lambda app: Tap(app, killer))
        killer.running = here.start(environment=killer.environment())
        case = Case(here, killer, killer.running.wait())
        try:
            return list(case.judge(clean))
        finally:
            if killer.kernel is not None and is_there(killer.kernel):
                kill(killer.kernel)
            if here.program is not None:
                here.program.end(SystemClock())


@dataclass
class Case:
    """One crash and what came after it."""

    stage: Stage
    killer: Killer
    first: Ended
    later: list[Ended] = field(default_factory=list)
    at_death: RunFolder | None = None  # as it was when the first process had ended

    def judge(self, clean: Clean) -> Iterator[str]:
        """Go on to the end and give what is not right, if anything."""
        if not self.killer.reached:
            yield f"the point was never reached: {self.first}"
            return
        self.at_death = self.stage.run_on_disk()
        yield from self._first_word(self.at_death)
        if self.killer.point.victim in {"kernel", "both", "stopped", "pair", "all"}:  # nobody of it is alive
            yield from self._outside("at the death", self.at_death, killed=True)
        yield from self._go_on(self.at_death)
        run = self.stage.run_on_disk()
        if run is None:
            yield f"no run has begun: {self.later}"
            return
        yield from self._ending(run)
        yield from self._journal(run)
        yield from self._world(clean, told_of_stops(lines_of(run.folder)))
        yield from self._record(run)
        yield from self._left_lying()
        yield from self._outside("at the end", run)

    def _first_word(self, run: RunFolder | None) -> Iterator[str]:
        """A run that was killed claims no success that is not on disk; what is left of it says so and verifies."""
        victim, code = self.killer.point.victim, self.first.code
        if victim in {"both", "run", "held", "all"}:
            if code != -signal.SIGKILL:
                yield f"`rollback run` was not killed, it ended with {self.first}"
            return
        if run is None or not self._is_named:
            if code != 1:
                yield f"`rollback run` began nothing that it knows of, and ended with {self.first}"
            return
        if code != EXIT_CODES[run.outcome] or (code == 0 and not run.is_closed):
            yield f"`rollback run` ended with {self.first}, and the run on disk is {run}"
        if not verify_record(run.folder).ok:
            yield f"what was left behind does not verify: {verify_record(run.folder)}"

    def _go_on(self, run: RunFolder | None) -> Iterator[str]:
        """Start again until it is not held any more."""
        deadline = time.monotonic() + PATIENCE_S
        while True:
            ended = self.stage.start(run=run.run if run is not None else "").wait()
            self.later.append(ended)
            held = self.killer.point.victim == "held" and run is not None and len(self.later) == 1
            if held and ended.code != HELD_BY_ANOTHER:
                yield f"the halted kernel holds the run, and yet the next process ended with {ended}"
            if ended.code != HELD_BY_ANOTHER or time.monotonic() > deadline:
                break
            self._let_go()
        self._let_go()

    def _let_go(self) -> None:
        """Let a stopped kernel go on, and see it end by itself."""
        if self.killer.kernel is not None:
            kill(self.killer.kernel, signal.SIGCONT)
            await_end(self.killer.kernel)

    def _ending(self, run: RunFolder) -> Iterator[str]:
        last = self.later[-1]
        closed_already = last.code == CLOSED_ALREADY and f"run {run.run} is closed" in last.said
        if last.code != 0 and not closed_already:
            yield f"the run was not brought to its end: {last}"
        if not run.is_closed or run.outcome is not Outcome.VERIFIED:
            yield f"{run} at the end, expected closed and verified: {run.why}"

    def _journal(self, run: RunFolder) -> Iterator[str]:
        reading = read_journal(run.folder / FILE_NAME)
        if reading.defect is not None or reading.torn:
            yield f"the journal does not hold: {reading.defect}, torn end {reading.torn!r}"
        count = Counter(line.event for line in reading.lines)
        once = dict.fromkeys(("run.opened", "run.closed", "effect.done"), 1)
        for event, wanted in (once | {"run.interrupted": self._said_so}).items():
            if count[event] != wanted:
                yield f"{event} stands {count[event]} times in the journal, expected {wanted}"
        asides = sorted(path.name for path in run.folder.glob("journal.torn-*"))
        noted = [line.data["kept_in"] for line in reading.lines if line.event == "journal.torn"]
        if asides != sorted(noted):
            yield f"torn ends set aside {asides}, noted {noted}"
        point = self.killer.point
        torn = point.how == "torn" and point.place.event != "run.opened"
        expected = {
            "kernel": {torn},
            "both": {torn},
            "held": {False, torn},
        }  # halted, it may end with its line or without
        if len(noted) not in expected.get(point.victim, {False}):
            yield f"torn ends in the journal: {noted}"

    def _world(self, clean: Clean, stops: int) -> Iterator[str]:
        world = self.stage.serving.world
        if (done := deeds(self.stage)) != clean.deeds:
            yield f"production was changed by {dict(done)}, expected {dict(clean.deeds)}"
        yield from backend_trouble(self.stage) if self._procedure == 2 else frontend_trouble(self.stage)
        wanted = clean.posts + Counter({"failure": stops} if stops else {})
        if (found := posts(self.stage)) != wanted:
            yield f"messages {dict(found)}, expected {dict(wanted)}"
        if left := world.slack.scheduled():
            yield f"still to be posted, though the run is over: {left}"

    def _outside(self, when: str, run: RunFolder | None, *, killed: bool = False) -> Iterator[str]:
        """Ask the outside judge, who knows neither the procedures nor this harness."""
        here, last = self.stage, (self.later or [self.first])[-1]
        told = {"exit_code": last.code, "outcome": str(Outcome.VERIFIED)} if last.code == 0 else {}
        case = OracleCase(
            here.serving.world,
            run.folder if run is not None else None,
            ROOT,
            said="\n".join(ended.said for ended in (self.first, *self.later)),
            state=here.serving.state,
            killed=killed,
            **told,
        )
        for finding in judge(case).of("broken"):
            yield f"{when}, the outside judge: {finding}"

    @property
    def _said_so(self) -> int:
        """Tell how often somebody who survived should have written that the run was stopped."""
        survived = self.killer.point.victim in SURVIVED
        return int(survived and self.at_death is not None and not self.at_death.is_closed and self._is_named)

    @property
    def _procedure(self) -> int:
        return SCENARIOS[self.stage.scenario].procedure

    @property
    def _is_named(self) -> bool:
        """Say whether the kernel had the time to tell which run it has begun."""
        return self.killer.point.place.event != "run.opened"

    def _record(self, run: RunFolder) -> Iterator[str]:
        """Verify; where nobody lived to write the record, do what `rollback verify` says first."""
        if not verify_record(run.folder).ok:
            looked = self.stage.say("verify", str(run.folder))
            if f"rollback record {run.run}" in looked.said:
                self.stage.say("record", str(run.folder))
        if not (found := verify_record(run.folder)).ok:
            yield f"the record does not verify: {found}"

    def _left_lying(self) -> Iterator[str]:
        """Look for what a program goes on with, and for the key and the output that is as a program wrote it."""
        program, scratch = self.stage.program, self.stage.scratch
        if program is None or scratch is None:
            return
        if program.running() is not None:
            yield f"a program is still running, though the run is over: {program.left()}"
        if (left := program.left()) is not None:
            yield f"the output of a program is kept as it was written: {left}"
        key = self.stage.serving.secrets["CONVEX_DEPLOY_KEY"].encode()
        for path in sorted(scratch.rglob("*")):
            if path.is_file() and not path.is_symlink() and key in path.read_bytes():
                yield f"the deploy key is left in {path.relative_to(scratch)}"
        if checkouts := [path.name for path in scratch.glob("checkouts/*/*")]:
            yield f"checkouts are left, though the run is over: {checkouts}"


def frontend_trouble(here: Stage) -> Iterator[str]:
    """Say where production is, if it is not where a right rollback leads."""
    view = here.serving.world.outcome_view()
    target = view.expected_target
    if view.production != target or set(view.live.values()) != {target} or not view.healthy:
        yield f"production is {view.production}, domains {dict(view.live)}, expected {target}"


def backend_trouble(here: Stage) -> Iterator[str]:
    """Say what the backend runs, if it is not what a right rollback leads to, or does not run well."""
    view = here.serving.world.outcome_view().convex
    assert view is not None
    if view.code != view.expected_code:
        yield f"the backend runs the code {view.code}, expected {view.expected_code}"
    if view.failed_calls or not view.calls:
        yield f"{view.failed_calls} of {view.calls} calls failed since the last push: {failures(here)}"


def failures(here: Stage) -> list[str]:
    """Tell the calls that failed since the last push: when they began after it, how long they took, and why."""
    backend = here.serving.world.convex
    assert backend is not None
    since = backend.last_push_ms or 0.0
    return [
        f"{call.identifier} {call.began_ms - since:.0f} ms after it, in {call.took_s:.1f} s: {call.error}"
        for call in backend.logs.entries()
        if call.error is not None and call.began_ms >= since
    ]


def told_of_stops(lines: tuple[Line, ...]) -> int:
    """Count the ends of sessions that the channel has to hear of: those after the alert."""
    alerted = False
    told = 0
    for line in lines:
        alerted = alerted or (line.event == "prepare.done" and line.data["name"] == "message alert")
        told += alerted and line.event == "run.provisional"
    return told


def posts(here: Stage) -> Counter[str]:
    """Count the bot's messages in the world, by name; what is no message of the thread by its kind.

    A webhook's message carries no name: it is known by the text that the journal has under it.
    """
    run = here.run_on_disk()
    lines = lines_of(run.folder) if run is not None else ()
    by_text = {
        line.data["text"]: line.data["name"] for line in lines if "text" in line.data and "name" in line.data
    }
    found: Counter[str] = Counter()
    for message in here.serving.world.slack.messages():
        if message.bot_id is not None:
            told = message.metadata or {}
            name = told.get("event_payload", {}).get("message") or told.get("event_type")
            name = name or by_text.get(message.text, message.text)
            name = name.removeprefix("message ").removesuffix(" by webhook")
            found[name.partition(" ")[0] if name.startswith("failure ") else name] += 1
    return found


def deeds(here: Stage) -> Counter[str]:
    """Count what was done to production, by kind; a push by what it says of itself, without commit and run."""
    view = here.serving.world.outcome_view()
    pushes = view.convex.pushes if view.convex is not None else ()
    pushed = (f"{push.message} by {push.by}" for push in pushes if push.at_ms > view.began_ms)
    return Counter(effect.what for effect in view.effects) + Counter(
        re.sub(r"[0-9a-f]{40} \(.*?, run .*?\)", "a commit", one) for one in pushed
    )
