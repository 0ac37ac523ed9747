"""Where runs lie, and what to say where one is not found."""

from __future__ import annotations

import weakref
from difflib import get_close_matches
from pathlib import Path

from batchkit import leaving
from batchkit.store import Store


def opened(where: str) -> Store | None:
    """Open a store that closes itself with the last handle; None for a file that is not there."""
    leaving.write_down_gone()
    if "://" not in where and not Path(where).exists():
        return None
    store = Store(where)
    weakref.finalize(store, store.database.close)
    return store


def not_found(store: Store, project: str, asked: str) -> str:
    """Say that there is no such run, and which are like it."""
    names = [row.name for row in store.runs.all(project, 1_000)]
    near = get_close_matches(asked, names, 3)
    hint = f"Did you mean {' or '.join(repr(name) for name in near)}?" if near else ""
    if not near:
        latest = ", ".join(repr(name) for name in names[:5])
        hint = f"The latest there: {latest}." if names else "There are none in it."
    return f"There is no run {asked!r} in project {project!r} of {store.shown}. {hint}"
