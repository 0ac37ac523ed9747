"""When a run under way will have ended."""

from __future__ import annotations

from datetime import datetime, timedelta

import pytest

from batchkit.testing import Course
from tests.run.scenes import Scene

TWO_HOURS = Course(takes=timedelta(hours=2))


def hours_to(scene: Scene, at: str) -> float:
    return (datetime.fromisoformat(at) - scene.clock.now()).total_seconds() / 3_600


def test_nothing_in_flight_has_no_end(scene: Scene) -> None:
    """Neither a draft, nor a run that is complete (see below)."""
    run = scene.draft(["a"])
    assert run.forecast() is None


@pytest.mark.slow
def test_a_run_is_foretold_from_its_own_batches(scene: Scene) -> None:
    """Eight took two hours each; the last two have gone for one."""
    scene.fake.next(*[TWO_HOURS] * 10)
    run = scene.start([f"j{n}" for n in range(10)], items_per_batch=1, max_parallel_batches=2)
    with pytest.raises(TimeoutError):
        run.wait(max_wait=9.2 * 3_600)
    told = scene.handle().forecast()
    assert told is not None
    assert told["known_batches"] == run.status()["completed"] >= 6
    low, high = (hours_to(scene, at) for at in told["ends_between"])
    assert 0 < low < hours_to(scene, told["ends_at"]) < high < 4
    run.wait()
    assert scene.handle().forecast() is None


def test_what_waits_takes_its_turns(scene: Scene) -> None:
    """With two in flight and eight to come, it is not over with those two."""
    scene.fake.next(*[TWO_HOURS] * 10)
    run = scene.start([f"j{n}" for n in range(10)], items_per_batch=1, max_parallel_batches=2)
    with pytest.raises(TimeoutError):
        run.wait(max_wait=60)
    told = run.forecast()
    assert told is not None
    assert told["known_batches"] == 0
    assert hours_to(scene, told["ends_at"]) > 3
