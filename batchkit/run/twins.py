"""Async twins: the same work in a thread, never written twice."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator
from functools import wraps
from itertools import islice
from typing import Any, ParamSpec, TypeVar

T = TypeVar("T")
P = ParamSpec("P")

_AT_ONCE = 100


def twin(
    work: Callable[P, T],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async twin of a method that reads or writes the database and returns."""

    @wraps(work)
    async def made(*args: P.args, **kwargs: P.kwargs) -> T:
        return await asyncio.to_thread(work, *args, **kwargs)

    return _named(made, work, "in a thread.")


def driving_twin(
    work: Callable[P, T],
) -> Callable[P, Coroutine[Any, Any, T]]:
    """Return the async twin of a method that drives a run and takes ``stop=``.

    Cancelled, it detaches and waits until the thread has returned; cancelled again, it leaves.
    """

    @wraps(work)
    async def made(*args: P.args, **kwargs: P.kwargs) -> T:
        stop: Any = kwargs.setdefault("stop", threading.Event())
        task = asyncio.ensure_future(asyncio.to_thread(work, *args, **kwargs))
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            stop.set()
            await asyncio.wait({task})
            if not task.cancelled():
                task.exception()  # looked at, or asyncio complains that nobody did
            raise

    return _named(made, work, "in a thread; cancelled, it detaches first.")


def streaming_twin(
    work: Callable[P, Iterator[T]],
) -> Callable[P, AsyncIterator[T]]:
    """Return the async twin of a method that streams; it is read ahead, some at a time."""

    @wraps(work)
    async def made(*args: P.args, **kwargs: P.kwargs) -> AsyncIterator[T]:
        items = work(*args, **kwargs)
        while page := await asyncio.to_thread(lambda: list(islice(items, _AT_ONCE))):
            for item in page:
                yield item

    return _named(made, work, "in a thread, as an async iterator.")


def _named(made: T, work: Callable[..., Any], how: str) -> T:
    """Give a twin its own name and words; the signature stays that of the original."""
    name = work.__name__
    twins: Any = made
    twins.__name__ = f"a{name}"
    twins.__qualname__ = f"{work.__qualname__.rpartition('.')[0]}.a{name}".lstrip(".")
    twins.__doc__ = f"Do as ``{name}``, {how}"
    return made
