"""BatchRun: the handle of a run, and how one is found. It holds no state of its own but rows."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Mapping, Sequence
from os import PathLike
from typing import Any

from batchkit.checks import listed, one_of, positive, positive_interval, states_of
from batchkit.clock import Clock, SystemClock
from batchkit.console import Console, counted
from batchkit.errors import ValidationError
from batchkit.export import Library, Source, export, to_frame
from batchkit.export.folders import ResultsFolder
from batchkit.merging import Merging
from batchkit.model import FINAL_JOB_STATES, Code, JobState, Json, Reserve
from batchkit.money import usd
from batchkit.parts import is_tail
from batchkit.providers import Provider
from batchkit.report import Report, read
from batchkit.results import JobResult, Reader, answer_schemas, cursor_place
from batchkit.run.drives import Driver
from batchkit.run.pivoting import Pivot
from batchkit.run.progress import OnProgress, Wanted
from batchkit.run.rereading import Rereading
from batchkit.run.retries import (
    RETRIED,
    Revision,
    documents_in,
    pick,
    with_parts,
    with_tokens,
)
from batchkit.run.stories import JobStory, answers_of, story_of
from batchkit.run.twins import driving_twin, streaming_twin, twin
from batchkit.standing import Standing
from batchkit.standing.finding import named, newest
from batchkit.standing.status import described, line
from batchkit.store import RunRow, Store

_ENDED = tuple(state.value for state in FINAL_JOB_STATES)
_WAITING = (JobState.PENDING.value, JobState.ACTIVE.value)
_SHORTEST = 10


class BatchRun:
    """A run in the database, whoever started it and wherever it is driven.

    Its members read rows; ``execute``, ``wait`` and ``resume`` drive it in the calling thread.
    Every member that blocks has an async twin with an ``a`` before its name (``await`` being a
    word of the language, that of ``wait`` is ``await_``).
    """

    def __init__(
        self,
        store: Store,
        run_id: int,
        *,
        clock: Clock | None = None,
        providers: Mapping[str, Provider] | None = None,
        console: Console | None = None,
        models: Mapping[str, Any] | None = None,
        again: str | None = None,
    ) -> None:
        row = store.runs.get(run_id)
        self._store = store
        self._run_id = run_id
        self._clock = clock or SystemClock()
        self._providers = providers
        self._console = console or Console(row.settings.verbosity)
        self._models = models or {}
        self._standing = Standing(store, row, clock=self._clock, providers=providers)
        self._wanted = Wanted()
        self._driver = Driver(
            store,
            run_id,
            clock=self._clock,
            providers=providers,
            console=self._console,
            models=self._models,
            again=again,
        )
        self.id = row.uid
        self.name = row.name
        self.project = row.project

    def __repr__(self) -> str:
        return f"<BatchRun {self.name!r} {self.id}>"

    # how it stands

    @property
    def state(self) -> str:
        """``draft``, ``running``, ``waiting``, ``completed``, ``failed`` or ``cancelled``."""
        return str(self._standing.status()["state"])

    @property
    def is_complete(self) -> bool:
        """Whether every job that was started has ended."""
        return self._row.is_done

    def status(self, print_status: bool = False) -> Json:
        """Return where the run stands; times are ISO 8601, amounts US dollars."""
        found = self._standing.status()
        if print_status:
            said = f"{self._clock.now().astimezone():%H:%M}  {line(found)}"
            self._console.say(said, "error")  # asked for: said at any verbosity
        return found

    def forecast(self) -> Json | None:
        """Return when what is in flight and waits will have ended, as `standing.forecast` says."""
        return self._standing.forecast()

    def report(self) -> Report:
        """Return what was done, what it cost and what to type next, also while it runs.

        ``to_text()``, ``to_html()`` and ``to_dict()`` of it are what ``batchkit report`` prints.
        """
        return read(
            self._store,
            self._row,
            self._standing.status(),
            now=self._clock.now(),
            warnings=self.warnings(),
            command=self._driver.command,
        )

    def warnings(self) -> list[str]:
        """Return what leaves the provider within nine days, or has left it, uncollected."""
        return self._standing.warnings()

    def firsts(self) -> Json:
        """Return what went before the rest: ``canary`` and ``prompt_caching``, None where none."""
        return self._standing.firsts()

    def to_json(self) -> Json:
        """Return the state as plain data: status, settings and batches."""
        state = {**self._standing.status(), **self._standing.firsts()}
        return described(self._store, self._row, state)

    def set_on_progress(self, callback: OnProgress | None, interval: float = 1.0) -> None:
        """Call ``callback(stats, elapsed_s, batches)`` while this handle drives the run."""
        if callback is not None and not callable(callback):
            raise ValidationError(f"the callback must be callable, not {callback!r}")
        self._wanted = Wanted(callback, positive_interval(interval))

    # what came out

    def results(self, response_model: Any = None) -> dict[str, list[JobResult]]:
        """Return what is there by now, by state: the four lists hold every job once."""
        found: dict[str, list[JobResult]] = {name: [] for name in (*_ENDED, "waiting")}
        for result in self.rows(response_model=response_model):
            found[result.state if result.state in _ENDED else "waiting"].append(result)
        return found

    def iter_results(
        self,
        state: str | Sequence[str] | None = None,
        response_model: Any = None,
        after: str | JobResult | None = None,
    ) -> Iterator[JobResult]:
        """Stream ended jobs in order of completion, from ``after`` on.

        ``after`` is a result or its ``cursor``: nothing is left out and nothing comes twice,
        whoever collects meanwhile. ``state`` is one of ``completed``, ``failed``, ``cancelled``.
        """
        states = states_of(state, _ENDED)
        place = cursor_place(after)
        merging = self._merging(response_model)
        asked = None if merging.is_needed else states
        ended = self._store.answers.ended(self._run_id, asked, place)
        return merging.ended(ended, states)

    def rows(
        self, states: str | Sequence[str] | None = None, response_model: Any = None
    ) -> Iterator[JobResult]:
        """Stream every job once: those that wait, then those that have ended."""
        wanted = states_of(states, (*_ENDED, *_WAITING))
        merging = self._merging(response_model)
        asked = None if merging.is_needed else wanted
        return merging.rows(answers_of(self._store, self._row, asked), wanted)

    def export(
        self,
        target: str | PathLike[str],
        *,
        states: str | Sequence[str] | None = None,
        response_model: Any = None,
    ) -> int:
        """Write one row per job, while the run goes on, too; return how many.

        ``target`` is a ``.jsonl``, ``.csv`` or ``.parquet`` file, written whole or not at all; or a
        table, brought up to date by run and key: a SQLite file (``results.db``), or the URL of a
        database (``postgresql://host/database/table``, ``sqlite:///file.db?table=name``).
        """
        row = self._row
        return export(
            self.rows(states, response_model),
            target,
            schemas=answer_schemas(self._store, row, response_model),
            source=Source(row.uid, row.name, self._store.database.url),
        )

    def pivot(self, by: str = "model", response_model: Any = None) -> Pivot:
        """Return one row a key, with each model's result beside it; streamed, and ``export``."""
        return Pivot(self._store, self._row, self._merging(response_model), by)

    def to_frame(
        self,
        library: Library | None = None,
        *,
        states: str | Sequence[str] | None = None,
        response_model: Any = None,
    ) -> Any:
        """Return a data frame with one row per job, of ``"pandas"`` or ``"polars"``.

        Without ``library`` it is the one that this program has imported, else the installed one.
        """
        schemas = answer_schemas(self._store, self._row, response_model)
        return to_frame(self.rows(states, response_model), library, schemas=schemas)

    def get(self, key: str, response_model: Any = None) -> JobStory:
        """Return one job's whole story; raise ValidationError if there is no such key."""
        return story_of(self._store, self._row, key, self._merging(response_model))

    def get_failed_jobs(self) -> dict[str, str]:
        """Return the error of each failed job by its key."""
        failed = self.iter_results(JobState.FAILED.value)
        return {one.key: one.error or one.error_code or "unknown" for one in failed}

    # driving

    def execute(
        self,
        on_progress: OnProgress | None = None,
        progress_interval: float = 1.0,
        print_status: bool = False,
        *,
        once: bool = False,
        stop: threading.Event | None = None,
    ) -> BatchRun:
        """Drive the run until it is done or only a person can move it; return this handle.

        Ctrl-C and SIGTERM detach: the call in hand is finished, batches go on at the provider, the
        command to resume is printed, then KeyboardInterrupt or SystemExit(143) is raised.
        ``once`` does all that can be done without waiting; ``stop``, once set, detaches as well.
        """
        wanted = self._heard(on_progress, progress_interval, print_status)
        self._drive(wanted, once=once, stop=stop)
        return self

    def wait(
        self,
        max_wait: float | None = None,
        interval: float | None = None,
        *,
        stop: threading.Event | None = None,
    ) -> BatchRun:
        """Drive the run as ``execute`` does, at most ``max_wait`` seconds; look every ``interval``.

        Raises TimeoutError after that; nothing is cancelled.
        """
        wanted = self._heard(None, 1.0 if interval is None else interval, False)
        ending = self._drive(wanted, max_wait=max_wait, stop=stop)
        if ending == "timeout":
            raise TimeoutError(
                f"The run {self.name!r} is not done after {max_wait} s. Nothing was cancelled; go "
                f"on with: {self._driver.command()}"
            )
        return self

    def resume(
        self,
        *,
        cost_limit: float | None = None,
        time_limit: float | None = None,
        reserve: Reserve | None = None,
        on_progress: OnProgress | None = None,
        progress_interval: float = 1.0,
        print_status: bool = False,
        once: bool = False,
        stop: threading.Event | None = None,
    ) -> BatchRun:
        """Go on after a person looked at it, with new limits if given (US dollars, seconds).

        A new time limit takes up what the last one cancelled. ``reserve`` is as in
        ``Batch.add_cost_limit``; ``"observed"`` also after a batch that cost more.
        """
        self._started()
        wanted = self._heard(on_progress, progress_interval, print_status)
        self._wake(cost_limit, time_limit, reserve)
        self._drive(wanted, once=once, stop=stop)
        return self

    def shutdown(self) -> None:
        """Detach, if this handle drives the run in another thread; batches go on."""
        self._driver.stop()

    # wishes

    def retry(
        self,
        states: Sequence[str] = RETRIED,
        codes: Sequence[str] | None = None,
        keys: Sequence[str] | None = None,
        **changes: Any,
    ) -> int:
        """Give ended jobs fresh attempts; return how many go again, at the next run or resume.

        ``changes`` are ``model``, ``max_tokens`` and ``prompt``. Without ``codes``, what can never
        work is left out and counted.
        """
        given = {name: value for name, value in changes.items() if value is not None}
        picked = pick(self._store, self._run_id, states, codes, keys, given)
        count = self._again(picked.jobs, given) if picked.jobs else 0
        if self._row.split:
            count = len(documents_in(key for _, _, key in picked.jobs)) if count else 0
        said = f"{count:,} {'job goes' if count == 1 else 'jobs go'} again"
        if picked.left_out:
            reasons = ", ".join(f"{code} {n:,}" for code, n in sorted(picked.left_out.items()))
            said += f"; left out, since it cannot work as it is: {reasons}"
        self._console.say(f"{said}. Go on with: {self._driver.command()}" if count else f"{said}.")
        return count

    def retry_failed(self, **changes: Any) -> int:
        """Give failed jobs fresh attempts: ``retry(states=("failed",), …)``."""
        return self.retry((JobState.FAILED.value,), **changes)

    def reparse(self, response_model: Any = None) -> int:
        """Judge stored answers again after the model was mended; return how many fit now.

        Free: nothing is sent. Taken are jobs that failed, or wait to be asked again, as
        ``invalid_output`` or ``parser_crashed``. Judged by ``response_model``, else by the class of
        this program, else by the stored schema; what fits is completed at cost 0, and from now on
        the run's answers that fit are read as that class, those that were accepted before, too.
        """
        rereading = Rereading(
            self._store,
            self._started(),
            known=self._providers,
            models=self._models,
            given=response_model,
        )
        found = rereading.read(self._clock.now())
        self._models = rereading.models
        self._driver.know(rereading.models)
        if folder := self._row.settings.results_dir:
            self._driver.write_files(ResultsFolder(self, folder))
        self._console.say(found.said)
        return found.fit

    def cancel(
        self, keys: Sequence[str] | None = None, *, stop: threading.Event | None = None
    ) -> list[str]:
        """Stop sending and cancel at the provider; what was answered is collected and kept.

        With ``keys`` only those that wait are cancelled; returned (and said) are the others, which
        are in flight or have ended.
        """
        self._started()
        if keys is not None:
            return self._cancel_keys(keys)
        now = self._clock.now()
        self._store.runs.request_cancel(self._run_id, now)
        self._end_waiting()
        if self._store.runs.live(self._run_id)[1]:
            self._drive(Wanted(), once=True, stop=stop)
            self._end_waiting()
        left = self._store.runs.live(self._run_id)[0]
        if left:
            self._console.say(
                f"Still at the provider: {counted(left, 'job')}; it was asked to stop. What it "
                f"finished is collected by: {self._driver.command()}"
            )
        return []

    # async twins

    astatus = twin(status)
    areport = twin(report)
    awarnings = twin(warnings)
    ato_json = twin(to_json)
    aresults = twin(results)
    aiter_results = streaming_twin(iter_results)
    aexport = twin(export)
    apivot = twin(pivot)
    ato_frame = twin(to_frame)
    aget = twin(get)
    aget_failed_jobs = twin(get_failed_jobs)
    aexecute = driving_twin(execute)
    await_ = driving_twin(wait)
    aresume = driving_twin(resume)
    aretry = twin(retry)
    aretry_failed = twin(retry_failed)
    areparse = twin(reparse)
    acancel = driving_twin(cancel)

    # parts

    @property
    def _row(self) -> RunRow:
        return self._store.runs.get(self._run_id)

    def _merging(self, response_model: Any) -> Merging:
        row = self._row
        return Merging(self._store, row, Reader(self._store, row, self._models, response_model))

    def _started(self) -> RunRow:
        row = self._row
        if row.opened_at is None:
            raise ValidationError(
                f"The run {self.name!r} is a draft: its jobs were added and never started. "
                "run() or submit() in the script that adds them starts it."
            )
        return row

    def _heard(self, callback: OnProgress | None, interval: float, lines: bool) -> Wanted:
        """Return what is to be told: to the callback given now, else to the one set before."""
        if callback is None and self._wanted.callback is not None:
            return Wanted(self._wanted.callback, self._wanted.interval, lines)
        return Wanted(callback, positive_interval(interval), lines)

    def _drive(
        self,
        wanted: Wanted,
        *,
        max_wait: float | None = None,
        once: bool = False,
        stop: threading.Event | None = None,
    ) -> str:
        row = self._started()
        given = row.settings.results_dir
        folder = None if given is None else ResultsFolder(self, given)
        return self._driver.drive(wanted, folder=folder, max_wait=max_wait, once=once, stop=stop)

    def _wake(
        self, cost_limit: float | None, time_limit: float | None, reserve: Reserve | None
    ) -> None:
        limits: Json = {}
        now = self._clock.now()
        if reserve is not None:
            one_of("reserve", reserve, ("bound", "observed"))
        if cost_limit is not None:
            limits["cost_limit"] = positive("cost_limit", usd(cost_limit), cost_limit)
        if time_limit is not None:
            limits["time_limit_s"] = float(time_limit)
            if time_limit < _SHORTEST:
                raise ValidationError(f"time_limit must be {_SHORTEST} s or more, not {time_limit}")
            late = pick(
                self._store, self._run_id, ("cancelled",), (Code.TIME_LIMIT.value,), None, {}
            )
            if late.jobs:
                self._again(late.jobs, {})
        self._store.runs.wake(self._run_id, now, limits, reserve=reserve, reviewed=True)
        for account in self._store.accounts.of_run(self._run_id):
            if account.blocked_at is not None or account.retry_at is not None:
                self._store.accounts.unblock(account.id)

    def _again(self, jobs: Sequence[tuple[int, int, str]], changes: Json) -> int:
        now = self._clock.now()
        if "model" in changes or "prompt" in changes:
            known, models = self._providers, self._models
            revision = Revision(self._store, self._row, changes, known=known, models=models)
            return revision.buy(jobs, now)
        places = [(lane_id, seq) for lane_id, seq, _ in jobs]
        return self._store.runs.revive(self._run_id, places, with_tokens(changes), now)

    def _end_waiting(self) -> None:
        now = self._clock.now()
        self._store.runs.end_waiting(self._run_id, Code.CANCELLED.value, "cancelled", now)

    def _cancel_keys(self, keys: Sequence[str]) -> list[str]:
        asked = listed("keys", keys)
        there = self._store.jobs.lookup(self._run_id, asked)
        strange = [key for key in asked if key not in there or is_tail(key)]
        if strange:
            shown = ", ".join(repr(key) for key in strange[:5])
            raise ValidationError(f"The run {self.name!r} has no job with the key {shown}.")
        parts = with_parts(self._store, self._run_id, asked)
        late = documents_in(self._store.runs.cancel_keys(self._run_id, parts, self._clock.now()))
        if late:
            told = f"{', '.join(late[:5])}{', …' if len(late) > 5 else ''}"
            self._console.say(
                f"{counted(len(asked) - len(late), 'job')} cancelled. In flight or ended, so not "
                f"cancelled: {counted(len(late), 'job')} ({told})"
            )
        return late


# `await` is a word of the language: who builds the twins' names by rule finds it by getattr.
setattr(BatchRun, "await", BatchRun.await_)


def get_run(
    id_or_name: str,
    *,
    project: str | None = None,
    database: str | PathLike[str] | None = None,
) -> BatchRun:
    """Return the handle of a run; raise RunNotFoundError that names similar ones."""
    store, row = named(id_or_name, project, database)
    return BatchRun(store, row.id)


def list_runs(
    limit: int | None = 50,
    *,
    project: str | None = None,
    database: str | PathLike[str] | None = None,
) -> list[BatchRun]:
    """Return a project's runs, newest first; none where there is no database yet."""
    found = newest(limit, project, database)
    if found is None:
        return []
    store, rows = found
    return [BatchRun(store, row.id) for row in rows]
