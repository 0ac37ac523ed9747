"""One call of a transform: what is asked next, round by round, until every row has its end.

Each round reads how the rows stand and adds what is missing to the run; nothing is remembered
between rounds, so that a process that dies over one goes on with the next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import blake2b
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from batchkit.builder import Batch
from batchkit.clock import Clock
from batchkit.console import Console, counted
from batchkit.errors import ExhaustionError, ValidationError
from batchkit.model import Json
from batchkit.money import optional_dollars
from batchkit.providers import Provider
from batchkit.results import JobResult
from batchkit.run import BatchRun
from batchkit.store import Store
from batchkit.transform.ledger import MARK, Held, Ledger, Standing, read
from batchkit.transform.outcome import Metrics, RowResult, TransformResult
from batchkit.transform.rows import ALONE, SEVERAL, Row, digest_of, numbered

T = TypeVar("T", bound=BaseModel)

_LEAST_TOKENS, _TOKENS_A_ROW, _MOST_TOKENS = 2_000, 500, 16_000
"""What ``max_tokens`` is for a request of several rows, if nobody says."""

_NO_CONTENT = ("max_tokens", "price", "max_attempts", "max_usd_per_job")
"""Parameters that may change without the rows being asked anew."""

_EXAMPLES = 3
_UNASKED = "not asked: another row had used up its attempts"


@dataclass(frozen=True, slots=True)
class Question(Generic[T]):
    """What is asked of each row, and how far."""

    prompt: str
    output_model: type[T]
    answers: type[BaseModel]
    batch_size: int
    concurrency: int
    max_retries: int
    shuffle: bool
    stop: bool
    name: str | None
    project: str
    database: Any
    cost_limit: float | None


class Work(Generic[T]):
    """The rows of one call on their way through a run."""

    def __init__(
        self,
        question: Question[T],
        model: str,
        rows: Sequence[Row],
        params: Mapping[str, Any],
        store: Store,
        clock: Clock,
        providers: Mapping[str, Provider] | None,
    ) -> None:
        self._question = question
        self._model = model
        self._rows = rows
        self._params = dict(params)
        self._store = store
        self._clock = clock
        self._providers = providers
        self._began: datetime = clock.now()
        self._handle: BatchRun | None = None
        self._rounds = 0
        kept = {name: value for name, value in params.items() if name not in _NO_CONTENT}
        schema = question.output_model.model_json_schema()
        self._mark = digest_of(question.prompt, model, schema, kept)
        self.name = question.name or f"transform-{digest_of(self._mark, [row.id for row in rows])}"

    def next_round(self) -> Batch | None:
        """Return the jobs of the next round; None if every row has its end, or waits for a person.

        What waits in the run and was not asked for this time is cancelled first.
        """
        if self._handle is not None and not self._handle.is_complete:
            return None
        ledger = self._read()
        batch = self._batch()
        for held in ledger.held:
            if held.answer is None or held.draft:
                self._add_held(batch, held)
        over = [one for one in ledger.standing.values() if self._is_over(one)]
        if not (over and self._question.stop):
            self._add_missing(batch, ledger)
        if not len(batch):
            return None
        if ledger.run is not None and ledger.stale:
            self._handle_of(ledger.run.id).cancel(ledger.stale)
        if not self._rounds:
            self._say(ledger)
            batch.set_verbosity("warn")
        self._rounds += 1
        return batch

    def _say(self, ledger: Ledger) -> None:
        """Say where it lies and how many rows are asked: rows that have answers are no jobs now."""
        known = sum(1 for row in self._rows if ledger.standing[row.id].output is not None)
        console = Console()
        console.say(f"State: {self._store.shown}")
        rows = counted(len(self._rows), "row")
        console.say(f"Transform {self.name!r}: {known:,} of {rows} known, the others are asked now")

    def take(self, handle: BatchRun) -> None:
        """Note that a round was driven."""
        self._handle = handle

    def trial(self) -> Batch | None:
        """Return the first row as a job to be tried out; None if it has its end already.

        From here on it is the only row.
        """
        self._rows = self._rows[:1]
        ledger = self._read()
        row, standing = self._rows[0], ledger.standing[self._rows[0].id]
        if standing.output is not None or standing.over:
            return None
        batch = self._batch()
        for held in ledger.held:
            if held.answer is None and held.is_alone and row.id in held.ids:
                self._add_held(batch, held)
                return batch
        self._add(batch, [row], standing.tries)
        return batch

    def result(self, tried: JobResult | None = None) -> TransformResult[T]:
        """Return what there is by now; raise ExhaustionError if a row has no output and it stops.

        ``tried`` is the result of a row that was tried out.
        """
        ledger = self._read()
        waits = None if self._handle is None else self._handle.status()["waiting_for"]
        rows = [self._row(row, ledger.standing[row.id], waits, tried) for row in self._rows]
        result: TransformResult[T] = TransformResult(rows, self._metrics(ledger, tried))
        if result.errors and self._question.stop:
            raise ExhaustionError(self._exhausted(result, waits), result=result)
        return result

    def _read(self) -> Ledger:
        asked = self._question
        kind = asked.output_model
        return read(self._store, asked.project, self.name, self._mark, self._rows, kind)

    def _batch(self) -> Batch:
        asked = self._question
        batch = Batch(
            name=self.name,
            project=asked.project,
            database=asked.database,
            max_parallel_batches=asked.concurrency,
            on_change="keep",
            on_bad_input="fail",
            clock=self._clock,
            providers=self._providers,
        )
        if self._rounds:
            batch.set_verbosity("warn")  # where it lies was said
        if asked.cost_limit is not None:
            batch.add_cost_limit(usd=asked.cost_limit)
        given = {n: v for n, v in self._params.items() if n not in ("max_tokens", "max_attempts")}
        return batch.set_default_params(model=self._model, **given)

    def _add_held(self, batch: Batch, held: Held) -> None:
        """Add a job that the run holds as it is, so that it is not taken for gone."""
        self._ask(batch, held.job.key, held.job.own["prompt"], dict(held.job.metadata or {}))

    def _add_missing(self, batch: Batch, ledger: Ledger) -> None:
        """Add what no job asks: in groups at first, alone where an answer was none."""
        grouped: list[Row] = []
        for row in self._rows:
            one = ledger.standing[row.id]
            if one.output is not None or one.waits or self._is_over(one):
                continue
            if one.alone:
                self._add(batch, [row], one.tries)
            else:
                grouped.append(row)
        if self._question.shuffle:
            grouped.sort(key=lambda row: blake2b(row.id.encode(), digest_size=8).digest())
        size = self._question.batch_size
        for at in range(0, len(grouped), size):
            page = grouped[at : at + size]
            self._add(batch, page, max(ledger.standing[row.id].tries for row in page))

    def _add(self, batch: Batch, rows: Sequence[Row], tries: int) -> None:
        several = len(rows) > 1
        ids = [row.id for row in rows]
        about: Json = {MARK: self._mark, "rows": ids, "tries": tries}
        about |= {"several": True} if several else {}
        about |= {"again": True} if tries else {}
        key = f"{'rows' if several else 'row'}-{digest_of(self._mark, ids, tries)}"
        self._ask(batch, key, numbered(rows) if several else rows[0].text, about)

    def _ask(self, batch: Batch, key: str, text: str, about: Json) -> None:
        asked = self._question
        several = bool(about.get("several"))
        most = _LEAST_TOKENS
        if several:
            most = min(max(most, _TOKENS_A_ROW * len(about["rows"])), _MOST_TOKENS)
        batch.add_job(
            prompt=text,
            system=f"{asked.prompt}\n\n{SEVERAL if several else ALONE}",
            response_model=asked.answers if several else asked.output_model,
            key=key,
            metadata=about,
            max_tokens=self._params.get("max_tokens", most),
            # A group that fails is asked row by row; a row alone has the attempts that are left.
            max_attempts=1 if several else max(asked.max_retries + 1 - about["tries"], 1),
        )

    def _is_over(self, one: Standing) -> bool:
        if one.output is not None or one.waits:
            return False
        return one.over or one.tries > self._question.max_retries

    def _row(
        self, row: Row, one: Standing, waits: str | None, tried: JobResult | None
    ) -> RowResult[T]:
        if one.output is not None:
            output: Any = one.output
            return RowResult(row.index, output)
        if tried is not None:
            return RowResult(row.index, None, tried.error or tried.error_code or "no answer")
        if one.waits:
            why = f": the run waits for {waits}" if waits else ""
            return RowResult(row.index, None, f"not answered yet{why}")
        return RowResult(
            row.index, None, one.error or "not asked: another row used up its attempts"
        )

    def _metrics(self, ledger: Ledger, tried: JobResult | None) -> Metrics:
        ended = [(held, held.answer) for held in ledger.held if held.answer is not None]
        requests = sum(answer.attempts for _, answer in ended)
        retries = sum(max(a.attempts - (0 if held.is_again else 1), 0) for held, a in ended)
        costs = [answer.cost for _, answer in ended if answer.attempts or answer.cost]
        read_in = sum(answer.input_tokens or 0 for _, answer in ended)
        written = sum(answer.output_tokens or 0 for _, answer in ended)
        cost = None if None in costs else optional_dollars(sum(one or 0 for one in costs))
        if tried is not None and not ended:  # an answer that was none: paid for, and no job's end
            requests, cost = tried.attempts, tried.cost_usd
            read_in, written = tried.input_tokens or 0, tried.output_tokens or 0
        took = (self._clock.now() - self._began).total_seconds()
        return Metrics(len(self._rows), requests, retries, read_in, written, cost, took)

    def _exhausted(self, result: TransformResult[T], waits: str | None) -> str:
        told = f"{len(result.errors):,} of {counted(len(result.rows), 'row')}"
        lines = [f"{told} {'has' if len(result.errors) == 1 else 'have'} no output."]
        lines += [f"  row {row.index}: {row.error}" for row in result.errors[:_EXAMPLES]]
        after = f"what it waits for: batchkit status {self.name}" if waits else ""
        after = after or f"all reasons: batchkit errors {self.name}"
        lines.append(
            f"The others are in .result of this error, and paid for once; {after}. "
            "stop_on_exhaustion=False collects failures instead."
        )
        return "\n".join(lines)

    def _handle_of(self, run_id: int) -> BatchRun:
        return BatchRun(self._store, run_id, clock=self._clock, providers=self._providers)


def checked_params(params: Mapping[str, Any]) -> None:
    """Raise ValidationError for parameters that a transform sets by itself."""
    ours = ("messages", "prompt", "file", "files", "key", "system", "metadata", "response_model")
    for name in (*ours, "models", "enable_citations", "max_attempts"):
        if name in params:
            raise ValidationError(f"{name} cannot be given here: the transform sets it.")
