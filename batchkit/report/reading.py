"""A report, read from a run's rows: sums by the database, and a few examples."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import date, datetime
from typing import Any

from batchkit import pricing
from batchkit.errors import BatchkitError
from batchkit.model import LIVE_STATES, Json, Usage
from batchkit.money import dollars, optional_dollars
from batchkit.report.advice import advice
from batchkit.report.estimates import estimate
from batchkit.report.values import Bar, Money, Reason, Report, Used
from batchkit.store import BatchRow, RunRow, Store

_EXAMPLES = 3
_TOKENS = (
    "input_tokens",
    "output_tokens",
    "cached_tokens",
    "cache_write_tokens",
    "reasoning_tokens",
)


def read(
    store: Store,
    run: RunRow,
    status: Mapping[str, Any],
    *,
    now: datetime,
    warnings: Iterable[str] = (),
    command: Callable[[str], str],
) -> Report:
    """Return the report of a run.

    ``status`` is what ``BatchRun.status`` said, ``command`` makes what to type of a command's name.
    """
    used = tuple(_used(store, run.id, now.date()))
    expected, most = estimate(store, run.id)
    return Report(
        id=run.uid,
        name=run.name,
        project=run.project,
        database=store.shown,
        state=status["state"],
        at=now,
        opened_at=run.opened_at,
        finished_at=run.finished_at,
        elapsed_s=status["elapsed_s"],
        **{name: status[name] for name in _COUNTS},
        money=Money(
            spent=status["cost_usd"],
            reserved=status["reserved_usd"],
            limit=status["cost_limit_usd"],
            estimated=optional_dollars(expected),
            at_most=optional_dollars(most),
            full_price=_full(used),
            unknown_jobs=status["cost_unknown_jobs"],
        ),
        reused=store.reports.reused(run.id),
        reasons=tuple(_reasons(store, run)),
        used=used,
        retries=store.reports.again(run.id),
        batches=tuple(_bars(store, run.id)),
        waiting_for=status["waiting_for"],
        waiting_detail=run.waiting_detail,
        warnings=tuple(warnings),
        next=tuple(advice(status, command)),
    )


_COUNTS = ("total", "completed", "failed", "cancelled", "active", "pending")


def _reasons(store: Store, run: RunRow) -> Iterable[Reason]:
    if run.split:
        yield from _of_documents(store, run.id)
        return
    for state, code, count in store.reports.reasons(run.id):
        examples = store.reports.examples(run.id, state, code, _EXAMPLES)
        yield Reason(code or "unknown", state, count, tuple(examples))


def _of_documents(store: Store, run_id: int) -> Iterable[Reason]:
    """Give the reasons of a run in which documents are split, the most frequent first."""
    found: dict[tuple[str, str | None], list[tuple[str, str]]] = {}
    for one in store.parts.unanswered(run_id):
        found.setdefault((one.state, one.code), []).append((one.key, one.error or ""))
    for (state, code), lost in sorted(found.items(), key=lambda pair: -len(pair[1])):
        yield Reason(code or "unknown", state, len(lost), tuple(lost[:_EXAMPLES]))


def _used(store: Store, run_id: int, day: date) -> Iterable[Used]:
    rows = store.reports.usage(run_id)
    prices = {(row["provider"], row["model"]): _price(row, day) for row in rows}
    limits = {one.long_context_above for one in prices.values() if one is not None}
    long = {
        (above, row["provider"], row["model"]): row
        for above in limits
        if above is not None
        for row in store.reports.usage(run_id, above)
    }
    for row in rows:
        price = prices[row["provider"], row["model"]]
        above = None if price is None else price.long_context_above
        beyond = long.get((above, row["provider"], row["model"]))
        yield Used(
            provider=row["provider"],
            model=row["model"] or "unknown",
            attempts=row["attempts"],
            **{name: int(row[name]) for name in _TOKENS},
            cost=dollars(int(row["cost"])),
            full_price=optional_dollars(_full_price(row, beyond, price)),
        )


def _price(row: Any, day: date) -> Any:
    try:
        return pricing.full_price(row["provider"], row["model"] or "", now=day)
    except BatchkitError:
        return None


def _full_price(row: Any, beyond: Any, price: Any) -> int | None:
    """Return the full price in nano-dollars; long requests have prices of their own."""
    if price is None:
        return None
    short: Json = {name: int(row[name]) - int(beyond[name] if beyond else 0) for name in _TOKENS}
    total = pricing.tier_cost(_usage(short), price, long=False)
    if beyond is not None:
        total += pricing.tier_cost(_usage(beyond), price, long=True)
    return total


def _usage(row: Any) -> Usage:
    return Usage(
        input_tokens=int(row["input_tokens"]),
        output_tokens=int(row["output_tokens"]),
        cached_tokens=int(row["cached_tokens"]),
        cache_write_tokens=int(row["cache_write_tokens"]),
    )


def _full(used: Iterable[Used]) -> float | None:
    """Add up full prices; one that is unknown makes the sum unknown."""
    total = 0.0
    for one in used:
        if one.full_price is None:
            return None
        total += one.full_price
    return total


def _bars(store: Store, run_id: int) -> Iterable[Bar]:
    """Give each batch that a provider has seen, by its start."""
    providers = {lane.id: lane.provider for lane in store.jobs.lanes(run_id)}
    sent = [(batch, start) for batch in store.batches.of_run(run_id) if (start := _start(batch))]
    for batch, start in sorted(sent, key=lambda pair: (pair[1], pair[0].id)):
        live = batch.status in LIVE_STATES
        yield Bar(
            name=batch.ref or f"batch-{batch.id}",
            provider=providers.get(batch.lane_id or 0) or "",
            state=batch.end_reason or batch.state if not live else batch.state,
            jobs=batch.count,
            answered=batch.provider_completed if live else batch.completed,
            failed=batch.provider_failed if live else batch.failed + batch.cancelled,
            again=batch.again,
            retries=batch.kind == "members",
            cost=dollars(batch.reserved if live else batch.cost),
            start=start,
            end=batch.ended_at,
            collected=batch.collected_at,
        )


def _start(batch: BatchRow) -> datetime | None:
    if batch.kind == "local" or batch.state == "void":
        return None
    return batch.accepted_at or batch.intent_at
