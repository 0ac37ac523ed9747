"""Builders that go away without run: their jobs are a draft, and nobody waits for that."""

from __future__ import annotations

import gc
from pathlib import Path

import pytest

from batchkit import Batch, list_runs
from batchkit.store import Store


def forgotten(name: str) -> None:
    """Make a builder that only the garbage collector takes away."""
    batch = Batch(name=name).set_default_params(model="gpt-6.1-sol", max_tokens=10)
    batch.add_job(prompt="a", key="a")
    ring: list[object] = [batch]
    ring.append(ring)


@pytest.fixture(autouse=True)
def nothing_left() -> None:
    """What earlier tests left is written down where they were."""
    gc.collect()
    Batch()


def drafts() -> list[str]:
    return [run.name for run in list_runs()]


def test_a_builder_that_is_collected_within_a_transaction_does_not_wait_for_it() -> None:
    """The collector runs anywhere, within a write to the same SQLite file, too."""
    store = Store("runs.db")
    batch = Batch(name="gone", database="runs.db")
    batch.set_default_params(model="gpt-6.1-sol", max_tokens=10).add_job(prompt="a", key="a")
    with store.database.write():
        del batch
        gc.collect()
    assert store.runs.all("default") == []
    Batch()
    assert [run.name for run in store.runs.all("default")] == ["gone"]
    store.close()


def test_what_is_left_lies_where_the_builder_was_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = Path.cwd()
    forgotten("here")
    monkeypatch.chdir(tmp_path)
    gc.collect()
    Batch()
    assert drafts() == []
    monkeypatch.chdir(made)
    assert drafts() == ["here"]
