"""What finished jobs used of their upper bounds, and what is reserved by it."""

from __future__ import annotations

from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from batchkit.weighing import LEAST_SEEN, Rate, Weight, observed, tightened

PAIRS = st.lists(
    st.tuples(st.integers(0, 10**12), st.integers(1, 10**12)), min_size=LEAST_SEEN, max_size=400
)


def used(pairs: list[tuple[int, int]], template: int = 1) -> list[tuple[int, int, int]]:
    return [(template, cost, bound) for cost, bound in pairs]


@given(PAIRS)
def test_no_more_than_one_in_a_hundred_used_more_than_is_reserved(
    pairs: list[tuple[int, int]],
) -> None:
    """Nearest rank: it is what one of them used, and with the next lower one more would be over."""
    rate = observed(used(pairs))[1]
    over = [1 for cost, bound in pairs if cost > rate.of(bound)]
    assert len(over) * 100 <= len(pairs)
    assert (rate.cost, rate.bound) in pairs
    exact = Fraction(rate.cost, rate.bound)
    below = sum(
        1 for cost, bound in pairs if Fraction(cost, bound) < exact * (1 - Fraction(1, 10**9))
    )
    assert below * 100 < len(pairs) * 99


def test_of_fewer_than_a_hundred_nothing_is_known() -> None:
    """And each template is known for itself."""
    few, many = used([(1, 8)] * 99), used([(1, 4)] * 100, template=2)
    assert observed(few + many) == {2: Rate(1, 4)}


def test_one_dear_job_of_a_hundred_is_left_out_and_two_are_not() -> None:
    assert observed(used([(8, 8)] + [(1, 8)] * 99))[1] == Rate(1, 8)
    assert observed(used([(8, 8)] * 2 + [(1, 8)] * 98))[1] == Rate(8, 8)


@given(
    bound=st.integers(0, 10**12),
    added=st.integers(0, 10**12),
    cost=st.integers(0, 10**12),
    of=st.integers(1, 10**12),
)
def test_what_is_reserved_is_rounded_up_and_never_above_the_bound(
    bound: int, added: int, cost: int, of: int
) -> None:
    weight = tightened(Weight(1, bound), Rate(cost, of), added)
    share = Fraction(added * cost, of)
    assert weight.bound == bound
    assert weight.held is not None
    assert weight.held == min(bound, share.__ceil__())


def test_without_a_rate_or_a_price_bounds_are_reserved() -> None:
    assert tightened(Weight(1, 80), None, 80) == Weight(1, 80)
    assert tightened(Weight(1, None), Rate(1, 8), None).held is None
