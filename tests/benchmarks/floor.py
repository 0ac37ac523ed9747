"""The floor: a bare script with the SDKs, orjson and one SQLite table.

It keeps nothing that would let it go on after a crash: no job is written down before it is sent,
nothing is synced, nothing says which batch was paid for. Same SDK, same requests, same answers as
batchkit's; uploads go from a file handle, results are streamed to disk and read line by line.
"""

from __future__ import annotations

import argparse
import sqlite3
import tempfile
import time
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Any

import orjson

from tests.benchmarks import work

_CHUNK = 10_000
_OF_DICTS = 50_000
"""Requests that a script would hold in memory at once."""


def openai_night(url: str, count: int, folder: Path, table: sqlite3.Connection) -> None:
    """Upload, create, wait, download and store: 50,000 requests a batch."""
    from openai import OpenAI

    client = OpenAI(api_key="sk-floor", base_url=f"{url}/v1", max_retries=0)
    requests = work.bodies("openai", count)
    while _written(islice(requests, work.PER_BATCH["openai"]), folder / "in.jsonl"):
        with (folder / "in.jsonl").open("rb") as lines:
            upload = client.files.create(file=lines, purpose="batch")
        batch = client.batches.create(
            input_file_id=upload.id, endpoint="/v1/responses", completion_window="24h"
        )
        while batch.status != "completed":
            batch = client.batches.retrieve(batch.id)
        with client.files.with_streaming_response.content(str(batch.output_file_id)) as got:
            _save(got.iter_bytes(1 << 16), folder / "out.jsonl")
        _store(_openai_rows(folder / "out.jsonl"), table)


def anthropic_night(url: str, count: int, folder: Path, table: sqlite3.Connection) -> None:
    """Create, wait, download and store by the SDK's own calls: 50,000 a batch.

    ``create`` is given dicts and makes one body of them in memory; results are streamed to disk and
    read with orjson, since the SDK's object for each line takes longer than all the rest.
    """
    from anthropic import Anthropic

    client = Anthropic(api_key="sk-floor", base_url=url, max_retries=0)
    requests: Iterator[Any] = work.bodies("anthropic", count)
    while some := list(islice(requests, _OF_DICTS)):
        batch = client.messages.batches.create(requests=some)
        while batch.processing_status != "ended":
            batch = client.messages.batches.retrieve(batch.id)
        with client.messages.batches.with_streaming_response.results(batch.id) as got:
            _save(got.iter_bytes(1 << 16), folder / "out.jsonl")
        _store(_anthropic_rows(folder / "out.jsonl"), table)


def anthropic_by_hand(url: str, count: int, folder: Path, table: sqlite3.Connection) -> None:
    """Do the same around the SDK's calls: 100,000 a batch.

    The body is written with orjson and goes out through the SDK's client from a file handle, as
    batchkit's does; results come in through it to disk.
    """
    import httpx2
    from anthropic import Anthropic, Stream

    client = Anthropic(api_key="sk-floor", base_url=url, max_retries=0)
    requests = work.bodies("anthropic", count)
    while _joined(islice(requests, work.PER_BATCH["anthropic"]), folder / "in.json"):
        size = str((folder / "in.json").stat().st_size)
        with (folder / "in.json").open("rb") as body:
            made = client.post(
                "/v1/messages/batches",
                content=body,
                cast_to=httpx2.Response,
                options={"headers": {"Content-Length": size}},
            )
        batch = client.messages.batches.retrieve(str(orjson.loads(made.content)["id"]))
        while batch.processing_status != "ended":
            batch = client.messages.batches.retrieve(batch.id)
        got: Any = client.get(
            f"/v1/messages/batches/{batch.id}/results",
            cast_to=httpx2.Response,
            stream=True,
            stream_cls=Stream[object],
        )
        _save(got.iter_bytes(1 << 16), folder / "out.jsonl")
        _store(_anthropic_rows(folder / "out.jsonl"), table)


def _written(requests: Iterable[Any], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        for request in requests:
            file.write(orjson.dumps(request) + b"\n")
            count += 1
    return count


def _joined(requests: Iterable[Any], path: Path) -> int:
    count = 0
    with path.open("wb") as file:
        file.write(b'{"requests":[')
        for request in requests:
            file.write((b"," if count else b"") + orjson.dumps(request))
            count += 1
        file.write(b"]}")
    return count


def _save(pieces: Iterable[bytes], path: Path) -> None:
    with path.open("wb") as file:
        for piece in pieces:
            file.write(piece)


def _openai_rows(path: Path) -> Iterator[tuple[str, str, int, int]]:
    with path.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            body = row["response"]["body"]
            used = body["usage"]
            text = body["output"][0]["content"][0]["text"]
            yield row["custom_id"], text, used["input_tokens"], used["output_tokens"]


def _anthropic_rows(path: Path) -> Iterator[tuple[str, str, int, int]]:
    with path.open("rb") as lines:
        for line in lines:
            row = orjson.loads(line)
            message = row["result"]["message"]
            used, text = message["usage"], message["content"][0]["text"]
            yield row["custom_id"], text, used["input_tokens"], used["output_tokens"]


def _store(rows: Iterator[tuple[str, str, int, int]], table: sqlite3.Connection) -> None:
    while chunk := list(islice(rows, _CHUNK)):
        with table:
            table.executemany("INSERT INTO answers VALUES (?, ?, ?, ?)", chunk)


NIGHTS = {
    "openai": openai_night,
    "anthropic": anthropic_night,
    "anthropic-by-hand": anthropic_by_hand,
}


def main() -> None:
    """Do a night's work and read the typed results back."""
    began = time.perf_counter()
    asked = argparse.ArgumentParser()
    asked.add_argument("night", choices=list(NIGHTS))
    asked.add_argument("--jobs", type=int, required=True)
    asked.add_argument("--url", required=True)
    given = asked.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        table = sqlite3.connect(folder / "answers.db")
        table.execute("PRAGMA journal_mode=WAL")
        table.execute("PRAGMA synchronous=NORMAL")
        table.execute(
            "CREATE TABLE answers (custom_id TEXT PRIMARY KEY, answer TEXT, read INT, wrote INT)"
        )
        NIGHTS[given.night](given.url, given.jobs, folder, table)
        count = 0
        for (answer,) in table.execute("SELECT answer FROM answers"):
            work.Invoice.model_validate_json(answer)
            count += 1
        total = time.perf_counter() - began
        table.close()
    work.report(total=total, count=count)


if __name__ == "__main__":
    main()
