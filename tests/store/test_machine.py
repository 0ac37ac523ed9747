"""Any interleaving of steps, wishes, crashes and replays leaves the books whole."""

from __future__ import annotations

from collections import Counter
from random import Random
from typing import Any

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    rule,
    run_state_machine_as_test,
)

from batchkit.model import BatchState
from batchkit.store import BatchRow, Seal, Store
from tests.store.moves import MOVES
from tests.store.scenes import (
    LATER,
    ME,
    NOW,
    again,
    draft,
    job,
    opening,
    outcome,
    seal,
)

LIMIT = 1_500
LANDED: Counter[str] = Counter()
LIVE = (BatchState.SEALED, BatchState.SUBMITTING, BatchState.RUNNING, BatchState.ENDED)
HOW = ["completed", "completed", "failed", "again", "unknown", "dear"]
WEIGHTS = {
    "seal_range": 6,
    "seal_retries": 4,
    "go_on": 8,
    "come_late": 4,
    "finish": 6,
    "settle": 3,
    "add": 1,
    "release": 1,
    "replace": 2,
    "try_out": 1,
    "cancel_keys": 1,
    "end_waiting": 0.3,
    "revive": 1,
    "hold": 1,
}


class Night(RuleBasedStateMachine):
    """One run under a limit, two lanes, and everything that may happen to it in any order.

    Every rule may be repeated, as after a crash, and every move may be tried from any state and
    under an old lease: the store says no, or the law holds.
    """

    store: Store

    @initialize(count=st.integers(2, 8))
    def begin(self, count: int) -> None:
        """Open a run of two lanes."""
        self.number = getattr(type(self), "number", 0) + 1
        type(self).number = self.number
        self.added = count
        new = [job(f"j{n}", lane=f"fake-{n % 2}") for n in range(count)]
        name = f"night {self.number}"
        self.run = draft(self.store, new, name=name, cost_limit=LIMIT, expects_more=True)
        self.store.runs.open(self.run.id, opening(self.store, self.run.id), NOW)
        self.leases: list[tuple[int, int]] = []

    def seal_range(self, lane: int, size: int, price: int) -> None:
        """Cut from where a lane is."""
        row = self.store.jobs.lanes(self.run.id)[lane]
        hi = min(row.cursor + size, row.released)
        if hi <= row.cursor:
            return
        waiting = [job.seq for job in self.store.jobs.span(row.id, row.cursor, hi)]
        asked = seal(
            self.store, row, row.cursor, hi, count=len(waiting), reserved=price if waiting else 0
        )
        self._sealed(asked, price)

    def seal_retries(self, lane: int, size: int, price: int) -> None:
        """Cut from what goes again."""
        row = self.store.jobs.lanes(self.run.id)[lane]
        members = self.store.batches.free_members(row.id, NOW, size)
        if not members:
            return
        self._sealed(again(self.store, row, members, reserved=price), price)

    def _sealed(self, asked: Seal, price: int) -> None:
        free = self.store.runs.get(self.run.id).free
        batch = self.store.batches.seal(asked, NOW)
        assert free is not None
        if batch:
            assert price <= free
            assert self.store.batches.seal(asked, NOW) is None  # the same call after a crash

    def go_on(self, pick: int, choice: int, keep: bool) -> None:
        """Claim a live batch and make one of the moves that start where it is."""
        batch = self._live(pick)
        if batch is None:
            return
        number = self.store.leases.claim(batch.id, ME, NOW)
        assert number is not None
        self.leases.append((batch.id, number))
        legal = [name for name, (move, _) in MOVES.items() if batch.status in move.sources]
        name = legal[choice % len(legal)]
        if name == "disown" and self.store.answers.settled_count(batch.id):
            return  # settled answers carried our token: it is nobody else's
        if name in ("collect", "abandon"):
            self._close(batch, number, name, "completed")
        else:
            self._moved(name, batch.id, number)
        if not keep:
            self.store.leases.let_go(batch.id, number)

    def come_late(self, pick: int, name: str) -> None:
        """Try any move under any lease there ever was: a process that was paused."""
        if not self.leases or name == "disown":
            return
        batch, number = self.leases[pick % len(self.leases)]
        row = self.store.batches.get(batch)
        if name in ("collect", "abandon") and next(self.store.answers.unsettled(row), None):
            return  # to close a batch with open jobs is a bug, and raises
        self._moved(name, batch, number)

    def finish(self, pick: int, how: str, lost: bool) -> None:
        """Walk a live batch to its end, whatever it takes."""
        batch = self._live(pick)
        if batch is None:
            return
        number = self.store.leases.claim(batch.id, ME, NOW)
        assert number is not None
        for name, state in (("send", "sealed"), ("accept", "submitting"), ("end", "running")):
            if self.store.batches.get(batch.id).state == state:
                self._moved(name, batch.id, number)
        batch = self.store.batches.get(batch.id)
        if batch.status == BatchState.ENDED:
            self._close(batch, number, "abandon" if lost else "collect", how)
        self.store.leases.let_go(batch.id, number)

    def _close(self, batch: BatchRow, number: int, name: str, how: str) -> None:
        if name == "abandon":
            how = "failed"
        numbers = self._numbers(batch)
        rows = [
            _outcome(one.seq, how, numbers.get(one.seq, 1))
            for one in self.store.answers.unsettled(batch)
        ]
        self.store.answers.settle(batch, rows)
        before = self.store.runs.get(self.run.id).spent
        cost = sum(one["cost"] or 0 for one in self._attempts(batch))
        landed = self._moved(name, batch.id, number)
        assert self.store.runs.get(self.run.id).spent == before + cost * landed

    def _live(self, pick: int) -> BatchRow | None:
        live = self.store.batches.of_run(self.run.id, live=True)
        return live[pick % len(live)] if live else None

    def settle(self, pick: int, how: list[str], some: int) -> None:
        """Settle some of what is not settled, twice."""
        row = self._live(pick)
        if row is None or row.status != BatchState.ENDED:
            return
        waiting = list(self.store.answers.unsettled(row))[:some]
        numbers = self._numbers(row)
        rows = [
            _outcome(one.seq, how[n % len(how)], numbers.get(one.seq, 1))
            for n, one in enumerate(waiting)
        ]
        for _ in range(2):
            self.store.answers.settle(row, rows)

    def add(self, count: int) -> None:
        """Add jobs to the open run."""
        new = [job(f"j{self.added + n}", lane=f"fake-{n % 2}") for n in range(count)]
        self.added += count
        self.store.jobs.append(self.run.id, new)

    def release(self) -> None:
        """Open again, twice."""
        wanted = opening(self.store, self.run.id)
        for _ in range(2):
            self.store.runs.open(self.run.id, wanted, NOW)

    def replace(self, pick: int) -> None:
        """Change a job's content and open, twice."""
        key = f"j{pick}"
        known = [
            one
            for one in self.store.jobs.lookup(self.run.id, [key]).get(key, [])
            if not one.superseded
        ]
        if not known or not known[-1].released:
            return
        new = job(
            key,
            lane=f"fake-{pick % 2}",
            content=f"{key} {known[-1].revision + 1}",
            revision=known[-1].revision + 1,
        )
        self.store.jobs.append(self.run.id, [new])
        (row,) = self.store.surveys.changed(self.run.id)
        place = [(row.lane_id, row.seq)]
        change = {"dropped": place} if row.unsent else {"superseded": place}
        wanted = opening(self.store, self.run.id, **change)
        for _ in range(2):
            self.store.runs.open(self.run.id, wanted, NOW)

    def try_out(self, pick: int) -> None:
        """Ask the real-time API for a job, wherever it is."""
        row = self.store.jobs.by_key(self.run.id, f"j{pick}")
        if row is not None:
            self.store.jobs.keep_test(self.run.id, row.lane_id, outcome(row.seq, attempt_no=0), NOW)

    def cancel_keys(self, keys: list[str]) -> None:
        """Cancel single jobs."""
        self.store.runs.cancel_keys(self.run.id, keys, NOW)

    def end_waiting(self) -> None:
        """Time is up for what waits."""
        self.store.runs.end_waiting(self.run.id, "time_limit", "why", NOW)

    def revive(self) -> None:
        """Retry all that failed, twice."""
        found = self.store.answers.ended_ids(self.run.id, ["failed", "cancelled"], None, None)
        for _ in range(2):
            self.store.runs.revive(
                self.run.id, [(lane, seq) for lane, seq, _, _ in found], None, NOW
            )

    def hold(self, wish: bool) -> None:
        """Stop sending, or go on."""
        self.store.runs.hold(self.run.id, LATER if wish else None, "why", NOW)

    @rule(seed=st.integers(0, 2**32 - 1))
    def hour(self, seed: int) -> None:
        """Let five things happen, whatever they are, and look at the books after each.

        One rule, not twenty: Hypothesis would leave most of them out of most nights.
        """
        dice = Random(seed)
        for _ in range(5):
            self._happen(dice)
            self.books_hold()
            self.money_is_where_it_should_be()
            self.no_job_is_in_two_live_batches()

    def _happen(self, dice: Random) -> None:
        number, outcomes = dice.randrange, HOW
        what = dice.choices(list(WEIGHTS), list(WEIGHTS.values()))[0]
        arguments: dict[str, Any] = {
            "seal_range": lambda: (number(2), 1 + number(4), number(500)),
            "seal_retries": lambda: (number(2), 1 + number(4), number(500)),
            "go_on": lambda: (number(10), number(6), number(2) == 0),
            "come_late": lambda: (number(1_000), dice.choice(sorted(MOVES))),
            "finish": lambda: (number(10), dice.choice(outcomes), number(5) == 0),
            "settle": lambda: (number(10), dice.choices(outcomes, k=3), 1 + number(4)),
            "add": lambda: (1 + number(3),),
            "replace": lambda: (number(10),),
            "try_out": lambda: (number(10),),
            "cancel_keys": lambda: ([f"j{n}" for n in dice.sample(range(10), 2)],),
            "hold": lambda: (number(4) == 0,),
        }
        getattr(self, what)(*arguments.get(what, tuple)())

    def books_hold(self) -> None:
        """No law of the audit is broken."""
        if hasattr(self, "run"):
            assert self.store.audit.problems(self.run.id) == []

    def money_is_where_it_should_be(self) -> None:
        """Reserved is what live batches hold, spent what closed ones cost."""
        if not hasattr(self, "run"):
            return
        run = self.store.runs.get(self.run.id)
        rows = self.store.batches.of_run(run.id)
        assert run.reserved == sum(row.reserved for row in rows if row.status in LIVE)
        assert all(row.reserved == 0 for row in rows if row.status not in LIVE)
        counts = {"completed": 0, "failed": 0, "cancelled": 0}
        released = 0
        for answer in self.store.answers.ended(run.id):
            lane = self.store.jobs.lane(answer.lane_id)
            if answer.seq < lane.released:
                counts[answer.state] += 1
                released += 1
        assert counts == {name: getattr(run, name) for name in counts}
        assert run.ended <= run.total

    def no_job_is_in_two_live_batches(self) -> None:
        """Asked without the audit: lines of live batches are disjoint."""
        if not hasattr(self, "run"):
            return
        seen: set[tuple[int | None, int]] = set()
        for row in self.store.batches.of_run(self.run.id, live=True):
            mine = {(row.lane_id, seq) for seq in self._lines(row)}
            assert not mine & seen
            seen |= mine

    def _numbers(self, row: BatchRow) -> dict[int, int]:
        return {one.seq: one.attempt_no for one in self.store.batches.members_of(row.id)}

    def _lines(self, row: BatchRow) -> list[int]:
        settled = [a["seq"] for a in self._attempts(row)]
        return settled + [one.seq for one in self.store.answers.unsettled(row)]

    def _attempts(self, row: BatchRow) -> list[Any]:
        from sqlalchemy import select

        from batchkit.store.tables import attempts

        with self.store.database.read() as connection:
            query = select(attempts).where(attempts.c.batch_id == row.id)
            return list(connection.execute(query).mappings())

    def _moved(self, name: str, batch: int, number: int) -> bool:
        move, make = MOVES[name]
        before = self.store.batches.get(batch)
        landed = make(self.store, batch, number)
        after = self.store.batches.get(batch)
        if landed:
            LANDED[name] += 1
            assert before.status in move.sources
            assert before.lease_no == number
            assert after.status == move.target
            assert not make(self.store, batch, number)  # the same call after a crash
        else:
            assert after == before
        return landed


def _outcome(seq: int, how: str, number: int) -> Any:
    if how == "unknown":
        return outcome(seq, "failed", attempt_no=number, cost=None, cost_kind="bound")
    if how == "dear":
        return outcome(seq, attempt_no=number, cost=900)
    return outcome(seq, how, attempt_no=number)


@pytest.mark.slow
def test_books_hold_after_every_step_of_any_night(store: Store) -> None:
    """Random steps, wishes, replays and stale holders, on both databases."""
    examples = 12 if store.database.is_sqlite else 6

    class Here(Night):
        pass

    Here.store = store
    run_state_machine_as_test(
        Here,
        settings=settings(
            max_examples=examples,
            stateful_step_count=8,
            deadline=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
