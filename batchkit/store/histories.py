"""How long batches took, for whoever wants to know how long the next ones will."""

from __future__ import annotations

from collections import defaultdict

from sqlalchemy import select

from batchkit.durations import Took
from batchkit.store.database import Database
from batchkit.store.tables import accounts, batches, lanes

_RAN = ("completed", "expired")
"""How batches end that nobody stopped."""

_MOST = 400


class Histories:
    """Batches that ended, newest first, as far back as the last few hundred."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def took(self, provider: str, base_url: str | None = None) -> dict[str, list[Took]]:
        """Return what batches of a provider took, by model; those of one base URL, or of all.

        From when a batch was accepted to when its end was noticed. The batches of one run that were
        accepted on one day are a night.
        """
        query = (
            select(
                lanes.c.model,
                batches.c.run_id,
                batches.c.count.label("jobs"),
                batches.c.accepted_at,
                batches.c.ended_at,
            )
            .join(lanes, lanes.c.id == batches.c.lane_id)
            .where(lanes.c.provider == provider, batches.c.end_reason.in_(_RAN))
            .where(batches.c.accepted_at.is_not(None), batches.c.ended_at.is_not(None))
            .order_by(batches.c.id.desc())
            .limit(_MOST)
        )
        if base_url is not None:
            query = query.join(accounts, accounts.c.id == batches.c.account_id).where(
                accounts.c.base_url == base_url
            )
        told: dict[str, list[Took]] = defaultdict(list)
        with self._database.read() as connection:
            for row in connection.execute(query):
                seconds = (row.ended_at - row.accepted_at).total_seconds()
                night = row.run_id * 1_000_000 + row.accepted_at.toordinal()
                told[row.model].append(Took(max(seconds, 0.0), row.jobs, night))
        return dict(told)
