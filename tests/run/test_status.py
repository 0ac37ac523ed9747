"""Status: the promised keys, counts from counters, and states that are derived."""

from __future__ import annotations

import re
from datetime import timedelta

import orjson
import pytest

from batchkit.standing.status import line
from batchkit.testing import Course
from tests.run.scenes import Scene

PROMISED = [
    "total",
    "pending",
    "active",
    "completed",
    "failed",
    "cancelled",
    "cost_usd",
    "reserved_usd",
    "cost_limit_usd",
    "cost_unknown_jobs",
    "is_complete",
    "state",
    "waiting_for",
    "since",
    "last_progress_at",
    "next_poll_at",
    "failed_by_code",
    "batches_total",
    "batches_completed",
    "batches_pending",
    "current_batch_index",
    "current_batch_size",
    "items_per_batch",
    "elapsed_s",
]


def under_way(scene: Scene, jobs: int = 6, **options: object) -> None:
    run = scene.start([f"j{n}" for n in range(jobs)], items_per_batch=2, **options)
    slow = Course(takes=timedelta(hours=2))
    scene.fake.next(Course(), slow, slow)
    with pytest.raises(TimeoutError):
        run.wait(max_wait=600)


def test_it_has_the_promised_keys_in_order(scene: Scene) -> None:
    assert list(scene.start(["a"]).status()) == PROMISED


def test_it_counts_what_is_in_flight(scene: Scene) -> None:
    under_way(scene)

    status = scene.handle().status()

    assert status["total"] == 6
    assert (status["completed"], status["active"], status["pending"]) == (2, 4, 0)
    assert (status["batches_total"], status["batches_completed"]) == (3, 1)
    assert (status["current_batch_index"], status["current_batch_size"]) == (2, 2)
    assert status["batches_pending"] == 2
    assert status["state"] == "running"
    assert status["reserved_usd"] > 0
    assert status["items_per_batch"] == 2
    assert status["elapsed_s"] >= 600
    assert status["next_poll_at"] > status["last_progress_at"]


def test_it_is_json(scene: Scene) -> None:
    under_way(scene)

    data = orjson.loads(orjson.dumps(scene.handle().to_json()))

    assert data["name"] == "night"
    assert data["settings"]["items_per_batch"] == 2
    assert len(data["batches"]) == 3
    assert data["batches"]["fake-batch-2"] | {"start_time": "", "completion_time": ""} == {
        "status": "collected",
        "total": 2,
        "completed": 2,
        "failed": 0,
        "cost": pytest.approx(data["cost_usd"]),
        "estimated_cost": pytest.approx(data["cost_usd"]),
        "provider": "fake",
        "start_time": "",
        "completion_time": "",
        "error": None,
    }


def test_a_run_that_is_over_says_how(scene: Scene) -> None:
    scene.invalid("b")
    run = scene.start(["a", "b"]).execute()

    assert run.state == "failed"
    assert run.is_complete
    assert run.status()["failed_by_code"] == {"invalid_request": 1}


def test_a_run_with_all_its_answers_is_completed(scene: Scene) -> None:
    run = scene.start(["a", "b"]).execute()

    assert run.state == "completed"
    assert run.status()["pending"] == 0
    assert run.status()["reserved_usd"] == 0


def test_a_run_that_waits_for_a_person_says_for_what(scene: Scene) -> None:
    run = scene.start(["a"], limits={"cost_limit": 10}).execute()

    status = run.status()
    assert status["state"] == "waiting"
    assert status["waiting_for"] == "budget"
    assert status["since"] is not None
    assert status["cost_limit_usd"] == pytest.approx(10e-9)


def test_an_unreachable_provider_shows_since_when(scene: Scene) -> None:
    under_way(scene)
    (account,) = scene.store.accounts.of_run(scene.run_id)
    now = scene.clock.now()
    scene.store.accounts.silent(account.id, now, now + timedelta(minutes=1))

    status = scene.handle().status()

    assert status["waiting_for"] == "provider"
    assert status["since"] == now.isoformat()
    assert line(status).endswith(f", provider unreachable since {now.astimezone():%H:%M}")


def test_a_draft_counts_its_rows_and_is_no_run_yet(scene: Scene) -> None:
    run = scene.draft(["a", "b", "c"])

    status = run.status()

    assert (status["total"], status["pending"], status["completed"]) == (3, 3, 0)
    assert status["state"] == "draft"
    assert not status["is_complete"]


def test_the_line_for_people_is_short(scene: Scene) -> None:
    under_way(scene, limits={"cost_limit": 25_000_000_000})

    said = line(scene.handle().status())

    assert re.fullmatch(
        r"2 of 6 done, 4 in flight, \$0\.0\d+ spent of \$25\.00, 2 batches running", said
    )


def test_printing_goes_through_the_console(lite: Scene) -> None:
    lite.start(["a"]).status(print_status=True)

    assert re.fullmatch(r"\d\d:\d\d  0 of 1 done, \$0\.00 spent\n", lite.said.getvalue())
