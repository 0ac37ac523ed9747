"""Write the parts of a schema that hold no others, and say in words what no keyword can."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Final

import orjson

from batchkit.schemas.dialects import Node, Rules, UnsayableError, is_simple_pattern

NULL: Final[Node] = {"type": "null"}

_LONGEST_DEFAULT: Final = 100
_FORMAT_NOTES: Final = {
    "binary": None,
    "decimal": None,
    "password": None,
    "naive-date-time": "date and time without a time zone, like 2026-01-31T08:00:00",
    "base64url": "URL-safe base64",
}
_BOUND_WORDS: Final = {
    "minimum": "at least",
    "maximum": "at most",
    "exclusiveMinimum": "more than",
    "exclusiveMaximum": "less than",
    "multipleOf": "a multiple of",
}
_TYPES: Final = {
    bool: "boolean",
    int: "integer",
    float: "number",
    str: "string",
    type(None): "null",
}


def write_enum(node: Node, place: str) -> Node:
    """Write an enum or a constant; values of several types become a union."""
    word = "const" if "const" in node else "enum"
    groups: dict[str, list[Any]] = {}
    for value in [node["const"]] if word == "const" else node["enum"]:
        kind = _TYPES.get(type(value))
        if kind is None:
            raise UnsayableError(f"{place} may be {value!r}")
        groups.setdefault(kind, []).append(value)
    branches = [
        dict(NULL)
        if kind == "null"
        else {"type": kind, word: values[0] if word == "const" else values}
        for kind, values in groups.items()
    ]
    return described(branches[0] if len(branches) == 1 else {"anyOf": branches}, node)


def write_number(node: Node, rules: Rules) -> Node:
    """Write a number with the bounds that the dialect knows, the others in words."""
    bounds = {key: node[key] for key in _BOUND_WORDS if key in node}
    said = {key: part for key, part in bounds.items() if key in rules.number_words}
    notes = [f"{_BOUND_WORDS[key]} {part}" for key, part in bounds.items() if key not in said]
    return described({"type": node["type"], **said}, node, notes)


def write_string(node: Node, rules: Rules) -> Node:
    """Write a string with format and pattern where the dialect knows them, the rest in words."""
    text: Node = {"type": "string"}
    notes = []
    form, pattern = node.get("format"), node.get("pattern")
    if form in rules.formats:
        text["format"] = form
    elif form and (note := _FORMAT_NOTES.get(form, f"format: {form}")):
        notes.append(note)
    if pattern and is_simple_pattern(pattern):
        text["pattern"] = pattern
    elif pattern:
        notes.append(f"matches {pattern}")
    for key, bound in (("minLength", "at least"), ("maxLength", "at most")):
        if key in node:
            notes.append(f"{bound} {node[key]} characters")
    if "contentSchema" in node:
        notes.append(f"JSON text that fits {shown(node['contentSchema'])}")
    return described(text, node, notes)


def bounded(array: Node, rules: Rules, low: int | None, high: int | None) -> list[str]:
    """Set the bounds the dialect has on `array`; return words for the others."""
    notes = []
    room = rules.max_min_items
    if low is not None and (room is None or low <= room):
        array["minItems"] = low
    elif low is not None:
        notes.append(f"at least {low} items")
    if high is not None and rules.max_items:
        array["maxItems"] = high
    elif high is not None:
        notes.append(f"at most {high} items")
    return notes


def words(node: Node) -> Node:
    """Return what a schema says to readers."""
    return {key: node[key] for key in ("description", "examples") if key in node}


def described(written: Node, node: Node, notes: Iterable[str] = ()) -> Node:
    """Return `written` with the words of `node`, and with what it could not say as words."""
    extra = list(notes)
    if node.get("examples"):
        extra.append(f"for example {', '.join(map(shown, node['examples']))}")
    own, tail = node.get("description", ""), f"({'; '.join(extra)})" if extra else ""
    text = f"{own} {tail}".strip()
    return {**written, "description": text} if text else dict(written)


def default_note(node: Node) -> list[str]:
    """Return the default in words where it is short: no strict mode has a keyword for it."""
    default = node.get("default")
    if not isinstance(default, str | int | float) or len(shown(default)) > _LONGEST_DEFAULT:
        return []
    return [f"default: {shown(default)}"]


def shown(value: Any) -> str:
    """Return the value as JSON text."""
    return orjson.dumps(value).decode()
