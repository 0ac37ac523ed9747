"""What comes back from OpenAI's APIs: result rows and batch objects, as our values. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from datetime import timedelta
from typing import Any, TypeAlias

import orjson

from batchkit.making import maker
from batchkit.model import (
    BatchStatus,
    Errored,
    Json,
    NotRun,
    Outcome,
    Succeeded,
    Usage,
)
from batchkit.providers.calls import moment
from batchkit.providers.rows import count, errored, known_kind, unreadable, word

RETENTION = timedelta(days=30)
WINDOW = timedelta(hours=24)

Reader: TypeAlias = Callable[[str, Json, "str | None"], Outcome]
"""Reads the body of a 200: custom_id, body, request id."""

_ENDED = {
    "completed": "completed",
    "succeeded": "completed",
    "success": "completed",
    "expired": "expired",
    "cancelled": "cancelled",
    "canceled": "cancelled",
    "failed": "failed",
}
_CHAT_FINISH = {"tool_calls": "tool", "function_call": "tool", "content_filter": "content_filter"}
_CUT = {"max_output_tokens": "length", "content_filter": "content_filter"}
_RESPONSES = ("input_tokens", "input_tokens_details", "output_tokens", "output_tokens_details")
_CHAT = (
    *("prompt_tokens", "prompt_tokens_details"),
    *("completion_tokens", "completion_tokens_details"),
)
_OK = 200

_succeeded = maker(Succeeded)
_used = maker(Usage)

_LIMIT = re.compile(r"limit:?\s*(\d{1,3}(?:[,._]\d{3})+|\d+)\b(?!\.\d)", re.IGNORECASE)


def outcome(row: Json, custom_id: str, read: Reader) -> Outcome:
    """Read one line of an output or error file.

    Which file it stands in says nothing, nor does ``error: null``: a refused request has its
    error in ``response.body``.
    """
    response = row.get("response")
    if not isinstance(response, dict):
        return _never_ran(row, custom_id)
    body = response.get("body")
    if type(body) is dict and body and response.get("status_code") == _OK:
        return read(custom_id, body, word(response.get("request_id")))
    body = _body(response)
    status, request_id = _status(response, body), word(response.get("request_id"))
    if status != _OK:
        inner = body.get("error", body) if isinstance(body, dict) else body
        return errored(custom_id, inner or row.get("error"), status, request_id)
    if not isinstance(body, dict) or not body:
        return unreadable(custom_id, row, "a success without a body")
    return read(custom_id, body, request_id)


def responses_outcome(custom_id: str, body: Json, request_id: str | None) -> Outcome:
    """Read a Responses object: a 200 may still be failed or incomplete."""
    status, output = str(body.get("status") or "completed"), body.get("output")
    if body.get("error") or status == "failed":
        return _failed(custom_id, body, request_id)
    if not isinstance(output, list):
        return unreadable(custom_id, body, f"a response with status {status} and no output")
    text = _only_text(output)
    if text and status == "completed":
        usage, model = _responses_usage(body.get("usage")), word(body.get("model"))
        return _succeeded(custom_id, text, usage, model, "stop", None, (), request_id, True)
    refusal = "".join(_parts(output, "refusal")) or None
    calls = [item for item in output if item.get("type") == "function_call"]
    text = "".join(_parts(output, "text"))
    if status not in ("completed", "incomplete") and not (text or refusal or calls):
        return unreadable(custom_id, body, f"a response that says nothing, with status {status}")
    return Succeeded(
        custom_id=custom_id,
        text=text or _arguments(calls),
        usage=_responses_usage(body.get("usage")),
        model=word(body.get("model")),
        finish=_responses_finish(body, status, refusal, bool(calls) and not text),
        refusal=refusal,
        request_id=request_id,
    )


def chat_outcome(custom_id: str, body: Json, request_id: str | None) -> Outcome:
    """Read a chat completion: its first choice."""
    choices = body.get("choices")
    if not isinstance(choices, list) or not choices or not isinstance(choices[0], dict):
        if body.get("error"):
            return _failed(custom_id, body, request_id)
        return unreadable(custom_id, body, "a completion without choices")
    message = choices[0].get("message") or {}
    refusal = word(message.get("refusal"))
    calls = [call.get("function") or {} for call in message.get("tool_calls") or ()]
    calls += [message["function_call"]] if message.get("function_call") else []
    finish = word(choices[0].get("finish_reason")) or "stop"
    return Succeeded(
        custom_id=custom_id,
        text=_chat_text(message.get("content")) or _arguments(calls),
        usage=_chat_usage(body.get("usage")),
        model=word(body.get("model")),
        finish="refusal" if refusal else _CHAT_FINISH.get(finish, finish),
        refusal=refusal,
        request_id=request_id,
    )


def status(body: Json) -> BatchStatus:
    """Read a batch object. A word we do not know has not ended."""
    said = str(body.get("status"))
    reason = _ENDED.get(said.lower())
    counts = body.get("request_counts")
    counts = counts if isinstance(counts, dict) else {}
    ended_at = moment(body.get(f"{said.lower()}_at")) if reason else None
    errors = list(_errors(body)) if reason == "failed" else []
    ran = count(counts.get("completed")) + count(counts.get("failed"))
    # Only a batch of which nothing ran may go again as it is.
    full = None if ran else next((error for error in errors if _is_queue(error)), None)
    first = full or (errors[0] if errors else {})
    return BatchStatus(
        ref=str(body.get("id")),
        word=said,
        ended=reason is not None,
        reason=reason,
        total=count(counts.get("total")) or None,
        completed=count(counts.get("completed")),
        failed=count(counts.get("failed")),
        error_code=word(first.get("code")),
        error_message="; ".join(_said(error) for error in errors[:3]) or None,
        queue_full=full is not None,
        queue_limit=_queue_limit(full) if full else None,
        created_at=moment(body.get("created_at")),
        ended_at=ended_at,
        expires_at=moment(body.get("expires_at")),
        results_until=ended_at + RETENTION if ended_at else None,
    )


def _body(response: Json) -> Any:
    """Return the answer's body; compatible servers send it as text, or without its envelope."""
    body = response.get("body", response if _is_answer(response) else None)
    if not isinstance(body, str):
        return body
    try:
        read = orjson.loads(body)
    except orjson.JSONDecodeError:
        return body
    return read if isinstance(read, dict) else body


def _status(response: Json, body: Any) -> int:
    """Return the HTTP status of a row; one that is not told follows from the body."""
    told = response.get("status_code")
    if told is None and _is_answer(body):
        return 200
    return int(told) if isinstance(told, str) and told.isdecimal() else count(told)


def _is_answer(body: Any) -> bool:
    return isinstance(body, dict) and ("choices" in body or "output" in body)


def _never_ran(row: Json, custom_id: str) -> Outcome:
    error = row.get("error")
    if isinstance(error, str) and error:
        return errored(custom_id, error)
    if not isinstance(error, dict):
        return unreadable(custom_id, row, "neither a response nor an error")
    code = word(error.get("code")) or ""
    if code.isdecimal() and 400 <= int(code) < 600:
        return errored(custom_id, error, int(code))
    if "cancel" in code:
        return NotRun(custom_id, "cancelled")
    # A server that reports a wrong request here would otherwise be asked again for ever.
    if known_kind(code, word(error.get("type"))):
        return errored(custom_id, error)
    return NotRun(custom_id, "expired")


def _failed(custom_id: str, body: Json, request_id: str | None) -> Errored:
    error = body.get("error")
    made = errored(custom_id, error, None, request_id)
    kind = "invalid" if made.code.startswith(("image_", "invalid_")) else made.kind
    usage = _responses_usage(body.get("usage")) if "output" in body else None
    return Errored(
        custom_id=custom_id,
        kind=kind,
        code=made.code,
        message=made.message,
        status=200,
        request_id=request_id,
        usage=usage,
    )


def _parts(output: list[Any], field: str) -> Iterator[str]:
    """Yield the texts or refusals of the answer's messages; commentary is no part of it."""
    for item in output:
        if item.get("type") != "message" or item.get("phase") == "commentary":
            continue
        for part in item.get("content") or ():
            if part.get("type") in ("output_text", "text", "refusal") and part.get(field):
                yield str(part[field])


def _only_text(output: list[Any]) -> str | None:
    """Return the text of an answer that is a message of one text and nothing else but reasoning."""
    text = None
    for item in output:
        kind = item.get("type")
        if kind == "reasoning":
            continue
        if kind != "message" or text is not None or item.get("phase") == "commentary":
            return None
        content = item.get("content")
        if not content or len(content) != 1:
            return None
        part = content[0]
        text = part.get("text") if part.get("type") == "output_text" else None
        if type(text) is not str or part.get("refusal"):
            return None
    return text


def _responses_finish(body: Json, status: str, refusal: str | None, tool: bool) -> str:
    if refusal:
        return "refusal"
    if status not in ("completed", "incomplete"):
        return status
    if status == "incomplete":
        details = body.get("incomplete_details")
        reason = str(details.get("reason")) if isinstance(details, dict) else "incomplete"
        return _CUT.get(reason, reason)
    return "tool" if tool else "stop"


def _arguments(calls: list[Any]) -> str:
    """Return what tools were called with: one call's arguments, or a list of several."""
    found = [call.get("arguments") or "{}" for call in calls]
    if len(found) < 2:
        return str(found[0]) if found else ""
    pairs = [
        {"name": call.get("name"), "arguments": text}
        for call, text in zip(calls, found, strict=True)
    ]
    return orjson.dumps(pairs).decode()


def _chat_text(content: Any) -> str:
    if isinstance(content, list):
        return "".join(str(part.get("text") or "") for part in content if isinstance(part, dict))
    return content if isinstance(content, str) else ""


def _responses_usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    return _usage(usage, _RESPONSES)


def _chat_usage(usage: Any) -> Usage | None:
    if not isinstance(usage, dict):
        return None
    return _usage(usage, _CHAT)


def _usage(usage: Json, names: tuple[str, str, str, str]) -> Usage | None:
    """Read the token counts; None if one of the two is not told, for that is not zero."""
    entry, of_entry, exit_, of_exit = names
    read, wrote = usage.get(entry), usage.get(exit_)
    if not (_is_number(read) and _is_number(wrote)):
        return None
    got, gave = usage.get(of_entry), usage.get(of_exit)
    cached = written = reasoning = 0
    if isinstance(got, dict):
        cached, written = count(got.get("cached_tokens")), count(got.get("cache_write_tokens"))
    if isinstance(gave, dict):
        reasoning = count(gave.get("reasoning_tokens"))
    return _used(count(read), count(wrote), cached, written, 0, reasoning)


def _is_number(value: object) -> bool:
    return type(value) is int or (isinstance(value, (int, float)) and not isinstance(value, bool))


def _errors(body: Json) -> Iterator[Json]:
    errors = body.get("errors")
    data = errors.get("data") if isinstance(errors, dict) else errors
    for error in data if isinstance(data, list) else ():
        if isinstance(error, dict):
            yield error


def _is_queue(error: Json) -> bool:
    return error.get("code") == "token_limit_exceeded"


def _queue_limit(error: Json) -> int | None:
    found = _LIMIT.search(str(error.get("message")))
    digits = re.sub(r"\D", "", found[1]) if found else ""
    return int(digits) if digits else None


def _said(error: Json) -> str:
    where = f"line {error['line']}: " if error.get("line") is not None else ""
    return f"{where}{error.get('message') or error.get('code') or 'no reason given'}"
