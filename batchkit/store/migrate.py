"""Bring a database to the schema of this code, and refuse one that is newer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from sqlalchemy import Connection, inspect, text
from sqlalchemy.exc import DBAPIError

from batchkit.errors import ConfigError, StateError
from batchkit.store.database import Database, is_missing_table
from batchkit.store.tables import SCHEMA, metadata

HEAD = "0003"
"""The newest migration. Kept here because importing Alembic costs 0.2 s; a test compares."""


LOCK = "SELECT pg_advisory_xact_lock(hashtext('batchkit.migrate'))"
"""Two processes may meet an empty Postgres database at the same moment: one after the other."""

END = ";\n\n"
"""What stands between two statements of a recording."""


def current(database: Database) -> str | None:
    """Return the revision a database is at; None if it holds nothing of ours."""
    table = "alembic_version" if database.is_sqlite else f"{SCHEMA}.alembic_version"
    try:
        with database.read() as connection:
            return connection.execute(text(f"SELECT version_num FROM {table}")).scalar()
    except DBAPIError as error:
        if is_missing_table(error):
            return None
        raise


def ensure(database: Database) -> None:
    """Migrate an empty database or an older SQLite file (copied first); check all others.

    Raises StateError for a newer database and for an older Postgres one that holds runs,
    ConfigError for another program's.
    """
    at = current(database)
    if at == HEAD:
        return
    if at is None:
        _refuse_another_programs(database)
        if _make(database):
            return
    else:
        _refuse_newer(database, at)
        if database.is_sqlite:
            _copy(database, at)
        elif _has_runs(database):
            raise StateError(
                f"The database {database.shown} is at revision {at}, this batchkit needs {HEAD}. "
                "Stop every batchkit process and type: batchkit db upgrade"
            )
    upgrade(database)


def upgrade(database: Database) -> None:
    """Run the migrations up to the newest one; raise StateError for a newer database."""
    at = current(database)
    if at is not None and at != HEAD:
        _refuse_newer(database, at)
    from alembic import command

    command.upgrade(config(database), "head")


def prepared(database: Database) -> Path:
    """Return the file with the statements that the migrations execute in an empty database.

    ``python -m tests.migrations.prepared`` records them; a test keeps them equal.
    """
    kind = "sqlite" if database.is_sqlite else "postgresql"
    return folder() / "prepared" / f"{HEAD}_{kind}.sql"


def config(database: Database) -> Any:
    """Return Alembic's configuration for a database; the URL goes by attribute, not by file."""
    from alembic.config import Config

    made = Config()
    made.set_main_option("script_location", str(folder()).replace("%", "%%"))
    made.attributes["database"] = database
    return made


def folder() -> Path:
    """Return where the migrations lie: inside an installed package, beside it in a checkout."""
    package = Path(__file__).resolve().parents[1]
    inside = package / "migrations"
    return inside if inside.is_dir() else package.parent / "migrations"


def _refuse_another_programs(database: Database) -> None:
    """Raise ConfigError for a SQLite file where tables of our names stand that we did not make."""
    if not database.is_sqlite:
        return
    with database.read() as connection:
        there = set(inspect(connection).get_table_names())
    taken = sorted({str(table.name) for table in metadata.sorted_tables} & there)
    if taken and "alembic_version" not in there:
        raise ConfigError(
            f"The database {database.shown} is another program's: its table {taken[0]!r} is not "
            "batchkit's. Name another place with database= or BATCHKIT_DATABASE_URL."
        )


def _make(database: Database) -> bool:
    """Make the tables of an empty database from what was recorded; say whether that was done.

    Whoever else meets it empty at this moment waits, and then finds that it is not.
    """
    recorded = prepared(database)
    if not recorded.is_file():  # a migration that was just written: Alembic runs it
        return False
    with database.write(durable=True) as connection:
        if not database.is_sqlite:
            connection.execute(text(LOCK))
        schema = None if database.is_sqlite else SCHEMA
        if inspect(connection).has_table("alembic_version", schema=schema):
            return False
        for statement in recorded.read_text().split(END):
            connection.exec_driver_sql(statement)
    return True


def _refuse_newer(database: Database, at: str) -> None:
    known = {path.name.split("_")[0] for path in (folder() / "versions").glob("[0-9]*.py")}
    if at not in known:
        raise StateError(
            f"The database {database.shown} was written by a newer batchkit (revision {at}; this "
            f"one knows {HEAD}). Upgrade with: pip install --upgrade llm-batchkit"
        )


def _copy(database: Database, at: str) -> None:
    """Copy a file as it is now, whoever writes to it meanwhile; an earlier copy stays."""
    path = Path(str(database.url.database))
    copy = path.with_name(f"{path.name}.before-{at}-to-{HEAD}")
    if copy.exists():
        return
    part = copy.with_name(f"{copy.name}.part")
    part.unlink(missing_ok=True)
    raw = database.engine.raw_connection()  # no VACUUM inside a transaction
    try:
        raw.cursor().execute("VACUUM INTO ?", (str(part),))
    finally:
        raw.close()
    part.replace(copy)


def _has_runs(database: Database) -> bool:
    with database.read() as connection:
        return _count_runs(connection) > 0


def _count_runs(connection: Connection) -> int:
    if not inspect(connection).has_table("runs", schema=SCHEMA):
        return 0
    return int(connection.execute(text(f"SELECT count(*) FROM {SCHEMA}.runs")).scalar() or 0)
