"""Pages and their text from a PDF: by pypdfium2 where it is installed, else read roughly.

PDFium is not safe for threads, and whoever runs the simulator in their own process may be using
it too: so it reads in a child process, which runs this very file.
"""

from __future__ import annotations

import contextlib
import importlib.util
import json
import re
import subprocess
import sys
import zlib
from functools import lru_cache

_PAGE = re.compile(rb"/Type\s*/Page(?![a-zA-Z])")
_COUNT = re.compile(rb"/Type\s*/Pages\b[^>]*?/Count\s+(\d+)|/Count\s+(\d+)[^>]*?/Type\s*/Pages\b")
_STREAM = re.compile(rb"stream\r?\n(.*?)\r?\n?endstream", re.S)
_SHOWN = re.compile(rb"\(((?:\\.|[^\\()])*)\)\s*(?:Tj|')|\[((?:\\.|[^\]\\])*)\]\s*TJ")
_STRING = re.compile(rb"\(((?:\\.|[^\\()])*)\)")


@lru_cache(maxsize=512)
def pages_of(data: bytes) -> tuple[str, ...]:
    """Return one text per page, empty where none can be read; at least one page."""
    if importlib.util.find_spec("pypdfium2") is None:
        return _roughly(data)
    child = [sys.executable, "-I", __file__]
    done = subprocess.run(child, input=data, capture_output=True, check=False)
    return tuple(json.loads(done.stdout)) if done.returncode == 0 else _roughly(data)


def _read(data: bytes) -> list[str]:
    import pypdfium2

    document = pypdfium2.PdfDocument(data)
    texts = [page.get_textpage().get_text_bounded() for page in document]
    return [text.replace("\r\n", "\n") for text in texts] or [""]


def _roughly(data: bytes) -> tuple[str, ...]:
    streams = [_inflated(stream) for stream in _STREAM.findall(data)]
    whole = b"\n".join([data, *streams])
    counted = [int(one or other) for one, other in _COUNT.findall(whole)]
    pages = max(counted, default=0) or len(_PAGE.findall(whole)) or 1
    texts = [text for text in map(_stream_text, streams) if text]
    # Without the page tree nobody knows which stream is whose; in order is nearly always right.
    head, rest = texts[: pages - 1], texts[pages - 1 :]
    return tuple([*head, "\n".join(rest), *[""] * pages][:pages])


def _inflated(stream: bytes) -> bytes:
    with contextlib.suppress(zlib.error):
        return zlib.decompress(stream)
    return stream


def _stream_text(stream: bytes) -> str:
    shown = [one or b"".join(_STRING.findall(many)) for one, many in _SHOWN.findall(stream)]
    return "\n".join(re.sub(rb"\\(.)", rb"\1", text).decode("latin-1") for text in shown)


if __name__ == "__main__":
    sys.stdout.write(json.dumps(_read(sys.stdin.buffer.read())))
