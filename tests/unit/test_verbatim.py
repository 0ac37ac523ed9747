"""Answers of some schemas are read as they are: the short way says what the long way says."""

from __future__ import annotations

from typing import Any, Literal

import orjson
import pytest
from pydantic import BaseModel, ValidationError

from batchkit.outputs import as_it_is, misfit, parse_answer, ready, typed
from batchkit.schemas import answer_schema, is_verbatim


class Plain(BaseModel):
    supplier: str
    total: float
    due: str | None


class Defaulted(BaseModel):
    supplier: str
    due: str = "soon"


class Chosen(BaseModel):
    kind: Literal["Paid", "Open"]


class Mapped(BaseModel):
    prices: dict[str, float]


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(
    ("model", "verbatim"), [(Plain, True), (Defaulted, False), (Chosen, False), (Mapped, False)]
)
def test_only_what_needs_no_way_back_is_verbatim(model: Any, verbatim: bool, dialect: Any) -> None:
    assert is_verbatim(answer_schema(model, dialect).to_dict()) is verbatim


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize(
    "text",
    [
        '{"supplier": "a", "total": 1, "due": null}',
        '{"supplier": "a", "total": 1.5, "due": "é\\u2028"}',
        '```json\n{"supplier": "a", "total": 1, "due": null}\n```',
        '{"supplier": "a", "total": NaN, "due": null}',
        '{"supplier": "a", "total": "much", "due": null}',
        '{"supplier": "a", "due": null}',
        '{"supplier": "a", "total": 1',
        "\ud800",
        "",
    ],
)
def test_the_short_way_says_what_the_long_way_says(text: str, dialect: Any) -> None:
    schema = answer_schema(Plain, dialect).to_dict()
    told = misfit(text, schema, Plain)
    short = ready(schema)
    assert short is not None
    assert misfit(text, short, Plain) == told
    found = as_it_is(short, Plain)(text)
    if told is not None:
        assert found is None
    elif found is not None:
        assert found == typed(parse_answer(text, schema), Plain)


def test_a_validator_that_raises_anything_is_told_of_by_the_long_way() -> None:
    class Cross(BaseModel):
        total: float

        def model_post_init(self, context: Any) -> None:
            raise RuntimeError("no")

    schema = ready(answer_schema(Cross, "openai").to_dict())
    assert schema is not None
    text = orjson.dumps({"total": 1}).decode()
    assert as_it_is(schema, Cross)(text) is None
    assert misfit(text, schema, Cross) == "RuntimeError: no"
    with pytest.raises((RuntimeError, ValidationError)):
        typed({"total": 1}, Cross)
