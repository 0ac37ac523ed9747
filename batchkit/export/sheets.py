"""A run as a table: which columns there are, and its rows, held on disk and never in memory."""

from __future__ import annotations

import tempfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import IO, Any

import orjson

from batchkit.export import shapes
from batchkit.export.shapes import INTEGER, NOTHING, NUMBER, TEXT, Shape
from batchkit.results import JobResult, plain

BEFORE = {"key": TEXT, "state": TEXT, "error_code": TEXT, "error": TEXT}
AFTER = {
    "model": TEXT,
    "cost_usd": NUMBER,
    "attempts": INTEGER,
    "finish_reason": TEXT,
    "batch_id": TEXT,
    "source": TEXT,
    "source_sha256": TEXT,
    "input_tokens": INTEGER,
    "output_tokens": INTEGER,
}
"""The columns around those of the answers: where a row comes from and what it cost."""

OURS = (*BEFORE, *AFTER)
_RESERVED = frozenset({*OURS, "run", "run_name"})  # a table has the last two as well

Path = tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Column:
    """One column; ``shape`` holds every value in it."""

    name: str
    shape: Shape


class Sheet:
    """The rows of a run with the columns of their answers.

    An object in an answer becomes a column for each of its fields, named with dots
    (``address.city``); a list, and an object whose fields no model names, stays one cell. An
    answer that is no object stands in the column ``answer``. A field that is named as a column of
    ours is called ``answer.…``. Columns are in the order of the model, whatever comes back.

    The rows pass through a file, since the columns are known only after the last one.
    """

    def __init__(self, file: IO[bytes], hint: Shape = NOTHING) -> None:
        """Take a file to write rows into; ``hint`` is the shape of the answers' model."""
        self._hint = hint
        self._file = file
        self._names: dict[Path, str] = {}
        self._taken = set(_RESERVED)
        self._shapes: dict[str, Shape] = {}
        self.count = 0

    @property
    def columns(self) -> list[Column]:
        """The columns, in the order of the values in ``rows``."""
        made = {**BEFORE, **self._shapes, **AFTER}
        return [Column(name, shape) for name, shape in made.items()]

    def rows(self) -> Iterator[list[Any]]:
        """Stream each row's values as JSON data, in the order of ``columns``."""
        answers = list(self._shapes)
        split = len(BEFORE)
        self._file.seek(0)
        for line in self._file:
            ours, answer = orjson.loads(line)
            found = [answer.get(name) for name in answers]
            yield [*ours[:split], *found, *ours[split:]]

    def add(self, result: JobResult) -> None:
        """Write one row."""
        parsed = plain(result.parsed_response)
        answer = result.raw_response if parsed is None else parsed
        cells: dict[str, Any] = {}
        if answer is not None:
            for path, value, hint in _flat(answer, self._hint):
                cells[self._column(path, value, hint)] = value
        ours = [getattr(result, name) for name in OURS]
        self._file.write(_line([ours, cells]) + b"\n")
        self.count += 1

    def _column(self, path: Path, value: Any, hint: Shape) -> str:
        """Return the column that holds a value, widened if it has to be."""
        name = self._names.get(path)
        if name is not None and shapes.fits(value, self._shapes[name]):
            return name
        return self.widen(path, shapes.of_value(value, hint))

    def widen(self, path: Path, shape: Shape) -> str:
        """Make a column hold this shape as well; return its name."""
        name = self._names.get(path)
        if name is None:
            name = self._names[path] = self._named(path)
            self._shapes[name] = shape
        else:
            before = self._shapes[name]
            if before is not shape:
                self._shapes[name] = shapes.join(before, shape)
        return name

    def _named(self, path: Path) -> str:
        name = ".".join(path) or "answer"
        if name in _RESERVED:
            name = f"answer.{name}"
        while name in self._taken:  # a name with a dot in it, and one inside another
            name += "_"
        self._taken.add(name)
        return name


@contextmanager
def filled(
    results: Iterable[JobResult], schemas: Iterable[Mapping[str, Any]] = ()
) -> Iterator[Sheet]:
    """Give a sheet of all results; ``schemas`` are the JSON Schemas of their answers."""
    hint = shapes.of_schemas(schemas)
    with tempfile.TemporaryFile() as file:
        sheet = Sheet(file, hint)
        for path, shape in _leaves(hint):
            sheet.widen(path, shape)
        for result in results:
            sheet.add(result)
        yield sheet


def _line(data: Any) -> bytes:
    try:
        return orjson.dumps(data, default=str, option=orjson.OPT_NON_STR_KEYS)
    except TypeError:
        return orjson.dumps(_narrowed(data), default=str, option=orjson.OPT_NON_STR_KEYS)


def _narrowed(value: Any) -> Any:
    """Write whole numbers beyond 64 bits as text: no table has a column for them."""
    if isinstance(value, list):
        return [_narrowed(one) for one in value]
    if isinstance(value, dict):
        return {str(name): _narrowed(one) for name, one in value.items()}
    if isinstance(value, int) and shapes.of_value(value).kind == "text":
        return str(value)
    return value


def _leaves(shape: Shape, above: Path = ()) -> Iterator[tuple[Path, Shape]]:
    for name, one in shape.fields:
        if one.kind == "object":
            yield from _leaves(one, (*above, name))
        else:
            yield (*above, name), one
    if not above and shape.kind not in ("object", "nothing"):
        yield (), shape


def _flat(value: Any, hint: Shape, above: Path = ()) -> Iterator[tuple[Path, Any, Shape]]:
    """Yield the leaves of an answer; only objects that the model names fields of are opened."""
    is_known = hint.kind == "object" or (not above and hint.kind == "nothing")
    if isinstance(value, dict) and is_known:
        for name, one in value.items():
            inside = hint.known.get(name, NOTHING)
            path = (*above, str(name))
            if isinstance(one, dict) or inside.kind == "object":
                yield from _flat(one, inside, path)
            else:
                yield path, one, inside
    elif above and value is None and hint.kind == "object":
        return  # each of its fields is empty
    else:
        yield above, value, hint
