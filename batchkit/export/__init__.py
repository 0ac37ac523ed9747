"""Results outside of the database: a run as JSONL or CSV, and the files of ``results_dir``."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, TextIO

import orjson

from batchkit.errors import ConfigError, ValidationError
from batchkit.export.folders import write_results
from batchkit.model import Json
from batchkit.results import JobResult, plain

BEFORE = ("key", "state", "error_code", "error")
AFTER = (
    "model",
    "cost_usd",
    "attempts",
    "finish_reason",
    "batch_id",
    "source",
    "input_tokens",
    "output_tokens",
)
"""The columns of a CSV around those of the answers."""


def export(results: Iterable[JobResult], path: str | os.PathLike[str]) -> int:
    """Write one row per job to a ``.jsonl`` or ``.csv`` file, whole or not at all; return how many.

    JSONL: a line is ``JobResult.to_dict()``. CSV: see ``write_csv``. Raises ValidationError for
    another suffix and ConfigError for a place that cannot be written.
    """
    target = Path(path).expanduser()
    write = _writer(target)
    part = target.parent / f".{target.name}.{os.getpid()}.part"
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="") as stream:
            count = write(results, stream)
        part.replace(target)
    except OSError as error:
        raise ConfigError(f"Cannot write {target}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return count


def _writer(target: Path) -> Callable[[Iterable[JobResult], TextIO], int]:
    suffix = target.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return write_jsonl
    if suffix == ".csv":
        return write_csv
    if suffix == ".parquet":
        raise ValidationError(
            f"{target.name}: Parquet is not in this version; write .jsonl or .csv"
        )
    raise ValidationError(f"{target.name}: what is written is chosen by the suffix, .jsonl or .csv")


def write_jsonl(results: Iterable[JobResult], stream: TextIO) -> int:
    """Write each result's ``to_dict()`` as a line; return how many."""
    count = 0
    for result in results:
        data = orjson.dumps(result.to_dict(), default=str, option=orjson.OPT_NON_STR_KEYS)
        stream.write(data.decode() + "\n")
        count += 1
    return count


def write_csv(results: Iterable[JobResult], stream: TextIO) -> int:
    """Write a table; return the number of its rows.

    An object in an answer becomes a column for each of its fields, named with dots
    (``address.city``); a list stays one cell, as JSON; true and false are ``true`` and ``false``;
    nothing is an empty cell. An answer that is text stands in the column ``answer``. A field that
    is named as one of our own columns is called ``answer.…``. The rows pass through a temporary
    file, since the columns are known only after the last one.
    """
    columns: dict[str, None] = {}
    with tempfile.TemporaryFile() as rows:
        count = 0
        for result in results:
            row = _cells(result)
            columns.update(dict.fromkeys(row["answer"]))
            rows.write(orjson.dumps(row) + b"\n")
            count += 1
        rows.seek(0)
        _table(list(columns), map(orjson.loads, rows), stream)
    return count


def _table(columns: list[str], rows: Iterable[Json], stream: TextIO) -> None:
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([*BEFORE, *columns, *AFTER])
    for row in rows:
        ours, answer = row["ours"], row["answer"]
        table.writerow(
            [
                *(_cell(ours[name]) for name in BEFORE),
                *(_cell(answer.get(name)) for name in columns),
                *(_cell(ours[name]) for name in AFTER),
            ]
        )


def _cells(result: JobResult) -> Json:
    ours = {name: getattr(result, name) for name in (*BEFORE, *AFTER)}
    parsed = plain(result.parsed_response)
    if isinstance(parsed, dict):
        return {"ours": ours, "answer": {_column(name): cell for name, cell in flat(parsed)}}
    text = result.raw_response if parsed is None else parsed
    return {"ours": ours, "answer": {} if text is None else {"answer": _scalar(text)}}


def _column(name: str) -> str:
    return f"answer.{name}" if name in (*BEFORE, *AFTER) else name


def flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    """Yield an object's leaves as (dotted name, cell); an empty object is a leaf."""
    for name, value in data.items():
        path = f"{above}{name}"
        if isinstance(value, dict) and value:
            yield from flat(value, f"{path}.")
        else:
            yield path, _scalar(value)


def _scalar(value: Any) -> Any:
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else value


def _cell(value: Any) -> Any:
    if isinstance(value, bool):
        return "true" if value else "false"
    # A carriage return or NUL inside a cell is what spreadsheets and csv readers stumble over.
    return value.replace("\r\n", "\n").replace("\x00", "") if isinstance(value, str) else value


__all__ = ["export", "flat", "write_csv", "write_jsonl", "write_results"]
