"""The lease of an environment, on a folder and on a bucket: who gets it, until when, and what it lets pass."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from buckets import bucket_server
from conftest import FakeClock
from stores import BadDay, bucket_store, folder_store, older

from rollback_lib.consent.lease import LOOK_S, Holder, Lease, Terms, peek
from rollback_lib.errors import LeaseHeld, Unreachable
from rollback_lib.store import Bucket, Store

ANA = Holder("P1-ana", "ana", "desk-a", 101, "a1", "boot-1")
BEN = Holder("P1-ben", "ben", "desk-b", 202, "b2", "boot-2")
ASK, TAKE = Terms(90, 12, "ask"), Terms(90, 12, "take")


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


def take(
    store: Store, me: Holder = ANA, *, terms: Terms = ASK, clock: FakeClock | None = None, **more
) -> Lease:
    return Lease.take(store, "production", me, terms=terms, clock=clock or FakeClock(), **more)


def refused(store: Store, me: Holder = BEN, **more) -> LeaseHeld:
    """Expect a refusal that leaves the store as it was."""
    before = store.keys("leases")
    with pytest.raises(LeaseHeld) as caught:
        take(store, me, **more)
    assert store.keys("leases") == before
    return caught.value


# Taking


def test_one_who_comes_first_has_it_and_everybody_sees(store: Store) -> None:
    """Run, operator, host, since when and until when can be read by whoever asks."""
    assert peek(store, "production") is None
    lease = take(store)
    assert (lease.generation, lease.taken_from) == (1, None)
    found = peek(store, "production")
    assert found is not None
    assert (found.holder, found.ttl_s, found.released, found.expired) == (ANA, 90, False, False)
    assert found.expires_at - found.heard_at == timedelta(seconds=91)
    assert peek(store, "staging") is None


def test_another_run_is_refused_and_told_whom_to_ask_and_what_to_type(store: Store) -> None:
    """While the holder is heard of, nobody gets it unasked, whatever becomes of expired ones."""
    take(store)
    error = refused(store, terms=TAKE)
    assert "production is held by run P1-ana of ana on desk-a (process 101) since 20" in error.happened
    assert "last heard of 0 s ago; unless heard of again it expires in 9" in error.happened
    assert error.state.startswith("Nothing was sent")
    assert "Ask ana" in error.next_step
    assert 'take_over = "P1-ana"' in error.next_step
    assert "-p take_over=P1-ana" in error.next_step
    own = replace(BEN, operator="ana")
    assert "It is your own run: finish it, or end it (rollback abort P1-ana" in refused(store, own).next_step
    here = replace(own, process="a1")
    assert 'end it (rollback.abort("...") in this kernel)' in refused(store, here).next_step


def test_given_back_it_is_free(store: Store) -> None:
    """The next generation begins without asking, waiting or warning."""
    take(store).release()
    found = peek(store, "production")
    assert found is not None
    assert (
        found.standing()
        == "production is free; it was last held by run P1-ana of ana on desk-a (process 101)."
    )
    lease = take(store, BEN)
    assert (lease.generation, lease.taken_from) == (2, None)


def test_environments_have_leases_of_their_own(folder: Store) -> None:
    """Whoever acts on staging keeps nobody from production."""
    take(folder)
    assert Lease.take(folder, "staging", BEN, terms=ASK, clock=FakeClock()).generation == 1


RACER = """
import sys, time
from pathlib import Path
from rollback_lib.clock import SystemClock
from rollback_lib.consent.lease import Holder, Lease, Terms
from rollback_lib.errors import LeaseHeld
from rollback_lib.execute import exit_code_of_error
from rollback_lib.model import Redactor
from rollback_lib.store import Bucket, Store

location, home, endpoint, name, go = sys.argv[1:]
store = Store.open(location, Path(home), Redactor(), Bucket(endpoint, "us-east-1", "key-id", "key-secret"))
store.keys("leases")
Path(go + name).touch()
while not Path(go).exists():
    time.sleep(0.001)
try:
    Lease.take(store, "production", Holder.here("P1-" + name, name), terms=Terms(90, 12, "take"), clock=SystemClock())
except LeaseHeld as exc:
    print(exc.happened)
    sys.exit(exit_code_of_error(type(exc).__name__))
"""


@pytest.mark.parametrize("kind", ["folder", "bucket"])
def test_of_two_processes_at_once_one_gets_it(kind: str, server: Bucket, tmp_path: Path) -> None:
    """The other one ends with exit code 5 and names the winner."""
    go, location = tmp_path / "go", "state" if kind == "folder" else f"s3://state/{tmp_path.name}"
    racers = {
        name: subprocess.Popen(
            [sys.executable, "-c", RACER, location, str(tmp_path), server.endpoint, name, str(go)],
            stdout=subprocess.PIPE,
            text=True,
        )
        for name in ("ana", "ben")
    }
    while not all(go.with_name(f"go{name}").exists() for name in racers):
        assert all(racer.poll() is None for racer in racers.values())
    go.touch()
    said = {name: racer.communicate()[0] for name, racer in racers.items()}
    codes = {name: racer.returncode for name, racer in racers.items()}
    assert sorted(codes.values()) == [0, 5]
    winner, loser = sorted(codes, key=lambda name: codes[name])
    assert f"is held by run P1-{winner}" in said[loser]


# Expiry


def test_expired_one_of_another_run_has_to_be_named(store: Store) -> None:
    """Silence alone does not tell what became of it: a person looks, then says whose place is taken."""
    short = replace(ASK, ttl_s=0.5)
    take(store, terms=short)
    older(store, "leases/production/00000001/claim", 3)
    error = refused(store)
    assert "it expired" in error.happened
    assert "See first what became of that run" in error.next_step
    lease = take(store, BEN, from_run="P1-ana")
    assert lease.generation == 2
    assert lease.taken_from is not None
    assert lease.taken_from.expired


def test_expired_one_is_taken_unasked_where_policy_says_so(folder: Store) -> None:
    """As in drills; it counts as taken over all the same."""
    take(folder)
    older(folder, "leases/production/00000001/claim", 92)
    lease = take(folder, BEN, terms=TAKE)
    assert lease.taken_from is not None
    assert lease.taken_from.holder == ANA


def test_being_heard_of_keeps_it(folder: Store) -> None:
    """The last beat counts, not the claim."""
    lease = take(folder)
    older(folder, "leases/production/00000001/claim", 500)
    lease.renew()
    older(folder, "leases/production/00000001/beat", 89)
    assert "last heard of 89 s ago" in refused(folder, terms=TAKE).happened
    older(folder, "leases/production/00000001/beat", 4)
    assert take(folder, BEN, terms=TAKE).generation == 2


@pytest.mark.parametrize("hours", [-1, 1], ids=["machine behind", "machine ahead"])
def test_clocks_of_machines_and_store_that_are_an_hour_apart_change_nothing(
    folder: Store, hours: int
) -> None:
    """Expiry is reckoned by the store's times alone, for the holder and for who asks."""
    off = FakeClock()
    store = BadDay(folder, off, off=timedelta(hours=-hours))
    lease = take(store, clock=off)
    lease.renew()
    assert "last heard of 0 s ago" in refused(store, terms=TAKE).happened
    older(folder, "leases/production/00000001/beat", 92)
    assert take(store, BEN, terms=TAKE, clock=off).generation == 2


# Taking over


def test_live_one_is_taken_over_by_naming_its_run_only(store: Store) -> None:
    """Another name does not do, and says so; and what was named does not hold for whoever comes next."""
    take(store)
    assert "take_over names P1-eve, which does not hold it" in refused(store, from_run="P1-eve").happened
    lease = take(store, BEN, from_run="P1-ana")
    assert lease.taken_from is not None
    assert (lease.taken_from.holder, lease.taken_from.expired) == (ANA, False)
    eve = replace(BEN, run="P1-eve", operator="eve")
    assert "held by run P1-ben" in refused(store, eve, from_run="P1-ana").happened


def test_run_takes_its_own_lease_again_on_its_machine(folder: Store) -> None:
    """Its process died, as the journal's lock has shown: no wait, no word."""
    take(folder)
    lease = take(folder, replace(ANA, pid=102, process="a2"))
    assert (lease.generation, lease.taken_from) == (2, None)


def test_run_on_another_machine_waits_until_the_first_one_is_silent(folder: Store) -> None:
    """There the lock shows nothing: it expires, or is named."""
    take(folder)
    elsewhere = replace(ANA, host="desk-b", pid=7, process="b7")
    error = refused(folder, elsewhere)
    assert "This very run was going on there" in error.next_step
    assert take(folder, elsewhere, from_run="P1-ana").generation == 2
    older(folder, "leases/production/00000002/claim", 92)
    assert take(folder, ANA).generation == 3


@pytest.mark.parametrize("boot", ["boot-2", "", None], ids=["another", "tells none", "older version"])
def test_run_in_another_container_of_its_host_name_waits_like_another_machine(
    folder: Store, boot: str | None
) -> None:
    """The lock of the journal is not the one it knows: a holder who is alive there is not taken for dead."""
    take(folder)
    beside = replace(ANA, pid=7, process="b7", boot=boot)
    error = refused(folder, beside)
    assert "desk-a that cannot be looked at from here (in another container, or before a" in error.next_step
    assert take(folder, beside, from_run="P1-ana").generation == 2  # named, at once
    older(folder, "leases/production/00000002/claim", 92)
    assert take(folder, replace(beside, process="c8")).generation == 3  # or once it was silent


def test_claim_of_an_older_version_is_of_no_machine_beyond_doubt(folder: Store) -> None:
    """It tells its host name alone: this run waits until it is silent."""
    old = {name: value for name, value in vars(ANA).items() if name != "boot"}
    claim = json.dumps(old | {"ttl_s": 90.0, "nonce": "n"}).encode()
    folder.create("leases/production/00000001/claim", claim)
    found = peek(folder, "production")
    assert found is not None
    assert found.holder == replace(ANA, boot=None)
    assert "This very run" in refused(folder, replace(ANA, pid=7, process="a2")).next_step
    assert "This very run" in refused(folder, replace(ANA, pid=7, process="a2", boot=None)).next_step


def test_process_that_has_it_goes_on_with_it(folder: Store) -> None:
    """Opening again in the same kernel begins no new generation."""
    first = take(folder)
    again = take(folder)
    assert (first.generation, again.generation) == (1, 1)
    again.require(10)


def test_one_who_took_over_waits_until_the_other_ones_request_is_over(folder: Store) -> None:
    """What was under way when it was taken over has landed before anything leaves here; once is enough."""
    clock = FakeClock()
    take(folder)
    lease = take(folder, BEN, clock=clock, from_run="P1-ana")
    clock.advance(5)
    lease.require(10)
    assert sum(clock.slept) == pytest.approx(ASK.settle_s - 5)
    lease.require(10)
    assert sum(clock.slept) == pytest.approx(ASK.settle_s - 5)
    restarted = take(folder, replace(BEN, pid=3, process="b3"), clock=clock, unsettled=True)
    clock.slept.clear()
    restarted.require(10)
    assert sum(clock.slept) == pytest.approx(ASK.settle_s)


def test_one_who_found_it_free_waits_for_nothing(folder: Store) -> None:
    """Also after it was given back, and for the run's own."""
    clock = FakeClock()
    take(folder).release()
    take(folder, BEN, clock=clock).require(10)
    take(folder, replace(BEN, pid=3, process="b3"), clock=clock).require(10)
    assert sum(clock.slept) == 0


# Holding


def test_request_passes_while_it_is_held(store: Store) -> None:
    """Each time the holder is heard of."""
    lease = take(store)
    lease.require(10)
    assert "leases/production/00000001/beat" in store.keys("leases")


def test_one_who_lost_it_learns_that_before_anything_leaves(store: Store) -> None:
    """By the next beat and by the next request, and is told by whom and what to do."""
    lease = take(store)
    take(store, BEN, from_run="P1-ana")
    for ask in (lease.renew, lambda: lease.require(10)):
        with pytest.raises(LeaseHeld) as caught:
            ask()
        assert "Run P1-ana no longer has the lease on production" in caught.value.happened
        assert "run P1-ben of ben on desk-b (process 202) took it at 20" in caught.value.happened
        assert "Ask ben before anything else" in caught.value.next_step
        assert 'take_over = "P1-ben"' in caught.value.next_step
    found = peek(store, "production")
    assert found is not None
    assert found.holder == BEN


def test_claim_that_somebody_took_away_is_a_lost_lease(folder: Store) -> None:
    """A wiped store must not let two act."""
    lease = take(folder)
    folder.delete("leases/production/00000001/claim")
    with pytest.raises(LeaseHeld, match="somebody took it away"):
        lease.require(10)


def test_given_back_it_lets_nothing_pass_and_is_not_heard_of_again(folder: Store) -> None:
    """A beat that comes late does nothing."""
    lease = take(folder)
    lease.release()
    lease.release()
    before = folder.keys("leases")
    lease.renew()
    assert folder.keys("leases") == before
    with pytest.raises(LeaseHeld, match="has given the lease on production back"):
        lease.require(10)


def test_deadline_that_does_not_fit_into_it_is_refused(folder: Store) -> None:
    """A request that may still be on its way when the lease ends does not leave."""
    lease = take(folder, terms=replace(ASK, ttl_s=9))
    lease.require(9)
    with pytest.raises(LeaseHeld, match=r"good for 9\.0 s more, the request may take 10 s"):
        lease.require(10)


def test_look_counts_for_two_seconds_at_most(folder: Store) -> None:
    """A recent look may count where it is asked so; an older one is made anew."""
    clock = FakeClock()
    store = BadDay(folder, clock)
    lease = take(store, clock=clock)
    lease.require(10)
    take(folder, BEN, from_run="P1-ana")
    store.asked.clear()
    clock.advance(LOOK_S)
    lease.require(10, at_most_s=LOOK_S)
    assert store.asked == []
    clock.advance(0.1)
    with pytest.raises(LeaseHeld, match="run P1-ben of ben"):
        lease.require(10, at_most_s=LOOK_S)


def test_long_change_under_way_learns_that_it_was_taken_over(store: Store) -> None:
    """As soon as a look is old enough to be made again, without a request that would ask for it."""
    clock = FakeClock()
    lease = take(store, clock=clock)
    take(store, BEN, from_run="P1-ana")
    lease.keep()  # the look of a moment ago
    clock.advance(LOOK_S + 0.1)
    with pytest.raises(LeaseHeld, match="run P1-ben of ben on desk-b"):
        lease.keep()


def test_long_change_bears_a_store_that_is_away_for_as_long_as_the_lease_lasts(folder: Store) -> None:
    """Ended by every hiccup it would be left half way; without a lease it may not go on."""
    clock = FakeClock()
    lease = take(folder, clock=clock)
    lease.store = BadDay(folder, clock, down=True)
    clock.advance(ASK.ttl_s)
    lease.keep()
    clock.advance(0.1)
    with pytest.raises(LeaseHeld, match="ran out"):
        lease.keep()


def test_long_change_is_heard_of_meanwhile(folder: Store) -> None:
    """It does not lose what it holds by taking long; given back, it ends."""
    clock = FakeClock()
    lease = take(folder, clock=clock)
    for _ in range(100):
        clock.advance(LOOK_S + 0.1)
        lease.keep()
    lease.require(10)
    lease.release()
    with pytest.raises(LeaseHeld, match="given the lease on production back"):
        lease.keep()


def test_store_too_slow_to_be_sure_lets_nothing_pass(folder: Store) -> None:
    """An answer that was on its way for longer than a look counts is none."""
    clock = FakeClock()
    lease = take(BadDay(folder, clock), clock=clock)
    lease.store = BadDay(folder, clock, takes_s=2.1)
    with pytest.raises(Unreachable, match="longer than 2 s"):
        lease.require(10)


def test_time_that_the_beat_was_under_way_is_not_counted_as_held(folder: Store) -> None:
    """The store may have stamped it the moment it left."""
    clock = FakeClock()
    lease = take(BadDay(folder, clock), clock=clock, terms=replace(ASK, ttl_s=11))
    lease.store = BadDay(folder, clock, takes_s=1.5)
    with pytest.raises(LeaseHeld, match=r"good for 8\.0 s more"):
        lease.require(10)


def test_store_that_cannot_be_reached_lets_nothing_pass(folder: Store) -> None:
    """Not knowing is not having."""
    clock = FakeClock()
    lease = take(folder, clock=clock)
    lease.store = BadDay(folder, clock, down=True)
    with pytest.raises(Unreachable):
        lease.require(10)


@pytest.mark.parametrize("ttl_s", ["", "NaN", "1e300", "-5"])
def test_claim_that_cannot_be_read_is_told_and_left_alone(folder: Store, ttl_s: str) -> None:
    """Nobody takes what nobody can read, or reckon with."""
    holder = json.dumps(vars(ANA))[:-1]
    claim = f'{holder}, "ttl_s": {ttl_s}}}' if ttl_s else "{}"
    folder.put("leases/production/00000001/claim", claim.encode())
    with pytest.raises(Unreachable, match="00000001/claim in the store is no claim"):
        take(folder)
    assert folder.keys("leases") == ("leases/production/00000001/claim",)


def test_claim_whose_answer_was_lost_is_known_again(folder: Store) -> None:
    """The same process asks again and goes on with it, without waiting for itself."""
    store = _Lost(folder, FakeClock())
    with pytest.raises(Unreachable):
        take(store)
    assert take(folder).generation == 1


class _Lost(BadDay):
    def create(self, key: str, data: bytes) -> bool:
        super().create(key, data)
        raise Unreachable("no answer", "unknown", "look")
