"""Random nights, on demand: crashes and faults through the real SDKs, on both databases.

    python -m tests.engine.soak --nights 200 --seed 1

A night is drawn from its seed and name alone, so that ``--only openai/sqlite/17`` plays it again.
Most crashes are in this process, for speed: an engine is abandoned at a random write or call, and
writes nothing any more. Every tenth night real processes are killed with SIGKILL. Printed are a
table of the nights and one of the faults; the exit code is 1 if any promise was broken.
"""

from __future__ import annotations

import argparse
import os
import shutil
import sys
import tempfile
import traceback
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import Any

from batchkit.clock import SystemClock
from batchkit.engine import Engine
from batchkit.simulator import Fault
from batchkit.upkeep import statements
from tests import postgres
from tests.conftest import _migrate
from tests.engine import child, crashes
from tests.engine.child import Points, Proxy
from tests.engine.crashes import BOUND, DAY, KEY, Case, Scenario, Server
from tests.engine.sharing import SharedClock

PROVIDERS = ("openai", "anthropic")
DATABASES = ("sqlite", "postgres")
LOST_LINES = ("missing", "garbled", "utf8")
ODD_LINES = ("duplicate", "stranger", "blankline", "crlf", "separators", "extra", "500*1", "429*1")
PATIENCE = 5_000
"""Passes after which a night that goes on and on is a failure."""

STUCK = 200
"""Passes in which a run waits for a person, whom no fault here calls for."""


class Crash(BaseException):
    """The process is gone; whoever cleans up after it is gone as well."""


@dataclass(slots=True)
class Mortal(Points):
    """Points at which an engine dies in this process: from then on nothing of it is written."""

    dies_at: int | None = None
    dead: bool = False

    def at(self, name: str) -> None:
        self.passed[name] += 1
        if self.dies_at is not None and self.passed.total() >= self.dies_at:
            self.dead = True
        if self.dead:
            raise Crash(name)


class Switch(Points):
    """The points of whoever is at work: the store's writes are watched once for all."""

    def __init__(self) -> None:
        super().__init__(None)
        self.now: Mortal | None = None

    def at(self, name: str) -> None:
        if self.now is not None:
            self.now.at(name)


@dataclass(slots=True)
class Tally:
    """What came of the nights of one provider on one database."""

    provider: str
    database: str
    nights: int = 0
    crashes: int = 0
    kills: int = 0
    jobs: int = 0
    twice: int = 0
    lost: int = 0
    over: int = 0
    verify: int = 0
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)

    @property
    def is_good(self) -> bool:
        return not (self.twice or self.lost or self.over or self.verify)


@dataclass(slots=True)
class Told:
    """One night's end."""

    crashes: int = 0
    kills: int = 0
    over: int = 0
    wrong: list[str] = field(default_factory=list)


class Dice:
    """Draws a night."""

    def __init__(self, provider: str, chance: Random) -> None:
        self.provider, self.chance = provider, chance

    def scenario(self) -> Scenario:
        """Return the jobs, the provider's mood, the limits, and what goes wrong."""
        jobs = self.chance.randrange(4, 13)
        return Scenario(
            "soak",
            [self._prompt(number) for number in range(jobs)],
            faults=self._faults(),
            limits={"cost_limit": int(jobs * 130_000 * self.chance.uniform(1, 3)) + 2 * BOUND},
            settings=self._settings(),
            spec={
                "items_per_batch": self.chance.randrange(1, 6),
                "max_parallel_batches": self.chance.randrange(1, 5),
                "max_attempts": 4,
            },
        )

    def _prompt(self, number: int) -> str:
        text = f"document {number} is about matter {number * 7}"
        roll = self.chance.random()
        if roll < 0.04:
            return f"{text} [[sim:{self.chance.choice(LOST_LINES)}]]"
        if roll < 0.25:
            return f"{text} [[sim:{self.chance.choice(ODD_LINES)}]]"
        return text

    def _settings(self) -> dict[str, Any]:
        chance = self.chance
        told: dict[str, Any] = {
            "seed": chance.randrange(1_000),
            "batch_seconds": chance.choice([(5.0, 20.0), (60.0, 300.0), (300.0, 2_000.0)]),
            "list_lag_seconds": chance.choice([0.0, 0.0, 30.0, 200.0]),
            "missing_after_create_seconds": chance.choice([0.0, 0.0, 60.0]),
            "missing_every": chance.choice([0, 0, 3]),
            "final_newline": chance.random() < 0.9,
        }
        if chance.random() < 0.2:  # some batches expire, with a part of it done
            told |= {"window_seconds": 1_800.0, "batch_seconds": (300.0, 2_100.0)}
        if chance.random() < 0.2 and self.provider == "openai":
            told["enqueued_tokens"] = {"": chance.choice([25, 60, 150])}
        if chance.random() < 0.2 and self.provider == "anthropic":
            told["queued_requests"] = chance.choice([5, 8])
        return told

    def _faults(self) -> dict[str, list[tuple[int, Fault]]]:
        chance = self.chance
        rate = chance.choice([0.05, 0.15, 0.3])
        results = "files.content" if self.provider == "openai" else "batches.results"
        routes = {
            "batches.create": (20, self._created),
            "batches.retrieve": (60, self._asked),
            "batches.list": (40, self._asked),
            "batches.cancel": (4, self._asked),
            results: (20, self._downloaded),
        }
        if self.provider == "openai":
            routes |= {"files.create": (20, self._created), "files.delete": (10, self._asked)}
        return {
            route: [(n, draw()) for n in range(1, most) if chance.random() < rate]
            for route, (most, draw) in routes.items()
        }

    def _created(self) -> Fault:
        chance = self.chance
        kinds = ["refuse", "refuse", "drop", "drop", "status", "half", "html", "cut"]
        kind: Any = chance.choice(kinds)
        if kind == "refuse":
            return Fault("refuse", status=chance.choice([0, 408, 409, 429, 500, 503, 529]))
        if kind == "status":
            return Fault("status", status=chance.choice([408, 409, 500, 502, 503, 529]))
        if chance.random() < 0.03:
            return Fault("hang", seconds=0.6)
        return Fault(kind)

    def _asked(self) -> Fault:
        chance = self.chance
        kind: Any = chance.choice(["refuse", "refuse", "drop", "half", "html", "cut"])
        if kind == "refuse":
            return Fault("refuse", status=chance.choice([0, 404, 429, 500, 503]))
        return Fault(kind)

    def _downloaded(self) -> Fault:
        kinds = ("drop", "cut", "long", "unended", "line-cut", "mid-line-cut", "gzip-cut")
        kind: Any = self.chance.choice([*kinds, "html", "half", "redirect", "refuse"])
        return Fault(kind, status=self.chance.choice([404, 500, 503]))


class Night:
    """One run, one database, one provider, and those who die over it."""

    def __init__(self, case: Case, chance: Random, switch: Switch, told: Told) -> None:
        self.case, self.chance, self.switch, self.told = case, chance, switch, told
        self.clock = SharedClock(case.simulator.url)
        self.workers: list[tuple[Engine, Mortal]] = []

    def play(self) -> None:
        """Drive the run to its end, with two workers at times, each dying now and then."""
        together = self.chance.choice([1, 1, 1, 2])
        self.workers = [self._born() for _ in range(together)]
        waited = 0
        for _ in range(PATIENCE):
            at = self.chance.randrange(together)
            acted = self._tick(at)
            self._look()
            run = self.case.store.runs.get(self.case.run)
            if run.finished_at is not None:
                return
            waited = waited + 1 if run.waiting_for else 0
            if waited > STUCK:
                self.told.wrong.append(f"it waits for {run.waiting_for}: {run.waiting_detail}")
                return
            if not acted:
                self.clock.wait(self.workers[at][0]._nap([self.case.run], None))
                self._set_clock()
        self.told.wrong.append("it goes on and on")

    def _tick(self, at: int) -> int:
        engine, points = self.workers[at]
        self.switch.now = points
        try:
            return engine.tick([self.case.run])
        except Crash:
            self.told.crashes += 1
            self.switch.now = None
            self.told.wrong += self.case.store.audit.problems(self.case.run)
            if self.chance.random() < 0.7:  # else its leases have to run out
                self.case.store.leases.bury(engine._owner)
            self.workers[at] = self._born()
            return 1
        finally:
            self.switch.now = None

    def _born(self) -> tuple[Engine, Mortal]:
        points = Mortal(None)
        if self.told.crashes < 15 and self.chance.random() < 0.95:
            points.dies_at = int(self.chance.expovariate(1 / 45)) + 1
        provider = self.case.provider
        real = crashes.adapter(provider, self.case.simulator.url, 0.4)
        engine = Engine(
            self.case.store,
            clock=self.clock,
            providers={provider: Proxy(real, points)},
            spools=self.case.folder / "spool",
        )
        engine._owner = f"elsewhere/{self.chance.randrange(1 << 40)}"
        return engine, points

    def _look(self) -> None:
        run = self.case.store.runs.get(self.case.run)
        if run.cost_limit is not None:
            self.told.over = max(self.told.over, run.spent + run.reserved - run.cost_limit)

    def _set_clock(self) -> None:
        if self.chance.random() < 0.01:
            self.clock.skew = self.chance.choice([0.0, -3_600.0, 3_600.0, 120.0, -120.0])


def killed(case: Case, chance: Random, told: Told) -> None:
    """Drive a run by processes that are killed with SIGKILL, until one comes through."""
    for _ in range(12):
        ended = case.live(kill=("", chance.randrange(10, 200)), max_wait=20 * DAY)
        if not crashes.was_killed(ended):
            break
        told.kills += 1
        told.wrong += case.store.audit.problems(case.run)
    else:
        ended = case.live(max_wait=20 * DAY)
    if ended.get("ending") != "done":
        told.wrong.append(str(ended))


class Soak:
    """All nights, one after the other."""

    def __init__(self, seed: int, folder: Path, databases: Databases, server: Server) -> None:
        self.seed, self.folder, self.databases, self.server = seed, folder, databases, server
        self.switch = Switch()
        child.watch_writes(self.switch)

    def night(self, provider: str, database: str, number: int, tally: Tally) -> list[str]:
        """Play one night; return what was wrong."""
        chance = Random(f"{self.seed}/{provider}/{database}/{number}")
        scenario = Dice(provider, chance).scenario()
        folder = self.folder / f"{provider}-{database}-{number}"
        began = SystemClock().monotonic()
        told = Told()
        with (
            self.databases.fresh(database, folder) as url,
            crashes.case(scenario, provider, url, folder, self.server) as case,
        ):
            os.environ["OPENAI_BASE_URL"] = case.simulator.openai_url
            os.environ["ANTHROPIC_BASE_URL"] = case.simulator.anthropic_url
            try:
                if number % 10 == 0:
                    killed(case, chance, told)
                else:
                    Night(case, chance, self.switch, told).play()
            except Exception:  # noqa: BLE001 -- a night that ends in a traceback is a bad one
                told.wrong.append(traceback.format_exc())
            wrong = self._judge(case, told, tally)
        tally.seconds += SystemClock().monotonic() - began
        if not wrong:
            shutil.rmtree(folder, ignore_errors=True)
        return wrong

    def _judge(self, case: Case, told: Told, tally: Tally) -> list[str]:
        """Hold the night's books against the provider's, and count them in."""
        books = crashes.balance(case.store, case.run, case.simulator, len(case.scenario.prompts))
        case.simulator.faults.clear()
        gone = _lost_lines(case)
        books.lost -= gone
        words = [word for word in books.wrong if not (gone and word.startswith("spent is"))]
        found = statements.compared(case.store, case.store.runs.get(case.run))
        # A line that the provider itself lost is counted by it and stands in no file.
        words += [] if gone else [f"provider: {one}" for one in found.problems]
        wrong = [*told.wrong, *words]
        tally.nights += 1
        tally.crashes += told.crashes
        tally.kills += told.kills
        tally.jobs += len(case.scenario.prompts)
        tally.twice += books.twice
        tally.lost += books.lost
        tally.over += max(told.over, books.over, 0)
        tally.verify += bool(wrong)
        for strike in case.simulator.ledger().strikes:
            tally.faults[strike.kind] += 1
        if books.twice or books.lost or told.over > 0:
            ended = case.store.answers.ended(case.run, ["failed", "cancelled"])
            codes = ", ".join(f"{one.key} {one.code}" for one in ended)
            wrong.append(f"twice {books.twice}, lost {books.lost}, over {told.over}: {codes}")
        return wrong


def _lost_lines(case: Case) -> int:
    """Count the jobs whose line the provider lost: they end, each with its reason."""
    asked = sum(
        any(f"[[sim:{name}]]" in text for name in LOST_LINES) for text in case.scenario.prompts
    )
    failed = case.store.answers.ended(case.run, ["failed"])
    return min(asked, sum(one.code in ("result_missing", "unreadable") for one in failed))


class Databases:
    """Makes a database with batchkit's tables for every night."""

    def __init__(self, folder: Path, stack: ExitStack) -> None:
        self._template = folder / "template.db"
        _migrate(f"sqlite:///{self._template}")
        self._cluster = postgres.start()
        stack.callback(self._cluster.stop)

    @contextmanager
    def fresh(self, database: str, folder: Path) -> Iterator[str]:
        """Make one, for as long as the night lasts."""
        folder.mkdir(parents=True, exist_ok=True)
        if database == "sqlite":
            yield f"sqlite:///{shutil.copy2(self._template, folder / 'batchkit.db')}"
            return
        with self._cluster.lent(self._cluster.template("migrated", _migrate)) as url:
            yield url


def main(given: Sequence[str] | None = None) -> int:
    """Play the nights that were asked for; return the exit code."""
    asked = _parser().parse_args(given)
    os.environ |= {"OPENAI_API_KEY": KEY, "ANTHROPIC_API_KEY": KEY}
    tallies = [Tally(one, other) for one in PROVIDERS for other in DATABASES]
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bk-soak-")))
        os.environ.pop("SSL_CERT_FILE", None)
        os.environ["SSL_CERT_DIR"] = str(folder)  # nothing here speaks TLS: no certificates
        server = stack.enter_context(Server())
        soak = Soak(asked.seed, folder, Databases(folder, stack), server)
        for number in range(-(-asked.nights // len(tallies))):
            for tally in tallies:
                name = f"{tally.provider}/{tally.database}/{number}"
                if asked.only in (None, name) and name.startswith(asked.part):
                    _told(name, soak.night(tally.provider, tally.database, number, tally))
    played = [tally for tally in tallies if tally.nights]
    print("\n".join(_table(played)))
    return 0 if played and all(tally.is_good for tally in played) else 1


def _told(name: str, wrong: list[str]) -> None:
    words = "; ".join(wrong) if wrong else "good"
    print(f"{name}: {words}", file=sys.stderr, flush=True)


def _table(tallies: Sequence[Tally]) -> Iterator[str]:
    heads = (
        *("provider", "database", "nights", "crashes", "SIGKILLs", "faults", "jobs"),
        *("bought twice", "lost", "over limit", "verify failed", "seconds"),
    )
    rows = [
        (
            *(t.provider, t.database, t.nights, t.crashes, t.kills, t.faults.total(), t.jobs),
            *(t.twice, t.lost, t.over, t.verify, round(t.seconds)),
        )
        for t in tallies
    ]
    yield "| " + " | ".join(heads) + " |"
    yield "| " + " | ".join("---" if n < 2 else "--:" for n in range(len(heads))) + " |"
    yield from (
        "| " + " | ".join(f"{cell:,}" if isinstance(cell, int) else cell for cell in row) + " |"
        for row in rows
    )
    kinds: Counter[str] = sum((t.faults for t in tallies), Counter())
    yield ""
    yield "faults by kind: " + ", ".join(f"{kind} {n:,}" for kind, n in kinds.most_common())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.engine.soak", description=__doc__)
    parser.add_argument("--nights", type=int, default=200, help="over both providers and databases")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--part", default="", help="some of them, such as openai/ or openai/sqlite")
    parser.add_argument("--only", help="one night, as it was named: openai/sqlite/17")
    return parser


if __name__ == "__main__":
    sys.exit(main())
