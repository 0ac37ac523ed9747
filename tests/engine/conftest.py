"""Fixtures for whole runs."""

from __future__ import annotations

import shutil
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchkit.testing import FakeProvider, ManualClock
from tests import postgres
from tests.engine.crashes import WHOLE, Server
from tests.engine.nights import Night

MakeNight = Callable[..., Night]
Database = Callable[[], str]


@pytest.fixture
def make_night(migrated_url: str, tmp_path: Path) -> Iterator[MakeNight]:
    """Make a night on each database; keyword arguments go to the fake provider."""
    made: list[Night] = []

    def make(**options: Any) -> Night:
        clock = ManualClock()
        fake = FakeProvider(clock=clock, **options)
        made.append(Night(migrated_url, tmp_path, fake, clock))
        return made[-1]

    yield make
    for night in made:
        night.store.close()


@pytest.fixture
def night(make_night: MakeNight) -> Night:
    """One night with a provider that behaves."""
    return make_night()


@pytest.fixture(scope="session")
def server() -> Iterator[Server]:
    """The process that forks those that are killed."""
    with Server() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgres"])
def fresh(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Database]:
    """Make databases with batchkit's tables, as many as a matrix needs."""
    if request.param == "sqlite":
        template: Path = request.getfixturevalue("migrated_sqlite_file")
        numbers = iter(range(10_000))
        yield lambda: f"sqlite:///{shutil.copy2(template, tmp_path / f'{next(numbers)}.db')}"
        return
    from tests.conftest import _migrate

    cluster: postgres.Cluster = request.getfixturevalue("postgres_cluster")
    made: list[str] = []

    def make() -> str:
        made.append(cluster.create(cluster.template("migrated", _migrate)))
        return cluster.url(made[-1])

    yield make
    for name in made:
        cluster.drop(name)


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Of what is marked ``matrix``, let each case meet both providers and both databases, once
    each: openai on one database, anthropic on the other, by chance of the case's name.
    """
    left = [] if WHOLE else [item for item in items if not _is_drawn(item)]
    if left:
        gone = set(left)
        config.hook.pytest_deselected(items=left)
        items[:] = [item for item in items if item not in gone]


def _is_drawn(item: pytest.Item) -> bool:
    call = getattr(item, "callspec", None)
    if call is None or item.get_closest_marker("matrix") is None:
        return True
    words = call.id.split("-")
    pair = {"openai", "anthropic", "sqlite", "postgres"}.intersection(words)
    case = [item.location[2].partition("[")[0], *(word for word in words if word not in pair)]
    straight = pair in ({"openai", "sqlite"}, {"anthropic", "postgres"})
    return len(pair) != 2 or straight == bool(zlib.crc32("-".join(case).encode()) % 2)
