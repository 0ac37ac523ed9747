"""How long a run will take: from the batches before it, and the way it goes out."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

import pytest

from batchkit.builder import Batch
from batchkit.testing import Course, FakeProvider
from tests.builder.conftest import Make

TWO_HOURS = Course(takes=timedelta(hours=2))


def with_jobs(batch: Batch, count: int) -> Batch:
    for number in range(count):
        batch.add_job(prompt=f"Read letter {number}.", key=f"k{number}")
    return batch


def hours(batch: Batch) -> tuple[float, float, float]:
    found = batch.estimate()
    low, high = found["hours_range"]
    return low, found["hours_expected"], high


def test_before_the_first_batch_it_is_what_is_common(make: Make) -> None:
    """About an hour; ten times less and several times more are no surprise."""
    low, middle, high = hours(with_jobs(make(name="x"), 5))
    assert low < 0.4 < middle < 2 < high <= 24


def test_nothing_to_send_takes_no_time(make: Make, fake: FakeProvider) -> None:
    assert hours(make(name="x")) == (0, 0, 0)
    with_jobs(make(name="y"), 2).run()
    assert hours(with_jobs(make(name="y"), 2)) == (0, 0, 0)


def test_after_a_night_it_is_what_its_batches_took(lite: Make, fake: FakeProvider) -> None:
    """Two hours a wave, and a range around it."""
    for course in [TWO_HOURS] * 12:
        fake.next(course)
    with_jobs(lite(name="first", items_per_batch=1), 12).run()
    one = hours(with_jobs(lite(name="one", items_per_batch=1), 4))
    assert 1.5 < one[1] < 4
    assert one[0] < one[1] < one[2] < 12
    three = hours(with_jobs(lite(name="two", items_per_batch=1, max_parallel_batches=2), 6))
    assert three[1] == pytest.approx(3 * one[1], rel=0.35)


def test_a_learnt_queue_limit_is_part_of_the_plan(lite: Make, fake: FakeProvider) -> None:
    """200 jobs through a queue of 50: shares of ten, five at once."""
    batch = with_jobs(lite(name="x", max_parallel_batches=5), 200)
    assert batch.estimate()["batches"] == 1
    store = batch._start.draft.store
    account = store.accounts.known(fake.account())
    store.accounts.learn(account.id, "queue_requests", 50)
    found = batch.estimate()
    assert (found["batches"], found["waves"]) == (20, 4)
    assert not fake.calls


def test_a_primer_goes_first_and_takes_its_time(lite: Make) -> None:
    """The hours are those of the first batch and of the rest, one after the other."""
    from batchkit.builder.lasting import Stretch, told

    batch = with_jobs(lite(name="x"), 5)
    batch.estimate()
    store, registry = batch._start.draft.store, batch._start.registry
    [lane] = store.jobs.lanes(batch._start.draft.run_id)
    rest = [Stretch(lane.id, lane.provider, 1, 5)]
    alone = told(store, registry, [], rest, 10)
    after = told(store, registry, [[Stretch(lane.id, lane.provider, 1, 1)]], rest, 10)
    assert after["hours_expected"] > 1.5 * alone["hours_expected"]


def test_an_estimate_of_hours_needs_no_key(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Nothing is sent, and history without an account is all there is."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("OPENAI_API_KEY", raising=False)
    batch = Batch(database=migrated_sqlite_url, name="x").set_verbosity("error")
    batch.add_job(prompt="Read.", model="gpt-5-mini")
    assert batch.estimate()["hours_expected"] > 0
