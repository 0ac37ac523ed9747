"""Failed calls: which of three errors, whether it may have acted, and without the key."""

from __future__ import annotations

import socket
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import (
    ProviderError,
    ProviderGarbled,
    ProviderRefused,
    ProviderUnavailable,
)
from batchkit.model import Errored, Spool
from batchkit.providers import Provider
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses
from tests.providers import made
from tests.providers.scripted import Say, Script

HTML = Say(b"<html>so sorry</html>", headers={"Content-Type": "text/html"})


def wrong(status: int, code: str | None = None, message: str = "so", **headers: str) -> Say:
    """An error in both dialects at once."""
    details = {"error_code": code} if code else None
    error = {"type": "some_error", "code": code, "message": message, "details": details}
    return Say({"type": "error", "error": error}, status, headers)


@pytest.fixture
def spool(provider: Provider, tmp_path: Path) -> Spool:
    """A small spool."""
    return made.spool(provider, tmp_path)


def failed(provider: Provider, spool: Spool) -> ProviderError:
    """Create, and return how that failed."""
    with pytest.raises(ProviderError) as caught:
        provider.create(spool, "file-1")
    return caught.value


@pytest.mark.parametrize(
    "say",
    [
        Say(how="drop"),
        Say(b'{"id":"b"', how="short"),
        Say(b'{"id":"b"', how="torn"),
        wrong(500),
        wrong(502),
        wrong(503),
        wrong(529),
        wrong(408),
        wrong(409),
    ],
    ids=["drop", "short", "torn", "500", "502", "503", "529", "408", "409"],
)
def test_a_create_without_an_answer_may_have_arrived(
    provider: Provider, script: Script, spool: Spool, say: Say
) -> None:
    """And it is sent once."""
    script.says(say)
    error = failed(provider, spool)
    assert isinstance(error, ProviderUnavailable)
    assert error.maybe
    assert len(script.heard) == 1
    assert script.heard[0].headers["x-stainless-retry-count"] == "0"


@pytest.mark.parametrize(
    "say",
    [HTML, Say(b'{"id":"b', how="open"), Say(b""), Say([]), Say({}), Say({"id": ""})],
    ids=["HTML", "half", "empty", "list", "no id", "empty id"],
)
def test_a_create_with_a_garbled_answer_may_have_arrived(
    provider: Provider, script: Script, spool: Spool, say: Say
) -> None:
    """A 200 that is none of ours is no receipt."""
    script.says(say)
    error = failed(provider, spool)
    assert isinstance(error, ProviderGarbled)
    assert error.maybe
    assert len(script.heard) == 1


def test_a_create_past_its_timeout_may_have_arrived(
    make: Callable[[str, float], Provider], script: Script, tmp_path: Path
) -> None:
    """Silence is no refusal."""
    script.says(Say(how="hang"))
    provider = make(script.url, 0.1)
    error = failed(provider, made.spool(provider, tmp_path))
    assert isinstance(error, ProviderUnavailable)
    assert error.maybe


def test_a_create_that_finds_nobody_has_not_arrived(
    make: Callable[[str, float], Provider], tmp_path: Path
) -> None:
    """A connection refused is certain."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))  # bound, not listening: nobody else may come to answer
        provider = make(f"http://127.0.0.1:{taken.getsockname()[1]}", 1)
        error = failed(provider, made.spool(provider, tmp_path))
    assert isinstance(error, ProviderUnavailable)
    assert not error.maybe


@pytest.mark.parametrize(
    ("say", "reason"),
    [
        (wrong(400), "request"),
        (wrong(422), "request"),
        (wrong(413), "too_large"),
        (Say(b"<html>too large</html>", 413), "too_large"),
        (wrong(401), "account"),
        (wrong(402), "account"),
        (wrong(403), "account"),
        (wrong(429, "insufficient_quota"), "account"),
        (wrong(429, "enforced_spend_limit_reached"), "account"),
        (wrong(400, "billing_hard_limit_reached"), "account"),
        (wrong(400, None, "Your credit balance is too low"), "account"),
        (wrong(400, "token_limit_exceeded"), "queue"),
        (wrong(429, "token_limit_exceeded"), "queue"),
        (wrong(429, None, "Enqueued token limit reached for m."), "queue"),
        (wrong(429, None, "exceeds the batch requests in your processing queue"), "queue"),
    ],
)
def test_a_create_that_is_turned_away_has_not_arrived(
    provider: Provider, script: Script, spool: Spool, say: Say, reason: str
) -> None:
    """And says whose turn it is."""
    script.says(say)
    error = failed(provider, spool)
    assert isinstance(error, ProviderRefused)
    assert (error.reason, error.maybe, error.status) == (reason, False, say.status)


@pytest.mark.parametrize(
    ("headers", "seconds"),
    [
        ({"Retry-After": "7"}, 7.0),
        ({"retry-after-ms": "1500"}, 1.5),
        (
            {
                "Retry-After": "Sun, 01 Nov 2026 00:01:00 GMT",
                "Date": "Sun, 01 Nov 2026 00:00:00 GMT",
            },
            60.0,
        ),
        ({"Retry-After": "soon"}, None),
        ({}, None),
    ],
)
def test_a_rate_limit_is_not_now(
    provider: Provider,
    script: Script,
    spool: Spool,
    headers: dict[str, str],
    seconds: float | None,
) -> None:
    """It was not accepted, and says how long to wait where it says so."""
    script.says(wrong(429, "rate_limit_exceeded", **headers))
    error = failed(provider, spool)
    assert isinstance(error, ProviderUnavailable)
    assert not error.maybe
    assert error.retry_after == seconds


@pytest.mark.parametrize(
    ("say", "kind"),
    [
        (Say(how="drop"), ProviderUnavailable),
        (wrong(500), ProviderUnavailable),
        (wrong(404), ProviderRefused),
        (HTML, ProviderGarbled),
        (Say({"id": "b"}), ProviderGarbled),
        (Say({"id": "c", "status": "x", "processing_status": "x"}), ProviderGarbled),
        (Say({"error": {"message": "gone"}}), ProviderGarbled),
    ],
)
def test_a_failed_poll_is_one_of_three(
    provider: Provider, script: Script, say: Say, kind: type[ProviderError]
) -> None:
    """Asked once: waiting is the step's."""
    script.says(say)
    with pytest.raises(kind) as caught:
        provider.poll("b")
    assert not caught.value.maybe
    assert len(script.heard) == 1


def test_a_missing_batch_is_not_found(provider: Provider, script: Script) -> None:
    """Which is no end: it may come back."""
    script.says(wrong(404))
    for call in (lambda: provider.poll("b"), lambda: provider.download("b", Path("to"))):
        with pytest.raises(ProviderRefused) as caught:
            call()
        assert caught.value.reason == "not_found"


@pytest.mark.parametrize("status", [200, 400, 404, 409])
def test_a_cancel_that_comes_too_late_is_none(
    provider: Provider, script: Script, status: int
) -> None:
    """Ended, cancelled or gone: there is nothing left to stop."""
    script.says(wrong(status))
    provider.cancel("b")
    assert script.heard[0].path.endswith("/batches/b/cancel")


def test_a_cancel_that_did_not_arrive_says_so(provider: Provider, script: Script) -> None:
    """It has to be asked again."""
    script.says(wrong(503))
    with pytest.raises(ProviderUnavailable):
        provider.cancel("b")


def test_deleting_an_upload_twice_is_no_error(openai: OpenAIResponses, script: Script) -> None:
    """Gone is gone; anything else is said."""
    script.says(Say({"id": "file-1", "deleted": True}), wrong(404), wrong(500))
    openai.unstage("file-1")
    openai.unstage("file-1")
    with pytest.raises(ProviderUnavailable):
        openai.unstage("file-1")


def test_an_upload_that_was_cut_is_no_upload(
    openai: OpenAIResponses, script: Script, tmp_path: Path
) -> None:
    """OpenAI counts the bytes it has."""
    script.says(Say({"id": "file-1", "bytes": 3}))
    with pytest.raises(ProviderGarbled, match="3 bytes"):
        openai.stage(made.spool(openai, tmp_path))


@pytest.mark.parametrize(
    "said",
    [
        f"Incorrect API key provided: {made.KEY}. Find it elsewhere.",
        "Incorrect API key provided: sk-test*************g7h8.",
        "Incorrect API key provided: a1b2**g7h8",
        "The key ending in g7h8 is revoked.",
        f"Authorization: Bearer {made.KEY}",
    ],
)
def test_no_error_holds_a_piece_of_the_key(
    provider: Provider, script: Script, spool: Spool, said: str
) -> None:
    """Neither its text nor its traceback."""
    script.says(wrong(401, "invalid_api_key", said))
    error = failed(provider, spool)
    shown = "".join(traceback.format_exception(error))
    assert not any(part in shown for part in (made.KEY, "a1b2", made.KEY[-4:]))


def test_an_error_quotes_the_provider_and_says_what_to_do(
    provider: Provider, script: Script, spool: Spool
) -> None:
    """On one short line."""
    script.says(wrong(403, None, "No access\n to this model. " + "x" * 2000))
    text = str(failed(provider, spool))
    assert "No access to this model." in text
    assert text.endswith("batchkit resume")
    assert len(text) < 700
    assert "\n" not in text


ASKED: list[tuple[Any, str]] = [(400, "invalid"), (404, "invalid"), (413, "invalid")]


@pytest.mark.parametrize(("status", "kind"), ASKED)
def test_a_real_time_request_that_is_wrong_is_an_outcome(
    provider: Provider, script: Script, status: int, kind: str
) -> None:
    """A failed request is a value."""
    script.says(wrong(status))
    outcome = provider.ask(made.request())
    assert isinstance(outcome, Errored)
    assert (outcome.custom_id, outcome.kind, outcome.status) == ("ask", kind, status)


@pytest.mark.parametrize("say", [wrong(500), wrong(401), wrong(429), Say(how="drop"), HTML])
def test_a_real_time_call_that_failed_is_an_error(
    provider: Provider, script: Script, say: Say
) -> None:
    """A failed call is an exception, and made once."""
    script.says(say)
    with pytest.raises(ProviderError):
        provider.ask(made.request())
    assert len(script.heard) == 1


def test_the_anthropic_create_has_a_length_and_the_sdk_s_headers(
    anthropic: Anthropic, script: Script, tmp_path: Path
) -> None:
    """Streamed from disk, it is still one ordinary request."""
    script.says(Say({"id": "b"}, headers={"anthropic-workspace-id": "wrkspc_1"}))
    created = anthropic.create(made.spool(anthropic, tmp_path), None)
    heard = script.heard[0]
    assert (created.ref, created.workspace) == ("b", "wrkspc_1")
    assert heard.headers["content-type"] == "application/json"
    assert heard.headers["content-length"] == str(len(heard.body))
    assert "transfer-encoding" not in heard.headers
    assert heard.headers["anthropic-version"]
