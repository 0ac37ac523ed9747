"""Where jobs come from by the hundred: folders of files, tables of rows. Streamed, never held.

A ``Source`` yields numbered mappings and knows how to say where one of them stands, so that what
is wrong names its file and line.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

from batchkit.errors import ValidationError
from batchkit.sources.parquet import parquet_rows
from batchkit.sources.texts import csv_rows, jsonl_rows

Numbered: TypeAlias = Iterator[tuple[int, Mapping[str, Any]]]

_KINDS = ".csv, .tsv, .jsonl (or .ndjson) and .parquet"


@dataclass(frozen=True, slots=True)
class Source:
    """Rows with their numbers, and the words for a place: ``reviews.csv, line 7``, or ``row 7``."""

    name: str
    unit: str
    rows: Numbered

    def place(self, number: int) -> str:
        """Say where a row stands."""
        return f"{self.name}, {self.unit} {number:,}" if self.name else f"{self.unit} {number:,}"


def opened(given: Any, *, delimiter: str | None = None, encoding: str | None = None) -> Source:
    """Return the rows of a file (by its suffix) or of an iterable of mappings.

    Raises ValidationError for what is neither, for a file that is not there or of another kind,
    and while rows are taken, for the row that cannot be read.
    """
    if isinstance(given, str | os.PathLike):
        return _file(Path(given), delimiter, encoding)
    if delimiter is not None or encoding is not None:
        raise ValidationError("delimiter and encoding are for files: leave them out here.")
    if isinstance(given, Mapping | bytes) or not isinstance(given, Iterable):
        raise ValidationError(
            f"add_rows takes a file ({_KINDS}), sql= with url=, or an iterable of mappings, not "
            f"{type(given).__name__}."
        )
    if hasattr(given, "columns") and (hasattr(given, "to_dict") or hasattr(given, "to_dicts")):
        raise ValidationError(
            "A data frame is no iterable of mappings: give frame.to_dict('records') for pandas, "
            "frame.iter_rows(named=True) for polars."
        )
    return Source("", "row", _mappings(given))


def _file(path: Path, delimiter: str | None, encoding: str | None) -> Source:
    path = path.expanduser()
    suffix = path.suffix.lower()
    if not path.is_file():
        what = "is a folder: add_folder takes those" if path.is_dir() else "does not exist"
        raise ValidationError(f"{path} {what}.")
    if suffix in (".csv", ".tsv", ".tab"):
        mark = delimiter or ("," if suffix == ".csv" else "\t")
        return Source(str(path), "line", csv_rows(path, mark, encoding))
    if delimiter is not None:
        raise ValidationError(f"{path}: delimiter is for .csv and .tsv files.")
    if suffix in (".jsonl", ".ndjson"):
        return Source(str(path), "line", jsonl_rows(path, encoding))
    if suffix == ".parquet":
        if encoding is not None:
            raise ValidationError(f"{path}: encoding is for text files.")
        return Source(str(path), "row", parquet_rows(path))
    raise ValidationError(
        f"{path}: what is read is chosen by the suffix, {_KINDS}. Anything else comes as an "
        "iterable of mappings."
    )


def _mappings(given: Iterable[Any]) -> Numbered:
    for number, row in enumerate(given, 1):
        if not isinstance(row, Mapping):
            raise ValidationError(
                f"Row {number:,} is no mapping of column to value but {type(row).__name__}: "
                f"{row!r:.60}"
            )
        yield number, row


__all__ = ["Source", "opened"]
