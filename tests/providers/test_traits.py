"""What the adapters say of their APIs, compared with the SDKs' own types; and what they refuse."""

from __future__ import annotations

import subprocess
import sys
import typing
from dataclasses import replace
from typing import Any

import pytest

from batchkit.model import Traits
from batchkit.providers import Provider, for_model, load
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from tests.providers.made import IMAGE, PDF, SCHEMA, TEXT, attachment, request

ADAPTERS: list[Provider] = [OpenAIResponses(), OpenAIChat(), Anthropic()]


def name_of(value: Any) -> str:
    """An id for a test: an adapter's name, a parameter as it stands."""
    return str(getattr(value, "name", value))


PAIRS = [(adapter, name) for adapter in ADAPTERS for name in adapter.traits.refused]


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
def test_parameters_are_those_of_the_sdk_s_request_type(adapter: Provider) -> None:
    """A name the SDK learns is a name we know."""
    from anthropic.types.message_create_params import MessageCreateParamsNonStreaming
    from openai.types.chat.completion_create_params import CompletionCreateParamsNonStreaming
    from openai.types.responses.response_create_params import ResponseCreateParamsNonStreaming

    typed: dict[str, Any] = {
        "openai": ResponseCreateParamsNonStreaming,
        "openai-chat": CompletionCreateParamsNonStreaming,
        "anthropic": MessageCreateParamsNonStreaming,
    }
    assert adapter.traits.parameters == set(typing.get_type_hints(typed[adapter.name]))


@pytest.mark.parametrize(("adapter", "name"), PAIRS, ids=name_of)
def test_what_a_batch_refuses_is_seen_before_it_is_sent(adapter: Provider, name: str) -> None:
    """Each with its reason."""
    (problem,) = adapter.check(request(params={name: 1}))
    assert problem == f"{name}: {adapter.traits.refused[name]}."


@pytest.mark.parametrize("name", ["temperature", "top_p", "top_k"])
def test_anthropic_s_version_of_today_knows_no_sampling(name: str) -> None:
    """The commonest mistake says what to do."""
    (problem,) = Anthropic().check(request(params={name: 0}))
    assert "2026-10-21" in problem
    assert "leave it out" in problem


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"prompt": " "}, "prompt is empty"),
        ({"prompt": None, "messages": []}, "messages is empty"),
        ({"prompt": None, "messages": [{"content": "x"}]}, "role and content"),
        ({"max_tokens": 0}, "at least 1"),
        ({"model": ""}, "model is empty"),
        ({"params": {"tool_choise": "auto"}}, "did you mean tool_choice?"),
        ({"params": {"messages": []}}, "say it with messages="),
        ({"params": {"metadata": {"a": object()}}}, "cannot be written as JSON"),
        ({"attachments": [replace(TEXT, data=b"")]}, "a.txt is empty"),
    ],
)
def test_a_request_that_cannot_work_is_told_why(
    adapter: Provider, changes: dict[str, Any], words: str
) -> None:
    """One line, with the way out."""
    assert any(words in problem for problem in adapter.check(request(**changes)))


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
def test_a_good_request_has_no_problems(adapter: Provider) -> None:
    """With documents and a schema."""
    given = request(attachments=[TEXT, PDF, IMAGE], schema=SCHEMA, extra_body={"stream": True})
    assert adapter.check(given) == []


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
def test_a_request_beyond_the_provider_s_size_is_seen(adapter: Provider) -> None:
    """Base64 counts."""
    large = attachment("d.pdf", "pdf", "application/pdf", bytes(60_000_000))
    assert any("bytes" in problem for problem in adapter.check(request(attachments=[large])))


def test_citations_are_anthropic_s_and_go_with_no_strict_schema() -> None:
    """Both are said before anything is sent."""
    asks = request(citations=True, attachments=[TEXT])
    plain = {**SCHEMA, "mode": "plain"}
    form = {"output_config": {"format": {"type": "json_schema", "schema": {}}}}
    assert OpenAIResponses().check(asks)
    assert Anthropic().check(asks) == []
    assert Anthropic().check(replace(asks, schema=plain)) == []
    for given in ({"schema": SCHEMA}, {"params": form}, {"extra_body": form}):
        assert "structured output" in Anthropic().check(replace(asks, **given))[0]


def test_what_cannot_be_cited_is_said() -> None:
    """An image has no words, nor has a message without documents."""
    said = {"role": "user", "content": "hello"}
    shown = {"role": "user", "content": [{"type": "document", "source": {}}]}
    mixed = request(citations=True, attachments=[IMAGE, PDF])
    assert Anthropic().check(mixed) == []
    assert "nothing to cite" in Anthropic().check(replace(mixed, attachments=[IMAGE]))[0]
    messages = replace(mixed, attachments=[], prompt=None)
    assert "nothing to cite" in Anthropic().check(replace(messages, messages=[said]))[0]
    assert Anthropic().check(replace(messages, messages=[said, shown])) == []


@pytest.mark.parametrize(
    ("model", "name"),
    [("gpt-6.1-sol", "openai"), ("o4-mini", "openai"), ("claude-sonnet-5-5", "anthropic")],
)
def test_a_model_is_served_by_its_maker(model: str, name: str) -> None:
    """By the entry points, as anybody's adapter would be."""
    assert for_model(model) == name
    assert load(name).name == name


@pytest.mark.parametrize("adapter", ADAPTERS, ids=name_of)
def test_limits_stay_below_the_provider_s_own(adapter: Provider) -> None:
    """By the numbers of the provider's documentation."""
    wanted: dict[str, Any] = {
        "openai": (50_000, 200_000_000, "one", "tokens"),
        "openai-chat": (50_000, 200_000_000, "one", "tokens"),
        "anthropic": (100_000, 256_000_000, "any", "requests"),
    }
    limits = adapter.limits
    requests, size, models, queue = wanted[adapter.name]
    assert (limits.requests, limits.models, limits.queue) == (requests, models, queue)
    assert limits.request_bytes <= limits.bytes < size
    assert isinstance(adapter.traits, Traits)


def test_no_sdk_is_imported_before_it_is_used() -> None:
    """Each takes about a second."""
    code = (
        "import sys\n"
        "from batchkit.providers.anthropic import Anthropic\n"
        "from batchkit.providers.openai import OpenAIChat, OpenAIResponses\n"
        "Anthropic(), OpenAIChat(), OpenAIResponses()\n"
        "assert not {'anthropic', 'openai', 'httpx2'} & set(sys.modules)\n"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
