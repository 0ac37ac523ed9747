"""Answers are read page by page, the next one while the one before is handled."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from batchkit.model import BatchState, Succeeded, Usage
from batchkit.store import Store, ahead, readings
from batchkit.store.answers import plain_row
from tests.store.scenes import (
    NOW,
    again,
    collected,
    drive,
    lane_of,
    lease,
    opened,
    outcome,
    sealed,
    settle,
    sound,
    taken,
)


class Book:
    """Pages of two numbers each; ``bad`` cannot be read."""

    def __init__(self, count: int, bad: int | None = None) -> None:
        self.count = count
        self.bad = bad
        self.begun: list[int] = []
        self.threads: set[str] = set()

    def read(self, place: int, begun: Callable[[], None]) -> ahead.Read[int, int]:
        self.begun.append(place)
        self.threads.add(threading.current_thread().name)
        if place == self.bad:
            raise ValueError("torn")
        begun()
        return [place, place], None if place == self.count - 1 else place + 1


def test_pages_come_in_order_each_begun_before_the_one_ahead_is_taken() -> None:
    book = Book(4)
    pages = []
    for page in ahead.pages(book.read, 0):
        pages.append(list(page))
        assert book.begun == list(range(min(len(pages) + 1, 4)))
    assert pages == [[0, 0], [1, 1], [2, 2], [3, 3]]


def test_what_fits_into_one_page_needs_no_thread() -> None:
    book = Book(1)
    assert [list(page) for page in ahead.pages(book.read, 0)] == [[0, 0]]
    assert book.threads == {threading.current_thread().name}


def test_what_goes_wrong_ahead_is_raised_where_its_page_is_taken() -> None:
    pages = ahead.pages(Book(4, bad=2).read, 0)
    assert [list(next(pages)), list(next(pages))] == [[0, 0], [1, 1]]
    with pytest.raises(ValueError, match="torn"):
        next(pages)


def test_who_stops_reading_leaves_no_thread_behind() -> None:
    pages = ahead.pages(Book(9).read, 0)
    next(pages)
    pages.close()
    assert not [one for one in threading.enumerate() if "reading" in one.name]


@pytest.mark.parametrize("size", [1, 2, 3, 500])
def test_answers_are_the_same_however_large_the_pages(
    store: Store, monkeypatch: pytest.MonkeyPatch, size: int
) -> None:
    """In order of completion, with the sums over all attempts, from any cursor on."""
    run = opened(store, 10)
    ranges = [sealed(store, run, lo, hi) for lo, hi in ((0, 4), (4, 5), (5, 10))]
    drive(store, ranges[0], BatchState.ENDED)
    store.answers.settle(
        store.batches.get(ranges[0]),
        [outcome(0, "again", code="truncated"), *(outcome(seq) for seq in (1, 2, 3))],
    )
    assert store.batches.collect(ranges[0], lease(store, ranges[0]), NOW)
    collected(store, ranges[2])
    collected(store, ranges[1])
    members = store.batches.free_members(lane_of(store, run).id, NOW, 10)
    late = taken(store.batches.seal(again(store, lane_of(store, run), members), NOW))
    drive(store, late, BatchState.ENDED)
    settle(store, late, attempt_no=2)
    assert store.batches.collect(late, lease(store, late), NOW)
    for name in ("FIRST", "_LEAST", "_MOST"):
        monkeypatch.setattr(readings, name, size)

    found = list(store.answers.ended(run.id))

    assert [one.seq for one in found] == [1, 2, 3, 5, 6, 7, 8, 9, 4, 0]
    assert [one.answer for one in found] == [f"answer {one.seq}" for one in found]
    assert [one.batch_ref for one in found] == [f"ref-{one.batch_id}" for one in found]
    assert [(one.attempts, one.cost) for one in found] == [(1, 60)] * 9 + [(2, 120)]
    for number, one in enumerate(found):
        after = (one.collected_no or 0, one.seq)
        assert list(store.answers.ended(run.id, after=after)) == found[number + 1 :]


def test_long_answers_make_small_pages_and_short_ones_large_pages() -> None:
    def after(size: int, weight: int) -> int:
        return readings.Page(iter(()), (1, 1), False, size=size, weight=weight).next_size

    assert after(100, 100 * 10_000) == 100
    assert after(100, 100 * 1_000) == 1_000
    assert after(100, 100 * 20) == 8_000
    assert after(0, 0) == 100


def test_a_plain_answer_to_a_job_that_ended_elsewhere_is_kept_and_does_not_count(
    store: Store,
) -> None:
    run = opened(store, 3)
    batch = sealed(store, run, 0, 3)
    row = drive(store, batch, BatchState.ENDED)
    store.jobs.keep_test(run.id, lane_of(store, run).id, outcome(0, attempt_no=0), NOW)
    plain = [
        plain_row(seq, Succeeded("", f"late {seq}", Usage(7, 3), None, "stop"), Usage(7, 3), 60)
        for seq in range(3)
    ]

    for _ in range(2):
        store.answers.settle(row, (), plain)

    stored = store.answers.attempts_of(lane_of(store, run).id, 0)
    assert {one["answer"]: one["final"] for one in stored} == {"answer 0": True, "late 0": False}
    assert store.batches.collect(batch, lease(store, batch), NOW)
    assert [one.answer for one in store.answers.ended(run.id)] == ["answer 0", "late 1", "late 2"]
    assert sound(store, run).spent == 240
