"""Killed with SIGKILL before and after every write and every call: bought once, nothing lost."""

from __future__ import annotations

import random
import zlib
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchkit.simulator import Fault
from tests.engine import crashes
from tests.engine.crashes import Case, Point, Scenario, Server
from tests.engine.tables import Line
from tests.unit.files import png

QUICK = {"batch_seconds": (12.0, 15.0)}

ROUGH = Scenario(
    "killed",
    [*(f"document {n} is about matter {n * 7}" for n in range(5)), "matter 5 [[sim:500*1]]"],
    settings=QUICK,
    faults={
        "batches.create": [(1, Fault("drop")), (2, Fault("refuse", status=0))],
        "batches.retrieve": [(2, Fault("refuse", status=503))],
    },
)
"""One create is accepted unseen, one never arrives, one answer is asked for twice."""

CANCELLED = Scenario(
    "killed while cancelling",
    [f"document {n} is about matter {n * 7}" for n in range(4)],
    settings={"batch_seconds": (50_000.0, 60_000.0)},
)

FULL = Scenario(
    "killed with a full queue",
    [f"document {n} is about matter {n * 7}" for n in range(4)],
    settings={**QUICK, "enqueued_tokens": {"": 25}},
)
"""The queue takes one request at a time, as the provider counts; two by two are turned away."""


SHARED = Scenario(
    "killed with a shared document", [f"question {n} of the plan" for n in range(4)], settings=QUICK
)
"""All ask about one picture, which goes up once."""

Database = Callable[[], str]


class Matrix:
    """Makes one case after the other and keeps what came of them."""

    def __init__(
        self, name: str, fresh: Database, folder: Path, server: Server, record: Any
    ) -> None:
        self._name = name
        self._fresh = fresh
        self._folder = folder
        self._server = server
        self._record = record
        self._number = 0
        self.bad: list[str] = []

    def has(self, point: Point, provider: str) -> bool:
        """Say whether a point's turn is here: of provider and database it meets one each.

        What only OpenAI knows meets OpenAI.
        """
        draw = zlib.crc32(point[0].encode())
        mine = provider == "openai" if "stage" in point[0] else (provider == "openai") == draw % 2
        return crashes.WHOLE or (mine and (self._name == "sqlite") == (draw // 2 % 2))

    def points(self, scenario: Scenario, provider: str, most: int = 1) -> list[Point]:
        """Return the points that a run passes which nobody kills."""
        with self.case(scenario, provider) as case:
            told = case.live()
            assert told.get("ending") == "done", told
            self.judge(case, "not killed")
        return crashes.points_of(told, most)

    def kill_at(self, scenario: Scenario, provider: str, point: Point) -> None:
        """Kill a run at a point; it is gone on with, and its books are read."""
        with self.case(scenario, provider) as case:
            told = case.live(kill=point)
            broken = case.store.audit.problems(case.run)
            again = case.live() if crashes.was_killed(told) else told
            if again.get("ending") != "done":
                self.bad.append(f"{point}: {again}")
            self.bad += [f"{point}, just after: {words}" for words in broken]
            self.judge(case, point[0])

    def case(self, scenario: Scenario, provider: str) -> Any:
        """Make a case of its own: a database, a provider, a run."""
        self._number += 1
        folder = self._folder / f"case-{self._number}"
        return crashes.case(scenario, provider, self._fresh(), folder, self._server)

    def judge(self, case: Case, where: str, *, partial: bool = False) -> None:
        """Read the books and keep a line of the table; ``partial`` where not all had to run."""
        books = case.books()
        if partial:
            executed = sum(entry.executed for entry in case.simulator.ledger().entries)
            books.lost = executed - case.store.runs.get(case.run).completed
        if not books.good:
            self.bad.append(f"{where}: {books}")
        database = "sqlite" if case.database.startswith("sqlite") else "postgres"
        Line(
            case.scenario.name, where, case.provider, database, books.twice, books.lost, books.over
        ).keep(self._record)


@pytest.fixture
def matrix(
    request: pytest.FixtureRequest,
    fresh: Database,
    tmp_path: Path,
    server: Server,
    record_property: Any,
) -> Matrix:
    """A matrix on each database."""
    name = request.node.callspec.params["fresh"]
    return Matrix(name, fresh, tmp_path, server, record_property)


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_at_any_point_a_run_buys_once_and_loses_nothing(
    matrix: Matrix, provider: str
) -> None:
    """Promise 1: SIGKILL before and after every write and every network call.

    A point meets one provider on one database; with ``WHOLE_MATRIX=1`` each on both.
    """
    points = matrix.points(ROUGH, provider)
    assert len(points) >= 30
    mine = [point for point in points if matrix.has(point, provider)]
    assert mine
    for point in mine:
        matrix.kill_at(ROUGH, provider, point)
    assert matrix.bad == []


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_again_and_again_a_run_still_ends(matrix: Matrix, provider: str) -> None:
    """Whoever recovers is killed, too, anywhere; seeded."""
    for seed in range(2 if crashes.WHOLE else 1):
        chance = random.Random(seed)
        with matrix.case(ROUGH, provider) as case:
            for _ in range(40):
                told = case.live(kill=("", chance.randrange(20, 160)))
                if not crashes.was_killed(told):
                    break
            assert told.get("ending") == "done", told
            matrix.judge(case, f"seed {seed}, every life")
    assert matrix.bad == []


@pytest.mark.slow
@pytest.mark.timeout(400)
def test_killed_around_a_full_queue_the_same_lines_go_later(matrix: Matrix) -> None:
    """A batch that the queue refused ran nothing; what it held is sent once."""
    points = matrix.points(FULL, "openai")
    for point in points:
        if point[0].split(".")[-1].split()[-1] in ("void", "learn", "poll", "seal", "defer"):
            matrix.kill_at(FULL, "openai", point)
    assert matrix.bad == []


@pytest.mark.slow
@pytest.mark.timeout(400)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_around_a_shared_document_it_is_bought_once_and_cleared_away(
    matrix: Matrix, provider: str, tmp_path: Path
) -> None:
    """Before and after the upload, its row, the seal that names it, and its deletion.

    At most one upload is left at the provider, and that expires.
    """
    picture = tmp_path / "plan.png"
    picture.write_bytes(png(100, 100) + bytes(1_000_000))
    asked = replace(SHARED, picture=picture)
    points = [point for point in matrix.points(asked, provider) if "share" in point[0]]
    assert {"before share", "after share", "before unshare"} <= {name for name, _ in points}
    for name in ("uploads.add", "batches.seal", "uploads._release", "uploads.deleted"):
        points += [(f"{when} the commit of {name}", 1) for when in ("before", "after")]
    for point in points:
        if matrix.has(point, provider):
            matrix.kill_at(asked, provider, point)
    assert matrix.bad == []


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", ["openai", "anthropic"])
def test_killed_around_a_cancel_what_ran_is_kept_and_paid_once(
    matrix: Matrix, provider: str
) -> None:
    """Promise 2: results of cancelled batches count; the rest ends cancelled, at no cost."""
    names = ("before cancel", "after cancel", "before the commit of batches.cancel_sent")
    later = ("after the commit of batches.cancel_sent", "before the commit of batches.end")
    for name in (*names, *later, "after the commit of runs.end_waiting"):
        if not matrix.has((name, 1), provider):
            continue
        with matrix.case(CANCELLED, provider) as case:
            case.live(max_wait=40_000.0)
            now = case.store.runs.get(case.run).last_progress_at
            assert now is not None
            case.store.runs.request_cancel(case.run, now)
            case.live(kill=(name, 1))
            assert case.live()["ending"] == "done"
            assert case.store.runs.get(case.run).completed > 0
            matrix.judge(case, f"cancel: {name}", partial=True)
    assert matrix.bad == []
