"""A run whose upper bounds are far above its bill finishes under its limit, in waves."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

from batchkit.builder import Batch
from batchkit.errors import CostLimitExceededError, ValidationError
from batchkit.model import Json, Reserve, Succeeded, Usage
from batchkit.money import enough, usd
from batchkit.run import BatchRun
from batchkit.standing.status import line
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

    def batch(self, jobs: int, usd: float, *, reserve: Reserve = "bound", **settings: Any) -> Batch:
        limited = self.make(name="x", **settings).add_cost_limit(usd=usd, reserve=reserve)
        return self._add(limited, jobs, self.price)

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
    batch = case.batch(jobs, limit, reserve="bound", **settings)
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


@pytest.mark.parametrize(("ratio", "jobs"), [(8, 700), (20, 700)])
def test_by_what_is_observed_it_finishes_in_fewer_waves_and_as_many_as_were_said(
    lite: Make, fake: FakeProvider, ratio: float, jobs: int
) -> None:
    """Once a hundred are answered, the rest goes out at once; and the limit holds."""
    case = Case(lite, fake, ratio)
    limit = SHARE * jobs * case.truth
    bound = case.batch(jobs, limit).estimate()
    batch = case.batch(jobs, limit, reserve="observed")
    said = batch.estimate()
    run = batch.run()

    assert run.state == "completed"
    assert books(run) == pytest.approx((jobs * case.truth, 0))
    assert (len(fake.refs), waves(fake)) == (said["batches"], said["waves"])
    assert said["waves"] < bound["waves"]
    assert run.status()["reserve"] == "observed"


def test_an_estimate_says_how_far_a_limit_can_be_overshot(lite: Make, fake: FakeProvider) -> None:
    """By everything at its bound: nothing where bounds are reserved, or where all of them fit."""
    case = Case(lite, fake, 8)
    limit = 10 * 8 * case.truth
    bound = case.batch(40, limit).estimate()
    found = case.batch(40, limit, reserve="observed").estimate()

    assert (bound["reserve"], bound["overshoot_usd"]) == ("bound", 0)
    assert found["reserve"] == "observed"
    assert found["overshoot_usd"] == pytest.approx(found["usd_max"] - limit, rel=1e-9)
    assert case.batch(40, 5 * limit, reserve="observed").estimate()["overshoot_usd"] == 0
    assert {**found, "reserve": "bound", "overshoot_usd": 0} == bound


def test_the_next_estimate_goes_by_what_is_known_already(lite: Make, fake: FakeProvider) -> None:
    """Fifty new jobs of tomorrow fit at what yesterday's needed, where eight do at their bounds."""
    case = Case(lite, fake, 8)
    case.batch(100, 1.0, reserve="observed").run()
    spent = 100 * case.truth
    limit = spent + 8 * 8 * case.truth
    assert case.batch(150, limit).estimate()["waves"] > 1
    batch = case.batch(150, limit, reserve="observed")
    said = batch.estimate()
    assert (said["new_jobs"], said["batches"], said["waves"]) == (50, 1, 1)
    run = batch.submit()

    assert len(fake.refs) == 2
    over = run.status()["overshoot_usd"]
    assert 0 < over <= said["overshoot_usd"]
    assert f"up to {enough(usd(over))} above the limit" in line(run.status())


def test_what_is_said_before_sending_names_the_sum(
    lite: Make, fake: FakeProvider, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nothing more is said where bounds are reserved, or where they all fit."""
    case = Case(lite, fake, 8)
    limit = 10 * 8 * case.truth

    def said(usd: float, reserve: Reserve) -> str:
        case.batch(30, usd, reserve=reserve).set_verbosity("info").submit()
        return "".join(capsys.readouterr())

    told = said(limit, "observed")
    assert "Once 100 jobs of a kind are answered, what they needed of their upper bounds" in told
    assert re.search(r"\$0\.\d+ more than the limit of \$0\.\d+ would be spent", told)
    assert "would be spent" not in said(limit, "bound")
    assert "would be spent" not in said(1e6, "observed")


def test_a_script_that_sets_no_limit_leaves_what_is_reserved_as_it_is(
    lite: Make, fake: FakeProvider
) -> None:
    """The last explicit word counts, as it does for the limit itself."""
    case = Case(lite, fake, 8)
    run = case.batch(2, 1.0, reserve="observed").submit()
    plain = lite(name="x").add_job(prompt="more", key="more", price=case.price)
    with_all = case._add(plain, 2, case.price)
    assert with_all.submit().status()["reserve"] == "observed"
    run.resume(reserve="bound", once=True)
    assert "reserve" not in run.status()


def test_what_is_reserved_is_one_of_two_words(lite: Make, fake: FakeProvider) -> None:
    with pytest.raises(ValueError, match="reserve must be one of bound, observed, not 'p99'"):
        lite(name="x").add_cost_limit(5, reserve="p99")  # type: ignore[arg-type]
    run = Case(lite, fake, 8).batch(1, 1.0).run()
    with pytest.raises(ValueError, match="reserve must be one of bound, observed, not 'p99'"):
        run.resume(reserve="p99")  # type: ignore[arg-type]
