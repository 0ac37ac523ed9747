"""Requests, spools and rows that the provider tests share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any, Literal

import orjson

from batchkit.model import Attachment, Document, Download, Request, Spool
from batchkit.providers import Provider

KEY = "sk-test-a1b2c3d4e5f6g7h8"
SCHEMA = {"name": "Invoice", "wire": {"type": "object"}, "mode": "strict"}
PLAIN = {"name": "Invoice", "wire": {}, "mode": "plain", "instruction": "Answer in JSON."}

Kind = Literal["text", "pdf", "image"]


def request(**changes: Any) -> Request:
    """Return a plain request."""
    return Request(**{"model": "gpt-6.1-sol", "max_tokens": 100, "prompt": "Hi", **changes})


def attachment(name: str, kind: Kind, media_type: str, data: bytes) -> Attachment:
    """Return a document with its bytes."""
    digest = hashlib.sha256(data).hexdigest()
    return Attachment(Document(name, name, media_type, kind, len(data), digest), data)


TEXT = attachment("a.txt", "text", "text/plain", b"\xef\xbb\xbfsome words")
PDF = attachment("b.pdf", "pdf", "application/pdf", b"%PDF-1.7 x")
IMAGE = attachment("c.png", "image", "image/png", b"\x89PNG")


def spool(provider: Provider, folder: Path, count: int = 2, token: str = "tok1") -> Spool:
    """Write a spool of as many lines as a submitter would."""
    given = request(model="claude-sonnet-5-5" if provider.name == "anthropic" else "gpt-6.1-sol")
    lines = [provider.encode(given, f"{token}-{n}") for n in range(count)]
    data = b"".join(line + b"\n" for line in lines)
    path = folder / f"{token}.jsonl"
    path.write_bytes(data)
    return Spool(
        path=path,
        token=token,
        count=count,
        bytes=len(data),
        sha256=hashlib.sha256(data).hexdigest(),
        model=given.model,
        endpoint=provider.traits.endpoint,
    )


def download(folder: Path, data: bytes | list[Any]) -> Download:
    """Write rows as a result file."""
    path = folder / "rows.jsonl"
    if isinstance(data, list):
        data = b"".join(orjson.dumps(row) + b"\n" for row in data)
    path.write_bytes(data)
    return Download((path,))
