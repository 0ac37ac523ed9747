"""Adapters pointed at a scripted server."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest

from batchkit.providers import Provider
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from tests.providers import made
from tests.providers.scripted import Script, serving


@pytest.fixture
def script() -> Iterator[Script]:
    """A server that says what the test tells it to."""
    with serving() as running:
        yield running


@pytest.fixture
def openai(script: Script) -> OpenAIResponses:
    """OpenAI's adapter, at the scripted server."""
    return OpenAIResponses(api_key=made.KEY, base_url=f"{script.url}/v1", timeout=5)


@pytest.fixture
def anthropic(script: Script) -> Anthropic:
    """Anthropic's adapter, at the scripted server."""
    return Anthropic(api_key=made.KEY, base_url=script.url, timeout=5)


def _openai(url: str, timeout: float) -> Provider:
    return OpenAIResponses(api_key=made.KEY, base_url=f"{url}/v1", timeout=timeout)


def _chat(url: str, timeout: float) -> Provider:
    return OpenAIChat(api_key=made.KEY, base_url=f"{url}/v1", timeout=timeout)


def _anthropic(url: str, timeout: float) -> Provider:
    return Anthropic(api_key=made.KEY, base_url=url, timeout=timeout)


@pytest.fixture(params=[_openai, _chat, _anthropic], ids=["openai", "openai-chat", "anthropic"])
def make(request: pytest.FixtureRequest) -> Any:
    """A maker of each adapter in turn: ``make(url, timeout)``."""
    return request.param


@pytest.fixture
def provider(make: Callable[[str, float], Provider], script: Script) -> Provider:
    """Each adapter in turn, at the scripted server."""
    return make(script.url, 5)
