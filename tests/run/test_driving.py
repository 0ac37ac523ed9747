"""Driving a run: until done or waiting, with progress told, and never a draft."""

from __future__ import annotations

import asyncio
import threading
from datetime import timedelta
from typing import Any

import pytest

from batchkit.clock import SystemClock
from batchkit.errors import ValidationError
from batchkit.model import Json
from batchkit.run import BatchRun
from batchkit.testing import Course, FakeProvider
from tests.run.scenes import Scene


def endless(scene: Scene) -> FakeProvider:
    """A provider on the machine's clock whose batches take an hour."""
    return FakeProvider(clock=SystemClock(), course=Course(takes=timedelta(hours=1)))


def live(scene: Scene, **options: Any) -> BatchRun:
    """A handle on the machine's clock."""
    return scene.handle(clock=SystemClock(), providers={"fake": endless(scene)}, **options)


def test_it_returns_when_all_is_done(scene: Scene) -> None:
    run = scene.start(["a", "b"])

    assert run.execute() is run
    assert run.is_complete


def test_it_returns_when_only_a_person_can_move_it(scene: Scene) -> None:
    run = scene.start(["a"], limits={"cost_limit": 10}).execute()

    assert run.state == "waiting"


def test_a_draft_is_not_driven(lite: Scene) -> None:
    run = lite.draft(["a"])

    for drive in (run.execute, run.wait, run.resume, run.cancel):
        with pytest.raises(ValidationError, match="'night' is a draft"):
            drive()
    assert lite.fake.calls["create"] == 0


def test_max_wait_raises_and_cancels_nothing(scene: Scene) -> None:
    run = scene.start(["a"])
    scene.fake.next(Course(takes=timedelta(hours=2)))

    with pytest.raises(TimeoutError, match="Nothing was cancelled; go on with: batchkit resume"):
        run.wait(max_wait=60)

    assert run.status()["active"] == 1
    assert run.wait().is_complete


def test_whoever_is_told_to_leave_sends_nothing_more(
    lite: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The worker itself heeds it after the call in hand, however seldom the caller looks."""
    lite.start(["a", "b", "c"], items_per_batch=1)
    fake, stop = endless(lite), threading.Event()
    create = fake.create

    def leaving(*given: Any, **more: Any) -> Any:
        stop.set()
        return create(*given, **more)

    monkeypatch.setattr(fake, "create", leaving)
    handle = lite.handle(clock=SystemClock(), providers={"fake": fake})
    handle.execute(stop=stop)

    assert fake.calls["create"] == 1


def test_resume_goes_on_with_a_new_limit(scene: Scene) -> None:
    run = scene.start(["a"], limits={"cost_limit": 10}).execute()

    run.resume(cost_limit=5)

    assert run.state == "completed"
    assert run.status()["cost_limit_usd"] == 5


def test_resume_takes_up_what_the_time_limit_cancelled(scene: Scene) -> None:
    run = scene.start(["a", "b"], items_per_batch=1, max_parallel_batches=1)
    scene.store.runs.wake(scene.run_id, scene.clock.now(), {"time_limit_s": 60.0})
    scene.fake.next(Course(takes=timedelta(hours=2)), Course(takes=timedelta(minutes=1)))
    run.execute()
    assert run.status()["failed_by_code"] == {"time_limit": 2}

    run.resume(time_limit=7200)

    assert run.state == "completed"


def test_resume_unblocks_the_account(scene: Scene) -> None:
    run = scene.start(["a"], max_parallel_batches=1)
    scene.fake.next(Course(takes=timedelta(hours=2)))
    with pytest.raises(TimeoutError):
        run.wait(max_wait=30)
    (account,) = scene.store.accounts.of_run(scene.run_id)
    scene.store.accounts.block(account.id, scene.clock.now(), "credit is gone")
    assert run.execute().status()["waiting_for"] == "account"

    run.resume()

    assert run.state == "completed"


@pytest.mark.parametrize(
    ("limits", "words"),
    [
        ({"cost_limit": 0}, "cost_limit must be above 0"),
        ({"time_limit": 3}, "must be 10 s or more"),
    ],
)
def test_limits_that_cannot_be_are_refused(lite: Scene, limits: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        lite.start(["a"]).resume(**limits)


def test_once_does_what_can_be_done_without_waiting(scene: Scene) -> None:
    run = scene.start(["a"])
    scene.fake.next(Course(takes=timedelta(hours=2)))
    began = scene.clock.now()

    run.execute(once=True)

    assert run.status()["active"] == 1
    assert scene.clock.now() - began < timedelta(minutes=1)


def test_progress_is_told_with_stats_and_batches(scene: Scene) -> None:
    told: list[tuple[Json, float, dict[str, Json]]] = []
    run = scene.start(["a", "b"], items_per_batch=1)

    run.execute(on_progress=lambda *args: told.append(args))

    stats, elapsed, batches = told[-1]
    assert stats == run.status()
    assert elapsed == stats["elapsed_s"] > 0
    assert [one["status"] for one in batches.values()] == ["collected", "collected"]
    assert any(one[0]["active"] for one in told)


def test_progress_can_be_set_before(scene: Scene) -> None:
    told: list[Json] = []
    run = scene.start(["a"])
    run.set_on_progress(lambda stats, _elapsed, _batches: told.append(stats), interval=5)

    run.wait()

    assert told[-1]["completed"] == 1
    with pytest.raises(ValidationError, match="interval must be above 0"):
        run.set_on_progress(print, interval=0)


def test_lines_are_printed_when_the_numbers_change(lite: Scene) -> None:
    run = lite.start(["a", "b"], items_per_batch=1)
    lite.fake.next(Course(), Course(takes=timedelta(hours=2)))

    run.execute(print_status=True)

    lines, _, _ = lite.said.getvalue().partition("\n\n")  # the report follows
    printed = [line.split("  ", 1)[1] for line in lines.splitlines()]
    assert printed[-1].startswith("2 of 2 done")
    assert len(printed) == len(set(printed))
    assert "\x1b" not in lite.said.getvalue()


def test_shutdown_detaches_from_another_thread(lite: Scene) -> None:
    lite.start(["a"])
    run = live(lite)
    thread = threading.Thread(target=run.execute)
    thread.start()
    while not lite.store.runs.live(lite.run_id)[1]:
        pass

    run.shutdown()

    thread.join(timeout=10)
    assert not thread.is_alive()
    assert run.state == "running"


def test_a_cancelled_twin_detaches_first(lite: Scene) -> None:
    """When CancelledError arrives, nobody drives any more, and the batch goes on."""
    lite.start(["a"])
    run = live(lite)

    async def night() -> None:
        task = asyncio.create_task(run.aexecute())
        while not lite.store.runs.live(lite.run_id)[1]:
            await asyncio.sleep(0.01)
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        names = [thread.name for thread in threading.enumerate() if thread.is_alive()]
        assert "batchkit-fake" not in names

    asyncio.run(night())

    assert "Detached; batches go on. Go on with: batchkit resume night" in lite.said.getvalue()
    assert run.state == "running"


def test_every_blocking_member_has_a_twin(lite: Scene) -> None:
    lite.invalid("b")
    run = lite.start(["a", "b"])

    async def night() -> None:
        assert await run.aexecute() is run
        assert await run.await_() is run
        assert await run.aresume() is run
        assert (await run.astatus())["completed"] == 1
        assert len((await run.aresults())["failed"]) == 1
        assert [row.key async for row in run.aiter_results()] == ["a", "b"]
        assert (await run.aget("a")).key == "a"
        assert await run.aget_failed_jobs() == {"b": "bad_request: no: b"}
        assert (await run.ato_json())["name"] == "night"
        assert await run.aretry(codes=["invalid_request"]) == 1
        assert await run.aretry_failed() == 0
        assert await run.acancel() == []

    asyncio.run(night())

    assert getattr(BatchRun, "await") is BatchRun.await_
    assert BatchRun.aexecute.__name__ == "aexecute"
