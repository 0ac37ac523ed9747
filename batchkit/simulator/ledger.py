"""The books: what was accepted, how often each request was executed and billed."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import orjson

from batchkit.simulator.course import ran_by
from batchkit.simulator.office import Office
from batchkit.simulator.runner import body_hash, read_lines
from batchkit.simulator.world import Batch, Knock, Strike


@dataclass(frozen=True, slots=True)
class Entry:
    """One request of one batch; `executed` says that it ran, `billed` that it costs.

    `input_tokens` are all of them, those read from the prompt cache and written to it included.
    `whole` is False where its result line is missing or cannot be read; `mishap` is what the
    fault plan did to it.
    """

    batch_id: str
    custom_id: str
    body_hash: str
    executed: bool
    billed: bool
    input_tokens: int
    output_tokens: int
    whole: bool = True
    mishap: str = ""
    cached_tokens: int = 0
    cache_write_tokens: int = 0


@dataclass(frozen=True, slots=True)
class BatchEntry:
    """One accepted batch, with its counts as they stand; `end` is None while it runs."""

    id: str
    dialect: str
    workspace: str
    created_at: float
    total: int
    executed: int
    billed: int
    cancelled: bool
    end: str | None
    input_file_id: str
    metadata: dict[str, str] | None


@dataclass(frozen=True, slots=True)
class Ledger:
    """Everything that was accepted, at one instant."""

    at: float
    batches: tuple[BatchEntry, ...]
    entries: tuple[Entry, ...]
    knocks: tuple[Knock, ...]
    strikes: tuple[Strike, ...] = ()

    def executed(self, custom_id: str) -> int:
        """Return how often a request with this custom_id was executed."""
        return sum(entry.executed for entry in self.entries if entry.custom_id == custom_id)

    def billed(self, custom_id: str) -> int:
        """Return how often a request with this custom_id was billed."""
        return sum(entry.billed for entry in self.entries if entry.custom_id == custom_id)

    def by_body(self) -> dict[str, int]:
        """Return how often each body was billed in batches, by its hash."""
        found: dict[str, int] = {}
        for entry in self.entries:
            found[entry.body_hash] = found.get(entry.body_hash, 0) + entry.billed
        return found

    def bought_twice(self) -> list[str]:
        """Return the hashes of the bodies that were billed more than once in batches.

        Two documents with equal bodies are equal here too: a test keeps its documents apart.
        """
        return [body for body, times in self.by_body().items() if times > 1]

    def bought_needlessly(self) -> list[str]:
        """Return the hashes of the bodies that were billed again although an answer was there.

        A body whose line came unreadable, or not at all, may be bought again.
        """
        whole: dict[str, int] = {}
        for entry in self.entries:
            if entry.billed and entry.whole:
                whole[entry.body_hash] = whole.get(entry.body_hash, 0) + 1
        return [body for body, times in whole.items() if times > 1]

    def faults(self) -> dict[str, int]:
        """Return how often what went wrong: `route: kind`, and what befell requests."""
        found: dict[str, int] = {}
        names = [f"{strike.route}: {strike.kind}" for strike in self.strikes]
        names += [f"request: {entry.mishap}" for entry in self.entries if entry.mishap]
        for name in names:
            found[name] = found.get(name, 0) + 1
        return found

    def creates(self) -> list[Knock]:
        """Return the batches' creates that were accepted, in order."""
        return [knock for knock in self.knocks if knock.route.endswith("batches.create")]

    def uploads(self) -> list[Knock]:
        """Return the uploads that were accepted, in order."""
        return [knock for knock in self.knocks if knock.route.endswith("files.create")]

    def retries(self) -> list[Knock]:
        """Return what came with a retry count above 0."""
        return [knock for knock in self.knocks if knock.retry_count]


def ledger_of(office: Office, now: float) -> Ledger:
    """Return the books as of `now`; batches that are due are executed for it."""
    batches, entries = [], list[Entry]()
    for known in sorted(office.world.batches.values(), key=lambda b: b.number):
        batch = office.look(known, now)
        mine = list(_entries(office, batch, now))
        entries += mine
        batches.append(_batch_entry(office, batch, mine))
    return Ledger(
        now, tuple(batches), tuple(entries), tuple(office.world.knocks), tuple(office.world.strikes)
    )


def _batch_entry(office: Office, batch: Batch, entries: list[Entry]) -> BatchEntry:
    return BatchEntry(
        batch.id,
        batch.dialect,
        batch.workspace,
        batch.created_at,
        batch.total,
        sum(e.executed for e in entries),
        sum(e.billed for e in entries),
        batch.cancel_at is not None,
        office.course(batch).end if batch.ended_at is not None else None,
        batch.input_file_id,
        batch.metadata,
    )


def _entries(office: Office, batch: Batch, now: float) -> Iterator[Entry]:
    if batch.problems:
        return
    done = ran_by(batch, office.course(batch), now)
    if done == 0:
        yield from _unrun(office, batch)
        return
    office.progress(batch, now)
    for index, line in enumerate(read_lines(office.world.run_path(batch.id, "book"))):
        told = [*line, *(True, "", 0, 0)[len(line) - 6 :]]  # older books say less
        custom_id, digest, ran, billed, tokens_in, tokens_out, whole, mishap, *cached = told
        ran = ran and index < done
        yield Entry(
            batch.id,
            custom_id,
            digest,
            ran,
            billed and ran,
            tokens_in * ran,
            tokens_out * ran,
            whole,
            mishap * ran,
            cached[0] * ran,
            cached[1] * ran,
        )


def _unrun(office: Office, batch: Batch) -> Iterator[Entry]:
    openai = batch.dialect == "openai"
    path = (
        office.world.path_of(batch.input_file_id)
        if openai
        else office.world.run_path(batch.id, "in")
    )
    for request in read_lines(path):
        digest = body_hash(request["body" if openai else "params"])
        yield Entry(
            batch.id,
            request["custom_id"],
            digest,
            executed=False,
            billed=False,
            input_tokens=0,
            output_tokens=0,
        )


def ledger_json(ledger: Ledger) -> bytes:
    """Return the books as JSON."""
    return orjson.dumps(ledger)
