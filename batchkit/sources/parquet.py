"""Rows of a Parquet file, some hundred at a time."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from batchkit.errors import ConfigError, ValidationError

_AT_ONCE = 1_000


def parquet_rows(path: Path) -> Iterator[tuple[int, Mapping[str, Any]]]:
    """Yield (row number, column to value); raise ValidationError for a file that is broken.

    Raises ConfigError where pyarrow is not installed.
    """
    try:
        import pyarrow
        from pyarrow import parquet
    except ImportError as error:
        raise ConfigError(
            f'{path}: reading Parquet needs pyarrow: pip install "llm-batchkit[parquet]"'
        ) from error
    number = 0
    try:
        with parquet.ParquetFile(path) as file:
            _check_names(path, file.schema_arrow.names)
            for page in file.iter_batches(batch_size=_AT_ONCE):
                for row in page.to_pylist():
                    number += 1
                    yield number, row
    except (pyarrow.ArrowException, OSError) as error:
        after = f" after row {number:,}" if number else ""
        raise ValidationError(
            f"{path} is no Parquet file that can be read{after}: {error}"
        ) from error


def _check_names(path: Path, names: list[str]) -> None:
    for name in names:
        if names.count(name) > 1:
            raise ValidationError(f"{path} has two columns {name!r}: rename one of them.")
