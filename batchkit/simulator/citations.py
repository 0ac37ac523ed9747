"""Anthropic's citations: text blocks whose `cited_text` really stands in the document."""

from __future__ import annotations

import re
from typing import Any

from batchkit.simulator.cited_json import blocks_of
from batchkit.simulator.prompt import Document, Prompt, output_tokens
from batchkit.simulator.source import Source
from batchkit.simulator.wire import Json

_SENTENCE = re.compile(r"\S[^.!?\n]{10,400}[.!?]?")


def uncited_problem(prompt: Prompt, *, structured: bool) -> str | None:
    """Return why this combination of documents and output is refused, or None."""
    switches = {document.cited for document in prompt.documents}
    if len(switches) > 1:
        return "Citations must be enabled on all or none of the documents."
    if True in switches and structured:
        return "output_config.format: citations cannot be enabled together with structured outputs."
    return None


def cite(documents: list[Document], source: Source, limit: int) -> tuple[list[Json], bool]:
    """Return the answer's blocks, and whether they are all: they end where `limit` tokens do."""
    blocks: list[Json] = [
        {"type": "text", "text": "According to the documents, ", "citations": None}
    ]
    for document in documents:
        found = _citation(document, _index(document, documents), source)
        if found is not None:
            blocks.append(
                {"type": "text", "text": found["cited_text"].strip(), "citations": [found]}
            )
            blocks.append({"type": "text", "text": f" (ref {source.tag}). ", "citations": None})
    kept: list[Json] = []
    for block in blocks:
        limit -= output_tokens(block["text"])
        if limit < 0:
            return kept, False
        kept.append(block)
    return kept, True


def cite_json(value: Any, prompt: Prompt, *, astray: bool) -> list[Json]:
    """Return JSON as blocks: values that stand in a cited document carry a citation."""
    cited = [document for document in prompt.documents if document.cited]

    def locate(document: Document, part: int, match: re.Match[str]) -> Json:
        return _located(document, _index(document, prompt.documents), part, match)

    return blocks_of(value, cited, prompt.source, locate, astray=astray)


def _index(document: Document, documents: list[Document]) -> int:
    """Return a document's number; documents and search results are numbered apart."""
    alike = [d for d in documents if (d.kind == "search") == (document.kind == "search")]
    return next(i for i, d in enumerate(alike) if d is document)


def _citation(document: Document, index: int, source: Source) -> Json | None:
    part, match = _quote(document, source)
    return None if match is None else _located(document, index, part, match)


def _located(document: Document, index: int, part: int, match: re.Match[str]) -> Json:
    head = {
        "cited_text": match.group(),
        "document_index": index,
        "document_title": document.title,
        "file_id": document.file_id,
    }
    if document.kind == "text":
        span = {"start_char_index": match.start(), "end_char_index": match.end()}
        return {"type": "char_location", **head, **span}
    if document.kind == "pdf":
        span = {"start_page_number": part + 1, "end_page_number": part + 2}
        return {"type": "page_location", **head, **span}
    span = {"start_block_index": part, "end_block_index": part + 1}
    whole = document.parts[part]
    if document.kind == "content":
        return {"type": "content_block_location", **head, "cited_text": whole, **span}
    return {
        "type": "search_result_location",
        "cited_text": whole,
        "search_result_index": index,
        "source": document.source,
        "title": document.title,
        **span,
    }


def _quote(document: Document, source: Source) -> tuple[int, re.Match[str] | None]:
    """Return a sentence of the document and its part; the document's hash decides which."""
    start = source.pick("part", len(document.parts)) if document.parts else 0
    for offset in range(len(document.parts)):
        part = (start + offset) % len(document.parts)
        found = [
            m for _, m in zip(range(20), _SENTENCE.finditer(document.parts[part]), strict=False)
        ]
        if found:
            return part, found[source.pick("sentence", len(found))]
    return 0, None
