"""One run of the table: its provider, its sizes, and what several rows need."""

from __future__ import annotations

import sys
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory

from tests.benchmarks.processes import Child, Provider
from tests.benchmarks.table import Repeats, megabytes, repeated

MB = 1_000_000
COMMAND = Path(sys.executable).with_name("batchkit")


@dataclass(slots=True)
class Bench:
    """One run of the table: how large, how often, and what was measured so far."""

    provider: Provider
    jobs: int
    million: int
    repeat: int
    pdfs: int
    folder: Path
    floors: dict[str, Repeats] = field(default_factory=dict)
    nights: dict[str, Repeats] = field(default_factory=dict)
    floor_memory: dict[str, float] = field(default_factory=dict)

    def scratch(self) -> TemporaryDirectory[str]:
        """Return a folder that goes when it is left."""
        return TemporaryDirectory(dir=self.folder)

    def subject(self, provider: str, jobs: int, folder: Path | str, *more: object) -> Child:
        """Let batchkit do a night's work, its database in ``folder``."""
        self.provider.tell(forget=True)
        place = () if "--database" in more else ("--database", Path(folder) / "bench.db")
        words = ("--jobs", jobs, "--url", self.provider.url, *place, *more)
        return Child("subject", provider, *words)

    def night(self, provider: str) -> Repeats:
        """Measure a night of ``jobs``, once for all rows that need it."""
        if provider not in self.nights:
            self.nights[provider] = repeated(self.repeat, partial(self._night, provider))
        return self.nights[provider]

    def floor(self, provider: str) -> Repeats:
        """Measure the floor, once for all rows that need it."""
        if provider not in self.floors:
            self.floors[provider] = repeated(self.repeat, partial(self._floor, provider))
        return self.floors[provider]

    def _night(self, provider: str) -> float:
        with self.scratch() as folder:
            child = self.subject(provider, self.jobs, folder)
        assert child["count"] == self.jobs
        tell(f"batchkit, {provider}", child)
        return child["total"]

    def _floor(self, provider: str) -> float:
        self.provider.tell(forget=True)
        child = Child("floor", provider, "--jobs", self.jobs, "--url", self.provider.url)
        assert child["count"] == self.jobs
        tell(f"floor, {provider}", child)
        self.floor_memory[provider] = max(child["memory"], self.floor_memory.get(provider, 0))
        return child["total"]


def tell(what: str, child: Child) -> None:
    """Say on the side what a child did, while the table is on its way."""
    parts = " ".join(
        f"{name} {child[name]:.2f}"
        for name in ("add", "run", "read", "total", "cpu")
        if name in child.figures
    )
    sys.stderr.write(f"  {what}: {parts} s, {megabytes(child['memory'])}\n")
