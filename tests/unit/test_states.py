"""The law: what moves there are, and that the picture of it is true."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit import states
from batchkit.errors import IllegalMove
from batchkit.model import LIVE_STATES, BatchState
from batchkit.store import tables
from batchkit.store.runs import LIVE

ROOT = Path(__file__).resolve().parents[2]
FINAL = {BatchState.COLLECTED, BatchState.VOID, BatchState.ABANDONED}


def test_the_chart_in_the_docs_is_drawn_from_the_law() -> None:
    """Mend it with: python -c "from batchkit import states; print(states.chart(), end='')" """
    written = (ROOT / "docs" / "state_machine.md").read_text("utf-8")
    assert written == states.chart()


def test_every_move_is_in_the_list_once_and_drawn() -> None:
    """A move that is no constant, or no row of the chart, is no law."""
    constants = [value for value in vars(states).values() if isinstance(value, states.Move)]
    assert constants == list(states.MOVES)
    assert len({move.name for move in states.MOVES}) == len(states.MOVES)
    for move in states.MOVES:
        assert f"| `{move.name}` |" in states.chart()
        for source in move.sources:
            assert f"    {source} --> {move.target}: {move.name}\n" in states.chart()


@pytest.mark.parametrize("state", list(BatchState))
@pytest.mark.parametrize("move", states.MOVES, ids=lambda move: move.name)
def test_a_move_leads_to_its_target_or_is_illegal(state: BatchState, move: states.Move) -> None:
    """From anywhere but its sources a move is a bug and says so."""
    if state in move.sources:
        assert states.after(state, move) == move.target
    else:
        with pytest.raises(IllegalMove, match=f"{move.name} does not start at {state}"):
            states.after(state, move)


def test_every_state_is_reached_and_only_final_ones_are_not_left() -> None:
    """From sealed one comes everywhere; a final state holds neither jobs nor money."""
    reached = {BatchState.SEALED}
    while more := {m.target for m in states.MOVES if set(m.sources) & reached} - reached:
        reached |= more
    assert reached == set(BatchState)
    left = {source for move in states.MOVES for source in move.sources}
    assert set(BatchState) - left == FINAL
    assert {state for state in BatchState if not states.is_live(state)} == FINAL


def test_every_live_state_has_a_way_out_to_money_booked_or_given_back() -> None:
    """No batch can be stuck with its reservation."""
    for state in LIVE_STATES:
        reached = {state}
        while more := {m.target for m in states.MOVES if set(m.sources) & reached} - reached:
            reached |= more
        assert reached & FINAL


def test_every_state_has_an_owner_who_makes_its_moves() -> None:
    """Whoever moves a state on is named beside it; final ones say that they are."""
    assert list(states.OWNERS) == list(BatchState)
    for state, sentence in states.OWNERS.items():
        movers = {move.who for move in states.MOVES if state in move.sources}
        assert movers or sentence.endswith("final")
        if len(movers) == 1:
            assert movers.pop() in sentence


def test_live_means_the_same_everywhere() -> None:
    """The nouns, the store's queries and the indexes agree."""
    assert LIVE == LIVE_STATES
    listed = ", ".join(f"'{state}'" for state in LIVE_STATES)
    assert f"state IN ({listed})" == tables.LIVE
