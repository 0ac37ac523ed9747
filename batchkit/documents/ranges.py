"""Page ranges as people write them: "1-20", "1-3,7", "12-". Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from batchkit.errors import ValidationError

_PART = re.compile(r"\s*(\d{1,7})\s*(-\s*(\d{1,7})?)?\s*")
_HOW = 'write pages="1-20", "1-3,7" or "12-", counting from 1, in ascending order'


def parsed(said: object) -> list[tuple[int, int | None]]:
    """Return what was said as (first, last) pairs in order; last is None for "to the end".

    Raise ValidationError for what is no range: not ascending, a page twice, page 0.
    """
    if not isinstance(said, str) or not said.strip():
        raise ValidationError(f"pages={said!r} is no range of pages: {_HOW}.")
    found: list[tuple[int, int | None]] = []
    before = 0
    for part in said.split(","):
        match = _PART.fullmatch(part)
        first = int(match[1]) if match else 0
        if match is None or before is None or first <= before:
            raise ValidationError(f"pages={said!r} is no range of pages: {_HOW}.")
        last = first if match[2] is None else None if match[3] is None else int(match[3])
        if last is not None and last < first:
            raise ValidationError(f"pages={said!r} runs backwards ({first}-{last}): {_HOW}.")
        found.append((first, last))
        before = _END if last is None else last
    return found


_END = 10_000_000
"""Above any page: nothing comes after a range to the end."""


def written(said: str) -> str:
    """Return a range in its one way of writing: no spaces, neighbours joined."""
    parts: list[tuple[int, int | None]] = []
    for first, last in parsed(said):
        if parts and parts[-1][1] is not None and first == parts[-1][1] + 1:
            parts[-1] = (parts[-1][0], last)
        else:
            parts.append((first, last))
    return ",".join(_part(first, last) for first, last in parts)


def numbers(said: str, pages: int) -> list[int]:
    """Return the pages, counting from 1, that `said` means in a document of so many.

    Raise ValidationError, without the document's name, if it has not so many.
    """
    found: list[int] = []
    for first, last in parsed(said):
        most = max(first, first if last is None else last)
        if most > pages:
            has = f"{pages:,} page{'' if pages == 1 else 's'}"
            also = f' (pages="{first}-" goes to the end)' if first <= pages else ""
            raise ValidationError(
                f'has {has}, and pages="{said}" asks for page {most:,}: ask for those it has{also}'
            )
        found += range(first, (pages if last is None else last) + 1)
    return found


def of_numbers(pages: Sequence[int]) -> str:
    """Return ascending page numbers as a range."""
    return written(",".join(map(str, pages)))


def original_page(selection: str | None, page: int) -> int:
    """Return the page of the whole document that is page `page` of what was sent.

    `selection` is a document's; None means that the whole was sent. A page beyond what was sent,
    as the exclusive end of a citation is, follows the last one.
    """
    if selection is None:
        return page
    left = page
    last = 0
    for first, end in parsed(selection):
        last = first if end is None else end
        if left <= last - first + 1:
            return first + left - 1
        left -= last - first + 1
    return last + left


def _part(first: int, last: int | None) -> str:
    return f"{first}-" if last is None else str(first) if last == first else f"{first}-{last}"
