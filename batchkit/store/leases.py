"""Leases: who works on a batch or a lane right now, and for how long nobody else may."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, func, or_, select, update

from batchkit.store.database import Database
from batchkit.store.tables import batches, lanes

LEASE = timedelta(seconds=90)
"""How long a claim holds; a step that lives renews it by claiming again."""


class Leases:
    """Claims on batches and lanes. Every claim raises the row's ``lease_no``."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._ahead = timedelta()

    def read_clock(self, now: datetime) -> None:
        """Count leases by Postgres' clock from here on; ``now`` is this machine's.

        Machines that share a database need not agree what time it is. SQLite has no clock but ours.
        """
        if self._database.is_sqlite:
            return
        with self._database.read() as connection:
            theirs: datetime = connection.execute(select(func.clock_timestamp())).scalar_one()
        self._ahead = theirs - now

    def claim(self, batch_id: int, owner: str, now: datetime) -> int | None:
        """Take a batch for one step; return the lease's number, None while another has it."""
        with self._database.write() as connection:
            return _claim(connection, batches, batch_id, owner, now + self._ahead)

    def claim_lane(self, lane_id: int, owner: str, now: datetime) -> int | None:
        """Take a lane for cutting a batch; return the lease's number or None."""
        with self._database.write() as connection:
            return _claim(connection, lanes, lane_id, owner, now + self._ahead)

    def let_go(self, batch_id: int, lease_no: int) -> None:
        """Give a batch back for the next step, whoever makes it."""
        with self._database.write() as connection:
            _let_go(connection, batches, batch_id, lease_no)

    def let_go_lane(self, lane_id: int, lease_no: int) -> None:
        """Give a lane back."""
        with self._database.write() as connection:
            _let_go(connection, lanes, lane_id, lease_no)

    def renew(self, owner: str, now: datetime) -> timedelta:
        """Hold on to everything this owner works on: a call may take longer than a lease.

        Returns after how long to do it again. What has lapsed is not taken back.
        """
        now += self._ahead
        with self._database.write() as connection:
            for table in (batches, lanes):
                connection.execute(
                    update(table)
                    .where(table.c.lease_owner == owner, table.c.lease_until > now)
                    .values(lease_until=now + LEASE)
                )
        return LEASE / 3

    def owners(self) -> set[str]:
        """Return everybody who holds a lease, run out or not."""
        found: set[str] = set()
        with self._database.read() as connection:
            for table in (batches, lanes):
                query = select(table.c.lease_owner).where(table.c.lease_owner.is_not(None))
                found.update(str(owner) for owner in connection.execute(query).scalars())
        return found

    def bury(self, owner: str) -> None:
        """Take every lease from an owner that is certainly gone."""
        with self._database.write() as connection:
            for table in (batches, lanes):
                connection.execute(
                    update(table)
                    .where(table.c.lease_owner == owner)
                    .values(lease_until=None, lease_owner=None, lease_no=table.c.lease_no + 1)
                )

    def holds(self, batch_id: int, lease_no: int, owner: str) -> bool:
        """Say whether a lease is still ours, as the database sees it."""
        query = select(batches.c.id).where(
            batches.c.id == batch_id,
            batches.c.lease_no == lease_no,
            batches.c.lease_owner == owner,
        )
        with self._database.read() as connection:
            return connection.execute(query).first() is not None


def _claim(
    connection: Connection, table: Any, row_id: int, owner: str, now: datetime
) -> int | None:
    lease: int | None = connection.execute(
        update(table)
        .where(table.c.id == row_id)
        .where(
            or_(
                table.c.lease_until.is_(None),
                table.c.lease_until <= now,
                table.c.lease_owner == owner,
            )
        )
        .values(lease_no=table.c.lease_no + 1, lease_owner=owner, lease_until=now + LEASE)
        .returning(table.c.lease_no)
    ).scalar()
    return lease


def _let_go(connection: Connection, table: Any, row_id: int, lease_no: int) -> None:
    connection.execute(
        update(table)
        .where(table.c.id == row_id, table.c.lease_no == lease_no)
        .values(lease_until=None, lease_owner=None)
    )
