"""Two worker processes on one Postgres run against one, where each call has its way to go."""

from __future__ import annotations

import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

from batchkit.store import Store
from batchkit.store.database import Database
from batchkit.store.migrate import upgrade
from tests import postgres
from tests.benchmarks import processes
from tests.benchmarks.bench import COMMAND, Bench
from tests.benchmarks.processes import ROOT, Child
from tests.benchmarks.table import Line

LATENCY = 0.2
_BATCHES = 40


def workers(bench: Bench) -> Iterator[Line]:
    """Drive the same run, in 40 batches, by one process and by two; their starts count."""
    jobs = min(bench.jobs, 20_000)
    cluster = postgres.start()
    try:
        with processes.provider(LATENCY) as provider:
            alone, both = (
                min(_driven(bench, cluster, provider.url, jobs, n) for _ in range(bench.repeat))
                for n in (1, 2)
            )
    finally:
        cluster.stop()
    ratio = alone / both
    yield Line(
        what=f"two workers on one Postgres run, {jobs:,} jobs in {_BATCHES} batches, 200 ms a call",
        asked="at least 1.6 × the throughput",
        found=f"{both:.1f} s = {ratio:.2f} ×",
        floor=f"one: {alone:.1f} s",
        holds=ratio >= 1.6,
    )


def _driven(bench: Bench, cluster: postgres.Cluster, url: str, jobs: int, count: int) -> float:
    """Return how long so many processes take for a run that was opened before."""
    name = cluster.create()
    where = cluster.url(name)
    database = Database(where)
    upgrade(database)
    database.close()
    try:
        with bench.scratch() as folder:
            words = ("--jobs", jobs, "--url", url, "--database", where, "--spool", folder)
            items = -(-jobs // _BATCHES)
            Child("subject", "openai", *words, "--items", items, "--open")
            began = time.perf_counter()
            started = [_resume(where, url, Path(folder)) for _ in range(count)]
            ends = [one.wait() for one in started]
            taken = time.perf_counter() - began
        _check(where, jobs, ends)
    finally:
        cluster.drop(name)
    return taken


def _resume(where: str, url: str, folder: Path) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [str(COMMAND), "resume", "bench", "--database", where],
        cwd=ROOT,
        env={
            **processes.bare(),
            "OPENAI_API_KEY": "sk-bench",
            "OPENAI_BASE_URL": f"{url}/v1",
            "BATCHKIT_PACE": "1000",
            "BATCHKIT_SPOOL_DIR": str(folder),
        },
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # the report that ends a run
    )


def _check(where: str, jobs: int, ends: list[int]) -> None:
    store = Store(where)
    (run,) = store.runs.all("default")
    store.close()
    assert run.completed == jobs, (run.completed, ends)
    assert set(ends) == {0}, ends
