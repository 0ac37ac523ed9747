"""Money: whole nano-dollars, rounded up, unknown is never zero."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.errors import ValidationError
from batchkit.money import dollars, enough, optional_dollars, show, usd


@pytest.mark.parametrize(
    ("amount", "nano"),
    [
        ("25.00", 25_000_000_000),
        ("0.000000001", 1),
        ("0.0000000001", 1),
        (0.1, 100_000_000),
        (Decimal("1.5"), 1_500_000_000),
        (3, 3_000_000_000),
        (0, 0),
        ("1e3", 1_000_000_000_000),
        ("-1", -1_000_000_000),
    ],
)
def test_dollars_become_nano_dollars_rounded_up(amount: str | float | Decimal, nano: int) -> None:
    """A float is taken as it is written: 0.1 is a tenth, not its binary neighbour."""
    assert usd(amount) == nano


@pytest.mark.parametrize("amount", ["", "ten", "nan", "inf", "-inf", float("nan"), "1,000", None])
def test_what_is_no_amount_is_refused_by_name(amount: object) -> None:
    """The error repeats what was given."""
    with pytest.raises(ValidationError, match="is not an amount in US dollars"):
        usd(amount)  # type: ignore[arg-type]


@given(st.decimals(min_value=0, max_value=10**9, allow_nan=False, allow_infinity=False, places=12))
def test_rounding_up_never_loses_and_never_adds_a_whole_nano(amount: Decimal) -> None:
    """The next whole nano-dollar, no other."""
    exact = amount * 10**9
    assert usd(amount) == int(exact.to_integral_value(ROUND_CEILING))
    assert 0 <= usd(amount) - exact < 1


@given(st.integers(0, 10**15))
def test_dollars_shown_are_read_back_as_the_same_amount(nano: int) -> None:
    """Up to a million dollars a float holds every nano-dollar."""
    assert usd(repr(dollars(nano))) == nano


def test_unknown_stays_unknown() -> None:
    """None is not zero, neither as a number nor in words."""
    assert optional_dollars(None) is None
    assert optional_dollars(0) == 0.0
    assert show(None) == "unknown"


@pytest.mark.parametrize(
    ("nano", "words"),
    [
        (0, "$0.00"),
        (1_000_000_000, "$1.00"),
        (1_234_567_890_000, "$1,234.57"),
        (12_345_678, "$0.012346"),
        (1_000, "$0.000001"),
    ],
)
def test_amounts_are_written_for_people(nano: int, words: str) -> None:
    """Cents from a dollar on, six digits below."""
    assert show(nano) == words


@given(st.integers(0, 10**13))
def test_an_amount_that_is_said_to_be_enough_is(nano: int) -> None:
    """Read back, it is that much or a little more."""
    read = usd(enough(nano).replace("$", "").replace(",", ""))

    assert nano <= read < nano + 10_000_000
