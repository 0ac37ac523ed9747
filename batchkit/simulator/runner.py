"""Executes a batch: a file of requests becomes files of results, in bounded memory.

An execution is a function of the batch's record and its requests, so it may be done early, to
report progress, and again if a cancel changes how far it came.
"""

from __future__ import annotations

import hashlib
import os
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from batchkit.simulator import anthropic_bodies, openai_bodies
from batchkit.simulator.caching import Cache
from batchkit.simulator.course import Course, turn_of
from batchkit.simulator.wire import Json
from batchkit.simulator.world import Batch, Tally, World
from batchkit.simulator.writer import Answer, Desk

_WINDOW = 512
_UNREADABLE = frozenset({"missing", "garbled", "utf8"})
_UNRUN = {
    "expired": {
        "code": "batch_expired",
        "message": "This request could not be executed before the completion window expired.",
    },
    "cancelled": {
        "code": "batch_cancelled",
        "message": "This request was not executed because the batch was cancelled.",
    },
}


@dataclass(slots=True)
class Run:
    """One execution: how far it went, what it came to, which requests failed or are stuck.

    `cache` holds what the requests wrote to the prompt cache.
    """

    until: int
    sums: list[int] = field(default_factory=lambda: [0] * 7)
    failed: list[int] = field(default_factory=list)
    stuck: list[int] = field(default_factory=list)
    outputs: int = 0
    errors: int = 0
    counts: dict[str, int] = field(default_factory=dict)
    cache: Cache | None = None

    @property
    def tally(self) -> Tally:
        """What it came to."""
        return Tally(*self.sums)


class _Shuffled:
    """Writes lines in another order than they come, a window at a time."""

    def __init__(self, file: BinaryIO, seed: str | None) -> None:
        self._file, self._lines = file, list[bytes]()
        self._random = random.Random(seed) if seed else None

    def add(self, line: bytes) -> None:
        self._lines.append(line)
        if len(self._lines) >= _WINDOW:
            self.flush()

    def flush(self) -> None:
        if self._random is not None:
            self._random.shuffle(self._lines)
        self._file.write(b"".join(self._lines))
        self._lines.clear()


def execute(world: World, batch: Batch, plan: Course, until: int, desk: Desk) -> Run:
    """Run the first `until` requests of a batch and write its files anew."""
    run = Run(until)
    seed = batch.id if desk.settings.shuffle else None
    parts = [world.run_path(batch.id, f"{part}.new") for part in ("out", "err", "book")]
    with parts[0].open("wb") as out, parts[1].open("wb") as err, parts[2].open("wb") as book:
        files = (_Shuffled(out, seed), _Shuffled(err, seed), _Shuffled(book, None))
        for index, request in enumerate(requests_of(world, batch)):
            _one(batch, plan, run, desk, index, request, files)
        for file in files:
            file.flush()
    for part in parts:
        part.replace(part.with_suffix(""))
    if not desk.settings.final_newline:
        for part in parts[:2]:
            _chop(part.with_suffix(""))
    run.counts = {
        key: value for key, value in desk.counts.items() if world.counts.get(key) != value
    }
    return run


def _chop(path: Path) -> None:
    """Take a file's last line end away."""
    size = path.stat().st_size
    if size:
        os.truncate(path, size - 1)


def requests_of(world: World, batch: Batch) -> Iterator[Json]:
    """Yield a batch's requests as they were sent."""
    path = (
        world.path_of(batch.input_file_id)
        if batch.dialect == "openai"
        else world.run_path(batch.id, "in")
    )
    yield from read_lines(path)


def read_lines(path: Path) -> Iterator[Any]:
    """Yield a JSONL file's values, without its blank lines."""
    with path.open("rb") as lines:
        for line in lines:
            if not line.isspace():
                yield orjson.loads(line)


def body_hash(body: Any) -> str:
    """Return what tells one request's body from others."""
    return hashlib.blake2b(orjson.dumps(body), digest_size=8).hexdigest()


def _one(
    batch: Batch,
    plan: Course,
    run: Run,
    desk: Desk,
    index: int,
    request: Json,
    files: tuple[_Shuffled, _Shuffled, _Shuffled],
) -> None:
    answer, custom_id = None, str(request["custom_id"])
    body = request["body" if batch.dialect == "openai" else "params"]
    if index < run.until:
        desk.turn(index, turn_of(batch, plan, index))
        answer = _answer(batch, body, desk, custom_id)
        if answer.stuck:
            run.stuck.append(index)
            answer = None
    _count(run, index, answer)
    good, line = _line(batch, plan, index, custom_id, answer)
    faults = answer.faults if answer else frozenset()
    target = files[0] if good else files[1]
    if "missing" not in faults:
        run.outputs += good
        run.errors += not good
        target.add(_spoilt(line, faults, custom_id) if faults else line)
    files[2].add(_entry(custom_id, body, answer, desk.struck if answer else ""))


def _answer(batch: Batch, body: Any, desk: Desk, custom_id: str) -> Answer:
    if batch.dialect == "openai":
        return openai_bodies.answer(batch.endpoint, body, desk, custom_id)
    return anthropic_bodies.answer(body, desk, batch.version, custom_id)


def _count(run: Run, index: int, answer: Answer | None) -> None:
    if answer is None:
        return
    good = answer.status == 200
    if not good:
        run.failed.append(index)
    sums = run.sums
    sums[0] += 1
    sums[1] += good
    sums[2] += not good
    sums[3] += answer.input_tokens
    sums[4] += answer.cached_tokens
    sums[5] += answer.output_tokens
    sums[6] += answer.reasoning_tokens


def _entry(custom_id: str, body: Any, answer: Answer | None, mishap: str) -> bytes:
    ran = answer is not None
    billed = answer is not None and answer.billed
    tokens = (answer.input_tokens, answer.output_tokens) if answer is not None else (0, 0)
    cached = (answer.cached_tokens, answer.cache_write_tokens) if answer is not None else (0, 0)
    whole = answer is None or not answer.faults & _UNREADABLE
    return orjson.dumps(
        [custom_id, body_hash(body), ran, billed, *tokens, whole, mishap, *cached],
        option=orjson.OPT_APPEND_NEWLINE,
    )


def _line(
    batch: Batch, plan: Course, index: int, custom_id: str, answer: Answer | None
) -> tuple[bool, bytes]:
    if batch.dialect == "anthropic":
        return True, _anthropic_line(batch, plan, index, custom_id, answer)
    made: Json = {"id": f"batch_req_{batch.id[6:]}{index:06d}", "custom_id": custom_id}
    if answer is None:
        made |= {"response": None, "error": _UNRUN.get(plan.end, _UNRUN["expired"])}
    else:
        request_id = f"req_{batch.id[6:]}{index:06d}"
        response = {"status_code": answer.status, "request_id": request_id, "body": answer.body}
        made |= {"response": response, "error": None}
    good = answer is not None and answer.status == 200
    return good, orjson.dumps(made, option=orjson.OPT_APPEND_NEWLINE)


def _anthropic_line(
    batch: Batch, plan: Course, index: int, custom_id: str, answer: Answer | None
) -> bytes:
    result: Json
    if answer is None:
        result = {"type": "canceled" if plan.end == "cancelled" else "expired"}
    elif answer.status == 200:
        unknown = "unknown-type" in answer.faults
        result = {"type": "paused" if unknown else "succeeded", "message": answer.body}
    else:
        error = {**(answer.body or {}), "request_id": f"req_{batch.id[9:]}{index:06d}"}
        result = {"type": "errored", "error": error}
    return orjson.dumps(
        {"custom_id": custom_id, "result": result}, option=orjson.OPT_APPEND_NEWLINE
    )


def _spoilt(line: bytes, faults: frozenset[str], custom_id: str) -> bytes:
    if "stranger" in faults:
        line += line.replace(custom_id.encode(), b"stranger-" + custom_id.encode()[:50], 1)
    if "duplicate" in faults:
        line += line
    if "garbled" in faults:
        line = line[: len(line) // 2] + b"\n"
    if "utf8" in faults:
        line = line.replace(b'"model"', b'"m\xff\xfedel"', 1)
    if "crlf" in faults:
        line = line[:-1] + b"\r\n"
    return line + b"\n" if "blankline" in faults else line
