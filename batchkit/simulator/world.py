"""What the simulated providers remember, and how it outlives them.

Everything is a record in memory and a line in `journal.jsonl`; the last line of a record counts.
A line is one write to the file, so a SIGKILL loses nothing that was answered; nothing is synced.
"""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, TypeVar

import orjson

from batchkit.simulator.wire import Json

Dialect = Literal["openai", "anthropic"]
Record = TypeVar("Record", "StoredFile", "Batch")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file at a provider; its content stays on disk even when it is deleted."""

    id: str
    dialect: Dialect
    workspace: str
    filename: str
    purpose: str
    media_type: str
    size: int
    created_at: float
    expires_at: float | None = None
    deleted: bool = False
    number: int = 0
    deleted_at: float | None = None

    def there(self, now: float) -> bool:
        """Return whether it was not deleted yet: a batch that ran before had it."""
        return not self.deleted or (self.deleted_at is not None and now < self.deleted_at)

    def gone(self, now: float) -> bool:
        """Return whether the provider no longer gives it out."""
        return self.deleted or self.expired(now)

    def expired(self, now: float) -> bool:
        """Return whether its time is over."""
        return self.expires_at is not None and now >= self.expires_at


@dataclass(frozen=True, slots=True)
class Tally:
    """What a batch's requests came to, once it ended."""

    ran: int = 0
    succeeded: int = 0
    errored: int = 0
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Batch:
    """A batch at a provider: what was asked, and once it ended what came of it.

    `problems` is what OpenAI's validation found; `stuck` that a request never runs, so that only
    the window's end or a cancel ends it; `tokens` what it takes of OpenAI's queue.
    What a fault plan did to it: after this `share` of its requests it stands still, it expires
    `expires_in` after its create, and is `finalizing` for so long. `announced`: a webhook told
    its end.
    """

    id: str
    dialect: Dialect
    workspace: str
    created_at: float
    total: int
    runs_for: float
    endpoint: str = ""
    input_file_id: str = ""
    metadata: Json | None = None
    output_expires: int | None = None
    version: str = ""
    model: str | None = None
    problems: tuple[Json, ...] = ()
    tokens: int = 0
    stuck: bool = False
    cancel_at: float | None = None
    ended_at: float | None = None
    tally: Tally = field(default_factory=Tally)
    output_file_id: str | None = None
    error_file_id: str | None = None
    deleted: bool = False
    number: int = 0
    share: float | None = None
    expires_in: float | None = None
    finalizing: float | None = None
    announced: bool = False


@dataclass(frozen=True, slots=True)
class Strike:
    """A fault that struck: the `nth` call of a route, or the `nth` batch with its `ref`."""

    at: float
    route: str
    nth: int
    kind: str
    rule: str = ""
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Knock:
    """A request that creates or changes something, or is billed at once, accepted or not.

    `status` 0 means that no reply was sent; `ref` is what was made; `billed` and the rest are
    of real-time requests.
    """

    at: float
    route: str
    status: int
    retry_count: int = 0
    ref: str | None = None
    body_hash: str = ""
    billed: bool = False
    input_tokens: int = 0
    output_tokens: int = 0
    fault: str | None = None


class World:
    """All records, with the folder they live in. Methods may be called from any thread."""

    def __init__(self, folder: Path, seed: int = 0) -> None:
        self.folder = folder
        self.files: dict[str, StoredFile] = {}
        self.batches: dict[str, Batch] = {}
        self.knocks: list[Knock] = []
        self.strikes: list[Strike] = []
        self.counts: dict[str, int] = {}
        self.barred: dict[str, set[str]] = {"revoked": set(), "broke": set(), "capped": set()}
        self.lock = threading.RLock()
        self._seed = seed
        self._number = 0
        for name in ("files", "runs", "incoming"):
            (folder / name).mkdir(parents=True, exist_ok=True)
        self._replay(folder / "journal.jsonl")
        self._journal = os.open(
            folder / "journal.jsonl", os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600
        )

    def close(self) -> None:
        """Close the journal; the world must not change any more."""
        os.close(self._journal)

    def path_of(self, file_id: str) -> Path:
        """Return where a file's content stands."""
        return self.folder / "files" / file_id

    def run_path(self, batch_id: str, part: str) -> Path:
        """Return where a part of a batch's execution stands: in, out, err, book."""
        return self.folder / "runs" / f"{batch_id}.{part}"

    def incoming(self) -> Path:
        """Return a fresh path for an upload under way."""
        with self.lock:
            self._number += 1
            return self.folder / "incoming" / str(self._number)

    def new_id(self, prefix: str) -> tuple[str, int]:
        """Return an id nobody had, fixed by the seed and how many there were, and its number."""
        with self.lock:
            self._number += 1
            number = self._number
        digest = hashlib.blake2b(f"{self._seed}/{number}".encode(), digest_size=12).hexdigest()
        return prefix + digest, number

    def keep(self, record: Record) -> Record:
        """Write a file or batch, in place of what was known of it."""
        with self.lock:
            table: dict[str, Any] = self.files if isinstance(record, StoredFile) else self.batches
            table[record.id] = record
            self._write({"file" if isinstance(record, StoredFile) else "batch": record})
        return record

    def note(self, knock: Knock) -> None:
        """Write that somebody knocked."""
        with self.lock:
            self.knocks.append(knock)
            self._write({"knock": knock})

    def add_counts(self, counts: dict[str, int]) -> None:
        """Write how often prompts with counting markers have been executed now."""
        if counts:
            with self.lock:
                self.counts.update(counts)
                self._write({"counts": counts})

    def strike(self, strike: Strike) -> None:
        """Write that a fault struck."""
        with self.lock:
            self.strikes.append(strike)
            self._write({"strike": strike})

    @property
    def revoked(self) -> set[str]:
        """The keys that are refused."""
        return self.barred["revoked"]

    @property
    def broke(self) -> set[str]:
        """The workspaces without credit."""
        return self.barred["broke"]

    @property
    def capped(self) -> set[str]:
        """The workspaces whose spend limit is reached."""
        return self.barred["capped"]

    def bar(self, what: str, name: str) -> None:
        """Write that a key is revoked, or a workspace broke or capped."""
        self._set_barred(what, self.barred[what] | {name})

    def unbar(self, what: str, name: str) -> None:
        """Write that it no longer is."""
        self._set_barred(what, self.barred[what] - {name})

    def _set_barred(self, what: str, names: set[str]) -> None:
        with self.lock:
            self.barred[what] = names
            self._write({what: sorted(names)})

    def change(self, batch_id: str, **changes: Any) -> Batch:
        """Write some fields of a batch."""
        with self.lock:
            return self.keep(replace(self.batches[batch_id], **changes))

    def _write(self, value: Json) -> None:
        os.write(self._journal, orjson.dumps(value, option=orjson.OPT_APPEND_NEWLINE))

    def _replay(self, journal: Path) -> None:
        for value in _lines(journal):
            if "file" in value:
                self.files[value["file"]["id"]] = StoredFile(**value["file"])
            elif "batch" in value:
                self._replay_batch(value["batch"])
            elif "knock" in value:
                self.knocks.append(Knock(**value["knock"]))
            elif "counts" in value:
                self.counts.update(value["counts"])
            elif "strike" in value:
                self.strikes.append(Strike(**value["strike"]))
            else:
                self.barred |= {what: set(names) for what, names in value.items()}
        numbers = [file.number for file in self.files.values()]
        numbers += [batch.number for batch in self.batches.values()]
        self._number = max(numbers, default=0)
        for upload in (self.folder / "incoming").iterdir():
            upload.unlink()

    def _replay_batch(self, value: Json) -> None:
        value["tally"] = Tally(**value["tally"])
        value["problems"] = tuple(value["problems"])
        self.batches[value["id"]] = Batch(**value)


def _lines(journal: Path) -> Iterator[Json]:
    if not journal.exists():
        return
    with journal.open("r+b") as lines:
        end = 0
        for line in lines:
            if not line.endswith(b"\n"):
                break
            end += len(line)
            yield orjson.loads(line)
        # A line cut by a power failure would garble the one written after it.
        lines.truncate(end)
