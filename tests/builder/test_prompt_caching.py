"""Whole runs through the real SDK: a shared prefix is cached first where that saves money."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchkit import Batch, BatchRun
from batchkit.simulator import Entry, Simulator
from batchkit.testing import simulator as simulator  # a fixture

# An hour is 12 seconds, so that a busy machine is still in time for a cache that lives an hour.
pytestmark = pytest.mark.parametrize(
    "simulator", [{"scale": 300, "batch_seconds": (20, 40)}], indirect=True, ids=["x300"]
)

MODEL = "claude-sonnet-5-5"
RULES = "Answer from the contract and from nothing else. " * 200
CONTRACT = "The tenant pays on the first of the month. " * 500
BATCH_PRICE = {"fresh": 1.0, "read": 0.05, "written": 2.0, "output": 5.0}
"""USD per million tokens of the model, as its provider bills them in a batch."""


@pytest.fixture
def contract(tmp_path: Path) -> Path:
    path = tmp_path / "contract.txt"
    path.write_text(CONTRACT)
    return path


def questions(url: str, path: Path, count: int = 12, **settings: Any) -> Batch:
    batch = Batch(name="contract", database=url, **settings).set_verbosity("error")
    batch.set_default_params(model=MODEL, max_tokens=100)
    for number in range(count):
        batch.add_job(file=path, prompt=f"What does clause {number} say?", key=f"q{number}")
    return batch


def bill(entries: tuple[Entry, ...]) -> float:
    """What the provider charges for these, by its own books."""
    total = 0.0
    for one in entries:
        fresh = one.input_tokens - one.cached_tokens - one.cache_write_tokens
        total += fresh * BATCH_PRICE["fresh"] + one.cached_tokens * BATCH_PRICE["read"]
        total += one.cache_write_tokens * BATCH_PRICE["written"]
        total += one.output_tokens * BATCH_PRICE["output"]
    return total / 1e6


def sizes(simulator: Simulator) -> list[int]:
    return [batch.total for batch in simulator.ledger().batches]


def test_a_document_asked_many_questions_is_primed_and_costs_a_third(
    simulator: Simulator, migrated_url: str, contract: Path
) -> None:
    """One job writes, eleven read; the estimate said so, and the books are the provider's."""
    batch = questions(migrated_url, contract)
    found = batch.estimate()
    assert (found["primers"], found["batches"], found["waves"]) == (1, 2, 2)
    run = batch.run(progress_interval=0.02)
    primed = simulator.ledger().entries
    assert sizes(simulator) == [1, 11]
    assert [(one.cached_tokens > 0, one.cache_write_tokens > 0) for one in primed] == [
        (False, True),
        *[(True, False)] * 11,
    ]
    assert run.status()["cost_usd"] == pytest.approx(bill(primed), rel=1e-4)
    results = run.results()["completed"]
    assert sum(one.cached_tokens or 0 for one in results) == sum(e.cached_tokens for e in primed)

    other = questions(migrated_url, contract, project="plain", prompt_caching="off")
    plain = other.estimate()
    assert (plain["primers"], plain["caching_saves_usd"]) == (0, 0)
    assert plain["usd_expected"] - found["usd_expected"] == pytest.approx(
        found["caching_saves_usd"], abs=1e-6
    )
    other.run(progress_interval=0.02)
    cold = simulator.ledger().entries[12:]
    assert (len(cold), sum(one.cache_write_tokens + one.cached_tokens for one in cold)) == (12, 0)
    assert bill(primed) < 0.4 * bill(cold)
    assert bill(primed) < found["usd_max"]
    assert bill(cold) < plain["usd_max"]


def test_rules_before_many_documents_are_primed_once(
    simulator: Simulator, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """No document comes twice: what they share is the system prompt."""
    batch = Batch(name="rules", database=migrated_sqlite_url).set_verbosity("error")
    batch.set_default_params(model=MODEL, max_tokens=50, system=RULES)
    for number in range(15):
        path = tmp_path / f"{number}.txt"
        path.write_text(f"Letter {number}. " * 100)
        batch.add_job(file=path, prompt="Who wrote it?")
    run = batch.run(progress_interval=0.02)
    assert run.state == "completed"
    assert sizes(simulator) == [1, 14]
    entries = simulator.ledger().entries
    written = entries[0].cache_write_tokens
    assert written > 1_024
    assert [one.cached_tokens for one in entries[1:]] == [written] * 14


def test_many_documents_have_their_primers_in_one_batch(
    simulator: Simulator, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """Three documents, six questions each, asked one question after the other."""
    batch = Batch(name="three", database=migrated_sqlite_url).set_verbosity("error")
    batch.set_default_params(model=MODEL, max_tokens=50)
    paths = [tmp_path / f"{name}.txt" for name in "abc"]
    for path in paths:
        path.write_text(f"This is {path.name}. " * 800)
    for number in range(6):
        for path in paths:
            batch.add_job(file=path, prompt=f"Question {number}?", key=f"{path.stem}{number}")
    assert batch.run(progress_interval=0.02).state == "completed"
    assert sizes(simulator) == [3, 15]
    entries = simulator.ledger().entries
    assert [bool(one.cached_tokens) for one in entries] == [False] * 3 + [True] * 15


@pytest.mark.parametrize(
    "why", ["short of time", "switched off", "too few", "too short", "marks of their own"]
)
def test_nothing_is_primed_where_it_does_not_pay(
    simulator: Simulator, migrated_sqlite_url: str, contract: Path, why: str
) -> None:
    settings: dict[str, Any] = {"prompt_caching": "off"} if why == "switched off" else {}
    count = 2 if why == "too few" else 12
    if why == "too short":
        contract.write_text("Short.")
    batch = questions(migrated_sqlite_url, contract, 0, **settings)
    own: dict[str, Any] = (
        {"cache_control": {"type": "ephemeral"}} if why == "marks of their own" else {}
    )
    for number in range(count):
        batch.add_job(file=contract, prompt=f"Question {number}?", key=f"q{number}", **own)
    if why == "short of time":
        batch.add_time_limit(hours=1)
    assert batch.estimate()["primers"] == 0
    run: BatchRun = batch.run(progress_interval=0.02)
    assert run.state == "completed"
    assert sizes(simulator) == [count]


def test_a_run_is_not_changed_by_what_is_marked(
    simulator: Simulator, migrated_sqlite_url: str, contract: Path
) -> None:
    """The same script again, whether it asks for caching or not, buys nothing."""
    for asked in ("auto", "off", "auto"):
        run = questions(migrated_sqlite_url, contract, prompt_caching=asked).run(
            progress_interval=0.02
        )
        assert run.status()["completed"] == 12
    assert sizes(simulator) == [1, 11]


def test_a_marked_batch_stays_under_the_limit(
    simulator: Simulator, migrated_url: str, contract: Path
) -> None:
    """What is reserved is the price of a cache write; a tight limit is filled in waves."""
    batch = questions(migrated_url, contract).add_cost_limit(usd=0.06)
    run = batch.run(progress_interval=0.02)
    status = run.status()
    assert status["completed"] == 12
    assert status["cost_usd"] == pytest.approx(bill(simulator.ledger().entries), rel=1e-4)
    assert status["cost_usd"] < 0.06


def test_a_primer_that_the_limit_cannot_pay_does_not_hold_the_others_back(
    simulator: Simulator, migrated_sqlite_url: str, contract: Path
) -> None:
    """They go unmarked, at the plain price."""
    batch = Batch(name="contract", database=migrated_sqlite_url).set_verbosity("error")
    batch.set_default_params(model=MODEL).add_cost_limit(usd=0.2)
    for number in range(6):
        most = 100 if number else 60_000
        batch.add_job(file=contract, prompt=f"Clause {number}?", key=f"q{number}", max_tokens=most)
    assert batch.estimate()["primers"] == 1
    run = batch.run(progress_interval=0.02)
    assert (run.status()["waiting_for"], run.status()["completed"]) == ("budget", 5)
    assert sizes(simulator) == [5]
    assert sum(one.cache_write_tokens for one in simulator.ledger().entries) == 0
