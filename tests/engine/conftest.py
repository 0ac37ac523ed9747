"""Fixtures for whole runs."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchkit.testing import FakeProvider, ManualClock
from tests.engine.nights import Night

MakeNight = Callable[..., Night]


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
