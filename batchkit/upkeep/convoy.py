"""All unfinished runs of a project, driven together by one engine."""

from __future__ import annotations

import threading
import weakref
from typing import TYPE_CHECKING

from batchkit import leaving, providers, settings
from batchkit.clock import SystemClock
from batchkit.console import Console
from batchkit.engine import Engine
from batchkit.errors import BatchkitError
from batchkit.export.folders import ResultsFolder
from batchkit.run.progress import Progress, Wanted
from batchkit.run.signals import Detach
from batchkit.store import RunRow, Store

if TYPE_CHECKING:
    from batchkit.run import BatchRun


class Convoy:
    """The started, unfinished runs of a project; drafts are none of them."""

    def __init__(self, where: str, project: str | None) -> None:
        leaving.write_down_gone()
        self._store = Store(where)
        weakref.finalize(self._store, self._store.database.close)
        self._project = settings.project(project)
        self._clock = SystemClock()
        self._console = Console()

    def drive(self, *, once: bool = False, print_status: bool = False) -> list[BatchRun]:
        """Drive them until all are done or wait for a person; return their handles.

        Raises KeyboardInterrupt or SystemExit(143) after a detach, and at the end the error of
        the first run that could not go along.
        """
        from batchkit.run import BatchRun

        rows = self._store.runs.unfinished(self._project)
        able = [row for row in rows if self._hindrance(row) is None]
        handles = [BatchRun(self._store, row.id) for row in able]
        if able:
            self._woken(able)
            self._driven(handles, [row.id for row in able], once=once, lines=print_status)
        for row in rows:
            if (error := self._hindrance(row)) is not None:
                raise error
        return handles

    def _hindrance(self, row: RunRow) -> BatchkitError | None:
        """Return why a run cannot go along: no key here, or no such provider."""
        try:
            for name in {lane.provider for lane in self._store.jobs.lanes(row.id)}:
                if name:
                    providers.load(name).account()
        except BatchkitError as error:
            return error
        return None

    def _woken(self, rows: list[RunRow]) -> None:
        now = self._clock.now()
        for row in rows:
            self._store.runs.wake(row.id, now)
            for account in self._store.accounts.of_run(row.id):
                if account.blocked_at is not None or account.retry_at is not None:
                    self._store.accounts.unblock(account.id)

    def _driven(self, handles: list[BatchRun], ids: list[int], *, once: bool, lines: bool) -> None:
        stop = threading.Event()
        told = [self._progress(*pair, lines, stop) for pair in zip(handles, ids, strict=True)]
        for progress in told:
            progress.begin()

        def tick() -> None:
            for progress in told:
                progress.tick()

        engine = Engine(self._store, clock=self._clock, console=self._console)
        detached = "Detached; batches go on. Go on with: batchkit resume"
        try:
            with Detach(stop, self._announce) as detach:
                engine.drive(ids, stop=stop, once=once, on_tick=tick)
                for progress in told:
                    progress.end()
        except KeyboardInterrupt:  # the second one
            self._console.say(detached, "error")
            raise
        if detach.heard is not None:
            self._console.say(detached, "error")
        detach.leave()
        for handle in handles:
            if lines and handle.is_complete:
                self._console.say("\n" + handle.report().to_text(short=True).rstrip(), "error")

    def _announce(self) -> None:
        self._console.say(
            "Detaching: the call in hand is finished first. Ctrl-C again leaves at once.", "error"
        )

    def _progress(
        self, handle: BatchRun, run_id: int, lines: bool, stop: threading.Event
    ) -> Progress:
        given = self._store.runs.get(run_id).settings.results_dir
        return Progress(
            self._store,
            run_id,
            Wanted(lines=lines),
            clock=self._clock,
            console=self._console,
            folder=None if given is None else ResultsFolder(handle, given),
            stop=stop,
        )
