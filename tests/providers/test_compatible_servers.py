"""Servers that speak OpenAI's API nearly: what they leave out, rename or wrap costs no answer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from batchkit.errors import ProviderRefused
from batchkit.model import Errored, Outcome, Spool, Succeeded, Usage
from batchkit.providers import Provider, openai_answers
from batchkit.providers.openai import OpenAIChat
from tests.providers import made
from tests.providers.scripted import Say, Script

NO_ROUTE = Say({"detail": "Not Found"}, 404)
EMPTY_LIST = Say({"object": "list", "data": [], "has_more": False})
BATCH = Say({"id": "batch_1", "status": "validating"})
ANSWER = {
    "choices": [{"message": {"content": "hello"}, "finish_reason": "eos"}],
    "usage": {"prompt_tokens": 3, "completion_tokens": 4},
}


@pytest.fixture
def chat(script: Script) -> OpenAIChat:
    """The adapter for compatible servers."""
    return OpenAIChat(api_key=made.KEY, base_url=f"{script.url}/v1", timeout=5)


@pytest.fixture
def spool(provider: Provider, tmp_path: Path) -> Spool:
    """A small spool."""
    return made.spool(provider, tmp_path)


def begin(provider: Provider, spool: Spool) -> None:
    """Make the first call that brings the spool to the provider."""
    if provider.traits.stages:
        provider.stage(spool)
    else:
        provider.create(spool, None)


def outcome(response: Any) -> Outcome:
    """Read a row with that response."""
    row = {"custom_id": "a", "response": response, "error": None}
    return openai_answers.outcome(row, "a", openai_answers.chat_outcome)


@pytest.mark.parametrize("status", [404, 405])
def test_a_server_without_the_api_waits_for_a_person(
    provider: Provider, script: Script, spool: Spool, status: int
) -> None:
    """An upload names nothing that could be gone: asking again for ever would mend nothing."""
    script.says(Say({"detail": "Not Found"}, status))
    with pytest.raises(ProviderRefused, match="_BASE_URL") as caught:
        begin(provider, spool)
    assert caught.value.reason == "account"
    assert not caught.value.maybe
    assert script.url in str(caught.value)


def test_a_server_with_files_but_without_batches_is_found_out(
    chat: OpenAIChat, script: Script, tmp_path: Path
) -> None:
    """Else the file would be uploaded again and again."""
    script.says(NO_ROUTE)
    with pytest.raises(ProviderRefused) as caught:
        chat.create(made.spool(chat, tmp_path), "file-1")
    assert caught.value.reason == "account"
    assert [heard.method for heard in script.heard] == ["POST", "GET"]


def test_an_input_file_that_is_gone_is_uploaded_again(
    chat: OpenAIChat, script: Script, tmp_path: Path
) -> None:
    """The server lists batches and does not know the file."""
    script.says(NO_ROUTE, EMPTY_LIST, NO_ROUTE)
    with pytest.raises(ProviderRefused) as caught:
        chat.create(made.spool(chat, tmp_path), "file-1")
    assert caught.value.reason == "not_found"


def test_another_thing_that_is_missing_is_no_reason_to_upload_again(
    chat: OpenAIChat, script: Script, tmp_path: Path
) -> None:
    """Such as a deployment: batches and file are there."""
    script.says(Say({"detail": "no such deployment"}, 404), EMPTY_LIST, Say({"id": "file-1"}))
    with pytest.raises(ProviderRefused, match="no such deployment") as caught:
        chat.create(made.spool(chat, tmp_path), "file-1")
    assert caught.value.reason == "request"


def test_a_server_that_knows_no_metadata_gets_none(
    chat: OpenAIChat, script: Script, tmp_path: Path
) -> None:
    """It refused before it did anything; the batch is found again by its input file."""
    detail = [{"loc": ["body", "metadata"], "msg": "Extra inputs are not permitted"}]
    script.says(Say({"detail": detail}, 422), BATCH)
    assert chat.create(made.spool(chat, tmp_path), "file-1").ref == "batch_1"
    assert [b"metadata" in heard.body for heard in script.heard] == [True, False]


@pytest.mark.parametrize(
    ("say", "words"),
    [
        (Say({"detail": "no such batch"}, 404), "no such batch"),
        (Say({"detail": [{"loc": ["body", "x"], "msg": "too long"}]}, 422), "body.x: too long"),
        (Say({"error": "out of order"}, 400), "out of order"),
        (Say({"error": None, "message": "sorry"}, 400), "sorry"),
        (Say(b"batch not found", 404, {"Content-Type": "text/plain"}), "batch not found"),
        (Say(b"<p>x</p>", 404, {"Content-Type": "text/html"}), "no readable reason"),
    ],
)
def test_the_server_s_words_are_told_whatever_their_shape(
    chat: OpenAIChat, script: Script, say: Say, words: str
) -> None:
    """Frameworks have shapes of their own."""
    script.says(say)
    with pytest.raises(ProviderRefused, match=words):
        chat.poll("batch_1")


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": 200, "body": ANSWER},
        {"status_code": "200", "body": ANSWER},
        {"body": ANSWER},
        {"status_code": 200, "body": orjson.dumps(ANSWER).decode()},
        ANSWER,
        {"status_code": 200, **ANSWER},
    ],
)
def test_an_answer_is_taken_in_any_envelope(response: Any) -> None:
    """It was paid for; read as an error it would be bought again."""
    got = outcome(response)
    assert isinstance(got, Succeeded)
    assert (got.text, got.finish, got.usage) == ("hello", "eos", Usage(3, 4))


@pytest.mark.parametrize(
    "response",
    [
        {"status_code": "400", "body": {"detail": "bad"}},
        {"status_code": 500, "body": "oops"},
        {"body": {"error": {"message": "no"}}},
        {},
    ],
)
def test_what_is_no_answer_is_an_error(response: Any) -> None:
    """A status that is missing is no success."""
    assert isinstance(outcome(response), Errored)


@pytest.mark.parametrize(
    ("error", "kind", "message"),
    [
        ("model crashed", "server_error", "model crashed"),
        ({"code": 400, "message": "too long"}, "invalid", "too long"),
        ({"code": "503", "detail": "busy"}, "overloaded", "busy"),
    ],
)
def test_an_error_without_a_response_may_have_another_shape(
    error: Any, kind: str, message: str
) -> None:
    """A text, or the HTTP status as its code."""
    row = {"custom_id": "a", "response": None, "error": error}
    got = openai_answers.outcome(row, "a", openai_answers.chat_outcome)
    assert isinstance(got, Errored)
    assert (got.kind, got.message) == (kind, message)


@pytest.mark.parametrize(
    "usage",
    [
        None,
        {},
        {"prompt_tokens": None, "completion_tokens": None},
        {"prompt_tokens": 3},
        {"completion_tokens": True, "prompt_tokens": 3},
    ],
)
def test_usage_that_is_not_told_is_unknown_and_not_zero(usage: Any) -> None:
    """Else the answer would cost nothing."""
    got = outcome({"status_code": 200, "body": {**ANSWER, "usage": usage}})
    assert isinstance(got, Succeeded)
    assert got.usage is None


def test_details_of_usage_in_another_shape_are_ignored() -> None:
    """The answer counts."""
    usage = {"prompt_tokens": 3.0, "completion_tokens": 4, "prompt_tokens_details": [1]}
    got = outcome({"status_code": 200, "body": {**ANSWER, "usage": usage}})
    assert isinstance(got, Succeeded)
    assert got.usage == Usage(3, 4)


@pytest.mark.parametrize("said", ["succeeded", "SUCCESS", "Completed"])
def test_a_batch_that_ended_well_may_say_so_in_other_words(said: str) -> None:
    """In any case."""
    assert openai_answers.status({"id": "b", "status": said}).reason == "completed"
