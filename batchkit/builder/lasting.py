"""How long a run will take: its batches, what their likes took, and how many go at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from batchkit import planning
from batchkit.builder.registry import Registry
from batchkit.durations import Durations, Took, learnt
from batchkit.errors import ConfigError
from batchkit.model import Account, Json
from batchkit.packing import FEW, Plan
from batchkit.planning import Load, Scarce
from batchkit.store import Store


@dataclass(frozen=True, slots=True)
class Stretch:
    """What goes out of one lane: so many batches of so many jobs."""

    lane_id: int
    provider: str
    batches: int
    jobs: int


NO_TIME: Json = {"hours_expected": 0.0, "hours_range": [0.0, 0.0]}


def told(
    store: Store,
    registry: Registry,
    fronts: Sequence[Sequence[Stretch]],
    then: Sequence[Stretch],
    parallel: int,
) -> Json:
    """Return ``hours_expected`` and ``hours_range``, within which 8 of 10 such nights end.

    Without earlier batches of a model it is what is commonly seen, and the range is wide. Each
    of the ``fronts`` goes out alone, one after the other, and before the rest.
    """
    if not any(one.batches for one in then):
        return dict(NO_TIME)
    known: dict[int, Durations] = {}
    for one in then:
        known[one.lane_id] = learnt(_history(store, registry, one))
    found = planning.expected([_load(registry, one, known) for one in then], parallel)
    low, middle, high = found.low, found.middle, found.high
    for first in filter(None, fronts):
        before = planning.expected([_load(registry, one, known) for one in first], len(first))
        low, middle, high = low + before.low, middle + before.middle, high + before.high
    low, middle, high = (round(seconds / 3_600, 2) for seconds in (low, middle, high))
    return {"hours_expected": middle, "hours_range": [low, high]}


def _load(registry: Registry, one: Stretch, known: Mapping[int, Durations]) -> Load:
    window = registry.provider(one.provider).traits.window.total_seconds()
    return Load(one.batches, one.jobs, known[one.lane_id], window=window)


def spread(stretches: Sequence[Stretch], batches: int) -> list[Stretch]:
    """Spread as many batches as the money makes over the lanes, as their jobs are."""
    jobs = [one.batches * one.jobs for one in stretches]
    total = max(1, sum(jobs))
    counts = [max(1, round(batches * own / total)) for own in jobs]
    return [
        replace(one, batches=count, jobs=max(1, own // count))
        for one, own, count in zip(stretches, jobs, counts, strict=True)
    ]


def queued(store: Store, registry: Registry, lane_id: int, plan: Plan, whole: Whole) -> Plan:
    """Return a lane's plan as a provider's learnt queue limit changes it."""
    lane = store.jobs.lane(lane_id)
    provider = registry.provider(lane.provider)
    account = account_of(registry, lane.provider)
    counts_tokens = provider.limits.queue == "tokens"
    name = f"queue_tokens:{lane.model}" if counts_tokens else "queue_requests"
    limit = None if account is None else store.accounts.learnt(account).get(name)
    total = whole.tokens if counts_tokens else whole.jobs
    if not limit or whole.jobs <= 0 or total <= int(limit):
        return plan
    mean = total / whole.jobs
    share = Scarce(int(limit), total, mean).share(whole.parallel)
    per_batch = min(plan.per_batch, max(FEW, round(share / mean)))
    batches = -(-whole.jobs // per_batch)
    at_once = max(1, min(whole.parallel, int(limit) // max(1, round(per_batch * mean))))
    return Plan(batches, -(-batches // at_once), per_batch)


@dataclass(frozen=True, slots=True)
class Whole:
    """All that is to be sent of a lane, and how many batches of the run go at once."""

    jobs: int
    tokens: int
    parallel: int


def account_of(registry: Registry, provider: str) -> Account | None:
    """Return whose key is at hand; None without one, which an estimate does not need."""
    try:
        return registry.provider(provider).account()
    except ConfigError:
        return None


def _history(store: Store, registry: Registry, one: Stretch) -> list[Took]:
    account = account_of(registry, one.provider)
    took = store.histories.took(one.provider, None if account is None else account.base_url)
    return took.get(store.jobs.lane(one.lane_id).model, [])
