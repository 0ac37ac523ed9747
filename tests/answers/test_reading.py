"""An answer's text into data: words around its JSON, keys that come twice, bounds of the model."""

from __future__ import annotations

import json
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, Field

from batchkit.outputs import misfit, parse_answer
from batchkit.schemas import Dialect, answer_schema, json_span, leaves
from tests.unit import shapes

JSON = '{"text": "tea", "amount": 2.5}'


class Counts(BaseModel):
    by_word: dict[str, int]


class Nested(BaseModel):
    rows: list[Counts]


def stored(model: Any, dialect: Dialect = "anthropic", *, plain: bool = True) -> dict[str, Any]:
    return answer_schema(model, dialect, plain=plain).to_dict()


@pytest.mark.parametrize(
    "text",
    [
        JSON,
        f"\n  {JSON}\n",
        f"```json\n{JSON}\n```",
        f"Here it is:\n```\n{JSON}\n```\nAnything else?",
        f"As the document says [1], {JSON} is the line {{sic}}.",
    ],
)
def test_words_around_the_json_are_passed_over(text: str) -> None:
    """Where no strict mode kept the answer to its form."""
    assert parse_answer(text, stored(shapes.Line)) == orjson.loads(JSON)


def test_a_strict_answer_has_no_words_around_it() -> None:
    """The provider has vouched for its form: what differs is broken."""
    assert "not JSON" in str(misfit(f"So: {JSON}", stored(shapes.Line, plain=False)))


@pytest.mark.parametrize("text", ["", "no", "{", '{"text": NaN}', "[1, 2", "{'text': 1}"])
def test_what_holds_no_json_is_said_so(text: str) -> None:
    """And never raises anything else."""
    assert "not JSON" in str(misfit(text, stored(shapes.Line)))


@pytest.mark.parametrize("dialect", ["openai", "anthropic"])
@pytest.mark.parametrize("kind", [None, Nested])
def test_a_key_that_comes_twice_is_named_with_its_place(dialect: Dialect, kind: Any) -> None:
    """The note of the next attempt says what was wrong, rather than that a list is no dict."""
    pairs = [{"key": "a", "value": 1}, {"key": "a", "value": 2}]
    text = orjson.dumps({"rows": [{"by_word": []}, {"by_word": pairs}]}).decode()
    schema = stored(Nested, dialect, plain=False)
    assert misfit(text, schema, kind) == (
        "rows.1.by_word: the key 'a' is there twice, with two values; give it once"
    )


def test_a_key_that_comes_twice_in_plain_json_is_named() -> None:
    """Else the last one would win, in silence."""
    twice = '{"by_word": {"a": 1, "a": 2}}'
    assert "the key 'a' is there twice" in str(misfit(twice, stored(Counts), Counts))
    assert misfit(twice.replace("2", "1"), stored(Counts), Counts) is None


class Bounded(BaseModel):
    share: float = Field(ge=0, le=1, description="Of the whole")
    name: str = Field(min_length=2, max_length=4)
    few: list[int] = Field(min_length=2, max_length=3)
    link: Any = Field(json_schema_extra={"type": "string", "format": "uri"})


def test_what_a_strict_mode_cannot_say_stands_in_the_field_s_description() -> None:
    """So that the model is told; the user's own class judges it all the same."""
    claude = answer_schema(Bounded, "anthropic").wire["properties"]
    gpt = answer_schema(Bounded, "openai").wire["properties"]
    assert claude["share"]["description"] == "Of the whole (at least 0; at most 1)"
    assert (gpt["share"]["minimum"], gpt["share"]["maximum"]) == (0, 1)
    for wire in (claude, gpt):
        assert wire["name"]["description"] == "(at least 2 characters; at most 4 characters)"
    assert claude["few"]["description"] == "(at least 2 items; at most 3 items)"
    assert gpt["link"]["description"] == "(format: uri)"
    assert claude["link"]["format"] == "uri"
    fits = {"share": 0.5, "name": "abc", "few": [1, 2], "link": "https://example.org"}
    for broken in ({"share": 2}, {"name": "a"}, {"few": [1]}):
        text = orjson.dumps({**fits, **broken}).decode()
        (field,) = broken
        schema = stored(Bounded, plain=False)
        for kind in (None, Bounded):
            assert str(misfit(text, schema, kind)).startswith(field)
    assert misfit(orjson.dumps(fits).decode(), stored(Bounded, plain=False), Bounded) is None


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=6),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
    max_leaves=8,
)


def at(value: Any, path: tuple[str, ...]) -> Any:
    for step in path:
        value = value[int(step)] if isinstance(value, list) else value[step]
    return value


@given(VALUES, st.sampled_from([None, 2]))
def test_every_value_of_a_json_is_found_where_it_stands(value: Any, indent: int | None) -> None:
    """Its path leads to it, and so does its place in the text."""
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    span = json_span(text)
    assert span is not None
    assert json.loads(text[slice(*span)]) == value
    for leaf in leaves(text, span):
        assert at(value, leaf.path) == leaf.value
        assert json.loads(text[leaf.start : leaf.end]) == leaf.value


@given(st.text(max_size=40))
def test_any_text_is_read_or_refused(text: str) -> None:
    """Never an exception that nobody expects."""
    span = json_span(text)
    assert span is None or leaves(text, span) is not None
    assert misfit(text, stored(shapes.Line)) is not None
