"""Doubles to test with, for batchkit's own tests and for yours.

    from batchkit.testing import Course, FakeProvider, ManualClock, simulator

``FakeProvider`` keeps its batches in memory and does as it is told; ``ManualClock`` is a time that
moves only when somebody waits or says so; ``simulator`` is a pytest fixture: both providers' HTTP
on a loopback port, for the real adapters.
"""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Container, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

import orjson

from batchkit.errors import ProviderRefused, ProviderUnavailable
from batchkit.model import (
    Account,
    BatchStatus,
    Candidate,
    Citation,
    Created,
    Download,
    Errored,
    Json,
    Limits,
    NotRun,
    Outcome,
    Request,
    Search,
    Spool,
    Succeeded,
    Traits,
    Unreadable,
    Usage,
    Window,
)
from batchkit.schemas import AnswerSchema

if TYPE_CHECKING:
    from batchkit.clock import Clock
    from batchkit.simulator import Simulator

    def simulator() -> Iterator[Simulator]:
        """Pytest fixture: the simulator with a clock of its own that ``advance`` moves.

        ``OPENAI_BASE_URL``, ``OPENAI_API_KEY``, ``ANTHROPIC_BASE_URL`` and ``ANTHROPIC_API_KEY``
        lead to it while the test runs.
        """


T = TypeVar("T")

Answer: TypeAlias = Outcome | str | Mapping[str, Any] | Sequence[Any] | None
"""What an answering function may return: an outcome, a text, JSON data, or None for the default."""

LIMITS = Limits(
    requests=1_000, bytes=10_000_000, request_bytes=1_000_000, models="one", queue="requests"
)
TRAITS = Traits(
    endpoint="/fake",
    prefixes=("fake-",),
    parameters=frozenset({"temperature", "seed"}),
    refused={"stream": "a batch cannot stream: leave it out"},
    window=timedelta(hours=24),
    retention=timedelta(days=30),
    stages=True,
    metadata=True,
    dialect="openai",
    citations=True,
)
START = datetime(2026, 11, 20, 22, tzinfo=UTC)


class ManualClock:
    """A clock that stands still; waiting moves it and returns at once.

    ``wait(seconds)`` moves the time to what it was on entry plus ``seconds``, never beyond: threads
    that begin to wait together end together, and the time is the furthest of them. A thread that
    only ever waits does outrun one that works; ``pace`` is the real time, in seconds, that every
    wait gives to the others.
    """

    def __init__(self, now: datetime = START, *, pace: float = 0.0005) -> None:
        self._lock = threading.Lock()
        self._start = now
        self._elapsed = 0.0
        self._shift = timedelta()
        self._pace = pace

    def now(self) -> datetime:
        """Return the time."""
        with self._lock:
            return self._start + self._shift + timedelta(seconds=self._elapsed)

    def monotonic(self) -> float:
        """Return the seconds that have passed; setting the clock back does not change them."""
        with self._lock:
            return self._elapsed

    def advance(self, by: float | timedelta) -> datetime:
        """Let time pass and return the new one; raise ValueError for going back (see ``set``)."""
        seconds = by.total_seconds() if isinstance(by, timedelta) else by
        if seconds < 0:
            raise ValueError("time does not pass backwards; set() sets the clock")
        with self._lock:
            self._elapsed += seconds
        return self.now()

    def set(self, now: datetime) -> None:
        """Set the clock, back too, as a person or NTP does; ``monotonic`` goes on as it was."""
        with self._lock:
            self._shift = now - self._start - timedelta(seconds=self._elapsed)

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Move the time to now plus ``seconds`` unless ``wake`` is set; return whether it is."""
        if wake is not None and wake.is_set():
            return True
        target = self.monotonic() + max(0.0, seconds)
        (wake or threading.Event()).wait(self._pace)
        if wake is not None and wake.is_set():
            return True
        with self._lock:
            self._elapsed = max(self._elapsed, target)
        return False


@dataclass(frozen=True, slots=True)
class Course:
    """How a batch goes at the FakeProvider.

    It ends ``takes`` after its create, or at its ``polls``-th poll where ``takes`` is None.
    ``done`` is the share of its requests, first ones first, that have run when it ends as anything
    but ``completed``; ``done_at_cancel`` the same for a batch that is cancelled on the way.
    ``reason`` ``failed`` means that nothing ran, ``queue_full`` that it may go again as it is.
    ``missing``, ``duplicated`` and ``unreadable`` are positions of result lines; ``unknown`` is how
    many lines with a foreign id are put among them.
    """

    takes: timedelta | None = None
    polls: int = 1
    reason: str = "completed"
    done: float = 0.0
    done_at_cancel: float = 0.0
    queue_full: bool = False
    queue_limit: int | None = None
    error_code: str | None = None
    error_message: str | None = None
    missing: Container[int] = ()
    duplicated: Container[int] = ()
    unreadable: Container[int] = ()
    unknown: int = 0


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of one accepted batch: ``waiting``, ``ran`` or ``not_run``."""

    ref: str
    custom_id: str
    body: str
    state: str


@dataclass(frozen=True, slots=True)
class Ledger:
    """What was accepted, at one instant; ``body`` is a hash of the line without its custom_id."""

    entries: Sequence[Entry]
    asked: int = 0

    def ran(self, custom_id: str) -> int:
        """Return how often a custom_id ran."""
        return sum(e.state == "ran" for e in self.entries if e.custom_id == custom_id)

    def by_body(self) -> dict[str, int]:
        """Return how often each body ran or is about to."""
        return dict(Counter(e.body for e in self.entries if e.state != "not_run"))

    def bought_twice(self) -> list[str]:
        """Return the bodies that ran, or are about to, more than once: equal requests as well."""
        return [body for body, times in self.by_body().items() if times > 1]


@dataclass(slots=True)
class _Batch:
    ref: str
    token: str
    lines: list[bytes]
    file_ref: str | None
    created_at: datetime
    course: Course
    stranger: bool = False
    polls: int = 0
    cancelled: bool = False
    reason: str | None = None
    ended_at: datetime | None = None
    ran: int = 0


@dataclass(slots=True)
class _Fault:
    error: BaseException
    accept: bool
    skip: int
    times: int


@dataclass(slots=True)
class _Memory:
    files: dict[str, list[bytes]] = field(default_factory=dict)
    batches: dict[str, _Batch] = field(default_factory=dict)
    faults: dict[str, deque[_Fault]] = field(default_factory=dict)
    courses: deque[Course] = field(default_factory=deque)
    asked: int = 0
    number: int = 0


class FakeProvider:
    """A provider in memory: structurally a ``batchkit.providers.Provider``, safe in threads.

    ``answer`` gets a line as data (``custom_id``, ``model``, ``prompt``, …) and returns its answer;
    by default JSON that fits the schema, else the prompt. ``course`` is how batches go unless
    ``next`` says otherwise. Without ``metadata`` (Anthropic) a lost create is found by count and
    time only, as ``provisional``; without ``stages`` create takes the lines. ``lag`` keeps young
    batches out of the listing. ``queue`` is how many requests may run at once: what is above it
    fails with ``queue_full``. ``calls`` counts the calls by name.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        clock: Clock | None = None,
        answer: Callable[[Json], Answer] | None = None,
        course: Course | None = None,
        stages: bool = True,
        metadata: bool = True,
        lag: timedelta = timedelta(),
        queue: int | None = None,
        limits: Limits = LIMITS,
        traits: Traits = TRAITS,
    ) -> None:
        self.name = name
        self.limits = limits
        self.traits = replace(traits, stages=stages, metadata=metadata)
        self.clock: Clock = clock or ManualClock()
        self.lag = lag
        self.queue = queue
        self.incomplete_looks = 0
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()[:16]
        self.calls: Counter[str] = Counter()
        self._answer = answer
        self._course = course or Course()
        self._memory = _Memory()
        self._schemas: dict[bytes, Callable[[Any], Any]] = {}
        self._lock = threading.RLock()

    def fail(
        self, call: str, error: BaseException, *, accept: bool = False, nth: int = 1, times: int = 1
    ) -> None:
        """Let the ``nth`` call by that name from now on raise, and ``times`` - 1 after it.

        With ``accept`` the provider does its work first: only the answer is lost.
        """
        with self._lock:
            queue = self._memory.faults.setdefault(call, deque())
            queue.append(_Fault(error, accept, nth - 1, times))

    def next(self, *courses: Course) -> None:
        """Say how the next batches go, one each."""
        with self._lock:
            self._memory.courses.extend(courses)

    def stranger(
        self, count: int, *, at: datetime | None = None, token: str = "stranger", reason: str = ""
    ) -> str:
        """Put somebody else's batch into the workspace, ended if ``reason``; return its ref."""
        lines = [
            orjson.dumps({"custom_id": f"{token}-{i}", "model": "theirs", "prompt": f"theirs {i}"})
            for i in range(count)
        ]
        with self._lock:
            batch = self._accept(token, lines, None, at or self.clock.now())
            batch.stranger = True
            if reason:
                self._end(batch, reason, count)
            return batch.ref

    def forget(self, ref: str) -> None:
        """Lose a batch, as after its retention."""
        with self._lock:
            del self._memory.batches[ref]

    @property
    def refs(self) -> list[str]:
        """Every batch's ref, the oldest first, strangers' too."""
        with self._lock:
            return list(self._memory.batches)

    @property
    def files(self) -> list[str]:
        """The uploads that were not deleted."""
        with self._lock:
            return list(self._memory.files)

    @property
    def ledger(self) -> Ledger:
        """What was accepted and what of it ran, strangers' batches aside."""
        with self._lock:
            mine = [b for b in self._memory.batches.values() if not b.stranger]
            return Ledger([entry for b in mine for entry in _entries(b)], self._memory.asked)

    def account(self) -> Account:
        """Return whose key is at hand."""
        return Account(self.name, "fake://", self.fingerprint)

    def check(self, request: Request) -> list[str]:
        """Say what is known to be refused."""
        return [
            f"{n}: {self.traits.refused[n]}." for n in request.params if n in self.traits.refused
        ]

    def encode(self, request: Request, custom_id: str) -> bytes:
        """Return the line: the request's own words."""
        row: Json = {
            "custom_id": custom_id,
            "model": request.model,
            "max_tokens": request.max_tokens,
            "prompt": request.prompt,
            "messages": None if request.messages is None else list(request.messages),
            "system": request.system,
            "documents": [
                {"name": a.document.name, "text": a.data.decode("utf-8", "replace")}
                for a in request.attachments
            ],
            "schema": request.schema,
            **request.params,
            **request.extra_body,
        }
        return orjson.dumps({name: value for name, value in row.items() if value not in (None, [])})

    def stage(self, spool: Spool) -> str | None:
        """Keep the lines as a file; None without ``stages``."""
        if not self.traits.stages:
            return None
        return self._do("stage", lambda: self._upload(spool))

    def unstage(self, file_ref: str) -> None:
        """Delete a file."""
        self._do("unstage", lambda: self._memory.files.pop(file_ref, None))

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        """Accept a batch."""
        return self._do("create", lambda: self._create(spool, file_ref))

    def find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        """Look through the batches that the listing shows."""
        return self._do("find", lambda: self._find(spool, file_ref, window, known))

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands; it may end by that."""
        return self._do("poll", lambda: self._poll(self._known(ref)))

    def download(self, ref: str, to: Path) -> Download:
        """Write the results into ``to``."""
        return self._do("download", lambda: self._download(self._known(ref), to))

    def outcomes(self, files: Download) -> Iterator[Outcome]:
        """Read what ``download`` wrote."""
        for path in files.files:
            with path.open("rb") as lines:
                for line in lines:
                    yield _read(line)

    def cancel(self, ref: str) -> None:
        """Stop a batch; it ends at its next poll."""
        self._do("cancel", lambda: self._cancel(self._known(ref)))

    def ask(self, request: Request) -> Outcome:
        """Answer at once."""
        return self._do("ask", lambda: self._ask(request))

    def _do(self, name: str, work: Callable[[], T]) -> T:
        with self._lock:
            self.calls[name] += 1
            fault = self._fault(name)
            if fault is None:
                return work()
            if fault.accept:
                work()
            raise fault.error

    def _fault(self, name: str) -> _Fault | None:
        queue = self._memory.faults.get(name)
        if not queue:
            return None
        fault = queue[0]
        if fault.skip > 0:
            fault.skip -= 1
            return None
        fault.times -= 1
        if fault.times <= 0:
            queue.popleft()
        return fault

    def _known(self, ref: str) -> _Batch:
        if ref not in self._memory.batches:
            raise ProviderRefused(f"There is no batch {ref}.", reason="not_found", status=404)
        return self._memory.batches[ref]

    def _numbered(self, kind: str) -> str:
        self._memory.number += 1
        return f"{self.name}-{kind}-{self._memory.number}"

    def _upload(self, spool: Spool) -> str:
        ref = self._numbered("file")
        self._memory.files[ref] = spool.path.read_bytes().splitlines()
        return ref

    def _create(self, spool: Spool, file_ref: str | None) -> Created:
        if not self.traits.stages:
            lines = spool.path.read_bytes().splitlines()
        elif file_ref in self._memory.files:
            lines = self._memory.files[file_ref]
        else:
            raise ProviderRefused(f"There is no file {file_ref}.", reason="not_found", status=404)
        batch = self._accept(spool.token, lines, file_ref, self.clock.now())
        return Created(batch.ref, batch.created_at, "fake")

    def _accept(self, token: str, lines: list[bytes], file_ref: str | None, at: datetime) -> _Batch:
        course = self._memory.courses.popleft() if self._memory.courses else self._course
        if self.queue is not None and self._queued() + len(lines) > self.queue:
            course = Course(reason="failed", queue_full=True, queue_limit=self.queue)
        batch = _Batch(self._numbered("batch"), token, lines, file_ref, at, course)
        self._memory.batches[batch.ref] = batch
        return batch

    def _queued(self) -> int:
        return sum(len(b.lines) for b in self._memory.batches.values() if b.reason is None)

    def _find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        now = self.clock.now()
        shown = [b for b in self._memory.batches.values() if b.created_at <= now - self.lag]
        found = [
            Candidate(b.ref, proof, b.created_at)
            for b in shown
            if b.ref not in known and (proof := self._proof(b, spool, file_ref, window))
        ]
        self.incomplete_looks, incomplete = max(0, self.incomplete_looks - 1), self.incomplete_looks
        return Search(found, incomplete == 0, now)

    def _proof(self, batch: _Batch, spool: Spool, file_ref: str | None, window: Window) -> Any:
        if self.traits.metadata:
            same = batch.token == spool.token and (file_ref is None or batch.file_ref == file_ref)
            return "certain" if same else None
        slack = timedelta(minutes=1)
        fits = window.start - slack <= batch.created_at <= window.end + slack
        if not fits or len(batch.lines) != spool.count:
            return None
        if batch.reason is None or batch.ran == 0:
            return "provisional"
        return "certain" if batch.token == spool.token else None

    def _poll(self, batch: _Batch) -> BatchStatus:
        batch.polls += 1
        if batch.reason is None:
            self._progress(batch)
        course, over = batch.course, batch.reason is not None
        failed = batch.reason == "failed"
        return BatchStatus(
            ref=batch.ref,
            word=batch.reason or ("cancelling" if batch.cancelled else "in_progress"),
            ended=over,
            reason=batch.reason,
            total=len(batch.lines),
            completed=batch.ran,
            error_code=course.error_code if failed else None,
            error_message=course.error_message if failed else None,
            queue_full=course.queue_full and failed,
            queue_limit=course.queue_limit if failed else None,
            created_at=batch.created_at,
            ended_at=batch.ended_at,
            expires_at=batch.created_at + self.traits.window,
            results_until=batch.created_at + self.traits.retention,
        )

    def _progress(self, batch: _Batch) -> None:
        total, course = len(batch.lines), batch.course
        if batch.cancelled:
            self._end(batch, "cancelled", int(total * course.done_at_cancel))
        elif not self._is_over(batch):
            return
        elif course.reason == "completed":
            self._end(batch, "completed", total)
        else:
            self._end(batch, course.reason, int(total * course.done))

    def _is_over(self, batch: _Batch) -> bool:
        if batch.course.takes is None:
            return batch.polls >= batch.course.polls
        return self.clock.now() >= batch.created_at + batch.course.takes

    def _end(self, batch: _Batch, reason: str, ran: int) -> None:
        batch.reason = reason
        batch.ran = 0 if reason == "failed" else ran
        batch.ended_at = self.clock.now()

    def _cancel(self, batch: _Batch) -> None:
        batch.cancelled = True

    def _download(self, batch: _Batch, to: Path) -> Download:
        if batch.reason is None:
            raise ProviderUnavailable(f"{batch.ref} has no results yet.")
        to.mkdir(parents=True, exist_ok=True)
        path = to / "results.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in self._results(batch)))
        return Download([path], len(batch.lines))

    def _results(self, batch: _Batch) -> Iterator[bytes]:
        course = batch.course
        for number, line in enumerate(batch.lines):
            if number in course.missing or batch.reason == "failed":
                continue
            written = self._result(line, batch, number)
            yield written[: len(written) // 2] if number in course.unreadable else written
            if number in course.duplicated:
                yield written
        for number in range(course.unknown):
            yield _written(NotRun(f"unknown-{number}", "expired"))

    def _result(self, line: bytes, batch: _Batch, number: int) -> bytes:
        row = orjson.loads(line)
        if number < batch.ran:
            return _written(self._outcome(row))
        reason = "cancelled" if batch.reason == "cancelled" else "expired"
        return _written(NotRun(row["custom_id"], reason))

    def _ask(self, request: Request) -> Outcome:
        self._memory.asked += 1
        return self._outcome(orjson.loads(self.encode(request, "ask")))

    def _outcome(self, row: Json) -> Outcome:
        given = self._answer(row) if self._answer is not None else None
        if isinstance(given, Succeeded | Errored | NotRun | Unreadable):
            return replace(given, custom_id=row["custom_id"])
        if given is None:
            given = self._default(row)
        text = given if isinstance(given, str) else orjson.dumps(given).decode()
        usage = Usage(input_tokens=len(orjson.dumps(row)) // 4, output_tokens=len(text) // 4 + 1)
        return Succeeded(row["custom_id"], text, usage, row.get("model"), "stop")

    def _default(self, row: Json) -> Any:
        said = [str(m.get("content")) for m in row.get("messages") or ()]
        said += [str(d["text"]) for d in row.get("documents") or ()]
        text = "\n".join([*said, row.get("prompt") or ""])
        if row.get("schema") is None:
            return text
        return self._maker(row["schema"])(text)

    def _maker(self, schema: Json) -> Callable[[str], Any]:
        from batchkit.simulator.schema import compile_schema
        from batchkit.simulator.source import Source

        key = orjson.dumps(schema)
        if key not in self._schemas:
            known = AnswerSchema.from_dict(schema)
            self._schemas[key] = compile_schema(known.wire or known.original)
        made = self._schemas[key]
        return lambda text: made(Source(text))


_KINDS = {kind.__name__: kind for kind in (Succeeded, Errored, NotRun, Unreadable)}


def _written(outcome: Outcome) -> bytes:
    return orjson.dumps({"kind": type(outcome).__name__, "outcome": outcome})


def _read(line: bytes) -> Outcome:
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unreadable(None, line.decode("utf-8", "replace").rstrip("\n"), f"no JSON: {error}")
    values = row["outcome"]
    if values.get("usage") is not None:
        values["usage"] = Usage(**values["usage"])
    if values.get("citations"):
        values["citations"] = tuple(Citation(**one) for one in values["citations"])
    made: Outcome = _KINDS[row["kind"]](**values)
    return made


def _entries(batch: _Batch) -> Iterator[Entry]:
    for number, line in enumerate(batch.lines):
        row = orjson.loads(line)
        custom_id = row.pop("custom_id")
        body = hashlib.sha256(orjson.dumps(row)).hexdigest()
        yield Entry(batch.ref, custom_id, body, _state(batch, number))


def _state(batch: _Batch, number: int) -> str:
    if batch.reason is None:
        return "waiting"
    return "ran" if number < batch.ran else "not_run"


def _simulator_fixture() -> Any:
    import pytest

    @pytest.fixture(name="simulator")
    def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
        from batchkit.simulator import Simulator

        with Simulator() as running:
            monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
            monkeypatch.setenv("OPENAI_API_KEY", "simulated")
            monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_url)
            monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
            yield running

    return simulator


if not TYPE_CHECKING:

    def __getattr__(name: str) -> Any:
        """Make the pytest fixture when asked: who only wants the doubles needs no pytest."""
        if name != "simulator":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        globals()[name] = made = _simulator_fixture()
        return made


__all__ = ["Answer", "Course", "Entry", "FakeProvider", "Ledger", "ManualClock", "simulator"]
