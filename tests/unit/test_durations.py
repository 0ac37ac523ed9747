"""What is learnt from batches that ended, on distributions that nothing here was fitted on."""

from __future__ import annotations

import math
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.durations import COMMON_SECONDS, Took, learnt
from batchkit.planning import Load, expected

GROWTHS = (0.0, 0.3, 0.6)


def weibull(chance, middle):
    """Skewed to the left of a normal logarithm."""
    return middle * chance.weibullvariate(1.1, 1.8)


def gamma(chance, middle):
    """Waiting in a few queues, one after the other."""
    return middle * chance.gammavariate(2.5, 0.45)


def two_kinds(chance, middle):
    """Most go at once, the others wait for a free machine."""
    return middle * (
        chance.uniform(0.5, 0.9) if chance.random() < 0.7 else chance.uniform(1.5, 2.6)
    )


def flat(chance, middle):
    """Anything in between is as likely."""
    return middle * chance.uniform(0.3, 1.8)


SHAPES = [weibull, gamma, two_kinds, flat]


def one_of_200(seed):
    """Make a history, ask how long the next night takes, and let it happen."""
    chance = random.Random(seed)
    shape, growth = SHAPES[seed % 4], chance.choice(GROWTHS)
    usual = math.exp(chance.uniform(math.log(300), math.log(4 * 3_600)))
    busy = chance.uniform(0, 0.9)

    def night(number, batches, jobs):
        middle = usual * math.exp(chance.uniform(-busy, busy))
        middle *= (jobs / 1_000) ** growth
        return [Took(max(5.0, shape(chance, middle)), jobs, number) for _ in range(batches)]

    past = [
        took
        for number in range(chance.randint(3, 12))
        for took in night(number, chance.randint(1, 20), chance.choice([300, 1_000, 3_000]))
    ]
    batches, parallel, jobs = chance.randint(1, 60), chance.choice([4, 10]), 1_000
    told = expected([Load(batches, jobs, learnt(past))], parallel)
    slots = [0.0] * parallel
    for took in night(99, batches, jobs):
        at = slots.index(min(slots))
        slots[at] += took.seconds
    return told.low <= max(slots) <= told.high


def test_the_80_percent_range_holds_in_70_to_90_percent_of_200_nights():
    """Shapes it was not fitted on; nights that differ; sizes that matter more or less."""
    held = sum(one_of_200(seed) for seed in range(200))
    assert 140 <= held <= 180


def test_without_history_it_is_what_is_common_and_the_range_is_wide():
    """Ten minutes to six hours and a bit, around an hour."""
    known = learnt([])
    assert known.known == 0
    told = expected([Load(1, 100, known)], 1)
    assert told.low < 0.3 * COMMON_SECONDS
    assert 0.6 * COMMON_SECONDS < told.middle < 1.6 * COMMON_SECONDS
    assert told.high > 3 * COMMON_SECONDS
    with pytest.raises(ValueError, match="no batch"):
        known.quantile(0.5, 10)
    assert known.rank(100, 10) == 0


def test_history_outweighs_what_is_common():
    """After a dozen nights of ten minutes nobody expects an hour."""
    past = [Took(600 * (1 + n % 3 / 10), 100, n) for n in range(12)]
    told = expected([Load(1, 100, learnt(past))], 1)
    assert 300 < told.middle < 1_200
    assert told.high < 3_000


def test_one_night_says_less_than_many():
    """Twenty batches of one night may all have met the same rush."""
    one = [Took(600, 100, 1) for _ in range(20)]
    many = [Took(600, 100, n) for n in range(20)]
    wide, narrow = (expected([Load(1, 100, learnt(past))], 1) for past in (one, many))
    assert wide.high / wide.low > narrow.high / narrow.low


def test_larger_batches_take_longer_if_they_did():
    """In proportion at most; never less."""
    past = [Took(jobs * 2.0, jobs, n) for n, jobs in enumerate([100, 300, 1_000, 3_000] * 5)]
    known = learnt(past)
    assert 0.85 < known.growth <= 1
    assert known.quantile(0.5, 2_000) == pytest.approx(2_000 * 2, rel=0.3)
    backwards = [Took(1e6 / jobs, jobs, n) for n, jobs in enumerate([100, 1_000] * 9)]
    assert learnt(backwards).growth == 0


histories = st.lists(
    st.builds(Took, st.floats(1, 10**5), st.integers(1, 10**5), st.integers(0, 5)),
    min_size=1,
    max_size=40,
)


@given(histories, st.integers(1, 10**5))
def test_quantiles_rise_and_rank_is_their_inverse(past, jobs):
    """Whatever was seen."""
    known = learnt(past)
    shares = [0.0, 0.05, 0.25, 0.5, 0.75, 0.95, 1.0]
    told = [known.quantile(share, jobs) for share in shares]
    assert told == sorted(told)
    assert known.rank(told[-1] * 1.001 + 1, jobs) == 1
    assert known.rank(0, jobs) <= known.rank(told[3], jobs)


@given(histories)
def test_the_same_history_gives_the_same_answer(past):
    """Nothing is drawn that a restart would draw differently."""
    first, second = (expected([Load(5, 100, learnt(past))], 2) for _ in range(2))
    assert first == second
    assert 0 <= first.low <= first.middle <= first.high
