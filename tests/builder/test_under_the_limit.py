"""A run whose upper bounds are far above its bill finishes under its limit, in waves."""

from __future__ import annotations

import math
from typing import Any

import pytest

from batchkit.builder import Batch
from batchkit.errors import CostLimitExceededError, ValidationError
from batchkit.model import Json, Succeeded, Usage
from batchkit.run import BatchRun
from batchkit.testing import FakeProvider
from tests.builder.conftest import Make

TEXT = "The quick brown fox jumps over the lazy dog and sleeps. " * 6 + "It is letter {:03}."
SHARE = 1.3
"""The limit over the bill."""


class Case:
    """Equal jobs whose bound is ``ratio`` times what they cost.

    The dearest that an input can get is a write to an hour's cache, which never happens here: its
    price sets the ratio. The answers cost what the estimate expects.
    """

    def __init__(self, make: Make, fake: FakeProvider, ratio: float) -> None:
        self.make = make
        self.ratio = ratio
        probe = self._add(make(name="probe"), 1, {"input": 1, "output": 0}).estimate()
        self.tokens = int(probe["input_tokens"])
        counted = round(probe["usd_max"] * 1e6)
        dear = math.floor((ratio * (self.tokens + 1) - 3) / counted * 1e9) / 1e9
        assert dear >= 1
        self.price = {"input": 1, "output": 1, "cache_write_1h": dear}
        self.truth = (self.tokens + 1) / 1e6
        fake.answer = self._answer

    def batch(self, jobs: int, usd: float, **settings: Any) -> Batch:
        return self._add(self.make(name="x", **settings).add_cost_limit(usd=usd), jobs, self.price)

    def _add(self, batch: Batch, jobs: int, price: Json) -> Batch:
        for number in range(jobs):
            prompt = TEXT.format(number)
            batch.add_job(prompt=prompt, key=f"k{number}", max_tokens=3, price=price)
        return batch

    def _answer(self, line: Json) -> Succeeded:
        return Succeeded(line["custom_id"], "yes", Usage(self.tokens, 1), "fake-1", "stop")


def waves(fake: FakeProvider) -> int:
    """Return at how many times something was sent."""
    return len({fake.poll(ref).created_at for ref in fake.refs})


def least(ratio: float) -> int:
    """Return the fewest equal jobs whose last one still fits."""
    return math.ceil((ratio - 1) / (SHARE - 1))


def books(run: BatchRun) -> tuple[float, float]:
    status = run.status()
    return status["cost_usd"], status["reserved_usd"]


@pytest.mark.parametrize(
    ("more", "settings"),
    [(1, {}), (2.5, {"items_per_batch": 3, "max_parallel_batches": 4})],
    ids=["fewest", "more"],
)
@pytest.mark.parametrize("ratio", [1.5, 4, 8, 20])
def test_it_finishes_in_the_waves_that_the_estimate_said(
    lite: Make, fake: FakeProvider, ratio: float, more: float, settings: dict[str, int]
) -> None:
    """A limit of 1.3 times the bill is enough from (ratio - 1) / 0.3 jobs on."""
    case = Case(lite, fake, ratio)
    jobs = math.ceil(least(ratio) * more)
    limit = SHARE * jobs * case.truth
    batch = case.batch(jobs, limit, **settings)
    said = batch.estimate()
    run = batch.run()

    assert said["usd_expected"] == pytest.approx(jobs * case.truth)
    if jobs <= 50:  # of more jobs only a sample is counted
        assert said["usd_max"] == pytest.approx(ratio * said["usd_expected"], rel=1e-3)
    assert run.state == "completed"
    assert books(run) == pytest.approx((jobs * case.truth, 0))
    assert (len(fake.refs), waves(fake)) == (said["batches"], said["waves"])
    assert said["waves"] > 1


@pytest.mark.parametrize("ratio", [4, 8, 20])
def test_one_job_fewer_than_that_waits_for_the_sum_it_needs(
    lite: Make, fake: FakeProvider, ratio: float
) -> None:
    """It is the sum, to the last digit shown: with it, the run goes on."""
    case = Case(lite, fake, ratio)
    jobs = least(ratio) - 2
    batch = case.batch(jobs, SHARE * jobs * case.truth)
    run = batch.run()
    status = run.status()

    assert (status["state"], status["waiting_for"]) == ("waiting", "budget")
    assert status["completed"] == len(fake.ledger.entries) < jobs
    detail = run.to_json()["waiting_detail"]
    needed = float(detail.rpartition("a limit of $")[2].partition(" ")[0].replace(",", ""))
    assert status["cost_usd"] + ratio * case.truth == pytest.approx(needed, abs=2e-6)
    done = status["completed"]
    run.resume(cost_limit=needed - 2e-6)
    assert run.status()["completed"] == done
    run.resume(cost_limit=needed)
    assert run.status()["completed"] > done


def test_a_batch_whose_bound_is_above_the_whole_limit_is_cut_to_fit(
    lite: Make, fake: FakeProvider
) -> None:
    """All 40 would fit one batch but for the money: each reservation stays under the limit."""
    case = Case(lite, fake, 8)
    limit = 10.5 * 8 * case.truth
    batch = case.batch(40, limit)
    assert batch.estimate()["not_within_limit"] == 30
    run = batch.submit()

    assert len(fake.ledger.entries) == 10
    assert sum(books(run)) <= limit
    assert run.execute().state == "completed"
    assert len(fake.refs) > 1


def test_a_limit_below_one_job_is_refused_before_anything_is_sent(
    lite: Make, fake: FakeProvider
) -> None:
    case = Case(lite, fake, 20)

    with pytest.raises(CostLimitExceededError):
        case.batch(10, 19 * case.truth).run()
    assert fake.refs == []


def test_a_limit_that_is_text_is_refused(lite: Make) -> None:
    with pytest.raises(ValidationError, match="must be a number of US dollars, not '5'"):
        lite(name="x").add_cost_limit("5")  # type: ignore[arg-type]
