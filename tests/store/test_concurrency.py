"""Several owners at once, in threads and in processes: nothing is taken twice, nothing stops."""

from __future__ import annotations

import multiprocessing
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from batchkit.clock import SystemClock
from batchkit.model import BatchState
from batchkit.store import Front, Moved, NewPrefix, Store
from batchkit.store.jobs import Taken
from batchkit.store.leases import LEASE
from tests.store.scenes import (
    ACCOUNT,
    LATER,
    NOW,
    PROJECT,
    account,
    draft,
    drive,
    job,
    jobs,
    lane_of,
    lease,
    opened,
    opening,
    outcome,
    seal,
    sealed,
    settle,
    sound,
    states_of,
)

WORKERS = 4


def together(*works: Callable[[], Any]) -> list[Any]:
    """Start all works at the same moment and return what they return."""
    gate = threading.Barrier(len(works))

    def one(work: Callable[[], Any]) -> Any:
        gate.wait()
        return work()

    with ThreadPoolExecutor(len(works)) as pool:
        return [done.result(60) for done in [pool.submit(one, work) for work in works]]


def take_all(store: Store, run_id: int) -> list[tuple[int, int]]:
    """Seal ten jobs at a time until the lane is empty, as a submitter does."""
    mine: list[tuple[int, int]] = []
    while True:
        (lane,) = store.jobs.lanes(run_id)
        if lane.cursor >= lane.released:
            return mine
        lo, hi = lane.cursor, min(lane.cursor + 10, lane.released)
        if store.batches.seal(seal(store, lane, lo, hi, max_live=1_000), NOW):
            mine.append((lo, hi))


def _process(url: str, run_id: int, number: int, answers: Any) -> None:
    store = Store(url)
    lane = store.jobs.lanes(run_id)[0]
    mine = []
    while (lane := store.jobs.lane(lane.id)).cursor < lane.released:
        lo, hi = lane.cursor, min(lane.cursor + 10, lane.released)
        asked = seal(store, lane, lo, hi, token=f"p{number}-{lo}", max_live=1_000)
        if store.batches.seal(asked, NOW):
            mine.append((lo, hi))
    store.close()
    answers.put(mine)


def test_threads_never_take_the_same_range(store: Store) -> None:
    """Each range is one thread's, the reservation is the sum, no job is left."""
    run = opened(store, 200)
    taken = together(*[lambda: take_all(store, run.id)] * WORKERS)
    ranges = sorted(one for mine in taken for one in mine)
    assert ranges == [(n, n + 10) for n in range(0, 200, 10)]
    assert sound(store, run).reserved == 20_000


def test_processes_never_take_the_same_range(store: Store, migrated_url: str) -> None:
    """The same with a connection pool, a clock and a memory for each."""
    run = opened(store, 200)
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    workers = [
        spawn.Process(target=_process, args=(migrated_url, run.id, n, answers)) for n in range(3)
    ]
    for worker in workers:
        worker.start()
    taken = [answers.get(timeout=60) for _ in workers]
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    ranges = sorted(one for mine in taken for one in mine)
    assert ranges == [(n, n + 10) for n in range(0, 200, 10)]
    assert sound(store, run).reserved == 20_000


def test_no_reservation_goes_over_the_limit_whoever_asks(store: Store) -> None:
    """Four lanes, four threads, room for five jobs."""
    run = draft(store, [job(f"{n}", lane=f"fake-{n % 4}") for n in range(40)], cost_limit=550)
    store.runs.open(run.id, opening(store, run.id), NOW)

    def take(number: int) -> int:
        landed = 0
        for _ in range(10):
            lane = lane_of(store, run, number)
            landed += bool(
                store.batches.seal(
                    seal(store, lane, lane.cursor, lane.cursor + 1, max_live=99), NOW
                )
            )
        return landed

    landed = together(*[lambda n=n: take(n) for n in range(4)])
    assert sum(landed) == 5
    assert sound(store, run).reserved == 500


def test_no_more_batches_live_than_allowed_whoever_asks(store: Store) -> None:
    """Two processes do not count past each other."""
    run = draft(store, [job(f"{n}", lane=f"fake-{n % 4}") for n in range(40)])
    store.runs.open(run.id, opening(store, run.id), NOW)

    def take(number: int) -> int:
        landed = 0
        for _ in range(5):
            lane = lane_of(store, run, number)
            landed += bool(
                store.batches.seal(seal(store, lane, lane.cursor, lane.cursor + 1, max_live=3), NOW)
            )
        return landed

    assert sum(together(*[lambda n=n: take(n) for n in range(4)])) == 3


def test_one_of_many_claims_wins(store: Store) -> None:
    """The others get None until it is let go."""
    run = opened(store)
    batch = sealed(store, run)
    claim = store.leases.claim
    got = together(*[lambda n=n: claim(batch, f"owner {n}", NOW) for n in range(WORKERS)])
    assert [number for number in got if number is not None] == [1]


@pytest.mark.parametrize("wrong", [timedelta(minutes=-10), timedelta(minutes=10)])
def test_machines_that_do_not_agree_what_time_it_is_keep_their_leases(
    store: Store, migrated_url: str, wrong: timedelta
) -> None:
    if migrated_url.startswith("sqlite"):
        wrong = timedelta()  # one file, one machine, one clock
    batch, other, here = sealed(store, opened(store)), Store(migrated_url), SystemClock().now()
    store.leases.read_clock(here + wrong)
    other.leases.read_clock(here)
    assert store.leases.claim(batch, "a", here + wrong) is not None
    assert other.leases.claim(batch, "b", here) is None
    assert store.leases.claim(batch, "a", here + wrong) is not None
    assert other.leases.claim(batch, "b", here + LEASE + timedelta(seconds=5)) is not None
    assert store.leases.claim(batch, "a", here + wrong) is None
    other.close()


def test_one_of_many_moves_lands(store: Store) -> None:
    """The same holder's two threads cannot both end a batch."""
    run = opened(store)
    batch = sealed(store, run)
    drive(store, batch, BatchState.ENDED)
    settle(store, batch)
    number = lease(store, batch)
    landed = together(*[lambda: store.batches.collect(batch, number, NOW)] * WORKERS)
    assert sorted(landed) == [False, False, False, True]
    assert sound(store, run).spent == 600


def test_a_reader_by_cursor_misses_nothing_while_others_write(store: Store) -> None:
    """Numbers are drawn in commit order: what is read once is complete up to there."""
    run = opened(store, 200)
    lane = lane_of(store, run)
    batches = []
    for lo in range(0, 200, 10):
        batches.append(store.batches.seal(seal(store, lane, lo, lo + 10, max_live=99), NOW))
    for batch in batches:
        assert batch
        drive(store, batch, BatchState.ENDED)
        settle(store, batch)
    left = threading.Semaphore(len(batches))
    seen: list[str] = []

    def write(mine: list[Any]) -> None:
        for batch in mine:
            assert store.batches.collect(batch, lease(store, batch), NOW)
            left.acquire()

    def read() -> None:
        after = (0, -1)
        while len(seen) < 200:
            for answer in store.answers.ended(run.id, after=after):
                seen.append(answer.key)
                after = (answer.collected_no or 0, answer.seq)

    together(read, lambda: write(batches[0::2]), lambda: write(batches[1::2]))
    assert len(seen) == len(set(seen)) == 200
    numbers = sorted(store.batches.get(batch or 0).collected_no or 0 for batch in batches)
    assert numbers == list(range(1, 21))


def test_cancelling_while_batches_move_never_stops_either(store: Store) -> None:
    """Both lock rows of batches before their run's: Postgres sees no deadlock."""
    run = opened(store, 60)
    lane = lane_of(store, run)
    batches = [
        store.batches.seal(seal(store, lane, lo, lo + 1, max_live=99), NOW) for lo in range(60)
    ]

    def move(mine: list[Any]) -> None:
        for batch in mine:
            number = lease(store, batch)
            store.batches.later(batch, number, LATER)
            store.batches.send(batch, number, NOW)

    def cancel() -> None:
        for _ in range(20):
            store.runs.request_cancel(run.id, NOW)

    together(lambda: move(batches[:30]), lambda: move(batches[30:]), cancel)
    sound(store, run)


def test_keys_added_by_two_at_once_get_numbers_of_their_own(store: Store) -> None:
    """Places in a lane and numbers in a run are drawn, never guessed."""
    run = draft(store)
    got = together(
        *[lambda n=n: store.jobs.append(run.id, jobs(50, start=50 * n)) for n in range(WORKERS)]
    )
    assert sorted(number for mine in got for number in mine) == list(range(200))
    (lane,) = store.jobs.lanes(run.id)
    assert lane.size == 200
    assert [row.seq for row in store.jobs.span(lane.id, 0, 200)] == list(range(200))


def test_one_account_and_one_run_are_made_by_all_who_ask(store: Store) -> None:
    """Whoever is second finds the first one's row."""
    found = together(*[lambda: store.accounts.known(ACCOUNT).id] * WORKERS)
    assert len(set(found)) == 1
    made = together(*[lambda: store.runs.create(PROJECT, "same", {}, NOW).id] * WORKERS)
    assert len(set(made)) == 1


def test_what_two_learn_at_once_is_kept_from_both(store: Store) -> None:
    """Learning a limit is read and write in one."""
    number = account(store)
    together(*[lambda n=n: store.accounts.learn(number, f"queue_{n}", n) for n in range(WORKERS)])
    assert store.accounts.get(number).learnt == {f"queue_{n}": n for n in range(WORKERS)}


def test_a_job_is_tried_out_while_it_is_sealed_and_settled(store: Store) -> None:
    """Whoever ends it first counts; both are paid for."""
    run = opened(store, 1)
    lane = lane_of(store, run)

    def send() -> None:
        batch = sealed(store, run, 0, 1)
        drive(store, batch, BatchState.ENDED)
        settle(store, batch)
        rows = [outcome(0)]
        store.answers.settle(store.batches.get(batch), rows)
        assert store.batches.collect(batch, lease(store, batch), NOW)

    def test() -> None:
        store.jobs.keep_test(run.id, lane.id, outcome(0, attempt_no=0), NOW)

    together(send, test)
    now = sound(store, run)
    assert (now.spent, now.completed, now.is_done) == (120, 1, True)
    assert states_of(store, run) == {"j0": "completed"}


def front_of(lane_id: int, first: list[int], primer: int) -> Front:
    """A canary of some jobs of a draft, and a primer behind it."""
    prefix = NewPrefix(lane_id, "system", b"d" * 16, primer, tokens=2_000, jobs=12)
    canary = {"state": "waiting", "jobs": len(first), "wait_s": 60.0}
    return Front(canary=canary, tried={lane_id: first}, primed=[prefix])


def test_of_two_that_open_one_draft_one_lands_and_the_other_looks_again(
    store: Store, migrated_url: str
) -> None:
    """What goes first changes places with what lies in front: only one of them may do that."""
    other = Store(migrated_url)
    run = draft(store, jobs(12))
    lane = lane_of(store, run)

    def one(which: Store, first: list[int], primer: int) -> bool:
        asked = opening(which, run.id, front=front_of(lane.id, first, primer), seen={lane.id: 0})
        try:
            which.runs.open(run.id, asked, NOW)
        except Moved:
            return False
        return True

    landed = together(lambda: one(store, [7, 9], 8), lambda: one(other, [3, 11], 10))
    assert sorted(landed) == [False, True]
    keys = {row.seq: row.key for row in store.jobs.span(lane.id, 0, 12)}
    first, primer = ((7, 9), 8) if landed[0] else ((3, 11), 10)
    assert [keys[0], keys[1]] == [f"j{number}" for number in first]
    assert sorted(keys.values()) == sorted(f"j{number}" for number in range(12))
    (prefix,) = store.prefixes.of_lane(lane.id)
    assert keys[prefix.primer_seq] == f"j{primer}"
    assert sound(store, run).total == 12
    other.close()


def test_what_was_looked_up_in_a_draft_is_not_touched_once_another_opened_it(
    store: Store, migrated_url: str
) -> None:
    """Another job may lie in its place: who writes by a place that was a draft's looks again."""
    answered = opened(store, 2, name="before")
    taken = lane_of(store, answered)
    settle(store, sealed(store, answered, 0, 2), "completed")
    run = draft(store, jobs(8))
    lane = lane_of(store, run)
    (known,) = store.jobs.lookup(run.id, ["j0"])["j0"]
    place = (known.lane_id, known.seq)

    other = Store(migrated_url)
    other.runs.open(run.id, opening(other, run.id, front=front_of(lane.id, [5], 6)), NOW)
    assert [row.key for row in store.jobs.pick(lane.id, [known.seq])] == ["j5"]

    with pytest.raises(Moved):
        store.runs.open(run.id, opening(store, run.id, dropped=[place], seen={lane.id: 0}), NOW)
    store.jobs.remove(run.id, [place])
    with pytest.raises(Taken):
        store.jobs.append(run.id, [job("j0", content="new", revision=1)], [place])
    with pytest.raises(Taken):
        store.jobs.refresh(run.id, [(known, job("j0", metadata={"of": "j0"}))])
    store.jobs.reuse(run.id, [(place, (taken.id, 0), "before/j0")], NOW)
    store.jobs.keep_test(run.id, lane.id, outcome(known.seq, attempt_no=0), NOW, no=known.no)

    rows = store.jobs.pick(lane.id, list(range(8)))
    assert sorted(row.key for row in rows) == [f"j{number}" for number in range(8)]
    assert [row.key for row in rows if row.metadata is not None] == []
    assert [answer.key for answer in store.answers.ended(run.id)] == ["j0"]
    assert sound(store, run).total == 8
    other.close()


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_processes_that_meet_an_empty_database_migrate_it_once(
    request: pytest.FixtureRequest, tmp_path: Path, kind: str
) -> None:
    """Two shells that start at the same moment both find the tables."""
    url = request.getfixturevalue(f"{kind}_url")
    spawn = multiprocessing.get_context("spawn")
    answers = spawn.Queue()
    workers = [spawn.Process(target=_meet, args=(url, n, answers)) for n in range(3)]
    for worker in workers:
        worker.start()
    found = {answers.get(timeout=60) for _ in workers}
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    assert found == {"ok"}


def _meet(url: str, number: int, answers: Any) -> None:
    try:
        store = Store(url)
        store.runs.create(PROJECT, f"run {number}", {}, NOW)
        store.close()
    except Exception as error:  # noqa: BLE001 - told to the parent
        answers.put(repr(error))
    else:
        answers.put("ok")
