"""``batchkit results --pivot model``."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from click.testing import Result

from batchkit import Batch
from batchkit.simulator import Simulator
from tests.cli.conftest import Note


def test_results_stand_side_by_side(providers: Simulator, command: Callable[..., Result]) -> None:
    """One row a key, a column a model; as a table, as JSON and as a file."""
    batch = Batch(name="duel").set_verbosity("error").set_default_params(max_tokens=300)
    models = ["claude-haiku-5-5", "gpt-5-mini"]
    batch.add_job(prompt="Title: Bill", key="a", models=models, response_model=Note).run()

    table = command("results", "duel", "--pivot", "model").stdout
    rows = json.loads(command("results", "duel", "--pivot", "model", "--json").stdout)
    command("results", "duel", "--pivot", "model", "-o", "side.csv")

    assert table.split()[:3] == ["key", *models]
    assert [(row["key"], list(row["results"])) for row in rows] == [("a", models)]
    assert Path("side.csv").read_text().count("\n") == 2
    assert command("results", "duel", "--pivot", "model", "--state", "failed").exit_code == 2
