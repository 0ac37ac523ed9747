"""Less than the bound is reserved: what it rests on, what it leaves open, how it ends."""

from __future__ import annotations

import pytest

from batchkit.model import BatchState
from batchkit.store import Opening, Store
from tests.store.scenes import (
    NOW,
    again,
    collected,
    draft,
    drive,
    dropped,
    jobs,
    lane_of,
    lease,
    opened,
    opening,
    outcome,
    seal,
    sealed,
    settle,
    sound,
    taken,
)

OBSERVED = {"reserve": "observed"}


def watched(store: Store, count: int = 10, limit: int | None = None) -> int:
    """A run that goes by what is observed; its jobs are bounded at 100 and cost 60."""
    run = draft(store, jobs(count))
    limits = {} if limit is None else {"cost_limit": limit}
    ready = Opening(spec=OBSERVED, released={lane_of(store, run).id: count}, limits=limits)
    return store.runs.open(run.id, ready, NOW).id


def told(store: Store, run_id: int, action: str) -> list[dict[str, object]]:
    return [row["detail"] for row in store.events.of_run(run_id) if row["action"] == action]


def test_the_newest_answers_are_read_with_cost_and_bound(store: Store) -> None:
    run = store.runs.get(watched(store))
    lane = lane_of(store, run)
    collected(store, sealed(store, run, 0, 4), cost=10)
    collected(store, sealed(store, run, 4, 6), cost=20)
    drive(store, sealed(store, run, 6, 8), BatchState.RUNNING)
    template = store.jobs.pick(lane.id, [0])[0].template_id

    def used(most: int) -> list[tuple[int, int, int]]:
        return sorted(store.reservations.used(run.id, lane.id, most), reverse=True)

    old, new = (template, 10, 100), (template, 20, 100)
    assert used(100) == used(6) == [new] * 2 + [old] * 4
    assert (used(3), used(2), used(1)) == ([new, new, old], [new, new], [new])
    assert store.reservations.used(run.id, lane.id + 1, 3) == []


def test_what_is_no_first_answer_at_a_known_cost_is_not_read(store: Store) -> None:
    """Tried out at full price, free, at its worst case, or asked a second time."""
    run = store.runs.get(watched(store))
    lane = lane_of(store, run)
    store.jobs.keep_test(run.id, lane.id, outcome(9, cost=200), NOW)
    batch = sealed(store, run, 0, 3)
    drive(store, batch, BatchState.ENDED)
    rows = [
        outcome(0, "failed", cost=0, cost_kind="free", ran=False),
        outcome(1, "failed", cost=100, cost_kind="bound"),
        outcome(2, "again", cost=30),
    ]
    store.answers.settle(store.batches.get(batch), rows)
    assert store.batches.collect(batch, lease(store, batch), NOW)
    [member] = store.batches.free_members(lane.id, NOW, 10)
    retry = taken(store.batches.seal(again(store, lane, [member], attempt_no=2), NOW))
    collected(store, retry, attempt_no=2, cost=70)

    assert [one[1:] for one in store.reservations.used(run.id, lane.id, 10)] == [(30, 100)]


def test_a_run_can_end_above_its_limit_by_what_live_batches_do_not_hold(store: Store) -> None:
    """As far as the limit has no room for it; what never ran, or is collected, adds nothing."""
    run = store.runs.get(watched(store, limit=700))
    first = sealed(store, run, 0, 4, reserved=100, uncovered=300)
    assert store.reservations.overshoot(run.id) == 0
    second = sealed(store, run, 4, 8, reserved=250, uncovered=150)
    sealed(store, run, 8, 10, reserved=200)
    assert store.reservations.uncovered(run.id) == 450
    assert store.reservations.overshoot(run.id) == 100 + 300 + 250 + 150 + 200 - 700
    assert dropped(store, second)
    assert store.reservations.uncovered(run.id) == 300
    collected(store, first, cost=100)
    assert (store.reservations.uncovered(run.id), store.reservations.overshoot(run.id)) == (0, 0)
    sound(store, run)


def test_what_is_uncovered_stands_in_the_event_of_the_sealing_and_only_then(store: Store) -> None:
    run = store.runs.get(watched(store))
    sealed(store, run, 0, 4, reserved=100, uncovered=300)
    sealed(store, run, 4, 5)

    assert told(store, run.id, "sealed") == [
        {"jobs": 4, "reserved_nano": 100, "uncovered_nano": 300},
        {"jobs": 1},
    ]


def test_a_batch_that_costs_more_than_it_held_brings_bounds_back(store: Store) -> None:
    """In the transaction that books it; nothing below its bound is sealed from then on."""
    run = store.runs.get(watched(store, limit=1_000))
    collected(store, sealed(store, run, 0, 4, reserved=240, uncovered=160))
    assert store.runs.get(run.id).reserve == "observed"
    batch = collected(store, sealed(store, run, 4, 6, reserved=119, uncovered=81))
    lane = lane_of(store, run)

    assert store.runs.get(run.id).reserve == "exceeded"
    assert told(store, run.id, "exceeded") == [{"cost_nano": 120, "reserved_nano": 119}]
    assert batch.reserved == 0
    assert store.batches.seal(seal(store, lane, 6, 8, reserved=100, uncovered=100), NOW) is None
    assert sound(store, run).reserved == 0
    sealed(store, run, 6, 8)
    assert sound(store, run).reserved == 200


def test_bounds_stay_until_a_person_says_otherwise(store: Store) -> None:
    """The same script again does not say otherwise; nor does what it read before."""
    run = store.runs.get(watched(store))
    collected(store, sealed(store, run, 0, 2, reserved=119, uncovered=81))
    released = {lane_of(store, run).id: 10}
    assert store.runs.open(run.id, Opening(OBSERVED, released), NOW).reserve == "exceeded"

    assert store.runs.wake(run.id, NOW, {"cost_limit": 900}).reserve == "exceeded"
    assert store.runs.wake(run.id, NOW, reserve="observed", reviewed=True).reserve == "observed"
    assert told(store, run.id, "limits") == [
        {"changed": {"cost_limit": "900"}},
        {"changed": {"reserve": "observed"}},
    ]
    sealed(store, run, 2, 4, reserved=100, uncovered=100)


@pytest.mark.parametrize("spec", [{}, {"reserve": "bound"}])
def test_where_bounds_are_reserved_nothing_else_is_sealed(
    store: Store, spec: dict[str, str]
) -> None:
    """And a bill above its bound changes nothing about that."""
    run = opened(store, 4)
    store.runs.open(run.id, Opening(spec, {lane_of(store, run).id: 4}), NOW)
    lane = lane_of(store, run)
    assert store.batches.seal(seal(store, lane, 0, 2, reserved=100, uncovered=100), NOW) is None
    assert lane_of(store, run) == lane
    batch = sealed(store, run, 0, 2)
    drive(store, batch, BatchState.ENDED)
    settle(store, batch, cost=150)
    assert store.batches.collect(batch, lease(store, batch), NOW)

    assert sound(store, run).reserve == "bound"
    assert told(store, run.id, "exceeded") == []
    assert told(store, run.id, "sealed") == [{"jobs": 2}]


def test_opening_keeps_the_settings_that_it_does_not_name(store: Store) -> None:
    run = draft(store, jobs(2))
    ready = opening(store, run.id)
    store.runs.note_split(run.id)
    row = store.runs.open(run.id, ready, NOW)

    assert row.spec == {"max_attempts": 3, "split": True}
