"""The builder with the real adapters, against the simulator: both providers in one run."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from batchkit.builder import Batch
from batchkit.model import Reserve
from batchkit.simulator import Simulator
from batchkit.testing import simulator as simulator  # a fixture
from batchkit.upkeep import verified

JOBS = 650
"""So many that a first wave at upper bounds brings a hundred answers."""


class Letter(BaseModel):
    """What is asked for."""

    subject: str
    pages: int | None


def test_jobs_for_both_providers_are_tried_out_and_opened_in_one_run(
    simulator: Simulator, migrated_sqlite_url: str, tmp_path: Path
):
    path = tmp_path / "letter.txt"
    path.write_text("Subject: rain\n\nIt rained on 12 pages.")

    def script() -> Batch:
        batch = Batch(name="both", database=migrated_sqlite_url).set_verbosity("error")
        batch.set_default_params(max_tokens=300, response_model=Letter).add_cost_limit(usd=5)
        for model in ("gpt-5-mini", "claude-sonnet-4-5"):
            batch.add_job(file=path, prompt="Read.", model=model, key=model)
        return batch

    found = script().estimate()
    assert found["usd_expected"] < found["usd_max"] < 5
    results = script().test(2)
    assert [type(one.parsed_response) for one in results] == [Letter, Letter]
    run = script().run()
    assert (run.state, run.status()["total"]) == ("completed", 2)


@pytest.mark.slow
def test_by_what_is_observed_a_run_needs_fewer_waves_under_the_same_limit(
    simulator: Simulator, migrated_url: str
):
    """Upper bounds are eight times the bill; spent stays under the limit, the books are right.

    Each provider meets one of the databases.
    """
    model = "gpt-5-mini" if migrated_url.startswith("sqlite") else "claude-haiku-4-5"

    def script(name: str, reserve: Reserve, usd: float) -> Batch:
        batch = Batch(name=name, database=migrated_url).set_verbosity("error")
        batch.set_default_params(model=model, max_tokens=18, price={"input": 1.0, "output": 10.0})
        for number in range(JOBS):
            batch.add_job(prompt=f"[[sim:say=yes]] Is {number:03} {name}?", key=f"k{number}")
        return batch.add_cost_limit(usd, reserve=reserve)

    tried = script("probe", "bound", 1.0).test(1)[0].cost_usd
    assert tried is not None
    bill = JOBS * tried / 2  # asked now, it costs twice as much
    most = script("plain", "bound", 1.0).estimate()["usd_max"]
    assert 7 < most / bill < 9
    sent: dict[Reserve, int] = {}
    reserves: list[tuple[str, Reserve]] = [("plain", "bound"), ("tight", "observed")]
    for name, reserve in reserves:
        before = len(simulator.ledger().batches)
        run = script(name, reserve, 1.3 * bill).run()
        sent[reserve] = len(simulator.ledger().batches) - before
        status = run.status()
        assert (run.state, status["reserved_usd"]) == ("completed", 0)
        assert status["cost_usd"] == pytest.approx(bill, rel=0.05)
        assert status["cost_usd"] <= status["cost_limit_usd"]
        (proof,) = verified(name, database=migrated_url)
        assert proof.problems == ()

    assert 1 < sent["observed"] <= 3 < sent["bound"]
    assert simulator.ledger().bought_twice() == []
