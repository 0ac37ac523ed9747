"""The builder with the real adapters, against the simulator: both providers in one run."""

from __future__ import annotations

from pathlib import Path

from pydantic import BaseModel

from batchkit.builder import Batch
from batchkit.simulator import Simulator
from batchkit.testing import simulator as simulator  # a fixture


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
