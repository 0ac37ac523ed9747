"""test() and estimate(): what it looks like, and what it may cost."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from batchkit.errors import CostLimitExceededError, ProviderUnavailable, ValidationError
from batchkit.model import Errored, Json
from batchkit.store import Store
from batchkit.testing import FakeProvider
from tests.builder.conftest import PRICE, Make, keyless, with_jobs


class Said(BaseModel):
    """What is asked for."""

    word: str


def test_a_test_asks_now_and_the_run_takes_the_answers(make: Make, fake: FakeProvider):
    batch = with_jobs(make(name="x"), 5, price=PRICE, response_model=Said)
    results = batch.test(2)
    assert [one.key for one in results] == ["k0", "k1"]
    assert all(isinstance(one.parsed_response, Said) for one in results)
    run = batch.run()
    assert (fake.calls["ask"], len(fake.ledger.entries)) == (2, 3)
    assert (run.status()["completed"], run.status()["total"]) == (5, 5)


def test_a_second_test_does_not_pay_again(make: Make, fake: FakeProvider):
    first = with_jobs(make(name="x"), 5, price=PRICE).test(1)
    second = with_jobs(make(name="x"), 5, price=PRICE).test(1)
    assert (first[0].raw_response, fake.calls["ask"]) == (second[0].raw_response, 1)
    assert [one.key for one in with_jobs(make(name="x"), 5, price=PRICE).test(3)] == [
        "k0",
        "k1",
        "k2",
    ]
    assert fake.calls["ask"] == 3


def test_a_test_without_a_name_is_paid_once_too(make: Make, fake: FakeProvider):
    keyless(make(), 3, price=PRICE).test()
    keyless(make(), 3, price=PRICE).test()
    run = keyless(make(), 3, price=PRICE).run()
    assert (fake.calls["ask"], len(fake.ledger.entries)) == (1, 2)
    assert run.status()["completed"] == 3


def test_a_test_costs_the_full_price_and_counts(make: Make, store: Store):
    batch = with_jobs(make(name="x"), 2, price=PRICE)
    (result,) = batch.test()
    usage = (result.input_tokens or 0) * 2.0 + (result.output_tokens or 0) * 10.0
    assert result.cost_usd == pytest.approx(usage / 1e6)
    assert store.runs.all(None)[0].spent == round((result.cost_usd or 0) * 1e9)


def test_a_test_that_does_not_fit_the_limit_sends_nothing(make: Make, fake: FakeProvider):
    batch = with_jobs(make(name="x").add_cost_limit(usd=0.0000001), 2, price=PRICE)
    with pytest.raises(CostLimitExceededError, match="1 job out at full price may cost up to"):
        batch.test()
    assert fake.calls["ask"] == 0


def test_an_answer_that_is_none_leaves_the_job_to_the_run(make: Make, fake: FakeProvider):
    def refuse(line: Json) -> Errored | None:
        if fake.calls["ask"] and not fake.ledger.entries:
            return Errored(line["custom_id"], "overloaded", "busy", "later", 529)
        return None

    fake.answer = refuse
    batch = with_jobs(make(name="x"), 1, price=PRICE)
    (result,) = batch.test()
    assert (result.state, result.error_code, result.cost_usd) == ("failed", "overloaded", 0)
    assert batch.run().status()["completed"] == 1


def test_what_was_paid_for_a_useless_answer_is_on_the_books(
    make: Make, fake: FakeProvider, store: Store
):
    fake.answer = lambda line: "no JSON" if not fake.ledger.entries else None
    batch = with_jobs(make(name="x"), 1, price=PRICE, response_model=Said)
    (result,) = batch.test()
    assert (result.state, result.error_code) == ("failed", "invalid_output")
    assert store.runs.all(None)[0].spent == round((result.cost_usd or 0) * 1e9) > 0
    assert batch.run().status()["completed"] == 1


def test_a_provider_that_cannot_be_asked_says_so(make: Make, fake: FakeProvider):
    fake.fail("ask", ProviderUnavailable("fake is away"))
    with pytest.raises(ProviderUnavailable, match="fake is away"):
        with_jobs(make(name="x"), 1).test()


def test_there_must_be_something_to_try_out(make: Make):
    with pytest.raises(ValidationError, match="There are no jobs"):
        make(name="x").test()
    batch = with_jobs(make(name="x"), 1)
    batch.run()
    with pytest.raises(ValidationError, match="nothing to try out"):
        batch.test()


def test_an_estimate_says_all_of_it_and_sends_nothing(make: Make, fake: FakeProvider):
    batch = with_jobs(make(name="x", items_per_batch=4, max_parallel_batches=2), 10, price=PRICE)
    found = batch.estimate()
    assert list(found) == [
        "jobs",
        "new_jobs",
        "batches",
        "waves",
        "input_tokens",
        "usd_expected",
        "usd_range",
        "usd_max",
        "usd_realtime",
        "not_within_limit",
        "primers",
        "caching_saves_usd",
        "reserve",
        "overshoot_usd",
        "canary_jobs",
        "canary_usd",
        "hours_expected",
        "hours_range",
        "canary_hours",
    ]
    assert (found["jobs"], found["new_jobs"], found["batches"], found["waves"]) == (10, 10, 3, 2)
    low, high = found["usd_range"]
    assert low <= found["usd_expected"] <= high <= found["usd_max"]
    assert found["not_within_limit"] == 0
    assert not fake.calls


def test_an_estimate_without_a_price_is_unknown_and_never_nothing(lite: Make):
    found = with_jobs(lite(name="x"), 2).estimate()
    assert [found[name] for name in found if name.startswith("usd_")] == [None] * 4
    assert found["input_tokens"] > 0


def test_an_estimate_of_nothing_is_nothing(lite: Make):
    found = lite(name="x").estimate()
    assert (found["jobs"], found["batches"], found["usd_expected"]) == (0, 0, 0)


def test_an_estimate_counts_what_does_not_fit_the_limit(lite: Make):
    batch = with_jobs(lite(name="x"), 10, price=PRICE)
    one = batch.estimate()["usd_max"] / 10
    assert batch.add_cost_limit(usd=one * 4.5).estimate()["not_within_limit"] == 6


def test_an_estimate_leaves_out_what_is_answered_and_what_is_left_over(make: Make):
    with_jobs(make(name="x"), 4, price=PRICE).run()
    list(with_jobs(make(name="x"), 9, price=PRICE).jobs)
    found = with_jobs(make(name="x"), 6, price=PRICE).estimate()
    assert (found["jobs"], found["new_jobs"]) == (6, 2)
    fresh = with_jobs(make(name="y"), 2, price=PRICE).estimate()
    assert found["usd_max"] == pytest.approx(fresh["usd_max"], rel=0.1)


def test_what_a_run_costs_is_within_its_estimate(make: Make, tmp_path: Path):
    path = tmp_path / "text.txt"
    path.write_text("The quick brown fox jumps over the lazy dog. " * 50)
    batch = make(name="x").add_job(file=path, prompt="Read.", price=PRICE, max_tokens=900)
    found = batch.estimate()
    assert batch.run().status()["cost_usd"] <= found["usd_max"]
