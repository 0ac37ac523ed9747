"""Which jobs go into which batch: figures in, a count out. Never drops, never reorders a job."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

from batchkit.model import Limits

PER_LINE = 1
"""Bytes that every line adds to an upload: its line end, or the comma between two requests."""

ENVELOPE = 64
"""Bytes around all lines of an upload, at most."""

FEW = 10
"""Jobs that a batch has at least, where sharing a queue would make it smaller."""

Reason = Literal[
    "end",  # all that was offered fits
    "requests",  # the provider's most jobs per batch
    "items",  # the user's most jobs per batch
    "bytes",  # the provider's largest upload
    "memory",  # ours
    "request_bytes",  # the next job is too large for any batch of this provider
    "budget",  # the next job's upper bound does not fit the free money
    "price",  # the next job has no known price and there is a budget
    "queue",  # the provider's queue has no room for the next job
    "share",  # the queue is shared among several batches, and this one has its part
    "too_few",  # fewer than the provider's least would be in it
]


@dataclass(frozen=True, slots=True)
class Cut:
    """How many jobs from the front make the next batch, and what kept the next one out.

    `count` 0 means that not even the first fits: `reason` says why. With ``request_bytes`` and
    ``bytes`` it never will; with ``budget`` and ``queue`` it may, given room. ``memory`` keeps no
    job out that would be alone: there is no smaller batch.
    `bytes` is the whole upload, `bound` the sum of the upper bounds, `tokens` of the tokens.
    """

    count: int
    reason: Reason
    bytes: int = 0
    bound: int = 0
    tokens: int = 0


@dataclass(frozen=True, slots=True)
class Plan:
    """How many batches a lane makes, of how many jobs, and in how many waves they go out."""

    batches: int
    waves: int
    per_batch: int = 0


@dataclass(frozen=True, slots=True)
class Share:
    """Jobs that are alike, for ``waves``: what each reserves and costs, in nano-dollars.

    ``seen``: once so many of them are back, the others reserve no more than they cost.
    """

    jobs: int
    per_batch: int
    bound: int
    cost: int
    seen: int | None = None


@dataclass(frozen=True, slots=True)
class _Room:
    """The limits of one batch as plain numbers."""

    jobs: int
    jobs_reason: Reason
    bytes: int
    bytes_reason: Reason
    alone: int
    request_bytes: int
    budget: int | None
    queue: int | None


@dataclass(frozen=True, slots=True)
class Sums:
    """Many jobs at once: how many, bytes of all their lines and of the longest (at most), bounds
    in nano-dollars, how many have none, tokens."""

    jobs: int
    bytes: int
    longest: int
    bound: int
    unpriced: int
    tokens: int


class Filling:
    """One batch while it is being filled, job by job, until the next one does not fit.

    ``share`` is its part of a queue that is shared: reached, it is full, but it holds ten jobs at
    least where they fit.
    """

    def __init__(
        self,
        limits: Limits,
        *,
        items_per_batch: int | None = None,
        budget: int | None = None,
        queue_room: int | None = None,
        memory: int | None = None,
        share: int | None = None,
    ) -> None:
        self._limits = limits
        self._room = _room(limits, items_per_batch, budget, queue_room, memory)
        self._share = share
        self.count = 0
        self.bytes = ENVELOPE
        self.bound = 0
        self.tokens = 0

    def offer(self, size: int, bound: int | None, tokens: int = 0) -> Reason | None:
        """Take a job if it fits (None), else say what keeps it out and stay as before.

        `size` is the line's bytes as encoded, `bound` its upper-bound cost in nano-dollars (None:
        unknown), `tokens` a bound on its input tokens, where the queue counts those.
        """
        if self._share is not None and self._has_its_share():
            return "share"
        queued = self.tokens + tokens if self._limits.queue == "tokens" else self.count + 1
        money = self.bound
        stopped = _stopped(self._room, self.count, size, self.bytes, bound, money, queued)
        if stopped is None:
            self.count += 1
            self.bytes += size + PER_LINE
            self.bound += bound or 0
            self.tokens += tokens
        return stopped

    @property
    def places(self) -> int:
        """How many jobs more a batch may have."""
        return self._room.jobs - self.count

    def offer_all(self, sums: Sums) -> bool:
        """Take many jobs if all of them fit; False, with nothing taken, says nothing of each."""
        if self._share is not None or sums.jobs < 1:
            return False
        last = self.count + sums.jobs - 1
        queued = self.tokens + sums.tokens if self._limits.queue == "tokens" else last + 1
        before = self.bytes + sums.bytes + PER_LINE * (sums.jobs - 1) - sums.longest
        bound = None if sums.unpriced else sums.bound
        if _stopped(self._room, last, sums.longest, before, bound, self.bound, queued) is not None:
            return False
        self.count += sums.jobs
        self.bytes += sums.bytes + PER_LINE * sums.jobs
        self.bound += sums.bound
        self.tokens += sums.tokens
        return True

    def _has_its_share(self) -> bool:
        if self._share is None or self.count < FEW:
            return False
        queued = self.tokens if self._limits.queue == "tokens" else self.count
        return queued >= self._share


def cut(
    sizes: Sequence[int],
    bounds: Sequence[int | None],
    limits: Limits,
    *,
    items_per_batch: int | None = None,
    budget: int | None = None,
    queue_room: int | None = None,
    tokens: Sequence[int] | None = None,
    memory: int | None = None,
) -> Cut:
    """Say how many jobs from the front go into the next batch: as many as fit, in order.

    The figures are those of `Filling`. `budget` is the free money, `queue_room` what the provider's
    queue takes, in what `limits.queue` counts: requests, or tokens, and then `tokens` (bounds)
    are needed. `memory` is the most bytes of an upload that we are ready to hold.
    """
    if limits.queue == "tokens" and queue_room is not None and tokens is None:
        raise ValueError("a queue that counts tokens needs the jobs' tokens")
    filling = Filling(
        limits,
        items_per_batch=items_per_batch,
        budget=budget,
        queue_room=queue_room,
        memory=memory,
    )
    reason = _END
    weights = tokens if tokens is not None else [0] * len(sizes)
    for size, bound, weight in zip(sizes, bounds, weights, strict=True):
        stopped = filling.offer(size, bound, weight)
        if stopped is not None:
            reason = stopped
            break
    if 0 < filling.count < limits.min_requests:
        return Cut(0, "too_few")
    upload = filling.bytes if filling.count else 0
    return Cut(filling.count, reason, upload, filling.bound, filling.tokens)


_END: Reason = "end"


def _room(
    limits: Limits,
    items_per_batch: int | None,
    budget: int | None,
    queue_room: int | None,
    memory: int | None,
) -> _Room:
    few = items_per_batch is not None and items_per_batch < limits.requests
    small = memory is not None and memory < limits.bytes
    return _Room(
        jobs=items_per_batch if few and items_per_batch is not None else limits.requests,
        jobs_reason="items" if few else "requests",
        bytes=memory if small and memory is not None else limits.bytes,
        bytes_reason="memory" if small else "bytes",
        alone=limits.bytes,
        request_bytes=limits.request_bytes,
        budget=budget,
        queue=queue_room if limits.queue is not None else None,
    )


def _stopped(
    room: _Room, count: int, size: int, upload: int, bound: int | None, money: int, queued: int
) -> Reason | None:
    """Return what keeps the next job out, the lasting reasons first; None if it fits."""
    if size > room.request_bytes:
        return "request_bytes"
    if count >= room.jobs:
        return room.jobs_reason
    if upload + size + PER_LINE > (room.bytes if count else room.alone):
        return room.bytes_reason if count else "bytes"
    if room.budget is not None:
        if bound is None:
            return "price"
        if money + bound > room.budget:
            return "budget"
    if room.queue is not None and queued > room.queue:
        return "queue"
    return None


def cuts(
    sizes: Sequence[int],
    limits: Limits,
    *,
    items_per_batch: int | None = None,
    memory: int | None = None,
) -> Iterator[Cut]:
    """Cut a whole lane, money and queue aside; a job that fits nowhere is left out, count 0."""
    at = 0
    while at < len(sizes):
        rest = sizes[at : at + limits.requests]
        made = cut(rest, [None] * len(rest), limits, items_per_batch=items_per_batch, memory=memory)
        yield made
        at += made.count or 1


def plan(
    jobs: int,
    total_bytes: int,
    limits: Limits,
    *,
    items_per_batch: int | None = None,
    max_parallel_batches: int | None = None,
    tokens: int = 0,
    queue_room: int | None = None,
    memory: int | None = None,
) -> Plan:
    """Estimate a lane's batches and waves from sums: exact while jobs are of about one size.

    `queue_room` is the provider's whole queue, in what ``limits.queue`` counts; a wave is what is
    in flight at one time: at most `max_parallel_batches`, and no more than the queue takes.
    """
    if jobs <= 0:
        return Plan(0, 0)
    room = _room(limits, items_per_batch, None, queue_room, memory)
    mean = -(-total_bytes // jobs) + PER_LINE
    per_batch = max(1, min(room.jobs, (room.bytes - ENVELOPE) // mean))
    queued = tokens if limits.queue == "tokens" else jobs
    if room.queue:
        # A batch larger than the queue would never go out: it is cut smaller.
        per_batch = max(1, min(per_batch, room.queue * jobs // max(1, queued)))
    batches = -(-jobs // per_batch)
    waves = -(-batches // max(1, max_parallel_batches or batches))
    if room.queue:
        waves = max(waves, -(-queued // room.queue))
    return Plan(batches, waves, per_batch)


def waves(shares: Sequence[Share], free: int, max_parallel_batches: int) -> Plan:
    """Say in how many waves jobs go out under a limit of which `free` is left.

    A wave reserves bounds until the next job's does not fit; when it is back, what it cost stays
    spent and the rest is free again. Exact while each batch takes as long as the others. What
    cannot go out at all any more is left out.
    """
    left = [share.jobs for share in shares]
    batches = count = 0
    while True:
        room, spent, sent = free, 0, 0
        for number, share in enumerate(shares):
            held = _held(share, left[number])
            while left[number] and sent < max_parallel_batches:
                fitting = room // held if held else left[number]
                taken = min(left[number], share.per_batch, fitting)
                if taken <= 0:
                    break
                left[number] -= taken
                room -= taken * held
                spent += taken * share.cost
                sent += 1
        if not sent:
            return Plan(batches, count)
        free, batches, count = free - spent, batches + sent, count + 1


def _held(share: Share, left: int) -> int:
    """Return what a job reserves when so many are left, the others being back."""
    if share.seen is None or share.jobs - left < share.seen:
        return share.bound
    return min(share.bound, share.cost)
