"""Which jobs a canary has, and what its answers must be like: laws."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.canaries import Tally, faults, follows, spread, tallied, verdict


@given(
    counts=st.dictionaries(st.sampled_from("abcdefgh"), st.integers(0, 5_000)),
    most=st.integers(1, 60),
)
def test_a_canary_is_as_large_as_asked_and_reaches_across_models_and_sizes(
    counts: dict[str, int], most: int
) -> None:
    chosen = spread(counts, most)
    there = {name: count for name, count in counts.items() if count}
    sizes = {name: len(places) for name, places in chosen.items()}
    assert sum(sizes.values()) == min(most, sum(there.values()))
    assert len(sizes) == min(most, len(there))
    for name, places in chosen.items():
        assert len(set(places)) == len(places)
        assert all(0 <= place < counts[name] for place in places)
        if len(places) > 1:
            assert (places[0], places[-1]) == (0, counts[name] - 1)


TALLIES = st.integers(0, 200).flatmap(
    lambda n: st.builds(
        Tally,
        jobs=st.just(n),
        answered=st.just(n),
        fit=st.integers(0, n),
        truncated=st.integers(0, n),
        cost=st.integers(0, 100),
        bound=st.integers(0, 100),
    )
)


@given(TALLIES)
def test_it_passes_at_nine_tenths_fit_a_twentieth_cut_off_and_within_its_reservation(
    tally: Tally,
) -> None:
    n = tally.answered
    good = 10 * tally.fit >= 9 * n and 20 * tally.truncated <= n and tally.cost <= tally.bound
    assert (verdict(tally)[0] == "passed") is good
    assert bool(faults(tally)) is not good


def answer(place: int, **given: Any) -> dict[str, Any]:
    said = {"key": f"k{place}", "code": None, "error": None, "completed": True, "final": True}
    return {"place": place, **said, "judged": True, "cost": 1, "bound": 2, **given}


def test_a_job_is_judged_by_its_first_answer_that_tells_of_the_prompt() -> None:
    """Overload says nothing, until it is the end; a repaired answer does not mend the first."""
    bad = {"completed": False, "final": False}
    tally = tallied(
        4,
        [
            answer(1, code="overloaded", **bad),
            answer(1),
            answer(2, code="truncated", error="cut off", **bad),
            answer(2),
            answer(3, code="server_error", completed=False),
        ],
    )
    assert (tally.answered, tally.fit, tally.truncated, tally.is_over) == (3, 1, 1, False)
    assert (tally.cost, tally.bound) == (3, 6)
    assert tally.examples == ("k2: cut off", "k3: server_error")


def test_what_a_person_cancelled_is_not_waited_for() -> None:
    ended = answer(1, code="cancelled", completed=False, judged=False)
    assert tallied(2, [ended, answer(2)]).is_over
    assert verdict(tallied(1, [ended])) == ("passed", [])


@pytest.mark.parametrize(("late", "until"), [(False, 20), (True, 30)])
def test_a_tenth_follows_a_canary_that_takes_too_long(late: bool, until: int) -> None:
    assert follows(20, 120, late=late) == until
    assert follows(20, 21, late=True) == 21
