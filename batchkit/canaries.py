"""A canary: a few jobs that go before a run, and what their answers must be like. Pure."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from batchkit.model import Code, Json
from batchkit.money import show

Group = TypeVar("Group", bound=Hashable)

JOBS = 20
"""How many jobs the real-time canary has."""

WAIT = 1_800.0
"""Seconds until a part of the run follows a canary that has no end yet."""

PART = 10
"""One in so many of what waits follows then."""

_LEAST_FIT = 0.9
_MOST_TRUNCATED = 0.05

TRANSIENT = (
    Code.OVERLOADED,
    Code.RATE_LIMITED,
    Code.SERVER_ERROR,
    Code.EXPIRED,
    Code.NOT_RUN,
)
"""What says nothing about the prompt: the job goes again, and its next answer is judged."""

PAID = (Code.INVALID_OUTPUT, Code.TRUNCATED, Code.EMPTY_OUTPUT)
"""What is not tried again while the canary is out: each time would be paid for."""


@dataclass(frozen=True, slots=True)
class Tally:
    """What became of a canary's jobs, by their first answers.

    ``cost`` and ``bound`` are nano-dollars, of the jobs for which both are known.
    """

    jobs: int = 0
    answered: int = 0
    fit: int = 0
    truncated: int = 0
    cost: int = 0
    bound: int = 0
    examples: tuple[str, ...] = ()

    @property
    def is_over(self) -> bool:
        """Whether each job has an answer."""
        return self.answered >= self.jobs


def faults(tally: Tally) -> list[str]:
    """Say what keeps a canary from passing; nothing if it passes."""
    found: list[str] = []
    count = tally.answered
    if tally.fit < _LEAST_FIT * count:
        found.append(f"{tally.fit:,} of {count:,} answers fit, {_LEAST_FIT:.0%} are asked for")
    if tally.truncated > _MOST_TRUNCATED * count:
        found.append(
            f"{tally.truncated:,} of {count:,} were cut off at max_tokens, "
            f"{_MOST_TRUNCATED:.0%} are allowed"
        )
    if tally.cost > tally.bound:
        found.append(f"they cost {show(tally.cost)}, and {show(tally.bound)} was reserved")
    return found


def verdict(tally: Tally) -> tuple[str, list[str]]:
    """Return the state of a canary that is over, ``passed`` or ``held``, and why."""
    found = faults(tally)
    if not found:
        return "passed", []
    return "held", [*found, *(f"such as {one}" for one in tally.examples[:3])]


def verdict_now(tally: Tally, said: str) -> tuple[str, list[str]]:
    """Return the state of a canary that was asked now, and why.

    Who could not be asked says nothing; with fewer than half of the answers nothing is known.
    ``said`` is why.
    """
    if 2 * tally.answered >= tally.jobs:
        return verdict(tally)
    left = tally.jobs - tally.answered
    return "held", [f"{left:,} of {tally.jobs:,} jobs could not be asked: {said}"]


def sentence(canary: Json) -> str:
    """Say why a canary holds its run back."""
    return f"The canary did not pass: {'; '.join(canary.get('why') or ())}"


def follows(low: int, high: int, *, late: bool) -> int:
    """Return up to which place a lane goes whose canary ends at ``low``, of ``high`` in all."""
    return low + -(-(high - low) // PART) if late else low


def spread(counts: Mapping[Group, int], most: int) -> dict[Group, list[int]]:
    """Choose at most ``most`` jobs, from each group by its share, by size from least to largest.

    Returns places in each group's order of size. Every group has one at least while there are
    enough; with more groups than jobs the largest groups have one each.
    """
    there = {group: count for group, count in counts.items() if count > 0}
    largest = sorted(there, key=lambda group: -there[group])[: max(0, most)]
    shares = dict.fromkeys(largest, 1)
    total = sum(there[group] for group in largest)
    for group in largest:
        free = most - sum(shares.values())
        wanted = round(most * there[group] / total) - 1
        shares[group] += max(0, min(free, wanted, there[group] - 1))
    for group in largest:  # what rounding left over
        shares[group] += max(0, min(most - sum(shares.values()), there[group] - shares[group]))
    return {group: _places(there[group], share) for group, share in shares.items()}


def _places(count: int, share: int) -> list[int]:
    """Return places from the first to the last of ``count``, evenly apart."""
    if share == 1:
        return [count // 2]
    return [at * (count - 1) // (share - 1) for at in range(share)]


def tallied(jobs: int, answers: Sequence[Json]) -> Tally:
    """Add up a canary's attempts, of all jobs in order of their numbers.

    An answer holds ``place, key, code, error, completed, final, judged, cost, bound``; ``judged``
    is False for what no provider said.
    """
    tally = Tally(jobs)
    over: set[Hashable] = set()
    for one in answers:
        passing = one["code"] in TRANSIENT or not one["judged"]
        if one["place"] in over or (passing and not one["final"]):
            continue
        over.add(one["place"])
        if not one["judged"]:  # a person or the clock ended it: it says nothing
            tally = replace(tally, jobs=tally.jobs - 1)
            continue
        tally = _counted(tally, one)
    return tally


def _counted(tally: Tally, one: Json) -> Tally:
    known = one["cost"] is not None and one["bound"] is not None
    bad = () if one["completed"] else (f"{one['key']}: {one['error'] or one['code']}",)
    return replace(
        tally,
        answered=tally.answered + 1,
        fit=tally.fit + bool(one["completed"]),
        truncated=tally.truncated + (one["code"] == Code.TRUNCATED),
        cost=tally.cost + (one["cost"] if known else 0),
        bound=tally.bound + (one["bound"] if known else 0),
        examples=(*tally.examples, *bad),
    )
