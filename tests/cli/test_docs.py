"""Documentation that can be compared with the code, is."""

from __future__ import annotations

import re
from pathlib import Path

import click
import pytest

from batchkit import errors, states
from batchkit.cli import cli
from batchkit.model import BatchState, Code, RunState, Waiting

ROOT = Path(__file__).resolve().parents[2]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), ROOT / "README.md"])


def text(page: str) -> str:
    return (ROOT / "docs" / page).read_text("utf-8")


def test_the_state_machine_is_the_one_in_the_code() -> None:
    """``python -c 'from batchkit import states; print(states.chart(), end="")'`` writes it."""
    assert text("state_machine.md") == states.chart()


def test_the_error_codes_are_the_closed_list() -> None:
    codes = re.findall(r"^\| `(\w+)` \|", text("errors.md").split("## Exceptions")[0], re.M)

    assert codes == [code.value for code in Code]


def test_every_public_error_is_on_the_page_of_errors() -> None:
    import batchkit

    names = {name for name in batchkit.__all__ if isinstance(getattr(errors, name, None), type)}

    assert {name for name in names if f"`{name}`" not in text("errors.md")} == set()


def test_the_concepts_name_every_state_of_a_run_and_what_it_waits_for() -> None:
    concepts = text("concepts.md")

    assert [w for w in (*RunState, *Waiting) if f"`{w}`" not in concepts] == []


def leaves(group: click.Group, above: str = "") -> list[tuple[str, click.Command]]:
    found = []
    for name, command in group.commands.items():
        path = f"{above}{name}"
        if isinstance(command, click.Group):
            found += leaves(command, f"{path} ")
        else:
            found.append((path, command))
    return found


@pytest.mark.parametrize(("name", "command"), leaves(cli))
def test_the_page_of_commands_has_each_command(name: str, command: click.Command) -> None:
    """And each option that is not told of for all of them above the table."""
    page = text("command_line.md")
    (row,) = [line for line in page.splitlines() if f"`batchkit {name}" in line and "|" in line]
    common = {"--json", "--project", "--database", "--help", "--interval"}
    options = {
        option
        for one in command.params
        for option in one.opts
        if option.startswith("--") and option not in common
    }
    short = {"--output": "-o"}

    assert [o for o in options if o not in row and short.get(o, o) not in row] == [
        o for o in options if name == "ls" and o == "--limit"
    ]


def test_the_names_of_states_are_in_the_state_machine() -> None:
    assert [state for state in BatchState if f"`{state}`" not in text("state_machine.md")] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page: Path) -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)", page.read_text("utf-8"))

    assert [link for link in links if not (page.parent / link).exists()] == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_there_is_one_sentence_a_line(page: Path) -> None:
    """So that a change of one sentence is a change of one line."""
    prose = re.sub(r"^```.*?^```$", "", page.read_text("utf-8"), flags=re.M | re.S)
    lines = [line for line in prose.splitlines() if not line.startswith(("|", "#"))]

    assert [line for line in lines if re.search(r"[a-z`)][.!?] [A-Z]", line)] == []


def test_promises_name_tests_that_are_there() -> None:
    named = re.findall(r"`(tests/[\w/.]+)`", text("promises.md"))

    assert [place for place in named if not (ROOT / place).exists()] == []
