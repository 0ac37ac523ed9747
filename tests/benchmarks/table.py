"""What was measured, as the lines of a table."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Line:
    """One figure: what is asked, what was found, its floor, and how far repeats lay apart."""

    what: str
    asked: str
    found: str
    floor: str = ""
    holds: bool | None = None
    noise: str = ""

    @property
    def cells(self) -> tuple[str, ...]:
        """The cells of a row, verdict included."""
        verdict = {True: "yes", False: "NO", None: ""}[self.holds]
        return self.what, self.asked, self.found, self.floor, verdict, self.noise


HEAD = ("what", "at most", "this run", "floor", "holds", "repeats")


@dataclass(slots=True)
class Repeats:
    """The same thing measured several times; the best one counts."""

    seconds: list[float] = field(default_factory=list)

    def add(self, value: float) -> None:
        """Take one more."""
        self.seconds.append(value)

    @property
    def best(self) -> float:
        """The quickest."""
        return min(self.seconds)

    @property
    def noise(self) -> str:
        """``4.1 to 4.6 s``."""
        return f"{min(self.seconds):.2f} to {max(self.seconds):.2f} s"


def repeated(times: int, once: Callable[[], float]) -> Repeats:
    """Measure something several times."""
    found = Repeats()
    for _ in range(times):
        found.add(once())
    return found


def shown(lines: Sequence[Line]) -> str:
    """Return the table as Markdown, its columns aligned."""
    rows = [HEAD, *(line.cells for line in lines)]
    widths = [max(len(row[at]) for row in rows) for at in range(len(HEAD))]
    written = [_row(row, widths) for row in rows]
    written.insert(1, "| " + " | ".join("-" * width for width in widths) + " |")
    return "\n".join(written)


def _row(cells: Sequence[str], widths: Sequence[int]) -> str:
    padded = (cell.ljust(width) for cell, width in zip(cells, widths, strict=True))
    return "| " + " | ".join(padded) + " |"


def megabytes(size: float) -> str:
    """Return bytes as MB."""
    return f"{size / 1e6:,.0f} MB"
