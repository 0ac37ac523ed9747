"""`BatchRun`: every member of the handle, and its async twin."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import json
from typing import Any

import pytest

import batchkit
from batchkit import Batch, BatchRun, JobResult
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, go

STATUS = [
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


def mixed(name: str = "r", **settings: Any) -> Batch:
    batch = quiet(name=name, **settings)
    batch.add_job(prompt="good one", key="good", response_model=Note, metadata={"page": 1})
    batch.add_job(prompt="[[sim:400]] bad", key="bad")
    batch.add_job(prompt="other", key="other", model=GPT)
    return batch


def plain(count: int, name: str = "r", **settings: Any) -> Batch:
    batch = quiet(name=name, **settings)
    for number in range(count):
        batch.add_job(prompt=f"p{number}", key=f"k{number}")
    return batch


def test_a_run_is_found_by_name_and_by_id(held: Shop) -> None:
    """`batchkit.get_run(id_or_name, *, project=None, database=None)`."""
    run = plain(1).submit()

    assert batchkit.get_run("r").id == run.id
    assert batchkit.get_run(run.id).name == "r"
    assert [one.id for one in batchkit.list_runs(limit=50)] == [run.id]
    parameters = inspect.signature(batchkit.get_run).parameters
    assert {"project", "database"} <= set(parameters)
    assert inspect.signature(batchkit.list_runs).parameters["limit"].default == 50


def test_list_runs_is_limited_and_newest_first(held: Shop) -> None:
    """`batchkit.list_runs(limit=50, …)`."""
    for name in ("one", "two", "three"):
        plain(1, name).submit()

    assert [run.name for run in batchkit.list_runs(limit=2)] == ["three", "two"]


def test_status_has_exactly_the_keys_of_the_contract(shop: Shop) -> None:
    """`status(print_status=False)`: dict: `total, pending, …, elapsed_s`."""
    run = go(mixed())
    status = run.status()

    assert sorted(status) == sorted(STATUS)
    json.dumps(status)
    assert (status["total"], status["completed"], status["failed"]) == (3, 2, 1)
    assert (status["pending"], status["active"], status["cancelled"]) == (0, 0, 0)
    assert status["state"] == run.state == "failed"
    assert status["is_complete"] is run.is_complete is True
    assert status["failed_by_code"] == {"invalid_request": 1}
    assert status["waiting_for"] is None
    assert status["cost_usd"] == pytest.approx(sum(r.cost_usd or 0 for r in run.iter_results()))
    assert status["reserved_usd"] == 0
    assert (status["batches_total"], status["batches_pending"]) == (2, 0)


def test_status_in_flight_counts_money_and_batches(held: Shop) -> None:
    """`pending, active, reserved_usd, cost_limit_usd, batches_pending, current_batch_size`."""
    run = plain(5, items_per_batch=2, max_parallel_batches=1).add_cost_limit(usd=2).submit()
    status = run.status()

    assert (status["total"], status["active"], status["pending"]) == (5, 2, 3)
    assert status["reserved_usd"] > 0
    assert status["cost_limit_usd"] == 2
    assert status["state"] == "running"
    assert status["is_complete"] is False
    assert (status["batches_pending"], status["current_batch_size"]) == (1, 2)
    assert status["items_per_batch"] == 2
    assert status["next_poll_at"]


def test_status_prints_if_asked(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """`status(print_status=False)`."""
    run = go(mixed())
    capsys.readouterr()
    run.status()
    assert capsys.readouterr().out == ""
    run.status(print_status=True)
    assert "3 of 3 done" in "".join(capsys.readouterr())


def test_results_are_four_lists_that_add_up(held: Shop) -> None:
    """What is there by now; the four add up to `total`."""
    run = plain(4, items_per_batch=2, max_parallel_batches=1).submit()
    found = run.results()
    assert list(found) == ["completed", "failed", "cancelled", "waiting"]
    assert {name: len(rows) for name, rows in found.items()} == {
        "completed": 0,
        "failed": 0,
        "cancelled": 0,
        "waiting": 4,
    }
    assert all(isinstance(one, JobResult) for one in found["waiting"])

    run.cancel(keys=["k3"])
    found = run.results()
    assert sum(map(len, found.values())) == run.status()["total"]


def test_iter_results_streams_in_order_of_completion_from_a_cursor(shop: Shop) -> None:
    """Streamed in order of completion; `after` is the cursor of the last one seen."""
    run = go(plain(5, items_per_batch=2))
    every = list(run.iter_results())
    assert len(every) == 5
    assert inspect.isgenerator(run.iter_results()) or hasattr(run.iter_results(), "__next__")

    seen = every[1]
    rest = list(run.iter_results(after=seen))
    assert [one.key for one in rest] == [one.key for one in every[2:]]
    assert list(run.iter_results(after=every[-1])) == []

    go(plain(7, items_per_batch=2))
    later = list(run.iter_results(after=every[-1]))
    assert sorted(one.key for one in later) == ["k5", "k6"]


def test_iter_results_takes_a_state_and_a_class(shop: Shop) -> None:
    """`iter_results(state=None, response_model=None, after=None)`."""
    run = go(mixed())

    assert [one.key for one in run.iter_results(state="failed")] == ["bad"]
    assert {one.key for one in run.iter_results(state="completed")} == {"good", "other"}
    typed = {one.key: one for one in run.iter_results("completed", Note)}
    assert isinstance(typed["good"].parsed_response, Note)
    with pytest.raises(ValueError, match="state"):
        list(run.iter_results(state="done"))


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_get_tells_one_jobs_whole_story(shop: Shop, model: str) -> None:
    """One job: result, attempts with reason, change and cost, batch, provider's request id, raw
    file."""
    batch = quiet(model, name="r", results_dir="out")
    batch.add_job(prompt=f"[[sim:truncate*1]] {model}", key="a")
    story = go(batch).get("a")

    assert story.result.state == "completed"
    assert story.result.attempts == len(story.attempts) == 2
    first, second = story.attempts
    assert second["reason"] == "truncated"
    assert second["change"]["max_tokens"] > 200
    assert first["cost_usd"] > 0
    assert story.result.cost_usd == pytest.approx(first["cost_usd"] + second["cost_usd"])
    assert story.batch
    assert story.raw_file
    if model == GPT:
        assert all(one["request_id"] for one in story.attempts)


def test_get_of_an_unknown_key_names_it(shop: Shop) -> None:
    """An error says what to do next."""
    run = go(plain(1))
    with pytest.raises((batchkit.BatchkitError, KeyError), match="k9"):
        run.get("k9")


def test_get_failed_jobs_is_key_to_error(shop: Shop) -> None:
    """`{key: error}`."""
    found = go(mixed()).get_failed_jobs()

    assert list(found) == ["bad"]
    assert isinstance(found["bad"], str)
    assert found["bad"]


def test_wait_gives_up_after_max_wait_and_cancels_nothing(held: Shop) -> None:
    """Drive the run until done (`TimeoutError` after `max_wait` seconds; nothing is cancelled)."""
    run = plain(2).submit()
    with pytest.raises(TimeoutError):
        run.wait(max_wait=0.3, interval=0.05)
    assert run.state == "running"
    assert not any(b.cancelled for b in held.simulator.ledger().batches)

    held.end()
    run.wait(max_wait=20, interval=0.05)
    assert run.state == "completed"


@pytest.mark.parametrize("member", ["wait", "execute", "resume"])
def test_wait_execute_and_resume_drive_until_done(held: Shop, member: str) -> None:
    """`wait(max_wait=None, interval=None)`, `execute()`, `resume()`."""
    plain(2).submit()
    held.end()
    run = batchkit.get_run("r")
    getattr(run, member)()

    assert run.is_complete
    assert held.bought == 2


def test_retry_gives_fresh_attempts(shop: Shop) -> None:
    """`retry(states=("failed", "cancelled"), codes=None, keys=None, **changes)`: fresh attempts."""
    batch = quiet(name="r", max_attempts=1)
    batch.add_job(prompt="[[sim:500*1]] fresh a", key="a")
    batch.add_job(prompt="[[sim:400*1]] fresh b", key="b")
    run = go(batch)
    assert run.status()["failed"] == 2

    run.retry()
    run.wait(interval=0.02)
    assert run.get("a").result.state == "completed"
    assert run.get("b").result.state == "failed"  # what can never work is left out
    assert len(shop.entries) == 3

    run.retry(codes=["invalid_request"])
    run.wait(interval=0.02)
    assert run.status()["completed"] == 2
    assert run.get("b").result.attempts == 2


def test_retry_without_codes_counts_what_it_leaves_out(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Without `codes`, what can never work is left out and counted."""
    go(mixed().set_verbosity("info"))
    capsys.readouterr()
    run = batchkit.get_run("r")
    found = run.retry()
    said = "".join(capsys.readouterr())

    assert found == 0
    assert "invalid_request 1" in said
    assert run.state == "failed"


def test_retry_takes_changes_and_keys(shop: Shop) -> None:
    """… with `model=`, `max_tokens=`, `prompt=` if given."""
    batch = quiet(name="r", max_attempts=1)
    for key in ("a", "b"):
        batch.add_job(prompt=f"[[sim:400]] {key}", key=key)
    run = go(batch)
    run.retry(keys=["a"], codes=["invalid_request"], prompt="harmless", max_tokens=321, model=GPT)
    run.wait(interval=0.02)

    assert run.get("a").result.state == "completed"
    assert run.get("b").result.state == "failed"
    body = shop.bodies[-1]
    assert (body["model"], body["max_output_tokens"]) == (GPT, 321)
    assert "harmless" in json.dumps(body)


def test_retry_failed_is_the_short_form(shop: Shop) -> None:
    """`retry_failed()` is its short form."""
    batch = quiet(name="r", max_attempts=1).add_job(prompt="[[sim:500*1]] short form", key="a")
    run = go(batch)
    run.retry_failed()
    run.wait(interval=0.02)

    assert run.state == "completed"


def test_cancel_stops_sending_and_keeps_what_was_answered(held: Shop) -> None:
    """Stop sending; cancel at the provider; what was answered is collected and kept."""
    run = plain(4, items_per_batch=2, max_parallel_batches=1).submit()
    run.cancel()
    held.end()
    run.wait(max_wait=20, interval=0.02)
    assert run.is_complete

    assert held.sizes == [2]
    assert [b.cancelled for b in held.simulator.ledger().batches] == [True]
    assert run.status()["cancelled"] + run.status()["completed"] == 4
    assert run.status()["completed"] == held.bought


def test_cancel_of_some_keys_leaves_the_others(held: Shop) -> None:
    """`cancel(keys=None)`."""
    run = plain(4, items_per_batch=2, max_parallel_batches=1).submit()
    run.cancel(keys=["k2", "k3"])
    held.end()
    run.wait(max_wait=20, interval=0.02)

    assert {r.key for r in run.results()["cancelled"]} == {"k2", "k3"}
    assert {r.key for r in run.results()["completed"]} == {"k0", "k1"}
    assert held.sizes == [2]


def test_shutdown_detaches_a_run_that_is_driven_here(held: Shop) -> None:
    """Detach, if this process drives the run."""
    import threading

    run = plain(2).submit()
    run.shutdown()  # nobody drives: nothing happens
    ended: list[str] = []

    def drive() -> None:
        try:
            run.wait(interval=0.02)
            ended.append("returned")
        except BaseException as error:  # noqa: BLE001 -- whatever it is, the thread tells
            ended.append(type(error).__name__)

    thread = threading.Thread(target=drive)
    thread.start()
    thread.join(0.3)
    assert thread.is_alive()
    run.shutdown()
    thread.join(10)
    assert not thread.is_alive()
    assert run.state == "running"
    assert not any(b.cancelled for b in held.simulator.ledger().batches)


def test_set_on_progress_tells_stats_time_and_batches(shop: Shop) -> None:
    """`callback(stats, elapsed_s, batches)`; `batches`: `{ref: {status, total, …}}`."""
    told: list[Any] = []
    plain(3).submit()
    run = batchkit.get_run("r")
    run.set_on_progress(lambda *words: told.append(words), interval=0.02)
    run.wait()

    stats, elapsed, batches = told[-1]
    assert sorted(stats) == sorted(STATUS)
    assert isinstance(elapsed, float)
    (ref,) = batches
    assert ref == shop.entries[0].batch_id
    one = batches[ref]
    assert sorted(one) == sorted(
        [
            "status",
            "total",
            "completed",
            "failed",
            "cost",
            "estimated_cost",
            "provider",
            "start_time",
            "completion_time",
            "error",
        ]
    )
    assert (one["total"], one["completed"], one["failed"]) == (3, 3, 0)
    assert one["provider"] == "anthropic"
    assert one["cost"] == pytest.approx(stats["cost_usd"])


def test_a_callback_that_raises_does_not_lose_the_run(shop: Shop) -> None:
    """Still nothing is lost."""

    def wrong(*_: Any) -> None:
        raise RuntimeError("mine")

    batch = plain(2)
    with contextlib.suppress(RuntimeError):
        batch.run(on_progress=wrong, progress_interval=0.02)
    run = go(plain(2))
    assert run.state == "completed"
    assert shop.bought == 2


def test_to_json_is_plain_data(shop: Shop) -> None:
    """The state as plain data."""
    run = go(mixed())
    data = run.to_json()
    data = json.loads(data) if isinstance(data, str) else json.loads(json.dumps(data))

    assert data["name"] == "r"
    assert data["id"] == run.id


BLOCKING = "status results get get_failed_jobs wait execute resume retry retry_failed cancel"


@pytest.mark.parametrize("member", [*BLOCKING.split(), "iter_results"])
def test_every_member_that_blocks_has_an_async_twin(member: str) -> None:
    """Every member that blocks has an `a…` twin."""
    twin = getattr(BatchRun, f"a{member}")
    given = list(inspect.signature(getattr(BatchRun, member)).parameters)

    assert inspect.iscoroutinefunction(twin) or inspect.isasyncgenfunction(twin)
    assert list(inspect.signature(twin).parameters) == given


def test_the_async_twins_do_the_same(held: Shop) -> None:
    """Every member that blocks has an `a…` twin."""

    async def story() -> None:
        run = await plain(3).asubmit()
        assert (await run.astatus())["active"] == 3
        with pytest.raises(TimeoutError):
            await run.await_(0.1, 0.02)
        held.end()
        await run.aresume()
        assert len([one async for one in run.aiter_results()]) == 3
        assert len((await run.aresults())["completed"]) == 3
        assert (await run.aget("k0")).result.key == "k0"
        assert await run.aget_failed_jobs() == {}
        await run.aretry_failed()
        await run.acancel()

    asyncio.run(story())


def test_the_handle_works_on_either_database(shop: Shop, migrated_url: str) -> None:
    """Everything above on SQLite by default and on Postgres."""
    run = go(mixed(database=migrated_url))
    assert run.status()["completed"] == 2
    assert [one.key for one in run.iter_results(state="failed")] == ["bad"]
    run.retry(codes=["invalid_request"], prompt="harmless")
    run.wait(interval=0.02)
    assert batchkit.get_run("r", database=migrated_url).state == "completed"
    assert run.get("bad").result.is_success
