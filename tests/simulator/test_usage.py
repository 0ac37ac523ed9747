"""The stated rule of tokens, and the schemas that strict modes refuse."""

from __future__ import annotations

import base64
import math
import struct
from typing import Any

import anthropic
import openai
import pytest
from pydantic import BaseModel, Field

from batchkit.simulator.prompt import scaled
from tests.simulator.talking import CLAUDE, MODEL, document, response_body, results, submit


def _pdf(pages: int) -> bytes:
    kids = " ".join(f"{3 + 2 * i} 0 R" for i in range(pages))
    objects = [
        "<< /Type /Catalog /Pages 2 0 R >>",
        f"<< /Type /Pages /Kids [{kids}] /Count {pages} >>",
    ]
    for i in range(pages):
        text = f"BT /F1 12 Tf 72 700 Td (The sum on page {i + 1} is {100 + i} dollars.) Tj ET"
        font = "<< /F1 << /Type /Font /Subtype /Type1 /BaseFont /Helvetica >> >>"
        objects.append(
            f"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 612 792] /Contents {4 + 2 * i} 0 R "
            f"/Resources << /Font {font} >> >>"
        )
        objects.append(f"<< /Length {len(text)} >>\nstream\n{text}\nendstream")
    body, places = b"%PDF-1.4\n", []
    for number, one in enumerate(objects, start=1):
        places.append(len(body))
        body += f"{number} 0 obj\n{one}\nendobj\n".encode()
    table = "".join(f"{place:010d} 00000 n \n" for place in places)
    head = f"xref\n0 {len(objects) + 1}\n0000000000 65535 f \n{table}"
    tail = f"trailer\n<< /Size {len(objects) + 1} /Root 1 0 R >>\nstartxref\n{len(body)}\n%%EOF"
    return body + (head + tail).encode()


def test_text_counts_a_quarter_of_its_bytes(oai, ant):
    """Plus 4 a message and 8 a request; newer Claude models 1.3 times as many."""
    text = "Häuser " * 50
    size = len(text.encode())
    assert oai.responses.create(model=MODEL, input=text).usage.input_tokens == (
        math.ceil(size / 4) + 12
    )
    for model, factor in (("claude-sonnet-4-5", 10), (CLAUDE, 13)):
        usage = ant.messages.count_tokens(model=model, messages=[{"role": "user", "content": text}])
        assert usage.input_tokens == math.ceil((math.ceil(size / 4) + 12) * factor / 10)


@pytest.mark.parametrize(
    ("model", "tokens"),
    [
        ("claude-haiku-4-5", 10),
        ("claude-opus-4-6-20260101", 10),
        ("claude-opus-4-7", 13),
        ("claude-opus-4-8", 13),
        ("claude-sonnet-5", 13),
        ("claude-fable-5-2", 13),
        ("claude-3-5-haiku", 10),
        ("claude-sonnet-4-20250514", 10),
        ("gpt-6-luna", 10),
    ],
)
def test_models_from_claude_4_7_on_count_more(model, tokens):
    """Dates in names are no versions."""
    assert scaled(10, model) == tokens


def test_pdfs_cost_their_pages_and_their_text(oai, ant):
    """1,600 a page with Anthropic, 1,445 with OpenAI, and their text is read."""
    data = base64.b64encode(_pdf(3)).decode()
    source = {"type": "base64", "media_type": "application/pdf", "data": data}
    block = {"type": "document", "source": source, "citations": {"enabled": True}}
    message = ant.messages.create(
        model=CLAUDE, max_tokens=200, messages=[{"role": "user", "content": [block]}]
    )
    assert 3 * 1_600 < message.usage.input_tokens < 3 * 1_600 + 100
    citation = next(part.citations[0] for part in message.content if part.citations)
    page = citation.start_page_number
    assert citation.cited_text.strip() == f"The sum on page {page} is {99 + page} dollars."
    assert citation.end_page_number == page + 1
    part = {
        "type": "input_file",
        "filename": "a.pdf",
        "file_data": f"data:application/pdf;base64,{data}",
    }
    usage = oai.responses.create(model=MODEL, input=[{"role": "user", "content": [part]}]).usage
    assert 3 * 1_445 < usage.input_tokens < 3 * 1_445 + 100


def _png(width: int, height: int) -> str:
    head = (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + b"IHDR" + struct.pack(">II", width, height)
    )
    return base64.b64encode(head + b"\x08\x02\x00\x00\x00").decode()


def test_images_cost_by_their_size(oai, ant):
    """Anthropic w·h/750 up to 1,600; OpenAI by tiles of 512 up to 1,445."""
    for width, height, claude, gpt in ((300, 300, 120, 255), (4_000, 3_000, 1_600, 1_445)):
        source = {"type": "base64", "media_type": "image/png", "data": _png(width, height)}
        block = [{"type": "image", "source": source}]
        counted = ant.messages.count_tokens(
            model=CLAUDE, messages=[{"role": "user", "content": block}]
        )
        assert counted.input_tokens == claude + 16
        part = {
            "type": "input_image",
            "detail": "auto",
            "image_url": f"data:image/png;base64,{_png(width, height)}",
        }
        counted = oai.responses.input_tokens.count(
            model=MODEL, input=[{"role": "user", "content": [part]}]
        )
        assert counted.input_tokens == gpt + 12


def test_uploaded_files_are_read(sim, oai):
    """`input_file` by id, of purpose user_data."""
    file = oai.files.create(file=("d.txt", b"Name: uploaded\nVersion: 9"), purpose="user_data")
    batch = submit(
        oai,
        [
            response_body(
                [{"role": "user", "content": [{"type": "input_file", "file_id": file.id}]}]
            )
        ],
    )
    sim.advance(3_600)
    text = results(oai, batch.id)["r0"]["response"]["body"]["output"][0]["content"][0]["text"]
    assert '"uploaded"' in text


class Inner(BaseModel):
    x: int


class Bounded(BaseModel):
    n: int = Field(ge=1, le=5)


def _strict(**more: Any) -> dict[str, Any]:
    return {
        "type": "object",
        "properties": {"a": {"type": "string"}},
        "required": ["a"],
        "additionalProperties": False,
        **more,
    }


@pytest.mark.parametrize(
    ("schema", "openai_takes", "anthropic_takes"),
    [
        (_strict(), True, True),
        (_strict(required=[]), False, True),
        (_strict(additionalProperties=True), False, False),
        (_strict(properties={"a": {"type": "string", "default": "x"}}), False, True),
        (_strict(properties={"a": {"type": "integer", "minimum": 1}}), True, False),
        (_strict(properties={"a": {"type": "string", "maxLength": 5}}), False, False),
        (_strict(properties={"a": {"oneOf": [{"type": "string"}]}}), False, False),
        (
            _strict(
                properties={"a": {"type": "array", "items": {"type": "string"}, "minItems": 1}}
            ),
            True,
            True,
        ),
        (
            _strict(
                properties={"a": {"type": "array", "items": {"type": "string"}, "minItems": 2}}
            ),
            True,
            False,
        ),
        (_strict(properties={"a": {"anyOf": [{"$ref": "#"}, {"type": "null"}]}}), True, False),
        ({"type": "array", "items": {"type": "string"}}, False, True),
        (
            _strict(
                properties={"a": {"type": "object", "additionalProperties": {"type": "string"}}}
            ),
            False,
            False,
        ),
        (_strict(properties={"a": {}}), False, True),
        (
            _strict(
                properties={"default": {"type": "string"}, "a": {"type": "string"}},
                required=["a", "default"],
            ),
            True,
            True,
        ),
        (_strict(properties={"a": {"type": "string", "format": "ipv7"}}), False, False),
        (_strict(properties={"a": {"type": "string", "format": "uri"}}), False, True),
        (_strict(properties={"a": {"type": "string", "pattern": "^(?=a)"}}), False, False),
        (_strict(properties={"a": {"type": "array"}}), False, True),
        (
            _strict(properties={"a": {"$ref": "#", "description": "itself"}}),
            False,
            False,
        ),
        (_strict(properties={"a": {"$ref": "#/$defs/Gone"}}), False, True),
        (_strict(properties={"a": {"enum": [f"e{at}" for at in range(1_001)]}}), False, True),
        (
            _strict(
                properties={
                    f"a{at}": {"anyOf": [{"type": "string"}, {"type": "null"}]} for at in range(17)
                },
                required=[f"a{at}" for at in range(17)],
            ),
            True,
            False,
        ),
        (Inner.model_json_schema(), False, False),
        (Bounded.model_json_schema(), False, False),
    ],
)
def test_strict_modes_refuse_what_they_refuse(oai, ant, schema, openai_takes, anthropic_takes):
    """A 400 in real time, by the rules of provider-facts 4.2."""
    form: Any = {"format": {"type": "json_schema", "name": "x", "schema": schema, "strict": True}}
    claude = {"format": {"type": "json_schema", "schema": schema}}
    message: Any = [{"role": "user", "content": document(1)}]
    for takes, ask, refusal in (
        (
            openai_takes,
            lambda: oai.responses.create(model=MODEL, input="x", text=form),
            openai.BadRequestError,
        ),
        (
            anthropic_takes,
            lambda: ant.messages.create(
                model=CLAUDE, max_tokens=500, messages=message, output_config=claude
            ),
            anthropic.BadRequestError,
        ),
    ):
        if takes:
            assert ask()
        else:
            with pytest.raises(refusal):
                ask()


def test_a_schema_that_is_refused_errors_its_lines_only(sim, oai):
    """In a batch each line fails by itself, with code invalid_json_schema."""
    bad = response_body("x")
    bad["text"]["format"] = {**bad["text"]["format"], "schema": Inner.model_json_schema()}
    batch = submit(oai, [bad, response_body("y")])
    sim.advance(3_600)
    found = results(oai, batch.id)
    assert found["r0"]["response"]["body"]["error"]["code"] == "invalid_json_schema"
    assert found["r1"]["response"]["status_code"] == 200


def test_a_misspelt_parameter_is_refused(oai, ant):
    """Both providers say which one."""
    with pytest.raises(openai.BadRequestError, match="max_outptu_tokens"):
        oai.responses.create(model=MODEL, input="x", extra_body={"max_outptu_tokens": 5})
    message: Any = [{"role": "user", "content": "x"}]
    with pytest.raises(anthropic.BadRequestError, match="output_format: Extra inputs"):
        ant.messages.create(
            model=CLAUDE, max_tokens=5, messages=message, extra_body={"output_format": {}}
        )


def test_pdfs_are_read_with_and_without_pdfium(monkeypatch):
    """In a child process where it is installed, else roughly; the pages are the same."""
    from batchkit.simulator import pdf

    data = _pdf(4)
    rough = pdf._roughly(data)
    assert [text.strip() for text in pdf.pages_of(data)] == [text.strip() for text in rough]
    assert len(rough) == 4
    assert pdf.pages_of(b"%PDF-1.4 broken") == ("",)
