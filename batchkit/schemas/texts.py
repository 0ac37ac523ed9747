"""JSON inside of an answer's text: where it stands, and where each of its values does."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any, Final, NoReturn

Span = tuple[int, int]

_FENCE: Final = re.compile(r"```[a-zA-Z]*\s*\n(.*?)\n?\s*```", re.DOTALL)
_OPENING: Final = re.compile(r"[{\[]")
_SPACE: Final = re.compile(r"[ \t\r\n]*")
_MOST_TRIES: Final = 50


@dataclass(frozen=True, slots=True)
class Leaf:
    """One value that holds no others: its place in the answer by name, and in the text."""

    path: tuple[str, ...]
    value: str | int | float | bool | None
    start: int
    end: int


def json_span(text: str) -> Span | None:
    """Return where the one JSON value of `text` stands: all of it, in a fence, or among words.

    Among words it is the longest object or list; None if there is no JSON.
    """
    start = _skip(text, 0)
    if (end := _end(text, start)) and not text[end:].strip():
        return start, end
    for fence in _FENCE.finditer(text):
        start = _skip(text, fence.start(1))
        if (end := _end(text, start)) and not text[end : fence.end(1)].strip():
            return start, end
    return _longest(text)


def leaves(text: str, span: Span) -> list[Leaf]:
    """Return the values of the JSON at `span`, in order; nothing for JSON deeper than Python."""
    try:
        walk = _Walk(text, span[0])
        walk.value(())
    except RecursionError:
        return []
    return walk.found


def repeated_key(text: str) -> str | None:
    """Return a key that stands twice in one object of a JSON text, with two values."""
    found: list[str] = []

    def pairs(given: list[tuple[str, Any]]) -> dict[str, Any]:
        made: dict[str, Any] = {}
        for key, part in given:
            if made.setdefault(key, part) != part:
                found.append(key)
        return made

    json.loads(text, object_pairs_hook=pairs)
    return found[0] if found else None


def _longest(text: str) -> Span | None:
    best: Span | None = None
    at, tries = 0, 0
    while (opening := _OPENING.search(text, at)) and tries < _MOST_TRIES:
        start, tries = opening.start(), tries + 1
        end = _end(text, start)
        if end and (best is None or end - start > best[1] - best[0]):
            best = start, end
        at = end or start + 1
    return best


def _end(text: str, start: int) -> int:
    """Return where the JSON value that begins at `start` ends; 0 if there is none."""
    try:
        return _DECODER.raw_decode(text, start)[1]
    except (ValueError, RecursionError):
        return 0


def _no_json(word: str) -> NoReturn:
    raise ValueError(f"{word} is no JSON")


_DECODER: Final = json.JSONDecoder(parse_constant=_no_json)


def _skip(text: str, at: int) -> int:
    found = _SPACE.match(text, at)
    return found.end() if found else at


class _Walk:
    """One pass over JSON that is known to be whole."""

    def __init__(self, text: str, at: int) -> None:
        self._text = text
        self._at = at
        self.found: list[Leaf] = []

    def value(self, path: tuple[str, ...]) -> None:
        self._at = _skip(self._text, self._at)
        match self._text[self._at]:
            case "{":
                self._object(path)
            case "[":
                self._array(path)
            case _:
                value, end = _DECODER.raw_decode(self._text, self._at)
                self.found.append(Leaf(path, value, self._at, end))
                self._at = end

    def _object(self, path: tuple[str, ...]) -> None:
        while self._has_more("}"):
            name, after = _DECODER.raw_decode(self._text, self._at)
            self._at = _skip(self._text, after) + 1  # the colon
            self.value((*path, name))

    def _array(self, path: tuple[str, ...]) -> None:
        number = 0
        while self._has_more("]"):
            self.value((*path, str(number)))
            number += 1

    def _has_more(self, closing: str) -> bool:
        self._at = _skip(self._text, self._at)
        if self._text[self._at] in "{[,":
            self._at = _skip(self._text, self._at + 1)
        if self._text[self._at] != closing:
            return True
        self._at += 1
        return False
