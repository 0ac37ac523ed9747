"""``batchkit report`` and the exports on the command line, through the real SDKs."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from batchkit import Batch

Add = Callable[..., Batch]
Command = Callable[..., Result]

RENT = "Title: Rent\nAmount: 900.50"
REFUSED = "Title: Bribe\nAmount: 5 [[sim:refuse]]"


@pytest.fixture
def mixed(add: Add) -> str:
    """A run of three answers and a refusal, of both providers."""
    batch = add("mixed", RENT, REFUSED, RENT)
    batch.add_job(prompt=RENT, key="<script>alert(1)</script>", model="gpt-5-mini")
    return batch.run(progress_interval=0.05).id


def test_report_prints_what_the_night_did(mixed: str, command: Command) -> None:
    text = command("report", "mixed").stdout

    assert text.startswith(f"mixed ({mixed}): failed\n3 of 4 done, 1 failed\n")
    assert "refused: 1 job failed" in text
    assert "(50.0 %) saved" in text
    assert "  batchkit retry mixed\n" in text.replace("    ", "  ")
    assert max(map(len, text.splitlines())) <= 80


def test_report_as_data_has_the_money_of_the_status(mixed: str, command: Command) -> None:
    report = json.loads(command("report", "mixed", "--json").stdout)
    status = json.loads(command("status", "mixed", "--json").stdout)

    paid = report["money"]
    assert paid["spent"] == status["cost_usd"]
    assert paid["spent"] < paid["full_price"] <= paid["spent"] * 2.1
    assert 0 < paid["estimated"] <= paid["at_most"]
    assert {one["provider"] for one in report["used"]} == {"anthropic", "openai"}
    shown = json.loads(command("show", "mixed", "k0", "--json").stdout)
    assert shown["batch"]["ref"] in {bar["name"] for bar in report["batches"]}


def test_report_writes_a_page(mixed: str, command: Command) -> None:
    result = command("report", "mixed", "--html", "night/report.html")

    assert (result.stdout, result.stderr) == ("", "written to night/report.html\n")
    page = Path("night/report.html").read_text("utf-8")
    assert "<script" not in page
    assert page.count("<svg") == 1


def test_a_page_that_cannot_be_written_is_one_line(mixed: str, command: Command) -> None:
    Path("night").write_text("a file")

    result = command("report", "mixed", "--html", "night/report.html")

    assert result.exit_code == 1
    assert result.stderr.startswith("batchkit: Cannot write night/report.html")


def test_results_go_into_a_table_again_and_again(mixed: str, command: Command) -> None:
    for _ in range(2):
        result = command("results", "mixed", "-o", "night.db")
        where = Path("night.db").absolute()
        assert result.stderr == f"4 rows written to table results of {where}\n4 of 4 final\n"

    connection = sqlite3.connect("night.db")
    rows: Any = connection.execute("SELECT key, title, amount, error_code FROM results").fetchall()
    connection.close()
    assert sorted(rows, key=str)[:1] == [("<script>alert(1)</script>", None, None, None)]
    assert ("k0", "Rent", 900.5, None) in rows
    assert ("k1", None, None, "refused") in rows


def test_results_go_into_parquet(mixed: str, command: Command) -> None:
    from pyarrow.parquet import read_table

    assert command("results", "mixed", "-o", "rows.parquet").exit_code == 0

    table = read_table("rows.parquet")
    assert table.num_rows == 4
    assert str(table.schema.field("amount").type) == "double"


def test_going_on_with_all_runs_ends_in_their_reports(add: Add, command: Command) -> None:
    for name in ("one", "two"):
        add(name, RENT).submit()

    said = command("resume").stderr

    assert said.count("\nMoney\n") == 2
    assert said.index("\none (run-") < said.index("\ntwo (run-")
