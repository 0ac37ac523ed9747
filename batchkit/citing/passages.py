"""Do a passage's words contain a value, however it is written there?"""

from __future__ import annotations

import re
import unicodedata
from decimal import Decimal
from functools import cached_property
from typing import Final

from batchkit.citing.days import as_day, as_moment, as_time, holds_day, holds_time
from batchkit.citing.numbers import as_number, is_same, numbers_in

_HYPHENATED: Final = re.compile(r"(?<=\w)[-\u00ad\u2010]\s*\n\s*(?=\w)")
_LEFT_OUT: Final = dict.fromkeys(map(ord, "\u00ad\u200b\u200c\u200d\ufeff"))
_ALIKE: Final = str.maketrans(
    "\u2018\u2019\u201a\u201c\u201d\u201e\u00ab\u00bb\u2010\u2011\u2012\u2013\u2014\u2212_",
    '\'\'\'"""""------ ',
)
_NO_SPACES_FROM: Final = chr(0x0E00)
"""Thai, Chinese, Japanese and Korean, from here on, do not part words."""

_LONG: Final = 8
_TELLING: Final = 4
_TELLING_DIGITS: Final = 3


class Passage:
    """The words of one citation, as they are compared with values."""

    def __init__(self, text: str) -> None:
        self.text = text

    def contains(self, value: object) -> bool:
        """Say whether the value is written here: same words, number, date or time.

        Case, whitespace, hyphenation, kinds of quotes and dashes, thousands separators and the
        form of a date make no difference. True, false and null are never written anywhere.
        """
        if isinstance(value, bool) or value is None:
            return False
        if isinstance(value, int | float):
            return self._has_number(Decimal(str(value)))
        return self._has_text(str(value))

    def _has_number(self, value: Decimal) -> bool:
        return any(is_same(value, one) for one in self._numbers)

    def _has_text(self, value: str) -> bool:
        if not value.strip():
            return False
        if self._has_words(normal(value)):
            return True
        if (day := as_day(value)) is not None:
            return holds_day(self._normal, day)
        if (moment := as_moment(value)) is not None:
            return holds_day(self._normal, moment.date()) and (
                moment.time() == moment.min.time() or holds_time(self._normal, moment.time())
            )
        if (time := as_time(value)) is not None:
            return holds_time(self._normal, time)
        if (number := as_number(value)) is not None:
            return self._has_number(number)
        return _has_letters(self._letters, _letters(value))

    def _has_words(self, value: str) -> bool:
        return any(_stands_alone(value, text) for text in self._forms)

    @cached_property
    def _normal(self) -> str:
        return normal(self.text)

    @cached_property
    def _forms(self) -> tuple[str, ...]:
        joined = _HYPHENATED.sub("", self.text)
        return (self._normal,) if joined == self.text else (self._normal, normal(joined))

    @cached_property
    def _letters(self) -> str:
        return _letters(self.text)

    @cached_property
    def _numbers(self) -> list[Decimal]:
        return numbers_in(self._normal)


def normal(text: str) -> str:
    """Return the text with one kind of space, quote and dash, and without capitals."""
    plain = unicodedata.normalize("NFKC", text).translate(_LEFT_OUT).translate(_ALIKE)
    return " ".join(plain.casefold().split())


def is_telling(value: object) -> bool:
    """Say whether a value says enough to be recognised by itself: no 7, no "yes"."""
    if isinstance(value, bool) or value is None:
        return False
    if isinstance(value, int | float):
        return len(re.sub(r"\D", "", f"{value:g}".strip("0"))) >= _TELLING_DIGITS
    return sum(map(str.isalnum, str(value))) >= _TELLING


def _stands_alone(value: str, text: str) -> bool:
    """Say whether `value` is in `text`, and not as a part of a longer word or number."""
    at = text.find(value)
    while at >= 0:
        end = at + len(value)
        before, after = text[at - 1 : at], text[end : end + 1]
        joined = _joins(before, value[0]) or _joins(value[-1], after)
        if not joined and not _is_in_number(text, at, end):
            return True
        at = text.find(value, at + 1)
    return False


def _joins(left: str, right: str) -> bool:
    """Say whether two characters side by side belong to one word."""
    return all(one.isalnum() and one < _NO_SPACES_FROM for one in (left or " ", right or " "))


def _is_in_number(text: str, start: int, end: int) -> bool:
    """Say whether a digit at an edge goes on as the same number: 42 in 1,042 and in 42.5."""
    before = text[start].isdigit() and re.search(r"\d[.,]$", text[max(0, start - 2) : start])
    after = text[end - 1].isdigit() and re.match(r"[.,]\d", text[end : end + 2])
    return bool(before or after)


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, normal(_HYPHENATED.sub("", text))))


def _has_letters(letters: str, value: str) -> bool:
    """Compare letters and digits alone: for long values, and never inside of a longer number."""
    at = letters.find(value) if len(value) >= _LONG else -1
    while at >= 0:
        before, after = letters[at - 1 : at], letters[at + len(value) : at + len(value) + 1]
        if not (before.isdigit() and value[0].isdigit()) and not (
            after.isdigit() and value[-1].isdigit()
        ):
            return True
        at = letters.find(value, at + 1)
    return False
