"""What the strict modes of both providers refuse in a schema (provider-facts 4.2)."""

from __future__ import annotations

import re
from collections.abc import Iterator
from typing import Any

from batchkit.simulator.wire import Json

_OPENAI_NEVER = (
    "allOf",
    "not",
    "if",
    "then",
    "else",
    "dependentRequired",
    "dependentSchemas",
    "oneOf",
    "prefixItems",
    "patternProperties",
    "propertyNames",
    "minProperties",
    "maxProperties",
    "minLength",
    "maxLength",
    "uniqueItems",
    "contains",
    "unevaluatedProperties",
    "default",
)
_ANTHROPIC_NEVER = (
    "oneOf",
    "not",
    "if",
    "then",
    "else",
    "minimum",
    "maximum",
    "exclusiveMinimum",
    "exclusiveMaximum",
    "multipleOf",
    "minLength",
    "maxLength",
    "maxItems",
    "uniqueItems",
    "prefixItems",
    "patternProperties",
    "dependentRequired",
    "dependentSchemas",
)
_OPENAI_FORMATS = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_ANTHROPIC_FORMATS = _OPENAI_FORMATS | {"uri"}
_LOOKS_AROUND = re.compile(r"\(\?(?:[=!]|<[=!])|\\[1-9bB]")
_MOST_UNIONS = 16


def refused_by_openai(schema: Any) -> str | None:
    """Return why strict mode refuses `schema`, or None."""
    if not isinstance(schema, dict) or schema.get("type") != "object" or "anyOf" in schema:
        return "schema must be a JSON Schema of 'type: \"object\"' at the root, not 'anyOf'."
    nodes = list(_nodes(schema, ()))
    for path, node, depth in nodes:
        why = _openai_node(node)
        if why is not None:
            return f"In context={_context(path)}, {why}"
        if depth > 10:
            return "schema exceeds the maximum of 10 levels of nesting."
    return _openai_size([node for _, node, _ in nodes], schema)


def _openai_size(nodes: list[Json], root: Json) -> str | None:
    """Return which of the limits on the whole schema is passed, or None."""
    names = [name for node in nodes for name in node.get("properties") or {}]
    enums = [[str(value) for value in node.get("enum") or ()] for node in nodes]
    if len(names) > 5_000:
        return "schema exceeds the maximum of 5000 object properties."
    if sum(map(len, enums)) > 1_000:
        return "schema exceeds the maximum of 1000 enum values."
    if any(len(values) > 250 and sum(map(len, values)) > 15_000 for values in enums):
        return "an enum of more than 250 values exceeds 15000 characters."
    texts = [*names, *(root.get("$defs") or {}), *(text for values in enums for text in values)]
    if sum(map(len, texts)) > 120_000:
        return "schema exceeds the maximum of 120000 characters of names and enum values."
    known = {f"#/$defs/{name}" for name in root.get("$defs") or {}} | {"#"}
    if any(node.get("$ref", "#") not in known for node in nodes):
        return "reference can only point to definitions defined at the top level of the schema."
    return None


def refused_by_anthropic(schema: Any) -> str | None:
    """Return why structured outputs refuse `schema`, or None."""
    if not isinstance(schema, dict):
        return "output_config.format.schema: Input should be a valid dictionary"
    if _recurs(schema):
        return "Recursive schemas are not supported"
    optional = unions = 0
    for path, node, _ in _nodes(schema, ()):
        why = _anthropic_node(node)
        if why is not None:
            return f"{_context(path)}: {why}"
        optional += len(set(node.get("properties") or {}) - set(node.get("required") or ()))
        unions += "anyOf" in node or isinstance(node.get("type"), list)
    if optional > 24:
        return "Schema is too complex for compilation: more than 24 optional parameters"
    if unions > _MOST_UNIONS:
        return "Schema is too complex for compilation: more than 16 parameters of union types"
    return None


def _openai_node(node: Json) -> str | None:
    for word in _OPENAI_NEVER:
        if word in node:
            return f"'{word}' is not permitted."
    if "$ref" in node and len(node) > 1:
        return f"$ref cannot have keywords {sorted(node.keys() - {'$ref'})}."
    if "format" in node and node["format"] not in _OPENAI_FORMATS:
        return f"'{node['format']}' is not a valid format."
    if _LOOKS_AROUND.search(str(node.get("pattern", ""))):
        return "'pattern' must not look around or back."
    if node.get("type") == "array" and not node.get("items"):
        return "array schema missing items."
    if not _is_object(node):
        return (
            None
            if node.keys() & {"type", "$ref", "anyOf", "enum", "const"}
            else "schema must have a 'type' key."
        )
    if node.get("additionalProperties") is not False:
        return "'additionalProperties' is required to be supplied and to be false."
    missing = [
        key for key in node.get("properties") or {} if key not in (node.get("required") or ())
    ]
    if missing:
        return (
            "'required' is required to be supplied and to be an array including every key in "
            f"properties. Missing '{missing[0]}'."
        )
    return None


def _anthropic_node(node: Json) -> str | None:
    for word in _ANTHROPIC_NEVER:
        if word in node:
            return f"For '{node.get('type', 'schema')}' type, property '{word}' is not supported"
    if _is_object(node) and node.get("additionalProperties") is not False:
        return "For 'object' type, 'additionalProperties' must be explicitly set to false"
    if node.get("minItems", 0) not in (0, 1):
        return "For 'array' type, 'minItems' values other than 0 or 1 are not supported"
    if "format" in node and node["format"] not in _ANTHROPIC_FORMATS:
        return f"String format '{node['format']}' is not supported"
    if _LOOKS_AROUND.search(str(node.get("pattern", ""))):
        return "Patterns that look around or back are not supported"
    if any("$ref" in part for part in node.get("allOf") or ()):
        return "allOf with $ref is not supported"
    if not str(node.get("$ref", "#")).startswith("#"):
        return "External $ref is not supported"
    if any(isinstance(value, dict | list) for value in node.get("enum") or ()):
        return "enum values must be primitives"
    return None


def _is_object(node: Json) -> bool:
    kind = node.get("type")
    return kind == "object" or (isinstance(kind, list) and "object" in kind)


def _nodes(
    node: Any, path: tuple[str, ...], depth: int = 1
) -> Iterator[tuple[tuple[str, ...], Json, int]]:
    """Yield every subschema, where it stands and how deep; properties' names are no keywords."""
    if not isinstance(node, dict):
        return
    yield path, node, depth
    for group in ("properties", "$defs", "definitions"):
        for name, sub in (node.get(group) or {}).items():
            deeper = depth + 1 if group == "properties" else 1
            yield from _nodes(sub, (*path, group, name), deeper)
    for word in ("anyOf", "allOf", "oneOf", "prefixItems"):
        for i, sub in enumerate(node.get(word) or ()):
            yield from _nodes(sub, (*path, word, str(i)), depth)
    yield from _nodes(node.get("items"), (*path, "items"), depth + 1)
    yield from _nodes(node.get("additionalProperties"), (*path, "additionalProperties"), depth + 1)


def _context(path: tuple[str, ...]) -> str:
    return "(" + ", ".join(f"'{part}'" for part in path) + ")"


def _recurs(root: Json) -> bool:
    defs = {
        f"#/{group}/{name}": sub
        for group in ("$defs", "definitions")
        for name, sub in (root.get(group) or {}).items()
    }
    defs["#"] = {key: value for key, value in root.items() if key not in ("$defs", "definitions")}
    uses = {
        name: {str(n["$ref"]) for _, n, _ in _nodes(sub, ()) if "$ref" in n}
        for name, sub in defs.items()
    }
    return any(_reaches(uses, name, name, frozenset()) for name in uses)


def _reaches(uses: dict[str, set[str]], start: str, goal: str, seen: frozenset[str]) -> bool:
    following = uses.get(start, set()) - seen
    return goal in following or any(
        _reaches(uses, one, goal, seen | following) for one in following
    )
