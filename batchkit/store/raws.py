"""Stored raw answers that may be judged again, and what comes of it: nothing is bought."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, and_, bindparam, exists, or_, select, update

from batchkit.model import Json
from batchkit.store import local
from batchkit.store.database import Database, insert_new
from batchkit.store.events import note
from batchkit.store.rows import Settled, made
from batchkit.store.runs import LIVE, close_if_done, locked
from batchkit.store.tables import SHELF, attempts, batches, jobs, lanes, members, templates

_PAGE = 1_000


@dataclass(frozen=True, slots=True)
class Raw:
    """One job's last answer: ``failed``, ``again`` (it waits to be bought again) or ``completed``.

    ``asked_id`` is the template it was asked with where that is not the one it is read with.
    """

    lane_id: int
    seq: int
    batch_id: int
    key: str
    state: str
    template_id: int
    asked_id: int | None
    own: Json
    documents: list[Json] | None
    answer: str
    citations: list[Json] | None
    finish: str | None
    model: str | None
    request_id: str | None


@dataclass(frozen=True, slots=True)
class Reading:
    """One raw answer that fits: which template it is read with from now on, and its identity."""

    raw: Raw
    template: Json
    template_digest: bytes
    digest: bytes


class Raws:
    """Answers that are paid for and stored, in the light of a model that was mended."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def of_run(
        self, run_id: int, codes: Sequence[str], *, completed: bool = False
    ) -> Iterator[Raw]:
        """Stream answers with one of these problems, by lane and place; ``completed`` ones, too.

        Those that ended for it, and those that wait to be asked again because of it. Drafts, what
        was replaced, and what is in flight are left out.
        """
        later = attempts.alias("later")
        newest = ~exists().where(
            later.c.shelf == attempts.c.shelf,
            later.c.lane_id == attempts.c.lane_id,
            later.c.seq == attempts.c.seq,
            later.c.batch_id > attempts.c.batch_id,
        )
        ended = and_(attempts.c.final, attempts.c.state == "failed", attempts.c.code.in_(codes))
        held = and_(attempts.c.final.is_(False), attempts.c.code.in_(codes), _is_queued(), newest)
        wanted = [ended, held]
        if completed:
            wanted.append(and_(attempts.c.final, attempts.c.state == "completed"))
        query = (
            select(
                *(attempts.c[name] for name in _OF_ATTEMPT),
                *(jobs.c[name] for name in _OF_JOB),
            )
            .join(jobs, _job())
            .join(batches, batches.c.id == attempts.c.batch_id)
            .join(lanes, lanes.c.id == attempts.c.lane_id)
            .where(attempts.c.run_id == run_id, attempts.c.answer.is_not(None), or_(*wanted))
            .where(jobs.c.superseded.is_(False), jobs.c.seq < lanes.c.released)
            .where(batches.c.state.not_in(LIVE), ~_flies())
            .order_by(attempts.c.lane_id, attempts.c.seq)
        )
        with self._database.read() as connection:
            options = connection.execution_options(yield_per=_PAGE)
            with closing(options.execute(query)) as rows:
                yield from (made(Raw, row) for row in rows.mappings())

    def questions(self, run_id: int) -> set[tuple[str, str]]:
        """Return (stored name, fingerprint) of every class that a run's answers are read as."""
        query = select(templates.c.data).where(templates.c.run_id == run_id)
        with self._database.read() as connection:
            return {
                (str(data["response_model"]), str(data["schema"]["fingerprint"]))
                for data in connection.execute(query).scalars()
                if data.get("schema") is not None and data.get("response_model") is not None
            }

    def take(self, run_id: int, readings: Sequence[Reading], now: datetime) -> int:
        """Complete what fits at cost 0 and read it with its new template; return how many.

        All of one lane. What has moved on since it was judged is left as it is; the attempts that
        were paid for stay on the books.
        """
        if not readings:
            return 0
        lane_id = readings[0].raw.lane_id
        with self._database.write(durable=True) as connection:
            locked(connection, run_id)
            still = _standing(connection, lane_id, [one.raw.seq for one in readings])
            standing = [one for one in readings if _mark(one.raw) in still]
            mended = [one.raw for one in standing if one.raw.state != "completed"]
            local.unfail(connection, run_id, lane_id, [raw.seq for raw in mended])
            local.book(connection, run_id, lane_id, [_settled(raw) for raw in mended], now)
            _read_with(connection, run_id, standing)
            if mended:
                note(connection, run_id, now, "reparsed", jobs=len(mended))
                close_if_done(connection, run_id, now)
            return len(mended)


def carry(connection: Connection, run_id: int, pairs: Sequence[tuple[Any, Any]]) -> None:
    """Let answers that were taken over, (mine, theirs) by place, be read as theirs were."""
    mine = {theirs: place for place, theirs in pairs}
    for lane_id in {lane for _, (lane, _) in pairs}:
        seqs = [seq for _, (lane, seq) in pairs if lane == lane_id]
        query = (
            select(jobs.c.seq, templates.c.digest, templates.c.data)
            .join(templates, templates.c.id == jobs.c.asked_id)
            .where(jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq.in_(seqs))
        )
        for seq, digest, data in connection.execute(query).all():
            asked_id = _template(connection, run_id, digest, data)
            own_lane, own_seq = mine[lane_id, seq]
            connection.execute(
                update(jobs)
                .where(jobs.c.shelf == SHELF, jobs.c.lane_id == own_lane, jobs.c.seq == own_seq)
                .values(asked_id=asked_id)
            )


_OF_ATTEMPT = (
    *("lane_id", "seq", "batch_id", "state", "answer"),
    *("citations", "finish", "model", "request_id"),
)
_OF_JOB = ("key", "template_id", "asked_id", "own", "documents")


def _job() -> Any:
    return and_(
        jobs.c.shelf == attempts.c.shelf,
        jobs.c.lane_id == attempts.c.lane_id,
        jobs.c.seq == attempts.c.seq,
    )


def _is_queued() -> Any:
    return exists().where(
        members.c.lane_id == attempts.c.lane_id,
        members.c.seq == attempts.c.seq,
        members.c.batch_id.is_(None),
    )


def _mark(raw: Raw) -> tuple[int, int, bool]:
    return raw.seq, raw.batch_id, raw.state == "completed"


def _standing(
    connection: Connection, lane_id: int, seqs: Sequence[int]
) -> set[tuple[int, int, bool]]:
    """Return (seq, batch_id, completed) of answers that are still their jobs', now it is locked."""
    query = (
        select(attempts.c.seq, attempts.c.batch_id, attempts.c.state)
        .join(jobs, _job())
        .where(attempts.c.shelf == SHELF, attempts.c.lane_id == lane_id)
        .where(attempts.c.seq.in_(seqs), or_(attempts.c.final, _is_queued()))
        .where(jobs.c.superseded.is_(False), ~_flies())
    )
    return {(int(s), int(b), state == "completed") for s, b, state in connection.execute(query)}


def _flies() -> Any:
    """Say in SQL that a job's place is in a live batch: whether it was sent with it or left out."""
    live = batches.alias("live")
    in_range = exists().where(
        live.c.lane_id == attempts.c.lane_id,
        live.c.lo <= attempts.c.seq,
        live.c.hi > attempts.c.seq,
        live.c.state.in_(LIVE),
    )
    as_member = exists().where(
        members.c.lane_id == attempts.c.lane_id,
        members.c.seq == attempts.c.seq,
        members.c.batch_id == live.c.id,
        live.c.state.in_(LIVE),
    )
    return or_(in_range, as_member)


def _settled(raw: Raw) -> Settled:
    return Settled(
        seq=raw.seq,
        attempt_no=0,
        state="completed",
        answer=raw.answer,
        citations=raw.citations,
        finish=raw.finish,
        model=raw.model,
        request_id=raw.request_id,
        ran=False,
    )


def _read_with(connection: Connection, run_id: int, readings: Sequence[Reading]) -> None:
    """Write the template that answers are read with; the one they were asked with is kept."""
    rows = []
    for one in readings:
        new = _template(connection, run_id, one.template_digest, one.template)
        if new != one.raw.template_id:
            asked = one.raw.asked_id or one.raw.template_id
            place = {"at_lane": one.raw.lane_id, "at_seq": one.raw.seq}
            rows.append({**place, "template_id": new, "asked_id": asked, "digest": one.digest})
    if rows:
        place_of = (
            jobs.c.shelf == SHELF,
            jobs.c.lane_id == bindparam("at_lane"),
            jobs.c.seq == bindparam("at_seq"),
        )
        connection.execute(update(jobs).where(*place_of), rows)


def _template(connection: Connection, run_id: int, digest: bytes, data: Json) -> int:
    values = {"run_id": run_id, "digest": digest, "data": data}
    connection.execute(insert_new(connection, templates, values))
    where = (templates.c.run_id == run_id, templates.c.digest == digest)
    return int(connection.execute(select(templates.c.id).where(*where)).scalar_one())
