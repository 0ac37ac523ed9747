"""JSON schemas as functions from a document to a value that fits."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from datetime import date
from typing import Any

from batchkit.simulator.source import Source, clean, dates_in, first_number, norm
from batchkit.simulator.wire import Json

Maker = Callable[[Source, int, int], Any]
"""`(source, at, depth) -> value`; `at` tells items of a list apart, `depth` bounds recursion."""

_LIMITS = frozenset({"minimum", "exclusiveMinimum", "maximum", "exclusiveMaximum"})
_DEEP = 4
_ENDLESS = 30
_TRUE = frozenset({"true", "yes", "y", "1", "on", "ja"})
_FALSE = frozenset({"false", "no", "n", "0", "off", "none", "nein"})
_FILLERS = frozenset(
    {"is", "has", "are", "was", "can", "does", "the", "of", "in", "a", "an", "contains"}
)
_YEARS = (1900.0, 2100.0)
_SPLIT = re.compile(r"\s*[,;]\s*")
_ROW = re.compile(r"^(\d{1,6}): (\{.*\})$", re.M)


def compile_schema(schema: Json) -> Callable[[Source], Any]:
    """Return a function that answers `schema` from a source; do it once per schema."""
    maker = _Compiler(schema).node(schema, "")
    return lambda source: maker(source, 0, 0)


class _Compiler:
    def __init__(self, root: Json) -> None:
        self._root = root
        self._made: dict[tuple[str, str], Maker] = {}

    def node(self, schema: Any, name: str) -> Maker:
        if not isinstance(schema, dict) or not schema:
            return _text({}, name)
        if "$ref" in schema:
            return self._ref(schema["$ref"], name)
        if "const" in schema:
            return _constant(schema["const"])
        if "enum" in schema:
            return _enum(schema["enum"], name, _words(schema))
        for key in ("anyOf", "oneOf"):
            if key in schema:
                return self._any_of(schema[key], name)
        if "allOf" in schema:
            return self.node(_merged(schema), name)
        return self._typed(schema, name)

    def _typed(self, schema: Json, name: str) -> Maker:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            return self._any_of([{**schema, "type": one} for one in kind], name)
        if kind == "object":
            return self._object(schema)
        if kind == "array":
            return self._array(schema, name)
        simple = {"integer": _number, "number": _number, "boolean": _boolean, "null": _null}
        return simple.get(kind, _text)(schema, name)

    def _ref(self, ref: str, name: str) -> Maker:
        key = (ref, name)
        if key not in self._made:
            self._made[key] = self._later(key)
            inner = self.node(_resolved(self._root, ref), name)
            self._made[key] = _deeper(inner)
        return self._later(key)

    def _later(self, key: tuple[str, str]) -> Maker:
        """Return a maker that is looked up when it is called, for schemas that recur."""

        def make(source: Source, at: int, depth: int) -> Any:
            return self._made[key](source, at, depth)

        return make

    def _any_of(self, options: list[Any], name: str) -> Maker:
        real = [o for o in options if not (isinstance(o, dict) and o.get("type") == "null")]
        makers = [self.node(option, name) for option in real]
        if not makers:
            return _constant(None)
        one = _one_of(makers, name)
        if len(real) == len(options):
            return one
        return _or_null(one, name, _words(real[0]), scalar=not _is_compound(real[0]))

    def _object(self, schema: Json) -> Maker:
        required = schema.get("required", [])
        properties = schema.get("properties", {})
        sure = [(key, self.node(properties[key], key)) for key in properties if key in required]
        maybe = [
            (key, self.node(sub, key), _names(key, _words(sub)))
            for key, sub in properties.items()
            if key not in required
        ]

        def make(source: Source, at: int, depth: int) -> Any:
            made = {key: maker(source, at, depth) for key, maker in sure}
            for key, maker, names in maybe:
                if depth < _DEEP and (source.label(names, at) or source.pick(key, 4)):
                    made[key] = maker(source, at, depth)
            return made

        if not properties and isinstance(schema.get("additionalProperties"), dict):
            return self._keyed(schema["additionalProperties"])
        return make

    def _keyed(self, schema: Json) -> Maker:
        """Answer a dict by two of the document's labels."""
        value = self.node(schema, "")

        def make(source: Source, at: int, depth: int) -> Any:
            if depth >= _DEEP:
                return {}
            names = [*source.labels, *source.words][: 1 + source.pick(f"keys{at}", 2)]
            return {name: value(source, at * 8 + i, depth + 1) for i, name in enumerate(names)}

        return make

    def _array(self, schema: Json, name: str) -> Maker:
        if schema.get("prefixItems"):
            firsts = [self.node(one, name) for one in schema["prefixItems"]]
            return lambda source, at, depth: [
                first(source, at * 8 + i, depth + 1) for i, first in enumerate(firsts)
            ]
        inner = schema.get("items", {})
        item = self.node(inner, name)
        low = int(schema.get("minItems", 0))
        high = int(schema.get("maxItems", max(low, 50)))
        names = _names(name, _words(schema))
        if (
            isinstance(inner, dict)
            and inner.get("type", "string") == "string"
            and not (
                inner.keys()
                & {"enum", "const", "$ref", "anyOf", "format", "pattern", "minLength", "maxLength"}
            )
        ):
            return _strings(item, names, name, low, high)

        numbered = self._has_row(inner)

        def make(source: Source, at: int, depth: int) -> Any:
            if numbered and (rows := _ROW.findall(source.text)):
                return [{**item(Source(row), 0, depth), "row": int(no)} for no, row in rows]
            count = 0 if depth >= _DEEP else _count(source, name, at, low, high)
            return [item(source, at * 8 + i, depth + 1) for i in range(max(count, low))]

        return make

    def _has_row(self, item: Any) -> bool:
        """Say whether a list's items name the row they answer, as several in one request do."""
        if not isinstance(item, dict):
            return False
        found = _resolved(self._root, item["$ref"]) if "$ref" in item else item
        return "row" in found.get("properties", {})


def _deeper(inner: Maker) -> Maker:
    def make(source: Source, at: int, depth: int) -> Any:
        # A schema that requires itself has no finite answer.
        return inner(source, at, depth + 1) if depth < _ENDLESS else None

    return make


def _count(source: Source, name: str, at: int, low: int, high: int) -> int:
    return min(max(1 + source.pick(f"#{name}{at}", 3), low), high)


def _strings(item: Maker, names: tuple[str, ...], name: str, low: int, high: int) -> Maker:
    def make(source: Source, at: int, depth: int) -> Any:
        found = _listed(source.label_all(names)) or source.bullets[:8]
        if not found or len(found) < low:
            more = max(_count(source, name, at, low, high) - len(found), 0)
            found = found + [item(source, at * 8 + 1 + i, depth) for i in range(more)]
        return found[:high]

    return make


def _listed(values: list[str]) -> list[str]:
    if len(values) != 1:
        return values
    return [clean(part) for part in _SPLIT.split(values[0].strip("[]")) if clean(part)]


def _one_of(makers: list[Maker], name: str) -> Maker:
    if len(makers) == 1:
        return makers[0]

    def make(source: Source, at: int, depth: int) -> Any:
        # Past the bound the first option: the others are where a schema recurs.
        which = source.pick(f"|{name}{at}", len(makers)) if depth < _DEEP else 0
        return makers[which](source, at, depth)

    return make


def _or_null(maker: Maker, name: str, words: tuple[str, ...], *, scalar: bool) -> Maker:
    names = _names(name, words)

    def make(source: Source, at: int, depth: int) -> Any:
        if depth >= _DEEP:
            return None
        if scalar and source.label(names, at) is None and source.pick(f"?{name}{at}", 2):
            return None
        return maker(source, at, depth)

    return make


def _is_compound(schema: Any) -> bool:
    return isinstance(schema, dict) and bool(
        schema.keys() & {"$ref", "properties", "items", "anyOf"}
    )


def _constant(value: Any) -> Maker:
    return lambda source, at, depth: value


def _null(schema: Json, name: str) -> Maker:
    return _constant(None)


def _words(schema: Any) -> tuple[str, ...]:
    told = schema.get("description", "") if isinstance(schema, dict) else ""
    return tuple(norm(word) for word in re.findall(r"[A-Z][\w-]+", str(told))[:12])


def _names(name: str, words: tuple[str, ...]) -> tuple[str, ...]:
    parts = [part for part in re.split(r"[^a-z0-9]+", name.lower()) if len(part) > 2]
    full = norm(name)
    singular = [full[:-1]] if full.endswith("s") else []
    return tuple(dict.fromkeys([full, *singular, *words, *reversed(parts)]))


def _enum(values: list[Any], name: str, words: tuple[str, ...]) -> Maker:
    strings = {v.lower(): v for v in values if isinstance(v, str) and v}
    names = _names(name, words)
    options = "|".join(re.escape(v) for v in sorted(strings, key=len, reverse=True))
    finder = re.compile(rf"(?<!\w)(?:{options})(?!\w)") if strings else None

    def make(source: Source, at: int, depth: int) -> Any:
        told = source.label(names, at)
        found = finder and ((told and finder.search(told.lower())) or finder.search(source.lower))
        value = strings[found.group()] if found else values[source.pick(f"{name}{at}", len(values))]
        return value.swapcase() if source.wrong_case and isinstance(value, str) else value

    return make


def _boolean(schema: Json, name: str) -> Maker:
    names = _names(name, _words(schema))
    telling = [w for w in re.split(r"[^a-z0-9]+", name.lower()) if w and w not in _FILLERS]

    def make(source: Source, at: int, depth: int) -> Any:
        told = (source.label(names, at) or "").lower()
        if told in _TRUE or told in _FALSE:
            return told in _TRUE
        return any(word in source.lower for word in telling) or not source.pick(name, 2)

    return make


def _number(schema: Json, name: str) -> Maker:
    whole = schema.get("type") == "integer"
    low, high = _bounds(schema, whole)
    step = schema.get("multipleOf")
    names = _names(name, _words(schema))
    if re.search(r"(?:^|_)year$", name.lower()) and not schema.keys() & _LIMITS:
        low, high = _YEARS

    def make(source: Source, at: int, depth: int) -> Any:
        value = _found_number(source, names, f"{name}{at}", low, high)
        return _fitted(value, low, high, step or (1 if whole else None), whole=whole)

    return make


def _fitted(value: float, low: float, high: float, step: float | None, *, whole: bool) -> float:
    if step:
        value = round(math.floor(value / step) * step, 10)
        value = round(value + step, 10) if value < low else value
    return round(value) if whole else min(value, high)


def _bounds(schema: Json, whole: bool) -> tuple[float, float]:
    gap = 1 if whole else 1e-6
    low = schema.get(
        "minimum",
        schema.get("exclusiveMinimum", -gap) + gap if "exclusiveMinimum" in schema else None,
    )
    high = schema.get(
        "maximum",
        schema.get("exclusiveMaximum", gap) - gap if "exclusiveMaximum" in schema else None,
    )
    if low is None:
        low = min(0, high - 1_000) if high is not None else -math.inf
    return float(low), float(high) if high is not None else math.inf


def _found_number(
    source: Source, names: tuple[str, ...], key: str, low: float, high: float
) -> float:
    told = source.label(names, 0)
    value = first_number(told) if told else None
    if value is not None and low <= value <= high:
        return value
    fitting = [n for n in source.numbers if low <= n <= high]
    if fitting:
        return fitting[source.pick(key, len(fitting))]
    floor = math.ceil(low) if low > -math.inf else 0
    width = int(min(high - floor, 10_000)) + 1
    return float(floor + source.pick(key, width)) if width > 0 else low


def _text(schema: Json, name: str) -> Maker:
    kind = str(schema.get("format", ""))
    if kind in _FORMATS:
        return _formatted(kind, name, _names(name, _words(schema)))
    if "pattern" in schema:
        return _patterned(str(schema["pattern"]), name)
    names = _names(name, _words(schema))
    low, high = int(schema.get("minLength", 0)), int(schema.get("maxLength", 2_000))

    def make(source: Source, at: int, depth: int) -> Any:
        value = (source.label(names, at) if names else None) or _phrase(source, name, at)
        if len(value) < low:
            value = (value + " " + source.tag * low)[:low]
        return value[:high]

    return make


def _phrase(source: Source, name: str, at: int) -> str:
    lowered = name.lower()
    if at == 0 and ("title" in lowered or "name" in lowered or "subject" in lowered):
        return " ".join(source.words[:6])
    if at == 0 and any(
        word in lowered for word in ("summary", "description", "abstract", "answer", "text")
    ):
        return " ".join(source.sentences[:2])
    sentence = source.sentences[source.pick(f"{name}{at}", len(source.sentences))]
    return " ".join(sentence.split()[:10])


def _patterned(pattern: str, name: str) -> Maker:
    whole = re.compile(pattern)
    inside = re.compile(pattern.removeprefix("^").removesuffix("$"))

    def make(source: Source, at: int, depth: int) -> Any:
        for match in inside.finditer(source.plain):
            if match.group() and whole.search(match.group()):
                return match.group()
        return _invented(pattern, source, f"{name}{at}")

    return make


def _invented(pattern: str, source: Source, key: str) -> str:
    """Return a string for the plain patterns of ids and codes; the source's tag for others."""
    text = re.sub(r"\(\?[:P][^)]*\)|[\^$()]", "", pattern)
    parts = re.findall(r"(\[[^\]]+\]|\\.|.)(\{(\d+)(?:,\d*)?\}|[+*?])?", text)
    made = []
    for i, (unit, _, times) in enumerate(parts):
        made += [_letter(unit, source.pick(f"{key}{i}.{n}", 997)) for n in range(int(times or 1))]
    return "".join(made) or source.tag


def _letter(unit: str, chosen: int) -> str:
    if unit == "\\d":
        return "0123456789"[chosen % 10]
    if unit in ("\\w", "."):
        return "abcdefghij"[chosen % 10]
    if unit.startswith("["):
        allowed = [c for c in map(chr, range(33, 127)) if re.match(unit, c)]
        return allowed[chosen % len(allowed)] if allowed else "x"
    return unit[-1]


def _formatted(kind: str, name: str, names: tuple[str, ...]) -> Maker:
    finder, invent = _FORMATS[kind]

    def make(source: Source, at: int, depth: int) -> Any:
        told = source.label(names, at)
        found = finder(told) if told else None
        return found or finder(source.plain) or invent(source, f"{name}{at}")

    return make


def _search(pattern: str) -> Callable[[str], str | None]:
    compiled = re.compile(pattern)

    def find(text: str) -> str | None:
        match = compiled.search(text)
        return match.group() if match else None

    return find


def _find_date(text: str) -> str | None:
    found: list[date] = dates_in(text)
    return found[0].isoformat() if found else None


def _find_moment(text: str) -> str | None:
    day = _find_date(text)
    return f"{day}T00:00:00Z" if day else None


def _hex(source: Source, key: str) -> str:
    return "".join(f"{source.pick(f'{key}{i}', 0xFFFFFFFF):08x}" for i in range(4))


def _uuid(source: Source, key: str) -> str:
    h = _hex(source, key)
    return f"{h[:8]}-{h[8:12]}-4{h[13:16]}-8{h[17:20]}-{h[20:32]}"


_FORMATS: dict[str, tuple[Callable[[str], str | None], Callable[[Source, str], str]]] = {
    "date": (_find_date, lambda s, k: s.day(k).isoformat()),
    "date-time": (_find_moment, lambda s, k: f"{s.day(k).isoformat()}T00:00:00Z"),
    "time": (
        _search(r"\b(?:[01]\d|2[0-3]):[0-5]\d:[0-5]\d\b"),
        lambda s, k: f"{s.pick(k, 24):02d}:{s.pick(k + 'm', 60):02d}:00Z",
    ),
    "duration": (_search(r"\bP(?:\d+[YMD])+\b"), lambda s, k: f"P{1 + s.pick(k, 30)}D"),
    "email": (
        _search(r"\b[\w.+-]+@[\w-]+(?:\.[\w-]+)+\b"),
        lambda s, k: f"{s.tag}@example.org",
    ),
    "uri": (
        _search(r"\bhttps?://[^\s<>\"')\]]+[^\s<>\"')\].,;]"),
        lambda s, k: f"https://example.org/{s.tag}",
    ),
    "hostname": (
        _search(r"(?<=://)[\w-]+(?:\.[\w-]+)+"),
        lambda s, k: f"h{s.tag}.example.org",
    ),
    "ipv4": (
        _search(r"\b(?:\d{1,3}\.){3}\d{1,3}\b"),
        lambda s, k: f"192.0.2.{s.pick(k, 255)}",
    ),
    "ipv6": (
        _search(r"\b(?:[0-9a-f]{1,4}:){7}[0-9a-f]{1,4}\b"),
        lambda s, k: f"2001:db8::{s.pick(k, 65535):x}",
    ),
    "uuid": (_search(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"), _uuid),
}


def _resolved(root: Json, ref: str) -> Any:
    node: Any = root
    for part in ref.removeprefix("#").strip("/").split("/"):
        if part:
            node = (
                node.get(part.replace("~1", "/").replace("~0", "~"), {})
                if isinstance(node, dict)
                else {}
            )
    return node


def _merged(schema: Json) -> Json:
    whole = {key: value for key, value in schema.items() if key != "allOf"}
    for part in schema["allOf"]:
        for key, value in part.items():
            mine = whole.get(key)
            if isinstance(mine, dict):
                whole[key] = {**mine, **value}
            elif isinstance(mine, list):
                whole[key] = [*mine, *value]
            else:
                whole[key] = value
    return whole
