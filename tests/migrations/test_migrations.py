"""The migrations make what the tables say, keep what was there, and refuse what is newer."""

from __future__ import annotations

import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from enum import StrEnum
from pathlib import Path
from typing import Any

import pytest
from alembic import command
from alembic.script import ScriptDirectory
from sqlalchemy import CheckConstraint, inspect, text
from sqlalchemy.exc import IntegrityError

from batchkit.errors import ConfigError, StateError
from batchkit.model import BatchState, CostKind, JobState, Waiting
from batchkit.store import Store, migrate
from batchkit.store.database import Database, location
from batchkit.store.tables import (
    ATTEMPT_STATES,
    BATCH_KINDS,
    END_REASONS,
    PROOFS,
    SCHEMA,
    metadata,
)
from tests.migrations.prepared import recorded
from tests.store.scenes import collected, execute, opened, sealed, sound


def test_the_migrations_make_the_tables_that_the_code_knows(migrated_url: str) -> None:
    """`alembic check` finds nothing to generate."""
    database = Database(migrated_url)
    command.check(migrate.config(database))
    database.close()


def test_the_newest_migration_is_the_one_the_code_names(sqlite_url: str) -> None:
    """HEAD is written down because importing Alembic takes its time."""
    script = ScriptDirectory.from_config(migrate.config(Database(sqlite_url)))
    assert script.get_heads() == [migrate.HEAD]


def test_what_an_empty_database_gets_is_what_the_migrations_do(database_url: str) -> None:
    """Else: ``python -m tests.migrations.prepared`` records it again."""
    database = Database(database_url)

    assert migrate.prepared(database).read_text() == recorded(database)
    database.close()


def test_an_empty_database_gets_its_tables_from_the_recording(database_url: str) -> None:
    """Nothing is left for Alembic to do or to find; whoever comes second leaves it alone."""
    database = Database(database_url)
    assert migrate._make(database)
    assert not migrate._make(database)

    command.check(migrate.config(database))
    database.close()


def test_a_migration_that_is_not_recorded_yet_is_run(
    database_url: str, request: pytest.FixtureRequest
) -> None:
    """Between writing one and recording it nothing is missing."""
    after = request.getfixturevalue("next_version")
    store = Store(database_url)

    assert migrate.current(store.database) == after
    store.close()


def test_a_migrated_database_goes_down_and_up_again(migrated_url: str) -> None:
    """Down leaves nothing of ours but the version's own table."""
    database = Database(migrated_url)
    command.downgrade(migrate.config(database), "base")
    schema = None if database.is_sqlite else SCHEMA
    left = set(inspect(database.engine).get_table_names(schema=schema))
    assert left <= {"alembic_version", "sqlite_sequence"}
    migrate.upgrade(database)
    assert migrate.current(database) == migrate.HEAD
    database.close()


def test_every_check_has_a_name_in_both_databases(migrated_url: str) -> None:
    """`alembic check` does not see a changed CHECK: its words are compared here."""
    database = Database(migrated_url)
    schema = None if database.is_sqlite else SCHEMA
    inspector = inspect(database.engine)
    for table in metadata.sorted_tables:
        checks = [c for c in table.constraints if isinstance(c, CheckConstraint)]
        there = inspector.get_check_constraints(table.name, schema=schema)
        assert {one["name"] for one in there} == {str(one.name) for one in checks}
        if database.is_sqlite:
            written = {str(one["name"]): _words(one["sqltext"]) for one in there}
            assert written == {str(one.name): _words(str(one.sqltext)) for one in checks}
    database.close()


def _words(sql: str) -> str:
    return re.sub(r"\s+", " ", sql).strip()


RUN = (
    "INSERT INTO @runs (id, uid, project, name, spec, created_at) "
    "VALUES (1, 'u', 'p', 'n', '{}', '2026-11-20 22:00:00')"
)
BATCH = (
    "INSERT INTO @batches (run_id, kind, state, count, ref, proof, end_reason, "
    "collected_no, lo, hi) "
    "VALUES (1, :kind, :state, 1, :ref, :proof, :reason, :no, 0, 1)"
)
ATTEMPT = (
    "INSERT INTO @attempts (shelf, batch_id, seq, lane_id, run_id, attempt_no, state, "
    "final, answer, cost_kind, ran) "
    "VALUES (0, 1, :seq, 1, 1, 1, :state, :final, 'a', :kind, :final)"
)
CLOSED = (BatchState.COLLECTED, BatchState.ABANDONED)


def _batch(state: str, **other: Any) -> dict[str, Any]:
    number = 1 if state in CLOSED else None
    return {
        "state": state,
        "kind": "range",
        "ref": "r",
        "proof": None,
        "reason": None,
        "no": number,
        **other,
    }


def _rows() -> Iterable[tuple[str, str, dict[str, Any]]]:
    for state in BatchState:
        yield f"batch {state}", BATCH, _batch(state)
    for kind in BATCH_KINDS:
        yield f"kind {kind}", BATCH, _batch("sealed", kind=kind)
    for proof in PROOFS:
        yield f"proof {proof}", BATCH, _batch("running", proof=proof)
    for reason in END_REASONS:
        yield f"reason {reason}", BATCH, _batch("ended", reason=reason)
    for name in ATTEMPT_STATES:
        values = {"seq": 1, "state": name, "final": name != "again", "kind": "exact"}
        yield f"attempt {name}", ATTEMPT, values
    for cost in CostKind:
        yield (
            f"cost {cost}",
            ATTEMPT,
            {"seq": 1, "state": "failed", "final": True, "kind": cost.value},
        )
    for waiting in Waiting:
        yield f"waiting {waiting}", "UPDATE @runs SET waiting_for = :what", {"what": waiting.value}


def _bad() -> Iterable[tuple[str, str, dict[str, Any]]]:
    yield "batch state", BATCH, _batch("flying")
    yield "batch kind", BATCH, _batch("sealed", kind="heap")
    yield "proof", BATCH, _batch("running", proof="hearsay")
    yield "end reason", BATCH, _batch("ended", reason="bored")
    yield "running without ref", BATCH, _batch("running", ref=None)
    yield "collected without number", BATCH, _batch("collected", no=None)
    yield "number without end", BATCH, _batch("ended", no=3)
    yield "attempt state", ATTEMPT, {"seq": 1, "state": "maybe", "final": True, "kind": "exact"}
    yield "cost kind", ATTEMPT, {"seq": 1, "state": "failed", "final": True, "kind": "guess"}
    yield "again and final", ATTEMPT, {"seq": 1, "state": "again", "final": True, "kind": "exact"}
    yield "waiting", "UPDATE @runs SET waiting_for = 'weather'", {}
    yield "reserved", "UPDATE @runs SET reserved = -1", {}
    yield "spent", "UPDATE @runs SET spent = -1", {}
    yield "limit", "UPDATE @runs SET cost_limit = 0", {}
    yield "reserved while final", "UPDATE @runs SET opened_at = created_at, completed = 1", {}


@pytest.fixture
def store(migrated_url: str) -> Iterable[Store]:
    made = Store(migrated_url)
    execute(made, RUN)
    yield made
    made.close()


@pytest.mark.parametrize(
    ("name", "statement", "values"), list(_rows()), ids=[r[0] for r in _rows()]
)
def test_every_value_of_every_enum_is_allowed(
    store: Store, name: str, statement: str, values: dict[str, Any]
) -> None:
    """The CHECKs in the migrated schema and the enums in the code agree."""
    execute(store, statement, **{k: v for k, v in values.items() if f":{k}" in statement})


@pytest.mark.parametrize(("name", "statement", "values"), list(_bad()), ids=[r[0] for r in _bad()])
def test_what_cannot_be_is_refused_by_the_database(
    store: Store, name: str, statement: str, values: dict[str, Any]
) -> None:
    """Invariants hold whoever writes."""
    with pytest.raises(IntegrityError):
        execute(store, statement, **{k: v for k, v in values.items() if f":{k}" in statement})


def test_the_attempts_states_are_the_jobs_final_ones_and_again() -> None:
    """Written down in two rooms, the same in both."""
    final: list[StrEnum] = [JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED]
    assert (*[state.value for state in final], "again") == ATTEMPT_STATES


def test_a_newer_database_is_refused_and_left_alone(migrated_url: str) -> None:
    """An older program says that it is the older one."""
    database = Database(migrated_url)
    _stamp(database, "9999")
    with pytest.raises(StateError, match=r"newer batchkit \(revision 9999.*pip install --upgrade"):
        Store(migrated_url)
    with pytest.raises(StateError):
        migrate.upgrade(database)
    assert migrate.current(database) == "9999"
    database.close()


@pytest.fixture
def next_version(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A later batchkit: the same migrations and one more."""
    folder = tmp_path / "later"
    (folder / "versions").mkdir(parents=True)
    for path in migrate.folder().rglob("*.py"):
        (folder / path.relative_to(migrate.folder())).write_bytes(path.read_bytes())
    after = f"{int(migrate.HEAD) + 1:04}"
    (folder / "versions" / f"{after}_more.py").write_text(
        "import sqlalchemy as sa\n"
        "from alembic import op\n"
        f"revision, down_revision = '{after}', '{migrate.HEAD}'\n"
        "branch_labels = depends_on = None\n"
        "def upgrade():\n"
        "    schema = op.get_context().version_table_schema\n"
        "    op.add_column('runs', sa.Column('mood', sa.Text()), schema=schema)\n"
        "def downgrade():\n"
        "    op.drop_column('runs', 'mood', schema=op.get_context().version_table_schema)\n"
    )
    monkeypatch.setattr(migrate, "folder", lambda: folder)
    monkeypatch.setattr(migrate, "HEAD", after)
    return after


def test_another_programs_sqlite_file_is_refused_and_left_alone(tmp_path: Path) -> None:
    """It has a table of a name of ours: no traceback, and nothing of ours in it."""
    path = tmp_path / "theirs.db"
    with closing(sqlite3.connect(path)) as theirs, theirs:
        theirs.execute("CREATE TABLE runs (distance INTEGER)")
    with pytest.raises(ConfigError, match="another program's: its table 'runs'"):
        Store(path)
    with closing(sqlite3.connect(path)) as theirs:
        assert theirs.execute("SELECT name FROM sqlite_master").fetchall() == [("runs",)]


def test_an_older_sqlite_file_is_copied_before_it_is_migrated(
    migrated_sqlite_url: str, request: pytest.FixtureRequest, tmp_path: Path
) -> None:
    """The copy is whole, also while somebody else has the file open, and holds what was there."""
    old = Store(migrated_sqlite_url)
    run = opened(old, 2)
    collected(old, sealed(old, run, 0, 2))
    before = migrate.HEAD
    after = request.getfixturevalue("next_version")
    new = Store(migrated_sqlite_url)
    assert migrate.current(new.database) == after
    assert sound(new, run).completed == 2
    (copy,) = tmp_path.glob(f"*.before-{before}-to-{after}")
    with sqlite3.connect(copy) as connection:
        assert connection.execute("SELECT count(*) FROM attempts").fetchone() == (2,)
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone() == (before,)
    connection.close()
    old.close()
    new.close()


def test_an_older_postgres_with_runs_waits_for_a_person(
    migrated_postgres_url: str, request: pytest.FixtureRequest
) -> None:
    """Other machines may be at work on it: the error says what to type, and that works."""
    old = Store(migrated_postgres_url)
    opened(old, 1)
    old.close()
    request.getfixturevalue("next_version")
    with pytest.raises(StateError, match="batchkit db upgrade"):
        Store(migrated_postgres_url)
    database = Database(migrated_postgres_url)
    migrate.upgrade(database)
    database.close()
    Store(migrated_postgres_url).close()


def test_an_older_postgres_without_runs_is_migrated_at_once(
    migrated_postgres_url: str, request: pytest.FixtureRequest
) -> None:
    """Nobody can be at work where nothing is."""
    after = request.getfixturevalue("next_version")
    store = Store(migrated_postgres_url)
    assert migrate.current(store.database) == after
    store.close()


def _stamp(database: Database, revision: str) -> None:
    table = "alembic_version" if database.is_sqlite else f"{SCHEMA}.alembic_version"
    with database.write() as connection:
        connection.execute(text(f"UPDATE {table} SET version_num = :to"), {"to": revision})


@pytest.mark.parametrize("name", ["a b.db", "a?b.db", "a#b.db", "50%25.db", "ä'\".db", "a@b:c.db"])
def test_a_path_is_taken_as_it_is_written(tmp_path: Path, name: str) -> None:
    """Nothing in a path is an escape or a query."""
    store = Store(tmp_path / name)
    run = opened(store, 1)
    store.close()
    assert (tmp_path / name).is_file()
    again = Store(str(tmp_path / name))
    assert again.runs.get(run.id).name == "night"
    assert again.shown == str(tmp_path / name)
    again.close()


def test_a_relative_path_stays_where_it_was(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process that changes its folder keeps its database, given as a path or as a URL."""
    monkeypatch.chdir(tmp_path)
    for given in ("one.db", "sqlite:///two.db"):
        database = Database(given)
        assert Path(database.shown).is_absolute()
        monkeypatch.chdir("/")
        migrate.ensure(database)
        database.close()
        monkeypatch.chdir(tmp_path)
    assert {path.name for path in tmp_path.glob("*.db")} == {"one.db", "two.db"}


@pytest.mark.parametrize("given", ["sqlite://", "sqlite:///:memory:", ":memory:"])
def test_state_that_would_not_last_is_refused(given: str) -> None:
    """A database in memory forgets a paid night."""
    with pytest.raises(ConfigError, match="in a file"):
        location(given)


def test_a_password_with_special_characters_is_understood_and_never_shown() -> None:
    """Escaped in the URL, plain to the driver, stars to people."""
    database = Database("postgresql://me:p%40ss%2Fw%3Ard%25@nowhere.invalid:5432/x")
    assert database.url.password == "p@ss/w:rd%"
    assert database.url.drivername == "postgresql+psycopg"
    assert database.shown == "postgresql+psycopg://me:***@nowhere.invalid:5432/x"
    assert location("postgres://me@h/x").drivername == "postgresql+psycopg"


@pytest.mark.parametrize(
    "given",
    ["://se:cret@", "postgresql://me:secret@host:port/x"],
)
def test_a_url_that_cannot_be_read_does_not_tell_its_password(given: str) -> None:
    """Not in the message, not in the cause."""
    with pytest.raises(ConfigError) as caught:
        Database(given)
    assert "cret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_another_kind_of_database_is_refused_by_name() -> None:
    """Two kinds are tested, no third."""
    with pytest.raises(ConfigError, match="not in 'mysql'"):
        Database("mysql://me@host/x")


def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    """One line, no traceback of a driver."""
    with pytest.raises(ConfigError, match=re.escape(str(tmp_path / "no" / "x.db"))):
        Store(tmp_path / "no" / "x.db")
