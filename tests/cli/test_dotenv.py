"""The command reads ``.env`` of the folder it is called in, as the library does."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from batchkit import Batch

Add = Callable[..., Batch]
Command = Callable[..., Result]
Data = Callable[..., Any]

NAMES = (
    *("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL", "OPENAI_API_KEY", "OPENAI_BASE_URL"),
    *("BATCHKIT_PACE", "BATCHKIT_PROJECT", "BATCHKIT_DATABASE_URL"),
)


@pytest.fixture
def dotenv(providers: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Callable[[], None]:
    """Return a function that moves the settings from the environment into ``.env``."""
    monkeypatch.setenv("BATCHKIT_PROJECT", "bills")
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", f"sqlite:///{tmp_path / 'state.db'}")

    def moved() -> None:
        Path(".env").write_text("".join(f"{name}={os.environ[name]}\n" for name in NAMES))
        for name in NAMES:
            monkeypatch.delenv(name)

    return moved


def test_resume_finds_keys_project_and_database_in_dotenv(
    add: Add, dotenv: Callable[[], None], command: Command, data: Data
) -> None:
    run = add("night", "Title: Rent\nAmount: 900.50").submit()
    dotenv()

    assert [(one["id"], one["state"]) for one in data("ls")] == [(run.id, "running")]
    assert command("resume").exit_code == 0
    assert data("status", "night")["completed"] == 1
    assert not Path(".batchkit").exists()


def test_without_the_dotenv_the_command_finds_nothing(
    add: Add, dotenv: Callable[[], None], command: Command, data: Data
) -> None:
    add("night", "Title: Rent\nAmount: 900.50").submit()
    dotenv()
    Path(".env").unlink()

    assert data("ls") == []
    assert command("resume", "night").exit_code == 1


def test_a_dotenv_that_cannot_be_read_is_one_line(command: Command) -> None:
    Path(".env").write_bytes(b"BATCHKIT_PROJECT=\xff\xfe\n")

    result = command("ls")

    assert result.exit_code == 1
    assert result.stderr.startswith("batchkit: ")
    assert ".env cannot be read" in result.stderr


@pytest.mark.parametrize("given", ["fast", "0", "-1", "nan", "inf"])
def test_a_pace_that_is_no_number_above_0_is_one_line(
    given: str, add: Add, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    add("night", "Title: Rent\nAmount: 900.50").submit()
    monkeypatch.setenv("BATCHKIT_PACE", given)

    result = command("resume", "night")

    assert result.exit_code == 1
    assert f"BATCHKIT_PACE must be a number above 0, not '{given}'" in result.stderr
