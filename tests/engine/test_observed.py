"""``reserve="observed"``: how far a limit can be overshot is said, and it is no more than that."""

from __future__ import annotations

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given, settings

from batchkit.model import LIVE_STATES, Json, Succeeded, Usage
from batchkit.money import enough
from batchkit.store import RunRow
from batchkit.testing import Course
from batchkit.weighing import LEAST_SEEN, observed
from tests import postgres
from tests.engine.conftest import MakeNight
from tests.engine.nights import Night
from tests.engine.test_under_the_limit import (
    FRAME,
    MORE,
    NIGHTS,
    PLANS,
    TOKEN,
    Plan,
    Scene,
    waiting_needs,
)

KNOWN = LEAST_SEEN
USED = 0.1
"""What the jobs that are answered before a random night begins used of their bounds."""


class Watched:
    """A random night of a run that goes by what is observed: enough is known when it begins."""

    def __init__(self, url: str, folder: Path, plan: Plan) -> None:
        known = replace(
            plan,
            bounds=[300] * KNOWN + plan.bounds,
            shares=[USED] * KNOWN + plan.shares,
            turns=["good"] * KNOWN + plan.turns,
            courses=[],
        )
        self.plan = plan
        self.scene = Scene(url, folder, known)
        self.night = self.scene.night
        self.seen: set[int] = set()
        self.limit: int | None = None
        self.stated = 0
        self.held: dict[int, int] = {}

    def start(self) -> None:
        """Let a hundred jobs be answered; then add those of the plan, under its limit."""
        plan, night = self.plan, self.night
        template = {"max_tokens": plan.max_tokens}
        night.start(KNOWN, bound=300 * TOKEN, template=template, reserve="observed")
        assert night.drive() == "done"
        self.scene.fake.next(*plan.courses)
        night.add(
            [f"document {KNOWN + number}" for number in range(len(plan.bounds))],
            bound=[bound * TOKEN for bound in plan.bounds],
            template=template,
            limits={"cost_limit": night.run.spent + plan.limit * TOKEN},
            items_per_batch=plan.items,
            max_parallel_batches=plan.parallel,
        )

    def act(self, action: tuple[Any, ...]) -> None:
        match action:
            case ("limit", more):
                action = ("limit", more + self.night.run.spent // TOKEN)
        self.scene.act(action)

    def check(self) -> None:
        """The laws that hold after each step."""
        run, store = self.night.run, self.night.store
        batches = store.batches.of_run(run.id)
        over = store.reservations.overshoot(run.id)
        fresh = {batch.id for batch in batches} - self.seen
        assert run.cost_limit is not None
        if fresh:
            assert run.spent + run.reserved <= run.cost_limit, "at each reservation"
        elif self.limit == run.cost_limit:
            assert over <= self.stated, "what was said before sending still holds"
            assert run.spent <= run.cost_limit + self.stated
        assert run.spent <= run.cost_limit + over
        assert run.reserved == sum(b.reserved for b in batches if b.state in LIVE_STATES)
        assert run.spent == sum(b.cost for b in batches if b.state not in LIVE_STATES)
        assert store.audit.problems(run.id) == []
        self.held |= {b.id: b.reserved for b in batches if b.state in LIVE_STATES}
        self._check_bounds_are_back(run)
        self.seen |= fresh
        self.limit, self.stated = run.cost_limit, over

    def _check_bounds_are_back(self, run: RunRow) -> None:
        """They are once a batch has cost more than it held, and only then, and for good."""
        events = self.night.store.events.of_run(run.id)
        after = [row["action"] for row in events].index("exceeded") if _exceeded(events) else None
        assert (after is not None) == (run.reserve == "exceeded")
        for row in events[after:] if after is not None else []:
            assert "uncovered_nano" not in row["detail"]
        for batch in self.night.store.batches.of_run(run.id):
            if batch.state not in LIVE_STATES and batch.cost > self.held.get(batch.id, batch.cost):
                assert run.reserve == "exceeded"

    def finish(self) -> None:
        """Let everything go well: it ends, or waits for what only a person gives."""
        self.scene.fake._memory.faults.clear()
        ending = self.night.drive()
        self.check()
        run, store = self.night.run, self.night.store
        assert ending == "done" or run.waiting_for in ("budget", "review")
        assert run.reserved == store.reservations.uncovered(run.id) == 0
        if run.waiting_for == "budget":
            assert run.free is not None
            needs = waiting_needs(self.night, rates(self.night))
            assert all(needed > run.free for needed in needs)


def _exceeded(events: Any) -> bool:
    return any(row["action"] == "exceeded" for row in events)


def rates(night: Night) -> Any:
    """What the run goes by now."""
    (lane,) = night.store.jobs.lanes(night.run_id)
    used = night.store.reservations.used(night.run_id, lane.id, 10_000)
    return observed(used) if night.run.reserve == "observed" else {}


def play(url: str, folder: Path, plan: Plan) -> None:
    watched = Watched(url, folder, plan)
    try:
        watched.start()
        watched.check()
        for action in plan.actions:
            watched.act(action)
            watched.check()
        watched.finish()
    finally:
        watched.night.store.close()


ALL_DEAR = Plan(
    bounds=[300, 250, 300, 250, 300],
    shares=[1.0, 1.0, 1.0, 0.05, 0.3],
    turns=["good", "cut", "good", "good", "5xx"],
    max_tokens=1_000,
    limit=200,
    items=2,
    parallel=2,
    metadata=True,
    courses=[Course(missing={0})],
    actions=[("tick", 0), ("tick", 1), ("pass", 1_800), ("die", 0), ("tick", 0), ("tick", 1)],
)
"""A night in which what was observed does not hold, and a line is lost."""

AS_SEEN = replace(ALL_DEAR, shares=[USED / 2] * 5, turns=["good"] * 5, courses=[])


@settings(NIGHTS, max_examples=6 * MORE)
@given(plan=PLANS)
@example(plan=ALL_DEAR)
@example(plan=AS_SEEN)
@pytest.mark.slow
def test_a_limit_is_never_overshot_by_more_than_was_said(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite_file: Path, plan: Plan
) -> None:
    """Each reservation fits the limit; above it come at most the bounds that were not reserved.

    Once a batch cost more than it held, bounds are reserved again.
    """
    folder = tmp_path_factory.mktemp("night")
    path = shutil.copy2(migrated_sqlite_file, folder / "batchkit.db")
    play(f"sqlite:///{path}", folder, plan)
    shutil.rmtree(folder)


@settings(NIGHTS, max_examples=2 * MORE)
@given(plan=PLANS)
@example(plan=ALL_DEAR)
def test_a_limit_is_never_overshot_by_more_than_was_said_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres_cluster: postgres.Cluster, plan: Plan
) -> None:
    from tests.conftest import _migrate

    migrated = postgres_cluster.template("migrated", _migrate)
    with postgres_cluster.lent(migrated) as url:
        play(url, tmp_path_factory.mktemp("night"), plan)


BOUND, COST = 400_000, 40_000


class Prices:
    """What an answer costs, in nano-dollars: a tenth of its bound until somebody says more."""

    def __init__(self, night: Night) -> None:
        self.cost = COST
        self.finish = "stop"
        night.fake.answer = self._answer

    def _answer(self, line: Json) -> Succeeded:
        tokens = self.cost // TOKEN
        finish, self.finish = self.finish, "stop"
        return Succeeded("", "text", Usage(tokens // 2, tokens - tokens // 2), "fake-1", finish)


def known(night: Night, more: int, limit: int, answered: int = KNOWN, **spec: Any) -> Prices:
    """A run with so many answers, and more jobs under a limit of what is spent and ``limit``."""
    prices = Prices(night)
    template = {"max_tokens": BOUND // TOKEN - FRAME}
    night.start(answered, bound=BOUND, template=template, reserve="observed")
    assert night.drive() == "done"
    said = {"cost_limit": night.run.spent + limit}
    texts = [f"document {answered + number}" for number in range(more)]
    night.add(texts, bound=BOUND, template=template, limits=said, **spec)
    return prices


def sizes(night: Night) -> list[int]:
    """How many jobs each batch has, those that are known aside."""
    return [batch.count for batch in night.store.batches.of_run(night.run_id)][1:]


def test_what_was_seen_is_reserved_for_the_others(make_night: MakeNight) -> None:
    """Under a limit that takes two of twenty at their bounds, all go at once."""
    night = make_night()
    known(night, 20, 2 * BOUND)
    night.engine().tick([night.run_id])
    run = night.run

    assert sizes(night) == [20]
    assert run.reserved == 20 * COST
    assert night.store.reservations.uncovered(run.id) == 20 * (BOUND - COST)
    assert night.store.reservations.overshoot(run.id) == 20 * BOUND - 2 * BOUND
    assert night.drive() == "done"
    assert night.run.spent == (KNOWN + 20) * COST
    assert night.run.reserve == "observed"
    night.verify()


def test_of_fewer_than_a_hundred_bounds_are_reserved(make_night: MakeNight) -> None:
    night = make_night()
    known(night, 20, 2 * BOUND, answered=KNOWN - 1)
    night.engine().tick([night.run_id])

    assert sizes(night) == [2]
    assert night.run.reserved == 2 * BOUND
    assert night.store.reservations.uncovered(night.run_id) == 0


def test_where_all_that_waits_fits_at_its_bounds_they_are_reserved(make_night: MakeNight) -> None:
    """There is nothing to be gained, so nothing is left open."""
    night = make_night()
    known(night, 20, 20 * BOUND)
    night.engine().tick([night.run_id])

    assert (sizes(night), night.run.reserved) == ([20], 20 * BOUND)


def test_once_a_batch_cost_more_nothing_goes_out_until_its_bound_fits(
    make_night: MakeNight,
) -> None:
    """What is in flight may cost as much, too, and that was said before it went out."""
    night = make_night()
    prices = known(night, 40, 2 * BOUND, items_per_batch=10, max_parallel_batches=2)
    night.engine().tick([night.run_id])
    said = night.store.reservations.overshoot(night.run_id)
    assert said == 20 * BOUND - 2 * BOUND
    prices.cost = BOUND
    assert night.drive() == "waiting"
    run = night.run

    assert run.cost_limit is not None
    assert run.spent == run.cost_limit + said
    assert (run.waiting_for, run.reserve, sizes(night)) == ("budget", "exceeded", [10, 10])
    assert "the limit $0.004800 is exceeded by $0.007200" in str(run.waiting_detail)
    events = night.store.events.of_run(run.id)
    [exceeded] = [row for row in events if row["action"] == "exceeded"]
    assert exceeded["detail"] == {"cost_nano": 10 * BOUND, "reserved_nano": 10 * COST}
    night.verify()
    prices.cost = COST
    night.store.runs.wake(run.id, night.clock.now(), {"cost_limit": run.spent + 3 * BOUND})
    night.engine().tick([night.run_id])
    assert sizes(night)[2:] == [3]
    assert night.run.reserved == 3 * BOUND
    night.store.runs.wake(run.id, night.clock.now(), reserve="observed")
    assert night.drive() == "done"
    night.verify()


@pytest.mark.parametrize("lost", [{"missing": {0}}, {"unreadable": {0}}], ids=str)
def test_a_lost_line_is_booked_at_its_bound_all_the_same(make_night: MakeNight, lost: Json) -> None:
    """It may have cost as much: what was not reserved for it had been said."""
    night = make_night()
    known(night, 5, BOUND)
    night.fake.next(Course(**lost))
    night.engine().tick([night.run_id])
    said = night.store.reservations.overshoot(night.run_id)
    assert night.drive() == "done"
    run = night.run

    assert (run.completed, run.failed) == (KNOWN + 4, 1)
    assert run.cost_limit is not None
    worst = run.spent - (KNOWN + 4) * COST
    assert COST < worst <= BOUND
    assert run.spent <= run.cost_limit + said
    assert run.reserve == "exceeded"
    night.verify()


def test_a_retry_that_asks_for_more_is_reserved_at_its_bound(make_night: MakeNight) -> None:
    """Nothing like it was seen; one that goes again as it was added is like the others."""
    night = make_night()
    prices = known(night, 1, BOUND // 2)
    prices.finish = "length"
    assert night.drive() == "waiting"

    assert sizes(night) == [1]
    least = min(waiting_needs(night, rates(night)))
    assert least > BOUND
    assert f"the next job needs {enough(least)}, " in str(night.run.waiting_detail)
    night.verify()


def test_what_still_fits_is_weighed_anew_when_other_amounts_are_reserved(
    make_night: MakeNight,
) -> None:
    """A dear job in front fits neither way; the cheaper one behind goes once a person says so."""
    night = make_night()
    Prices(night)
    template = {"max_tokens": BOUND // TOKEN - FRAME}
    night.start(KNOWN, bound=BOUND, template=template)
    assert night.drive() == "done"
    limits = {"cost_limit": night.run.spent + BOUND // 2}
    night.add(["dear", "cheap"], bound=[10 * BOUND, BOUND], template=template, limits=limits)
    engine = night.engine()
    engine.tick([night.run_id])
    assert sizes(night) == []
    night.store.runs.wake(night.run_id, night.clock.now(), reserve="observed")
    engine.tick([night.run_id])

    assert sizes(night) == [1]
    assert night.run.reserved == COST
    assert night.drive() == "waiting"
    assert night.run.waiting_for == "budget"
    night.verify()
