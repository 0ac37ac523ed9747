"""Runs to look at: bought from the simulator, whose batches take half a second."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result
from pydantic import BaseModel

from batchkit import Batch
from batchkit.cli import cli
from batchkit.simulator import Simulator


class Note(BaseModel):
    """What the tests ask for."""

    title: str
    amount: float


@pytest.fixture
def providers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
    """Both providers at once, found by the environment."""
    with Simulator(tmp_path / "simulator", scale=600.0, batch_seconds=(300.0, 300.0)) as simulator:
        monkeypatch.setenv("BATCHKIT_PACE", "600")
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.anthropic_url)
        monkeypatch.setenv("OPENAI_API_KEY", "simulated")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
        yield simulator


@pytest.fixture
def add(providers: Simulator) -> Callable[..., Batch]:
    """Return a function that adds a run's jobs, a prompt each; nothing is sent."""

    def added(name: str, *prompts: str, **options: Any) -> Batch:
        batch = Batch(name=name, **options).set_verbosity("error")
        batch.set_default_params(model="claude-haiku-5-5", max_tokens=300)
        for number, prompt in enumerate(prompts):
            batch.add_job(prompt=prompt, key=f"k{number}", response_model=Note)
        return batch

    return added


@pytest.fixture
def command(providers: Simulator) -> Callable[..., Result]:
    """Return a function that runs a command and fails on a traceback."""

    def called(*words: str, input: str | None = None) -> Result:
        result = CliRunner().invoke(cli, words, input=input)
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert "\x1b" not in result.output
        return result

    return called


@pytest.fixture
def data(command: Callable[..., Result]) -> Callable[..., Any]:
    """Return a function that runs a command with --json and reads what it printed."""

    def read(*words: str) -> Any:
        return json.loads(command(*words, "--json").stdout)

    return read
