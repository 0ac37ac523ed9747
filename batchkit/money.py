"""Money as an integer of nano-dollars: a cheap request costs a few thousand of them."""

from __future__ import annotations

from decimal import ROUND_CEILING, Decimal, InvalidOperation
from typing import NewType

from batchkit.errors import ValidationError

Nano = NewType("Nano", int)
"""Billionths of a US dollar."""

_PER_DOLLAR = 1_000_000_000


def usd(amount: str | float | Decimal) -> Nano:
    """Turn dollars into nano-dollars, rounded up; raise ValidationError for what is no amount."""
    try:
        exact = Decimal(str(amount))
    except InvalidOperation as error:
        raise ValidationError(f"{amount!r} is not an amount in US dollars") from error
    if not exact.is_finite():
        raise ValidationError(f"{amount!r} is not an amount in US dollars")
    return Nano(int((exact * _PER_DOLLAR).to_integral_value(ROUND_CEILING)))


def dollars(amount: int) -> float:
    """Turn nano-dollars into dollars, for people and for JSON."""
    return amount / _PER_DOLLAR


def optional_dollars(amount: int | None) -> float | None:
    """Turn nano-dollars into dollars; unknown stays None, never 0."""
    return None if amount is None else dollars(amount)


def show(amount: int | None) -> str:
    """Write an amount for people: cents where there are some, more digits where there are not."""
    if amount is None:
        return "unknown"
    value = dollars(amount)
    return f"${value:,.2f}" if abs(value) >= 1 or value == 0 else f"${value:.6f}"


def enough(amount: int) -> str:
    """Write an amount as ``show`` does, rounded up: who gives that much gives enough."""
    step = 10_000_000 if amount >= _PER_DOLLAR else 1_000
    return show(-(-amount // step) * step)
