"""Jobs of a draft that shall go first: they change places with those in front, once, at opening.

A lane is cut from its cursor on, so what goes first must lie first. Only a draft is moved: nobody
has sent it, and what points at a draft's place (an answer that was tried out) stays where it is.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection, bindparam, insert, select, update

from batchkit.model import Json, Level
from batchkit.store.events import note
from batchkit.store.tables import SHELF, attempts, jobs, lanes, prefixes

_CHUNK = 400


@dataclass(frozen=True, slots=True)
class NewPrefix:
    """A prefix worth priming; ``primer_seq`` is a job of the draft that begins with it."""

    lane_id: int
    level: Level
    digest: bytes
    primer_seq: int
    tokens: int
    jobs: int


@dataclass(frozen=True, slots=True)
class Front:
    """What goes first of what an opening releases.

    ``canary`` is what the run's row shall say of its canary, ``tried`` the jobs for it by lane;
    ``primed`` are prefixes whose primers go before the rest.
    """

    canary: Json | None = None
    tried: Mapping[int, Sequence[int]] | None = None
    primed: Sequence[NewPrefix] = ()


def arrange(
    connection: Connection, run_id: int, front: Front, released: Mapping[int, int], now: datetime
) -> Json | None:
    """Move the draft's jobs so that those of ``front`` lie first; return the canary with its zones.

    ``released`` are the watermarks to be; each zone is (lane_id, from, to, watermark).
    """
    zones: list[tuple[int, int, int, int]] = []
    planted: list[NewPrefix] = []
    for lane_id, watermark in sorted(released.items()):
        lane = connection.execute(select(lanes).where(lanes.c.id == lane_id)).one()
        start = int(lane.released)
        if watermark <= start or not lane.provider:
            continue
        tried = list((front.tried or {}).get(lane_id, ()))
        end, moved = _forward(connection, lane_id, start, watermark, tried)
        if front.canary is not None:
            zones.append((lane_id, start, end, watermark))
        mine = [one for one in front.primed if one.lane_id == lane_id]
        places = {moved.get(one.primer_seq, one.primer_seq): one for one in mine}
        _, again = _forward(connection, lane_id, end, watermark, sorted(places))
        for place, one in places.items():
            planted.append(_at(one, again.get(place, place)))
    _plant(connection, run_id, planted)
    if planted:
        note(connection, run_id, now, "priming", prefixes=len(planted))
    if front.canary is None:
        return None
    return {"why": [], **front.canary, "zones": [list(zone) for zone in zones]}


def _at(one: NewPrefix, seq: int) -> NewPrefix:
    return NewPrefix(one.lane_id, one.level, one.digest, seq, one.tokens, one.jobs)


def _plant(connection: Connection, run_id: int, planted: Sequence[NewPrefix]) -> None:
    rows = [
        {
            "run_id": run_id,
            "lane_id": one.lane_id,
            "level": one.level,
            "digest": one.digest,
            "primer_seq": one.primer_seq,
            "tokens": one.tokens,
            "jobs": one.jobs,
        }
        for one in planted
    ]
    if rows:
        connection.execute(insert(prefixes), rows)


def _forward(
    connection: Connection, lane_id: int, start: int, watermark: int, wanted: Sequence[int]
) -> tuple[int, dict[int, int]]:
    """Bring jobs to the first free places from ``start`` on; return where they end, and who moved.

    Left where it is: what is no draft any more, and what has an attempt. Who is in the way takes
    the place that became free.
    """
    if not wanted:
        return start, {}
    fixed = _with_attempts(connection, lane_id, start, watermark)
    movable = _there(connection, lane_id, start, watermark, wanted) - fixed
    places: list[int] = []
    at = start
    while len(places) < len(movable):
        if at not in fixed:
            places.append(at)
        at += 1
    away = sorted(movable - set(places))
    free = sorted(set(places) - movable)
    moves = {**dict(zip(away, free, strict=True)), **dict(zip(free, away, strict=True))}
    _move(connection, lane_id, moves)
    return at, moves


def _with_attempts(connection: Connection, lane_id: int, lo: int, hi: int) -> set[int]:
    query = select(attempts.c.seq).where(
        attempts.c.shelf == SHELF,
        attempts.c.lane_id == lane_id,
        attempts.c.seq >= lo,
        attempts.c.seq < hi,
    )
    return {int(seq) for seq in connection.execute(query).scalars()}


def _there(
    connection: Connection, lane_id: int, lo: int, hi: int, wanted: Sequence[int]
) -> set[int]:
    found: set[int] = set()
    for chunk in _chunks(seq for seq in wanted if lo <= seq < hi):
        query = select(jobs.c.seq).where(
            jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id, jobs.c.seq.in_(chunk)
        )
        found.update(int(seq) for seq in connection.execute(query).scalars())
    return found


def _move(connection: Connection, lane_id: int, moves: Mapping[int, int]) -> None:
    """Change places by way of negative ones, which nobody has."""
    if not moves:
        return
    mine = (jobs.c.shelf == SHELF, jobs.c.lane_id == lane_id)
    for chunk in _chunks(moves):
        connection.execute(
            update(jobs).where(*mine, jobs.c.seq.in_(chunk)).values(seq=-1 - jobs.c.seq)
        )
    connection.execute(
        update(jobs).where(*mine, jobs.c.seq == bindparam("old")).values(seq=bindparam("new")),
        [{"old": -1 - old, "new": new} for old, new in moves.items()],
    )


def _chunks(seqs: Iterable[int]) -> list[list[int]]:
    listed = list(seqs)
    return [listed[at : at + _CHUNK] for at in range(0, len(listed), _CHUNK)]
