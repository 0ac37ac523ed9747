"""Time runs out, also while nobody looks; a batch that is stuck is not bought a second time."""

from __future__ import annotations

import shutil
from datetime import timedelta
from pathlib import Path

import pytest

from batchkit.console import Console
from batchkit.errors import ProviderUnavailable
from batchkit.run import BatchRun
from batchkit.testing import Course
from tests.engine.conftest import MakeNight
from tests.engine.nights import Night

HOUR = timedelta(hours=1)


def late(make_night: MakeNight) -> Night:
    """A night whose time was up while no process was running: one batch of two is at the provider,
    half done."""
    night = make_night(course=Course(takes=20 * HOUR, done_at_cancel=0.5))
    night.start(20, items_per_batch=10, max_parallel_batches=1, limits={"time_limit_s": 3_600.0})
    night.engine().tick([night.run_id])
    night.clock.advance(3 * HOUR)
    return night


def test_the_time_that_passes_without_a_process_counts(make_night: MakeNight) -> None:
    """Nothing new is sent; what runs is cancelled and collected; the rest has its reason."""
    night = late(make_night)

    assert night.drive() == "done"
    assert (len(night.fake.refs), night.fake.calls["cancel"]) == (1, 1)
    assert (night.run.completed, night.run.cancelled) == (5, 15)
    assert {answer.code for answer in night.answers("cancelled")} == {"time_limit"}
    assert night.run.reserved == 0
    night.verify()


def test_a_batch_that_was_done_by_then_is_collected_whole(make_night: MakeNight) -> None:
    night = make_night(course=Course(takes=2 * HOUR, done_at_cancel=1.0))
    night.start(20, items_per_batch=10, max_parallel_batches=1, limits={"time_limit_s": 3_600.0})
    night.engine().tick([night.run_id])
    night.clock.advance(3 * HOUR)

    assert night.drive() == "done"
    assert (night.run.completed, night.run.cancelled) == (10, 10)
    night.verify()


def test_what_was_sealed_and_never_sent_is_not_sent_after_the_time(make_night: MakeNight) -> None:
    night = make_night()
    night.fake.fail("create", ProviderUnavailable("refused", maybe=False))
    night.start(10, limits={"time_limit_s": 3_600.0})
    night.engine().tick([night.run_id])
    night.clock.advance(3 * HOUR)

    assert night.drive() == "done"
    assert (night.fake.refs, night.run.cancelled) == ([], 10)
    night.verify()


@pytest.mark.parametrize("how", ["resume", "retry"])
def test_what_the_time_cancelled_is_taken_up_again(make_night: MakeNight, how: str) -> None:
    """And only that: what was answered is not bought again."""
    night = late(make_night)
    night.drive()
    shutil.rmtree(night.folder / "spool", ignore_errors=True)
    night.fake._course = Course()
    run = BatchRun(
        night.store,
        night.run_id,
        clock=night.clock,
        providers={night.fake.name: night.fake},
        console=Console("error"),
    )
    if how == "resume":
        run.resume(time_limit=36_000.0)
    else:
        assert run.retry(codes=["time_limit"]) == 15
        run.resume(time_limit=36_000.0)

    assert (night.run.completed, night.run.cancelled) == (20, 0)
    assert night.fake.ledger.bought_twice() == []
    night.verify()


@pytest.mark.slow
def test_a_stuck_batch_is_cancelled_and_asked_less_and_less_often(make_night: MakeNight) -> None:
    """Past the provider's window its jobs still go again only when the provider says it is over."""
    night = make_night()
    stuck = Course(takes=100 * HOUR, reason="expired", done=0.5, heeds_cancel=False)
    night.fake.next(stuck)
    night.start(10)
    night.drive(max_wait=26 * 3_600.0)
    assert night.fake.calls["cancel"] == 1
    asked = []
    for _ in range(4):
        before = night.fake.calls["poll"]
        night.drive(max_wait=5 * 3_600.0)
        asked.append(night.fake.calls["poll"] - before)

    assert asked == sorted(asked, reverse=True)
    assert 1 <= asked[-1] < 4
    assert night.fake.calls["cancel"] == 1
    assert len(night.fake.refs) == 1
    assert night.run.completed == 0
    night.drive(max_wait=None)
    assert night.run.completed == 10
    assert [batch.count for batch in night.store.batches.of_run(night.run_id)] == [10, 5]
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_nobody_cancels_a_batch_before_its_window_is_over(make_night: MakeNight) -> None:
    night = make_night(course=Course(takes=23 * HOUR))
    night.start(10)

    assert night.drive() == "done"
    assert night.fake.calls["cancel"] == 0
    assert night.run.completed == 10
    night.verify()


def test_the_spools_are_gone_when_it_is_over(make_night: MakeNight, tmp_path: Path) -> None:
    night = late(make_night)
    night.drive()

    assert [path for path in (night.folder / "spool").rglob("*") if path.is_file()] == []
