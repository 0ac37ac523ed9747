"""Folders and tables as sources of jobs: what is taken, under which key, and what is refused."""

from __future__ import annotations

import os
import sqlite3
import tracemalloc
from collections.abc import Callable, Iterator
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest

from batchkit.builder import Batch
from batchkit.errors import ConfigError, KeyConflictError, ValidationError
from batchkit.store import Store
from batchkit.testing import FakeProvider
from tests.builder.conftest import PRICE, Make

ASK = "Classify: {{ text }}"


def written(path: Path, content: str | bytes) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def asked(batch: Batch) -> dict[str, str | None]:
    """Return the prompt of each job by its key."""
    return {str(job.key): job.prompt for job in batch.jobs}


# folders


def folder(place: Path, *names: str) -> Path:
    for name in names:
        written(place / name, f"Content of {name}")
    return place


def test_a_folder_is_added_in_order_under_paths_of_its_own(make: Make, fake: FakeProvider):
    folder(Path("inbox"), "b.txt", "a.txt", "sub/c.txt", "sub/deep/d.txt", "z.md")
    batch = make(name="x").add_folder("inbox", pattern="**/*.txt", prompt="Read.")
    assert list(asked(batch)) == ["a.txt", "b.txt", "sub/c.txt", "sub/deep/d.txt"]
    assert str(list(batch.jobs)[2].file).endswith("/inbox/sub/c.txt")
    assert batch.run().status()["completed"] == 4
    again = make(name="x").add_folder("inbox", pattern="**/*.txt", prompt="Read.").run()
    assert (again.status()["completed"], len(fake.ledger.entries)) == (4, 4)


@pytest.mark.parametrize(
    ("pattern", "found"),
    [
        ("*.txt", ["a.txt", "B.TXT"]),
        ("**/*.txt", ["B.TXT", "a.txt", "sub/c.txt", "sub/deep/d.txt"]),
        ("sub/*", ["sub/c.txt"]),
        ("sub/**", ["sub/c.txt", "sub/deep/d.txt"]),
        ("**/deep/*.txt", ["sub/deep/d.txt"]),
        ("./*/c.tx?", ["sub/c.txt"]),
        ("[ab].txt", ["a.txt", "B.TXT"]),
        ("**/*", ["B.TXT", "a.txt", "sub/c.txt", "sub/deep/d.txt"]),
    ],
)
def test_a_pattern_says_which_files(lite: Make, pattern: str, found: list[str]):
    """Upper and lower case are one: a scanner's SCAN.PDF is not left out in silence."""
    folder(Path("inbox"), "a.txt", "B.TXT", "sub/c.txt", "sub/deep/d.txt")
    batch = lite().add_folder("inbox", pattern, prompt="Read.")
    assert list(asked(batch)) == sorted(found)


def test_what_is_hidden_is_left_out(lite: Make):
    folder(Path("inbox"), "a.txt", ".DS_Store", ".git/config", "~$a.docx", "sub/.b.txt")
    assert list(asked(lite().add_folder("inbox", prompt="Read."))) == ["a.txt"]


def test_links_that_go_round_end_and_no_file_is_bought_twice(lite: Make):
    folder(Path("inbox"), "a.txt", "sub/b.txt")
    folder(Path("elsewhere"), "c.txt")
    links = {
        "sub/up": "..",
        "self": ".",
        "aa": "sub",
        "out": "../elsewhere",
        "again": "../elsewhere",
    }
    for name, target in links.items():
        (Path("inbox") / name).symlink_to(target)
    (Path("elsewhere") / "back").symlink_to(Path("inbox").resolve())
    batch = lite().add_folder("inbox", prompt="Read.")
    assert list(asked(batch)) == ["a.txt", "again/c.txt", "sub/b.txt"]


def test_a_link_to_nothing_is_a_document_that_is_missing(lite: Make):
    folder(Path("inbox"), "a.txt")
    (Path("inbox") / "lost.txt").symlink_to("nowhere")
    with pytest.raises(ValidationError, match=r"lost\.txt does not exist"):
        lite().add_folder("inbox", prompt="Read.")


def test_two_folders_of_one_run_have_prefixes(lite: Make):
    for name in ("mon", "tue"):
        folder(Path(name), "a.txt")
    batch = lite().add_folder("mon", prompt="Read.", prefix="mon/")
    with pytest.raises(KeyConflictError, match=r"mon/a\.txt"):
        batch.add_folder("tue", prompt="Read.", prefix="mon/")
    assert list(asked(batch.add_folder("tue", prompt="Read.", prefix="tue/"))) == [
        "mon/a.txt",
        "tue/a.txt",
    ]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"pattern": "*.pdf"}, r"No file in inbox fits the pattern '\*\.pdf'.*1 \.txt"),
        ({"folder": "nowhere"}, "The folder nowhere does not exist"),
        ({"folder": "inbox/a.txt"}, "The folder inbox/a.txt is no folder"),
        ({"folder": "empty"}, "No file in empty .*there are no files in it"),
        ({"pattern": "../*"}, "cannot work"),
        ({"pattern": ""}, "cannot work"),
        ({"key": "a"}, "key cannot be given to add_folder"),
        ({"file": "a"}, "file cannot be given to add_folder"),
        ({"prompt": None}, "A file was given without a prompt"),
        ({"folder": 7}, "path of a folder"),
    ],
)
def test_a_folder_that_gives_no_jobs_says_why(lite: Make, arguments: dict[str, Any], said: str):
    folder(Path("inbox"), "a.txt")
    Path("empty").mkdir()
    with pytest.raises(ValidationError, match=said):
        lite().add_folder(**{"folder": "inbox", "prompt": "Read.", **arguments})


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_cannot_be_read_is_named(lite: Make):
    folder(Path("inbox"), "sub/a.txt")
    (Path("inbox") / "sub").chmod(0)
    with pytest.raises(ValidationError, match=r"inbox/sub cannot be read"):
        lite().add_folder("inbox", prompt="Read.")


# tables

ROWS = [{"id": "1", "text": "Fine"}, {"id": "2", "text": 'Said "no",\ntwice'}]


def as_csv(place: Path) -> Path:
    return written(place / "reviews.csv", 'id,text\n1,Fine\n\n2,"Said ""no"",\ntwice"\n')


def as_tsv(place: Path) -> Path:
    return written(place / "reviews.tsv", 'id\ttext\n1\tFine\n2\t"Said ""no"",\ntwice"\n')


def as_jsonl(place: Path) -> Path:
    lines = ['{"id": "1", "text": "Fine"}', "", '{"id": "2", "text": "Said \\"no\\",\\ntwice"}']
    return written(place / "reviews.jsonl", "\n".join(lines))


def as_parquet(place: Path) -> Path:
    import pyarrow
    from pyarrow import parquet

    path = place / "reviews.parquet"
    parquet.write_table(pyarrow.Table.from_pylist(ROWS), path)
    return path


def as_rows(place: Path) -> Iterator[dict[str, str]]:
    return iter(ROWS)


@pytest.mark.parametrize("table", [as_csv, as_tsv, as_jsonl, as_parquet, as_rows])
def test_a_table_is_a_job_a_row(
    lite: Make, fake: FakeProvider, tmp_path: Path, table: Callable[[Path], Any]
):
    def batch() -> Batch:
        return lite(name="x").add_rows(table(tmp_path), prompt=ASK, key="{{ id }}")

    assert asked(batch()) == {"1": "Classify: Fine", "2": 'Classify: Said "no",\ntwice'}
    run = batch().run()
    assert (run.status()["completed"], len(fake.ledger.entries)) == (2, 2)
    batch().run()
    assert len(fake.ledger.entries) == 2


def test_a_query_is_a_job_a_row(make: Make, fake: FakeProvider, database_url: str):
    """On both kinds of database; what it reads stays as it is, and a % is a %."""
    from sqlalchemy import create_engine, text

    engine = create_engine(database_url.replace("postgresql://", "postgresql+psycopg://"))
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE reviews (id INTEGER, text TEXT)"))
        connection.execute(
            text("INSERT INTO reviews VALUES (1, '100 % fine'), (2, 'a: no'), (3, 'x')")
        )
    engine.dispose()
    sql = (
        "SELECT id, text AS said FROM reviews WHERE text LIKE '%: %' OR text LIKE '%!%%' ESCAPE '!'"
    )
    batch = make(name="x").add_rows(
        sql=sql, url=database_url, prompt="Classify: {{ said }}", key="{{ id }}"
    )
    assert asked(batch) == {"1": "Classify: 100 % fine", "2": "Classify: a: no"}


def test_a_sqlite_file_is_only_read(lite: Make, tmp_path: Path):
    path = tmp_path / "shop #1?.db"
    with sqlite3.connect(path) as connection:
        connection.execute("CREATE TABLE reviews (id INTEGER, text TEXT)")
        connection.execute("INSERT INTO reviews VALUES (1, NULL)")
    connection.close()
    add = lite().add_rows
    batch = add(sql="SELECT * FROM reviews", url=path, prompt=f"{ASK}.", key="{{ id }}")
    assert asked(batch) == {"1": "Classify: ."}
    with pytest.raises(ValidationError, match="readonly"):
        add(sql="DELETE FROM reviews", url=path, prompt=ASK)
    with pytest.raises(ConfigError, match=r"gone\.db does not exist"):
        add(sql="SELECT 1", url=tmp_path / "gone.db", prompt=ASK)
    assert not (tmp_path / "gone.db").exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({"sql": "SELECT 1"}, "A query needs both"),
        ({"url": "a.db"}, "A query needs both"),
        ({"sql": "SELEC 1", "url": "shop.db"}, "The query failed in .*syntax error"),
        ({"sql": "SELECT 1 AS a, 2 AS a", "url": "shop.db"}, "two columns 'a'"),
        ({"sql": "CREATE TEMP TABLE a (b)", "url": "shop.db"}, "returns no rows"),
        ({"sql": "SELECT 1", "url": "shop.db", "rows": []}, "both given"),
        ({"sql": "SELECT 1", "url": "shop.db", "encoding": "utf-8"}, "are for files"),
    ],
)
def test_a_query_that_cannot_work_says_why(lite: Make, arguments: dict[str, Any], said: str):
    sqlite3.connect("shop.db").close()
    Path("shop.db").touch()
    with pytest.raises(ValidationError, match=said):
        lite().add_rows(prompt=ASK, **arguments)


def test_a_database_url_does_not_show_its_password(lite: Make):
    for url in ("postgresql://u:secret@[::1", "mysql+none://u:secret@h/d"):
        with pytest.raises(ConfigError) as caught:
            lite().add_rows(sql="SELECT 1", url=url, prompt=ASK)
        assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", "id,text\n1,a\n2\n", r"a\.csv, line 3 has too few fields, 1 instead of the 2"),
        ("a.csv", 'id,text\n"1\n",a\n2,b,c\n', r"a\.csv, line 4 has too many fields, 3 instead"),
        ("a.csv", "id,text,id\n1,a,2\n", r"line 1 names the column 'id' twice, as number 1 and 3"),
        ("a.csv", "", r"a\.csv is empty"),
        ("a.csv", '1,"a\n2,b\n', "the row that begins in line 1 does not end"),
        ("a.csv", 'id,text\n1,a\n2,"b\n3,c\n', "the row that begins in line 3 does not end"),
        ("a.csv", 'id,text\n1,"a" b\n', r"a\.csv, line 2 is no CSV"),
        ("a.csv", b"id,text\n1,a\n2,caf\xe9\n", r'line 3 is not utf-8 .*encoding="cp1252"'),
        ("a.csv", "id,words\n1,a\n", r"a\.csv, line 2: there is no column 'text', which prompt"),
        ("a.csv", "id,txt\n1,a\n", r"Did you mean 'txt'\?"),
        ("a.csv", "id,text\n1,a\n\n1,b\n", r"line 2, and .*a\.csv, line 4"),
        ("a.csv", "id,text\n,a\n", r"line 2: key='' cannot be a key"),
        ("a.jsonl", '{"id": 1, "text": "a"}\n{"id"\n', r"a\.jsonl, line 2 is not JSON"),
        ("a.jsonl", '{"id": 1, "text": "a"}\n[1]\n', r"line 2 is no object but list"),
        ("a.jsonl", '\n{"id": 1, "text": "a"}\n{"id": 2}\n', r"line 3: there is no column 'text'"),
        ("a.jsonl", b'{"id": 1, "text": "\xff"}\n', r"line 1 is not utf-8"),
        ("a.parquet", "PAR1", r"a\.parquet is no Parquet file"),
        ("a.xlsx", "", r"a\.xlsx: what is read is chosen by the suffix"),
        ("a.json", "[]", r"a\.json: what is read is chosen by the suffix"),
    ],
)
def test_a_bad_row_names_its_file_and_line(lite: Make, name: str, content: str | bytes, said: str):
    written(Path(name), content)
    with pytest.raises((ValidationError, KeyConflictError), match=said):
        lite().add_rows(name, prompt=ASK, key="{{ id }}")


def test_texts_come_as_they_are_written(lite: Make):
    """With a byte order mark, in another encoding, with other marks and a column without a name."""
    cases: list[tuple[str, bytes, dict[str, Any]]] = [
        ("a.csv", "id,text\n1,café\n".encode("utf-8-sig"), {}),
        ("b.csv", "id,text\n1,café\n".encode("utf-16"), {}),
        (
            "c.csv",
            "id;text\r\n1;café\r\n".encode("cp1252"),
            {"encoding": "cp1252", "delimiter": ";"},
        ),
        ("d.csv", ",id,text\n0,1,café\n".encode(), {}),
        ("e.jsonl", '{"id": 1, "text": "café"}'.encode("utf-8-sig"), {}),
        ("f.jsonl", '{"id": 1, "text": "café"}'.encode("latin-1"), {"encoding": "latin-1"}),
    ]
    for name, content, more in cases:
        written(Path(name), content)
        batch = lite(name=name).add_rows(name, prompt=ASK, key="{{ id }}", **more)
        assert asked(batch) == {"1": "Classify: café"}


def test_a_long_cell_is_a_cell(lite: Make):
    written(Path("a.csv"), f'id,text\n1,"{"long " * 100_000}"\n')
    (job,) = lite().add_rows("a.csv", prompt=ASK).jobs
    assert len(job.prompt or "") > 500_000


@pytest.mark.parametrize(
    ("rows", "said"),
    [
        (["a"], "Row 1 is no mapping"),
        ({"id": 1}, "not dict"),
        (7, "not int"),
        (None, "No rows were given"),
        ("gone.csv", "gone.csv does not exist"),
        (".", "is a folder: add_folder"),
    ],
)
def test_what_is_no_table_says_so(lite: Make, rows: Any, said: str):
    with pytest.raises(ValidationError, match=said):
        lite().add_rows(rows, prompt=ASK)


def test_a_data_frame_names_its_way_in(lite: Make):
    pandas = pytest.importorskip("pandas")
    frame = pandas.DataFrame(ROWS)
    with pytest.raises(ValidationError, match=r"to_dict\('records'\)"):
        lite().add_rows(frame, prompt=ASK)
    assert len(lite().add_rows(frame.to_dict("records"), prompt=ASK)) == 2


# words


def test_templates_fill_in_prompt_key_system_and_file(lite: Make):
    written(Path("a.txt"), "Text")
    rows = [{"id": 7, "Full name": "Ada", "tags": ["x", "y"], "path": "a.txt"}]
    batch = lite().add_rows(
        rows,
        prompt="{% for tag in tags %}{{ tag|upper }} {% endfor %}{{ row['Full name'] }}\n",
        system="You are {{ row['Full name'] }}.",
        key="{{ '%04d' % id }}",
        file="{{ path }}",
    )
    (job,) = batch.jobs
    assert (job.prompt, job.system, job.key) == ("X Y Ada\n", "You are Ada.", "0007")
    assert str(job.file) == str(Path("a.txt").absolute())


@pytest.mark.parametrize(
    ("prompt", "said"),
    [
        ("{{ text", "prompt is no template .*double braces"),
        ("{{ user.nam }}", "has no attribute 'nam'|no column 'nam'"),
        ("{{ row['Full name'] }}", "no column 'Full name'"),
        ("{{ range(3) }}", "no column 'range'"),
        ("{{ ''.__class__.__mro__ }}", "prompt cannot be filled in"),
        ("{{ user.update({'a': 1}) }}", "prompt cannot be filled in"),
        ("{{ 'a' * 10 ** 9 }}", "repeated too often"),
        ("{{ 1 / 0 }}", "cannot be filled in: division"),
        ("{{ text|nosuch }}", "prompt is no template"),
        (7, "needs prompt=, text"),
        (None, "needs prompt=, text"),
        (" {{ text }} ", "^row 1: The prompt is empty"),
    ],
)
def test_a_template_forgives_nothing(lite: Make, prompt: Any, said: str):
    with pytest.raises(ValidationError, match=said):
        lite().add_rows([{"text": " ", "user": {"name": "Ada"}}], prompt=prompt)


def test_the_row_is_kept_only_if_asked_for(lite: Make):
    row = {"id": 1, "text": "a", "at": date(2026, 11, 21), "price": Decimal("1.10")}
    (job,) = lite(name="a").add_rows([row], prompt=ASK).jobs
    assert job.metadata is None
    (job,) = lite(name="b").add_rows([row], prompt=ASK, metadata=["id", "at", "price"]).jobs
    assert job.metadata == {"id": 1, "at": "2026-11-21", "price": "1.10"}
    (job,) = lite(name="c").add_rows([row], prompt=ASK, metadata={"lot": 3}).jobs
    assert job.metadata == {"lot": 3}
    with pytest.raises(
        ValidationError, match=r"row 1: .* 'ID', which metadata names\. Did you mean 'id'"
    ):
        lite().add_rows([row], prompt=ASK, metadata=["ID"])
    with pytest.raises(ValidationError, match="list of columns"):
        lite().add_rows([row], prompt=ASK, metadata="id")
    with pytest.raises(ValidationError, match="'blob' holds bytes"):
        lite().add_rows([{**row, "blob": b""}], prompt=ASK, metadata=["blob"])


def test_a_row_that_cannot_be_asked_may_fail_alone(make: Make, store: Store):
    rows: list[dict[str, Any]] = [{"id": 1, "text": "a"}, {"id": 2}, {"id": 3, "text": ""}]
    batch = make(name="x", on_bad_input="fail").add_rows(
        rows, prompt="{{ text }}", key="{{ id }}", price=PRICE
    )
    results = batch.run().results()
    assert [one.key for one in results["completed"]] == ["1"]
    assert {one.key: one.error_code for one in results["failed"]} == {
        "2": "bad_input",
        "3": "bad_input",
    }
    assert "there is no column 'text'" in str(
        {one.key: one.error for one in results["failed"]}["2"]
    )


def test_without_a_key_two_rows_that_say_the_same_stay_two(lite: Make):
    assert len(asked(lite().add_rows([{"text": "a"}, {"text": "a"}], prompt=ASK))) == 2


def test_rows_are_streamed(lite: Make):
    """The memory of many rows is that of the page in hand."""

    def rows() -> Iterator[dict[str, Any]]:
        for number in range(2_000):
            yield {"id": number, "text": f"{number} " + "word " * 6_000}

    batch = lite(name="x")
    tracemalloc.start()
    batch.add_rows(rows(), prompt=ASK, key="{{ id }}")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert len(batch) == 2_000
    assert peak < 50_000_000  # all of the texts are 60 MB, and stand in a row twice
