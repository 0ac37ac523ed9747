"""Driving one run in the calling thread: the engine, with signals heard and progress told."""

from __future__ import annotations

import shlex
import threading
from collections.abc import Mapping
from typing import Any

from batchkit import processes, settings
from batchkit.clock import Clock
from batchkit.console import Console
from batchkit.engine import Ending, Engine
from batchkit.export.folders import ResultsFolder
from batchkit.providers import Provider
from batchkit.report import read
from batchkit.run.progress import Progress, Wanted
from batchkit.run.signals import Detach
from batchkit.standing.status import Gauge
from batchkit.store import RunRow, Store


class Driver:
    """Drives a run and can be told to stop, from a signal handler or another thread."""

    def __init__(
        self,
        store: Store,
        run_id: int,
        *,
        clock: Clock,
        providers: Mapping[str, Provider] | None,
        console: Console,
        models: Mapping[str, Any],
        again: str | None = None,
    ) -> None:
        """``again`` is what to type where ``batchkit resume`` would not do."""
        self._store = store
        self._run_id = run_id
        self._clock = clock
        self._providers = providers
        self._console = console
        self._models = models
        self._again = again
        self._stops: list[threading.Event] = []

    def drive(
        self,
        wanted: Wanted,
        *,
        folder: ResultsFolder | None = None,
        max_wait: float | None = None,
        once: bool = False,
        stop: threading.Event | None = None,
    ) -> Ending:
        """Drive until done, waiting, out of time or stopped; after a signal, never return.

        KeyboardInterrupt or SystemExit(143) is raised then, once the call in hand is over and the
        command to resume was printed.
        """
        stop = stop or threading.Event()
        self._stops.append(stop)
        batches = "; batches go on" if self._again is None else ""
        detached = f"Detached{batches}. Go on with: {self.command()}"
        try:
            with Detach(stop, self._announce) as detach:
                ending = self._driven(wanted, folder, stop, max_wait, once)
        except KeyboardInterrupt:  # the second one: nobody waits for anything any more
            self._console.say(detached, "error")
            raise
        finally:
            self._stops.remove(stop)
            processes.give_back()
        if ending == "detached" or (detach.heard is not None and ending != "done"):
            self._console.say(detached, "error")
        detach.leave()
        if ending == "done" and wanted.lines:
            self._console.say(self._report(), "error")  # asked for: said at any verbosity
        elif not once:
            self._conclude(ending)
        return ending

    def _report(self) -> str:
        row = self._store.runs.get(self._run_id)
        status = Gauge(self._store, self._run_id, self._clock).read()
        made = read(self._store, row, status, now=self._clock.now(), command=self.command)
        return "\n" + made.to_text(short=True).rstrip()

    def _conclude(self, ending: Ending) -> None:
        """Say what to type where the run itself does not go on."""
        status = Gauge(self._store, self._run_id, self._clock).read()
        ended = {name: status[name] for name in ("failed", "cancelled") if status[name]}
        if ending == "waiting":
            why = self._store.runs.get(self._run_id).waiting_detail or ""
            if "batchkit resume" not in why:
                # The same limit again would only wait again.
                raised = status["waiting_for"] == "budget" and self._again is None
                stop = "" if why.endswith((".", "!", "?")) else "."
                why += f"{stop} Go on with: {self.command()}"
                why += " --cost-limit USD" if raised else ""
            self._console.say(f"Waiting for {status['waiting_for']}: {why}", "warn")
        elif ending == "done" and ended:
            counted = " and ".join(f"{count:,} {name}" for name, count in ended.items())
            again = self.command("retry")
            self._console.say(f"{counted}; they stay so until you type: {again}", "warn")

    def stop(self) -> None:
        """Let every drive of this handle detach."""
        for stop in tuple(self._stops):
            stop.set()

    def know(self, models: Mapping[str, Any]) -> None:
        """Judge by these classes from now on."""
        self._models = models

    def write_files(self, folder: ResultsFolder) -> None:
        """Bring the files of ``results_dir`` up to date; a full disk is said and stops nothing."""
        self._progress(Wanted(), folder, threading.Event()).begin()

    def command(self, name: str = "resume") -> str:
        """Return what to type to go on with the run, from this folder."""
        if name == "resume" and self._again is not None:
            return self._again
        row = self._store.runs.get(self._run_id)
        words = ["batchkit", name, _typed(row)]
        if row.project != settings.project():
            words += ["--project", row.project]
        if not self._is_found():
            words += ["--database", self._store.shown]
        return shlex.join(words)

    def _driven(
        self,
        wanted: Wanted,
        folder: ResultsFolder | None,
        stop: threading.Event,
        max_wait: float | None,
        once: bool,
    ) -> Ending:
        progress = self._progress(wanted, folder, stop)
        engine = Engine(
            self._store,
            clock=self._clock,
            providers=self._providers,
            console=self._console,
            types=self._models,
        )
        progress.begin()
        ending = engine.drive(
            [self._run_id],
            stop=stop,
            max_wait=max_wait,
            once=once,
            on_tick=progress.tick,
            interval=wanted.interval,
        )
        progress.end()
        return ending

    def _progress(
        self, wanted: Wanted, folder: ResultsFolder | None, stop: threading.Event
    ) -> Progress:
        return Progress(
            self._store,
            self._run_id,
            wanted,
            clock=self._clock,
            console=self._console,
            folder=folder,
            stop=stop,
        )

    def _announce(self) -> None:
        self._console.say(
            "Detaching: the call in hand is finished first. Ctrl-C again leaves at once.", "error"
        )

    def _is_found(self) -> bool:
        """Say whether a command in this folder finds this very database by itself."""
        from batchkit.store.database import location

        return location(settings.database(None, create=False)) == self._store.database.url


def _typed(row: RunRow) -> str:
    """Return what names a run on the command line."""
    return row.uid if row.nameless or row.name.startswith("-") else row.name
