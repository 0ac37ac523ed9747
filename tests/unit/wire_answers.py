"""Say a value the way a provider would under a strict schema: the opposite of ``restore``.

Driven by the marked schema, and strict: a value that the schema does not admit raises.
"""

from __future__ import annotations

from typing import Any

import orjson

MARK = "x-batchkit"
TYPES: dict[str, type | tuple[type, ...]] = {
    "string": str,
    "boolean": bool,
    "null": type(None),
    "integer": int,
    "number": (int, float),
}


class MisfitError(Exception):
    """This branch cannot say this value."""


def say(value: Any, marked: dict[str, Any]) -> Any:
    """Return `value`, in the form of the original schema, in the form of the wire."""
    return _say(value, marked, marked.get("$defs", {}))


def _say(value: Any, node: dict[str, Any], defs: dict[str, Any]) -> Any:
    if "$ref" in node:
        return _say(value, defs[node["$ref"].removeprefix("#/$defs/")], defs)
    if "anyOf" in node:
        return _first(value, node["anyOf"], defs)
    form = node.get(MARK, {}).get("as")
    if form == "wrap":
        return {name: _say(value, part, defs) for name, part in node["properties"].items()}
    if form == "json":
        return orjson.dumps(value).decode()
    if form == "tuple":
        return _tuple(value, node, defs)
    if form == "pairs":
        return _pairs(value, node, defs)
    if node["type"] == "array":
        return [_say(part, node["items"], defs) for part in _is(value, list)]
    return _object(value, node, defs) if node["type"] == "object" else _leaf(value, node)


def _first(value: Any, branches: list[dict[str, Any]], defs: dict[str, Any]) -> Any:
    for branch in branches:
        try:
            return _say(value, branch, defs)
        except MisfitError:
            continue
    raise MisfitError(f"{value!r} fits no branch")


def _is(value: Any, kind: type) -> Any:
    if not isinstance(value, kind):
        raise MisfitError(f"{value!r} is no {kind.__name__}")
    return value


def _pairs(value: Any, node: dict[str, Any], defs: dict[str, Any]) -> Any:
    fields = node["items"]["properties"]
    return [
        {"key": _say(key, fields["key"], defs), "value": _say(part, fields["value"], defs)}
        for key, part in _is(value, dict).items()
    ]


def _tuple(value: Any, node: dict[str, Any], defs: dict[str, Any]) -> Any:
    fields = {name: part for name, part in node["properties"].items() if name != "rest"}
    _is(value, list)
    if len(value) > len(fields) and "rest" not in node["properties"]:
        raise MisfitError(f"{value!r} is too long")
    said: dict[str, Any] = {}
    for at, (name, part) in enumerate(fields.items()):
        left_out = at >= len(value)
        said[name] = _left_out(name, part) if left_out else _say(value[at], part, defs)
    if "rest" in node["properties"]:
        said["rest"] = _say(value[len(fields) :], node["properties"]["rest"], defs)
    return said


def _object(value: Any, node: dict[str, Any], defs: dict[str, Any]) -> Any:
    rest = dict(_is(value, dict))
    said: dict[str, Any] = {}
    extra = ""
    for wire_name, part in node["properties"].items():
        marks = part.get(MARK, {})
        name = marks.get("name", wire_name)
        if marks.get("extra"):
            extra = wire_name
        elif name in rest:
            found = rest.pop(name)
            if found is not None or wire_name in node["required"]:
                said[wire_name] = _say(found, part, defs)
        elif wire_name in node["required"]:
            said[wire_name] = _left_out(wire_name, part)
    if extra:
        said[extra] = _say(rest, node["properties"][extra], defs)
    elif rest:
        raise MisfitError(f"{rest} has no place")
    return said


def _left_out(name: str, node: dict[str, Any]) -> Any:
    """Say null for what was left out, which every optional property admits."""
    if {"type": "null"} not in node.get("anyOf", [node]):
        raise MisfitError(f"{name} is missing")
    return None


def _leaf(value: Any, node: dict[str, Any]) -> Any:
    if isinstance(value, bool) is not (node["type"] == "boolean"):
        raise MisfitError(f"{value!r} is no {node['type']}")
    if not isinstance(value, TYPES[node["type"]]):
        raise MisfitError(f"{value!r} is no {node['type']}")
    if value not in node.get("enum", [node.get("const", value)]):
        raise MisfitError(f"{value!r} is not listed")
    return value
