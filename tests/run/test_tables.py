"""Typed exports: Parquet, a table in a database, a data frame; while a run goes on, too."""

from __future__ import annotations

import math
import sqlite3
import sys
from collections.abc import Callable
from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import BaseModel, field_serializer
from sqlalchemy import create_engine, inspect, text

from batchkit.errors import ConfigError, ValidationError
from batchkit.export import shapes
from tests.run.scenes import Scene, asking


class Line(BaseModel):
    name: str
    price: float | None = None


class Address(BaseModel):
    city: str
    zip: str | None = None


class Bill(BaseModel):
    supplier: str
    total: float
    count: int = 0
    paid: bool = False
    due: date | None = None
    address: Address | None = None
    lines: list[Line] = []
    notes: dict[str, str] = {}
    exact: Decimal | None = None


FULL = {
    "supplier": "ACME",
    "total": 12,
    "count": 3,
    "paid": True,
    "due": "2026-11-20",
    "address": {"city": "Köln", "zip": None},
    "lines": [{"name": "one", "price": 1.5}, {"name": "two", "price": None}],
    "notes": {"a.b": "c"},
    "exact": "10.10",
}
BARE = {
    "supplier": "B",
    "total": 1.5,
    "count": 0,
    "paid": False,
    "due": None,
    "address": None,
    "lines": [],
    "notes": {},
    "exact": None,
}


def night(scene: Scene) -> Any:
    """A full answer, a bare one, a failure and a job that waits."""
    scene.answers |= {"a": FULL, "b": BARE}
    scene.invalid("c")
    run = scene.start(["a", "b", "c"], template=asking(Bill)).execute()
    scene.add(["d"], template=asking(Bill))
    scene.open()
    return run


def parquet(path: Path) -> Any:
    from pyarrow.parquet import read_table

    return read_table(path)


# Parquet


def test_parquet_has_the_types_of_the_model(lite: Scene, tmp_path: Path) -> None:
    assert night(lite).export(tmp_path / "rows.parquet") == 4

    found = parquet(tmp_path / "rows.parquet")
    kinds = {field.name: str(field.type) for field in found.schema}
    assert kinds["supplier"] == "string"
    assert kinds["total"] == kinds["cost_usd"] == "double"
    assert kinds["count"] == kinds["attempts"] == "int64"
    assert kinds["paid"] == "bool"
    assert kinds["due"] == "date32[day]"
    assert kinds["address.city"] == "string"
    assert kinds["lines"] == "list<element: struct<name: string, price: double>>"
    assert kinds["notes"] == kinds["exact"] == "string"
    rows = {row["key"]: row for row in found.to_pylist()}
    assert rows["a"]["due"] == date(2026, 11, 20)
    assert rows["a"]["lines"] == FULL["lines"]
    assert rows["a"]["notes"] == '{"a.b":"c"}'
    assert rows["a"]["exact"] == "10.10"
    assert rows["c"]["error_code"] == "invalid_request"
    assert rows["c"]["supplier"] is None
    assert rows["d"]["state"] == "pending"


def test_parquet_has_its_types_before_the_first_answer(lite: Scene, tmp_path: Path) -> None:
    run = lite.start(["a"], template=asking(Bill))

    run.export(tmp_path / "before.parquet")
    lite.answers["a"] = FULL
    run.execute().export(tmp_path / "after.parquet")

    before, after = (parquet(tmp_path / f"{name}.parquet") for name in ("before", "after"))
    assert before.schema == after.schema


def test_an_answer_that_does_not_fit_its_column_widens_it(lite: Scene, tmp_path: Path) -> None:
    """Beyond 64 bits there is no whole number in a table; the digits stay."""
    lite.answers |= {"a": {**BARE, "count": 2**63}, "b": {**BARE, "count": 7}}
    run = lite.start(["a", "b"], template=asking(Bill)).execute()

    run.export(tmp_path / "rows.parquet")

    found = parquet(tmp_path / "rows.parquet")
    assert str(found.schema.field("count").type) == "string"
    assert sorted(found["count"].to_pylist()) == ["7", "9223372036854775808"]


def test_parquet_is_written_in_row_groups(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from pyarrow.parquet import ParquetFile

    monkeypatch.setattr("batchkit.export.parquet._ROWS", 3)
    run = lite.start([f"k{n}" for n in range(8)]).execute()

    run.export(tmp_path / "rows.parquet")

    with ParquetFile(tmp_path / "rows.parquet") as file:
        sizes = [file.metadata.row_group(at).num_rows for at in range(file.num_row_groups)]
    assert sizes == [3, 3, 2]


def test_without_pyarrow_one_line_says_what_to_install(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "pyarrow", None)

    with pytest.raises(ConfigError, match=r"pip install 'llm-batchkit\[parquet\]'"):
        lite.start(["a"]).export(tmp_path / "rows.parquet")

    assert list(tmp_path.glob("*rows*")) == []


# a table


@pytest.fixture(params=["sqlite", "postgres"])
def outlet(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """Where to write a table, as a user gives it."""
    if request.param == "sqlite":
        return str(tmp_path / "out.db")
    url: str = request.getfixturevalue("postgres_url")
    return f"{url}/results" if "?" not in url else f"{url}&table=results"


def select(outlet: str, query: str = "SELECT * FROM results ORDER BY key") -> list[dict[str, Any]]:
    from batchkit.store import outlets

    engine = create_engine(outlets.place(outlet).url)
    with engine.connect() as connection:
        rows = [dict(row) for row in connection.execute(text(query)).mappings()]
    engine.dispose()
    return rows


def change(outlet: str, statement: str) -> None:
    from batchkit.store import outlets

    engine = create_engine(outlets.place(outlet).url)
    with engine.begin() as connection:
        connection.execute(text(statement))
    engine.dispose()


def types(outlet: str) -> dict[str, str]:
    from batchkit.store import outlets

    engine = create_engine(outlets.place(outlet).url)
    listed = inspect(engine).get_columns("results")
    engine.dispose()
    return {one["name"]: str(one["type"]).split("(")[0].split(" ")[0] for one in listed}


def test_a_table_has_a_row_for_every_job(lite: Scene, outlet: str) -> None:
    run = night(lite)

    assert run.export(outlet) == 4

    rows = {row["key"]: row for row in select(outlet)}
    assert rows["a"]["run"] == run.id
    assert rows["a"]["run_name"] == "night"
    assert (rows["a"]["total"], rows["a"]["count"], rows["a"]["paid"]) == (12.0, 3, True)
    assert str(rows["a"]["due"]) == "2026-11-20"
    assert rows["a"]["address.city"] == "Köln"
    assert rows["c"]["error_code"] == "invalid_request"
    assert rows["d"]["state"] == "pending"
    assert rows["d"]["supplier"] is None
    kinds = types(outlet)
    assert kinds["count"] == "BIGINT"
    assert kinds["due"] == "DATE"
    assert kinds["lines"] in ("JSON", "JSONB")


def test_the_same_export_again_changes_nothing(lite: Scene, outlet: str) -> None:
    run = night(lite)
    run.export(outlet)
    before = select(outlet)

    assert run.export(outlet) == 4

    assert select(outlet) == before


def test_what_has_changed_since_is_updated(lite: Scene, outlet: str) -> None:
    run = night(lite)
    run.export(outlet)
    change(outlet, "ALTER TABLE results ADD COLUMN reviewed TEXT")
    change(outlet, "UPDATE results SET reviewed = 'yes'")
    lite.answers["d"] = BARE

    run.execute().export(outlet)

    rows = {row["key"]: row for row in select(outlet)}
    assert (rows["d"]["state"], rows["d"]["supplier"]) == ("completed", "B")
    assert {row["reviewed"] for row in rows.values()} == {"yes"}


def test_two_runs_share_a_table(lite: Scene, outlet: str) -> None:
    night(lite).export(outlet)
    lite.answers.clear()
    second = lite.start(["a"], name="morning").execute()

    second.export(outlet)

    rows = select(outlet)
    assert [(row["key"], row["run_name"]) for row in rows if row["key"] == "a"] in (
        [("a", "night"), ("a", "morning")],
        [("a", "morning"), ("a", "night")],
    )
    assert {row["answer"] for row in rows if row["run_name"] == "morning"} == {"a!"}
    assert len(rows) == 5


def test_a_model_that_grew_adds_columns(lite: Scene, outlet: str) -> None:
    class Grown(Bill):
        iban: str = ""

    night(lite).export(outlet)
    lite.answers["a"] = {**FULL, "iban": "DE00"}

    lite.start(["a"], name="grown", template=asking(Grown)).execute().export(outlet)

    rows = {(row["run_name"], row["key"]): row for row in select(outlet)}
    assert rows["grown", "a"]["iban"] == "DE00"
    assert rows["night", "a"]["iban"] is None


def test_a_column_that_is_too_narrow_is_named_and_nothing_is_written(
    lite: Scene, outlet: str
) -> None:
    class Changed(BaseModel):
        total: str

    night(lite).export(outlet)
    lite.answers["a"] = {"total": "twelve"}
    run = lite.start(["a"], name="changed", template=asking(Changed)).execute()

    with pytest.raises(ValidationError, match=r"column 'total' .* hold text now"):
        run.export(outlet)

    assert len(select(outlet)) == 4


def test_a_table_of_somebody_else_is_left_alone(lite: Scene, outlet: str) -> None:
    change(outlet, "CREATE TABLE results (key TEXT, run TEXT)")

    with pytest.raises(ValidationError, match="not one of batchkit's"):
        lite.start(["a"]).export(outlet)


def tables(outlet: str) -> list[str]:
    from batchkit.store import outlets

    engine = create_engine(outlets.place(outlet).url)
    found = inspect(engine).get_table_names()
    engine.dispose()
    return found


def test_an_export_that_fails_half_way_leaves_nothing(
    lite: Scene, outlet: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row, no new column, and no table that was not there before."""
    from batchkit.store import outlets

    run = night(lite)
    monkeypatch.setattr("batchkit.store.outlets._PAGE", 1)
    bound, calls = outlets._bound, []

    def broken(value: Any, is_text: bool) -> Any:
        calls.append(value)
        if len(calls) > 60:
            raise RuntimeError
        return bound(value, is_text)

    monkeypatch.setattr("batchkit.store.outlets._bound", broken)
    with pytest.raises(RuntimeError):
        run.export(outlet)
    assert tables(outlet) == []

    change(outlet, "CREATE TABLE results (run TEXT, key TEXT, PRIMARY KEY (run, key))")
    calls.clear()
    with pytest.raises(RuntimeError):
        run.export(outlet)
    assert (select(outlet), list(types(outlet))) == ([], ["run", "key"])

    monkeypatch.setattr("batchkit.store.outlets._bound", bound)
    assert run.export(outlet) == len(select(outlet)) == 4


def test_odd_names_of_fields_become_columns(lite: Scene, outlet: str) -> None:
    odd = {
        "Total": 1,
        "total": 2,
        'quote"d': "q",
        "100%": "p",
        "run": "r",
        "key": "k",
        "x" * 90: "long",
        "ü" * 40: "wide",
        "a.b": "dot",
        "a": {"b": "inner"},
        "colon:c1": "c",
    }

    class Free(BaseModel):
        model_config = {"extra": "allow"}

    lite.answers["a"] = odd
    run = lite.start(["a"], template={"schema": None}).execute()
    results = list(run.rows())
    from dataclasses import replace

    from batchkit.export import Source, export

    rows = [replace(results[0], parsed_response=odd)]
    for _ in range(2):
        assert export(rows, outlet, source=Source("run-1", "n")) == 1

    (row,) = select(outlet)
    assert (row["Total"], row['quote"d'], row["100%"], row["colon:c1"]) == (1, "q", "p", "c")
    assert (row["run"], row["answer.run"], row["key"], row["answer.key"]) == (
        "run-1",
        "r",
        "a",
        "k",
    )
    assert {"dot", "long", "wide", 2} <= {v for v in row.values() if isinstance(v, str | int)}


def test_what_no_database_holds_becomes_a_question_mark(lite: Scene, outlet: str) -> None:
    lite.answers["a"] = {**FULL, "supplier": "A\0B", "notes": {"k\0": "v\0"}}

    lite.start(["a"], template=asking(Bill)).execute().export(outlet)

    (row,) = select(outlet)
    assert row["supplier"] == "A\ufffdB"
    assert "\0" not in str(row["notes"])


@pytest.mark.parametrize(
    ("target", "words"),
    [
        ("mysql://host/db/table", "SQLite or Postgres, not to 'mysql'"),
        ("postgresql://user:p@ss:word/x@host:port/db", "cannot be read"),
        ("sqlite://", "Name the SQLite file"),
        ("sqlite:///x.db?table=%20", "no name of a table"),
        ("postgresql://host/db/batchkit.jobs", "keeps its state"),
    ],
)
def test_a_target_that_is_none_is_one_clear_line(lite: Scene, target: str, words: str) -> None:
    with pytest.raises(ValidationError, match=words) as caught:
        lite.start(["a"]).export(target)

    assert "p@ss" not in str(caught.value)


def test_the_state_is_no_place_for_results(lite: Scene) -> None:
    run = lite.start(["a"])

    with pytest.raises(ValidationError, match="keeps its state"):
        run.export(lite.url)


def test_a_database_that_is_not_there_is_one_clear_line(lite: Scene, tmp_path: Path) -> None:
    (tmp_path / "file.db").write_text("this is no database, it is a text of some length")

    with pytest.raises(ConfigError, match=r"Cannot write the table results of .*file\.db"):
        lite.start(["a"]).export(tmp_path / "file.db")


def test_a_sqlite_file_names_its_table(lite: Scene, tmp_path: Path) -> None:
    lite.start(["a"]).execute().export(f"sqlite:///{tmp_path / 'x.sqlite'}?table=bills")

    with sqlite3.connect(tmp_path / "x.sqlite") as connection:
        rows = connection.execute("SELECT key, answer FROM bills").fetchall()
    connection.close()
    assert rows == [("a", "a!")]


def test_a_password_is_not_shown() -> None:
    from batchkit.export import shown

    assert shown("postgresql://me:secret@host/db/bills") == (
        "table bills of postgresql+psycopg://me:***@host/db"
    )
    assert shown("rows.csv") == "rows.csv"


# data frames


@pytest.fixture(params=["pandas", "polars"])
def library(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_frame_has_a_typed_column_for_each_field(lite: Scene, library: Any) -> None:
    frame = night(lite).to_frame(library)

    assert type(frame).__module__.partition(".")[0] == library
    columns: Callable[[str], list[Any]] = lambda name: frame[name].to_list()  # noqa: E731
    keys = columns("key")
    at = {key: number for number, key in enumerate(keys)}
    assert sorted(keys) == ["a", "b", "c", "d"]
    assert columns("total")[at["a"]] == 12.0
    assert columns("count")[at["a"]] == 3
    assert columns("lines")[at["a"]] == FULL["lines"]
    assert columns("source_sha256")[at["a"]] in (None, frame["source_sha256"][at["a"]])
    missing = columns("total")[at["d"]]
    assert missing is None or math.isnan(missing)
    kinds = {name: str(frame[name].dtype).lower() for name in ("count", "paid", "total")}
    assert kinds["count"] == "int64"
    assert kinds["paid"] == "boolean"
    assert kinds["total"] == "float64"
    assert "date" in str(frame["due"].dtype).lower()


def test_a_frame_is_of_the_library_that_the_program_has(
    lite: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    import polars

    run = lite.start(["a"]).execute()
    monkeypatch.delitem(sys.modules, "pandas", raising=False)

    assert isinstance(run.to_frame(), polars.DataFrame)


@pytest.mark.parametrize("name", ["pandas", "polars"])
def test_without_the_library_one_line_says_what_to_install(
    lite: Scene, monkeypatch: pytest.MonkeyPatch, name: Any
) -> None:
    monkeypatch.setitem(sys.modules, name, None)

    with pytest.raises(ConfigError, match=rf"pip install 'llm-batchkit\[{name}\]'"):
        lite.start(["a"]).to_frame(name)


def test_another_library_is_refused(lite: Scene) -> None:
    with pytest.raises(ValidationError, match="'pandas' or 'polars', not 'dask'"):
        lite.start(["a"]).to_frame("dask")  # type: ignore[arg-type]


def test_a_serializer_of_the_users_own_decides_what_is_written(lite: Scene) -> None:
    class Loud(BaseModel):
        total: float

        @field_serializer("total")
        def said(self, total: float) -> str:
            return f"{total} EUR"

    lite.answers["a"] = {"total": 2}
    run = lite.start(["a"], template=asking(Loud)).execute()

    assert run.to_frame("polars", response_model=Loud)["total"].to_list() == ["2.0 EUR"]


# laws


VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(["", "2026-11-20", "2026-13-01", "text"]),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    ),
    max_leaves=8,
)
HINTS = st.sampled_from(
    [shapes.NOTHING, shapes.DATE, shapes.of_schemas([Bill.model_json_schema()])]
)


@given(VALUES, VALUES, HINTS)
def test_a_value_fits_exactly_if_it_widens_nothing(one: Any, other: Any, hint: Any) -> None:
    before = shapes.join(hint, shapes.of_value(one, hint))

    wider = shapes.join(before, shapes.of_value(other, hint))

    assert shapes.fits(one, before)
    assert shapes.fits(other, wider)
    if shapes.fits(other, before):
        assert wider == before


@given(st.lists(VALUES, min_size=1, max_size=6), HINTS)
def test_a_column_holds_every_value_whatever_comes(values: list[Any], hint: Any) -> None:
    """And writes each of them without an error."""
    import pyarrow

    from batchkit.export.parquet import _type

    shape = hint
    for value in values:
        shape = shapes.join(shape, shapes.of_value(value, hint))

    fitted = [shapes.fitted(value, shape) for value in values]

    array = pyarrow.array(fitted, _type(pyarrow, shape))
    assert [one is None for one in array.to_pylist()] == [one is None for one in fitted]
