"""The only file below the command line that prints; lines, never control codes."""

from __future__ import annotations

import sys
from typing import Literal, TextIO

Verbosity = Literal["debug", "info", "warn", "error"]

_LEVELS: dict[str, int] = {"debug": 0, "info": 1, "warn": 2, "error": 3}


def counted(number: int, noun: str, nouns: str | None = None) -> str:
    """Write a number with its noun: 1 batch, 2 batches."""
    return f"{number:,} {noun if number == 1 else nouns or noun + 's'}"


class Console:
    """Say things to a person, from a level of importance on."""

    def __init__(self, verbosity: str = "info", stream: TextIO | None = None) -> None:
        self.verbosity = verbosity
        self._stream = stream

    def say(self, text: str, level: Verbosity = "info") -> None:
        """Print one line, if it is important enough; a closed pipe is no error."""
        if _LEVELS[level] < _LEVELS[self.verbosity]:
            return
        try:
            print(text, file=self._stream or sys.stderr, flush=True)
        except (BrokenPipeError, ValueError):
            return
