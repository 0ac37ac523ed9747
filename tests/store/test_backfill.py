"""The log of a SQLite file: copied back beside whoever writes, and never grown without end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text

from batchkit.store.backfill import _ROWS, _TOO_MANY, Backfill
from batchkit.store.database import _CACHE_KB, _ROOMY_KB, Database


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    made = Database(tmp_path / "runs.db")
    with made.write() as connection:
        connection.execute(text("CREATE TABLE rows (word TEXT)"))
    yield made
    made.close()


def write(database: Database, count: int) -> None:
    with database.write() as connection:
        words = [{"word": "x" * 1_000} for _ in range(count)]
        connection.execute(text("INSERT INTO rows VALUES (:word)"), words)


def test_many_rows_are_copied_back_beside_the_writer(database: Database) -> None:
    """Long before SQLite would make the writer do it."""
    assert database.file is not None
    before = database.file.stat().st_size

    write(database, _ROWS)
    assert database._backfill is not None
    database._backfill.stop()

    assert database.file.stat().st_size > before + 1_000 * _ROWS


def test_few_rows_are_left_to_the_log(database: Database) -> None:
    """No thread is begun for each small fact."""
    assert database.file is not None
    before = database.file.stat().st_size

    for _ in range(20):
        write(database, 10)

    assert database.file.stat().st_size == before
    assert not [one for one in threading.enumerate() if one.name == "batchkit-log"]


def test_a_log_that_grows_faster_than_it_is_copied_is_waited_for(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """So that it does not take the disk: the writer goes on once the copy under way is done."""
    assert database._backfill is not None
    waited_for, copied = threading.Event(), []
    copy, stop = Backfill._copy, Backfill.stop

    def slow(self: Backfill) -> None:
        assert waited_for.wait(60)
        copied.append(True)
        copy(self)

    def wait(self: Backfill) -> None:
        waited_for.set()
        stop(self)

    monkeypatch.setattr(Backfill, "_copy", slow)
    monkeypatch.setattr(Backfill, "stop", wait)
    database._backfill.wrote(_ROWS)
    database._backfill.wrote(_TOO_MANY - 1)
    assert not copied

    database._backfill.wrote(1)
    assert copied


def test_a_file_that_is_gone_is_not_made_anew(tmp_path: Path) -> None:
    """An empty database in its place would look like one without runs."""
    gone = tmp_path / "gone.db"
    backfill = Backfill(gone)

    backfill.wrote(_ROWS)
    backfill.stop()

    assert not gone.exists()


def test_room_is_taken_for_many_rows_and_given_back(database: Database) -> None:
    """Each connection's cache is memory that the next transaction may not need."""
    kept = []
    for roomy in (False, True, False):
        with database.write(roomy=roomy) as connection:
            kept.append(connection.execute(text("PRAGMA cache_size")).scalar_one())

    assert kept == [-_CACHE_KB, -_ROOMY_KB, -_CACHE_KB]


def test_a_reader_after_it_has_no_more_room_than_before(database: Database) -> None:
    """It is the same connection, out of the pool."""
    with database.write(roomy=True):
        pass
    with database.read() as connection:
        assert connection.execute(text("PRAGMA cache_size")).scalar_one() == -_CACHE_KB
