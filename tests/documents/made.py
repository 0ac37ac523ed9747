"""Real files of every type, written by programs that have nothing to do with batchkit.

Each is ``(name, write, words)``: ``words`` must be on the wire where the type goes out as text.
"""

from __future__ import annotations

import struct
import zipfile
import zlib
from collections.abc import Callable, Iterator
from datetime import date, datetime
from io import BytesIO
from pathlib import Path
from typing import Any

import docx
import openpyxl
import pptx
from docx.shared import Inches
from fpdf import FPDF
from fpdf.enums import EncryptionMethod
from PIL import Image, ImageDraw
from pptx.util import Inches as SlideInches

Write = Callable[[Path], None]


def _raw(data: bytes) -> Write:
    def write(path: Path) -> None:
        path.write_bytes(data)

    return write


def picture(size: tuple[int, int] = (64, 48), mode: str = "RGB") -> Image.Image:
    """Draw something that is not all one colour."""
    image = Image.new(mode, size)
    draw = ImageDraw.Draw(image)
    draw.line((0, 0, *size), fill=1 if mode in "1LP" else "white")
    return image


def _words(fill: Callable[[Any], None]) -> Write:
    def write(path: Path) -> None:
        document = docx.Document()
        fill(document)
        document.save(str(path))

    return write


def _letter(document: Any) -> None:
    document.add_heading("Offer 2026-114", 1)
    document.add_paragraph("Dear Ms Müller, the total is 1.250,00 €.")


def _table(document: Any) -> None:
    table = document.add_table(rows=2, cols=2)
    for index, text in enumerate(("Item", "Price", "Bolt M8", "0.35")):
        table.cell(*divmod(index, 2)).text = text


def _lists(document: Any) -> None:
    for text in ("first point", "second point"):
        document.add_paragraph(text, style="List Bullet")
    document.add_paragraph("a numbered one", style="List Number")


def _headed(document: Any) -> None:
    document.sections[0].header.paragraphs[0].text = "Acme GmbH, Hauptstr. 1"
    document.sections[0].footer.paragraphs[0].text = "VAT DE123456789"
    document.add_paragraph("Invoice 77")


def _pictured(document: Any) -> None:
    data = BytesIO()
    picture().save(data, "PNG")
    document.add_paragraph("Before the picture")
    document.add_picture(BytesIO(data.getvalue()), width=Inches(1))
    run = document.add_paragraph("Some ").add_run("bold")
    run.bold = True


DOCX: list[tuple[str, Write, tuple[str, ...]]] = [
    ("letter.docx", _words(_letter), ("# Offer 2026-114", "Müller", "1.250,00 €")),
    ("table.docx", _words(_table), ("| Item | Price |", "| Bolt M8 | 0.35 |")),
    ("lists.docx", _words(_lists), ("- first point", "- second point", "1. a numbered one")),
    ("headed.docx", _words(_headed), ("Acme GmbH, Hauptstr. 1", "Invoice 77", "VAT DE123456789")),
    ("pictured.docx", _words(_pictured), ("Before the picture", "Some **bold**")),
]


def _book(fill: Callable[[Any], None]) -> Write:
    def write(path: Path) -> None:
        book = openpyxl.Workbook()
        fill(book)
        book.save(path)

    return write


def _orders(book: Any) -> None:
    book.active.title = "Orders"
    for row in (("no", "amount", "paid"), (1, 12.5, True), (2, 99, False)):
        book.active.append(row)


def _dates(book: Any) -> None:
    book.active.append([date(2026, 11, 22), datetime(2026, 11, 22, 3, 15), "due"])  # noqa: DTZ001


def _sheets(book: Any) -> None:
    book.active.append(["on the first"])
    book.create_sheet("Costs").append(["on the second", 7])
    hidden = book.create_sheet("Notes")
    hidden.append(["tucked away"])
    hidden.sheet_state = "hidden"


def _gaps(book: Any) -> None:
    book.active["C3"] = "alone, with a comma"
    book.active["A9"] = 'and "quotes"'


def _many(book: Any) -> None:
    for number in range(2_000):
        book.active.append([number, f"row {number}", number / 8])


XLSX: list[tuple[str, Write, tuple[str, ...]]] = [
    ("orders.xlsx", _book(_orders), ("## Sheet: Orders", "no,amount,paid", "1,12.5,TRUE")),
    ("dates.xlsx", _book(_dates), ("2026-11-22,2026-11-22 03:15:00,due",)),
    ("sheets.xlsx", _book(_sheets), ("on the second,7", "## Sheet: Notes (hidden)")),
    ("gaps.xlsx", _book(_gaps), ('"alone, with a comma"', '"and ""quotes"""')),
    ("many.xlsx", _book(_many), ("0,row 0,0", "1999,row 1999,249.875")),
]


def _show(fill: Callable[[Any], None]) -> Write:
    def write(path: Path) -> None:
        show = pptx.Presentation()
        fill(show)
        show.save(str(path))

    return write


def _titled(show: Any) -> None:
    slide = show.slides.add_slide(show.slide_layouts[0])
    slide.shapes.title.text = "Quarter 3"
    slide.placeholders[1].text = "Revenue rose 4 %"


def _noted(show: Any) -> None:
    slide = show.slides.add_slide(show.slide_layouts[5])
    slide.shapes.title.text = "Plan"
    slide.notes_slide.notes_text_frame.text = "say it slowly"


def _slide_table(show: Any) -> None:
    slide = show.slides.add_slide(show.slide_layouts[6])
    inch = SlideInches(1)
    table = slide.shapes.add_table(2, 2, inch, inch, inch, inch).table
    for index, text in enumerate(("Region", "Units", "North", "1,204")):
        table.cell(*divmod(index, 2)).text = text


def _grouped(show: Any) -> None:
    slide = show.slides.add_slide(show.slide_layouts[6])
    group = slide.shapes.add_group_shape()
    inch = SlideInches(1)
    group.shapes.add_textbox(inch, inch, inch, inch).text_frame.text = "inside a group"


def _ordered(show: Any) -> None:
    for text in ("one", "two", "three"):
        show.slides.add_slide(show.slide_layouts[5]).shapes.title.text = f"slide {text}"


PPTX: list[tuple[str, Write, tuple[str, ...]]] = [
    ("title.pptx", _show(_titled), ("## Slide 1", "Quarter 3", "Revenue rose 4 %")),
    ("noted.pptx", _show(_noted), ("Plan", "Notes: say it slowly")),
    ("table.pptx", _show(_slide_table), ("| Region | Units |", "| North | 1,204 |")),
    ("grouped.pptx", _show(_grouped), ("inside a group",)),
    ("ordered.pptx", _show(_ordered), ("## Slide 3", "slide three")),
]


def _rich(body: bytes) -> Write:
    return _raw(b"{\\rtf1\\ansi\\ansicpg1252\\deff0 " + body + b"}")


RTF: list[tuple[str, Write, tuple[str, ...]]] = [
    (
        "plain.rtf",
        _rich(rb"{\fonttbl{\f0 Times;}}\f0 Plain words.\par Next line."),
        ("Plain words",),
    ),
    ("accents.rtf", _rich(rb"M\'fcller, \u8364? 12, na\'efve"), ("Müller, € 12, naïve",)),
    ("bold.rtf", _rich(rb"{\b Important}: {\i read} this"), ("Important: read this",)),
    ("cells.rtf", _rich(rb"\trowd\cellx100\cellx200 a\cell b\cell\row"), ("a|b|",)),
    ("pict.rtf", _rich(rb"Above {\pict\jpegblip\bin ffd8ffe0} below"), ("Above", "below")),
]


def _pages(*texts: str, password: str | None = None, **extras: Any) -> Write:
    def write(path: Path) -> None:
        pdf = FPDF()
        if password is not None:
            owner = extras.get("owner", password)
            pdf.set_encryption(owner, password, encryption_method=EncryptionMethod.RC4)
        pdf.set_font("Helvetica", size=12)
        for text in texts:
            pdf.add_page()
            pdf.multi_cell(0, 8, text)
            if extras.get("picture"):
                pdf.image(picture())
        pdf.output(str(path))

    return write


PDF: list[tuple[str, Write, tuple[str, ...]]] = [
    ("one.pdf", _pages("Invoice 17"), ()),
    ("ten.pdf", _pages(*(f"This is page {number}" for number in range(1, 11))), ()),
    ("pictured.pdf", _pages("with a picture", picture=True), ()),
    ("blank.pdf", _pages(""), ()),
    ("restricted.pdf", _pages("opens without a password", password="", owner="secret"), ()),
]


def _image(kind: str, *images: Image.Image, **options: Any) -> Write:
    first, rest = (images or (picture(),))[0], list(images[1:])
    more = {"save_all": True, "append_images": rest} if rest else {}
    return lambda path: first.save(path, kind, **more, **options)


IMAGES: list[tuple[str, Write, tuple[str, ...]]] = [
    *(
        (f"{mode}.png", _image("PNG", picture(mode=mode)), ())
        for mode in ("RGB", "RGBA", "L", "1", "P")
    ),
    ("plain.jpg", _image("JPEG"), ()),
    ("progressive.jpg", _image("JPEG", progressive=True), ()),
    ("grey.jpeg", _image("JPEG", picture(mode="L")), ()),
    ("fine.jpg", _image("JPEG", quality=100, subsampling=0), ()),
    ("cmyk.jpg", _image("JPEG", Image.new("CMYK", (20, 10))), ()),
    ("plain.gif", _image("GIF"), ()),
    ("moving.gif", _image("GIF", picture(), picture((64, 48)).rotate(90)), ()),
    ("small.gif", _image("GIF", picture((2, 2))), ()),
    ("grey.gif", _image("GIF", picture(mode="L")), ()),
    ("clear.gif", _image("GIF", picture(mode="P"), transparency=0), ()),
    ("lossy.webp", _image("WEBP"), ()),
    ("lossless.webp", _image("WEBP", lossless=True), ()),
    ("clear.webp", _image("WEBP", picture(mode="RGBA")), ()),
    ("moving.webp", _image("WEBP", picture(), picture().rotate(90)), ()),
    ("small.webp", _image("WEBP", picture((3, 3))), ()),
]


def _said(text: str, encoding: str = "utf-8") -> Write:
    return _raw(text.encode(encoding))


_BODIES = {
    "txt": "Plain words, naïve café",
    "md": "# Heading\n\nSome *words*",
    "html": "<html><body><p>Hello & welcome</p></body></html>",
    "csv": "name,amount\nAcme,3.50",
    "json": '{"supplier": "Acme", "total": 3.5}',
}
_CODES = ("utf-8", "utf-8-sig", "utf-16", "utf-32", "cp1252")
TEXTS: list[tuple[str, Write, tuple[str, ...]]] = [
    (f"{code}.{ending}", _said(text, code), (text,))
    for ending, text in _BODIES.items()
    for code in _CODES
]

GOOD = [*TEXTS, *DOCX, *XLSX, *PPTX, *RTF, *PDF, *IMAGES]


def _archive(*parts: tuple[str, bytes]) -> Write:
    def write(path: Path) -> None:
        with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
            for name, data in parts:
                archive.writestr(name, data)

    return write


_TYPES = ("[Content_Types].xml", b"<Types/>")
_ENTITIES = b'<!DOCTYPE x [<!ENTITY a "ha"><!ENTITY b "&a;&a;&a;">]><x>&b;</x>'
_LOCKED = b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1" + bytes(600) + "EncryptedPackage".encode("utf-16-le")


def _cut(write: Write, keep: float = 0.6) -> Write:
    def half(path: Path) -> None:
        write(path)
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * keep)])

    return half


def _spoilt(write: Write, part: str) -> Write:
    """Write a file whose one part has other bytes than its checksum says."""

    def other(path: Path) -> None:
        write(path)
        with zipfile.ZipFile(path) as archive:
            about = archive.getinfo(part)
        data = bytearray(path.read_bytes())
        name, extra = struct.unpack_from("<HH", data, about.header_offset + 26)
        start = about.header_offset + 30 + name + extra
        data[start + about.compress_size // 2] ^= 0xFF
        path.write_bytes(data)

    return other


def _far_cell(book: Any) -> None:
    book.active["A1"] = 1
    book.active["XFD1048576"] = 2


def _lying(path: Path) -> None:
    """Write a bomb whose directory says that it is small."""
    _archive(_TYPES, ("word/document.xml", b"<w/>" + bytes(50_000_000)))(path)
    data = path.read_bytes()
    size = struct.pack("<I", 50_000_004)
    path.write_bytes(data.replace(size, struct.pack("<I", 400)))


BAD: list[tuple[str, Write, str]] = [
    ("locked.pdf", _pages("x", password="secret"), "password"),
    ("cut.docx", _cut(DOCX[0][1]), "Word document that is broken"),
    ("cut.xlsx", _cut(XLSX[0][1]), "Excel workbook that is broken"),
    ("cut.pptx", _cut(PPTX[0][1]), "PowerPoint presentation that is broken"),
    ("spoilt.docx", _spoilt(DOCX[0][1], "word/document.xml"), "Word document that is broken"),
    ("spoilt.xlsx", _spoilt(XLSX[4][1], "xl/worksheets/sheet1.xml"), "workbook that is broken"),
    ("cut.rtf", _raw(b"{\\rtf1 half of it"), "cut off"),
    ("locked.docx", _raw(_LOCKED), "password"),
    ("locked.xlsx", _raw(_LOCKED), "password"),
    ("old.doc", _raw(_LOCKED[:600]), "old Word document"),
    ("empty.docx", _words(lambda document: None), "without text"),
    ("empty.xlsx", _book(lambda book: None), "without text"),
    ("empty.pptx", _show(lambda show: None), "without text"),
    ("blank-slide.pptx", _show(lambda s: s.slides.add_slide(s.slide_layouts[6])), "without text"),
    ("bomb.docx", _archive(_TYPES, ("word/document.xml", bytes(60_000_000))), "zip bomb"),
    ("wide.pptx", _archive(_TYPES, *((f"ppt/{n}", b"") for n in range(20_001))), "20,002 parts"),
    ("lying.docx", _lying, "that is broken"),
    ("entities.docx", _archive(_TYPES, ("word/document.xml", _ENTITIES)), "XML bomb"),
    ("far.xlsx", _book(_far_cell), "1,048,576 rows"),
    ("loose.zip", _archive(("a.txt", b"x")), "zip archive"),
    (
        "text.odt",
        _archive(("mimetype", b"application/vnd.oasis.opendocument.text")),
        "OpenDocument",
    ),
    ("text.docx", _raw(b"no document"), "holds no Word document"),
    ("cut.png", _cut(IMAGES[0][1]), "broken image"),
    ("cut.jpg", _cut(IMAGES[5][1]), "broken image"),
    ("cut.webp", _cut(IMAGES[15][1]), "broken image"),
    ("cyrillic.txt", _said("Русский текст", "cp1251"), "unknown encoding"),
    ("zipped.txt", _raw(b"\x1f\x8b" + zlib.compress(b"x")), "gzip"),
]


def written(folder: Path, files: list[Any]) -> Iterator[tuple[Path, Any]]:
    """Write the files and return each with what is said of it."""
    for name, write, said in files:
        write(folder / name)
        yield folder / name, said
