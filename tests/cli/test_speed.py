"""What a person waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

HEAVY = ("sqlalchemy", "alembic", "openai", "anthropic", "rich", "pydantic", "httpx2", "tiktoken")


@pytest.mark.parametrize(
    "code",
    [
        "import batchkit",
        "from batchkit.cli import cli; cli(['--help'], standalone_mode=False)",
    ],
)
def test_neither_the_import_nor_the_help_loads_anything_heavy(code: str) -> None:
    """No SDK, no database, nothing that draws; the benchmarks' row `starts` has the seconds."""
    code += f"\nimport sys; print('LOADED', [name for name in {HEAVY!r} if name in sys.modules])"

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
