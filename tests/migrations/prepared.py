"""``python -m tests.migrations.prepared`` records what the migrations do in an empty database.

An empty database gets its tables from the recording: Alembic's import takes a fifth of a second.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from sqlalchemy import event

from batchkit.store import migrate
from batchkit.store.database import Database
from tests import postgres

_ASKS = ("SELECT", "PRAGMA", "BEGIN")


def recorded(database: Database) -> str:
    """Migrate an empty database, and return what was executed but for what only asks."""
    statements: list[str] = []

    def note(_connection: Any, _cursor: Any, statement: str, parameters: Any, *_: Any) -> None:
        if not statement.lstrip().startswith(_ASKS):
            assert not parameters, f"a recording has no parameters: {statement}"
            lines = statement.strip().replace("\t", "    ").splitlines()
            statements.append("\n".join(line.rstrip() for line in lines))

    event.listen(database.engine, "before_cursor_execute", note)
    migrate.upgrade(database)
    event.remove(database.engine, "before_cursor_execute", note)
    return migrate.END.join(statements) + "\n"


def main() -> None:
    """Write both recordings, and remove those of earlier revisions."""
    for old in (migrate.folder() / "prepared").glob("*.sql"):
        old.unlink()
    cluster = postgres.start()
    with tempfile.TemporaryDirectory() as folder:
        for where in (f"{folder}/empty.db", cluster.url(cluster.create())):
            database = Database(where)
            path: Path = migrate.prepared(database)
            path.parent.mkdir(exist_ok=True)
            path.write_text(recorded(database))
            database.close()
    cluster.stop()


if __name__ == "__main__":
    main()
