"""Result files, line by line: no line may cost another one."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit.model import NotRun, Succeeded, Unreadable
from batchkit.providers.anthropic import Anthropic
from tests.providers.made import download


def line(number: int, text: bytes = b"x") -> bytes:
    """One row of an Anthropic results file."""
    content = b'[{"type":"text","text":"%s"}]' % text
    message = b'{"content":%s,"stop_reason":"end_turn"}' % content
    return b'{"custom_id":"t-%d","result":{"type":"succeeded","message":%s}}' % (number, message)


def texts(folder: Path, data: bytes) -> list[str]:
    """The texts of a file in which every line must be fine."""
    found = list(Anthropic().outcomes(download(folder, data)))
    assert all(isinstance(outcome, Succeeded) for outcome in found), found
    return [outcome.text for outcome in found if isinstance(outcome, Succeeded)]


@pytest.mark.parametrize(
    "data",
    [
        line(1) + b"\n" + line(2) + b"\n",
        line(1) + b"\n" + line(2),
        line(1) + b"\r\n" + line(2) + b"\r\n",
        b"\n" + line(1) + b"\n  \n\n" + line(2) + b"\n\n",
        b"\xef\xbb\xbf" + line(1) + b"\n" + line(2) + b"\n",
    ],
    ids=["plain", "no final newline", "CRLF", "blank lines", "BOM"],
)
def test_lines_are_lines_however_they_end(tmp_path: Path, data: bytes) -> None:
    """Two rows are two rows."""
    assert texts(tmp_path, data) == ["x", "x"]


@pytest.mark.parametrize("mark", ["\u2028", "\u2029", "\x85", "\x7f", "\U0001f600"])
def test_only_a_newline_ends_a_line(tmp_path: Path, mark: str) -> None:
    """What other splitters take for a line end is text."""
    assert texts(tmp_path, line(1, mark.encode()) + b"\n" + line(2)) == [mark, "x"]


def test_half_a_surrogate_costs_one_character_not_the_answer(tmp_path: Path) -> None:
    """An answer may be cut in the middle of an emoji."""
    assert texts(tmp_path, line(1, rb"ok \ud83d")) == ["ok ?"]


@pytest.mark.parametrize(
    ("bad", "custom_id"),
    [
        (line(7, b"\xff"), "t-7"),
        (line(7)[:-3], "t-7"),
        (b"<html>", None),
        (b"[1]", None),
        (b'{"result":{"type":"canceled"}}', None),
        (b'{"custom_id":7,"result":{"type":"canceled"}}', None),
        (rb'{"text":"\"custom_id\":\"t-8\"', None),
    ],
    ids=["bad UTF-8", "torn", "HTML", "no object", "no id", "id no text", "id quoted in a text"],
)
def test_a_bad_line_is_one_unreadable_between_good_ones(
    tmp_path: Path, bad: bytes, custom_id: str | None
) -> None:
    """Its custom_id is saved where it can be seen."""
    data = line(1) + b"\n" + bad + b"\n" + b'{"custom_id":"t-2","result":{"type":"expired"}}'
    first, second, third = Anthropic().outcomes(download(tmp_path, data))
    assert isinstance(first, Succeeded)
    assert isinstance(second, Unreadable)
    assert second.custom_id == custom_id
    assert third == NotRun("t-2", "expired")


def test_duplicates_are_handed_on_as_they_come(tmp_path: Path) -> None:
    """Which one counts is not the reader's to say."""
    assert texts(tmp_path, line(1) + b"\n" + line(1, b"y")) == ["x", "y"]
