"""The only loop: a worker per provider account, ticking poller, collector, submitter.

Rows are the only truth, so a worker may die between any two lines. The caller's thread makes no
network calls: it watches, reports, and hears Ctrl-C while a create hangs.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from batchkit import processes, settings
from batchkit import providers as registry
from batchkit.clock import Clock, SystemClock
from batchkit.collector import Collector
from batchkit.console import Console
from batchkit.errors import (
    AccountMismatchError,
    ConfigError,
    ProviderGarbled,
    ProviderRefused,
    ProviderUnavailable,
)
from batchkit.model import Waiting
from batchkit.pace import Pace
from batchkit.poller import Poller
from batchkit.providers import Provider
from batchkit.spools import Spools
from batchkit.store import AccountRow, RunRow, Store
from batchkit.submitter import Submitter

Ending = Literal["done", "waiting", "detached", "timeout", "once"]

_LEAVE_AFTER = 6.0
"""Seconds a detach waits for the calls in hand; what is still open then is recorded as unknown."""

_BEAT_AGAIN = timedelta(seconds=5)
_LONGEST_NAP = 5.0
_GLANCE = 0.05
_MOST_PASSES = 1_000


@dataclass(slots=True)
class _Worker:
    """The three steps for one provider's account, and what they last found."""

    name: str
    account: AccountRow
    poller: Poller
    collector: Collector
    submitter: Submitter
    hindrances: dict[int, tuple[Waiting, str]] = field(default_factory=dict)
    error: BaseException | None = None
    thread: threading.Thread | None = None
    passes: int = 0
    """Half passes: odd while it is in one, and what it last found may be true no more."""

    @property
    def is_at_work(self) -> bool:
        """Whether its thread lives, perhaps in a call that nobody waited for."""
        return self.thread is not None and self.thread.is_alive()


class Engine:
    """Drive runs until they are done, or only a person can move them.

    ``providers`` replaces lookup by entry point, by name; ``types`` are the user's answer types by
    the name that templates store; ``pace`` scales all waiting.
    """

    def __init__(
        self,
        store: Store,
        *,
        clock: Clock | None = None,
        providers: Mapping[str, Provider] | None = None,
        console: Console | None = None,
        types: Mapping[str, Any] | None = None,
        pace: Pace | None = None,
        spools: Path | None = None,
    ) -> None:
        self._store = store
        self._clock = clock or SystemClock()
        self._providers = dict(providers or {})
        self._loaded: list[Provider] = []
        self._console = console or Console("error")
        self._types = types or {}
        self._pace = pace or Pace(scale=settings.pace())
        self._spools = Spools(spools or spool_folder(store))
        self._owner = processes.own_name()
        self._workers: dict[str, _Worker] = {}
        self._moved, self._stop = threading.Event(), threading.Event()

    def drive(
        self,
        run_ids: Sequence[int],
        *,
        stop: threading.Event,
        max_wait: float | None = None,
        once: bool = False,
        on_tick: Callable[[], None] | None = None,
        interval: float = 1.0,
    ) -> Ending:
        """Block until the runs are done (``done``), only a person can move them (``waiting``),
        ``stop`` is set (``detached``) or ``max_wait`` seconds are over (``timeout``).

        ``once`` does all that can be done without waiting. ``on_tick`` is called in this thread
        about every ``interval`` seconds. Raises ConfigError without a key, AccountMismatchError if
        the key at hand cannot see the runs' batches.
        """
        try:
            self._prepare(run_ids)
            with self._leases_renewed():
                if once:
                    return self._drive_once(run_ids, stop, on_tick)
                if not isinstance(self._clock, SystemClock):
                    return self._drive_here(run_ids, stop, max_wait, on_tick)
                return self._drive_threads(run_ids, stop, max_wait, on_tick, interval)
        finally:
            self._hang_up()

    def _hang_up(self) -> None:
        """Close the connections of the providers made here, once nobody is in a call."""
        if not any(worker.is_at_work for worker in self._workers.values()):
            for provider in self._loaded:
                registry.close(provider)

    @contextmanager
    def _leases_renewed(self) -> Iterator[None]:
        """Keep what we work on while we live: an upload may take longer than a lease.

        A process that is stopped renews nothing, and another takes over.
        """
        if not isinstance(self._clock, SystemClock):
            yield
            return
        self._store.leases.read_clock(self._clock.now())
        over = threading.Event()
        beating = threading.Thread(target=self._beat, args=(over,), name="batchkit-leases")
        beating.daemon = True
        beating.start()
        try:
            yield
        finally:
            over.set()

    def _beat(self, over: threading.Event) -> None:
        wait = timedelta()
        while not self._clock.wait(wait.total_seconds(), over):
            try:
                self._store.leases.read_clock(self._clock.now())
                wait = self._store.leases.renew(self._owner, self._clock.now())
            except ConfigError:  # the workers say so, if it stays; they may live through it
                wait = _BEAT_AGAIN

    def tick(self, run_ids: Sequence[int]) -> int:
        """Make one pass of every step, in this thread; return how much moved."""
        self._prepare(run_ids)
        acted = self._end_wishes(run_ids)
        for worker in list(self._workers.values()):
            acted += self._pass(worker, run_ids)
        self._note_waiting(run_ids)
        return acted

    def _drive_once(
        self, run_ids: Sequence[int], stop: threading.Event, on_tick: Callable[[], None] | None
    ) -> Ending:
        for worker in self._workers.values():
            worker.submitter.feel(waits=False)
            worker.submitter.is_told_to_leave = stop.is_set
            worker.poller.look_at_all()
        for _ in range(_MOST_PASSES):
            if not self.tick(run_ids) or stop.is_set():
                break
            if on_tick is not None:
                on_tick()
        if on_tick is not None:
            on_tick()
        return "detached" if stop.is_set() else self._ending(run_ids) or "once"

    def _drive_here(
        self,
        run_ids: Sequence[int],
        stop: threading.Event,
        max_wait: float | None,
        on_tick: Callable[[], None] | None,
    ) -> Ending:
        """Drive in this thread, by a clock that tests move: nothing sleeps."""
        began = self._clock.monotonic()
        while not stop.is_set():
            acted = self.tick(run_ids)
            if on_tick is not None:
                on_tick()
            ending = self._ending(run_ids)
            if ending is not None:
                return ending
            if max_wait is not None and self._clock.monotonic() - began >= max_wait:
                return "timeout"
            if not acted:
                self._clock.wait(self._nap(run_ids, None))
        return "detached"

    def _drive_threads(
        self,
        run_ids: Sequence[int],
        stop: threading.Event,
        max_wait: float | None,
        on_tick: Callable[[], None] | None,
        interval: float,
    ) -> Ending:
        leave, self._stop = threading.Event(), stop
        threads = self._start(run_ids, leave)
        began = self._clock.monotonic()
        try:
            while True:
                ending = self._watch(run_ids, threads, leave)
                if on_tick is not None:
                    on_tick()
                if ending is None and max_wait is not None:
                    ending = "timeout" if self._clock.monotonic() - began >= max_wait else None
                if ending is None and self._idle(interval, stop):
                    ending = "detached"
                if ending is not None:
                    self._leave(threads, leave)
                    if ending == "waiting":
                        self._recall(threads, run_ids)
                    return ending
        finally:
            leave.set()  # a second Ctrl-C leaves at once: what is open is looked up later
            try:
                self._give_back(threads)
            except ConfigError:  # the database is what ended this: whoever comes next sees to it
                processes.leave(self._owner, threads.values())

    def _idle(self, interval: float, stop: threading.Event) -> bool:
        """Wait for the next look: an interval at most, less if a worker moved something.

        What moved last is looked at at once: often it was the end. Looks are a glance apart.
        """
        began = self._clock.monotonic()
        while not stop.is_set() and self._clock.monotonic() < began + interval:
            if self._clock.wait(min(_GLANCE, interval), self._moved):
                self._clock.wait(began + min(_GLANCE, interval) - self._clock.monotonic(), stop)
                self._moved.clear()
                break
        return stop.is_set()

    def _recall(self, threads: dict[str, threading.Thread], run_ids: Sequence[int]) -> None:
        """Let jobs of a blocked account wait again where its worker left before it came to that."""
        for name, thread in threads.items():
            worker = self._workers[name]
            blocked = self._store.accounts.get(worker.account.id).blocked_at is not None
            if blocked and not thread.is_alive():
                worker.submitter.recall(self._open_runs(run_ids), self._clock.now())

    def _give_back(self, threads: dict[str, threading.Thread]) -> None:
        """Leave no lease behind: an engine after this one, in this process, need not wait.

        Who is told to leave while a user's class judges was not killed by an answer.
        """
        late = [self._workers[name].account.id for name, one in threads.items() if one.is_alive()]
        if late:
            self._store.answers.spare(self._owner, late)
        else:
            self._store.leases.bury(self._owner)

    def _watch(
        self, run_ids: Sequence[int], threads: dict[str, threading.Thread], leave: threading.Event
    ) -> Ending | None:
        """Look after wishes, workers and new lanes; say whether it is over."""
        for worker in self._workers.values():
            if worker.error is not None:
                raise worker.error
        self._end_wishes(run_ids)
        self._prepare(run_ids)
        for name in self._workers.keys() - threads.keys():
            threads.update(self._start(run_ids, leave, only=name))
        self._note_waiting(run_ids)
        return self._ending(run_ids)

    def _start(
        self, run_ids: Sequence[int], leave: threading.Event, only: str | None = None
    ) -> dict[str, threading.Thread]:
        threads, stop = {}, self._stop  # heeded at once: nobody waits for the thread that looks
        for name, worker in self._workers.items():
            if only is not None and name != only:
                continue
            thread = threading.Thread(
                target=self._work,
                args=(worker, run_ids, leave),
                name=f"batchkit-{name}",
                daemon=True,
            )
            worker.thread = thread
            worker.submitter.is_told_to_leave = lambda: stop.is_set() or leave.is_set()
            thread.start()
            threads[name] = thread
        return threads

    def _work(self, worker: _Worker, run_ids: Sequence[int], leave: threading.Event) -> None:
        try:
            while not leave.is_set():
                if self._pass(worker, run_ids):
                    self._moved.set()
                else:
                    self._clock.wait(self._nap(run_ids, worker), leave)
            worker.submitter.clear_away()  # a run that was cancelled ends behind the worker's back
        except BaseException as error:  # noqa: BLE001 -- carried to the caller's thread, raised there
            worker.error = error

    def _leave(self, threads: dict[str, threading.Thread], leave: threading.Event) -> None:
        """Let the calls in hand finish, but not for ever: an open create is looked up later."""
        leave.set()
        until = self._clock.monotonic() + _LEAVE_AFTER
        for thread in threads.values():
            thread.join(max(0.0, until - self._clock.monotonic()))

    def _pass(self, worker: _Worker, run_ids: Sequence[int]) -> int:
        """Poll, collect, submit: what ended makes room for what waits."""
        worker.passes += 1
        try:
            return self._passed(worker, run_ids)
        finally:
            worker.passes += 1

    def _passed(self, worker: _Worker, run_ids: Sequence[int]) -> int:
        now = self._clock.now()
        account = self._store.accounts.get(worker.account.id)
        if account.blocked_at is not None:
            return worker.submitter.recall(self._open_runs(run_ids), now)
        if account.retry_at is not None and account.retry_at > now:
            return 0
        try:
            return self._steps(worker, run_ids, now)
        except OSError as error:
            raise ConfigError(
                f"Cannot read or write on this machine: {error}. Nothing is lost: mend it (space, "
                f"rights, {self._spools.folder}) and go on with: batchkit resume"
            ) from error

    def _steps(self, worker: _Worker, run_ids: Sequence[int], now: datetime) -> int:
        runs = self._open_runs(run_ids)
        moved = worker.poller.run_once(runs, now)
        moved += worker.collector.run_once(runs, now)
        report = worker.submitter.run_once(self._open_runs(run_ids), now)
        worker.hindrances = report.hindrances
        worker.submitter.clear_away()
        return moved + report.acted

    def _open_runs(self, run_ids: Sequence[int]) -> list[RunRow]:
        runs = [self._store.runs.get(run_id) for run_id in run_ids]
        return [run for run in runs if run.opened_at is not None and run.finished_at is None]

    def _end_wishes(self, run_ids: Sequence[int]) -> int:
        """End what waits in runs that were cancelled or whose time is up."""
        now = self._clock.now()
        ended = 0
        for run in self._open_runs(run_ids):
            if run.cancel_requested_at is not None:
                why = "cancelled before it was sent"
                ended += self._store.runs.end_waiting(run.id, "cancelled", why, now)
            elif run.deadline_at is not None and run.deadline_at <= now:
                why = "the run's time was up before it was sent"
                ended += self._store.runs.end_waiting(run.id, "time_limit", why, now)
        return ended

    def _note_waiting(self, run_ids: Sequence[int]) -> None:
        """Note what only a person can mend.

        Between a batch that was collected and the next one it makes room for nothing is in flight:
        what a worker found counts only while it is in no pass.
        """
        now = self._clock.now()
        for run in self._open_runs(run_ids):
            seen = [worker.passes for worker in self._workers.values()]
            waiting = self._waiting(run)
            if any(n % 2 for n in seen) or seen != [w.passes for w in self._workers.values()]:
                return
            what, why = waiting if waiting is not None else (None, None)
            if (what, why) != (run.waiting_for, run.waiting_detail):
                self._store.runs.wait_for(run.id, what, why, now)

    def _waiting(self, run: RunRow) -> tuple[str, str] | None:
        """Say what only a person can mend, once nothing of the run is in flight any more."""
        for account in self._store.accounts.of_run(run.id):
            if account.blocked_at is not None:
                return Waiting.ACCOUNT.value, self._account_words(account)
        held = run.hold_until is not None and run.hold_until > self._clock.now()
        if held and not self._store.runs.flying(run.id):
            return Waiting.REVIEW.value, f"{run.hold_reason} Then: batchkit resume {run.name}"
        _, live = self._store.runs.live(run.id)
        if live:
            return None
        for worker in self._workers.values():
            if run.id in worker.hindrances:
                what, why = worker.hindrances[run.id]
                return what.value, why
        return None

    def _account_words(self, account: AccountRow) -> str:
        why = account.blocked_reason or ""
        go_on = "" if "batchkit resume" in why else " When it is mended: batchkit resume"
        return f"{account.provider} at {account.base_url}: {why}{go_on}"

    def _ending(self, run_ids: Sequence[int]) -> Ending | None:
        left = self._open_runs(run_ids)
        if not left:
            return "done"
        if all(run.waiting_for is not None for run in left):
            return "waiting"
        return None

    def _nap(self, run_ids: Sequence[int], worker: _Worker | None) -> float:
        """Return the seconds until something is due: a batch, an account, a deadline."""
        now = self._clock.now()
        times = [self._store.batches.next_at(run_ids, worker.name if worker else None)]
        accounts = [one.account.id for one in ([worker] if worker else self._workers.values())]
        times += [self._store.accounts.get(account_id).retry_at for account_id in accounts]
        times += [run.deadline_at for run in self._open_runs(run_ids)]
        later = [(at - now).total_seconds() for at in times if at is not None and at > now]
        soonest = min(later, default=_LONGEST_NAP)
        if isinstance(self._clock, SystemClock):
            return max(0.02, min(soonest, _LONGEST_NAP / max(self._pace.scale, 1.0)))
        return max(0.02, soonest)

    def _prepare(self, run_ids: Sequence[int]) -> None:
        """Make a worker for every provider that the runs' lanes need, on the account at hand."""
        for owner in self._store.leases.owners():
            if processes.is_dead(owner):
                self._store.leases.bury(owner)
        for run in self._open_runs(run_ids):
            for lane in self._store.jobs.lanes(run.id):
                if not lane.provider:
                    continue
                worker = self._workers.get(lane.provider) or self._hire(lane.provider)
                if lane.account_id != worker.account.id:
                    self._bind(run, lane.id, lane.account_id, worker)

    def _hire(self, name: str) -> _Worker:
        provider = self._provider(name)
        account = self._store.accounts.known(provider.account())
        common = (self._store, provider, account)
        worker = _Worker(
            name=name,
            account=account,
            poller=Poller(*common, self._owner, self._pace),
            collector=Collector(*common, self._spools, self._owner, self._pace, self._types),
            submitter=Submitter(*common, self._spools, self._owner, self._pace, self._clock),
        )
        self._workers[name] = worker
        return worker

    def _provider(self, name: str) -> Provider:
        if name not in self._providers:
            self._providers[name] = registry.load(name)
            self._loaded.append(self._providers[name])
        return self._providers[name]

    def _bind(self, run: RunRow, lane_id: int, bound: int | None, worker: _Worker) -> None:
        """Send a lane on the account at hand; a new key must see what the old one sent."""
        if bound is not None:
            self._check_same(run, bound, worker)
        self._store.accounts.bind(lane_id, worker.account.id)

    def _check_same(self, run: RunRow, bound: int, worker: _Worker) -> None:
        live = [
            batch
            for batch in self._store.batches.of_run(run.id, live=True)
            if batch.account_id == bound and batch.ref is not None
        ]
        for batch in live[:1]:
            try:
                self._provider(worker.name).poll(str(batch.ref))
            except ProviderRefused as error:
                raise AccountMismatchError(_mismatch(run, worker, str(batch.ref))) from error
            except (ProviderUnavailable, ProviderGarbled):
                return
        self._store.accounts.move(bound, worker.account.id)


def spool_folder(store: Store) -> Path:
    """Return where uploads and downloads wait: beside a SQLite file, else below this folder."""
    given = settings.read("BATCHKIT_SPOOL_DIR")
    if given:
        return Path(given)
    if store.database.is_sqlite:
        return Path(str(store.database.url.database)).parent / "spool"
    return Path.cwd() / ".batchkit" / "spool"


def _mismatch(run: RunRow, worker: _Worker, ref: str) -> str:
    return (
        f"The key at hand cannot see the batches of run {run.name!r} at {worker.name} ({ref} is "
        "not there). Use the key (and base URL) that the run was started with; nothing was sent."
    )
