"""The same figure in every command."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from click.testing import Result

from batchkit import Batch
from batchkit.cli import screen

Command = Callable[..., Result]
Add = Callable[..., Batch]


def test_of_a_draft_that_was_tried_out_all_commands_count_the_same(
    add: Add, command: Command
) -> None:
    draft = add("draft", "one", "two", "three")
    draft.test()
    jobs = len(draft.jobs)
    assert f"of {jobs}" in command("ls").output
    assert f"  {screen.counted(jobs, 'job')}, 1 outcome;" in command("verify").output
    assert f"{screen.counted(jobs, 'job')}. Adding" in command("rm", "draft", "--dry-run").output
    assert "would buy 1 answer again" in command("rm", "draft", "--dry-run").output


def test_a_cost_that_is_not_known_is_not_shown_as_nothing(add: Add, command: Command) -> None:
    add("free").add_job(prompt="hi", model="claude-nobody-knows", key="a").run()
    assert command("ls").output.splitlines()[-1].endswith("unknown")
    assert "spent $0.00 (1 job at an unknown cost)" in command("status", "free").output


def test_a_budget_that_is_too_small_says_the_sum_and_the_command_that_raises_it(
    add: Add, capsys: pytest.CaptureFixture[str]
) -> None:
    batch = add("tight", "small", "large " * 50_000).set_verbosity("warn")
    batch.add_cost_limit(usd=0.001).run()
    said = capsys.readouterr().err.strip()
    assert " or more. Go on with: batchkit resume tight --cost-limit USD" in said
