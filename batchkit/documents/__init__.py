"""Look at a file on disk, and hand it on as what a provider can read. Reads files, never the net.

Text, PDF and image files go to a provider as they are. What a file is, its content decides; a name
that promises a PDF or an image and holds none is refused, since that is mostly a saved error page.
Word, Excel, PowerPoint and RTF files are recognised and refused with the way out.
"""

from __future__ import annotations

import codecs
import errno
import hashlib
import os
import re
import stat
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from batchkit.errors import DocumentChanged, DocumentGone, ValidationError
from batchkit.model import Attachment, Document

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

MAX_BYTES = 50_000_000
"""Largest file: no provider takes a request with more than 50 MB of files."""

_CHUNK = 1 << 20
_PDFIUM = threading.Lock()  # PDFium is not safe for threads

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

_NAMED_BINARY = {
    ".pdf": "PDF",
    ".png": "PNG image",
    ".jpg": "JPEG image",
    ".jpeg": "JPEG image",
    ".gif": "GIF image",
    ".webp": "WebP image",
}
_READS = "this version reads text (UTF-8), PDF, PNG, JPEG, GIF and WebP"
_OFFICE = {
    ".docx": "a Word document",
    ".xlsx": "an Excel workbook",
    ".pptx": "a PowerPoint file",
    ".odt": "an OpenDocument text",
    ".ods": "an OpenDocument table",
    ".epub": "an e-book",
    ".doc": "an old Word document",
    ".xls": "an old Excel workbook",
    ".ppt": "an old PowerPoint file",
}
_OFFICE_PARTS = ((b"word/", ".docx"), (b"xl/", ".xlsx"), (b"ppt/", ".pptx"))
_REFUSED = (
    (b"{\\rtf", "an RTF document", "save it as PDF or text"),
    (b"\xd0\xcf\x11\xe0", "an old Office file", "save it as PDF or text"),
    (b"PK\x03\x04", "a zip archive", "unpack it and add the files in it"),
    (b"\x1f\x8b", "gzip-compressed", "unpack it"),
    (b"\xfd7zXZ\x00", "xz-compressed", "unpack it"),
    (b"7z\xbc\xaf\x27\x1c", "a 7-zip archive", "unpack it and add the files in it"),
    (b"II*\x00", "a TIFF image", "save it as PNG or PDF"),
    (b"MM\x00*", "a TIFF image", "save it as PNG or PDF"),
    (b"\x00\x00\x00\x0cjP  ", "a JPEG 2000 image", "save it as PNG or JPEG"),
    (b"SQLite format 3\x00", "a SQLite database", "export it as CSV"),
    (b"\x7fELF", "a program", "add documents only"),
)
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


@dataclass(frozen=True, slots=True)
class _Look:
    """What the content says."""

    kind: Literal["text", "pdf", "image"]
    media_type: str
    text_bytes: int | None = None
    pages: int | None = None
    width: int | None = None
    height: int | None = None


def inspect(path: str | Path, *, name: str | None = None) -> Document:
    """Read the file at `path` once and say what it is: size, hash, media type, pages or pixels.

    The path is kept absolute. `name` is what providers and people see, the file's own by default.
    Text is UTF-8, or UTF-8, UTF-16 or UTF-32 with a byte order mark. Other bytes without NUL and
    control characters are taken for Windows-1252 while at most 15 % of them are beyond ASCII, which
    is right for western languages; more (a Cyrillic or Japanese code page) is refused as unknown.
    PDFs that open without a password are taken, restrictions or not.

    Raise ValidationError, with the name, what is wrong and the way out, for what is missing, no
    file, unreadable, empty, over 50 MB, encrypted, broken, in an unknown encoding or unsupported.
    """
    shown = name or Path(path).name or str(path)
    data, digest = _read(path, shown)
    try:
        look = _look(data, shown)
    except _Unfit as error:
        raise ValidationError(f"{shown} {error}") from error.__cause__
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
    )


def load(document: Document) -> Attachment:
    """Read `document` again, as it is to be sent: text as UTF-8 without a mark, the rest as it is.

    Line ends stay as they are, HTML stays HTML. Raise DocumentGone if it cannot be read here, and
    DocumentChanged if it is another file by now, by size or hash.
    """
    try:
        with open(document.path, "rb") as file:
            data = file.read(document.size + 1)
    except (OSError, ValueError) as error:
        raise DocumentGone(
            f"{document.name} cannot be read at {document.path} ({_reason(error)}): put it back "
            "or go on where it lies"
        ) from error
    if len(data) != document.size or hashlib.sha256(data).hexdigest() != document.sha256:
        raise DocumentChanged(
            f"{document.name} has changed since it was added ({document.path}): put the old file "
            "back or add it again"
        )
    if document.kind == "text":
        data = decode(data).encode()
    return Attachment(document, data)


def measured(document: Document) -> Attachment:
    """Read a document for its tokens; of what is gone or changed its figures say enough."""
    try:
        return load(document)
    except (DocumentGone, DocumentChanged):
        return Attachment(document, b"")


def decode(data: bytes) -> str:
    """Decode a text file's bytes as `inspect` accepts them; raise ValidationError otherwise."""
    try:
        return _decode(data)
    except _Unfit as error:
        raise ValidationError(f"the text {error}") from error.__cause__


def pdf_text(data: bytes) -> list[str]:
    """Return the text of each page of a PDF; a page that cannot be read, or is a scan, gives ''.

    Raise ValidationError for a PDF that cannot be opened. One PDF at a time per process.
    """
    try:
        with _opened(data) as pdf:
            return [_page_text(pdf, index) or "" for index in range(len(pdf))]
    except _Unfit as error:
        raise ValidationError(f"the PDF {error}") from error.__cause__


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return (width, height) in pixels of a PNG, JPEG, GIF or WebP; None if it is broken."""
    import imagesize

    try:
        width, height = imagesize.get(BytesIO(data))
    except (ValueError, OSError, IndexError, TypeError):
        return None
    return (int(width), int(height)) if width > 0 and height > 0 else None


class _Unfit(Exception):
    """What is wrong and the way out; the file's name goes in front."""


def _read(path: str | Path, shown: str) -> tuple[bytes, str]:
    """Return content and sha256, in pieces, so that a file that grows cannot fill the memory."""
    digest = hashlib.sha256()
    pieces: list[bytes] = []
    try:
        os.fspath(path).encode()
        _check_place(os.stat(path), shown)
        with open(path, "rb") as file:
            size = 0
            while piece := file.read(_CHUNK):
                size += len(piece)
                _check_size(size, shown)
                digest.update(piece)
                pieces.append(piece)
    except (OSError, ValueError) as error:
        if isinstance(error, ValidationError):
            raise
        raise ValidationError(_unreadable(path, shown, error)) from error
    if not pieces:
        raise ValidationError(f"{shown} is empty (0 bytes): leave it out or put content into it")
    return b"".join(pieces), digest.hexdigest()


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
    return f"{shown} cannot be read ({_reason(error)}): check the path and its permissions"


def _reason(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.errno is not None:
        return "permission denied" if error.errno == errno.EACCES else os.strerror(error.errno)
    return str(error)


def _look(data: bytes, name: str) -> _Look:
    """Say what `data` is; raise _Unfit for what cannot be sent."""
    ending = Path(name).suffix.lower()
    head = data[:1024]
    if head.lstrip().startswith(b"%PDF-") or (ending == ".pdf" and b"%PDF-" in head):
        return _look_pdf(data)
    for fits, media_type, whole in _IMAGES:
        if fits(head):
            return _look_image(data, media_type, whole)
    _refuse_known(data, ending)
    return _look_text(data, ending)


def _look_pdf(data: bytes) -> _Look:
    with _opened(data) as pdf:
        pages = len(pdf)
        if pages == 0:
            raise _Unfit("is a PDF without pages: print it to PDF again")
        texts = [_page_text(pdf, index) for index in range(pages)]
    if all(text is None for text in texts):
        raise _Unfit(_pdf_problem("no page"))
    text_bytes = sum(len(text.encode()) for text in texts if text)
    return _Look("pdf", "application/pdf", text_bytes, pages)


@contextmanager
def _opened(data: bytes) -> Iterator[PdfDocument]:
    """Open a PDF alone in the process; raise _Unfit for an encrypted or broken one."""
    from pypdfium2 import PdfDocument, PdfiumError

    with _PDFIUM:
        try:
            pdf = PdfDocument(data)
        except PdfiumError as error:
            raise _Unfit(_pdf_problem(str(error))) from error
        try:
            yield pdf
        finally:
            pdf.close()


def _pdf_problem(said: str) -> str:
    if "password" in said.lower():
        return "is an encrypted PDF (it asks for a password): save a copy without the password"
    if "security" in said.lower():
        return "is an encrypted PDF (an unknown kind of encryption): save a copy without it"
    return "is a broken PDF (it cannot be opened): open it in a viewer and print it to PDF again"


def _page_text(pdf: PdfDocument, index: int) -> str | None:
    """Return a page's text, '' if it has none that can be read; None if there is no page."""
    from pypdfium2 import PdfiumError

    try:
        page = pdf[index]
    except PdfiumError:
        return None
    try:
        text = page.get_textpage()
        try:
            said = str(text.get_text_range())
        finally:
            text.close()
    except PdfiumError:
        return ""
    finally:
        page.close()
    # PDFium hands out halves of surrogate pairs where a font's table is broken.
    return said.replace("\r\n", "\n").encode("utf-8", "replace").decode()


def _look_image(data: bytes, media_type: str, whole: Callable[[bytes], bool]) -> _Look:
    size = image_size(data)
    if size is None or not whole(data):
        raise _Unfit("is a broken image (cut off or damaged): open it and save it again")
    return _Look("image", media_type, None, None, *size)


_IMAGES: tuple[tuple[Callable[[bytes], bool], str, Callable[[bytes], bool]], ...] = (
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


def _refuse_known(data: bytes, ending: str) -> None:
    """Raise _Unfit for types that have a name but no way to a provider yet."""
    if data.startswith((b"PK\x03\x04", b"\xd0\xcf\x11\xe0")):
        inside = next((end for part, end in _OFFICE_PARTS if part in data), ending)
        if inside in _OFFICE:
            raise _Unfit(f"is {_OFFICE[inside]}; {_READS}: save it as PDF or text")
    for signature, what, way_out in _REFUSED:
        if data.startswith(signature):
            raise _Unfit(f"is {what}; {_READS}: {way_out}")
    if data[4:12] in (b"ftypheic", b"ftypheix", b"ftypmif1", b"ftypavif"):
        raise _Unfit(f"is a HEIC or AVIF image; {_READS}: save it as JPEG")
    if ending in _NAMED_BINARY:
        raise _Unfit(f"is named {ending} but holds no {_NAMED_BINARY[ending]}: {_begins(data)}")


def _begins(data: bytes) -> str:
    start = data.lstrip()[:200].lower()
    if start.startswith((b"<!doctype html", b"<html")):
        return "it is an HTML page, perhaps an error page; download it again"
    return "it is broken or has the wrong name; check where it comes from"


def _look_text(data: bytes, ending: str) -> _Look:
    text = _decode(data)
    if not text.strip():
        raise _Unfit("holds nothing but white space: leave it out or put content into it")
    media_type = TEXT_TYPES.get(ending)
    if media_type is None:
        html = text[:200].lstrip().lower().startswith(("<!doctype html", "<html"))
        media_type = "text/html" if html else "text/plain"
    return _Look("text", media_type, len(text.encode()))


def _decode(data: bytes) -> str:
    """Return the text without its byte order mark; raise _Unfit for what is no text."""
    for mark, encoding in _MARKS:
        if data.startswith(mark):
            try:
                return data.decode(encoding)
            except UnicodeDecodeError as error:
                wanted = encoding.removesuffix("-sig").upper()
                raise _Unfit(
                    f"begins as {wanted} but is broken further on: save it as UTF-8"
                ) from error
    if b"\x00" in data:
        raise _Unfit(f"is no text (it holds NUL bytes) and no known type; {_READS}")
    try:
        return data.decode()
    except UnicodeDecodeError:
        return _decode_western(data)


def _decode_western(data: bytes) -> str:
    """Take `data` for Windows-1252 if it looks like a western language in it."""
    high = sum(1 for _ in _HIGH.finditer(data)) / len(data)
    try:
        text = data.decode("cp1252")
    except UnicodeDecodeError as error:
        raise _Unfit("is in an unknown encoding: save it as UTF-8") from error
    if high > _MOST_HIGH or _CONTROL.search(data):
        raise _Unfit("is in an unknown encoding, or no text at all: save it as UTF-8")
    return text
