"""Rows of a query on somebody's own database: read, a page at a time, nothing else."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from sqlalchemy import Engine, create_engine
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from batchkit.errors import ConfigError, ValidationError

_AT_ONCE = 1_000


def query_rows(sql: str, url: str | os.PathLike[str]) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (row number, column to value) of a query; the transaction is rolled back at the end.

    ``url`` is a SQLAlchemy URL or the path of a SQLite file, which is opened for reading only.
    Raises ConfigError for a database that cannot be opened, ValidationError for a query that
    fails, returns no rows, or names a column twice.
    """
    engine = _engine(url)
    number = 0
    try:
        with engine.connect() as connection:
            # `no_parameters`: a % in the text is a percent sign. `stream_results`: on Postgres a
            # cursor of the server, so that a million rows stay there.
            reading = connection.execution_options(
                stream_results=True, yield_per=_AT_ONCE, no_parameters=True
            )
            result = reading.exec_driver_sql(sql)
            if not result.returns_rows:
                raise ValidationError(f"sql={sql!r:.80} returns no rows: give a SELECT.")
            columns = _columns(list(result.keys()))
            for number, row in enumerate(result, 1):
                yield number, dict(zip(columns, row, strict=True))
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().partition("\n")[0]
        if isinstance(error, DBAPIError) and error.statement is None:
            raise ConfigError(
                f"The database {_shown(engine.url)} cannot be opened: {said}."
            ) from error
        after = f" after row {number:,}" if number else ""
        raise ValidationError(
            f"The query failed{after} in {_shown(engine.url)}: {said}."
        ) from error
    finally:
        engine.dispose()


def _engine(given: str | os.PathLike[str]) -> Engine:
    written = os.fspath(given)
    if "://" not in written:
        return _sqlite(Path(written))
    try:
        url = make_url(written)
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            return _sqlite(Path(str(url.database)))
        if url.drivername in ("postgresql", "postgres"):
            url = url.set(drivername="postgresql+psycopg")
        return create_engine(url)
    except (ArgumentError, ValueError):
        # The cause quotes the URL, and a password may be in it.
        raise ConfigError(
            "url cannot be read: write it like postgresql://user:password@host:5432/database, or "
            "give the path of a SQLite file."
        ) from None
    except (NoSuchModuleError, ImportError) as error:
        raise ConfigError(
            f"{_shown(url)} needs a driver that is not installed ({error}); for Postgres: "
            'pip install "llm-batchkit[postgres]"'
        ) from error


def _sqlite(path: Path) -> Engine:
    path = path.expanduser().absolute()
    if not path.is_file():
        raise ConfigError(f"The database {path} does not exist.")
    name = f"file:{_escaped(path)}?mode=ro"
    return create_engine(
        URL.create("sqlite", database=name, query={"uri": "true"}),
    )


def _escaped(path: Path) -> str:
    """Return a path as SQLite reads it in a URI."""
    return str(path).replace("%", "%25").replace("?", "%3f").replace("#", "%23")


def _columns(names: list[str]) -> list[str]:
    for name in names:
        if names.count(name) > 1:
            raise ValidationError(
                f"The query returns two columns {name!r}: give one another name with AS."
            )
    return names


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)
