"""Images: known by their first bytes, measured by their heads, never decoded. Pure."""

from __future__ import annotations

from collections.abc import Callable
from io import BytesIO

from batchkit.documents.unfit import Look, Unfit

_KINDS: tuple[tuple[Callable[[bytes], bool], str, Callable[[bytes], bool]], ...] = (
    (
        lambda head: head.startswith(b"\x89PNG\r\n\x1a\n"),
        "image/png",
        lambda data: b"IEND" in data[-64:] or b"IEND" in data,
    ),
    (lambda head: head.startswith(b"\xff\xd8\xff"), "image/jpeg", lambda data: b"\xff\xd9" in data),
    (lambda head: head.startswith((b"GIF87a", b"GIF89a")), "image/gif", lambda data: b";" in data),
    (
        lambda head: head.startswith(b"RIFF") and head[8:12] == b"WEBP",
        "image/webp",
        lambda data: int.from_bytes(data[4:8], "little") <= len(data) - 8,
    ),
)
"""How it begins, what it is then, and whether it is there to its end."""


def look(data: bytes) -> Look | None:
    """Say which image `data` is; None if it is none. Raise Unfit for a broken one."""
    for fits, media_type, is_whole in _KINDS:
        if fits(data[:1024]):
            size = image_size(data)
            if size is None or not is_whole(data):
                raise Unfit("is a broken image (cut off or damaged): open it and save it again")
            return Look("image", media_type, None, None, *size)
    return None


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels of a PNG, JPEG, GIF or WebP; None if it is broken."""
    import imagesize

    try:
        width, height = imagesize.get(BytesIO(data))
    except (ValueError, OSError, IndexError, TypeError):
        return None
    return (int(width), int(height)) if width > 0 and height > 0 else None
