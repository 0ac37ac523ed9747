"""What a run may cost and how it goes out, before anything is sent.

Sums over rows are exact. Tokens are counted on a sample: up to 50 jobs of each template, and the
figure is scaled by the bounds of all its jobs. An answer is expected to take a third of its
``max_tokens``; the range is from a tenth of it to all of it, the input a fifth less to a fourth
more. ``usd_max`` is the sum of upper bounds, which no bill exceeds. Under a cost limit the waves
are those of answers as expected: a wave reserves bounds, and what it did not need goes out again;
with ``reserve="observed"`` what is expected is reserved once enough are answered.
``overshoot_usd`` is how far above the limit the bounds of all that is not sent come then.
Where a shared prefix is primed, what is expected is less, and the bounds are those of cache writes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

from batchkit import packing, pricing, requests, sharing
from batchkit.builder import identity, lasting
from batchkit.builder.foreseen import Canary, foreseen
from batchkit.builder.lightening import spared
from batchkit.builder.priming import Priming, dearer
from batchkit.builder.sampling import expected_tokens, request_of
from batchkit.builder.starting import Start
from batchkit.model import Json, Price, Request
from batchkit.money import optional_dollars
from batchkit.providers import Provider
from batchkit.store import JobRow, RunRow, Store
from batchkit.weighing import LEAST_SEEN, MOST_SEEN, Rates, observed, weigh

_SAMPLE = 50


@dataclass(frozen=True, slots=True)
class Group:
    """The unsent jobs of one lane and template. Amounts in nano-dollars, None where unknown.

    ``bound`` is the sum of upper bounds, ``counted`` what it is once tokens are counted.
    """

    lane_id: int
    template_id: int
    provider: str
    jobs: int
    bytes: int
    tokens: int
    bound: int | None
    counted: int | None
    expected: int
    most_output: int
    price: Price | None
    full: Price | None

    def cost(self, *, input_share: float = 1.0, output: int, full: bool = False) -> int | None:
        """Return what the group costs with answers of ``output`` tokens."""
        price = self.full if full else self.price
        if price is None:
            return None
        mean = round(self.expected * input_share / self.jobs)
        return self.jobs * pricing.expected(mean, output, price)


@dataclass(frozen=True, slots=True)
class _Way:
    """In how many batches and waves it all goes out, and what each lane makes."""

    batches: int
    waves: int
    stretches: Sequence[lasting.Stretch]

    @property
    def at_once(self) -> int:
        """How many batches are in flight in a wave."""
        return -(-self.batches // max(1, self.waves))


def estimated(start: Start, day: date) -> Json:
    """Return the estimate of what is not sent yet, as ``Batch.estimate`` says it."""
    if not start.draft.added:
        nothing = _told(0, 0, (0, 0), [], None, Priming())
        return {
            **nothing,
            "reserve": start.wishes.reserve or "bound",
            "overshoot_usd": 0.0,
            **_with_canary(nothing, Canary()),
            **lasting.NO_TIME,
            "canary_hours": 0.0,
        }
    start.draft.flush()
    start.reuse()
    store, run_id = start.draft.store, start.draft.run_id
    run = store.runs.get(run_id)
    found = identity.survey(store, run, start.draft)
    priming = start.priming(run)
    groups = dearer(list(_groups(start, day, found)), priming)
    limit = start.wishes.cost_limit or run.cost_limit
    left = None if limit is None else limit - run.spent - run.reserved
    way = _way(start, run, groups, left)
    ahead = foreseen(start, groups)
    first = priming.lanes
    fronts = first + len(ahead.lanes), bool(first) + bool(ahead.lanes)
    batches = (way.batches + fronts[0], way.waves + fronts[1])
    said = _told(start.draft.added, found.counts["new"], batches, groups, left, priming)
    primers = [replace(one, batches=1, jobs=1) for one in way.stretches] if first else []
    lanes = dict(ahead.lanes)
    tried = [
        replace(one, batches=1, jobs=lanes[one.lane_id])
        for one in way.stretches
        if one.lane_id in lanes
    ]
    time = lasting.told(store, start.registry, [tried, primers], way.stretches, way.at_once)
    alone = lasting.told(store, start.registry, [], tried, len(tried))
    hours = {"canary_hours": alone["hours_expected"]}
    over = _overshoot(start, run, groups, left)
    return {**said, **over, **_with_canary(said, ahead), **time, **hours}


def _overshoot(start: Start, run: RunRow, groups: Sequence[Group], left: int | None) -> Json:
    """Say what is reserved, and how far above the limit everything at its bound would come."""
    reserve, store = start.reserve(run), start.draft.store
    over: int | None = store.reservations.overshoot(run.id)
    if reserve == "observed" and left is not None:
        most, uncovered = _added(g.bound for g in groups), store.reservations.uncovered(run.id)
        over = None if most is None else max(0, most + uncovered - left)
    return {"reserve": reserve, "overshoot_usd": optional_dollars(over)}


def _with_canary(said: Json, ahead: Canary) -> Json:
    """Return the amounts with what a canary that is asked now costs more, and its own."""
    dearer, most = optional_dollars(ahead.dearer), optional_dollars(ahead.most)

    def raised(amount: float | None, more: float | None) -> float | None:
        return None if amount is None or more is None else amount + more

    spread = said["usd_range"]
    return {
        "usd_expected": raised(said["usd_expected"], dearer),
        "usd_range": None if spread is None else [raised(one, dearer) for one in spread],
        "usd_max": raised(said["usd_max"], most),
        "canary_jobs": ahead.jobs,
        "canary_usd": optional_dollars(ahead.cost),
    }


def _told(
    jobs: int,
    new: int,
    batches: tuple[int, int],
    groups: Sequence[Group],
    left: int | None,
    priming: Priming,
) -> Json:
    tenth, third = [-(-one.most_output // 10) for one in groups], pricing.expected_output
    low = _added(g.cost(input_share=0.8, output=o) for g, o in zip(groups, tenth, strict=True))
    high = _added(g.cost(input_share=1.25, output=g.most_output) for g in groups)
    most = _added(g.bound for g in groups)
    if high is not None and most is not None:
        high = min(high, most)
    expected = _added(g.cost(output=third(g.most_output)) for g in groups)
    saved = priming.choice.saved
    full = _added(g.cost(output=third(g.most_output), full=True) for g in groups)
    return {
        "jobs": jobs,
        "new_jobs": new,
        "batches": batches[0],
        "waves": batches[1],
        "input_tokens": sum(group.expected for group in groups),
        "usd_expected": optional_dollars(_less(expected, saved)),
        "usd_range": None
        if low is None
        else [optional_dollars(_less(low, saved)), optional_dollars(high)],
        "usd_max": optional_dollars(most),
        "usd_realtime": optional_dollars(full),
        "not_within_limit": _beyond(groups, left),
        "primers": len(priming.choice.prefixes),
        "caching_saves_usd": optional_dollars(saved),
    }


def _less(amount: int | None, saved: int) -> int | None:
    return None if amount is None else max(0, amount - saved)


def _added(amounts: Iterator[int | None]) -> int | None:
    """Add up; one that is unknown makes the sum unknown."""
    total = 0
    for amount in amounts:
        if amount is None:
            return None
        total += amount
    return total


def _beyond(groups: Sequence[Group], left: int | None) -> int:
    """Return how many jobs cannot all be reserved at once under what is left of the limit."""
    if left is None:
        return 0
    beyond = 0
    for group in groups:
        if group.counted is None:
            beyond += group.jobs
            continue
        mean = -(-group.counted // group.jobs)
        fitting = group.jobs if group.counted <= left else max(0, left) // max(1, mean)
        beyond += group.jobs - fitting
        left -= min(group.counted, fitting * mean)
    return beyond


def _way(start: Start, run: RunRow, groups: Sequence[Group], left: int | None) -> _Way:
    """Say in which batches it goes out: all lanes share the run's batches in flight and limit."""
    by_lane: dict[int, list[Group]] = {}
    for group in groups:
        by_lane.setdefault(group.lane_id, []).append(group)
    parallel = start.wishes.max_parallel_batches
    most = 0
    stretches: list[lasting.Stretch] = []
    shares: list[packing.Share | None] = []
    light = _lightened(start, groups)
    for lane_id, lane in by_lane.items():
        made = _lane_plan(start, lane_id, lane, parallel, light[lane[0].provider])
        most = max(most, made.waves)
        stretches.append(lasting.Stretch(lane_id, lane[0].provider, made.batches, made.per_batch))
        rates = _rates(start, run, lane_id)
        shares += [_share(group, made.per_batch, rates) for group in lane]
    count = sum(one.batches for one in stretches)
    priced = [share for share in shares if share is not None]
    if left is not None and sum(share.jobs * share.bound for share in priced) > left:
        made = packing.waves(priced, left, parallel)
        return _Way(made.batches, made.waves, lasting.spread(stretches, made.batches))
    return _Way(count, max(most, -(-count // parallel)), stretches)


def _lightened(start: Start, groups: Sequence[Group]) -> dict[str, float]:
    """Return which share of its jobs' bytes goes up to each provider, for all of its lanes."""
    found: dict[str, float] = {}
    for name in {group.provider for group in groups}:
        mine = [group for group in groups if group.provider == name]
        size, jobs = sum(group.bytes for group in mine), sum(group.jobs for group in mine)
        found[name] = 1.0
        if size >= jobs * sharing.LEAST_SIZE:  # prompts alone: not worth a look at every row
            provider, run_id = start.registry.provider(name), start.draft.run_id
            less = spared(start.draft.store, provider, run_id, start.wishes)
            found[name] = max(0.0, 1 - less / size)
    return found


def _lane_plan(
    start: Start, lane_id: int, lane: Sequence[Group], parallel: int, light: float
) -> packing.Plan:
    jobs = sum(group.jobs for group in lane)
    made = packing.plan(
        jobs,
        round(sum(group.bytes for group in lane) * light),
        start.registry.provider(lane[0].provider).limits,
        items_per_batch=start.wishes.items_per_batch,
        max_parallel_batches=parallel,
    )
    whole = lasting.Whole(jobs, sum(group.tokens for group in lane), parallel)
    return lasting.queued(start.draft.store, start.registry, lane_id, made, whole)


def _rates(start: Start, run: RunRow, lane_id: int) -> Rates | None:
    """Return what a lane's jobs used so far; None where bounds are reserved all the same."""
    if start.reserve(run) != "observed":
        return None
    return observed(start.draft.store.reservations.used(run.id, lane_id, MOST_SEEN))


def _share(group: Group, per_batch: int, rates: Rates | None) -> packing.Share | None:
    cost = group.cost(output=pricing.expected_output(group.most_output))
    if group.counted is None or group.bound is None or cost is None:
        return None
    bound = -(-group.counted // group.jobs)
    share = packing.Share(group.jobs, per_batch, bound, -(-cost // group.jobs))
    if rates is None:
        return share
    if (rate := rates.get(group.template_id)) is None:
        return replace(share, seen=LEAST_SEEN)
    return replace(share, bound=min(bound, rate.of(-(-group.bound // group.jobs))))


def _groups(start: Start, day: date, found: identity.Survey) -> Iterator[Group]:
    store = start.draft.store
    leftovers = _leftovers(store, found)
    for row in store.surveys.draft_sums(start.draft.run_id):
        if not row.provider:
            continue
        left = leftovers.get((row.lane_id, row.template_id), [])
        if row.jobs > len(left):
            yield _group(start, day, row, left)


def _leftovers(store: Store, found: identity.Survey) -> dict[tuple[int, int], list[JobRow]]:
    """Return what lies in the draft and was not added this time."""
    sorted_out: dict[tuple[int, int], list[JobRow]] = {}
    for lane_id, seq in found.stale:
        for row in store.jobs.pick(lane_id, [seq]):
            sorted_out.setdefault((lane_id, row.template_id), []).append(row)
    return sorted_out


def _group(start: Start, day: date, row: Any, leftovers: Sequence[JobRow]) -> Group:
    store = start.draft.store
    template = requests.prepared(store.jobs.template(row.template_id))
    provider = start.registry.provider(row.provider)
    jobs = int(row.jobs) - len(leftovers)
    bound_tokens = int(row.tokens) - sum(one.tokens for one in leftovers)
    sample = store.surveys.sample(row.lane_id, row.template_id, _SAMPLE)
    asked = [request_of(template, job) for job in sample]
    dialect = provider.traits.dialect
    expected = sum(expected_tokens(one, dialect) for one in asked)
    seen = sum(one.tokens for one in sample) or 1
    bound = None if row.unpriced else int(row.bound) - sum(one.bound or 0 for one in leftovers)
    counted = None if bound is None else _counted(asked, template, provider)
    if bound is not None and counted is not None:
        if len(sample) == jobs:
            bound = counted = min(bound, counted)
        else:
            cheap = sum(one.bound or 0 for one in sample)
            counted = min(bound, -(-bound * counted // max(1, cheap)))
    return Group(
        lane_id=row.lane_id,
        template_id=row.template_id,
        provider=row.provider,
        jobs=jobs,
        bytes=int(row.bytes) - sum(one.bytes for one in leftovers),
        tokens=bound_tokens,
        bound=bound,
        counted=counted,
        expected=round(expected * bound_tokens / seen),
        most_output=int(template["max_tokens"]),
        price=requests.price_of(template),
        full=pricing.full_price(row.provider, template["model"], now=day),
    )


def _counted(asked: Sequence[Request], template: Json, provider: Provider) -> int:
    price = requests.price_of(template)
    return sum(
        weigh(
            one,
            price,
            provider=provider.name,
            dialect=provider.traits.dialect,
            counted=True,
        ).bound
        or 0
        for one in asked
    )
