"""Answers are paid for once: a mended model reads what is stored, on SQLite and on Postgres."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, create_model, field_validator

from batchkit.errors import ValidationError
from batchkit.run import BatchRun
from batchkit.store import Settled
from batchkit.testing import Course
from tests.run.scenes import Picky, Scene, asking, named


class Mild(BaseModel):
    """Picky, mended: the same schema, accepts more."""

    total: float


def _class(**fields: Any) -> type[BaseModel]:
    """A class named Picky with other fields, as after an edit of the script."""
    return create_model("Picky", __module__=Picky.__module__, **fields)


def _night(scene: Scene, totals: dict[str, Any], **options: Any) -> BatchRun:
    """A run whose answers were judged by Picky in the program that collected them."""
    scene.answers = {key: {"total": total} for key, total in totals.items()}
    scene.start(list(totals), template=asking(Picky), max_attempts=1, **options)
    run = scene.handle(models={named(Picky): Picky})
    run.execute()
    return run


def _books(scene: Scene) -> None:
    assert scene.store.audit.problems(scene.run_id) == []
    assert scene.fake.ledger.bought_twice() == []


def test_answers_that_fit_the_mended_class_are_completed_for_free(scene: Scene) -> None:
    run = _night(scene, {"a": 5, "b": 500, "c": 700})
    assert [(r.key, r.error_code) for r in run.results()["failed"]] == [
        ("b", "invalid_output"),
        ("c", "invalid_output"),
    ]
    before = run.status()
    asked = len(scene.fake.refs)

    assert run.reparse(Mild) == 2
    status = run.status()
    assert (status["completed"], status["failed"], status["state"]) == (3, 0, "completed")
    assert status["cost_usd"] == before["cost_usd"]
    assert len(scene.fake.refs) == asked
    assert {type(r.parsed_response) for r in run.results()["completed"]} == {Mild}
    _books(scene)


def test_the_paid_attempt_stays_on_the_books_and_its_cost_on_the_job(scene: Scene) -> None:
    run = _night(scene, {"b": 500})
    paid = run.get("b").result
    run.reparse(Mild)
    story = run.get("b")
    assert [(one["state"], one["cost_kind"]) for one in story.attempts] == [
        ("failed", "exact"),
        ("completed", "free"),
    ]
    assert story.result.cost_usd == paid.cost_usd
    assert story.result.input_tokens == paid.input_tokens
    assert story.result.attempts == 1


def test_what_still_does_not_fit_stays_as_it_is(scene: Scene) -> None:
    run = _night(scene, {"a": 5, "b": 500, "c": "many"})
    assert run.reparse(Mild) == 1
    [left] = run.results()["failed"]
    assert (left.key, left.error_code, left.raw_response) == (
        "c",
        "invalid_output",
        '{"total":"many"}',
    )
    assert "1 still does not" in scene.said.getvalue()
    assert run.reparse(Mild) == 0
    _books(scene)


def test_the_cursor_of_a_reader_goes_on_to_what_was_reparsed(scene: Scene) -> None:
    run = _night(scene, {"a": 5, "b": 500, "c": 700})
    seen = list(run.iter_results())
    run.reparse(Mild)
    new = list(run.iter_results(after=seen[-1]))
    assert [(one.key, one.state) for one in new] == [("b", "completed"), ("c", "completed")]
    assert list(run.iter_results(after=new[-1])) == []


def test_a_class_with_another_schema_reads_new_and_old_answers_that_fit(scene: Scene) -> None:
    """The model was asked with the old schema; what fits the new class is of it from now on."""
    run = _night(scene, {"a": 5, "b": 500})
    wider = _class(total=(float, ...), note=(str | None, None))
    assert run.reparse(wider) == 1
    assert {type(r.parsed_response) for r in run.results()["completed"]} == {wider}

    again = scene.handle(models={named(Picky): wider})
    assert {type(r.parsed_response) for r in again.results()["completed"]} == {wider}
    old = scene.handle(models={named(Picky): Picky})
    assert {type(r.parsed_response) for r in old.results()["completed"]} == {dict}
    _books(scene)


def test_an_accepted_answer_that_does_not_fit_the_new_class_stays_accepted(scene: Scene) -> None:
    run = _night(scene, {"a": 5, "b": 500})

    class Large(BaseModel):
        total: float
        unit: str = "EUR"

        @field_validator("total")
        @classmethod
        def _large(cls, value: float) -> float:
            if value < 100:
                raise ValueError("too little")
            return value

    assert run.reparse(Large) == 1
    found = {r.key: r for r in run.results()["completed"]}
    assert type(found["b"].parsed_response) is Large
    assert found["a"].parsed_response == {"total": 5}
    assert found["a"].is_success
    _books(scene)


def test_answers_are_restored_by_the_schema_they_were_asked_with(scene: Scene) -> None:
    """A dict travels as a list of pairs in strict mode: a new class must not read it as such."""

    class Sums(BaseModel):
        sums: dict[str, float]

        @field_validator("sums")
        @classmethod
        def _few(cls, value: dict[str, float]) -> dict[str, float]:
            if len(value) > 1:
                raise ValueError("too many")
            return value

    mended = create_model("Sums", sums=(dict[str, float] | list[float], ...))
    pairs = [{"key": "a", "value": 1.0}, {"key": "b", "value": 2.0}]
    scene.answers = {"x": {"sums": pairs}}
    scene.start(["x"], template=asking(Sums), max_attempts=1)
    run = scene.handle(models={named(Sums): Sums})
    run.execute()
    assert run.results()["failed"][0].error_code == "invalid_output"
    assert run.reparse(mended) == 1
    [result] = run.results()["completed"]
    assert result.parsed_response == mended(sums={"a": 1.0, "b": 2.0})


def test_without_a_class_the_stored_schema_judges(scene: Scene) -> None:
    _night(scene, {"b": 500, "c": "many"})
    stranger = scene.handle()
    assert stranger.reparse(Mild) == 1
    assert stranger.reparse() == 0


def test_a_program_that_cannot_import_the_class_judges_by_the_schema(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    _night(scene, {"b": 500, "c": "many"})
    monkeypatch.delattr("tests.run.scenes.Picky")
    assert scene.handle().reparse() == 1
    _books(scene)


def test_jobs_held_back_for_review_are_taken_before_they_are_bought_again(scene: Scene) -> None:
    """The brake stopped a mistake that repeats: the mended model finishes the run, nothing sent."""
    scene.answers = {f"{n:03}": {"total": 500} for n in range(40)}
    scene.start([f"{n:03}" for n in range(100)], template=asking(Picky), max_attempts=3)
    scene.answers |= {f"{n:03}": {"total": 1} for n in range(40, 100)}
    run = scene.handle(models={named(Picky): Picky})
    run.execute()
    assert run.status()["waiting_for"] == "review"
    asked = len(scene.fake.refs)
    assert run.reparse(Mild) == 40
    assert run.status()["state"] == "completed"
    assert run.execute().is_complete
    assert len(scene.fake.refs) == asked
    _books(scene)


def test_a_retry_that_was_not_sent_yet_is_not_bought(scene: Scene) -> None:
    run = _night(scene, {"a": 5, "b": 500})
    assert run.retry() == 1
    assert run.reparse(Mild) == 1
    assert run.is_complete
    assert run.execute().status()["completed"] == 2
    assert len(scene.fake.refs) == 1
    _books(scene)


def test_what_is_in_flight_again_is_left_alone(scene: Scene) -> None:
    """A paid answer is on its way: it has its end first."""
    run = _night(scene, {"a": 5, "b": 500})
    run.retry()
    scene.fake.next(Course(takes=timedelta(hours=5)))
    run.execute(once=True)
    assert scene.store.runs.live(scene.run_id)[1] == 1
    assert run.reparse(Mild) == 0
    run.execute()
    assert [r.error for r in run.results()["failed"]] == []
    assert run.status()["completed"] == 2  # the handle judges by the mended class now
    assert scene.store.audit.problems(scene.run_id) == []


def test_parser_crashed_is_taken_as_well(scene: Scene) -> None:
    scene.answers = {"a": {"total": 5}}
    scene.start(["a", "b"], template=asking(Picky), max_attempts=1)
    run = scene.handle(models={named(Picky): Picky})
    lane = scene.store.jobs.lanes(scene.run_id)[0]
    with scene.store.database.write() as connection:
        from batchkit.store import local

        crashed = Settled(
            1, 1, "failed", code="parser_crashed", error="twice", answer='{"total": 7}', cost=10
        )
        local.book(connection, scene.run_id, lane.id, [crashed], scene.clock.now())
    run.execute()
    assert run.status()["failed"] == 1
    assert run.reparse(Picky) == 1
    assert run.status()["completed"] == 2
    _books(scene)


def test_the_files_of_results_dir_follow(scene: Scene, tmp_path: Path) -> None:
    run = _night(scene, {"a": 5, "b": 500}, results_dir=str(tmp_path / "out"))
    assert orjson.loads((tmp_path / "out" / "b.json").read_bytes())["state"] == "failed"
    run.reparse(Mild)
    written = orjson.loads((tmp_path / "out" / "b.json").read_bytes())
    assert (written["state"], written["parsed_response"]) == ("completed", {"total": 500.0})


def test_a_class_that_stands_for_none_of_several_is_refused(scene: Scene) -> None:
    _night(scene, {"b": 500})

    class Other(BaseModel):
        total: float

    scene.add(["z"], template=asking(Other))
    with pytest.raises(ValidationError, match="is not clear"):
        scene.handle().reparse(Mild)
    with pytest.raises(ValidationError, match="must be a pydantic model"):
        scene.handle().reparse("invoices.py:Invoice")


def test_many_chunks_are_many_transactions_and_nothing_comes_twice(scene: Scene) -> None:
    run = _night(scene, {f"{n:04}": 500 for n in range(1_200)})
    assert asyncio.run(run.areparse(Mild)) == 1_200
    keys = [one.key for one in run.iter_results()]
    assert len(keys) == len(set(keys)) == 1_200
    _books(scene)
