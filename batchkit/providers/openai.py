"""OpenAI's batch API, over Responses (``openai``) and over Chat Completions (``openai-chat``)."""

from __future__ import annotations

from collections.abc import Collection, Container, Iterator
from datetime import timedelta
from functools import partial
from pathlib import Path

from batchkit.model import (
    Account,
    Attachment,
    BatchStatus,
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
    openai_answers,
    openai_bodies,
    rows,
)
from batchkit.providers.openai_desk import BASE_URL, Desk
from batchkit.providers.openai_names import (
    CHAT_NAMES,
    CHAT_REFUSED,
    RESPONSES_NAMES,
    RESPONSES_REFUSED,
)
from batchkit.providers.screening import files_too_large, problems

LIMITS = Limits(
    requests=50_000,
    bytes=190_000_000,
    # Files of one request hold 50 MB together, and base64 makes 4/3 of it.
    request_bytes=70_000_000,
    models="one",
    queue="tokens",
)
_ALL_FILES = 50_000_000
_MODERN = ("gpt-5", "gpt-6", "o1", "o3", "o4")


class OpenAIResponses:
    """OpenAI batches of ``/v1/responses`` requests.

    Key and base URL come from ``OPENAI_API_KEY`` and ``OPENAI_BASE_URL`` unless given; they are
    read at the first call, not here. ``timeout`` replaces every read timeout, ``deadline`` the
    total time of every call, in seconds.
    """

    name = "openai"
    limits = LIMITS
    traits = Traits(
        endpoint="/v1/responses",
        prefixes=("gpt-", "chatgpt-", "codex-", "ft:gpt-", "o1", "o3", "o4"),
        parameters=RESPONSES_NAMES,
        refused=RESPONSES_REFUSED,
        window=openai_answers.WINDOW,
        retention=openai_answers.RETENTION,
        stages=True,
        metadata=True,
        dialect="openai",
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
        self._desk = Desk(self.name, api_key, base_url, timeout, deadline)

    def prepare(self) -> None:
        """Load the SDK, which takes a third of a second."""
        self._desk.prepare()

    def account(self) -> Account:
        """Return whose key is at hand; raise ConfigError if there is none."""
        return self._desk.account()

    def check(self, request: Request) -> list[str]:
        """Say what would make OpenAI turn the request away."""
        return [*problems(request, self.traits, self.limits), *files_too_large(request, _ALL_FILES)]

    def encode(self, request: Request, custom_id: str) -> bytes:
        """Return the line, exactly as sent, without a line end."""
        body = openai_bodies.responses_body(request)
        return openai_bodies.line(custom_id, self.traits.endpoint, body)

    def stage(self, spool: Spool) -> str:
        """Upload the spool; return the file's id."""
        return self._desk.stage(spool)

    def unstage(self, file_ref: str) -> None:
        """Delete an uploaded file; gone already is no error."""
        self._desk.unstage(file_ref)

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        """Create the batch of an uploaded file: one attempt."""
        return self._desk.create(spool, file_ref)

    def find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        """Look for the batch by its input file, and by our token in its metadata."""
        return self._desk.find(spool, file_ref, window, known)

    def carrying(self, mark: str, window: Window, known: Container[str]) -> Search:
        """List the batches with a token of ours in their metadata."""
        return self._desk.carrying(mark, window, known)

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands."""
        return self._desk.poll(ref)

    def statuses(self, refs: Collection[str]) -> dict[str, BatchStatus]:
        """Ask how many batches stand."""
        return self._desk.statuses(refs)

    def download(self, ref: str, to: Path) -> Download:
        """Bring output and error file into ``to``."""
        return self._desk.download(ref, to)

    def outcomes(self, files: Download) -> Iterator[Outcome]:
        """Read output and error file line by line."""
        return _outcomes(files, openai_answers.responses_outcome)

    def cancel(self, ref: str) -> None:
        """Ask OpenAI to stop a batch; ended or gone already is no error."""
        self._desk.cancel(ref)

    def ask(self, request: Request) -> Outcome:
        """Make the real-time call, once, at full price."""
        body = openai_bodies.responses_body(request)
        return self._desk.ask(self.traits.endpoint, body, openai_answers.responses_outcome)

    def shares(self, document: Document) -> bool:
        """Say whether requests can name this one: PDFs and images, at OpenAI's own API."""
        return document.kind != "text" and self._desk.has_files(here=True)

    def share(self, attachment: Attachment, life: timedelta) -> Shared:
        """Upload a document that requests will name."""
        return self._desk.share(attachment, life)

    def unshare(self, ref: str) -> None:
        """Delete what was uploaded; gone already is no error."""
        self._desk.unstage(ref)

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._desk.close()


class OpenAIChat:
    """Batches of ``/v1/chat/completions`` requests, OpenAI's or a compatible server's.

    Settings as for ``OpenAIResponses``.
    """

    name = "openai-chat"
    limits = LIMITS
    traits = Traits(
        endpoint="/v1/chat/completions",
        prefixes=(),  # a compatible server names its models as it likes: provider= says so
        parameters=CHAT_NAMES,
        refused=CHAT_REFUSED,
        window=openai_answers.WINDOW,
        retention=openai_answers.RETENTION,
        stages=True,
        metadata=True,
        dialect="openai",
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
        self._desk = Desk(self.name, api_key, base_url, timeout, deadline)

    def prepare(self) -> None:
        """Load the SDK, which takes a third of a second."""
        self._desk.prepare()

    def account(self) -> Account:
        """Return whose key is at hand; raise ConfigError if there is none."""
        return self._desk.account()

    def check(self, request: Request) -> list[str]:
        """Say what would make the server turn the request away."""
        return [*problems(request, self.traits, self.limits), *files_too_large(request, _ALL_FILES)]

    def encode(self, request: Request, custom_id: str) -> bytes:
        """Return the line, exactly as sent, without a line end."""
        return openai_bodies.line(custom_id, self.traits.endpoint, self._body(request))

    def stage(self, spool: Spool) -> str:
        """Upload the spool; return the file's id."""
        return self._desk.stage(spool)

    def unstage(self, file_ref: str) -> None:
        """Delete an uploaded file; gone already is no error."""
        self._desk.unstage(file_ref)

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        """Create the batch of an uploaded file: one attempt."""
        return self._desk.create(spool, file_ref)

    def find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        """Look for the batch by its input file, and by our token in its metadata."""
        return self._desk.find(spool, file_ref, window, known)

    def carrying(self, mark: str, window: Window, known: Container[str]) -> Search:
        """List the batches with a token of ours in their metadata."""
        return self._desk.carrying(mark, window, known)

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands."""
        return self._desk.poll(ref)

    def statuses(self, refs: Collection[str]) -> dict[str, BatchStatus]:
        """Ask how many batches stand."""
        return self._desk.statuses(refs)

    def download(self, ref: str, to: Path) -> Download:
        """Bring output and error file into ``to``."""
        return self._desk.download(ref, to)

    def outcomes(self, files: Download) -> Iterator[Outcome]:
        """Read output and error file line by line."""
        return _outcomes(files, openai_answers.chat_outcome)

    def cancel(self, ref: str) -> None:
        """Ask the server to stop a batch; ended or gone already is no error."""
        self._desk.cancel(ref)

    def ask(self, request: Request) -> Outcome:
        """Make the real-time call, once, at full price."""
        return self._desk.ask(
            self.traits.endpoint, self._body(request), openai_answers.chat_outcome
        )

    def shares(self, document: Document) -> bool:
        """Say whether requests can name this one: PDFs, at OpenAI's own API.

        What else speaks this, on this machine or elsewhere, may know no files in requests.
        """
        return document.kind == "pdf" and self._desk.has_files(here=False)

    def share(self, attachment: Attachment, life: timedelta) -> Shared:
        """Upload a document that requests will name."""
        return self._desk.share(attachment, life)

    def unshare(self, ref: str) -> None:
        """Delete what was uploaded; gone already is no error."""
        self._desk.unstage(ref)

    def close(self) -> None:
        """Close the connections; the next call opens others."""
        self._desk.close()

    def _body(self, request: Request) -> Json:
        own = self._desk.base_url() == BASE_URL
        return openai_bodies.chat_body(request, modern=own or request.model.startswith(_MODERN))


def _outcomes(files: Download, read: openai_answers.Reader) -> Iterator[Outcome]:
    return rows.outcomes(files, partial(openai_answers.outcome, read=read))
