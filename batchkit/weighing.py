"""The most a request can cost, before it is sent: its tokens and its money. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Literal

from batchkit import pricing, tokens
from batchkit.model import Json, Price, Request

Dialect = Literal["openai", "anthropic"]


@dataclass(frozen=True, slots=True)
class Weight:
    """Upper bounds: ``tokens`` of input, ``bound`` in nano-dollars (None: no known price)."""

    tokens: int
    bound: int | None


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
