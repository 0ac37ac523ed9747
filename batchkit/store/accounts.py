"""Accounts: whose key, how the provider fares, what was learnt of its limits."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import case, func, or_, select, update

from batchkit.model import LIVE_STATES, Account, Json
from batchkit.store.database import Database, insert_new
from batchkit.store.rows import AccountRow, made
from batchkit.store.tables import accounts, batches, lanes, loans, uploads


class Accounts:
    """Provider accounts this database has worked with."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def known(self, account: Account) -> AccountRow:
        """Return the row of an account, made if it is new."""
        with self._database.write() as connection:
            where = (
                accounts.c.provider == account.provider,
                accounts.c.base_url == account.base_url,
                accounts.c.fingerprint == account.fingerprint,
            )
            row = connection.execute(select(accounts).where(*where)).mappings().first()
            if row is None:
                values = {
                    "provider": account.provider,
                    "base_url": account.base_url,
                    "fingerprint": account.fingerprint,
                }
                connection.execute(insert_new(connection, accounts, values))
                row = connection.execute(select(accounts).where(*where)).mappings().one()
            return made(AccountRow, row)

    def get(self, account_id: int) -> AccountRow:
        """Return one account."""
        with self._database.read() as connection:
            row = connection.execute(select(accounts).where(accounts.c.id == account_id))
            return made(AccountRow, row.mappings().one())

    def learnt(self, account: Account) -> Json:
        """Return what was learnt of an account's limits; nothing of one that was never used."""
        query = select(accounts.c.learnt).where(
            accounts.c.provider == account.provider,
            accounts.c.base_url == account.base_url,
            accounts.c.fingerprint == account.fingerprint,
        )
        with self._database.read() as connection:
            return dict(connection.execute(query).scalar() or {})

    def of_run(self, run_id: int) -> list[AccountRow]:
        """Return the accounts a run's lanes and batches belong to."""
        used = select(lanes.c.account_id).where(lanes.c.run_id == run_id)
        also = select(batches.c.account_id).where(batches.c.run_id == run_id)
        query = select(accounts).where(accounts.c.id.in_(used.union(also)))
        with self._database.read() as connection:
            return [made(AccountRow, row) for row in connection.execute(query).mappings()]

    def bind(self, lane_id: int, account_id: int) -> None:
        """Say on whose account a lane sends."""
        with self._database.write() as connection:
            connection.execute(
                update(lanes).where(lanes.c.id == lane_id).values(account_id=account_id)
            )

    def move(self, old_id: int, new_id: int) -> None:
        """Say that two accounts are one: a new key sees the same batches."""
        with self._database.write(durable=True) as connection:
            for table in (lanes, batches):
                connection.execute(
                    update(table).where(table.c.account_id == old_id).values(account_id=new_id)
                )
            # What a batch names that the new key sees, it sees as well; of the rest nobody knows.
            seen = select(loans.c.upload_id).join(batches, batches.c.id == loans.c.batch_id)
            seen = seen.where(batches.c.account_id == new_id, batches.c.state.in_(LIVE_STATES))
            connection.execute(
                update(uploads)
                .where(uploads.c.account_id == old_id, uploads.c.id.in_(seen))
                .values(account_id=new_id)
            )

    def answered(self, account_id: int) -> None:
        """Note that the provider answers: no back-off, not unreachable."""
        with self._database.write() as connection:
            connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id, accounts.c.failures > 0)
                .values(failures=0, unreachable_since=None, retry_at=None)
            )

    def silent(self, account_id: int, now: datetime, retry_at: datetime) -> None:
        """Note that a call failed and when to try again; the first one marks the outage's start."""
        with self._database.write() as connection:
            connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id)
                .values(
                    failures=accounts.c.failures + 1,
                    unreachable_since=func.coalesce(accounts.c.unreachable_since, now),
                    retry_at=retry_at,
                )
            )

    def block(self, account_id: int, now: datetime, reason: str) -> None:
        """Note that only a person mends this account: key, credit, access."""
        with self._database.write() as connection:
            connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id)
                .values(blocked_at=now, blocked_reason=reason)
            )

    def unblock(self, account_id: int) -> None:
        """Try again: a person says that it is mended."""
        with self._database.write() as connection:
            connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id)
                .values(
                    blocked_at=None,
                    blocked_reason=None,
                    failures=0,
                    retry_at=None,
                    unreachable_since=None,
                )
            )

    def learn(self, account_id: int, name: str, value: Any) -> None:
        """Keep what was learnt, such as a model's queue limit in tokens."""
        with self._database.write() as connection:
            learnt = connection.execute(
                select(accounts.c.learnt).where(accounts.c.id == account_id).with_for_update()
            ).scalar_one()
            connection.execute(
                update(accounts)
                .where(accounts.c.id == account_id)
                .values(learnt={**learnt, name: value})
            )

    def queued(self, account_id: int, model: str | None) -> tuple[int, int]:
        """Return the (tokens, requests) of live batches at the provider, of one model or all."""
        at_provider = batches.c.state.in_(("submitting", "running"))
        query = select(
            func.coalesce(func.sum(batches.c.tokens), 0),
            func.coalesce(func.sum(case((at_provider, batches.c.count), else_=0)), 0),
        ).where(batches.c.account_id == account_id, at_provider)
        if model is not None:
            query = query.join(lanes, lanes.c.id == batches.c.lane_id).where(lanes.c.model == model)
        with self._database.read() as connection:
            tokens, requests = connection.execute(query).one()
            return int(tokens), int(requests)

    def untried(self, account_id: int, model: str, since: datetime) -> int:
        """Count a model's live batches that the provider has not let into its queue yet.

        One that was accepted before `since` counts no more, whatever is said of it.
        """
        fresh = or_(batches.c.word.is_(None), batches.c.word == "validating")
        young = or_(batches.c.accepted_at.is_(None), batches.c.accepted_at > since)
        live = batches.c.state.in_(("sealed", "submitting", "running"))
        query = (
            select(func.count())
            .select_from(batches.join(lanes, lanes.c.id == batches.c.lane_id))
            .where(batches.c.account_id == account_id, lanes.c.model == model, live, fresh, young)
        )
        with self._database.read() as connection:
            return int(connection.execute(query).scalar_one())
