"""Sums over a run, for people: tokens, retries, what each model was used for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import closing
from typing import Any

from sqlalchemy import RowMapping, and_, func, select

from batchkit.model import Json
from batchkit.store.database import Database
from batchkit.store.tables import attempts, batches, jobs, lanes, templates

_PAGE = 200
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


class Reports:
    """Nothing here writes, and nothing here looks at answers."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def templates(self, run_id: int) -> Iterator[Json]:
        """Stream what a run's jobs share."""
        query = select(templates.c.data).where(templates.c.run_id == run_id)
        with self._database.read() as connection:
            options = connection.execution_options(yield_per=_PAGE)
            with closing(options.execute(query.order_by(templates.c.id))) as rows:
                for row in rows:
                    yield dict(row.data)

    def usage(self, run_id: int, above: int | None = None) -> list[RowMapping]:
        """Return what was used, one row a provider and model, every attempt that was billed.

        ``model`` is the one that was asked where a lane has one, else the one that answered. Rows
        hold ``provider, model, attempts, cost, unknown`` (attempts without a known cost) and
        the sums of tokens; with ``above`` only of requests with more input than that.
        """
        model = func.coalesce(func.nullif(lanes.c.model, ""), attempts.c.model)
        query = (
            select(
                lanes.c.provider,
                model.label("model"),
                func.count().label("attempts"),
                (func.count() - func.count(attempts.c.cost)).label("unknown"),
                func.coalesce(func.sum(attempts.c.cost), 0).label("cost"),
                *(func.coalesce(func.sum(attempts.c[name]), 0).label(name) for name in _TOKENS),
            )
            .join(lanes, lanes.c.id == attempts.c.lane_id)
            .where(*_collected(run_id), attempts.c.reused_from.is_(None))
            .where(attempts.c.input_tokens > (above or 0), attempts.c.cost.is_distinct_from(0))
            .group_by(lanes.c.provider, model)
            .order_by(lanes.c.provider, model)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def again(self, run_id: int) -> dict[str, int]:
        """Count the attempts after which a job went again, by reason."""
        query = (
            select(attempts.c.code, func.count())
            .where(*_collected(run_id), attempts.c.state == "again")
            .group_by(attempts.c.code)
            .order_by(func.count().desc())
        )
        with self._database.read() as connection:
            return {str(code): int(count) for code, count in connection.execute(query)}

    def reasons(self, run_id: int) -> list[tuple[str, str | None, int]]:
        """Return (state, code, count) of the jobs that ended without an answer, most first."""
        query = (
            select(attempts.c.state, attempts.c.code, func.count())
            .join(jobs, _job())
            .where(*_unanswered(run_id))
            .group_by(attempts.c.state, attempts.c.code)
            .order_by(func.count().desc(), attempts.c.code)
        )
        with self._database.read() as connection:
            return [(state, code, int(count)) for state, code, count in connection.execute(query)]

    def examples(
        self, run_id: int, state: str, code: str | None, limit: int
    ) -> list[tuple[str, str]]:
        """Return (key, error) of some jobs that ended so, in order of adding."""
        query = (
            select(jobs.c.key, attempts.c.error)
            .select_from(attempts)
            .join(jobs, _job())
            .where(*_unanswered(run_id), attempts.c.state == state)
            .where(attempts.c.code.is_not_distinct_from(code))
            .order_by(jobs.c.no)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [(str(key), str(error or "")) for key, error in connection.execute(query)]

    def reused(self, run_id: int) -> int:
        """Count the jobs whose answer another run had paid for."""
        query = (
            select(func.count())
            .select_from(attempts)
            .where(*_collected(run_id), attempts.c.final)
            .where(attempts.c.reused_from.is_not(None))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def asked(self, run_id: int) -> list[RowMapping]:
        """Return one row a lane and template over a started run's jobs, for an estimate.

        Rows hold ``provider, lane_id, template_id, jobs, tokens, bound, unpriced``.
        """
        query = (
            select(
                lanes.c.provider,
                lanes.c.id.label("lane_id"),
                jobs.c.template_id,
                func.count().label("jobs"),
                func.sum(jobs.c.tokens).label("tokens"),
                func.coalesce(func.sum(jobs.c.bound), 0).label("bound"),
                (func.count() - func.count(jobs.c.bound)).label("unpriced"),
            )
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == 0, jobs.c.run_id == run_id, jobs.c.superseded.is_(False))
            .where(jobs.c.seq < lanes.c.released)
            .group_by(lanes.c.provider, lanes.c.id, jobs.c.template_id)
        )
        with self._database.read() as connection:
            return list(connection.execute(query).mappings())

    def some(self, lane_id: int, template_id: int, limit: int) -> list[Any]:
        """Return some jobs of a lane and template as ``own, documents, tokens``, first ones."""
        query = (
            select(jobs.c.own, jobs.c.documents, jobs.c.tokens)
            .where(and_(jobs.c.shelf == 0, jobs.c.lane_id == lane_id))
            .where(jobs.c.template_id == template_id)
            .order_by(jobs.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return list(connection.execute(query))


def _job() -> Any:
    return and_(
        jobs.c.shelf == attempts.c.shelf,
        jobs.c.lane_id == attempts.c.lane_id,
        jobs.c.seq == attempts.c.seq,
    )


def _collected(run_id: int) -> tuple[Any, ...]:
    """Choose the attempts of a run that count, by its batches: attempts have no index by run."""
    mine = select(batches.c.id).where(
        batches.c.run_id == run_id, batches.c.collected_no.is_not(None)
    )
    return attempts.c.shelf == 0, attempts.c.batch_id.in_(mine)


def _unanswered(run_id: int) -> tuple[Any, ...]:
    return (
        *_collected(run_id),
        attempts.c.final,
        attempts.c.state.in_(("failed", "cancelled")),
        jobs.c.superseded.is_(False),
    )
