"""Every type of file: what it is taken for, what goes out, and what is refused with a way out."""

from __future__ import annotations

import builtins
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from batchkit import documents
from batchkit.errors import DocumentGone, ValidationError
from tests.documents import made
from tests.unit.files import pdf

OFFICE = [*made.DOCX, *made.XLSX, *made.PPTX, *made.RTF]
KINDS = {
    ".docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    ".xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    ".pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    ".rtf": "application/rtf",
    ".pdf": "application/pdf",
    ".png": "image/png",
    ".jpg": "image/jpeg",
    ".jpeg": "image/jpeg",
    ".gif": "image/gif",
    ".webp": "image/webp",
}


def named(files: list[Any]) -> list[Any]:
    return [pytest.param(*one, id=one[0]) for one in files]


@pytest.mark.parametrize(("name", "write", "words"), named([*OFFICE, *made.PDF, *made.IMAGES]))
def test_the_content_says_what_a_file_is(
    tmp_path: Path, name: str, write: made.Write, words: tuple[str, ...]
) -> None:
    """Under its own name, under none, and under that of a text."""
    write(tmp_path / name)
    data = (tmp_path / name).read_bytes()
    for other in (name, "noname", "notes.txt"):
        (tmp_path / other).write_bytes(data)
        seen = documents.inspect(tmp_path / other)
        assert seen.media_type == KINDS[Path(name).suffix]
        sent = documents.load(seen)
        if words:
            assert seen.kind == "text"
            assert seen.text_bytes == len(sent.data)
            assert [word for word in words if word not in sent.data.decode()] == []
        else:
            assert sent.data == data


@pytest.mark.parametrize(("name", "write", "words"), named(made.TEXTS))
def test_text_in_any_encoding_goes_out_as_utf8(
    tmp_path: Path, name: str, write: made.Write, words: tuple[str, ...]
) -> None:
    """Its media type is the name's, its words are its own."""
    write(tmp_path / name)
    seen = documents.inspect(tmp_path / name)
    assert seen.media_type == documents.TEXT_TYPES[Path(name).suffix]
    assert documents.load(seen).data.decode() == words[0]


@pytest.mark.parametrize(("name", "write", "said"), named(made.BAD))
def test_what_cannot_be_sent_is_refused_with_its_name_and_a_way_out(
    tmp_path: Path, name: str, write: made.Write, said: str
) -> None:
    """Encrypted, broken, empty, bombs, strangers: one line each."""
    write(tmp_path / name)
    with pytest.raises(ValidationError) as caught:
        documents.inspect(tmp_path / name)
    text = str(caught.value)
    assert text.startswith(f"{name} ")
    assert said in text
    assert "\n" not in text
    assert ": " in text


@pytest.mark.parametrize(("name", "write", "words"), named(OFFICE[::5]))
def test_a_missing_library_names_the_extra(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    name: str,
    write: made.Write,
    words: tuple[str, ...],
) -> None:
    """When it is added; and where a later process lacks it, the job waits for one that has it."""
    write(tmp_path / name)
    seen = documents.inspect(tmp_path / name)
    for one in ("mammoth", "python_calamine", "striprtf", "striprtf.striprtf"):
        monkeypatch.setitem(sys.modules, one, None)
    if name.endswith(".pptx"):  # read without a library
        assert documents.inspect(tmp_path / name) == seen
        return
    with pytest.raises(ValidationError, match=rf"^{name} .*llm-batchkit\[office\]"):
        documents.inspect(tmp_path / name)
    with pytest.raises(DocumentGone, match=rf"^{name} .*llm-batchkit\[office\]"):
        documents.load(seen)


def test_converting_imports_nothing_until_it_is_needed() -> None:
    """``import batchkit`` stays light."""
    code = (
        "import sys, batchkit.documents as d; "
        "print([n for n in ('mammoth', 'python_calamine', 'striprtf', 'pypdfium2') "
        "if n in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_a_conversion_is_the_same_in_every_process(tmp_path: Path) -> None:
    """Also what PDFium writes, which puts the hour and a random number into files."""
    paths = [path for path, _ in made.written(tmp_path, [OFFICE[1], OFFICE[6], OFFICE[11]])]
    (tmp_path / "ten.pdf").write_bytes(pdf(*(f"page {number}" for number in range(1, 11))))
    code = (
        "import sys, hashlib; from batchkit import documents as d\n"
        "for p in sys.argv[1:]:\n"
        "    one = d.inspect(p, pages='2-3,7' if p.endswith('.pdf') else None)\n"
        "    print(hashlib.sha256(d.load(one).data).hexdigest(), one.cut_bytes)\n"
    )
    argv = [sys.executable, "-c", code, *map(str, paths), str(tmp_path / "ten.pdf")]
    told = [
        subprocess.run(
            argv, capture_output=True, text=True, check=True, env={"PYTHONHASHSEED": seed}
        ).stdout
        for seed in ("1", "2")
    ]
    assert told[0] == told[1]
    assert len(told[0].splitlines()) == 4


def test_an_office_file_without_its_parser_falls_back_to_plain_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where mammoth gives up, the words still go out, tables as rows."""
    import mammoth

    def gives_up(*args: object, **options: object) -> None:
        raise builtins.AttributeError("no such node")

    monkeypatch.setattr(mammoth, "convert_to_html", gives_up)
    for path, words in made.written(tmp_path, made.DOCX[:2]):
        text = documents.load(documents.inspect(path)).data.decode()
        assert [word.lstrip("# ") for word in words if word.lstrip("# ") not in text] == []
