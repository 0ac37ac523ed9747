"""What a job of the draft would send, and how many input tokens that likely is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from batchkit import documents, pricing, requests, tokens
from batchkit.errors import DocumentChanged, DocumentGone
from batchkit.model import Attachment, Json, Request
from batchkit.store import JobRow
from batchkit.weighing import Dialect

_COUNTED = 50_000
"""Characters of a text that are counted; the rest is taken to be like them."""


def request_of(template: Json, job: JobRow) -> Request:
    """Return a job's request; a file that is not text stands in it without its bytes."""
    files = [_attachment(one) for one in requests.documents_of(job.documents)]
    return requests.assemble(template, job.own, files)


def _attachment(document: Any) -> Attachment:
    """Read a text; of a PDF or an image its figures say enough, as they do of what is gone."""
    if document.kind != "text":
        return Attachment(document, b"")
    try:
        return documents.load(document)
    except (DocumentGone, DocumentChanged):
        return Attachment(document, b"")


def expected_tokens(request: Request, dialect: Dialect) -> int:
    """Estimate a request's input tokens: its texts counted, the rest by its size."""
    measured = pricing.measure(request)
    counted = sum(_expected_of(text, request.model) for text in measured.texts)
    rest = replace(measured.size, text_bytes=measured.text_bytes)
    return counted + tokens.expected_tokens(rest, request.model, dialect)


def _expected_of(text: str, model: str) -> int:
    head = text[:_COUNTED]
    counted = tokens.count_expected(head, model)
    return counted if len(text) <= _COUNTED else round(counted * len(text) / _COUNTED)
