"""Dates and times as people write them, with months in six languages and in East Asia's way."""

from __future__ import annotations

import re
from datetime import date, datetime, time
from functools import lru_cache
from typing import Final

# The first letters of a month: English, German, French, Spanish, Italian, Dutch.
_MONTHS: Final = (
    "jan|jän|gen|ene",
    "feb|fév|fev",
    "mar|mär|mrz|maa|mrt",
    "apr|avr|abr",
    "may|mai|mag|mei",
    "jun|juin|giu",
    "jul|juil|lug",
    "aug|aoû|aou|ago",
    "sep|set",
    "oct|okt|ott",
    "nov",
    "dec|dez|déc|dic",
)
_ISO_DAY: Final = re.compile(r"\s*\d{4}-\d\d-\d\d\s*")
_ISO_TIME: Final = re.compile(r"\s*\d\d:\d\d(:\d\d(\.\d+)?)?(Z|[+-]\d\d:?\d\d)?\s*")
_GAP: Final = r"(?:st|nd|rd|th|er|\.|º)?[\s,./-]*(?:(?:of|de|del|the)\s+)?"


def as_day(text: str) -> date | None:
    """Return an ISO date; None for anything else."""
    try:
        return date.fromisoformat(text.strip()) if _ISO_DAY.fullmatch(text) else None
    except ValueError:
        return None


def as_moment(text: str) -> datetime | None:
    """Return an ISO date with a time, without its zone; None for anything else."""
    if not re.match(r"\s*\d{4}-\d\d-\d\d[T ]\d\d:\d\d", text):
        return None
    try:
        return datetime.fromisoformat(text.strip()).replace(tzinfo=None)
    except ValueError:
        return None


def as_time(text: str) -> time | None:
    """Return an ISO time of day, without its zone; None for anything else."""
    try:
        return _bare(time.fromisoformat(text.strip())) if _ISO_TIME.fullmatch(text) else None
    except ValueError:
        return None


def _bare(given: time) -> time:
    return given.replace(tzinfo=None)


def holds_day(text: str, day: date) -> bool:
    """Say whether a normalised text names the day; 1/2/2026 may be either of two."""
    return _pattern(day).search(text) is not None


def holds_time(text: str, at: time) -> bool:
    """Say whether a normalised text names the time of day, to the minute."""
    hour, half = at.hour % 12 or 12, "p" if at.hour >= 12 else "a"
    minutes = rf"[:.h]{at.minute:02d}"
    seconds = rf"(?:[:.]{at.second:02d}(?:\.\d+)?)" + ("" if at.second else "?")
    day = rf"(?<!\d)0?{at.hour}{minutes}{seconds}(?![\d:])(?!\s?[ap]\.?m)"
    plain = rf"(?:{minutes}{seconds})" + ("" if at.minute or at.second else "?")
    return re.search(rf"{day}|(?<!\d)0?{hour}{plain}\s?{half}\.?m", text) is not None


@lru_cache(maxsize=1024)
def _pattern(day: date) -> re.Pattern[str]:
    number = rf"0?{day.day}"
    month = rf"(?:0?{day.month}|(?:{_MONTHS[day.month - 1]})\w*)"
    word = rf"(?:{_MONTHS[day.month - 1]})\w*"
    year = rf"(?:{day.year}|'?{day.year % 100:02d})"
    forms = [
        rf"{day.year}{_GAP}{month}{_GAP}{number}",
        rf"{day.year}{_GAP}{number}{_GAP}{word}",
        rf"{day.year}{day.month:02d}{day.day:02d}",
        rf"{day.year}\s?[年년]\s?0?{day.month}\s?[月월]\s?{number}\s?[日일]",
        rf"{number}{_GAP}{month}{_GAP}{year}",
        rf"{month}{_GAP}{number}{_GAP}{year}",
    ]
    return re.compile(rf"(?<![\d.])(?:{'|'.join(forms)})(?![\d])")
