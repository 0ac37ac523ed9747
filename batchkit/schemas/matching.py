"""Which branch of a union a value was written for, by structure alone."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from batchkit.schemas.dialects import MARK, Node

_CHECKS: Final[Mapping[str, tuple[type, ...]]] = {
    "object": (dict,),
    "array": (list,),
    "string": (str,),
    "boolean": (bool,),
    "null": (type(None),),
    "integer": (int,),
    "number": (int, float),
}


def resolved(node: Any, defs: Mapping[str, Node]) -> Node:
    """Follow local references and lone ``allOf``; anything goes where a schema says nothing."""
    while isinstance(node, dict) and ("$ref" in node or len(node.get("allOf", ())) == 1):
        beside = {key: part for key, part in node.items() if key not in ("$ref", "allOf")}
        named = defs.get(str(node.get("$ref")).removeprefix("#/$defs/"), {})
        inner = named if "$ref" in node else node["allOf"][0]
        marks = {**inner.get(MARK, {}), **node.get(MARK, {})}
        node = {**inner, **beside, **({MARK: marks} if marks else {})}
    return node if isinstance(node, dict) else {}


def branches_of(node: Node) -> list[Node]:
    """Return the branches of a union, or nothing."""
    found: list[Node] = node.get("anyOf") or node.get("oneOf") or []
    return found


def pick(value: Any, branches: Sequence[Node], defs: Mapping[str, Node]) -> Node:
    """Return the first branch that `value` fits, else the one it comes closest to."""
    whole = [resolved(branch, defs) for branch in branches]
    fitting = next((node for node in whole if fits(value, node, defs)), None)
    return (
        fitting if fitting is not None else max(whole, key=lambda one: _nearness(value, one, defs))
    )


def fits(value: Any, node: Any, defs: Mapping[str, Node]) -> bool:
    """Say whether `value` has the structure of `node`; bounds, patterns and formats aside."""
    node = resolved(node, defs)
    branches = branches_of(node)
    if branches and not any(fits(value, branch, defs) for branch in branches):
        return False
    if "enum" in node and not any(_same(value, one) for one in node["enum"]):
        return False
    if "const" in node and not _same(value, node["const"]):
        return False
    if not _is_kind(value, node):
        return False
    if isinstance(value, dict):
        return _fits_object(value, node, defs)
    return not isinstance(value, list) or _fits_array(value, node, defs)


def _is_kind(value: Any, node: Node) -> bool:
    kinds = node.get("type")
    if kinds is None:
        return True
    return any(
        isinstance(value, _CHECKS[kind]) and (kind == "boolean" or not isinstance(value, bool))
        for kind in (kinds if isinstance(kinds, list) else [kinds])
        if kind in _CHECKS
    )


def _fits_object(value: Mapping[str, Any], node: Node, defs: Mapping[str, Node]) -> bool:
    fields = node.get("properties", {})
    extra = node.get("additionalProperties", True)
    if any(name not in value for name in node.get("required", ())):
        return False
    return all(
        fits(part, fields[name], defs)
        if name in fields
        else extra is not False and fits(part, extra, defs)
        for name, part in value.items()
    )


def _fits_array(value: Sequence[Any], node: Node, defs: Mapping[str, Node]) -> bool:
    first = node.get("prefixItems", [])
    rest = node.get("items", {})
    if len(value) > len(first) and rest is False:
        return False
    if node.get(MARK, {}).get("as") == "set" and _has_repeats(value):
        return False
    if first and not node.get("minItems", 0) <= len(value) <= node.get("maxItems", len(value)):
        return False
    nodes = [*first, *[rest] * (len(value) - len(first))]
    return all(fits(part, one, defs) for part, one in zip(value, nodes, strict=False))


def _has_repeats(value: Sequence[Any]) -> bool:
    return any(part in value[:at] for at, part in enumerate(value))


def _same(value: Any, other: Any) -> bool:
    """Compare as JSON does, where true is not 1."""
    return isinstance(value, bool) is isinstance(other, bool) and bool(value == other)


def _nearness(value: Any, node: Node, defs: Mapping[str, Node]) -> tuple[bool, int, int]:
    if not _is_kind(value, node):
        return (False, 0, 0)
    if not isinstance(value, dict):
        return (True, 0, 0)
    fields = {
        name: resolved(part, defs)
        for name, part in node.get("properties", {}).items()
        if name in value
    }
    tags = [part["const"] for part in fields.values() if "const" in part]
    hits = sum(
        str(value[name]).casefold() == str(part["const"]).casefold()
        for name, part in fields.items()
        if "const" in part
    )
    return (True, 2 * hits - len(tags), len(fields))
