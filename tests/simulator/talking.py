"""What the simulator's tests say to it, through the real SDKs."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import anthropic
import openai
from anthropic.types.messages import MessageBatch
from openai.types import Batch

MODEL = "gpt-6.1-sol"
CLAUDE = "claude-sonnet-5-5"
SCHEMA: dict[str, Any] = {
    "type": "object",
    "additionalProperties": False,
    "required": ["name", "version", "kind"],
    "properties": {
        "name": {"type": "string"},
        "version": {"type": "string"},
        "kind": {"type": "string", "enum": ["Library", "Tool"]},
    },
}


def document(i: int, more: str = "") -> str:
    """Return a small document with a name, a version and a kind of its own."""
    return f"Extract the fields.\nName: thing {i}\nVersion: {i}.0\nA library for testing. {more}"


def response_body(text: Any, **more: Any) -> dict[str, Any]:
    """Return a Responses body with a strict schema."""
    form = {"type": "json_schema", "name": "thing", "schema": SCHEMA, "strict": True}
    return {"model": MODEL, "input": text, "text": {"format": form}, **more}


def chat_body(text: str, **more: Any) -> dict[str, Any]:
    """Return a Chat Completions body with a strict schema."""
    form = {
        "type": "json_schema",
        "json_schema": {"name": "thing", "schema": SCHEMA, "strict": True},
    }
    messages = [{"role": "user", "content": text}]
    return {"model": MODEL, "messages": messages, "response_format": form, **more}


def params(text: Any, **more: Any) -> dict[str, Any]:
    """Return a Messages body with a schema."""
    form = {"format": {"type": "json_schema", "schema": SCHEMA}}
    messages = [{"role": "user", "content": text}]
    return {
        "model": CLAUDE,
        "max_tokens": 500,
        "messages": messages,
        "output_config": form,
        **more,
    }


def lines(bodies: Iterable[Any], url: str = "/v1/responses") -> bytes:
    """Return an input file whose custom_ids are r0, r1, …"""
    return b"".join(
        json.dumps({"custom_id": f"r{i}", "method": "POST", "url": url, "body": body}).encode()
        + b"\n"
        for i, body in enumerate(bodies)
    )


def submit(
    client: openai.OpenAI, bodies: Iterable[Any], url: Any = "/v1/responses", **more: Any
) -> Batch:
    """Upload and create a batch of OpenAI's."""
    return submit_raw(client, lines(bodies, url), url, **more)


def submit_raw(
    client: openai.OpenAI, data: bytes, url: Any = "/v1/responses", **more: Any
) -> Batch:
    """Upload these bytes and create a batch of OpenAI's."""
    file = client.files.create(file=("in.jsonl", data), purpose="batch")
    return client.batches.create(
        input_file_id=file.id, endpoint=url, completion_window="24h", **more
    )


def results(client: openai.OpenAI, batch_id: str) -> dict[str, dict[str, Any]]:
    """Return the lines of both result files by custom_id."""
    batch = client.batches.retrieve(batch_id)
    found = {}
    for file_id in (batch.output_file_id, batch.error_file_id):
        if file_id:
            for line in client.files.content(file_id).content.split(b"\n"):
                if line:
                    value = json.loads(line)
                    found[value["custom_id"]] = value
    return found


def send(client: anthropic.Anthropic, bodies: Iterable[Any]) -> MessageBatch:
    """Create a batch of Anthropic's whose custom_ids are r0, r1, …"""
    requests: Any = [{"custom_id": f"r{i}", "params": body} for i, body in enumerate(bodies)]
    return client.messages.batches.create(requests=requests)


def outcomes(client: anthropic.Anthropic, batch_id: str) -> dict[str, Any]:
    """Return the results by custom_id, as plain values."""
    return {
        one.custom_id: one.result.to_dict(warnings=False)
        for one in client.messages.batches.results(batch_id)
    }


def error_of(caught: anthropic.APIStatusError) -> dict[str, Any]:
    """Return the inner error of a reply of Anthropic's."""
    body: Any = caught.body
    return dict(body["error"])
