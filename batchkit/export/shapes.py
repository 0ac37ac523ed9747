"""What a column of answers holds: said by the JSON Schema, widened by what is really there.

A model's schema gives a column its type before the first answer; an answer that does not fit it (a
number beyond 64 bits, a serializer of the user's own) widens the column instead of failing.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import date
from functools import reduce
from typing import Any, Literal

import orjson

Kind = Literal["nothing", "boolean", "integer", "number", "date", "text", "list", "object", "json"]

_LARGEST = 2**63


@dataclass(frozen=True, slots=True)
class Shape:
    """The type of a column, or of what lies inside a list.

    ``nothing`` fits every other; ``json`` is what has no one form and is written as JSON.
    """

    kind: Kind
    item: Shape | None = None
    fields: tuple[tuple[str, Shape], ...] = ()
    known: dict[str, Shape] = field(init=False, repr=False, compare=False)
    """The fields by name."""

    def __post_init__(self) -> None:
        object.__setattr__(self, "known", dict(self.fields))


NOTHING, JSON = Shape("nothing"), Shape("json")
BOOLEAN, INTEGER, NUMBER = Shape("boolean"), Shape("integer"), Shape("number")
DATE, TEXT = Shape("date"), Shape("text")

_OF_TYPE = {
    "string": TEXT,
    "integer": INTEGER,
    "number": NUMBER,
    "boolean": BOOLEAN,
    "null": NOTHING,
}
_BESIDE = {frozenset({"integer", "number"}): NUMBER, frozenset({"date", "text"}): TEXT}


def join(one: Shape, other: Shape) -> Shape:
    """Return the narrowest shape that holds what either holds."""
    if one is other or other.kind == "nothing":
        return one
    if one.kind == "nothing":
        return other
    if one.kind == other.kind:
        return _joined(one, other)
    if {one.kind, other.kind} & {"list", "object", "json"}:
        return JSON
    return _BESIDE.get(frozenset({one.kind, other.kind}), TEXT)


def _joined(one: Shape, other: Shape) -> Shape:
    if one.kind == "list":
        return Shape("list", join(one.item or NOTHING, other.item or NOTHING))
    if one.kind == "object":
        fields = dict(one.fields)
        for name, shape in other.fields:
            fields[name] = join(fields.get(name, NOTHING), shape)
        return Shape("object", fields=tuple(fields.items()))
    return one


def of_schemas(schemas: Iterable[Mapping[str, Any]]) -> Shape:
    """Return the shape of answers that fit one of these JSON Schemas."""
    found = (_of_schema(schema, schema.get("$defs", {}), ()) for schema in schemas)
    return reduce(join, found, NOTHING)


def _of_schema(schema: Any, defs: Mapping[str, Any], above: tuple[str, ...]) -> Shape:
    """Return a schema's shape; what contains itself is JSON from there on."""
    if not isinstance(schema, Mapping):
        return NOTHING
    if "$ref" in schema:
        name = str(schema["$ref"]).rpartition("/")[2]
        return JSON if name in above else _of_schema(defs.get(name), defs, (*above, name))
    for word in ("anyOf", "oneOf", "allOf"):
        if word in schema:
            return reduce(join, (_of_schema(one, defs, above) for one in schema[word]), NOTHING)
    if "const" in schema or "enum" in schema:
        values = schema.get("enum", [schema.get("const")])
        return reduce(join, (of_value(one) for one in values), NOTHING)
    kinds = schema.get("type", ())
    listed = [kinds] if isinstance(kinds, str) else kinds
    return reduce(join, (_of_type(kind, schema, defs, above) for kind in listed), NOTHING)


def _of_type(
    kind: str, schema: Mapping[str, Any], defs: Mapping[str, Any], above: tuple[str, ...]
) -> Shape:
    if kind == "array":
        inside = [*schema.get("prefixItems", ()), schema.get("items")]
        item = reduce(join, (_of_schema(one, defs, above) for one in inside), NOTHING)
        return Shape("list", item)
    if kind == "object":
        fields = schema.get("properties") or {}
        shapes = tuple((name, _of_schema(one, defs, above)) for name, one in fields.items())
        return Shape("object", fields=shapes) if shapes else JSON
    if kind == "string" and schema.get("format") == "date":
        return DATE
    return _OF_TYPE.get(kind, JSON)


def of_value(value: Any, hint: Shape = NOTHING) -> Shape:
    """Return the shape of JSON data; an object that ``hint`` does not know is JSON."""
    if isinstance(value, str):
        return DATE if hint.kind == "date" and _is_date(value) else TEXT
    if value is None:
        return NOTHING
    if isinstance(value, bool):
        return BOOLEAN
    if isinstance(value, int):
        return INTEGER if -_LARGEST <= value < _LARGEST else TEXT
    if isinstance(value, float):
        return NUMBER
    if isinstance(value, list):
        item = hint.item or NOTHING
        return Shape("list", reduce(join, (of_value(one, item) for one in value), NOTHING))
    if isinstance(value, dict) and hint.kind == "object":
        known = hint.known
        fields = ((name, of_value(one, known.get(name, NOTHING))) for name, one in value.items())
        return Shape("object", fields=tuple(fields))
    return JSON


def fits(value: Any, shape: Shape) -> bool:
    """Say whether a column of that shape holds the value: ``join`` would change nothing.

    Asked for every value of every row, so that it makes no shapes itself.
    """
    kind = shape.kind
    if value is None or kind == "json":
        return True
    if isinstance(value, str):
        return kind == "text" or (kind == "date" and _is_date(value))
    if isinstance(value, list):
        item = shape.item
        return kind == "list" and item is not None and all(fits(one, item) for one in value)
    if isinstance(value, dict):
        known = shape.known
        return kind == "object" and all(
            name in known and fits(one, known[name]) for name, one in value.items()
        )
    return kind == "text" or _number_fits(value, kind)


def _number_fits(value: Any, kind: Kind) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    if isinstance(value, int):
        return kind in ("integer", "number") and -_LARGEST <= value < _LARGEST
    return kind == "number"


def _is_date(text: str) -> bool:
    try:
        return len(text) == 10 and date.fromisoformat(text) is not None
    except ValueError:
        return False


def fitted(value: Any, shape: Shape) -> Any:
    """Return JSON data as the Python value of its column; None stays None."""
    if value is None or shape.kind in ("boolean", "integer", "nothing"):
        return value
    if shape.kind == "text":
        return value if isinstance(value, str) else written(value)
    if shape.kind == "number":
        return float(value)
    if shape.kind == "date":
        return date.fromisoformat(value)
    if shape.kind == "list":
        item = shape.item or NOTHING
        return [fitted(one, item) for one in value]
    if shape.kind == "object":
        return {name: fitted(value.get(name), one) for name, one in shape.fields}
    return written(value)


def written(value: Any) -> str:
    """Write JSON data as JSON; whole numbers beyond 64 bits, too."""
    try:
        return orjson.dumps(value, default=str, option=orjson.OPT_NON_STR_KEYS).decode()
    except TypeError:
        return json.dumps(value, default=str, ensure_ascii=False, separators=(",", ":"))
