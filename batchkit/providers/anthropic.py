"""Anthropic's Message Batches."""

from __future__ import annotations

import threading
from collections.abc import Collection, Container, Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, cast

from batchkit import sharing
from batchkit.errors import ProviderError, ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import (
    Account,
    Attachment,
    BatchStatus,
    Candidate,
    Created,
    Document,
    Download,
    Json,
    Limits,
    Outcome,
    Request,
    Search,
    Shared,
    Spool,
    Traits,
    Window,
)
from batchkit.providers import (
    anthropic_answers,
    anthropic_bodies,
    calls,
    deadlines,
    keys,
    rows,
    spooling,
)
from batchkit.providers.anthropic_pages import too_many
from batchkit.providers.screening import problems
from batchkit.providers.searching import search, survey
from batchkit.providers.splicing import Splice

if TYPE_CHECKING:
    import anthropic
    import httpx2

BASE_URL = "https://api.anthropic.com"
_KEYS = ("ANTHROPIC_API_KEY", "ANTHROPIC_AUTH_TOKEN")
_BATCHES = "/v1/messages/batches"
_GONE = "removed in API version 2026-10-21, which refuses it at any value: leave it out"
_NOT_IN_BATCH = "not available in batches: leave it out"

PARAMETERS = frozenset(
    {
        "cache_control",
        "container",
        "diagnostics",
        "inference_geo",
        "max_tokens",
        "messages",
        "metadata",
        "model",
        "output_config",
        "service_tier",
        "speed",
        "stop_sequences",
        "stream",
        "system",
        "thinking",
        "tool_choice",
        "tools",
        "user_profile_id",
        "workspace_id",
    }
)
REFUSED = {
    "cache_hint": _NOT_IN_BATCH,
    "context_hint": _NOT_IN_BATCH,
    "fallbacks": _NOT_IN_BATCH,
    "output_format": "removed: give response_model= or output_config=",
    "previous_thread_event_id": _NOT_IN_BATCH,
    "speed": _NOT_IN_BATCH,
    "store": _NOT_IN_BATCH,
    "stream": "a batch cannot stream: leave it out",
    "temperature": _GONE,
    "top_k": _GONE,
    "top_p": _GONE,
    "workspace_id": "a header, no parameter of a request: use a key of that workspace",
}

_CLOCKS = timedelta(minutes=1)
"""How far created_at and the Date header may stand apart."""


class Anthropic:
    """Anthropic batches of ``/v1/messages`` requests.

    Key and base URL come from ``ANTHROPIC_API_KEY`` (or ``ANTHROPIC_AUTH_TOKEN``) and
    ``ANTHROPIC_BASE_URL`` unless given; they are read at the first call, not here. ``timeout``
    replaces every read timeout, ``deadline`` the total time of every call, in seconds.
    """

    name = "anthropic"
    limits = Limits(
        requests=100_000,
        bytes=255_000_000,
        request_bytes=32_000_000,
        models="any",
        queue="requests",
    )
    traits = Traits(
        endpoint="/v1/messages",
        prefixes=("claude-",),
        parameters=PARAMETERS,
        refused=REFUSED,
        window=anthropic_answers.WINDOW,
        retention=anthropic_answers.RETENTION,
        cache_marks=True,
        stages=False,
        metadata=False,
        dialect="anthropic",
        citations=True,
        plain_prompts=True,
    )

    def __init__(
        self,
        *,
        api_key: str | None = None,
        base_url: str | None = None,
        timeout: float | None = None,
        deadline: float | None = None,
    ) -> None:
        self._api_key = api_key
        self._base_url = base_url
        self._timeout = timeout
        self._deadline = deadline
        self._lock = threading.Lock()
        self._url: str | None = None
        self._secret: tuple[str, str] | None = None
        self._made: anthropic.Anthropic | None = None

    def prepare(self) -> None:
        """Load the SDK, which takes a third of a second."""
        import anthropic  # noqa: F401

    def account(self) -> Account:
        """Return whose key is at hand; raise ConfigError if there is none."""
        return keys.account(self.name, self._base(), self._key()[1])

    def check(self, request: Request) -> list[str]:
        """Say what would make Anthropic turn the request away."""
        return [
            *problems(request, self.traits, self.limits),
            *too_many(request),
            *anthropic_bodies.uncitable(request),
        ]

    def encode(self, request: Request, custom_id: str) -> bytes:
        """Return one element of the batch's requests, without a line end."""
        return anthropic_bodies.line(custom_id, anthropic_bodies.body(request))

    def stage(self, spool: Spool) -> None:
        """Do nothing: create takes the lines."""

    def unstage(self, file_ref: str) -> None:
        """Do nothing: nothing was uploaded."""

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        """Create the batch from the spool's lines, streamed from disk: one attempt."""
        import httpx2

        body = Splice(spool.path, b'{"requests":[', b"]}")
        seconds = calls.for_upload(len(body))
        with self._routed(), self._calling(seconds, creating=True) as call:
            raw = self._client().post(
                _BATCHES,
                content=body,
                cast_to=httpx2.Response,
                options={
                    # With a length the body goes out as it is read; without, in chunks.
                    "headers": {"Content-Length": str(len(body))},
                    "timeout": self._wait(calls.CREATE_SECONDS),
                },
            )
            got = calls.reply(call, raw)
        return Created(
            ref=calls.ref_of(call, got),
            at=got.at or calls.moment(got.body.get("created_at")),
            workspace=got.headers.get("anthropic-workspace-id"),
        )

    def find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        """Look for batches of the window with our number of requests.

        Nothing else of a batch can be read until it has results; then their custom_ids prove it
        ours or a stranger's.
        """

        def judge(body: Json) -> Candidate | None:
            ref, at = body.get("id"), calls.moment(body.get("created_at"))
            if not isinstance(ref, str) or ref in known or at is None:
                return None
            if not window.start - _CLOCKS <= at <= window.end + _CLOCKS:
                return None
            if sum(anthropic_answers.requests_in(body).values()) != spool.count:
                return None
            ours = self._carries(body, spool.token)
            if ours is None:
                return Candidate(ref, "provisional", at)
            return Candidate(ref, "certain", at) if ours else None

        return search(self._page, judge, window.start)

    def carrying(self, mark: str, window: Window, known: Container[str]) -> Search:
        """List the batches with our custom_ids; one without results yet cannot be told."""

        def judge(body: Json) -> Candidate | None:
            ref, at = body.get("id"), calls.moment(body.get("created_at"))
            if not isinstance(ref, str) or ref in known:
                return None
            first = self._first_id(body) or ""
            token = first.rpartition("-")[0]
            return Candidate(ref, "certain", at, token) if token.startswith(mark) else None

        return search(self._page, judge, window.start)

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands."""
        return anthropic_answers.status(self._batch(ref))

    def statuses(self, refs: Collection[str]) -> dict[str, BatchStatus]:
        """Ask how many batches stand, with one list."""
        return survey(self._page, anthropic_answers.status, "processing_status", refs)

    def download(self, ref: str, to: Path) -> Download:
        """Bring the results file into ``to``."""
        body = self._batch(ref)
        status = anthropic_answers.status(body)
        if not status.ended:
            raise ProviderUnavailable(f"{ref} has no results yet: it is {status.word}.")
        url = self._results_url(body)
        with self._calling(calls.CREATE_SECONDS), self._streamed(url) as response:
            saved = spooling.save(response, to / "results.jsonl")
        return spooling.whole([saved], status.total or 0)

    def outcomes(self, files: Download) -> Iterator[Outcome]:
        """Read the results file line by line."""
        return rows.outcomes(files, anthropic_answers.outcome)

    def cancel(self, ref: str) -> None:
        """Ask Anthropic to stop a batch; ended or gone already is no error."""
        with calls.tolerating(400, 404, 409), self._calling():
            self._client().messages.batches.with_raw_response.cancel(
                ref, timeout=self._wait(calls.POLL_SECONDS)
            )

    def ask(self, request: Request) -> Outcome:
        """Make the real-time call, once, at full price."""
        import httpx2

        try:
            with self._calling(calls.CREATE_SECONDS, creating=True) as call:
                raw = self._client().post(
                    self.traits.endpoint,
                    body=anthropic_bodies.body(request),
                    cast_to=httpx2.Response,
                    options={"timeout": self._wait(calls.CREATE_SECONDS)},
                )
                got = calls.reply(call, raw)
        except ProviderRefused as error:
            return rows.refused("ask", error)
        return anthropic_answers.message_outcome("ask", got.body, got.headers.get("request-id"))

    def shares(self, document: Document) -> bool:
        """Say whether requests can name this one: PDFs and images, at Anthropic's own API."""
        return document.kind != "text" and keys.is_own(self._base(), BASE_URL)

    def share(self, attachment: Attachment, life: timedelta) -> Shared:
        """Upload a document that requests will name."""
        document, seconds = attachment.document, calls.for_upload(len(attachment.data))
        name = sharing.upload_name(document)
        with self._routed(), self._calling(seconds, creating=True) as call:
            raw = self._client().files.with_raw_response.upload(
                file=(name, attachment.data, document.media_type),
                expires_in_seconds=int(life.total_seconds()),
                timeout=self._wait(calls.CREATE_SECONDS),
            )
            got = calls.reply(call, raw.http_response)
        return calls.shared(call, got, "size_bytes", len(attachment.data))

    def unshare(self, ref: str) -> None:
        """Delete what was uploaded; gone already is no error."""
        with calls.tolerating(404), self._calling():
            self._client().files.with_raw_response.delete(
                ref, timeout=self._wait(calls.POLL_SECONDS)
            )

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _batch(self, ref: str) -> Json:
        with self._calling() as call:
            raw = self._client().messages.batches.with_raw_response.retrieve(
                ref, timeout=self._wait(calls.POLL_SECONDS)
            )
            got = calls.reply(call, raw.http_response)
        if calls.ref_of(call, got) != ref or not got.body.get("processing_status"):
            raise ProviderGarbled(f"{self.name} answered with no batch object for {ref}.")
        return got.body

    def _page(self, after: str | None) -> calls.Reply:
        import anthropic

        with self._routed(), self._calling() as call:
            raw = self._client().messages.batches.with_raw_response.list(
                after_id=anthropic.omit if after is None else after,
                limit=100,
                timeout=self._wait(calls.POLL_SECONDS),
            )
            return calls.reply(call, raw.http_response)

    def _carries(self, body: Json, token: str) -> bool | None:
        """Say whether a batch's first result carries our token; None while that cannot be seen."""
        custom_id = self._first_id(body)
        return None if custom_id is None else custom_id.startswith(f"{token}-")

    def _first_id(self, body: Json) -> str | None:
        """Return the custom_id of a batch's first result; None while there is none to see."""
        if not anthropic_answers.status(body).ended or not body.get("results_url"):
            return None
        try:
            url = self._results_url(body)
            with self._calling(), self._streamed(url) as response:
                return rows.custom_id_in(spooling.first_line(response))
        except ProviderError:
            return None

    def _results_url(self, body: Json) -> str:
        """Return where the results lie, on our own host whatever the reply says.

        The SDK would send the key to any host that ``results_url`` names.
        """
        base, given = self._base(), body.get("results_url")
        if not given:
            raise ProviderRefused(
                f"{body.get('id')} has no results at the provider (any more).", reason="not_found"
            )
        url = keys.own_url(base, str(given))
        if url is None:
            raise ProviderRefused(
                f"The results of {body.get('id')} are said to lie at {str(given)[:200]}, not at "
                f"{base}: the key goes to no other host."
            )
        return url

    @contextmanager
    def _streamed(self, url: str) -> Iterator[httpx2.Response]:
        import anthropic
        import httpx2

        got: object = self._client().get(
            url,
            cast_to=httpx2.Response,
            options={"headers": spooling.IDENTITY, "timeout": self._wait(calls.POLL_SECONDS)},
            stream=True,
            stream_cls=anthropic.Stream[object],
        )
        # Asked for a plain response, the SDK hands it over unread and makes no stream of its own.
        response = cast("httpx2.Response", got)
        try:
            yield response
        finally:
            response.close()

    def _routed(self) -> AbstractContextManager[None]:
        return calls.routed(self._base(), "ANTHROPIC_BASE_URL")

    def _calling(
        self, seconds: float = calls.LOOK_DEADLINE, *, creating: bool = False
    ) -> AbstractContextManager[calls.Call]:
        import anthropic

        seconds = self._deadline or seconds
        secret = self._key()[1]
        return calls.calling(calls.Call(anthropic, self.name, secret, seconds, creating))

    def _client(self) -> anthropic.Anthropic:
        import anthropic

        with self._lock:
            if self._made is None:
                variable, secret = self._key()
                token = variable == _KEYS[1]
                self._made = anthropic.Anthropic(
                    api_key=None if token else secret,
                    auth_token=secret if token else None,
                    base_url=self._base(),
                    # A retry after a lost answer is a second batch, and the steps do the waiting.
                    max_retries=0,
                    http_client=deadlines.http_client(anthropic),
                )
            return self._made

    def _key(self) -> tuple[str, str]:
        """Return where the key was found and the key, read once: client and account are one."""
        if self._secret is None:
            self._secret = keys.key("Anthropic", self._api_key, _KEYS)
        return self._secret

    def _base(self) -> str:
        if self._url is None:
            self._url = keys.base_url(self._base_url, "ANTHROPIC_BASE_URL", BASE_URL)
        return self._url

    def _wait(self, seconds: float) -> httpx2.Timeout:
        return calls.waits(self._timeout or seconds)
