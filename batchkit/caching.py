"""Prompt caching: what requests share, whether it pays to have it cached first, which are marked.

A prefix is what stands before everything that differs: at level ``system`` the system prompt and
tools, at level ``documents`` those and the files in front of the question. Requests of one batch
do not see each other's cache writes. So one job of each prefix, its *primer*, goes first and
writes; the others read once it has ended, and go unmarked, at the plain price, where it has not.
Pure.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

import orjson

from batchkit import pricing, requests
from batchkit.model import Document, Json, Level, Prefix, Price, Request, Usage

HIT_RATE = 0.9
"""The share of requests that find their prefix after it was primed, as far as one can plan."""

LEAST_SAVED = 10_000_000
"""Nano-dollars: for less than a cent a run, nobody waits for a primer."""

PATIENCE = 3_600.0
"""Seconds that the others wait for their primer, at most."""

WARM = 2_700.0
"""Seconds for which an entry counts as there: its hour, less what an end takes to be noticed."""

NEAR = 7_200.0
"""Seconds of a run's time below which nothing is primed: it would be spent on waiting."""

_LEAST = (
    ("claude-opus-4-8", 1_024),
    ("claude-opus-4", 4_096),
    ("claude-opus-5", 512),
    ("claude-fable-5", 512),
    ("claude-mythos-5", 512),
    ("claude-sonnet-4", 1_024),
    ("claude-sonnet-5", 1_024),
)
_LEAST_OF_OTHERS = 4_096
_MILLION = 1_000_000

_NEVER = datetime.min.replace(tzinfo=UTC)

Stored: TypeAlias = Sequence[Json] | None
"""A job's documents, as its row holds them."""


def least_tokens(model: str) -> int:
    """Return the shortest prefix that a model caches; of an unknown one the longest known."""
    return next((least for name, least in _LEAST if model.startswith(name)), _LEAST_OF_OTHERS)


def system_digest(template: Mapping[str, Any]) -> bytes:
    """Return what tells one shared beginning from another: all that a template sends.

    Without the prompt, which comes last, and ``max_tokens``, which the model does not see.
    """
    kept = ("provider", "model", "system", "params", "extra_body", "citations")
    shared = {name: template.get(name) for name in kept if template.get(name) is not None}
    if template.get("schema") is not None:
        shared["schema"] = template["schema"]["fingerprint"]
    written = orjson.dumps(shared, option=orjson.OPT_SORT_KEYS, default=str)
    return hashlib.sha256(written).digest()[:16]


def documents_digest(system: bytes, found: Iterable[Document]) -> bytes:
    """Return what tells one beginning with documents from another, in their order."""
    hashed = hashlib.sha256(system)
    for one in found:
        told = (one.sha256, one.name, one.kind, one.media_type, one.selection)
        hashed.update(orjson.dumps(told))
    return hashed.digest()[:16]


def levels_of(request: Request) -> tuple[Level, ...]:
    """Return where a request can be marked: nowhere if its author has marks of his own."""
    body = [request.params, request.extra_body, list(request.messages or ())]
    if pricing.caching_of("anthropic", body) != "none":
        return ()
    if request.messages and request.messages[0].get("role") == "system":
        return ()  # its system prompt is the job's own
    found: list[Level] = []
    if request.system or request.params.get("tools") or _is_told(request.schema):
        found.append("system")
    if request.attachments and request.messages is None:
        found.append("documents")
    return tuple(found)


def _is_told(schema: Json | None) -> bool:
    """Say whether the answer's form is told in the system prompt."""
    return schema is not None and schema.get("mode") != "strict"


def beginning(request: Request, level: Level) -> Request:
    """Return the prefix of a request, as a request to count tokens of."""
    tools = request.params.get("tools")
    return replace(
        request,
        prompt=None,
        messages=None,
        attachments=request.attachments if level == "documents" else (),
        params={"tools": tools} if tools else {},
        extra_body={},
        schema=request.schema if _is_told(request.schema) else None,
    )


def marked(request: Request, levels: Iterable[Level]) -> Request:
    """Return a request with marks at those of the levels that it has."""
    possible = levels_of(request)
    wanted = tuple(level for level in levels if level in possible)
    return replace(request, caching=wanted) if wanted else request


def saved(jobs: int, tokens: int, price: Price, *, hit_rate: float = HIT_RATE) -> int:
    """Return what priming a prefix saves, in nano-dollars; below 0 if it costs more.

    ``jobs`` share ``tokens``. One writes for an hour; of the others ``hit_rate`` read, the rest
    write again. Without prices for both nothing is saved.
    """
    write = price.cache_write if price.cache_write_1h is None else price.cache_write_1h
    if price.cached is None or write is None or jobs < 1:
        return 0
    others = round((jobs - 1) * hit_rate)
    primed = (jobs - others) * write + others * price.cached
    return tokens * (jobs * price.input - primed) // _MILLION


def dearer(tokens: int, price: Price) -> int:
    """Return how much more so much input costs at most once it may be written for an hour."""
    plain = pricing.bound_price(price, tokens, caching="none").input
    most = pricing.bound_price(price, tokens, caching="1h").input
    return -(-tokens * (most - plain) // _MILLION)


@dataclass(frozen=True, slots=True)
class Shared:
    """A prefix and how many jobs have it. ``tokens`` are those from the start of the request.

    ``within`` is the digest of the system level that it begins with.
    """

    lane_id: int
    level: Level
    digest: bytes
    model: str
    jobs: int
    tokens: int
    price: Price | None
    first_seq: int
    within: bytes | None = None


@dataclass(frozen=True, slots=True)
class Choice:
    """The prefixes worth priming, and what that saves together, in nano-dollars."""

    prefixes: tuple[Shared, ...] = ()
    saved: int = 0


def chosen(found: Sequence[Shared], *, least_saved: int = LEAST_SAVED) -> Choice:
    """Choose the prefixes that are long enough and save something; none if it is not worth it."""
    taken: list[Shared] = []
    total = 0
    inner: dict[tuple[int, bytes], Shared] = {}
    for one in sorted(found, key=lambda one: one.level != "system"):
        if one.price is None or one.jobs < 2 or one.tokens < least_tokens(one.model):
            continue
        gain = _gain(one, inner.get((one.lane_id, one.within or b"")))
        if gain <= 0:
            continue
        taken.append(one)
        total += gain
        if one.level == "system":
            inner[one.lane_id, one.digest] = one
    return Choice(tuple(taken), total) if taken and total >= least_saved else Choice()


def _gain(one: Shared, inner: Shared | None) -> int:
    """Return what a prefix saves beyond the one it begins with, which its primer writes again."""
    assert one.price is not None
    if inner is None:
        return saved(one.jobs, one.tokens, one.price)
    again = saved(1, inner.tokens, one.price) - saved(2, inner.tokens, one.price, hit_rate=1.0)
    return saved(one.jobs, one.tokens - inner.tokens, one.price) + again


class Marks:
    """Which jobs of a lane are marked in a batch that is cut at an instant.

    ``said`` is what is written down of it: the ids of the prefixes and the places of jobs that went
    without a mark all the same. With that and the instant ``again`` tells the same later.
    """

    def __init__(self, prefixes: Iterable[Prefix] = (), at: datetime = _NEVER) -> None:
        self._systems: dict[int, bytes] = {}
        self._prefixes: dict[tuple[str, bytes], Prefix] = {}
        for one in sorted(prefixes, key=lambda one: one.id):
            self._prefixes[one.level, one.digest] = one
        self._at = at
        self._is_warm = _is_warm_now
        self._used: set[int] = set()
        self._plain: set[int] = set()

    @classmethod
    def again(cls, prefixes: Iterable[Prefix], said: Json | None, at: datetime) -> Marks:
        """Return the marks of a batch that was cut at ``at``, from what it said."""
        wanted = set() if said is None else set(said["prefixes"])
        marks = cls((one for one in prefixes if one.id in wanted), at)
        marks._is_warm = _was_warm
        marks._plain = set() if said is None else set(said["plain"])
        return marks

    @property
    def said(self) -> Json | None:
        """What to write down; None if nothing was marked."""
        if not self._used:
            return None
        return {"prefixes": sorted(self._used), "plain": sorted(self._plain)}

    def leave_out(self, seq: int) -> None:
        """Note that a job goes without a mark."""
        self._plain.add(seq)

    def __bool__(self) -> bool:
        return bool(self._prefixes)

    def of(
        self, at: int, template: Mapping[str, Any], documents: Stored, seq: int
    ) -> tuple[Level, ...]:
        """Return the levels at which a job is marked; ``at`` is its template's id."""
        found: list[Level] = []
        if seq in self._plain:
            return ()
        for prefix in self._of(at, template, documents):
            if seq == prefix.primer_seq or self._is_warm(prefix, self._at):
                found.append(prefix.level)
                self._used.add(prefix.id)
        return tuple(found)

    def ids(self, at: int, template: Mapping[str, Any], documents: Stored) -> set[int]:
        """Return the prefixes that a job begins with."""
        return {prefix.id for prefix in self._of(at, template, documents)}

    def _of(self, at: int, template: Mapping[str, Any], documents: Stored) -> list[Prefix]:
        if not self._prefixes:
            return []
        if at not in self._systems:
            self._systems[at] = system_digest(template)
        asked: list[tuple[str, bytes]] = [("system", self._systems[at])]
        if documents:
            found = requests.documents_of(documents)
            asked.append(("documents", documents_digest(self._systems[at], found)))
        return [self._prefixes[one] for one in asked if one in self._prefixes]


class Warmth:
    """What the answers of one batch tell of the cache: ``heard`` are the prefixes that are there.

    ``said`` and ``at`` are those of the batch's ``Marks``.
    """

    def __init__(
        self, prefixes: Iterable[Prefix] = (), said: Json | None = None, at: datetime = _NEVER
    ) -> None:
        self.marks = Marks.again(prefixes, said, at)
        self.heard: set[int] = set()

    def hear(
        self, at: int, template: Mapping[str, Any], documents: Stored, usage: Usage | None
    ) -> None:
        """Take in one answer; ``at`` is its template's id."""
        if self.marks and usage is not None and (usage.cached_tokens or usage.cache_write_tokens):
            self.heard |= self.marks.ids(at, template, documents)


def in_force(prefixes: Iterable[Prefix], cursor: int, at: datetime) -> list[Prefix]:
    """Return the prefixes that a job may be marked with now: cached, or their primer is to go."""
    return [
        one for one in prefixes if one.flies or one.primer_seq >= cursor or _is_warm_now(one, at)
    ]


def _is_warm_now(prefix: Prefix, at: datetime) -> bool:
    return prefix.warm_until is not None and at < prefix.warm_until


def _was_warm(prefix: Prefix, at: datetime) -> bool:
    return prefix.warmed_at is not None and prefix.warmed_at <= at


def until(
    prefixes: Sequence[Prefix], cursor: int, released: int, *, waits: bool, in_time: bool
) -> int:
    """Return up to which place a lane's range may be cut now.

    Primers that were not sent go first, and alone. ``waits``: one that was sent is in flight, and
    the others wait for it, unless the run is short of time.
    """
    if not in_time:
        return released
    ahead = [one.primer_seq for one in prefixes if cursor <= one.primer_seq < released]
    if ahead:
        return max(ahead) + 1
    return cursor if waits else released


def is_in_flight(prefix: Prefix, at: datetime, patience: timedelta) -> bool:
    """Say whether a primer is worth waiting for."""
    if prefix.warmed_at is not None or prefix.primed_at is None or not prefix.flies:
        return False
    return at - prefix.primed_at < patience
