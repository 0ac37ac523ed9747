"""The nouns: frozen values that agree with the tables and the errors' tree."""

from __future__ import annotations

import dataclasses
import inspect
from enum import StrEnum

import pytest

from batchkit import errors, model, states
from batchkit.model import FINAL_JOB_STATES, LIVE_STATES, BatchState, JobState, Price, Usage

VALUES = [kind for kind in vars(model).values() if dataclasses.is_dataclass(kind)]
ENUMS = [
    kind
    for kind in vars(model).values()
    if inspect.isclass(kind) and issubclass(kind, StrEnum) and kind is not StrEnum
]


@pytest.mark.parametrize("kind", VALUES, ids=lambda kind: kind.__name__)
def test_a_noun_is_a_frozen_value_with_slots(kind: type) -> None:
    """Change is a new value; a misspelt field is an error."""
    assert kind.__dataclass_params__.frozen  # type: ignore[attr-defined]
    assert "__slots__" in vars(kind)
    assert inspect.getdoc(kind)


@pytest.mark.parametrize("kind", ENUMS, ids=lambda kind: kind.__name__)
def test_an_enums_value_is_its_name_in_lower_case(kind: type[StrEnum]) -> None:
    """What a database or a JSON holds is what a reader of the code looks for."""
    assert [member.value for member in kind] == [member.name.lower() for member in kind]


def test_live_and_final_states_are_states() -> None:
    """A batch is live until a move leads to where none starts; a job has ended or not."""
    assert [state for state in BatchState if states.is_live(state)] == list(LIVE_STATES)
    assert set(JobState) - set(FINAL_JOB_STATES) == {JobState.PENDING, JobState.ACTIVE}


def test_values_compare_by_what_they_hold() -> None:
    """Two equal usages are equal; nothing is shared between two."""
    assert Usage(1, 2) == Usage(1, 2)
    assert dataclasses.replace(Price(1, 2), cached=3) == Price(1, 2, cached=3)
    with pytest.raises(dataclasses.FrozenInstanceError):
        Usage().input_tokens = 3  # type: ignore[misc]


def test_the_tree_of_errors_is_the_one_that_is_drawn() -> None:
    """Every error stands in the picture below the one that it is a kind of."""
    depths: list[tuple[int, str]] = []
    for line in (errors.__doc__ or "").splitlines():
        word = line.lstrip(" │├└─")
        if word[:1].isupper() and (line.startswith("    ")):
            depths.append(((len(line) - len(word)) // 4, word.split()[0]))
    drawn: dict[str, str | None] = {}
    above: dict[int, str] = {}
    for depth, name in depths:
        above[depth] = name
        drawn[name] = above.get(depth - 1)
    there = {
        name: kind.__mro__[1].__name__
        for name, kind in vars(errors).items()
        if inspect.isclass(kind) and issubclass(kind, errors.BatchkitError)
    }
    there["BatchkitError"] = "None"
    assert {name: str(parent) for name, parent in drawn.items()} == there
