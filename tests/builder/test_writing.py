"""A page of jobs is written down by another thread; what goes wrong with it is heard of later."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import OperationalError

from batchkit.builder.drafting import _FIRST, _MOST, Draft
from batchkit.model import Document
from batchkit.store import JobRow, Store
from batchkit.store.sheets import Row, Sheet
from tests.store.scenes import NOW, PROJECT, job

PDF = Document("a.pdf", "a.pdf", "application/pdf", "pdf", 9, "00", pages=1)


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "a.db")


def row(number: int) -> Row:
    return f"k{number}", number.to_bytes(16), '{"prompt":"a"}', 40, 10, 100


def test_a_page_that_could_not_be_written_is_told_at_a_later_job_and_not_lost(
    store: Store,
):
    run = store.runs.create(PROJECT, "night", {"max_attempts": 3}, NOW)
    draft, pattern = Draft(lambda: (store, run.id)), job("", own={})
    draft.add(job("first"))
    draft.flush()
    _rename(store, "jobs", "away")
    told = []
    for number in range(2 * _MOST + 10):
        try:
            draft.add_row(pattern, row(number))
        except OperationalError:
            told.append(number)
    assert told[0] == 3 * _FIRST - 1  # when the second page is full
    with pytest.raises(OperationalError):
        draft.flush()
    _rename(store, "away", "jobs")
    draft.flush()
    keys = [one.key for one in _all(store, run.id)]
    assert keys == ["first", *(f"k{number}" for number in range(2 * _MOST + 10))]
    assert draft.added == len(keys)
    assert all(number in draft.seen for number in range(len(keys)))


def test_pages_of_one_kind_are_sheets_and_mixed_ones_keep_their_order(
    store: Store,
):
    run = store.runs.create(PROJECT, "night", {"max_attempts": 3}, NOW)
    draft = Draft(lambda: (store, run.id))
    kinds = job("", own={}), job("", own={}, template={"n": 2}, template_digest=b"2" * 16)
    draft.add(job("first", own={"prompt": "a"}))
    for number in range(8):
        draft.add_row(kinds[0], row(number))
    assert isinstance(draft._buffer, Sheet)
    for number in range(8, 40):
        draft.add_row(kinds[number % 2], row(number))
    draft.add(job("last", documents=[asdict(PDF)]))
    draft.flush()
    found = _all(store, run.id)
    assert [one.key for one in found] == ["first", *(f"k{n}" for n in range(40)), "last"]
    assert [one.no for one in found] == list(range(42))
    assert [store.jobs.template(one.template_id).get("n") for one in found[9:41]] == [None, 2] * 16


def _rename(store: Store, name: str, other: str) -> None:
    with store.database.write() as connection:
        connection.execute(text(f"ALTER TABLE {name} RENAME TO {other}"))


def _all(store: Store, run_id: int) -> list[JobRow]:
    (lane,) = store.jobs.lanes(run_id)
    return store.jobs.pick(lane.id, range(lane.size))
