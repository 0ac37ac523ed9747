"""`batchkit verify --provider`: the books against the simulator's own objects, lies planted."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import closing
from typing import Any

import pytest
from click.testing import Result

from batchkit import Batch

MODELS = ["gpt-5-mini", "claude-haiku-5-5"]


@pytest.fixture(params=MODELS)
def run(request: pytest.FixtureRequest, providers: Any) -> str:
    """A run of two batches, collected, an answer refused among them."""
    batch = Batch(name="books", items_per_batch=2).set_verbosity("error")
    batch.set_default_params(model=request.param, max_tokens=300)
    for number in range(4):
        word = " [[sim:refuse]]" if number == 3 else ""
        batch.add_job(prompt=f"Number {number}{word}", key=f"k{number}")
    return batch.run(progress_interval=0.05).id


def _write(statement: str) -> None:
    with closing(sqlite3.connect(".batchkit/batchkit.db")) as connection, connection:
        connection.execute("PRAGMA foreign_keys=OFF")
        connection.execute(statement)


def test_right_books_agree_with_the_provider(
    run: str, command: Callable[..., Result], data: Callable[..., Any]
) -> None:
    [proof] = data("verify", run, "--provider")
    assert (proof["holds"], proof["problems"], proof["notes"]) == (True, [], [])
    assert command("verify", run, "--provider").exit_code == 0


@pytest.mark.parametrize(
    ("lie", "words"),
    [
        ("UPDATE batches SET provider_completed = provider_completed + 1", "completed, the books"),
        ("UPDATE batches SET count = count + 1", "requests, the books"),
        ("UPDATE attempts SET input_tokens = input_tokens + 1", "input tokens, the books"),
        ("UPDATE attempts SET output_tokens = output_tokens + 1", "output tokens, the books"),
        ("UPDATE attempts SET ran = 0 WHERE seq = 0", "result lines, the books 1"),
    ],
)
def test_a_lie_about_a_batch_is_found(
    run: str, command: Callable[..., Result], lie: str, words: str
) -> None:
    _write(lie)
    result = command("verify", run, "--provider")
    assert result.exit_code == 1
    assert words in result.stdout


def test_a_batch_of_ours_that_the_books_do_not_know_is_found(
    run: str, command: Callable[..., Result]
) -> None:
    """As after a backup that was played back: the rows are gone, the bill is not."""
    _write("DELETE FROM attempts WHERE batch_id = (SELECT max(id) FROM batches)")
    _write("DELETE FROM batches WHERE id = (SELECT max(id) FROM batches)")
    result = command("verify", run, "--provider")
    assert result.exit_code == 1
    assert "is of this run, and not in the books at all" in result.stdout


def test_a_twin_of_a_batch_is_found(run: str, command: Callable[..., Result]) -> None:
    _write("UPDATE batches SET ref = 'elsewhere' WHERE id = (SELECT max(id) FROM batches)")
    result = command("verify", run, "--provider")
    assert result.exit_code == 1
    assert "is of this run, and a twin of elsewhere" in result.stdout


def test_a_batch_that_was_accepted_after_all_is_found(
    run: str, command: Callable[..., Result]
) -> None:
    """The books gave it up and say of no other that it is that one."""
    _write(
        "UPDATE batches SET ref = NULL, collected_no = NULL, state = 'void' "
        "WHERE id = (SELECT max(id) FROM batches)"
    )
    result = command("verify", run, "--provider")
    assert result.exit_code == 1
    assert "is of this run, and a twin of one that was not accepted" in result.stdout


def test_a_batch_that_the_queue_refused_and_that_went_again_is_no_twin(
    run: str, command: Callable[..., Result]
) -> None:
    _write(
        "UPDATE batches SET refused_refs = json_array(ref), ref = 'again' "
        "WHERE id = (SELECT max(id) FROM batches)"
    )
    assert "a twin of" not in command("verify", run, "--provider").stdout


def test_another_runs_batches_are_none_of_ours(
    run: str, providers: Any, command: Callable[..., Result]
) -> None:
    other = Batch(name="other", database="elsewhere.db").set_verbosity("error")
    other.set_default_params(model="gpt-5-mini", max_tokens=300)
    other.add_job(prompt="Somebody else's", key="x")
    other.run(progress_interval=0.05)
    assert command("verify", run, "--provider").exit_code == 0
