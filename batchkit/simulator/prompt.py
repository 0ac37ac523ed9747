"""A request's body as what a model would read, in either dialect, and its size in tokens.

Usage follows from the input by one rule, so that a test can predict it:

* text: `ceil(UTF-8 bytes / 4)` over all text (system, messages, documents, tools, the schema),
  plus 4 a message and 8 a request; for Claude 4.7 and later times 1.3, rounded up;
* PDF: its text as text, plus 1,600 a page (Anthropic) or 1,445 a page (OpenAI) for the image;
* images: Anthropic `ceil(w * h / 750)`, at most 1,600; OpenAI 85 + 170 for each tile of 512,
  at most 1,445; an image whose size cannot be read counts as the most;
* output: `ceil(UTF-8 bytes of the answer / 4)`, never more than the maximum, plus reasoning.
"""

from __future__ import annotations

import base64
import binascii
import math
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Literal

import orjson

from batchkit.simulator.pdf import pages_of
from batchkit.simulator.source import Source
from batchkit.simulator.wire import Json

Kind = Literal["text", "pdf", "content", "search"]
Fetch = Callable[[str], tuple[bytes, str, str]]
"""`file id -> (content, media type, name)`; raises `Unfit` if there is no such file."""

PAGE_TOKENS = {"anthropic": 1_600, "openai": 1_445}
IMAGE_TOKENS = {"anthropic": 1_600, "openai": 1_445}
_CLAUDE = re.compile(r"^claude-[a-z]+-(\d+)(?:-(\d{1,2})(?!\d))?")


class Unfit(Exception):
    """What is wrong with a body, in the provider's words, with the parameter and a code."""

    def __init__(
        self, message: str, param: str | None = None, code: str | None = None, status: int = 400
    ) -> None:
        super().__init__(message)
        self.message, self.param, self.code, self.status = message, param, code, status


@dataclass(slots=True)
class Document:
    """One document of a request; `parts` are pages of a PDF or blocks of custom content."""

    kind: Kind
    parts: tuple[str, ...]
    title: str | None = None
    cited: bool = False
    file_id: str | None = None
    source: str | None = None

    @property
    def text(self) -> str:
        """All of it."""
        return "\n".join(self.parts)


@dataclass(slots=True)
class Prompt:
    """What was said to the model: `framing` by the system, `said` by the user."""

    dialect: Literal["openai", "anthropic"]
    fetch: Fetch
    framing: list[str] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    documents: list[Document] = field(default_factory=list)
    messages: int = 0
    extra_tokens: int = 0
    size: int = 0
    cached: list[tuple[int, str, str]] = field(default_factory=list)
    _source: Source | None = None

    @property
    def text(self) -> str:
        """What answers are taken from: the documents, then the user's words, else the system's."""
        if not self.documents:
            return "\n".join(self.said or self.framing)
        return "\n".join([*(d.text for d in self.documents), *self.said])

    @property
    def source(self) -> Source:
        """The text as something to take values from; read when it is first asked for."""
        if self._source is None:
            self._source = Source(self.text)
        return self._source

    def hear(self, text: str, *, framing: bool = False) -> None:
        """Count `text` and keep it."""
        self.size += len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
        (self.framing if framing else self.said).append(text)

    def weigh(self, value: Any) -> None:
        """Count `value`'s JSON, for tools and schemas."""
        self.size += len(orjson.dumps(value))

    def show(self, document: Document) -> None:
        """Count a document and keep it."""
        self.documents.append(document)
        self.size += sum(len(part.encode("utf-8", "surrogatepass")) for part in document.parts)
        if document.kind == "pdf":
            self.extra_tokens += PAGE_TOKENS[self.dialect] * len(document.parts)

    def tokens(self, model: str) -> int:
        """Return the input tokens for `model`, cached ones included."""
        return scaled(math.ceil(self.size / 4) + 4 * self.messages + 8, model) + self.extra_tokens


def scaled(tokens: int, model: str) -> int:
    """Return what `tokens` are to the newer Claude tokenizers: 1.3 times as many from 4.7 on."""
    match = _CLAUDE.match(model)
    if match and (int(match[1]), int(match[2] or 0)) >= (4, 7):
        return -(-tokens * 13 // 10)
    return tokens


def output_tokens(text: str) -> int:
    """Return the tokens of an answer."""
    size = len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))
    return -(-size // 4)


def read_openai(body: Json, fetch: Fetch) -> Prompt:
    """Read a Responses or Chat Completions body; raise `Unfit` for what the API refuses."""
    prompt = Prompt("openai", fetch)
    if isinstance(body.get("instructions"), str):
        prompt.hear(body["instructions"], framing=True)
        prompt.messages += 1
    param = "messages" if "messages" in body else "input"
    items = body.get(param) or []
    if isinstance(items, str):
        items = [{"role": "user", "content": items}]
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise Unfit(f"Invalid type for '{param}'.", param=param, code="invalid_type")
    for item in items:
        _hear_openai(prompt, item)
    for tool in body.get("tools") or ():
        prompt.weigh(tool)
    form = body.get("response_format") or (body.get("text") or {}).get("format")
    if form:
        prompt.weigh(form)
    return prompt


def _hear_openai(prompt: Prompt, item: Json) -> None:
    prompt.messages += 1
    framing = item.get("role") in ("system", "developer", "assistant")
    content = item.get("content") or item.get("output") or ()
    if isinstance(content, str):
        prompt.hear(content, framing=framing)
        return
    for part in content:
        kind = part.get("type")
        if kind in ("text", "input_text", "output_text"):
            prompt.hear(str(part.get("text", "")), framing=framing)
        elif kind in ("input_image", "image_url"):
            prompt.extra_tokens += _openai_image(prompt, part)
        elif kind in ("input_file", "file"):
            _openai_file(prompt, part.get("file", part) if kind == "file" else part)
        else:
            raise Unfit(f"Invalid value: '{kind}'.", param="input", code="invalid_value")


def _openai_file(prompt: Prompt, part: Json) -> None:
    if part.get("file_id"):
        data, media, name = prompt.fetch(str(part["file_id"]))
    elif part.get("file_data"):
        media, data = _data_url(str(part["file_data"]))
        name = str(part.get("filename", ""))
    else:
        return
    prompt.show(_document(data, media, name or None))


def _openai_image(prompt: Prompt, part: Json) -> int:
    url = part.get("image_url")
    url = url.get("url", "") if isinstance(url, dict) else url
    if part.get("file_id"):
        data = prompt.fetch(str(part["file_id"]))[0]
    elif isinstance(url, str) and url.startswith("data:"):
        data = _data_url(url)[1]
    else:
        return IMAGE_TOKENS["openai"]
    width, height = image_size(data) or (2_048, 2_048)
    return min(85 + 170 * math.ceil(width / 512) * math.ceil(height / 512), IMAGE_TOKENS["openai"])


def _data_url(url: str) -> tuple[str, bytes]:
    if not url.startswith("data:"):
        return "application/pdf", unbase64(url)
    head, _, data = url.partition(",")
    media = head.removeprefix("data:").split(";")[0] or "text/plain"
    return media, unbase64(data)


def unbase64(text: str) -> bytes:
    """Decode base64; raise `Unfit` if it is not."""
    try:
        return base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as exc:
        raise Unfit("Invalid base64 data") from exc


def _document(data: bytes, media: str, name: str | None) -> Document:
    if data.startswith(b"%PDF-") or media == "application/pdf":
        if not data.startswith(b"%PDF-"):
            raise Unfit("The PDF specified was not valid.")
        return Document("pdf", pages_of(data), name)
    return Document("text", (data.decode("utf-8", "replace"),), name)


def read_anthropic(params: Json, fetch: Fetch) -> Prompt:
    """Read a Messages body; raise `Unfit` for what the API refuses."""
    prompt = Prompt("anthropic", fetch)
    model = str(params.get("model", ""))
    for tool in params.get("tools") or ():
        prompt.weigh(tool)
        _note_cache(prompt, tool, model)
    _hear_blocks(prompt, params.get("system") or (), model, framing=True)
    for message in params.get("messages") or ():
        prompt.messages += 1
        _hear_blocks(
            prompt, message.get("content") or (), model, framing=message.get("role") != "user"
        )
    config = params.get("output_config") or {}
    if config.get("format"):
        prompt.weigh(config["format"])
    _note_cache(prompt, params, model)
    return prompt


def _hear_blocks(prompt: Prompt, blocks: Any, model: str, *, framing: bool) -> None:
    if isinstance(blocks, str):
        prompt.hear(blocks, framing=framing)
        return
    for block in blocks:
        kind = block.get("type")
        if kind == "text":
            prompt.hear(str(block.get("text", "")), framing=framing)
        elif kind == "document":
            prompt.show(_anthropic_document(prompt, block))
        elif kind == "image":
            prompt.extra_tokens += _anthropic_image(prompt, block.get("source") or {})
        elif kind == "search_result":
            prompt.show(_search_result(block))
        elif kind == "tool_result":
            _hear_blocks(prompt, block.get("content") or (), model, framing=framing)
        elif kind in ("tool_use", "thinking", "redacted_thinking"):
            prompt.weigh(block)
        else:
            raise Unfit(
                f"messages: Input tag '{kind}' found using 'type' does not match any expected tag"
            )
        _note_cache(prompt, block, model)


def _note_cache(prompt: Prompt, block: Json, model: str) -> None:
    control = block.get("cache_control")
    if control:
        so_far = "\x00".join([*prompt.framing, *prompt.said, *(d.text for d in prompt.documents)])
        prompt.cached.append((prompt.tokens(model), str(control.get("ttl", "5m")), so_far))


def _anthropic_document(prompt: Prompt, block: Json) -> Document:
    source = block.get("source") or {}
    title, cited = block.get("title"), bool((block.get("citations") or {}).get("enabled"))
    kind = source.get("type")
    if block.get("context"):
        prompt.size += len(str(block["context"]).encode())
    if kind == "text":
        return Document("text", (str(source.get("data", "")),), title, cited)
    if kind == "content":
        return Document("content", _content_parts(source.get("content") or ()), title, cited)
    if kind == "base64":
        made = _document(
            unbase64(str(source.get("data", ""))), str(source.get("media_type", "")), title
        )
    elif kind == "file":
        data, media, _ = prompt.fetch(str(source.get("file_id")))
        made = _document(data, media, title)
        made.file_id = str(source.get("file_id"))
    else:
        raise Unfit("Unable to download the file. Please verify the URL and try again.")
    made.cited = cited
    return made


def _content_parts(content: Any) -> tuple[str, ...]:
    if isinstance(content, str):
        return (content,)
    return tuple(str(part.get("text", "")) for part in content)


def _search_result(block: Json) -> Document:
    cited = bool((block.get("citations") or {}).get("enabled"))
    made = Document("search", _content_parts(block.get("content") or ()), block.get("title"), cited)
    made.source = block.get("source")
    return made


def _anthropic_image(prompt: Prompt, source: Json) -> int:
    if source.get("type") == "base64":
        data = unbase64(str(source.get("data", "")))
    elif source.get("type") == "file":
        data = prompt.fetch(str(source.get("file_id")))[0]
    else:
        return IMAGE_TOKENS["anthropic"]
    width, height = image_size(data) or (2_048, 2_048)
    return min(-(-width * height // 750), IMAGE_TOKENS["anthropic"])


def image_size(data: bytes) -> tuple[int, int] | None:
    """Return width and height of a PNG, GIF, JPEG or WebP, or None."""
    if data.startswith(b"\x89PNG"):
        return int.from_bytes(data[16:20], "big"), int.from_bytes(data[20:24], "big")
    if data.startswith(b"GIF8"):
        return int.from_bytes(data[6:8], "little"), int.from_bytes(data[8:10], "little")
    if data.startswith(b"RIFF") and data[12:16] == b"VP8X":
        return 1 + int.from_bytes(data[24:27], "little"), 1 + int.from_bytes(data[27:30], "little")
    return _jpeg_size(data) if data.startswith(b"\xff\xd8") else None


def _jpeg_size(data: bytes) -> tuple[int, int] | None:
    at = 2
    while at + 9 < len(data) and data[at] == 0xFF:
        if 0xC0 <= data[at + 1] <= 0xCF and data[at + 1] not in (0xC4, 0xC8, 0xCC):
            return int.from_bytes(data[at + 7 : at + 9], "big"), int.from_bytes(
                data[at + 5 : at + 7], "big"
            )
        at += 2 + int.from_bytes(data[at + 2 : at + 4], "big")
    return None
