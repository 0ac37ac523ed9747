"""Fixtures for whole runs."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchkit.testing import FakeProvider, ManualClock
from tests import postgres
from tests.engine.crashes import Server
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
