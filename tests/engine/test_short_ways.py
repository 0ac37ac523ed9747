"""Plain answers go from their line to their row at once; all others by a verdict: one book."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, field_validator

from batchkit import outputs
from batchkit.model import Citation, Errored, Json, Succeeded, Usage
from batchkit.schemas import answer_schema
from batchkit.store.tables import attempts
from batchkit.testing import FakeProvider, ManualClock
from tests.engine.nights import Night

USED = Usage(12, 7, 3)


class Bill(BaseModel):
    """What is asked for."""

    total: float

    @field_validator("total")
    @classmethod
    def _not_negative(cls, value: float) -> float:
        if value < 0:
            raise ValueError("nothing costs less than nothing")
        return value


def answered(text: str, **more: Any) -> Succeeded:
    values = {"usage": USED, "model": "fake-1", "finish": "stop", **more}
    return Succeeded(custom_id="", text=text, **values)


GOOD = '{"total": 1.5}'
KINDS = [
    answered(GOOD),
    answered(GOOD, request_id="req_1", model=None),
    answered('{"total": -1}'),
    answered('{"total": NaN}'),
    answered('{"total": "one\\u0000"}'),
    answered("not JSON"),
    answered(""),
    answered(GOOD, usage=None),
    answered(GOOD, billed=False),
    answered(GOOD, finish="length"),
    answered(GOOD, finish="refusal", refusal="no"),
    answered(GOOD, citations=(Citation("one", "a.txt", 1, {"a": 1}),)),
    Errored("", "invalid", "bad", "it is bad"),
]


def answer(row: Json) -> Any:
    number = int(str(row["prompt"]).split()[1])
    return KINDS[number % len(KINDS)]


def book(night: Night, schema: Json | None) -> list[tuple[Any, ...]]:
    """Run it to its end; return every attempt as it is stored, times and batches aside."""
    more = {} if schema is None else {"schema": schema, "response_model": "here:Bill"}
    night.start(len(KINDS), template=more, max_attempts=1)
    night.drive()
    night.verify()
    with night.store.database.read() as connection:
        rows = connection.execute(attempts.select()).mappings()
        named = [{**row, "run_id": 0, "batch_id": 0, "lane_id": 0} for row in rows]
    return sorted(
        (tuple(map(str, row.values())) for row in named),
        key=lambda row: row,
    )


@pytest.mark.parametrize("asked", ["text", "class at hand", "stored schema"])
def test_the_short_way_books_what_the_long_way_books(
    migrated_sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, asked: str
) -> None:
    schema = None if asked == "text" else answer_schema(Bill, "openai").to_dict()
    types = {"here:Bill": Bill} if asked == "class at hand" else {}
    books = []
    for way in ("long", "short"):
        clock = ManualClock()
        night = Night(
            migrated_sqlite_url, tmp_path, FakeProvider(clock=clock, answer=answer), clock
        )
        engine = night.engine

        def typed(engine: Any = engine) -> Any:
            made = engine()
            made._types = types
            return made

        monkeypatch.setattr(night, "engine", typed)
        is_plain = outputs.is_plain if way == "short" else lambda _: False
        with monkeypatch.context() as patched:
            patched.setattr(outputs, "is_plain", is_plain)
            books.append(book(night, schema))
        night.store.runs.remove(night.run_id)
        night.store.close()
    assert books[0] == books[1]
    assert orjson.dumps(books[0]).count(b"completed") >= 4
