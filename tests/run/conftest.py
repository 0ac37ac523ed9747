"""Fixtures for runs that are looked at."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.run.scenes import Scene


@pytest.fixture
def scene(migrated_url: str, tmp_path: Path) -> Iterator[Scene]:
    """A run's surroundings, on each database."""
    made = Scene(migrated_url, tmp_path)
    yield made
    made.store.close()


@pytest.fixture
def lite(migrated_sqlite_url: str, tmp_path: Path) -> Iterator[Scene]:
    """The same on SQLite alone, for what the database has no part in."""
    made = Scene(migrated_sqlite_url, tmp_path)
    yield made
    made.store.close()
