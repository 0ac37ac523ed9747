"""Jobs by the hundred: one for each file of a folder, one for each row of a table."""

from __future__ import annotations

import os
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import date, datetime, time
from decimal import Decimal
from pathlib import Path
from typing import Any
from uuid import UUID

from batchkit.builder.asking import BadInput
from batchkit.errors import KeyConflictError, ValidationError
from batchkit.model import Json
from batchkit.sources import Source, opened
from batchkit.sources.folders import files
from batchkit.sources.wording import MissingColumn, Wording, lacking
from batchkit.store.queries import query_rows

_WORDED = ("key", "prompt", "system", "file")
"""The arguments in which a row's columns are filled in."""

Add = Callable[[Json, str | None], None]
"""Adds a job of these arguments of ``add_job``, or one that failed for this reason."""


def from_folder(
    folder: str | os.PathLike[str], pattern: str, prefix: str, given: Mapping[str, Any]
) -> Iterator[Json]:
    """Yield ``add_job``'s arguments for each file of a folder, in order of their paths."""
    for name in ("file", "files", "key", "messages"):
        if given.get(name) is not None:
            raise ValidationError(
                f"{name} cannot be given to add_folder: the files and their keys are the folder's. "
                "Use add_job for anything else."
            )
    if not isinstance(folder, str | os.PathLike) or not isinstance(pattern, str):
        raise ValidationError("add_folder takes the path of a folder and a pattern like '*.pdf'.")
    for path, name in files(Path(folder).expanduser(), pattern):
        yield {**given, "file": path, "key": f"{prefix}{name}"}


def source_of(
    given: Any,
    sql: str | None,
    url: str | os.PathLike[str] | None,
    delimiter: str | None,
    encoding: str | None,
) -> Source:
    """Return the rows that ``add_rows`` was given; raise ValidationError for none or two."""
    if sql is None and url is None:
        if given is None:
            raise ValidationError(
                "No rows were given: name a file, an iterable of mappings, or sql= with url=."
            )
        return opened(given, delimiter=delimiter, encoding=encoding)
    if given is not None:
        raise ValidationError("Rows and sql were both given: give one of the two.")
    if not sql or url is None:
        raise ValidationError(
            "A query needs both: sql='SELECT …' and url= of its database, or the path of a SQLite "
            "file."
        )
    if delimiter is not None or encoding is not None:
        raise ValidationError("delimiter and encoding are for files: leave them out here.")
    return Source("the query", "row", query_rows(sql, url))


class Rows:
    """The rows of a source as jobs, streamed.

    ``given`` are ``add_job``'s arguments; prompt, key, system and file are filled in for each row;
    ``metadata`` may be a list of columns that go with each result. With ``lenient`` a row that
    lacks a column has a problem; without, it is an error.
    """

    def __init__(self, source: Source, given: Mapping[str, Any], *, lenient: bool) -> None:
        for name in ("messages", "files"):
            if given.get(name) is not None:
                raise ValidationError(f"{name} cannot be given to add_rows: use add_jobs for it.")
        if not isinstance(given.get("prompt"), str):
            raise ValidationError("add_rows needs prompt=, text such as 'Classify: {{ text }}'.")
        self._source = source
        self._lenient = lenient
        self._worded = {
            name: Wording(name, given[name]) for name in _WORDED if given.get(name) is not None
        }
        self._constant = {
            name: value
            for name, value in given.items()
            if name not in _WORDED and name != "metadata"
        }
        self._columns = _columns(given.get("metadata"))
        if self._columns is None and given.get("metadata") is not None:
            self._constant["metadata"] = given["metadata"]
        self._marks = array("q")
        self._numbers = array("q")

    def add(self, add: Add) -> None:
        """Hand each row's arguments to ``add``, with the problem it has, if any.

        Raises what ``add`` raises, with the place of the row before it.
        """
        for number, row in self._source.rows:
            arguments = dict(self._constant)
            try:
                add(arguments, self._fill(arguments, row))
            except KeyConflictError as error:
                if "key" not in arguments:
                    raise
                raise KeyConflictError(self._twice(arguments["key"], number)) from error
            except ValidationError as error:
                raise type(error)(f"{self._source.place(number)}: {error}") from error
            if "key" in arguments:
                self._marks.append(hash(arguments["key"]))
                self._numbers.append(number)

    def _fill(self, arguments: Json, row: Mapping[str, Any]) -> str | None:
        """Fill in what a row has; return what it lacks if that shall be no error."""
        problem = None
        if self._columns is not None:
            arguments["metadata"] = self._metadata(row)
        for name, wording in self._worded.items():  # the key first: a failed job has one, too
            try:
                arguments[name] = wording.filled(row)
            except MissingColumn as error:
                if not self._lenient or name == "key":
                    raise
                problem, arguments[name] = str(error), None
        return problem

    def _metadata(self, row: Mapping[str, Any]) -> Json:
        missing = [name for name in self._columns or () if name not in row]
        if missing:
            raise MissingColumn(lacking(missing[0], "metadata names", row))
        return {name: _plain(name, row[name]) for name in self._columns or ()}

    def _twice(self, key: str, number: int) -> str:
        mark = hash(key)
        there = mark in self._marks
        first = (
            self._source.place(self._numbers[self._marks.index(mark)])
            if there
            else "a job that was added before"
        )
        return (
            f"The key {key!r} stands for two jobs: {first}, and {self._source.place(number)}. Give "
            'each row a key of its own, for example key="{{ id }}-{{ part }}", or none.'
        )


def _columns(metadata: Any) -> Sequence[str] | None:
    if metadata is None or isinstance(metadata, Mapping):
        return None
    if isinstance(metadata, str) or not all(isinstance(name, str) for name in metadata):
        raise ValidationError(
            'metadata is a list of columns, such as ["id"], or a mapping for all jobs, not '
            f"{metadata!r:.60}."
        )
    return list(metadata)


def _plain(name: str, value: Any) -> Any:
    """Return a cell as JSON data: times as ISO 8601, exact numbers and ids as text."""
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, Decimal | UUID):
        return str(value)
    if isinstance(value, bytes | bytearray | memoryview):
        raise BadInput(f"the column {name!r} holds bytes, which cannot stand in metadata.")
    return value
