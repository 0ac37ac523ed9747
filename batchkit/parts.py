"""A document in several requests: how its parts are called, and what of a job says that it is one.

The first part has the document's own key, so that a key finds the document; the others have it with
a mark that no key of a user's ends in. Which part of how many a job is, its stored document says.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

MARK = "\x1f"
"""Stands between a document's key and a part's number; refused in users' keys."""

DIGITS = 5
"""Of a part's number; ``documents`` makes no more parts than that."""

_TAIL = re.compile(rf"{MARK}\d{{{DIGITS}}}\Z")

Stored = Sequence[Mapping[str, Any]] | None
"""A job's documents as its row holds them."""


def key_of(document: str, number: int) -> str:
    """Return the key of a document's part; ``number`` counts from 1."""
    return document if number == 1 else f"{document}{MARK}{number:0{DIGITS}}"


def keys_of(document: str, count: int) -> list[str]:
    """Return the keys of all parts of a document, in order."""
    return [key_of(document, number) for number in range(1, count + 1)]


def is_tail(key: str) -> bool:
    """Say whether a key is of a part that is not a document's first."""
    return MARK in key and _TAIL.search(key) is not None


def document_of(key: str) -> str:
    """Return the key of the document that a part belongs to; any other key as it is."""
    return key[: -DIGITS - 1] if is_tail(key) else key


def number_of(key: str) -> int:
    """Return which part a key is of: 1 for the first, and for what is not split."""
    return int(key[-DIGITS:]) if is_tail(key) else 1


def count_of(documents: Stored) -> int | None:
    """Return of how many parts a job is one; None where nothing is split."""
    return documents[0].get("parts") if documents else None


def shown(key: str) -> str:
    """Return a key as people read it."""
    return f"{document_of(key)} (part {number_of(key)})" if is_tail(key) else key
