"""JSON in text blocks, as a model writes it that was told a schema and may cite documents.

The values that stand in a document are in blocks of their own, with the sentence they stand in as
the citation: at times the bare words, at times with their quotes, at times with their name.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from datetime import date
from typing import Any, TypeAlias

from batchkit.simulator.prompt import Document
from batchkit.simulator.source import Source, first_day
from batchkit.simulator.wire import Json

Locate: TypeAlias = Callable[[Document, int, re.Match[str]], Json]
"""`(document, part, match) -> citation`."""
_Place: TypeAlias = tuple[Document, int, re.Match[str]]
_Piece: TypeAlias = tuple[str, Any]

_END = re.compile(r"[.!?](?=\s)|\n")
_NUMBER = re.compile(r"(?<![\w.,])-?\d[\d,]*(?:\.\d+)?(?![\w])")
_REACH = 300
_ASKED = object()


def blocks_of(
    value: Any, documents: list[Document], source: Source, locate: Locate, *, astray: bool
) -> list[Json]:
    """Return `value` as text blocks that join to its compact JSON.

    ``astray``: each citation points to where the value does not stand.
    """
    blocks: list[Json] = []
    plain = ""
    for number, (text, leaf) in enumerate(_pieces(value)):
        place = None if leaf is _ASKED else _place(leaf, documents)
        if place is not None and astray:
            place = _elsewhere(place, source)
        if place is None:
            plain += text
            continue
        name, plain = _named(plain) if source.pick(f"cut{number}", 3) == 0 else ("", plain)
        before, inner, after = _cut(text, source.pick(f"quotes{number}", 2) == 0)
        if name:
            before, inner, after = "", text, ""
        if plain + before:
            blocks.append({"type": "text", "text": plain + before, "citations": None})
        blocks.append({"type": "text", "text": name + inner, "citations": [locate(*place)]})
        plain = after
    if plain:
        blocks.append({"type": "text", "text": plain, "citations": None})
    return blocks


def _pieces(value: Any) -> Iterator[_Piece]:
    """Yield the JSON in pieces, each with its value if it is one."""
    if isinstance(value, dict):
        yield "{", _ASKED
        for number, (name, part) in enumerate(value.items()):
            yield ("," if number else "") + _written(name) + ":", _ASKED
            yield from _pieces(part)
        yield "}", _ASKED
    elif isinstance(value, list):
        yield "[", _ASKED
        for number, part in enumerate(value):
            if number:
                yield ",", _ASKED
            yield from _pieces(part)
        yield "]", _ASKED
    else:
        yield _written(value), value


def _written(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)


def _named(plain: str) -> tuple[str, str]:
    """Take the last name off what was written before a value."""
    found = re.search(r'"(?:[^"\\]|\\.)*":$', plain)
    return (found.group(), plain[: found.start()]) if found else ("", plain)


def _cut(text: str, bare: bool) -> tuple[str, str, str]:
    if bare and text.startswith('"') and len(text) > 2:
        return '"', text[1:-1], '"'
    return "", text, ""


def _place(value: Any, documents: list[Document]) -> _Place | None:
    """Return the sentence of a document that holds the value."""
    find = _finder(value)
    if find is None:
        return None
    for document in documents:
        for part, text in enumerate(document.parts):
            at = find(text)
            if at is not None:
                return document, part, _sentence(text, *at)
    return None


def _finder(value: Any) -> Callable[[str], tuple[int, int] | None] | None:
    if isinstance(value, bool) or value is None or not str(value).strip():
        return None
    if isinstance(value, int | float):
        return lambda text: _number_in(text, value)
    day = first_day(value) if re.fullmatch(r"\d{4}-\d\d-\d\d", value) else None
    if day is not None:
        return lambda text: _day_in(text, day[0])
    said = r"\s+".join(map(re.escape, value.split()))
    words = re.compile(rf"(?<!\w){said}(?!\w)")
    return lambda text: _span(words.search(text))


def _span(match: re.Match[str] | None) -> tuple[int, int] | None:
    return match.span() if match else None


def _number_in(text: str, value: float) -> tuple[int, int] | None:
    for match in _NUMBER.finditer(text):
        if float(match.group().replace(",", "")) == value:
            return match.span()
    return None


def _day_in(text: str, day: date) -> tuple[int, int] | None:
    at = 0
    while (found := first_day(text, at)) is not None:
        if found[0] == day:
            return found[1]
        at = found[1][1]
    return None


def _sentence(text: str, start: int, end: int) -> re.Match[str]:
    ends = [0, *(match.end() for match in _END.finditer(text)), len(text)]
    low = max((at for at in ends if at <= start), default=0)
    high = min((at for at in ends if at >= end), default=len(text))
    return _match(text, max(low, start - _REACH), min(high, end + _REACH))


def _match(text: str, low: int, high: int) -> re.Match[str]:
    found = re.compile(r".*", re.S).match(text, low, high)
    assert found is not None
    return found


def _elsewhere(place: _Place, source: Source) -> _Place | None:
    """Return another stretch of the same part."""
    document, part, match = place
    text = document.parts[part]
    spots = [spot for spot in (0, len(text) // 2, max(0, len(text) - 60)) if spot < match.start()]
    low = spots[source.pick("astray", len(spots))] if spots else match.end()
    high = min(low + 60, match.start() if spots else len(text))
    return (document, part, _match(text, low, high)) if text[low:high].strip() else None
