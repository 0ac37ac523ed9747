"""The rows of the table: what is measured, and against what."""

from __future__ import annotations

import sqlite3
import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from tests.benchmarks import papers, processes, sharing
from tests.benchmarks.bench import COMMAND, MB, Bench, tell
from tests.benchmarks.processes import Child, seconds_of
from tests.benchmarks.table import Line, megabytes, repeated


def openai(bench: Bench) -> Iterator[Line]:
    """``add_job`` to persisted, typed results read back, on OpenAI's API."""
    yield _against_floor(bench, "openai", 2.0)


def anthropic(bench: Bench) -> Iterator[Line]:
    """The same on Anthropic's: against the SDK's own calls, and beside a script that avoids them.

    The SDK's ``create`` takes dicts and makes one body of them in memory; by hand the body goes out
    from a file. The target speaks of the SDK's; the other line says what is left to gain.
    """
    yield _against_floor(bench, "anthropic", 1.5)
    yield _against_floor(bench, "anthropic", None, "anthropic-by-hand")


def _against_floor(bench: Bench, provider: str, most: float | None, script: str = "") -> Line:
    floor, night = bench.floor(script or provider), bench.night(provider)
    ratio = night.best / floor.best
    return Line(
        what=f"{bench.jobs:,} jobs on {provider}, added to read back",
        asked=f"{most} × the floor" if most else "beside a script that avoids the SDK's create",
        found=f"{night.best:.2f} s = {ratio:.2f} ×",
        floor=f"{floor.best:.2f} s",
        holds=ratio <= most if most else None,
        noise=f"{night.noise}; floor {floor.noise}",
    )


def million(bench: Bench) -> Iterator[Line]:
    """Linear time, constant memory, the same script again, and a resume with one batch left."""
    with bench.scratch() as folder:
        night = bench.night("openai")
        child = bench.subject("openai", bench.million, folder)
        tell("a million", child)
        more = bench.million / bench.jobs
        ratio = child["total"] / night.best
        yield Line(
            what=f"{bench.million:,} jobs against {bench.jobs:,}",
            asked=f"{1.05 * more:.1f} ×",
            found=f"{child['total']:.1f} s = {ratio:.1f} ×",
            holds=ratio <= 1.05 * more,
        )
        yield Line(
            what=f"peak memory at {bench.million:,} jobs, openai",
            asked="200 MB",
            found=megabytes(child["memory"]),
            holds=child["memory"] <= 200 * MB,
        )
        yield _size(Path(folder), bench.million)
        yield from _again(bench, Path(folder), child)
        yield from _looking(Path(folder))
    yield _anthropic_memory(bench)


def _anthropic_memory(bench: Bench) -> Line:
    """A create on Anthropic's API carries its requests."""
    bench.floor("anthropic")
    most = bench.floor_memory["anthropic"] + 100 * MB
    with bench.scratch() as folder:
        child = bench.subject("anthropic", bench.million, folder)
    tell("a million on Anthropic's", child)
    return Line(
        what=f"peak memory at {bench.million:,} jobs, anthropic",
        asked="what one create needs, + 100 MB",
        found=megabytes(child["memory"]),
        floor=megabytes(most - 100 * MB),
        holds=child["memory"] <= most,
    )


def size(bench: Bench) -> Iterator[Line]:
    """What a night leaves in the database."""
    with bench.scratch() as folder:
        tell("to be weighed", bench.subject("openai", bench.jobs, folder))
        yield _size(Path(folder), bench.jobs)


def _size(folder: Path, jobs: int) -> Line:
    """Bodies (what all jobs share once) and raw answers against what the database takes."""
    with sqlite3.connect(folder / "bench.db") as database:
        own, answers = database.execute(
            "SELECT (SELECT sum(length(CAST(own AS BLOB))) FROM jobs), "
            "(SELECT sum(length(CAST(answer AS BLOB))) FROM attempts)"
        ).fetchone()
    database.close()
    taken = sum(path.stat().st_size for path in folder.glob("bench.db*"))
    ratio = taken / (own + answers)
    return Line(
        what=f"database of {jobs:,} jobs",
        asked="1.5 × bodies and answers",
        found=f"{megabytes(taken)} = {ratio:.2f} ×",
        floor=megabytes(own + answers),
        holds=ratio <= 1.5,
    )


def _again(bench: Bench, folder: Path, first: Child) -> Iterator[Line]:
    before = _rows_of(folder)
    child = bench.subject("openai", bench.million, folder)
    tell("the same again", child)
    calls = bench.provider.seen()["calls"]
    written = {name: n - before[name] for name, n in _rows_of(folder).items() if n != before[name]}
    most = first["add"] * 1.5
    yield Line(
        what=f"the same script again, {bench.million:,} known jobs",
        asked="the add time; no call, no row",
        found=f"{child['add'] + child['run']:.1f} s; calls {calls or 0}; rows {written or 0}",
        floor=f"{first['add']:.1f} s",
        holds=child["add"] + child["run"] <= most and not calls and not written,
    )


def _rows_of(folder: Path) -> dict[str, int]:
    with sqlite3.connect(folder / "bench.db") as database:
        names = ("runs", "lanes", "templates", "jobs", "members", "batches", "attempts", "events")
        counted = {
            name: int(database.execute(f"SELECT count(*) FROM {name}").fetchone()[0])
            for name in names
        }
    database.close()
    return counted


def _looking(folder: Path) -> Iterator[Line]:
    """Ask the finished database how it stands, Python's own start aside."""
    start = repeated(5, lambda: seconds_of(sys.executable, "-c", "pass")).best
    for words in (("status", "bench"), ("ls",)):
        command = (COMMAND, *words, "--database", folder / "bench.db")
        found = repeated(5, partial(seconds_of, *command))
        yield Line(
            what=f"batchkit {words[0]} on that database",
            asked="0.30 s beyond Python's start",
            found=f"{found.best - start:.2f} s",
            floor=f"{start:.2f} s",
            holds=found.best - start <= 0.3,
            noise=found.noise,
        )


def resume(bench: Bench) -> Iterator[Line]:
    """A run of a million jobs, one batch left: from the command to the first call."""
    with bench.scratch() as name:
        folder = Path(name)
        bench.provider.tell(forget=True, hold=bench.million // 50_000 - 1)
        words = ("--jobs", bench.million, "--url", bench.provider.url, "--leave")
        Child("subject", "openai", *words, "--database", folder / "bench.db")
        bench.provider.tell(hold=None, release=True)
        found = repeated(1, partial(_first_call, bench, folder))
    yield Line(
        what=f"batchkit resume, {bench.million:,} jobs, one batch left: to the first call",
        asked="1.5 s",
        found=f"{found.best:.2f} s",
        holds=found.best <= 1.5,
    )


def _first_call(bench: Bench, folder: Path) -> float:
    began = time.monotonic()
    seconds_of(
        *(COMMAND, "resume", "bench", "--database", folder / "bench.db"),
        OPENAI_API_KEY="sk-bench",
        OPENAI_BASE_URL=f"{bench.provider.url}/v1",
        BATCHKIT_PACE="1000",
    )
    return float(bench.provider.seen()["first"]) - began


def folder(bench: Bench) -> Iterator[Line]:
    """One JSON file a job."""

    def once() -> float:
        with bench.scratch() as name:
            child = bench.subject("openai", bench.jobs, name, "--results", Path(name) / "out")
            assert len(list((Path(name) / "out").rglob("*.json"))) == bench.jobs
        tell("with results_dir", child)
        return child["total"]

    without, found = bench.night("openai"), repeated(bench.repeat, once)
    more, most = found.best - without.best, 8.0 * bench.jobs / 100_000
    yield Line(
        what=f"results_dir, {bench.jobs:,} jobs",
        asked=f"+ {most:.1f} s",
        found=f"+ {more:.1f} s",
        floor=f"{without.best:.2f} s",
        holds=more <= most,
        noise=found.noise,
    )


def starts(bench: Bench) -> Iterator[Line]:
    """What a person waits for before anything happens."""
    del bench
    bare = repeated(5, lambda: seconds_of(sys.executable, "-c", "pass")).best
    things: tuple[tuple[str, float, Callable[[], float]], ...] = (
        ("import batchkit", 0.15, lambda: seconds_of(sys.executable, "-c", "import batchkit")),
        ("batchkit --help", 0.30, lambda: seconds_of(COMMAND, "--help")),
    )
    for what, most, once in things:
        found = repeated(5, once)
        yield Line(
            what=what,
            asked=f"{most:.2f} s beyond Python's start",
            found=f"{found.best - bare:.2f} s",
            floor=f"{bare:.2f} s",
            holds=found.best - bare <= most,
            noise=found.noise,
        )


def postgres(bench: Bench) -> Iterator[Line]:
    """The same night on Postgres."""
    from batchkit.store.database import Database
    from batchkit.store.migrate import upgrade
    from tests import postgres as server

    cluster = server.start()
    try:

        def once() -> float:
            name = cluster.create()
            url = cluster.url(name)
            database = Database(url)
            upgrade(database)
            database.close()
            with bench.scratch() as folder:
                more = ("--database", url, "--spool", folder)
                child = bench.subject("openai", bench.jobs, folder, *more)
            cluster.drop(name)
            tell("on Postgres", child)
            return child["total"]

        found, other = repeated(bench.repeat, once), bench.night("openai")
    finally:
        cluster.stop()
    ratio = found.best / other.best
    yield Line(
        what=f"{bench.jobs:,} jobs on Postgres against SQLite",
        asked="2.0 ×",
        found=f"{found.best:.2f} s = {ratio:.2f} ×",
        floor=f"{other.best:.2f} s",
        holds=ratio <= 2.0,
        noise=found.noise,
    )


def calls(bench: Bench) -> Iterator[Line]:
    """Forty batches of two hours each, ten at once: eight hours, on a clock that waiting moves.

    The provider can only be asked for one batch at a time: the worst case.
    """
    from batchkit.testing import Course, FakeProvider, ManualClock
    from tests.engine.nights import Night

    with bench.scratch() as name:
        clock = ManualClock()
        fake = FakeProvider(clock=clock, course=Course(takes=timedelta(hours=2)))
        night = Night(f"{name}/night.db", Path(name), fake, clock)
        night.start(40 * 50, items_per_batch=50, max_parallel_batches=10)
        began = clock.now()
        assert night.drive() == "done"
        hours = (clock.now() - began).total_seconds() / 3_600
        made = fake.calls
        polls = [fake._memory.batches[ref].polls for ref in fake.refs]
        night.store.close()
    found = f"{made['stage']} uploads, {made['create']} creates, at most {max(polls)} polls"
    yield Line(
        what=f"provider calls of a night of 40 batches, {hours:.1f} hours (simulated time)",
        asked="1 upload, 1 create, 60 polls a batch",
        found=found,
        holds=made["stage"] == made["create"] == 40 and max(polls) <= 60,
    )


ROWS: dict[str, Callable[[Bench], Iterator[Line]]] = {
    "openai": openai,
    "anthropic": anthropic,
    "million": million,
    "resume": resume,
    "folder": folder,
    "starts": starts,
    "postgres": postgres,
    "workers": sharing.workers,
    "papers": papers.papers,
    "calls": calls,
    "size": size,
}

__all__ = ["ROWS", "processes"]
