"""The matrices as tables: what broke, where, and what it cost."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

NAME = "broken"
_HEADS = ("fault", "where", "provider", "database", "times", "bought twice", "lost", "over limit")


@dataclass(frozen=True, slots=True)
class Line:
    """One row of a matrix; ``times`` is how many cases it stands for."""

    fault: str
    where: str
    provider: str
    database: str
    twice: int
    lost: int
    over: int
    times: int = 1

    def keep(self, record: Callable[[str, object], None]) -> None:
        """Hand the line to pytest: it travels with the test's report, from a worker, too."""
        record(NAME, asdict(self))


def lines_of(reports: Iterable[Any]) -> list[Line]:
    """Return the lines that tests left in their reports."""
    return [
        Line(**value)
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, value in getattr(report, "user_properties", ())
        if name == NAME
    ]


def drawn(lines: Sequence[Line], *, every: bool) -> list[str]:
    """Draw a table: every case, or one line for each kind of fault."""
    rows = [_cells(line) for line in sorted(_gathered(lines, every=every), key=_order)]
    if not rows:
        return []
    widths = [max(len(row[n]) for row in [_HEADS, *rows]) for n in range(len(_HEADS))]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in [_HEADS, tuple("-" * width for width in widths), *rows]
    ]


def _gathered(lines: Sequence[Line], *, every: bool) -> list[Line]:
    sums: dict[tuple[str, ...], Line] = {}
    for line in lines:
        where = line.where if every else ""
        place = (line.fault, where, line.provider, line.database)
        old = sums.get(place, Line(*place, 0, 0, 0, 0))
        sums[place] = Line(
            *place,
            old.twice + line.twice,
            old.lost + line.lost,
            old.over + line.over,
            old.times + line.times,
        )
    return list(sums.values())


def _cells(line: Line) -> tuple[str, ...]:
    counts = (line.times, line.twice, line.lost, line.over)
    return (line.fault, line.where, line.provider, line.database, *map(str, counts))


def _order(line: Line) -> tuple[str, ...]:
    return (line.fault, line.where, line.provider, line.database)
