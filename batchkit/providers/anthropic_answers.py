"""What comes back from Anthropic: result rows and batch objects, as our values. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import orjson

from batchkit.citing import END, START
from batchkit.making import maker
from batchkit.model import BatchStatus, Citation, Json, NotRun, Outcome, Succeeded, Usage
from batchkit.providers.calls import moment
from batchkit.providers.rows import count, errored, unreadable, word

RETENTION = timedelta(days=29)
WINDOW = timedelta(hours=24)

_FINISH = {
    "end_turn": "stop",
    "stop_sequence": "stop",
    "max_tokens": "length",
    "model_context_window_exceeded": "length",
    "tool_use": "tool",
    "pause_turn": "pause",
}

_succeeded = maker(Succeeded)
_used = maker(Usage)


def outcome(row: Json, custom_id: str) -> Outcome:
    """Read one line of a results file."""
    result = row.get("result")
    if not isinstance(result, dict):
        return unreadable(custom_id, row, "no result")
    kind = result.get("type")
    if kind == "succeeded":
        message = result.get("message")
        if not isinstance(message, dict) or not isinstance(message.get("content"), list):
            return unreadable(custom_id, row, "a success without a message")
        return message_outcome(custom_id, message, None)
    if kind == "errored":
        wrapped = result.get("error")
        wrapped = wrapped if isinstance(wrapped, dict) else {}
        inner = wrapped.get("error", wrapped)
        return errored(custom_id, inner, None, word(wrapped.get("request_id")))
    if kind in ("canceled", "cancelled"):
        return NotRun(custom_id, "cancelled")
    if kind == "expired":
        return NotRun(custom_id, "expired")
    return unreadable(custom_id, row, f"unknown result type {kind}")


def message_outcome(custom_id: str, message: Json, request_id: str | None) -> Outcome:
    """Read a message; a refusal is one, too, and free if nothing had been written."""
    content = message.get("content")
    if not isinstance(content, list):
        return unreadable(custom_id, message, "a message without content")
    text = _only_text(content)
    if text and message.get("stop_reason") == "end_turn":
        read, model = usage(message.get("usage")), word(message.get("model"))
        return _succeeded(custom_id, text, read, model, "stop", None, (), request_id, True)
    blocks = [block for block in content if isinstance(block, dict)]
    texts = [str(block.get("text") or "") for block in blocks if block.get("type") == "text"]
    reason = word(message.get("stop_reason")) or "end_turn"
    refusal = _refusal(message) if reason == "refusal" else None
    return Succeeded(
        custom_id=custom_id,
        text="".join(texts) or _tool_input(blocks),
        usage=usage(message.get("usage")),
        model=word(message.get("model")),
        finish=_FINISH.get(reason, reason),
        refusal=refusal,
        citations=tuple(_citations(blocks)),
        request_id=request_id,
        billed=refusal is None or bool(blocks),
    )


def usage(given: Any) -> Usage | None:
    """Read usage; Anthropic counts cache reads and writes beside ``input_tokens``."""
    if not isinstance(given, dict):
        return None
    read = count(given.get("cache_read_input_tokens"))
    split = given.get("cache_creation")
    split = split if isinstance(split, dict) else {}
    hour = count(split.get("ephemeral_1h_input_tokens"))
    parts = hour + count(split.get("ephemeral_5m_input_tokens"))
    written = max(count(given.get("cache_creation_input_tokens")), parts)
    details = given.get("output_tokens_details")
    details = details if isinstance(details, dict) else {}
    return _used(
        count(given.get("input_tokens")) + read + written,
        count(given.get("output_tokens")),
        read,
        written,
        hour,
        count(details.get("thinking_tokens")),
    )


def status(body: Json) -> BatchStatus:
    """Read a batch object. Only the counts tell how it ended; it never fails as a whole."""
    said = str(body.get("processing_status"))
    counts = requests_in(body)
    created_at = moment(body.get("created_at"))
    ended = said.lower() == "ended"
    return BatchStatus(
        ref=str(body.get("id")),
        word=said,
        ended=ended,
        reason=_reason(counts) if ended else None,
        total=sum(counts.values()) or None,
        completed=counts.get("succeeded", 0),
        failed=counts.get("errored", 0),
        created_at=created_at,
        ended_at=moment(body.get("ended_at")),
        expires_at=moment(body.get("expires_at")),
        results_until=created_at + RETENTION if created_at else None,
    )


def requests_in(body: Json) -> dict[str, int]:
    """Return the counts of a batch; their sum is always the number of its requests."""
    counts = body.get("request_counts")
    return {name: count(n) for name, n in counts.items()} if isinstance(counts, dict) else {}


def _only_text(content: list[Any]) -> str | None:
    """Return the text of an answer that is one text block without citations."""
    if len(content) != 1 or not isinstance(content[0], dict):
        return None
    block = content[0]
    text = block.get("text")
    plain = block.get("type") == "text" and not block.get("citations")
    return text if plain and type(text) is str else None


def _reason(counts: dict[str, int]) -> str:
    if counts.get("canceled"):
        return "cancelled"
    return "expired" if counts.get("expired") else "completed"


def _refusal(message: Json) -> str:
    details = message.get("stop_details")
    details = details if isinstance(details, dict) else {}
    return word(details.get("explanation")) or word(details.get("category")) or "refused"


def _tool_input(blocks: list[Json]) -> str:
    """Return what tools were called with: one call's input, or a list of several."""
    calls = [block for block in blocks if block.get("type") == "tool_use"]
    if len(calls) == 1:
        return orjson.dumps(calls[0].get("input")).decode()
    named = [{"name": call.get("name"), "input": call.get("input")} for call in calls]
    return orjson.dumps(named).decode() if named else ""


def _citations(blocks: list[Json]) -> Iterator[Citation]:
    """Yield the citations of all texts, each with where its text stands in the whole answer."""
    start = 0
    for block in blocks:
        if block.get("type") != "text":
            continue
        end = start + len(str(block.get("text") or ""))
        for given in block.get("citations") or ():
            if isinstance(given, dict):
                yield _citation(given, start, end)
        start = end


def _citation(given: Json, start: int, end: int) -> Citation:
    index = given.get("document_index")
    names = (given.get(name) for name in ("document_title", "title", "source", "url"))
    source = next((str(name) for name in names if name), f"document {index}")
    page = given.get("start_page_number")
    return Citation(
        text=str(given.get("cited_text") or ""),
        source=source,
        page=page if isinstance(page, int) else None,
        metadata={
            **{name: value for name, value in given.items() if name != "cited_text"},
            START: start,
            END: end,
        },
    )
