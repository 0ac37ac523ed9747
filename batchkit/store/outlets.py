"""A table of results in somebody's own database, brought up to date by run and key."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Connection,
    Date,
    Engine,
    Float,
    Integer,
    MetaData,
    Numeric,
    String,
    Table,
    Text,
    create_engine,
    event,
    inspect,
)
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, SQLAlchemyError
from sqlalchemy.schema import CreateColumn
from sqlalchemy.types import TypeEngine

from batchkit.errors import ConfigError, ValidationError
from batchkit.store.database import own_insert
from batchkit.store.tables import SCHEMA

KEYS = ("run", "key")
TABLE = "results"
"""What the table is called where nobody says."""

FILES = (".db", ".sqlite", ".sqlite3")
_LONGEST = 63  # bytes: Postgres cuts longer names off, silently
_PAGE = 500
_BUSY_S = 60


def _data() -> TypeEngine[Any]:
    from sqlalchemy.dialects.postgresql import JSONB  # a dialect that SQLite's users need not load

    return JSON(none_as_null=True).with_variant(JSONB(none_as_null=True), "postgresql")


_TYPES: dict[str, Callable[[], TypeEngine[Any]]] = {
    "boolean": Boolean,
    "integer": BigInteger,
    "number": lambda: Float(53),
    "date": Date,
    "json": _data,
}
_HOLDS: tuple[tuple[type[TypeEngine[Any]], frozenset[str]], ...] = (
    (JSON, frozenset({"boolean", "integer", "number", "text", "json"})),
    (Boolean, frozenset({"boolean"})),
    (BigInteger, frozenset({"integer"})),
    (Integer, frozenset({"integer"})),
    (Float, frozenset({"integer", "number"})),
    (Numeric, frozenset({"integer", "number"})),
    (Date, frozenset({"date"})),
)


@dataclass(frozen=True, slots=True)
class Place:
    """Where a table of results lies: a database, a table, and on Postgres maybe a schema."""

    url: URL
    table: str
    schema: str | None = None

    @property
    def shown(self) -> str:
        """The place, for people; no password."""
        if self.url.get_backend_name() == "sqlite":
            where = str(self.url.database)
        else:
            where = self.url.render_as_string(hide_password=True)
        name = self.table if self.schema is None else f"{self.schema}.{self.table}"
        return f"table {name} of {where}"


def is_place(given: str) -> bool:
    """Say whether a text names a database and no other file."""
    return "://" in given or Path(given).suffix.lower() in FILES


def place(given: str | os.PathLike[str]) -> Place:
    """Read ``postgresql://…/database/table``, ``sqlite:///file.db?table=name`` or ``file.db``.

    The table is ``results`` where none is named. Raises ValidationError.
    """
    written = os.fspath(given)
    if "://" not in written:
        return Place(_file(URL.create("sqlite", database=written)), TABLE)
    try:
        url = make_url(written)
    except (ArgumentError, ValueError):
        # Not what was given, and not the cause that quotes it: a password may be in it.
        raise ValidationError(
            "The database URL cannot be read. In a password, write @ as %40, : as %3A, / as %2F: "
            "postgresql://user:password@host:5432/database/table"
        ) from None
    backend = url.drivername.split("+")[0]
    table = url.query.get("table")
    url = url.difference_update_query(["table"])
    if backend == "sqlite":
        return Place(_file(url), _one(table))
    if backend not in ("postgresql", "postgres"):
        raise ValidationError(
            f"A table of results is written to SQLite or Postgres, not to {backend!r}"
        )
    database, _, last = str(url.database or "").partition("/")
    if "+" not in url.drivername:
        url = url.set(drivername="postgresql+psycopg")
    schema, _, name = _one(table or last or None).rpartition(".")
    return Place(url.set(database=database), name, schema or None)


def _one(table: str | tuple[str, ...] | None) -> str:
    name = table if isinstance(table, str) else (table or (TABLE,))[-1]
    if not name.strip() or len(name.encode()) > _LONGEST or "\0" in name:
        raise ValidationError(f"{name!r} is no name of a table")
    return name


def _file(url: URL) -> URL:
    if url.database in (None, "", ":memory:"):
        raise ValidationError("Name the SQLite file: results.db, or sqlite:///results.db?table=t")
    return url.set(database=str(Path(str(url.database)).expanduser().absolute()))


class Outlet:
    """One table of results; every write is one transaction, so that readers see all or nothing."""

    def __init__(self, where: Place, *, own: URL | None = None) -> None:
        """Take a place; ``own`` is the database of batchkit's state, which is refused."""
        self.place = where
        same = own is not None and own.render_as_string(False) == where.url.render_as_string(False)
        if (same and where.url.get_backend_name() == "sqlite") or where.schema == SCHEMA:
            raise ValidationError(
                f"{where.shown} is where batchkit keeps its state: write the results elsewhere."
            )

    def write(self, columns: Mapping[str, str], rows: Iterable[Sequence[Any]]) -> int:
        """Insert or update rows by ``run`` and ``key``; return how many.

        ``columns`` are names and what they hold (``text``, ``integer``, ``number``, ``boolean``,
        ``date`` or ``json``), ``run`` and ``key`` among them. What the table lacks is added to it;
        other columns of it stay as they are. Raises ValidationError for a table that is not ours
        or a column that is too narrow, ConfigError for a database that cannot be written.
        """
        engine = _engine(self.place)
        try:
            with engine.begin() as connection:
                table = self._table(connection, columns)
                return self._upsert(connection, table, columns, rows)
        except DBAPIError as error:
            said = str(error.orig).strip().partition("\n")[0]
            raise ConfigError(f"Cannot write the {self.place.shown}: {said}") from error
        except SQLAlchemyError as error:
            raise ConfigError(f"Cannot write the {self.place.shown}: {error}") from error
        finally:
            engine.dispose()

    def _table(self, connection: Connection, columns: Mapping[str, str]) -> Table:
        """Make the table, or add what it lacks; return it with the types that it has."""
        there = inspect(connection)
        names = column_names(columns)
        has: dict[str, Any] = {}
        if there.has_table(self.place.table, schema=self.place.schema):
            listed = there.get_columns(self.place.table, schema=self.place.schema)
            has = {one["name"]: one["type"] for one in listed}
            self._check(there, has, {names[name]: kind for name, kind in columns.items()})
        table = Table(
            self.place.table,
            MetaData(),
            *(
                Column(
                    names[name],
                    _type(name, kind, has.get(names[name])),
                    key=f"c{at}",
                    primary_key=name in KEYS,
                    autoincrement=False,
                )
                for at, (name, kind) in enumerate(columns.items())
            ),
            schema=self.place.schema,
        )
        if not has:
            table.create(connection)
            return table
        for column in table.columns:
            if column.name not in has:
                _add(connection, table, column)
        return table

    def _check(self, there: Any, has: Mapping[str, Any], columns: Mapping[str, str]) -> None:
        where = {"table_name": self.place.table, "schema": self.place.schema}
        unique = [there.get_pk_constraint(**where)["constrained_columns"]]
        unique += [one["column_names"] for one in there.get_unique_constraints(**where)]
        unique += [one["column_names"] for one in there.get_indexes(**where) if one["unique"]]
        if not any(set(KEYS) == set(names) for names in unique):
            raise ValidationError(
                f"The {self.place.shown} is there and not one of batchkit's: its rows are not "
                "told apart by the columns run and key. Name another table."
            )
        for name, kind in columns.items():
            if name in has and not _holds(has[name], kind):
                raise ValidationError(
                    f"The column {name!r} in the {self.place.shown} is {has[name]} and the "
                    f"answers hold {kind} now: change its type, or write to another table."
                )

    def _upsert(
        self,
        connection: Connection,
        table: Table,
        columns: Mapping[str, str],
        rows: Iterable[Sequence[Any]],
    ) -> int:
        made = own_insert(connection, table)
        keys = [table.c[f"c{at}"] for at, name in enumerate(columns) if name in KEYS]
        others = [column for column in table.columns if column not in set(keys)]
        statement = made.on_conflict_do_update(
            index_elements=keys, set_={column: made.excluded[column.key] for column in others}
        )
        texts = [isinstance(column.type, String) for column in table.columns]
        count = 0
        for page in _pages(rows):
            values = [
                {f"c{at}": _bound(value, texts[at]) for at, value in enumerate(row)} for row in page
            ]
            connection.execute(statement, values)
            count += len(page)
        return count


def column_names(columns: Iterable[str]) -> dict[str, str]:
    """Return each column's name in a database.

    One that is too long, or differs from an earlier one in case alone, ends in its hash.
    """
    made: dict[str, str] = {}
    taken: set[str] = set()
    for name in columns:
        raw = name.encode()
        fits = len(raw) <= _LONGEST and name.casefold() not in taken and name and "\0" not in name
        if not fits:
            kept = raw.replace(b"\0", b"")[: _LONGEST - 9].decode("utf-8", "ignore")
        made[name] = name if fits else f"{kept}_{sha256(raw).hexdigest()[:8]}"
        taken.add(made[name].casefold())
    return made


def _type(name: str, kind: str, has: TypeEngine[Any] | None) -> TypeEngine[Any]:
    if has is not None and not isinstance(has, JSON):
        return has
    return Text() if name in KEYS else _TYPES.get("json" if has is not None else kind, Text)()


def _holds(has: TypeEngine[Any], kind: str) -> bool:
    """Say whether a column of that type takes such values; a text takes all of them."""
    if kind == "nothing" or isinstance(has, String):
        return True
    return any(isinstance(has, known) and kind in kinds for known, kinds in _HOLDS)


def _bound(value: Any, is_text: bool) -> Any:
    """Return a value as its column takes it; what a database cannot hold is U+FFFD."""
    if isinstance(value, str):
        return value.replace("\0", "\ufffd") if "\0" in value else value
    if isinstance(value, list | dict):
        clean = _clean(value)
        return _written(clean) if is_text else clean
    if is_text and value is not None:
        return _written(value)
    return value


def _clean(value: Any) -> Any:
    if isinstance(value, str):
        return value.replace("\0", "\ufffd")
    if isinstance(value, list):
        return [_clean(one) for one in value]
    if isinstance(value, dict):
        return {_clean(name): _clean(one) for name, one in value.items()}
    return value


def _written(value: Any) -> str:
    import orjson

    return orjson.dumps(value, default=str).decode()


def _add(connection: Connection, table: Table, column: Column[Any]) -> None:
    """Add a column to a table that is there: the model has grown."""
    quoted = connection.dialect.identifier_preparer.format_table(table)
    made = CreateColumn(column).compile(dialect=connection.dialect)
    connection.exec_driver_sql(f"ALTER TABLE {quoted} ADD COLUMN {made}")


def _pages(rows: Iterable[Sequence[Any]]) -> Iterator[list[Sequence[Any]]]:
    left = iter(rows)
    while page := list(islice(left, _PAGE)):
        yield page


def _engine(where: Place) -> Engine:
    if where.url.get_backend_name() != "sqlite":
        try:
            return create_engine(where.url)
        except ModuleNotFoundError as error:
            raise ConfigError(
                f"The {where.shown} needs psycopg: pip install 'llm-batchkit[postgres]'"
            ) from error
    Path(str(where.url.database)).parent.mkdir(parents=True, exist_ok=True)
    engine = create_engine(where.url, connect_args={"timeout": _BUSY_S})
    # pysqlite begins no transaction before DDL: a table half altered must not stay.
    event.listen(engine, "connect", _unmanaged)
    event.listen(engine, "begin", _immediate)
    return engine


def _unmanaged(raw: Any, _record: Any) -> None:
    raw.isolation_level = None


def _immediate(connection: Connection) -> None:
    connection.exec_driver_sql("BEGIN IMMEDIATE")
