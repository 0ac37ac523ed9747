"""Map an answer in wire form back into the form that the original schema describes."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from batchkit.schemas.answers import AnswerSchema
from batchkit.schemas.casing import fold_case
from batchkit.schemas.dialects import MARK, Node
from batchkit.schemas.matching import branches_of, fits, pick, resolved


class Repeated(list[Any]):
    """Pairs that no dict can hold: ``key`` is there twice, with two values."""

    def __init__(self, pairs: list[Any], key: str) -> None:
        super().__init__(pairs)
        self.key = key


def restore(value: Any, schema: AnswerSchema | Mapping[str, Any]) -> Any:
    """Return the answer as the original schema has it, enum casing forgiven.

    `schema` may be what ``AnswerSchema.to_dict`` stored. What is not in wire form comes back as
    it is, for the judge to refuse: this never raises.
    """
    stored = schema.to_dict() if isinstance(schema, AnswerSchema) else schema
    node: Node = stored["marked"] or stored["original"]
    try:
        return _restored(fold_case(value, node), node, node.get("$defs", {}))
    except RecursionError:
        # Deeper than Python reaches: no judge can read it either.
        return value


def _restored(value: Any, node: Any, defs: Mapping[str, Node]) -> Any:
    node = resolved(node, defs)
    branches = branches_of(node)
    if branches:
        return _restored(value, pick(value, branches, defs), defs)
    form = node.get(MARK, {}).get("as")
    if form == "json":
        return _parsed(value)
    if isinstance(value, list):
        return _array(value, node, form, defs)
    if not isinstance(value, dict):
        return value
    if form == "wrap":
        [(name, inner)] = node["properties"].items()
        return _restored(value[name], inner, defs) if value.keys() == {name} else value
    if form == "tuple":
        return _tuple(value, node, defs)
    return _object(value, node, defs)


def _parsed(value: Any) -> Any:
    """Read JSON text; text that is no JSON was meant as text."""
    try:
        return orjson.loads(value) if isinstance(value, str) else value
    except orjson.JSONDecodeError:
        return value


def _array(value: list[Any], node: Node, form: str | None, defs: Mapping[str, Node]) -> Any:
    if form == "pairs":
        return _dict(value, node["items"], defs)
    first = node.get("prefixItems", [])
    nodes = [*first, *[node.get("items", {})] * (len(value) - len(first))]
    items = [_restored(part, one, defs) for part, one in zip(value, nodes, strict=False)]
    return _unique(items) if form == "set" else items


def _unique(items: list[Any]) -> list[Any]:
    texts = [orjson.dumps(item, option=orjson.OPT_SORT_KEYS) for item in items]
    return [item for at, item in enumerate(items) if texts[at] not in texts[:at]]


def _dict(value: list[Any], pair: Node, defs: Mapping[str, Node]) -> Any:
    inner = resolved(pair, defs)["properties"]["value"]
    found: dict[str, Any] = {}
    for one in value:
        if not isinstance(one, dict) or one.keys() != {"key", "value"}:
            return value
        key, part = one["key"], _restored(one["value"], inner, defs)
        if not isinstance(key, str):
            return value
        if found.setdefault(key, part) != part:
            # A dict would lose one of the two, so the list stays, to be refused.
            return Repeated(value, key)
    return found


def _tuple(value: dict[str, Any], node: Node, defs: Mapping[str, Node]) -> Any:
    fields = node["properties"]
    if not value.keys() <= fields.keys():
        return value
    items = [_item(value.get(name), part, defs) for name, part in fields.items() if name != "rest"]
    rest = _restored(value.get("rest", []), fields.get("rest", {}), defs)
    return items + rest if isinstance(rest, list) else value


def _item(value: Any, node: Node, defs: Mapping[str, Node]) -> Any:
    marks = node.get(MARK, {})
    if value is None and marks.get("null") == "absent":
        return marks.get("fill")
    return _restored(value, node, defs)


def _object(value: dict[str, Any], node: Node, defs: Mapping[str, Node]) -> dict[str, Any]:
    fields = node.get("properties", {})
    required = node.get("required", ())
    others = node.get("additionalProperties", {})
    found: dict[str, Any] = {}
    for name, part in value.items():
        field = fields.get(name, others)
        marks = field.get(MARK, {}) if isinstance(field, dict) else {}
        if part is None and name in fields and _means_absent(field, name in required, defs):
            continue
        whole = _restored(part, field, defs)
        if marks.get("extra") and isinstance(whole, dict):
            found = {**whole, **found}
        else:
            found[marks.get("name", name)] = whole
    for name, field in fields.items():
        marks = field.get(MARK, {}) if isinstance(field, dict) else {}
        if name not in value and name not in required and marks.get("absent") == "null":
            found[marks.get("name", name)] = None
    return found


def _means_absent(field: Any, required: bool, defs: Mapping[str, Node]) -> bool:
    if isinstance(field, dict) and field.get(MARK, {}).get("null") == "absent":
        return True
    return not required and not fits(None, field, defs)
