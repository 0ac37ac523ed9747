"""The clock that stands still until somebody waits."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import pytest

from batchkit.clock import Clock
from batchkit.testing import ManualClock

NOON = datetime(2026, 11, 1, 12, tzinfo=UTC)


def test_it_is_a_clock() -> None:
    clock: Clock = ManualClock()

    assert clock.now().tzinfo is UTC


def test_it_stands_still() -> None:
    clock = ManualClock(NOON)

    assert (clock.now(), clock.now(), clock.monotonic()) == (NOON, NOON, 0.0)


@pytest.mark.parametrize("by", [90, 90.0, timedelta(seconds=90)])
def test_it_advances_as_told(by: float | timedelta) -> None:
    clock = ManualClock(NOON)

    assert clock.advance(by) == clock.now() == NOON + timedelta(seconds=90)
    assert clock.monotonic() == 90.0


def test_it_does_not_go_back_by_advancing() -> None:
    with pytest.raises(ValueError, match=r"set\(\) sets the clock"):
        ManualClock().advance(-1)


def test_setting_it_changes_the_hour_and_not_the_seconds_that_passed() -> None:
    clock = ManualClock(NOON)
    clock.advance(60)
    clock.set(NOON - timedelta(hours=1))

    assert (clock.now(), clock.monotonic()) == (NOON - timedelta(hours=1), 60.0)
    clock.advance(60)
    assert (clock.now(), clock.monotonic()) == (NOON - timedelta(minutes=59), 120.0)


def test_waiting_moves_it() -> None:
    clock = ManualClock(NOON)

    assert clock.wait(30) is False
    assert clock.now() == NOON + timedelta(seconds=30)
    assert clock.wait(-5) is False
    assert clock.now() == NOON + timedelta(seconds=30)


def test_who_is_woken_does_not_wait() -> None:
    clock, wake = ManualClock(NOON), threading.Event()
    assert clock.wait(1, wake) is False
    wake.set()

    assert clock.wait(30, wake) is True
    assert clock.monotonic() == 1.0


def test_who_is_woken_while_it_waits_does_not_move_the_time() -> None:
    clock, wake = ManualClock(NOON, pace=30), threading.Event()
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(clock.wait, 60, wake)
        wake.set()

        assert waiting.result(10) is True
    assert clock.now() == NOON


def test_threads_that_wait_together_end_together() -> None:
    """The time is the furthest of them, not their sum."""
    clock = ManualClock(NOON, pace=0.2)
    gate = threading.Barrier(4)

    def wait(seconds: float) -> None:
        gate.wait(10)
        clock.wait(seconds)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(wait, (10, 20, 30, 40)))

    assert clock.now() == NOON + timedelta(seconds=40)


def test_it_never_goes_back_whoever_waits() -> None:
    clock = ManualClock(NOON, pace=0)
    seen: list[list[float]] = [[], [], []]

    def walk(which: int) -> None:
        for _ in range(100):
            clock.wait(which + 1)
            seen[which].append(clock.monotonic())

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(walk, range(3)))

    assert all(times == sorted(times) for times in seen)
    assert clock.monotonic() >= 300
