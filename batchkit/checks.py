"""What callers may give, checked once: states, lists, amounts above nothing."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from batchkit.errors import ValidationError


def states_of(given: str | Sequence[str] | None, known: Sequence[str]) -> list[str] | None:
    """Return the states that are asked for; None for all of them."""
    if given is None:
        return None
    asked = [given] if isinstance(given, str) else list(given)
    for one in asked:
        if one not in known:
            raise ValidationError(f"there is no state {one!r} here; known: {', '.join(known)}")
    return [str(one) for one in asked]


def one_of(name: str, value: Any, allowed: tuple[str | bool, ...]) -> Any:
    """Return a word that is allowed; raise ValidationError that lists them."""
    if value not in allowed:
        listed = ", ".join(map(str, allowed))
        raise ValidationError(f"{name} must be one of {listed}, not {value!r}.")
    return value


def listed(name: str, given: Sequence[str]) -> list[str]:
    """Return a list without repeats; a text is none."""
    if isinstance(given, str):
        raise ValidationError(f"{name} must be a list, not the text {given!r}")
    return list(dict.fromkeys(given))


def positive_interval(seconds: float) -> float:
    """Return seconds above 0."""
    return float(positive("interval", seconds, seconds))


def positive(name: str, value: float, given: float) -> float:
    """Return a value above 0; the error names what was given."""
    if value <= 0:
        raise ValidationError(f"{name} must be above 0, not {given}")
    return value
