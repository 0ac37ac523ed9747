"""Tables in text files: CSV and TSV by the standard library, JSONL a line at a time."""

from __future__ import annotations

import codecs
import csv
import io
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import orjson

from batchkit.errors import ValidationError

_LONGEST_CELL = 20_000_000
"""Characters; more than any model reads. An unclosed quotation mark swallows the file else."""

_MARKS = {
    codecs.BOM_UTF8: "utf-8-sig",
    codecs.BOM_UTF16_LE: "utf-16",
    codecs.BOM_UTF16_BE: "utf-16",
}


def csv_rows(
    path: Path, delimiter: str, encoding: str | None
) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (number of the line it begins in, column to text) of each row.

    The first row names the columns; blank lines are passed over; a column without a name is left
    out. Raises ValidationError that names file and line.
    """
    _allow_long_cells()
    if len(delimiter) != 1:
        raise ValidationError(f"{path}: delimiter must be one character, not {delimiter!r}.")
    lines = _Lines(path, encoding)
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    columns: list[str] = []
    while True:
        begins = reader.line_num + 1
        try:
            cells = next(reader)
        except StopIteration:
            break
        except csv.Error as error:
            raise ValidationError(_unreadable(path, begins, reader.line_num, error)) from error
        if not cells:
            continue
        if not columns:
            columns = _columns(path, begins, cells)
            continue
        if len(cells) != len(columns):
            raise ValidationError(_uneven(path, begins, cells, columns, delimiter))
        yield begins, {name: cell for name, cell in zip(columns, cells, strict=True) if name}
    if not columns:
        raise ValidationError(f"{path} is empty: its first line must name the columns.")


def jsonl_rows(path: Path, encoding: str | None) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (line number, object) of each line; blank lines are passed over.

    Raises ValidationError that names file and line.
    """
    for number, line in enumerate(_Lines(path, encoding), 1):
        if not line.strip():
            continue
        try:
            row = orjson.loads(line)
        except orjson.JSONDecodeError as error:
            raise ValidationError(f"{path}, line {number:,} is not JSON: {error}.") from error
        if not isinstance(row, dict):
            raise ValidationError(
                f"{path}, line {number:,} is no object but {type(row).__name__}: a row is "
                '{"column": value, …}.'
            )
        yield number, row


class _Lines:
    """The lines of a text file; a byte that is none of its encoding names the line."""

    def __init__(self, path: Path, encoding: str | None) -> None:
        self._path = path
        self._encoding = encoding
        if encoding is not None:
            try:
                codecs.lookup(encoding)
            except LookupError as error:
                raise ValidationError(f"{path}: there is no encoding {encoding!r}.") from error

    def __iter__(self) -> Iterator[str]:
        try:
            with self._path.open("rb") as file:
                yield from self._decoded(file)
        except OSError as error:
            raise ValidationError(f"{self._path}: {error.strerror or error}.") from error

    def _decoded(self, file: BinaryIO) -> Iterator[str]:
        encoding = self._encoding or _marked(file)
        if not encoding.replace("_", "-").lower().startswith(("utf-16", "utf-32")):
            for number, line in enumerate(file, 1):
                first = number == 1 and _is_utf8(encoding)
                yield self._line(line, number, "utf-8-sig" if first else encoding)
            return
        yield from self._wide(file, encoding)

    def _wide(self, file: BinaryIO, encoding: str) -> Iterator[str]:
        """Cut lines after decoding: a line end is several bytes here."""
        number = 0
        try:
            with io.TextIOWrapper(file, encoding=encoding, newline="") as text:
                for line in text:
                    number += 1
                    yield line
        except UnicodeError as error:
            raise ValidationError(self._said(number + 1, encoding, error)) from error

    def _line(self, line: bytes, number: int, encoding: str) -> str:
        try:
            return line.decode(encoding)
        except UnicodeDecodeError as error:
            raise ValidationError(self._said(number, encoding, error)) from error

    def _said(self, number: int, encoding: str, error: UnicodeError) -> str:
        shown = "utf-8" if _is_utf8(encoding) else encoding
        return (
            f"{self._path}, line {number:,} is not {shown} ({error.args[-1]}): say how it is "
            'written, for example encoding="cp1252".'
        )


def _marked(file: BinaryIO) -> str:
    """Return the encoding that the file's first bytes say; UTF-8 if they say none."""
    start = file.read(3)
    file.seek(0)
    return next((name for mark, name in _MARKS.items() if start.startswith(mark)), "utf-8")


def _is_utf8(encoding: str) -> bool:
    return encoding.replace("_", "-").lower() in ("utf-8", "utf8", "utf-8-sig")


def _allow_long_cells() -> None:
    # A switch of the whole process, which is why it is only ever raised.
    if csv.field_size_limit() < _LONGEST_CELL:
        csv.field_size_limit(min(_LONGEST_CELL, sys.maxsize))


def _columns(path: Path, line: int, cells: list[str]) -> list[str]:
    names = [cell.strip() for cell in cells]
    for at, name in enumerate(names):
        if name and name in names[:at]:
            raise ValidationError(
                f"{path}, line {line:,} names the column {name!r} twice, as number "
                f"{names.index(name) + 1} and {at + 1}: rename one of them."
            )
    if not any(names):
        raise ValidationError(f"{path}, line {line:,} must name the columns, and is blank.")
    return names


def _uneven(path: Path, line: int, cells: list[str], columns: list[str], mark: str) -> str:
    few = len(cells) < len(columns)
    hint = f"a cell that holds {mark!r} stands in quotation marks"
    return (
        f"{path}, line {line:,} has too {'few' if few else 'many'} fields, {len(cells)} instead of "
        f"the {len(columns)} of its first line: {'one is missing' if few else hint}."
    )


def _unreadable(path: Path, begins: int, ends: int, error: csv.Error) -> str:
    if "field larger" in str(error) or "unexpected end" in str(error):
        return (
            f"{path}: the row that begins in line {begins:,} does not end: a quotation mark there "
            'is not closed, or one inside of a cell is not doubled ("").'
        )
    return f'{path}, line {ends:,} is no CSV ({error}): a quotation mark in a cell is doubled ("").'
