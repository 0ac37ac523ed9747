"""What a person waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("sqlalchemy", "alembic", "openai", "anthropic", "rich", "pydantic", "httpx2", "tiktoken")


def seconds(code: str) -> float:
    """Return what a fresh Python prints for a piece of code: the best of three."""
    found = []
    for _ in range(3):
        done = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
        )
        found.append(float(done.stdout.split()[-1]))
    return min(found)


@pytest.mark.slow
def test_importing_batchkit_is_quick() -> None:
    """Names are loaded when they are first asked for."""
    code = "import time; t = time.perf_counter(); import batchkit; print(time.perf_counter() - t)"

    assert seconds(code) < 0.15


@pytest.mark.slow
def test_the_help_is_there_at_once() -> None:
    """Importing the commands and printing their help; the interpreter's own start aside."""
    code = (
        "import time; t = time.perf_counter()\n"
        "from batchkit.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        "print(time.perf_counter() - t)"
    )

    assert seconds(code) < 0.3


def test_the_help_loads_nothing_heavy() -> None:
    """No SDK, no database, nothing that draws."""
    code = (
        "import sys\n"
        "from batchkit.cli import cli\n"
        "cli(['--help'], standalone_mode=False)\n"
        f"print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"
    )

    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.splitlines()[-1] == "LOADED []"


def test_the_command_is_installed() -> None:
    """By the name that the documentation uses."""
    command = Path(sys.executable).parent / "batchkit"

    done = subprocess.run(
        [command, "--version"], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.startswith("batchkit, version ")
