"""Parts are read as documents: whole, once, in order, whatever ends when and how."""

from __future__ import annotations

import itertools
from collections import Counter
from random import Random

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from batchkit.model import JobState, Json
from batchkit.parts import document_of, is_tail, key_of, keys_of, number_of, shown
from batchkit.run import BatchRun
from batchkit.store import Settled, local
from tests.run.scenes import Scene

_ENDS = ("completed", "failed", "cancelled")
_COUNTED = ("pending", "active", *_ENDS)
_NAMES = itertools.count()

SIZES = st.lists(st.integers(0, 4), min_size=1, max_size=4)
"""How many parts each document has; 0 is a job that is none."""


@given(st.text(st.characters(exclude_characters="\x1f")), st.integers(1, 99_999))
def test_a_parts_key_says_its_document_and_number(document: str, number: int) -> None:
    key = key_of(document, number)

    assert (document_of(key), number_of(key)) == (document, number)
    assert is_tail(key) == (number > 1)
    assert keys_of(document, 2) == [document, key_of(document, 2)]
    assert "\x1f" not in shown(key)


def stored(part: int, parts: int) -> list[Json]:
    place = {"part": part, "parts": parts, "split_pages": 1}
    return [{"path": "/a.pdf", "name": "a.pdf", "pages": 1, **place}]


def begun(scene: Scene, sizes: list[int]) -> BatchRun:
    """Open a run of documents ``d0``, ``d1``, … in so many parts; 0 is a job without a file."""
    keys: list[str] = []
    documents: list[list[Json] | None] = []
    for number, size in enumerate(sizes):
        keys += keys_of(f"d{number}", max(size, 1))
        documents += [stored(part, size) for part in range(1, size + 1)] or [None]
    name = f"night-{next(_NAMES)}"
    return scene.start(keys, name=name, documents=documents, split=True)


def law(states: list[str | None]) -> str:
    """Return what a document is of which these parts have ended so, or not yet."""
    if None in states:
        return "pending"
    return next(state for state in ("failed", "cancelled", "completed") if state in states)


class Model:
    """What is known of the parts, and what a reader by cursors has been given."""

    def __init__(self, scene: Scene, sizes: list[int]) -> None:
        self.scene = scene
        self.run = begun(scene, sizes)
        self.ends: dict[str, list[str | None]] = {
            f"d{number}": [None] * max(size, 1) for number, size in enumerate(sizes)
        }
        self.places: dict[str, tuple[int, int]] = {
            key: (known[0].lane_id, known[0].seq)
            for key, known in scene.store.jobs.lookup(scene.run_id, self.keys).items()
        }
        self.cursor: str | None = None

    @property
    def open(self) -> list[str]:
        """The keys of the parts that have not ended."""
        return [key for key in self.keys if self._end(key) is None]

    def _end(self, key: str) -> str | None:
        return self.ends[document_of(key)][number_of(key) - 1]

    @property
    def keys(self) -> list[str]:
        return [key for name, ends in self.ends.items() for key in keys_of(name, len(ends))]

    def end(self, keys: list[str], state: str) -> None:
        """End these parts together, as a batch that is collected does."""
        answer = "said" if state == "completed" else None
        ((lane_id, _),) = {(self.places[key][0], 0) for key in keys}
        rows = [Settled(self.places[key][1], 1, state, answer=answer, error=state) for key in keys]
        with self.scene.store.database.write() as connection:
            local.book(connection, self.scene.run_id, lane_id, rows, self.scene.clock.now())
        for key in keys:
            self.ends[document_of(key)][number_of(key) - 1] = state

    def again(self) -> None:
        """Let all go again that failed."""
        self.run.retry(states=("failed", "cancelled"))
        self.ends = {
            name: [state if state == "completed" else None for state in ends]
            for name, ends in self.ends.items()
        }

    def check(self, before: dict[str, list[str | None]]) -> None:
        """Read on from the cursor, and everything: what became whole is there, nothing else is."""
        new = list(self.run.iter_results(after=self.cursor))
        expected = {
            name: law(ends)
            for name, ends in self.ends.items()
            if None not in ends and ends != before[name]
        }
        assert sorted((one.key, one.state) for one in new) == sorted(expected.items())
        self.cursor = new[-1].cursor if new else self.cursor
        rows = {one.key: one for one in self.run.rows()}
        assert {key: one.state for key, one in rows.items()} == {
            name: law(ends) for name, ends in self.ends.items()
        }
        for name, one in rows.items():
            ends = [str(state or JobState.PENDING) for state in self.ends[name]]
            assert [part.state for part in one.parts] in (ends, [])
        counts = self.scene.store.parts.counts(self.scene.run_id)
        seen = Counter(one.state for one in rows.values())
        assert counts == {"total": len(rows), **{name: seen[name] for name in _COUNTED}}
        lost = {one.key: one.state for one in self.scene.store.parts.unanswered(self.scene.run_id)}
        assert lost == {k: one.state for k, one in rows.items() if one.state in _ENDS[1:]}


@settings(
    max_examples=8,
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)
@given(chance=st.randoms(use_true_random=False), sizes=SIZES)
def test_a_reader_gets_each_document_once_and_whole(
    lite: Scene, chance: Random, sizes: list[int]
) -> None:
    """Any order of ends, any mix of outcomes, some of them in one batch, some gone again."""
    _walk(lite, chance, sizes)


def test_both_databases_read_the_same(scene: Scene) -> None:
    """One of those walks on each."""
    _walk(scene, Random(7), [3, 0, 2, 1])


def _walk(scene: Scene, chance: Random, sizes: list[int]) -> None:
    model = Model(scene, sizes)
    assert scene.store.parts.has_whole(scene.run_id) == (0 in sizes)
    for last in (False, True):
        left = model.open
        while left:
            chosen = chance.sample(left, min(len(left), chance.randint(1, 4)))
            before = {name: list(ends) for name, ends in model.ends.items()}
            model.end(chosen, chance.choice(_ENDS))
            model.check(before)
            left = model.open
        if not last:
            model.again()
            model.check({name: list(ends) for name, ends in model.ends.items()})
