"""A chunk of outcomes is booked while the next is read, one at a time, and errors are told."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator

import pytest

from batchkit.collector.booking import Booking
from batchkit.model import NotRun, Outcome


def outcomes(count: int) -> Iterator[Outcome]:
    return (NotRun(f"token-{number}", "expired") for number in range(count))


def test_the_next_lines_are_read_while_a_chunk_is_booked():
    was_read, booked = threading.Event(), []

    def settle(*, begun: Callable[[], object]) -> None:
        begun()
        assert was_read.wait(60)
        booked.append(True)

    with Booking() as booking:
        booking.begin(settle)
        assert len(booking.taken(outcomes(1_000), 600)) == 600
        assert not booked
        was_read.set()
        booking.finish()
        assert booked


def test_chunks_are_whole_and_the_last_one_is_what_is_left():
    lines = outcomes(1_100)
    with Booking() as booking:
        assert [len(booking.taken(lines, 500)) for _ in range(4)] == [500, 500, 100, 0]


def test_what_kept_a_chunk_from_being_booked_is_raised_once():
    def settle(*, begun: Callable[[], object]) -> None:
        raise OSError("full")

    booking = Booking()
    booking.begin(settle)
    with pytest.raises(OSError, match="full"):
        booking.finish()
    booking.finish()


def test_at_the_end_everything_is_booked():
    booked = []
    with Booking() as booking:
        booking.begin(lambda *, begun: booked.append(begun))
    assert len(booked) == 1


def test_what_broke_off_the_reading_is_told_once_the_chunk_in_hand_is_over():
    may_end, over = threading.Event(), []

    def settle(*, begun: Callable[[], object]) -> None:
        begun()
        assert may_end.wait(60)
        over.append(True)
        raise OSError("full")

    def broken() -> Iterator[Outcome]:
        yield from outcomes(1)
        may_end.set()
        raise ValueError("the file")

    def collect() -> None:
        with Booking() as booking:
            booking.begin(settle)
            booking.taken(broken(), 500)

    with pytest.raises(ValueError, match="the file"):
        collect()
    assert over
