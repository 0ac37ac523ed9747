"""What other libraries of this kind were measured to do, each as a night of ours.

Killed while ten batches ran, one bought all thousand requests twice; one failed status call lost it
a paid batch, a result file with 3 of 5 rows made 2 jobs vanish, and a refused reservation failed 9
of 10 jobs. Another bought 19 answers for 10 documents when a batch expired with 9 done, another 60
batches for a document that could not fit its ``max_tokens``; another cancels what runs, and is
paid for, after four failed status calls. What one sends after Ctrl-C is in
``tests/contract/test_stops.py``.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchkit.simulator import Fault
from tests.engine import crashes
from tests.engine.conftest import Database
from tests.engine.crashes import BOUND, Books, Scenario, Server
from tests.engine.test_fault_matrix import PROVIDERS, QUICK, kept, night

TEN = [f"document {n} is about matter {n * 7}" for n in range(10)]
ALL_IN_ONE = {"items_per_batch": 10, "max_parallel_batches": 2}

pytestmark = [pytest.mark.matrix, pytest.mark.parametrize("provider", PROVIDERS)]


@pytest.mark.slow
def test_killed_while_ten_batches_run_and_started_again_buys_each_request_once(
    provider: str, fresh: Database, tmp_path: Path, server: Server, record_property: Any
) -> None:
    ten = Scenario(
        "killed while ten batches run",
        [f"document {n} is about matter {n * 7}" for n in range(20)],
        limits={"cost_limit": 20 * BOUND},
        settings={"batch_seconds": (3_000.0, 4_000.0)},
        spec={"items_per_batch": 2, "max_parallel_batches": 10},
    )
    url = fresh()
    with crashes.case(ten, provider, url, tmp_path / "case", server) as case:
        assert crashes.was_killed(case.live(kill=("after the commit of batches.accept", 10)))
        states = [batch.state for batch in case.store.batches.of_run(case.run)]
        assert states == ["running"] * 10
        assert case.live()["ending"] == "done"
        kept(record_property, case.books(), ten.name, "running", provider, url)
        assert case.books() == Books()
        assert len(case.simulator.ledger().batches) == 10


@pytest.mark.parametrize("failures", [1, 4])
def test_failed_status_calls_lose_and_cancel_no_batch(
    failures: int, provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    struck = {"batches.retrieve": [(n + 1, Fault("refuse", status=503)) for n in range(failures)]}
    scenario = Scenario("status", TEN, faults=struck, settings=QUICK, spec=ALL_IN_ONE)
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert (this.drive(), this.case.books()) == ("done", Books())
        [batch] = this.case.simulator.ledger().batches
        assert not batch.cancelled


def test_a_result_file_with_3_of_5_rows_makes_no_job_vanish(
    provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    prompts = [*TEN[:3], *(f"{text} [[sim:missing]]" for text in TEN[3:5])]
    scenario = Scenario("rows", prompts, settings=QUICK, spec=ALL_IN_ONE)
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert this.drive() == "done"
        run = this.case.store.runs.get(this.case.run)
        assert (run.total, run.completed, run.failed) == (5, 3, 2)
        failed = this.case.store.answers.ended(run.id, ["failed"])
        assert [one.code for one in failed] == ["result_missing"] * 2
        assert this.case.store.audit.problems(run.id) == []


def test_a_reservation_that_is_refused_fails_no_job(
    provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """Bounds of one job at a time are all that the limit holds; each that comes back frees some."""
    scenario = Scenario(
        "budget",
        TEN,
        settings=QUICK,
        limits={"cost_limit": 10 * 60_000 + 200_000},
        spec={"items_per_batch": 1, "max_parallel_batches": 10},
    )
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert (this.drive(), this.case.books()) == ("done", Books())


@pytest.mark.slow
def test_a_batch_that_expires_with_9_of_10_done_buys_ten_answers(
    provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    prompts = [*TEN[:9], f"{TEN[9]} [[sim:expire*1]]"]
    scenario = Scenario("expired", prompts, settings=QUICK, spec=ALL_IN_ONE)
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert (this.drive(), this.case.books()) == ("done", Books())
        ledger = this.case.simulator.ledger()
        assert [batch.total for batch in ledger.batches] == [10, 1]
        assert sum(entry.billed for entry in ledger.entries) == 10


def test_a_document_that_cannot_fit_max_tokens_is_sent_three_times_and_fails(
    provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    scenario = Scenario("truncated", [f"{TEN[0]} [[sim:truncate]]"], settings=QUICK)
    generous = replace(scenario, limits={"cost_limit": 20 * BOUND}, spec={"max_attempts": 9})
    with night(generous, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert this.drive() == "done"
        [failed] = this.case.store.answers.ended(this.case.run, ["failed"])
        assert failed.code == "truncated"
        assert len(this.case.simulator.ledger().batches) == 3
        assert this.case.store.audit.problems(this.case.run) == []


REFUSED = ("defer", "refuse", "unsend", "shrink")
"""The moves of a batch that the provider's queue had no room for."""


@pytest.mark.parametrize("items", [12, 3])
def test_a_run_ten_times_the_queue_ends_by_itself_with_three_refused_batches_at_most(
    items: int, provider: str, migrated_url: str, tmp_path: Path
) -> None:
    """Promise 7: OpenAI's queue is in tokens, Anthropic's in requests, larger than any batch."""
    prompts = [f"document {n} is about matter {n * 7}" for n in range(60)]
    queue = {"enqueued_tokens": {"": 6 * 70}} if provider == "openai" else {"queued_requests": 6}
    scenario = Scenario(
        "queue",
        prompts,
        settings={**QUICK, **queue},
        limits={},
        spec={
            "items_per_batch": items if provider == "openai" else min(items, 6),
            "max_parallel_batches": 10,
        },
    )
    with night(scenario, provider, migrated_url, tmp_path / "night") as this:
        assert (this.drive(), this.case.books()) == ("done", Books())
        events = this.case.store.events.of_run(this.case.run)
        refused = [event for event in events if event["action"] in REFUSED]
        assert len(refused) <= 3
        assert refused or items == 3, "three small batches fit until the first is in the queue"
