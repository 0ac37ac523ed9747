"""Which answer killed the process: what is known of the rows that were being judged. Pure.

A user's class may end the process (``os._exit``, a segfault in C). Before it judges, what is about
to be judged is written down; whoever collects next finds the note and judges those rows alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace

from batchkit.model import Json

_TWICE = 2


@dataclass(frozen=True, slots=True)
class Suspects:
    """``rows`` are being judged (``together``) or suspected, one of them ``alone``.

    ``deaths`` counts by row. An ``unexplained`` one happened while rows were judged together: the
    first of them that dies alone has died twice.
    """

    rows: frozenset[int] = frozenset()
    together: bool = False
    alone: int | None = None
    deaths: Mapping[int, int] = field(default_factory=dict)
    unexplained: int = 0

    @classmethod
    def after(cls, noted: Json | None) -> Suspects:
        """Return what a note says that was left behind: whoever wrote it died over it."""
        if noted is None:
            return cls()
        rows = frozenset(int(row) for row in noted["rows"])
        deaths = {int(row): int(times) for row, times in noted["deaths"].items()}
        alone, unexplained = noted["alone"], int(noted["unexplained"])
        if noted["together"]:
            unexplained = 1
        elif alone is not None:
            deaths[alone] = deaths.get(alone, 0) + 1 + unexplained
            unexplained = 0
        return cls(rows, deaths=deaths, unexplained=unexplained)

    def to_json(self) -> Json:
        """Return the note to leave behind."""
        return {
            "rows": sorted(self.rows),
            "together": self.together,
            "alone": self.alone,
            "deaths": {str(row): times for row, times in self.deaths.items()},
            "unexplained": self.unexplained,
        }

    def judging(self, rows: Iterable[int]) -> Suspects:
        """Return the note for rows that are about to be judged together."""
        return replace(self, rows=frozenset(rows), together=True, alone=None, unexplained=0)

    def judging_alone(self, row: int) -> Suspects:
        """Return the note for one row of those that are suspected."""
        return replace(self, alone=row)

    def is_suspected(self, row: int) -> bool:
        """Say whether the process died while this row, among others, was judged."""
        return row in self.rows

    def is_convicted(self, row: int) -> bool:
        """Say whether this row killed the process twice."""
        return self.deaths.get(row, 0) >= _TWICE
