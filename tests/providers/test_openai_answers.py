"""What comes back from OpenAI: rows and batch objects."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from batchkit.model import Errored, NotRun, Outcome, Succeeded, Unreadable, Usage
from batchkit.providers import openai_answers
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from tests.providers.made import download

USAGE = {
    "input_tokens": 90,
    "input_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
    "output_tokens": 30,
    "output_tokens_details": {"reasoning_tokens": 20},
}
COUNTED = Usage(90, 30, 40, 10, 0, 20)


def said(*texts: str, **more: Any) -> dict[str, Any]:
    """A Responses body that says so."""
    parts = [{"type": "output_text", "text": text} for text in texts]
    message = {"type": "message", "role": "assistant", "content": parts}
    return {"status": "completed", "model": "m", "output": [message], "usage": USAGE, **more}


def row(body: Any, status: int = 200) -> dict[str, Any]:
    """A line of a result file."""
    response = {"status_code": status, "request_id": "req_1", "body": body}
    return {"id": "x", "custom_id": "t-1", "response": response, "error": None}


def responses(folder: Path, given: Any) -> Outcome:
    """Read one row as the Responses adapter does."""
    (outcome,) = OpenAIResponses().outcomes(download(folder, [given]))
    return outcome


def chat(folder: Path, choice: Any, **more: Any) -> Outcome:
    """Read one completion as the Chat adapter does."""
    body = {"model": "m", "choices": [choice], **more}
    (outcome,) = OpenAIChat().outcomes(download(folder, [row(body)]))
    return outcome


def test_an_answer_is_its_joined_texts_with_its_usage(tmp_path: Path) -> None:
    """Several parts are one text; usage counts caches and reasoning."""
    outcome = responses(tmp_path, row(said("a", "b")))
    assert outcome == Succeeded("t-1", "ab", COUNTED, "m", "stop", request_id="req_1")


def test_commentary_and_reasoning_are_no_part_of_the_answer(tmp_path: Path) -> None:
    """Only what the model says as its answer counts, or the JSON would be spoilt."""
    body = said("{}")
    note = {"type": "message", "phase": "commentary", "content": body["output"][0]["content"]}
    body["output"] = [{"type": "reasoning", "summary": []}, note, *body["output"]]
    outcome = responses(tmp_path, row(body))
    assert isinstance(outcome, Succeeded)
    assert outcome.text == "{}"


@pytest.mark.parametrize(
    ("more", "finish"),
    [
        ({"status": "incomplete", "incomplete_details": {"reason": "max_output_tokens"}}, "length"),
        ({"status": "incomplete", "incomplete_details": {"reason": "steered"}}, "steered"),
        (
            {"status": "incomplete", "incomplete_details": {"reason": "content_filter"}},
            "content_filter",
        ),
        ({"status": "incomplete", "incomplete_details": None}, "incomplete"),
    ],
)
def test_a_200_may_be_incomplete(tmp_path: Path, more: dict[str, Any], finish: str) -> None:
    """Its text is kept, its finish says why it stops."""
    outcome = responses(tmp_path, row(said("ab", **more)))
    assert isinstance(outcome, Succeeded)
    assert (outcome.text, outcome.finish) == ("ab", finish)


def test_a_200_may_have_any_status(tmp_path: Path) -> None:
    """What it said and cost is kept, and the finish is the provider's word, never "stop"."""
    outcome = responses(tmp_path, row(said("ab", status="in_progress")))
    assert isinstance(outcome, Succeeded)
    assert (outcome.text, outcome.finish, outcome.usage) == ("ab", "in_progress", COUNTED)


@pytest.mark.parametrize(
    ("code", "kind"),
    [
        ("server_error", "server_error"),
        ("rate_limit_exceeded", "rate_limited"),
        ("invalid_prompt", "invalid"),
        ("invalid_image", "invalid"),
        ("image_too_large", "invalid"),
        ("something_new", "server_error"),
    ],
)
def test_a_200_may_have_failed(tmp_path: Path, code: str, kind: str) -> None:
    """It is an error with its usage, not a success."""
    body = said(status="failed", error={"code": code, "message": "so"})
    outcome = responses(tmp_path, row(body))
    assert isinstance(outcome, Errored)
    assert (outcome.kind, outcome.code, outcome.message) == (kind, code, "so")
    assert outcome.usage == COUNTED


def test_a_refusal_is_an_answer_that_says_no(tmp_path: Path) -> None:
    """In both APIs."""
    body = said()
    body["output"][0]["content"] = [{"type": "refusal", "refusal": "no"}]
    first = responses(tmp_path, row(body))
    message = {"content": None, "refusal": "no"}
    second = chat(tmp_path, {"message": message, "finish_reason": "stop"})
    for outcome in (first, second):
        assert isinstance(outcome, Succeeded)
        assert (outcome.finish, outcome.refusal, outcome.text) == ("refusal", "no", "")


def test_a_forced_tool_s_arguments_are_the_text(tmp_path: Path) -> None:
    """In both APIs, where there is no text."""
    body = said()
    body["output"] = [{"type": "function_call", "name": "f", "arguments": '{"a":1}'}]
    first = responses(tmp_path, row(body))
    call = {"function": {"name": "f", "arguments": '{"a":1}'}}
    message = {"content": None, "tool_calls": [call]}
    second = chat(tmp_path, {"message": message, "finish_reason": "tool_calls"})
    for outcome in (first, second):
        assert isinstance(outcome, Succeeded)
        assert (outcome.finish, outcome.text) == ("tool", '{"a":1}')


@pytest.mark.parametrize(
    ("finish", "wanted"),
    [
        ("stop", "stop"),
        ("length", "length"),
        ("content_filter", "content_filter"),
        ("eos", "eos"),
        (None, "stop"),
    ],
)
def test_chat_says_how_it_finished(tmp_path: Path, finish: str | None, wanted: str) -> None:
    """Known words are ours, unknown ones stay."""
    outcome = chat(tmp_path, {"message": {"content": "x"}, "finish_reason": finish})
    assert isinstance(outcome, Succeeded)
    assert outcome.finish == wanted


def test_chat_counts_prompt_and_completion(tmp_path: Path) -> None:
    """Its own names, the same meaning."""
    usage = {
        "prompt_tokens": 90,
        "prompt_tokens_details": {"cached_tokens": 40, "cache_write_tokens": 10},
        "completion_tokens": 30,
        "completion_tokens_details": {"reasoning_tokens": 20},
    }
    outcome = chat(tmp_path, {"message": {"content": "x"}}, usage=usage)
    assert isinstance(outcome, Succeeded)
    assert outcome.usage == COUNTED


@pytest.mark.parametrize(
    ("status", "code", "kind"),
    [
        (400, "context_length_exceeded", "invalid"),
        (404, "model_not_found", "invalid"),
        (413, None, "invalid"),
        (422, None, "invalid"),
        (400, "content_filter", "content_filter"),
        (400, "content_policy_violation", "content_filter"),
        (401, "invalid_api_key", "account"),
        (403, None, "account"),
        (429, "insufficient_quota", "account"),
        (429, "rate_limit_exceeded", "rate_limited"),
        (500, "server_error", "server_error"),
        (502, None, "server_error"),
        (503, None, "overloaded"),
        (529, None, "overloaded"),
        (408, None, "server_error"),
    ],
)
def test_a_refused_request_is_sorted_by_code_and_status(
    tmp_path: Path, status: int, code: str | None, kind: str
) -> None:
    """Its error stands in the body while ``error`` is null."""
    error = {"type": "invalid_request_error", "code": code, "message": "so"}
    outcome = responses(tmp_path, row({"error": error}, status))
    assert isinstance(outcome, Errored)
    assert (outcome.kind, outcome.status, outcome.message) == (kind, status, "so")
    assert outcome.request_id == "req_1"


@pytest.mark.parametrize(
    ("error", "wanted"),
    [
        ({"code": "batch_expired", "message": "so"}, NotRun("t-1", "expired")),
        ({"code": "batch_cancelled", "message": "so"}, NotRun("t-1", "cancelled")),
        ({"code": "something_new"}, NotRun("t-1", "expired")),
        ({"message": "no code"}, NotRun("t-1", "expired")),
    ],
)
def test_without_a_response_a_request_never_ran(
    tmp_path: Path, error: dict[str, Any], wanted: NotRun
) -> None:
    """Whatever the code; only a cancel is told apart."""
    assert responses(tmp_path, {"custom_id": "t-1", "response": None, "error": error}) == wanted


def test_a_wrong_request_is_wrong_even_without_a_response(tmp_path: Path) -> None:
    """Some servers report it so; as never run it would be sent again for ever."""
    error = {"code": "model_not_found", "message": "so"}
    outcome = responses(tmp_path, {"custom_id": "t-1", "response": None, "error": error})
    assert isinstance(outcome, Errored)
    assert outcome.kind == "invalid"


@pytest.mark.parametrize(
    "given",
    [
        row({}),
        row(None),
        row("text"),
        row({"status": "completed"}),
        row({"status": "queued", "output": []}),
        row({"status": "completed", "output": ["?"]}),
        {"custom_id": "t-1", "response": None, "error": None},
        {"custom_id": "t-1"},
    ],
)
def test_a_row_without_sense_is_unreadable_and_keeps_its_id(tmp_path: Path, given: Any) -> None:
    """It is no success and no free failure: what it cost is not known."""
    outcome = responses(tmp_path, given)
    assert isinstance(outcome, Unreadable)
    assert outcome.custom_id == "t-1"


@pytest.mark.parametrize("body", [{"choices": []}, {"choices": None}, {"choices": [None]}])
def test_a_completion_without_a_choice_is_unreadable(tmp_path: Path, body: Any) -> None:
    """It says nothing."""
    (outcome,) = OpenAIChat().outcomes(download(tmp_path, [row(body)]))
    assert isinstance(outcome, Unreadable)


ENDS = {"completed": "completed", "EXPIRED": "expired", "cancelled": "cancelled"}


@pytest.mark.parametrize("word", [*ENDS, "failed"])
def test_four_words_end_a_batch(word: str) -> None:
    """Whatever their case, whatever the results."""
    status = openai_answers.status({"id": "b", "status": word})
    assert (status.ended, status.reason) == (True, ENDS.get(word, "failed"))


@pytest.mark.parametrize(
    "word", ["validating", "in_progress", "finalizing", "cancelling", "Validating", "paused"]
)
def test_every_other_word_does_not(word: str) -> None:
    """A word that nobody knows is no end."""
    status = openai_answers.status({"id": "b", "status": word, "request_counts": None})
    assert (status.ended, status.reason, status.word, status.total) == (False, None, word, None)


def test_times_are_read_as_seconds_and_as_iso() -> None:
    """Compatible servers write either."""
    body = {"id": "b", "status": "completed", "created_at": 1_790_000_000}
    status = openai_answers.status({**body, "completed_at": "2026-10-01T00:00:00Z"})
    assert status.created_at == datetime.fromtimestamp(1_790_000_000, UTC)
    assert status.ended_at == datetime(2026, 10, 1, tzinfo=UTC)
    assert status.results_until == datetime(2026, 10, 1, tzinfo=UTC) + timedelta(days=30)


def test_counts_are_live_numbers() -> None:
    """Zero of zero while validating is no total."""
    counts = {"total": 10, "completed": 4, "failed": 1}
    status = openai_answers.status({"id": "b", "status": "x", "request_counts": counts})
    assert (status.total, status.completed, status.failed) == (10, 4, 1)
    counts = {"total": 0, "completed": 0, "failed": 0}
    assert openai_answers.status({"id": "b", "request_counts": counts}).total is None


def test_a_full_queue_fails_a_batch_and_names_its_limit() -> None:
    """It may go again as it is; nothing ran."""
    message = (
        "Enqueued token limit reached for gpt-4o-mini in organization org-x. "
        "Limit: 2,000,000 enqueued tokens. Please try again."
    )
    error = {"code": "token_limit_exceeded", "message": message, "line": None}
    body = {"id": "b", "status": "failed", "errors": {"data": [error]}}
    status = openai_answers.status(body)
    assert (status.queue_full, status.queue_limit) == (True, 2_000_000)
    assert status.error_code == "token_limit_exceeded"


@pytest.mark.parametrize(
    ("message", "limit"),
    [
        ("Limit: 2,000,000 enqueued tokens.", 2_000_000),
        ("Limit: 900 enqueued tokens.", 900),
        ("limit 1.000.000", 1_000_000),
        ("Limit: 1.5M", None),
        ("surpassed the configured limit for the deployment", None),
    ],
)
def test_a_queue_s_limit_is_read_or_unknown(message: str, limit: int | None) -> None:
    """Never a number that was not said."""
    error = {"code": "token_limit_exceeded", "message": message}
    status = openai_answers.status({"id": "b", "status": "failed", "errors": [error]})
    assert (status.queue_full, status.queue_limit) == (True, limit)


def test_a_batch_of_which_something_ran_goes_nowhere_as_it_is() -> None:
    """Whatever its errors say."""
    counts = {"total": 2, "completed": 1, "failed": 0}
    errors = {"data": [{"code": "token_limit_exceeded", "message": "so"}]}
    body = {"id": "b", "status": "failed", "errors": errors, "request_counts": counts}
    assert not openai_answers.status(body).queue_full


def test_other_failures_say_which_line_is_wrong() -> None:
    """Their first code, and where."""
    errors = [
        {"code": "invalid_json_line", "message": "no JSON", "line": 3},
        {"code": "duplicate_custom_id", "message": "twice", "line": 9},
    ]
    status = openai_answers.status({"id": "b", "status": "failed", "errors": {"data": errors}})
    assert (status.queue_full, status.error_code) == (False, "invalid_json_line")
    assert status.error_message == "line 3: no JSON; line 9: twice"


PART = st.fixed_dictionaries(
    {},
    optional={
        "type": st.sampled_from(["output_text", "output_text", "text", "refusal", "other"]),
        "text": st.sampled_from(["one", "two", "", 7, None]),
        "refusal": st.sampled_from(["no", "", None]),
    },
)
ITEM = st.fixed_dictionaries(
    {"type": st.sampled_from(["message", "message", "reasoning", "function_call", "other"])},
    optional={
        "phase": st.sampled_from(["commentary", "final"]),
        "content": st.one_of(st.none(), st.lists(PART, max_size=2)),
        "arguments": st.just("{}"),
    },
)
ALMOST_PLAIN = st.tuples(
    st.fixed_dictionaries(
        {"type": st.just("message"), "content": st.lists(PART, min_size=1, max_size=1)}
    )
)
BODY = st.fixed_dictionaries(
    {"output": st.one_of(ALMOST_PLAIN.map(list), st.lists(ITEM, max_size=3))},
    optional={
        "status": st.sampled_from(["completed", "completed", "incomplete", "failed", None]),
        "model": st.sampled_from(["m", "", None, 5]),
        "usage": st.sampled_from([USAGE, {"input_tokens": 1}, {}, None, "x", {**USAGE, "x": 1}]),
        "error": st.sampled_from([None, {"code": "server_error"}]),
    },
)


BOTH = {"type": "output_text", "text": "one", "refusal": "no"}


@given(BODY)
@example({"output": [{"type": "message", "content": [BOTH]}]})
def test_an_answer_that_is_a_text_is_read_as_any_other(body: dict[str, Any]) -> None:
    def read() -> Outcome | str:
        try:
            return openai_answers.outcome(row(body), "t-1", openai_answers.responses_outcome)
        except (AttributeError, TypeError) as error:
            return type(error).__name__

    short = read()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(openai_answers, "_only_text", lambda _: None)
        assert short == read()
