"""What both fronts share: who is asking, what a batch has come to by now, the limits."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field, replace
from typing import Any

from batchkit.simulator.caching import BatchCache, Shelf
from batchkit.simulator.course import Course, course, ran_by
from batchkit.simulator.limits import Meter
from batchkit.simulator.outcomes import Rule
from batchkit.simulator.prompt import Unfit
from batchkit.simulator.runner import Run, body_hash, execute
from batchkit.simulator.settings import Settings
from batchkit.simulator.storm import Storm
from batchkit.simulator.wire import Call, FileBody, Reply
from batchkit.simulator.world import Batch, Dialect, Knock, StoredFile, World
from batchkit.simulator.writer import Answer, Desk, Schema

_READABLE = ("assistants", "user", "user_data", "vision")
"""Purposes of files that requests may name."""


@dataclass(slots=True)
class Office:
    """One world with its settings; the routes of both dialects work here.

    A batch is executed when somebody looks and it is due, under a lock of its own, so that
    looking at one does not stop the others.
    """

    world: World
    settings: Settings
    rule: Rule | None = None
    schemas: dict[bytes, Schema] = field(default_factory=dict)
    caches: dict[str, Shelf] = field(default_factory=dict)
    runs: dict[str, Run] = field(default_factory=dict)
    locks: dict[str, threading.Lock] = field(default_factory=dict)
    looks: dict[str, int] = field(default_factory=dict)
    rates: dict[str, list[float]] = field(default_factory=dict)
    meters: dict[str, Meter] = field(default_factory=dict)
    storm: Storm = field(kw_only=True)

    def key_of(self, call: Call) -> str:
        """Return the API key a call carries, or an empty string."""
        bearer = call.headers.get("authorization", "")
        key = bearer[7:] if bearer.lower().startswith("bearer ") else ""
        return (call.headers.get("x-api-key") or call.headers.get("api-key") or key).strip()

    def admits(self, key: str) -> bool:
        """Return whether a key is a good one."""
        if not key or key in self.world.revoked:
            return False
        if self.settings.allowed_keys:
            return key in self.settings.allowed_keys
        return "wrong" not in key.lower() and "invalid" not in key.lower()

    def workspace_of(self, key: str) -> str:
        """Return the workspace that a key belongs to."""
        return self.settings.workspaces.get(key, "default")

    def desk(self, call_or_batch: Call | Batch, dialect: Dialect, now: float) -> Desk:
        """Return a desk for a call, or for a batch, whose requests do not see what it writes."""
        batched = isinstance(call_or_batch, Batch)
        workspace = call_or_batch.workspace
        shelf = self.caches.setdefault(workspace, Shelf())

        def fetch(file_id: str) -> tuple[bytes, str, str]:
            return self.read_file(file_id, dialect, workspace, desk.now)

        desk = Desk(
            self.settings,
            fetch,
            self.rule,
            self.schemas,
            cache=BatchCache(shelf) if batched else shelf,
            counts=dict(self.world.counts) if batched else self.world.counts,
            now=now,
            batched=batched,
            mishaps=self.storm.mishaps_of(call_or_batch) if batched else None,
        )
        return desk

    def read_file(
        self, file_id: str, dialect: Dialect, workspace: str, now: float
    ) -> tuple[bytes, str, str]:
        """Return content, media type and name of a file for a request; raise `Unfit`."""
        file = self.world.files.get(file_id)
        strange = file is None or (file.workspace, file.dialect) != (workspace, dialect)
        if file is None or strange or not file.there(now):
            raise Unfit(f"File not found: {file_id}", param="file_id", status=404)
        if file.purpose not in _READABLE:
            words = f"Files with purpose '{file.purpose}' cannot be read by a model: {file_id}"
            raise Unfit(words, param="file_id", code="invalid_value")
        if file.expired(now):
            raise Unfit(
                f"File expired: {file_id}", param="file_id", code="file_expired", status=404
            )
        return self.world.path_of(file_id).read_bytes(), file.media_type, file.filename

    def course(self, batch: Batch) -> Course:
        """Return when the batch does what."""
        return course(batch, self.settings)

    def look(self, batch: Batch, now: float) -> Batch:
        """Return the batch as of `now`, ended if its time has come."""
        plan = self.course(batch)
        if batch.ended_at is not None or (now < plan.ends_at and now < plan.stops_at):
            return batch
        with self._lock_of(batch.id):
            batch = self.world.batches[batch.id]
            plan = self.course(batch)
            if batch.ended_at is not None or now < plan.stops_at:
                return batch
            if batch.problems:
                return self.world.change(batch.id, ended_at=plan.ends_at)
            run = self._executed(batch, plan, ran_by(batch, plan, now))
            if run.stuck and not batch.stuck and plan.end == "completed":
                batch = self.world.change(batch.id, stuck=True)
                return self._look_again(batch, now)
            return self._ended(batch, plan, run) if now >= plan.ends_at else batch

    def progress(self, batch: Batch, now: float) -> tuple[int, int]:
        """Return how many requests have succeeded and failed by `now`."""
        if batch.ended_at is not None:
            return batch.tally.succeeded, batch.tally.errored
        plan = self.course(batch)
        done = ran_by(batch, plan, now)
        if done == 0:
            return 0, 0
        with self._lock_of(batch.id):
            run = self._executed(batch, plan, batch.total)
        failed = sum(index < done for index in run.failed)
        return done - failed - sum(index < done for index in run.stuck), failed

    def enqueued(self, workspace: str, dialect: Dialect, now: float) -> list[Batch]:
        """Return the batches of a workspace that still fill its queue."""
        mine = [
            b
            for b in self.world.batches.values()
            if (b.workspace, b.dialect) == (workspace, dialect)
        ]
        return [
            b
            for b in mine
            if b.ended_at is None and not b.problems and now < self.course(b).ends_at
        ]

    def shown(self, dialect: Dialect, workspace: str, now: float) -> list[Batch]:
        """Return the batches that a listing shows, newest first."""
        newest = sorted(self.world.batches.values(), key=lambda b: b.number, reverse=True)
        lag = self.settings.list_lag_seconds
        return [
            b
            for b in newest
            if (b.dialect, b.workspace, b.deleted) == (dialect, workspace, False)
            and b.created_at + lag <= now < b.created_at + self.settings.batch_retention
        ]

    def find(self, call: Call, dialect: Dialect, batch_id: str) -> Batch | None:
        """Return a batch as of now; None if it is gone, another's, or the provider flaps."""
        batch = self.world.batches.get(batch_id)
        if (
            batch is None
            or (batch.dialect, batch.workspace) != (dialect, call.workspace)
            or batch.deleted
        ):
            return None
        age = call.now - batch.created_at
        if age >= self.settings.batch_retention or age < self.settings.missing_after_create_seconds:
            return None
        self.looks[batch_id] = self.looks.get(batch_id, 0) + 1
        if self.settings.missing_every and self.looks[batch_id] % self.settings.missing_every == 0:
            return None
        return self.look(batch, call.now)

    def over_rate(self, name: str, limit: int, span: float, now: float) -> bool:
        """Count a call of `name`; return whether there were more than `limit` in `span` seconds."""
        if not limit:
            return False
        with self.world.lock:
            recent = [at for at in self.rates.get(name, ()) if at > now - span]
            full = len(recent) >= limit
            self.rates[name] = recent if full else [*recent, now]
        return full

    def meter(self, dialect: Dialect, workspace: str) -> Meter:
        """Return what counts a workspace's calls of the last minute."""
        with self.world.lock:
            return self.meters.setdefault(f"{dialect}/{workspace}", Meter())

    def note_answer(self, call: Call, route: str, body: Any, answer: Answer) -> None:
        """Enter a real-time request in the ledger, and in what the rate limits count."""
        dialect: Dialect = "openai" if route.startswith("openai") else "anthropic"
        self.meter(dialect, call.workspace).spend(
            call.now, answer.input_tokens, answer.output_tokens
        )
        self.world.note(
            Knock(
                call.now,
                route,
                answer.status,
                retry_count(call),
                None,
                body_hash(body),
                answer.billed,
                answer.input_tokens,
                answer.output_tokens,
            )
        )

    def store(self, call: Call, file: StoredFile) -> StoredFile:
        """Move an upload to its place and remember it."""
        assert call.upload is not None
        call.upload.path.replace(self.world.path_of(file.id))
        return self.world.keep(file)

    def serve_file(self, file_id: str, size: int, content_type: str) -> Reply:
        """Return a reply that streams a file's content."""
        return Reply(200, FileBody(self.world.path_of(file_id), size), content_type)

    def _lock_of(self, batch_id: str) -> threading.Lock:
        with self.world.lock:
            return self.locks.setdefault(batch_id, threading.Lock())

    def _executed(self, batch: Batch, plan: Course, until: int) -> Run:
        run = self.runs.get(batch.id)
        if run is None or (
            run.until != until and not (plan.end == "completed" and run.until == batch.total)
        ):
            desk = self.desk(batch, batch.dialect, plan.starts_at)
            run = self.runs[batch.id] = execute(self.world, batch, plan, until, desk)
            run.cache = desk.cache
        return run

    def _look_again(self, batch: Batch, now: float) -> Batch:
        """Return the batch as of `now` after it proved to hold a request that never runs."""
        plan = self.course(batch)
        if now < plan.ends_at:
            return batch
        return self._ended(batch, plan, self._executed(batch, plan, ran_by(batch, plan, now)))

    def _ended(self, batch: Batch, plan: Course, run: Run) -> Batch:
        if plan.end != "completed" and run.stuck:
            # Its unrun lines must say why: expired or cancelled is known only now.
            self.runs.pop(batch.id, None)
            run = self._executed(batch, plan, run.until)
        self.world.add_counts(run.counts)
        if isinstance(run.cache, BatchCache):
            run.cache.put_away(plan.stops_at)
        self.runs.pop(batch.id, None)
        files = self._result_files(batch, plan, run) if batch.dialect == "openai" else {}
        return self.world.change(batch.id, ended_at=plan.ends_at, tally=run.tally, **files)

    def _result_files(self, batch: Batch, plan: Course, run: Run) -> dict[str, str | None]:
        out = self._result_file(batch, plan, "out") if run.outputs else None
        whole = self.settings.azure and plan.end == "completed"
        err = self._result_file(batch, plan, "err") if run.errors or whole else None
        none = "" if self.settings.no_file_id == "empty" else None
        return {"output_file_id": out or none, "error_file_id": err or none}

    def _result_file(self, batch: Batch, plan: Course, part: str) -> str:
        file_id, number = self.world.new_id("file-")
        path = self.world.path_of(file_id)
        self.world.run_path(batch.id, part).replace(path)
        kept = batch.output_expires or self.settings.openai_retention
        name = f"{batch.id}_{'output' if part == 'out' else 'error'}.jsonl"
        self.world.keep(
            StoredFile(
                file_id,
                "openai",
                batch.workspace,
                name,
                "batch_output",
                "application/jsonl",
                path.stat().st_size,
                plan.ends_at,
                plan.ends_at + kept,
                number=number,
            )
        )
        return file_id


def retry_count(call: Call) -> int:
    """Return the SDK's count of retries, 0 if it is none."""
    told = call.headers.get("x-stainless-retry-count", "0")
    return int(told) if told.isdigit() else 0


def cancelled(batch: Batch, now: float) -> Batch:
    """Return the batch with its cancel noted."""
    return replace(batch, cancel_at=now)
