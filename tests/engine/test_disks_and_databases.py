"""Full disks, locked and lost databases: one clear line, and `resume` finishes what was begun."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from sqlalchemy import create_engine, text

from batchkit import Batch, get_run
from batchkit import engine as engines
from batchkit.cli import cli
from batchkit.clock import SystemClock
from batchkit.engine import Engine
from batchkit.errors import ConfigError
from batchkit.simulator import Simulator
from batchkit.store import Store
from batchkit.store import database as databases
from tests import postgres
from tests.store.scenes import opened, sealed

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


MODELS = {"anthropic": "claude-haiku-5-5", "openai": "gpt-5-mini"}
_AT_HAND = {"model": MODELS["anthropic"]}


@pytest.fixture(params=MODELS)
def simulated(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    """Each provider in turn; the batches of this test go to its model."""
    monkeypatch.setitem(_AT_HAND, "model", MODELS[request.param])
    with Simulator(tmp_path / "provider", scale=600.0, batch_seconds=(300.0, 300.0)) as running:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "simulated")
        monkeypatch.setenv("BATCHKIT_PACE", "600")
        monkeypatch.setenv("BATCHKIT_DATABASE_URL", f"sqlite:///{tmp_path / 'runs.db'}")
        monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(tmp_path / "spool"))
        yield running


@pytest.fixture
def anywhere(
    request: pytest.FixtureRequest, simulated: Simulator, monkeypatch: pytest.MonkeyPatch
) -> Simulator:
    """The simulator; OpenAI's batches are on the books of a Postgres, Anthropic's of a file."""
    if _AT_HAND["model"] == MODELS["openai"]:
        url = request.getfixturevalue("migrated_postgres_url")
        monkeypatch.setenv("BATCHKIT_DATABASE_URL", url)
    return simulated


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 64 KiB; what cannot be simulated here is said."""
    folder = tmp_path / "small"
    folder.mkdir()
    made = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(folder)],
        check=False,
        capture_output=True,
        text=True,
    )
    if made.returncode:
        pytest.skip(f"no small disk can be mounted here: {made.stderr.strip()}")
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


def _batch(**options: Any) -> Batch:
    batch = Batch(name="night", **options).set_verbosity("warn")
    batch.set_default_params(model=_AT_HAND["model"], max_tokens=100)
    for number in range(4):
        batch.add_job(prompt=f"Number {number} {'word ' * 8_000}", key=f"k{number}")
    return batch


def _fill(folder: Path, leave: int = 0) -> Path:
    """Take the whole disk but some bytes."""
    path = folder / "ballast"
    with path.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(b"x" * 4096)
        except OSError:
            pass
        file.truncate(max(0, file.tell() - leave))
    return path


def _resumed(simulated: Simulator) -> None:
    result = CliRunner().invoke(cli, ["resume", "night"])
    assert (result.exit_code, "4 of 4" in result.output) == (0, True), result.output
    assert CliRunner().invoke(cli, ["verify", "night"]).exit_code == 0
    assert not simulated.ledger().bought_twice()


def _line(result: Result) -> str:
    """The one clear line; a traceback is a bug."""
    assert result.exit_code == 1, result.output
    assert isinstance(result.exception, SystemExit)
    return result.stderr.strip().splitlines()[-1]


def test_a_full_disk_while_spooling_sends_nothing(
    anywhere: Simulator, small_disk: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(small_disk))
    with pytest.raises(ConfigError, match="No space left on device"):
        _batch().run(progress_interval=0.05)
    assert not anywhere.ledger().entries
    assert "No space left" in _line(CliRunner().invoke(cli, ["resume", "night"]))
    monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(tmp_path / "spool"))
    _resumed(anywhere)


def test_a_full_disk_while_downloading_loses_no_answer(
    anywhere: Simulator, small_disk: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    _batch().submit()
    monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(small_disk / "spool"))
    ballast = _fill(small_disk)
    assert "No space left" in _line(CliRunner().invoke(cli, ["resume", "night"]))
    assert get_run("night").status()["active"] == 4
    ballast.unlink()
    _resumed(anywhere)


def test_a_full_disk_under_the_results_stops_nothing(
    anywhere: Simulator, small_disk: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = small_disk / "out"
    batch = _batch(results_dir=out, raw_files=False)
    out.mkdir(exist_ok=True)
    ballast = _fill(small_disk)
    assert batch.run(progress_interval=0.05).status()["completed"] == 4
    assert "They are safe in the database" in capfd.readouterr().err
    ballast.unlink()
    _resumed(anywhere)


def test_a_full_disk_under_the_raw_files_is_one_clear_line(
    anywhere: Simulator, small_disk: Path
) -> None:
    out = small_disk / "out"
    batch = _batch(results_dir=out, raw_files="full")
    out.mkdir(exist_ok=True)
    ballast = _fill(small_disk, leave=8192)
    with pytest.raises(ConfigError, match="No space left on device"):
        batch.run(progress_interval=0.05)
    ballast.unlink()
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    _resumed(anywhere)


def test_a_database_that_another_locks_is_one_clear_line(
    simulated: Simulator, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """A minute of patience, here a fifth of a second."""
    monkeypatch.setattr(databases, "BUSY_MS", 200)
    _batch().submit()
    with closing(sqlite3.connect(tmp_path / "runs.db", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        line = _line(CliRunner().invoke(cli, ["resume", "night"]))
        other.execute("ROLLBACK")
    assert "database is locked" in line
    assert "Nothing is lost" in line
    _resumed(simulated)


def test_a_spool_that_may_not_be_written_is_one_clear_line(
    anywhere: Simulator, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A folder without the right to write; root may write anywhere but into ``/proc``."""
    locked = tmp_path / "locked"
    locked.mkdir(mode=0o500)
    place = Path("/proc/spool") if os.geteuid() == 0 else locked / "spool"
    monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(place))
    with pytest.raises(ConfigError, match="Nothing is lost: mend it"):
        _batch().run(progress_interval=0.05)
    assert str(place) in _line(CliRunner().invoke(cli, ["resume", "night"]))
    assert not anywhere.ledger().entries
    monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(tmp_path / "spool"))
    _resumed(anywhere)


def test_leases_are_renewed_again_once_a_lock_is_gone(
    migrated_sqlite_url: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The thread that renews them lives through it: else others take over what is worked on."""
    monkeypatch.setattr(databases, "BUSY_MS", 20)
    monkeypatch.setattr(engines, "_BEAT_AGAIN", timedelta())
    store = Store(migrated_sqlite_url)
    batch = sealed(store, opened(store, 1), 0, 1)
    engine, over = Engine(store, spools=tmp_path), threading.Event()
    store.leases.claim(batch, engine._owner, SystemClock().now() - timedelta(seconds=60))
    beating = threading.Thread(target=engine._beat, args=(over,))
    with closing(sqlite3.connect(store.database.file or "", isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        beating.start()
        beating.join(0.3)
        other.execute("ROLLBACK")
    for _ in range(100):
        lapses = store.batches.get(batch).lease_until
        if lapses is not None and lapses > SystemClock().now() + timedelta(seconds=60):
            break
        beating.join(0.1)
    else:
        pytest.fail("nobody renewed the lease")
    over.set()
    beating.join(30)
    store.close()


def _cut(state: bytes) -> bytes:
    return state[: len(state) // 2]


def _blank(state: bytes) -> bytes:
    """Keep the first page, which says what tables there are."""
    return state[:4096] + bytes(len(state) - 4096)


@pytest.mark.parametrize(
    ("damage", "words"),
    [
        (_cut, "Put a copy of it back"),
        (_blank, "Put a copy of it back"),
        (lambda _: b"no database at all " * 500, "put a copy of it back"),
    ],
    ids=["cut off", "blank pages", "another file"],
)
def test_a_damaged_database_is_one_clear_line_and_buys_nothing(
    simulated: Simulator,
    damage: Callable[[bytes], bytes],
    words: str,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """The way out is a copy of it: in a new database what it held would be bought again."""
    _batch().submit()
    state = tmp_path / "state.db"
    with closing(sqlite3.connect(tmp_path / "runs.db")) as runs:
        runs.execute("VACUUM INTO ?", (str(state),))
    whole = state.read_bytes()
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", f"sqlite:///{state}")
    state.write_bytes(damage(whole))
    for command in (["resume", "night"], ["verify"], ["ls"]):
        assert words in _line(CliRunner().invoke(cli, command))
    with pytest.raises(ConfigError, match=words):
        _batch().run()
    assert len(simulated.ledger().batches) == 1
    for left in tmp_path.glob("state.db-*"):
        left.unlink()
    state.write_bytes(whole)
    _resumed(simulated)


def test_a_postgres_that_another_locks_is_waited_for(
    simulated: Simulator, migrated_postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """There is no limit to a lock's wait on Postgres: the run stands still, then it goes on."""
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", migrated_postgres_url)
    going = threading.Thread(target=_batch(items_per_batch=1).run)
    engine = create_engine(migrated_postgres_url)
    with engine.connect() as other:
        other.execute(text("LOCK TABLE batchkit.batches IN EXCLUSIVE MODE"))
        going.start()
        going.join(0.5)
        assert going.is_alive()
        assert not simulated.ledger().batches
        other.rollback()
    engine.dispose()
    going.join(60)
    assert get_run("night").is_complete
    _resumed_on(simulated, "night")


@pytest.fixture
def mortal_postgres() -> Iterator[postgres.Cluster]:
    """A server of this test alone, which may crash."""
    try:
        cluster = postgres.start(durable=True)
    except postgres.PostgresMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test on Postgres: {missing}")
        pytest.skip(str(missing))
    yield cluster
    cluster.stop()


@pytest.mark.slow
def test_a_postgres_that_is_restarted_in_the_middle_loses_nothing(
    simulated: Simulator, mortal_postgres: postgres.Cluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Stopped at once, as when it crashes; meanwhile a command says so, and then `resume` ends."""
    url = mortal_postgres.url(mortal_postgres.create())
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", url)
    run = _batch(items_per_batch=1, max_parallel_batches=1).submit()
    crashed: list[int] = []

    def crash(stats: dict[str, Any], *_: Any) -> None:
        if stats["completed"] >= len(crashed) * 2:
            crashed.append(stats["completed"])
            mortal_postgres.crash()

    for _ in range(2):
        with pytest.raises(ConfigError, match="Nothing is lost"):
            run.resume(on_progress=crash, progress_interval=0.02)
        assert "Cannot open the database" in _line(CliRunner().invoke(cli, ["resume", run.id]))
        mortal_postgres.revive()
    assert crashed[0] == 0 < crashed[1]
    _resumed_on(simulated, run.id)
    assert run.status()["completed"] == 4


def test_postgres_that_ends_every_connection_in_the_middle_loses_nothing(
    simulated: Simulator,
    postgres_cluster: postgres.Cluster,
    migrated_postgres_url: str,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What a restart does to those who are connected, again and again while it runs."""
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", migrated_postgres_url)
    name = migrated_postgres_url.partition("@/")[2].partition("?")[0]
    run = _batch(items_per_batch=1).submit()

    def strike(*_: Any) -> None:
        postgres_cluster.execute(
            f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{name}'"
        )

    for _ in range(20):
        with suppress(ConfigError):  # anything else is no clear line
            if run.resume(on_progress=strike, progress_interval=0.05).is_complete:
                break
    _resumed_on(simulated, run.id)


def _resumed_on(simulated: Simulator, run_id: str) -> None:
    run: Callable[..., Result] = CliRunner().invoke
    assert run(cli, ["resume", run_id]).exit_code == 0
    assert run(cli, ["verify", run_id]).exit_code == 0
    assert not simulated.ledger().bought_twice()
