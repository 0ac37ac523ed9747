"""The manual names every marker, option, fault and key of a plan; its plan is a night that ends."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from batchkit.simulator import KINDS, MARKERS, NIGHTS, ROUTES, Settings, plan_from, read_plan
from batchkit.simulator.plan import BATCH_MISHAPS, WEBHOOK_MISHAPS
from batchkit.simulator.planfile import PLAN_KEYS
from tests.simulator.talking import document, response_body, submit

MANUAL = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_manual_is_whole():
    """Each marker with what it does, each option with its default."""
    text = MANUAL.read_text()
    assert all(f"| `[[sim:{name}]]` | {said} |" in text for name, said in MARKERS.items())
    defaults = Settings()
    assert all(
        f"| `{f.name}` | `{getattr(defaults, f.name)!r}` |" in text for f in fields(Settings)
    )


def test_the_manual_names_every_fault_and_every_key():
    """With the same words as the errors; and every route."""
    text = MANUAL.read_text()
    tables = [KINDS, NIGHTS, BATCH_MISHAPS, WEBHOOK_MISHAPS, *PLAN_KEYS.values()]
    assert all(f"| `{name}` | {said} |" in text for rows in tables for name, said in rows.items())
    assert all(f"`{route.partition('.')[2]}`" in text for route in ROUTES)


def _example() -> str:
    block = MANUAL.read_text().split("```yaml\n")[1].split("```")[0]
    assert block.startswith("# night.yaml")
    return block


def test_the_example_plan_is_a_night_that_strikes_and_ends(start, talk, tmp_path):
    """Read as it stands, it does what its comments say to a client that goes on asking."""
    (tmp_path / "night.yaml").write_text(_example())
    plan = read_plan(tmp_path / "night.yaml")
    assert plan.settings == {"list_lag_seconds": 60.0, "batch_seconds": (120.0, 300.0)}
    sim = start(faults=plan)
    client = talk(sim, retries=5)
    first = submit(client, [response_body(document(i)) for i in range(40)])
    second = submit(client, [response_body(document(100 + i)) for i in range(40)])
    assert [one.id for one in client.batches.list()] == []
    sim.advance(3_600)
    assert client.batches.retrieve(first.id).status in ("expired", "completed")
    assert client.batches.retrieve(second.id).status == "completed"
    cut = client.files.content(client.batches.retrieve(second.id).output_file_id).content
    whole = client.files.content(client.batches.retrieve(second.id).output_file_id).content
    assert cut.endswith(b"\n")
    assert cut.count(b"\n") < whole.count(b"\n")
    books = sim.ledger().faults()
    assert books["openai.batches.retrieve: refuse"] == 2
    assert books["openai.files.content: line-cut"] == 1
    assert books["openai.batch: expire"] == 1


def test_a_plan_in_python_is_the_plan_in_yaml(tmp_path):
    """The same keys, the same night."""
    path = tmp_path / "plan.yaml"
    path.write_text("seed: 7\nfaults:\n  - {route: '*.list', fault: cut, nth: [1, 2]}\n")
    rule = {"route": "*.list", "fault": "cut", "nth": [1, 2]}
    assert read_plan(path) == plan_from({"seed": 7, "faults": [rule]})
