"""A response model that ends the process: real processes, real adapters, both databases."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import textwrap
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from batchkit import get_run
from batchkit.simulator import Simulator
from batchkit.store import Store

SCRIPT = """
import ctypes, os, pathlib, sys, threading
from pydantic import BaseModel, field_validator
import batchkit.engine
from batchkit import Batch

batchkit.engine._LEAVE_AFTER = 0.2
MODEL, POISON, FATE = sys.argv[1], sys.argv[2].split(","), sys.argv[3]

def hang():
    pathlib.Path("hanging").touch()
    threading.Event().wait(120)

FATES = {
    "exit": lambda: os._exit(7),
    "segfault": lambda: ctypes.string_at(0),
    "sysexit": lambda: sys.exit(7),
    "hang": hang,
    "none": lambda: None,
}

class Bill(BaseModel):
    title: str
    amount: float

    @field_validator("title")
    @classmethod
    def _poison(cls, value):
        if value in POISON:
            FATES[FATE]()
        return value

batch = Batch(name="bills", max_attempts=2).set_verbosity("warn")
batch.set_default_params(model=MODEL, max_tokens=300)
for number in range(12):
    prompt = f"Title: Bill{number}\\nAmount: {number}.50"
    batch.add_job(prompt=prompt, key=f"k{number}", response_model=Bill)
run = batch.run(progress_interval=0.05)
print(run.state)
"""

MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-5-5"}


class Bill(BaseModel):
    """The same, mended."""

    title: str
    amount: float


@pytest.fixture
def simulated(tmp_path: Path) -> Iterator[Simulator]:
    with Simulator(tmp_path / "simulator", scale=600.0, batch_seconds=(100.0, 100.0)) as running:
        yield running


@pytest.fixture
def url(request: pytest.FixtureRequest) -> str:
    """The database: SQLite, or what the test is given as ``url``."""
    named: str = request.getfixturevalue(f"migrated_{getattr(request, 'param', 'sqlite')}_url")
    return named


@pytest.fixture
def start(
    simulated: Simulator, url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Callable[..., subprocess.Popen[str]]:
    """Start the script in a process of its own; its database is that of the test."""
    script = tmp_path / "bills.py"
    script.write_text(textwrap.dedent(SCRIPT))
    given = {
        "OPENAI_BASE_URL": simulated.openai_url,
        "ANTHROPIC_BASE_URL": simulated.anthropic_url,
        "OPENAI_API_KEY": "simulated",
        "ANTHROPIC_API_KEY": "simulated",
        "BATCHKIT_DATABASE_URL": url,
        "BATCHKIT_SPOOL_DIR": str(tmp_path / "spool"),
        "BATCHKIT_PACE": "600",
    }
    for name, value in given.items():
        monkeypatch.setenv(name, value)

    def started(*words: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [sys.executable, str(script), *words],
            cwd=tmp_path,
            env={**os.environ},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    return started


def _deaths(start: Callable[..., Any], *words: str, most: int = 8) -> int:
    """Type the script again until it returns; count how often it died."""
    for died in range(most):
        process = start(*words)
        out, err = process.communicate(timeout=60)
        if process.returncode == 0:
            return died
        assert "Traceback" not in err, err
        assert out == ""
    raise AssertionError(f"it died {most} times")


def _books(url: str, simulator: Simulator) -> None:
    store = Store(url)
    try:
        [run] = store.runs.all("default")
        assert store.audit.problems(run.id) == []
        assert run.reserved == 0
    finally:
        store.close()
    assert not simulator.ledger().bought_twice()


@pytest.mark.parametrize(
    ("fate", "provider", "url"),
    [
        ("exit", "openai", "sqlite"),
        ("segfault", "anthropic", "postgres"),
        ("sysexit", "openai", "sqlite"),
    ],
    indirect=["url"],
)
@pytest.mark.slow
def test_an_answer_that_kills_the_process_twice_is_settled_and_the_others_are_kept(
    start: Callable[..., Any], simulated: Simulator, url: str, fate: str, provider: str
) -> None:
    assert _deaths(start, MODELS[provider], "Bill5", fate) == 2
    run = get_run("bills", database=url)
    results = run.results()
    assert len(results["completed"]) == 11
    [failed] = results["failed"]
    assert (failed.key, failed.error_code, failed.attempts) == ("k5", "parser_crashed", 1)
    assert "Bill5" in str(failed.raw_response)
    assert failed.cost_usd
    _books(url, simulated)
    assert run.reparse(Bill) == 1
    assert run.state == "completed"
    _books(url, simulated)


@pytest.mark.slow
def test_two_such_answers_are_told_apart(
    start: Callable[..., Any], simulated: Simulator, url: str
) -> None:
    """Each has to kill the process twice; nobody beside them is blamed."""
    assert _deaths(start, MODELS["openai"], "Bill5,Bill9", "exit") == 4
    failed = get_run("bills", database=url).results()["failed"]
    assert [(one.key, one.error_code) for one in failed] == [
        ("k5", "parser_crashed"),
        ("k9", "parser_crashed"),
    ]
    _books(url, simulated)


@pytest.mark.slow
def test_a_validator_that_hangs_is_left_by_ctrl_c_and_blames_no_answer(
    start: Callable[..., Any], simulated: Simulator, url: str, tmp_path: Path
) -> None:
    for _ in range(3):
        process = start(MODELS["openai"], "Bill5", "hang")
        _wait_for(tmp_path / "hanging")
        process.send_signal(signal.SIGINT)
        _, err = process.communicate(timeout=30)
        assert process.returncode == -signal.SIGINT, err
        assert "batchkit resume" in err
        (tmp_path / "hanging").unlink()
    assert _deaths(start, MODELS["openai"], "Bill5", "none") == 0
    assert get_run("bills", database=url).state == "completed"
    _books(url, simulated)


def test_a_process_without_the_class_goes_on_where_it_killed(
    start: Callable[..., Any], simulated: Simulator, url: str
) -> None:
    """`batchkit resume` judges by the stored schema: nothing of the user's runs."""
    process = start(MODELS["openai"], "Bill5", "exit")
    process.communicate(timeout=60)
    assert process.returncode == 7
    done = subprocess.run(
        [sys.executable, "-c", "from batchkit.cli import main; main()", "resume", "bills"],
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert get_run("bills", database=url).status()["completed"] == 12
    _books(url, simulated)


def _wait_for(path: Path, seconds: float = 30) -> None:
    import threading

    for _ in range(int(seconds / 0.05)):
        if path.exists():
            return
        threading.Event().wait(0.05)
    raise AssertionError(f"{path.name} did not come")
