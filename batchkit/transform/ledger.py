"""What a transform's run holds for some rows: read from the store each time, kept nowhere else."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

from pydantic import BaseModel

from batchkit.model import Code, JobState, Json
from batchkit.outputs import parse_answer, typed
from batchkit.results import reading_schema
from batchkit.store import Answer, JobRow, RunRow, Store
from batchkit.transform.rows import Row, parted

MARK = "transform"
"""The field of a job's metadata that says which question it belongs to."""

_TRANSIENT = frozenset(
    {Code.OVERLOADED, Code.RATE_LIMITED, Code.SERVER_ERROR, Code.EXPIRED, Code.NOT_RUN}
)
_NEVER = frozenset({Code.CANCELLED, Code.TIME_LIMIT, Code.GONE, Code.REPLACED, Code.RESULT_LOST})
"""Codes after which nothing is asked again by itself: a person said so, or it may have run."""


@dataclass(frozen=True, slots=True)
class Held:
    """One job of the run: the rows it asks, and its end if it has one."""

    job: JobRow
    ids: Sequence[str]
    answer: Answer | None
    active: bool
    draft: bool

    @property
    def is_alone(self) -> bool:
        """Whether it asks one row, in the form of one."""
        return not (self.job.metadata or {}).get("several")

    @property
    def is_again(self) -> bool:
        """Whether its rows had been asked before."""
        return bool((self.job.metadata or {}).get("again"))


@dataclass(slots=True)
class Standing:
    """How one row stands. ``tries`` counts the requests it was in that have ended."""

    output: BaseModel | None = None
    error: str | None = None
    tries: int = 0
    waits: bool = False
    alone: bool = False
    over: bool = False


@dataclass(slots=True)
class Ledger:
    """A run's jobs for one question, and how each row stands.

    ``stale`` are keys of jobs that wait and that nobody asks for any more.
    """

    run: RunRow | None
    held: list[Held] = field(default_factory=list)
    stale: list[str] = field(default_factory=list)
    standing: dict[str, Standing] = field(default_factory=dict)


def read(
    store: Store, project: str, name: str, mark: str, rows: Sequence[Row], kind: type[BaseModel]
) -> Ledger:
    """Return how rows stand in the run of that name."""
    ledger = Ledger(store.runs.find(project, name))
    ledger.standing = {row.id: Standing() for row in rows}
    if ledger.run is None:
        return ledger
    reader = _Reader(store, kind)
    for one in _held(store, ledger.run):
        if MARK not in (one.job.metadata or {}):
            continue  # somebody's own job, in a run of the same name
        wanted = (one.job.metadata or {}).get(MARK) == mark
        waits = one.answer is None and not one.active
        if waits and not (wanted and all(row in ledger.standing for row in one.ids)):
            ledger.stale += [] if one.draft else [one.job.key]
        elif wanted and any(row in ledger.standing for row in one.ids):
            ledger.held.append(one)
            reader.judge(one, ledger.standing)
    return ledger


def _held(store: Store, run: RunRow) -> Iterator[Held]:
    ended = {answer.key: answer for answer in store.answers.ended(run.id)}
    waiting = store.answers.waiting(run.id)
    active = {one.key for one in waiting if one.state == JobState.ACTIVE.value}
    drafts = {key for _, _, _, key, _ in store.surveys.drafts(run.id)}
    for job in store.surveys.current(run.id):
        ids = (job.metadata or {}).get("rows") or ()
        yield Held(job, ids, ended.get(job.key), job.key in active, job.key in drafts)


class _Reader:
    """Turns stored answers into outputs."""

    def __init__(self, store: Store, kind: type[BaseModel]) -> None:
        self._store = store
        self._kind = kind
        self._schemas: dict[tuple[int, int | None], Json] = {}

    def judge(self, held: Held, standing: dict[str, Standing]) -> None:
        """Note what a job says about its rows."""
        mine = [(at, standing[one]) for at, one in enumerate(held.ids) if one in standing]
        if held.answer is None:
            for _, row in mine:
                row.waits = True
                row.alone = row.alone or held.is_alone
            return
        outputs, why = self._outputs(held, held.answer)
        code = held.answer.code
        for at, row in mine:
            row.tries += max(held.answer.attempts, 1)
            if at in outputs:
                row.output = row.output or outputs[at]
                continue
            row.error = why
            row.alone = code not in _TRANSIENT
            row.over = row.over or held.is_alone or code in _NEVER

    def _outputs(self, held: Held, answer: Answer) -> tuple[dict[int, BaseModel], str]:
        """Return the outputs by place, and what is wrong with the rest."""
        readable = answer.state == JobState.COMPLETED or answer.code == Code.INVALID_OUTPUT
        why = answer.error or answer.code or "there is no answer"
        if not readable or answer.answer is None:
            return {}, why
        try:
            value = parse_answer(answer.answer, self._schema(answer))
        except ValueError as error:
            return {}, str(error)
        if held.is_alone:
            found = {0: value} if answer.state == JobState.COMPLETED else {}
        else:
            found = parted(value, len(held.ids))
            why = "the answer to several rows left this row out, or named it twice"
        return self._typed(found.items(), why)

    def _typed(
        self, found: Iterable[tuple[int, Any]], why: str
    ) -> tuple[dict[int, BaseModel], str]:
        outputs: dict[int, BaseModel] = {}
        for at, value in found:
            try:
                outputs[at] = typed(value, self._kind)
            except Exception as error:  # noqa: BLE001 -- a user's own validator may raise anything
                why = f"an answer does not fit: {error}"
        return outputs, why

    def _schema(self, answer: Answer) -> Json:
        at = (answer.template_id, answer.asked_id)
        if at not in self._schemas:
            template = self._store.jobs.template(answer.template_id)
            if answer.asked_id is not None:
                asked = self._store.jobs.template(answer.asked_id)
                template = {**template, "schema": reading_schema(template, asked)}
            self._schemas[at] = template["schema"]
        return self._schemas[at]
