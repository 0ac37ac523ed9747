"""Rows in, typed rows out: a door to the same engine, persistent, resumable and on the books."""

from __future__ import annotations

import asyncio
import os
import weakref
from collections.abc import Iterable, Mapping
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from batchkit import settings
from batchkit.clock import Clock, SystemClock
from batchkit.errors import ConfigError
from batchkit.providers import Provider
from batchkit.store import Store
from batchkit.transform.outcome import Metrics, RowResult, TransformResult
from batchkit.transform.rows import Row, rows_of, several
from batchkit.transform.work import Question, Work, checked_params

T = TypeVar("T", bound=BaseModel)


class Transform(Generic[T]):
    """One question to many rows: each comes back as one ``output_model``, in the input's order.

    ``prompt`` is the instruction; ``batch_size`` rows share a request, shown as numbered JSON. A
    row that an answer leaves out or names twice is asked for again, alone, and so are the rows of
    a request that failed. ``concurrency`` is provider batches in flight; ``max_retries=3`` is 4
    attempts a row. ``shuffle`` mixes the rows before they are put together, the same way each
    time. With ``stop_on_exhaustion`` a row without an output is an ExhaustionError that carries
    what was done; without, failures are collected.

    The run behind it is called ``name``; the same name and rows again buy nothing, more rows buy
    only those. Without a name it follows from question, model and rows. ``cost_limit`` is US
    dollars over the run's life. Raises ConfigError for what cannot work.
    """

    def __init__(
        self,
        prompt: str,
        output_model: type[T],
        batch_size: int = 10,
        concurrency: int = 3,
        max_retries: int = 3,
        shuffle: bool = False,
        stop_on_exhaustion: bool = True,
        *,
        name: str | None = None,
        database: str | os.PathLike[str] | None = None,
        cost_limit: float | None = None,
        project: str | None = None,
        clock: Clock | None = None,
        providers: Mapping[str, Provider] | None = None,
    ) -> None:
        if not isinstance(prompt, str) or not prompt.strip():
            raise ConfigError("prompt is empty: say what to do with each row.")
        if not isinstance(output_model, type) or not issubclass(output_model, BaseModel):
            raise ConfigError(
                f"output_model must be a pydantic model class, not {output_model!r:.60}, for "
                "example: class Mood(BaseModel): mood: str"
            )
        _check_whole("batch_size", batch_size, 1)
        _check_whole("concurrency", concurrency, 1)
        _check_whole("max_retries", max_retries, 0)
        if cost_limit is not None and not cost_limit > 0:
            raise ConfigError(f"cost_limit must be above 0 US dollars, not {cost_limit!r}.")
        self._question = Question(
            prompt=prompt,
            output_model=output_model,
            answers=several(output_model),
            batch_size=batch_size,
            concurrency=concurrency,
            max_retries=max_retries,
            shuffle=shuffle,
            stop=stop_on_exhaustion,
            name=name,
            project=settings.project(project),
            database=database,
            cost_limit=cost_limit,
        )
        self._clock = clock or SystemClock()
        self._providers = providers

    def run(
        self, model: str, data: Iterable[Mapping[str, Any]], **params: Any
    ) -> TransformResult[T]:
        """Ask every row and wait for the answers; go on where an earlier call was stopped.

        ``params`` are ``add_job``'s: ``max_tokens`` (of one request), ``temperature``, ``price``, …
        Raises RuntimeError in a running event loop, ExhaustionError, and what ``Batch.run`` raises.
        """
        _refuse_loop("run")
        work = self._work(model, rows_of(data), params)
        while (batch := work.next_round()) is not None:
            work.take(batch.run())
        return work.result()

    async def arun(
        self, model: str, data: Iterable[Mapping[str, Any]], **params: Any
    ) -> TransformResult[T]:
        """Do as ``run``; cancelled, it detaches first."""
        work = await asyncio.to_thread(self._work, model, rows_of(data), params)
        while (batch := await asyncio.to_thread(work.next_round)) is not None:
            work.take(await batch.arun())
        return await asyncio.to_thread(work.result)

    def test(
        self, model: str, data: Iterable[Mapping[str, Any]], **params: Any
    ) -> TransformResult[T]:
        """Ask the first row now, alone, through the real-time API at full price.

        ``run`` takes its answer; a second test of the row does not pay again. Raises ConfigError
        for empty data.
        """
        _refuse_loop("test")
        return self._tested(model, data, params)

    async def atest(
        self, model: str, data: Iterable[Mapping[str, Any]], **params: Any
    ) -> TransformResult[T]:
        """Do as ``test``."""
        return await asyncio.to_thread(self._tested, model, data, params)

    def _tested(
        self, model: str, data: Iterable[Mapping[str, Any]], params: Mapping[str, Any]
    ) -> TransformResult[T]:
        rows = rows_of(data)
        if not rows:
            raise ConfigError("There is no row to test: data is empty.")
        work = self._work(model, rows, params)
        batch = work.trial()
        tried = None if batch is None else batch.test(1)[0]
        return work.result(tried)

    def _work(self, model: str, rows: list[Row], params: Mapping[str, Any]) -> Work[T]:
        checked_params(params)
        store = Store(settings.database(self._question.database))
        work = Work(self._question, model, rows, params, store, self._clock, self._providers)
        weakref.finalize(work, store.database.close)
        return work


def _check_whole(name: str, value: Any, least: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        raise ConfigError(f"{name} must be a whole number of {least} or more, not {value!r}.")


def _refuse_loop(name: str) -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    raise RuntimeError(
        f"{name}() would block the event loop that is running here: use `await …a{name}(…)`."
    )


__all__ = ["Metrics", "RowResult", "Transform", "TransformResult"]
