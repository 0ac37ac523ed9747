"""Results outside of the database: files, a table, a data frame, and ``results_dir``."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from batchkit.errors import ConfigError, ValidationError
from batchkit.export.folders import write_results
from batchkit.export.frames import Library, frame
from batchkit.export.lines import write_csv, write_jsonl
from batchkit.export.parquet import write_parquet
from batchkit.export.shapes import fitted
from batchkit.export.sheets import Sheet, filled
from batchkit.results import JobResult
from batchkit.store import Outlet, outlets

_FORMS = ".jsonl, .csv, .parquet, .db (SQLite), or a URL such as postgresql://host/database/table"

Schemas = Iterable[Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Source:
    """Where rows come from: the run's id and name, and the database that holds it (a URL)."""

    run: str
    name: str
    url: Any = None


def export(
    results: Iterable[JobResult],
    target: str | os.PathLike[str],
    *,
    schemas: Schemas = (),
    source: Source | None = None,
) -> int:
    """Write one row per job to a file, whole or not at all, or to a table; return how many.

    JSONL: a line is ``JobResult.to_dict()``. The others have the columns of ``Sheet``, typed by
    ``schemas``, the JSON Schemas of the answers; ``source`` is for a table. Raises ValidationError
    for a target that is none and ConfigError for a place that cannot be written.
    """
    written = os.fspath(target)
    if outlets.is_place(written):
        return _to_table(results, written, schemas, source or Source("", ""))
    path = Path(target).expanduser()
    writer = _writer(path)
    part = path.parent / f".{path.name}.{os.getpid()}.part"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        count = writer(results, schemas, part)
        part.replace(path)
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror or error}") from error
    finally:
        with suppress(OSError):
            part.unlink()
    return count


def shown(target: str | os.PathLike[str]) -> str:
    """Return where an export goes, for people; no password."""
    written = os.fspath(target)
    return outlets.place(written).shown if outlets.is_place(written) else written


def to_frame(
    results: Iterable[JobResult], library: Library | None = None, *, schemas: Schemas = ()
) -> Any:
    """Return a data frame with one row per job; see ``frames.frame``."""
    with filled(results, schemas) as sheet:
        return frame(sheet, library)


def _writer(path: Path) -> Callable[[Iterable[JobResult], Schemas, Path], int]:
    suffix = path.suffix.lower()
    if suffix in (".jsonl", ".ndjson"):
        return _jsonl
    if suffix == ".csv":
        return partial(_sheet, _csv)
    if suffix == ".parquet":
        return partial(_sheet, write_parquet)
    raise ValidationError(f"{path.name}: what is written is chosen by the suffix: {_FORMS}")


def _jsonl(results: Iterable[JobResult], _schemas: Schemas, part: Path) -> int:
    with part.open("w", encoding="utf-8", newline="") as stream:
        return write_jsonl(results, stream)


def _sheet(
    write: Callable[[Sheet, Path], None],
    results: Iterable[JobResult],
    schemas: Schemas,
    part: Path,
) -> int:
    with filled(results, schemas) as sheet:
        write(sheet, part)
        return sheet.count


def _csv(sheet: Sheet, part: Path) -> None:
    with part.open("w", encoding="utf-8", newline="") as stream:
        write_csv(sheet, stream)


def _to_table(results: Iterable[JobResult], target: str, schemas: Schemas, source: Source) -> int:
    outlet = Outlet(outlets.place(target), own=source.url)
    with filled(results, schemas) as sheet:
        kinds = {one.name: _KINDS.get(one.shape.kind, one.shape.kind) for one in sheet.columns}
        return outlet.write(dict.fromkeys(_TABLE, "text") | kinds, _rows(sheet, source))


_TABLE = ("run", "run_name")
_KINDS = {"list": "json", "object": "json"}


def _rows(sheet: Sheet, source: Source) -> Iterator[list[Any]]:
    shapes = [one.shape for one in sheet.columns]
    simple = [shape.kind in ("text", "number", "date") for shape in shapes]
    for row in sheet.rows():
        values = (
            fitted(value, shape) if is_simple else value
            for value, shape, is_simple in zip(row, shapes, simple, strict=True)
        )
        yield [source.run, source.name, *values]


__all__ = ["Library", "Sheet", "Source", "export", "shown", "to_frame", "write_results"]
