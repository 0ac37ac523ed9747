"""Scripts written against the contract, and the simulator that both real adapters talk to."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from batchkit import Batch
from batchkit.simulator import Asked, Simulator
from tests.contract.shop import Shop, environment


@pytest.fixture(scope="module")
def stand_in(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Simulator, list[Asked]]]:
    """Both providers for a whole module; batches end when they are next looked at."""
    asked: list[Asked] = []
    with Simulator(tmp_path_factory.mktemp("sim"), instant=True, rule=asked.append) as simulator:
        yield simulator, asked


@pytest.fixture
def shop(
    stand_in: tuple[Simulator, list[Asked]], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Shop]:
    """Both providers, found by the environment, with what this test alone sent them."""
    yield from _open(Shop(*stand_in), monkeypatch)


@pytest.fixture
def held(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    """Providers whose time stands still: a batch is in flight until the test says ``end``."""
    asked: list[Asked] = []
    with Simulator(tmp_path / "held", start=1.8e9, rule=asked.append) as simulator:
        yield from _open(Shop(simulator, asked), monkeypatch)


def _open(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> Iterator[Shop]:
    for name, value in environment(shop.simulator).items():
        monkeypatch.setenv(name, value)
    yield shop


@pytest.fixture
def batch(shop: Shop) -> Callable[..., Batch]:
    """Return what makes a quiet builder with a model and a maximum; nothing is sent by it."""
    return quiet


def quiet(model: str = "claude-haiku-5-5", **settings: Any) -> Batch:
    return Batch(**settings).set_verbosity("error").set_default_params(model=model, max_tokens=200)
