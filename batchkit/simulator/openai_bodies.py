"""OpenAI's models: a Responses, Chat Completions or Embeddings body in, a reply's body out."""

from __future__ import annotations

import math
import re
from typing import Any

from batchkit.simulator.known import CHAT, RESPONSES
from batchkit.simulator.outcomes import Outcome
from batchkit.simulator.prompt import Prompt, Unfit, output_tokens, read_openai
from batchkit.simulator.source import Source
from batchkit.simulator.wire import Json
from batchkit.simulator.writer import Answer, Desk, Schema, Written

REFUSAL = "I'm sorry, but I can't help with that."
_TYPES = {
    403: "permission_error",
    404: "invalid_request_error",
    409: "conflict_error",
    429: "rate_limit_error",
}
_KNOWN = {"/v1/responses": RESPONSES, "/v1/chat/completions": CHAT}
_NAME = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_CODES = {
    400: "invalid_value",
    401: "invalid_api_key",
    404: "not_found",
    413: "request_too_large",
    429: "rate_limit_exceeded",
    500: "server_error",
    503: "server_error",
}


def error_body(
    status: int, message: str, code: str | None = None, param: str | None = None
) -> Json:
    """Return an error as OpenAI writes it."""
    kind = _TYPES.get(status, "server_error" if status >= 500 else "invalid_request_error")
    return {"error": {"message": message, "type": kind, "param": param, "code": code}}


def answer(endpoint: str, body: Any, desk: Desk, custom_id: str = "") -> Answer:
    """Answer one request to `endpoint`; what the API refuses is an answer of status 400 or 404."""
    try:
        return _answer(endpoint, body, desk, custom_id)
    except Unfit as why:
        return Answer(why.status, error_body(why.status, why.message, why.code, why.param))
    except (AttributeError, TypeError, ValueError, KeyError) as exc:
        return Answer(400, error_body(400, f"Invalid type in the request: {exc}", "invalid_type"))


def count(body: Any, desk: Desk) -> int:
    """Return the input tokens of a Responses body; raise `Unfit` for what the API refuses."""
    _check(body, "/v1/responses", desk)
    return read_openai(body, desk.fetch).tokens(str(body["model"]))


def _answer(endpoint: str, body: Any, desk: Desk, custom_id: str) -> Answer:
    _check(body, endpoint, desk)
    if endpoint == "/v1/embeddings":
        return _embeddings(body)
    if endpoint not in ("/v1/responses", "/v1/chat/completions"):
        raise Unfit(f"The simulator does not speak {endpoint}.", code="unsupported_endpoint")
    schema = _schema(body, desk)
    prompt = read_openai(body, desk.fetch)
    schema = schema or desk.told(prompt)
    outcome = desk.outcome(prompt, body, custom_id)
    if outcome.status != 200 or ("failed" in outcome and endpoint != "/v1/responses"):
        return _error(outcome)
    if "expire" in outcome:
        return Answer(0, None, stuck=True)
    written = desk.write(prompt, schema, outcome, _limit(body))
    if outcome.traits & {"refuse", "filter"}:
        written = Written(REFUSAL if "refuse" in outcome else "", output_tokens(REFUSAL), 0, True)
    return _reply(endpoint, body, prompt, outcome, written, desk)


def _error(outcome: Outcome) -> Answer:
    status = outcome.status if outcome.status != 200 else 500
    message = outcome.message or f"The simulator was asked to answer {status}."
    return Answer(
        status, error_body(status, message, _CODES.get(status)), faults=outcome.line_faults
    )


def _check(body: Any, endpoint: str, desk: Desk) -> None:
    if not isinstance(body, dict):
        raise Unfit("The body must be a JSON object.", code="invalid_type")
    model = body.get("model")
    if not model:
        raise Unfit(
            "you must provide a model parameter", param="model", code="missing_required_parameter"
        )
    if not desk.knows(model):
        message = f"The model `{model}` does not exist or you do not have access to it."
        raise Unfit(message, code="model_not_found", status=404)
    needed = "messages" if endpoint == "/v1/chat/completions" else "input"
    if not body.get(needed) and "prompt" not in body:
        raise Unfit(
            f"Missing required parameter: '{needed}'.",
            param=needed,
            code="missing_required_parameter",
        )
    for key in (
        body.keys() - _KNOWN.get(endpoint, body.keys()) if not desk.settings.any_model else ()
    ):
        raise Unfit(f"Unknown parameter: '{key}'.", param=key, code="unknown_parameter")
    if body.get("stream") and (desk.batched or endpoint != "/v1/embeddings"):
        raise Unfit(
            "Streaming is not supported here.", param="stream", code="unsupported_parameter"
        )


def _schema(body: Json, desk: Desk) -> Schema | None:
    form = _asked(body)
    if form is None:
        return None
    if form.get("schema") is None:
        return desk.schema({"type": "object"})
    schema = desk.schema(form["schema"])
    if form.get("strict") and schema.openai_refusal:
        message = f"Invalid schema for {form['what']} '{form.get('name')}': {schema.openai_refusal}"
        raise Unfit(message, param=form["param"], code=form["code"])
    return schema


def _asked(body: Json) -> Json | None:
    """Return the schema asked for: in response_format, text.format or a forced tool."""
    chat, text = body.get("response_format"), (body.get("text") or {}).get("format")
    if chat and chat.get("type") == "json_schema":
        return _format(chat.get("json_schema") or {}, "response_format")
    if text and text.get("type") == "json_schema":
        return _format(text, "text.format.schema")
    if "json_object" in ((chat or {}).get("type"), (text or {}).get("type")):
        return {"schema": None}
    tool = forced_tool(body)
    if tool is None:
        return None
    said = {
        "what": "function",
        "param": "tools[0].parameters",
        "code": "invalid_function_parameters",
    }
    return {
        **said,
        "name": tool["name"],
        "strict": tool.get("strict"),
        "schema": tool.get("parameters") or {},
    }


def _format(form: Json, param: str) -> Json:
    for key in ("name", "schema"):
        if not form.get(key):
            raise Unfit(
                f"Missing required parameter: '{param}.{key}'.", param, "missing_required_parameter"
            )
    if not _NAME.match(str(form["name"])):
        raise Unfit(
            f"Invalid '{param}.name': does not match '^[a-zA-Z0-9_-]+$'.", param, "invalid_value"
        )
    return {**form, "what": "response_format", "param": param, "code": "invalid_json_schema"}


def forced_tool(body: Json) -> Json | None:
    """Return the function that the request forces, with its name on top, or None."""
    choice = body.get("tool_choice")
    if choice is None:
        return None
    tools = [
        tool.get("function", tool)
        for tool in body.get("tools") or ()
        if tool.get("type") == "function"
    ]
    if choice == "required":
        return tools[0] if tools else None
    if not isinstance(choice, dict) or choice.get("type") != "function":
        return None
    name = choice.get("function", choice).get("name")
    return next((tool for tool in tools if tool.get("name") == name), None)


def _limit(body: Json) -> int | None:
    for key in ("max_output_tokens", "max_completion_tokens", "max_tokens"):
        if body.get(key) is not None:
            if not isinstance(body[key], int) or body[key] < 1:
                raise Unfit(
                    f"Invalid '{key}': integer below minimum value.", key, "integer_below_min_value"
                )
            return int(body[key])
    return None


def _reply(
    endpoint: str, body: Json, prompt: Prompt, outcome: Outcome, written: Written, desk: Desk
) -> Answer:
    tokens = prompt.tokens(str(body["model"]))
    times = int(body.get("n") or 1) if endpoint == "/v1/chat/completions" else 1
    made = Answer(
        200,
        None,
        True,
        tokens,
        min(outcome.cached or 0, tokens),
        written.tokens * times,
        written.reasoning * times,
        faults=outcome.line_faults,
    )
    ident = f"{prompt.source.seed:08x}{tokens:08x}"
    if "empty" in outcome:
        made.body = {}
    elif endpoint == "/v1/responses":
        made.body = _response(body, outcome, written, made, ident, int(desk.now))
    else:
        made.body = _completion(body, outcome, written, made, ident, int(desk.now))
    return made


def _response(
    body: Json, outcome: Outcome, written: Written, made: Answer, ident: str, now: int
) -> Json:
    status, reason = _response_status(outcome, written)
    output = [] if status == "failed" else _output(body, outcome, written, ident, reason is None)
    error = {"code": "server_error", "message": "The model failed."} if status == "failed" else None
    return {
        "id": f"resp_{ident}",
        "object": "response",
        "created_at": now,
        "status": status,
        "background": False,
        "error": error,
        "incomplete_details": {"reason": reason} if reason else None,
        "instructions": body.get("instructions"),
        "max_output_tokens": body.get("max_output_tokens"),
        "metadata": body.get("metadata") or {},
        "model": resolved(body["model"]),
        "output": output,
        "parallel_tool_calls": True,
        "previous_response_id": None,
        "service_tier": "default",
        "store": bool(body.get("store", True)),
        "temperature": body.get("temperature", 1.0),
        "text": body.get("text") or {"format": {"type": "text"}},
        "tool_choice": body.get("tool_choice", "auto"),
        "tools": body.get("tools") or [],
        "top_p": body.get("top_p", 1.0),
        "truncation": "disabled",
        "usage": {
            "input_tokens": made.input_tokens,
            "input_tokens_details": {"cached_tokens": made.cached_tokens, "cache_write_tokens": 0},
            "output_tokens": made.output_tokens,
            "output_tokens_details": {"reasoning_tokens": made.reasoning_tokens},
            "total_tokens": made.input_tokens + made.output_tokens,
        },
    }


def _response_status(outcome: Outcome, written: Written) -> tuple[str, str | None]:
    if not outcome.traits:
        return ("completed", None) if written.whole else ("incomplete", "max_output_tokens")
    if "failed" in outcome:
        return "failed", None
    if "unknown-type" in outcome:
        return "paused", None
    if "pause" in outcome:
        return "in_progress", None
    if "filter" in outcome:
        return "incomplete", "content_filter"
    return ("completed", None) if written.whole else ("incomplete", "max_output_tokens")


def _output(body: Json, outcome: Outcome, written: Written, ident: str, whole: bool) -> list[Json]:
    items: list[Json] = []
    if "unknown-block" in outcome:
        items.append({"id": f"xx_{ident}", "type": "dream", "dream": "of sheep"})
    if written.reasoning:
        items.append({"id": f"rs_{ident}", "type": "reasoning", "summary": []})
    status = "completed" if whole else "incomplete"
    tool = forced_tool(body)
    if tool is not None and "refuse" not in outcome:
        items.append(
            {
                "id": f"fc_{ident}",
                "type": "function_call",
                "status": status,
                "call_id": f"call_{ident}",
                "name": tool["name"],
                "arguments": written.text,
            }
        )
        return items
    if written.text or whole:
        items.append(
            {
                "id": f"msg_{ident}",
                "type": "message",
                "role": "assistant",
                "status": status,
                "content": [_part(outcome, written)],
            }
        )
    return items


def _part(outcome: Outcome, written: Written) -> Json:
    if "refuse" in outcome:
        return {"type": "refusal", "refusal": written.text}
    part: Json = {"type": "output_text", "text": written.text, "annotations": [], "logprobs": []}
    return {**part, "novelty": 1} if "extra" in outcome else part


def _completion(
    body: Json, outcome: Outcome, written: Written, made: Answer, ident: str, now: int
) -> Json:
    message, finish = _message(body, outcome, written, ident)
    choices = [
        {"index": i, "message": message, "logprobs": None, "finish_reason": finish}
        for i in range(int(body.get("n") or 1))
    ]
    return {
        "id": f"chatcmpl-{ident}",
        "object": "chat.completion",
        "created": now,
        "model": resolved(body["model"]),
        "choices": choices,
        "service_tier": "default",
        "system_fingerprint": "fp_simulator",
        "usage": {
            "prompt_tokens": made.input_tokens,
            "completion_tokens": made.output_tokens,
            "total_tokens": made.input_tokens + made.output_tokens,
            "prompt_tokens_details": {"cached_tokens": made.cached_tokens, "audio_tokens": 0},
            "completion_tokens_details": {
                "reasoning_tokens": made.reasoning_tokens,
                "audio_tokens": 0,
            },
        },
    }


def _message(body: Json, outcome: Outcome, written: Written, ident: str) -> tuple[Json, str]:
    message: Json = {
        "role": "assistant",
        "content": written.text,
        "refusal": None,
        "annotations": [],
    }
    finish = "stop" if written.whole else "length"
    if outcome.traits & {"unknown-type", "pause"}:
        finish = "paused"
    if "filter" in outcome:
        return {**message, "content": written.text or None}, "content_filter"
    if "refuse" in outcome:
        return {**message, "content": None, "refusal": written.text}, "stop"
    tool = forced_tool(body)
    if tool is not None:
        called = {"name": tool["name"], "arguments": written.text}
        calls = [{"id": f"call_{ident}", "type": "function", "function": called}]
        return {**message, "content": None, "tool_calls": calls}, finish
    return ({**message, "novelty": 1} if "extra" in outcome else message), finish


def _embeddings(body: Json) -> Answer:
    texts = body["input"] if isinstance(body["input"], list) else [body["input"]]
    tokens = sum(math.ceil(len(str(text).encode()) / 4) for text in texts)
    size = int(body.get("dimensions") or 8)
    data = [
        {"object": "embedding", "index": i, "embedding": _vector(str(text), size)}
        for i, text in enumerate(texts)
    ]
    usage = {"prompt_tokens": tokens, "total_tokens": tokens}
    reply = {"object": "list", "data": data, "model": body["model"], "usage": usage}
    return Answer(200, reply, True, tokens)


def _vector(text: str, size: int) -> list[float]:
    source = Source(text)
    raw = [source.pick(str(i), 2_001) / 1_000 - 1 for i in range(size)]
    length = math.sqrt(sum(x * x for x in raw)) or 1.0
    return [x / length for x in raw]


def resolved(model: str) -> str:
    """Return the snapshot a model's name stands for."""
    dated = len(model) > 11 and model[-10:].replace("-", "").isdigit() and model[-11] == "-"
    known = model.startswith(("gpt-", "o1", "o3", "o4"))
    return f"{model}-2026-03-05" if known and not dated else model
