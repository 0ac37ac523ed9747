"""Batches: every move is one guarded UPDATE that says whether it landed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, and_, func, literal, or_, select, tuple_, update
from sqlalchemy.exc import IntegrityError

from batchkit import states
from batchkit.errors import IllegalMove
from batchkit.model import Account, BatchState, BatchStatus, Candidate, Created
from batchkit.states import Move
from batchkit.store import booking, reservations, sealing
from batchkit.store.database import Database
from batchkit.store.events import note
from batchkit.store.rows import BatchRow, Member, Seal, made
from batchkit.store.runs import LIVE, close_if_done
from batchkit.store.tables import accounts, batches, lanes, members, runs
from batchkit.store.types import UtcDateTime


class Batches:
    """The rows that move."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # looking

    def get(self, batch_id: int) -> BatchRow:
        """Return one batch as it is now."""
        with self._database.read() as connection:
            row = connection.execute(select(batches).where(batches.c.id == batch_id))
            return made(BatchRow, row.mappings().one())

    def of_run(self, run_id: int, *, live: bool = False) -> list[BatchRow]:
        """Return a run's batches, oldest first; local ones are left out."""
        query = select(batches).where(batches.c.run_id == run_id, batches.c.kind != "local")
        if live:
            query = query.where(batches.c.state.in_(LIVE))
        with self._database.read() as connection:
            rows = connection.execute(query.order_by(batches.c.id)).mappings()
            return [made(BatchRow, row) for row in rows]

    def due(
        self, run_ids: Sequence[int], provider: str, now: datetime, within: Sequence[BatchState]
    ) -> list[BatchRow]:
        """Return batches of a provider in these states whose time has come, oldest first."""
        query = (
            select(batches)
            .join(lanes, lanes.c.id == batches.c.lane_id)
            .where(batches.c.run_id.in_(run_ids), lanes.c.provider == provider)
            .where(batches.c.state.in_(within))
            .where(or_(batches.c.poll_at.is_(None), batches.c.poll_at <= now))
            .order_by(batches.c.poll_at, batches.c.id)
        )
        with self._database.read() as connection:
            return [made(BatchRow, row) for row in connection.execute(query).mappings()]

    def next_at(self, run_ids: Sequence[int], provider: str | None = None) -> datetime | None:
        """Return when the next live batch wants attention; None if there is none."""
        query = select(func.min(batches.c.poll_at)).where(
            batches.c.run_id.in_(run_ids), batches.c.state.in_(LIVE)
        )
        if provider is not None:
            query = query.join(lanes, lanes.c.id == batches.c.lane_id).where(
                lanes.c.provider == provider
            )
        with self._database.read() as connection:
            found: datetime | None = connection.execute(query).scalar()
            return found

    def refs(self, account_id: int) -> set[str]:
        """Return every ref at an account's provider that is some batch's already.

        Of other keys, too: they may lead into the same workspace.
        """
        place = (accounts.c.provider, accounts.c.base_url)
        mine = select(*place).where(accounts.c.id == account_id)
        same = select(accounts.c.id).where(tuple_(*place).in_(mine))
        query = select(batches.c.ref).where(
            batches.c.account_id.in_(same), batches.c.ref.is_not(None)
        )
        with self._database.read() as connection:
            return {str(ref) for ref in connection.execute(query).scalars()}

    def account_of(self, batch: BatchRow) -> Account | None:
        """Return the account a batch was sent on."""
        if batch.account_id is None:
            return None
        with self._database.read() as connection:
            row = connection.execute(
                select(accounts).where(accounts.c.id == batch.account_id)
            ).one()
            return Account(row.provider, row.base_url, row.fingerprint)

    def free_members(
        self, lane_id: int, now: datetime, limit: int, without: Sequence[str] = ()
    ) -> list[Member]:
        """Return jobs of a lane that wait to go again, in order; ``without`` are reasons."""
        query = (
            select(members)
            .where(members.c.lane_id == lane_id, members.c.batch_id.is_(None))
            .where(or_(members.c.not_before.is_(None), members.c.not_before <= now))
            .where(members.c.reason.not_in(without))
            .order_by(members.c.seq)
            .limit(limit)
        )
        with self._database.read() as connection:
            return [made(Member, row) for row in connection.execute(query).mappings()]

    def codes(self, run_id: int) -> tuple[int, dict[str, int]]:
        """Return how many answers a run's batches brought, and how many had which problem.

        Every attempt that ran is an answer; the sums were written when batches were collected.
        """
        query = select(batches.c.codes).where(
            batches.c.run_id == run_id, batches.c.state == "collected"
        )
        total, counted = 0, Counter[str]()
        with self._database.read() as connection:
            for codes in connection.execute(query).scalars():
                total += sum(codes.values())
                counted.update(codes)
        counted.pop("", None)
        return total, dict(counted)

    def waiting_members(self, run_id: int) -> dict[str, int]:
        """Count jobs that wait to go again, by reason."""
        query = (
            select(members.c.reason, func.count())
            .where(members.c.run_id == run_id, members.c.batch_id.is_(None))
            .group_by(members.c.reason)
        )
        with self._database.read() as connection:
            return {str(reason): int(n) for reason, n in connection.execute(query)}

    def members_of(self, batch_id: int) -> list[Member]:
        """Return the explicit members of a batch, in order."""
        query = select(members).where(members.c.batch_id == batch_id).order_by(members.c.seq)
        with self._database.read() as connection:
            return [made(Member, row) for row in connection.execute(query).mappings()]

    # moves

    def seal(self, seal: Seal, now: datetime) -> int | None:
        """Take the jobs, reserve the money and make the batch, all or nothing.

        Returns the batch's id; None when a wish, the budget or another process was quicker.
        """
        try:
            with self._database.write(durable=True) as connection:
                return sealing.seal(connection, seal, now)
        except (sealing.Refused, IntegrityError):
            return None

    def send(
        self, batch_id: int, lease_no: int, now: datetime, *, heard_at: datetime | None = None
    ) -> bool:
        """Write down that a create is about to be made, unless a wish forbids it.

        ``heard_at`` is the provider's time at that moment, as far as it is known.
        """
        try:
            with self._database.write(durable=True) as connection:
                landed = _move(
                    connection,
                    states.SEND,
                    batch_id,
                    lease_no,
                    now,
                    _may_send(now),
                    intent_at=now,
                    heard_at=heard_at,
                    poll_at=now,
                    looks=0,
                    looked_at=None,
                )
                if landed:
                    _start_clock(connection, batch_id, now)
                return landed
        except IntegrityError:
            return False  # a twin of the same size is unclear on this account: wait for it

    def staged(self, batch_id: int, lease_no: int, file_ref: str | None) -> bool:
        """Record the uploaded file before the create that uses it."""
        with self._database.write(durable=True) as connection:
            landed = connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.lease_no == lease_no)
                .where(batches.c.state == BatchState.SUBMITTING)
                .values(file_ref=file_ref)
            )
            return bool(landed.rowcount)

    def accept(
        self,
        batch_id: int,
        lease_no: int,
        receipt: Created | Candidate,
        now: datetime,
        poll_at: datetime,
    ) -> bool:
        """Record that the provider has it, with the proof; False if the ref is another batch's."""
        proof = receipt.proof if isinstance(receipt, Candidate) else "certain"
        try:
            with self._database.write(durable=True) as connection:
                return _move(
                    connection,
                    states.ACCEPT,
                    batch_id,
                    lease_no,
                    now,
                    ref=receipt.ref,
                    proof=proof,
                    accepted_at=now,
                    poll_at=poll_at,
                    failures=0,
                )
        except IntegrityError:
            return False

    def unsend(
        self, batch_id: int, lease_no: int, now: datetime, *, keep_file: bool, at: datetime
    ) -> bool:
        """Record that a create certainly did not arrive; it may be sent again from ``at`` on."""
        values: dict[str, Any] = {} if keep_file else {"file_ref": None}
        with self._database.write(durable=True) as connection:
            return _move(
                connection,
                states.UNSEND,
                batch_id,
                lease_no,
                now,
                intent_at=None,
                poll_at=at,
                failures=batches.c.failures + 1,
                **values,
            )

    def looked(
        self, batch_id: int, lease_no: int, now: datetime, next_at: datetime, *, complete: bool
    ) -> bool:
        """Record a look for a lost create that settled nothing yet.

        ``now`` is the provider's time of the look, where it told it: nobody sets that clock back.
        """
        with self._database.write() as connection:
            landed = connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.lease_no == lease_no)
                .values(
                    looks=batches.c.looks + int(complete),
                    looked_at=func.coalesce(batches.c.looked_at, now)
                    if complete
                    else batches.c.looked_at,
                    poll_at=next_at,
                )
            )
            return bool(landed.rowcount)

    def later(self, batch_id: int, lease_no: int, poll_at: datetime, **values: Any) -> bool:
        """Leave a batch where it is and look at it again at ``poll_at``."""
        with self._database.write() as connection:
            landed = connection.execute(
                update(batches)
                .where(batches.c.id == batch_id, batches.c.lease_no == lease_no)
                .values(poll_at=poll_at, **values)
            )
            return bool(landed.rowcount)

    def void(
        self, move: Move, batch_id: int, lease_no: int, now: datetime, code: str, why: str
    ) -> bool:
        """Give a batch up that never ran: its reservation and its jobs are free again."""
        with self._database.write(durable=True) as connection:
            batch = _row(connection, batch_id)
            if not _move(
                connection,
                move,
                batch_id,
                lease_no,
                now,
                error_code=code,
                error_message=why,
                reserved=0,
                detail={"code": code, "why": why},
            ):
                return False
            booking.free_jobs(connection, batch)
            booking.give_back(connection, batch)
            return True

    def defer(
        self, batch_id: int, lease_no: int, status: BatchStatus, now: datetime, at: datetime
    ) -> bool:
        """Take a batch back that the provider's queue had no room for; nothing ran."""
        with self._database.write(durable=True) as connection:
            return _move(
                connection,
                states.DEFER,
                batch_id,
                lease_no,
                now,
                ref=None,
                proof=None,
                accepted_at=None,
                intent_at=None,
                word=status.word,
                poll_at=at,
                error_code=status.error_code,
                error_message=status.error_message,
                refused_refs=[*_row(connection, batch_id).refused_refs, status.ref],
            )

    def seen(self, batch_id: int, lease_no: int, status: BatchStatus, poll_at: datetime) -> bool:
        """Record how far a running batch is."""
        return self.later(
            batch_id,
            lease_no,
            poll_at,
            word=status.word,
            provider_total=status.total,
            provider_completed=status.completed,
            provider_failed=status.failed,
            expires_at=func.coalesce(
                literal(status.expires_at, UtcDateTime()), batches.c.expires_at
            ),
            failures=0,
            missing_since=None,
        )

    def end(
        self, batch_id: int, lease_no: int, status: BatchStatus, until: datetime, now: datetime
    ) -> bool:
        """Record that the provider is done with a batch, and how long its results stay."""
        with self._database.write() as connection:
            return _move(
                connection,
                states.END,
                batch_id,
                lease_no,
                now,
                word=status.word,
                end_reason=status.reason,
                provider_total=status.total,
                provider_completed=status.completed,
                provider_failed=status.failed,
                error_code=status.error_code,
                error_message=status.error_message,
                results_until=until,
                ended_at=now,
                poll_at=now,
                failures=0,
                detail={"reason": status.reason, "code": status.error_code},
            )

    def cancel_sent(self, batch_id: int, lease_no: int, now: datetime) -> bool:
        """Record that the provider was asked to stop."""
        return self.later(batch_id, lease_no, now, cancel_sent_at=now)

    def disown(self, batch_id: int, lease_no: int, now: datetime, *, refuse: bool = True) -> bool:
        """Give a stranger's batch back and look for ours again, from the first look on.

        ``refuse`` remembers that it is not ours; without, a look may take it again.
        Nothing is booked. False also while a twin of the same size is unclear on this account.
        """
        try:
            with self._database.write(durable=True) as connection:
                batch = _row(connection, batch_id)
                return _move(
                    connection,
                    states.DISOWN,
                    batch_id,
                    lease_no,
                    now,
                    refused_refs=[*batch.refused_refs, *([batch.ref] if refuse else [])],
                    ref=None,
                    proof=None,
                    accepted_at=None,
                    ended_at=None,
                    end_reason=None,
                    results_until=None,
                    missing_since=None,
                    looks=0,
                    looked_at=None,
                    poll_at=now,
                )
        except IntegrityError:
            return False

    def collect(self, batch_id: int, lease_no: int, now: datetime) -> bool:
        """Close a batch whose every job is settled: counters, releases and money, once.

        Raises IllegalMove if a job of it has no outcome.
        """
        return self._close(states.COLLECT, batch_id, lease_no, now)

    def abandon(self, batch_id: int, lease_no: int, now: datetime) -> bool:
        """Close a batch whose answers cannot be had any more; its jobs were settled as lost."""
        return self._close(states.ABANDON, batch_id, lease_no, now)

    def _close(self, move: Move, batch_id: int, lease_no: int, now: datetime) -> bool:
        with self._database.write(durable=True) as connection:
            batch = _row(connection, batch_id)
            if batch.state not in move.sources or batch.lease_no != lease_no:
                return False
            sealing.lock_run(connection, batch.run_id)
            sums = booking.counted(connection, batch)
            again = booking.release_again(connection, batch) if sums.again else 0
            values = {
                **sums.counts,
                "codes": sums.codes,
                "again": again,
                "cost": sums.cost,
                "reserved": 0,
                "collected_at": now,
                "collected_no": booking.book(connection, batch, sums, now),
            }
            if sums.cost > batch.reserved:
                reservations.note_exceeded(connection, batch, sums.cost, now)
            shown = {**sums.counts, "again": again}
            if not _move(connection, move, batch_id, lease_no, now, detail=shown, **values):
                raise IllegalMove("a batch moved inside a locked transaction")
            close_if_done(connection, batch.run_id, now)
            return True


def _may_send(now: datetime) -> Any:
    wishes = select(runs.c.id).where(runs.c.id == batches.c.run_id, sealing.is_open(now))
    return and_(wishes.exists(), batches.c.cancel_requested_at.is_(None))


def _move(
    connection: Connection,
    move: Move,
    batch_id: int,
    lease_no: int,
    now: datetime,
    *guards: Any,
    detail: dict[str, Any] | None = None,
    **values: Any,
) -> bool:
    row = connection.execute(
        update(batches)
        .where(batches.c.id == batch_id, batches.c.state.in_(move.sources))
        .where(batches.c.lease_no == lease_no, *guards)
        .values(state=move.target, **values)
        .returning(batches.c.run_id, batches.c.ref)
    ).first()
    if row is None:
        return False
    shown = {**(detail or {}), **({"ref": row.ref} if row.ref else {})}
    note(connection, row.run_id, now, move.name, batch_id=batch_id, **shown)
    connection.execute(update(runs).where(runs.c.id == row.run_id).values(last_progress_at=now))
    return True


def _start_clock(connection: Connection, batch_id: int, now: datetime) -> None:
    run_id = connection.execute(
        select(batches.c.run_id).where(batches.c.id == batch_id)
    ).scalar_one()
    row = connection.execute(
        select(runs.c.time_limit_s, runs.c.deadline_at, runs.c.first_send_at).where(
            runs.c.id == run_id
        )
    ).one()
    values: dict[str, Any] = {}
    if row.first_send_at is None:
        values["first_send_at"] = now
    if row.deadline_at is None and row.time_limit_s is not None:
        values["deadline_at"] = now + timedelta(seconds=row.time_limit_s)
    if values:
        connection.execute(update(runs).where(runs.c.id == run_id).values(values))


def _row(connection: Connection, batch_id: int) -> BatchRow:
    """Read a batch inside a writing transaction, so that nobody moves it meanwhile."""
    query = select(batches).where(batches.c.id == batch_id).with_for_update()
    return made(BatchRow, connection.execute(query).mappings().one())
