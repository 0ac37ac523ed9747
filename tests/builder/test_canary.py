"""A canary: a few jobs go first, and a wrong prompt costs a few cents instead of a night."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from pydantic import BaseModel

from batchkit import Batch, get_run
from batchkit.errors import ProviderUnavailable, ValidationError
from batchkit.model import Errored, Succeeded, Usage
from batchkit.simulator import Asked, Simulator
from batchkit.simulator.outcomes import Outcome
from batchkit.testing import Course, FakeProvider
from batchkit.testing import simulator as simulator  # a fixture
from tests.builder.conftest import PRICE, Make, with_jobs


class Invoice(BaseModel):
    """What is asked for."""

    total: float


def sizes(fake: FakeProvider) -> list[int]:
    found: dict[str, int] = {}
    for entry in fake.ledger.entries:
        found[entry.ref] = found.get(entry.ref, 0) + 1
    return list(found.values())


def wrong(line: Any) -> Any:
    return "no JSON" if line else None


def test_twenty_jobs_of_all_sizes_go_first_and_the_rest_when_they_are_good(
    make: Make, fake: FakeProvider
) -> None:
    batch = make(name="night", canary=20)
    for number in range(100):
        batch.add_job(prompt=f"say {number} " + "x" * number, key=f"k{number}")
    run = batch.run()
    assert sizes(fake) == [20, 80]
    first = [len(entry.custom_id) for entry in fake.ledger.entries[:20]]
    assert len(first) == 20
    asked = sorted(
        int(one.key[1:])
        for one in run.iter_results()
        if one.batch_id == run.get("k0").result.batch_id
    )
    assert asked == [round(at * 99 // 19) for at in range(20)]
    assert run.state == "completed"
    assert run.to_json()["canary"] == {"state": "passed", "jobs": 20, "why": []}
    assert fake.ledger.bought_twice() == []


def test_a_wrong_prompt_stops_after_the_canary_and_a_resume_by_name_lets_it_go(
    make: Make, fake: FakeProvider
) -> None:
    """A bare resume, as from cron, does not; nor does the same script again."""
    fake.answer = wrong
    settings = {"name": "night", "canary": 10}
    asked: dict[str, Any] = {"response_model": Invoice, "max_attempts": 2}
    run = with_jobs(make(**settings), 60, **asked).run()
    status = run.to_json()
    assert (status["state"], status["waiting_for"]) == ("waiting", "canary")
    assert status["canary"]["state"] == "held"
    assert status["canary"]["why"][0] == "0 of 10 answers fit, 90% are asked for"
    detail = run.to_json()["waiting_detail"]
    assert "such as k" in detail
    assert "batchkit resume night" in detail
    assert sizes(fake) == [10]

    run.execute()
    with_jobs(make(**settings), 60, **asked).run()
    assert sizes(fake) == [10]

    fake.answer = None
    run.resume()
    assert run.to_json()["canary"]["state"] == "off"
    assert run.state == "completed"
    assert sorted(sizes(fake)) == [10, 10, 50]


def test_another_prompt_after_a_failed_canary_has_a_canary_of_its_own(
    make: Make, fake: FakeProvider
) -> None:
    fake.answer = wrong
    with_jobs(make(name="night", canary=10), 30, response_model=Invoice).run()
    fake.answer = None
    again = make(name="night", canary=10, on_change="replace")
    run = with_jobs(again, 30, "better {}", response_model=Invoice).run()
    assert run.to_json()["canary"]["state"] == "passed"
    assert sizes(fake) == [10, 10, 20]
    assert (run.state, run.status()["completed"]) == ("completed", 30)


def test_a_tenth_follows_a_canary_that_takes_longer_than_its_wait(
    make: Make, fake: FakeProvider
) -> None:
    fake.next(Course(takes=timedelta(hours=5)), Course(takes=timedelta(hours=1)))
    run = with_jobs(make(name="night", canary=10, canary_wait="30m"), 110).run()
    assert sizes(fake) == [10, 10, 90]
    created = [batch["start_time"] for batch in run.to_json()["batches"].values()]
    assert created == sorted(created)
    assert run.state == "completed"


def test_overload_says_nothing_of_a_prompt_and_its_jobs_are_asked_again_first(
    make: Make, fake: FakeProvider
) -> None:
    overloaded = Errored("", "overloaded", "overloaded", "busy")
    answers = iter([overloaded] * 10)
    fake.answer = lambda _: next(answers, None)
    run = with_jobs(make(name="night", canary=10), 40).run()
    assert sizes(fake) == [10, 10, 30]
    assert run.to_json()["canary"]["state"] == "passed"


def test_a_canary_is_judged_without_the_job_that_the_limit_cannot_pay(
    lite: Make, fake: FakeProvider
) -> None:
    batch = lite(name="night", canary=4).add_cost_limit(usd=0.2)
    for number in range(20):
        most = 100_000 if number == 19 else 100
        prompt = f"say {number} " + "x" * number
        batch.add_job(prompt=prompt, key=f"k{number}", max_tokens=most, price=PRICE)
    run = batch.run()
    assert sizes(fake) == [3, 16]
    status = run.to_json()
    assert (status["waiting_for"], status["canary"]["state"]) == ("budget", "passed")
    assert status["waiting_detail"].startswith("the next job needs $0.5")
    run.resume(cost_limit=2)
    assert (run.state, sizes(fake)) == ("completed", [3, 16, 1])


def test_answers_that_are_cut_off_hold_the_run_back(lite: Make, fake: FakeProvider) -> None:
    usage = Usage(input_tokens=1, output_tokens=1)
    answers = iter([Succeeded("", "half", usage, "fake-1", "length")] * 2)
    fake.answer = lambda _: next(answers, None)
    run = with_jobs(lite(name="night", canary=20), 40).run()
    why = run.to_json()["canary"]["why"]
    assert why[0] == "2 of 20 were cut off at max_tokens, 5% are allowed"
    assert sizes(fake) == [20]


def test_a_process_that_comes_next_knows_the_canary_from_the_rows(
    make: Make, fake: FakeProvider
) -> None:
    """The first one leaves while the canary is out; nothing but rows is handed on."""
    fake.next(Course(takes=timedelta(minutes=10)))
    handle = with_jobs(make(name="night", canary=5), 25).submit()
    assert sizes(fake) == [5]
    handle.execute(once=True)
    assert sizes(fake) == [5]
    run = with_jobs(make(name="night", canary=5), 25).run()
    assert sizes(fake) == [5, 20]
    assert run.state == "completed"


def test_as_few_jobs_as_a_canary_has_need_none(lite: Make, fake: FakeProvider) -> None:
    run = with_jobs(lite(name="night", canary=10), 10).run()
    assert run.to_json()["canary"] is None
    assert sizes(fake) == [10]


@pytest.mark.parametrize("given", [{"canary": 0}, {"canary": "soon"}, {"canary_wait": "later"}])
def test_a_canary_that_is_none_is_refused_with_the_way_out(given: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match="canary"):
        Batch(**given)


def test_a_rush_hour_is_waited_for_and_is_no_bad_answer(lite: Make, fake: FakeProvider) -> None:
    """429, 529 and 5xx say nothing about a prompt: they are asked again, later each time."""
    clock = fake.clock
    began = clock.now()
    for status in (429, 529, 503):
        turned_away = ProviderUnavailable("overloaded", status=status, maybe=status == 503)
        fake.fail("ask", turned_away)
    run = with_jobs(lite(name="now", canary="realtime"), 30, price=PRICE).run()
    assert fake.calls["ask"] == 23
    assert (clock.now() - began).total_seconds() >= 2 + 4 + 8
    assert run.to_json()["canary"] == {"state": "passed", "jobs": 20, "why": []}
    assert run.state == "completed"


def test_a_canary_that_cannot_be_asked_holds_the_run_and_says_why(
    lite: Make, fake: FakeProvider
) -> None:
    """It gives up after some minutes, for all of its jobs; nothing is paid."""
    fake.fail("ask", ProviderUnavailable("529 overloaded", status=529), times=100)
    run = with_jobs(lite(name="now", canary="realtime"), 30, price=PRICE).run()
    status = run.to_json()
    assert (status["waiting_for"], status["cost_usd"], fake.refs) == ("canary", 0, [])
    assert status["canary"]["state"] == "held"
    assert status["canary"]["why"] == ["20 of 20 jobs could not be asked: 529 overloaded"]
    assert fake.calls["ask"] == 6 + 20
    run.resume()
    assert run.state == "completed"


def test_a_call_that_may_have_run_is_not_made_twice_and_is_booked_at_its_bound(
    lite: Make, fake: FakeProvider
) -> None:
    fake.fail("ask", ProviderUnavailable("the connection broke", maybe=True), accept=True)
    batch = with_jobs(lite(name="now", canary="realtime").add_cost_limit(usd=1), 30, price=PRICE)
    run = batch.run()
    assert fake.calls["ask"] == 20
    assert run.to_json()["canary"]["state"] == "passed"
    assert run.state == "completed"
    assert 0.001 < run.status()["cost_usd"] < 1


def test_a_real_time_canary_that_costs_more_than_was_reserved_holds_the_run_back(
    lite: Make, fake: FakeProvider
) -> None:
    """Its money is booked all the same."""
    fake.answer = lambda line: Succeeded("", "yes", Usage(5_000, 50), "fake-1", "stop")
    batch = with_jobs(lite(name="now", canary="realtime"), 30, price=PRICE)
    status = batch.add_cost_limit(usd=1).run().to_json()
    assert status["waiting_for"] == "canary"
    assert status["canary"]["why"][0].startswith("they cost $0.2")
    assert status["cost_usd"] == pytest.approx(20 * 2 * (5_000 * 1 + 50 * 5) / 1e6)


def test_an_estimate_says_what_a_canary_takes_of_time_and_money(lite: Make) -> None:
    def said(**settings: Any) -> dict[str, Any]:
        return with_jobs(lite(name="x", **settings), 100, price=PRICE).estimate()

    plain, batch, now = said(), said(canary=20), said(canary="realtime")
    assert (plain["canary_jobs"], plain["canary_usd"], plain["canary_hours"]) == (0, 0, 0)
    assert (batch["canary_jobs"], batch["batches"], batch["waves"]) == (20, 2, 2)
    assert batch["canary_usd"] == pytest.approx(plain["usd_expected"] / 5, rel=0.02)
    assert batch["usd_expected"] == plain["usd_expected"]
    assert batch["canary_hours"] > 0
    assert batch["hours_expected"] >= plain["hours_expected"] + batch["canary_hours"] - 0.02

    assert (now["canary_jobs"], now["batches"], now["canary_hours"]) == (20, 1, 0)
    assert now["canary_usd"] == pytest.approx(2 * batch["canary_usd"], rel=0.02)
    assert now["usd_expected"] == pytest.approx(plain["usd_expected"] * 1.2, rel=0.02)
    assert now["usd_max"] == pytest.approx(plain["usd_max"] * 1.2, rel=0.1)
    assert said(canary=100)["canary_jobs"] == 0


def broken(asked: Asked) -> Outcome | None:
    return Outcome(traits=frozenset({"badjson"})) if "wrong" in asked.text else None


@pytest.mark.parametrize("simulator", [{"rule": broken}], indirect=True, ids=[""])
def test_through_both_providers_a_wrong_prompt_costs_cents(
    simulator: Simulator, migrated_url: str
) -> None:
    batch = Batch(name="both", database=migrated_url, canary=20, canary_wait="2000h").set_verbosity(
        "error"
    )
    batch.set_default_params(max_tokens=200, response_model=Invoice)
    for number in range(150):
        for model in ("claude-haiku-5-5", "gpt-6-luna"):
            batch.add_job(prompt=f"wrong {number} " + "." * number, model=model)
    whole = batch.estimate()["usd_expected"]
    run = batch.run(progress_interval=0.02)
    status = run.to_json()
    assert (status["waiting_for"], status["canary"]["state"]) == ("canary", "held")
    asked = simulator.ledger().batches
    assert sorted((one.dialect, one.total) for one in asked) == [("anthropic", 10), ("openai", 10)]
    assert status["cost_usd"] < whole / 5


def test_the_real_time_canary_asks_now_pays_in_full_and_is_not_asked_twice(
    simulator: Simulator, migrated_sqlite_url: str
) -> None:
    def script() -> Batch:
        batch = Batch(name="now", database=migrated_sqlite_url, canary="realtime")
        batch.set_verbosity("error").add_cost_limit(usd=5)
        batch.set_default_params(model="claude-haiku-5-5", max_tokens=100)
        for number in range(30):
            batch.add_job(prompt=f"Letter {number}", key=f"k{number}")
        return batch

    run = script().run(progress_interval=0.02)
    ledger = simulator.ledger()
    asked = [knock for knock in ledger.knocks if knock.route == "anthropic.messages.create"]
    assert (len(asked), [one.total for one in ledger.batches]) == (20, [10])
    assert run.to_json()["canary"] == {"state": "passed", "jobs": 20, "why": []}
    assert (run.state, run.status()["completed"]) == ("completed", 30)
    script().run(progress_interval=0.02)
    assert len(simulator.ledger().entries) == 10
    assert get_run("now", database=migrated_sqlite_url).is_complete
