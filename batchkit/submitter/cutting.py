"""Cut the next batch of a run: choose the jobs, encode them once, spool, reserve, seal."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from functools import partial
from typing import TypeAlias

from batchkit import caching, documents, requests
from batchkit.caching import Marks
from batchkit.errors import DocumentChanged, DocumentGone
from batchkit.model import Attachment, Code, Json, Request, Waiting
from batchkit.money import show
from batchkit.pace import Pace
from batchkit.packing import Filling, Reason
from batchkit.providers import Provider
from batchkit.spools import Spools, SpoolWriter, custom_id, new_token
from batchkit.store import AccountRow, JobRow, LaneRow, Member, RunRow, Seal, Settled, Store
from batchkit.store.outlines import PAGE, Outline
from batchkit.submitter.copying import Copier
from batchkit.submitter.fitting import Fits, Fitting
from batchkit.submitter.gates import Gate
from batchkit.submitter.lending import Halted, Lender, Loans
from batchkit.submitter.reserving import Reserving, reserved
from batchkit.submitter.shares import Part, Shares
from batchkit.weighing import Rates, Weight, weigh, weigh_attempt

Pairs: TypeAlias = Iterable[tuple[JobRow, Member | None]]


@dataclass(frozen=True, slots=True)
class Sealed:
    """What a cut led to: a batch, or what stands in the way; ``settled`` jobs ended on the way.

    ``short`` of money for the job whose turn it is, which needs so many nano-dollars.
    """

    batch_id: int | None = None
    settled: int = 0
    hindrance: tuple[Waiting, str] | None = None
    short: bool = False
    needed: int | None = None


@dataclass(slots=True)
class _Load:
    """A batch while it is being cut, with the jobs that cannot come along."""

    run: RunRow
    lane: LaneRow
    token: str
    filling: Filling
    loans: Loans
    counted: bool
    end: int
    chosen: list[Member] = field(default_factory=list)
    failed: list[Settled] = field(default_factory=list)
    absent: list[int] = field(default_factory=list)
    aside: list[int] = field(default_factory=list)
    away: str | None = None
    marks: Marks = field(default_factory=Marks)
    rates: Rates = field(default_factory=dict)
    uncovered: int = 0
    attempt_no: int = 1
    stopped: Reason | None = None
    needed: int | None = None


Fill: TypeAlias = Callable[[_Load, SpoolWriter], bool]
"""Takes jobs into a load until it is full (False) or there are no more (True)."""


class Cutter:
    """Cut batches for one provider's account."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        account: AccountRow,
        spools: Spools,
        owner: str,
        pace: Pace,
        lender: Lender,
    ) -> None:
        self._store = store
        self.lender = lender
        self._provider = provider
        self._account = account
        self._spools = spools
        self._owner = owner
        self._gate = Gate(store, pace)
        self._fitting = Fitting(store)
        self._reserving = Reserving(store, self._fitting.forget)
        self.shares = Shares(store, provider, account, pace)
        self._most_bytes: int | None = None
        self._templates: dict[int, Json] = {}
        self._copier = Copier(store, provider, self._template)

    def smaller_than(self, size: int) -> None:
        """Cut below half of what was turned away as too large."""
        self._most_bytes = max(size // 2, 1)

    def next_batch(self, run_id: int, now: datetime) -> Sealed:
        """Seal one batch from the first lane that has work; say what hinders if none can be."""
        hindrance: tuple[Waiting, str] | None = None
        short: list[int | None] = []
        run = self._store.runs.get(run_id)
        held = self._gate.held(run, now)
        if held is not None:
            return Sealed(hindrance=held)
        for lane in self._store.jobs.lanes(run_id):
            if lane.provider != self._provider.name:
                continue
            if not self._has_work(lane, run.braked, now):
                hindrance = self._gate.braked(run, lane, now) or hindrance
                continue
            lease = self._store.leases.claim_lane(lane.id, self._owner, now)
            if lease is None:
                continue
            try:
                sealed = self._from_lane(self._store.jobs.lane(lane.id), now)
            finally:
                self._store.leases.let_go_lane(lane.id, lease)
            if sealed.batch_id is not None or sealed.settled:
                return sealed
            hindrance = sealed.hindrance or hindrance
            short += [sealed.needed] if sealed.short else []
        if short:
            least = min((needed for needed in short if needed is not None), default=None)
            hindrance = Waiting.BUDGET, self._fitting.sentence(run, least)
        return Sealed(hindrance=hindrance)

    def _has_work(self, lane: LaneRow, without: list[str], now: datetime) -> bool:
        if lane.cursor < lane.released:
            return True
        return bool(self._store.batches.free_members(lane.id, now, 1, without))

    def _from_lane(self, lane: LaneRow, now: datetime) -> Sealed:
        run = self._store.runs.get(lane.run_id)
        blocked = self._blocked(run, now)
        if blocked is not None:
            return blocked
        known = self._store.prefixes.of_lane(lane.id)
        near, prefixes = self._gate.narrowed(run, lane, known, now)
        part = self.shares.part(run, near, now)
        if part.waits:
            return Sealed()
        load = self._load(run, near, Marks(prefixes, now), part)
        if near.cursor < near.released:
            sealed = self._cut(load, self._take_range, "range", now)
        else:
            pairs = self._members(lane, self._gate.waiting(run, lane, now))
            sealed = self._cut(load, partial(self._take_members, pairs), "members", now)
        if not sealed.short:
            return sealed
        if self._store.runs.live(run.id)[1]:
            return Sealed()  # what is in flight will bring money back
        return self._what_fits(run, lane, part, sealed, now)

    def _what_fits(
        self, run: RunRow, lane: LaneRow, part: Part, short: Sealed, now: datetime
    ) -> Sealed:
        """Cut a batch of what still fits, past what does not; say what the cheapest needs."""
        least = [] if short.needed is None else [short.needed]
        whole, lane = lane, self._gate.behind_canary(run, lane, now)
        needs = partial(self._needed, self._reserving.rates(run, lane))
        fits = self._fitting.in_range(lane, run.free or 0, needs)
        if fits.seqs or lane.cursor < lane.released < whole.released:
            # What is left of a canary does not keep it from being judged.
            load = self._load(run, lane, Marks(), part, counted=True)
            return self._cut(load, partial(self._take_fitting, fits), "range", now)
        least += [] if fits.least is None else [fits.least]
        waiting = self._gate.waiting(run, lane, now)
        fits = self._fitting.among(lane, waiting, run.free or 0, needs)
        if fits.members:
            load = self._load(run, lane, Marks(), part, counted=True)
            pairs = self._members(lane, fits.members)
            return self._cut(load, partial(self._take_members, pairs), "members", now)
        least += [] if fits.least is None else [fits.least]
        return replace(short, needed=min(least, default=None))

    def _members(self, lane: LaneRow, waiting: Sequence[Member]) -> Pairs:
        for at in range(0, len(waiting), 500):
            page = waiting[at : at + 500]
            rows = self._store.jobs.pick(lane.id, [member.seq for member in page])
            by_seq = {row.seq: row for row in rows}
            yield from ((by_seq[one.seq], one) for one in page if one.seq in by_seq)

    def _blocked(self, run: RunRow, now: datetime) -> Sealed | None:
        if run.cancel_requested_at or (run.deadline_at and run.deadline_at <= now):
            return Sealed()
        if run.hold_until and run.hold_until > now:
            return Sealed(hindrance=(Waiting.REVIEW, run.hold_reason or "held"))
        _, live = self._store.runs.live(run.id)
        return Sealed() if live >= run.settings.max_parallel_batches else None

    def _cut(self, load: _Load, fill: Fill, kind: str, now: datetime) -> Sealed:
        lane = load.lane
        with self._spools.writer(load.token) as writer:
            if fill(load, writer):
                load.end = lane.released
            moved = kind == "members" or load.end > lane.cursor
            if not moved or not (load.filling.count or load.failed or load.absent or load.aside):
                writer.discard()
                short = load.stopped in ("budget", "price")
                return Sealed(hindrance=self._hindrance(load), short=short, needed=load.needed)
            batch_id = self._store.batches.seal(self._seal(load, kind, writer), now)
            if not batch_id:
                writer.discard()
        if batch_id is None:
            return Sealed()
        return Sealed(batch_id or None, len(load.failed) + len(load.absent) + len(load.aside))

    def _take_members(self, pairs: Pairs, load: _Load, writer: SpoolWriter) -> bool:
        """Take what goes again; False when the batch is full before the end."""
        return all(self._take(load, row, member, writer) for row, member in pairs)

    def _take_range(self, load: _Load, writer: SpoolWriter) -> bool:
        """Take first attempts in order; False when the batch is full before the end."""
        at, end = load.lane.cursor, load.lane.released
        while at < end:
            stop = min(end, at + max(1, min(PAGE, load.filling.places)))
            if not (
                self._copied_all(load, at, stop, writer) or self._take_each(load, at, stop, writer)
            ):
                return False
            at = stop
        return True

    def _take_each(self, load: _Load, lo: int, hi: int, writer: SpoolWriter) -> bool:
        for page in self._store.pages.outlines(load.lane.id, lo, hi):
            for job in page:
                if self._copied(load, job, writer):
                    load.end = job.seq + 1
                elif not self._take(load, job.row, None, writer):
                    return False
        return True

    def _take_fitting(self, fits: Fits, load: _Load, writer: SpoolWriter) -> bool:
        """Take what fits, in order; what lies before it and does not is set aside."""
        lane, left = load.lane, len(fits.seqs)
        passed: list[int] = []
        for page in self._store.pages.outlines(lane.id, lane.cursor, lane.released):
            for job in page:
                if job.seq not in fits.seqs:
                    passed.append(job.seq)
                    continue
                if not self._take(load, job.row, None, writer):
                    return False
                load.aside += passed
                passed.clear()
                left -= 1
                if not left:
                    return False
        if fits.seqs:
            return False
        load.aside = passed
        return True

    def _copied(self, load: _Load, job: Outline, writer: SpoolWriter) -> bool:
        """Take a job that is a prompt and nothing else, and fits; False leaves it to ``_take``."""
        if load.counted or load.marks:
            return False
        line = self._copier.line(load.run, job, load.token)
        if line is None or load.filling.offer(len(line), job.bound, job.tokens) is not None:
            return False
        writer.add(line)
        return True

    def _copied_all(self, load: _Load, lo: int, hi: int, writer: SpoolWriter) -> bool:
        """Take a page of such jobs, if all of them fit; False leaves them to ``_take_each``."""
        if load.counted or load.marks:
            return False
        block = self._copier.block(load.run, load.lane.id, lo, hi, load.token)
        if block is None or not load.filling.offer_all(block.sums):
            return False
        writer.add(block.lines, block.sums.jobs)
        load.end = block.end
        return True

    def _load(
        self, run: RunRow, lane: LaneRow, marks: Marks, part: Part, *, counted: bool = False
    ) -> _Load:
        tight = counted or self._is_tight(run, lane, 2 if marks else 1)
        return _Load(
            run=run,
            lane=lane,
            token=new_token(run.uid),
            filling=self._filling(run, part),
            loans=self.lender.loans(),
            counted=tight,
            end=lane.cursor,
            marks=marks,
            rates=self._reserving.rates(run, lane) if tight else {},
        )

    def _filling(self, run: RunRow, part: Part, items: int | None = None) -> Filling:
        return Filling(
            self._provider.limits,
            items_per_batch=items or run.settings.items_per_batch,
            budget=run.free,
            queue_room=part.room,
            memory=self._most_bytes,
            share=part.share,
        )

    def _is_tight(self, run: RunRow, lane: LaneRow, dearer: int) -> bool:
        """Counting tokens costs more than sending: only where the cheap bounds do not fit.

        What is marked for a cache may cost so many times as much.
        """
        if run.free is None:
            return False
        _, _, bound, _, _ = self._store.jobs.waiting(lane)
        return int(bound) * dearer > run.free or lane.cursor >= lane.released

    def _queue_is_empty(self, lane: LaneRow) -> bool:
        model = lane.model if self._provider.limits.queue == "tokens" else None
        return self._store.accounts.queued(self._account.id, model) == (0, 0)

    def _take(self, load: _Load, row: JobRow, member: Member | None, writer: SpoolWriter) -> bool:
        """Take one job into the load, or out of the way; False when the batch is full."""
        changes = (member.changes if member else None) or {}
        template = self._template(row.template_id)
        try:
            attachments = self.lender.attachments(
                load.run, row, load.loans, changes, counted=load.counted
            )
        except Halted:
            return False
        except DocumentGone as error:
            load.away = str(error)
            if member is None:
                load.absent.append(row.seq)
        except DocumentChanged as error:
            load.failed.append(_failed(row, Code.FILE_CHANGED, str(error)))
        else:
            request = requests.assemble(template, row.own, attachments, changes)
            request = self._marked(load, row, member, template, request)
            line = self._provider.encode(request, custom_id(load.token, row.seq))
            weight = self._weight(load.counted, load.rates, row, request, changes)
            if _outgrew(attachments):
                weight = self._weighed(template, request)
            if not self._offer(load, row, member, line, weight, writer):
                return False
        load.end = row.seq + 1
        return True

    def _offer(
        self,
        load: _Load,
        row: JobRow,
        member: Member | None,
        line: bytes,
        weight: Weight,
        writer: SpoolWriter,
    ) -> bool:
        dear = self._too_dear(load, row, member, weight)
        if dear is not None:
            load.failed.append(_failed(row, Code.MAX_USD, dear))
            return True
        stopped = load.filling.offer(len(line), weight.held, weight.tokens)
        if stopped == "queue" and not load.filling.count and self._queue_is_empty(load.lane):
            # Our bound is above what the provider counts: alone it may fit, and waits for nothing.
            load.filling = self._filling(load.run, Part(), items=1)
            stopped = load.filling.offer(len(line), weight.held, weight.tokens)
        if stopped == "request_bytes":
            why = f"its request has {len(line):,} bytes, more than {self._provider.name} takes"
            load.failed.append(_failed(row, Code.BAD_INPUT, why))
            return True
        if stopped is not None:
            load.stopped, load.needed = stopped, weight.held
            return False
        writer.add(line)
        load.uncovered += weight.uncovered
        if member is not None:
            load.chosen.append(member)
            load.attempt_no = max(load.attempt_no, member.attempt_no)
        return True

    def _marked(
        self, load: _Load, row: JobRow, member: Member | None, template: Json, request: Request
    ) -> Request:
        """Mark what the job shares with others, unless that alone would keep it from going."""
        levels = load.marks.of(row.template_id, template, row.documents, row.seq)
        found = caching.marked(request, levels)
        if not found.caching:
            return request
        changes = (member.changes if member else None) or {}
        weight = self._weight(load.counted, load.rates, row, found, changes)
        free, first = load.run.free, not (load.filling.count or load.run.reserved)
        hinders = first and free is not None and (weight.held or 0) > free
        if hinders or self._too_dear(load, row, member, weight):
            load.marks.leave_out(row.seq)
            return request
        return found

    def _needed(self, rates: Rates, row: JobRow, member: Member | None) -> int | None:
        """Return what a job's next attempt reserves, counted; None without a price or a file."""
        changes = (member.changes if member else None) or {}
        template = self._template(row.template_id)
        try:
            given = requests.documents_of(row.documents)
            attachments = [documents.load(one, self._store.files) for one in given]
        except (DocumentGone, DocumentChanged):
            return None
        request = requests.assemble(template, row.own, attachments, changes)
        if _outgrew(attachments):
            return self._weighed(template, request).bound
        return self._weight(True, rates, row, request, changes).held

    def _weight(
        self, counted: bool, rates: Rates, row: JobRow, request: Request, changes: Json
    ) -> Weight:
        weight = weigh_attempt(
            request,
            requests.price_of(self._template(row.template_id)),
            Weight(row.tokens, row.bound),
            changes,
            provider=self._provider.name,
            dialect=self._provider.traits.dialect,
            counted=counted,
        )
        return reserved(weight, rates, row, changes)

    def _weighed(self, template: Json, request: Request) -> Weight:
        price = requests.price_of(template)
        dialect = self._provider.traits.dialect
        return weigh(request, price, provider=self._provider.name, dialect=dialect)

    def _too_dear(
        self, load: _Load, row: JobRow, member: Member | None, weight: Weight
    ) -> str | None:
        own = self._template(row.template_id).get("max_usd_per_job")
        most = own if own is not None else load.run.settings.max_usd_per_job
        spent = int(((member.changes if member else None) or {}).get("spent", 0))
        if most is None or weight.bound is None or spent + weight.bound <= most:
            return None
        return (
            f"its next attempt may cost {show(weight.bound)}, {show(spent)} were spent, "
            f"max_usd_per_job is {show(most)}"
        )

    def _template(self, template_id: int) -> Json:
        if template_id not in self._templates:
            if len(self._templates) > 1_000:
                self._templates.clear()
            stored = self._store.jobs.template(template_id)
            self._templates[template_id] = requests.prepared(stored)
        return self._templates[template_id]

    def _seal(self, load: _Load, kind: str, writer: SpoolWriter) -> Seal:
        is_range = kind == "range"
        needs_twin_guard = not self._provider.traits.metadata
        return Seal(
            lane=load.lane,
            kind=kind,
            lo=load.lane.cursor if is_range else None,
            hi=load.end if is_range else None,
            token=load.token,
            count=writer.count,
            bytes=writer.bytes,
            tokens=load.filling.tokens,
            sha256=writer.seal() if writer.count else "",
            spool=str(writer.path),
            spool_host=self._spools.host,
            attempt_no=load.attempt_no,
            reserved=load.filling.bound,
            twin_guard=writer.count if needs_twin_guard else None,
            account_id=self._account.id,
            max_live=load.run.settings.max_parallel_batches,
            failed=load.failed,
            absent=load.absent,
            aside=load.aside,
            members=load.chosen,
            marks=load.marks.said,
            uploads=sorted(load.loans.ids),
            uncovered=load.uncovered,
        )

    def _hindrance(self, load: _Load) -> tuple[Waiting, str] | None:
        full = load.stopped in ("budget", "price", "bytes", "memory", "queue")
        return None if full or load.away is None else (Waiting.FILES, load.away)


def _outgrew(attachments: list[Attachment]) -> bool:
    """Say whether a converter makes more of a document now than when its job was bounded."""
    return any(
        one.document.kind == "text" and len(one.data) > (one.document.text_bytes or 0)
        for one in attachments
    )


def _failed(row: JobRow, code: Code, why: str) -> Settled:
    return Settled(row.seq, 0, "failed", code=code, error=why, ran=False)
