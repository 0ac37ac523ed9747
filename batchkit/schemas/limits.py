"""Fit a marked schema into the limits of a strict mode."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchkit.schemas.dialects import (
    BIG_ENUM,
    BIG_ENUM_CHARS,
    MARK,
    Node,
    Rules,
    UnsayableError,
)


@dataclass(frozen=True, slots=True)
class Size:
    """What the limits of section 4.2 count."""

    properties: int
    optional: int
    unions: int
    enum_values: int
    name_chars: int
    depth: int
    recursive: bool


def fitted(marked: Node, rules: Rules) -> Node:
    """Return `marked`, with as few unions as it takes; raise ``UnsayableError`` if none fits."""
    if rules.unions is not None:
        spare = min(rules.optional, max(0, measured(marked).unions - rules.unions))
        marked = _relaxed(marked, spare)
    size = measured(marked)
    if size.recursive and not rules.recursion:
        raise UnsayableError("it refers to itself")
    for word, found, most in (
        ("unions", size.unions, rules.unions),
        ("optional properties", size.optional, rules.optional),
        ("properties", size.properties, rules.properties),
        ("levels", size.depth, rules.depth),
        ("enum values", size.enum_values, rules.enum_values),
        ("characters of names and values", size.name_chars, rules.name_chars),
    ):
        if most is not None and found > most:
            raise UnsayableError(f"it has {found} {word}, more than {most}")
    if rules.enum_values is not None:
        _refuse_big_enums(marked)
    return marked


def measured(schema: Node) -> Size:
    """Count what the providers count, each definition once."""
    nodes = list(_nodes(schema))
    objects = [node for node in nodes if "properties" in node]
    enums = [[str(value) for value in node["enum"]] for node in nodes if "enum" in node]
    names = [name for node in objects for name in node["properties"]]
    defs = schema.get("$defs", {})
    return Size(
        properties=len(names),
        optional=sum(len(node["properties"]) - len(node["required"]) for node in objects),
        unions=sum("anyOf" in node for node in nodes),
        enum_values=sum(map(len, enums)),
        name_chars=sum(map(len, [*names, *defs, *(text for enum in enums for text in enum)])),
        depth=_depth(schema, defs, {}),
        recursive=any(_reaches(name, defs[name], defs, set()) for name in defs),
    )


def _refuse_big_enums(marked: Node) -> None:
    for node in _nodes(marked):
        values = node.get("enum", ())
        if len(values) > BIG_ENUM and sum(len(str(value)) for value in values) > BIG_ENUM_CHARS:
            raise UnsayableError(f"an enum of {len(values)} values is too long")


def _relaxed(marked: Node, spare: int) -> Node:
    """Let up to `spare` properties be left out rather than null: that is one union less each."""
    left = spare

    def relax(node: Any) -> Any:
        nonlocal left
        if isinstance(node, list):
            return [relax(part) for part in node]
        if not isinstance(node, dict):
            return node
        changed = {key: part if key == MARK else relax(part) for key, part in node.items()}
        if "as" in node.get(MARK, {}):
            return changed
        for name, part in changed.get("properties", {}).items():
            inner = _without_null(part)
            if left and inner and isinstance(changed.get("required"), list):
                changed["properties"][name] = inner
                changed["required"] = [one for one in changed["required"] if one != name]
                left -= 1
        return changed

    relaxed: Node = relax(marked)
    return relaxed


def _without_null(node: Any) -> Node | None:
    """Return the one branch beside null, where leaving the property out says the same as null."""
    marks = node.get(MARK, {}) if isinstance(node, dict) else {}
    if "anyOf" not in node or not ({"null", "absent"} & marks.keys()):
        return None
    branches = [branch for branch in node["anyOf"] if branch != {"type": "null"}]
    if len(branches) != 1:
        return None
    if "$ref" in branches[0]:
        return {**branches[0], MARK: marks}
    words = " ".join(one["description"] for one in (node, branches[0]) if one.get("description"))
    about = {"description": words} if words else {}
    return {**branches[0], **about, MARK: {**branches[0].get(MARK, {}), **marks}}


def _nodes(schema: Any) -> Iterator[Node]:
    """Yield every schema in `schema`, itself first."""
    yield schema
    for part in _children(schema):
        yield from _nodes(part)
    for part in schema.get("$defs", {}).values():
        yield from _nodes(part)


def _children(node: Node) -> Iterator[Node]:
    yield from node.get("properties", {}).values()
    yield from node.get("anyOf", ())
    if "items" in node:
        yield node["items"]


def _depth(node: Node, defs: dict[str, Node], known: dict[str, int]) -> int:
    """Count levels of objects and arrays; a recursion counts once."""
    if "$ref" in node:
        name = node["$ref"].removeprefix("#/$defs/")
        if name not in known:
            known[name] = 0
            known[name] = _depth(defs[name], defs, known)
        return known[name]
    below = max((_depth(part, defs, known) for part in _children(node)), default=0)
    return below + (node.get("type") in ("object", "array"))


def _reaches(goal: str, node: Node, defs: dict[str, Node], seen: set[str]) -> bool:
    """Say whether `node` leads to the definition `goal`."""
    for part in _nodes(node):
        if "$ref" in part:
            name = part["$ref"].removeprefix("#/$defs/")
            if name == goal:
                return True
            if name not in seen:
                seen.add(name)
                if _reaches(goal, defs[name], defs, seen):
                    return True
    return False
