"""Runs to look at: a store, a provider in memory, a clock that waiting moves."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import orjson
from pydantic import BaseModel, field_validator

from batchkit import requests
from batchkit.console import Console
from batchkit.model import Errored, Json, Outcome
from batchkit.run import BatchRun
from batchkit.schemas import answer_schema
from batchkit.store import NewJob, Opening, RunRow, Store
from batchkit.testing import FakeProvider, ManualClock

PRICE = {"input": 1_000_000_000, "output": 1_000_000_000, "source": "test"}
"""A dollar a million tokens."""


class Place(BaseModel):
    city: str
    zip: str | None = None


class Invoice(BaseModel):
    supplier: str
    total: float
    paid: bool = False
    kind: Literal["Invoice", "Reminder"] = "Invoice"
    place: Place | None = None
    lines: list[str] = []


class Picky(BaseModel):
    """Says the same schema as Mild and accepts less."""

    total: float

    @field_validator("total")
    @classmethod
    def _small(cls, value: float) -> float:
        if value > 100:
            raise ValueError("too much")
        return value


def named(kind: type[BaseModel]) -> str:
    return f"{kind.__module__}:{kind.__qualname__}"


def asking(kind: type[BaseModel]) -> Json:
    """The part of a template that asks for answers of this class."""
    schema = answer_schema(kind, "openai").to_dict()
    return {"schema": schema, "response_model": named(kind)}


class Scene:
    """One database, one provider, one run."""

    def __init__(self, url: str, folder: Path) -> None:
        self.url = url
        self.folder = folder
        self.clock = ManualClock()
        self.store = Store(url)
        self.said = io.StringIO()
        self.answers: dict[str, Any] = {}
        self.fake = FakeProvider(clock=self.clock, answer=self._answer)
        self.run_id = 0
        self.spec: Json = {}

    def draft(
        self,
        texts: Sequence[str],
        *,
        name: str = "night",
        template: Mapping[str, Any] | None = None,
        documents: Sequence[list[Json] | None] = (),
        **spec: Any,
    ) -> BatchRun:
        """Add a job for each text; its key is the text."""
        self.spec = {"max_parallel_batches": 10, "max_attempts": 3, **spec}
        run = self.store.runs.create("default", name, self.spec, self.clock.now())
        self.run_id = run.id
        self.add(texts, template=template, documents=documents)
        return self.handle()

    def add(
        self,
        texts: Sequence[str],
        *,
        template: Mapping[str, Any] | None = None,
        documents: Sequence[list[Json] | None] = (),
    ) -> None:
        shared: Json = {"provider": "fake", "model": "fake-1", "max_tokens": 100, "price": PRICE}
        shared |= template or {}
        files = [*documents, *[None] * (len(texts) - len(documents))]
        new = [self._job(text, shared, file) for text, file in zip(texts, files, strict=True)]
        self.store.jobs.append(self.run_id, new)

    def open(self, **limits: Any) -> RunRow:
        released = {lane.id: lane.size for lane in self.store.jobs.lanes(self.run_id)}
        opening = Opening(spec=self.spec, released=released, limits=limits)
        return self.store.runs.open(self.run_id, opening, self.clock.now())

    def start(self, texts: Sequence[str], **options: Any) -> BatchRun:
        limits = options.pop("limits", {})
        run = self.draft(texts, **options)
        self.open(**limits)
        return run

    def handle(self, **options: Any) -> BatchRun:
        """Another handle of the run, as another program would make it."""
        given = {"clock": self.clock, "providers": {"fake": self.fake}, **options}
        return BatchRun(self.store, self.run_id, console=Console("debug", self.said), **given)

    def invalid(self, *texts: str) -> None:
        """Let the provider refuse these requests as such."""
        for text in texts:
            self.answers[text] = Errored("", "invalid", "bad_request", f"no: {text}", status=400)

    def _answer(self, row: Json) -> Any:
        text = str(row["prompt"]).partition("\n")[0]
        default = {"supplier": text, "total": 1.5} if row.get("schema") else f"{text}!"
        found = self.answers.get(text, default)
        if callable(found):
            found = found(row)
        if isinstance(found, Errored):
            return Errored(row["custom_id"], found.kind, found.code, found.message, found.status)
        return found

    def _job(self, text: str, template: Json, documents: list[Json] | None) -> NewJob:
        own = {"prompt": text}
        return NewJob(
            key=text,
            provider=template["provider"],
            model=template["model"],
            endpoint="/fake",
            digest=requests.digest(template, own, []),
            template=template,
            template_digest=requests.template_digest(template),
            own=own,
            documents=documents,
            metadata={"about": text},
            bytes=len(text) + 100,
            tokens=len(text) + 50,
            bound=1_000,
        )


Answering = Callable[[Json], Outcome]


def lines_of(path: Path) -> list[Json]:
    return [orjson.loads(line) for line in path.read_bytes().splitlines()]
