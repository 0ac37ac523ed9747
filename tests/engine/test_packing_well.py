"""A scarce queue is shared: several batches fill it, and jobs go out in their order."""

from __future__ import annotations

from datetime import timedelta
from itertools import pairwise

from batchkit.testing import Course
from tests.engine.conftest import MakeNight
from tests.engine.nights import Night

HOUR = timedelta(hours=1)


def sent(night: Night) -> list[int]:
    """The jobs of each batch, oldest first; what they hold is one range after the other."""
    batches = night.store.batches.of_run(night.run_id)
    ranges = [(one.lo, one.hi) for one in batches if one.kind == "range"]
    assert all(before[1] == after[0] for before, after in pairwise(ranges))
    return [one.count for one in batches]


def learn(night: Night, requests: int) -> None:
    account = night.store.accounts.known(night.fake.account())
    night.store.accounts.learn(account.id, "queue_requests", requests)


def test_several_batches_fill_a_queue_evenly(make_night: MakeNight) -> None:
    """Not one that fills it and keeps it until its last request is done."""
    night = make_night(course=Course(takes=HOUR), queue=100)
    night.start(330, max_parallel_batches=5)
    learn(night, 100)
    night.engine().tick([night.run_id])
    assert sent(night) == [20] * 5
    assert night.drive() == "done"
    assert sent(night) == [20] * 16 + [10]
    assert all(not one.refused_refs for one in night.store.batches.of_run(night.run_id))
    night.verify()


def test_a_queue_that_takes_everything_is_not_shared(make_night: MakeNight) -> None:
    """Nothing is scarce: as few batches as the provider's limits allow."""
    night = make_night(course=Course(takes=HOUR))
    night.start(80, max_parallel_batches=5)
    learn(night, 100)
    assert night.drive() == "done"
    assert sent(night) == [80]


def test_a_sliver_of_the_queue_is_left_until_a_share_is_free(make_night: MakeNight) -> None:
    """Seven that were let in beside five full shares would take a batch's place for an hour."""
    night = make_night(course=Course(takes=HOUR), queue=107)
    night.start(300, max_parallel_batches=10)
    learn(night, 107)
    engine = night.engine()
    engine.tick([night.run_id])
    first = sent(night)
    assert first == [11] * 9 + [8]  # the last takes what is left: more than half a share
    night.clock.advance(20)
    engine.tick([night.run_id])
    assert sent(night) == first
    assert night.drive() == "done"
    night.verify()
