"""Runs: made as drafts, opened by a person, closed when every job has ended."""

from __future__ import annotations

import secrets
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from batchkit.errors import RunNotFoundError
from batchkit.model import Json, Reserve
from batchkit.store import fronts, local, revival
from batchkit.store.database import Database
from batchkit.store.events import note
from batchkit.store.fronts import Front
from batchkit.store.rows import RunRow, made
from batchkit.store.tables import (
    attempts,
    batches,
    events,
    jobs,
    lanes,
    loans,
    members,
    prefixes,
    runs,
    templates,
    uploads,
)

LIVE = ("sealed", "submitting", "running", "ended")

_OWNED = (attempts, members, jobs, loans, batches, events, templates, prefixes, lanes)
"""What goes with its run."""


@dataclass(frozen=True, slots=True)
class Opening:
    """What opening a run changes, all in one transaction.

    ``spec`` are settings; those it does not name stay. ``released`` gives each lane's new
    watermark. ``dropped`` are rows that were never sent and simply go; ``superseded`` are rows
    whose answers stay as revisions; ``gone`` are cancelled; all are (lane_id, seq). ``front`` is
    what goes first of what is released. ``seen`` are the watermarks that all of this was worked
    out by, of every lane that has one; None asks nobody.
    """

    spec: Json
    released: Mapping[int, int]
    dropped: Sequence[tuple[int, int]] = ()
    superseded: Sequence[tuple[int, int]] = ()
    gone: Sequence[tuple[int, int]] = ()
    limits: Json = field(default_factory=dict)
    front: Front = field(default_factory=Front)
    seen: Mapping[int, int] | None = None


class Moved(Exception):
    """Somebody else opened this draft since it was looked at, and jobs changed places.

    Look again.
    """


class Runs:
    """Everything about a run as a whole."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def create(self, project: str, name: str, spec: Json, now: datetime, **extra: Any) -> RunRow:
        """Make a draft, or return the run of that project and name if there is one."""
        values = {
            "uid": f"run-{secrets.token_hex(4)}",
            "project": project,
            "name": name,
            "spec": spec,
            "created_at": now,
            **extra,
        }
        try:
            with self._database.write() as connection:
                connection.execute(insert(runs).values(values))
        except IntegrityError:
            pass  # somebody made it between the look and now: theirs is as good
        found = self.find(project, name)
        if found is None:
            raise RunNotFoundError(f"The run {name!r} could not be made")
        return found

    def note_split(self, run_id: int) -> None:
        """Note that documents of a run are split: what counts them looks at keys from now on."""
        with self._database.write() as connection:
            run = locked(connection, run_id)
            connection.execute(
                update(runs).where(runs.c.id == run_id).values(spec={**run.spec, "split": True})
            )

    def find(self, project: str, name: str) -> RunRow | None:
        """Return the run of that name or id in a project."""
        return self._one(runs.c.project == project, or_(runs.c.name == name, runs.c.uid == name))

    def is_known(self, uid: str) -> bool:
        """Say whether a run of that id is here, of whatever project."""
        return self._one(runs.c.uid == uid) is not None

    def get(self, run_id: int) -> RunRow:
        """Return one run; raise RunNotFoundError if it was removed."""
        row = self._one(runs.c.id == run_id)
        if row is None:
            raise RunNotFoundError("This run was removed from the database")
        return row

    def all(self, project: str | None, limit: int | None = None) -> list[RunRow]:
        """Return runs, newest first."""
        query = select(runs).order_by(runs.c.id.desc()).limit(limit)
        if project is not None:
            query = query.where(runs.c.project == project)
        with self._database.read() as connection:
            return [made(RunRow, row) for row in connection.execute(query).mappings()]

    def unfinished(self, project: str) -> list[RunRow]:
        """Return the runs that were started and have jobs left, by priority, then age."""
        query = (
            select(runs)
            .where(runs.c.project == project, runs.c.opened_at.is_not(None))
            .where(or_(runs.c.finished_at.is_(None), runs.c.expects_more))
            .order_by(runs.c.priority.desc(), runs.c.id)
        )
        with self._database.read() as connection:
            return [made(RunRow, row) for row in connection.execute(query).mappings()]

    def open(self, run_id: int, opening: Opening, now: datetime) -> RunRow:
        """Release a draft's jobs to the submitter; nothing of a draft is seen before.

        Raises Moved, and changes nothing, if somebody else released some since ``opening.seen``.
        """
        with self._database.write(durable=True) as connection:
            run = locked(connection, run_id)
            _refuse_moved(connection, run_id, opening.seen)
            gone = local.still_waiting(connection, opening.gone)
            local.cancel(connection, run, gone, now, "gone", "no longer added")
            dropped = local.still_waiting(connection, opening.dropped)
            # What was sent since the caller looked is no longer to be dropped: it is replaced.
            sent = [*opening.superseded, *sorted(set(opening.dropped) - set(dropped))]
            superseded = local.supersede(connection, run, sent)
            removed = local.remove(connection, dropped)
            canary = fronts.arrange(connection, run_id, opening.front, opening.released, now)
            added, ended = _release(connection, opening.released)
            connection.execute(
                update(runs)
                .where(runs.c.id == run_id)
                .values(
                    spec={**run.spec, **opening.spec},
                    opened_at=func.coalesce(runs.c.opened_at, now),
                    total=runs.c.total + added - removed - superseded,
                    revisions=runs.c.revisions + superseded,
                    waiting_for=None,
                    waiting_since=None,
                    waiting_detail=None,
                    canary=runs.c.canary if canary is None else canary,
                    **{state: runs.c[state] + n for state, n in ended.items()},
                    **opening.limits,
                )
            )
            local.settle_bad_input(connection, run_id, now)
            if run.opened_at is None or added or removed or superseded or gone or opening.limits:
                came = (connection, run_id, now, "opened")
                note(*came, added=added, removed=removed, gone=len(gone))
            close_if_done(connection, run_id, now)
            return made(RunRow, _row(connection, run_id))

    def wake(
        self,
        run_id: int,
        now: datetime,
        limits: Json | None = None,
        *,
        reserve: Reserve | None = None,
        reviewed: bool = False,
    ) -> RunRow:
        """Go on with a run: new limits, no more waiting.

        ``reserve`` is what to reserve from now on, whatever was exceeded before.
        ``reviewed`` says that a person looked at it and named it: what was held back for review
        goes again, and is not held back for the same reason a second time.
        """
        with self._database.write(durable=True) as connection:
            run = locked(connection, run_id)
            values = dict(limits or {})
            if "time_limit_s" in values:
                values["deadline_at"] = _deadline(run, values["time_limit_s"], now)
            values |= {"waiting_for": None, "waiting_since": None, "waiting_detail": None}
            if reserve is not None:
                values["spec"] = {**run.spec, "reserve": reserve, "exceeded": None}
            if reviewed:
                values |= {"hold_until": None, "hold_reason": None}
                values["brakes"] = dict.fromkeys(run.brakes, "off")
                if run.canary is not None and run.canary["state"] == "held":
                    values["canary"] = {**run.canary, "state": "off"}
            connection.execute(update(runs).where(runs.c.id == run_id).values(values))
            changed = {name: str(value) for name, value in (limits or {}).items()}
            if reserve is not None:
                changed["reserve"] = reserve
            if changed:
                note(connection, run_id, now, "limits", changed=changed)
            return made(RunRow, _row(connection, run_id))

    def wait_for(self, run_id: int, what: str | None, detail: str | None, now: datetime) -> None:
        """Note what a run waits for; None when it goes on by itself."""
        with self._database.write() as connection:
            landed = connection.execute(
                update(runs)
                .where(runs.c.id == run_id)
                .where(
                    or_(
                        runs.c.waiting_for.is_distinct_from(what),
                        runs.c.waiting_detail.is_distinct_from(detail),
                    )
                )
                .values(
                    waiting_for=what,
                    waiting_detail=detail,
                    waiting_since=None if what is None else now,
                )
            )
            if landed.rowcount and what is not None:
                note(connection, run_id, now, "waiting", waiting_for=what, reason=detail)

    def request_cancel(self, run_id: int, now: datetime) -> None:
        """Write the wish down: nothing new is sent, what is in flight is cancelled there."""
        with self._database.write(durable=True) as connection:
            # Batches before their run, as every move does it, or Postgres sees a deadlock.
            connection.execute(
                update(batches)
                .where(batches.c.run_id == run_id, batches.c.state.in_(LIVE))
                .values(
                    cancel_requested_at=func.coalesce(batches.c.cancel_requested_at, now),
                    poll_at=now,
                )
            )
            connection.execute(
                update(runs)
                .where(runs.c.id == run_id)
                .values(cancel_requested_at=func.coalesce(runs.c.cancel_requested_at, now))
            )
            note(connection, run_id, now, "cancel_requested")

    def end_waiting(self, run_id: int, code: str, why: str, now: datetime) -> int:
        """End every job that is in no live batch as cancelled; return how many there were."""
        with self._database.write(durable=True) as connection:
            run = locked(connection, run_id)
            count = local.cancel_waiting(connection, run, code, why, now)
            close_if_done(connection, run_id, now)
            return count

    def cancel_keys(self, run_id: int, keys: Sequence[str], now: datetime) -> list[str]:
        """Cancel single jobs that wait to be sent; return the keys that could not be any more."""
        with self._database.write(durable=True) as connection:
            run = locked(connection, run_id)
            left = local.cancel_keys(connection, run, keys, now)
            close_if_done(connection, run_id, now)
            return left

    def revive(
        self, run_id: int, picked: Iterable[tuple[int, int]], changes: Json | None, now: datetime
    ) -> int:
        """Give ended jobs fresh attempts; return how many. ``changes`` apply to each."""
        with self._database.write(durable=True) as connection:
            run = locked(connection, run_id)
            count = revival.revive(connection, run, list(picked), changes)
            connection.execute(
                update(runs)
                .where(runs.c.id == run_id)
                .values(finished_at=None, cancel_requested_at=None, deadline_at=None)
            )
            note(connection, run_id, now, "retried", jobs=count, changes=changes)
            return count

    def brake(self, run_id: int, code: str, why: str, now: datetime) -> None:
        """Stop trying again what fails for one reason, until a person looked at it."""
        with self._database.write() as connection:
            run = locked(connection, run_id)
            if code in run.brakes:
                return
            connection.execute(
                update(runs).where(runs.c.id == run_id).values(brakes={**run.brakes, code: why})
            )
            note(connection, run_id, now, "braked", code=code, why=why)

    def hold(self, run_id: int, until: datetime | None, reason: str | None, now: datetime) -> None:
        """Stop (or, with None, let go) sending; polling and collecting go on."""
        with self._database.write() as connection:
            connection.execute(
                update(runs).where(runs.c.id == run_id).values(hold_until=until, hold_reason=reason)
            )
            note(connection, run_id, now, "hold" if until else "released", reason=reason)

    def live(self, run_id: int) -> tuple[int, int]:
        """Return (jobs, batches) in live batches."""
        query = select(func.coalesce(func.sum(batches.c.count), 0), func.count()).where(
            batches.c.run_id == run_id, batches.c.state.in_(LIVE)
        )
        with self._database.read() as connection:
            active, count = connection.execute(query).one()
            return int(active), int(count)

    def flying(self, run_id: int) -> int:
        """Count the batches that a provider has, may have, or has done with."""
        query = select(func.count()).where(
            batches.c.run_id == run_id, batches.c.state.in_(("submitting", "running", "ended"))
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())

    def failed_by_code(self, run_id: int) -> dict[str, int]:
        """Count failed and cancelled jobs by reason."""
        query = (
            select(attempts.c.code, func.count())
            .join(batches, batches.c.id == attempts.c.batch_id)
            .join(jobs, and_(jobs.c.lane_id == attempts.c.lane_id, jobs.c.seq == attempts.c.seq))
            .where(attempts.c.run_id == run_id, attempts.c.final, jobs.c.superseded.is_(False))
            .where(attempts.c.state.in_(("failed", "cancelled")), batches.c.state.not_in(LIVE))
            .group_by(attempts.c.code)
        )
        with self._database.read() as connection:
            return {str(code): int(count) for code, count in connection.execute(query)}

    def remove(self, run_id: int) -> None:
        """Delete a run and everything of it; the caller has made sure that nothing is live."""
        with self._database.write() as connection:
            gone = (uploads.c.run_id == run_id, uploads.c.deleted_at.is_not(None))
            connection.execute(delete(uploads).where(*gone))
            for table in _OWNED:
                connection.execute(delete(table).where(table.c.run_id == run_id))
            connection.execute(delete(runs).where(runs.c.id == run_id))

    def _one(self, *where: Any) -> RunRow | None:
        query = select(runs).where(and_(*where))
        with self._database.read() as connection:
            row = connection.execute(query).mappings().first()
            return None if row is None else made(RunRow, row)


def close_if_done(connection: Connection, run_id: int, now: datetime) -> None:
    """Close a run whose jobs have all ended; its time limit's clock stops."""
    done = and_(
        runs.c.completed + runs.c.failed + runs.c.cancelled >= runs.c.total,
        runs.c.expects_more.is_(False),
        runs.c.opened_at.is_not(None),
    )
    closed = connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.finished_at.is_(None), done)
        .values(finished_at=now, deadline_at=None, waiting_for=None, waiting_since=None)
    )
    if closed.rowcount:
        note(connection, run_id, now, "finished")
        return
    connection.execute(
        update(runs)
        .where(runs.c.id == run_id, runs.c.finished_at.is_not(None), ~done)
        .values(finished_at=None)
    )


def _deadline(run: RunRow, seconds: float | None, now: datetime) -> datetime | None:
    if seconds is None or run.first_send_at is None or run.is_done:
        return None
    return now + timedelta(seconds=seconds)


def _refuse_moved(connection: Connection, run_id: int, seen: Mapping[int, int] | None) -> None:
    if seen is None:
        return
    rows = connection.execute(select(lanes.c.id, lanes.c.released).where(lanes.c.run_id == run_id))
    if any(int(released) != seen.get(int(lane_id), 0) for lane_id, released in rows):
        raise Moved


def _release(connection: Connection, released: Mapping[int, int]) -> tuple[int, Counter[str]]:
    """Move the watermarks; return how many jobs came in, and how many of them had ended, by state.

    Both go into one UPDATE of the run: more jobs ended than there are is a broken CHECK.
    """
    added, ended = 0, Counter[str]()
    for lane_id, watermark in released.items():
        ended.update(local.ended_drafts(connection, lane_id, watermark))
        counted = connection.execute(
            select(func.count())
            .select_from(jobs.join(lanes, lanes.c.id == jobs.c.lane_id))
            .where(jobs.c.shelf == 0, jobs.c.lane_id == lane_id, jobs.c.seq >= lanes.c.released)
            .where(jobs.c.seq < watermark, jobs.c.superseded.is_(False))
        ).scalar_one()
        connection.execute(
            update(lanes)
            .where(lanes.c.id == lane_id, lanes.c.released <= watermark)
            .values(released=watermark)
        )
        added += int(counted)
    return added, ended


def locked(connection: Connection, run_id: int) -> RunRow:
    """Read a run so that nobody moves it until this transaction ends."""
    query = select(runs).where(runs.c.id == run_id).with_for_update()
    row = connection.execute(query).mappings().first()
    if row is None:
        raise RunNotFoundError("This run was removed from the database")
    return made(RunRow, row)


def _row(connection: Connection, run_id: int) -> Any:
    return connection.execute(select(runs).where(runs.c.id == run_id)).mappings().one()
