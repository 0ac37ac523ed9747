"""The parts of split documents put together again, where results are read.

A document is read once, at the place in the order of completion where its last part ended: whoever
reads on by cursors gets no half document and none twice. Where nothing is split, nothing here is
asked.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from typing import Any, cast

from batchkit.citing.mapping import END, ROOT, START
from batchkit.model import FINAL_JOB_STATES, Citation, JobState
from batchkit.parts import count_of, document_of, keys_of, number_of
from batchkit.results import JobResult, Reader, cursor_place
from batchkit.store import Answer, RunRow, Store

_PAGE = 400
_BETWEEN = "\n\n"
_TOKENS = (
    *("input_tokens", "output_tokens", "cached_tokens", "cache_write_tokens"),
    "reasoning_tokens",
)


def merged(key: str, parts: Sequence[JobResult]) -> JobResult:
    """Return one document's result: of its parts in order of their pages, all of them or some.

    It waits while one of them does, else it failed if one did, else it was cancelled if one was.
    Error and code are the first such part's. An answer it has only where all parts have one: as
    list in ``parsed_response``, its texts joined by an empty line in ``raw_response``.
    """
    state = _state([part.state for part in parts])
    bad = None
    if state in FINAL_JOB_STATES:
        worst = [part for part in parts if part.state == state and part.error]
        bad = next(iter(worst or [part for part in parts if part.error]), None)
    texts = [part.raw_response or "" for part in parts]
    is_whole = state == JobState.COMPLETED
    answers = [part.parsed_response for part in parts]
    starts = _starts(texts) if is_whole else [0] * len(parts)
    return replace(
        parts[0],
        key=key,
        state=state,
        raw_response=_BETWEEN.join(texts) if is_whole else None,
        parsed_response=cast("Any", answers) if is_whole and None not in answers else None,
        citations=[_moved(c, at) for part, at in _with(parts, starts) for c in part.citations],
        citation_mappings=_mappings(parts, starts),
        **{name: _known([getattr(part, name) for part in parts]) for name in _TOKENS},
        cost_usd=_sum([part.cost_usd for part in parts]),
        error=None if bad is None else f"{_pages(bad)}{bad.error}",
        error_code=None if bad is None else bad.error_code,
        batch_id=_joined(part.batch_id for part in parts),
        model=_first(part.model for part in parts),
        attempts=sum(part.attempts for part in parts),
        finish_reason=_finish([part.finish_reason for part in parts]),
        reused_from=_first(part.reused_from for part in parts),
        pages=None,
        parts=[replace(part, key=f"{key}#{part.pages}" if part.pages else key) for part in parts],
        cursor=_cursor(parts),
    )


def _state(states: Sequence[str]) -> str:
    for state in (
        *(JobState.ACTIVE, JobState.PENDING, JobState.FAILED, JobState.CANCELLED),
        JobState.COMPLETED,
    ):
        if state.value in states:
            return state.value
    return states[0]


def _starts(texts: Sequence[str]) -> list[int]:
    """Return where each text begins in the joined one."""
    starts = [0]
    for text in texts:
        starts.append(starts[-1] + len(text) + len(_BETWEEN))
    return starts


def _with(parts: Sequence[JobResult], starts: Sequence[int]) -> Iterable[tuple[JobResult, int]]:
    return zip(parts, starts, strict=False)


def _moved(one: Citation, by: int) -> Citation:
    """Return a citation whose place in the answer counts from the start of the joined text."""
    place = one.metadata or {}
    moved = {name: place[name] + by for name in (START, END) if isinstance(place.get(name), int)}
    return replace(one, metadata={**place, **moved}) if by and moved else one


def _mappings(parts: Sequence[JobResult], starts: Sequence[int]) -> dict[str, list[Citation]]:
    """Return the citations of each field, its path led by the part's place in the list."""
    return {
        str(number) if path == ROOT else f"{number}.{path}": [_moved(c, at) for c in found]
        for number, (part, at) in enumerate(_with(parts, starts))
        for path, found in part.citation_mappings.items()
    }


def _sum(values: Sequence[float | None]) -> float | None:
    """Add up; one that is unknown makes the sum unknown."""
    known = [value for value in values if value is not None]
    return sum(known) if len(known) == len(values) else None


def _known(values: Sequence[int | None]) -> Any:
    """Add up what is known, as over the attempts of one job."""
    known = [value for value in values if value is not None]
    return sum(known) if known else None


def _pages(part: JobResult) -> str:
    return f"pages {part.pages}: " if part.pages else ""


def _joined(values: Iterable[str | None]) -> str | None:
    return "; ".join(dict.fromkeys(value for value in values if value)) or None


def _first(values: Iterable[str | None]) -> str | None:
    return next((value for value in values if value is not None), None)


def _finish(reasons: Sequence[str | None]) -> str | None:
    """Return the first reason that is not the usual one."""
    return _first(one for one in reasons if one != "stop") or _first(reasons)


def _cursor(parts: Sequence[JobResult]) -> str | None:
    """Return the place of the part that ended last; None while one waits."""
    places = [(cursor_place(part.cursor), part.cursor) for part in parts]
    if any(place is None for place, _ in places):
        return None
    return max(places, key=lambda one: one[0] or (0, 0))[1]


class Merging:
    """Reads a run's jobs as people see them: a split document is one."""

    def __init__(self, store: Store, run: RunRow, reader: Reader) -> None:
        self._store = store
        self._run = run
        self._reader = reader

    @property
    def is_needed(self) -> bool:
        """Whether anything is split: streams must be of all states then."""
        return self._run.split

    def ended(
        self, answers: Iterable[Answer], states: Sequence[str] | None = None
    ) -> Iterator[JobResult]:
        """Merge a stream of ended jobs in order of completion, each document at its last part.

        ``states`` are those of documents; the stream has to be of all.
        """
        if not self._run.split:
            return map(self._reader.result, answers)
        return self._ended(answers, states)

    def _ended(
        self, answers: Iterable[Answer], states: Sequence[str] | None
    ) -> Iterator[JobResult]:
        stream = iter(answers)
        while page := list(islice(stream, _PAGE)):
            for result in self._page(page):
                if states is None or result.state in states:
                    yield result

    def rows(
        self, answers: Iterable[Answer], states: Sequence[str] | None = None
    ) -> Iterator[JobResult]:
        """Merge a stream of every job, those that wait first, into one of every document."""
        if not self._run.split:
            return map(self._reader.result, answers)
        return self._rows(answers, states)

    def _rows(self, answers: Iterable[Answer], states: Sequence[str] | None) -> Iterator[JobResult]:
        waiting: dict[str, list[Answer]] = {}
        ended: list[Answer] = []
        stream = iter(answers)
        for answer in stream:
            if answer.state in FINAL_JOB_STATES:
                ended.append(answer)
                if self._run.opened_at is not None:
                    break  # of a draft they come mixed
            else:
                waiting.setdefault(document_of(answer.key), []).append(answer)
        for result in self._waiting(waiting):
            if states is None or result.state in states:
                yield result
        for result in self._ended(_chained(ended, stream), states):
            if result.key not in waiting:
                yield result

    def one(self, answers: Sequence[Answer]) -> JobResult:
        """Return the result of one job, or of all parts of one document."""
        results = [self._reader.result(one) for one in sorted(answers, key=_number)]
        if count_of(answers[0].documents) is None:
            return results[0]
        return merged(document_of(answers[0].key), results)

    def _page(self, page: Sequence[Answer]) -> Iterator[JobResult]:
        """Yield what ended with one of these jobs."""
        wanted = {document_of(one.key): n for one in page if (n := count_of(one.documents))}
        keys = [key for document, count in wanted.items() for key in keys_of(document, count)]
        places = self._store.parts.places(self._run.id, keys)
        ends = {document: _end(document, n, places) for document, n in wanted.items()}
        here = [one for one in page if ends.get(document_of(one.key)) == _place(one)]
        parts = self._parts([(document_of(one.key), wanted[document_of(one.key)]) for one in here])
        for one in page:
            document = document_of(one.key)
            if document not in wanted:
                yield self._reader.result(one)
            elif ends[document] == _place(one):
                found = next(parts)
                # A part may have gone again between the two looks: then it is read further on.
                if found and max(map(_place, found)) == _place(one):
                    yield self.one(found)

    def _parts(self, wanted: Sequence[tuple[str, int]]) -> Iterator[list[Answer]]:
        """Yield all parts' answers of each document; none of one that has lost one since.

        A document with many parts is not held together with many others.
        """
        while wanted:
            some, held = list(wanted[:1]), wanted[0][1]
            for document, count in wanted[1:]:
                held += count
                if held > _PAGE:
                    break
                some.append((document, count))
            mine = [keys_of(document, count) for document, count in some]
            found = self._store.parts.answers(self._run.id, [key for keys in mine for key in keys])
            for keys in mine:
                yield [found[key] for key in keys] if found.keys() >= set(keys) else []
            wanted = wanted[len(some) :]

    def _waiting(self, waiting: Mapping[str, Sequence[Answer]]) -> Iterator[JobResult]:
        """Yield documents that wait, with the parts that have ended."""
        documents = iter(waiting.items())
        while page := list(islice(documents, _PAGE)):
            counts = {document: count_of(left[0].documents) for document, left in page}
            there = {one.key for _, left in page for one in left}
            keys = [
                key
                for document, count in counts.items()
                if count is not None
                for key in keys_of(document, count)
                if key not in there
            ]
            found: dict[str, list[Answer]] = {}
            for key, answer in self._store.parts.answers(self._run.id, keys).items():
                found.setdefault(document_of(key), []).append(answer)
            for document, left in page:
                yield self.one([*left, *found.get(document, ())])


def _end(
    document: str, count: int, places: Mapping[str, tuple[int, int]]
) -> tuple[int, int] | None:
    """Return the place of a document's last part; None while one has not ended."""
    mine = [places.get(key) for key in keys_of(document, count)]
    return max((one for one in mine if one), default=None) if all(mine) else None


def _place(answer: Answer) -> tuple[int, int]:
    return answer.collected_no or 0, answer.seq


def _chained(first: Sequence[Answer], rest: Iterator[Answer]) -> Iterator[Answer]:
    yield from first
    yield from rest


def _number(answer: Answer) -> int:
    return number_of(answer.key)
