"""Rows by the thousand, on both databases."""

from __future__ import annotations

from typing import Any

import pytest
from sqlalchemy import event, select
from sqlalchemy.exc import IntegrityError

from batchkit.store import Store, bulk
from batchkit.store.tables import attempts

NAMES = (
    *("shelf", "batch_id", "seq", "lane_id", "run_id", "attempt_no", "state", "final", "answer"),
    *("model", "cost_kind", "ran", "cost"),
)
ALIKE = ("shelf", "batch_id", "attempt_no", "state", "final", "model", "cost_kind", "ran", "cost")
KEY = "shelf, batch_id, seq"


def row(seq: int, **values: Any) -> tuple[Any, ...]:
    usual = {
        "shelf": 0,
        "batch_id": 7,
        "seq": seq,
        "lane_id": 1,
        "run_id": 1,
        "attempt_no": 1,
        "state": "completed",
        "final": True,
        "answer": f"a{seq}",
        "model": None,
        "cost_kind": "exact",
        "ran": True,
        "cost": None,
    }
    return tuple({**usual, **values}.values())


def stored(store: Store) -> list[tuple[Any, ...]]:
    query = select(*(attempts.c[name] for name in NAMES)).order_by(attempts.c.seq)
    with store.database.read() as connection:
        return [tuple(one) for one in connection.execute(query)]


@pytest.mark.parametrize(
    "rows",
    [
        [row(1)],
        [row(seq) for seq in range(1_201)],
        [row(seq, state="again" if seq % 2 else "failed", final=False) for seq in range(7)],
        [row(seq, model="it's a 'model'; -- %s ? :x \\") for seq in range(3)],
        [row(seq, model="é" * 5) for seq in range(3)],
        [row(seq, model="long" * 90) for seq in range(3)],
        [row(seq, cost=None if seq == 2 else 5) for seq in range(4)],
        [row(seq, ran=seq == 1, cost=12) for seq in range(4)],
    ],
    ids=["one", "many", "states", "quotes", "accents", "long", "unknown", "booleans"],
)
def test_rows_are_stored_as_they_are_whatever_they_share(
    store: Store, rows: list[tuple[Any, ...]]
) -> None:
    with store.database.write() as connection:
        bulk.insert_rows(connection, attempts, NAMES, rows, ALIKE)
    assert stored(store) == rows


def test_a_row_that_is_there_stays(store: Store) -> None:
    with store.database.write() as connection:
        bulk.insert_new_rows(connection, attempts, NAMES, [row(2, answer="first")], KEY, ALIKE)
    with store.database.write() as connection:
        bulk.insert_new_rows(connection, attempts, NAMES, [row(n) for n in range(4)], KEY, ALIKE)
    assert [one[NAMES.index("answer")] for one in stored(store)] == ["a0", "a1", "first", "a3"]


def test_one_wrong_row_of_many_leaves_none_behind(store: Store) -> None:
    rows = [row(seq, state="completed" if seq != 600 else "dreamt") for seq in range(700)]
    with pytest.raises(IntegrityError), store.database.write() as connection:
        bulk.insert_rows(connection, attempts, NAMES, rows, ALIKE)
    assert stored(store) == []


def test_rows_are_fetched_as_the_driver_gives_them(store: Store) -> None:
    with store.database.write() as connection:
        bulk.insert_rows(connection, attempts, NAMES, [row(1), row(2)], ALIKE)
    query = select(attempts.c.seq, attempts.c.answer, attempts.c.cost).order_by(attempts.c.seq)
    with store.database.read() as connection:
        assert bulk.fetched(connection, query) == [(1, "a1", None), (2, "a2", None)]


@pytest.mark.parametrize(("rows", "most"), [(1, 9), (9, 9), (2_047, 9_999), (20_011, 9_999)])
def test_rows_go_in_powers_of_two_that_a_statement_can_hold(rows: int, most: int) -> None:
    counts = list(bulk._counts(rows, most))
    assert sum(counts) == rows
    assert counts == sorted(counts, reverse=True)
    assert all(count <= most and count & (count - 1) == 0 for count in counts)


def test_pages_of_any_length_and_batch_share_a_few_statements(migrated_sqlite_url: str) -> None:
    """Drivers keep the last hundred, of megabytes each: they grew by nine for each batch."""
    store, seen = Store(migrated_sqlite_url), set[str]()
    event.listen(
        store.database.engine,
        "before_cursor_execute",
        lambda _connection, _cursor, statement, *_: seen.add(statement),
    )
    for batch in range(40):
        some = [
            row(seq, batch_id=batch, state="again", final=False) for seq in range(100 + 7 * batch)
        ]
        with store.database.write() as connection:
            bulk.insert_new_rows(connection, attempts, NAMES, some, KEY, ALIKE)
    store.close()
    assert 1 < sum(one.startswith("INSERT INTO attempts") for one in seen) <= 9
