"""Keys: the user's, or derived from the file or the content; each once in a builder."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from hashlib import blake2b

from batchkit.builder.marks import Marks
from batchkit.documents import ranges
from batchkit.errors import ValidationError
from batchkit.parts import MARK

_LONGEST = 1_000
_QUESTION = "prompt-"
_OF_QUESTION = re.compile(rf"{_QUESTION}[0-9a-f]{{16}}(~\d+)?@")


class Keys:
    """The keys a builder has given out, as hashes: a million of them stay small."""

    def __init__(self) -> None:
        self._taken = Marks()
        self._repeats: dict[str, int] = {}

    def take(self, key: str) -> bool:
        """Give out a user's key; False if it is taken."""
        return self._taken.add(hash(key))

    def derive(self, base: str) -> str:
        """Give out ``base``, or the first free one of ``base~2``, ``base~3``, …"""
        if self.take(base):
            return base
        number = self._repeats.get(base, 1)
        while True:
            number += 1
            key = f"{base}~{number}"
            if self.take(key):
                self._repeats[base] = number
                return key


def checked(key: object) -> str:
    """Return a user's key; raise ValidationError for what can be none."""
    if not isinstance(key, str):
        raise ValidationError(f"key must be text, not {key!r}: give for example key=str(number).")
    if not key.strip() or len(key) > _LONGEST or "\x00" in key:
        raise ValidationError(
            f"key={key[:40]!r} cannot be a key: it needs 1 to {_LONGEST:,} characters without NUL."
        )
    if key != written(key):
        raise ValidationError(
            f"key={key[:40]!a} cannot be a key: it holds half a character, as the name of a file "
            "does that is not UTF-8. Rename the file, or write another key."
        )
    if MARK in key:
        raise ValidationError(
            f"key={key[:40]!r} cannot be a key: U+001F in it is what batchkit marks the parts of "
            "split documents with. Write another character."
        )
    return key


def written(text: str) -> str:
    """Return a text with ``\\udcff`` where half a character stands, which no database takes."""
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def of_files(paths: Sequence[str | os.PathLike[str]], pages: str | None = None) -> str:
    """Return the key of a job with files: their paths as given, and the pages if it has some."""
    key = written(" + ".join(os.fspath(path) for path in paths)).replace(MARK, "\ufffd")
    if pages is not None:
        key = f"{key}#{ranges.written(pages)}"
    if len(key) <= _LONGEST:
        return key
    return f"{key[: _LONGEST - 40]}…{blake2b(key.encode(), digest_size=8).hexdigest()}"


def of_content(digest: bytes) -> str:
    """Return the key of a job without files."""
    return digest.hex()[:16]


def of_question(asked: bytes) -> str:
    """Return what the keys of a job without files begin with, where several models are asked."""
    return f"{_QUESTION}{blake2b(asked, digest_size=8).hexdigest()}"


def is_of_content(key: str, digest: bytes) -> bool:
    """Say whether a key was derived from this content."""
    return key.partition("~")[0] == of_content(digest) or _OF_QUESTION.match(key) is not None
