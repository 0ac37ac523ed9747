"""Killed while a canary or a primer goes first: bought once, in its order, judged once."""

from __future__ import annotations

import zlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

import pytest

from batchkit import caching, requests
from batchkit.simulator import Simulator
from batchkit.store import Front, NewJob, NewPrefix, Opening, Store
from tests.engine import crashes
from tests.engine.crashes import Case, Point, Scenario
from tests.engine.test_crash_matrix import QUICK, Matrix
from tests.engine.test_crash_matrix import matrix as matrix  # a fixture

NOW = datetime(2026, 11, 1, tzinfo=UTC)
SYSTEM = "Answer from the contract and from nothing else. " * 700
CLAUSES = [f"clause {number} is about matter {number * 7}" for number in range(6)]

FRONTS = Scenario(
    "killed while a canary and a primer go first",
    CLAUSES,
    settings=QUICK,
    limits={"cost_limit": 2_000_000_000},
    spec={"items_per_batch": 4, "max_parallel_batches": 2, "max_attempts": 3},
)
"""Two jobs are the canary, one is the primer of a prefix that all have; three are the rest."""

WRONG = replace(
    FRONTS,
    name="killed while a canary fails",
    prompts=[f"[[sim:truncate]] clause {number}" for number in range(6)],
)

ELSEWHERE = ("accounts.", "leases.", "running", "ended", "submitting", "sealed")
"""What knows nothing of what goes first: it is in the matrix of any run."""

REST = ("seal", "send", "accept", "create")
"""What is killed of the rest: until it is at the provider."""


@contextmanager
def opened(matrix: Matrix, scenario: Scenario, provider: str) -> Iterator[Case]:
    """Make a run whose last two jobs are a canary, the one before them a primer on Anthropic."""
    matrix._number += 1
    folder = matrix._folder / f"front-{matrix._number}"
    folder.mkdir()
    database = matrix._fresh()
    with Simulator(folder / "provider", **scenario.settings) as simulator:
        store = Store(database)
        run = _open(store, scenario, provider)
        try:
            yield Case(scenario, provider, database, simulator, store, run, folder, matrix._server)
        finally:
            store.close()


def _open(store: Store, scenario: Scenario, provider: str) -> int:
    adapter = crashes.adapter(provider)
    template: dict[str, Any] = {
        "provider": provider,
        "model": crashes.MODELS[provider],
        "max_tokens": 100,
        "price": crashes.PRICE,
        "system": SYSTEM,
    }
    run = store.runs.create("default", "night", dict(scenario.spec), NOW)
    one_model = adapter.limits.models == "one"
    new = [
        NewJob(
            key=f"doc-{number}",
            provider=provider,
            model=template["model"] if one_model else "",
            endpoint=adapter.traits.endpoint,
            digest=requests.digest(template, {"prompt": text}, []),
            template=template,
            template_digest=requests.template_digest(template),
            own={"prompt": text},
            documents=None,
            metadata=None,
            bytes=len(SYSTEM) + 200,
            tokens=len(SYSTEM) + 200,
            bound=60_000_000,
        )
        for number, text in enumerate(scenario.prompts)
    ]
    store.jobs.append(run.id, new)
    (lane,) = store.jobs.lanes(run.id)
    digest = caching.system_digest(template)
    primed = [NewPrefix(lane.id, "system", digest, primer_seq=3, tokens=5_000, jobs=6)]
    front = Front(
        canary={"state": "waiting", "jobs": 2, "wait_s": crashes.DAY},
        tried={lane.id: [4, 5]},
        primed=primed if adapter.traits.cache_marks else [],
    )
    opening = Opening(
        spec=dict(scenario.spec),
        released={lane.id: lane.size},
        limits=dict(scenario.limits),
        front=front,
    )
    store.runs.open(run.id, opening, NOW)
    return run.id


def points(matrix: Matrix, provider: str) -> list[Point]:
    """Return the points from before the first batch is cut to after the rest was released."""
    with opened(matrix, FRONTS, provider) as case:
        told = case.live()
        assert told.get("ending") == "done", told
        assert wrong_of(case) == []
    fronts = 2 if provider == "anthropic" else 1
    return [
        (name, nth)
        for name, nth in crashes.points_of(told, fronts + 1)
        if crashes.WHOLE or not name.split()[-1].startswith(ELSEWHERE)
        if nth <= fronts or name.split(".")[-1].split()[-1] in REST
    ]


def wrong_of(case: Case) -> list[str]:
    """Say what is wrong with the order, the cache and the verdict of a run that is done."""
    primed = case.provider == "anthropic"
    sent = [one for one in case.store.batches.of_run(case.run) if one.ref is not None]
    sizes, expected = [one.count for one in sent], [2, 1, 3] if primed else [2, 4]
    wrong = [] if sizes == expected else [f"batches of {sizes} jobs"]
    for before, after in pairwise(sent):
        if not (before.collected_at and after.sealed_at and before.collected_at <= after.sealed_at):
            wrong.append(f"batch {after.id} was cut before {before.id} was over")
    if primed:
        ran = [one for one in case.simulator.ledger().entries if one.executed]
        told = [(one.cache_write_tokens > 0, one.cached_tokens > 0) for one in ran]
        expect = [(False, False)] * 2 + [(True, False)] + [(False, True)] * 3
        wrong += [] if told == expect else [f"written and read: {told}"]
    return wrong + judged(case, "passed")


def judged(case: Case, state: str) -> list[str]:
    """Say what is wrong with the verdict: it is given once and kept."""
    canary = case.store.runs.get(case.run).canary or {}
    events = [one for one in case.store.events.of_run(case.run) if one["action"] == "canary"]
    if canary.get("state") == state and len(events) == 1:
        return []
    return [f"the canary is {canary.get('state')}, judged {len(events)} times"]


def kill_at(matrix: Matrix, provider: str, found: Sequence[Point]) -> None:
    """Kill a run at each of these points, go on with it, and read its books and its order."""
    for point in found:
        with opened(matrix, FRONTS, provider) as case:
            told = case.live(kill=point)
            wrong = case.store.audit.problems(case.run)
            again = case.live() if crashes.was_killed(told) else told
            wrong += [] if again.get("ending") == "done" else [str(again)]
            matrix.bad += [f"{point}: {words}" for words in wrong + wrong_of(case)]
            matrix.judge(case, f"{point[0]}, {point[1]}")


def mine(matrix: Matrix, provider: str, found: Sequence[Point]) -> list[Point]:
    """Return the points whose turn it is here: by itself each name meets one case of all.

    Which provider, which database and which of the batches is drawn from the name; what only one
    provider knows meets that one.
    """
    if crashes.WHOLE:
        return list(found)
    last = dict(sorted(found))
    chosen: list[Point] = []
    for name in last:
        draw = zlib.crc32(name.encode())
        of_one = "openai" if "stage" in name else "anthropic" if "warm" in name else None
        asked = of_one or ("openai" if draw // 2 % 3 == 0 else "anthropic")
        if asked == provider and (matrix._name == "sqlite") == (draw % 2 == 0):
            chosen.append((name, 1 + draw // 6 % last[name]))
    return chosen


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_at_any_point_the_canary_is_first_then_the_primer_then_the_rest(
    matrix: Matrix, provider: str
) -> None:
    """The rest is not sent before the primer ended; nothing is asked or written twice."""
    found = points(matrix, provider)
    assert len(found) >= 30
    kill_at(matrix, provider, mine(matrix, provider, found))
    assert matrix.bad == []


@pytest.mark.slow
@pytest.mark.parametrize("when", ["before", "after"])
def test_killed_around_its_verdict_a_canary_that_failed_holds_the_run_back(
    matrix: Matrix, when: str
) -> None:
    """The next process reads the verdict, or gives it; nobody asks the canary's jobs again."""
    provider = "openai" if (matrix._name == "sqlite") == (when == "before") else "anthropic"
    with opened(matrix, WRONG, provider) as case:
        told = case.live(kill=(f"{when} the commit of canaries.judged", 1))
        assert crashes.was_killed(told), told
        for _ in range(2):
            assert case.live().get("ending") == "waiting"
        run = case.store.runs.get(case.run)
        assert (run.waiting_for, run.reserved) == ("canary", 0)
        assert judged(case, "held") == []
        ledger = case.simulator.ledger()
        assert [batch.total for batch in ledger.batches] == [2]
        assert case.store.audit.problems(case.run) == []
