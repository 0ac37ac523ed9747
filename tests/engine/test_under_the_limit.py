"""Under the limit, whatever happens: two workers, crashes and faults in any order, on the books."""

from __future__ import annotations

import os
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, example, given, settings
from hypothesis import strategies as st

from batchkit import requests
from batchkit.engine import Engine
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import LIVE_STATES, Errored, Json, Outcome, Succeeded, Usage
from batchkit.submitter.reserving import reserved
from batchkit.testing import Course, FakeProvider, ManualClock
from batchkit.weighing import Rates, Weight, weigh_attempt
from tests import postgres
from tests.engine.conftest import MakeNight
from tests.engine.nights import Night

TOKEN = 1_000
"""What a token costs, in nano-dollars: see ``nights.PRICE``."""

FRAME = 24
"""What a bound that is counted has for a request besides its text and its answer."""

CALLS = ("stage", "unstage", "create", "find", "poll", "download", "cancel")


class Crash(BaseException):
    """The process dies in the middle of a provider's call."""


ERRORS: dict[str, Callable[[], BaseException]] = {
    "dropped": lambda: ProviderUnavailable("dropped", maybe=True),
    "never arrived": lambda: ProviderUnavailable("refused", maybe=False),
    "garbled": lambda: ProviderGarbled("half a body", maybe=True),
    "not found": lambda: ProviderRefused("flaps", reason="not_found", status=404),
    "crash": Crash,
}
"""What a call may meet; where it was done first, the answer alone is lost."""

COURSES = st.builds(
    Course,
    takes=st.sampled_from([None, timedelta(minutes=5), timedelta(minutes=20)]),
    reason=st.sampled_from(["completed", "completed", "expired", "cancelled"]),
    done=st.sampled_from([0.0, 0.4, 1.0]),
    missing=st.sampled_from([(), {0}]),
    duplicated=st.sampled_from([(), {1}]),
    unreadable=st.sampled_from([(), {1}]),
    unknown=st.integers(0, 1),
) | st.just(Course(reason="failed", queue_full=True, error_code="token_limit_exceeded"))

FAULTS = st.tuples(
    st.just("fault"), st.sampled_from(CALLS), st.sampled_from(sorted(ERRORS)), st.booleans()
)
ACTIONS = st.one_of(
    st.tuples(st.just("tick"), st.integers(0, 1)),
    st.tuples(st.just("tick"), st.integers(0, 1)),
    st.tuples(st.just("pass"), st.sampled_from([5, 30, 300, 1_800])),
    st.tuples(st.just("die"), st.integers(0, 1)),
    st.tuples(st.just("limit"), st.integers(1, 3_000)),
    FAULTS,
)


@dataclass(frozen=True)
class Plan:
    """One random night; amounts in tokens, each of which costs the same."""

    bounds: list[int]
    shares: list[float]
    turns: list[str]
    max_tokens: int
    limit: int
    items: int
    parallel: int
    metadata: bool
    courses: list[Course]
    actions: list[tuple[Any, ...]]


PLANS = st.integers(1, 6).flatmap(
    lambda jobs: st.builds(
        Plan,
        bounds=st.lists(st.integers(2, 300), min_size=jobs, max_size=jobs),
        shares=st.lists(st.sampled_from([0.05, 0.3, 1.0]), min_size=jobs, max_size=jobs),
        turns=st.lists(
            st.sampled_from(["good", "good", "5xx", "cut", "empty"]), min_size=jobs, max_size=jobs
        ),
        max_tokens=st.sampled_from([20, 1_000]),
        limit=st.integers(50, 2_000),
        items=st.integers(1, 4),
        parallel=st.integers(1, 3),
        metadata=st.booleans(),
        courses=st.lists(COURSES, max_size=6),
        actions=st.lists(ACTIONS, min_size=5, max_size=16),
    )
)


class Scene:
    """A run with two workers on one store, driven by a plan."""

    def __init__(self, url: str, folder: Path, plan: Plan) -> None:
        self.plan = plan
        self.clock = ManualClock(pace=0)
        self.fake = FakeProvider(
            clock=self.clock,
            answer=self._answer,
            metadata=plan.metadata,
            stages=plan.metadata,
            lag=timedelta(seconds=45),
        )
        self.fake.next(*plan.courses)
        self.night = Night(url, folder, self.fake, self.clock)
        self.asked: Counter[str] = Counter()
        self.workers: list[Engine | None] = [None, None]
        self.lives = 0
        self.reserved: dict[int, tuple[int, int]] = {}

    def start(self) -> None:
        """Open the run; every job has its own bound."""
        plan, night = self.plan, self.night
        night.start(
            len(plan.bounds),
            bound=[bound * TOKEN for bound in plan.bounds],
            template={"max_tokens": plan.max_tokens},
            limits={"cost_limit": plan.limit * TOKEN},
            items_per_batch=plan.items,
            max_parallel_batches=plan.parallel,
        )

    def act(self, action: tuple[Any, ...]) -> None:
        match action:
            case ("tick", which):
                self.tick(which)
            case ("pass", seconds):
                self.clock.advance(seconds)
            case ("die", which):
                self.workers[which] = None
            case ("limit", more):
                run = self.night.run
                limit = max(run.spent + run.reserved, more * TOKEN)
                if not run.is_done:
                    self.night.store.runs.wake(run.id, self.clock.now(), {"cost_limit": limit})
            case ("fault", call, error, accept):
                # What never arrived, or was refused, was not accepted: adapters say so only then.
                may_be = call != "find" and error not in ("never arrived", "not found")
                self.fake.fail(call, ERRORS[error](), accept=accept and may_be)

    def tick(self, which: int) -> None:
        """Let a worker make one pass; a new one takes the place of a dead one."""
        worker = self.workers[which]
        if worker is None:
            self.lives += 1
            worker = self.workers[which] = self.night.engine()
            worker._owner = f"machine/{which}/{self.lives}"
        try:
            worker.tick([self.night.run_id])
        except Crash:
            self.workers[which] = None

    def check(self) -> None:
        """The laws that hold after each step."""
        run, store = self.night.run, self.night.store
        batches = store.batches.of_run(run.id)
        assert run.cost_limit is not None
        assert run.spent + run.reserved <= run.cost_limit
        assert run.reserved == sum(b.reserved for b in batches if b.state in LIVE_STATES)
        assert run.spent == sum(b.cost or 0 for b in batches if b.state not in LIVE_STATES)
        for batch in batches:
            if batch.state not in LIVE_STATES:
                first = self.reserved.setdefault(batch.id, (batch.cost or 0, batch.count))
                assert first == (batch.cost or 0, batch.count), "booked once"
        assert store.audit.problems(run.id) == []

    def finish(self) -> None:
        """Let everything go well: it ends, or waits for what only a person gives."""
        self.fake._memory.faults.clear()
        ending = self.night.drive()
        self.check()
        run = self.night.run
        assert ending == "done" or run.waiting_for in ("budget", "review")
        assert run.reserved == 0
        assert self.fake.ledger.bought_twice() == [] or self._only_again()
        ended = run.completed + run.failed + run.cancelled
        assert ended == run.total or ending == "waiting"
        if run.waiting_for == "budget":
            assert run.free is not None
            assert all(needed > run.free for needed in waiting_needs(self.night))

    def _only_again(self) -> bool:
        """Say whether what ran twice was to be asked again: a 5xx line, an answer that was none."""
        again = sum(1 for turn in self.plan.turns if turn != "good")
        return len(self.fake.ledger.bought_twice()) <= again

    def _answer(self, line: Json) -> Outcome:
        number = int(line["prompt"].split()[1])
        self.asked[line["prompt"]] += 1
        most = min(self.plan.bounds[number], self.plan.max_tokens + FRAME)
        used = max(1, int(most * self.plan.shares[number]))
        turn = self.plan.turns[number]
        if turn == "5xx":
            return Errored("", "server_error", "500", "try again", 500)
        usage = Usage(used // 2, used - used // 2)
        return Succeeded("", "" if turn == "empty" else "text", usage, "fake-1", FINISH[turn])


FINISH = {"good": "stop", "cut": "length", "empty": "stop"}


def waiting_needs(night: Night, rates: Rates | None = None) -> list[int]:
    """What each job that waits, and that nobody holds back, needs to go: in order."""
    store, late, needs = night.store, night.clock.now() + timedelta(days=1), list[int]()
    for lane in store.jobs.lanes(night.run_id):
        again = store.batches.free_members(lane.id, late, 1_000, night.run.braked)
        found = {one.seq: one.changes or {} for one in again}
        rows = store.jobs.pick(lane.id, sorted(found))
        for row in [*rows, *store.jobs.span(lane.id, lane.cursor, lane.released)]:
            template = requests.prepared(store.jobs.template(row.template_id))
            changes = found.get(row.seq, {})
            weight = weigh_attempt(
                requests.assemble(template, row.own, (), changes),
                requests.price_of(template),
                Weight(row.tokens, row.bound),
                changes,
                provider=night.fake.name,
                dialect=night.fake.traits.dialect,
                counted=True,
            )
            held = reserved(weight, rates or {}, row, changes).held
            needs += [] if held is None else [held]
    return needs


def play(url: str, folder: Path, plan: Plan) -> None:
    scene = Scene(url, folder, plan)
    try:
        scene.start()
        scene.check()
        for action in plan.actions:
            scene.act(action)
            scene.check()
        scene.finish()
    finally:
        scene.night.store.close()


MORE = int(os.environ.get("MORE_NIGHTS", "1"))
"""``MORE_NIGHTS=25 pytest …`` takes some minutes and sees rarer nights."""

# A night that fails is shown as it was drawn: to make it smaller takes minutes.
NIGHTS = settings(
    deadline=None, suppress_health_check=list(HealthCheck), phases=[Phase.explicit, Phase.generate]
)


DEAR_FIRST = Plan(
    bounds=[300, 40, 290, 60, 50],
    shares=[0.3, 1.0, 0.3, 0.05, 0.3],
    turns=["good", "cut", "good", "good", "5xx"],
    max_tokens=1_000,
    limit=200,
    items=4,
    parallel=2,
    metadata=True,
    courses=[],
    actions=[("tick", 0), ("fault", "create", "dropped", True), ("tick", 1), ("die", 0)],
)
"""A night whose limit is too low for the job in front, not for the others."""


@settings(NIGHTS, max_examples=6 * MORE)
@given(plan=PLANS)
@example(plan=DEAR_FIRST)
def test_no_reservation_goes_above_the_limit_whatever_happens(
    tmp_path_factory: pytest.TempPathFactory, migrated_sqlite_file: Path, plan: Plan
) -> None:
    """And reserved is what live batches hold, spent what closed ones cost, each booked once.

    What waits for money in the end would not have fitted into what is left.
    """
    folder = tmp_path_factory.mktemp("night")
    path = shutil.copy2(migrated_sqlite_file, folder / "batchkit.db")
    play(f"sqlite:///{path}", folder, plan)
    shutil.rmtree(folder)


@settings(NIGHTS, max_examples=3 * MORE)
@given(plan=PLANS)
def test_no_reservation_goes_above_the_limit_on_postgres(
    tmp_path_factory: pytest.TempPathFactory, postgres_cluster: postgres.Cluster, plan: Plan
) -> None:
    """The same laws where writers do not wait for each other."""
    from tests.conftest import _migrate

    migrated = postgres_cluster.template("migrated", _migrate)
    with postgres_cluster.lent(migrated) as url:
        play(url, tmp_path_factory.mktemp("night"), plan)


@pytest.mark.parametrize("lost", [{"missing": {0, 1}}, {"unreadable": {0, 1}}], ids=str)
def test_a_lost_line_is_booked_at_no_more_than_was_reserved_for_it(
    make_night: MakeNight, lost: Json
) -> None:
    """Where tokens were counted to fit the limit, the loss is counted as well."""
    night = make_night()
    night.fake.next(Course(**lost))
    night.start(30, bound=400_000, limits={"cost_limit": 300_000})
    night.drive()
    [first, *_] = night.store.batches.of_run(night.run_id)

    assert (first.count, night.run.failed) == (2, 2)
    assert 0 < night.run.spent <= 300_000
    night.verify()


DEAR, CHEAP = 900_000, 50_000
"""Bounds of unequal jobs; an answer costs about half of the cheaper one."""


def sent(night: Night) -> list[list[str]]:
    """The keys of each batch, in the order they went out."""
    found: dict[str, list[str]] = {}
    for entry in night.fake.ledger.entries:
        found.setdefault(entry.ref, []).append(str(int(entry.custom_id.rpartition("-")[2])))
    return list(found.values())


def test_a_dear_job_in_front_does_not_hold_cheaper_ones_back(make_night: MakeNight) -> None:
    """What fits in order goes in order; then what still fits, in one batch; the rest waits."""
    night = make_night()
    bounds = [CHEAP, DEAR, CHEAP, DEAR, CHEAP, DEAR]
    night.start(
        6, bound=bounds, template={"max_tokens": 1_000}, limits={"cost_limit": DEAR - 100_000}
    )
    assert night.drive() == "waiting"
    assert sent(night) == [["0"], ["2", "4"]]
    run = night.run
    assert (run.waiting_for, run.completed, run.reserved) == ("budget", 3, 0)
    assert min(waiting_needs(night)) == DEAR > (run.free or 0)
    need = -(-(run.spent + DEAR) // 1_000) / 1_000_000
    assert str(run.waiting_detail).startswith("the cheapest of 3 jobs that wait needs $0.000900, ")
    assert f"it goes with a limit of ${need:.6f} or more; all 3 together need $0.0027" in str(
        run.waiting_detail
    )
    night.verify()
    night.store.runs.wake(run.id, night.clock.now(), {"cost_limit": run.spent + 3 * DEAR})
    assert night.drive() == "done"
    assert sent(night) == [["0"], ["2", "4"], ["5"], ["1", "3"]]
    night.verify()


def test_of_what_was_set_aside_the_cheaper_goes_first_where_money_is_short(
    make_night: MakeNight,
) -> None:
    night = make_night()
    bounds = [CHEAP, DEAR, DEAR // 2, CHEAP]
    night.start(4, bound=bounds, template={"max_tokens": 1_000}, limits={"cost_limit": 300_000})
    assert night.drive() == "waiting"
    assert sent(night) == [["0"], ["3"]]
    night.store.runs.wake(night.run_id, night.clock.now(), {"cost_limit": 2 * DEAR // 3})
    assert night.drive() == "waiting"
    assert sent(night) == [["0"], ["3"], ["2"]]
    assert night.run.waiting_for == "budget"
    assert "the next job needs $0.000900" in str(night.run.waiting_detail)
    night.store.runs.wake(night.run_id, night.clock.now(), {"cost_limit": 2 * DEAR})
    assert night.drive() == "done"
    night.verify()


def test_what_was_set_aside_can_be_cancelled_and_its_range_be_cut_again(
    make_night: MakeNight,
) -> None:
    """A batch that never went gives back what it took; who was set aside was not in it."""
    night = make_night()
    bounds = [DEAR, CHEAP, DEAR, CHEAP]
    night.start(4, bound=bounds, template={"max_tokens": 1_000}, limits={"cost_limit": 300_000})
    night.fake.fail("create", ProviderRefused("no credit", reason="account", status=402))
    assert night.drive() == "waiting"
    assert night.run.waiting_for == "account"
    night.store.accounts.unblock(night.store.accounts.known(night.fake.account()).id)
    assert night.drive() == "waiting"
    assert night.run.waiting_for == "budget"
    assert sent(night) == [["1", "3"]]
    night.verify()
    late = night.store.runs.cancel_keys(night.run_id, ["doc-0000", "doc-0002"], night.clock.now())
    assert late == []
    assert night.drive() == "done"
    assert (night.run.completed, night.run.cancelled) == (2, 2)
    night.verify()
