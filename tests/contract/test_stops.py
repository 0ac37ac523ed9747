"""What stops a run, and what does not: signals in real processes, the rest at the simulator."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

import batchkit
from batchkit import Batch
from batchkit.simulator import Fault
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, command, env, go, script

DRIVING = """
import signal, sys
from batchkit import Batch
batch = Batch(name="r").set_default_params(model="claude-haiku-5-5", max_tokens=50)
for key in "abc":
    batch.add_job(prompt="p" + key, key=key)
before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
def told(stats, elapsed, batches):
    if any(one["status"] == "running" for one in batches.values()):
        print("driving", flush=True)
try:
    batch.run(told, 0.05)
finally:
    after = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
    print("restored" if before == after else "changed", flush=True)
print("returned", flush=True)
"""


@contextmanager
def started(text: str) -> Iterator[subprocess.Popen[str]]:
    """A script in a process of its own, which is gone afterwards."""
    Path("script.py").write_text(text)
    child = subprocess.Popen(
        [sys.executable, "script.py"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=env(),
    )
    try:
        yield child
    finally:
        child.kill()
        child.communicate()


@contextmanager
def driving(text: str = DRIVING) -> Iterator[subprocess.Popen[str]]:
    """A script that drives its run and is at it."""
    with started(text) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "driving\n"
        yield child


@contextmanager
def hanging(held: Shop) -> Iterator[subprocess.Popen[str]]:
    """A script whose first create is not answered for a minute."""
    held.simulator.faults.add("anthropic.batches.create", Fault("hang", seconds=60), nth=1)
    with started(DRIVING) as child:
        until = time.monotonic() + 30
        while not held.knocks and time.monotonic() < until:
            time.sleep(0.05)  # noqa: TID251
        yield child


@pytest.mark.parametrize(("sent", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
@pytest.mark.slow
def test_a_signal_detaches_and_the_run_goes_on_later(
    held: Shop, sent: signal.Signals, code: int
) -> None:
    """Detach: … provider batches go on, the command to resume is printed; then `KeyboardInterrupt`
    / `SystemExit(143)` is raised, never a normal return. Handlers … restored afterwards."""
    with driving() as child:
        child.send_signal(sent)
        out, err = child.communicate(timeout=20)

    assert child.returncode in (code, -sent)
    assert "batchkit resume r" in err
    assert "returned" not in out
    assert "restored" in out
    assert batchkit.get_run("r").state == "running"
    assert not any(b.cancelled for b in held.simulator.ledger().batches)

    held.end()
    resumed = command("resume", "r")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert held.bought == 3


MORE = """
from pathlib import Path
from batchkit import Batch
batch = Batch(name="r", items_per_batch=1, max_parallel_batches=2)
batch.set_default_params(model="claude-haiku-5-5", max_tokens=50)
for number in range(20):
    batch.add_job(prompt=f"p{number}", key=f"k{number}")
def told(stats, elapsed, batches):
    if sum(one["status"] == "running" for one in batches.values()) == 2:
        print("driving", flush=True)
def main():
    run = batch.run(told, 0.05)
    run.export("rows.jsonl")
"""

IN_MAIN = f"{MORE}\nmain()\n"
IN_A_THREAD = f"""{MORE}
import threading, time
going = threading.Thread(target=main, daemon=True)
going.start()
while going.is_alive():
    time.sleep(0.05)
"""
IN_A_LOOP = f"""{MORE}
import asyncio
async def notebook():
    run = await batch.arun(told, 0.05)
    run.export("rows.jsonl")
asyncio.run(notebook())
"""


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize(
    "text", [IN_MAIN, IN_A_THREAD, IN_A_LOOP], ids=["main thread", "another thread", "a loop"]
)
def test_after_a_signal_no_more_batches_go_and_the_next_line_does_not_run(
    held: Shop, text: str, sent: signal.Signals
) -> None:
    """Detach: … nothing new is sent …; never a normal return."""
    with driving(text) as child:
        began = time.monotonic()
        child.send_signal(sent)
        child.communicate(timeout=20)

    assert time.monotonic() - began < 10
    assert child.returncode not in (0, None)
    assert not Path("rows.jsonl").exists()
    batches = held.simulator.ledger().batches
    assert len(batches) == 2
    assert not any(batch.cancelled for batch in batches)


@pytest.mark.slow
def test_kill_9_is_the_same_without_the_print(held: Shop) -> None:
    """`kill -9`, power cut: the same without the print."""
    with driving() as child:
        child.kill()
        child.communicate()
    held.end()
    again = script(DRIVING)

    assert again.returncode == 0, again.stderr
    assert "returned" in again.stdout
    assert held.bought == 3
    assert held.simulator.ledger().bought_twice() == []


@pytest.mark.slow
def test_a_second_ctrl_c_leaves_at_once_and_nothing_is_lost(held: Shop) -> None:
    """A second Ctrl-C leaves at once; still nothing is lost."""
    with hanging(held) as child:
        child.send_signal(signal.SIGINT)
        time.sleep(0.5)  # noqa: TID251
        assert child.poll() is None  # the call in hand is finished first
        child.send_signal(signal.SIGINT)
        child.communicate(timeout=10)
    assert child.returncode in (130, -signal.SIGINT)

    held.end()
    again = script(DRIVING)
    assert again.returncode == 0, again.stderr
    assert held.bought == 3
    assert held.simulator.ledger().bought_twice() == []


@pytest.mark.slow
def test_sigterm_leaves_within_ten_seconds_though_a_create_hangs(held: Shop) -> None:
    """What the create came to is looked up by whoever goes on."""
    with hanging(held) as child:
        began = time.monotonic()
        child.send_signal(signal.SIGTERM)
        _, err = child.communicate(timeout=30)
    assert time.monotonic() - began < 10
    assert child.returncode == 143
    assert "batchkit resume r" in err

    held.end()
    again = script(DRIVING)
    assert again.returncode == 0, again.stderr
    assert (held.bought, held.simulator.ledger().bought_twice()) == (3, [])


def test_a_cancelled_async_twin_detaches_first(held: Shop) -> None:
    """A cancelled async twin detaches first."""
    batch = quiet(name="r").add_job(prompt="a", key="a")

    async def story() -> None:
        task = asyncio.create_task(batch.arun(progress_interval=0.02))
        while not held.entries:
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.1)
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task

    asyncio.run(story())
    assert batchkit.get_run("r").state == "running"
    assert not any(b.cancelled for b in held.simulator.ledger().batches)
    held.end()
    batchkit.get_run("r").resume(progress_interval=0.02)
    assert held.bought == 1


def ten(**settings: Any) -> Batch:
    batch = quiet(name="r", **settings)
    for number in range(10):
        batch.add_job(prompt=f"[[sim:say=x]] p{number}", key=f"k{number}")
    return batch


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_what_does_not_fit_the_cost_limit_waits(shop: Shop, model: str) -> None:
    """Cost limit: what does not fit waits (`budget`), neither failed nor lost; it goes out as
    reservations turn into smaller real costs."""
    batch = ten().set_default_params(model=model)
    price = {"input": 100.0, "output": 100.0}
    small = quiet(model, name="small")
    for number in range(10):
        text = f"[[sim:say=x]] {model} {number}"
        small.add_job(prompt=text, key=f"k{number}", price=price, max_tokens=100)
    run = go(small.add_cost_limit(usd=0.06))
    del batch

    status = run.status()
    assert status["cost_usd"] <= 0.06
    assert status["failed"] == 0
    if not run.is_complete:
        assert (run.state, status["waiting_for"]) == ("waiting", "budget")
    assert status["completed"] >= 2
    assert len(shop.sizes) >= 2  # a second batch went out of what the first gave back

    run.resume(cost_limit=5.0, progress_interval=0.02)
    assert run.state == "completed"
    assert run.status()["cost_limit_usd"] == 5
    assert shop.bought == 10
    assert shop.simulator.ledger().bought_twice() == []


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_a_dear_job_in_front_does_not_keep_cheaper_ones_from_going(shop: Shop, model: str) -> None:
    """A run waits as `budget` only if even the cheapest waiting job does not fit."""
    mixed = quiet(model, name="mixed")
    for number, most in enumerate([2_000, 100, 2_000, 100, 100]):
        text = f"[[sim:say=x]] mixed {model} {number}"
        mixed.add_job(
            prompt=text, key=f"k{number}", price={"input": 100.0, "output": 100.0}, max_tokens=most
        )
    run = go(mixed.add_cost_limit(usd=0.08))

    status = run.status()
    assert (run.state, status["waiting_for"], status["completed"]) == ("waiting", "budget", 3)
    assert shop.sizes == [3]
    assert status["cost_usd"] <= 0.08
    assert sorted(one.key for one in run.iter_results()) == ["k1", "k3", "k4"]
    detail = run.to_json()["waiting_detail"]
    assert detail.startswith("the cheapest of 2 jobs that wait needs $0.2")
    run.resume(cost_limit=5.0, progress_interval=0.02)
    assert (run.state, shop.bought) == ("completed", 5)
    assert shop.simulator.ledger().bought_twice() == []


def test_the_last_explicit_cost_limit_wins(shop: Shop) -> None:
    """… after `batchkit resume RUN --cost-limit 40` (the last explicit value wins)."""
    run = ten().add_cost_limit(usd=1).submit()
    shown = command("resume", "r", "--cost-limit", "40")
    assert shown.returncode == 0, shown.stderr
    assert run.status()["cost_limit_usd"] == 40


@pytest.mark.slow
def test_the_time_limit_cancels_and_collects(held: Shop) -> None:
    """Time limit: nothing new is sent; running batches are cancelled at the provider; … the rest
    ends `cancelled: time_limit`, which `resume --time-limit` or `retry` takes up."""
    batch = ten(items_per_batch=5, max_parallel_batches=1).add_time_limit(seconds=10)
    run = batch.submit()
    assert held.sizes == [5]
    ends = time.monotonic() + 40
    while time.monotonic() < ends and not run.is_complete:
        with suppress(TimeoutError):
            run.wait(max_wait=1, interval=0.02)
        if any(b.cancelled for b in held.simulator.ledger().batches):
            held.simulator.advance(120)

    assert held.sizes == [5]
    assert run.state == "cancelled"
    assert {r.error_code for r in run.results()["cancelled"]} == {"time_limit"}
    assert run.status()["completed"] == held.bought

    run.resume(time_limit=3600, once=True)
    assert run.state == "running"


@pytest.mark.slow
def test_a_provider_that_is_away_changes_nothing(shop: Shop) -> None:
    """Provider unreachable for hours: nothing changes state; back-off, …, goes on."""
    faults = shop.simulator.faults
    faults.add("anthropic.batches.create", Fault("refuse", status=0), nth=1)
    faults.add("anthropic.batches.create", Fault("refuse", status=503), nth=2)
    run = go(quiet(name="r").add_job(prompt="away", key="a"))

    assert run.state == "completed"
    assert run.get("a").result.attempts == 1
    assert shop.bought == 1


@pytest.mark.parametrize("model", [CLAUDE, GPT])
@pytest.mark.parametrize("what", ["revoked", "credit"])
def test_a_revoked_key_and_gone_credit_wait_for_the_account(
    held: Shop, model: str, what: str
) -> None:
    """Key revoked, credit gone, no access to the model: jobs go back to pending, `waiting_for:
    account`, with the provider's words and the command to type after mending it."""
    simulator = held.simulator
    simulator.revoke("simulated") if what == "revoked" else simulator.exhaust_credit()
    run = go(quiet(model, name="r").add_job(prompt="a", key="a"))

    status = run.status()
    assert (run.state, status["waiting_for"]) == ("waiting", "account")
    assert (status["pending"] + status["active"], status["failed"]) == (1, 0)
    shown = command("status", "r")
    assert shown.returncode == 4
    assert "batchkit resume" in shown.stdout + shown.stderr

    simulator.reinstate("simulated") if what == "revoked" else simulator.restore_credit()
    run.resume(once=True)
    held.end()
    run.wait(max_wait=30, interval=0.02)
    assert run.state == "completed"
    assert held.bought == 1


def test_jobs_of_a_blocked_account_are_pending_again(held: Shop) -> None:
    """Key revoked …: jobs go back to pending."""
    held.simulator.revoke("simulated")
    status = go(quiet(name="r").add_job(prompt="a", key="a")).status()

    assert (status["pending"], status["active"]) == (1, 0)


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_again_as_it_is_again_changed_and_never(shop: Shop, model: str) -> None:
    """A request fails: never again (invalid, refused, content filter); again as it is …; again
    changed (truncated: a larger `max_tokens`, at most twice and within the model's limit; does not
    fit the schema: the error goes into the prompt)."""
    batch = quiet(model, name="r", max_attempts=5)
    batch.add_job(prompt=f"[[sim:refuse]] {model}", key="never")
    batch.add_job(prompt=f"[[sim:500*1]] {model}", key="as it is")
    batch.add_job(prompt=f"[[sim:truncate]] {model}", key="truncated")
    batch.add_job(prompt=f"[[sim:wrongtype*1]] {model}", key="schema", response_model=Note)
    run = go(batch)

    attempts = {r.key: r.attempts for r in run.iter_results()}
    assert (attempts["never"], attempts["as it is"], attempts["truncated"]) == (1, 2, 3)
    name = "max_tokens" if model == CLAUDE else "max_output_tokens"
    sizes = [b[name] for b in shop.bodies if "truncate" in str(b)]
    assert sizes == sorted(set(sizes))
    assert run.get("truncated").result.error_code == "truncated"
    assert attempts["schema"] >= 2
    assert run.get("schema").attempts[1]["reason"] == "invalid_output"


def test_many_failures_for_one_reason_wait_for_a_person(shop: Shop) -> None:
    """More than 10 % of a run's answers (20 at least) fail for one reason: jobs with that reason
    are not sent again: `waiting_for: review`, with three examples and the command."""
    batch = quiet(name="r")
    for number in range(40):
        batch.add_job(prompt=f"[[sim:badjson]] {number}", key=f"k{number}", response_model=Note)
    run = go(batch)

    assert run.state == "waiting"
    assert run.status()["waiting_for"] == "review"
    assert len(shop.entries) == 40
    assert "batchkit" in str(run.to_json())


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_a_create_whose_answer_was_lost_is_not_sent_twice(shop: Shop, model: str) -> None:
    """The call in hand is finished or recorded as unknown …; still nothing is lost."""
    route = "anthropic.batches.create" if model == CLAUDE else "openai.batches.create"
    shop.simulator.faults.add(route, Fault("drop"), nth=1)
    run = go(quiet(model, name="r").add_job(prompt=f"lost {model}", key="a"))

    assert run.state == "completed"
    assert shop.bought == 1
    assert os.environ["BATCHKIT_PACE"]
