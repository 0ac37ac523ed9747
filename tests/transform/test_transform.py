"""Rows in, typed rows out: batched, asked again alone, resumed, and on the books."""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from collections.abc import Callable
from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, Field

from batchkit import (
    Batch,
    ConfigError,
    ExhaustionError,
    Transform,
    TransformResult,
    ValidationError,
    get_run,
)
from batchkit.clock import SystemClock
from batchkit.errors import CostLimitExceededError
from batchkit.model import Errored, Json, Succeeded, Usage
from batchkit.simulator import Simulator
from batchkit.testing import FakeProvider, ManualClock
from batchkit.testing import simulator as simulator  # a fixture

PRICE = {"input": 1.0, "output": 5.0}
MODEL = "fake-1"
LIMIT = 0.0016
ROOT = Path(__file__).resolve().parents[2]


class Mood(BaseModel):
    """What is asked for."""

    mood: str
    score: int = Field(ge=0, le=100)


class Model:
    """Answers as it is told: what each row gets, and what is done to an answer to several."""

    def __init__(self) -> None:
        self.asked: list[list[Json]] = []
        self.bend: Callable[[list[Json]], Any] = lambda answers: answers
        self.alone: Callable[[Json], Any] = lambda row: None

    def __call__(self, line: Json) -> Any:
        numbered = re.findall(r"^(\d+): (\{.*\})$", line["prompt"], re.M)
        if not numbered:
            row = json.loads(line["prompt"].splitlines()[0])
            self.asked.append([row])
            return self.alone(row) or self.mood(row)
        self.asked.append([json.loads(data) for _, data in numbered])
        answers = [
            {"row": int(number), "answer": self.mood(json.loads(data))} for number, data in numbered
        ]
        bent = self.bend(answers)
        return {"rows": bent} if isinstance(bent, list) else bent

    @staticmethod
    def mood(row: Json) -> Json:
        return {"mood": f"mood of {row['id']}", "score": row["id"] % 100}

    @property
    def sizes(self) -> list[int]:
        return [len(rows) for rows in self.asked]


@pytest.fixture
def model() -> Model:
    return Model()


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def fake(model: Model, clock: ManualClock) -> FakeProvider:
    return FakeProvider(clock=clock, answer=model)


@pytest.fixture
def make(
    migrated_url: str, clock: ManualClock, fake: FakeProvider
) -> Callable[..., Transform[Mood]]:
    return maker(migrated_url, clock, fake)


@pytest.fixture
def lite(
    migrated_sqlite_url: str, clock: ManualClock, fake: FakeProvider
) -> Callable[..., Transform[Mood]]:
    return maker(migrated_sqlite_url, clock, fake)


def maker(url: str, clock: ManualClock, fake: FakeProvider) -> Callable[..., Transform[Mood]]:
    def make(**settings: Any) -> Transform[Mood]:
        given = {"prompt": "How is the mood?", "output_model": Mood, "name": "moods", **settings}
        return Transform(**given, database=url, clock=clock, providers={"fake": fake})

    return make


def rows(count: int, start: int = 0) -> list[dict[str, Any]]:
    return [{"id": number, "text": f"text {number}"} for number in range(start, start + count)]


def moods(ids: range | list[int]) -> list[str]:
    return [f"mood of {number}" for number in ids]


def test_rows_share_requests_and_come_back_in_order(make: Any, fake: FakeProvider, model: Model):
    """Whatever the order of the answers."""
    model.bend = lambda answers: answers[::-1]
    result = make(batch_size=10).run(MODEL, data=rows(25), price=PRICE)
    assert [one.mood for one in result.data] == moods(range(25))
    assert all(isinstance(one, Mood) for one in result.data)
    assert (result.success, result.errors) == (True, [])
    assert [(row.index, row.error) for row in result.rows] == [(n, None) for n in range(25)]
    assert model.sizes == [10, 10, 5]
    found = result.metrics
    assert (found.rows, found.requests, found.retries) == (25, 3, 0)
    assert found.input_tokens > 0 < found.output_tokens
    assert found.cost == pytest.approx((found.input_tokens + 5 * found.output_tokens) / 1e6)
    assert found.seconds > 0


def test_the_same_rows_again_buy_nothing_and_more_rows_buy_only_those(
    make: Any, fake: FakeProvider, model: Model
):
    first = make().run(MODEL, data=rows(25), price=PRICE)
    again = make().run(MODEL, data=rows(25), price=PRICE)
    assert [one.mood for one in again.data] == moods(range(25))
    assert (len(fake.ledger.entries), again.metrics.cost) == (3, first.metrics.cost)
    more = make().run(MODEL, data=[*rows(3, start=90), *rows(25)[::-1]])
    assert [one.mood for one in more.data] == moods([90, 91, 92, *range(24, -1, -1)])
    assert model.sizes == [10, 10, 5, 3]
    assert fake.ledger.bought_twice() == []


def test_without_a_name_the_rows_name_the_run(make: Any, fake: FakeProvider):
    for _ in range(2):
        make(name=None).run(MODEL, data=rows(3))
    make(name=None).run(MODEL, data=rows(4))
    make(name=None, prompt="Something else?").run(MODEL, data=rows(3))
    assert len(fake.ledger.entries) == 3


def left_out(answers: list[Json]) -> Any:
    return [one for one in answers if one["row"] != 2]


def named_twice(answers: list[Json]) -> Any:
    return [*answers, answers[1]]


def misnumbered(answers: list[Json]) -> Any:
    return [{**one, "row": 99} if one["row"] == 2 else one for one in answers]


def one_misfit(answers: list[Json]) -> Any:
    bad = {"mood": "x", "score": 1_000}
    return [{**one, "answer": bad} if one["row"] == 2 else one for one in answers]


@pytest.mark.parametrize("bend", [left_out, named_twice, misnumbered, one_misfit])
def test_what_an_answer_lacks_is_asked_for_again_alone(
    make: Any, fake: FakeProvider, model: Model, bend: Any
):
    """And what it holds is kept."""
    model.bend = bend
    result = make(batch_size=4).run(MODEL, data=rows(8), price=PRICE)
    assert [one.mood for one in result.data] == moods(range(8))
    assert model.sizes == [4, 4, 1, 1]
    assert [one[0]["id"] for one in model.asked[2:]] == [1, 5]
    assert (result.metrics.requests, result.metrics.retries) == (4, 2)
    assert len(fake.ledger.entries) == 4
    assert make(batch_size=4).run(MODEL, data=rows(8)).success
    assert len(fake.ledger.entries) == 4


def truncated(answers: list[Json]) -> Any:
    return Succeeded("", '{"rows": [', Usage(10, 10), MODEL, "length")


@pytest.mark.parametrize("bend", [truncated, lambda answers: "no JSON", lambda answers: {"a": 1}])
def test_a_request_that_fails_is_split_into_its_rows(
    lite: Any, fake: FakeProvider, model: Model, bend: Any
):
    model.bend = bend
    result = lite(batch_size=3).run(MODEL, data=rows(6))
    assert [one.mood for one in result.data] == moods(range(6))
    assert model.sizes == [3, 3, 1, 1, 1, 1, 1, 1]


def test_many_misfits_do_not_hold_up_what_is_asked_alone(lite: Any, model: Model):
    """The brake for answers that fail for one reason is for asking the same again."""
    model.bend = lambda answers: "no JSON"
    result = lite(batch_size=5).run(MODEL, data=rows(150))
    assert (len(result.data), model.sizes.count(5), model.sizes.count(1)) == (150, 30, 150)


def test_jobs_of_a_run_of_the_same_name_are_left_alone(
    lite: Any, fake: FakeProvider, clock: ManualClock, migrated_sqlite_url: str
):
    given: Json = {"clock": clock, "providers": {"fake": fake}, "database": migrated_sqlite_url}
    batch = Batch(name="moods", **given).set_verbosity("error").set_default_params(model=MODEL)
    for number in range(3):
        batch.add_job(prompt=f'{{"id": {number}}}', key=f"own-{number}")
    batch.run(first=1)
    assert lite().run(MODEL, data=rows(3)).success
    status = get_run("moods", database=migrated_sqlite_url).status()
    assert (status["cancelled"], status["completed"]) == (0, 2)


def test_an_overloaded_provider_is_asked_for_the_same_rows_together(lite: Any, model: Model):
    """What never was answered need not be split."""
    errors = iter([Errored("", "overloaded", "busy", "later", 529)] * 2)
    model.bend = lambda answers: next(errors, answers)
    assert lite(batch_size=3).run(MODEL, data=rows(6)).success
    assert model.sizes == [3, 3, 3, 3]


def test_four_attempts_are_four(lite: Any, model: Model):
    """One together and three alone, or four alone."""
    model.bend = left_out
    model.alone = lambda row: {"mood": "x", "score": 1_000} if row["id"] == 1 else None
    with pytest.raises(ExhaustionError, match=r"1 of 4 rows has no output.*\n.*row 1: ") as caught:
        lite(batch_size=4).run(MODEL, data=rows(4), price=PRICE)
    assert model.sizes == [4, 1, 1, 1]
    result = caught.value.result
    assert [one.mood for one in result.data] == moods([0, 2, 3])
    assert [(row.index, "less than or equal to 100" in row.error) for row in result.errors] == [
        (1, True)
    ]
    assert (result.metrics.requests, result.metrics.retries) == (4, 3)
    model.asked.clear()
    collected = lite(batch_size=4, stop_on_exhaustion=False).run(MODEL, data=rows(4))
    assert (collected.success, len(collected.data), model.asked) == (False, 3, [])
    single = lite(name="alone", batch_size=1, stop_on_exhaustion=False)
    assert len(single.run(MODEL, data=rows(4)).data) == 3
    assert model.sizes.count(1) == len(model.asked) == 7


def test_no_retries_is_one_attempt(lite: Any, model: Model):
    model.bend = left_out
    result = lite(batch_size=4, max_retries=0, stop_on_exhaustion=False).run(MODEL, data=rows(4))
    assert (len(result.data), model.sizes) == (3, [4])
    assert [row.error for row in result.errors] == [
        "the answer to several rows left this row out, or named it twice"
    ]


def test_equal_rows_stay_two(lite: Any):
    result = lite().run(MODEL, data=[*rows(1), *rows(1)])
    assert [one.mood for one in result.data] == moods([0, 0])


def test_shuffled_rows_come_back_in_order(lite: Any, fake: FakeProvider, model: Model):
    result = lite(shuffle=True, batch_size=5).run(MODEL, data=rows(20))
    assert [one.mood for one in result.data] == moods(range(20))
    assert [row["id"] for row in model.asked[0]] != [0, 1, 2, 3, 4]
    lite(shuffle=True, batch_size=5).run(MODEL, data=rows(20))
    assert len(fake.ledger.entries) == 4


def test_no_rows_are_no_work(lite: Any, fake: FakeProvider):
    result = lite().run(MODEL, data=[])
    assert (result.data, result.success, result.metrics.requests) == ([], True, 0)
    assert fake.calls["create"] == 0


def test_rows_are_shown_as_numbered_json(lite: Any, fake: FakeProvider):
    lines: list[Json] = []
    fake.answer = lines.append  # returns None: the default answer, which fits the schema
    data = [{"at": date(2026, 11, 21), "price": Decimal("1.10")}, {"words": "a\nb"}]
    lite(stop_on_exhaustion=False, max_retries=0).run(MODEL, data=data, temperature=0.5)
    assert lines[0]["prompt"] == '1: {"at":"2026-11-21","price":"1.10"}\n2: {"words":"a\\nb"}'
    assert lines[0]["system"].startswith("How is the mood?\n\n")
    assert (lines[0]["temperature"], lines[0]["max_tokens"]) == (0.5, 2_000)


def test_concurrency_is_batches_in_flight(lite: Any, fake: FakeProvider, migrated_sqlite_url: str):
    lite(concurrency=2).run(MODEL, data=rows(3))
    assert (
        get_run("moods", database=migrated_sqlite_url).to_json()["settings"]["max_parallel_batches"]
        == 2
    )


# going on


class Killed(BaseException):
    """The process dies here."""


@pytest.mark.parametrize("round_", [1, 2])
@pytest.mark.parametrize("call", ["create", "download"])
def test_a_killed_transform_goes_on_and_buys_nothing_twice(
    lite: Any, fake: FakeProvider, model: Model, clock: ManualClock, round_: int, call: str
):
    """In the first round, and in that of the rows that are asked again."""
    model.bend = left_out
    fake.fail(call, Killed(), accept=True, nth=round_)
    with pytest.raises(Killed):
        lite(batch_size=4).run(MODEL, data=rows(8))
    clock.advance(timedelta(hours=2))  # the lease of the dead process runs out
    model.bend = left_out
    result = lite(batch_size=4).run(MODEL, data=rows(8))
    assert [one.mood for one in result.data] == moods(range(8))
    assert fake.ledger.bought_twice() == []
    assert len(fake.ledger.entries) == 4


def stuck(make: Any, **settings: Any) -> int:
    """Run 40 rows under a limit that some of them reach; return how many are done."""
    transform = make(batch_size=1, cost_limit=LIMIT, **settings)
    with pytest.raises(ExhaustionError, match="the run waits for budget") as caught:
        transform.run(MODEL, data=rows(40), price=PRICE, max_tokens=200)
    assert caught.value.result.metrics.cost <= LIMIT
    return len(caught.value.result.data)


def test_what_nobody_asks_for_any_more_is_not_sent(
    lite: Any, fake: FakeProvider, migrated_sqlite_url: str
):
    """Another prompt under the same name, while jobs of the one before wait."""
    done = stuck(lite)
    again = lite(prompt="Another question?", batch_size=40, cost_limit=1)
    assert again.run(MODEL, data=rows(40), price=PRICE).success
    status = get_run("moods", database=migrated_sqlite_url).status()
    assert (status["completed"], status["cancelled"]) == (done + 1, 40 - done)
    assert len(fake.ledger.entries) == done + 1


def test_a_limit_that_is_reached_stops_and_says_so(make: Any, fake: FakeProvider):
    """What was done is carried; a higher limit goes on."""
    assert 0 < stuck(make) < 40
    higher = make(batch_size=1, cost_limit=1)
    result = higher.run(MODEL, data=rows(40), price=PRICE, max_tokens=200)
    assert (result.success, len(fake.ledger.entries)) == (True, 40)


def test_a_limit_that_has_no_room_at_all_sends_nothing(lite: Any, fake: FakeProvider):
    with pytest.raises(CostLimitExceededError):
        lite(cost_limit=0.000001).run(MODEL, data=rows(2), price=PRICE)
    assert fake.ledger.entries == []


def test_a_cancelled_run_says_so_and_is_not_bought_again(
    lite: Any, fake: FakeProvider, migrated_sqlite_url: str
):
    done = stuck(lite)
    get_run("moods", database=migrated_sqlite_url).cancel()
    transform = lite(batch_size=1, cost_limit=1, stop_on_exhaustion=False)
    result = transform.run(MODEL, data=rows(40), price=PRICE, max_tokens=200)
    assert {row.error for row in result.errors} == {"cancelled"}
    assert (len(result.data), len(fake.ledger.entries)) == (done, done)


# trying out


def test_a_test_asks_one_row_now_and_the_run_takes_its_answer(
    make: Any, fake: FakeProvider, model: Model
):
    tried = make(batch_size=3).test(MODEL, data=rows(7), price=PRICE)
    assert ([one.mood for one in tried.data], tried.metrics.rows) == (moods([0]), 1)
    assert (tried.metrics.requests, tried.metrics.cost) == (1, pytest.approx(tried.metrics.cost))
    assert (fake.calls["ask"], fake.ledger.entries) == (1, [])
    make(batch_size=3).test(MODEL, data=rows(7), price=PRICE)
    assert fake.calls["ask"] == 1
    result = make(batch_size=3).run(MODEL, data=rows(7), price=PRICE)
    assert [one.mood for one in result.data] == moods(range(7))
    assert model.sizes == [1, 3, 3]
    assert result.metrics.requests == 3
    assert asyncio.run(make().atest(MODEL, data=rows(9, 50))).data[0].mood == "mood of 50"


def test_a_test_whose_answer_is_none_says_so(lite: Any, model: Model):
    model.alone = lambda row: "no JSON"
    with pytest.raises(ExhaustionError, match="row 0: the answer is not JSON"):
        lite().test(MODEL, data=rows(2), price=PRICE)
    found = lite(stop_on_exhaustion=False).test(MODEL, data=rows(2), price=PRICE)
    assert (found.success, found.metrics.requests, found.metrics.cost > 0) == (False, 1, True)


# where it runs


def test_inside_an_event_loop_the_twin_is_named(lite: Any):
    async def inside() -> None:
        with pytest.raises(RuntimeError, match="arun"):
            lite().run(MODEL, data=rows(1))
        with pytest.raises(RuntimeError, match="atest"):
            lite().test(MODEL, data=rows(1))
        result = await lite().arun(MODEL, data=rows(1))
        assert [one.mood for one in result.data] == moods([0])

    asyncio.run(inside())


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": None}, "prompt is empty"),
        ({"output_model": None}, "must be a pydantic model class"),
        ({"output_model": dict}, "must be a pydantic model class"),
        ({"output_model": Mood(mood="a", score=1)}, "must be a pydantic model class"),
        ({"batch_size": 0}, "batch_size must be a whole number of 1 or more"),
        ({"batch_size": 2.5}, "batch_size must be"),
        ({"concurrency": 0}, "concurrency must be"),
        ({"max_retries": -1}, "max_retries must be a whole number of 0 or more"),
        ({"max_retries": True}, "max_retries must be"),
        ({"cost_limit": 0}, "cost_limit must be above 0"),
    ],
)
def test_what_cannot_work_is_said_on_construction(lite: Any, settings: Json, said: str):
    with pytest.raises(ConfigError, match=said):
        lite(**settings)


def test_a_test_needs_a_row(lite: Any):
    with pytest.raises(ConfigError, match="data is empty"):
        lite().test(MODEL, data=[])


@pytest.mark.parametrize(
    ("data", "more", "said"),
    [
        ([{"a": 1}, "b"], {}, "Row 1 is no dictionary but str"),
        ([{"a": object()}], {}, "Row 0 cannot be written as JSON"),
        ([{"a": 1}], {"system": "x"}, "system cannot be given here"),
        ([{"a": 1}], {"temperatur": 1}, "did you mean temperature"),
    ],
)
def test_bad_rows_and_parameters_are_named(lite: Any, data: Any, more: Json, said: str):
    with pytest.raises(ValidationError, match=said):
        lite().run(MODEL, data=data, **more)


REAL = [{"mood": f"Mood {number}", "score": number} for number in range(12)]

SCRIPT = """
from tests.transform.test_transform import REAL, real
real(%r, %r)
"""


def real(database: str, model: str) -> TransformResult[Mood]:
    transform = Transform("How is the mood?", Mood, name="moods", database=database, batch_size=5)
    return transform.run(model, data=REAL)


@pytest.mark.slow
def test_a_process_that_is_killed_is_gone_on_with(
    simulator: Simulator, migrated_sqlite_url: str, python: Path
):
    """By SIGKILL once its batch is at the provider; every row once, and nothing bought twice."""
    model = "claude-haiku-5-5"
    child = subprocess.Popen(
        [python, "-c", SCRIPT % (migrated_sqlite_url, model)],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.DEVNULL,
    )
    while not simulator.ledger().creates():
        assert child.poll() is None
        SystemClock().wait(0.05)
    child.kill()
    child.wait()

    for _ in range(2):
        result = real(migrated_sqlite_url, model)
        assert [(one.mood, one.score) for one in result.data] == [
            (row["mood"], row["score"]) for row in REAL
        ]
        assert (result.metrics.requests, result.metrics.retries) == (3, 0)
    assert simulator.ledger().bought_twice() == []


def test_it_says_of_how_many_rows_it_has_the_answers(lite: Any, capsys: pytest.CaptureFixture[str]):
    lite().run(MODEL, data=rows(5), price=PRICE)
    lite().run(MODEL, data=rows(8), price=PRICE)
    said = capsys.readouterr().err
    assert "Transform 'moods': 5 of 8 rows known, the others are asked now" in said
    assert "Run 'moods'" not in said
