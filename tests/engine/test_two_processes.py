"""Several processes on one run share the work: each job once; a paused one cannot write."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchkit.clock import SystemClock
from batchkit.simulator import Fault
from tests.engine import crashes
from tests.engine.conftest import Database
from tests.engine.crashes import Books, Case, Point, Scenario, Server
from tests.engine.tables import Line

pytestmark = pytest.mark.matrix


PROVIDERS = ("openai", "anthropic")
TWELVE = [f"document {n} is about matter {n * 7}" for n in range(12)]

TOGETHER = Scenario(
    "two processes",
    TWELVE,
    spec={"items_per_batch": 1, "max_parallel_batches": 4},
    settings={
        "scale": 1.0,
        "start": SystemClock().now().timestamp(),
        "batch_seconds": (0.1, 0.3),
        "validating_seconds": 0.05,
        "finalizing_seconds": 0.05,
    },
)
"""In real time, with waits a hundred times shorter."""

PAUSED = Scenario(
    "one is paused past its lease", TWELVE[:4], settings={"batch_seconds": (0.0, 0.0)}
)

PAUSES: Sequence[Point] = (
    ("after the commit of leases.claim", 1),
    ("after the commit of leases.claim", 3),
    ("after the commit of leases.claim_lane", 1),
    ("after the commit of batches.seal", 1),
    ("after the commit of batches.send", 1),
    ("after the commit of batches.staged", 1),
    ("after stage", 1),
    ("after create", 1),
    ("after the commit of batches.accept", 1),
    ("before poll", 1),
    ("after poll", 1),
    ("before download", 1),
    ("after download", 1),
    ("after the commit of answers.settle", 1),
    ("after the commit of batches._close", 1),
    ("after listing what is sealed", 2),
    ("after listing what is running", 2),
    ("after listing what is ended", 3),
)


@pytest.fixture(scope="session")
def second() -> Iterator[Server]:
    """Another process beside the first."""
    with Server() as running:
        yield running


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("killed", [False, True], ids=["both live", "one is killed"])
def test_two_processes_on_one_run_do_each_job_once(
    killed: bool,
    provider: str,
    fresh: Database,
    tmp_path: Path,
    server: Server,
    second: Server,
    record_property: Any,
) -> None:
    """Promise 6: ``resume`` in two shells, or a cron overlap."""
    with crashes.case(TOGETHER, provider, fresh(), tmp_path / "case", server) as case:
        kill = ["after create", 2] if killed else None
        server.start(case.task(kill=kill, pace=100.0, max_wait=60.0))
        second.start(case.task(pace=100.0, max_wait=60.0))
        first, other = server.ended(), second.ended()
        assert other.get("ending") == "done", other
        if not killed:
            assert first.get("ending") == "done", first
        _keep(case, record_property, "one is killed" if killed else "both live")
        assert case.books() == Books()


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_process_paused_past_its_lease_cannot_write_and_rejoins(
    request: pytest.FixtureRequest,
    provider: str,
    fresh: Database,
    tmp_path: Path,
    server: Server,
    second: Server,
    record_property: Any,
) -> None:
    """Promise 6: SIGSTOP, another takes over and finishes, SIGCONT.

    A point is on one of the two databases; with ``WHOLE_MATRIX=1`` on both.
    """
    bad = {}
    turn = request.node.callspec.params["fresh"] == "sqlite"
    for number, point in enumerate(PAUSES):
        if provider == "anthropic" and "stage" in point[0]:
            continue
        if not crashes.WHOLE and number % 2 == turn:
            continue
        folder = tmp_path / f"case-{number}"
        with crashes.case(PAUSED, provider, fresh(), folder, server) as case:
            told = _paused(case, point, server, second)
            books = case.books()
            _keep(case, record_property, point[0])
            if not (told and books.good):
                bad[point] = (told, books)
    assert bad == {}


@pytest.mark.slow
def test_the_window_that_cannot_be_closed_is_seen_and_the_twin_is_stopped(
    fresh: Database, tmp_path: Path, server: Server, second: Server
) -> None:
    """Paused between the last check of ownership and the socket, on Anthropic: promises.md."""
    long = Scenario("the open window", TWELVE[:2], settings={"batch_seconds": (5_000.0, 5_000.0)})
    with crashes.case(long, "anthropic", fresh(), tmp_path / "case", server) as case:
        assert _paused(case, ("before create", 1), server, second, max_wait=1_500.0)
        events = case.store.events.of_run(case.run)
        [twin] = [event for event in events if event["action"] == "twin"]
        stopped = {batch.id for batch in case.simulator.ledger().batches if batch.cancelled}
        assert stopped == {twin["detail"]["ref"]}
        assert case.books() == Books()


@pytest.mark.slow
def test_on_openai_that_window_is_closed_by_deleting_the_file_first(
    fresh: Database, tmp_path: Path, server: Server, second: Server
) -> None:
    """A create that is still under way can only fail: its input is gone."""
    long = Scenario("the open window", TWELVE[:2], settings={"batch_seconds": (5_000.0, 5_000.0)})
    with crashes.case(long, "openai", fresh(), tmp_path / "case", server) as case:
        assert _paused(case, ("before create", 1), server, second, max_wait=1_500.0)
        assert len(case.simulator.ledger().batches) == 1
        assert case.books() == Books()


REFUSED = replace(
    PAUSED,
    name="a refused create goes again",
    settings={"batch_seconds": (50.0, 50.0)},
    faults={"batches.create": [(1, Fault("refuse", status=429))]},
)
"""Something is sealed when it is listed."""

LISTED: Point = ("after listing what is sealed", 2)
SENT: Point = ("after the commit of batches.send", 1)


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("mutant", ["rows stale", "guard removed"])
def test_without_the_guard_of_a_move_jobs_are_bought_twice(
    mutant: str, provider: str, fresh: Database, tmp_path: Path, server: Server, second: Server
) -> None:
    """The matrix sees: listed, decided, written by id is harmless until the guard is gone."""
    with crashes.case(REFUSED, provider, fresh(), tmp_path / "case", server) as case:
        _paused(case, LISTED, server, second, mutant, max_wait=10.0)
        if mutant == "guard removed":
            assert case.books().twice > 0
        else:
            assert case.books() == Books()


@pytest.mark.slow
@pytest.mark.parametrize("mutant", [None, "lease check removed"])
def test_without_the_check_of_the_lease_jobs_are_bought_twice(
    mutant: str | None, fresh: Database, tmp_path: Path, server: Server, second: Server
) -> None:
    """The matrix sees: a process paused past its lease creates what another has created."""
    with crashes.case(PAUSED, "anthropic", fresh(), tmp_path / "case", server) as case:
        _paused(case, SENT, server, second, mutant, max_wait=1_300.0)
        if mutant:
            assert case.books().twice > 0
        else:
            assert case.books() == Books()


@pytest.mark.slow
@pytest.mark.parametrize("provider", PROVIDERS)
def test_without_looking_jobs_are_bought_twice(
    provider: str, fresh: Database, tmp_path: Path, server: Server
) -> None:
    """The matrix sees: a lost create that is taken as not there is made again."""
    scenario = replace(PAUSED, faults={"batches.create": [(1, Fault("drop"))]})
    with crashes.case(scenario, provider, fresh(), tmp_path / "case", server) as case:
        case.live(mutants=["find removed"])
        assert case.books().twice > 0


def _paused(
    case: Case,
    point: Point,
    server: Server,
    second: Server,
    mutant: str | None = None,
    **more: Any,
) -> bool:
    """Stop one process at a point, let another drive, go on; say whether both came through.

    The other drives to the end, or for ``max_wait`` seconds.
    """
    mutants = [mutant] if mutant else []
    server.start(case.task(stop=list(point), mutants=mutants))
    with _stopped(case.folder / "spool" / "stopped") as pid:
        other = second.run(case.task(**more)) if pid else {}
    first = server.ended()
    expected = "timeout" if more else "done"
    return bool(pid) and (first.get("ending"), other.get("ending")) == ("done", expected)


@contextmanager
def _stopped(told: Path) -> Iterator[int | None]:
    """Wait until a process has stopped itself; let it go on afterwards. None if it never does."""
    until = time.monotonic() + 20
    while not (told.exists() and told.read_text()):
        if time.monotonic() > until:
            yield None
            return
        time.sleep(0.01)  # noqa: TID251 -- for a real process
    pid = int(told.read_text())
    try:
        yield pid
    finally:
        os.kill(pid, signal.SIGCONT)


def _keep(case: Case, record: Any, where: str) -> None:
    books = case.books()
    database = "sqlite" if case.database.startswith("sqlite") else "postgres"
    name = case.scenario.name
    Line(name, where, case.provider, database, books.twice, books.lost, books.over).keep(record)
