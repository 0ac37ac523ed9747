"""Exports: one row per job, streamed, whole or not at all."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import ConfigError, ValidationError
from batchkit.results import JobResult
from tests.run.scenes import Invoice, Scene, asking, lines_of


def night(scene: Scene) -> Any:
    """Two typed answers, a failure and a job that waits."""
    scene.answers["a"] = {
        "supplier": "ACME, Inc.\nBerlin",
        "total": 12.5,
        "paid": True,
        "place": {"city": "Köln"},
        "lines": ["one", "two"],
    }
    scene.invalid("c")
    run = scene.start(["a", "b", "c"], template=asking(Invoice)).execute()
    scene.add(["d"], template=asking(Invoice))
    scene.open()
    return run


def table(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as stream:
        return list(csv.DictReader(stream))


def test_jsonl_has_every_job_once_and_reads_back(scene: Scene, tmp_path: Path) -> None:
    run = night(scene)

    assert run.export(tmp_path / "rows.jsonl") == 4

    rows = [JobResult.from_dict(row) for row in lines_of(tmp_path / "rows.jsonl")]
    assert {row.key: row.state for row in rows} == {
        "a": "completed",
        "b": "completed",
        "c": "failed",
        "d": "pending",
    }
    (first,) = [row for row in rows if row.key == "a"]
    assert (
        Invoice.model_validate(first.parsed_response).place
        == Invoice.model_validate({"supplier": "", "total": 0, "place": {"city": "Köln"}}).place
    )


def test_csv_flattens_nested_fields_with_dots(scene: Scene, tmp_path: Path) -> None:
    run = night(scene)

    assert run.export(tmp_path / "rows.csv") == 4

    rows = {row["key"]: row for row in table(tmp_path / "rows.csv")}
    assert rows["a"]["supplier"] == "ACME, Inc.\nBerlin"
    assert rows["a"]["total"] == "12.5"
    assert rows["a"]["paid"] == "true"
    assert rows["a"]["place.city"] == "Köln"
    assert rows["a"]["lines"] == '["one","two"]'
    assert rows["b"]["place.city"] == ""
    assert rows["c"]["error_code"] == "invalid_request"
    assert rows["c"]["error"] == "bad_request: no: c"
    assert rows["d"]["state"] == "pending"
    assert list(rows["a"])[:5] == ["key", "state", "error_code", "error", "supplier"]


def test_an_answer_that_is_text_has_a_column(lite: Scene, tmp_path: Path) -> None:
    lite.answers["a"] = "Hello."
    lite.start(["a"]).execute().export(tmp_path / "rows.csv")

    assert [row["answer"] for row in table(tmp_path / "rows.csv")] == ["Hello."]


def test_a_field_named_as_our_own_column_keeps_both(lite: Scene, tmp_path: Path) -> None:
    from pydantic import BaseModel

    class Car(BaseModel):
        model: str
        state: str

    lite.answers["a"] = {"model": "T", "state": "rusty"}
    run = lite.start(["a"], template=asking(Car)).execute()

    run.export(tmp_path / "rows.csv")

    (row,) = table(tmp_path / "rows.csv")
    assert (row["model"], row["answer.model"]) == ("fake-1", "T")
    assert (row["state"], row["answer.state"]) == ("completed", "rusty")


def test_only_some_states_are_written(lite: Scene, tmp_path: Path) -> None:
    run = night(lite)

    assert run.export(tmp_path / "rows.jsonl", states=["failed", "pending"]) == 2
    assert {row["key"] for row in lines_of(tmp_path / "rows.jsonl")} == {"c", "d"}


def test_another_format_is_refused(lite: Scene, tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match=r"\.jsonl, \.csv, \.parquet, \.db"):
        lite.start(["a"]).export(tmp_path / "rows.xlsx")


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("=HYPERLINK(1)", "'=HYPERLINK(1)"),
        ("  =1+1", "'  =1+1"),
        ("+SUM(A1)", "'+SUM(A1)"),
        ("@now", "'@now"),
        ("-2+3+cmd|' /C calc'!A0", "'-2+3+cmd|' /C calc'!A0"),
        ("-12.50", "-12.50"),
        ("+49 (30) 123-45", "+49 (30) 123-45"),
        ("-", "-"),
        ("a=1", "a=1"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
    ],
)
def test_no_cell_of_a_csv_is_a_formula(
    lite: Scene, tmp_path: Path, text: str, written: str
) -> None:
    lite.answers["a"] = text
    lite.start(["a"]).execute().export(tmp_path / "rows.csv")

    assert [row["answer"] for row in table(tmp_path / "rows.csv")] == [written]


def test_a_csv_has_every_field_of_the_model_before_any_answer(lite: Scene, tmp_path: Path) -> None:
    lite.start(["a"], template=asking(Invoice)).export(tmp_path / "rows.csv")

    (row,) = table(tmp_path / "rows.csv")
    assert list(row)[4:11] == [
        *("supplier", "total", "paid", "kind", "place.city", "place.zip", "lines"),
    ]


def test_every_form_says_where_a_row_comes_from(lite: Scene, tmp_path: Path) -> None:
    document = {"path": "in/a.txt", "sha256": "ab" * 32}
    run = lite.start(["a"], template=asking(Invoice), documents=[[document]])

    run.export(tmp_path / "rows.csv")

    (row,) = table(tmp_path / "rows.csv")
    assert (row["source"], row["source_sha256"]) == ("in/a.txt", "ab" * 32)


def test_a_place_that_cannot_be_written_is_one_clear_line(lite: Scene, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")

    with pytest.raises(ConfigError, match=r"Cannot write .*rows\.csv"):
        lite.start(["a"]).export(tmp_path / "file" / "rows.csv")


def test_an_old_file_stays_if_the_new_one_fails(lite: Scene, tmp_path: Path) -> None:
    from batchkit.export import export

    def broken() -> Any:
        yield JobResult(job_id="1", key="a", state="pending")
        raise RuntimeError

    (tmp_path / "rows.csv").write_text("old")

    with pytest.raises(RuntimeError):
        export(broken(), tmp_path / "rows.csv")

    assert [path.name for path in tmp_path.glob("*rows*")] == ["rows.csv"]
    assert (tmp_path / "rows.csv").read_text() == "old"
