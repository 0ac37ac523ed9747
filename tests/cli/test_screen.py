"""What is printed: never control codes, never more than a line for a value."""

from __future__ import annotations

import json
from datetime import UTC, date, datetime
from enum import Enum
from typing import Any

import pytest

from batchkit.cli import screen


class Colour(Enum):
    RED = "red"


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, "–"),
        ("", "–"),
        (True, "yes"),
        (False, "no"),
        (0, "0"),
        (12_345, "12,345"),
        (1.5, "1.5"),
        (Colour.RED, "red"),
        (["a", None, 2], "a, –, 2"),
        ([], "–"),
        (date(2026, 11, 20), "2026-11-20"),
        ("two\nlines\tand\x1b[31m red", "two lines and [31m red"),
        ("\u2028separated\u0085", "separated"),
    ],
)
def test_a_value_is_one_line(value: Any, written: str) -> None:
    assert screen.cell(value) == written


def test_a_long_value_is_cut() -> None:
    assert screen.cell("x" * 100, 10) == "x" * 9 + "…"


def test_a_table_without_a_terminal_is_aligned_words(capsys: pytest.CaptureFixture[str]) -> None:
    """Numbers to the right, no frame, no blanks at the end."""
    screen.table(("name", "jobs", "note"), [("one", 5, None), ("seven", 1_200, "x\ny")])

    assert capsys.readouterr().out.splitlines() == [
        "name    jobs  note",
        "one        5  –",
        "seven  1,200  x y",
    ]


def test_a_table_without_rows_is_its_head(capsys: pytest.CaptureFixture[str]) -> None:
    screen.table(("name", "jobs"), [])

    assert capsys.readouterr().out == "name  jobs\n"


def test_a_table_on_a_terminal_is_drawn(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "is_terminal", lambda: True)

    screen.table(("name",), [("[bold]one",)])

    assert "[bold]one" in capsys.readouterr().out


def test_json_knows_times_and_enums(capsys: pytest.CaptureFixture[str]) -> None:
    screen.as_json({"at": datetime(2026, 11, 20, tzinfo=UTC), "colour": Colour.RED, "ü": "ß"})

    out = capsys.readouterr().out
    assert json.loads(out) == {"at": "2026-11-20T00:00:00+00:00", "colour": "red", "ü": "ß"}
    assert "ß" in out
