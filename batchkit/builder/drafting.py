"""A builder's jobs on their way into the rows: buffered, compared with what is there, appended."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import TypeAlias

from batchkit import requests
from batchkit.builder.marks import Bits
from batchkit.errands import Errand
from batchkit.errors import StateError
from batchkit.model import Json
from batchkit.parts import count_of
from batchkit.store import JobRow, Known, LaneRow, NewJob, RunRow, Store
from batchkit.store.jobs import Taken
from batchkit.store.sheets import Row, Sheet, job_of

Page: TypeAlias = Sequence[NewJob] | Sheet

_FIRST = 1_000
_MOST = 8_000
_MOST_BYTES = 10_000_000
"""Of a page; one is written down while the next is filled, and each is twice the one before."""

_STRIDE = 256
"""Jobs after which who adds gives way to who writes a page down."""

_TRIES = 10


@dataclass(frozen=True, slots=True)
class Placing:
    """What becomes of one job: appended (in place of a stale draft), or known already."""

    append: NewJob | None = None
    replacing: tuple[int, int] | None = None
    seen: tuple[int, ...] = ()
    refresh: Known | None = None


def placing(job: NewJob, rows: Sequence[Known]) -> Placing:
    """Compare a job with what its run holds under its key, oldest revision first.

    What cannot be read any more is no other content: the job that is there stays.
    """
    drafts = [row for row in rows if not row.released and not row.superseded]
    current = next((row for row in reversed(rows) if row.released and not row.superseded), None)
    draft = drafts[-1] if drafts else None
    if current is not None and (current.digest == job.digest or job.problem is not None):
        return Placing(seen=(current.no,), refresh=_differing(current, job))
    behind = () if current is None else (current.no,)
    if draft is not None and draft.digest == job.digest:
        return Placing(seen=(draft.no, *behind), refresh=_differing(draft, job))
    kept = [row.revision for row in rows if row is not draft]
    return Placing(
        append=replace(job, revision=max(kept, default=-1) + 1),
        replacing=None if draft is None else (draft.lane_id, draft.seq),
        seen=behind,
    )


def _differing(known: Known, job: NewJob) -> Known | None:
    """Return the row if anything of it changed that is no content."""
    same = (
        known.template_digest == job.template_digest
        and known.documents == job.documents
        and known.metadata == job.metadata
    )
    return None if same or job.problem is not None else known


class Draft:
    """The jobs that one builder adds. ``opened`` makes the store and the run when needed.

    ``meanwhile`` is called each time a full page goes off to be written down.
    """

    def __init__(
        self, opened: Callable[[], tuple[Store, int]], meanwhile: Callable[[], object] = bool
    ) -> None:
        self._opened = opened
        self._meanwhile = meanwhile
        self._full = _FIRST
        self._place: tuple[Store, int] | None = None
        self._is_empty = False
        self._split: int | None = None
        self._buffer: list[NewJob] | Sheet = []
        self._bytes = 0
        self._writing: Errand | None = None
        self._written: Page = ()
        self._next: dict[int, int] = {}
        self._begun: int | None = None
        self.seen = Bits()
        self.added = 0

    @property
    def store(self) -> Store:
        """The store, opened now if it was not."""
        return self._where()[0]

    @property
    def run_id(self) -> int:
        """The run that the jobs go into, made now if it was not."""
        return self._where()[1]

    def is_all_of(self, run: RunRow) -> bool:
        """Say whether a run that was never opened holds what was added here and nothing else.

        Not where documents are split: they are looked at part by part.
        """
        return self._is_empty and run.opened_at is None and run.next_no == self.added

    def is_held_by(self, run: RunRow) -> bool:
        """Say whether a run has released exactly what was added here: then nothing is to be done.

        Nobody has added to it since the first look, when it had no drafts: so what was found then
        is there still, and as many jobs as it has are all of its jobs.
        """
        return run.next_no == self._begun and len(self.seen) == self.added == run.total

    def add(self, job: NewJob, *tails: NewJob) -> None:
        """Take a job, with the other parts of its document; write them down by the thousand.

        Raises what kept the page before from being written; nothing is lost by that.
        """
        for one in (job, *tails):
            self._take(one)
            self._bytes += one.bytes if one.documents is None else _held(one)
        self.added += 1
        if self._is_full():
            self._turn()

    def add_row(self, pattern: NewJob, row: Row) -> None:
        """Take a job that is ``pattern`` but for its row; like ``add`` otherwise."""
        sheet = self._buffer
        if type(sheet) is Sheet and sheet.pattern is pattern:
            sheet.rows.append(row)
        else:
            self._begin(pattern, row)
        self._bytes += len(row[2])
        self.added += 1
        if self._is_full():
            self._turn()
        elif not self.added % _STRIDE and self._writing is not None:
            self._writing.give_way()

    def flush(self) -> None:
        """Write down what is held back; return once all is."""
        self._finish()
        if self._buffer:
            self.place(self._buffer)
            self._buffer = []
            self._bytes = 0

    def _take(self, job: NewJob) -> None:
        if isinstance(self._buffer, Sheet):
            if self._buffer.take(job):
                return
            self._buffer = list(self._buffer)
        self._buffer.append(job)

    def _begin(self, pattern: NewJob, row: Row) -> None:
        """Begin a sheet with a row, or go on without one: what is held back may be of other kinds.

        The first job of a kind comes as a job, since it passed every check by itself.
        """
        sheet = Sheet(pattern)
        if len(self._buffer) > 1 or not all(sheet.take(one) for one in self._buffer):
            self._take(job_of(pattern, row))
            return
        sheet.rows.append(row)
        self._buffer = sheet

    def _is_full(self) -> bool:
        return len(self._buffer) >= min(self._full, _MOST) or self._bytes >= _MOST_BYTES

    def _turn(self) -> None:
        """Let the full page be written down by another thread, once the one before is."""
        self._full = min(2 * self._full, _MOST)
        self._where()
        self._finish()
        self._written, self._buffer, self._bytes = self._buffer, [], 0
        self._writing = Errand(partial(self.place, self._written), "batchkit-draft")
        self._writing.start()
        self._meanwhile()

    def _finish(self) -> None:
        """Wait for the page that is being written; one that could not be is held back again."""
        if self._writing is None:
            return
        error = self._writing.wait()
        if error is not None:
            self._buffer = [*self._written, *self._buffer]
        self._writing, self._written = None, ()
        if error is not None:
            raise error

    def digest_of(self, key: str) -> bytes | None:
        """Return the content that was added under a key."""
        self._finish()
        for job in self._buffer:
            if job.key == key:
                return job.digest
        found = self.store.jobs.lookup(self.run_id, [key]).get(key)
        return found[-1].digest if found else None

    def place(self, new: Page, begun: Callable[[], object] = bool) -> None:
        """Bring jobs into the run; somebody who adds the same at the same time is no obstacle.

        ``begun`` is called where only rows are left to write.
        """
        for _ in range(_TRIES):
            try:
                self._merge(new, begun)
            except Taken:
                self._is_empty = False
                continue
            return
        raise StateError(
            "Other processes keep adding the same jobs to this run: stop them and start again."
        )

    def move(self, target: int) -> None:
        """Go on in another run: this draft's jobs are added there, and the draft goes.

        It stays if it has cost something, so that the books stay whole.
        """
        store, left = self._where()
        self.flush()
        self._place = (store, target)
        self._is_empty = False
        self._begun = None
        self._next = {}
        self.seen = Bits()
        for page in _pages(store, left):
            self.place(page)
        if store.runs.get(left).spent == 0:
            store.runs.remove(left)

    def _where(self) -> tuple[Store, int]:
        if self._place is None:
            store, run_id = self._place = self._opened()
            # Nothing to compare with; should somebody else add here too, a key will be taken.
            begun = store.runs.get(run_id).next_no
            self._is_empty = begun == 0
            if all(lane.released == lane.size for lane in store.jobs.lanes(run_id)):
                self._begun = begun
        return self._place

    def _merge(self, new: Page, begun: Callable[[], object]) -> None:
        store, run_id = self._where()
        if self._split != run_id and _is_split(new):
            store.runs.note_split(run_id)
            self._split = run_id
        if self._is_empty:
            added = store.jobs.append(run_id, new, begun=begun)
            self.seen.add_all(added.start, added.stop)
            return
        placings = self._placings(store, run_id, list(new))
        fresh = [one.append for _, one in placings if one.append is not None]
        stale = [one.replacing for _, one in placings if one.replacing is not None]
        store.jobs.refresh(
            run_id, [(one.refresh, job) for job, one in placings if one.refresh is not None]
        )
        added = store.jobs.append(run_id, fresh, stale)
        self.seen.add_all(added.start, added.stop)
        for _, one in placings:
            for no in one.seen:
                self.seen.add(no)

    def _placings(
        self, store: Store, run_id: int, new: Sequence[NewJob]
    ) -> list[tuple[NewJob, Placing]]:
        """Compare jobs with the run; return what becomes of those that are not simply known."""
        here: dict[int, int] = {}
        following = self._following(store, run_id, new)
        rest = [
            job
            for job in new
            if (row := following.get(job.key)) is None or not self._is_known(job, row, here)
        ]
        there: dict[int, int] = {}
        found = store.jobs.lookup(run_id, [job.key for job in rest])
        placings = [
            (job, placing(job, rows))
            for job in rest
            if len(rows := found.get(job.key, [])) != 1 or not self._is_known(job, rows[0], there)
        ]
        self._next |= {**there, **here}
        return placings

    def _following(self, store: Store, run_id: int, new: Sequence[NewJob]) -> dict[str, Known]:
        """Return what the run holds next, by key: a script started again adds in the same order.

        Where it does not, the place is found again by those that are looked up.
        """
        counts = Counter((job.provider, job.model, job.endpoint) for job in new)
        rows: dict[str, Known] = {}
        for lane in store.jobs.lanes(run_id):
            count = counts[lane.provider, lane.model, lane.endpoint]
            after = self._next.get(lane.id, 0)
            if count and after < lane.released:
                rows |= {row.key: row for row in store.jobs.following(lane, after, count)}
        return rows

    def _is_known(self, job: NewJob, row: Known, ends: dict[int, int]) -> bool:
        """Say whether a job is what it was, and remember it then: nearly all are, once started.

        ``ends`` are the places behind the last such ones, by lane.
        """
        same = row.released and not row.superseded and row.digest == job.digest
        if not same or _differing(row, job) is not None:
            return False
        self.seen.add(row.no)
        ends[row.lane_id] = row.seq + 1
        return True


def _is_split(page: Page) -> bool:
    """Say whether a document in parts is among the jobs; a sheet has none."""
    return not isinstance(page, Sheet) and any(count_of(job.documents) for job in page)


def _held(job: NewJob) -> int:
    """Return about how many bytes a job keeps in memory; its documents stay where they are."""
    return job.bytes - sum(map(requests.line_bytes, requests.documents_of(job.documents)))


def _pages(store: Store, run_id: int) -> Iterator[list[NewJob]]:
    """Read a draft as new jobs, in order of adding."""
    lanes = {lane.id: lane for lane in store.jobs.lanes(run_id)}
    templates: dict[int, tuple[Json, bytes]] = {}
    places = store.surveys.drafts(run_id)
    while page := list(islice(places, _MOST)):
        rows = [row for lane_id in lanes for row in store.jobs.pick(lane_id, _seqs(page, lane_id))]
        for row in rows:
            if row.template_id not in templates:
                data = store.jobs.template(row.template_id)
                templates[row.template_id] = (data, requests.template_digest(data))
        yield [
            _new(row, lanes[row.lane_id], *templates[row.template_id])
            for row in sorted(rows, key=lambda row: row.no)
        ]


def _seqs(page: Sequence[tuple[int, int, int, str, bytes]], lane_id: int) -> list[int]:
    return [seq for lane, seq, _, _, _ in page if lane == lane_id]


def _new(row: JobRow, lane: LaneRow, template: Json, digest: bytes) -> NewJob:
    return NewJob(
        key=row.key,
        provider=lane.provider,
        model=lane.model,
        endpoint=lane.endpoint,
        digest=row.digest,
        template=template,
        template_digest=digest,
        own=row.own,
        documents=row.documents,
        metadata=row.metadata,
        bytes=row.bytes,
        tokens=row.tokens,
        bound=row.bound,
        problem=row.own.get("problem"),
    )
