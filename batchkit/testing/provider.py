"""A provider in memory that does as it is told."""

from __future__ import annotations

import hashlib
import threading
from collections import Counter, deque
from collections.abc import Callable, Collection, Container, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import orjson

from batchkit import documents
from batchkit.errors import ProviderUnavailable, ValidationError
from batchkit.model import (
    Account,
    Attachment,
    BatchStatus,
    Candidate,
    Created,
    Download,
    Json,
    Limits,
    Outcome,
    Request,
    Search,
    Spool,
    Traits,
    Window,
)
from batchkit.testing import answers, ledger
from batchkit.testing.clock import ManualClock
from batchkit.testing.course import Course
from batchkit.testing.memory import Accepted, Fault, Memory

if TYPE_CHECKING:
    from batchkit.clock import Clock

T = TypeVar("T")

_SLACK = timedelta(minutes=1)

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
    plain_prompts=True,
)


class FakeProvider:
    """A provider in memory: structurally a ``batchkit.providers.Provider``, safe in threads.

    ``answer`` gets a line as data (``custom_id``, ``model``, ``prompt``, …) and returns its
    answer; by default, and for None, JSON that fits the schema, else the prompt. ``course`` is how
    batches go unless ``next`` says otherwise. Without ``metadata`` (Anthropic) a lost create is
    found by count and time only, as ``provisional``; without ``stages`` create takes the lines.
    ``lag`` keeps young batches out of the listing, and the next ``incomplete_looks`` see only a
    part of it. ``queue`` is how many requests may run at once: what is above it fails with
    ``queue_full``. With ``lists`` one call tells how many batches stand. ``models`` are the
    beginnings of the names it serves. ``calls`` counts the calls by name.
    """

    def __init__(
        self,
        name: str = "fake",
        *,
        clock: Clock | None = None,
        answer: Callable[[Json], answers.Answer] | None = None,
        course: Course | None = None,
        stages: bool = True,
        metadata: bool = True,
        lag: timedelta = timedelta(),
        queue: int | None = None,
        models: Sequence[str] | None = None,
        lists: bool = False,
        limits: Limits = LIMITS,
        traits: Traits = TRAITS,
    ) -> None:
        self.name = name
        self.limits = limits
        prefixes = traits.prefixes if models is None else models
        self.traits = replace(traits, stages=stages, metadata=metadata, prefixes=prefixes)
        self.clock: Clock = clock or ManualClock()
        self.lag = lag
        self.queue = queue
        self.incomplete_looks = 0
        self.fingerprint = hashlib.sha256(name.encode()).hexdigest()[:16]
        self.calls: Counter[str] = Counter()
        self.answer = answer
        self._answerer = answers.Answerer(lambda row: self.answer(row) if self.answer else None)
        self._course = course or Course()
        self._memory = Memory()
        self._lock = threading.RLock()
        if lists:
            self.statuses = self._statuses

    def fail(
        self, call: str, error: BaseException, *, accept: bool = False, nth: int = 1, times: int = 1
    ) -> None:
        """Let the ``nth`` call by that name from now on raise, and ``times`` - 1 after it.

        With ``accept`` the provider does its work first: only the answer is lost.
        """
        with self._lock:
            queue = self._memory.faults.setdefault(call, deque())
            queue.append(Fault(error, accept, nth - 1, times))

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
                batch.end(reason, count, self.clock.now())
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
    def ledger(self) -> ledger.Ledger:
        """What was accepted and what of it ran, strangers' batches aside."""
        with self._lock:
            mine = [b for b in self._memory.batches.values() if not b.stranger]
            entries = [entry for batch in mine for entry in ledger.entries(batch)]
            return ledger.Ledger(entries, self._memory.asked)

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
            "documents": [{"name": a.document.name, "text": _text(a)} for a in request.attachments],
            "schema": request.schema,
            "caching": list(request.caching),
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

    def carrying(self, mark: str, window: Window, known: Container[str]) -> Search:
        """List the batches whose token begins with ``mark``."""
        return self._do("carrying", lambda: self._carrying(mark, known))

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands; it may end by that."""
        return self._do("poll", lambda: self._poll(self._memory.batch(ref)))

    def download(self, ref: str, to: Path) -> Download:
        """Write the results into ``to``."""
        return self._do("download", lambda: self._download(self._memory.batch(ref), to))

    def outcomes(self, files: Download) -> Iterator[Outcome]:
        """Read what ``download`` wrote."""
        for path in files.files:
            with path.open("rb") as lines:
                for line in lines:
                    yield answers.read(line)

    def cancel(self, ref: str) -> None:
        """Stop a batch; it ends at its next poll."""
        self._do("cancel", lambda: self._cancel(self._memory.batch(ref)))

    def ask(self, request: Request) -> Outcome:
        """Answer at once."""
        return self._do("ask", lambda: self._ask(request))

    def _do(self, name: str, work: Callable[[], T]) -> T:
        with self._lock:
            self.calls[name] += 1
            fault = self._memory.fault(name)
            if fault is None:
                return work()
            if fault.accept:
                work()
            raise fault.error

    def _upload(self, spool: Spool) -> str:
        ref = self._memory.numbered(f"{self.name}-file")
        self._memory.files[ref] = spool.path.read_bytes().splitlines()
        return ref

    def _create(self, spool: Spool, file_ref: str | None) -> Created:
        if self.traits.stages:
            lines = self._memory.file(file_ref)
        else:
            lines = spool.path.read_bytes().splitlines()
        batch = self._accept(spool.token, lines, file_ref, self.clock.now())
        return Created(batch.ref, batch.created_at, "fake")

    def _accept(
        self, token: str, lines: list[bytes], file_ref: str | None, at: datetime
    ) -> Accepted:
        memory = self._memory
        course = memory.courses.popleft() if memory.courses else self._course
        if self.queue is not None and memory.queued() + len(lines) > self.queue:
            course = Course(reason="failed", queue_full=True, queue_limit=self.queue)
        ref = memory.numbered(f"{self.name}-batch")
        memory.batches[ref] = Accepted(ref, token, lines, file_ref, at, course)
        return memory.batches[ref]

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

    def _carrying(self, mark: str, known: Container[str]) -> Search:
        found = [
            Candidate(b.ref, "certain", b.created_at, b.token)
            for b in self._memory.batches.values()
            if b.ref not in known and b.token.startswith(mark)
        ]
        return Search(found, True, self.clock.now())

    def _proof(self, batch: Accepted, spool: Spool, file_ref: str | None, window: Window) -> Any:
        if self.traits.metadata:
            same = batch.token == spool.token and (file_ref is None or batch.file_ref == file_ref)
            return "certain" if same else None
        fits = window.start - _SLACK <= batch.created_at <= window.end + _SLACK
        if not fits or len(batch.lines) != spool.count:
            return None
        if batch.reason is None or batch.ran == 0:
            return "provisional"
        return "certain" if batch.token == spool.token else None

    def _poll(self, batch: Accepted) -> BatchStatus:
        batch.poll(self.clock.now())
        return batch.status(self.traits)

    def _statuses(self, refs: Collection[str]) -> dict[str, BatchStatus]:
        known = self._memory.batches
        return self._do(
            "statuses", lambda: {ref: self._poll(known[ref]) for ref in refs if ref in known}
        )

    def _cancel(self, batch: Accepted) -> None:
        batch.cancelled = True

    def _download(self, batch: Accepted, to: Path) -> Download:
        if batch.reason is None:
            raise ProviderUnavailable(f"{batch.ref} has no results yet.")
        to.mkdir(parents=True, exist_ok=True)
        path = to / "results.jsonl"
        lines = answers.results(batch, self._answerer.outcome)
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        return Download([path], len(batch.lines))

    def _ask(self, request: Request) -> Outcome:
        self._memory.asked += 1
        return self._answerer.outcome(orjson.loads(self.encode(request, "ask")))


def _text(attachment: Attachment) -> str:
    """Return what a document says: of a PDF the text of its pages."""
    if attachment.document.kind == "pdf":
        with suppress(ValidationError):
            return "\n".join(documents.pdf_text(attachment.data))
    return attachment.data.decode("utf-8", "replace")
