"""PDFs: pages and their text, and a part of the pages as a PDF of its own."""

from __future__ import annotations

import hashlib
import re
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from batchkit.documents import ranges
from batchkit.documents.unfit import Look, Unfit
from batchkit.errors import ValidationError

if TYPE_CHECKING:
    from pypdfium2 import PdfDocument

_PDFIUM = threading.Lock()  # PDFium is not safe for threads
_NO_PAGES = "is a PDF without pages: print it to PDF again"
_HEAD = 2_048
_HOUR = re.compile(rb"/CreationDate\(D:\d{14}[+Z-]\d\d'\d\d'\)")
_ID = re.compile(rb"/ID\s*\[\s*<[0-9A-Fa-f]*>\s*<[0-9A-Fa-f]*>\s*\]")


def is_pdf(data: bytes, ending: str) -> bool:
    """Say whether `data` begins as a PDF; under its own name something may stand in front."""
    head = data[:1024]
    return head.lstrip().startswith(b"%PDF-") or (ending == ".pdf" and b"%PDF-" in head)


def look(data: bytes, wanted: str | None = None) -> Look:
    """Count pages and text, of the `wanted` pages alone if there are any; raise Unfit.

    Wanting every page is wanting the whole.
    """
    with _opened(data) as pdf:
        count = len(pdf)
        if count == 0:
            raise Unfit(_NO_PAGES)
        pages = list(range(1, count + 1)) if wanted is None else _numbers(wanted, count)
        texts = [_page_text(pdf, page - 1) for page in pages]
        cut = None if len(pages) == count else _cut(pdf, pages)
    if all(text is None for text in texts):
        raise Unfit(_problem("no page"))
    text_bytes = sum(len(text.encode()) for text in texts if text)
    return Look(
        "pdf",
        "application/pdf",
        text_bytes,
        len(pages),
        selection=None if cut is None else ranges.of_numbers(pages),
        cut_bytes=None if cut is None else len(cut),
    )


def numbers(data: bytes, wanted: str | None) -> list[int]:
    """Return which pages are wanted, counting from 1, all by default; raise Unfit."""
    with _opened(data) as pdf:
        count = len(pdf)
    if count == 0:
        raise Unfit(_NO_PAGES)
    return list(range(1, count + 1)) if wanted is None else _numbers(wanted, count)


def cut(data: bytes, selection: str) -> bytes:
    """Return the selected pages as a PDF of their own: the same bytes every time; raise Unfit."""
    with _opened(data) as pdf:
        return _cut(pdf, _numbers(selection, len(pdf)))


def texts(data: bytes) -> list[str]:
    """Return the text of each page; '' for a scan or a page that cannot be read. Raise Unfit."""
    with _opened(data) as pdf:
        return [_page_text(pdf, index) or "" for index in range(len(pdf))]


def _numbers(wanted: str, count: int) -> list[int]:
    try:
        return ranges.numbers(wanted, count)
    except ValidationError as error:
        raise Unfit(str(error)) from error


def _cut(pdf: PdfDocument, pages: Sequence[int]) -> bytes:
    from pypdfium2 import PdfDocument, PdfiumError

    made = PdfDocument.new()
    try:
        made.import_pages(pdf, [page - 1 for page in pages])
        if len(made) != len(pages):
            raise Unfit("is a PDF whose pages cannot be taken out: add the whole of it")
        target = BytesIO()
        made.save(target)
    except PdfiumError as error:
        raise Unfit("is a PDF whose pages cannot be taken out: add the whole of it") from error
    finally:
        made.close()
    return _settled(target.getvalue())


def _settled(data: bytes) -> bytes:
    """Replace what PDFium writes new each time, the hour and a number it rolls; lengths stay."""
    data = _HOUR.sub(rb"/CreationDate(D:20000101000000+00'00')", data[:_HEAD]) + data[_HEAD:]
    places = list(_ID.finditer(data, max(0, len(data) - _HEAD)))
    if not places:
        return data
    start, end = places[-1].span()
    rest = hashlib.md5(data[:start], usedforsecurity=False).hexdigest().upper().encode()
    return b"%s/ID[<%s><%s>]%s" % (data[:start], rest, rest, data[end:])


@contextmanager
def _opened(data: bytes) -> Iterator[PdfDocument]:
    """Open a PDF alone in the process; raise Unfit for an encrypted or broken one."""
    from pypdfium2 import PdfDocument, PdfiumError

    with _PDFIUM:
        try:
            pdf = PdfDocument(data)
        except PdfiumError as error:
            raise Unfit(_problem(str(error))) from error
        try:
            yield pdf
        finally:
            pdf.close()


def _problem(said: str) -> str:
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
