"""Rewrite a JSON Schema into one that a strict mode can say.

The result is *marked*: it is the wire schema plus notes under ``x-batchkit`` that say how an
answer in wire form becomes one in the original's form. ``bare`` takes the notes off.

====================  ==========================================================================
original              wire
====================  ==========================================================================
optional property     required, or null; null is left out again on the way back
``dict[str, T]``      array of ``{"key", "value"}``
tuple                 object of ``item_0``, ``item_1``, …, and ``rest``
``Any``               JSON text
set                   array; repeats are dropped on the way back
``Decimal``           number
root not an object    ``{"result": …}``
dict or list          dict's pairs in ``{"entries": …}``
====================  ==========================================================================
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Any, Final

from batchkit.errors import ValidationError
from batchkit.schemas.dialects import MARK, Node, Rules, UnsayableError
from batchkit.schemas.leaves import (
    NULL,
    bounded,
    default_note,
    described,
    words,
    write_enum,
    write_number,
    write_string,
)

_UNSAYABLE: Final = (
    "not",
    "if",
    "dependentSchemas",
    "dependentRequired",
    "contains",
    "unevaluatedProperties",
    "$dynamicRef",
)
_IMPLIES: Final = {
    "object": {"properties", "additionalProperties", "patternProperties"},
    "array": {"items", "prefixItems"},
    "string": {"pattern", "format", "minLength", "maxLength"},
}
_PLAIN_NAME: Final = re.compile(r"[A-Za-z0-9_.-]{1,64}")


def marked_schema(original: Node, rules: Rules) -> Node:
    """Return the marked wire schema of `original`; its root is always an object.

    Raises ``UnsayableError`` where the strict mode has no words for it, and ``ValidationError``
    where only an empty answer could fit.
    """
    writer = _Writer(rules, original.get("$defs", {}))
    root = writer.write(writer.target(original), ())
    if root.get("type") != "object" or MARK in root:
        root = _wrapped("result", root)
    whole = root | ({"$defs": writer.written} if writer.written else {})
    separated: Node = _separated(whole, writer.written)
    return separated


def bare(marked: Any) -> Any:
    """Return the schema without our marks: what is sent."""
    if isinstance(marked, dict):
        return {key: bare(part) for key, part in marked.items() if key != MARK}
    return [bare(part) for part in marked] if isinstance(marked, list) else marked


def _separated(node: Any, defs: Mapping[str, Node]) -> Any:
    """Wrap the pairs that share a union with another array: an empty one could be either."""
    if isinstance(node, list):
        return [_separated(part, defs) for part in node]
    if not isinstance(node, dict):
        return node
    found = {key: _separated(part, defs) for key, part in node.items()}
    if isinstance(node.get("anyOf"), list):
        whole = [defs[_ref_name(part)] if "$ref" in part else part for part in node["anyOf"]]
        pairs = [part.get(MARK, {}).get("as") == "pairs" for part in whole]
        if sum(part.get("type") == "array" for part in whole) > sum(pairs) > 0:
            found["anyOf"] = [
                _wrapped("entries", part) if is_pairs else part
                for part, is_pairs in zip(found["anyOf"], pairs, strict=True)
            ]
    return found


class _Writer:
    """One pass over one schema; `written` are the definitions that the wire refers to."""

    def __init__(self, rules: Rules, defs: Mapping[str, Node]) -> None:
        self._rules = rules
        self._defs = defs
        self._inlining: tuple[str, ...] = ()
        self.written: dict[str, Node] = {}

    def write(self, node: Any, path: tuple[str, ...]) -> Node:
        node = _merged(node, path)
        if "$ref" in node:
            return self._ref(node, path)
        if "anyOf" in node or "oneOf" in node:
            return self._union(node, path)
        if "enum" in node or "const" in node:
            return write_enum(node, _dotted(path))
        if isinstance(kind := node.get("type"), list):
            return self._union({"anyOf": [{**node, "type": one} for one in kind]}, path)
        return self._typed(node, path)

    def _typed(self, node: Node, path: tuple[str, ...]) -> Node:
        match node.get("type") or _implied(node):
            case "object":
                return self._object(node, path)
            case "array":
                return self._array(node, path)
            case "number" | "integer":
                return write_number(node, self._rules)
            case "string":
                return write_string(node, self._rules)
            case "boolean" | "null" as kind:
                return described({"type": kind}, node)
            case None:
                text: Node = {"type": "string", MARK: {"as": "json"}}
                return described(text, node, ["any JSON value, as JSON text"])
            case kind:
                raise UnsayableError(f"{_dotted(path)} has the unknown type {kind!r}")

    def target(self, node: Node) -> Node:
        """Follow references; what stands beside a reference wins over what it names."""
        while "$ref" in node:
            beside = {key: part for key, part in node.items() if key not in ("$ref", "$defs")}
            node = {**self._definition(node["$ref"]), **beside}
        return node

    def _definition(self, ref: str) -> Node:
        name = ref.removeprefix("#/$defs/")
        if name not in self._defs:
            raise UnsayableError(f"{ref} points outside the schema")
        return self._defs[name]

    def _ref(self, node: Node, path: tuple[str, ...]) -> Node:
        name = _ref_name(node)
        target = self._definition(node["$ref"])
        if "description" in node and name not in self._inlining:
            # Neither strict mode takes words beside a $ref.
            outer, self._inlining = self._inlining, (*self._inlining, name)
            written = self.write(self.target(node), path)
            self._inlining = outer
            return written
        if _is_any(target):
            return self.write(target, path)
        if name not in self.written:
            self.written[name] = {}
            self.written[name] = self.write(target, path)
        return {"$ref": f"#/$defs/{name}"}

    def _union(self, node: Node, path: tuple[str, ...]) -> Node:
        given = _decided(node.get("anyOf") or node["oneOf"])
        if any(_is_any(self.target(branch)) for branch in given):
            return self.write({key: node[key] for key in ("description",) if key in node}, path)
        branches = _flat(self.write(branch, path) for branch in given)
        if len(branches) == 1:
            return self.write({**given[0], **words(node)}, path)
        return described({"anyOf": branches}, node)

    def _object(self, node: Node, path: tuple[str, ...]) -> Node:
        if node.get("properties"):
            return self._fields(node, path)
        if "properties" in node and not _is_open(node):
            raise ValidationError(
                f"response_model: {_dotted(path)} has no fields, so an answer could only be "
                "{}. Give it a field, or use dict[str, …] for keys that are not known."
            )
        return self._pairs(node, path)

    def _fields(self, node: Node, path: tuple[str, ...]) -> Node:
        required = node.get("required", ())
        fields: dict[str, Node] = {}
        for name, part in node["properties"].items():
            written = self._field(part, name in required, (*path, name))
            wire_name = _wire_name(name, fields)
            fields[wire_name] = written if wire_name == name else _marked(written, name=name)
        extra = node.get("additionalProperties")
        if isinstance(extra, dict) and extra:
            pairs = self._pairs({"additionalProperties": extra}, path)
            fields[_wire_name("extra_fields", fields)] = _marked(pairs, extra=True)
        return described(_fixed_object(fields), node)

    def _field(self, node: Node, required: bool, path: tuple[str, ...]) -> Node:
        if self._admits_null(node):
            spare = required or node.get("default", ...) is None
            return (
                _marked(self.write(node, path), absent="null") if spare else self.write(node, path)
            )
        if required:
            return self.write(node, path)
        # The words go to the wrapper, so that a reference inside stays bare.
        said = words(node)
        inner = {key: part for key, part in node.items() if key not in said}
        branches = [*_flat([self.write(inner, path)]), NULL]
        wrapped = described({"anyOf": branches}, said, default_note(node))
        return _marked(wrapped, null="absent")

    def _admits_null(self, node: Node) -> bool:
        node = self.target(node)
        if node.get("type") == "null" or None in node.get("enum", ()) or "null" in _kinds(node):
            return True
        branches = node.get("anyOf") or node.get("oneOf") or ()
        if any(_is_any(self.target(branch)) for branch in branches):
            return False
        return any(self._admits_null(branch) for branch in branches)

    def _pairs(self, node: Node, path: tuple[str, ...]) -> Node:
        patterns = node.get("patternProperties", {})
        if len(patterns) > 1:
            raise UnsayableError(f"{_dotted(path)} has several patterns for its keys")
        value = node.get("additionalProperties", {})
        keys: Node = {"type": "string", **node.get("propertyNames", {})}
        for pattern, part in patterns.items():
            value, keys = part, {**keys, "pattern": pattern}
        pair = _fixed_object(
            {
                "key": self.write(_text_keys(self.target(keys)), (*path, "{key}")),
                "value": self.write({} if value is True else value, (*path, "{value}")),
            }
        )
        array: Node = {"type": "array", "items": pair, MARK: {"as": "pairs"}}
        notes = bounded(array, self._rules, node.get("minProperties"), node.get("maxProperties"))
        return described(array, node, [*notes, "one pair for each key"])

    def _array(self, node: Node, path: tuple[str, ...]) -> Node:
        if node.get("prefixItems"):
            return self._tuple(node, path)
        items = node.get("items", {})
        array: Node = {
            "type": "array",
            "items": self.write({} if items is True else items, (*path, "[]")),
        }
        notes = bounded(array, self._rules, node.get("minItems"), node.get("maxItems"))
        if node.get("uniqueItems"):
            array[MARK] = {"as": "set"}
            notes.append("no item twice")
        return described(array, node, notes)

    def _tuple(self, node: Node, path: tuple[str, ...]) -> Node:
        first = node["prefixItems"]
        least = node.get("minItems", len(first))
        fields = {
            f"item_{at}": self._item(part, at < least, (*path, str(at)))
            for at, part in enumerate(first)
        }
        rest = node.get("items")
        if isinstance(rest, dict):
            fields["rest"] = self._array({"items": rest}, (*path, "rest"))
        return described(_fixed_object(fields) | {MARK: {"as": "tuple"}}, node)

    def _item(self, node: Node, required: bool, path: tuple[str, ...]) -> Node:
        about = {"description": node["title"]} if "title" in node else {}
        written = self._field({**about, **node}, required, path)
        # A tuple has no gaps, so what was left out is filled with its default.
        fill = {"fill": node["default"]} if "default" in node else {}
        return written if required else _marked(written, **fill)


def _merged(node: Any, path: tuple[str, ...]) -> Node:
    """Return `node` with a lone ``allOf`` taken up into it."""
    if not isinstance(node, dict):
        raise UnsayableError(f"{_dotted(path)} admits no value")
    word = next((word for word in _UNSAYABLE if word in node), None)
    if word or len(node.get("allOf", ())) > 1:
        raise UnsayableError(f"{_dotted(path)} says {word or 'allOf'!r}")
    if "allOf" not in node:
        return node
    return {**node["allOf"][0], **{key: part for key, part in node.items() if key != "allOf"}}


def _implied(node: Node) -> str | None:
    """Return the type that a schema without one can only mean."""
    for kind, words_of_kind in _IMPLIES.items():
        if words_of_kind & node.keys():
            return kind
    return None


def _is_any(node: Any) -> bool:
    said = {"type", "anyOf", "oneOf", "allOf", "enum", "const", "$ref"}
    return isinstance(node, dict) and not said & node.keys() and _implied(node) is None


def _is_open(node: Node) -> bool:
    """Say whether the object takes keys that are not named."""
    return bool(node.get("additionalProperties") or node.get("patternProperties"))


def _kinds(node: Node) -> list[str]:
    kind = node.get("type", [])
    return kind if isinstance(kind, list) else [kind]


def _decided(branches: list[Node]) -> list[Node]:
    """Leave the text form of a decimal out: the number can always say it."""
    numbers = any("number" in _kinds(branch) for branch in branches)
    return [one for one in branches if not (numbers and one.get("format") == "decimal")]


def _flat(branches: Iterable[Node]) -> list[Node]:
    """Lift unions without words of their own into the one around them; no branch twice."""
    found: list[Node] = []
    for branch in branches:
        lifted = branch["anyOf"] if branch.keys() == {"anyOf"} else [branch]
        found += [one for one in lifted if one not in found]
    return found


def _text_keys(node: Node) -> Node:
    """Return the schema of a dict's keys as JSON has them: always strings."""
    if "enum" in node:
        return {"type": "string", "enum": [str(value) for value in node["enum"]]}
    return {**node, "type": "string"}


def _fixed_object(fields: dict[str, Node]) -> Node:
    return {
        "type": "object",
        "properties": fields,
        "required": list(fields),
        "additionalProperties": False,
    }


def _wrapped(name: str, node: Node) -> Node:
    return _fixed_object({name: node}) | {MARK: {"as": "wrap"}}


def _ref_name(node: Node) -> str:
    return str(node["$ref"]).removeprefix("#/$defs/")


def _wire_name(name: str, taken: Mapping[str, Node]) -> str:
    """Return a property name that both providers take, and that is still free."""
    plain = name if _PLAIN_NAME.fullmatch(name) else re.sub(r"[^A-Za-z0-9_.-]+", "_", name)[:60]
    candidate, count = plain or "_", 1
    while candidate in taken or candidate == MARK:
        count += 1
        candidate = f"{plain}_{count}"
    return candidate


def _marked(node: Node, **marks: Any) -> Node:
    return {**node, MARK: {**node.get(MARK, {}), **marks}}


def _dotted(path: tuple[str, ...]) -> str:
    return f"field {'.'.join(path)!r}" if path else "the model"
