"""A builder on either database, with a provider in memory and a clock that waiting moves."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batchkit.builder import Batch
from batchkit.store import Store
from batchkit.testing import FakeProvider, ManualClock

PRICE = {"input": 1.0, "output": 5.0}

Make = Callable[..., Batch]


@pytest.fixture
def clock() -> ManualClock:
    """A time that stands still until somebody waits."""
    return ManualClock()


@pytest.fixture
def fake(clock: ManualClock) -> FakeProvider:
    """A provider in memory that answers with its prompt."""
    return FakeProvider(clock=clock)


@pytest.fixture
def make(migrated_url: str, clock: ManualClock, fake: FakeProvider) -> Make:
    """Make a builder, as a script does each time it is started; on SQLite and on Postgres."""
    return maker(migrated_url, clock, fake)


@pytest.fixture
def lite(migrated_sqlite_url: str, clock: ManualClock, fake: FakeProvider) -> Make:
    """Make a builder on SQLite, where the database makes no difference."""
    return maker(migrated_sqlite_url, clock, fake)


def maker(url: str, clock: ManualClock, fake: FakeProvider) -> Make:
    """Return what makes builders with a model and a verbosity of their own."""

    def make(**settings: Any) -> Batch:
        given = {"database": url, "clock": clock, "providers": {fake.name: fake}, **settings}
        batch = Batch(**given).set_verbosity("error")
        return batch.set_default_params(model="fake-1", max_tokens=100)

    return make


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    """The rows behind `make`."""
    opened = Store(migrated_url)
    yield opened
    opened.close()


def with_jobs(batch: Batch, count: int, prompt: str = "say {}", **settings: Any) -> Batch:
    """Add jobs with keys k0, k1, …"""
    for number in range(count):
        batch.add_job(prompt=prompt.format(number), key=f"k{number}", **settings)
    return batch


def keyless(batch: Batch, count: int, prompt: str = "say {}", **settings: Any) -> Batch:
    """Add jobs that only their content names."""
    for number in range(count):
        batch.add_job(prompt=prompt.format(number), **settings)
    return batch
