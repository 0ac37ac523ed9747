"""Anthropic's models: a Messages body in, a message or an error out."""

from __future__ import annotations

from typing import Any

import orjson

from batchkit.simulator.caching import used
from batchkit.simulator.citations import cite, cite_json, uncited_problem
from batchkit.simulator.known import MESSAGES
from batchkit.simulator.outcomes import Outcome
from batchkit.simulator.prompt import Prompt, Unfit, output_tokens, read_anthropic
from batchkit.simulator.wire import Json
from batchkit.simulator.writer import Answer, Desk, Schema, Written

STRICT_VERSION = "2026-10-21"
SAMPLING = ("temperature", "top_p", "top_k")
_NEVER_BATCHED = (
    "speed",
    "store",
    "previous_thread_event_id",
    "cache_hint",
    "context_hint",
    "fallbacks",
)
_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    405: "invalid_request_error",
    408: "timeout_error",
    409: "conflict_error",
    413: "request_too_large",
    422: "invalid_request_error",
    429: "rate_limit_error",
    500: "api_error",
    502: "api_error",
    503: "api_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def error_body(
    status: int, message: str, request_id: str | None = None, code: str | None = None
) -> Json:
    """Return an error as Anthropic writes it; `code` goes to `details.error_code`."""
    error: Json = {"type": _TYPES.get(status, "api_error"), "message": message}
    if code is not None:
        error["details"] = {"error_code": code}
    return {"type": "error", "error": error, "request_id": request_id}


def answer(params: Any, desk: Desk, version: str, custom_id: str = "") -> Answer:
    """Answer one Messages request; what the API refuses is an answer of status 400 or 404."""
    try:
        return _answer(params, desk, version, custom_id)
    except Unfit as why:
        return Answer(why.status, error_body(why.status, why.message, code=why.code))
    except (AttributeError, TypeError, ValueError, KeyError) as exc:
        return Answer(400, error_body(400, f"Invalid type in the request: {exc}"))


def count(params: Any, desk: Desk, version: str) -> int:
    """Return the input tokens of a Messages body; raise `Unfit` for what the API refuses."""
    check({"max_tokens": 1, **params} if isinstance(params, dict) else params, desk, version)
    return read_anthropic(params, desk.fetch).tokens(str(params["model"]))


def check(params: Any, desk: Desk, version: str) -> None:
    """Raise `Unfit` for what the API refuses in the parameters themselves."""
    if not isinstance(params, dict):
        raise Unfit("params: Input should be a valid dictionary")
    for key in ("model", "max_tokens", "messages"):
        if key not in params:
            raise Unfit(f"{key}: Field required")
    if not desk.knows(params["model"]):
        raise Unfit(f"model: {params['model']}", status=404)
    _check_sampling(params, version)
    _check_messages(params["messages"], version)
    limit = params["max_tokens"]
    if not isinstance(limit, int) or limit < (1 if desk.batched else 0):
        raise Unfit("max_tokens: Input should be greater than or equal to 1")
    if limit > 300_000:
        raise Unfit(
            f"max_tokens: {limit} > 300000, which is the maximum allowed number of output tokens"
        )
    for key in params.keys() - MESSAGES:
        raise Unfit(f"{key}: Extra inputs are not permitted")
    if desk.batched:
        _check_batched(params)
    elif params.get("stream"):
        raise Unfit("stream: the simulator does not stream")


def _check_sampling(params: Json, version: str) -> None:
    if version >= STRICT_VERSION:
        for key in SAMPLING:
            if key in params:
                raise Unfit(f"{key}: `{key}` is not supported with anthropic-version {version}")


def _check_messages(messages: Any, version: str) -> None:
    if not messages:
        raise Unfit("messages: at least one message is required")
    for i, message in enumerate(messages):
        if message.get("role") not in ("user", "assistant", "system"):
            raise Unfit(f"messages.{i}.role: Input should be 'user' or 'assistant'")
        content = message.get("content")
        if not content:
            raise Unfit(f"messages.{i}: all messages must have non-empty content")
        if isinstance(content, list):
            _check_blocks(i, message["role"], content, version)


def _check_blocks(i: int, role: str, blocks: list[Json], version: str) -> None:
    for n, block in enumerate(blocks):
        if block.get("type") == "text" and not str(block.get("text", "")).strip():
            raise Unfit("messages: text content blocks must be non-empty")
        if version < STRICT_VERSION:
            continue
        if role == "assistant" and block.get("type") == "document":
            raise Unfit(
                f"messages.{i}.content.{n}: `document` blocks are not allowed in assistant turns"
            )
        if role == "user" and block.get("type") == "text" and block.get("citations"):
            raise Unfit(f"messages.{i}.content.{n}.citations: must be empty on user text blocks")


def _check_batched(params: Json) -> None:
    if params.get("stream"):
        raise Unfit("stream: streaming is not supported in batches")
    for key in _NEVER_BATCHED:
        if key in params:
            raise Unfit(f"{key}: not supported in batches")
    if (params.get("billing_policy") or {}).get("bill_to") == "user_profile":
        raise Unfit("billing_policy.bill_to: `user_profile` is not supported in batches")


def _answer(params: Any, desk: Desk, version: str, custom_id: str) -> Answer:
    check(params, desk, version)
    schema = _schema(params, desk)
    prompt = read_anthropic(params, desk.fetch)
    problem = uncited_problem(
        prompt, structured=bool((params.get("output_config") or {}).get("format"))
    )
    if problem is not None:
        raise Unfit(problem)
    schema = schema or desk.told(prompt)
    outcome = desk.outcome(prompt, params, custom_id)
    if outcome.status != 200 or "failed" in outcome:
        return _error(outcome)
    if "expire" in outcome:
        return Answer(0, None, stuck=True)
    return _reply(params, prompt, schema, outcome, desk)


def _error(outcome: Outcome) -> Answer:
    status = outcome.status if outcome.status != 200 else 500
    message = outcome.message or f"The simulator was asked to answer {status}."
    return Answer(status, error_body(status, message), faults=outcome.line_faults)


def _schema(params: Json, desk: Desk) -> Schema | None:
    form = (params.get("output_config") or {}).get("format")
    tool = forced_tool(params)
    if form:
        if form.get("type") != "json_schema" or "schema" not in form:
            raise Unfit("output_config.format.schema: Field required")
        schema, strict, where = desk.schema(form["schema"]), True, "output_config.format.schema"
    elif tool is not None:
        schema = desk.schema(tool.get("input_schema") or {})
        strict, where = bool(tool.get("strict")), "tools.0.custom"
    else:
        return None
    if strict and schema.anthropic_refusal:
        raise Unfit(f"{where}: {schema.anthropic_refusal}")
    return schema


def forced_tool(params: Json) -> Json | None:
    """Return the tool that the request forces, or None."""
    choice, tools = params.get("tool_choice") or {}, params.get("tools") or []
    if choice.get("type") == "any":
        return tools[0] if tools else None
    if choice.get("type") != "tool":
        return None
    return next((tool for tool in tools if tool.get("name") == choice.get("name")), None)


def _reply(
    params: Json, prompt: Prompt, schema: Schema | None, outcome: Outcome, desk: Desk
) -> Answer:
    limit, model = int(params["max_tokens"]), str(params["model"])
    refused = outcome.traits & {"refuse", "filter"}
    written = Written("", 0, 0, True) if refused else desk.write(prompt, schema, outcome, limit)
    content = _content(params, prompt, schema, outcome, written, desk)
    if outcome.traits & {"refuse", "filter", "empty"}:
        content, written.tokens = [], 0
    stop = _stop(outcome, written, forced_tool(params) is not None)
    usage = _usage(prompt, model, written, outcome, desk)
    message: Json = {
        "id": f"msg_{prompt.source.seed:08x}{prompt.size:08x}",
        "type": "message",
        "role": "assistant",
        "model": model,
        "content": content,
        "stop_reason": stop,
        "stop_sequence": None,
        "stop_details": _details(outcome),
        "usage": usage,
    }
    if "extra" in outcome:
        message["novelty"] = 1
    cached = usage["cache_read_input_tokens"]
    total = usage["input_tokens"] + cached + usage["cache_creation_input_tokens"]
    return Answer(
        200,
        message,
        not refused,
        total,
        cached,
        written.tokens,
        written.reasoning,
        faults=outcome.line_faults,
        cache_write_tokens=usage["cache_creation_input_tokens"],
    )


def _content(
    params: Json,
    prompt: Prompt,
    schema: Schema | None,
    outcome: Outcome,
    written: Written,
    desk: Desk,
) -> list[Json]:
    blocks: list[Json] = []
    if "unknown-block" in outcome:
        blocks.append({"type": "dream", "dream": "of sheep"})
    tool = forced_tool(params)
    if tool is not None and written.whole and schema is not None:
        made = schema.make(prompt.source)
        ident = f"toolu_{prompt.source.seed:08x}"
        blocks.append({"type": "tool_use", "id": ident, "name": tool["name"], "input": made})
    elif schema is not None and written.whole and any(d.cited for d in prompt.documents):
        blocks += _cited_json(written.text, prompt, astray="miscite" in outcome)
    elif schema is None and outcome.answer is None and any(d.cited for d in prompt.documents):
        cited, uncut = cite(prompt.documents, prompt.source, int(params["max_tokens"]))
        # What is quoted is not billed as output, what is said is.
        written.tokens = written.reasoning + sum(output_tokens(block["text"]) for block in cited)
        written.whole = written.whole and uncut
        blocks += cited
    else:
        blocks.append({"type": "text", "text": written.text, "citations": None})
    return blocks


def _cited_json(text: str, prompt: Prompt, *, astray: bool) -> list[Json]:
    try:
        value = orjson.loads(text)
    except ValueError:
        return [{"type": "text", "text": text, "citations": None}]
    return cite_json(value, prompt, astray=astray)


def _stop(outcome: Outcome, written: Written, tool: bool) -> str:
    if outcome.traits & {"refuse", "refuse-late", "filter"}:
        return "refusal"
    if "window" in outcome:
        return "model_context_window_exceeded"
    if "pause" in outcome:
        return "pause_turn"
    if not written.whole:
        return "max_tokens"
    return "tool_use" if tool else "end_turn"


def _details(outcome: Outcome) -> Json | None:
    if not outcome.traits & {"refuse", "filter"}:
        return None
    return {
        "type": "refusal",
        "category": "general_harms",
        "explanation": "The simulator was asked to refuse.",
    }


def _usage(prompt: Prompt, model: str, written: Written, outcome: Outcome, desk: Desk) -> Json:
    total = prompt.tokens(model)
    lucky = prompt.source.pick("cache", 1_000) < desk.settings.cache_hit_rate * 1_000
    read, wrote_5m, wrote_1h = used(prompt.cached, model, desk.cache, desk.now, lucky=lucky)
    if outcome.cached is not None:
        read, wrote_5m, wrote_1h = min(outcome.cached, total), 0, 0
    return {
        "input_tokens": total - read - wrote_5m - wrote_1h,
        "cache_creation_input_tokens": wrote_5m + wrote_1h,
        "cache_read_input_tokens": read,
        "cache_creation": {
            "ephemeral_5m_input_tokens": wrote_5m,
            "ephemeral_1h_input_tokens": wrote_1h,
        },
        "output_tokens": written.tokens,
        "output_tokens_details": {"thinking_tokens": written.reasoning},
        "server_tool_use": None,
        "service_tier": "batch" if desk.batched else "standard",
    }
