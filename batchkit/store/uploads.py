"""Documents at a provider: uploaded once, named by many batches, gone when no batch needs them.

Who seals a batch borrows what it names in the same transaction, under a lock on the upload's row;
who clears away takes that lock, looks for borrowers, and only then releases. So an upload that a
batch names is not deleted, and one that is to be deleted is not named.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Text, exists, func, insert, or_, select, type_coerce, update

from batchkit.model import LIVE_STATES, Json
from batchkit.store.database import Database
from batchkit.store.rows import made
from batchkit.store.tables import batches, jobs, lanes, loans, members, runs, uploads

_CHUNK = 400


@dataclass(frozen=True, slots=True)
class UploadRow:
    """One document at a provider. ``expires_at`` is by our clock."""

    id: int
    account_id: int
    run_id: int
    content: str
    name: str
    ref: str
    bytes: int
    made_at: datetime
    expires_at: datetime
    keep: bool
    released_at: datetime | None
    deleted_at: datetime | None


@dataclass(frozen=True, slots=True)
class NewUpload:
    """A document that a provider has taken."""

    account_id: int
    run_id: int
    content: str
    name: str
    ref: str
    bytes: int
    made_at: datetime
    expires_at: datetime
    keep: bool


class Uploads:
    """Which documents lie at which account, who names them, and which can go."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, new: NewUpload) -> UploadRow:
        """Note an upload before any line names it."""
        values = {name: getattr(new, name) for name in NewUpload.__slots__}
        with self._database.write(durable=True) as connection:
            row = connection.execute(insert(uploads).values(**values).returning(uploads))
            return made(UploadRow, row.mappings().one())

    def usable(self, account_id: int, until: datetime) -> list[UploadRow]:
        """Return the uploads that live beyond an instant, oldest first."""
        query = select(uploads).where(
            uploads.c.account_id == account_id,
            uploads.c.released_at.is_(None),
            uploads.c.expires_at > until,
        )
        return self._all(query)

    def of_batch(self, batch_id: int) -> list[UploadRow]:
        """Return what a batch's lines name."""
        named = select(loans.c.upload_id).where(loans.c.batch_id == batch_id)
        return self._all(select(uploads).where(uploads.c.id.in_(named)))

    def wanted(self, run_id: int, provider: str) -> Iterator[tuple[list[Json], int]]:
        """Count a run's unsent jobs by documents: (documents, jobs).

        What only one job has is left out, unless it has several.
        """
        ahead = (lanes.c.cursor <= jobs.c.seq, jobs.c.seq < lanes.c.released)
        again = exists().where(
            members.c.shelf == 0,
            members.c.lane_id == jobs.c.lane_id,
            members.c.seq == jobs.c.seq,
            members.c.batch_id.is_(None),
        )
        yield from self._counted(run_id, provider, [*ahead, jobs.c.superseded.is_(False)])
        yield from self._counted(run_id, provider, [jobs.c.seq < lanes.c.cursor, again])

    def drafted(self, run_id: int, provider: str) -> Iterator[tuple[list[Json], int]]:
        """Count the jobs of a run that were not started, as ``wanted``."""
        draft = (jobs.c.seq >= lanes.c.released, jobs.c.superseded.is_(False))
        yield from self._counted(run_id, provider, draft)

    def lost(
        self, batch_id: int, keys: Collection[tuple[str, str]], said: str, now: datetime
    ) -> bool:
        """Note that uploads which a batch names are gone: no other batch names them.

        ``keys`` (content, name) are a job's documents, ``said`` the provider's words: what stands
        in them, else all of the job's. False if the batch names none of them.
        """
        mine = [one for one in self.of_batch(batch_id) if (one.content, one.name) in keys]
        gone = [one.id for one in mine if one.ref in said] or [one.id for one in mine]
        fresh = {one.id for one in mine if one.released_at is None}
        if fresh & set(gone):
            with self._database.write() as connection:
                connection.execute(
                    update(uploads)
                    .where(uploads.c.id.in_(gone), uploads.c.released_at.is_(None))
                    .values(released_at=now)
                )
        return bool(mine)

    def keep(self, upload_id: int) -> None:
        """Note that somebody wants an upload to stay until its time is over."""
        with self._database.write() as connection:
            connection.execute(update(uploads).where(uploads.c.id == upload_id).values(keep=True))

    def has_any(self, account_id: int, now: datetime) -> bool:
        """Say whether there is something that can be cleared away, now or later."""
        query = select(uploads.c.id).where(
            uploads.c.account_id == account_id,
            uploads.c.deleted_at.is_(None),
            uploads.c.keep.is_(False),
            uploads.c.expires_at > now,
        )
        with self._database.read() as connection:
            return connection.execute(query.limit(1)).first() is not None

    def release(self, account_id: int, now: datetime) -> list[UploadRow]:
        """Let go of what no batch in flight names and no run still sends; return what to delete.

        That is also what was let go of before, and is not known to be deleted.
        """
        with self._database.read() as connection:
            idle = connection.execute(select(uploads.c.id).where(*_idle(account_id, now))).scalars()
            found = sorted(idle)
        for upload_id in found:
            self._release(upload_id, account_id, now)
        query = select(uploads).where(
            uploads.c.account_id == account_id,
            uploads.c.released_at.is_not(None),
            uploads.c.deleted_at.is_(None),
            uploads.c.expires_at > now,
        )
        return self._all(query)

    def deleted(self, upload_id: int, now: datetime) -> None:
        """Note that the provider has it no more."""
        with self._database.write() as connection:
            connection.execute(
                update(uploads)
                .where(uploads.c.id == upload_id, uploads.c.released_at.is_not(None))
                .values(deleted_at=now)
            )

    def _release(self, upload_id: int, account_id: int, now: datetime) -> None:
        """Look again under the row's lock: a batch that was sealed meanwhile may name it."""
        with self._database.write() as connection:
            row = select(uploads.c.id).where(uploads.c.id == upload_id).with_for_update()
            connection.execute(row)
            idle = select(uploads.c.id).where(uploads.c.id == upload_id, *_idle(account_id, now))
            if connection.execute(idle).scalar() is not None:
                connection.execute(
                    update(uploads).where(uploads.c.id == upload_id).values(released_at=now)
                )

    def _counted(
        self, run_id: int, provider: str, where: Sequence[Any]
    ) -> Iterator[tuple[list[Json], int]]:
        several = type_coerce(jobs.c.documents, Text).like("%},{%")
        query = (
            select(jobs.c.documents, func.count().label("number"))
            .join(lanes, lanes.c.id == jobs.c.lane_id)
            .where(jobs.c.shelf == 0, jobs.c.run_id == run_id, lanes.c.run_id == run_id)
            .where(lanes.c.provider == provider, jobs.c.documents.is_not(None), *where)
            .group_by(jobs.c.documents)
            .having(or_(func.count() > 1, several))
        )
        with self._database.read() as connection:
            for row in connection.execution_options(yield_per=1_000).execute(query):
                yield row.documents, int(row.number)

    def _all(self, query: Any) -> list[UploadRow]:
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(uploads.c.id)).mappings()
            return [made(UploadRow, row) for row in rows]


def borrow(connection: Connection, batch_id: int, run_id: int, ids: Sequence[int]) -> bool:
    """Write down what a batch names; False if some of it may be deleted by now."""
    for at in range(0, len(ids), _CHUNK):
        chunk = list(ids[at : at + _CHUNK])
        there = (
            select(uploads.c.id)
            .where(uploads.c.id.in_(chunk), uploads.c.released_at.is_(None))
            .order_by(uploads.c.id)
            .with_for_update()
        )
        if len(connection.execute(there).all()) != len(chunk):
            return False
        rows = [{"batch_id": batch_id, "upload_id": one, "run_id": run_id} for one in chunk]
        connection.execute(insert(loans), rows)
    return True


def _idle(account_id: int, now: datetime) -> tuple[Any, ...]:
    """Say which uploads nobody needs: no live batch names them, no user of theirs has more to send.

    What has expired is let alone.
    """
    names = loans.c.upload_id == uploads.c.id
    in_flight = exists().where(
        names, batches.c.id == loans.c.batch_id, batches.c.state.in_(LIVE_STATES)
    )
    uses = or_(
        runs.c.id == uploads.c.run_id,
        exists().where(names, loans.c.run_id == runs.c.id),
    )
    to_come = exists().where(lanes.c.run_id == runs.c.id, lanes.c.cursor < lanes.c.released)
    again = exists().where(members.c.run_id == runs.c.id, members.c.batch_id.is_(None))
    sends = exists().where(
        runs.c.finished_at.is_(None), uses, or_(to_come, again, runs.c.expects_more)
    )
    return (
        uploads.c.account_id == account_id,
        uploads.c.released_at.is_(None),
        uploads.c.keep.is_(False),
        uploads.c.expires_at > now,
        ~in_flight,
        ~sends,
    )
