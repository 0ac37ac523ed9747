"""Results: what they hold, in which order they come, and of which class their answers are."""

from __future__ import annotations

import sys
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any

import orjson
import pytest
from pydantic import BaseModel, create_model

from batchkit.errors import ValidationError
from batchkit.model import Citation, Code
from batchkit.results import JobResult
from batchkit.store import Settled
from batchkit.testing import Course
from tests.run.scenes import Invoice, Picky, Scene, asking, named


def done(scene: Scene, *texts: str, kind: type[BaseModel] = Invoice, **options: Any) -> Any:
    return scene.start(texts, template=asking(kind), **options).execute()


def test_an_answer_comes_back_as_its_class(scene: Scene) -> None:
    scene.answers["a"] = {"supplier": "ACME", "total": 12, "kind": "invoice"}

    (result,) = done(scene, "a").results()["completed"]

    assert result.parsed_response == Invoice(supplier="ACME", total=12.0)
    assert result.is_success
    assert result.key == "a"
    assert result.metadata == {"about": "a"}


def test_cost_and_tokens_sum_all_attempts(scene: Scene) -> None:
    answers = iter(["nonsense", {"supplier": "ACME", "total": 1}])
    scene.answers["a"] = lambda _row: next(answers)

    run = done(scene, "a")

    (result,) = run.results()["completed"]
    story = run.get("a")
    assert result.attempts == 2
    assert result.cost_usd == pytest.approx(sum(one["cost_usd"] for one in story.attempts))
    assert result.input_tokens == sum(one["input_tokens"] for one in story.attempts)
    assert result.total_tokens == result.input_tokens + (result.output_tokens or 0)


def test_an_unknown_cost_is_none_and_not_zero(scene: Scene) -> None:
    run = scene.start(["a"], template={"price": None}).execute()

    (result,) = run.results()["completed"]

    assert result.cost_usd is None
    assert run.status()["cost_unknown_jobs"] == 1


def test_the_four_lists_add_up_to_the_total_while_it_runs(scene: Scene) -> None:
    scene.invalid("b")
    run = scene.start(list("abcdef"), items_per_batch=2)
    scene.fake.next(Course(), Course(takes=timedelta(hours=2)), Course(takes=timedelta(hours=2)))

    with pytest.raises(TimeoutError):
        run.wait(max_wait=600)

    found = run.results()
    assert {name: len(rows) for name, rows in found.items()} == {
        "completed": 1,
        "failed": 1,
        "cancelled": 0,
        "waiting": 4,
    }
    assert sum(map(len, found.values())) == run.status()["total"]
    assert {row.state for row in found["waiting"]} == {"active"}
    assert all(row.cost_usd is None and not row.is_success for row in found["waiting"])


def test_a_job_that_is_settled_but_not_yet_collected_still_waits(scene: Scene) -> None:
    """Between the two no job may be missing from the lists."""
    run = scene.start(["a", "b"])
    scene.fake.next(Course(takes=timedelta(hours=2)))
    with pytest.raises(TimeoutError):
        run.wait(max_wait=60)
    (batch,) = scene.store.batches.of_run(scene.run_id)

    scene.store.answers.settle(batch, [Settled(0, 1, "completed", answer="x")])

    assert [row.key for row in run.results()["waiting"]] == ["a", "b"]


def test_a_draft_is_pending_and_adds_up(scene: Scene) -> None:
    run = scene.draft(["a", "b"])

    assert [row.state for row in run.results()["waiting"]] == ["pending", "pending"]
    assert run.status()["total"] == 2
    assert run.state == "draft"


def test_results_stream_in_order_of_completion_from_a_cursor(scene: Scene) -> None:
    run = scene.start(list("abcdef"), items_per_batch=2)
    scene.fake.next(Course(takes=timedelta(hours=3)), Course(), Course(takes=timedelta(hours=1)))

    run.execute()

    rows = list(run.iter_results())
    assert [row.key for row in rows] == list("cdefab")
    assert [row.key for row in run.iter_results(after=rows[2])] == list("fab")
    assert [row.key for row in run.iter_results(after=rows[2].cursor)] == list("fab")


def test_a_cursor_that_is_none_is_refused(lite: Scene) -> None:
    run = lite.start(["a"]).execute()

    with pytest.raises(ValidationError, match=r"after='soon' is no cursor"):
        run.iter_results(after="soon")


def test_only_the_states_that_were_asked_for_come(scene: Scene) -> None:
    scene.invalid("b")
    run = scene.start(list("abc")).execute()

    assert [row.key for row in run.iter_results(state="failed")] == ["b"]
    assert [row.key for row in run.rows(["completed", "pending"])] == ["a", "c"]
    with pytest.raises(ValidationError, match="no state 'done'"):
        run.iter_results(state="done")


def test_the_class_given_to_the_builder_wins_over_nothing(lite: Scene) -> None:
    """A class inside a function is in no module; the builder hands it over."""

    class Local(BaseModel):
        total: float

    lite.answers["a"] = {"total": 3}
    done(lite, "a", kind=Local)

    (typed,) = lite.handle(models={named(Local): Local}).iter_results()
    (untyped,) = lite.handle().iter_results()

    assert typed.parsed_response == Local(total=3.0)
    assert untyped.parsed_response == {"total": 3}
    assert untyped.is_success


def test_a_class_whose_module_is_not_loaded_is_not_imported(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "users_models.py").write_text("raise SystemExit('imported')")
    monkeypatch.syspath_prepend(str(tmp_path))
    lite.answers["a"] = {"supplier": "x", "total": 3}
    template = {**asking(Invoice), "response_model": "users_models:Invoice"}

    (result,) = lite.start(["a"], template=template).execute().iter_results()

    assert result.parsed_response == {"supplier": "x", "total": 3}
    assert "users_models" not in sys.modules


def test_a_class_that_changed_does_not_judge_old_answers(
    lite: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = ModuleType("changing")
    first = create_model("Thing", total=(float, ...), __module__="changing")
    monkeypatch.setattr(module, "Thing", first, raising=False)
    monkeypatch.setitem(sys.modules, "changing", module)
    lite.answers["a"] = {"total": 3}
    run = done(lite, "a", kind=first)
    (before,) = run.iter_results()

    later = create_model("Thing", total=(float, ...), tax=(float, ...), __module__="changing")
    monkeypatch.setattr(module, "Thing", later)
    (after,) = lite.handle().iter_results()

    assert isinstance(before.parsed_response, first)
    assert after.parsed_response == {"total": 3}
    assert after.is_success


def test_a_class_given_by_hand_types_answers_of_any_schema(lite: Scene) -> None:
    class Short(BaseModel):
        supplier: str

    lite.answers["a"] = {"supplier": "x", "total": 3}
    lite.answers["text"] = '{"supplier": "y"}'
    done(lite, "a")

    (result,) = lite.handle().iter_results(response_model=Short)

    assert result.parsed_response == Short(supplier="x")
    with pytest.raises(ValidationError, match="must be a pydantic model"):
        lite.handle().results(response_model=3)


def test_a_class_given_by_hand_types_answers_that_had_no_schema(lite: Scene) -> None:
    class Short(BaseModel):
        supplier: str

    lite.answers["a"] = '{"supplier": "y"}'
    run = lite.start(["a"]).execute()

    (plain,) = run.iter_results()
    (typed,) = run.iter_results(response_model=Short)

    assert plain.parsed_response is None
    assert plain.raw_response == '{"supplier": "y"}'
    assert plain.is_success
    assert typed.parsed_response == Short(supplier="y")


def test_reading_never_changes_a_state(lite: Scene) -> None:
    """Collected by the stored schema, refused by a validator that only the reader has."""
    template = asking(Picky)
    lite.answers["a"] = {"total": 500}
    run = lite.start(["a"], template={**template, "response_model": "elsewhere:Picky"}).execute()

    (result,) = lite.handle(models={"elsewhere:Picky": Picky}).iter_results()

    assert result.state == "completed"
    assert result.parsed_response is None
    assert not result.is_success
    assert result.error_code == Code.INVALID_OUTPUT
    assert "too much" in str(result.error)
    assert result.raw_response == '{"total":500}'
    assert run.status()["completed"] == 1


def test_the_source_is_the_path_of_the_file(lite: Scene) -> None:
    file = {"path": "inbox/a.txt", "name": "a.txt"}
    run = lite.draft(["a", "b"], documents=[[file]])

    assert [row.source for row in run.rows()] == ["inbox/a.txt", None]


def test_a_result_survives_its_own_json(tmp_path: Path) -> None:
    result = JobResult(
        job_id="run-1-0",
        key="a",
        state="completed",
        raw_response="{}",
        parsed_response=Invoice(supplier="x", total=1.5),
        citations=[Citation("words", "a.pdf", 3, {"start": 1})],
        citation_mappings={"supplier": [Citation("x", "a.pdf")]},
        input_tokens=3,
        output_tokens=4,
        cost_usd=0.1,
        metadata={"n": 1},
        cursor="1:0",
    )

    result.save_to_json(tmp_path / "deep" / "a.json")

    back = JobResult.from_dict(orjson.loads((tmp_path / "deep" / "a.json").read_bytes()))
    assert Invoice.model_validate(back.parsed_response) == result.parsed_response
    assert back.citations == result.citations
    assert back.citation_mappings == result.citation_mappings
    assert back.to_dict() == result.to_dict()
    assert [path.name for path in (tmp_path / "deep").iterdir()] == ["a.json"]


def test_what_is_no_result_is_refused() -> None:
    with pytest.raises(ValidationError, match="it has no job_id, state"):
        JobResult.from_dict({"key": "a"})


def test_a_story_tells_every_attempt_with_reason_and_change(scene: Scene) -> None:
    answers = iter(["nonsense", {"supplier": "ACME", "total": 1}])
    scene.answers["a"] = lambda _row: next(answers)
    run = done(scene, "a", "b")

    story = run.get("a")

    assert story.result.is_success
    assert [one["reason"] for one in story.attempts] == ["first", "invalid_output"]
    assert [list(one["change"]) for one in story.attempts] == [[], ["note"]]
    assert [one["state"] for one in story.attempts] == ["again", "completed"]
    assert all(one["batch"].startswith("fake-batch-") for one in story.attempts)
    assert story.batch is not None
    assert story.batch["ref"] == story.attempts[-1]["batch"]
    assert orjson.loads(orjson.dumps(story.to_dict()))["key"] == "a"


def test_a_story_says_where_a_job_is_now(scene: Scene) -> None:
    run = scene.start(["a"])
    scene.fake.next(Course(takes=timedelta(hours=2)))
    with pytest.raises(TimeoutError):
        run.wait(max_wait=60)

    story = run.get("a")

    assert story.result.state == "active"
    assert story.attempts == []
    assert story.batch is not None
    assert story.batch["state"] == "running"


def test_a_story_finds_the_kept_download(lite: Scene, tmp_path: Path) -> None:
    lite.answers["a"] = "Hello."
    run = lite.start(["a"], results_dir=str(tmp_path / "out"), raw_files="on").execute()

    kept = run.get("a").raw_file

    assert kept is not None
    assert "Hello." in Path(kept).read_text()
    assert Path(kept).is_relative_to(tmp_path / "out" / "raw_files")


def test_an_unknown_key_is_named(lite: Scene) -> None:
    with pytest.raises(ValidationError, match=r"'night' has no job with the key 'z'"):
        lite.start(["a"]).get("z")


def test_failed_jobs_come_with_their_errors(scene: Scene) -> None:
    scene.invalid("b")
    run = scene.start(list("abc")).execute()

    assert run.get_failed_jobs() == {"b": "bad_request: no: b"}
