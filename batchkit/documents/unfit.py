"""What a look at a file comes to: what it is, or why it cannot be sent."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

MAX_BYTES = 50_000_000
"""Largest file: no provider takes a request with more than 50 MB of files."""

READS = (
    "batchkit reads text (UTF-8), PDF, Word, Excel, PowerPoint, RTF, PNG, JPEG, GIF and WebP files"
)


class Unfit(Exception):
    """What is wrong and the way out; the file's name goes in front."""


@dataclass(frozen=True, slots=True)
class Look:
    """What the content says; ``pages`` and ``text_bytes`` are of what is sent."""

    kind: Literal["text", "pdf", "image"]
    media_type: str
    text_bytes: int | None = None
    pages: int | None = None
    width: int | None = None
    height: int | None = None
    selection: str | None = None
    cut_bytes: int | None = None
