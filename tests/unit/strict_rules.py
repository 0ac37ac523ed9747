"""What a strict mode refuses, written down a second time and apart from batchkit.schemas."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

SHARED_FORMATS = (
    "date-time",
    "time",
    "date",
    "duration",
    "email",
    "hostname",
    "ipv4",
    "ipv6",
    "uuid",
)
SHARED_WORDS = {
    "type",
    "description",
    "properties",
    "required",
    "additionalProperties",
    "items",
    "minItems",
    "anyOf",
    "enum",
    "const",
    "format",
    "pattern",
    "$ref",
    "$defs",
}
OPENAI_WORDS = SHARED_WORDS | {
    "maxItems",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
}
HARD_PATTERNS = ("(?=", "(?!", "(?<", "(?i", "(?P", "\\b", "\\B", "\\1", "\\p", "\\A", "\\Z")


def breaches(schema: dict[str, Any], dialect: Literal["openai", "anthropic"]) -> list[str]:
    """Return what the provider would refuse about `schema`, by section 4.2."""
    nodes = list(walk(schema, "#"))
    found = [f"{at}: {text}" for at, node in nodes for text in _node(node, dialect)]
    found += [f"{at}: dangling" for at, node in nodes if _dangles(node, schema)]
    if schema.get("type") != "object":
        found.append("#: the root is no object")
    return found + (_openai(nodes) if dialect == "openai" else _anthropic(schema, nodes))


def walk(node: Any, at: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Yield every schema inside `node` with its place."""
    yield at, node
    for holder in ("properties", "$defs"):
        for name, part in node.get(holder, {}).items():
            yield from walk(part, f"{at}/{holder}/{name}")
    for index, part in enumerate(node.get("anyOf", ())):
        yield from walk(part, f"{at}/anyOf/{index}")
    if "items" in node:
        yield from walk(node["items"], f"{at}/items")


def _node(node: dict[str, Any], dialect: str) -> Iterator[str]:
    words = OPENAI_WORDS if dialect == "openai" else SHARED_WORDS
    yield from (f"{word} is not permitted" for word in node.keys() - words)
    if not {"type", "anyOf", "$ref"} & node.keys():
        yield "says no type"
    if "$ref" in node and len(node) > 1:
        yield "words beside a $ref"
    if not isinstance(node.get("type", ""), str):
        yield "several types"
    formats = SHARED_FORMATS if dialect == "openai" else (*SHARED_FORMATS, "uri")
    if "format" in node and node["format"] not in formats:
        yield f"format {node['format']}"
    if any(hard in node.get("pattern", "") for hard in HARD_PATTERNS):
        yield f"pattern {node['pattern']}"
    if node.get("type") == "object":
        yield from _object(node, dialect)
    if node.get("type") == "array" and not node.get("items"):
        yield "an array of nothing"
    if dialect == "anthropic" and node.get("minItems", 0) > 1:
        yield "minItems above 1"


def _object(node: dict[str, Any], dialect: str) -> Iterator[str]:
    if node.get("additionalProperties") is not False:
        yield "additionalProperties is not false"
    if not node.get("properties"):
        yield "can only be {}"
    names = list(node.get("properties", {}))
    if dialect == "openai" and node.get("required") != names:
        yield "required does not list every property"
    if set(node.get("required", ())) - set(names):
        yield "requires what is not there"


def _dangles(node: dict[str, Any], schema: dict[str, Any]) -> bool:
    ref = node.get("$ref")
    return ref is not None and ref.removeprefix("#/$defs/") not in schema.get("$defs", {})


def _openai(nodes: list[tuple[str, dict[str, Any]]]) -> list[str]:
    properties = sum(len(node.get("properties", ())) for _, node in nodes)
    values = sum(len(node.get("enum", ())) for _, node in nodes)
    depth = max(at.count("/properties/") + at.count("/items") for at, _ in nodes)
    found = [f"{properties} properties"] * (properties > 5_000)
    found += [f"{values} enum values"] * (values > 1_000)
    return found + [f"{depth} levels"] * (depth > 10)


def _anthropic(schema: dict[str, Any], nodes: list[tuple[str, dict[str, Any]]]) -> list[str]:
    optional = sum(
        len(set(node.get("properties", ())) - set(node.get("required", ()))) for _, node in nodes
    )
    unions = sum("anyOf" in node for _, node in nodes)
    found = [f"{optional} optional properties"] * (optional > 24)
    found += [f"{unions} unions"] * (unions > 16)
    return found + ["recursion"] * _recurs(schema)


def _recurs(schema: dict[str, Any]) -> bool:
    defs = schema.get("$defs", {})
    edges = {
        name: {
            part["$ref"].removeprefix("#/$defs/") for _, part in walk(node, "#") if "$ref" in part
        }
        for name, node in defs.items()
    }
    for _ in defs:
        edges = {
            name: to | {far for near in to for far in edges[near]} for name, to in edges.items()
        }
    return any(name in to for name, to in edges.items())
