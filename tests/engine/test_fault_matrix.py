"""Whatever goes wrong at the provider: bought once, nothing lost, nothing over the limit."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from batchkit.clock import SystemClock
from batchkit.engine import Ending, Engine
from batchkit.model import Spool
from batchkit.simulator import Fault, Simulator
from batchkit.store import Store
from tests.engine import crashes
from tests.engine.crashes import DAY, KEY, Books, Scenario
from tests.engine.sharing import SharedClock
from tests.engine.tables import Line

HOUR = 3_600.0
QUICK = {"batch_seconds": (12.0, 15.0)}
FOUR = [f"document {n} is about matter {n * 7}" for n in range(4)]
PROVIDERS = ("openai", "anthropic")
pytestmark = pytest.mark.matrix

ROUTES = {
    ("download", "openai"): "files.content",
    ("download", "anthropic"): "batches.results",
    ("create", ""): "batches.create",
    ("upload", ""): "files.create",
    ("poll", ""): "batches.retrieve",
    ("list", ""): "batches.list",
    ("cancel", ""): "batches.cancel",
    ("delete", ""): "files.delete",
}


@dataclass(frozen=True, slots=True)
class Trouble:
    """What goes wrong, at which step, at which of its calls."""

    name: str
    at: str
    fault: Fault
    calls: Sequence[int] = (1,)
    settings: Mapping[str, Any] = field(default_factory=dict)
    timeout: float | None = None

    def scenario(self, provider: str, prompts: Sequence[str] = FOUR) -> Scenario:
        """Return the night in which it happens."""
        route = ROUTES.get((self.at, provider)) or ROUTES[self.at, ""]
        return Scenario(
            self.name,
            prompts,
            faults={route: [(nth, self.fault) for nth in self.calls]},
            settings={**QUICK, **self.settings},
        )


SILENT = Fault("hang", seconds=1.0)
CREATE = [
    Trouble("refused: connection closed", "create", Fault("refuse", status=0)),
    *(
        Trouble(f"refused: {status}", "create", Fault("refuse", status=status))
        for status in (404, 408, 409, 429, 500, 502, 503, 529)
    ),
    Trouble("refused: 429, in 30 s", "create", Fault("refuse", status=429, retry_after="30")),
    Trouble(
        "refused: 429, at a time",
        "create",
        Fault("refuse", status=429, retry_after="date:9"),
        settings={"start": SystemClock().now().timestamp()},  # the date is real time
    ),
    Trouble("accepted, then dropped", "create", Fault("drop")),
    Trouble("accepted, then dropped, 3 times", "create", Fault("drop"), calls=(1, 2, 3)),
    *(
        Trouble(f"accepted, then {status}", "create", Fault("status", status=status))
        for status in (408, 409, 500, 502, 503, 529)
    ),
    Trouble("accepted, then silence", "create", SILENT, timeout=0.2),
    Trouble("accepted, then half a body", "create", Fault("half")),
    Trouble("accepted, then HTML", "create", Fault("html")),
    Trouble("accepted, then cut", "create", Fault("cut")),
    *(
        Trouble(
            f"accepted, then dropped, listed {lag} s later",
            "create",
            Fault("drop"),
            settings={"list_lag_seconds": float(lag)},
        )
        for lag in (60, 200, 800)
    ),
    Trouble(
        "accepted, then dropped, 404 at every third look",
        "create",
        Fault("drop"),
        settings={"missing_after_create_seconds": 60.0, "missing_every": 3},
    ),
]
UPLOAD = [
    Trouble("refused: connection closed", "upload", Fault("refuse", status=0)),
    Trouble("refused: 503", "upload", Fault("refuse", status=503)),
    Trouble("refused: 429", "upload", Fault("refuse", status=429)),
    Trouble("refused: 404", "upload", Fault("refuse", status=404)),
    Trouble("taken, then dropped", "upload", Fault("drop")),
    Trouble("taken, then 500", "upload", Fault("status", status=500)),
    Trouble("taken, then silence", "upload", SILENT, timeout=0.2),
    Trouble("taken, then half a body", "upload", Fault("half")),
    Trouble("taken, then HTML", "upload", Fault("html")),
]
POLL = [
    Trouble("an outage of hours", "poll", Fault("refuse", status=503), calls=range(1, 30)),
    Trouble("nobody there for hours", "poll", Fault("refuse", status=0), calls=range(1, 30)),
    Trouble("half a body", "poll", Fault("half"), calls=(1, 2)),
    Trouble("HTML", "poll", Fault("html"), calls=(1, 2)),
    Trouble("404 for a while", "poll", Fault("refuse", status=404), calls=range(1, 6)),
    Trouble("429", "poll", Fault("refuse", status=429, retry_after="100"), calls=(1, 2)),
    Trouble("silence", "poll", SILENT, timeout=0.2),
]
DOWNLOAD = [
    Trouble("500, then well", "download", Fault("refuse", status=500), calls=(1, 2)),
    Trouble("dropped", "download", Fault("drop"), calls=(1, 2)),
    Trouble("too short for its length", "download", Fault("cut"), calls=(1, 2)),
    Trouble("longer announced than sent", "download", Fault("long")),
    Trouble("chunked without an end", "download", Fault("unended"), calls=(1, 2)),
    Trouble("cut at a line's end", "download", Fault("line-cut"), calls=(1, 2)),
    Trouble("cut inside a line", "download", Fault("mid-line-cut"), calls=(1, 2)),
    Trouble("gzip, cut", "download", Fault("gzip-cut"), calls=(1, 2)),
    Trouble("a stall", "download", Fault("stall", seconds=1.0), timeout=0.2),
    Trouble("a slow drip", "download", Fault("drip", seconds=0.3)),
    Trouble("redirected", "download", Fault("redirect")),
    Trouble("HTML", "download", Fault("html"), calls=(1, 2)),
    Trouble("half a file", "download", Fault("half"), calls=(1, 2)),
    Trouble("half a line", "download", Fault("half", fraction=0.95), calls=(1, 2)),
    Trouble("404 for a while", "download", Fault("refuse", status=404), calls=range(1, 5)),
]
LOOK = [
    Trouble("503", "list", Fault("refuse", status=503), calls=range(1, 8)),
    Trouble("404 for a while", "list", Fault("refuse", status=404), calls=range(2, 8)),
    Trouble("half a body", "list", Fault("half"), calls=(1, 2)),
    Trouble("HTML", "list", Fault("html"), calls=(1, 2)),
    Trouble("cut", "list", Fault("cut"), calls=(1, 2)),
]


class Night:
    """A run in this process against a simulator, by the simulator's time."""

    def __init__(self, case: crashes.Case, timeout: float | None = None) -> None:
        self.case = case
        self.clock = SharedClock(case.simulator.url)
        self._timeout = timeout

    def engine(self) -> Engine:
        """Return a new engine, as another process would make it."""
        provider = self.case.provider
        adapter = crashes.adapter(provider, self.case.simulator.url, self._timeout)
        return Engine(
            self.case.store,
            clock=self.clock,
            providers={provider: adapter},
            spools=self.case.folder / "spool",
        )

    def drive(self) -> Ending:
        """Drive the run until it ends."""
        runs = [self.case.run]
        return self.engine().drive(runs, stop=threading.Event(), max_wait=4 * DAY)


@contextmanager
def night(
    scenario: Scenario, provider: str, url: str, folder: Path, timeout: float | None = None
) -> Iterator[Night]:
    """Make a night; afterwards the key stands nowhere in it."""
    with crashes.case(scenario, provider, url, folder, None) as case:
        yield Night(case, timeout)
        case.store.close()
        for path in folder.rglob("*"):
            if path.is_file() and "provider" not in path.relative_to(folder).parts:
                assert KEY.encode() not in path.read_bytes(), f"the key stands in {path}"


def kept(record: Any, books: Books, fault: str, where: str, provider: str, url: str) -> None:
    """Put a line into the table."""
    database = "sqlite" if url.startswith("sqlite") else "postgres"
    Line(fault, where, provider, database, books.twice, books.lost, books.over).keep(record)


def ids(troubles: Sequence[Trouble]) -> list[str]:
    """Name the cases."""
    return [trouble.name for trouble in troubles]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("trouble", CREATE, ids=ids(CREATE))
def test_whatever_a_create_answers_it_is_bought_once(
    trouble: Trouble, provider: str, migrated_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 1, at create."""
    _survives(trouble, provider, migrated_url, tmp_path, record_property)


@pytest.mark.parametrize("trouble", UPLOAD, ids=ids(UPLOAD))
def test_an_upload_that_went_astray_costs_nothing(
    trouble: Trouble, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 1, at upload: nothing was created, so it goes again."""
    _survives(trouble, "openai", migrated_sqlite_url, tmp_path, record_property)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("trouble", POLL, ids=ids(POLL))
def test_an_outage_changes_no_jobs_state(
    trouble: Trouble, provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 2: a transport error or a 404 never changes a job's state."""
    _survives(trouble, provider, migrated_sqlite_url, tmp_path, record_property)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("trouble", DOWNLOAD, ids=ids(DOWNLOAD))
def test_a_download_that_breaks_converges_by_downloading_again(
    trouble: Trouble, provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 2, section 12.1 C5."""
    _survives(trouble, provider, migrated_sqlite_url, tmp_path, record_property)


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("trouble", LOOK, ids=ids(LOOK))
def test_a_look_that_fails_proves_nothing(
    trouble: Trouble, provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 1: "cannot tell yet" waits and asks again."""
    scenario = trouble.scenario(provider)
    faults = {**scenario.faults, "batches.create": [(1, Fault("drop")), (2, Fault("drop"))]}
    with night(
        replace(scenario, faults=faults), provider, migrated_sqlite_url, tmp_path / "night"
    ) as this:
        ending = this.drive()
        books = this.case.books()
        where = "look after a lost create"
        kept(record_property, books, trouble.name, where, provider, migrated_sqlite_url)
        assert (ending, books) == ("done", Books())


def _survives(trouble: Trouble, provider: str, url: str, tmp_path: Path, record: Any) -> None:
    scenario = trouble.scenario(provider)
    with night(scenario, provider, url, tmp_path / "night", trouble.timeout) as this:
        ending = this.drive()
        books = this.case.books()
        kept(record, books, trouble.name, trouble.at, provider, url)
        assert (ending, books) == ("done", Books())
        assert not this.case.simulator.ledger().retries(), "an SDK retried by itself"


LINES = ("duplicate", "stranger", "blankline", "crlf", "separators", "extra", "unknown-block")
UNREADABLE = {"missing": "result_missing", "garbled": "unreadable", "utf8": "unreadable"}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("marker", LINES)
def test_a_strange_line_costs_no_answer(
    marker: str, provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 2: a duplicate, an unknown id, a blank line each have a defined end."""
    prompts = [*FOUR[:3], f"{FOUR[3]} [[sim:{marker}]]"]
    scenario = Scenario(marker, prompts, settings=QUICK)
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        ending = this.drive()
        books = this.case.books()
        kept(record_property, books, f"line: {marker}", "download", provider, migrated_sqlite_url)
        assert (ending, books) == ("done", Books())


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("marker", UNREADABLE)
def test_a_line_that_is_lost_ends_at_its_worst_case_and_is_not_bought_again(
    marker: str, provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """Promise 2: paid and unreadable is booked as a bound, never silently bought again."""
    prompts = [*FOUR[:3], f"{FOUR[3]} [[sim:{marker}]]"]
    scenario = Scenario(marker, prompts, settings=QUICK)
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert this.drive() == "done"
        store, run = this.case.store, this.case.run
        [failed] = list(store.answers.ended(run, ["failed"]))
        assert failed.code == UNREADABLE[marker]
        paid = sum(e.input_tokens + e.output_tokens for e in this.case.simulator.ledger().entries)
        others = sum(answer.cost or 0 for answer in store.answers.ended(run, ["completed"]))
        assert paid * 1_000 - others <= (failed.cost or 0) <= crashes.BOUND
        assert store.runs.get(run).completed == 3
        assert this.case.simulator.ledger().bought_twice() == []
        assert store.audit.problems(run) == []


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_file_that_is_always_short_is_taken_when_it_came_twice_alike(
    provider: str, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """Promise 2: the sixth download may be torn where the fifth was not. A soak's finding."""
    prompts = [*FOUR[:3], f"{FOUR[3]} [[sim:missing]]"]
    torn = {ROUTES["download", provider]: [(6, Fault("half"))]}
    scenario = Scenario("short", prompts, faults=torn, settings=QUICK, spec={"items_per_batch": 4})
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        assert this.drive() == "done"
        store, run = this.case.store, this.case.run
        assert [one.code for one in store.answers.ended(run, ["failed"])] == ["result_missing"]
        assert store.runs.get(run).completed == 3
        assert store.audit.problems(run) == []


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("hours", [-5, 5], ids=["slow", "fast"])
def test_a_clock_that_is_wrong_by_hours_buys_nothing_twice(
    hours: int, provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 1: the window of a look is in the provider's time."""
    scenario = Scenario("clock", FOUR, faults=_dropped(), settings=QUICK)
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        this.clock.skew = hours * HOUR
        ending = this.drive()
        books = this.case.books()
        name = f"our clock is {abs(hours)} h {'slow' if hours < 0 else 'fast'}"
        kept(record_property, books, name, "create, dropped", provider, migrated_sqlite_url)
        assert (ending, books) == ("done", Books())


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "lost"])
@pytest.mark.parametrize("hours", [-5, 5], ids=["back", "forward"])
def test_a_clock_that_is_set_between_create_and_look_buys_nothing_twice(
    hours: int,
    arrived: bool,
    provider: str,
    migrated_sqlite_url: str,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """Promise 1: the provider's time of the intent is kept with it."""
    fault = Fault("drop") if arrived else Fault("refuse", status=0)
    settings = {**QUICK, "list_lag_seconds": 300.0}
    scenario = Scenario(
        "clock", FOUR, faults={"batches.create": [(1, fault), (2, fault)]}, settings=settings
    )
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        this.engine().tick([this.case.run])
        this.clock.skew = hours * HOUR
        ending = this.drive()
        books = this.case.books()
        name = f"our clock is set {'back' if hours < 0 else 'forward'} by {abs(hours)} h"
        where = f"create, {'dropped' if arrived else 'refused'}"
        kept(record_property, books, name, where, provider, migrated_sqlite_url)
        assert (ending, books) == ("done", Books())


@pytest.mark.parametrize("provider", PROVIDERS)
def test_a_clock_set_back_by_as_much_as_has_passed_buys_nothing_twice(
    provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 1: what was heard an hour ago is not taken for a minute old. A soak's finding."""
    download = ROUTES["download", provider]
    scenario = Scenario(
        "clock",
        FOUR[:2],
        faults={"batches.create": [(2, Fault("drop"))], download: [(1, Fault("drop"))]},
        settings={**QUICK, "list_lag_seconds": 300.0},
        spec={"items_per_batch": 1, "max_parallel_batches": 1},
    )
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        engine, runs = this.engine(), [this.case.run]
        for _ in range(100):
            if not engine.tick(runs):
                this.clock.wait(engine._nap(runs, None))
            if this.case.simulator.ledger().strikes:
                break
        this.clock.skew = -HOUR
        ending = engine.drive(runs, stop=threading.Event(), max_wait=DAY)
        books = this.case.books()
        where = "between two creates"
        name = "our clock is set back by as much as has passed"
        kept(record_property, books, name, where, provider, migrated_sqlite_url)
        assert (ending, books) == ("done", Books())


def _dropped() -> dict[str, Any]:
    return {"batches.create": [(1, Fault("drop")), (2, Fault("drop"))]}


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("arrived", [True, False], ids=["arrived", "lost"])
@pytest.mark.parametrize("lasts", [10.0, 30_000.0], ids=["ended", "running"])
def test_strangers_with_the_same_count_at_the_same_minute_are_left_alone(
    lasts: float,
    arrived: bool,
    provider: str,
    migrated_sqlite_url: str,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """Promise 1: never cancelled, never collected, never adopted for good."""
    fault = Fault("drop") if arrived else Fault("refuse", status=0)
    scenario = Scenario("strangers", FOUR[:2], settings={"batch_seconds": (lasts, lasts + 5)})
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        theirs = [_stranger(this.case.simulator, provider, tmp_path, 0)]
        sim = this.case.simulator
        sim.faults.add(f"{provider}.batches.create", fault, 1)
        this.engine().tick([this.case.run])
        theirs += [_stranger(sim, provider, tmp_path, n) for n in (1, 2)]
        ending = this.drive()
        books = _without(this.case, theirs)
        name = f"strangers, {'ended' if lasts < HOUR else 'running'}"
        where = f"create, {'dropped' if arrived else 'refused'}"
        kept(record_property, books, name, where, provider, migrated_sqlite_url)
        assert (ending, books) == ("done", Books())
        _left_alone(this.case, theirs)


@pytest.mark.parametrize("provider", PROVIDERS)
def test_two_databases_in_one_workspace_each_find_their_own(
    provider: str,
    migrated_sqlite_url: str,
    migrated_sqlite_file: Path,
    tmp_path: Path,
    record_property: Any,
) -> None:
    """Promise 1: strangers may be our own, from another database."""
    import shutil

    scenario = Scenario("two databases", FOUR[:2], settings=QUICK)
    other_url = f"sqlite:///{shutil.copy2(migrated_sqlite_file, tmp_path / 'other.db')}"
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        other_store = Store(other_url)
        prompts = ["another database asks", "and asks again"]
        adapter = crashes.adapter(provider, this.case.simulator.url)
        run = crashes.open_run(other_store, replace(scenario, prompts=prompts), adapter)
        other = Engine(
            other_store,
            clock=this.clock,
            providers={provider: adapter},
            spools=tmp_path / "other",
        )
        sim = this.case.simulator
        sim.faults.add(f"{provider}.batches.create", Fault("drop"), 1)
        sim.faults.add(f"{provider}.batches.create", Fault("drop"), 2)
        mine = this.engine()
        until = this.clock.monotonic() + DAY
        while this.clock.monotonic() < until:
            acted = mine.tick([this.case.run]) + other.tick([run])
            if this.case.store.runs.get(this.case.run).finished_at and (
                other_store.runs.get(run).finished_at
            ):
                break
            if acted == 0:
                this.clock.wait(10)
        ours = {b.ref for b in this.case.store.batches.of_run(this.case.run)}
        theirs = {b.ref for b in other_store.batches.of_run(run)}
        assert ours.isdisjoint(theirs)
        books = _without(this.case, sorted(str(ref) for ref in theirs))
        kept(record_property, books, "two databases", "create, dropped", provider, "sqlite")
        assert books == Books()
        assert other_store.runs.get(run).completed == 2
        assert other_store.audit.problems(run) == []
        _left_alone(this.case, [])
        other_store.close()


def _stranger(simulator: Simulator, provider: str, folder: Path, number: int) -> str:
    """Let another tool send a batch of two from the same workspace."""
    adapter = crashes.adapter(provider, simulator.url)
    from batchkit.model import Request

    path = folder / f"stranger-{number}.jsonl"
    model = crashes.MODELS[provider]
    lines = [
        adapter.encode(Request(model, 50, prompt=f"stranger {number} {n}"), f"their-{number}-{n}")
        for n in range(2)
    ]
    path.write_bytes(b"".join(line + b"\n" for line in lines))
    spool = Spool(
        path, f"their{number}", 2, path.stat().st_size, "0" * 64, model, adapter.traits.endpoint
    )
    return adapter.create(spool, adapter.stage(spool)).ref


def _without(case: crashes.Case, theirs: Sequence[str]) -> Books:
    return crashes.balance(
        case.store, case.run, case.simulator, len(case.scenario.prompts), strangers=theirs
    )


def _left_alone(case: crashes.Case, theirs: Sequence[str]) -> None:
    ledger = case.simulator.ledger()
    assert not any(batch.cancelled for batch in ledger.batches)
    assert not {batch.ref for batch in case.store.batches.of_run(case.run)} & set(theirs)


CANCEL = [
    Trouble("500", "cancel", Fault("refuse", status=500)),
    Trouble("dropped", "cancel", Fault("drop")),
    Trouble("404", "cancel", Fault("refuse", status=404)),
    Trouble("409", "cancel", Fault("refuse", status=409)),
]


@pytest.mark.parametrize("provider", PROVIDERS)
@pytest.mark.parametrize("trouble", CANCEL, ids=ids(CANCEL))
def test_a_cancel_that_fails_is_asked_again_and_what_ran_is_kept(
    trouble: Trouble, provider: str, migrated_sqlite_url: str, tmp_path: Path, record_property: Any
) -> None:
    """Promise 2: what was answered is kept, also from cancelled batches."""
    scenario = replace(trouble.scenario(provider), settings={"batch_seconds": (20_000.0, 20_000.0)})
    with night(scenario, provider, migrated_sqlite_url, tmp_path / "night") as this:
        store, run = this.case.store, this.case.run
        this.engine().tick([run])
        this.clock.wait(12_000)
        store.runs.request_cancel(run, this.clock.now())
        assert this.drive() == "done"
        ledger = this.case.simulator.ledger()
        row = store.runs.get(run)
        executed = sum(entry.executed for entry in ledger.entries)
        name = f"cancel: {trouble.name}"
        books = Books(lost=executed - row.completed, wrong=store.audit.problems(run))
        kept(record_property, books, name, "cancel", provider, migrated_sqlite_url)
        assert books == Books()
        assert row.completed + row.cancelled == 4
        assert ledger.bought_twice() == []
