"""What is sent: bodies and lines of all three APIs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
import pytest

from batchkit.errors import ValidationError
from batchkit.model import Request
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from batchkit.providers.splicing import CHUNK, Splice
from tests.providers.made import IMAGE, PDF, PLAIN, SCHEMA, TEXT, request


def responses(given: Request) -> Any:
    """The body that the Responses adapter encodes."""
    return orjson.loads(OpenAIResponses().encode(given, "t-1"))["body"]


def chat(given: Request, base_url: str | None = None) -> Any:
    """The body that the Chat adapter encodes."""
    return orjson.loads(OpenAIChat(base_url=base_url).encode(given, "t-1"))["body"]


def messages(given: Request) -> Any:
    """The parameters that Anthropic's adapter encodes."""
    return orjson.loads(Anthropic().encode(given, "t-1"))["params"]


def test_an_openai_line_is_what_the_batch_api_reads() -> None:
    """Custom id, method, url and body; no line end."""
    line = OpenAIResponses().encode(request(), "t-1")
    assert line == (
        b'{"custom_id":"t-1","method":"POST","url":"/v1/responses","body":'
        b'{"model":"gpt-6.1-sol","max_output_tokens":100,"input":"Hi"}}'
    )


def test_an_anthropic_line_is_one_element_of_requests() -> None:
    """Custom id and params; no line end."""
    line = Anthropic().encode(request(model="claude-sonnet-5-5"), "t-1")
    assert line == (
        b'{"custom_id":"t-1","params":{"model":"claude-sonnet-5-5","max_tokens":100,'
        b'"messages":[{"role":"user","content":"Hi"}]}}'
    )


def test_parameters_go_out_verbatim_and_extra_body_has_the_last_word() -> None:
    """Whatever a user set is in the body as it was set."""
    given = request(params={"tools": [{"x": 1}], "metadata": {"a": "b"}}, extra_body={"tools": []})
    for body in (responses(given), chat(given), messages(given)):
        assert body["metadata"] == {"a": "b"}
        assert body["tools"] == []


def test_system_is_said_in_each_api_s_own_way() -> None:
    """Instructions, a first message, a parameter."""
    given = request(system="Be brief.")
    assert responses(given)["instructions"] == "Be brief."
    assert chat(given)["messages"][0] == {"role": "system", "content": "Be brief."}
    assert messages(given)["system"] == "Be brief."


def test_messages_go_out_verbatim() -> None:
    """A user's own messages are not touched."""
    given = request(prompt=None, messages=[{"role": "user", "content": "x", "name": "y"}])
    assert responses(given)["input"] == given.messages
    assert chat(given)["messages"] == given.messages
    assert messages(given)["messages"] == given.messages


def test_anthropic_gets_leading_system_messages_as_its_parameter() -> None:
    """System roles in front move; what follows stays."""
    rest = [{"role": "user", "content": "x"}]
    given = request(prompt=None, system="A", messages=[{"role": "system", "content": "B"}, *rest])
    assert (messages(given)["system"], messages(given)["messages"]) == ("A\n\nB", rest)


def test_anthropic_keeps_system_blocks_with_their_cache_marks() -> None:
    """Where one part is blocks, all are."""
    block = {"type": "text", "text": "B", "cache_control": {"type": "ephemeral"}}
    given = request(system="A", params={"system": [block]})
    assert messages(given)["system"] == [{"type": "text", "text": "A"}, block]


HOUR = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}


def test_anthropic_is_asked_to_cache_behind_the_system_prompt_and_behind_the_documents() -> None:
    """The mark stands on the last block; the question behind it is not marked."""
    given = request(system="Be brief.", attachments=[TEXT, PDF], caching=("system", "documents"))
    body = messages(given)
    assert body["system"] == [{"type": "text", "text": "Be brief.", **HOUR}]
    first, last, question = body["messages"][0]["content"]
    assert ("cache_control" in first, last["cache_control"]) == (False, HOUR["cache_control"])
    assert question == {"type": "text", "text": "Hi"}
    assert "cache" not in str(responses(given)) + str(chat(given))


def test_anthropic_caches_behind_the_tools_where_there_is_no_system_prompt() -> None:
    """And leaves the tools that somebody gave as they are."""
    tools = [{"name": "a"}, {"name": "b"}]
    given = request(params={"tools": tools}, caching=("system",))
    assert messages(given)["tools"] == [{"name": "a"}, {"name": "b", **HOUR}]
    assert tools == [{"name": "a"}, {"name": "b"}]


def test_documents_come_before_the_prompt_for_responses() -> None:
    """Text under its name, a PDF as file_data, an image as a data URL."""
    parts = responses(request(attachments=[TEXT, PDF, IMAGE]))["input"][0]["content"]
    assert parts == [
        {"type": "input_text", "text": "Document: a.txt\n\nsome words\n\nEnd of document: a.txt"},
        {
            "type": "input_file",
            "filename": "b.pdf",
            "file_data": "data:application/pdf;base64,JVBERi0xLjcgeA==",
        },
        {"type": "input_image", "image_url": "data:image/png;base64,iVBORw==", "detail": "auto"},
        {"type": "input_text", "text": "Hi"},
    ]


def test_documents_come_before_the_prompt_for_chat() -> None:
    """Text under its name, a PDF as a file part, an image as image_url."""
    parts = chat(request(attachments=[TEXT, PDF, IMAGE]))["messages"][0]["content"]
    assert [part["type"] for part in parts] == ["text", "file", "image_url", "text"]
    assert parts[1]["file"]["filename"] == "b.pdf"
    assert parts[2]["image_url"]["url"].startswith("data:image/png;base64,")


@pytest.mark.parametrize("citations", [True, False])
def test_documents_come_before_the_prompt_for_anthropic(citations: bool) -> None:
    """Documents with their title, all of them citable or none; an image never is."""
    given = request(attachments=[TEXT, PDF, IMAGE], citations=citations)
    text, pdf, image, prompt = messages(given)["messages"][0]["content"]
    assert text["source"] == {"type": "text", "media_type": "text/plain", "data": "some words"}
    assert pdf["source"]["type"] == "base64"
    assert [text["title"], pdf["title"]] == ["a.txt", "b.pdf"]
    assert [("citations" in block) for block in (text, pdf, image)] == [citations, citations, False]
    assert prompt == {"type": "text", "text": "Hi"}


def test_a_strict_schema_is_the_provider_s_to_enforce() -> None:
    """In its current form, beside what a user set in the same parameter."""
    shape = {"name": "Invoice", "schema": {"type": "object"}, "strict": True}
    given = request(schema=SCHEMA, params={"text": {"verbosity": "low"}})
    assert responses(given)["text"] == {
        "verbosity": "low",
        "format": {"type": "json_schema", **shape},
    }
    body = chat(request(schema=SCHEMA))
    assert body["response_format"] == {"type": "json_schema", "json_schema": shape}
    given = request(schema=SCHEMA, params={"output_config": {"effort": "low"}})
    assert messages(given)["output_config"] == {
        "effort": "low",
        "format": {"type": "json_schema", "schema": {"type": "object"}},
    }


def test_a_plain_schema_is_asked_for_in_words() -> None:
    """Behind the system prompt; nothing is enforced."""
    given = request(schema=PLAIN, system="Be brief.")
    wanted = "Be brief.\n\nAnswer in JSON."
    assert responses(given)["instructions"] == wanted
    assert chat(given)["messages"][0]["content"] == wanted
    assert messages(given)["system"] == wanted
    assert "text" not in responses(given)
    assert "response_format" not in chat(given)
    assert "output_config" not in messages(given)


@pytest.mark.parametrize(
    ("model", "base_url", "name"),
    [
        ("gpt-4o-mini", None, "max_completion_tokens"),
        ("gpt-4o-mini", "https://api.openai.com/v1/", "max_completion_tokens"),
        ("llama-4", "http://127.0.0.1:1/v1", "max_tokens"),
        ("gpt-6-luna", "http://127.0.0.1:1/v1", "max_completion_tokens"),
        ("o4-mini", "http://127.0.0.1:1/v1", "max_completion_tokens"),
    ],
)
def test_chat_says_max_tokens_as_the_server_knows_it(
    model: str, base_url: str | None, name: str
) -> None:
    """OpenAI and its newer models under the new name, other servers under the old one."""
    body = chat(request(model=model), base_url)
    assert {key for key in body if key.startswith("max_")} == {name}


def test_a_limit_set_under_the_api_s_own_name_stands_alone() -> None:
    """The default goes where the user said it in the API's words."""
    body = chat(request(params={"max_completion_tokens": 7}), "http://127.0.0.1:1/v1")
    assert (body.get("max_tokens"), body["max_completion_tokens"]) == (None, 7)


def test_what_is_no_json_is_refused_in_words() -> None:
    """A value that JSON does not know is a ValidationError, nothing else."""
    with pytest.raises(ValidationError, match="JSON"):
        OpenAIResponses().encode(request(params={"metadata": {"a": object()}}), "t-1")


@pytest.mark.parametrize("end", [b"\n", b""])
@pytest.mark.parametrize("length", [1, CHUNK - 2, CHUNK - 1, CHUNK, CHUNK + 1])
def test_a_splice_is_one_json_array_of_known_length(
    tmp_path: Path, end: bytes, length: int
) -> None:
    """Also when a line ends where a chunk does; and it can be read twice."""
    lines = [orjson.dumps("x" * length), orjson.dumps("a,b\nc")]
    path = tmp_path / "lines"
    path.write_bytes(b"\n".join(lines) + end)
    splice = Splice(path, b'{"requests":[', b"]}")
    for _ in range(2):
        data = b"".join(splice)
        assert len(data) == len(splice)
        assert orjson.loads(data) == {"requests": ["x" * length, "a,b\nc"]}
