"""A store on SQLite and on Postgres, one after the other."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from batchkit.store import Store


@pytest.fixture
def store(migrated_url: str) -> Iterator[Store]:
    made = Store(migrated_url)
    yield made
    made.close()
