"""Pages and their text from a PDF: by pypdfium2 where it is installed, else read roughly."""

from __future__ import annotations

import contextlib
import importlib
import re
import threading
import zlib
from functools import lru_cache

# PDFium is not safe for threads.
_LOCK = threading.Lock()
_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_COUNT = re.compile(rb"/Type\s*/Pages\b[^>]*?/Count\s+(\d+)|/Count\s+(\d+)[^>]*?/Type\s*/Pages\b")
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\n?endstream", re.S)
_SHOWN = re.compile(rb"\(((?:\\.|[^\\()])*)\)\s*(?:Tj|')|\[((?:\\.|[^\]\\])*)\]\s*TJ")
_STRING = re.compile(rb"\(((?:\\.|[^\\()])*)\)")


@lru_cache(maxsize=64)
def pages_of(data: bytes) -> tuple[str, ...]:
    """Return one text per page, empty where none can be read; at least one page."""
    try:
        pdfium = importlib.import_module("pypdfium2")
    except ImportError:
        return _roughly(data)
    with _LOCK:
        try:
            document = pdfium.PdfDocument(data)
        except pdfium.PdfiumError:
            return _roughly(data)
        try:
            return tuple(_page_text(document[i]) for i in range(len(document))) or ("",)
        finally:
            document.close()


def _page_text(page: object) -> str:
    text_page = page.get_textpage()  # type: ignore[attr-defined]
    try:
        return str(text_page.get_text_bounded()).replace("\r\n", "\n")
    finally:
        text_page.close()
        page.close()  # type: ignore[attr-defined]


def _roughly(data: bytes) -> tuple[str, ...]:
    counted = [int(one or other) for one, other in _COUNT.findall(data)]
    pages = len(_PAGE.findall(data)) or max(counted, default=1)
    texts = [text for text in map(_stream_text, _STREAM.findall(data)) if text]
    # Without the page tree nobody knows which stream is whose; in order is nearly always right.
    head, rest = texts[: pages - 1], texts[pages - 1 :]
    return tuple([*head, "\n".join(rest), *[""] * pages][:pages])


def _stream_text(stream: bytes) -> str:
    with contextlib.suppress(zlib.error):
        stream = zlib.decompress(stream)
    shown = [one or b"".join(_STRING.findall(many)) for one, many in _SHOWN.findall(stream)]
    return "\n".join(re.sub(rb"\\(.)", rb"\1", text).decode("latin-1") for text in shown)
