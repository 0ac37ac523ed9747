"""From a draft to an open run: where it lies, which run it is, what opening does, what forbids it.

Everything that can stop a run is looked at before the one transaction that opens it.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

from batchkit import documents, processes, requests, settings
from batchkit.builder import canary, identity, nameless, warming
from batchkit.builder.drafting import Draft
from batchkit.builder.priming import Planner, Priming
from batchkit.builder.registry import Registry
from batchkit.builder.templates import unbounded
from batchkit.builder.wishes import Wishes, check_folder
from batchkit.caching import NEAR
from batchkit.clock import Clock
from batchkit.console import Console, counted
from batchkit.errors import (
    ConfigError,
    CostLimitExceededError,
    StateError,
    ValidationError,
)
from batchkit.model import Json
from batchkit.money import enough, show
from batchkit.parts import shown
from batchkit.store import Front, JobRow, Moved, Opening, RunRow, Store
from batchkit.weighing import LEAST_SEEN, weigh

_TRIES = 5
_MANY = 50_000


class Start:
    """One builder's run, from the first job written down to its opening."""

    def __init__(self, wishes: Wishes, registry: Registry, clock: Clock, console: Console) -> None:
        self.wishes = wishes
        self.registry = registry
        self._clock = clock
        self._console = console
        self._finished: RunRow | None = None
        self._opened = False
        self.draft = Draft(self._placed, self._warm)
        self._warming = warming.steps(lambda: registry.loaded)
        self._database: str | None = None
        self._made_beside: str | None = None
        with suppress(ConfigError):  # said when it is opened
            self._made_beside = settings.database(wishes.database, create=False)

    def write_down(self) -> None:
        """Write down what is held back, in the database of when the builder was made."""
        self._database = self._made_beside
        self.draft.flush()

    def copies(self) -> Path | None:
        """Return where documents are copied to; None if they are not.

        Raises ConfigError on Postgres where nobody said where.
        """
        if not self.wishes.keep_files:
            return None
        folder = self.draft.store.files
        if folder is None:
            raise ConfigError(
                "keep_files on Postgres needs a folder for the copies, one that every machine of "
                "the run can read: name it with BATCHKIT_FILES_DIR."
            )
        return folder

    def open(self, first: int | None, notices: list[str], tried: Json | None = None) -> int:
        """Open the run, or go on with it; return its id. Raises before anything is altered.

        ``notices`` are said once the place of the state was said; ``tried`` is a canary that was
        asked already, as the run's row says it.
        """
        self.begin(notices)
        check_folder(self.wishes.results_dir)
        self.settle()
        for _ in range(_TRIES):
            with suppress(Moved):
                return self._open(first, tried)
        raise StateError(
            "Other processes keep starting this run: wait until they have, and start again."
        )

    def _open(self, first: int | None, tried: Json | None) -> int:
        """Open it as it is now; raises Moved if somebody else does so at the same time."""
        store = self.draft.store
        run = store.runs.get(self.draft.run_id)
        seen = {lane.id: lane.released for lane in store.jobs.lanes(run.id)}
        found = identity.survey(store, run, self.draft)
        self._refuse_lost(run, found)
        self._console.say(f"Run {run.name!r}: {found.sentence}")
        self._warn_of_unknown()
        identity.check(store, run, found, self.wishes.on_change)
        plan = identity.plan(store, run, self.draft, found, self.wishes.on_change, first)
        self._check_sending(run, plan)
        store.runs.open(
            run.id,
            Opening(
                spec=self.wishes.spec,
                released=plan.released,
                dropped=plan.dropped,
                superseded=plan.superseded,
                gone=plan.gone,
                limits=self.wishes.limits(self._clock.now()),
                front=self._front(run, plan, tried),
                seen=seen,
            ),
            self._clock.now(),
        )
        self._opened = True
        if self.draft.added >= _MANY:
            processes.give_back()
        return run.id

    def reserve(self, run: RunRow) -> str:
        """Return what is reserved once this is opened, as ``RunRow.reserve`` says it."""
        return replace(run, spec={**run.spec, **self.wishes.spec}).reserve

    def priming(self, run: RunRow) -> Priming:
        """Return what is worth having cached first, unless it was switched off or time is short."""
        if self.wishes.prompt_caching == "off" or not self._has_time(run):
            return Priming()
        return Planner(self.draft.store, self.registry).plan(run.id)

    def _has_time(self, run: RunRow) -> bool:
        now = self._clock.now()
        limits = self.wishes.limits(now)
        deadline = limits.get("deadline_at") or run.deadline_at
        if deadline is not None:
            return bool((deadline - now).total_seconds() >= NEAR)
        seconds = limits.get("time_limit_s", run.time_limit_s)
        return seconds is None or float(seconds) >= NEAR

    def _front(self, run: RunRow, plan: identity.Plan, tried: Json | None) -> Front:
        """Say which jobs go before the others."""
        if not plan.released:
            return Front()
        first = self._canary(run, plan)
        said: Json | None = tried
        if first:
            count = sum(map(len, first.values()))
            said = {"state": "waiting", "jobs": count, "wait_s": self.wishes.canary_wait_s}
            told = "1 job goes" if count == 1 else f"{count:,} jobs go"
            self._console.say(f"Canary: {told} first, across sizes and models")
        priming = self.priming(run)
        if priming.choice.prefixes:
            primers = len(priming.choice.prefixes)
            self._console.say(
                f"Prompt caching: {primers:,} {'prefix is' if primers == 1 else 'prefixes are'} "
                f"shared; a job of each goes first, which likely saves {show(priming.choice.saved)}"
            )
        return Front(canary=said, tried=first, primed=priming.prefixes)

    def _canary(self, run: RunRow, plan: identity.Plan) -> dict[int, list[int]]:
        """Choose the jobs of a canary that goes by batch; none while older ones wait."""
        most = self.wishes.canary
        if not isinstance(most, int) or plan.count <= most or self.has_backlog(run, plan.dropped):
            return {}
        return canary.chosen(self.draft.store, run.id, most)

    def has_backlog(self, run: RunRow, dropped: Iterable[identity.Place] = ()) -> bool:
        """Say whether jobs that were released before wait to be sent."""
        gone = set(dropped)
        return any(
            (lane_id, seq) not in gone
            for lane_id, seq, _ in self.draft.store.surveys.unsent(run.id)
        )

    def begin(self, notices: list[str]) -> None:
        """Write down what is held back and say where it lies; raise if there is nothing."""
        self.draft.flush()
        self._refuse_nothing()
        self._console.say(f"State: {self.draft.store.shown}")
        for notice in notices:
            self._console.say(notice)

    def settle(self) -> None:
        """Say which run a draft belongs to: by content where it has no name, or starts anew."""
        draft, store = self.draft, self.draft.store
        run = store.runs.get(draft.run_id)
        anew = not self.wishes.reuse_state
        if run.nameless:
            if run.opened_at is None:
                nameless.go_on(draft, run.project, anew=anew)
            taken = nameless.take_over(draft, run.project, self._clock.now(), anew=anew)
            if taken:
                told = "1 answer is" if taken == 1 else f"{taken:,} answers are"
                self._console.say(f"{told} taken over from earlier runs, at no cost")
        elif self._finished is not None and run.opened_at is None:
            if nameless.same_content(draft, self._finished.id):
                draft.move(self._finished.id)
            self._finished = None

    def reuse(self) -> None:
        """Take over what this content has been answered before, and stay a draft."""
        run = self.draft.store.runs.get(self.draft.run_id)
        if run.nameless:
            anew = not self.wishes.reuse_state
            nameless.take_over(self.draft, run.project, self._clock.now(), anew=anew)

    def _warm(self) -> None:
        next(self._warming, None)

    def _placed(self) -> tuple[Store, int]:
        """Open the database and make the draft of the run, or find the run."""
        store = Store(settings.database(self._database or self.wishes.database))
        weakref.finalize(store, store.database.close)
        project = settings.project(self.wishes.project)
        name, now = self.wishes.run_name, self._clock.now()
        if name is None:
            spec = self._spec(anew=not self.wishes.reuse_state)
            made = nameless.new_name(now)
            return store, store.runs.create(project, made, spec, now, nameless=True).id
        if self.wishes.reuse_state:
            return store, store.runs.create(project, name, self._spec(), now).id
        return store, self._anew(store, project, name).id

    def _anew(self, store: Store, project: str, name: str) -> RunRow:
        """Return the run that starts anew.

        The newest ``name~k`` that was started so is gone on with while it is unfinished. If it is
        finished, a new one is begun, and given up again at ``run`` should the content be the same.
        """
        last = nameless.newest(store, project, name)
        if last is not None and nameless.is_started_anew(last):
            if not last.is_done:
                return last
            self._finished = last
        made = nameless.next_name(name, last)
        return store.runs.create(project, made, self._spec(anew=True), self._clock.now())

    def _spec(self, *, anew: bool = False) -> dict[str, Any]:
        return {**self.wishes.spec, nameless.ANEW: True} if anew else self.wishes.spec

    def _refuse_nothing(self) -> None:
        if self.draft.added:
            return
        name = self.wishes.run_name
        resume = (
            "" if name is None else f" A run that was started goes on with: batchkit resume {name}"
        )
        raise ValidationError(f"There are no jobs: add some with add_job before run.{resume}")

    def _refuse_lost(self, run: RunRow, found: identity.Survey) -> None:
        """Raise if somebody else started this run in between, and dropped what was added here."""
        lost = self.draft.added - found.found
        if lost > 0 and not self._opened:
            raise StateError(
                f"{lost:,} of the jobs added here are no longer in the run {run.name!r}: another "
                "script started it without them. Nothing was sent. Start this script again, or "
                "give it a name of its own."
            )

    def _warn_of_unknown(self) -> None:
        """Say that ``results_dir`` holds answers that this database knows nothing of."""
        from batchkit.export.folders import owner

        folder = self.wishes.results_dir
        of = None if folder is None else owner(folder)
        if of is None or self.draft.store.runs.is_known(of):
            return
        self._console.say(
            f"{folder} holds answers of {of}, a run that this database does not know. If its "
            "database was moved or deleted, stop now and put it back: here they are bought again.",
            "warn",
        )

    def _check_sending(self, run: RunRow, plan: identity.Plan) -> None:
        """Raise if there is no key, or if money forbids it; drop leftovers, which are not sent."""
        store = self.draft.store
        for lane in identity.unsent_lanes(store, run, plan.released):
            self.registry.provider(lane.provider).account()
        limit = self.wishes.cost_limit or run.cost_limit
        if limit is None:
            return
        store.jobs.remove(run.id, plan.leftovers)
        sums = [row for row in store.surveys.draft_sums(run.id) if row.provider]
        for row in sums:
            if row.unpriced:
                raise ValidationError(_why_unpriced(store, row))
        if sums and run.first_send_at is None:
            self._check_cheapest(run, sums, limit)
        self._say_reserve(run, sums, limit)

    def _say_reserve(self, run: RunRow, sums: list[Any], limit: int) -> None:
        """Say how far the limit can be overshot, where less than bounds may be reserved."""
        reserve = self.reserve(run)
        if reserve == "exceeded":
            self._console.say(
                "Upper bounds are reserved again: a batch cost more than was reserved for it. To "
                f"go by what is observed once more: batchkit resume {run.name} --reserve observed"
            )
        if reserve != "observed":
            return
        bound = sum(int(row.bound) for row in sums) + sum(self.priming(run).dearer.values())
        held = run.spent + run.reserved + self.draft.store.reservations.uncovered(run.id)
        if (over := held + bound - limit) > 0:
            self._console.say(
                f"Once {LEAST_SEEN} jobs of a kind are answered, what they needed of their upper "
                "bounds is reserved for the others. Should all of those come to their bounds, "
                f"{enough(over)} more than the limit of {show(limit)} would be spent"
            )

    def _check_cheapest(self, run: RunRow, sums: list[Any], limit: int) -> None:
        """Raise CostLimitExceededError if not one job fits, by bytes or, tighter, by tokens."""
        store = self.draft.store
        left = limit - run.spent
        best = min(sums, key=lambda row: int(row.cheapest))
        if best.cheapest <= left:
            return
        job = store.surveys.sample(best.lane_id, best.template_id, 1, cheapest=True)[0]
        least = self._counted(job, best.provider)
        if least <= left:
            return
        raise CostLimitExceededError(
            f"Not one job fits under the cost limit: the cheapest, {shown(job.key)!r}, may cost "
            f"up to {show(least)}, and {show(left)} of {show(limit)} is left. Nothing was sent. "
            "Raise it with add_cost_limit(usd=…), or lower max_tokens."
        )

    def _counted(self, job: JobRow, provider: str) -> int:
        template = requests.prepared(self.draft.store.jobs.template(job.template_id))
        copies = self.draft.store.files
        files = [documents.measured(one, copies) for one in requests.documents_of(job.documents)]
        weight = weigh(
            requests.assemble(template, job.own, files),
            requests.price_of(template),
            provider=provider,
            dialect=self.registry.provider(provider).traits.dialect,
            counted=True,
        )
        return min(weight.bound or 0, job.bound or 0)


def _why_unpriced(store: Store, row: Any) -> str:
    template = store.jobs.template(row.template_id)
    said = unbounded(template, requests.price_of(template))
    return said or (
        f"What {counted(row.unpriced, 'job')} may cost is not known: messages name files by id "
        "or URL, and the run has a cost limit: put the files themselves in, or leave "
        "add_cost_limit out."
    )
