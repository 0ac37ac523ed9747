"""Documents through both providers: what stands on the wire."""

from __future__ import annotations

import base64
import json
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import ValidationError
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, go
from tests.unit.files import pdf, png

TEXTS = {
    "a.txt": "Plain words, naïve and 東京.",
    "a.md": "# Heading\n\nSome *markdown*.",
    "a.html": "<html><body><p>Hello page</p></body></html>",
    "a.csv": "name,amount\nAcme,3.50\n",
    "a.json": '{"supplier": "Acme", "total": 3.5}',
}
PROVIDERS = [(CLAUDE, None), (GPT, None), (GPT, "openai-chat")]


def wire(shop: Shop, model: str, provider: str | None, path: str, **options: Any) -> dict[str, Any]:
    batch = quiet(model, name="r")
    batch.add_job(file=path, prompt="Read it.", key="k", provider=provider, **options)
    run = go(batch)
    assert run.state == "completed", run.get_failed_jobs()
    (body,) = shop.bodies
    return body


def strings(value: Any) -> list[str]:
    if isinstance(value, dict):
        return [text for one in value.values() for text in strings(one)]
    if isinstance(value, list):
        return [text for one in value for text in strings(one)]
    return [value] if isinstance(value, str) else []


@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
@pytest.mark.parametrize("name", TEXTS)
def test_a_text_document_goes_out_as_text(
    shop: Shop, model: str, provider: str | None, name: str
) -> None:
    """`prompt` with optional `file`: what the provider receives is the document's text."""
    Path(name).write_text(TEXTS[name], encoding="utf-8")
    body = wire(shop, model, provider, name)

    words = "Hello page" if name == "a.html" else TEXTS[name].strip()
    assert any(words in text for text in strings(body)), body
    assert any("Read it." in text for text in strings(body))
    assert "base64" not in json.dumps(body)


@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
def test_a_pdf_goes_out_as_a_pdf(shop: Shop, model: str, provider: str | None) -> None:
    """Files by hash are content; the provider receives the bytes."""
    content = pdf("Title: x\nAmount: 3", "page two")
    Path("a.pdf").write_bytes(content)
    body = wire(shop, model, provider, "a.pdf", response_model=Note)
    coded = base64.b64encode(content).decode()

    assert any(text.endswith(coded) for text in strings(body))
    blocks = json.dumps(body)
    if model == CLAUDE:
        assert '"type": "document"' in blocks
        assert '"media_type": "application/pdf"' in blocks
    else:
        assert "data:application/pdf;base64," in blocks
        assert '"filename": "a.pdf"' in blocks
        assert ("input_file" if provider is None else '"type": "file"') in blocks


@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
def test_a_png_goes_out_as_an_image(shop: Shop, model: str, provider: str | None) -> None:
    """PNG, JPEG, GIF and WebP are sent as they are."""
    content = png(40, 30)
    Path("a.png").write_bytes(content)
    body = wire(shop, model, provider, "a.png")
    coded = base64.b64encode(content).decode()
    blocks = json.dumps(body)

    assert any(text.endswith(coded) for text in strings(body))
    if model == CLAUDE:
        assert '"media_type": "image/png"' in blocks
        assert '"type": "image"' in blocks
    else:
        assert "data:image/png;base64," in blocks
        assert ("input_image" if provider is None else "image_url") in blocks


@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
def test_the_schema_goes_out_in_each_apis_strict_form(
    shop: Shop, model: str, provider: str | None
) -> None:
    """Structured outputs in their current form."""
    Path("a.txt").write_text("Title: x\nAmount: 3")
    body = wire(shop, model, provider, "a.txt", response_model=Note)
    if model == CLAUDE:
        shape = body["output_config"]["format"]
        assert shape["type"] == "json_schema"
    elif provider:
        shape = body["response_format"]["json_schema"]
        assert body["response_format"]["type"] == "json_schema"
        assert shape["strict"] is True
    else:
        shape = body["text"]["format"]
        assert (shape["type"], shape["strict"]) == ("json_schema", True)
    assert shape["schema"]["additionalProperties"] is False
    assert set(shape["schema"]["required"]) == {"title", "amount"}


@pytest.mark.parametrize(
    ("name", "content"),
    [
        ("a.docx", b"PK\x03\x04" + b"word/document.xml" * 10),
        ("a.bin", bytes(range(256))),
        ("a.pdf", b"%PDF-1.4 and no more"),
        ("locked.pdf", pdf("x", encrypted=True)),
    ],
)
def test_what_cannot_be_sent_says_so_at_add_job(shop: Shop, name: str, content: bytes) -> None:
    """What is not there yet says so in a clear error at `add_job`, never a stub that pretends."""
    Path(name).write_bytes(content)
    batch = quiet(name="r")
    with pytest.raises(ValidationError, match=name) as said:
        batch.add_job(file=name, prompt="Read it.")
    assert len(str(said.value).splitlines()) == 1
    assert shop.nothing_sent()
