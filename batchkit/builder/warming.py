"""What a run needs is imported while its jobs are still added, a piece after each page.

The database writes a page down then, and Python would wait for it: most of a second that whoever
adds many jobs does not wait for at ``run``. Not by a thread: an import asks for Python's lock at
each file, and would wait for it longer than it works.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from importlib import import_module

from batchkit.providers import Preparer, Provider

_ROOMS = ("batchkit.engine", "batchkit.run", "batchkit.store.batches")


def steps(providers: Callable[[], Sequence[Provider]]) -> Iterator[None]:
    """Import one piece at each step; what cannot be imported is told by whoever needs it."""
    for room in _ROOMS:
        with suppress(Exception):
            import_module(room)
        yield
    for provider in providers():
        if isinstance(provider, Preparer):
            with suppress(Exception):
                provider.prepare()
            yield
