"""Two deaths on one row convict it, and it alone."""

from __future__ import annotations

from typing import Any

from batchkit.suspects import Suspects


def _written(suspects: Suspects) -> Any:
    """What the next process reads."""
    return Suspects.after(suspects.to_json())


def test_without_a_note_nobody_is_suspected() -> None:
    fresh = Suspects.after(None)
    assert not fresh.is_suspected(1)
    assert not fresh.is_convicted(1)


def test_a_death_while_rows_are_judged_together_makes_each_a_suspect() -> None:
    after = _written(Suspects().judging([1, 2, 3]))
    assert [after.is_suspected(row) for row in (1, 2, 3, 4)] == [True, True, True, False]
    assert not any(after.is_convicted(row) for row in (1, 2, 3))


def test_the_one_that_then_dies_alone_has_died_twice() -> None:
    after = _written(_written(Suspects().judging([1, 2])).judging_alone(2))
    assert after.is_convicted(2)
    assert not after.is_convicted(1)


def test_the_next_one_has_to_die_twice_by_itself() -> None:
    after = _written(_written(Suspects().judging([1, 2])).judging_alone(1))
    after = _written(after.judging_alone(2))
    assert not after.is_convicted(2)
    after = _written(after.judging_alone(2))
    assert after.is_convicted(2)


def test_a_death_between_two_rows_convicts_nobody() -> None:
    after = _written(Suspects().judging([1, 2]))
    for _ in range(5):
        after = _written(after)
    assert not any(after.is_convicted(row) for row in (1, 2))
    assert after.is_suspected(1)


def test_rows_judged_together_again_and_again_convict_nobody() -> None:
    after = Suspects()
    for _ in range(5):
        after = _written(after.judging([1, 2]))
    assert not any(after.is_convicted(row) for row in (1, 2))
