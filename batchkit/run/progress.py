"""What is told while a run is driven: a line for people, a call for programs, files for both."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from threading import Event
from typing import TypeAlias

from batchkit.clock import Clock
from batchkit.console import Console
from batchkit.export.folders import ResultsFolder
from batchkit.model import Json
from batchkit.standing.status import Gauge, batches_of, line
from batchkit.store import Store

OnProgress: TypeAlias = Callable[[Json, float, dict[str, Json]], object]
"""``callback(stats, elapsed_s, batches)``"""


@dataclass(frozen=True, slots=True)
class Wanted:
    """What the caller wants to hear, and how often in seconds."""

    callback: OnProgress | None = None
    interval: float = 1.0
    lines: bool = False


class Progress:
    """Tells of one run while it is driven; every method is called in the driving thread."""

    def __init__(
        self,
        store: Store,
        run_id: int,
        wanted: Wanted,
        *,
        clock: Clock,
        console: Console,
        folder: ResultsFolder | None,
        stop: Event,
    ) -> None:
        """Once ``stop`` is set, no more files are written than a second or so takes."""
        self._store = store
        self._run_id = run_id
        self._wanted = wanted
        self._clock = clock
        self._console = console
        self._folder = folder
        self._stop = stop
        self._gauge = Gauge(store, run_id, clock)
        self._collected: int | None = None
        self._has_refused = False
        self._called_at: float | None = None
        self._line = ""

    def begin(self) -> None:
        """Bring the files of what had ended before up to date."""
        self._write_files(mend=True)

    def tick(self) -> None:
        """Tell what is new; the callback not more often than it was asked for."""
        self._write_files()
        if self._wanted.lines:
            self._say()
        due = self._called_at is None or (
            self._clock.monotonic() - self._called_at >= self._wanted.interval * 0.9
        )
        if self._wanted.callback is not None and due:
            self._call(self._wanted.callback)

    def end(self) -> None:
        """Tell how it ended."""
        self._write_files()
        if self._wanted.lines:
            self._say()
        if self._wanted.callback is not None:
            self._call(self._wanted.callback)

    def _call(self, callback: OnProgress) -> None:
        self._called_at = self._clock.monotonic()
        stats = self._gauge.read()
        callback(stats, stats["elapsed_s"], batches_of(self._store, self._run_id))

    def _say(self) -> None:
        said = line(self._gauge.read())
        if said != self._line:
            self._line = said
            self._console.say(f"{self._clock.now().astimezone():%H:%M}  {said}", "error")

    def _write_files(self, *, mend: bool = False) -> None:
        """Write what was collected; a full disk is said once and stops nothing."""
        if self._folder is None:
            return
        collected = self._store.runs.get(self._run_id).collected_no
        if collected == self._collected:
            return
        self._collected = collected
        try:
            if mend:
                self._folder.mend(self._stop.is_set)
            self._folder.update(self._stop.is_set)
        except OSError as error:
            self._refused(self._folder, error)

    def _refused(self, folder: ResultsFolder, error: OSError) -> None:
        if self._has_refused:
            return
        self._has_refused = True
        self._console.say(
            f"The results cannot be written to {folder.path}: {error.strerror or error}. They are "
            "safe in the database; the next run or resume writes them.",
            "error",
        )
