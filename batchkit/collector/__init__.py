"""Download what a batch answered, settle every job of it, then move the money, once."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from functools import partial
from itertools import islice
from pathlib import Path
from typing import Any

from batchkit import caching, documents, outputs, pricing, rawfiles, requests, sharing
from batchkit.caching import Warmth
from batchkit.collector.booking import Booking
from batchkit.collector.cases import Case, Lines, row_of, usage_of
from batchkit.collector.forms import Forms
from batchkit.collector.plain import are_judged_by_class, parted, rows_of
from batchkit.errors import (
    ProviderError,
    ProviderGarbled,
    ProviderRefused,
    ProviderUnavailable,
)
from batchkit.model import (
    BatchState,
    Code,
    CostKind,
    Download,
    Errored,
    Json,
    NotRun,
    Outcome,
    Succeeded,
)
from batchkit.outputs import Rules, Verdict
from batchkit.pace import Pace
from batchkit.providers import Provider
from batchkit.spools import Spools, contents, seq_of, taken_over
from batchkit.store import AccountRow, BatchRow, JobRow, RunRow, Settled, Store
from batchkit.store.bulk import Row
from batchkit.store.outlines import Layout
from batchkit.store.watches import Watch
from batchkit.weighing import Weight, weigh_attempt

_CHUNK = 2_000
_MOST_DOWNLOADS = 6
"""Downloads that do not agree with the provider's counts before what came is taken as it is: from
then on as soon as two of them in a row are the same, since a torn one may follow a better one."""

_BRAKED = (Code.INVALID_OUTPUT, Code.TRUNCATED, Code.EMPTY_OUTPUT)
"""What is paid for each time it goes again; the free reasons end by themselves."""

_UNFINISHED = ("expired", "cancelled")
"""How batches end that may hold requests which never ran."""

_BRAKE_FROM = 20
_BRAKE_SHARE = 0.1

AnswerTypes = Mapping[str, Any]
"""The user's answer types at hand in this program, by the name that templates store."""


class Collector:
    """The step that books answers, for one provider's account."""

    def __init__(
        self,
        store: Store,
        provider: Provider,
        account: AccountRow,
        spools: Spools,
        owner: str,
        pace: Pace,
        types: AnswerTypes | None = None,
    ) -> None:
        self._store = store
        self._provider = provider
        self._account = account
        self._spools = spools
        self._owner = owner
        self._pace = pace
        self._forms = Forms(store, types or {})

    def run_once(self, runs: Sequence[RunRow], now: datetime) -> int:
        """Collect every ended batch that is due; return how many were closed."""
        by_id = {run.id: run for run in runs}
        due = self._store.batches.due(list(by_id), self._provider.name, now, [BatchState.ENDED])
        closed = 0
        for batch in due:
            lease = self._store.leases.claim(batch.id, self._owner, now)
            if lease is None:
                continue
            try:
                fresh = self._store.batches.get(batch.id)
                if fresh.state == BatchState.ENDED:
                    with taken_over(self._holds(batch.id, lease)):
                        closed += self._step(fresh, lease, now)
            finally:  # a full disk ends this engine: the next one need not wait for the lease
                self._store.leases.let_go(batch.id, lease)
        return closed

    def _holds(self, batch_id: int, lease: int) -> Callable[[], bool]:
        return partial(self._store.leases.holds, batch_id, lease, self._owner)

    def _step(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        if batch.end_reason == "lost" and batch.proof == "provisional":
            return self._disown(batch, lease, now, refuse=False)
        if batch.end_reason == "lost":
            return self._abandon(batch, lease, now)
        if batch.end_reason == "failed":
            return self._close(self._case(batch, now), lease, Lines())
        folder = self._spools.incoming(str(batch.token))
        last = batch.failures + 1 >= _MOST_DOWNLOADS
        before = contents(folder.iterdir()) if last else None
        try:
            download = self._provider.download(str(batch.ref), folder)
        except ProviderUnavailable as error:
            self._silent(batch, lease, now, error.retry_after)
            return False
        except ProviderGarbled as error:
            if error.files is None or before != contents(error.files):
                self._again(batch, lease, now, error)
                return False
            download = Download(error.files)
        except ProviderRefused as error:
            return self._refused(batch, error, lease, now)
        self._store.accounts.answered(self._account.id)
        return self._collect(batch, download, lease, now)

    def _collect(self, batch: BatchRow, download: Download, lease: int, now: datetime) -> bool:
        case = self._case(batch, now)
        outcomes = self._provider.outcomes(download)
        lines = self._settle_all(case, outcomes, lease)
        if batch.proof == "provisional" and lines.others and not lines.ours:
            return self._disown(batch, lease, now)
        if lines.others:
            told = {"batch_id": batch.id, "lines": lines.others}
            self._store.events.add(batch.run_id, now, "unknown_ids", **told)
        upload = Path(batch.spool) if batch.spool else None
        rawfiles.keep(case.run.settings, str(batch.token), upload, download, self._named(case))
        return self._close(case, lease, lines)

    def _named(self, case: Case) -> dict[str, Json]:
        """Say which documents a batch's lines name, where that is kept."""
        if rawfiles.folder_of(case.run.settings, str(case.batch.token)) is None:
            return {}
        named = self._store.uploads.of_batch(case.batch.id)
        return {one.ref: {"name": one.name, "sha256": one.content} for one in named}

    def _disown(self, batch: BatchRow, lease: int, now: datetime, *, refuse: bool = True) -> bool:
        """It was a stranger's, or it is gone: look for ours again."""
        landed = self._store.batches.disown(batch.id, lease, now, refuse=refuse)
        if not landed:  # a twin of the same size is unclear: when that is settled
            self._store.batches.later(batch.id, lease, now + self._pace.seconds(30))
        return landed

    def _close(self, case: Case, lease: int, lines: Lines) -> bool:
        """Account for the jobs without a line, then book everything."""
        if not self._is_settled(case.batch):
            for page in _pages(self._store.answers.unsettled(case.batch)):
                rows = [self._without_line(case, job, lines) for job in page]
                self._store.answers.settle(case.batch, rows)
        warm = case.now + self._pace.seconds(caching.WARM)
        self._store.prefixes.warm(case.warmth.heard, case.now, warm)
        closed = self._store.batches.collect(case.batch.id, lease, case.now)
        if closed:
            self._spools.forget(str(case.batch.token))
            self._clear_away(case)
            self._brake(case)
        return closed

    def _is_settled(self, batch: BatchRow) -> bool:
        """Say whether every job has its outcome: of a whole range a count tells it."""
        whole = batch.kind == "range" and (batch.hi or 0) - (batch.lo or 0) == batch.count
        return whole and self._store.answers.settled_count(batch.id) == batch.count

    def _clear_away(self, case: Case) -> None:
        """Delete the batch's upload at the provider; one that stays goes when it expires."""
        file_ref = case.batch.file_ref
        if file_ref is None or case.run.settings.keep_provider_files:
            return
        with suppress(ProviderError):
            self._provider.unstage(file_ref)

    def _brake(self, case: Case) -> None:
        """Stop a mistake that repeats: more than a tenth of the answers fail for one reason."""
        answers, codes = self._store.batches.codes(case.run.id)
        for code in _BRAKED:
            number = codes.get(code, 0)
            if number < _BRAKE_FROM or number <= _BRAKE_SHARE * answers:
                continue
            shown = self._store.answers.examples(case.run.id, code, 3)
            told = "; ".join(f"{key}: {error}" for key, error in shown)
            why = f"{number:,} of {answers:,} answers are {code}, such as {told}"
            self._store.runs.brake(case.run.id, code.value, why, case.now)

    def _abandon(self, batch: BatchRow, lease: int, now: datetime) -> bool:
        case = self._case(batch, now)
        why = "the provider does not keep its results any more"
        for page in _pages(self._store.answers.unsettled(batch)):
            rows = [self._lost(case, job, Code.RESULT_LOST, why) for job in page]
            self._store.answers.settle(batch, rows)
        return self._store.batches.abandon(batch.id, lease, now)

    def _case(self, batch: BatchRow, now: datetime) -> Case:
        changes: dict[int, Json] = {}
        numbers: dict[int, int] = {}
        if batch.kind == "members":
            for member in self._store.batches.members_of(batch.id):
                changes[member.seq] = member.changes or {}
                numbers[member.seq] = member.attempt_no
        run = self._store.runs.get(batch.run_id)
        return Case(batch, run, now, changes, numbers, self._warmth(batch, now))

    def _warmth(self, batch: BatchRow, now: datetime) -> Warmth:
        """Return what is to be heard of the prefixes that a batch was marked with."""
        if not batch.marks:
            return Warmth()
        prefixes = self._store.prefixes.of_lane(batch.lane_id or 0)
        return Warmth(prefixes, batch.marks, batch.sealed_at or now)

    def _settle_all(self, case: Case, outcomes: Iterator[Outcome], lease: int) -> Lines:
        """Settle outcomes in chunks; count the lines."""
        lines = Lines()
        watch = Watch(self._store.answers, case.batch, lease)
        layout = self._layout(case, watch)
        with Booking() as booking:
            self._settle_chunks(case, outcomes, lines, watch, layout, booking)
        watch.over()
        return lines

    def _settle_chunks(
        self,
        case: Case,
        outcomes: Iterator[Outcome],
        lines: Lines,
        watch: Watch,
        layout: Layout | None,
        booking: Booking,
    ) -> None:
        """Settle outcomes, each chunk booked while the next is read."""
        while chunk := booking.taken(outcomes, _CHUNK):
            placed: dict[int, Outcome] = {}
            for outcome in chunk:
                seq = seq_of(outcome.custom_id, str(case.batch.token))
                if seq is None:
                    lines.nameless += outcome.custom_id is None
                    lines.others += outcome.custom_id is not None
                else:
                    placed.setdefault(seq, outcome)
            plain, others = parted(placed, layout)
            jobs = self._jobs(case, others)
            lines.others += len(others) - len(jobs)
            lines.ours += len(plain) + len(jobs)
            if case.batch.end_reason in _UNFINISHED:
                lines.ran.update(plain)
                lines.ran.update(j.seq for j in jobs if not isinstance(placed[j.seq], NotRun))
            booking.finish()  # before anything else is written
            if jobs:
                self._settle(case, [(job, placed[job.seq]) for job in jobs], watch)
            if plain:
                judged, rows = self._judged(case, plain, layout, watch)
                booking.begin(partial(self._store.answers.settle, case.batch, judged, rows))

    def _layout(self, case: Case, watch: Watch) -> Layout | None:
        """Return what plain answers of a batch need to know; None if each is to be looked at."""
        batch = case.batch
        if batch.kind != "range" or batch.marks or watch.suspects.rows:
            return None
        return self._store.jobs.layout(batch.lane_id or 0, batch.lo or 0, batch.hi or 0)

    def _judged(
        self,
        case: Case,
        plain: Mapping[int, Succeeded],
        layout: Layout | None,
        watch: Watch,
    ) -> tuple[list[Settled], list[Row]]:
        """Judge plain answers; those that do not fit are judged as all others are."""
        if are_judged_by_class(plain, layout, self._forms):
            watch.together(plain)
        rows, misfits = rows_of(plain, layout, self._forms)
        jobs = self._jobs(case, misfits)
        return [self._settled(case, job, plain[job.seq]) for job in jobs], rows

    def _settle(self, case: Case, pairs: Sequence[tuple[JobRow, Outcome]], watch: Watch) -> None:
        """Settle a chunk; rows that a process died over are judged and settled one by one."""
        suspected, others = watch.split(pairs)
        for job, outcome in suspected:
            if watch.suspects.is_convicted(job.seq):
                rows = [self._crashed(case, job, outcome)]
            else:
                watch.alone(job.seq)
                rows = [self._settled(case, job, outcome)]
                watch.survived()
            self._store.answers.settle(case.batch, rows)
        if any(self._is_judged_by_class(job, outcome) for job, outcome in others):
            watch.together(job.seq for job, _ in others)
        rows = [self._settled(case, job, outcome) for job, outcome in others]
        self._store.answers.settle(case.batch, rows)

    def _is_judged_by_class(self, job: JobRow, outcome: Outcome) -> bool:
        is_answer = isinstance(outcome, Succeeded)
        return is_answer and self._forms.of(job.template_id).kind is not None

    def _crashed(self, case: Case, job: JobRow, outcome: Outcome) -> Settled:
        """End a job whose answer the user's class cannot survive; the answer is kept."""
        said = (
            "reading its answer with the response model killed the process twice; the answer is "
            "stored: mend the model, then: batchkit reparse"
        )
        cost, kind = self._cost(case, job, outcome)
        return row_of(case, job, Verdict("failed", Code.PARSER_CRASHED, said), outcome, cost, kind)

    def _jobs(self, case: Case, seqs: list[int]) -> list[JobRow]:
        """Return the jobs of these places that are in this batch."""
        batch = case.batch
        if batch.kind == "members":
            seqs = [seq for seq in seqs if seq in case.numbers]
        else:
            lo, hi = batch.lo or 0, batch.hi or 0
            seqs = [seq for seq in seqs if lo <= seq < hi]
        return self._store.jobs.pick(batch.lane_id or 0, seqs)

    def _settled(self, case: Case, job: JobRow, outcome: Outcome) -> Settled:
        form = self._forms.of(job.template_id)
        so_far = case.changes.get(job.seq, {})
        verdict = self._verdict(case, job, so_far, outcome)
        cost, kind = self._cost(case, job, outcome)
        case.warmth.hear(job.template_id, form.template, job.documents, usage_of(outcome))
        return row_of(case, job, verdict, outcome, cost, kind)

    def _verdict(self, case: Case, job: JobRow, so_far: Json, outcome: Outcome) -> Verdict:
        if isinstance(outcome, NotRun):
            return self._unrun(case, so_far, outcome.reason)
        if isinstance(outcome, Errored) and outcome.kind == "account":
            self._store.accounts.block(self._account.id, case.now, outcome.message)
        if isinstance(outcome, Errored) and outcome.kind == "file":
            lost = self._file_lost(case, job, so_far, outcome.message)
            if lost is not None:
                return lost
        form = self._forms.of(job.template_id)
        rules = Rules(
            most_attempts=int(form.template.get("max_attempts") or case.run.settings.max_attempts)
        )
        return outputs.judge(outcome, form.ready, so_far, rules, form.kind)

    def _unrun(self, case: Case, so_far: Json, reason: str) -> Verdict:
        """What a person or the clock stopped is cancelled; what the provider dropped goes again."""
        run = case.run
        if run.deadline_at is not None and run.deadline_at <= case.now:
            return Verdict("cancelled", Code.TIME_LIMIT, "the run's time was up", ran=False)
        if run.cancel_requested_at or case.batch.cancel_requested_at:
            return Verdict("cancelled", Code.CANCELLED, "cancelled before it ran", ran=False)
        return outputs.not_run(reason, so_far)

    def _file_lost(self, case: Case, job: JobRow, so_far: Json, said: str) -> Verdict | None:
        """Let a job go again that named an upload which was gone; None if it named none of ours."""
        keys = {sharing.key_of(one) for one in requests.documents_of(job.documents)}
        if not keys or not self._store.uploads.lost(case.batch.id, keys, said, case.now):
            return None
        if case.run.cancel_requested_at or case.batch.cancel_requested_at:
            return Verdict("cancelled", Code.CANCELLED, "cancelled before it ran", ran=False)
        return outputs.file_lost(said, so_far)

    def _without_line(self, case: Case, job: JobRow, lines: Lines) -> Settled:
        """Say what became of a job that the provider's files do not mention."""
        batch = case.batch
        so_far = case.changes.get(job.seq, {})
        if batch.end_reason == "failed":
            return self._batch_failed(case, job)
        if _are_surely_unrun(batch, lines):
            verdict = self._unrun(case, so_far, str(batch.end_reason))
            return row_of(case, job, verdict, None, 0, CostKind.FREE)
        if lines.nameless:
            why = f"{lines.nameless} result lines could not be read, not even whose they are"
            return self._lost(case, job, Code.UNREADABLE, why)
        why = "the batch ended without a line for it"
        return self._lost(case, job, Code.RESULT_MISSING, why)

    def _batch_failed(self, case: Case, job: JobRow) -> Settled:
        """The provider turned the whole batch away: nothing ran, nothing is billed."""
        batch = case.batch
        said = batch.error_message or batch.error_code or "the provider turned the batch away"
        if sharing.is_lost(batch.error_code, said):
            lost = self._file_lost(case, job, case.changes.get(job.seq, {}), said)
            if lost is not None:
                return row_of(case, job, lost, None, 0, CostKind.FREE)
        verdict = Verdict("failed", Code.INVALID_REQUEST, said, ran=False)
        return row_of(case, job, verdict, None, 0, CostKind.FREE)

    def _lost(self, case: Case, job: JobRow, code: Code, why: str) -> Settled:
        """It may have run and been billed: booked at its worst, never bought again by itself."""
        cost = self._worst(case, job)
        return row_of(case, job, Verdict("failed", code, why), None, cost, CostKind.BOUND)

    def _worst(self, case: Case, job: JobRow) -> int | None:
        """Return the most this attempt can have cost, and no more than was reserved for it.

        Where money is short, what was reserved is the bound with its tokens counted.
        """
        counted, changes = case.run.cost_limit is not None, case.changes.get(job.seq, {})
        template = requests.prepared(self._forms.of(job.template_id).template)
        copies = self._store.files
        files = [documents.measured(one, copies) for one in requests.documents_of(job.documents)]
        request = requests.assemble(template, job.own, files, changes)
        levels = case.warmth.marks.of(job.template_id, template, job.documents, job.seq)
        return weigh_attempt(
            caching.marked(request, levels),
            requests.price_of(template),
            Weight(job.tokens, job.bound),
            changes,
            provider=self._provider.name,
            dialect=self._provider.traits.dialect,
            counted=counted,
        ).bound

    def _cost(self, case: Case, job: JobRow, outcome: Outcome) -> tuple[int | None, CostKind]:
        usage = usage_of(outcome)
        if isinstance(outcome, NotRun) or (isinstance(outcome, Errored) and usage is None):
            return 0, CostKind.FREE
        if isinstance(outcome, Succeeded) and not outcome.billed:
            return 0, CostKind.FREE
        price = self._forms.of(job.template_id).price
        if usage is None:
            return self._worst(case, job), CostKind.BOUND
        return (None if price is None else pricing.cost(usage, price)), CostKind.EXACT

    def _refused(self, batch: BatchRow, error: ProviderRefused, lease: int, now: datetime) -> bool:
        if error.reason == "account":
            self._store.accounts.block(self._account.id, now, str(error))
            self._store.batches.later(batch.id, lease, now)
            return False
        if batch.results_until is not None and now >= batch.results_until:
            return self._abandon(batch, lease, now)
        self._again(batch, lease, now, error)
        return False

    def _again(
        self, batch: BatchRow, lease: int, now: datetime, error: ProviderRefused | ProviderGarbled
    ) -> None:
        later = now + self._pace.retry_after(batch.failures + 1, None)
        self._store.batches.later(
            batch.id, lease, later, failures=batch.failures + 1, error_message=str(error)
        )

    def _silent(self, batch: BatchRow, lease: int, now: datetime, said: float | None) -> None:
        account = self._store.accounts.get(self._account.id)
        until = now + self._pace.retry_after(account.failures + 1, said)
        self._store.accounts.silent(self._account.id, now, until)
        self._store.batches.later(batch.id, lease, until)


def _are_surely_unrun(batch: BatchRow, lines: Lines) -> bool:
    """Say whether jobs without a line certainly never ran, by the provider's own counts.

    Every request that it counts as done must have its line: otherwise the line of one that ran was
    lost, nobody knows whose, and sending the job again could buy it twice.
    """
    if batch.end_reason not in _UNFINISHED:
        return False
    if batch.provider_total is None:
        return True
    return batch.provider_completed + batch.provider_failed <= len(lines.ran)


def _pages(rows: Iterator[JobRow]) -> Iterator[list[JobRow]]:
    while page := list(islice(rows, _CHUNK)):
        yield page
