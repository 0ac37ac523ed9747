"""What comes back from Anthropic: rows and batch objects."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from batchkit.model import Citation, Errored, NotRun, Outcome, Succeeded, Unreadable, Usage
from batchkit.providers import anthropic_answers
from batchkit.providers.anthropic import Anthropic
from tests.providers.made import download


def read(folder: Path, result: Any) -> Outcome:
    """Read one row."""
    rows = download(folder, [{"custom_id": "t-1", "result": result}])
    (outcome,) = Anthropic().outcomes(rows)
    return outcome


def answer(folder: Path, *content: dict[str, Any], **more: Any) -> Succeeded:
    """Read one message."""
    message = {"model": "m", "content": list(content), "stop_reason": "end_turn", **more}
    outcome = read(folder, {"type": "succeeded", "message": message})
    assert isinstance(outcome, Succeeded)
    return outcome


def test_an_answer_is_its_joined_text_blocks(tmp_path: Path) -> None:
    """Thinking and unknown blocks are no part of it."""
    blocks = [
        {"type": "thinking", "thinking": "hm"},
        {"type": "text", "text": "a"},
        {"type": "something_new", "text": "?"},
        {"type": "text", "text": "b"},
    ]
    assert answer(tmp_path, *blocks) == Succeeded("t-1", "ab", None, "m", "stop")


def test_usage_counts_the_whole_input(tmp_path: Path) -> None:
    """Cache reads and writes, which Anthropic counts beside it, are part of it."""
    usage = {
        "input_tokens": 10,
        "cache_read_input_tokens": 100,
        "cache_creation_input_tokens": 30,
        "cache_creation": {"ephemeral_5m_input_tokens": 10, "ephemeral_1h_input_tokens": 20},
        "output_tokens": 7,
        "output_tokens_details": {"thinking_tokens": 3},
    }
    assert answer(tmp_path, usage=usage).usage == Usage(140, 7, 100, 30, 20, 3)


@pytest.mark.parametrize(
    ("reason", "finish"),
    [
        ("end_turn", "stop"),
        ("stop_sequence", "stop"),
        ("max_tokens", "length"),
        ("model_context_window_exceeded", "length"),
        ("tool_use", "tool"),
        ("pause_turn", "pause"),
        ("something_new", "something_new"),
        (None, "stop"),
    ],
)
def test_a_stop_reason_becomes_a_finish(tmp_path: Path, reason: str | None, finish: str) -> None:
    """Known words are ours, unknown ones stay."""
    assert answer(tmp_path, stop_reason=reason).finish == finish


@pytest.mark.parametrize(
    ("details", "words"),
    [
        ({"type": "refusal", "category": "bio", "explanation": "no"}, "no"),
        ({"type": "refusal", "category": "bio", "explanation": None}, "bio"),
        (None, "refused"),
    ],
)
def test_a_refusal_before_any_output_is_free(tmp_path: Path, details: Any, words: str) -> None:
    """Though its usage is shown; once something was written it costs."""
    more = {"stop_reason": "refusal", "stop_details": details, "usage": {"input_tokens": 5}}
    outcome = answer(tmp_path, **more)
    assert (outcome.finish, outcome.refusal, outcome.billed) == ("refusal", words, False)
    assert answer(tmp_path, {"type": "text", "text": "Well"}, **more).billed


def test_a_forced_tool_s_input_is_the_text(tmp_path: Path) -> None:
    """Where there is no text."""
    block = {"type": "tool_use", "name": "f", "input": {"a": 1}}
    outcome = answer(tmp_path, block, stop_reason="tool_use")
    assert (outcome.text, outcome.finish) == ('{"a":1}', "tool")


def test_citations_keep_their_place(tmp_path: Path) -> None:
    """A page where the source has pages, the provider's own location, and that in the answer."""
    page = {
        "type": "page_location",
        "cited_text": "Revenue rose.",
        "document_index": 0,
        "document_title": "q3.pdf",
        "start_page_number": 2,
        "end_page_number": 3,
    }
    char = {"type": "char_location", "cited_text": "x", "document_index": 1, "start_char_index": 4}
    outcome = answer(
        tmp_path,
        {"type": "text", "text": "Up", "citations": [page]},
        {"type": "text", "text": ".", "citations": None},
        {"type": "text", "text": "!", "citations": [char]},
    )
    assert outcome.text == "Up.!"
    first, second = outcome.citations
    rest = {name: value for name, value in page.items() if name != "cited_text"}
    rest |= {"answer_start_index": 0, "answer_end_index": 2}
    assert first == Citation("Revenue rose.", "q3.pdf", 2, rest)
    assert (second.source, second.page) == ("document 1", None)


@pytest.mark.parametrize(
    ("type_", "kind"),
    [
        ("invalid_request_error", "invalid"),
        ("not_found_error", "invalid"),
        ("request_too_large", "invalid"),
        ("authentication_error", "account"),
        ("permission_error", "account"),
        ("billing_error", "account"),
        ("rate_limit_error", "rate_limited"),
        ("overloaded_error", "overloaded"),
        ("api_error", "server_error"),
        ("timeout_error", "server_error"),
        ("something_new", "server_error"),
    ],
)
def test_an_errored_request_is_sorted_by_its_type(tmp_path: Path, type_: str, kind: str) -> None:
    """The type lies two errors deep."""
    inner = {"type": type_, "message": "so"}
    wrapped = {"type": "error", "error": inner, "request_id": "req_1"}
    outcome = read(tmp_path, {"type": "errored", "error": wrapped})
    assert outcome == Errored("t-1", kind, type_, "so", None, "req_1")


def test_canceled_and_expired_never_ran(tmp_path: Path) -> None:
    """They are free."""
    assert read(tmp_path, {"type": "canceled"}) == NotRun("t-1", "cancelled")
    assert read(tmp_path, {"type": "expired"}) == NotRun("t-1", "expired")


@pytest.mark.parametrize(
    "result",
    [
        {"type": "paused"},
        {"type": "succeeded"},
        {"type": "succeeded", "message": {}},
        {"type": "succeeded", "message": {"content": "text"}},
        {},
        None,
    ],
)
def test_a_result_without_sense_is_unreadable(tmp_path: Path, result: Any) -> None:
    """Nothing unknown ever counts as a success."""
    outcome = read(tmp_path, result)
    assert isinstance(outcome, Unreadable)
    assert outcome.custom_id == "t-1"


@pytest.mark.parametrize(
    ("word", "counts", "ended", "reason"),
    [
        ("in_progress", {"processing": 3}, False, None),
        ("canceling", {"processing": 3}, False, None),
        ("something_new", {"processing": 3}, False, None),
        ("ended", {"succeeded": 2, "errored": 1}, True, "completed"),
        ("ended", {"succeeded": 2, "expired": 1}, True, "expired"),
        ("ended", {"succeeded": 1, "expired": 1, "canceled": 1}, True, "cancelled"),
    ],
)
def test_only_counts_tell_how_a_batch_ended(
    word: str, counts: dict[str, int], ended: bool, reason: str | None
) -> None:
    """There is one end, and it says nothing of results."""
    body = {
        "id": "b",
        "processing_status": word,
        "request_counts": counts,
        "created_at": "2026-11-01T00:00:00.1Z",
    }
    status = anthropic_answers.status(body)
    assert (status.ended, status.reason, status.total) == (ended, reason, 3)
    assert status.results_until == datetime(2026, 11, 30, 0, 0, 0, 100_000, tzinfo=UTC)
