"""Parquet, typed by the answers' model and written some thousand rows at a time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from pathlib import Path
from typing import Any

from batchkit.errors import ConfigError
from batchkit.export.shapes import NOTHING, Shape, fitted
from batchkit.export.sheets import Sheet

_ROWS = 5_000
_CHARACTERS = 32_000_000
"""A row group is written when either is reached: long answers must not fill the memory."""


def write_parquet(sheet: Sheet, path: Path) -> None:
    """Write a table of typed columns; raise ConfigError without pyarrow.

    A list is a Parquet list, of structs where the model says so; what has no one form is JSON text.
    """
    arrow, parquet = _pyarrow()
    columns = sheet.columns
    schema = arrow.schema([(one.name, _type(arrow, one.shape)) for one in columns])
    with parquet.ParquetWriter(path, schema, compression="zstd") as writer:
        for group in _groups(sheet.rows()):
            arrays = [
                arrow.array([fitted(row[at], column.shape) for row in group], schema.field(at).type)
                for at, column in enumerate(columns)
            ]
            writer.write_table(arrow.Table.from_arrays(arrays, schema=schema))


def _groups(rows: Iterator[list[Any]]) -> Iterator[Sequence[list[Any]]]:
    """Cut rows into groups that fit into memory."""
    while page := list(islice(rows, 1)):
        size = _size(page[0])
        while size < _CHARACTERS and len(page) < _ROWS and (more := list(islice(rows, 1))):
            page += more
            size += _size(more[0])
        yield page


def _size(row: Sequence[Any]) -> int:
    return sum(len(value) for value in row if isinstance(value, str | list))


def _type(arrow: Any, shape: Shape) -> Any:
    if shape.kind == "list":
        return arrow.list_(_type(arrow, shape.item or NOTHING))
    if shape.kind == "object":
        return arrow.struct([(name, _type(arrow, one)) for name, one in shape.fields])
    simple = {
        "boolean": arrow.bool_,
        "integer": arrow.int64,
        "number": arrow.float64,
        "date": arrow.date32,
    }
    return simple.get(shape.kind, arrow.string)()


def _pyarrow() -> tuple[Any, Any]:
    try:
        import pyarrow
        from pyarrow import parquet
    except ModuleNotFoundError as error:
        raise ConfigError(
            "Parquet needs pyarrow: pip install 'llm-batchkit[parquet]'. Without it, write .jsonl "
            "or .csv."
        ) from error
    return pyarrow, parquet
