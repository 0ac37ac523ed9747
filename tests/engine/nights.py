"""A night in memory: a store, a fake provider, a clock that waiting moves, and the engine."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from batchkit import requests
from batchkit.engine import Ending, Engine
from batchkit.store import Answer, NewJob, Opening, RunRow, Store
from batchkit.testing import FakeProvider, ManualClock

PRICE = {"input": 1_000_000_000, "output": 1_000_000_000, "source": "test"}
"""A dollar a million tokens: a thousand nano-dollars a token."""


class Night:
    """Everything one run needs, and what a test asks of it."""

    def __init__(self, url: str, folder: Path, fake: FakeProvider, clock: ManualClock) -> None:
        self.url = url
        self.folder = folder
        self.fake = fake
        self.clock = clock
        self.store = Store(url)
        self.run_id = 0

    def start(
        self,
        count: int = 10,
        *,
        prompts: Sequence[str] | None = None,
        template: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        bound: int | Sequence[int] | None = 1_000,
        **spec: Any,
    ) -> RunRow:
        """Add jobs and open the run; with as many bounds as jobs each has its own."""
        said = {"max_parallel_batches": 10, "max_attempts": 3, **spec}
        self.run_id = self.store.runs.create("default", "night", said, self.clock.now()).id
        texts = prompts or [f"document {number}" for number in range(count)]
        return self.add(texts, template=template, limits=limits, bound=bound, **said)

    def add(
        self,
        texts: Sequence[str],
        *,
        template: dict[str, Any] | None = None,
        limits: dict[str, Any] | None = None,
        bound: int | Sequence[int] | None = 1_000,
        **spec: Any,
    ) -> RunRow:
        """Add jobs to the run there is, and open them."""
        shared = {"provider": self.fake.name, "model": "fake-1", "max_tokens": 100, "price": PRICE}
        shared |= template or {}
        first = self.run.total
        bounds = bound if isinstance(bound, Sequence) else [bound] * len(texts)
        new = [self._job(first + n, text, shared, bounds[n]) for n, text in enumerate(texts)]
        self.store.jobs.append(self.run_id, new)
        released = {lane.id: lane.size for lane in self.store.jobs.lanes(self.run_id)}
        opening = Opening(spec=spec, released=released, limits=limits or {})
        return self.store.runs.open(self.run_id, opening, self.clock.now())

    def engine(self) -> Engine:
        """Return a new engine, as another process would make it."""
        return Engine(
            self.store,
            clock=self.clock,
            providers={self.fake.name: self.fake},
            spools=self.folder / "spool",
        )

    def drive(self, *, max_wait: float | None = 60 * 60 * 48) -> Ending:
        """Drive the run with a new engine until it ends."""
        return self.engine().drive([self.run_id], stop=threading.Event(), max_wait=max_wait)

    @property
    def run(self) -> RunRow:
        """The run's row as it is now."""
        return self.store.runs.get(self.run_id)

    def answers(self, *states: str) -> list[Answer]:
        """The jobs that ended, in order of completion."""
        return list(self.store.answers.ended(self.run_id, list(states) or None))

    def verify(self) -> None:
        """Check the books and that nothing was bought twice."""
        assert self.store.audit.problems(self.run_id) == []
        assert self.run.reserved == 0 or self.store.runs.live(self.run_id)[1] > 0

    def _job(self, number: int, text: str, template: dict[str, Any], bound: int | None) -> NewJob:
        own = {"prompt": text}
        return NewJob(
            key=f"doc-{number:04}",
            provider=self.fake.name,
            model=template["model"] if self.fake.limits.models == "one" else "",
            endpoint=self.fake.traits.endpoint,
            digest=requests.digest(template, own, []),
            template=template,
            template_digest=requests.template_digest(template),
            own=own,
            documents=None,
            metadata=None,
            bytes=len(text) + 100,
            tokens=len(text) + 50,
            bound=bound,
        )
