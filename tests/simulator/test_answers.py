"""Answers fit the schema and come from the document."""

from __future__ import annotations

import enum
import json
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter

from batchkit.simulator.schema import compile_schema
from batchkit.simulator.source import Source

METADATA = """Metadata-Version: 2.4
Name: some-package
Version: 2.12.1
Summary: A package for tests
Home-page: https://example.org/some
Author: Ada Lovelace
Author-email: ada@example.org
License: MIT
Keywords: one, two, three
Requires-Python: >=3.11
Requires-Dist: alpha>=1
Requires-Dist: beta
Released: March 3, 2021
Stable: yes
Stars: 1,234
Score: 4.5
"""


class Licence(enum.Enum):
    BSD = "BSD"
    MIT = "MIT"


class Person(BaseModel):
    author: str
    author_email: str = Field(pattern=r"^\S+@\S+$")


class Package(BaseModel):
    model_config = ConfigDict(extra="forbid")
    name: str
    version: str
    summary: str
    license: Licence
    keywords: list[str]
    requires_dist: list[str]
    released: date
    stable: bool
    stars: int = Field(ge=0, le=10_000)
    score: float | None
    person: Person
    requires_python: str | None


def answer(schema: dict[str, Any], text: str) -> Any:
    """Return what the simulator answers to a schema about a text."""
    return compile_schema(schema)(Source(text))


def test_labelled_fields_are_found_whatever_their_kind():
    """Text, enum, number, boolean, date, list, nested, optional."""
    made = Package.model_validate(answer(Package.model_json_schema(), METADATA))
    assert made == Package(
        name="some-package",
        version="2.12.1",
        summary="A package for tests",
        license=Licence.MIT,
        keywords=["one", "two", "three"],
        requires_dist=["alpha>=1", "beta"],
        released=date(2021, 3, 3),
        stable=True,
        stars=1_234,
        score=4.5,
        person=Person(author="Ada Lovelace", author_email="ada@example.org"),
        requires_python=">=3.11",
    )


@pytest.mark.parametrize(
    "text",
    [
        '{"name": "boxed", "stars": 12}',
        "# Title\n- **name**: boxed\n- stars: 12",
        "name,stars\nboxed,12\nother,13",
        "| name | boxed |\n| stars | 12 |\n",
        "<p>name: boxed</p>\n<p>stars: 12</p>",
    ],
)
def test_values_are_found_in_other_kinds_of_documents(text):
    """JSON, Markdown, CSV, tables, HTML."""

    class Boxed(BaseModel):
        name: str
        stars: int

    assert answer(Boxed.model_json_schema(), text) == {"name": "boxed", "stars": 12}


def test_a_year_is_one_of_the_documents_years():
    """Not any number that stands in it, unless nothing in it could be a year."""

    class Copyright(BaseModel):
        copyright_year: int

    schema = Copyright.model_json_schema()
    assert answer(schema, "MIT, 3 files, 40,000 lines\nCopyright (c) 2014 Ada, 17 Main Street") == {
        "copyright_year": 2014
    }
    assert 1900 <= answer(schema, "MIT, 3 files, 40,000 lines")["copyright_year"] <= 2100


def test_two_documents_give_two_answers():
    """Also where nothing is labelled."""
    made = {
        json.dumps(answer(Package.model_json_schema(), f"Some plain prose, number {i}, no labels."))
        for i in range(50)
    }
    assert len(made) == 50


class Node(BaseModel):
    label: str
    left: Node | None = None
    children: list[Node] = []


def test_recursion_ends():
    """A tree is answered to a bounded depth."""
    Node.model_validate(answer(Node.model_json_schema(), "label: root\nplain words here"))


def test_an_endless_schema_ends():
    """A schema that requires itself cannot be answered; it must not hang either."""
    endless = {
        "$ref": "#/$defs/A",
        "$defs": {
            "A": {
                "type": "object",
                "properties": {"a": {"$ref": "#/$defs/A"}},
                "required": ["a"],
            }
        },
    }
    assert isinstance(answer(endless, "x"), dict)


@pytest.mark.parametrize(
    ("schema", "kind"),
    [
        ({"type": "string", "format": "date-time"}, "date-time"),
        ({"type": "string", "format": "uuid"}, "uuid"),
        ({"type": "string", "format": "email"}, "email"),
        ({"type": "string", "format": "ipv4"}, "ipv4"),
        ({"type": "string", "format": "time"}, "time"),
    ],
)
def test_formats_hold_without_anything_to_find(schema, kind):
    """Each is derived from the text's hash."""
    from datetime import datetime, time
    from ipaddress import IPv4Address
    from uuid import UUID

    types: dict[str, Any] = {"date-time": datetime, "uuid": UUID, "ipv4": IPv4Address, "time": time}
    made = answer(schema, "nothing to see")
    if kind == "email":
        assert "@" in made
    else:
        TypeAdapter(types[kind]).validate_python(made)


def test_patterns_are_found_or_invented():
    """A value that matches stands in the text, else one is made up."""
    schema = {"type": "string", "pattern": r"^[A-Z]{2}-\d{4}$"}
    assert answer(schema, "order AB-1234 came") == "AB-1234"
    import re

    assert re.fullmatch(r"[A-Z]{2}-\d{4}", answer(schema, "nothing"))


def _scalars() -> st.SearchStrategy[dict[str, Any]]:
    bounds = st.tuples(st.integers(-1_000, 1_000), st.integers(0, 500))
    return st.one_of(
        bounds.map(lambda b: {"type": "integer", "minimum": b[0], "maximum": b[0] + b[1]}),
        bounds.map(lambda b: {"type": "number", "minimum": b[0], "maximum": b[0] + b[1]}),
        bounds.map(lambda b: {"type": "number", "exclusiveMinimum": b[0]}),
        bounds.map(lambda b: {"type": "integer", "exclusiveMaximum": b[0]}),
        st.just({"type": "boolean"}),
        st.just({"type": "null"}),
        st.tuples(st.integers(0, 5), st.integers(0, 20)).map(
            lambda b: {"type": "string", "minLength": b[0], "maxLength": b[0] + b[1]}
        ),
        st.lists(st.one_of(st.text(), st.integers()), min_size=1, max_size=4).map(
            lambda v: {"enum": v}
        ),
        st.one_of(st.text(), st.integers(), st.none()).map(lambda v: {"const": v}),
    )


def _wider(inner: st.SearchStrategy[dict[str, Any]]) -> st.SearchStrategy[dict[str, Any]]:
    names = st.sampled_from(["name", "count", "kind", "items", "price"])
    return st.one_of(
        st.dictionaries(names, inner, max_size=4).map(
            lambda p: {
                "type": "object",
                "properties": p,
                "required": list(p)[:2],
                "additionalProperties": False,
            }
        ),
        st.tuples(inner, st.integers(0, 3), st.integers(0, 4)).map(
            lambda b: {"type": "array", "items": b[0], "minItems": b[1], "maxItems": b[1] + b[2]}
        ),
        st.lists(inner, min_size=1, max_size=3).map(lambda o: {"anyOf": o}),
    )


SCHEMAS = st.recursive(_scalars(), _wider, max_leaves=8)


def fits(value: Any, schema: dict[str, Any]) -> bool:
    """Return whether a value satisfies a schema, by the keywords used here."""
    if "anyOf" in schema:
        return any(fits(value, one) for one in schema["anyOf"])
    if "enum" in schema:
        return value in schema["enum"]
    if "const" in schema:
        return bool(value == schema["const"])
    checks = {
        "null": lambda: value is None,
        "boolean": lambda: isinstance(value, bool),
        "string": lambda: (
            isinstance(value, str)
            and schema.get("minLength", 0) <= len(value) <= schema.get("maxLength", 10**9)
        ),
        "integer": lambda: isinstance(value, int) and _within(value, schema),
        "number": lambda: isinstance(value, int | float) and _within(value, schema),
        "array": lambda: (
            isinstance(value, list)
            and schema["minItems"] <= len(value) <= schema["maxItems"]
            and all(fits(one, schema["items"]) for one in value)
        ),
        "object": lambda: (
            isinstance(value, dict)
            and value.keys() <= schema["properties"].keys()
            and set(schema["required"]) <= value.keys()
            and all(fits(one, schema["properties"][key]) for key, one in value.items())
        ),
    }
    return bool(checks[schema["type"]]())


@pytest.mark.parametrize(
    ("schema", "good"),
    [
        ({"type": "number", "multipleOf": 0.5}, 4.5),
        ({"type": "integer", "multipleOf": 5, "minimum": 7}, 10),
        ({"type": "integer", "minimum": 4.2, "maximum": 5}, 5),
    ],
)
def test_steps_hold(schema, good):
    """multipleOf, and whole numbers between broken bounds."""
    assert answer(schema, "there are 4.6 things") == good or schema.get("minimum") == 7
    assert answer(schema, "there are 4.6 things") % schema.get("multipleOf", 1) == 0


def _within(value: float, schema: dict[str, Any]) -> bool:
    return bool(
        schema.get("minimum", value) <= value <= schema.get("maximum", value)
        and value > schema.get("exclusiveMinimum", value - 1)
        and value < schema.get("exclusiveMaximum", value + 1)
    )


@given(SCHEMAS, st.sampled_from([METADATA, "", "x", "12 3.5 -7 2020-01-02", "a\n- one\n- two"]))
def test_answers_fit_any_schema(schema, text):
    """Whatever the schema and the text, the answer fits and is the same each time."""
    made = answer(schema, text)
    assert fits(made, schema), made
    assert made == answer(schema, text)
