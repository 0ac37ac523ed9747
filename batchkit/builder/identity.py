"""What a run holds against what its script says: known, new, changed, gone; and what opening does.

Only rows are read here. Nothing is altered before ``store.runs.open``, and that is one transaction.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any, Literal

from batchkit.builder import keys
from batchkit.builder.differences import Difference, gone, named
from batchkit.builder.drafting import Draft
from batchkit.errors import RunChangedError
from batchkit.model import Code
from batchkit.store import RunRow, Store

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
    """

    held: int = 0
    taken: int = 0
    fresh: int = 0
    changed: list[Pair] = field(default_factory=list)
    renamed: list[Pair] = field(default_factory=list)
    replaced: list[Pair] = field(default_factory=list)
    gone: list[tuple[Place, str]] = field(default_factory=list)
    stale: list[Place] = field(default_factory=list)

    @property
    def counts(self) -> dict[str, int]:
        """``known``, ``new``, ``changed`` and ``gone``, as they are said."""
        return {
            "known": self.held + self.taken - len(self.changed) - len(self.replaced),
            "new": self.fresh - self.taken + len(self.replaced) - len(self.renamed),
            "changed": len(self.changed) + len(self.renamed),
            "gone": len(self.gone),
        }

    @property
    def found(self) -> int:
        """How many of the builder's jobs the rows still hold."""
        return self.held + self.fresh

    @property
    def sentence(self) -> str:
        """``4,950 known, 50 new, 0 changed, 0 gone``."""
        return ", ".join(f"{count:,} {name}" for name, count in self.counts.items())


def survey(store: Store, run: RunRow, draft: Draft) -> Survey:
    """Compare a run with what a builder has added."""
    found = Survey(taken=store.surveys.taken_over(run.id))
    revised = _changed(store, run, draft, found)
    for lane_id, seq, no, _, _ in store.surveys.drafts(run.id):
        if no not in draft.seen:
            found.stale.append((lane_id, seq))
        elif no not in revised:
            found.fresh += 1
    if run.opened_at is not None:
        _missing(store, run, draft, found, revised)
    return found


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


def _missing(store: Store, run: RunRow, draft: Draft, found: Survey, revised: set[int]) -> None:
    """Find what the script adds no more: gone if it was not sent, renamed if content named it."""
    nameless: list[tuple[Place, str, bool]] = []
    for lane_id, seq, no, key, digest, unsent in store.surveys.released(run.id):
        if no in draft.seen:
            found.held += 1
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
    too_many_gone = counts["gone"] > _MOST_GONE * max(run.total, 1)
    if on_change != "error" or not (counts["changed"] or too_many_gone):
        return
    pairs = [*found.changed, *found.renamed]
    examples: list[Difference] = []
    for pair in pairs[:_EXAMPLES]:
        examples += named(store, pair.key, pair.old, pair.new)
    examples += [gone(key) for _, key in found.gone[:_EXAMPLES]]
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
    cancelled: list[Place] = []
    leftovers = list(found.stale)
    if on_change == "replace":
        superseded += [pair.old for pair in pairs if not pair.unsent]
        dropped += [pair.old for pair in pairs if pair.unsent]
        cancelled = [place for place, _ in found.gone]
    else:
        dropped += [pair.new for pair in pairs]
        leftovers += [pair.new for pair in pairs]
    released, count = _released(store, run, set(dropped), first)
    return Plan(released, dropped, superseded, cancelled, leftovers, count)


def _released(
    store: Store, run: RunRow, dropped: set[Place], first: int | None
) -> tuple[dict[int, int], int]:
    """Return each lane's new watermark and how many drafts are below: all, or the first few.

    What could not become a request is not sent and counts towards no ``first``.
    """
    local = {lane.id for lane in store.jobs.lanes(run.id) if not lane.provider}
    marks: dict[int, int] = {}
    count = taken = 0
    for lane_id, seq, _, _, _ in store.surveys.drafts(run.id):
        if (lane_id, seq) in dropped:
            continue
        if lane_id not in local:
            if first is not None and taken >= first:
                continue
            taken += 1
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
