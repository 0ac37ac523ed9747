"""How Alembic meets the store: one migration set for SQLite and Postgres.

From the second migration on, every operation names ``op.get_context().version_table_schema`` as its
schema: None on SQLite. What alters a table ignores the translation that creating one goes by.
"""

from __future__ import annotations

import os

from alembic import context
from sqlalchemy import Connection, MetaData, text

from batchkit.store.database import Database
from batchkit.store.migrate import LOCK
from batchkit.store.tables import SCHEMA, for_postgres, metadata


def _database() -> Database:
    given = context.config.attributes.get("database")
    return given or Database(os.environ.get("BATCHKIT_DATABASE_URL", ".batchkit/batchkit.db"))


def _is_drafting() -> bool:
    return bool(context.config.attributes.get("drafting"))


def _without_schema() -> MetaData:
    """Return the tables as SQLite has them, to compare with."""
    plain = MetaData(naming_convention=metadata.naming_convention)
    for table in metadata.sorted_tables:
        table.to_metadata(plain, schema=None)  # type: ignore[arg-type]  # None: take it away
    return plain


def _migrate(connection: Connection, *, is_sqlite: bool) -> None:
    if not is_sqlite:
        connection.execute(text(LOCK))
        connection.execute(text(f"CREATE SCHEMA IF NOT EXISTS {SCHEMA}"))
    context.configure(
        connection=connection,
        target_metadata=_without_schema() if is_sqlite and not _is_drafting() else for_postgres(),
        version_table_schema=None if is_sqlite else SCHEMA,
        include_schemas=not is_sqlite,
        include_name=lambda name, kind, _: is_sqlite or kind != "schema" or name == SCHEMA,
        render_as_batch=False,
        compare_type=False,
    )
    with context.begin_transaction():
        context.run_migrations()


database = _database()
with database.write(durable=True) as open_connection:
    _migrate(open_connection, is_sqlite=database.is_sqlite)
