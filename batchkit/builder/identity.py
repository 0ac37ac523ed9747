"""What a run holds against what its script says: known, new, changed, gone; and what opening does.

Only rows are read here. Nothing is altered before ``store.runs.open``, and that is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from batchkit.builder import keys
from batchkit.builder.differences import Difference, gone, named
from batchkit.builder.drafting import Draft
from batchkit.errors import RunChangedError
from batchkit.model import Code
from batchkit.parts import document_of, is_tail
from batchkit.store import Answer, RunRow, Store

OnChange = Literal["error", "keep", "replace"]
Place = tuple[int, int]
"""(lane_id, seq)."""

_MOST_GONE = 0.1
_EXAMPLES = 5
_NEVER_ASKED = (Code.BAD_INPUT, Code.FILE_CHANGED)


@dataclass(frozen=True, slots=True)
class Pair:
    """A job of the run and the one the script has in its place."""

    key: str
    old: Place
    new: Place
    new_no: int
    unsent: bool


@dataclass(slots=True)
class Survey:
    """What was found. ``replaced`` were never asked and simply give way; ``stale`` are leftovers.

    ``held`` counts what was released before, ``fresh`` the drafts without a predecessor, ``taken``
    those of them that another run has answered. In ``renamed`` both keys follow from content, so
    that an edited prompt looks like a new job and a missing one.

    All counts are of documents, however many parts they are sent in. Where a document has changed,
    ``spare`` are the old parts that the new layout lacks, each with whether it was not sent, and
    ``longer`` the new ones that the old one lacks; ``given_up`` are as ``spare``, of the replaced.
    """

    held: int = 0
    released: int = 0
    taken: int = 0
    fresh: int = 0
    changed: list[Pair] = field(default_factory=list)
    renamed: list[Pair] = field(default_factory=list)
    replaced: list[Pair] = field(default_factory=list)
    gone: list[tuple[Place, str]] = field(default_factory=list)
    stale: list[Place] = field(default_factory=list)
    spare: list[tuple[Place, bool]] = field(default_factory=list)
    given_up: list[tuple[Place, bool]] = field(default_factory=list)
    longer: list[Place] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """``known``, ``new``, ``changed`` and ``gone``, as they are said."""
        return {
            "known": self.held + self.taken - _count(self.changed) - _count(self.replaced),
            "new": self.fresh - self.taken + _count(self.replaced) - len(self.renamed),
            "changed": _count(self.changed) + len(self.renamed),
            "gone": len({document_of(key) for _, key in self.gone}),
        }

    @property
    def found(self) -> int:
        """How many of the builder's jobs the rows still hold."""
        return self.held + self.fresh

    @property
    def sentence(self) -> str:
        """``4,950 known, 50 new, 0 changed, 0 gone``."""
        return ", ".join(f"{count:,} {name}" for name, count in self.counts.items())


@dataclass(frozen=True, slots=True)
class Layout:
    """Parts of split documents, but for the first, that only one side has: the run, the script."""

    old: list[tuple[Place, str, bool]] = field(default_factory=list)
    new: list[tuple[Place, str]] = field(default_factory=list)


def _count(pairs: Sequence[Pair]) -> int:
    return len({document_of(one.key) for one in pairs})


def survey(store: Store, run: RunRow, draft: Draft) -> Survey:
    """Compare a run with what a builder has added."""
    found = Survey(taken=store.surveys.taken_over(run.id, documents=run.split))
    if draft.is_all_of(run):  # nothing to compare with
        found.fresh = draft.added
        return found
    if draft.is_held_by(run):
        found.held = found.released = draft.added
        return found
    revised = _changed(store, run, draft, found)
    layout = Layout()
    for lane_id, seq, no, key, _ in store.surveys.drafts(run.id):
        if no not in draft.seen:
            found.stale.append((lane_id, seq))
        elif no not in revised:
            if is_tail(key):
                layout.new.append(((lane_id, seq), key))
            else:
                found.fresh += 1
    if run.opened_at is not None:
        _missing(store, run, draft, found, revised, layout)
    if run.split:
        _relaid(store, run, found, layout)
    return found


def _relaid(store: Store, run: RunRow, found: Survey, layout: Layout) -> None:
    """Let all parts of a document go one way: changed as a whole, or simply replaced.

    Each part says in its content of how many it is one, so that another layout changes those that
    both have; the parts that only one of the two has go with them.
    """
    pairs = {document_of(one.key) for one in (*found.changed, *found.replaced)}
    spare = [one for one in layout.old if document_of(one[1]) in pairs]
    found.gone += [(p, k) for p, k, unsent in layout.old if unsent and document_of(k) not in pairs]
    ended = store.parts.answers(run.id, [key for _, key, unsent in spare if not unsent])
    asked = {key for _, key, unsent in spare if not (unsent or _is_never_asked(ended.get(key)))}
    changed = {document_of(key) for key in (*asked, *(one.key for one in found.changed))}
    found.changed += [one for one in found.replaced if document_of(one.key) in changed]
    found.replaced = [one for one in found.replaced if document_of(one.key) not in changed]
    for place, key, unsent in spare:
        (found.spare if document_of(key) in changed else found.given_up).append((place, unsent))
    found.longer = [place for place, key in layout.new if document_of(key) in changed]


def _is_never_asked(answer: Answer | None) -> bool:
    return answer is not None and answer.code in _NEVER_ASKED


def _changed(store: Store, run: RunRow, draft: Draft, found: Survey) -> set[int]:
    """Sort the drafts of a next revision; return their numbers."""
    revised: set[int] = set()
    for row in store.surveys.changed(run.id):
        if row.new_no not in draft.seen:
            continue
        revised.add(row.new_no)
        new = (row.new_lane_id, row.new_seq)
        pair = Pair(row.key, (row.lane_id, row.seq), new, row.new_no, bool(row.unsent))
        simply = row.unsent or row.code in _NEVER_ASKED
        (found.replaced if simply else found.changed).append(pair)
    return revised


def _missing(
    store: Store, run: RunRow, draft: Draft, found: Survey, revised: set[int], layout: Layout
) -> None:
    """Find what the script adds no more: gone if it was not sent, renamed if content named it."""
    nameless: list[tuple[Place, str, bool]] = []
    for lane_id, seq, no, key, digest, unsent in store.surveys.released(run.id):
        found.released += not is_tail(key)
        if no in draft.seen:
            found.held += not is_tail(key)
            continue
        if is_tail(key):
            layout.old.append(((lane_id, seq), key, bool(unsent)))
            continue
        if keys.is_of_content(key, digest):
            nameless.append(((lane_id, seq), key, bool(unsent)))
        elif unsent:
            found.gone.append(((lane_id, seq), key))
    fresh = islice(_by_content(store, run, draft, revised), len(nameless))
    paired = 0
    for (old, key, unsent), (new, no) in zip(nameless, fresh, strict=False):
        found.renamed.append(Pair(key, old, new, no, unsent))
        paired += 1
    found.gone += [(old, key) for old, key, unsent in nameless[paired:] if unsent]


def _by_content(
    store: Store, run: RunRow, draft: Draft, revised: set[int]
) -> Iterator[tuple[Place, int]]:
    for lane_id, seq, no, key, digest in store.surveys.drafts(run.id):
        if no in draft.seen and no not in revised and keys.is_of_content(key, digest):
            yield (lane_id, seq), no


def check(store: Store, run: RunRow, found: Survey, on_change: OnChange) -> None:
    """Raise RunChangedError if the script says something else than the run and nobody said how."""
    counts = found.counts
    total = found.released if run.split else run.total
    too_many_gone = counts["gone"] > _MOST_GONE * max(total, 1)
    if on_change != "error" or not (counts["changed"] or too_many_gone):
        return
    pairs = list(
        {document_of(one.key): one for one in (*found.changed, *found.renamed)[::-1]}.values()
    )[::-1]
    examples: list[Difference] = []
    for pair in pairs[:_EXAMPLES]:
        examples += named(store, document_of(pair.key), pair.old, pair.new)
    missing = list(dict.fromkeys(document_of(key) for _, key in found.gone))
    examples += [gone(key) for key in missing[:_EXAMPLES]]
    raise RunChangedError(
        _sentence(run, found, examples, min(_EXAMPLES, len(pairs))),
        counts=counts,
        differences=[one.to_dict() for one in examples],
    )


def _sentence(run: RunRow, found: Survey, examples: list[Difference], shown: int) -> str:
    counts = found.counts
    lines = [
        f"The script no longer says what the run {run.name!r} says: {found.sentence}. "
        "Nothing was sent."
    ]
    lines += [f"  {one}" for one in examples]
    more = counts["changed"] - shown
    if more > 0:
        lines.append(f"  … and {more:,} more changed")
    if found.renamed:
        lines.append(
            f"  {len(found.renamed):,} new jobs without a key or file stand where as many old ones "
            "are no longer added; if they are other jobs, give each a key=."
        )
    lines.append(
        'on_change="keep" lets old jobs and answers stand, "replace" buys the changed ones again '
        "and cancels the gone ones; another name= starts another run."
    )
    return "\n".join(lines)


@dataclass(frozen=True, slots=True)
class Plan:
    """What opening does, as ``store.Opening`` takes it.

    ``leftovers`` are those of the dropped that no step has ever seen; ``count`` jobs are released.
    """

    released: dict[int, int]
    dropped: list[Place]
    superseded: list[Place]
    gone: list[Place]
    leftovers: list[Place]
    count: int


def plan(
    store: Store,
    run: RunRow,
    draft: Draft,
    found: Survey,
    on_change: OnChange,
    first: int | None,
) -> Plan:
    """Work out what is released, dropped, superseded and cancelled."""
    pairs = [*found.changed, *found.renamed]
    dropped = [*found.stale, *(pair.old for pair in found.replaced if pair.unsent)]
    superseded = [pair.old for pair in found.replaced if not pair.unsent]
    _give_up(found.given_up, dropped, superseded)
    cancelled: list[Place] = []
    leftovers = list(found.stale)
    if on_change == "replace":
        superseded += [pair.old for pair in pairs if not pair.unsent]
        dropped += [pair.old for pair in pairs if pair.unsent]
        _give_up(found.spare, dropped, superseded)
        cancelled = [place for place, _ in found.gone]
    else:
        unwanted = [*(pair.new for pair in pairs), *found.longer]
        dropped += unwanted
        leftovers += unwanted
    if first is None and not dropped and draft.is_all_of(run):
        released, count = {one.id: one.size for one in store.jobs.lanes(run.id)}, draft.added
    else:
        released, count = _released(store, run, set(dropped), first)
    return Plan(released, dropped, superseded, cancelled, leftovers, count)


def _give_up(
    parts: Sequence[tuple[Place, bool]], dropped: list[Place], superseded: list[Place]
) -> None:
    for place, unsent in parts:
        (dropped if unsent else superseded).append(place)


def _released(
    store: Store, run: RunRow, dropped: set[Place], first: int | None
) -> tuple[dict[int, int], int]:
    """Return each lane's new watermark and how many drafts are below: all, or the first few.

    What could not become a request is not sent and counts towards no ``first``; the parts of a
    document go together.
    """
    local = {lane.id for lane in store.jobs.lanes(run.id) if not lane.provider}
    marks: dict[int, int] = {}
    begun: set[str] = set()
    count = taken = 0
    for lane_id, seq, _, key, _ in store.surveys.drafts(run.id):
        if (lane_id, seq) in dropped:
            continue
        if lane_id not in local and first is not None:
            if taken >= first and document_of(key) not in begun:
                continue
            if document_of(key) not in begun:
                taken += 1
                begun.add(document_of(key))
        marks[lane_id] = seq + 1
        count += 1
    return marks, count


def unsent_lanes(store: Store, run: RunRow, released: dict[int, int]) -> list[Any]:
    """Return the lanes that have something to send once ``released`` holds."""
    return [
        lane
        for lane in store.jobs.lanes(run.id)
        if lane.provider and lane.cursor < max(lane.released, released.get(lane.id, 0))
    ]
