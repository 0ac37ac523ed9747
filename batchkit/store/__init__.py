"""All SQL: one public method is one transaction is one business fact."""

from __future__ import annotations

import os

from batchkit import settings
from batchkit.store import migrate
from batchkit.store.accounts import Accounts
from batchkit.store.answers import Answers
from batchkit.store.audit import Audit
from batchkit.store.batches import Batches
from batchkit.store.canaries import Canaries
from batchkit.store.database import Database
from batchkit.store.events import Events
from batchkit.store.fronts import Front, NewPrefix
from batchkit.store.histories import Histories
from batchkit.store.jobs import Jobs
from batchkit.store.leases import Leases
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
    """The one door to the database, with a part for each noun.

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
        self.runs = Runs(self.database)
        self.jobs = Jobs(self.database)
        self.pages = Pages(self.database)
        self.surveys = Surveys(self.database)
        self.batches = Batches(self.database)
        self.prefixes = Prefixes(self.database)
        self.canaries = Canaries(self.database)
        self.leases = Leases(self.database)
        self.answers = Answers(self.database)
        self.accounts = Accounts(self.database)
        self.events = Events(self.database)
        self.histories = Histories(self.database)
        self.raws = Raws(self.database)
        self.papers = Papers(self.database)
        self.uploads = Uploads(self.database)
        self.audit = Audit(self.database)
        self.reports = Reports(self.database)
        self.parts = Parts(self.database)
        self.reservations = Reservations(self.database)

    @property
    def shown(self) -> str:
        """Where the state lies, for people; no password."""
        return self.database.shown

    def close(self) -> None:
        """Give every connection back."""
        self.database.close()


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
