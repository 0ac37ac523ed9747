"""Rows by the thousand, as plain tuples: INSERTs of many rows on SQLite, COPY on Postgres.

A statement for each row, as executemany makes them, costs SQLite three times as much where a table
has CHECKs: what they compare with is made anew each time. So does binding what all rows share.

What the column types do for a row at a time (JSON, texts that a database cannot hold) is done here
once for the caller: values go to the driver as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import chain
from typing import Any

import orjson
from sqlalchemy import Connection, Executable, Table
from sqlalchemy.exc import DBAPIError

from batchkit.store.tables import SCHEMA

Row = Sequence[Any]

_ROWS = 500
"""Of one INSERT."""

_VARIABLES = 30_000
"""SQLite takes 32,766 in a statement."""

_SHORT = 100


def insert_rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    alike: Sequence[str] = (),
) -> None:
    """Append rows whose values stand in the order of ``names``.

    ``alike`` are columns that often have one value, short, in all rows. Raises what an INSERT
    raises; IntegrityError leaves the transaction to be rolled back.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {_place(table)} ({_quoted(names)}) FROM STDIN", rows)
    else:
        _insert_many(connection, table, names, rows, alike, "")


def insert_new_rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    key: str,
    alike: Sequence[str] = (),
) -> None:
    """Append rows, those aside whose ``key`` (a list of columns) is there already."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        conflict = f" ON CONFLICT ({key}) DO NOTHING"
        _insert_many(connection, table, names, rows, alike, conflict)
        return
    place, columns = _place(table), _quoted(names)
    waiting = f"new_{table.name}"
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS {waiting} (LIKE {place}) ON COMMIT DELETE ROWS"
    )
    _drop_defaults(connection, waiting, table, names)
    _copy(connection, f"COPY {waiting} ({columns}) FROM STDIN", rows)
    connection.exec_driver_sql(
        f"INSERT INTO {place} ({columns}) SELECT {columns} FROM {waiting} "
        f"ON CONFLICT ({key}) DO NOTHING"
    )
    connection.exec_driver_sql(f"TRUNCATE {waiting}")


def fetched(connection: Connection, query: Executable) -> list[tuple[Any, ...]]:
    """Return all rows of a query as the driver gives them: no column's type has looked at them.

    A third of the price of rows with names; booleans are numbers on SQLite, JSON is text.
    """
    result = connection.execute(query)
    try:
        cursor: Any = result.cursor
        rows: list[tuple[Any, ...]] = cursor.fetchall()
        return rows
    finally:
        result.close()


def json_text(value: Any) -> str | None:
    """Return a value as the JSON that ``JsonText`` stores; None stays None."""
    return None if value is None else orjson.dumps(value).decode()


def words(value: str | None) -> str | None:
    """Return a text as ``Words`` stores it: what no database can hold is U+FFFD."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")


def _drop_defaults(
    connection: Connection, waiting: str, table: Table, names: Sequence[str]
) -> None:
    """Let columns that are not copied be empty while they wait."""
    for column in table.columns:
        if column.name not in names and not column.nullable:
            connection.exec_driver_sql(
                f'ALTER TABLE {waiting} ALTER COLUMN "{column.name}" DROP NOT NULL'
            )


def _insert_many(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    alike: Sequence[str],
    conflict: str,
) -> None:
    """Write what all rows share into the statement, and bind the rest of many rows at once."""
    columns = list(zip(*rows, strict=True))
    marks = [
        (_literal(column) if name in alike else None) or "?"
        for name, column in zip(names, columns, strict=True)
    ]
    bound = [column for column, mark in zip(columns, marks, strict=True) if mark == "?"]
    one = f"({', '.join(marks)})"
    insert = f"INSERT INTO {table.name} ({_quoted(names)}) VALUES "
    step = max(1, min(_ROWS, _VARIABLES // max(1, len(bound))))
    left = list(zip(*bound, strict=True))
    for at in range(0, len(left), step):
        some = left[at : at + step]
        statement = f"{insert}{', '.join([one] * len(some))}{conflict}"
        connection.exec_driver_sql(statement, tuple(chain.from_iterable(some)))


def _literal(column: Sequence[Any]) -> str | None:
    """Return how SQL writes the value that all rows have; None if they differ, or it is long."""
    value = column[0]
    if column.count(value) != len(column):
        return None
    if value is None:
        return "NULL"
    if isinstance(value, int):
        return str(int(value))
    if not isinstance(value, str) or len(value) > _SHORT or not value.isascii() or "\0" in value:
        return None
    return "'" + value.replace("'", "''") + "'"


def _place(table: Table) -> str:
    return f"{SCHEMA}.{table.name}"


def _quoted(names: Sequence[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)


def _copy(connection: Connection, statement: str, rows: Iterable[Row]) -> None:
    driver: Any = connection.connection.driver_connection
    errors: Any = connection.dialect.loaded_dbapi.Error
    try:
        with driver.cursor() as cursor, cursor.copy(statement) as copy:
            for row in rows:
                copy.write_row(row)
    except errors as error:
        lost = connection.dialect.is_disconnect(error, driver, None)
        raise DBAPIError.instance(
            statement,
            None,
            error,
            errors,
            connection_invalidated=lost,
            dialect=connection.dialect,
        ) from error
