"""What every test gets: a clean environment, no way out to the network, and databases.

`database_url` gives a test an empty SQLite and an empty Postgres database, one after the other;
`migrated_url` the same with batchkit's tables in it.
"""

from __future__ import annotations

import gc
import ipaddress
import itertools
import os
import shutil
import signal
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests import postgres, statements
from tests.engine import tables

_SCRUBBED = ("ANTHROPIC_", "BATCHKIT_", "OPENAI_", "PG", "XDG_", "ALEMBIC_")
_NUMBERS = itertools.count(1)
_PROXIES = ("http_proxy", "https_proxy", "all_proxy", "no_proxy")

# A busy machine is no failure, and CI says the same twice.
hypothesis.settings.register_profile(
    "bench", deadline=None, derandomize=os.environ.get("CI") == "true"
)
hypothesis.settings.load_profile("bench")

# Every commit waits for the disk: where a folder in memory has the room, tests stand there.
_MEMORY = postgres.memory()
if _MEMORY is not None:
    os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

# Half a gigabyte comes in now, and none of it is garbage: see `pytest_collection_finish`.
gc.disable()

# What is started in the background (`nohup`, a job of a script) has SIGINT ignored, and so have
# its children: the tests of Ctrl-C would press a key that nobody hears.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def places(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Where tests stand: pytest's own numbering would look through all of them each time."""
    folder = tmp_path_factory.mktemp("places")
    yield folder
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, places: Path) -> None:
    """No keys, no settings, no .env: an empty home and an empty working directory."""
    for name in list(os.environ):
        if name.startswith(_SCRUBBED) or name.lower() in _PROXIES:
            monkeypatch.delenv(name)
    place = places / str(next(_NUMBERS))
    place.mkdir()
    for folder in ("home", "work"):
        (place / folder).mkdir()
    monkeypatch.setenv("HOME", str(place / "home"))
    monkeypatch.chdir(place / "work")


@pytest.fixture(autouse=True, scope="session")
def no_network() -> Iterator[None]:
    """Fail whoever connects, or asks for the address of, anything but this machine."""
    with pytest.MonkeyPatch.context() as patch:
        for name in ("connect", "connect_ex"):
            patch.setattr(socket.socket, name, _guarded_connect(getattr(socket.socket, name)))
        patch.setattr(socket, "getaddrinfo", _guarded_lookup(socket.getaddrinfo))
        yield


@pytest.fixture(autouse=True, scope="session")
def no_certificates(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Nothing here speaks TLS, and every client of an SDK would read all that this machine has."""
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("SSL_CERT_FILE", raising=False)
        patch.setenv("SSL_CERT_DIR", str(tmp_path_factory.mktemp("certificates")))
        yield


@pytest.fixture(autouse=True, scope="session")
def statements_are_shared() -> Iterator[None]:
    """Every engine of a process profits from what another has compiled."""
    with statements.shared():
        yield


def _guarded_connect(connect: Any) -> Any:
    def guarded(self: socket.socket, address: Any) -> Any:
        if self.family in (socket.AF_INET, socket.AF_INET6):
            _refuse_unless_local(address[0])
        return connect(self, address)

    return guarded


def _guarded_lookup(lookup: Any) -> Any:
    def guarded(host: Any, *args: Any, **kwargs: Any) -> Any:
        _refuse_unless_local(host)
        return lookup(host, *args, **kwargs)

    return guarded


def _refuse_unless_local(host: Any) -> None:
    name = host.decode() if isinstance(host, bytes) else host
    if name in (None, "", "localhost"):
        return
    try:
        address = ipaddress.ip_address(name)
        local = address.is_loopback or address.is_unspecified
    except ValueError:
        local = False
    if not local:
        pytest.fail(f"a test went out to the network: {name}")


@pytest.fixture(scope="session")
def python() -> Path:
    """The interpreter, for tests that start a real process."""
    return Path(sys.executable)


@pytest.fixture(scope="session")
def postgres_cluster() -> Iterator[postgres.Cluster]:
    """A Postgres server of this test process; where there is none, CI fails and others skip."""
    try:
        cluster = postgres.start(within=_MEMORY)
    except postgres.PostgresMissingError as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(f"CI must test on Postgres: {missing}")
        pytest.skip(str(missing))
    yield cluster
    cluster.stop()


@pytest.fixture
def postgres_url(postgres_cluster: postgres.Cluster) -> Iterator[str]:
    """The URL of an empty Postgres database."""
    name = postgres_cluster.create()
    yield postgres_cluster.url(name)
    postgres_cluster.drop(name)


@pytest.fixture
def sqlite_url(tmp_path: Path) -> str:
    """The URL of a SQLite database that does not exist yet."""
    return f"sqlite:///{tmp_path / 'batchkit.db'}"


@pytest.fixture(params=["sqlite", "postgres"])
def database_url(request: pytest.FixtureRequest) -> str:
    """The URL of an empty database: the test runs on SQLite and on Postgres."""
    url: str = request.getfixturevalue(f"{request.param}_url")
    return url


@pytest.fixture
def migrated_postgres_url(postgres_cluster: postgres.Cluster) -> Iterator[str]:
    """The URL of a Postgres database at the newest migration."""
    name = postgres_cluster.create(postgres_cluster.template("migrated", _migrate))
    yield postgres_cluster.url(name)
    postgres_cluster.drop(name)


@pytest.fixture(scope="session")
def migrated_sqlite_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A SQLite database at the newest migration, to be copied."""
    path = tmp_path_factory.mktemp("template") / "batchkit.db"
    _migrate(f"sqlite:///{path}")
    return path


@pytest.fixture
def migrated_sqlite_url(migrated_sqlite_file: Path, tmp_path: Path) -> str:
    """The URL of a SQLite database at the newest migration."""
    return f"sqlite:///{shutil.copy2(migrated_sqlite_file, tmp_path / 'batchkit.db')}"


@pytest.fixture(params=["sqlite", "postgres"])
def migrated_url(request: pytest.FixtureRequest) -> str:
    """The URL of a database with batchkit's tables: the test runs on SQLite and on Postgres."""
    url: str = request.getfixturevalue(f"migrated_{request.param}_url")
    return url


def _migrate(url: str) -> None:
    from batchkit.store import migrate
    from batchkit.store.database import Database

    database = Database(url)
    migrate.upgrade(database)
    database.engine.dispose()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with what takes long: at the end no core waits for what the other one still has."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish() -> None:
    """Look for garbage among what tests make: a twentieth of their time went by in looking for it
    among all that was imported.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000)
    gc.enable()


def pytest_terminal_summary(terminalreporter: Any, config: pytest.Config) -> None:
    """Print the crash and the fault matrix; every case of it with ``-v``."""
    reports = [one for stat in terminalreporter.stats.values() for one in stat]
    rows = tables.drawn(tables.lines_of(reports), every=config.get_verbosity() > 0)
    if rows:
        terminalreporter.section("what was broken, and what it cost")
        terminalreporter.write_line("\n".join(rows))
