"""Several models' answers to one question, side by side: a row a key, read a page at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from os import PathLike

from batchkit.errors import ValidationError
from batchkit.export.pivots import PivotRow, write_pivot
from batchkit.merging import Merging
from batchkit.model import JobState
from batchkit.parts import count_of, document_of, is_tail, keys_of
from batchkit.results import JobResult
from batchkit.run.stories import pending
from batchkit.store import Answer, Known, RunRow, Store

_PAGE = 400


class Pivot:
    """A run's jobs by the question in their keys: ``<key>@<model>`` belongs to ``<key>``.

    Iterating over it streams a ``PivotRow`` a key, in order of adding; ``models`` are the columns.
    The column of a job is the model in its key, else the model that it asks.
    """

    def __init__(self, store: Store, run: RunRow, merging: Merging, by: str = "model") -> None:
        if by != "model":
            raise ValidationError(f"Results are put side by side by 'model', not by {by!r}.")
        self._store = store
        self._run = run
        self._merging = merging
        self._templates: dict[int, str] = {}
        asked = (str(template.get("model") or "") for template in store.reports.templates(run.id))
        self.models = [name for name in dict.fromkeys(asked) if name]

    def export(self, target: str | PathLike[str]) -> int:
        """Write a ``.jsonl`` or ``.csv`` file; return the number of rows. See ``write_pivot``."""
        return write_pivot(self, self.models, target)

    def __iter__(self) -> Iterator[PivotRow]:
        active = {
            answer.no
            for answer in self._store.answers.waiting(self._run.id)
            if answer.state == JobState.ACTIVE.value
        }
        keys = self._keys()
        while page := list(islice(keys, _PAGE)):
            yield from self._page(page, active)

    def _keys(self) -> Iterator[tuple[int, str]]:
        """Stream (number, key) of what the run holds, in order of adding."""
        held = self._store.surveys.drafts if self._run.opened_at is None else self._released
        return ((row[2], row[3]) for row in held(self._run.id) if not is_tail(row[3]))

    def _released(self, run_id: int) -> Iterator[tuple[int, int, int, str, bytes]]:
        for row in self._store.surveys.released(run_id):
            yield row[:5]

    def _page(self, page: Sequence[tuple[int, str]], active: set[int]) -> Iterator[PivotRow]:
        bases = {no: self._split(key)[0] for no, key in page}
        wanted = [
            key
            for base in dict.fromkeys(bases.values())
            for key in (base, *(f"{base}@{model}" for model in self.models))
        ]
        groups: dict[str, list[Known]] = {}
        for key, found in self._store.jobs.lookup(self._run.id, wanted).items():
            for known in found:
                if not known.superseded and (known.released or self._run.opened_at is None):
                    groups.setdefault(self._split(key)[0], []).append(known)
        # A key whose first job stood on an earlier page was a row there.
        led = [base for no, base in bases.items() if no == min(one.no for one in groups[base])]
        for base in led:
            groups[base] += self._tails(groups[base])
        answers = self._answers([one for base in led for one in groups[base]], active)
        for base in led:
            yield self._row(base, [answers[one.no] for one in groups[base]])

    def _tails(self, jobs: Sequence[Known]) -> list[Known]:
        """Return the other parts of documents that are split."""
        keys = [key for one in jobs for key in keys_of(one.key, count_of(one.documents) or 1)[1:]]
        if not keys:
            return []
        found = self._store.jobs.lookup(self._run.id, keys)
        return [one for known in found.values() for one in known if not one.superseded]

    def _answers(self, jobs: Sequence[Known], active: set[int]) -> dict[int, Answer]:
        keys = [job.key for job in jobs]
        ended: dict[int, Answer] = {}
        for at in range(0, len(keys), _PAGE):
            there = self._store.answers.ended(self._run.id, keys=keys[at : at + _PAGE])
            ended.update((answer.no, answer) for answer in there)
        for job in jobs:
            if job.no not in ended:
                lane = self._store.jobs.lane(job.lane_id)
                (row,) = self._store.jobs.pick(job.lane_id, [job.seq])
                state = JobState.ACTIVE if job.no in active else JobState.PENDING
                ended[job.no] = pending(row, model=lane.model, provider=lane.provider, state=state)
        return ended

    def _row(self, base: str, answers: Sequence[Answer]) -> PivotRow:
        cells: dict[str, JobResult] = {}
        documents: dict[str, list[Answer]] = {}
        for answer in sorted(answers, key=lambda one: one.no):
            documents.setdefault(document_of(answer.key), []).append(answer)
        for key, parts in documents.items():
            model = self._split(key)[1] or self._asked(parts[0].template_id)
            cells[key if model in cells else model] = self._merging.one(parts)
        order = {model: at for at, model in enumerate(self.models)}
        sides = sorted(cells, key=lambda name: order.get(name, len(order)))
        return PivotRow(base, {name: cells[name] for name in sides})

    def _split(self, key: str) -> tuple[str, str]:
        """Part a key into what was asked and of which model; no model if it names none."""
        for model in self.models:
            if key.endswith(f"@{model}") and len(key) > len(model) + 1:
                return key[: -len(model) - 1], model
        return key, ""

    def _asked(self, template_id: int) -> str:
        if template_id not in self._templates:
            template = self._store.jobs.template(template_id)
            self._templates[template_id] = str(template.get("model") or "")
        return self._templates[template_id]
