"""What is sent to Anthropic: message parameters and batch lines. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from batchkit.model import Attachment, Json, Request
from batchkit.providers.encoding import (
    as_line,
    base64_text,
    instruction,
    joined,
    mapping,
    plain_text,
    strict,
)

_TITLE = 255
CITABLE = ("document", "search_result")
"""The kinds of blocks that answers can cite."""


def line(custom_id: str, params: Json) -> bytes:
    """Return one element of a batch's ``requests``, without a line end."""
    return as_line({"custom_id": custom_id, "params": params})


def body(request: Request) -> Json:
    """Return the parameters for ``/v1/messages``."""
    params = dict(request.params)
    made: Json = {"model": request.model, "max_tokens": request.max_tokens}
    leading, messages = _split(request)
    if system := _system([request.system, params.pop("system", None), *leading], request):
        made["system"] = _marked_text(system) if "system" in request.caching else system
    elif "system" in request.caching and params.get("tools"):
        params["tools"] = _marked_last(params["tools"])
    made["messages"] = _cited(messages) if request.citations else messages
    if schema := strict(request):
        shape = {"type": "json_schema", "schema": schema["wire"]}
        made["output_config"] = {**mapping(params.pop("output_config", None)), "format": shape}
    return {**made, **params, **request.extra_body}


def uncitable(request: Request) -> Iterator[str]:
    """Yield what stands against citations in a request that asks for them."""
    if not request.citations:
        return
    config = request.params.get("output_config") or request.extra_body.get("output_config")
    if strict(request) or mapping(config).get("format"):
        yield (
            "Anthropic gives no citations together with structured output: leave output_config's "
            "format out and give response_model=, or leave enable_citations out."
        )
    if request.messages is None:
        kinds = {attachment.document.kind for attachment in request.attachments}
        is_citable = not kinds or kinds != {"image"}
    else:
        is_citable = any(_blocks(request.messages, CITABLE))
    if not is_citable:
        yield (
            "There is nothing to cite, only images or plain messages: give a text or a PDF with "
            "file=, or leave enable_citations out."
        )


def _blocks(messages: Sequence[Json], kinds: tuple[str, ...]) -> Iterator[Json]:
    for message in messages:
        content = message.get("content")
        for block in content if isinstance(content, list) else ():
            if isinstance(block, dict) and block.get("type") in kinds:
                yield block


def _split(request: Request) -> tuple[list[Any], list[Json]]:
    """Part the leading system messages, which this API knows as a parameter, from the rest."""
    if request.messages is None:
        return [], [{"role": "user", "content": _content(request)}]
    messages = list(request.messages)
    leading: list[Any] = []
    while messages and messages[0].get("role") == "system":
        leading.append(messages.pop(0).get("content"))
    return leading, messages


def _cited(messages: list[Json]) -> list[Json]:
    """Switch citations on in every document that stands in a message: all or none may have them."""
    return [
        {**message, "content": [_switched(block) for block in message["content"]]}
        if isinstance(message.get("content"), list)
        else message
        for message in messages
    ]


def _switched(block: Any) -> Any:
    if isinstance(block, dict) and block.get("type") in CITABLE:
        return {**block, "citations": {"enabled": True}}
    return block


def _system(parts: list[Any], request: Request) -> Any:
    """Join system texts; as blocks where one of them is blocks, which may carry cache marks."""
    parts = [part for part in (*parts, instruction(request)) if part]
    if all(isinstance(part, str) for part in parts):
        return joined(*parts)
    blocks: list[Any] = []
    for part in parts:
        blocks += [{"type": "text", "text": part}] if isinstance(part, str) else part
    return blocks


def _content(request: Request) -> Any:
    if not request.attachments:
        return request.prompt
    blocks = [_block(attachment, request.citations) for attachment in request.attachments]
    if "documents" in request.caching:
        blocks = _marked_last(blocks)
    return [*blocks, {"type": "text", "text": request.prompt}]


def _marked_text(system: Any) -> list[Json]:
    """Return a system prompt with a mark behind it, which only blocks can carry."""
    return _marked_last([{"type": "text", "text": system}] if isinstance(system, str) else system)


def _marked_last(blocks: list[Json]) -> list[Json]:
    """Ask for all that stands before and in the last of the blocks to be cached for an hour."""
    return [*blocks[:-1], {**blocks[-1], "cache_control": {"type": "ephemeral", "ttl": "1h"}}]


def _block(attachment: Attachment, citations: bool) -> Json:
    document = attachment.document
    if document.kind == "image":
        return {"type": "image", "source": _source(attachment)}
    if document.kind == "text":
        text = {"type": "text", "media_type": "text/plain", "data": plain_text(attachment)}
        made: Json = {"type": "document", "source": text}
    else:
        made = {"type": "document", "source": _source(attachment)}
    made["title"] = document.name[:_TITLE]
    if citations:
        made["citations"] = {"enabled": True}
    return made


def _source(attachment: Attachment) -> Json:
    if attachment.ref is not None:
        return {"type": "file", "file_id": attachment.ref}
    media_type = attachment.document.media_type
    return {"type": "base64", "media_type": media_type, "data": base64_text(attachment)}
