"""The law: every legal move of a batch, named.

A move is the only way a batch changes state. The store writes it as one guarded UPDATE that says
whether it landed; ``docs/state_machine.md`` is drawn from this table and tested equal.
"""

from __future__ import annotations

from dataclasses import dataclass

from batchkit.errors import IllegalMove
from batchkit.model import LIVE_STATES, BatchState

_S = BatchState


@dataclass(frozen=True, slots=True)
class Move:
    """One arrow: from any of ``sources`` to ``target``; ``who`` moves, and why."""

    name: str
    sources: tuple[BatchState, ...]
    target: BatchState
    who: str
    why: str


SEND = Move(
    "send",
    (_S.SEALED,),
    _S.SUBMITTING,
    "submitter",
    "written before the first call that creates, so that a crash after it is looked up",
)
ACCEPT = Move(
    "accept",
    (_S.SUBMITTING,),
    _S.RUNNING,
    "submitter",
    "the provider has it: an answer in hand, or a look that found it",
)
UNSEND = Move(
    "unsend",
    (_S.SUBMITTING,),
    _S.SEALED,
    "submitter",
    "known not to have arrived: it may be sent again",
)
REFUSE = Move(
    "refuse",
    (_S.SUBMITTING,),
    _S.VOID,
    "submitter",
    "the provider turned the call away and will again: its jobs are free for other batches",
)
DROP = Move(
    "drop",
    (_S.SEALED,),
    _S.VOID,
    "submitter",
    "never sent: cancelled, out of time, over budget, or its spool is gone",
)
DEFER = Move(
    "defer",
    (_S.RUNNING,),
    _S.SEALED,
    "poller",
    "the provider's queue was full and nothing ran: the same lines again, later",
)
SHRINK = Move(
    "shrink",
    (_S.RUNNING,),
    _S.VOID,
    "poller",
    "nothing ran and it is larger than the queue will ever take: cut smaller",
)
END = Move(
    "end",
    (_S.RUNNING,),
    _S.ENDED,
    "poller",
    "completed, expired, cancelled or failed at the provider; the reason is a column",
)
DISOWN = Move(
    "disown",
    (_S.ENDED,),
    _S.SUBMITTING,
    "collector",
    "its results carry another token: it was a stranger's, ours is still to be looked for",
)
COLLECT = Move(
    "collect",
    (_S.ENDED,),
    _S.COLLECTED,
    "collector",
    "every job is accounted for; money moves here, once",
)
ABANDON = Move(
    "abandon",
    (_S.ENDED, _S.RUNNING),
    _S.ABANDONED,
    "collector",
    "past retention, or a person said so: its jobs end as result_lost at their worst case",
)

MOVES: tuple[Move, ...] = (
    SEND,
    ACCEPT,
    UNSEND,
    REFUSE,
    DROP,
    DEFER,
    SHRINK,
    END,
    DISOWN,
    COLLECT,
    ABANDON,
)

OWNERS: dict[BatchState, str] = {
    _S.SEALED: "the submitter sends it or drops it",
    _S.SUBMITTING: "a call may have arrived; only the submitter's look leads out",
    _S.RUNNING: "the provider has it; the poller watches",
    _S.ENDED: "the provider is done; the collector accounts for every job",
    _S.COLLECTED: "booked: final",
    _S.VOID: "never ran, costs nothing, its jobs are free: final",
    _S.ABANDONED: "its answers cannot be had any more: final",
}


def is_live(state: BatchState) -> bool:
    """Say whether a batch in this state holds jobs and reserved money."""
    return state in LIVE_STATES


def after(state: BatchState, move: Move) -> BatchState:
    """Return where a move leads; raise IllegalMove if it does not start here."""
    if state not in move.sources:
        raise IllegalMove(f"{move.name} does not start at {state}")
    return move.target


def chart() -> str:
    """Draw the machine as docs/state_machine.md has it."""
    return "\n".join([*_head(), *_arrows(), "```", "", *_states(), "", *_table(), ""])


def _head() -> list[str]:
    return [
        "# The batch's state machine",
        "",
        "Drawn from `batchkit/states.py`; a test keeps the two equal.",
        "",
        "```mermaid",
        "stateDiagram-v2",
        "    [*] --> sealed: seal",
    ]


def _arrows() -> list[str]:
    return [
        f"    {source} --> {move.target}: {move.name}" for move in MOVES for source in move.sources
    ]


def _states() -> list[str]:
    rows = [f"| `{state}` | {OWNERS[state]} |" for state in BatchState]
    return ["| state | who moves it on |", "| --- | --- |", *rows]


def _table() -> list[str]:
    rows = [
        f"| `{move.name}` | {', '.join(move.sources)} | {move.target} | {move.who} | {move.why} |"
        for move in MOVES
    ]
    return ["| move | from | to | by | when |", "| --- | --- | --- | --- | --- |", *rows]
