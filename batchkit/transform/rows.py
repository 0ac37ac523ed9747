"""Rows on their way to a model and back: how they are written, numbered, and told apart. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from hashlib import blake2b
from typing import Any
from uuid import UUID

import orjson
from pydantic import BaseModel, Field, create_model

from batchkit.errors import ValidationError
from batchkit.model import Json

SEVERAL = (
    "The rows follow, one a line: a row's number, a colon, and its data as JSON. "
    "Answer for every row once, each answer with the number of its row."
)
ALONE = "One row follows: its data as JSON."


@dataclass(frozen=True, slots=True)
class Row:
    """A row as the model sees it. ``id`` follows from the content, so that it is known again."""

    index: int
    text: str
    id: str


def rows_of(data: Iterable[Any]) -> list[Row]:
    """Return the rows of a caller's data; two that say the same stay two.

    Raises ValidationError for what is no mapping, or holds what JSON cannot say.
    """
    rows: list[Row] = []
    seen: Counter[str] = Counter()
    for index, given in enumerate(data):
        text = _text(index, given)
        digest = digest_of(text)
        seen[digest] += 1
        rows.append(Row(index, text, f"{digest}~{seen[digest]}"))
    return rows


def _text(index: int, given: Any) -> str:
    if not isinstance(given, Mapping):
        raise ValidationError(
            f"Row {index} is no dictionary but {type(given).__name__}: {given!r:.60}"
        )
    try:
        return orjson.dumps(dict(given), default=_plain).decode()
    except (TypeError, ValueError) as error:
        raise ValidationError(f"Row {index} cannot be written as JSON: {error}.") from error


def _plain(value: Any) -> Any:
    if isinstance(value, Decimal | UUID):
        return str(value)
    raise TypeError(f"there is no JSON for {type(value).__name__}")


def digest_of(*parts: Any) -> str:
    """Return 16 hex digits that stand for some plain values."""
    written = orjson.dumps(parts, default=repr, option=orjson.OPT_NON_STR_KEYS)
    return blake2b(written, digest_size=8).hexdigest()


def numbered(rows: Sequence[Row]) -> str:
    """Return rows as they stand in one request, numbered from 1."""
    return "\n".join(f"{number}: {row.text}" for number, row in enumerate(rows, 1))


def several(output_model: type[BaseModel]) -> type[BaseModel]:
    """Return the model of an answer to several rows: ``{"rows": [{"row": 1, "answer": …}]}``."""
    entry = create_model(
        "NumberedAnswer",
        row=(int, Field(description="The number of the row that is answered.")),
        answer=(output_model, ...),
    )
    return create_model("NumberedAnswers", rows=(list[entry], ...))  # type: ignore[valid-type]


def parted(value: Any, count: int) -> dict[int, Any]:
    """Return the answers in plain data by the place of their row, from 0.

    Left out are rows without an answer, rows that are named twice, and numbers that no row has.
    """
    entries = value.get("rows") if isinstance(value, dict) else None
    found = [one for one in entries or () if isinstance(one, dict) and "answer" in one]
    named = Counter(_number(one) for one in found)
    return {
        number - 1: one["answer"]
        for one in found
        if (number := _number(one)) and 1 <= number <= count and named[number] == 1
    }


def _number(entry: Json) -> int:
    number = entry.get("row")
    return number if isinstance(number, int) and not isinstance(number, bool) else 0
