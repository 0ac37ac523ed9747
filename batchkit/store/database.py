"""One database: how it is opened, how a transaction begins, and whose clock counts."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Engine, create_engine, event
from sqlalchemy.dialects import sqlite
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import (
    ArgumentError,
    DatabaseError,
    DBAPIError,
    NoSuchModuleError,
    OperationalError,
)

from batchkit.errors import ConfigError
from batchkit.store.backfill import Backfill
from batchkit.store.tables import SCHEMA

BUSY_MS = 60_000

_PAGE_BYTES = 8_192
"""Of a new file's pages: six rows of 1 kB fit into one, and three into the usual 4,096."""

_CHECKPOINT = 16_000
"""Pages (128 MB) after which who commits has to copy the log into the file, and waits for the disk;
much of it is there by then, by another thread. By default it would after four megabytes."""

_CACHE_KB = 4_000
_ROOMY_KB = 24_000
"""Of pages that a connection keeps, and keeps while jobs are added: their keys come in any order,
and each page of the index that is not at hand is read, and written, again."""


def location(given: str | os.PathLike[str]) -> URL:
    """Turn a URL or the path of a SQLite file into a URL; raise ConfigError for neither."""
    written = os.fspath(given)
    if "://" not in written:
        return _file(URL.create("sqlite", database=written))
    try:
        url = make_url(written)
    except (ArgumentError, ValueError):
        # Not what was given, and not the cause that quotes it: a password may be in it.
        raise ConfigError(
            "The database URL cannot be read. In a password, write @ as %40, : as %3A, / as %2F: "
            "postgresql+psycopg://user:password@host:5432/database"
        ) from None
    backend = url.drivername.split("+")[0]
    if backend == "sqlite":
        return _file(url)
    if backend not in ("postgresql", "postgres"):
        raise ConfigError(f"batchkit keeps its state in SQLite or Postgres, not in {backend!r}")
    return url.set(drivername="postgresql+psycopg") if "+" not in url.drivername else url


def _file(url: URL) -> URL:
    """Pin a SQLite file down, wherever the process goes; refuse one that would not last."""
    if url.database in (None, "", ":memory:") or str(url.database).startswith("file:"):
        raise ConfigError("batchkit keeps its state in a file: name one, such as runs.db")
    return url.set(database=str(Path(str(url.database)).expanduser().absolute()))


class Database:
    """An engine with the rules of this project: writers begin at once, SQLite waits its turn."""

    def __init__(self, given: str | os.PathLike[str]) -> None:
        self.url = location(given)
        self.is_sqlite = self.url.get_backend_name() == "sqlite"
        self.engine = _engine(self.url, self.is_sqlite)
        self._backfill = None if self.file is None else Backfill(self.file)
        self._was_open = False

    @property
    def shown(self) -> str:
        """Where it lies, for people: a path or a URL without its password."""
        if self.is_sqlite:
            return str(self.url.database)
        return self.url.render_as_string(hide_password=True)

    @property
    def file(self) -> Path | None:
        """The SQLite file; None on Postgres."""
        return Path(str(self.url.database)) if self.is_sqlite else None

    @contextmanager
    def write(self, *, durable: bool = False, roomy: bool = False) -> Iterator[Connection]:
        """Open a writing transaction; ``durable`` survives a power cut on SQLite, too.

        Postgres always flushes at commit; SQLite in WAL mode only with synchronous=FULL. ``roomy``
        takes memory for an index in random order that many rows go into, until the next one
        without.
        """
        with self._connect(durable=durable, roomy=roomy) as connection:
            if self._backfill is None:
                with connection.begin():
                    yield connection
                return
            driver: Any = connection.connection.driver_connection
            before = driver.total_changes
            with connection.begin():
                yield connection
            self._backfill.wrote(driver.total_changes - before)

    @contextmanager
    def read(self) -> Iterator[Connection]:
        """Open a reading transaction: one snapshot."""
        with self._connect(ro=True) as connection, connection.begin():
            yield connection

    def close(self) -> None:
        """Give every connection back."""
        if self._backfill is not None:
            self._backfill.stop()
        self.engine.dispose()

    @contextmanager
    def _connect(self, **options: Any) -> Iterator[Connection]:
        try:
            connection = self.engine.connect()
        except DatabaseError as error:
            said = str(error.orig).strip().partition("\n")[0]
            if "is locked" in said or self._was_open or _is_damage(said):
                raise ConfigError(_trouble(self.shown, said)) from error
            raise ConfigError(
                f"Cannot open the database {self.shown}: {said}. {self._way_out(said)}"
            ) from error
        self._was_open = True
        try:
            with connection:
                yield connection.execution_options(**options)
        except DatabaseError as error:
            if not _is_trouble(error):
                raise
            said = str(error.orig).strip().partition("\n")[0]
            raise ConfigError(_trouble(self.shown, said)) from error

    def _way_out(self, said: str) -> str:
        """Tell what to do; never to leave a database that may hold runs for an empty one."""
        elsewhere = "with database= or BATCHKIT_DATABASE_URL"
        if self.file is not None and not _size(self.file):
            return f"Name another place {elsewhere}."
        if "not a database" in said:
            return (
                f"If it never was one, name another place {elsewhere}. If it was, its runs are "
                "known nowhere else and would be bought again there: put a copy of it back."
            )
        return (
            "Mend it (space, rights, server, address) and type the same again. Runs that it holds "
            f"are known nowhere else: in another place, {elsewhere}, they would be bought again."
        )


def _engine(url: URL, is_sqlite: bool) -> Engine:
    if is_sqlite:
        return _sqlite_engine(url)
    try:
        return create_engine(url, pool_pre_ping=True, pool_size=10)
    except (NoSuchModuleError, ModuleNotFoundError) as error:
        raise ConfigError(
            f"The database {url.render_as_string(hide_password=True)} needs psycopg: "
            "pip install 'llm-batchkit[postgres]'"
        ) from error


def _sqlite_engine(url: URL) -> Engine:
    engine = create_engine(
        url,
        connect_args={"check_same_thread": False, "timeout": BUSY_MS / 1000},
        execution_options={"schema_translate_map": {SCHEMA: None}},
    )
    event.listen(engine, "connect", _on_connect)
    event.listen(engine, "begin", _on_begin)
    return engine


def _on_connect(raw: Any, _record: Any) -> None:
    raw.isolation_level = None
    cursor = raw.cursor()
    for pragma in (
        f"busy_timeout={BUSY_MS}",
        f"page_size={_PAGE_BYTES}",
        "auto_vacuum=INCREMENTAL",
        "journal_mode=WAL",
        "synchronous=NORMAL",
        f"wal_autocheckpoint={_CHECKPOINT}",
        f"cache_size=-{_CACHE_KB}",
        "foreign_keys=ON",
        "temp_store=MEMORY",
    ):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _on_begin(connection: Connection) -> None:
    """Begin as a writer at once: a deferred transaction that turns writer fails with BUSY."""
    options = connection.get_execution_options()
    room = _ROOMY_KB if options.get("roomy") else _CACHE_KB
    if connection.info.get("room", _CACHE_KB) != room:
        connection.exec_driver_sql(f"PRAGMA cache_size=-{room}")
        connection.info["room"] = room
    if options.get("ro"):
        connection.exec_driver_sql("BEGIN")
        return
    level = "FULL" if options.get("durable") else "NORMAL"
    connection.exec_driver_sql(f"PRAGMA synchronous={level}")
    connection.exec_driver_sql("BEGIN IMMEDIATE")


def insert_new(connection: Connection, table: Any, values: dict[str, Any]) -> Any:
    """Return an INSERT that does nothing where the row is there already."""
    return own_insert(connection, table).values(values).on_conflict_do_nothing()


def own_insert(connection: Connection, table: Any) -> Any:
    """Return the database's own INSERT, which can say what to do with a row that is there."""
    if connection.dialect.name != "postgresql":
        return sqlite.insert(table)
    from sqlalchemy.dialects import postgresql  # SQLite's users need not wait for it

    return postgresql.insert(table)


_TROUBLES = (
    *("is locked", "is busy", "readonly database", "disk is full", "disk i/o error"),
    *("unable to open", "no space left", "read-only"),
)


def _trouble(where: str, said: str) -> str:
    if _is_damage(said):
        return (
            f"The database {where} is damaged: {said}. Put a copy of it back, or save what can be "
            f"read with: sqlite3 '{where}' .recover. What it held would be bought again elsewhere."
        )
    return (
        f"The database {where} cannot be used now: {said}. Nothing is lost: mend it (space, "
        "rights, server, who locks it) and go on with: batchkit resume"
    )


def _is_damage(said: str) -> bool:
    return "malformed" in said.lower()


def _size(file: Path) -> int:
    return file.stat().st_size if file.exists() else 0


def _is_trouble(error: DatabaseError) -> bool:
    """Say whether it is the machine's or the server's trouble, and not a statement's."""
    if type(error) not in (OperationalError, DatabaseError):
        return False  # such as an IntegrityError, whose words may be a user's
    words = str(error.orig).lower()
    return (
        error.connection_invalidated
        or _is_damage(words)
        or any(word in words for word in _TROUBLES)
    )


def is_missing_table(error: DBAPIError) -> bool:
    """Say whether a statement failed because there are no tables yet."""
    words = str(error.orig).lower()
    return "no such table" in words or "does not exist" in words
