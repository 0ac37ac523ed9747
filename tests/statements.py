"""Statements compiled once a process.

SQLAlchemy keeps them by engine, and nearly every test has an engine of its own: compiling the same
two hundred statements again was a fifth of the time of the whole run.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest
from sqlalchemy import Engine
from sqlalchemy.sql.compiler import SQLCompiler

from batchkit.store import database


class Statements:
    """What engines of one kind share; keys begin with the engine's own dialect."""

    def __init__(self) -> None:
        self._known: dict[Any, SQLCompiler] = {}

    def get(self, key: tuple[Any, ...]) -> SQLCompiler | None:
        """Return what any engine of this kind compiled."""
        return self._known.get(key[1:])

    def __setitem__(self, key: tuple[Any, ...], compiled: SQLCompiler) -> None:
        self._known[key[1:]] = compiled


@contextmanager
def shared() -> Iterator[None]:
    """Let every database that is opened meanwhile share them with its like."""
    kinds: dict[type, Statements] = {}
    make = database._engine

    def made(*args: Any) -> Engine:
        engine = make(*args)
        cache = kinds.setdefault(type(engine.dialect), Statements())
        engine._compiled_cache = cache  # type: ignore[assignment]
        return engine

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(database, "_engine", made)
        yield
