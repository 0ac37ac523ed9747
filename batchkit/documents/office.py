"""Word, Excel, PowerPoint and RTF files as text. The libraries come with ``llm-batchkit[office]``.

The same bytes give the same text with one version of a library; a later version may write another.
A file's identity is its own bytes, so that such a change makes no job look changed.
"""

from __future__ import annotations

import csv
import importlib
import re
import zlib
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from io import BytesIO, StringIO
from typing import Any
from xml.etree import ElementTree as ET
from xml.parsers.expat import ExpatError
from zipfile import BadZipFile

from batchkit.documents import package as packages
from batchkit.documents.markdown import from_html
from batchkit.documents.ooxml import words
from batchkit.documents.package import DOCX, NAMES, PPTX, XLSX, Package
from batchkit.documents.unfit import MAX_BYTES, READS, Look, Unfit

RTF = "application/rtf"
CONVERTED = (DOCX, XLSX, PPTX, RTF)
"""Media types of files that go out as text; the rest goes out as it is."""

_MOST_CELLS = 5_000_000
_FOR_MAMMOTH = 20_000_000  # bytes of XML; it builds a tree twenty times as large
_REFERENCE = re.compile(rb'<(?:\w+:)?c [^>]*?\br="([A-Z]{1,3})([0-9]{1,7})"')
_FOREIGN = (
    ArithmeticError,
    AttributeError,
    BadZipFile,
    ET.ParseError,
    ExpatError,
    LookupError,
    OSError,
    RuntimeError,
    TypeError,
    ValueError,
    zlib.error,
)
"""What a converter raises over a file it does not understand."""


class NoLibrary(Unfit):
    """The library for this type is not installed here."""


def look(data: bytes, ending: str) -> Look | None:
    """Say which office file `data` is, converted once to see that it can be; None if it is none."""
    media_type = _recognised(data, ending)
    if media_type is None:
        return None
    return Look("text", media_type, len(converted(data, media_type).encode()))


def converted(data: bytes, media_type: str) -> str:
    """Return the text of an office file; raise Unfit for what is encrypted, broken or empty."""
    if media_type == RTF:
        text = _rtf(data)
    else:
        text = _READERS[media_type](packages.opened(data, _ENDINGS[media_type]))
    text = text.encode("utf-8", "replace").decode().replace("\x00", "")
    if not text.strip():
        raise Unfit(
            f"is {_named(media_type)} without text (empty, or nothing but pictures): leave it "
            "out, or save it as PDF"
        )
    if len(text) > MAX_BYTES:
        raise Unfit(
            f"is {_named(media_type)} with {len(text) / 1e6:,.0f} MB of text, more than any "
            "request can hold: split it"
        )
    return text


def _recognised(data: bytes, ending: str) -> str | None:
    if data.startswith(b"{\\rtf"):
        return RTF
    if data.startswith(b"\xd0\xcf\x11\xe0"):
        raise Unfit(_old(data, ending))
    if data.startswith((b"PK\x03\x04", b"PK\x05\x06")):
        return packages.opened(data, ending).media_type
    return None


_OLD = {
    ".doc": ("an old Word document", "DOCX or PDF"),
    ".xls": ("an old Excel workbook", "XLSX or CSV"),
    ".ppt": ("an old PowerPoint presentation", "PPTX or PDF"),
    ".msg": ("an Outlook message", "text or PDF"),
}


def _old(data: bytes, ending: str) -> str:
    """Tell what is in an OLE container: a new file that was encrypted, or an old one."""
    if "EncryptedPackage".encode("utf-16-le") in data:
        return (
            "is an Office file with a password: open it in its program and save a copy without "
            "the password"
        )
    what, way_out = _OLD.get(ending, ("an old Office file", "DOCX, XLSX, PPTX or PDF"))
    return f"is {what}; {READS}: save it as {way_out}"


def _named(media_type: str) -> str:
    return NAMES.get(media_type, "an RTF document")


def _library(name: str, media_type: str) -> Any:
    """Import a converter; raise NoLibrary, naming the extra, if it is not there."""
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise NoLibrary(
            f"is {_named(media_type)}, and {name.partition('.')[0]}, which reads it, is not "
            'installed: pip install "llm-batchkit[office]", or save it as PDF or text'
        ) from error


def _word(package: Package) -> str:
    main = package.main
    body = None
    mammoth = _library("mammoth", DOCX)
    if len(package.part(main)) <= _FOR_MAMMOTH:
        try:
            image = mammoth.images.img_element(lambda image: {})
            html = mammoth.convert_to_html(
                BytesIO(package.data), convert_image=image, include_embedded_style_map=False
            ).value
            body = from_html(html)
        except _FOREIGN:
            body = None
    if not (body or "").strip():
        body = _words(package, main)
    heads = _distinct(package, package.targets(main, "header"))
    feet = _distinct(package, package.targets(main, "footer"))
    parts = [*(f"[page header] {one}" for one in heads), (body or "").strip("\n")]
    return "\n\n".join(filter(None, [*parts, *(f"[page footer] {one}" for one in feet)]))


def _distinct(package: Package, parts: Sequence[str]) -> list[str]:
    """Return the words of parts, each text once; every section repeats its header."""
    found = [" ".join(_words(package, part).split()) for part in parts]
    return list(dict.fromkeys(one for one in found if one))


def _words(package: Package, part: str) -> str:
    try:
        return words(package.part(part))
    except (ET.ParseError, ValueError, LookupError) as error:
        raise Unfit(packages.broken(package.media_type)) from error


def _slides(package: Package) -> str:
    slides = list(_each_slide(package, package.main))
    if not any(text for _, text in slides):
        return ""
    return "\n\n".join(f"## Slide {number}\n\n{text}".rstrip() for number, text in slides)


def _each_slide(package: Package, main: str) -> Iterator[tuple[int, str]]:
    """Return each slide's number and its words with those of its drawings and notes."""
    related = package.related(main)
    ids = [one for one in package.tree(main).iter() if str(one.tag).endswith("}sldId")]
    for number, one in enumerate(ids, 1):
        at = next((value for name, value in one.items() if name.endswith("}id")), "")
        kind, part = related.get(at, ("", ""))
        if kind != "slide" or not package.has(part):
            continue
        drawn = [_words(package, name) for name in package.targets(part, "diagramData")]
        text = "\n".join(filter(None, [_words(package, part), *drawn]))
        notes = "\n".join(_words(package, name) for name in package.targets(part, "notesSlide"))
        said = f"Notes: {notes.strip()}" if text and notes.strip() else ""
        yield number, f"{text}\n\n{said}".strip()


def _sheets(package: Package) -> str:
    calamine = _library("python_calamine", XLSX)
    _check_cells(package)
    try:
        book = calamine.CalamineWorkbook.from_filelike(BytesIO(package.data))
        parts = [_sheet(book, about) for about in book.sheets_metadata if _is_table(about)]
    except (*_FOREIGN, calamine.CalamineError) as error:
        raise Unfit(packages.broken(XLSX)) from error
    except BaseException as error:
        if type(error).__name__ != "PanicException":  # how Rust gives up; no Exception of Python's
            raise
        raise Unfit(packages.broken(XLSX)) from error
    return "\n\n".join(part for part in parts if part)


def _check_cells(package: Package) -> None:
    """Refuse one cell at the far end of a sheet: the reader lays out all that are before it."""
    for name in package.names:
        if not (name.startswith("xl/worksheets/") and name.endswith(".xml")):
            continue
        places = [(_column(m[1]), int(m[2])) for m in _REFERENCE.finditer(package.part(name))]
        if not places:
            continue
        columns, rows = zip(*places, strict=True)
        cells = (max(columns) - min(columns) + 1) * (max(rows) - min(rows) + 1)
        if cells > _MOST_CELLS:
            raise Unfit(
                f"is an Excel workbook with a sheet of {max(rows):,} rows and {max(columns):,} "
                f"columns, more than {_MOST_CELLS:,} cells: delete stray cells at its far end, or "
                "export what matters as CSV"
            )


def _column(letters: bytes) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + letter - 64
    return number


def _is_table(about: Any) -> bool:
    return str(about.typ).endswith("WorkSheet")


def _sheet(book: Any, about: Any) -> str:
    """Return a sheet as CSV under its name; '' for an empty one."""
    lines = StringIO()
    writer = csv.writer(lines, lineterminator="\n")
    blank = 0
    for cells in book.get_sheet_by_name(about.name).iter_rows():
        shown = [_cell(cell) for cell in cells]
        while shown and not shown[-1]:
            shown.pop()
        if not shown:
            blank += 1
            continue
        lines.write("\n" * min(blank, 1) if lines.tell() else "")
        blank = 0
        writer.writerow(shown)
    hidden = "" if str(about.visible).endswith(".Visible") else " (hidden)"
    table = lines.getvalue()
    return f"## Sheet: {about.name}{hidden}\n\n{table}".rstrip("\n") if table else ""


def _cell(value: Any) -> str:
    match value:
        case bool():
            return "TRUE" if value else "FALSE"
        case float():
            return str(int(value)) if value.is_integer() and abs(value) < 1e15 else repr(value)
        case datetime():
            return value.date().isoformat() if value.time() == time() else value.isoformat(" ")
        case date() | time():
            return value.isoformat()
        case timedelta():
            return str(value)
        case _:
            return "" if value is None else str(value)


def _rtf(data: bytes) -> str:
    striprtf = _library("striprtf.striprtf", RTF)
    if not data.rstrip(b"\x00\x1a \t\r\n").endswith(b"}"):
        raise Unfit("is an RTF document that is broken (cut off): save it again")
    data = data.replace(b"\\bin ", b"")  # pandoc names no length and writes hexadecimal digits
    try:
        text = striprtf.rtf_to_text(data.decode("cp1252", "replace"), errors="replace")
        return "\n".join(line.rstrip() for line in str(text).split("\n")).strip("\n")
    except _FOREIGN as error:
        raise Unfit("is an RTF document that is broken: open it and save it again") from error


_READERS: dict[str, Callable[[Package], str]] = {DOCX: _word, PPTX: _slides, XLSX: _sheets}
_ENDINGS = {DOCX: ".docx", XLSX: ".xlsx", PPTX: ".pptx"}
