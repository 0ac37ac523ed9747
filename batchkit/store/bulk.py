"""Rows by the thousand, as plain tuples: an executemany on SQLite, COPY on Postgres.

What the column types do for a row at a time (JSON, texts that a database cannot hold) is done here
once for the caller: values go to the driver as they are.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import orjson
from sqlalchemy import Connection, Table
from sqlalchemy.exc import DBAPIError

from batchkit.store.tables import SCHEMA

Row = Sequence[Any]


def insert_rows(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Row]
) -> None:
    """Append rows whose values stand in the order of ``names``.

    Raises what an INSERT raises; IntegrityError leaves the transaction to be rolled back.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        _copy(connection, f"COPY {_place(table)} ({_quoted(names)}) FROM STDIN", rows)
    else:
        connection.exec_driver_sql(_insert(table, names), rows)


def insert_new_rows(
    connection: Connection, table: Table, names: Sequence[str], rows: Sequence[Row], key: str
) -> None:
    """Append rows, those aside whose ``key`` (a list of columns) is there already."""
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        statement = f"{_insert(table, names)} ON CONFLICT ({key}) DO NOTHING"
        connection.exec_driver_sql(statement, rows)
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


def _insert(table: Table, names: Sequence[str]) -> str:
    marks = ", ".join("?" * len(names))
    return f"INSERT INTO {table.name} ({_quoted(names)}) VALUES ({marks})"


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
