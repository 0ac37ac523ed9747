"""``watch`` drives nothing: where nobody else does, it says so and what to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any

import pytest

from batchkit.cli.view import follow
from batchkit.testing import ManualClock

RESUME = "batchkit resume run-1"


def status(**changes: Any) -> dict[str, Any]:
    counts = dict.fromkeys(("completed", "failed", "cancelled", "batches_pending"), 0)
    return {
        "name": "night",
        "id": "run-1",
        "state": "running",
        "waiting_for": None,
        "since": None,
        "total": 4,
        "active": 0,
        "pending": 4,
        "next_poll_at": None,
        **counts,
        "cost_usd": 0.0,
        "cost_limit_usd": None,
        "cost_unknown_jobs": 0,
        "batches_total": 0,
        "batches_completed": 0,
        **changes,
    }


DONE = {"state": "completed", "completed": 4, "pending": 0}


@pytest.fixture
def watch(capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Return a function that follows a run, a status a look, and returns what was noted."""

    def watched(*states: dict[str, Any], clock: ManualClock, interval: float = 60.0) -> str:
        left: Iterator[dict[str, Any]] = iter((*states, status(**DONE)))
        follow(lambda: next(left), interval, RESUME, clock=clock)
        return capsys.readouterr().err

    return watched


def test_a_look_that_is_overdue_is_said_at_once_and_once(watch: Callable[..., str]) -> None:
    clock = ManualClock()
    due = (clock.now() - timedelta(hours=3)).isoformat()
    flying = status(active=4, pending=0, next_poll_at=due)

    said = watch(flying, flying, flying, clock=clock)

    assert said.startswith("Nobody seems to drive this run (the provider should have been asked at")
    assert said.endswith(f"Go on with it: {RESUME}\n")
    assert said.count("\n") == 1


def test_jobs_that_wait_and_are_not_sent_are_said_after_a_while(watch: Callable[..., str]) -> None:
    clock = ManualClock()

    assert watch(*[status()] * 4, clock=clock) == ""
    assert "jobs wait, and none is sent" in watch(*[status()] * 8, clock=clock)


def test_a_run_that_moves_is_driven(watch: Callable[..., str]) -> None:
    """An upload may take its time before the next look."""
    clock = ManualClock()
    due = (clock.now() + timedelta(minutes=1)).isoformat()
    moving = [status(completed=n, pending=40 - n) for n in range(20)]
    late = status(active=4, pending=0, next_poll_at=due)

    assert watch(*moving, clock=clock) == ""
    assert watch(*[late] * 3, clock=ManualClock()) == ""


def test_what_waits_for_a_person_says_so_itself(watch: Callable[..., str]) -> None:
    assert watch(status(state="waiting", waiting_for="budget"), clock=ManualClock()) == ""
