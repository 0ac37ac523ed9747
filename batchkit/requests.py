"""What is asked: a job's stored parts put together into the request that a provider receives.

A *template* holds what many jobs share (model, parameters, schema, with files also the prompt);
*own* holds what only this job has. Only what a provider would receive is content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from batchkit.model import Attachment, Document, Json, Price, Request
from batchkit.schemas import AnswerSchema

CONTENT = (
    "provider",
    "model",
    "max_tokens",
    "system",
    "params",
    "extra_body",
    "citations",
    "prompt",
)
"""The parts of a template that a provider would receive, the schema aside; the rest is ours."""

_PER_FILE = 512


def digest(template: Mapping[str, Any], own: Mapping[str, Any], files: Sequence[str]) -> bytes:
    """Return the identity of a job's content: 16 bytes; ``files`` are sha256 in order."""
    written = _canonical([_content(template), dict(own), list(files)])
    return hashlib.sha256(written).digest()[:16]


class PromptDigest:
    """``digest`` of jobs that are a template and a prompt: what they share is hashed once."""

    def __init__(self, template: Mapping[str, Any]) -> None:
        self._shared = hashlib.sha256(b"[" + _canonical(_content(template)) + b',{"prompt":')

    def of(self, written: bytes) -> bytes:
        """Return the identity of a job with this prompt, given as JSON."""
        hashed = self._shared.copy()
        hashed.update(written + b"},[]]")
        return hashed.digest()[:16]


def _content(template: Mapping[str, Any]) -> Json:
    content = {name: template.get(name) for name in CONTENT if template.get(name) is not None}
    if template.get("schema") is not None:
        content["schema"] = template["schema"]["fingerprint"]
    return content


def template_digest(template: Mapping[str, Any]) -> bytes:
    """Return the identity of a template as a row: 16 bytes over all of it."""
    return hashlib.sha256(_canonical(dict(template))).digest()[:16]


def prepared(template: Mapping[str, Any]) -> Json:
    """Return a stored template ready for ``assemble``: with the schema's wire form worked out.

    Done once a template, not once a job.
    """
    schema = template.get("schema")
    if schema is None or "wire" in schema:
        return dict(template)
    return {**template, "schema": {**schema, "wire": AnswerSchema.from_dict(schema).wire}}


def assemble(
    template: Mapping[str, Any],
    own: Mapping[str, Any],
    attachments: Sequence[Attachment] = (),
    changes: Mapping[str, Any] | None = None,
) -> Request:
    """Put a request together; ``changes`` are what a retry sends differently.

    The template has been ``prepared``. Known changes: ``max_tokens``, and ``note``, which is told
    to the model after the prompt.
    """
    changed = changes or {}
    note = changed.get("note")
    prompt = own.get("prompt") or template.get("prompt")
    messages = own.get("messages")
    if note and messages is not None:
        messages = [*messages, {"role": "user", "content": note}]
    return Request(
        model=template["model"],
        max_tokens=int(changed.get("max_tokens") or template["max_tokens"]),
        prompt=f"{prompt}\n\n{note}" if note and prompt else prompt,
        messages=messages,
        system=template.get("system"),
        attachments=tuple(attachments),
        params=template.get("params") or {},
        extra_body=template.get("extra_body") or {},
        schema=template.get("schema"),
        citations=bool(template.get("citations")),
    )


def price_of(template: Mapping[str, Any]) -> Price | None:
    """Return the price a template carries; None if it is unknown."""
    stored: Json | None = template.get("price")
    return None if stored is None else Price(**stored)


def documents_of(stored: Sequence[Json] | None) -> list[Document]:
    """Return stored documents as values."""
    return [Document(**one) for one in stored or ()]


def identities(documents: Sequence[Document]) -> list[str]:
    """Return what tells documents apart: their hash, the pages where not all are sent, the part.

    What a converter makes of them is none of it: another version of it changes no job.
    """
    return [
        one.sha256
        + ("" if one.selection is None else f"#{one.selection}")
        + ("" if one.parts is None else f"@{one.part}/{one.parts}")
        for one in documents
    ]


def sent_bytes(document: Document) -> int:
    """Return how many bytes of a document go out, before they are written as JSON."""
    if document.kind == "text" and document.text_bytes is not None:
        return document.text_bytes
    return document.size if document.cut_bytes is None else document.cut_bytes


def line_bytes(document: Document) -> int:
    """Return an upper bound on what a document adds to its line: in base64, with what names it."""
    return -(-sent_bytes(document) * 4 // 3) + _PER_FILE


def stand_ins(documents: Sequence[Document]) -> list[Attachment]:
    """Return documents with zeros in place of their bytes, for checks that look at sizes alone."""
    return [Attachment(one, bytes(sent_bytes(one))) for one in documents]


def _canonical(value: Any) -> bytes:
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS, default=str)
