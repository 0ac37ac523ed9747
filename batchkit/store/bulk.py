"""Rows by the thousand, as plain tuples: INSERTs of many rows on SQLite, COPY on Postgres.

A statement for each row, as executemany makes them, costs SQLite three times as much where a table
has CHECKs: what they compare with is made anew each time. So does binding what all rows share.

What the column types do for a row at a time (JSON, texts that a database cannot hold) is done here
once for the caller: values go to the driver as they are.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import chain
from types import MappingProxyType
from typing import Any

import orjson
from sqlalchemy import Connection, Executable, Select, Table, Text, cast, func, select
from sqlalchemy.exc import DBAPIError

from batchkit.store.tables import SCHEMA

Row = Sequence[Any]

_ROWS = 2_048
"""Of one INSERT: long enough to be worth the wait for Python's lock after it."""

_VARIABLES = 30_000
"""SQLite takes 32,766 in a statement."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})


def insert_rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    alike: Sequence[str] = (),
    shared: Mapping[str, Any] = _NOTHING,
) -> None:
    """Append rows whose values stand in the order of ``names``.

    ``alike`` are columns that often have one value, short, in all rows; ``shared`` are columns of
    one value in all rows, which do not hold it: numbers, booleans, None and short words. Raises
    what an INSERT raises; IntegrityError leaves the transaction to be rolled back.
    """
    if not rows:
        return
    if connection.dialect.name == "postgresql":
        columns, same = _quoted([*shared, *names]), tuple(shared.values())
        whole = ((*same, *row) for row in rows) if same else rows
        _copy(connection, f"COPY {_place(table)} ({columns}) FROM STDIN", whole)
    else:
        _insert_many(connection, table, names, rows, alike, "", shared)


def insert_new_rows(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    key: str,
    alike: Sequence[str] = (),
    shared: Mapping[str, Any] = _NOTHING,
) -> None:
    """Append rows, those aside whose ``key`` (a list of columns) is there already.

    ``shared`` are columns of one value in all rows, which do not hold it: numbers, booleans, None
    and short words.
    """
    if not rows:
        return
    if connection.dialect.name != "postgresql":
        conflict = f" ON CONFLICT ({key}) DO NOTHING"
        _insert_many(connection, table, names, rows, alike, conflict, shared)
        return
    place, columns = _place(table), _quoted(names)
    waiting = f"new_{table.name}_{zlib.crc32(columns.encode()):x}"
    connection.exec_driver_sql(
        f"CREATE TEMP TABLE IF NOT EXISTS {waiting} ON COMMIT DELETE ROWS "
        f"AS SELECT {columns} FROM {place} WITH NO DATA"
    )
    _copy(connection, f"COPY {waiting} ({columns}) FROM STDIN", rows)
    values = ", ".join([*map(_literal, shared.values()), columns])
    connection.exec_driver_sql(
        f"INSERT INTO {place} ({_quoted([*shared, *names])}) SELECT {values} FROM {waiting} "
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


def gathered(
    connection: Connection, query: Select[Any], begun: Callable[[], None]
) -> tuple[list[list[Any]], int]:
    """Return all rows of a query by columns, and how long they are as the JSON they came in.

    ``begun`` is called when only the database has still to work.

    Of numbers, texts and None: the database writes each column as one value. What a driver does for
    a value, and SQLite's waiting for Python's lock after a row, is done once for all of them.
    """
    is_postgres = connection.dialect.name == "postgresql"
    array = func.json_agg if is_postgres else func.json_group_array
    found = query.subquery()
    wanted = select(*(cast(array(one), Text) for one in found.c))
    begun()
    written = connection.execute(wanted).one()
    columns: list[list[Any]] = [orjson.loads(text or "[]") for text in written]
    return columns, sum(len(text or "") for text in written)


def json_text(value: Any) -> str | None:
    """Return a value as the JSON that ``JsonText`` stores; None stays None."""
    return None if value is None else orjson.dumps(value).decode()


def words(value: str | None) -> str | None:
    """Return a text as ``Words`` stores it: what no database can hold is U+FFFD."""
    if value is None or (value.isascii() and "\0" not in value):
        return value
    whole = value.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
    return whole.replace("\0", "\ufffd")


def _insert_many(
    connection: Connection,
    table: Table,
    names: Sequence[str],
    rows: Sequence[Row],
    alike: Sequence[str],
    conflict: str,
    shared: Mapping[str, Any] = _NOTHING,
) -> None:
    """Bind what all rows share once, and the rest of many rows at once."""
    if alike:
        shared, names, rows = _apart(names, rows, alike, shared)
    marks = [f"?{number}" for number in range(1, len(shared) + 1)]
    one = f"({', '.join([*marks, *('?' for _ in names)])})"
    insert = f"INSERT INTO {table.name} ({_quoted([*shared, *names])}) VALUES "
    at = 0
    for count in _counts(len(rows), (_VARIABLES - len(shared)) // max(1, len(names))):
        statement = f"{insert}{', '.join([one] * count)}{conflict}"
        values = (*shared.values(), *chain.from_iterable(rows[at : at + count]))
        connection.exec_driver_sql(statement, values)
        at += count


def _counts(rows: int, most: int) -> Iterator[int]:
    """Cut a number of rows into powers of two, the largest first, none above ``most``.

    A driver keeps the last hundred statements, and a long one takes megabytes: so the same few
    texts serve pages of any length.
    """
    count = 1 << (min(_ROWS, max(1, most)).bit_length() - 1)
    while rows:
        while count > rows:
            count >>= 1
        yield count
        rows -= count


def _apart(
    names: Sequence[str], rows: Sequence[Row], alike: Sequence[str], shared: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Sequence[str], Sequence[Row]]:
    """Take the columns of one value out of the rows; rows keep at least one column."""
    columns = dict(zip(names, zip(*rows, strict=True), strict=True))
    found = {name: columns[name][0] for name in alike if _is_one(columns[name])}
    left = [name for name in names if name not in found]
    kept = list(zip(*(columns[name] for name in left), strict=True))
    return {**shared, **found}, left, kept


def _is_one(column: Sequence[Any]) -> bool:
    """Say whether all rows have the same value."""
    return column.count(column[0]) == len(column)


def _literal(value: Any) -> str:
    """Return how SQL writes a number, a boolean, a short word or None."""
    if value is None:
        return "NULL"
    if isinstance(value, str):
        return "'" + value.replace("'", "''") + "'"
    return str(value)


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
