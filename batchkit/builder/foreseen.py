"""What a canary adds to an estimate: its jobs, what they cost, and that the rest waits for them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from batchkit import canaries, pricing
from batchkit.builder import canary
from batchkit.builder.starting import Start
from batchkit.builder.trying import doubled
from batchkit.model import Price
from batchkit.store import JobRow


@dataclass(frozen=True, slots=True)
class Canary:
    """A canary before it goes. Amounts in nano-dollars, None where a price is unknown.

    ``lanes`` counts its jobs by lane where it goes by batch, and is empty where it is asked now;
    ``cost`` is what they are expected to cost, ``dearer`` how much of that is because they are
    asked now, ``most`` by how much that raises the sum of upper bounds.
    """

    jobs: int = 0
    lanes: Sequence[tuple[int, int]] = ()
    cost: int | None = 0
    dearer: int | None = 0
    most: int | None = 0


def foreseen(start: Start, groups: Iterable[Any]) -> Canary:
    """Return the canary that ``run`` would send, of the groups of an estimate."""
    wished, store, run_id = start.wishes.canary, start.draft.store, start.draft.run_id
    if wished is None or start.has_backlog(store.runs.get(run_id)):
        return Canary()
    is_now = wished == "realtime"
    most = canaries.JOBS if isinstance(wished, str) else wished
    chosen = canary.chosen(store, run_id, most, answered=is_now)
    rows = [row for lane_id, seqs in chosen.items() for row in store.jobs.pick(lane_id, seqs)]
    if is_now:
        found = store.answers.ended(run_id, keys=[row.key for row in rows])
        answered = {one.no for one in found}
        rows = [row for row in rows if row.no not in answered]
    if not rows:
        return Canary()
    lanes = [] if is_now else [(lane_id, len(seqs)) for lane_id, seqs in chosen.items()]
    return _priced(Canary(len(rows), lanes), rows, groups, is_now=is_now)


def _priced(
    found: Canary, rows: Sequence[JobRow], groups: Iterable[Any], *, is_now: bool
) -> Canary:
    """Add up what its jobs cost: each group's mean, by how large they are."""
    cost: list[float | None] = []
    dearer: list[float | None] = []
    most: list[float | None] = []
    for group in groups:
        place = (group.lane_id, group.template_id)
        mine = [row for row in rows if (row.lane_id, row.template_id) == place]
        if not mine:
            continue
        bounds = sum(row.bound or 0 for row in mine)
        part = bounds / group.bound if group.bound else len(mine) / group.jobs
        plain = _cost(group, group.price)
        if not is_now:
            cost.append(None if plain is None else plain * part)
            continue
        full = _full(group)
        now = _cost(group, full)
        known = plain is not None and now is not None
        cost.append(now * part if known and now is not None else None)
        dearer.append((now - plain) * part if now is not None and plain is not None else None)
        most.append(None if full is None else bounds * (_ratio(group.price, full) - 1))
    return replace(found, cost=_sum(cost), dearer=_sum(dearer), most=_sum(most))


def _cost(group: Any, price: Price | None) -> int | None:
    output = pricing.expected_output(group.most_output)
    found: int | None = replace(group, price=price).cost(output=output)
    return found


def _full(group: Any) -> Price | None:
    """Return the price of asking now, as it is reserved: twice a batch price that was given."""
    given: Price | None = group.price
    full: Price | None = group.full
    if given is None or (full is not None and given.source != "given"):
        return full
    return doubled(given)


def _ratio(batch: Price | None, full: Price) -> float:
    if batch is None:
        return 1.0
    pairs = ((full.input, batch.input), (full.output, batch.output))
    return max((now / then for now, then in pairs if then), default=1.0)


def _sum(amounts: Sequence[float | None]) -> int | None:
    known = [amount for amount in amounts if amount is not None]
    return None if len(known) < len(amounts) else round(sum(known))
