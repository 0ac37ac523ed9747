"""How amounts, times and spans are written, in text and on the page alike."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime, timedelta

from batchkit.money import show, usd

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069]+")
_STEPS = (1, 5, 10, 30, 60, 120, 300, 600, 900, 1_800, 3_600, 7_200, 10_800, 21_600, 43_200, 86_400)


def money(amount: float | None) -> str:
    """Write US dollars; None is ``unknown``."""
    if amount is None:
        return "unknown"
    sign = "−" if amount < 0 else ""
    return sign + show(usd(abs(amount)))


def clock(at: datetime, *, day: bool = False, seconds: bool = False) -> str:
    """Write a time on this machine's clock."""
    form = "%H:%M:%S" if seconds else "%H:%M"
    return at.astimezone().strftime(f"%Y-%m-%d {form}" if day else form)


def span(seconds: float) -> str:
    """Write a length of time with its two largest units."""
    whole = round(seconds)
    days, rest = divmod(whole, 86_400)
    hours, rest = divmod(rest, 3_600)
    minutes, left = divmod(rest, 60)
    parts = [(days, "d"), (hours, "h"), (minutes, "min"), (left, "s")]
    while len(parts) > 1 and not parts[0][0]:
        parts.pop(0)
    return " ".join(f"{number} {unit}" for number, unit in parts[:2] if number) or "0 s"


def percent(part: float, whole: float) -> str:
    """Write a share; of nothing there is none."""
    return "–" if not whole else f"{100 * part / whole:.{0 if part in (0, whole) else 1}f} %"


def line(text: str, longest: int) -> str:
    """Return what others wrote as one line without control characters, cut if it is too long."""
    said = _CONTROL.sub(" ", text).strip()
    return said if len(said) <= longest else said[: longest - 1] + "…"


def ticks(start: datetime, end: datetime, most: int) -> Sequence[datetime]:
    """Return at most ``most`` round times on this machine's clock, from ``start`` to ``end``."""
    length = (end - start).total_seconds()
    step = next((one for one in _STEPS if length / one <= most), None)
    step = step or -(-int(length) // most // 86_400) * 86_400 or 86_400
    local = start.astimezone()
    midnight = local.replace(hour=0, minute=0, second=0, microsecond=0)
    passed = -(-(local - midnight).total_seconds() // step) * step
    first = midnight + timedelta(seconds=passed)
    found: list[datetime] = []
    while first <= end and len(found) < most:
        found.append(first)
        first += timedelta(seconds=step)
    return found
