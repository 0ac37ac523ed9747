"""What is sent to OpenAI's two APIs: request bodies and input lines. Pure."""

from __future__ import annotations

from collections.abc import Mapping
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


def line(custom_id: str, endpoint: str, body: Json) -> bytes:
    """Return one line of a batch's input file, without a line end."""
    return as_line({"custom_id": custom_id, "method": "POST", "url": endpoint, "body": body})


def responses_body(request: Request) -> Json:
    """Return the body for ``/v1/responses``."""
    params = dict(request.params)
    body: Json = {"model": request.model, "max_output_tokens": request.max_tokens}
    system = joined(request.system, params.pop("instructions", None), instruction(request))
    if system:
        body["instructions"] = system
    body["input"] = _responses_input(request)
    if schema := strict(request):
        shape = {"type": "json_schema", **_shape(schema)}
        body["text"] = {**mapping(params.pop("text", None)), "format": shape}
    return {**body, **params, **request.extra_body}


def chat_body(request: Request, *, modern: bool) -> Json:
    """Return the body for ``/v1/chat/completions``.

    ``modern`` servers and models know ``max_completion_tokens``, the rest only ``max_tokens``.
    """
    body: Json = {"model": request.model}
    if not request.params.keys() & {"max_tokens", "max_completion_tokens"}:
        body["max_completion_tokens" if modern else "max_tokens"] = request.max_tokens
    body["messages"] = _chat_messages(request)
    body.update(request.params)
    if schema := strict(request):
        body["response_format"] = {"type": "json_schema", "json_schema": _shape(schema)}
    return {**body, **request.extra_body}


def _responses_input(request: Request) -> Any:
    if request.messages is not None:
        return list(request.messages)
    if not request.attachments:
        return request.prompt
    parts = [_responses_part(attachment) for attachment in request.attachments]
    parts.append({"type": "input_text", "text": request.prompt})
    return [{"role": "user", "content": parts}]


def _responses_part(attachment: Attachment) -> Json:
    document = attachment.document
    if document.kind == "text":
        return {"type": "input_text", "text": titled_text(attachment)}
    if document.kind == "image":
        named = {"file_id": attachment.ref} if attachment.ref else None
        shown = named or {"image_url": _data_url(attachment)}
        return {"type": "input_image", **shown, "detail": "auto"}
    if attachment.ref is not None:
        return {"type": "input_file", "file_id": attachment.ref}
    return {"type": "input_file", "filename": document.name, "file_data": _data_url(attachment)}


def _chat_messages(request: Request) -> list[Json]:
    system = joined(request.system, instruction(request))
    first = [{"role": "system", "content": system}] if system else []
    if request.messages is not None:
        return [*first, *request.messages]
    if not request.attachments:
        return [*first, {"role": "user", "content": request.prompt}]
    parts = [_chat_part(attachment) for attachment in request.attachments]
    parts.append({"type": "text", "text": request.prompt})
    return [*first, {"role": "user", "content": parts}]


def _chat_part(attachment: Attachment) -> Json:
    document = attachment.document
    if document.kind == "text":
        return {"type": "text", "text": titled_text(attachment)}
    if document.kind == "image":
        return {"type": "image_url", "image_url": {"url": _data_url(attachment)}}
    if attachment.ref is not None:
        return {"type": "file", "file": {"file_id": attachment.ref}}
    file = {"filename": document.name, "file_data": _data_url(attachment)}
    return {"type": "file", "file": file}


def titled_text(attachment: Attachment) -> str:
    """Return a text document under a header that names it."""
    name = attachment.document.name
    return f"Document: {name}\n\n{plain_text(attachment)}\n\nEnd of document: {name}"


def _shape(schema: Mapping[str, Any]) -> Json:
    return {"name": schema["name"], "schema": schema["wire"], "strict": True}


def _data_url(attachment: Attachment) -> str:
    return f"data:{attachment.document.media_type};base64,{base64_text(attachment)}"
