"""Text files: a JSON object a line, and comma-separated values for spreadsheets."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterable
from typing import Any, TextIO

from batchkit.export import shapes
from batchkit.export.sheets import Sheet
from batchkit.results import JobResult

_SUSPECT = frozenset("=+-@\t\r\n ")
_FORMULA = re.compile(r"[=+\-@\t\r\n]")
_HARMLESS = re.compile(r"[+-]?[\d ().,/-]*\d[\d ().,/%-]*|[-–]+")
"""A number, a date or a telephone number with its sign; dashes for nothing."""


def write_jsonl(results: Iterable[JobResult], stream: TextIO) -> int:
    """Write each result's ``to_dict()`` as a line; return how many."""
    count = 0
    for result in results:
        stream.write(shapes.written(result.to_dict()) + "\n")
        count += 1
    return count


def write_csv(sheet: Sheet, stream: TextIO) -> None:
    """Write a table with a line of names above it.

    A list or a free object is one cell, as JSON; true and false are ``true`` and ``false``;
    nothing is an empty cell. A line end inside a cell is ``\\n`` and the cell is quoted. A text
    that a spreadsheet would take for a formula has an apostrophe before it.
    """
    table = csv.writer(stream, lineterminator="\n")
    table.writerow([cell(column.name) for column in sheet.columns])
    for row in sheet.rows():
        table.writerow([cell(value) for value in row])


def cell(value: Any) -> Any:
    """Return a value as it stands in a cell of a CSV."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list | dict):
        return shapes.written(value)
    if not isinstance(value, str):
        return value
    text = value
    if "\r" in text or "\x00" in text:  # what spreadsheets and csv readers stumble over
        text = text.replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    return f"'{text}" if text[:1] in _SUSPECT and _is_formula(text) else text


def _is_formula(text: str) -> bool:
    """Say whether a spreadsheet would run it: documents write what they like into answers."""
    start = text.lstrip(" ")
    return bool(_FORMULA.match(start)) and not _HARMLESS.fullmatch(start)
