"""What each provider's strict mode can say, as data."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal, TypeAlias

Dialect = Literal["openai", "anthropic"]
"""``"openai"`` serves /v1/responses and /v1/chat/completions alike."""

Node: TypeAlias = dict[str, Any]
"""One JSON Schema."""

MARK: Final = "x-batchkit"
"""The key of our own notes in a marked schema; what is sent has none."""

_SHARED_FORMATS: Final = frozenset(
    {"date-time", "time", "date", "duration", "email", "hostname", "ipv4", "ipv6", "uuid"}
)
_BOUNDS: Final = frozenset(
    {"minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"}
)
# Lookaround, flags, back references, word and text boundaries, Unicode classes: neither grammar
# compiler knows them, and one refused schema is a whole refused batch.
_HARD_PATTERN: Final = re.compile(r"\(\?(?!:)|\\[1-9bBAzZGpPkKQE]")
_REPEAT: Final = re.compile(r"\{(\d+)?(?:,(\d*))?\}")
_MAX_REPEAT: Final = 100


@dataclass(frozen=True, slots=True)
class Rules:
    """The words and the limits of one strict mode; None is no limit."""

    formats: frozenset[str]
    number_words: frozenset[str]
    max_min_items: int | None
    max_items: bool
    recursion: bool
    optional: int
    unions: int | None
    properties: int | None
    depth: int | None
    enum_values: int | None
    name_chars: int | None


OPENAI: Final = Rules(
    formats=_SHARED_FORMATS,
    number_words=_BOUNDS,
    max_min_items=None,
    max_items=True,
    recursion=True,
    optional=0,
    unions=None,
    properties=5_000,
    depth=10,
    enum_values=1_000,
    name_chars=120_000,
)

ANTHROPIC: Final = Rules(
    formats=_SHARED_FORMATS | {"uri"},
    number_words=frozenset(),
    max_min_items=1,
    max_items=False,
    recursion=False,
    optional=24,
    unions=16,
    properties=None,
    depth=None,
    enum_values=None,
    name_chars=None,
)

RULES: Final[Mapping[Dialect, Rules]] = {"openai": OPENAI, "anthropic": ANTHROPIC}

BIG_ENUM: Final = 250
"""OpenAI: an enum of more values than this may hold `BIG_ENUM_CHARS` characters."""
BIG_ENUM_CHARS: Final = 15_000


class UnsayableError(Exception):
    """A strict mode cannot say this; the caller falls back to plain JSON."""


def is_simple_pattern(pattern: str) -> bool:
    """Say whether both providers' grammar compilers take this regular expression."""
    if _HARD_PATTERN.search(pattern):
        return False
    repeats = (number for pair in _REPEAT.findall(pattern) for number in pair if number)
    return all(int(number) <= _MAX_REPEAT for number in repeats)
