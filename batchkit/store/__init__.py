"""All SQL: one public method is one transaction is one business fact."""

from __future__ import annotations

import os
from functools import cached_property
from typing import TYPE_CHECKING

from batchkit import settings
from batchkit.doors import door
from batchkit.store import migrate
from batchkit.store.database import Database
from batchkit.store.leases import Leases

if TYPE_CHECKING:
    from batchkit.store.accounts import Accounts
    from batchkit.store.answers import Answers
    from batchkit.store.audit import Audit
    from batchkit.store.batches import Batches
    from batchkit.store.canaries import Canaries
    from batchkit.store.events import Events
    from batchkit.store.fronts import Front, NewPrefix
    from batchkit.store.histories import Histories
    from batchkit.store.jobs import Jobs
    from batchkit.store.outlets import Outlet
    from batchkit.store.pages import Pages
    from batchkit.store.papers import Papers
    from batchkit.store.parts import Parts
    from batchkit.store.prefixes import Prefixes
    from batchkit.store.raws import Raw, Raws, Reading
    from batchkit.store.reports import Reports
    from batchkit.store.reservations import Reservations
    from batchkit.store.rows import (
        AccountRow,
        Answer,
        BatchRow,
        JobRow,
        Known,
        LaneRow,
        Member,
        NewJob,
        RunRow,
        Seal,
        Settled,
    )
    from batchkit.store.runs import Moved, Opening, Runs
    from batchkit.store.surveys import Surveys
    from batchkit.store.uploads import NewUpload, UploadRow, Uploads


class Store:
    """The one door to the database, with a part for each noun, imported when it is needed.

    ``where`` is a SQLAlchemy URL or the path of a SQLite file. An empty database and an older
    SQLite file are migrated; StateError says what to type for the others.
    """

    def __init__(self, where: str | os.PathLike[str]) -> None:
        self.database = Database(where)
        try:
            migrate.ensure(self.database)
        except BaseException:
            self.database.close()
            raise
        self.files = settings.files_dir(self.database.file)
        """Where copies of documents lie; None on Postgres unless BATCHKIT_FILES_DIR says where."""
        self.leases = Leases(self.database)

    @cached_property
    def runs(self) -> Runs:
        from batchkit.store.runs import Runs

        return Runs(self.database)

    @cached_property
    def jobs(self) -> Jobs:
        from batchkit.store.jobs import Jobs

        return Jobs(self.database)

    @cached_property
    def pages(self) -> Pages:
        from batchkit.store.pages import Pages

        return Pages(self.database)

    @cached_property
    def surveys(self) -> Surveys:
        from batchkit.store.surveys import Surveys

        return Surveys(self.database)

    @cached_property
    def batches(self) -> Batches:
        from batchkit.store.batches import Batches

        return Batches(self.database)

    @cached_property
    def prefixes(self) -> Prefixes:
        from batchkit.store.prefixes import Prefixes

        return Prefixes(self.database)

    @cached_property
    def canaries(self) -> Canaries:
        from batchkit.store.canaries import Canaries

        return Canaries(self.database)

    @cached_property
    def answers(self) -> Answers:
        from batchkit.store.answers import Answers

        return Answers(self.database)

    @cached_property
    def accounts(self) -> Accounts:
        from batchkit.store.accounts import Accounts

        return Accounts(self.database)

    @cached_property
    def events(self) -> Events:
        from batchkit.store.events import Events

        return Events(self.database)

    @cached_property
    def histories(self) -> Histories:
        from batchkit.store.histories import Histories

        return Histories(self.database)

    @cached_property
    def raws(self) -> Raws:
        from batchkit.store.raws import Raws

        return Raws(self.database)

    @cached_property
    def papers(self) -> Papers:
        from batchkit.store.papers import Papers

        return Papers(self.database)

    @cached_property
    def uploads(self) -> Uploads:
        from batchkit.store.uploads import Uploads

        return Uploads(self.database)

    @cached_property
    def audit(self) -> Audit:
        from batchkit.store.audit import Audit

        return Audit(self.database)

    @cached_property
    def reports(self) -> Reports:
        from batchkit.store.reports import Reports

        return Reports(self.database)

    @cached_property
    def parts(self) -> Parts:
        from batchkit.store.parts import Parts

        return Parts(self.database)

    @cached_property
    def reservations(self) -> Reservations:
        from batchkit.store.reservations import Reservations

        return Reservations(self.database)

    @property
    def shown(self) -> str:
        """Where the state lies, for people; no password."""
        return self.database.shown

    def close(self) -> None:
        """Give every connection back."""
        self.database.close()


__getattr__ = door(
    __name__,
    fronts=("Front", "NewPrefix"),
    outlets=("Outlet",),
    raws=("Raw", "Reading"),
    rows=(
        *("AccountRow", "Answer", "BatchRow", "JobRow", "Known", "LaneRow"),
        *("Member", "NewJob", "RunRow", "Seal", "Settled"),
    ),
    runs=("Moved", "Opening"),
    uploads=("NewUpload", "UploadRow"),
)

__all__ = [
    "AccountRow",
    "Answer",
    "BatchRow",
    "Front",
    "JobRow",
    "Known",
    "LaneRow",
    "Member",
    "Moved",
    "NewJob",
    "NewPrefix",
    "NewUpload",
    "Opening",
    "Outlet",
    "Raw",
    "Reading",
    "RunRow",
    "Seal",
    "Settled",
    "Store",
    "UploadRow",
    "migrate",
]
