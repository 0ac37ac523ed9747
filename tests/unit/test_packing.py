"""Packing: every job once, in order, no limit exceeded, no batch smaller than it must be."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.model import Limits
from batchkit.packing import (
    ENVELOPE,
    PER_LINE,
    Cut,
    Filling,
    Share,
    Sums,
    cut,
    cuts,
    plan,
    waves,
)

WIDE = Limits(requests=1_000, bytes=10_000_000, request_bytes=1_000_000, models="any")

limits = st.builds(
    Limits,
    requests=st.integers(1, 12),
    bytes=st.integers(ENVELOPE + 1, ENVELOPE + 600),
    request_bytes=st.integers(1, 200),
    models=st.just("one"),
    queue=st.sampled_from([None, "tokens", "requests"]),
)
jobs = st.lists(
    st.tuples(st.integers(1, 150), st.integers(0, 50) | st.none(), st.integers(0, 40)), max_size=25
)
maybe = st.none() | st.integers(0, 300)


def fits(some, bound, *, items, budget, queue_room, memory):
    """Restate the limits for a batch of exactly these jobs."""
    upload = ENVELOPE + sum(size + PER_LINE for size, _, _ in some)
    queued = sum(t for *_, t in some) if bound.queue == "tokens" else len(some)
    return (
        len(some) <= min(bound.requests, items or bound.requests)
        and upload <= min(bound.bytes, bound.bytes if memory is None or len(some) < 2 else memory)
        and all(size <= bound.request_bytes for size, _, _ in some)
        and (budget is None or all(b is not None for _, b, _ in some))
        and (budget is None or sum(b or 0 for _, b, _ in some) <= budget)
        and (bound.queue is None or queue_room is None or queued <= queue_room)
    )


@given(jobs, limits, st.none() | st.integers(1, 15), maybe, maybe, maybe)
def test_a_cut_holds_every_limit_and_one_more_job_would_not(
    some, bound, items, budget, queue_room, memory
):
    """The count is the largest that fits."""
    sizes, bounds, tokens = [list(c) for c in zip(*some, strict=True)] if some else ([], [], [])
    made = cut(
        sizes,
        bounds,
        bound,
        items_per_batch=items,
        budget=budget,
        queue_room=queue_room,
        tokens=tokens,
        memory=memory,
    )
    rules = {"items": items, "budget": budget, "queue_room": queue_room, "memory": memory}
    assert made.count == 0 or fits(some[: made.count], bound, **rules)
    if made.count < len(some):
        assert not fits(some[: made.count + 1], bound, **rules)
        assert made.reason != "end"
    else:
        assert made.reason == "end"
    assert made.bound == sum(b or 0 for b in bounds[: made.count])
    assert made.tokens == sum(tokens[: made.count])


@given(jobs, jobs, limits, st.none() | st.integers(1, 30), maybe, maybe, maybe)
def test_many_are_taken_at_once_where_each_would_be(
    before, some, bound, items, budget, queue_room, memory
):
    rules = {"items_per_batch": items, "budget": budget, "queue_room": queue_room, "memory": memory}
    one, all_ = Filling(bound, **rules), Filling(bound, **rules)
    for job in before:
        assert one.offer(*job) == all_.offer(*job)
    sums = Sums(
        jobs=len(some),
        bytes=sum(size for size, _, _ in some),
        longest=max((size for size, _, _ in some), default=0),
        bound=sum(money or 0 for _, money, _ in some),
        unpriced=sum(money is None for _, money, _ in some),
        tokens=sum(tokens for *_, tokens in some),
    )
    stopped = [one.offer(*job) for job in some]
    fit = not any(stopped)
    assert all_.offer_all(sums) is (fit and bool(some))
    if fit:
        shown = [(it.count, it.bytes, it.bound, it.tokens, it.places) for it in (one, all_)]
        assert shown[0] == shown[1]


def test_what_has_a_share_of_a_queue_is_taken_one_by_one():
    filling = Filling(WIDE, share=100)
    assert not filling.offer_all(Sums(jobs=2, bytes=20, longest=10, bound=2, unpriced=0, tokens=2))
    assert filling.count == 0


@given(st.lists(st.integers(1, 150), max_size=60), limits)
def test_a_lane_is_packed_whole_in_order_and_each_job_once(sizes, bound):
    """Counts add up to the lane; only jobs that fit no batch are left out."""
    seen, left_out = 0, 0
    for made in cuts(sizes, bound):
        if made.count == 0:
            size = sizes[seen]
            assert size > bound.request_bytes or ENVELOPE + size + PER_LINE > bound.bytes
            assert made.reason in ("request_bytes", "bytes")
            left_out += 1
            seen += 1
        seen += made.count
    assert seen == len(sizes)


@pytest.mark.parametrize(
    ("sizes", "options", "wanted"),
    [
        ([], {}, (0, "end")),
        ([10, 10], {}, (2, "end")),
        ([10] * 5, {"items_per_batch": 3}, (3, "items")),
        ([10] * 1_001, {}, (1_000, "requests")),
        ([1_000_001], {}, (0, "request_bytes")),
        ([10, 1_000_001], {}, (1, "request_bytes")),
        ([10, 10], {"memory": ENVELOPE + 11}, (1, "memory")),
        ([10, 10], {"budget": 0}, (0, "budget")),
        ([10, 10], {"budget": 7}, (1, "budget")),
        ([999_999] * 11, {}, (9, "bytes")),
    ],
    ids=str,
)
def test_the_reason_names_what_kept_the_next_job_out(sizes, options, wanted):
    """A caller tells `wait` from `never` by it."""
    made = cut(sizes, [5] * len(sizes), WIDE, **options)
    assert (made.count, made.reason) == wanted


def test_a_job_without_a_price_stops_a_cut_only_under_a_budget():
    """Unknown is not zero."""
    assert cut([10], [None], WIDE).count == 1
    assert cut([10], [None], WIDE, budget=10**12) == Cut(0, "price")


@pytest.mark.parametrize(("queue", "count"), [("requests", 3), ("tokens", 1), (None, 5)])
def test_the_queue_counts_what_the_provider_counts(queue, count):
    """Anthropic counts requests, OpenAI tokens, others nothing."""
    bound = replace(WIDE, queue=queue)
    room = {"requests": 3, "tokens": 199, None: 1}[queue]
    made = cut([10] * 5, [0] * 5, bound, queue_room=room, tokens=[100] * 5)
    assert made.count == count
    assert made.reason == ("queue" if queue else "end")


def test_a_queue_of_tokens_without_tokens_is_an_error_of_the_caller():
    """Nothing is packed on a guess."""
    with pytest.raises(ValueError, match="tokens"):
        cut([10], [0], replace(WIDE, queue="tokens"), queue_room=5)


def test_fewer_than_the_least_a_provider_takes_is_no_batch():
    """The jobs wait for more of their kind."""
    assert cut([10, 10], [0, 0], replace(WIDE, min_requests=3)) == Cut(0, "too_few")


@given(
    st.integers(1, 400),
    st.integers(1, 150),
    limits,
    st.none() | st.integers(1, 15),
    st.none() | st.integers(1, 9),
)
def test_a_plan_of_equal_jobs_has_as_many_batches_as_cutting_them(
    count, size, bound, items, parallel
):
    """The estimate is what will happen."""
    bound = replace(bound, queue=None, request_bytes=150, bytes=bound.bytes + 160)
    real = len(list(cuts([size] * count, bound, items_per_batch=items)))
    made = plan(count, count * size, bound, items_per_batch=items, max_parallel_batches=parallel)
    assert made.batches == real
    assert made.waves == -(-real // (parallel or real))


def test_a_queue_makes_waves():
    """What does not fit at one time goes out later, in batches no larger than the queue."""
    bound = replace(WIDE, queue="tokens")
    assert plan(100, 1_000, bound, tokens=1_000, queue_room=250).waves == 4
    assert plan(100, 1_000, bound, tokens=1_000, queue_room=250).batches == 4
    assert plan(0, 0, bound).batches == 0


@pytest.mark.parametrize(
    ("shares", "free", "parallel", "made"),
    [
        ([Share(10, 100, 10, 10)], 100, 10, (1, 1)),
        ([Share(10, 100, 10, 1)], 50, 10, (3, 3)),  # 5, then 45 // 10 = 4, then 1
        ([Share(10, 2, 10, 1)], 50, 2, (5, 3)),  # two batches of two a wave
        ([Share(10, 100, 10, 10)], 50, 10, (1, 1)),  # all is spent: the rest stays
        ([Share(2, 100, 60, 1), Share(3, 100, 10, 1)], 100, 10, (3, 2)),
        ([Share(5, 100, 10, 1)], 9, 10, (0, 0)),
        ([Share(5, 2, 0, 0)], 0, 10, (3, 1)),
    ],
)
def test_waves_reserve_bounds_and_get_back_what_was_not_spent(
    shares: list[Share], free: int, parallel: int, made: tuple[int, int]
):
    found = waves(shares, free, parallel)
    assert (found.batches, found.waves) == made
