"""The simulator as a fixture, used as a user's own tests use it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from batchkit import Batch, testing
from batchkit.run import BatchRun
from batchkit.simulator import Fault, Simulator
from batchkit.testing import simulator as simulator  # a fixture


def nightly(folder: Path, model: str = "gpt-5-mini") -> BatchRun:
    """What a user's own program may do."""
    batch = Batch(results_dir=folder, database=folder / "state.db").set_verbosity("error")
    batch.set_default_params(model=model, max_tokens=50)
    for word in ("rain", "snow", "hail"):
        batch.add_job(prompt=word, key=word)
    return batch.run(progress_interval=0.1)


@pytest.mark.parametrize("model", ["gpt-5-mini", "claude-sonnet-4-5"])
def test_a_users_program_meets_the_simulator(
    simulator: Simulator, tmp_path: Path, model: str
) -> None:
    """It runs to its end, and a second time buys nothing."""
    for _ in range(2):
        run = nightly(tmp_path, model)
        assert sorted(one.key for one in run.results()["completed"]) == ["hail", "rain", "snow"]
    assert simulator.ledger().bought_twice() == []
    assert len(simulator.ledger().entries) == 3


def test_a_call_may_go_wrong(simulator: Simulator, tmp_path: Path) -> None:
    """A create that is carried out and never answered is bought once all the same."""
    simulator.faults.add("openai.batches.create", Fault("drop"), nth=1)

    assert nightly(tmp_path).state == "completed"
    assert simulator.ledger().faults() == {"openai.batches.create: drop": 1}
    assert simulator.ledger().bought_twice() == []


@pytest.mark.parametrize("simulator", [{"scale": 0, "seed": 7}], indirect=True)
def test_a_test_may_give_options(simulator: Simulator) -> None:
    """Here time stands still until the test moves it."""
    before = simulator.now()
    simulator.advance(60)

    assert simulator.now() - before == 60


def test_keys_base_urls_and_pace_lead_to_it(simulator: Simulator) -> None:
    assert os.environ["OPENAI_BASE_URL"] == simulator.openai_url
    assert os.environ["ANTHROPIC_BASE_URL"] == simulator.anthropic_url
    assert os.environ["OPENAI_API_KEY"] == os.environ["ANTHROPIC_API_KEY"] == "simulated"
    assert os.environ["BATCHKIT_PACE"] == "3600"


def test_each_test_has_one_of_its_own(simulator: Simulator) -> None:
    assert not simulator.ledger().batches


def test_the_names_are_those_that_are_promised() -> None:
    assert all(hasattr(testing, name) for name in testing.__all__)
    assert not hasattr(testing, "other")


def test_the_doubles_need_no_pytest() -> None:
    script = (
        "import sys; from batchkit.testing import FakeProvider; assert 'pytest' not in sys.modules"
    )

    subprocess.run([sys.executable, "-c", script], check=True, timeout=60)
