"""The builder: says what is wanted. Every method returns it, so calls chain; rows hold the rest."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Hashable, Iterable, Mapping, Sequence
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any, Literal

from batchkit import leaving
from batchkit.builder import fanning, keys, wishes
from batchkit.builder.adding import Adding, Named, failed_row
from batchkit.builder.asking import DEFAULT_MAX_TOKENS, BadInput, split_defaults, with_defaults
from batchkit.builder.fanning import Models
from batchkit.builder.identity import OnChange
from batchkit.builder.job import FilePath, Job
from batchkit.builder.listing import Jobs
from batchkit.builder.moulds import Moulds
from batchkit.builder.registry import Registry
from batchkit.builder.sourcing import Rows, from_folder, source_of
from batchkit.builder.starting import Start
from batchkit.builder.templates import Templates, checked_amount, checked_attempts
from batchkit.checks import one_of
from batchkit.clock import Clock, SystemClock
from batchkit.console import Console, counted
from batchkit.errors import KeyConflictError, ValidationError
from batchkit.model import Json, Reserve
from batchkit.parts import key_of
from batchkit.providers import Provider
from batchkit.store import NewJob

if TYPE_CHECKING:  # what adding jobs needs none of is imported when it is, or beside it
    from batchkit.builder.trying import Trials
    from batchkit.results import JobResult
    from batchkit.run import BatchRun
    from batchkit.run.progress import OnProgress


class Batch:
    """Jobs for one run; nothing is sent before ``run``, ``submit`` or ``test``.

    ``name`` and ``project`` identify the run: the same script again goes on where it stopped. The
    state lies in a database (``database``, BATCHKIT_DATABASE_URL, the nearest
    ``.batchkit/batchkit.db``), results also in ``results_dir``, one JSON file a job. ``on_change``
    says what becomes of jobs whose content changed since: ``"error"``, ``"keep"``, ``"replace"``;
    ``canary=20`` sends 20 jobs first, across sizes and models, and the rest when their answers are
    good (a tenth after ``canary_wait``); ``canary="realtime"`` asks them now, at full price.
    ``prompt_caching="off"`` has no shared prefix cached first even where that would save money,
    ``share_documents="off"`` puts a file into every request that asks about it.
    ``on_bad_input="fail"`` turns a document that cannot be sent into a failed job.
    ``keep_files`` copies documents beside the database, so that an inbox may move;
    ``keep_provider_files`` leaves uploads at the provider once their batch is collected. ``clock``
    and ``providers`` are for tests; ``again`` is what to type where ``batchkit resume``
    would not do.
    """

    def __init__(
        self,
        results_dir: str | os.PathLike[str] | None = None,
        max_parallel_batches: int = 10,
        items_per_batch: int | None = None,
        raw_files: bool | Literal["full"] | None = None,
        *,
        name: str | None = None,
        project: str | None = None,
        database: str | os.PathLike[str] | None = None,
        max_attempts: int = 3,
        max_usd_per_job: float | None = None,
        prompt_caching: Literal["auto", "off"] = "auto",
        share_documents: Literal["auto", "off"] = "auto",
        canary: int | Literal["realtime"] | None = None,
        canary_wait: str | float = "30m",
        on_bad_input: Literal["raise", "fail"] = "raise",
        on_change: OnChange = "error",
        keep_files: bool = False,
        keep_provider_files: bool = False,
        clock: Clock | None = None,
        providers: Mapping[str, Provider] | None = None,
        again: str | None = None,
    ) -> None:
        folder = wishes.folder(results_dir)
        self._wishes = wishes.Wishes(
            results_dir=folder,
            max_parallel_batches=wishes.whole("max_parallel_batches", max_parallel_batches),
            items_per_batch=_optional(wishes.whole, "items_per_batch", items_per_batch),
            raw_files=wishes.raw(raw_files, folder),
            name=wishes.name_of("name", name),
            project=wishes.name_of("project", project),
            database=database,
            max_attempts=checked_attempts(max_attempts),
            max_usd_per_job=_optional(checked_amount, "max_usd_per_job", max_usd_per_job),
            canary=wishes.canary(canary),
            canary_wait_s=wishes.seconds("canary_wait", canary_wait),
            prompt_caching=one_of("prompt_caching", prompt_caching, ("auto", "off")),
            share_documents=one_of("share_documents", share_documents, ("auto", "off")),
            on_bad_input=one_of("on_bad_input", on_bad_input, ("raise", "fail")),
            on_change=one_of("on_change", on_change, ("error", "keep", "replace")),
            keep_files=one_of("keep_files", keep_files, (True, False)),
            keep_provider_files=one_of("keep_provider_files", keep_provider_files, (True, False)),
        )
        self._clock = clock or SystemClock()
        self._providers = providers
        self._again = again
        self._console = Console()
        self._registry = Registry(providers)
        self._templates = Templates(self._registry)
        self._moulds = Moulds()
        self._keys = keys.Keys()
        self._bases = keys.Keys()
        self._models: list[Json] = []
        self._fields: Json = {}
        self._params: Json = {}
        self._told_default = False
        self._start = Start(self._wishes, self._registry, self._clock, self._console)
        self._adding = Adding(self._templates, self._start.copies)
        self._draft = self._start.draft
        # A script that ends without run leaves a draft that `batchkit ls` shows.
        leaving.watch(self, self._start)

    def __len__(self) -> int:
        return self._draft.added

    def __bool__(self) -> bool:
        return True

    def __repr__(self) -> str:
        name = self._wishes.run_name
        told = "without a name" if name is None else repr(name)
        return f"<Batch {told}, {counted(len(self), 'job')}>"

    @property
    def jobs(self) -> Jobs:
        """The jobs added so far, as ``Job`` values, read back when looked at."""
        return Jobs(self._draft, self._templates.models)

    def set_default_params(self, **params: Any) -> Batch:
        """Set what jobs added from now on take where they say nothing: model, max_tokens, …

        ``models=[…]`` asks several models each time, see ``add_job``; the later one of ``model``
        and ``models`` counts. None takes a default back. Raises ProviderNotFoundError for a model
        nobody serves.
        """
        asked = {name: params.get(name) for name in ("model", "models") if name in params}
        if all(asked.values()) and len(asked) > 1:
            raise ValidationError("model and models were both given: give one of the two.")
        models = fanning.checked(asked["models"]) if asked.get("models") is not None else []
        fields, named = split_defaults({n: v for n, v in params.items() if n != "models"})
        if models:
            fields["model"] = None
        fields, named = {**self._fields, **fields}, {**self._params, **named}
        for one in models or [{}]:
            more, own = split_defaults(one)
            self._templates.check_defaults({**fields, **more}, {**named, **own})
        self._models = models if asked else self._models
        self._fields, self._params = fields, named
        self._moulds.forget()
        return self

    def set_state(
        self, file: str | os.PathLike[str] | None = None, reuse_state: bool = True
    ) -> Batch:
        """Say where the state lies; ``reuse_state=False`` starts the run anew as ``name~2``.

        It is started anew once for the same content: a restarted script goes on with the newest
        ``name~k`` while that is unfinished, or if it holds exactly what is added now.
        """
        if self._draft.added:
            raise ValidationError("Call set_state before the first add_job: jobs lie there.")
        if file is not None:
            self._wishes.database = file
        self._wishes.reuse_state = reuse_state
        return self

    def add_cost_limit(self, usd: float, reserve: Reserve = "bound") -> Batch:
        """Limit the money the run may spend over its life, in US dollars, reservations counted.

        ``reserve="observed"``: once 100 jobs of a kind are answered, what 99 of 100 needed of
        their upper bounds is reserved for those that follow, which the limit can be overshot by:
        ``estimate``, ``run`` and ``status`` say how far. The run goes back to upper bounds once a
        batch costs more than was reserved for it.
        """
        self._wishes.cost_limit = checked_amount("A cost limit", usd)
        self._wishes.reserve = one_of("reserve", reserve, ("bound", "observed"))
        return self

    def add_time_limit(
        self,
        seconds: float | None = None,
        minutes: float | None = None,
        hours: float | None = None,
        until: str | None = None,
    ) -> Batch:
        """Limit the time the run may take from its first send; ``until="08:00"`` is local time.

        The parts add up. What is unfinished then is cancelled; what was answered is kept and paid.
        """
        parts = {"seconds": seconds, "minutes": minutes, "hours": hours}
        self._wishes.time_limit_s = wishes.time_limit(parts, until, self._clock.now())
        self._wishes.until = until
        return self

    def raw_files(self, enabled: bool | Literal["full"] = True) -> Batch:
        """Keep uploads, downloads and errors below ``results_dir``; ``"full"`` every byte."""
        self._wishes.raw_files = wishes.raw(enabled, self._wishes.results_dir)
        return self

    def set_verbosity(self, verbosity: Literal["debug", "info", "warn", "error"]) -> Batch:
        """Say from which importance on the run prints lines."""
        self._wishes.verbosity = self._console.verbosity = wishes.verbosity(verbosity)
        return self

    def add_job(
        self,
        messages: Sequence[Mapping[str, Any]] | None = None,
        file: FilePath | None = None,
        prompt: str | None = None,
        model: str | None = None,
        temperature: float | None = None,
        max_tokens: int | None = None,
        response_model: Any = None,
        enable_citations: bool = False,
        *,
        key: str | None = None,
        system: str | None = None,
        files: Sequence[FilePath] | None = None,
        pages: str | None = None,
        split_pages: int | None = None,
        provider: str | None = None,
        price: Mapping[str, Any] | None = None,
        metadata: Mapping[str, Any] | None = None,
        extra_body: Mapping[str, Any] | None = None,
        models: Models | None = None,
        **params: Any,
    ) -> Batch:
        """Add one job: ``messages``, or ``prompt`` with ``file`` or ``files``; checked at once.

        ``pages`` ("1-20", "1-3,7", "12-") are those of a PDF that are sent and paid for;
        ``split_pages=50`` sends a PDF in requests of 50 pages and gives one result.
        ``params`` are the provider's own parameters, checked by name; ``extra_body`` passes as it
        is. ``price`` is USD per million tokens as billed in batch. ``models`` makes a job for each
        model, under ``<key>@<model>``; an entry is a name, or a mapping with ``model`` and what
        holds for it alone. Raises ValidationError, ProviderNotFoundError, or KeyConflictError for
        a ``key`` that was added before.
        """
        asked: Hashable = None
        is_prompt = messages is None and file is None and files is None
        is_prompt = is_prompt and pages is None and split_pages is None
        is_bare = price is None and metadata is None and extra_body is None and models is None
        if is_prompt and is_bare and not params and not self._models:
            kinds = type(temperature), type(max_tokens)  # True and 1 are not the same
            rest = response_model, enable_citations, system, provider
            asked = model, temperature, max_tokens, kinds, rest
            if self._moulded(asked, prompt, key):
                return self
        job = Job(
            messages=messages,
            file=file,
            prompt=prompt,
            model=model,
            temperature=temperature,
            max_tokens=max_tokens,
            response_model=response_model,
            enable_citations=enable_citations,
            key=key,
            system=system,
            files=files,
            pages=pages,
            split_pages=split_pages,
            provider=provider,
            price=price,
            metadata=metadata,
            extra_body=extra_body,
            params=params,
        )
        self._add(job, models)
        if asked is not None:
            self._learn(asked, job)
        return self

    def add_jobs(self, iterable: Iterable[Mapping[str, Any] | Job]) -> Batch:
        """Add jobs from mappings of ``add_job``'s arguments, or from ``Job`` values; streamed."""
        for one in iterable:
            if isinstance(one, Job):
                self.add_job(**one.arguments())
            elif isinstance(one, Mapping):
                self.add_job(**one)
            else:
                raise ValidationError(
                    f"add_jobs takes mappings of add_job's arguments, not {type(one).__name__}."
                )
        return self

    def add_folder(
        self,
        folder: str | os.PathLike[str],
        pattern: str = "**/*",
        *,
        prefix: str = "",
        **job: Any,
    ) -> Batch:
        """Add a job for each file below a folder that fits the pattern, in order of their paths.

        ``job`` are ``add_job``'s arguments. A job's key is the file's path below the folder, with
        ``prefix`` before it. Hidden files are left out; ``**`` stands for any number of folders,
        upper and lower case are one. Raises ValidationError if there is no such folder or file.
        """
        for arguments in from_folder(folder, pattern, prefix, job):
            self.add_job(**arguments)
        return self

    def add_rows(
        self,
        rows: str | os.PathLike[str] | Iterable[Mapping[str, Any]] | None = None,
        *,
        prompt: str,
        key: str | None = None,
        sql: str | None = None,
        url: str | os.PathLike[str] | None = None,
        delimiter: str | None = None,
        encoding: str | None = None,
        metadata: Sequence[str] | Mapping[str, Any] | None = None,
        models: Models | None = None,
        **job: Any,
    ) -> Batch:
        """Add a job for each row of a CSV, TSV, JSONL or Parquet file, a query, or an iterable.

        ``prompt``, ``key``, ``system`` and ``file`` are Jinja templates, filled in with the row's
        columns; ``row`` is the whole row. ``sql`` runs on the database at ``url``: a SQLAlchemy
        URL, or the path of a SQLite file. ``metadata`` lists columns that go with the result.
        Streamed. Raises ValidationError that names the row and what is wrong with it, and
        KeyConflictError that names both rows of a key.
        """
        source = source_of(rows, sql, url, delimiter, encoding)
        given = {**job, "prompt": prompt, "key": key, "metadata": metadata}
        lenient = self._wishes.on_bad_input == "fail"

        def add(arguments: Json, problem: str | None) -> None:
            if problem is None:
                self.add_job(**arguments, models=models)
            else:
                self._add(Job.of_arguments(arguments), models, problem)

        Rows(source, given, lenient=lenient).add(add)
        return self

    def estimate(self) -> Json:
        """Say what the jobs may cost and how many batches they make; nothing is sent.

        ``jobs, new_jobs, batches, waves, input_tokens, usd_expected, usd_range, usd_max,
        usd_realtime, not_within_limit, reserve, overshoot_usd, primers, caching_saves_usd,
        canary_jobs, canary_usd, hours_expected, hours_range, canary_hours``; amounts are None where
        a price is unknown, and 8 of 10 nights end within the range. A canary's share is in the
        other figures.
        """
        from batchkit.builder.estimating import estimated

        return estimated(self._start, self._clock.now().date())

    def test(self, n: int = 1) -> list[JobResult]:
        """Ask the first ``n`` jobs now, at full price, and keep the answers for ``run``.

        A second test of the same jobs does not pay again. Raises CostLimitExceededError if the
        cost limit has no room for them.
        """
        return self._trials().results(wishes.whole("n", n), self._notices())

    def run(
        self,
        on_progress: OnProgress | None = None,
        progress_interval: float = 1.0,
        print_status: bool = False,
        *,
        first: int | None = None,
    ) -> BatchRun:
        """Start or go on, and wait until done or until only a person can move it.

        ``first=10`` sends ten jobs; the next ``run`` the rest. Raises RunChangedError,
        CostLimitExceededError or ConfigError before anything is sent.
        """
        handle = self._opened(first)
        return handle.execute(on_progress, progress_interval, print_status)

    def submit(self) -> BatchRun:
        """Start, send what may be sent now, and return."""
        return self._opened(None).execute(once=True)

    async def arun(
        self,
        on_progress: OnProgress | None = None,
        progress_interval: float = 1.0,
        print_status: bool = False,
        *,
        first: int | None = None,
    ) -> BatchRun:
        """Do as ``run``; cancelled, it detaches first."""
        handle = await asyncio.to_thread(self._opened, first)
        return await handle.aexecute(on_progress, progress_interval, print_status)

    async def asubmit(self) -> BatchRun:
        """Do as ``submit``; cancelled, it detaches first."""
        handle = await asyncio.to_thread(self._opened, None)
        return await handle.aexecute(once=True)

    async def atest(self, n: int = 1) -> list[JobResult]:
        """Do as ``test``."""
        return await asyncio.to_thread(self.test, n)

    def _trials(self) -> Trials:
        from batchkit.builder.trying import Trials

        return Trials(self._start, self._templates.models, self._clock, self._console)

    def _opened(self, first: int | None) -> BatchRun:
        from batchkit.run import BatchRun

        if first is not None:
            wishes.whole("first", first)
        notices = self._notices()
        tried = None
        if self._wishes.canary == "realtime" and self._draft.added:
            tried = self._trials().canary(first, notices)
            notices = []
        run_id = self._start.open(first, notices, tried)
        return BatchRun(
            self._draft.store,
            run_id,
            clock=self._clock,
            providers=self._providers,
            console=self._console,
            models=self._templates.models,
            again=self._again,
        )

    def _add(self, job: Job, models: Models | None = None, problem: str | None = None) -> None:
        """Add a job, or one for each model; ``problem`` says why it cannot be asked at all."""
        if job.key is not None:
            keys.checked(job.key)
        if models is not None:
            self._add_fanned(job, fanning.checked(models), problem)
        elif self._models and job.model is None:
            self._add_fanned(job, self._models, problem)
        else:
            self._draft.add(*self._rows(job, self._key_of, problem))

    def _add_fanned(self, job: Job, models: Sequence[Json], problem: str | None) -> None:
        """Add a job for each model; none if one of them is refused."""
        asked = fanning.fanned(job, models)
        made = [self._rows(one, lambda _job, _derived, _digest: "", problem) for one in asked]
        base = job.key or self._bases.derive(fanning.base_of(with_defaults(job, self._fields, {})))
        for one, rows in zip(asked, made, strict=True):
            named = replace(one, key=keys.checked(f"{base}@{one.model}"))
            key = self._key_of(named, "", rows[0].digest)
            self._draft.add(*(replace(row, key=key_of(key, n)) for n, row in enumerate(rows, 1)))

    def _rows(self, job: Job, named: Named, problem: str | None = None) -> list[NewJob]:
        """Return the row of a job; of a document that is split, one for each part."""
        filled = with_defaults(job, self._fields, self._params)
        if problem is not None:
            return [failed_row(filled, problem, named)]
        try:
            return self._adding.rows(filled, self._wishes.brakes, self._clock.now().date(), named)
        except BadInput as error:
            if self._wishes.on_bad_input == "raise":
                raise ValidationError(str(error)) from error.__cause__
            return [failed_row(filled, str(error), named)]

    def _moulded(self, asked: Hashable, prompt: Any, key: Any) -> bool:
        """Add a job that differs from one before by no more than prompt and key."""
        day, limited = self._clock.now().date(), self._wishes.cost_limit is not None
        mould = self._moulds.find(asked, day, limited)
        if mould is None or type(prompt) is not str:
            return False
        if key is not None:
            keys.checked(key)
        row = mould.row(prompt, key, self._named)
        if row is None:
            return False
        self._draft.add_row(mould.pattern, row)
        return True

    def _learn(self, asked: Hashable, job: Job) -> None:
        filled = with_defaults(job, self._fields, self._params)
        day = self._clock.now().date()
        self._moulds.learn(asked, partial(self._adding.mould, filled, self._wishes.brakes, day))

    def _named(self, key: str | None, digest: bytes) -> str:
        if key is None:
            return self._keys.derive(keys.of_content(digest))
        return self._taken(key, digest)

    def _key_of(self, job: Job, derived: str, digest: bytes) -> str:
        if job.key is None:
            return self._keys.derive(derived)
        return self._taken(job.key, digest)

    def _taken(self, key: str, digest: bytes) -> str:
        if not self._keys.take(key):
            before = self._draft.digest_of(key)
            content = "the same" if before == digest else "other"
            raise KeyConflictError(
                f"The key {key!r} was added twice, the second time with {content} content: a "
                "key stands for one job. Give each job a key of its own, or none."
            )
        return key

    def _notices(self) -> list[str]:
        if not self._templates.took_default or self._told_default:
            return []
        self._told_default = True
        return [
            f"max_tokens was not set: answers are cut off at {DEFAULT_MAX_TOKENS:,} tokens "
            "(set_default_params(max_tokens=…) changes that)"
        ]


def _optional(check: Any, name: str, value: Any) -> Any:
    return None if value is None else check(name, value)


__all__ = ["Batch", "Job"]
