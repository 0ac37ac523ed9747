"""A simulator with frozen time, and the two real SDKs pointed at it by `base_url` alone."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import anthropic
import openai
import pytest

from batchkit.simulator import Simulator


@pytest.fixture
def start(tmp_path: Any) -> Iterator[Callable[..., Simulator]]:
    """Start simulators with options; all are stopped at the end."""
    running: list[Simulator] = []

    def begin(folder: Any = None, **options: Any) -> Simulator:
        place = folder or tmp_path / f"sim{len(running)}"
        running.append(Simulator(place, **options).start())
        return running[-1]

    yield begin
    for simulator in running:
        simulator.stop()


@pytest.fixture
def sim(start: Callable[..., Simulator]) -> Simulator:
    """One simulator with default options."""
    return start()


@pytest.fixture
def talk() -> Iterator[Callable[..., openai.OpenAI]]:
    """Return OpenAI clients of a simulator, without retries; closed at the end."""
    clients: list[openai.OpenAI] = []

    def client(simulator: Simulator, key: str = "sk-good", retries: int = 0) -> openai.OpenAI:
        clients.append(
            openai.OpenAI(base_url=simulator.openai_url, api_key=key, max_retries=retries)
        )
        return clients[-1]

    yield client
    for one in clients:
        one.close()


@pytest.fixture
def chat() -> Iterator[Callable[..., anthropic.Anthropic]]:
    """Return Anthropic clients of a simulator, without retries; closed at the end."""
    clients: list[anthropic.Anthropic] = []

    def client(simulator: Simulator, key: str = "sk-good", retries: int = 0) -> anthropic.Anthropic:
        clients.append(
            anthropic.Anthropic(base_url=simulator.anthropic_url, api_key=key, max_retries=retries)
        )
        return clients[-1]

    yield client
    for one in clients:
        one.close()


@pytest.fixture
def oai(sim: Simulator, talk: Callable[..., openai.OpenAI]) -> openai.OpenAI:
    """An OpenAI client of `sim`."""
    return talk(sim)


@pytest.fixture
def ant(sim: Simulator, chat: Callable[..., anthropic.Anthropic]) -> anthropic.Anthropic:
    """An Anthropic client of `sim`."""
    return chat(sim)
