"""The most a request can cost, before it is sent: its tokens and its money; and what is reserved
where that was seen to be far above what jobs cost. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal, TypeAlias

from batchkit import pricing, tokens
from batchkit.model import Json, Price, Request

Dialect = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Weight:
    """Upper bounds: ``tokens`` of input, ``bound`` in nano-dollars (None: no known price).

    Of ``bound``, ``uncovered`` is not reserved.
    """

    tokens: int
    bound: int | None
    uncovered: int = 0

    @property
    def held(self) -> int | None:
        """What is reserved, in nano-dollars; None without a known price."""
        return None if self.bound is None else self.bound - self.uncovered


LEAST_SEEN = 100
"""Answers from which on their 99th percentile leaves one out: of fewer it is the dearest of all."""

MOST_SEEN = 2_000
"""Answers of a lane that are looked at, the newest: with twenty of them above the percentile."""


@dataclass(frozen=True, slots=True)
class Rate:
    """What a finished job cost of its upper bound, both in nano-dollars."""

    cost: int
    bound: int

    def of(self, bound: int) -> int:
        """Return what another bound comes to at this rate, rounded up."""
        return -(-bound * self.cost // self.bound)


Rates: TypeAlias = Mapping[int, Rate]
"""What jobs used of their bounds, by template; a template without one has its bounds reserved."""


def observed(used: Iterable[tuple[int, int, int]]) -> dict[int, Rate]:
    """Return the 99th percentile (nearest rank) of cost over bound, by template.

    ``used`` are (template, cost, bound) of finished jobs. Of a template with fewer than
    ``LEAST_SEEN`` of them nothing is known.
    """
    seen: dict[int, list[tuple[int, int]]] = {}
    for template_id, cost, bound in used:
        seen.setdefault(template_id, []).append((cost, bound))
    return {
        template_id: Rate(*_percentile(pairs))
        for template_id, pairs in seen.items()
        if len(pairs) >= LEAST_SEEN
    }


def _percentile(pairs: list[tuple[int, int]]) -> tuple[int, int]:
    """Return the pair that 99 of 100 are not above: with as few above it as may be."""
    above = len(pairs) - -(-99 * len(pairs) // 100)
    return heapq.nlargest(above + 1, pairs, key=lambda pair: pair[0] / pair[1])[-1]


def tightened(weight: Weight, rate: Rate | None, bound: int | None) -> Weight:
    """Return a weight of which no more is reserved than jobs like it used at that rate.

    ``bound`` is the job's as it was added, which is what the rate was taken from.
    """
    if rate is None or bound is None or weight.bound is None:
        return weight
    return replace(weight, uncovered=max(0, weight.bound - rate.of(bound)))


def weigh(
    request: Request,
    price: Price | None,
    *,
    provider: str,
    dialect: Dialect,
    counted: bool = False,
) -> Weight:
    """Bound a request from its bytes, or, ``counted``, from its tokens: tighter, and dearer to do.

    An attachment without bytes is bounded by its document's figures.
    """
    measured = pricing.measure(request)
    if counted:
        most = tokens.counted_tokens(
            measured.texts,
            measured.size,
            request.model,
            dialect,
            page_texts=measured.page_texts or None,
            json_texts=measured.json_texts or None,
        )
    else:
        most = tokens.bound_tokens(measured.size, request.model, dialect)
    return Weight(most, _bound(most, request, price, provider))


def weigh_attempt(
    request: Request,
    price: Price | None,
    known: Weight,
    changes: Json,
    *,
    provider: str,
    dialect: Dialect,
    counted: bool,
) -> Weight:
    """Bound one attempt: as ``known`` from when it was added, unless it changed or is counted.

    What is marked for a cache may be written to it, which is the dearest.
    """
    if not (counted or changes.get("max_tokens") or changes.get("note")):
        if not request.caching or known.bound is None:
            return known
        return Weight(known.tokens, _bound(known.tokens, request, price, provider))
    found = weigh(request, price, provider=provider, dialect=dialect, counted=counted)
    if changes or known.bound is None or found.bound is None:
        return found
    return found if request.caching or found.bound < known.bound else known


def _bound(most: int, request: Request, price: Price | None, provider: str) -> int | None:
    if price is None:
        return None
    body: Mapping[str, Any] = {
        "params": request.params,
        "messages": list(request.messages or ()),
        "extra": request.extra_body,
    }
    return pricing.upper_bound(
        most,
        request.max_tokens,
        price,
        n=pricing.choices(request.params),
        caching="1h" if request.caching else pricing.caching_of(provider, body),
    )
