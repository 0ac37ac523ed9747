"""Numbers as people write them: 1,234.50 and 1.234,50 and 1 234,5, 25 % and 1.2 million."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal
from typing import Final

_WRITTEN: Final = re.compile(
    r"(?:(?<![\w.,])|(?<=\b[a-z]{3}))(?P<sign>-\s?)?(?P<money>[$€£¥]\s?)?"
    r"(?P<digits>\d{1,3}(?P<mark>[ '.,])\d{3}(?!\d)(?:(?P=mark)\d{3}(?!\d))*(?:[.,]\d+)?"
    r"|\d+(?:[.,]\d+)?|[.,]\d+)"
    r"(?:e(?P<power>[+-]?\d{1,3}))?(?!\d)"
    r"(?:\s?(?P<unit>%|percent\b|thousand\b|million\b|billion\b|trillion\b|tsd\b|mio\b|mrd\b"
    r"|[km]\b|mn\b|bn\b))?"
)
_UNITS: Final = {
    "%": Decimal("1e-2"),
    "percent": Decimal("1e-2"),
    "thousand": Decimal("1e3"),
    "tsd": Decimal("1e3"),
    "k": Decimal("1e3"),
    "million": Decimal("1e6"),
    "mio": Decimal("1e6"),
    "mn": Decimal("1e6"),
    "m": Decimal("1e6"),
    "billion": Decimal("1e9"),
    "mrd": Decimal("1e9"),
    "bn": Decimal("1e9"),
    "trillion": Decimal("1e12"),
}
_MOST: Final = 2_000
_CLOSE: Final = Decimal("1e-9")


def numbers_in(text: str) -> list[Decimal]:
    """Return every reading of every number in a normalised text.

    1.234 is read as 1234 and as 1.234, 25 % as 25 and as 0.25, (5) as 5 and as -5.
    """
    found: list[Decimal] = []
    for match in _WRITTEN.finditer(text):
        found += _readings(match, text)
        if len(found) > _MOST:
            break
    return found


def as_number(text: str) -> Decimal | None:
    """Return a text that is one number and nothing else, as JSON has them; else None."""
    return Decimal(text.strip()) if re.fullmatch(r"\s*[+-]?\d+(\.\d+)?\s*", text) else None


def is_same(value: Decimal, read: Decimal) -> bool:
    """Compare as written; of a fraction, what a float loses at its end makes no difference."""
    if value == read:
        return True
    if not value.is_finite() or value == value.to_integral_value():
        return False
    return abs(value - read) <= _CLOSE * max(Decimal(1), abs(value))


def _readings(match: re.Match[str], text: str) -> Iterator[Decimal]:
    power = Decimal(10) ** int(match["power"] or 0)
    unit = _UNITS.get(match["unit"] or "")
    before, after = text[match.start() - 1 : match.start()], text[match.end() : match.end() + 1]
    signs = [-1] if match["sign"] else [1]
    if (before, after) == ("(", ")") or match["sign"] == "- ":
        # Perhaps a loss, or a dash between words: perhaps not.
        signs = [1, -1]
    for digits in _spellings(match["digits"]):
        for sign in signs:
            value = sign * Decimal(digits) * power
            yield value
            if unit is not None:
                yield value * unit


def _spellings(digits: str) -> list[str]:
    """Return what the digits may mean, in Python's spelling."""
    digits = digits.replace(" ", "").replace("'", "")
    marks = [one for one in digits if one in ".,"]
    if not marks:
        return [digits]
    whole = digits.replace(".", "").replace(",", "")
    tail = digits[max(digits.rfind("."), digits.rfind(",")) + 1 :]
    fraction = f"{whole[: len(whole) - len(tail)] or '0'}.{tail}"
    if len(set(marks)) == 2:
        return [fraction]
    if len(marks) > 1:
        return [whole]
    return [fraction, whole] if len(tail) == 3 and digits[0] not in ".,0" else [fraction]
