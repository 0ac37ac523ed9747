"""The nouns: frozen values that the rooms hand to each other. No behaviour, no I/O."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal, TypeAlias

Json: TypeAlias = dict[str, Any]

Level: TypeAlias = Literal["system", "documents"]
"""Where a prefix that requests share may end: behind the system prompt, or behind the files."""

Reserve: TypeAlias = Literal["bound", "observed"]
"""What is reserved under a cost limit: upper bounds, or what finished jobs used of theirs."""


class RunState(StrEnum):
    """Where a run stands; derived from its rows, stored nowhere."""

    DRAFT = "draft"  # jobs were added, nothing was started; no step sees it
    RUNNING = "running"  # something is in flight or may be sent
    WAITING = "waiting"  # only a person (or an absent provider) moves it on: see waiting_for
    COMPLETED = "completed"  # every job has its answer
    FAILED = "failed"  # every job has ended, at least one failed
    CANCELLED = "cancelled"  # every job has ended, none failed, at least one was cancelled


class BatchState(StrEnum):
    """Where a batch stands; docs/state_machine.md is drawn from the moves between these."""

    SEALED = "sealed"  # spooled and reserved, nothing sent; the submitter sends it
    SUBMITTING = "submitting"  # a call may have arrived; only the submitter's look leads out
    RUNNING = "running"  # the provider has it; the poller watches it
    ENDED = "ended"  # the provider is done; the collector takes it
    COLLECTED = "collected"  # answers and money are booked: final
    VOID = "void"  # never ran; its jobs go into other batches: final
    ABANDONED = "abandoned"  # its answers cannot be had any more: final, but a late look may help


LIVE_STATES = (BatchState.SEALED, BatchState.SUBMITTING, BatchState.RUNNING, BatchState.ENDED)
"""States in which a batch holds jobs and reserved money."""


class JobState(StrEnum):
    """Where a job stands; derived: its final attempt, else its live batch, else waiting."""

    PENDING = "pending"
    ACTIVE = "active"
    COMPLETED = "completed"
    FAILED = "failed"
    CANCELLED = "cancelled"


FINAL_JOB_STATES = (JobState.COMPLETED, JobState.FAILED, JobState.CANCELLED)


class Code(StrEnum):
    """Why a job has no answer: the closed list behind ``JobResult.error_code``."""

    BAD_INPUT = "bad_input"  # could not become a request at all; nothing sent, cost 0
    FILE_CHANGED = "file_changed"  # its file is not the one that was added
    INVALID_REQUEST = "invalid_request"  # the provider refuses the request as such
    REFUSED = "refused"  # the model declined
    CONTENT_FILTER = "content_filter"  # the provider's filter cut the answer
    TRUNCATED = "truncated"  # max_tokens was too small, also after it was raised
    INVALID_OUTPUT = "invalid_output"  # the answer does not fit the response model
    EMPTY_OUTPUT = "empty_output"  # the answer holds no text
    EXPIRED = "expired"  # the provider's window closed before it ran, on every attempt
    OVERLOADED = "overloaded"  # provider overloaded, on every attempt
    RATE_LIMITED = "rate_limited"  # provider's rate limit, on every attempt
    SERVER_ERROR = "server_error"  # provider's own error, on every attempt
    NOT_RUN = "not_run"  # the provider never started it, on every attempt
    UNREADABLE = "unreadable"  # the provider's result line could not be read
    RESULT_LOST = "result_lost"  # it may have run, its answer cannot be had any more
    RESULT_MISSING = "result_missing"  # the batch ended without a line for it
    MAX_USD = "max_usd"  # the next attempt would cost more than max_usd_per_job
    PARSER_CRASHED = "parser_crashed"  # reading its answer killed the process twice
    CANCELLED = "cancelled"  # a person cancelled it
    TIME_LIMIT = "time_limit"  # the run's time was up
    REPLACED = "replaced"  # its content was changed and it was replaced
    GONE = "gone"  # the script no longer adds it and said replace


class CostKind(StrEnum):
    """How sure a cost is."""

    EXACT = "exact"  # from the usage that the provider reported
    BOUND = "bound"  # its worst case, until it is known better
    FREE = "free"  # nothing ran


class Waiting(StrEnum):
    """Who or what moves a waiting run on."""

    BUDGET = "budget"
    ACCOUNT = "account"
    FILES = "files"
    REVIEW = "review"
    CANARY = "canary"
    PROVIDER = "provider"


@dataclass(frozen=True, slots=True)
class Price:
    """What a model costs in batch: nano-dollars per million tokens, by kind of token.

    ``source`` says where the numbers come from. A missing cache price is the input price. A request
    with more than ``long_context_above`` input tokens costs the ``…_long`` prices for all of its
    tokens; one that is missing is as without ``_long``.
    """

    input: int
    output: int
    cached: int | None = None
    cache_write: int | None = None
    cache_write_1h: int | None = None
    source: str = "given"
    long_context_above: int | None = None
    input_long: int | None = None
    output_long: int | None = None
    cached_long: int | None = None
    cache_write_long: int | None = None
    cache_write_1h_long: int | None = None


@dataclass(frozen=True, slots=True)
class Usage:
    """Tokens of one answer. ``input_tokens`` is the total, cache reads and writes included.

    ``cache_write_tokens`` are all cache writes, ``cache_write_1h_tokens`` those of them that live
    an hour; ``reasoning_tokens`` are among ``output_tokens``.
    """

    input_tokens: int = 0
    output_tokens: int = 0
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    reasoning_tokens: int = 0


@dataclass(frozen=True, slots=True)
class Document:
    """A file as it was when its job was added: where it lies and what makes it this one.

    ``kind`` is what it goes out as: a Word file, for example, is text. ``text_bytes`` is what its
    text is in UTF-8, for a PDF the text of its pages. ``selection`` are the pages of a PDF that are
    sent where not all are, like ``"1-3,7"``, as a PDF of ``cut_bytes``; ``pages``, ``text_bytes``
    are then theirs, ``size`` and ``sha256`` those of the file. Of a document that is sent in
    ``parts`` requests this one has part number ``part``; ``split_pages`` and ``split_from`` are
    how it was asked for.
    """

    path: str
    name: str
    media_type: str
    kind: Literal["text", "pdf", "image"]
    size: int
    sha256: str
    pages: int | None = None
    width: int | None = None
    height: int | None = None
    text_bytes: int | None = None
    selection: str | None = None
    cut_bytes: int | None = None
    part: int | None = None
    parts: int | None = None
    split_pages: int | None = None
    split_from: str | None = None


@dataclass(frozen=True, slots=True)
class Attachment:
    """A document with its bytes in hand, as the adapter encodes it.

    With a ``ref`` it was uploaded: the request names that, and ``data`` may be empty.
    """

    document: Document
    data: bytes
    ref: str | None = None


@dataclass(frozen=True, slots=True)
class Shared:
    """A document that a provider took for requests to name. ``life``: how long, if it was said."""

    ref: str
    life: timedelta | None = None


@dataclass(frozen=True, slots=True)
class Request:
    """One request, the same for every provider until ``Provider.encode`` makes it a line.

    Either ``messages`` (in the provider's own shape) or ``prompt`` with ``attachments``.
    ``params`` are the provider's own names and only what somebody set. ``schema`` is
    ``AnswerSchema.to_dict()``. ``caching`` says behind what a provider that takes marks
    (``Traits.cache_marks``) shall cache for an hour.
    """

    model: str
    max_tokens: int
    prompt: str | None = None
    messages: Sequence[Json] | None = None
    system: str | None = None
    attachments: Sequence[Attachment] = ()
    params: Mapping[str, Any] = field(default_factory=dict)
    extra_body: Mapping[str, Any] = field(default_factory=dict)
    schema: Json | None = None
    citations: bool = False
    caching: Sequence[Level] = ()


@dataclass(frozen=True, slots=True)
class Prefix:
    """What many jobs of a lane begin with, and the one of them that goes first to have it cached.

    ``primed_at``: the primer was sealed; ``flies``: it has no end yet. ``warmed_at``: an answer
    told of the cache; it counts as cached before ``warm_until``.
    """

    id: int
    level: Level
    digest: bytes
    primer_seq: int
    tokens: int = 0
    jobs: int = 0
    primed_at: datetime | None = None
    warmed_at: datetime | None = None
    warm_until: datetime | None = None
    flies: bool = False


@dataclass(frozen=True, slots=True)
class Citation:
    """Where in a document an answer's words come from.

    ``page`` counts from 1, by the whole document, and is None where the source has no pages;
    ``metadata`` holds the provider's own location (``start_char_index``, ``end_page_number``,
    ``document_index``, …), ``answer_start_index`` and ``answer_end_index`` (which words of the
    answer it supports), and in ``citation_mappings`` also ``sure`` and ``found``.
    """

    text: str
    source: str
    page: int | None = None
    metadata: Json | None = None


@dataclass(frozen=True, slots=True)
class Succeeded:
    """The model answered. ``finish`` is ``stop``, ``length``, ``refusal``, ``content_filter``,
    ``tool`` or the provider's own word."""

    custom_id: str
    text: str
    usage: Usage | None
    model: str | None
    finish: str
    refusal: str | None = None
    citations: Sequence[Citation] = ()
    request_id: str | None = None
    billed: bool = True


@dataclass(frozen=True, slots=True)
class Errored:
    """The request was turned away or broke; not billed unless ``usage`` is there.

    ``kind`` sorts it: ``invalid`` (never again as it is), ``overloaded``, ``rate_limited``,
    ``server_error``, ``account``, ``content_filter``, ``file`` (an uploaded file it names is gone).
    """

    custom_id: str
    kind: str
    code: str
    message: str
    status: int | None = None
    request_id: str | None = None
    usage: Usage | None = None


@dataclass(frozen=True, slots=True)
class NotRun:
    """The provider never started it: free. ``reason`` is ``expired`` or ``cancelled``."""

    custom_id: str
    reason: str


@dataclass(frozen=True, slots=True)
class Unreadable:
    """A result line nobody can read; ``custom_id`` is None where even that is lost."""

    custom_id: str | None
    line: str
    problem: str


Outcome: TypeAlias = Succeeded | Errored | NotRun | Unreadable


@dataclass(frozen=True, slots=True)
class Spool:
    """A batch's lines on disk, as they are sent, and what is known of them without the file."""

    path: Path
    token: str
    count: int
    bytes: int
    sha256: str
    model: str
    endpoint: str
    batch_id: int = 0
    run_id: int = 0


@dataclass(frozen=True, slots=True)
class Created:
    """A provider's receipt. ``at`` is the provider's time."""

    ref: str
    at: datetime | None = None
    workspace: str | None = None


@dataclass(frozen=True, slots=True)
class Candidate:
    """A batch at the provider that may be ours. ``proof`` is ``certain`` or ``provisional``."""

    ref: str
    proof: Literal["certain", "provisional"]
    at: datetime | None = None
    token: str | None = None


@dataclass(frozen=True, slots=True)
class Window:
    """When a create may have arrived, in the provider's time."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True)
class Search:
    """What a look for a lost create found. ``complete``: the listing covered the whole window.

    ``now`` is the provider's time of the look.
    """

    candidates: Sequence[Candidate]
    complete: bool
    now: datetime | None = None


@dataclass(frozen=True, slots=True)
class BatchStatus:
    """What a provider says of a batch. ``ended`` says nothing about results.

    ``reason`` when ended: ``completed``, ``expired``, ``cancelled`` or ``failed`` (nothing ran);
    ``queue_full`` with ``failed`` means that it may go again as it is, later.
    """

    ref: str
    word: str
    ended: bool
    reason: str | None = None
    total: int | None = None
    completed: int = 0
    failed: int = 0
    error_code: str | None = None
    error_message: str | None = None
    queue_full: bool = False
    queue_limit: int | None = None
    created_at: datetime | None = None
    ended_at: datetime | None = None
    expires_at: datetime | None = None
    results_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class Download:
    """Result files, whole, on disk.

    ``lines`` is how many there are at least by the provider's counts; OpenAI does not count the
    lines of requests that never ran.
    """

    files: Sequence[Path]
    lines: int | None = None


@dataclass(frozen=True, slots=True)
class Limits:
    """What one batch of a provider may hold.

    ``queue`` is what the provider's queue counts. ``bytes`` is of the whole upload.
    """

    requests: int
    bytes: int
    request_bytes: int
    models: Literal["one", "any"]
    queue: Literal["tokens", "requests"] | None = None
    min_requests: int = 1
    concurrent_batches: int | None = None


@dataclass(frozen=True, slots=True)
class Traits:
    """How a provider behaves, as data.

    ``parameters`` are the names its request type knows; ``refused`` maps a name to why it cannot
    go into a batch, for every model; ``prefixes`` are the model names it serves.
    ``cache_marks``: it caches the prefixes that a request marks.
    ``create_key`` says whether create can be repeated safely: ``none``, ``idempotent``, ``named``.
    ``plain_prompts`` says that two requests of one kind that are a prompt and nothing else differ
    in their lines by the prompt and the custom id alone, each a JSON text, and that ``check`` looks
    at no more of a prompt than whether it is blank and how long it is: most of the work is then
    done once for all of them.
    """

    endpoint: str
    prefixes: Sequence[str]
    parameters: frozenset[str]
    refused: Mapping[str, str]
    window: timedelta
    retention: timedelta
    stages: bool
    metadata: bool
    dialect: Literal["openai", "anthropic"]
    cache_marks: bool = False
    citations: bool = False
    kinds: frozenset[str] = frozenset({"text", "pdf", "image"})
    create_key: Literal["none", "idempotent", "named"] = "none"
    look_every: timedelta = timedelta(minutes=1)
    plain_prompts: bool = False


@dataclass(frozen=True, slots=True)
class Account:
    """Whose key is at hand. ``fingerprint`` is a hash of the key, never a part of it."""

    provider: str
    base_url: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class RunSpec:
    """What a builder says about its run; everything a later process needs to go on."""

    results_dir: str | None = None
    raw_files: Literal["off", "on", "full"] = "off"
    max_parallel_batches: int = 10
    items_per_batch: int | None = None
    max_attempts: int = 3
    max_usd_per_job: int | None = None
    prompt_caching: Literal["auto", "off"] = "auto"
    on_bad_input: Literal["raise", "fail"] = "raise"
    keep_provider_files: bool = False
    share_documents: Literal["auto", "off"] = "auto"
    verbosity: str = "info"
