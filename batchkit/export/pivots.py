"""Answers side by side as a file: one row a key, one set of columns a model."""

from __future__ import annotations

import csv
import os
import tempfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import orjson

from batchkit.errors import ConfigError, ValidationError
from batchkit.export.lines import cell
from batchkit.model import Json
from batchkit.results import JobResult, plain

_OURS = ("state", "error", "cost_usd")


@dataclass(frozen=True, slots=True)
class PivotRow:
    """One question and the result of each model that was asked, by the model's name."""

    key: str
    results: Mapping[str, JobResult]

    def to_dict(self) -> Json:
        """Return it as JSON data: ``key``, and each model's ``JobResult.to_dict()``."""
        sides = {model: result.to_dict() for model, result in self.results.items()}
        return {"key": self.key, "results": sides}


def write_pivot(
    rows: Iterable[PivotRow], models: Sequence[str], target: str | os.PathLike[str]
) -> int:
    """Write a ``.jsonl`` or ``.csv`` file, whole or not at all; return the number of rows.

    JSONL: a line is ``PivotRow.to_dict()``. CSV: ``key``, then for each model ``<model>.state``,
    ``<model>.error``, ``<model>.cost_usd`` and its answer's fields, named with dots. Raises
    ValidationError for another suffix and ConfigError for a place that cannot be written.
    """
    path = Path(target).expanduser()
    suffix = path.suffix.lower()
    if suffix not in (".jsonl", ".ndjson", ".csv") or "://" in os.fspath(target):
        raise ValidationError(f"{path.name}: side by side is written as .jsonl or .csv.")
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with part.open("w", encoding="utf-8", newline="") as stream:
            count = _csv(rows, models, stream) if suffix == ".csv" else _lines(rows, stream)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return count


def _lines(rows: Iterable[PivotRow], stream: TextIO) -> int:
    count = 0
    for row in rows:
        data = orjson.dumps(row.to_dict(), default=str, option=orjson.OPT_NON_STR_KEYS)
        stream.write(data.decode() + "\n")
        count += 1
    return count


def _csv(rows: Iterable[PivotRow], models: Sequence[str], stream: TextIO) -> int:
    """The rows pass through a file, since the columns are known only after the last one."""
    columns: dict[str, dict[str, None]] = {model: dict.fromkeys(_OURS) for model in models}
    count = 0
    with tempfile.TemporaryFile() as passing:
        for row in rows:
            sides = {model: _cells(result) for model, result in row.results.items()}
            for model, cells in sides.items():
                columns.setdefault(model, {}).update(dict.fromkeys(cells))
            passing.write(orjson.dumps([row.key, sides], default=str) + b"\n")
            count += 1
        table = csv.writer(stream, lineterminator="\n")
        named = [(model, name) for model, names in columns.items() for name in names]
        table.writerow(["key", *(cell(f"{model}.{name}") for model, name in named)])
        passing.seek(0)
        for line in passing:
            key, sides = orjson.loads(line)
            found = [sides.get(model, {}).get(name) for model, name in named]
            table.writerow([cell(key), *map(cell, found)])
    return count


def _cells(result: JobResult) -> Json:
    cells = {name: getattr(result, name) for name in _OURS}
    parsed = plain(result.parsed_response)
    answer = result.raw_response if parsed is None else parsed
    if isinstance(answer, dict):
        cells.update((_free(name), value) for name, value in _flat(answer))
    elif answer is not None:
        cells["answer"] = answer
    return cells


def _free(name: str) -> str:
    return f"answer.{name}" if name in _OURS else name


def _flat(data: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in data.items():
        if isinstance(value, dict) and value:
            yield from _flat(value, f"{above}{name}.")
        else:
            yield f"{above}{name}", value
