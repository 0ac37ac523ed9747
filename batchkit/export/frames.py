"""A run as a data frame, of pandas or of polars."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Sequence
from typing import Any, Literal

from batchkit.errors import ConfigError, ValidationError
from batchkit.export.shapes import NOTHING, Shape, fitted
from batchkit.export.sheets import Column, Sheet

Library = Literal["pandas", "polars"]

_KNOWN: tuple[Library, ...] = ("pandas", "polars")
_PANDAS = {
    "boolean": "boolean",
    "integer": "Int64",
    "number": "float64",
    "text": "string",
    "date": "datetime64[s]",
}


def frame(sheet: Sheet, library: Library | None = None) -> Any:
    """Return a data frame with one row per job; all of it is in memory.

    ``library`` None is the one that this program has imported, else the one that is installed,
    pandas first. Raises ValidationError for another name, ConfigError if it is not installed.
    """
    chosen = _chosen(library)
    module = _module(chosen)
    rows = list(sheet.rows())
    values = {
        column.name: [fitted(row[at], column.shape) for row in rows]
        for at, column in enumerate(sheet.columns)
    }
    if chosen == "pandas":
        return _pandas(module, sheet.columns, values)
    schema = {column.name: _polars(module, column.shape) for column in sheet.columns}
    return module.DataFrame(values, schema=schema)


def _chosen(library: str | None) -> Library:
    if library is None:
        there = [name for name in _KNOWN if name in sys.modules]
        there += [name for name in _KNOWN if importlib.util.find_spec(name) is not None]
        return there[0] if there else "pandas"
    for name in _KNOWN:
        if name == library:
            return name
    raise ValidationError(f"library must be 'pandas' or 'polars', not {library!r}")


def _module(name: Library) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        raise ConfigError(
            f"A data frame needs {name}: pip install 'llm-batchkit[{name}]' (pandas and polars "
            "are both taken: to_frame(library=…))."
        ) from error


def _pandas(pandas: Any, columns: Sequence[Column], values: dict[str, list[Any]]) -> Any:
    """Missing values are the library's own; lists and objects are Python's."""
    made = {
        column.name: pandas.Series(
            values[column.name], dtype=_PANDAS.get(column.shape.kind, "object")
        )
        for column in columns
    }
    return pandas.DataFrame(made)


def _polars(polars: Any, shape: Shape) -> Any:
    if shape.kind == "list":
        return polars.List(_polars(polars, shape.item or NOTHING))
    if shape.kind == "object":
        return polars.Struct({name: _polars(polars, one) for name, one in shape.fields})
    simple = {
        "boolean": polars.Boolean,
        "integer": polars.Int64,
        "number": polars.Float64,
        "date": polars.Date,
    }
    return simple.get(shape.kind, polars.String)
