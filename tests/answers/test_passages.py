"""Does a cited passage contain a value, however it is written?"""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.citing import Passage, is_telling


@pytest.mark.parametrize(
    ("passage", "value"),
    [
        ("Total: 1,234.50 EUR", 1234.5),
        ("Summe 1.234,50 €", 1234.5),
        ("somme de 1\u202f234,5", 1234.5),
        ("USD1,234.50", 1234.5),
        ("€ 1'000.00", 1000),
        ("1,234,567 people", 1234567),
        ("$1,000", "1000"),
        ("Austria 8,935,112 67,413,000 453", 67413000),
        ("a share of 25 %", 0.25),
        ("a share of 25%", 25),
        ("1.2 million users", 1_200_000),
        ("3 Mrd. Euro", 3_000_000_000),
        ("a loss of (5)", -5),
        ("\u22125 degrees", -5),
        ("pages 1-5", 5),
        ("Version 3 \u2013 2022/10/25", 2022),
        ("\u0662\u0660\u0662\u0662", 2022),
        ("1.5e3 volts", 1500),
        ("about .5 mm", 0.5),
        ("in 2026.", 2026),
        ("No. 12345678901234567890", 12345678901234567890),
        ("due Feb 3, 2026", "2026-02-03"),
        ("am 3. Februar 2026", "2026-02-03"),
        ("le 3 février 2026", "2026-02-03"),
        ("el 3 de febrero de 2026", "2026-02-03"),
        ("on the 3rd of February, 2026", "2026-02-03"),
        ("03/02/26", "2026-02-03"),
        ("2/3/2026", "2026-02-03"),
        ("20260203", "2026-02-03"),
        ("2026\u5e742\u67083\u65e5", "2026-02-03"),
        ("2026\ub144 2\uc6d4 3\uc77c", "2026-02-03"),
        ("2026-02-03", "2026-02-03"),
        ("at 2026-02-03 08:15", "2026-02-03T08:15:00Z"),
        ("opens at 8:00 am", "08:00:00"),
        ("um 20.30 Uhr", "20:30:00"),
        ("by 8 pm", "20:00:00"),
        ("ACME\n  Ltd.", "Acme Ltd"),
        ("more infor-\nmation", "information"),
        ("so\u00adft hyphen", "soft hyphen"),
        ("\u201cOn \u2013 off\u201d", '"on - off"'),
        ("IBAN DE89 3704 0044 0532", "DE89370400440532"),
        ("a credit card", "credit_card"),
        ("\u7248\u6771\u4eac\u3067\u3059", "\u6771\u4eac"),
        ("The ﬁrst", "first"),
    ],
)
def test_a_value_is_found_however_it_is_written(passage: str, value: Any) -> None:
    """Same number, day, time or words."""
    assert Passage(passage).contains(value)


@pytest.mark.parametrize(
    ("passage", "value"),
    [
        ("12345", 1234),
        ("1,042", "42"),
        ("total 42.5", 42),
        ("20,3", 203),
        ("-5", 5),
        ("5", -5),
        ("B2B", 2),
        ("v1.2.3", 1.2),
        ("No. 12345678901234567891", 12345678901234567890),
        ("13/02/2026", "2026-02-03"),
        ("3 Feb 2025", "2026-02-03"),
        ("3 Feb 2026", "2026-02-03T08:15:00Z"),
        ("8:00 pm", "08:00:00"),
        ("18:00", "08:00:00"),
        ("concatenate", "cat"),
        ("x1234567890", "234567890"),
        ("paid", True),
        ("nothing", None),
        ("", ""),
        ("words", " "),
        ("1e999", 1),
    ],
)
def test_a_value_is_not_found_where_another_stands(passage: str, value: Any) -> None:
    """A part of a longer number or word is another one."""
    assert not Passage(passage).contains(value)


@pytest.mark.parametrize(
    ("value", "tells"),
    [
        *[(True, False), (None, False), (7, False), (1000, False), (0.05, False), ("yes", False)],
        *[(4711, True), (12.34, True), ("Acme Ltd", True)],
    ],
)
def test_only_what_says_enough_is_known_by_itself(value: Any, tells: bool) -> None:
    """A 7 stands in many sentences."""
    assert is_telling(value) is tells


@given(st.text(max_size=60), st.text(max_size=12) | st.floats() | st.integers() | st.dates())
def test_any_words_and_any_value_have_an_answer(passage: str, value: Any) -> None:
    """Whatever a model wrote and a document holds."""
    value = value if isinstance(value, (str, int, float)) else value.isoformat()
    assert Passage(passage).contains(value) in (True, False)


@given(st.integers(-(10**12), 10**12), st.sampled_from(["{:,}", "{}", "[{:,}]", "x {} y"]))
def test_a_whole_number_is_found_as_it_was_written(number: int, form: str) -> None:
    """With and without separators."""
    assert Passage(form.format(number)).contains(number)
    assert not Passage(form.format(number)).contains(number + 1)
