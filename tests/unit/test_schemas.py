"""One model, each provider's strict mode, and back."""

from __future__ import annotations

import copy
import re
import string
from collections.abc import Callable
from datetime import date
from enum import Enum
from types import GenericAlias
from typing import Annotated, Any, Literal, get_args

import anthropic
import orjson
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator
from openai.lib._pydantic import _ensure_strict_json_schema
from pydantic import (
    AliasPath,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    WithJsonSchema,
    create_model,
)

from batchkit.errors import ValidationError
from batchkit.schemas import (
    AnswerSchema,
    Dialect,
    answer_schema,
    check,
    fingerprint,
    fold_case,
    restore,
)
from tests.unit import shapes
from tests.unit.shapes import SHAPES
from tests.unit.strict_rules import breaches, walk
from tests.unit.wire_answers import say

DIALECTS: tuple[Dialect, ...] = get_args(Dialect)
RECURSIVE = {
    "a recursive model",
    "a chain",
    "models that name one another",
    "a recursive generic model",
}
CASES = [
    pytest.param(name, dialect, id=f"{dialect}, {name}") for name in SHAPES for dialect in DIALECTS
]
each_shape = pytest.mark.parametrize(("name", "dialect"), CASES)
each_dialect = pytest.mark.parametrize("dialect", DIALECTS)


def validated(model: Any, value: Any) -> Any:
    return TypeAdapter(model).validate_json(orjson.dumps(value))


def said(value: Any, schema: AnswerSchema) -> Any:
    """Return the answer in the form that the provider sends it."""
    return say(value, schema.marked) if schema.mode == "strict" else value


def model_of(**fields: Any) -> type[BaseModel]:
    return create_model("Asked", **fields)


def test_there_are_forty_shapes_and_more() -> None:
    assert len(SHAPES) >= 40


@each_shape
def test_a_wire_schema_keeps_the_rules_of_its_strict_mode(name: str, dialect: Dialect) -> None:
    schema = answer_schema(SHAPES[name][0], dialect)
    if dialect == "anthropic" and name in RECURSIVE:
        assert (schema.mode, schema.wire) == ("plain", {})
    else:
        assert schema.mode == "strict", schema.reason
        assert breaches(schema.wire, dialect) == []
        Draft202012Validator.check_schema(schema.wire)


@each_shape
def test_an_answer_in_wire_form_comes_back_as_the_answer(name: str, dialect: Dialect) -> None:
    model, answers = SHAPES[name]
    schema = answer_schema(model, dialect)
    for answer in answers:
        wire = said(answer, schema)
        Draft202012Validator(schema.wire).validate(wire)
        restored = restore(wire, schema)
        assert validated(model, restored) == validated(model, answer)
        assert check(restored, schema.original) == []


@each_shape
def test_a_program_without_the_class_restores_the_same(name: str, dialect: Dialect) -> None:
    model, answers = SHAPES[name]
    schema = answer_schema(model, dialect)
    stored = orjson.loads(orjson.dumps(schema.to_dict()))
    assert AnswerSchema.from_dict(stored) == schema
    for answer in answers:
        wire = said(answer, schema)
        assert restore(wire, stored) == restore(wire, schema)


@each_shape
def test_restoring_changes_neither_answer_nor_schema(name: str, dialect: Dialect) -> None:
    model, answers = SHAPES[name]
    schema = answer_schema(model, dialect)
    wires = [said(answer, schema) for answer in answers]
    before = copy.deepcopy((wires, schema))
    for wire in wires:
        restore(wire, schema)
    assert (wires, schema) == before


@each_shape
def test_the_sdks_own_helpers_find_nothing_to_change(name: str, dialect: Dialect) -> None:
    schema = answer_schema(SHAPES[name][0], dialect).wire
    if schema and dialect == "openai":
        theirs = _ensure_strict_json_schema(copy.deepcopy(schema), path=(), root=schema)
        assert theirs == schema
    elif schema:
        for _, node in walk(schema, "#"):
            # The helper knows no patterns, and no types beside enums: the API knows both.
            node.pop("pattern", None)
            if {"enum", "const"} & node.keys():
                del node["type"]
        assert anthropic.transform_schema(copy.deepcopy(schema)) == schema


@each_shape
def test_the_fingerprint_is_the_models_whatever_the_dialect(name: str, dialect: Dialect) -> None:
    model = SHAPES[name][0]
    assert answer_schema(model, dialect).fingerprint == fingerprint(model)
    assert re.fullmatch(r"[0-9a-f]{64}", fingerprint(model))


@each_shape
def test_garbage_is_handed_through_for_the_judge_to_refuse(name: str, dialect: Dialect) -> None:
    schema = answer_schema(SHAPES[name][0], dialect)
    garbage: Any
    for garbage in ({}, [], None, "x", 1, {"result": {}}, {"result": [1]}, [{"key": 1}]):
        check(restore(garbage, schema), schema.original)


def test_the_original_is_what_pydantic_says() -> None:
    model = shapes.Invoice
    expected = model.model_json_schema(mode="validation", by_alias=True)
    assert answer_schema(model, "openai").original == expected


@each_dialect
@pytest.mark.parametrize(
    ("model", "name"),
    [
        (shapes.Line, "Line"),
        (shapes.Wrap[shapes.Line], "Wrap_Line"),
        (list[shapes.Line], "answer"),
        (shapes.Cat | shapes.Dog, "answer"),
        (type("Größe", (BaseModel,), {"__annotations__": {"a": int}}), "Gr_e"),
        (type("L" * 90, (BaseModel,), {"__annotations__": {"a": int}}), "L" * 64),
    ],
)
def test_the_name_is_one_that_providers_take(model: Any, name: str, dialect: Dialect) -> None:
    assert answer_schema(model, dialect).name == name
    assert re.fullmatch(r"[A-Za-z0-9_-]{1,64}", name)


# What a strict mode cannot say, in words


def properties(model: Any, dialect: Dialect) -> dict[str, Any]:
    found: dict[str, Any] = answer_schema(model, dialect).wire["properties"]
    return found


def test_openai_keeps_bounds_and_patterns() -> None:
    numbers, texts = properties(shapes.Numbers, "openai"), properties(shapes.Texts, "openai")
    assert numbers["share"] == {"type": "number", "minimum": 0, "maximum": 1}
    assert numbers["count"]["multipleOf"] == 5
    assert texts["code"]["pattern"] == r"^[A-Z]{2}\d{4}$"
    assert properties(shapes.Lists, "openai")["few"]["maxItems"] == 3


def test_anthropic_reads_bounds_in_the_description() -> None:
    numbers, lists = properties(shapes.Numbers, "anthropic"), properties(shapes.Lists, "anthropic")
    assert numbers["share"]["description"] == "(at least 0; at most 1)"
    assert lists["few"]["description"] == "(at least 2 items; at most 3 items)"
    assert lists["some"]["minItems"] == 1


@each_dialect
def test_lengths_and_hard_patterns_go_into_the_description(dialect: Dialect) -> None:
    texts = properties(shapes.Texts, dialect)
    assert texts["short"]["description"] == "(at least 2 characters; at most 4 characters)"
    assert texts["hard"]["description"] == r"(format: odd; matches ^(?=.*\d)\w+$)"


@each_dialect
def test_descriptions_survive_references_unions_and_defaults(dialect: Dialect) -> None:
    assert properties(shapes.Pets, dialect)["favourite"]["description"] == "The first"
    assert properties(shapes.Enums, dialect)["also"]["description"] == "As of today"
    assert properties(shapes.Defaults, dialect)["ratio"]["description"].startswith("How much")
    assert properties(shapes.Checked, dialect)["text"]["description"].startswith("Trimmed")
    line = answer_schema(shapes.Invoice, dialect).wire["$defs"]["Line"]
    assert line["description"] == "One line of an invoice."
    assert line["properties"]["amount"]["description"].startswith("Net, in euros")


@each_dialect
def test_a_short_default_is_said_in_words(dialect: Dialect) -> None:
    assert properties(shapes.Defaults, dialect)["name"]["description"] == '(default: "nobody")'


def test_only_anthropic_keeps_the_format_uri() -> None:
    assert "format" not in properties(shapes.Names, "openai")["link"]
    assert properties(shapes.Names, "anthropic")["link"]["format"] == "uri"


@each_shape
def test_no_mark_of_ours_is_sent(name: str, dialect: Dialect) -> None:
    assert b"x-batchkit" not in orjson.dumps(answer_schema(SHAPES[name][0], dialect).wire)


@each_dialect
def test_a_dict_is_asked_for_as_pairs_and_never_as_an_empty_object(dialect: Dialect) -> None:
    counts = properties(shapes.Dicts, dialect)["counts"]
    assert list(counts["items"]["properties"]) == ["key", "value"]
    for _, node in walk(answer_schema(shapes.Dicts, dialect).wire, "#"):
        assert node.get("properties") != {}


# Null, absent, default


@each_dialect
def test_null_for_an_optional_property_means_its_default(dialect: Dialect) -> None:
    schema = answer_schema(shapes.Defaults, dialect)
    wire = dict.fromkeys(schema.wire["properties"])
    assert restore(wire, schema) == {"nullable": None, "made": None}
    assert validated(shapes.Defaults, restore(wire, schema)).tags == ["new"]


@each_dialect
def test_null_stays_where_the_type_admits_it(dialect: Dialect) -> None:
    schema = answer_schema(shapes.Optionals, dialect)
    answer = {"needed": None, "given": None, "fallback": None, "old": None}
    assert restore(answer, schema) == answer


def test_null_for_what_a_plain_answer_may_leave_out_is_left_out() -> None:
    schema = answer_schema(shapes.Defaults, "anthropic", plain=True)
    assert restore({"name": None, "nullable": None}, schema) == {"nullable": None}


def wide(count: int, annotation: Any, default: Any) -> type[BaseModel]:
    return model_of(**{f"f{at}": (annotation, default) for at in range(count)})


@pytest.mark.parametrize(
    ("annotation", "default"), [(int, 5), (int | None, None), (int | None, ...), (shapes.Line, {})]
)
def test_anthropic_may_leave_out_what_would_be_one_union_too_many(
    annotation: Any, default: Any
) -> None:
    model = wide(40, annotation, default)
    schema = answer_schema(model, "anthropic")
    assert schema.mode == "strict"
    assert breaches(schema.wire, "anthropic") == []
    assert len(schema.wire["required"]) == 16
    value = {"text": "a", "amount": 1} if annotation is shapes.Line else 7
    full = {f"f{at}": value for at in range(40)}
    assert restore(said(full, schema), schema) == full
    empty = validated(model, restore(dict.fromkeys(schema.wire["required"]), schema))
    default = None if default is ... else default
    assert vars(empty) == {f"f{at}": default for at in range(40)}


def test_a_null_that_differs_from_absence_is_never_traded_for_it() -> None:
    schema = answer_schema(wide(17, int | None, 5), "anthropic")
    assert schema.mode == "plain"
    assert schema.reason == "it has 17 unions, more than 16"


def test_openai_needs_no_such_trade() -> None:
    schema = answer_schema(wide(40, int, 5), "openai")
    assert schema.mode == "strict"
    assert breaches(schema.wire, "openai") == []


# Plain mode


def nest(depth: int) -> Any:
    model: Any = int
    for _ in range(depth):
        model = create_model("Nest", inner=(model, ...))
    return model


@pytest.mark.parametrize(
    ("model", "dialect", "reason"),
    [
        (shapes.Tree, "anthropic", "it refers to itself"),
        (wide(41, int, 5), "anthropic", "it has 17 unions, more than 16"),
        (nest(11), "openai", "it has 11 levels, more than 10"),
        (wide(5001, int, ...), "openai", "it has 5001 properties, more than 5000"),
        (
            model_of(code=(Enum("Code", {f"c{at}": f"c{at}" for at in range(1001)}), ...)),
            "openai",
            "it has 1001 enum values, more than 1000",
        ),
        (
            model_of(code=(Enum("Code", {f"c{at}": "x" * 60 + str(at) for at in range(300)}), ...)),
            "openai",
            "an enum of 300 values is too long",
        ),
        (
            model_of(odd=(Annotated[int, WithJsonSchema({"not": {"type": "string"}})], ...)),
            "openai",
            "field 'odd' says 'not'",
        ),
        (
            model_of(odd=(Annotated[int, WithJsonSchema({"enum": [[1], [2]]})], ...)),
            "anthropic",
            "field 'odd' may be [1]",
        ),
    ],
)
def test_what_a_strict_mode_cannot_say_is_asked_for_in_the_prompt(
    model: Any, dialect: Dialect, reason: str
) -> None:
    schema = answer_schema(model, dialect)
    assert (schema.mode, schema.reason, schema.wire) == ("plain", reason, {})
    assert schema.instruction is not None
    assert schema.instruction.endswith(orjson.dumps(schema.original).decode())


@each_dialect
def test_plain_mode_can_be_asked_for(dialect: Dialect) -> None:
    schema = answer_schema(shapes.Enums, dialect, plain=True)
    answer = {"status": "Paid", "level": 2, "mixed": "WORD", "also": "open"}
    assert schema.mode == "plain"
    assert restore(answer, schema)["status"] == "paid"
    assert restore(answer, schema)["mixed"] == "word"


# What cannot work at all


class Inner(BaseModel):
    call: Callable[[int], int]


class Outer(BaseModel):
    fine: int
    inner: list[Inner]


class Empty(BaseModel):
    pass


class HoldsEmpty(BaseModel):
    nothing: Empty


class Hidden(BaseModel):
    total: int = Field(validation_alias=AliasPath("a", 0))


class ByName(BaseModel):
    model_config = ConfigDict(validate_by_alias=False, validate_by_name=True)

    total: int = Field(alias="sum")


@each_dialect
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Outer, "field 'inner.call' has"),
        (dict[str, Inner], "field 'call' has"),
        (model_of(kind=(type[int], ...)), "field 'kind'"),
        (Empty, "the model has no fields"),
        (HoldsEmpty, "field 'nothing' has no fields"),
        (Hidden, "field 'total' of Hidden"),
        (list[Hidden], "field 'total' of Hidden"),
        (ByName, "field 'total' of ByName"),
        (shapes.Line(text="x", amount=1), "is not a model"),
        ("Invoice", "is not a model"),
        (None, "is not a model"),
        (Any, "is not a model"),
        ({"type": "object"}, "is not a model"),
        (print, "is not a model"),
        (lambda: None, "is not a model"),
        (type("Custom", (), {}), "Custom is not something pydantic can validate"),
    ],
)
def test_what_cannot_work_is_said_with_the_place(model: Any, words: str, dialect: Dialect) -> None:
    with pytest.raises(ValidationError, match="response_model") as caught:
        answer_schema(model, dialect)
    assert words in str(caught.value)


# Casing


def test_casing_is_forgiven_where_one_spelling_can_be_meant() -> None:
    schema = answer_schema(shapes.Enums, "anthropic")
    answer = {"status": "PAID", "level": 1, "mixed": "Word", "also": "Open", "maybe": "oPEN"}
    restored = restore({**answer, "fallback": None}, schema)
    assert restored == {
        "status": "paid",
        "level": 1,
        "mixed": "word",
        "also": "open",
        "maybe": "open",
    }


def test_casing_is_not_forgiven_where_two_could_be_meant() -> None:
    original = answer_schema(shapes.Wrap[shapes.Clash], "openai").original
    assert fold_case({"item": "Us", "items": ["us", "US", "uS"]}, original) == {
        "item": "Us",
        "items": ["us", "US", "uS"],
    }


def test_a_free_text_keeps_its_casing_beside_an_enum() -> None:
    original = TypeAdapter(Literal["paid"] | str).json_schema()
    assert fold_case("Paid", original) == "Paid"


def test_the_casing_of_a_discriminator_is_forgiven() -> None:
    schema = answer_schema(shapes.Pets, "anthropic")
    wire = {
        "favourite": {"kind": "Cat", "lives": 9},
        "others": [{"kind": "DOG", "tricks": None}],
        "late": None,
    }
    restored = restore(wire, schema)
    assert restored["favourite"]["kind"] == "cat"
    assert restored["others"] == [{"kind": "dog"}]


def test_the_casing_of_keys_is_forgiven_unless_two_would_become_one() -> None:
    original = TypeAdapter(dict[shapes.Status, int]).json_schema()
    assert fold_case({"Paid": 1}, original) == {"paid": 1}
    assert fold_case({"Paid": 1, "paid": 2}, original) == {"Paid": 1, "paid": 2}
    assert fold_case({"Paid": 1, "PAID": 2}, original) == {"paid": 1, "PAID": 2}


# The way back in particular


@each_dialect
def test_two_values_under_one_key_are_not_silently_one(dialect: Dialect) -> None:
    schema = answer_schema(dict[str, int], dialect)
    pairs = [{"key": "a", "value": 1}, {"key": "a", "value": 2}]
    assert restore({"result": pairs}, schema) == pairs
    assert check(pairs, schema.original) != []
    assert restore({"result": [pairs[0], pairs[0]]}, schema) == {"a": 1}


@each_dialect
def test_a_set_drops_what_is_said_twice(dialect: Dialect) -> None:
    assert restore({"result": [1, 2, 1]}, answer_schema(set[int], dialect)) == [1, 2]


@each_dialect
def test_a_union_of_a_set_and_a_list_drops_nothing(dialect: Dialect) -> None:
    schema = answer_schema(set[int] | list[int], dialect)
    assert restore({"result": [1, 2, 1]}, schema) == [1, 2, 1]


@each_dialect
def test_words_instead_of_json_text_are_words(dialect: Dialect) -> None:
    schema = answer_schema(dict[str, Any], dialect)
    pairs = [{"key": "a", "value": "plain words"}, {"key": "b", "value": '{"c": 1}'}]
    assert restore({"result": pairs}, schema) == {"a": "plain words", "b": {"c": 1}}


@each_dialect
def test_an_answer_already_in_the_original_form_stays(dialect: Dialect) -> None:
    schema = answer_schema(shapes.Deep, dialect)
    answer = {"cells": {"a": [1, {"x": None}]}, "choice": None, "optional": [[1, "a"]]}
    assert restore(answer, schema) == answer


def test_the_default_of_a_set_does_not_change_the_fingerprint() -> None:
    one = model_of(words=(set[str], {"b", "a", "c"}))
    schema = answer_schema(one, "openai").original
    assert schema["properties"]["words"]["default"] == ["a", "b", "c"]


# Judging by the stored schema


@pytest.mark.parametrize(
    ("model", "value", "problem"),
    [
        (shapes.Line, {"text": "a"}, "the answer: 'amount' is a required property"),
        (shapes.Line, {"text": "a", "amount": -1}, "amount: -1 is less than the minimum of 0"),
        (list[shapes.Line], [{"text": 1, "amount": 1}], "[0].text: 1 is not of type 'string'"),
        (dict[str, int], {"a": "x"}, "a: 'x' is not of type 'integer'"),
        (date, "31.1.2026", "the answer: '31.1.2026' is not a 'date'"),
        (shapes.Cat | shapes.Dog, 3, "the answer: 3 is not valid under any of the given"),
        (shapes.Forbids, {"a": 1, "b": 2}, "the answer: Additional properties are not allowed"),
    ],
)
def test_a_problem_is_told_with_its_place(model: Any, value: Any, problem: str) -> None:
    found = check(value, answer_schema(model, "openai").original)
    assert len(found) == 1
    assert found[0].startswith(problem)


@pytest.mark.parametrize(
    "schema",
    [
        {"$ref": "#/$defs/Gone"},
        {"type": 5},
        {"pattern": "("},
        {"minimum": "x"},
        {"$ref": "https://example.org/schema.json"},
        {"$defs": {"A": {"$ref": "#/$defs/A"}}, "$ref": "#/$defs/A"},
    ],
)
def test_a_broken_schema_is_a_problem_and_no_exception(schema: dict[str, Any]) -> None:
    value: Any
    for value in ("x", 1, None, {}, []):
        assert all(isinstance(problem, str) for problem in check(value, schema))


def test_problems_are_few_and_short() -> None:
    original = answer_schema(list[int], "openai").original
    found = check(["x" * 10_000] * 100, original)
    assert len(found) <= 20
    assert max(map(len, found)) <= 300


# Random shapes

Kind = tuple[Any, st.SearchStrategy[Any]]

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
names = st.text(string.ascii_lowercase, min_size=1, max_size=3)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-99, 99) | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)
LEAVES: list[Kind] = [
    (int, st.integers(-(2**53), 2**53)),
    (str, texts),
    (bool, st.booleans()),
    (float, st.floats(allow_nan=False, allow_infinity=False)),
    (date, st.dates().map(date.isoformat)),
    (Any, json_values),
    (shapes.Status, st.sampled_from(["paid", "open"])),
    (Literal["a", 1, True], st.sampled_from(["a", 1, True])),
]


def listed(kind: Kind) -> Kind:
    return GenericAlias(list, (kind[0],)), st.lists(kind[1], max_size=3)


def keyed(kind: Kind) -> Kind:
    return GenericAlias(dict, (str, kind[0])), st.dictionaries(texts, kind[1], max_size=3)


def paired(one: Kind, other: Kind) -> Kind:
    return GenericAlias(tuple, (one[0], other[0])), st.tuples(one[1], other[1]).map(list)


def optional(kind: Kind) -> Kind:
    return kind[0] | None, st.none() | kind[1]


def modelled(parts: dict[str, tuple[Kind, bool]]) -> Kind:
    fields: dict[str, Any] = {}
    needed: dict[str, Any] = {}
    spare: dict[str, Any] = {}
    for name, (kind, required) in parts.items():
        fields[name] = (kind[0], ... if required else Field(default_factory=object))
        # What admits null is always said: null and absent are two answers there.
        part = needed if required or type(None) in get_args(kind[0]) else spare
        part[name] = kind[1]
    return model_of(**fields), st.fixed_dictionaries(needed, optional=spare)


def kinds() -> st.SearchStrategy[Kind]:
    def wider(inner: st.SearchStrategy[Kind]) -> st.SearchStrategy[Kind]:
        fields = st.dictionaries(names, st.tuples(inner, st.booleans()), min_size=1, max_size=3)
        return (
            inner.map(listed)
            | inner.map(keyed)
            | inner.map(optional)
            | st.tuples(inner, inner).map(lambda pair: paired(*pair))
            | fields.map(modelled)
        )

    return st.recursive(st.sampled_from(LEAVES), wider, max_leaves=5)


MODELS = kinds().filter(lambda kind: kind[0] is not Any)
"""Made once: Hypothesis takes longer to look a new one over than to draw from it."""


@each_dialect
@settings(max_examples=200, deadline=None, suppress_health_check=list(HealthCheck))
@given(data=st.data())
def test_any_answer_of_any_shape_survives_the_wire(dialect: Dialect, data: st.DataObject) -> None:
    model, answers = data.draw(MODELS)
    schema = answer_schema(model, dialect)
    assert schema.mode == "strict" or schema.reason
    if schema.mode == "strict":
        assert breaches(schema.wire, dialect) == []
    answer = data.draw(answers)
    wire = orjson.loads(orjson.dumps(said(answer, schema)))
    assert restore(wire, schema) == answer
    assert check(restore(wire, schema), schema.original) == []


@each_dialect
@settings(max_examples=100, deadline=None, suppress_health_check=list(HealthCheck))
@given(garbage=json_values, data=st.data())
def test_any_garbage_is_handed_through(dialect: Dialect, garbage: Any, data: st.DataObject) -> None:
    model, _ = data.draw(MODELS)
    schema = answer_schema(model, dialect)
    for answer in (garbage, {"result": garbage}):
        assert isinstance(check(restore(answer, schema), schema.original), list)


def test_an_answer_deeper_than_python_reaches_is_handed_through() -> None:
    schema = answer_schema(shapes.Chain, "openai")
    deep: Any = None
    for _ in range(5_000):
        deep = {"value": 1, "next": deep}
    assert restore(deep, schema) is deep
    assert "recursion" in check(deep, schema.original)[0]
