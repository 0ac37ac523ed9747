"""Several models' answers to one question stand side by side."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from batchkit import Batch, BatchRun
from batchkit.errors import ValidationError
from batchkit.testing import FakeProvider, ManualClock

PRICE = {"input": 1.0, "output": 5.0}
TWO = ["fake-1", "fake-2"]


class Kind(BaseModel):
    """What is asked for."""

    kind: str
    where: dict[str, str] = {}


@pytest.fixture
def fake() -> FakeProvider:
    fake = FakeProvider(clock=ManualClock())
    fake.answer = lambda line: {"kind": f"{line['model']} says {line['prompt']}", "where": {}}
    return fake


def batch(url: str, fake: FakeProvider, **settings: Any) -> Batch:
    clock = fake.clock
    made = Batch(database=url, clock=clock, providers={"fake": fake}, name="x", **settings)
    return made.set_verbosity("error").set_default_params(max_tokens=100, price=PRICE)


def grid(run: BatchRun) -> list[tuple[str, dict[str, str]]]:
    return [
        (row.key, {model: one.raw_response or one.state for model, one in row.results.items()})
        for row in run.pivot()
    ]


def test_a_row_a_key_and_a_column_a_model(migrated_url: str, fake: FakeProvider):
    """Also where a model was added later, was asked alone, or has not answered."""

    def ask(models: list[str], *keys: str) -> Batch:
        made = batch(migrated_url, fake)
        for key in keys:
            made.add_job(prompt=key, key=key, models=models)
        return made

    fake.answer = lambda line: f"{line['model']}/{line['prompt']}"
    ask(["fake-1"], "a", "b@c").run()
    run = (
        ask(["fake-2", "fake-1"], "a", "b@c", "d")
        .add_job(prompt="e", key="e", model="fake-1")
        .run()
    )
    assert grid(run) == [
        ("a", {"fake-1": "fake-1/a", "fake-2": "fake-2/a"}),
        ("b@c", {"fake-1": "fake-1/b@c", "fake-2": "fake-2/b@c"}),
        ("d", {"fake-1": "fake-1/d", "fake-2": "fake-2/d"}),
        ("e", {"fake-1": "fake-1/e"}),
    ]


def test_what_waits_stands_there_too(migrated_url: str, fake: FakeProvider):
    made = batch(migrated_url, fake).add_job(prompt="a", key="a", models=TWO)
    made.add_job(prompt="b", key="b", models=TWO)
    run = made.run(first=3)
    assert [(key, len(sides)) for key, sides in grid(run)] == [("a", 2), ("b", 1)]
    run = batch(migrated_url, fake).add_job(prompt="c", key="c", models=TWO).submit()
    assert grid(run)[-1] == ("c", {"fake-1": "active", "fake-2": "active"})


def test_many_keys_are_read_page_by_page(migrated_sqlite_url: str, fake: FakeProvider):
    keys = [f"k{number}" for number in range(900)]
    for models in (["fake-1"], ["fake-2"]):
        made = batch(migrated_sqlite_url, fake)
        for key in keys:
            made.add_job(prompt=key, key=key, models=models)
        run = made.run()
    assert [(key, list(sides)) for key, sides in grid(run)] == [(key, TWO) for key in keys]


def test_side_by_side_in_a_file(migrated_sqlite_url: str, fake: FakeProvider):
    made = batch(migrated_sqlite_url, fake, on_bad_input="fail")
    made.add_job(prompt="a", key="a", models=TWO, response_model=Kind)
    run = made.add_job(prompt="a", file="gone.txt", key="b", models=TWO).run()
    assert run.pivot().export("side.csv") == 2
    with Path("side.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0])[:6] == [
        *("key", "fake-1.state", "fake-1.error", "fake-1.cost_usd", "fake-1.kind", "fake-1.where")
    ]
    assert rows[0]["fake-2.kind"] == "fake-2 says a"
    assert rows[1]["key"] == "b"
    assert "gone.txt does not exist" in rows[1]["fake-2.error"]
    assert run.pivot().export("side.jsonl") == 2
    first = orjson.loads(Path("side.jsonl").read_text().splitlines()[0])
    assert first["results"]["fake-1"]["parsed_response"]["kind"] == "fake-1 says a"
    assert isinstance(next(iter(run.pivot())).results["fake-1"].parsed_response, Kind)


def test_what_cannot_be_put_side_by_side_says_so(migrated_sqlite_url: str, fake: FakeProvider):
    run = batch(migrated_sqlite_url, fake).add_job(prompt="a", key="a", models=TWO).run()
    with pytest.raises(ValidationError, match="by 'model', not by 'state'"):
        run.pivot("state")
    for target in ("side.parquet", "postgresql://h/d/t.csv"):
        with pytest.raises(ValidationError, match=r"is written as \.jsonl or \.csv"):
            run.pivot().export(target)
