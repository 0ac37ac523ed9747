"""The crash matrix's harness: a run, the point it dies at, and what the books say afterwards."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Self

import orjson

from batchkit import requests
from batchkit.documents import inspect
from batchkit.providers import Provider
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses
from batchkit.simulator import Fault, Simulator
from batchkit.store import NewJob, Opening, Store

ROOT = Path(__file__).parents[2]
PRICE = {"input": 1_000_000_000, "output": 1_000_000_000, "source": "test"}
BOUND = 400_000
MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}
DAY = 86_400.0
KEY = "sk-night-0123456789abcdef"

WHOLE = bool(os.environ.get("WHOLE_MATRIX"))
"""Every point with each provider on each database; by itself a point meets one of each."""

Point = tuple[str, int]


@dataclass(frozen=True, slots=True)
class Scenario:
    """A night: its jobs, its limits, and what goes wrong at the provider beside the crash."""

    name: str
    prompts: Sequence[str]
    faults: Mapping[str, Sequence[tuple[int, Fault]]] = field(default_factory=dict)
    limits: Mapping[str, Any] = field(default_factory=lambda: {"cost_limit": 2_000_000})
    settings: Mapping[str, Any] = field(default_factory=dict)
    spec: Mapping[str, Any] = field(
        default_factory=lambda: {"items_per_batch": 2, "max_parallel_batches": 2}
    )
    picture: Path | None = None
    """What every job asks about, large enough to be uploaded once."""


@dataclass(slots=True)
class Books:
    """What came of one case; all zero and no words is what the promises say."""

    twice: int = 0
    lost: int = 0
    over: int = 0
    wrong: list[str] = field(default_factory=list)

    @property
    def good(self) -> bool:
        """Whether every promise was kept."""
        return not (self.twice or self.lost or self.over or self.wrong)


class Server:
    """Forks the processes that are killed."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.engine.child"],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def run(self, task: Mapping[str, Any]) -> dict[str, Any]:
        """Let a process do a task; return how it ended."""
        self.start(task)
        return self.ended()

    def start(self, task: Mapping[str, Any]) -> None:
        """Let a process begin a task."""
        assert self._process.stdin is not None
        self._process.stdin.write(orjson.dumps(task) + b"\n")
        self._process.stdin.flush()

    def ended(self) -> dict[str, Any]:
        """Return how the task that was begun ended, once it has."""
        assert self._process.stdout is not None
        told: dict[str, Any] = orjson.loads(self._process.stdout.readline())
        return told

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        for pipe in (self._process.stdin, self._process.stdout):
            if pipe is not None:
                pipe.close()
        self._process.wait(10)


@dataclass(slots=True)
class Case:
    """One run on one database against one simulator."""

    scenario: Scenario
    provider: str
    database: str
    simulator: Simulator
    store: Store
    run: int
    folder: Path
    server: Server | None

    def live(
        self, kill: Point | None = None, mutants: Sequence[str] = (), max_wait: float = 3 * DAY
    ) -> dict[str, Any]:
        """Drive the run in a process of its own, up to a point or to its end."""
        assert self.server is not None
        more = {"kill": kill, "mutants": list(mutants), "lease": 15, "max_wait": max_wait}
        return self.server.run(self.task(**more))

    def task(self, **more: Any) -> dict[str, Any]:
        """Return what a process is told to do."""
        spools = self.folder / "spool"
        spools.mkdir(exist_ok=True)
        told = {
            "simulator": self.simulator.url,
            "database": self.database,
            "run": self.run,
            "spools": str(spools),
            "max_wait": 3 * DAY,
        }
        return {**told, **more}

    def books(self) -> Books:
        """Read the ledger and the rows."""
        jobs = len(self.scenario.prompts)
        books = balance(self.store, self.run, self.simulator, jobs)
        if self.scenario.picture is not None:  # bodies differ by the upload that they name
            entries = self.simulator.ledger().entries
            books.twice = max(books.twice, sum(entry.billed for entry in entries) - jobs)
            books.wrong += self._left_behind()
        return books

    def _left_behind(self) -> Iterator[str]:
        """Tell of uploads that stay for ever, and of more than a crash can leave."""
        files = self.simulator.office.world.files.values()
        left = [one for one in files if one.purpose.startswith("user") and not one.deleted]
        yield from (f"{one.id} never expires" for one in left if one.expires_at is None)
        if len(left) > 1:
            yield f"{len(left)} uploads are left at the provider"


def balance(
    store: Store,
    run_id: int,
    simulator: Simulator,
    jobs: int,
    *,
    strangers: Collection[str | None] = (),
) -> Books:
    """Hold the rows of a run against the provider's ledger."""
    books = Books(wrong=[*store.audit.problems(run_id), *simulator.bugs])
    run = store.runs.get(run_id)
    ledger = simulator.ledger()
    entries = [entry for entry in ledger.entries if entry.batch_id not in strangers]
    times = Counter(entry.body_hash for entry in entries if entry.billed)
    books.twice = sum(n - 1 for n in times.values())
    answers = list(store.answers.ended(run_id, None))
    books.lost = jobs - sum(answer.state == "completed" for answer in answers)
    if run.cost_limit is not None and run.spent + run.reserved > run.cost_limit:
        books.over = run.spent + run.reserved - run.cost_limit
    if run.reserved:
        books.wrong.append(f"{run.reserved} is still reserved")
    paid = sum(e.input_tokens + e.output_tokens for e in entries if e.billed) * 1_000
    if paid != run.spent:
        books.wrong.append(f"spent is {run.spent}, the provider billed {paid}")
    if run.finished_at is None:
        books.wrong.append(f"the run is not done: it waits for {run.waiting_for}")
    return books


@contextmanager
def case(
    scenario: Scenario, provider: str, database: str, folder: Path, server: Server | None
) -> Iterator[Case]:
    """Make a run that is open, and a simulator for it."""
    folder.mkdir(parents=True, exist_ok=True)
    with Simulator(folder / "provider", **scenario.settings) as simulator:
        for route, faults in scenario.faults.items():
            for nth, fault in faults:
                simulator.faults.add(f"{provider}.{route}", fault, nth)
        store = Store(database)
        run = open_run(store, scenario, adapter(provider))
        try:
            yield Case(scenario, provider, database, simulator, store, run, folder, server)
        finally:
            store.close()


def adapter(provider: str, url: str | None = None, timeout: float | None = None) -> Provider:
    """Make a real adapter that talks to a simulator."""
    if provider == "openai":
        base = f"{url}/v1" if url else None
        return OpenAIResponses(api_key=KEY, base_url=base, timeout=timeout)
    return Anthropic(api_key=KEY, base_url=url, timeout=timeout)


def open_run(store: Store, scenario: Scenario, provider: Provider, name: str = "night") -> int:
    """Add the scenario's jobs and open the run."""
    now = datetime(2026, 11, 1, tzinfo=UTC)
    template = {
        "provider": provider.name,
        "model": MODELS[provider.name],
        "max_tokens": 100,
        "price": PRICE,
    }
    spec = {"max_attempts": 3, **scenario.spec}
    run = store.runs.create("default", name, spec, now)
    papers = None if scenario.picture is None else [asdict(inspect(scenario.picture))]
    told = [_job(n, t, template, provider) for n, t in _told(scenario)]
    store.jobs.append(run.id, [replace(one, documents=papers) for one in told])
    released = {lane.id: lane.size for lane in store.jobs.lanes(run.id)}
    opening = Opening(spec=spec, released=released, limits=dict(scenario.limits))
    store.runs.open(run.id, opening, now)
    return run.id


def _told(scenario: Scenario) -> Iterator[tuple[int, str]]:
    yield from enumerate(scenario.prompts)


def _job(number: int, text: str, template: dict[str, Any], provider: Provider) -> NewJob:
    own = {"prompt": text}
    return NewJob(
        key=f"doc-{number:04}",
        provider=provider.name,
        model=template["model"] if provider.limits.models == "one" else "",
        endpoint=provider.traits.endpoint,
        digest=requests.digest(template, own, []),
        template=template,
        template_digest=requests.template_digest(template),
        own=own,
        documents=None,
        metadata=None,
        bytes=len(text) + 100,
        tokens=len(text) + 50,
        bound=BOUND,
    )


def points_of(told: Mapping[str, Any], most: int) -> list[Point]:
    """Return the points a run passed, each at its first ``most`` times."""
    passed: Counter[str] = Counter(told["points"])
    return [(name, nth) for name, times in passed.items() for nth in range(1, min(times, most) + 1)]


def was_killed(told: Mapping[str, Any]) -> bool:
    """Say whether a process died of SIGKILL."""
    return bool(told["signal"] == signal.SIGKILL)
