"""The books find what cannot be: each kind of corruption is planted and found."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit.model import BatchState
from batchkit.store import Store
from tests.store.scenes import (
    NOW,
    collected,
    drive,
    execute,
    lane_of,
    opened,
    outcome,
    sealed,
    settle,
    sound,
)

FREE_MEMBER = (
    "INSERT INTO @members (shelf, lane_id, seq, attempt_no, run_id, reason) "
    "VALUES (0, :lane, :seq, 9, :run, 'again')"
)
MEMBER_OF = (
    "INSERT INTO @members (shelf, lane_id, seq, attempt_no, run_id, batch_id, reason) "
    "VALUES (0, :lane, :seq, :no, :run, :batch, 'again')"
)

PLANTED: dict[str, tuple[list[tuple[str, dict[str, Any]]], str]] = {
    "spent is not what the attempts cost": (
        [("UPDATE @runs SET spent = spent + 1", {})],
        "spent is 121 nano-dollars, its collected attempts add up to 120",
    ),
    "an attempt's cost was changed": (
        [("UPDATE @attempts SET cost = 61 WHERE seq = 0", {})],
        "was booked at 120 nano-dollars, its attempts add up to 121",
    ),
    "reserved is not what live batches hold": (
        [("UPDATE @runs SET reserved = 7", {})],
        "reserved is 7 nano-dollars, its live batches hold 200",
    ),
    "a counter is off": (
        [("UPDATE @runs SET completed = 1", {})],
        "the run counts 1 completed, the final attempts 2",
    ),
    "the total is off": (
        [("UPDATE @runs SET total = 7", {})],
        "the run counts 7 jobs, 6 are there",
    ),
    "a job is in no batch": (
        [('UPDATE @lanes SET "cursor" = 5', {})],
        "job 'j4' was taken from its lane, is in no batch and has no end",
    ),
    "a job is in two live ranges": (
        [
            (
                "INSERT INTO @batches (run_id, lane_id, kind, lo, hi, state, count, refused_refs) "
                "VALUES (:run, :lane, 'range', 3, 5, 'sealed', 2, '[]')",
                {},
            )
        ],
        "hold the same jobs",
    ),
    "a job is a member of two live batches": (
        [(MEMBER_OF, {"seq": 5, "no": 1}), (MEMBER_OF, {"seq": 5, "no": 2})],
        "job 5 of lane",
    ),
    "a job is in a live range and waits for another": (
        [(FREE_MEMBER, {"seq": 3})],
        "sent 2 jobs, 1 are in it and nowhere else",
    ),
    "a job has ended and waits to be bought again": (
        [(FREE_MEMBER, {"seq": 0})],
        "job 'j0' has ended and waits to go again",
    ),
    "a job has ended and is bought again": (
        [(MEMBER_OF, {"seq": 0, "no": 2})],
        "job 'j0' has ended and is in live batch",
    ),
    "an outcome of a collected batch is missing": (
        [("DELETE FROM @attempts WHERE seq = 1", {})],
        "holds 2 jobs and 1 outcomes",
    ),
    "an attempt was settled twice": (
        [
            (
                "INSERT INTO @attempts (batch_id, seq, lane_id, run_id, attempt_no, state, final, "
                "cost_kind, ran) VALUES (:batch, 0, :lane, :run, 1, 'failed', false, 'free', true)",
                {},
            )
        ],
        "attempt 1 of job 'j0' was settled twice",
    ),
    "an answer belongs to no job": (
        [("DELETE FROM @jobs WHERE seq = 0", {})],
        "belongs to no job",
    ),
    "an answer belongs to no batch": (
        [("UPDATE @attempts SET batch_id = 999 WHERE seq = 0", {})],
        "the answer 999/0 belongs to no batch",
    ),
    "a member belongs to no batch": (
        [(MEMBER_OF.replace(":batch", "999"), {"seq": 5, "no": 1})],
        "job 5 of lane",
    ),
    "a collected batch has no ref": (
        [("UPDATE @batches SET ref = NULL WHERE state = 'collected'", {})],
        "was accepted and has no ref",
    ),
}


@pytest.mark.parametrize("name", list(PLANTED))
def test_planted_corruption_is_found(store: Store, name: str) -> None:
    """Two jobs are collected, two fly, two wait; then somebody writes behind the store's back."""
    statements, sentence = PLANTED[name]
    run = opened(store, 6)
    lane = lane_of(store, run).id
    collected(store, sealed(store, run, 0, 2))
    flying = sealed(store, run, 2, 4)
    sound(store, run)
    for statement, values in statements:
        known = {"run": run.id, "lane": lane, "batch": flying, **values}
        wanted = {key: known[key] for key in known if f":{key}" in statement}
        execute(store, statement, **wanted)
    found = store.audit.problems(run.id)
    assert any(sentence in one for one in found), found


def test_an_answer_without_its_raw_text_is_found(store: Store) -> None:
    """The schema forbids it; where the schema was lost, the audit says so."""
    run = opened(store, 1)
    collected(store, sealed(store, run, 0, 1))
    if store.database.is_sqlite:
        with store.database.engine.connect() as connection:
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=ON")
            connection.exec_driver_sql("UPDATE attempts SET answer = NULL")
            connection.commit()
            connection.exec_driver_sql("PRAGMA ignore_check_constraints=OFF")
    else:
        execute(store, "ALTER TABLE @attempts DROP CONSTRAINT ck_attempts_completed_has_answer")
        execute(store, "UPDATE @attempts SET answer = NULL")
    assert store.audit.problems(run.id) == ["job 'j0' is completed without an answer"]


def test_a_job_that_has_ended_twice_is_found(store: Store) -> None:
    """An index forbids it; where it was lost, the audit says so."""
    run = opened(store, 2)
    collected(store, sealed(store, run, 0, 2))
    execute(store, f"DROP INDEX {'' if store.database.is_sqlite else 'batchkit.'}ix_attempts_final")
    execute(
        store,
        "INSERT INTO @attempts (batch_id, seq, lane_id, run_id, attempt_no, state, final, answer, "
        "cost_kind, ran) SELECT batch_id + 100, seq, lane_id, run_id, 2, state, final, answer, "
        "'free', ran FROM @attempts WHERE seq = 0",
    )
    assert "job 'j0' has ended twice" in store.audit.problems(run.id)


def test_a_batch_that_was_accepted_and_has_no_ref_is_found(store: Store) -> None:
    run = opened(store, 2)
    batch = sealed(store, run, 0, 2)
    collected(store, batch)
    execute(store, "UPDATE @batches SET ref = NULL")
    assert f"batch {batch} was accepted and has no ref" in store.audit.problems(run.id)


def test_sound_books_have_no_problems_at_any_stage(store: Store) -> None:
    """Draft, sealed, settled, collected: no law is broken between two transactions."""
    run = opened(store, 3)
    batch = sealed(store, run, 0, 2)
    sound(store, run)
    drive(store, batch, BatchState.ENDED)
    settle(store, batch)
    sound(store, run)


def test_sums_tell_exact_and_bound_apart(store: Store) -> None:
    """What was known and what was taken at its worst are never mixed."""
    run = opened(store, 3)
    batch = sealed(store, run, 0, 3)
    row = drive(store, batch, BatchState.ENDED)
    rows = [
        outcome(0),
        outcome(1, cost=100, cost_kind="bound"),
        outcome(2, cost=0, cost_kind="free"),
    ]
    store.answers.settle(row, rows)
    assert store.audit.sums(run.id) == {
        "exact_attempts": 1,
        "exact_cost": 60,
        "bound_attempts": 1,
        "bound_cost": 100,
        "free_attempts": 1,
        "free_cost": 0,
    }


def test_one_runs_corruption_is_not_anothers(store: Store) -> None:
    """Every law asks about one run."""
    bad, good = opened(store, 2, name="bad"), opened(store, 2, name="good")
    execute(store, "UPDATE @runs SET spent = 5, reserved = 5, total = 5 WHERE id = :id", id=bad.id)
    assert len(store.audit.problems(bad.id)) == 3
    sound(store, good)
    assert store.runs.get(bad.id).created_at == NOW
