"""Text files: which encoding they are in, and what kind of text they hold. Pure."""

from __future__ import annotations

import codecs
import re

from batchkit.documents.unfit import READS, Look, Unfit

TEXT_TYPES = {
    ".txt": "text/plain",
    ".text": "text/plain",
    ".log": "text/plain",
    ".md": "text/markdown",
    ".markdown": "text/markdown",
    ".rst": "text/x-rst",
    ".json": "application/json",
    ".jsonl": "application/x-ndjson",
    ".csv": "text/csv",
    ".tsv": "text/tab-separated-values",
    ".html": "text/html",
    ".htm": "text/html",
    ".xml": "application/xml",
    ".yaml": "application/yaml",
    ".yml": "application/yaml",
}
"""Media types of text by the name's ending; other text is ``text/plain``."""

# The UTF-32 marks begin with the UTF-16 ones: the order matters.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_HIGH = re.compile(rb"[\x80-\xff]")
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1a\x1c-\x1f]")
_MOST_HIGH = 0.15


def look(data: bytes, ending: str) -> Look:
    """Say what kind of text `data` is; raise Unfit for what is no text."""
    text = decoded(data)
    if not text.strip():
        raise Unfit("holds nothing but white space: leave it out or put content into it")
    media_type = TEXT_TYPES.get(ending)
    if media_type is None:
        html = text[:200].lstrip().lower().startswith(("<!doctype html", "<html"))
        media_type = "text/html" if html else "text/plain"
    return Look("text", media_type, len(text.encode()))


def decoded(data: bytes) -> str:
    """Return the text without its byte order mark; raise Unfit for what is no text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                wanted = encoding.removesuffix("-sig").upper()
                raise Unfit(
                    f"begins as {wanted} but is broken further on: save it as UTF-8"
                ) from error
    if b"\x00" in data:
        raise Unfit(f"is no text (it holds NUL bytes) and no known type; {READS}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _western(data)


def _western(data: bytes) -> str:
    """Take `data` for Windows-1252 if it looks like a western language in it."""
    high = sum(1 for _ in _HIGH.finditer(data)) / len(data)
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise Unfit("is in an unknown encoding: save it as UTF-8") from error
    if high > _MOST_HIGH or _CONTROL.search(data):
        raise Unfit("is in an unknown encoding, or no text at all: save it as UTF-8")
    return text
