"""What a transform gives back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from pydantic import BaseModel

from batchkit.model import Json

T = TypeVar("T", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class RowResult(Generic[T]):
    """One row: its place in the data, from 0, and its output or why there is none."""

    index: int
    output: T | None = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class Metrics:
    """What the rows took, whoever bought them when; ``seconds`` are those of this call.

    ``retries`` are the requests after the first one of a row. ``cost`` is in US dollars, None where
    a price is unknown.
    """

    rows: int
    requests: int
    retries: int
    input_tokens: int
    output_tokens: int
    cost: float | None
    seconds: float


@dataclass(frozen=True, slots=True)
class TransformResult(Generic[T]):
    """Every row once, in the order of the data."""

    rows: Sequence[RowResult[T]]
    metrics: Metrics

    @property
    def data(self) -> list[T]:
        """The outputs, in the order of the data; rows that failed are left out."""
        return [row.output for row in self.rows if row.output is not None]

    @property
    def errors(self) -> list[RowResult[T]]:
        """The rows that failed."""
        return [row for row in self.rows if row.output is None]

    @property
    def success(self) -> bool:
        """Whether every row has its output."""
        return not self.errors

    def to_dict(self) -> Json:
        """Return it as JSON data."""
        return {
            "rows": [
                {"index": row.index, "output": _plain(row.output), "error": row.error}
                for row in self.rows
            ],
            "success": self.success,
            "metrics": {name: getattr(self.metrics, name) for name in Metrics.__slots__},
        }


def _plain(output: Any) -> Any:
    return None if output is None else output.model_dump(mode="json", by_alias=True)
