"""Documents: what a file is, what is wrong with it, and its bytes as they are sent."""

import hashlib
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions
from pathlib import Path

import pytest

from batchkit.documents import (
    MAX_BYTES,
    TEXT_TYPES,
    Reader,
    decode,
    image_size,
    inspect,
    load,
    pdf_text,
)
from batchkit.errors import DocumentChanged, DocumentGone, ValidationError
from tests.unit.files import gif, jpeg, pdf, png, webp


@pytest.fixture
def put(tmp_path):
    """Write a file and return its path."""

    def write(name, data):
        path = tmp_path / name
        path.write_bytes(data.encode() if isinstance(data, str) else data)
        return path

    return write


@pytest.mark.parametrize("ending", sorted(TEXT_TYPES))
def test_text_gets_its_media_type_from_the_name(put, ending):
    """Hash, size and UTF-8 size are recorded with it."""
    data = "Müller & Söhne\r\nTotal: 12 €\n".encode()
    path = put(f"note{ending}", data)
    seen = inspect(path)
    assert (seen.kind, seen.media_type) == ("text", TEXT_TYPES[ending])
    assert (seen.size, seen.text_bytes) == (len(data), len(data))
    assert seen.sha256 == hashlib.sha256(data).hexdigest()
    assert (seen.path, seen.name) == (str(path), f"note{ending}")


@pytest.mark.parametrize(
    ("name", "data", "media_type"),
    [
        ("page", "<!DOCTYPE html><p>x", "text/html"),
        ("README", "hello", "text/plain"),
        ("code.py", "print()", "text/plain"),
        ("upper.MD", "# x", "text/markdown"),
    ],
)
def test_other_text_is_plain_unless_it_says_html(put, name, data, media_type):
    """Any text is read, whatever its ending."""
    assert inspect(put(name, data)).media_type == media_type


@pytest.mark.parametrize(
    ("encoding", "mark"),
    [
        ("utf-8", b""),
        ("utf-8-sig", b""),
        ("utf-16", b""),
        ("utf-32", b""),
        ("utf-16-be", b"\xfe\xff"),
        ("utf-32-be", b"\x00\x00\xfe\xff"),
        ("cp1252", b""),
    ],
)
def test_text_leaves_as_utf8_with_its_line_ends(put, encoding, mark):
    """Whatever encoding it came in; the mark is not part of the text."""
    text = "Überweisung: 12,50 an Café “Zum Löwen”\r\nzweite Zeile\n"
    path = put("a.txt", mark + text.encode(encoding))
    document = inspect(path)
    sent = load(document)
    assert sent.data == text.encode()
    assert document.text_bytes == len(sent.data)
    assert sent.document == document


def test_a_pdf_is_counted_in_pages_and_text(put):
    """Pages by PDFium, the text's bytes for the bound."""
    data = pdf("Invoice 17\nTotal 12.50", "Second page")
    seen = inspect(put("bill.pdf", data))
    assert (seen.kind, seen.media_type, seen.pages) == ("pdf", "application/pdf", 2)
    pages = pdf_text(data)
    assert pages[0].split() == ["Invoice", "17", "Total", "12.50"]
    assert pages[1] == "Second page"
    assert seen.text_bytes == sum(len(page.encode()) for page in pages)
    assert load(seen).data == data


def test_pdfs_are_read_from_many_threads_one_at_a_time():
    """PDFium is not safe for threads; a lock makes it so."""
    data = pdf(*["page"] * 20)
    with ThreadPoolExecutor(8) as pool:
        assert set(map(len, pool.map(pdf_text, [data] * 40))) == {20}


@pytest.mark.parametrize(
    ("make", "media_type"),
    [(png, "image/png"), (gif, "image/gif"), (jpeg, "image/jpeg"), (webp, "image/webp")],
)
def test_an_image_is_known_by_its_content_and_measured(put, make, media_type):
    """Also under a wrong image name: the content decides."""
    data = make(640, 480)
    for name in ("scan", "scan.png", "scan.txt"):
        seen = inspect(put(name, data))
        assert (seen.kind, seen.media_type) == ("image", media_type)
        assert (seen.width, seen.height) == (640, 480)
    assert image_size(data) == (640, 480)


def test_a_pdf_under_a_text_name_is_a_pdf(put):
    """The content decides."""
    assert inspect(put("bill.txt", pdf("x"))).kind == "pdf"


@pytest.mark.parametrize(
    ("name", "data", "said"),
    [
        ("void.txt", "", "empty"),
        ("blank.txt", " \n\t\n", "white space"),
        ("secret.pdf", pdf("x", encrypted=True), "password"),
        ("cut.pdf", b"%PDF-1.7\nnothing here", "broken PDF"),
        ("saved.pdf", "<html>404</html>", "HTML page"),
        ("odd.pdf", "no pdf", "holds no PDF"),
        ("odd.png", "no image", "holds no PNG image"),
        ("cut.png", png(5, 5)[:-20], "broken image"),
        ("cut.jpg", jpeg(5, 5)[:-2], "broken image"),
        ("cut.webp", webp(5, 5)[:-2], "broken image"),
        ("head.gif", b"GIF89a", "broken image"),
        ("letter.docx", b"PK\x03\x04....word/document.xml", "Word document"),
        ("named.zip", b"PK\x03\x04....xl/workbook.xml", "Excel workbook"),
        ("old.doc", b"\xd0\xcf\x11\xe0....", "old Word document"),
        ("slides.pptx", b"PK\x03\x04....", "PowerPoint"),
        ("many.zip", b"PK\x03\x04....", "zip archive"),
        ("letter.rtf", "{\\rtf1 hello", "RTF document that is broken"),
        ("blank.rtf", "{\\rtf1 {\\pict 00}}", "without text"),
        ("named.rtf", "hello", "holds no RTF document"),
        ("scan.tiff", b"II*\x00....", "TIFF"),
        ("photo.heic", b"\x00\x00\x00\x18ftypheic....", "HEIC"),
        ("log.gz", b"\x1f\x8b....", "gzip"),
        ("data.bin", b"abc\x00\x01\x02", "NUL"),
        ("sjis.txt", "これは日本語の文章です".encode("shift_jis"), "unknown encoding"),
        ("koi8.txt", "Русский текст".encode("cp1251"), "unknown encoding"),
        ("marked.txt", b"\xef\xbb\xbfabc\xff\xfe", "broken further on"),
        ("half.txt", b"\xff\xfea\x00b", "broken further on"),
    ],
    ids=lambda value: value if isinstance(value, str) and "." in value else "",
)
def test_what_cannot_be_sent_is_named_with_what_is_wrong(put, name, data, said):
    """One line: the file's name, what is wrong and, after a colon, the way out."""
    with pytest.raises(ValidationError, match=said) as caught:
        inspect(put(name, data))
    text = str(caught.value)
    assert text.startswith(name)
    assert "\n" not in text
    assert ": " in text or ";" in text


def test_a_name_of_ones_own_is_the_one_that_is_shown(put):
    """In the document and in errors."""
    assert inspect(put("tmp123", "x"), name="bill.md").media_type == "text/markdown"
    with pytest.raises(ValidationError, match=r"^bill\.md is empty"):
        inspect(put("tmp124", ""), name="bill.md")


def test_missing_files_folders_and_pipes_are_told_apart(tmp_path):
    """Each with its own way out."""
    with pytest.raises(ValidationError, match=r"none\.txt does not exist .* check the path"):
        inspect(tmp_path / "none.txt")
    with pytest.raises(ValidationError, match="folder"):
        inspect(tmp_path)
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(ValidationError, match="pipe or device"):
        inspect(tmp_path / "pipe")
    (tmp_path / "round").symlink_to(tmp_path / "round")
    with pytest.raises(ValidationError, match="cannot be read"):
        inspect(tmp_path / "round")
    with pytest.raises(ValidationError, match="cannot be read"):
        inspect("with\0nul")
    with pytest.raises(ValidationError, match="not UTF-8"):
        inspect(os.fsdecode(os.fsencode(tmp_path) + b"/\xff.txt"))


def test_a_file_without_permission_is_named():
    """Root may read everything, so a process without its rights looks."""
    code = (
        "import os, sys; from batchkit.documents import inspect\n"
        "if os.geteuid() == 0: os.setegid(65534); os.seteuid(65534)\n"
        "try: inspect(sys.argv[1])\n"
        "except Exception as error: print(type(error).__name__, error)\n"
    )
    with tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        path = Path(folder, "locked.txt")
        path.write_text("x")
        path.chmod(0)
        said = subprocess.run(
            [sys.executable, "-c", code, path], capture_output=True, text=True, check=True
        ).stdout
    assert said.startswith("ValidationError locked.txt cannot be read (permission denied)")


def test_a_file_over_the_limit_is_refused_without_reading_it(tmp_path):
    """A sparse file says so at once."""
    path = tmp_path / "huge.txt"
    with open(path, "wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(ValidationError, match="too large"):
        inspect(path)


def test_the_same_document_again_is_read_once_and_another_is_looked_at_anew(put):
    """What is at hand was checked when it was read; every other document is checked by itself."""
    first, second = inspect(put("a.txt", "one")), inspect(put("b.txt", "two"))
    reader = Reader(None)
    assert reader.load(first).data == b"one"
    put("a.txt", "won")
    put("b.txt", "owt")
    assert reader.load(first).data == b"one"
    with pytest.raises(DocumentChanged, match=r"b\.txt has changed"):
        reader.load(second)
    with pytest.raises(DocumentChanged, match=r"a\.txt has changed"):
        reader.load(first)


def test_a_document_that_changed_or_went_is_noticed(put):
    """By size, by content of the same size, by absence."""
    path = put("a.txt", "first")
    document = inspect(path)
    put("a.txt", "first!")
    with pytest.raises(DocumentChanged, match=r"a\.txt has changed"):
        load(document)
    put("a.txt", "fir5t")
    with pytest.raises(DocumentChanged):
        load(document)
    path.unlink()
    with pytest.raises(DocumentGone, match=r"a\.txt cannot be read"):
        load(document)


def test_relative_paths_are_kept_absolute(put, monkeypatch):
    """A later process has another working folder."""
    path = put("a.txt", "x")
    monkeypatch.chdir(path.parent)
    document = inspect("a.txt")
    monkeypatch.chdir("/")
    assert load(document).data == b"x"


def test_texts_and_pdfs_out_of_hand_are_checked_too():
    """The same errors, without a name."""
    with pytest.raises(ValidationError, match="NUL"):
        decode(b"a\x00b")
    with pytest.raises(ValidationError, match="broken PDF"):
        pdf_text(b"nothing")
    assert image_size(b"nothing") is None


def test_every_metadata_and_licence_file_of_this_environment_is_read():
    """The demo's documents."""
    files = [
        Path(str(found.locate_file(file)))
        for found in distributions()
        for file in found.files or ()
        if file.name == "METADATA" or file.name.upper().startswith("LICENSE")
    ]
    seen = [inspect(file) for file in files if file.is_file() and file.stat().st_size]
    assert len(seen) > 20
    assert {document.kind for document in seen} == {"text"}
    assert all(load(document).data for document in seen)
