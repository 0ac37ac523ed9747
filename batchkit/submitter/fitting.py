"""What still goes when a limit is nearly spent: the cheapest of what waits, by what each needs."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TypeAlias

from batchkit.money import enough, show
from batchkit.store import JobRow, LaneRow, Member, RunRow, Store

_MOST = 10_000
"""Jobs of a lane that are weighed, those with the lowest bounds: a token is a byte at most and a
quarter of one at least, so a dearer one would fit only where none of so many cheaper ones did."""

_MOST_BYTES = 256_000_000
_PAGE = 500
_REMEMBERED = 100_000

_Key: TypeAlias = tuple[int, int, int | None, str | None]
"""A job by lane and place, and what of its next attempt makes it dearer."""

Weigh: TypeAlias = Callable[[JobRow, Member | None], int | None]
"""Says what a job's next attempt reserves, in nano-dollars; None if that cannot be told."""


@dataclass(frozen=True, slots=True)
class Fits:
    """Jobs that fit the free money together; if there are none, ``least`` is what the cheapest
    needs, in nano-dollars."""

    seqs: frozenset[int] = frozenset()
    members: Sequence[Member] = ()
    least: int | None = None


@dataclass(slots=True)
class Fitting:
    """Finds what fits when nothing is in flight and the job whose turn it is does not fit.

    What was weighed once is remembered: the same question is asked at each pass.
    """

    store: Store
    _needs: dict[_Key, int] = field(default_factory=dict)
    _barren: dict[int, tuple[tuple[int, int, int], int | None]] = field(default_factory=dict)
    _told: dict[int, tuple[tuple[int | None, ...], str]] = field(default_factory=dict)

    def in_range(self, lane: LaneRow, free: int, weigh: Weigh) -> Fits:
        """Choose among the jobs of a lane that were never sent."""
        asked = (lane.cursor, lane.released, free)
        known = self._barren.get(lane.id)
        if known is not None and known[0] == asked:
            return Fits(least=known[1])
        seqs = self._affordable(lane)
        found = self._weighed(lane, seqs, {}, weigh)
        fits = _fits(found, free)
        if not fits.seqs and len(found) == len(seqs):
            self._barren[lane.id] = (asked, fits.least)
        return fits

    def among(self, lane: LaneRow, waiting: Sequence[Member], free: int, weigh: Weigh) -> Fits:
        """Choose among the jobs of a lane that go one by one."""
        by_seq = {member.seq: member for member in waiting[:_MOST]}
        fits = _fits(self._weighed(lane, list(by_seq), by_seq, weigh), free)
        return Fits(fits.seqs, [one for one in waiting if one.seq in fits.seqs], fits.least)

    def forget(self) -> None:
        """Weigh anew: other amounts are reserved now."""
        self._needs.clear()
        self._barren.clear()

    def sentence(self, run: RunRow, least: int | None) -> str:
        """Say what the cheapest of the jobs that wait needs, and all of them together."""
        if least is None:
            return "the next job has no known price, and the run has a cost limit"
        asked = (least, run.free, run.total, run.ended)
        known = self._told.get(run.id)
        if known is None or known[0] != asked:
            jobs, bound = self.store.surveys.left(run.id)
            self._told[run.id] = known = (asked, _sentence(run, least, jobs, bound))
        return known[1]

    def _affordable(self, lane: LaneRow) -> list[int]:
        """Return the jobs to weigh: the cheapest by bound, as far as one is ready to read."""
        seqs: list[int] = []
        size = 0
        for seq, more in self.store.surveys.cheapest(lane, _MOST):
            size += more
            if seqs and size > _MOST_BYTES:
                break
            seqs.append(seq)
        return seqs

    def _weighed(
        self, lane: LaneRow, seqs: Sequence[int], members: Mapping[int, Member], weigh: Weigh
    ) -> list[tuple[int, int]]:
        """Return (needed, seq) of what can be weighed."""
        if len(self._needs) > _REMEMBERED:
            self._needs.clear()
        keys = {seq: _key(lane, seq, members.get(seq)) for seq in seqs}
        fresh = [seq for seq in seqs if keys[seq] not in self._needs]
        for at in range(0, len(fresh), _PAGE):
            for row in self.store.jobs.pick(lane.id, fresh[at : at + _PAGE]):
                needed = weigh(row, members.get(row.seq))
                if needed is not None:
                    self._needs[keys[row.seq]] = needed
        return [(self._needs[key], seq) for seq, key in keys.items() if key in self._needs]


def _key(lane: LaneRow, seq: int, member: Member | None) -> _Key:
    changes = (member.changes if member else None) or {}
    return lane.id, seq, changes.get("max_tokens"), changes.get("note")


def _fits(found: Iterable[tuple[int, int]], free: int) -> Fits:
    """Choose the cheapest first, as many as fit together: none of the others fits beside them."""
    chosen: set[int] = set()
    ordered = sorted(found)
    for needed, seq in ordered:
        if needed > free:
            break
        free -= needed
        chosen.add(seq)
    return Fits(frozenset(chosen), (), ordered[0][0] if ordered and not chosen else None)


def _sentence(run: RunRow, least: int, jobs: int, bound: int) -> str:
    """Say what keeps a run from sending more, and with which limit it goes on."""
    who = f"the cheapest of {jobs:,} jobs that wait" if jobs > 1 else "the next job"
    rest = f"; all {jobs:,} together need {enough(bound)} at most" if jobs > 1 else ""
    limit = show(run.cost_limit)
    free = f"{show(run.free)} of the limit {limit} are free"
    if run.free is not None and run.free < 0:
        free = f"the limit {limit} is exceeded by {show(-run.free)}"
    return (
        f"{who} needs {enough(least)}, {free} "
        f"(spent {show(run.spent)}, reserved {show(run.reserved)}): it goes with a limit of "
        f"{enough(run.spent + run.reserved + least)} or more{rest}"
    )
