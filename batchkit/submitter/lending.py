"""Documents that many jobs ask about: uploaded before their lines are cut, deleted after.

An upload is in the store before a line names it; what a batch names is written down in the
transaction that seals it. A crash in between leaves an upload that nobody names: it is deleted by
whoever comes next, or goes when its time is over, as does one that was never written down.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta

from batchkit import documents, requests, sharing
from batchkit.clock import Clock
from batchkit.errors import (
    DocumentChanged,
    DocumentGone,
    ProviderError,
    ProviderGarbled,
    ProviderRefused,
    ProviderUnavailable,
)
from batchkit.model import Attachment, Document, Json
from batchkit.pace import Pace
from batchkit.providers import Provider, Sharer
from batchkit.sharing import Key
from batchkit.store import AccountRow, BatchRow, JobRow, NewUpload, RunRow, Store, UploadRow

_MOST_ODD = 3
"""Uploads of one document whose answer makes no sense before it goes in its lines."""

_LEAVE_AFTER = 5.0
"""Seconds that somebody who is told to leave goes on deleting; the rest is left to the next."""


class Halted(Exception):
    """A document cannot be uploaded now: its job, and those behind it, wait for another batch."""


@dataclass(slots=True)
class Loans:
    """What the lines of one batch name, while it is cut, and who reads the rest."""

    reader: documents.Reader
    ids: set[int] = field(default_factory=set)
    usable: dict[Key, UploadRow] | None = None
    wanted: dict[Key, int] = field(default_factory=dict)


class Lender:
    """Uploads documents for one provider's account, and clears them away."""

    def __init__(
        self, store: Store, provider: Provider, account: AccountRow, pace: Pace, clock: Clock
    ) -> None:
        self._store = store
        self._sharer = provider if isinstance(provider, Sharer) else None
        self._provider = provider.name
        self._account = account
        self._pace = pace
        self._clock = clock
        self._wanted: dict[int, tuple[int, dict[Key, int]]] = {}
        self._odd: dict[Key, int] = {}
        self._in_line: set[Key] = set()
        self._has_uploads = True
        self.is_told_to_leave: Callable[[], bool] = bool

    def attachments(
        self, run: RunRow, row: JobRow, loans: Loans, changes: Json, *, counted: bool
    ) -> list[Attachment]:
        """Return a job's documents as they are sent: read, or named where that pays.

        ``counted``: the tokens of what is named are counted, too. Raises DocumentGone and
        DocumentChanged, and Halted where an upload has to wait.
        """
        whole = counted or bool(changes.get("max_tokens") or changes.get("note"))
        found: list[Attachment] = []
        for document in requests.documents_of(row.documents):
            upload = self._upload(run, document, loans, changes)
            if upload is None:
                found.append(loans.reader.load(document))
                continue
            loans.ids.add(upload.id)
            read = self._counted(document, loans) if whole else Attachment(document, b"")
            found.append(replace(read, ref=upload.ref))
        return found

    def loans(self) -> Loans:
        """Return those of a batch that is about to be cut: none so far."""
        return Loans(documents.Reader(self._store.files))

    def is_good(self, batch: BatchRow, now: datetime) -> bool:
        """Say whether all that a batch names outlives the provider's window from now on."""
        until = now + self._span(sharing.TO_SEND)
        named = self._store.uploads.of_batch(batch.id)
        return all(one.released_at is None and one.expires_at > until for one in named)

    def clear_away(self, now: datetime) -> None:
        """Delete what no batch in flight names and no run sends any more.

        What cannot be deleted goes when its time is over.
        """
        if self._sharer is None or not self._has_uploads:
            return
        began = self._clock.monotonic()
        for upload in self._store.uploads.release(self._account.id, now):
            if self.is_told_to_leave() and self._clock.monotonic() - began > _LEAVE_AFTER:
                return
            try:
                with suppress(ProviderRefused, ProviderGarbled):
                    self._sharer.unshare(upload.ref)
            except ProviderError:
                return
            self._store.uploads.deleted(upload.id, now)
        self._has_uploads = self._store.uploads.has_any(self._account.id, now)

    def _upload(
        self, run: RunRow, document: Document, loans: Loans, changes: Json
    ) -> UploadRow | None:
        """Return the upload that stands for a document, made if that pays; None: in the line."""
        wish = run.settings
        if wish.share_documents == "off" or wish.raw_files == "full":  # that keeps every byte
            return None
        if sharing.goes_in_line(changes):
            return None
        if self._sharer is None or not self._sharer.shares(document):
            return None
        key = sharing.key_of(document)
        if loans.usable is None:
            until = self._clock.now() + self._span(sharing.TO_CUT)
            there = self._store.uploads.usable(self._account.id, until)
            loans.usable = {(one.content, one.name): one for one in there}
            loans.wanted = self._demand(run)
        found = loans.usable.get(key)
        if found is None and key in loans.wanted and key not in self._in_line:
            found = self._made(self._sharer, run, document, loans)
        if found is not None:
            loans.usable[key] = found
            if run.settings.keep_provider_files and found.id not in loans.ids and not found.keep:
                self._store.uploads.keep(found.id)
        return found

    def _demand(self, run: RunRow) -> dict[Key, int]:
        """Return the documents that pay for a run, counted again when jobs were released."""
        released = sum(lane.released for lane in self._store.jobs.lanes(run.id))
        known = self._wanted.get(run.id)
        if known is None or known[0] != released:
            found = sharing.paying(self._store.uploads.wanted(run.id, self._provider))
            known = self._wanted[run.id] = (released, found)
        return known[1]

    def _made(
        self, sharer: Sharer, run: RunRow, document: Document, loans: Loans
    ) -> UploadRow | None:
        if self.is_told_to_leave():
            raise Halted
        key, now, read = sharing.key_of(document), self._clock.now(), loans.reader.load(document)
        try:
            shared = sharer.share(read, sharing.LIFE)
        except ProviderUnavailable as error:
            raise self._silent(now, error.retry_after) from error
        except ProviderGarbled as error:
            self._odd[key] = self._odd.get(key, 0) + 1
            if self._odd[key] < _MOST_ODD:
                raise self._silent(now, None) from error
            self._turned_away(run, document, str(error), now)
            return None
        except ProviderRefused as error:
            if error.reason == "account":
                self._store.accounts.block(self._account.id, now, str(error))
                raise Halted from error
            self._turned_away(run, document, str(error), now)
            return None
        self._store.accounts.answered(self._account.id)
        self._has_uploads = True
        life = min(sharing.LIFE, shared.life or sharing.LIFE)
        upload = self._store.uploads.add(
            NewUpload(
                account_id=self._account.id,
                run_id=run.id,
                content=key[0],
                name=key[1],
                ref=shared.ref,
                bytes=len(read.data),
                made_at=now,
                expires_at=now + self._span(life),
                keep=run.settings.keep_provider_files,
            )
        )
        told = {"name": document.name, "ref": upload.ref, "bytes": upload.bytes}
        self._store.events.add(run.id, now, "uploaded", **told)
        return upload

    def _turned_away(self, run: RunRow, document: Document, why: str, now: datetime) -> None:
        """Send a document in its lines from here on: the upload was refused, not the request."""
        self._in_line.add(sharing.key_of(document))
        self._store.events.add(run.id, now, "not_uploaded", name=document.name, why=why)

    def _silent(self, now: datetime, said: float | None) -> Halted:
        account = self._store.accounts.get(self._account.id)
        until = now + self._pace.retry_after(account.failures + 1, said)
        self._store.accounts.silent(self._account.id, now, until)
        return Halted()

    def _counted(self, document: Document, loans: Loans) -> Attachment:
        """Read a document for its tokens; of one that is gone here its figures say enough."""
        try:
            return loans.reader.load(document)
        except (DocumentGone, DocumentChanged):
            return Attachment(document, b"")

    def _span(self, life: timedelta) -> timedelta:
        return self._pace.seconds(life.total_seconds())
