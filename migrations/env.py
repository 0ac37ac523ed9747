"""How Alembic meets the store: one migration set for SQLite and Postgres."""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, text

from batchkit.store.database import Database
from batchkit.store.tables import SCHEMA, metadata


def _database() -> Database:
    given = context.config.attributes.get("database")
    return given or Database(os.environ.get("BATCHKIT_DATABASE_URL", ".batchkit/batchkit.db"))


def _migrate(connection: Connection, *, is_sqlite: bool) -> None:
    if not is_sqlite:
        # Two processes may meet an empty database at the same moment: one after the other.
        connection.execute(text("SELECT pg_advisory_xact_lock(hashtext('batchkit.migrate'))"))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table_schema=None if is_sqlite else SCHEMA,
        include_schemas=not is_sqlite,
        include_name=lambda name, kind, _parents: kind != "schema" or name == SCHEMA,
        render_as_batch=False,
        compare_type=False,
    )
    with context.begin_transaction():
        context.run_migrations()


database = _database()
with database.write(durable=True) as open_connection:
    _migrate(open_connection, is_sqlite=database.is_sqlite)
