"""How often a batch is asked for: seldom at first, more often when its likes had ended."""

from __future__ import annotations

import random
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.durations import Took, learnt
from batchkit.pace import LIKELY_POINTS, Pace

HOURS = 3_600.0

histories = st.lists(st.floats(1, 48 * HOURS), min_size=LIKELY_POINTS, max_size=LIKELY_POINTS).map(
    sorted
)


def looks(lasting: float, likely=(), pace=None) -> list[float]:
    """Return when a batch is asked for, in seconds since it was accepted, until it has ended."""
    pace, at = pace or Pace(), [0.0]
    while at[-1] < lasting:
        wait = pace.poll_after(timedelta(seconds=at[-1]), likely)
        at.append(at[-1] + wait.total_seconds())
    return at[1:]


@given(histories | st.just([]))
def test_a_batch_of_eight_hours_is_asked_for_at_most_60_times(likely):
    """Whatever the ones before it took."""
    assert len(looks(8 * HOURS, likely)) <= 60


@given(histories | st.just([]), st.floats(1, 24 * HOURS))
def test_an_end_is_noticed_within_15_minutes(likely, lasting):
    """And nobody is asked twice within 20 seconds."""
    at = looks(lasting, likely)
    assert at[-1] - lasting <= 15 * 60 + 1
    gaps = [b - a for a, b in zip([0.0, *at], at, strict=False)]
    assert min(gaps) >= 20 - 1e-6


@given(histories, st.floats(1, 24 * HOURS))
def test_where_ends_are_likely_one_is_noticed_within_a_third_of_its_age(likely, lasting):
    """From the earliest likely end on; before it, within a fourth of that."""
    end = looks(lasting, likely)[-1]
    late = end - lasting
    if lasting >= likely[0]:
        assert late <= max(20, lasting / 3) + 1
    else:
        assert late <= max(20, 2 * lasting, likely[0] / 4) + 1


def test_what_fails_early_is_noticed_early():
    """A refused file fails in its first minutes, however long its likes took."""
    likely = [5 * HOURS + 600 * n for n in range(LIKELY_POINTS)]
    assert looks(600, likely)[:4] == [20, 60, 180, 540]


@pytest.mark.parametrize("usual", [0.3, 1, 4], ids="{} h".format)
def test_with_a_history_half_the_calls_notice_as_soon(usual):
    """Batches like those before them: as large a part of their time is lost with half the calls."""
    chance = random.Random(1)
    lasting = [usual * HOURS * chance.lognormvariate(0, 0.35) for _ in range(60)]
    known = learnt([Took(seconds, 100, n) for n, seconds in enumerate(lasting)])
    shares = [(point + 0.5) / LIKELY_POINTS for point in range(LIKELY_POINTS)]
    likely = [known.quantile(share, 100) for share in shares]
    nights = [usual * HOURS * chance.lognormvariate(0, 0.35) for _ in range(200)]

    def told(points):
        calls = [looks(seconds, points) for seconds in nights]
        late = sum(at[-1] - seconds for at, seconds in zip(calls, nights, strict=True))
        return sum(map(len, calls)) / len(nights), late / sum(nights)

    (few, soon), (many, late) = told(likely), told([])
    assert few < 0.6 * many
    assert soon < 1.1 * late
    assert soon < 0.09


def test_a_rehearsal_asks_as_much_more_often_as_it_runs_faster():
    """At 60, an hour is a minute, and so is what its history says."""
    likely = [4 * HOURS + 300 * n for n in range(LIKELY_POINTS)]
    plain = looks(6 * HOURS, likely)
    fast = looks(6 * HOURS / 60, [point / 60 for point in likely], Pace(scale=60))
    assert [60 * at for at in fast] == pytest.approx(plain, rel=1e-3)
