"""See before anything is sent what a provider would turn away, each with the way out."""

from __future__ import annotations

from collections.abc import Iterator
from difflib import get_close_matches

import orjson

from batchkit.model import Limits, Request, Traits

_OURS = {
    "input": "say it with prompt= or messages=",
    "messages": "say it with messages=",
    "model": "say it with model=",
}
_OVERHEAD = 4096


def problems(request: Request, traits: Traits, limits: Limits) -> list[str]:
    """Return what stands against a request, for every provider alike."""
    return [
        *_contents(request),
        *_parameters(request, traits),
        *_attachments(request, traits, limits),
        *_size(request, limits),
    ]


def files_too_large(request: Request, most: int) -> list[str]:
    """Return what stands against a request's files, pictures and PDFs, together."""
    size = sum(len(item.data) for item in request.attachments if item.document.kind != "text")
    if size <= most:
        return []
    return [f"The files of one request hold {size:,} bytes, OpenAI takes {most:,}."]


def _contents(request: Request) -> Iterator[str]:
    if not request.model.strip():
        yield "model is empty: say which one with model=."
    if request.max_tokens < 1:
        yield f"max_tokens is {request.max_tokens}: it must be at least 1."
    if request.messages is None:
        if not (request.prompt or "").strip():
            yield "The prompt is empty: say what to do with prompt=."
    elif not request.messages:
        yield "messages is empty: give at least one message with role and content."
    elif not all(isinstance(message, dict) and message.get("role") for message in request.messages):
        yield "Every message must be a mapping with role and content."


def _parameters(request: Request, traits: Traits) -> Iterator[str]:
    for name in request.params:
        if name in _OURS:
            yield f"{name} is not a parameter here: {_OURS[name]}."
        elif name in traits.refused:
            yield f"{name}: {traits.refused[name]}."
        elif name not in traits.parameters:
            near = get_close_matches(name, traits.parameters, n=1)
            hint = f"did you mean {near[0]}?" if near else "extra_body= passes it unchecked."
            yield f"{name} is no parameter of {traits.endpoint}: {hint}"


def _attachments(request: Request, traits: Traits, limits: Limits) -> Iterator[str]:
    for attachment in request.attachments:
        document = attachment.document
        if document.kind not in traits.kinds:
            yield f"{document.name}: {traits.endpoint} reads no {document.kind}."
        if not attachment.data:
            yield f"{document.name} is empty."
    if request.citations and not traits.citations:
        yield f"{traits.endpoint} gives no citations: leave enable_citations out or use Anthropic."


def _size(request: Request, limits: Limits) -> Iterator[str]:
    texts = [request.prompt, request.system, request.schema]
    given = [dict(request.params), dict(request.extra_body), list(request.messages or ())]
    try:
        size = len(orjson.dumps([*texts, *given]))
    except TypeError as error:
        yield f"The request cannot be written as JSON: {error}."
        return
    size += sum(_wire_bytes(a.document.kind, len(a.data)) for a in request.attachments) + _OVERHEAD
    if size > limits.request_bytes:
        yield (
            f"The request is about {size:,} bytes, {limits.request_bytes:,} are allowed: "
            "split the document or leave pages out."
        )


def _wire_bytes(kind: str, size: int) -> int:
    return size if kind == "text" else (size + 2) // 3 * 4
