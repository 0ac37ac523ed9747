"""Try a few jobs out now, through the real-time API, at full price; the run keeps the answers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from itertools import islice
from typing import Any

from batchkit import canaries, documents, outputs, pricing, requests
from batchkit.builder import canary
from batchkit.builder.patience import UNASKED, Patience
from batchkit.builder.starting import Start
from batchkit.clock import Clock
from batchkit.console import Console
from batchkit.errors import CostLimitExceededError, ValidationError
from batchkit.merging import Merging
from batchkit.model import CostKind, Errored, Json, NotRun, Outcome, Price, Request, Succeeded
from batchkit.money import show
from batchkit.parts import count_of, is_tail
from batchkit.providers import Provider
from batchkit.results import JobResult, Reader
from batchkit.store import Answer, JobRow, RunRow, Settled
from batchkit.weighing import weigh


@dataclass(frozen=True, slots=True)
class _Trial:
    """One job about to be asked. ``price`` is the full one; None where it is unknown."""

    row: JobRow
    template: Json
    provider: Provider
    request: Request
    price: Price | None


class Trials:
    """Asks jobs of one builder's draft or run."""

    def __init__(
        self, start: Start, models: dict[str, Any], clock: Clock, console: Console
    ) -> None:
        self._start = start
        self._models = models
        self._clock = clock
        self._console = console
        self._patience: Patience | None = None

    def results(self, n: int, notices: list[str]) -> list[JobResult]:
        """Return the results of the first ``n`` jobs; those without an answer are asked now."""
        self._start.begin(notices)
        self._start.reuse()
        draft, store = self._start.draft, self._start.draft.store
        rows = list(
            islice(
                (
                    row
                    for row in store.surveys.untried(draft.run_id)
                    if row.no in draft.seen and not is_tail(row.key)
                ),
                n,
            )
        )
        if not rows:
            raise ValidationError(
                "There is nothing to try out: every job has been sent. Read results() of the run."
            )
        split = [row for row in rows if (count_of(row.documents) or 1) > 1]
        if split:
            self._console.say(
                f"Of {'each document' if len(split) > 1 else 'the document'} that is sent in parts "
                "the first is tried out alone"
            )
        return self._asked(rows)

    def canary(self, first: int | None, notices: list[str]) -> Json | None:
        """Ask jobs across sizes and models now; return what the run's row shall say of it.

        None where nothing is to be seen: as few jobs are new, or older ones wait to be sent. Asked
        again, the same jobs are not paid for again.
        """
        self._start.begin(notices)
        self._start.settle()
        draft, store = self._start.draft, self._start.draft.store
        if first is not None and first <= canaries.JOBS:
            return None
        if self._start.has_backlog(store.runs.get(draft.run_id)):
            return None
        chosen = canary.chosen(store, draft.run_id, canaries.JOBS, answered=True)
        rows = [row for lane_id, seqs in chosen.items() for row in store.jobs.pick(lane_id, seqs)]
        rows = [row for row in rows if row.no in draft.seen]
        if not rows:
            return None
        self._patience = Patience(self._clock)
        answers, bounds = self._tried(rows)
        judged = [_judged(answers[row.no], bounds.get(row.no)) for row in rows]
        tally = canaries.tallied(len(rows), judged)
        state, why = canaries.verdict_now(tally, self._patience.said)
        return {"state": state, "why": why, "jobs": len(rows), "wait_s": 0.0}

    def _asked(self, rows: Sequence[JobRow]) -> list[JobResult]:
        """Return the results of these jobs, asking those that have no answer."""
        draft, store = self._start.draft, self._start.draft.store
        answers, _ = self._tried(rows)
        run = store.runs.get(draft.run_id)
        merging = Merging(store, run, Reader(store, run, self._models))
        return [merging.one([answers[row.no]]) for row in rows]

    def _tried(self, rows: Sequence[JobRow]) -> tuple[dict[int, Answer], dict[int, int | None]]:
        """Return answers by the jobs' numbers, and what was reserved for those asked now."""
        known = self._answers(rows)
        left = [self._prepared(row) for row in rows if row.no not in known]
        bounds = self._reserve(left)
        asked = list(zip(left, bounds, strict=True))
        failed = {trial.row.no: self._ask(trial, bound) for trial, bound in asked}
        return failed | self._answers(rows), {trial.row.no: bound for trial, bound in asked}

    def _answers(self, rows: Sequence[JobRow]) -> dict[int, Answer]:
        """Return answers by the jobs' numbers: places change."""
        draft = self._start.draft
        found = draft.store.answers.ended(draft.run_id, keys=[row.key for row in rows])
        return {answer.no: answer for answer in found}

    def _prepared(self, row: JobRow) -> _Trial:
        store = self._start.draft.store
        template = requests.prepared(store.jobs.template(row.template_id))
        provider = self._start.registry.provider(template["provider"])
        provider.account()
        files = [documents.load(one, store.files) for one in requests.documents_of(row.documents)]
        return _Trial(
            row=row,
            template=template,
            provider=provider,
            request=requests.assemble(template, row.own, files),
            price=self._full_price(template),
        )

    def _full_price(self, template: Json) -> Price | None:
        """Return what the table says; a batch price that was given is taken for half of it."""
        day = self._clock.now().date()
        found = pricing.full_price(template["provider"], template["model"], now=day)
        given = requests.price_of(template)
        if given is None or (found is not None and given.source != "given"):
            return found
        return doubled(given)

    def _reserve(self, trials: Sequence[_Trial]) -> list[int | None]:
        """Say what the trials may cost; raise CostLimitExceededError if that does not fit."""
        if not trials:
            return []
        run = self._start.draft.store.runs.get(self._start.draft.run_id)
        bounds = [_bound(trial, counted=False) for trial in trials]
        if not _fits(bounds, self._left(run)):
            bounds = [_bound(trial, counted=True) for trial in trials]
        left = self._left(run)
        if not _fits(bounds, left):
            raise CostLimitExceededError(
                f"Trying {_jobs(len(trials))} out at full price may cost up to {_sum(bounds)}, and "
                f"{show(left)} is left under the cost limit. Nothing was sent. Raise it with "
                "add_cost_limit(usd=…), test fewer jobs, or lower max_tokens."
            )
        self._console.say(
            f"Trying {_jobs(len(trials))} out now, at full price: up to {_sum(bounds)}"
        )
        return bounds

    def _left(self, run: RunRow) -> int | None:
        limit = self._start.wishes.cost_limit or run.cost_limit
        return None if limit is None else limit - run.spent - run.reserved

    def _ask(self, trial: _Trial, bound: int | None) -> Answer:
        """Ask once, and book what it cost; an answer that is none leaves the job to the run."""
        ask = partial(trial.provider.ask, trial.request)
        outcome = ask() if self._patience is None else self._patience.outcome(ask)
        answer_type = self._models.get(str(trial.template.get("response_model")))
        verdict = outputs.judge(outcome, trial.template, {}, outputs.Rules(), answer_type)
        settled = _settled(trial, outcome, verdict, bound)
        if settled.state == "completed" or settled.cost != 0:
            run_id, now = self._start.draft.run_id, self._clock.now()
            self._start.draft.store.jobs.keep_test(
                run_id, trial.row.lane_id, settled, now, no=trial.row.no
            )
        return _failed(trial, settled)


def doubled(price: Price) -> Price:
    """Return the full price behind a batch price, which every provider here sells at half."""
    amounts = {
        name: 2 * value
        for name in Price.__slots__
        if name not in ("source", "long_context_above")
        and (value := getattr(price, name)) is not None
    }
    return replace(price, **amounts, source=f"twice the {price.source} batch price")


def _bound(trial: _Trial, *, counted: bool) -> int | None:
    return weigh(
        trial.request,
        trial.price,
        provider=trial.provider.name,
        dialect=trial.provider.traits.dialect,
        counted=counted,
    ).bound


def _fits(bounds: Sequence[int | None], left: int | None) -> bool:
    """Say whether all fit; what nobody can bound fits under no limit."""
    if left is None:
        return True
    return None not in bounds and sum(bound or 0 for bound in bounds) <= left


def _sum(bounds: Sequence[int | None]) -> str:
    return "an unknown amount" if None in bounds else show(sum(bound or 0 for bound in bounds))


def _judged(answer: Answer, bound: int | None) -> Json:
    """Return an answer as a canary counts it; who could not be asked says nothing."""
    says = answer.code not in UNASKED
    return {
        "place": answer.no,
        "key": answer.key,
        "code": answer.code,
        "error": answer.error,
        "completed": answer.state == "completed",
        "final": says,
        "judged": says,
        "cost": answer.cost,
        "bound": bound,
    }


def _jobs(count: int) -> str:
    return "1 job" if count == 1 else f"{count:,} jobs"


def _settled(
    trial: _Trial, outcome: Outcome, verdict: outputs.Verdict, bound: int | None
) -> Settled:
    usage = getattr(outcome, "usage", None)
    cost, kind = _cost(trial, outcome, bound)
    answered = outcome if isinstance(outcome, Succeeded) else None
    names = ("input", "output", "cached", "cache_write", "reasoning")
    tokens = {f"{name}_tokens": getattr(usage, f"{name}_tokens", None) for name in names}
    return Settled(
        seq=trial.row.seq,
        attempt_no=1,
        state="completed" if verdict.state == "completed" else "again",
        code=verdict.code,
        error=verdict.error,
        answer=None if answered is None else answered.text,
        citations=None if answered is None else [_data(one) for one in answered.citations],
        finish=None if answered is None else answered.finish,
        model=None if answered is None else answered.model,
        request_id=getattr(outcome, "request_id", None),
        cost=cost,
        cost_kind=kind,
        ran=True,
        **tokens,
    )


def _cost(trial: _Trial, outcome: Outcome, bound: int | None) -> tuple[int | None, CostKind]:
    usage = getattr(outcome, "usage", None)
    free = isinstance(outcome, NotRun) or (isinstance(outcome, Errored) and usage is None)
    if free or (isinstance(outcome, Succeeded) and not outcome.billed):
        return 0, CostKind.FREE
    if usage is None:
        return bound, CostKind.BOUND
    return (None if trial.price is None else pricing.cost(usage, trial.price)), CostKind.EXACT


def _data(citation: Any) -> Json:
    return {name: getattr(citation, name) for name in citation.__slots__}


def _failed(trial: _Trial, settled: Settled) -> Answer:
    """Return how it looks while it is no answer: failed for now, and not in the run's books."""
    row = trial.row
    names = ("code", "error", "answer", "citations", "finish", "model", "request_id", "cost")
    tokens = ("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens")
    return Answer(
        key=row.key,
        no=row.no,
        lane_id=row.lane_id,
        seq=row.seq,
        state="failed",
        attempts=1,
        metadata=row.metadata,
        documents=row.documents,
        template_id=row.template_id,
        reasoning_tokens=settled.reasoning_tokens,
        **{name: getattr(settled, name) for name in (*names, *tokens)},
    )
