"""Every legal move of a batch, as a call to the store."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from batchkit import states
from batchkit.model import Created
from batchkit.store import Store
from tests.store.scenes import LATER, NOW, said

Call = Callable[[Store, int, int], bool]

MOVES: dict[str, tuple[states.Move, Call]] = {
    "send": (states.SEND, lambda s, b, n: s.batches.send(b, n, NOW)),
    "accept": (
        states.ACCEPT,
        lambda s, b, n: s.batches.accept(b, n, Created(f"ref-{b}", NOW), NOW, NOW),
    ),
    "unsend": (
        states.UNSEND,
        lambda s, b, n: s.batches.unsend(b, n, NOW, keep_file=False, at=LATER),
    ),
    "refuse": (
        states.REFUSE,
        lambda s, b, n: s.batches.void(states.REFUSE, b, n, NOW, "bad", "turned away"),
    ),
    "drop": (
        states.DROP,
        lambda s, b, n: s.batches.void(states.DROP, b, n, NOW, "gone", "its spool is gone"),
    ),
    "defer": (
        states.DEFER,
        lambda s, b, n: s.batches.defer(b, n, replace(said("failed"), ref=f"ref-{b}"), NOW, LATER),
    ),
    "shrink": (
        states.SHRINK,
        lambda s, b, n: s.batches.void(states.SHRINK, b, n, NOW, "large", "too large"),
    ),
    "end": (states.END, lambda s, b, n: s.batches.end(b, n, said("completed"), LATER, NOW)),
    "disown": (states.DISOWN, lambda s, b, n: s.batches.disown(b, n, NOW)),
    "collect": (states.COLLECT, lambda s, b, n: s.batches.collect(b, n, NOW)),
    "abandon": (states.ABANDON, lambda s, b, n: s.batches.abandon(b, n, NOW)),
}
