"""One question to several models: a job for each, side by side."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import KeyConflictError, RunChangedError, ValidationError
from batchkit.testing import FakeProvider
from tests.builder.conftest import PRICE, Make
from tests.unit.files import pdf

TWO = ["fake-1", "fake-2"]


def keys_of(batch: Any) -> list[str]:
    return [str(job.key) for job in batch.jobs]


def test_a_job_for_each_model(make: Make, fake: FakeProvider):
    batch = make(name="x").add_job(prompt="a", key="k", models=TWO)
    assert [(job.key, job.model) for job in batch.jobs] == [
        ("k@fake-1", "fake-1"),
        ("k@fake-2", "fake-2"),
    ]
    assert batch.run().status()["completed"] == 2
    again = make(name="x").add_job(prompt="a", key="k", models=[*TWO, "fake-3"]).run()
    assert (again.status()["completed"], len(fake.ledger.entries)) == (3, 3)


def test_models_may_be_a_default(lite: Make):
    batch = lite().set_default_params(models=TWO).add_job(prompt="a", key="k")
    batch.add_job(prompt="b", key="one", model="fake-9")
    batch.add_rows([{"id": 1}], prompt="{{ id }}", key="{{ id }}")
    assert keys_of(batch) == ["k@fake-1", "k@fake-2", "one", "1@fake-1", "1@fake-2"]
    batch.set_default_params(model="fake-1").add_job(prompt="c", key="c")
    assert keys_of(batch)[-1] == "c"


def test_each_model_may_have_its_own_price_and_limits(lite: Make):
    entry = {"model": "fake-2", "max_tokens": 7, "price": {"input": 2, "output": 9}}
    batch = lite().add_job(prompt="a", key="k", models=["fake-1", entry], max_tokens=5)
    assert [job.max_tokens for job in batch.jobs] == [5, 7]
    prices = {"fake-1": PRICE, "fake-2": {"input": 10.0, "output": 50.0}}
    batch = lite().add_cost_limit(usd=1).add_job(prompt="a", key="k", models=TWO, price=prices)
    assert batch.estimate()["usd_max"] > 0
    with pytest.raises(ValidationError, match="price of 'fake-2'"):
        lite().add_cost_limit(usd=1).add_job(
            prompt="a", key="k", models=TWO, price={"fake-1": PRICE}
        )


def test_keys_that_follow_from_file_or_question_are_shared(lite: Make):
    Path("a.txt").write_text("Text")
    batch = lite().add_job(prompt="a", file="a.txt", models=TWO)
    batch.add_job(prompt="b", file="a.txt", models=TWO).add_job(prompt="c", models=TWO)
    batch.add_job(prompt="c", models=TWO)
    Path("b.pdf").write_bytes(pdf("One", "Two", "Three"))
    paged = lite().add_job(prompt="a", file="b.pdf", pages="1-2", models=TWO)
    assert keys_of(paged) == ["b.pdf#1-2@fake-1", "b.pdf#1-2@fake-2"]
    bases = [key.rpartition("@")[0] for key in keys_of(batch)]
    assert bases[:4] == ["a.txt", "a.txt", "a.txt~2", "a.txt~2"]
    assert bases[4] == bases[5]
    assert bases[6] == bases[7] == f"{bases[4]}~2"


def test_an_edited_question_without_a_key_is_a_change(make: Make):
    make(name="x").add_job(prompt="a", models=TWO).run()
    with pytest.raises(RunChangedError, match="2 changed"):
        make(name="x").add_job(prompt="b", models=TWO).run()


@pytest.mark.parametrize(
    ("models", "said"),
    [
        ([], "models must be a list"),
        ("fake-1", "models must be a list"),
        ([7], "models holds names"),
        ([{"max_tokens": 3}], "models holds names"),
        (["fake-1", "fake-1"], "names 'fake-1' twice"),
        ([{"model": "fake-1", "prompt": "b"}], "prompt belongs to one job"),
        (["fake-1", "nobody-1"], "No provider serves the model 'nobody-1'"),
    ],
)
def test_what_is_no_list_of_models_is_refused_whole(lite: Make, models: Any, said: str):
    batch = lite()
    with pytest.raises(Exception, match=said):
        batch.add_job(prompt="a", key="k", models=models)
    assert len(batch) == 0
    assert len(batch.add_job(prompt="a", key="k", models=TWO)) == 2


def test_one_model_or_several(lite: Make):
    with pytest.raises(ValidationError, match="model and models were both given"):
        lite().add_job(prompt="a", model="fake-1", models=TWO)
    with pytest.raises(ValidationError, match="model and models were both given"):
        lite().set_default_params(model="fake-1", models=TWO)


def test_a_key_stands_for_one_job_here_too(lite: Make):
    batch = lite().add_job(prompt="a", key="k", models=TWO)
    with pytest.raises(KeyConflictError, match="'k@fake-1' was added twice"):
        batch.add_job(prompt="a", key="k", models=["fake-1"])


def test_a_document_that_cannot_be_sent_fails_for_each_model(make: Make):
    batch = make(name="x", on_bad_input="fail").add_job(
        prompt="a", file="gone.txt", key="k", models=TWO
    )
    assert [one.key for one in batch.run().results()["failed"]] == ["k@fake-1", "k@fake-2"]
