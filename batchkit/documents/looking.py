"""The door to files: looked at once, when they are added."""

from __future__ import annotations

import hashlib
import os
import stat
from dataclasses import replace
from pathlib import Path

from batchkit.documents import images, kept, office, pdf, ranges, text
from batchkit.documents.reading import reason
from batchkit.documents.unfit import MAX_BYTES, READS, Look, Unfit
from batchkit.errors import ValidationError
from batchkit.model import Document

MOST_PARTS = 99_999
"""Most parts of a document: their numbers have five digits."""

_NAMED_BINARY = {
    ".pdf": "PDF",
    ".png": "PNG image",
    ".jpg": "JPEG image",
    ".jpeg": "JPEG image",
    ".gif": "GIF image",
    ".webp": "WebP image",
    ".docx": "Word document",
    ".xlsx": "Excel workbook",
    ".pptx": "PowerPoint presentation",
    ".rtf": "RTF document",
}
_REFUSED = (
    (b"\x1f\x8b", "gzip-compressed", "unpack it"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive", "unpack it and add the files in it"),
    (b"II*\x00", "a TIFF image", "save it as PNG or PDF"),
    (b"MM\x00*", "a TIFF image", "save it as PNG or PDF"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image", "save it as PNG or JPEG"),
    (b"SQLite format 3\x00", "a SQLite database", "export it as CSV"),
    (b"\x7fELF", "a program", "add documents only"),
)
_HEIC = (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif")


def inspect(
    path: str | Path,
    *,
    name: str | None = None,
    pages: str | None = None,
    keep: Path | None = None,
) -> Document:
    """Read the file at `path` once and say what it is: size, hash, media type, pages or pixels.

    The path is kept absolute. `name` is what providers and people see, the file's own by default.
    `pages` are those of a PDF that are wanted ("1-20", "1-3,7"); pages and text are then theirs.
    A copy goes into the folder `keep`, once the file has passed.

    Text is UTF-8, or UTF-8, UTF-16 or UTF-32 with a byte order mark. Other bytes without NUL and
    control characters are taken for Windows-1252 while at most 15 % of them are beyond ASCII, which
    is right for western languages; more (a Cyrillic or Japanese code page) is refused as unknown.
    PDFs that open without a password are taken, restrictions or not. Office files are converted
    once, for the size of their text and to see that they can be.

    Raise ValidationError, with the name, what is wrong and the way out, for what is missing, no
    file, unreadable, empty, over 50 MB, encrypted, broken, in an unknown encoding or unsupported.
    """
    shown = name or Path(path).name or str(path)
    data = _read(path, shown)
    digest = hashlib.sha256(data).hexdigest()
    try:
        look = _look(data, shown, pages)
    except Unfit as error:
        raise ValidationError(f"{shown} {error}") from error.__cause__
    if keep is not None:
        kept.keep(keep, digest, data)
    return _document(path, shown, data, digest, look)


def split(
    path: str | Path, size: int, *, pages: str | None = None, keep: Path | None = None
) -> list[Document]:
    """Read a PDF once and return its parts of `size` pages, in order; one if it has no more.

    `pages` are those that are wanted, all by default. Raise ValidationError as `inspect` does, and
    for what is no PDF.
    """
    shown = Path(path).name or str(path)
    data = _read(path, shown)
    digest = hashlib.sha256(data).hexdigest()
    try:
        looks = _parts(data, shown, size, pages)
    except Unfit as error:
        raise ValidationError(f"{shown} {error}") from error.__cause__
    if keep is not None:
        kept.keep(keep, digest, data)
    return [
        replace(
            _document(path, shown, data, digest, look),
            part=number,
            parts=len(looks),
            split_pages=size,
            split_from=pages,
        )
        for number, look in enumerate(looks, 1)
    ]


def _document(path: str | Path, shown: str, data: bytes, digest: str, look: Look) -> Document:
    return Document(
        path=os.path.abspath(path),
        name=shown,
        media_type=look.media_type,
        kind=look.kind,
        size=len(data),
        sha256=digest,
        pages=look.pages,
        width=look.width,
        height=look.height,
        text_bytes=look.text_bytes,
        selection=look.selection,
        cut_bytes=look.cut_bytes,
    )


def decode(data: bytes) -> str:
    """Decode a text file's bytes as `inspect` accepts them; raise ValidationError otherwise."""
    try:
        return text.decoded(data)
    except Unfit as error:
        raise ValidationError(f"the text {error}") from error.__cause__


def pdf_text(data: bytes) -> list[str]:
    """Return the text of each page of a PDF; a page that cannot be read, or is a scan, gives ''.

    Raise ValidationError for a PDF that cannot be opened. One PDF at a time per process.
    """
    try:
        return pdf.texts(data)
    except Unfit as error:
        raise ValidationError(f"the PDF {error}") from error.__cause__


def _look(data: bytes, name: str, pages: str | None) -> Look:
    """Say what `data` is; raise Unfit for what cannot be sent."""
    ending = Path(name).suffix.lower()
    if pdf.is_pdf(data, ending):
        return pdf.look(data, pages)
    found = images.look(data) or office.look(data, ending)
    if found is None:
        _refuse_known(data, ending)
        found = text.look(data, ending)
    if pages is not None:
        raise Unfit(f'is no PDF, and pages="{pages}" is for PDFs: leave pages out')
    return found


def _parts(data: bytes, name: str, size: int, pages: str | None) -> list[Look]:
    """Say what each part of a PDF is; raise Unfit for what cannot be split."""
    if not pdf.is_pdf(data, Path(name).suffix.lower()):
        _look(data, name, None)
        raise Unfit(f"is no PDF, and split_pages={size} is for PDFs: leave split_pages out")
    numbers = pdf.numbers(data, pages)
    if len(numbers) > size * MOST_PARTS:
        raise Unfit(
            f"has {len(numbers):,} pages, which split_pages={size} would part into more than "
            f"{MOST_PARTS:,}: choose a larger split_pages"
        )
    chunks = [numbers[at : at + size] for at in range(0, len(numbers), size)]
    return [pdf.look(data, ranges.of_numbers(chunk)) for chunk in chunks]


def _refuse_known(data: bytes, ending: str) -> None:
    """Raise Unfit for types that have a name but no way to a provider."""
    for signature, what, way_out in _REFUSED:
        if data.startswith(signature):
            raise Unfit(f"is {what}; {READS}: {way_out}")
    if data[4:12] in _HEIC:
        raise Unfit(f"is a HEIC or AVIF image; {READS}: save it as JPEG")
    if ending in _NAMED_BINARY:
        raise Unfit(f"is named {ending} but holds no {_NAMED_BINARY[ending]}: {_begins(data)}")


def _begins(data: bytes) -> str:
    start = data.lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page, perhaps an error page; download it again"
    return "it is broken or has the wrong name; check where it comes from"


def _read(path: str | Path, shown: str) -> bytes:
    """Return the content, no more than one byte too much, so that no file can fill the memory."""
    try:
        os.fspath(path).encode()
        found = os.stat(path)
        _check_place(found, shown)
        with open(path, "rb") as file:
            data = file.read(found.st_size + 1)
            if len(data) > found.st_size:  # it grows, or its size is not known before
                data += file.read(MAX_BYTES + 1 - len(data))
        _check_size(len(data), shown)
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise
        raise ValidationError(_unreadable(path, shown, error)) from error
    if not data:
        raise ValidationError(f"{shown} is empty (0 bytes): leave it out or put content into it")
    return data


def _check_place(found: os.stat_result, shown: str) -> None:
    if stat.S_ISDIR(found.st_mode):
        raise ValidationError(f"{shown} is a folder, not a file: add the files in it one by one")
    if not stat.S_ISREG(found.st_mode):
        raise ValidationError(f"{shown} is a pipe or device, not a file: save its content first")
    _check_size(found.st_size, shown)


def _check_size(size: int, shown: str) -> None:
    if size > MAX_BYTES:
        raise ValidationError(
            f"{shown} is too large ({size / 1e6:,.0f} MB or more; providers take at most "
            f"{MAX_BYTES / 1e6:.0f} MB): split it"
        )


def _unreadable(path: str | Path, shown: str, error: OSError | ValueError) -> str:
    if isinstance(error, FileNotFoundError):
        return f"{shown} does not exist (looked for {os.path.abspath(path)}): check the path"
    if isinstance(error, UnicodeError):
        return f"{shown!a} has a name that is not UTF-8: rename it"
    return f"{shown} cannot be read ({reason(error)}): check the path and its permissions"
