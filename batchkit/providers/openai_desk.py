"""The calls that both of OpenAI's APIs share: files and batches over one client."""

from __future__ import annotations

import threading
from collections.abc import Collection, Container
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from batchkit import settings, sharing
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import (
    Account,
    Attachment,
    BatchStatus,
    Candidate,
    Created,
    Download,
    Json,
    Outcome,
    Search,
    Shared,
    Spool,
    Window,
)
from batchkit.providers import (
    calls,
    deadlines,
    keys,
    openai_answers,
    rows,
    spooling,
)
from batchkit.providers.encoding import mapping
from batchkit.providers.searching import search, survey

if TYPE_CHECKING:
    import httpx2
    import openai

BASE_URL = "https://api.openai.com/v1"
_FILES = (("output_file_id", "output.jsonl"), ("error_file_id", "errors.jsonl"))
_UNRUN = (b'"batch_expired"', b'"batch_cancelled"')
"""What stands in the lines of requests that never ran, which OpenAI's counts leave out: without
them a torn file of answers would look whole beside the other one."""

_TOKEN = "batchkit_token"
_UPLOAD_SECONDS = 14 * 24 * 3600
"""How long an upload lives that nobody deletes; the least that Azure takes."""


class Desk:
    """The calls that both of OpenAI's APIs share: files and batches over one client."""

    def __init__(
        self,
        name: str,
        api_key: str | None,
        base_url: str | None,
        timeout: float | None,
        deadline: float | None,
    ) -> None:
        self._name = name
        self._api_key = api_key
        self._base_url = base_url
        self._timeout = timeout
        self._deadline = deadline
        self._lock = threading.Lock()
        self._url: str | None = None
        self._secret: str | None = None
        self._made: openai.OpenAI | None = None

    def prepare(self) -> None:
        """Load the SDK."""
        import openai  # noqa: F401

    def account(self) -> Account:
        """Return whose key is at hand; raise ConfigError if there is none."""
        return keys.account("openai", self.base_url(), self._key())

    def base_url(self) -> str:
        """Return where calls go, read once; needs no key."""
        if self._url is None:
            self._url = keys.base_url(self._base_url, "OPENAI_BASE_URL", BASE_URL)
        return self._url

    def stage(self, spool: Spool) -> str:
        """Upload the spool; a reply that counts other bytes than we sent is no upload."""
        name = f"bk-{spool.token}-{spool.sha256[:12]}.jsonl"
        with (
            spool.path.open("rb") as file,
            self._routed(),
            self._calling(calls.for_upload(spool.bytes), creating=True) as call,
        ):
            raw = self._client().files.with_raw_response.create(
                file=(name, file),
                purpose="batch",
                expires_after=self._expiry(),
                timeout=self._wait(calls.CREATE_SECONDS),
            )
            got = calls.reply(call, raw.http_response)
        size, counted = spool.path.stat().st_size, got.body.get("bytes")
        if isinstance(counted, int) and counted and counted != size:
            raise ProviderGarbled(f"{self._name} counts {counted} bytes of {size} that were sent.")
        return calls.ref_of(call, got)

    def _expiry(self) -> Any:
        """Say when an upload goes by itself; compatible servers may not know the field."""
        import openai

        if self.base_url() != BASE_URL and "azure.com" not in self.base_url():
            return openai.omit
        return {"anchor": "created_at", "seconds": _UPLOAD_SECONDS}

    def has_files(self, *, here: bool) -> bool:
        """Say whether requests can name files: at OpenAI's own; ``here``: on this machine, too."""
        url = self.base_url()
        return keys.is_own(url, BASE_URL) and (here or not keys.is_here(url))

    def share(self, attachment: Attachment, life: timedelta) -> Shared:
        """Upload a document that requests will name."""
        document, seconds = attachment.document, calls.for_upload(len(attachment.data))
        name = sharing.upload_name(document)
        with self._routed(), self._calling(seconds, creating=True) as call:
            raw = self._client().files.with_raw_response.create(
                file=(name, attachment.data, document.media_type),
                purpose="user_data",
                expires_after={"anchor": "created_at", "seconds": int(life.total_seconds())},
                timeout=self._wait(calls.CREATE_SECONDS),
            )
            got = calls.reply(call, raw.http_response)
        return calls.shared(call, got, "bytes", len(attachment.data))

    def unstage(self, file_ref: str) -> None:
        """Delete an uploaded file; gone already is no error."""
        with calls.tolerating(404), self._calling():
            self._client().files.with_raw_response.delete(
                file_ref, timeout=self._wait(calls.POLL_SECONDS)
            )

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        """Create a batch from an uploaded file."""
        if file_ref is None:
            raise ValueError("stage the spool first: OpenAI creates from an uploaded file")
        metadata = {_TOKEN: spool.token, "batchkit_count": str(spool.count)}
        try:
            return self._create(spool.endpoint, file_ref, metadata)
        except ProviderRefused as error:
            if error.status == 404:
                raise self._missing(file_ref, error) from error
            if error.status not in (400, 422) or "metadata" not in str(error).lower():
                raise
        # Nothing arrived. Some servers know no metadata; the input file's id finds it as well.
        return self._create(spool.endpoint, file_ref, None)

    def _missing(self, file_ref: str, error: ProviderRefused) -> ProviderRefused:
        """Find out what a create's 404 is about: no batches here, no such file, or another thing.

        Only a file that is gone is mended by uploading it again.
        """
        self._page(None)
        try:
            with self._calling() as call:
                raw = self._client().files.with_raw_response.retrieve(
                    file_ref, timeout=self._wait(calls.POLL_SECONDS)
                )
                calls.ref_of(call, calls.reply(call, raw.http_response))
        except (ProviderRefused, ProviderGarbled):
            return error
        return ProviderRefused(str(error), reason="request", code=error.code, status=404)

    def _create(self, endpoint: str, file_ref: str, metadata: dict[str, str] | None) -> Created:
        import openai

        with self._calling(calls.CREATE_SECONDS, creating=True) as call:
            raw = self._client().batches.with_raw_response.create(
                input_file_id=file_ref,
                endpoint=cast(Any, endpoint),
                completion_window="24h",
                metadata=openai.omit if metadata is None else metadata,
                timeout=self._wait(calls.CREATE_SECONDS),
            )
            got = calls.reply(call, raw.http_response)
        at = got.at or calls.moment(got.body.get("created_at"))
        return Created(ref=calls.ref_of(call, got), at=at)

    def find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        """Look for a batch of our input file, or with our token."""

        def judge(body: Json) -> Candidate | None:
            ref = body.get("id")
            if not isinstance(ref, str) or ref in known:
                return None
            token = mapping(body.get("metadata")).get(_TOKEN)
            ours = token == spool.token or (
                file_ref is not None and body.get("input_file_id") == file_ref
            )
            at = calls.moment(body.get("created_at"))
            return Candidate(ref, "certain", at) if ours else None

        return search(self._page, judge, window.start)

    def carrying(self, mark: str, window: Window, known: Container[str]) -> Search:
        """List the batches with a token of ours in their metadata."""

        def judge(body: Json) -> Candidate | None:
            ref, token = body.get("id"), mapping(body.get("metadata")).get(_TOKEN)
            if not isinstance(ref, str) or ref in known or not isinstance(token, str):
                return None
            at = calls.moment(body.get("created_at"))
            return Candidate(ref, "certain", at, token) if token.startswith(mark) else None

        return search(self._page, judge, window.start)

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands."""
        return openai_answers.status(self._batch(ref))

    def statuses(self, refs: Collection[str]) -> dict[str, BatchStatus]:
        """Ask how many batches stand, with one list."""
        return survey(self._page, openai_answers.status, "status", refs)

    def download(self, ref: str, to: Path) -> Download:
        """Bring both result files; either may be missing, and an empty id is none."""
        body = self._batch(ref)
        status = openai_answers.status(body)
        if not status.ended:
            raise ProviderUnavailable(f"{ref} has no results yet: it is {status.word}.")
        saved = [
            self._save(str(body[field]), to / name) for field, name in _FILES if body.get(field)
        ]
        unrun = _UNRUN if status.reason in ("expired", "cancelled") else ()
        return spooling.whole(saved, status.completed + status.failed, unrun)

    def cancel(self, ref: str) -> None:
        """Ask for a stop; a batch that ended or is gone needs none."""
        with calls.tolerating(400, 404, 409), self._calling():
            self._client().batches.with_raw_response.cancel(
                ref, timeout=self._wait(calls.POLL_SECONDS)
            )

    def ask(self, endpoint: str, body: Json, read: openai_answers.Reader) -> Outcome:
        """Make one real-time call; a refused request is an outcome, a failed call is raised."""
        import httpx2

        try:
            with self._calling(calls.CREATE_SECONDS, creating=True) as call:
                raw = self._client().post(
                    endpoint.removeprefix("/v1"),
                    body=body,
                    cast_to=httpx2.Response,
                    options={"timeout": self._wait(calls.CREATE_SECONDS)},
                )
                got = calls.reply(call, raw)
        except ProviderRefused as error:
            return rows.refused("ask", error)
        return read("ask", got.body, got.headers.get("x-request-id"))

    def close(self) -> None:
        """Close the client; the next call makes another."""
        with self._lock:
            made, self._made = self._made, None
        if made is not None:
            made.close()

    def _batch(self, ref: str) -> Json:
        with self._calling() as call:
            raw = self._client().batches.with_raw_response.retrieve(
                ref, timeout=self._wait(calls.POLL_SECONDS)
            )
            got = calls.reply(call, raw.http_response)
        if calls.ref_of(call, got) != ref or not got.body.get("status"):
            raise ProviderGarbled(f"{self._name} answered with no batch object for {ref}.")
        return got.body

    def _page(self, after: str | None) -> calls.Reply:
        import openai

        with self._routed(), self._calling() as call:
            raw = self._client().batches.with_raw_response.list(
                after=openai.omit if after is None else after,
                limit=100,
                timeout=self._wait(calls.POLL_SECONDS),
            )
            return calls.reply(call, raw.http_response)

    def _save(self, file_ref: str, path: Path) -> Path:
        with (
            self._calling(calls.CREATE_SECONDS),
            self._client().files.with_streaming_response.content(
                file_ref,
                extra_headers=spooling.IDENTITY,
                timeout=self._wait(calls.POLL_SECONDS),
            ) as raw,
        ):
            return spooling.save(raw.http_response, path)

    def _routed(self) -> AbstractContextManager[None]:
        return calls.routed(self.base_url(), "OPENAI_BASE_URL")

    def _calling(
        self, seconds: float = calls.LOOK_DEADLINE, *, creating: bool = False
    ) -> AbstractContextManager[calls.Call]:
        import openai

        seconds = self._deadline or seconds
        return calls.calling(calls.Call(openai, self._name, self._key(), seconds, creating))

    def _client(self) -> openai.OpenAI:
        import openai

        with self._lock:
            if self._made is None:
                self._made = openai.OpenAI(
                    api_key=self._key(),
                    base_url=self.base_url(),
                    organization=settings.read("OPENAI_ORG_ID"),
                    project=settings.read("OPENAI_PROJECT_ID"),
                    # A retry after a lost answer is a second batch, and the steps do the waiting.
                    max_retries=0,
                    http_client=deadlines.http_client(openai),
                )
            return self._made

    def _key(self) -> str:
        """Return the key, read once, so that the client and its account are one."""
        if self._secret is None:
            self._secret = keys.key("OpenAI", self._api_key, ("OPENAI_API_KEY",))[1]
        return self._secret

    def _wait(self, seconds: float) -> httpx2.Timeout:
        return calls.waits(self._timeout or seconds)
