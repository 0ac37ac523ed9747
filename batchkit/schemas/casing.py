"""Forgive the casing of enums and constants, where only one spelling can be meant."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchkit.schemas.dialects import Node
from batchkit.schemas.matching import branches_of, fits, pick, resolved


def fold_case(value: Any, schema: Node) -> Any:
    """Return `value` with every enum value and constant spelled as `schema` spells it.

    A value that fits as it is, or that could be two members, stays; nothing is ever refused.
    """
    return _fold(value, schema, schema.get("$defs", {}))


def _fold(value: Any, node: Any, defs: Mapping[str, Node]) -> Any:
    node = resolved(node, defs)
    branches = branches_of(node)
    if branches:
        return _fold_union(value, branches, defs)
    if isinstance(value, str):
        return _spelled(value, node)
    if isinstance(value, dict):
        return _fold_object(value, node, defs)
    if isinstance(value, list):
        return _fold_array(value, node, defs)
    return value


def _fold_union(value: Any, branches: list[Node], defs: Mapping[str, Node]) -> Any:
    if any(fits(value, branch, defs) for branch in branches):
        return value
    for branch in branches:
        folded = _fold(value, branch, defs)
        if fits(folded, branch, defs):
            return folded
    return _fold(value, pick(value, branches, defs), defs)


def _spelled(value: str, node: Node) -> str:
    members = [node["const"]] if "const" in node else node.get("enum", [])
    if value in members:
        return value
    alike = [one for one in members if isinstance(one, str) and one.casefold() == value.casefold()]
    return alike[0] if len(alike) == 1 else value


def _fold_object(value: dict[str, Any], node: Node, defs: Mapping[str, Node]) -> dict[str, Any]:
    fields = node.get("properties", {})
    others = node.get("additionalProperties", {})
    keys = resolved(node.get("propertyNames", {}), defs)
    folded: dict[str, Any] = {}
    for name, part in value.items():
        key = name if name in fields else _spelled(name, keys)
        # Two spellings of one key are two values: joining them would lose one.
        key = name if key != name and key in value else key
        folded[name if key in folded else key] = _fold(part, fields.get(name, others), defs)
    return folded


def _fold_array(value: list[Any], node: Node, defs: Mapping[str, Node]) -> list[Any]:
    first = node.get("prefixItems", [])
    nodes = [*first, *[node.get("items", {})] * (len(value) - len(first))]
    return [_fold(part, one, defs) for part, one in zip(value, nodes, strict=False)]
