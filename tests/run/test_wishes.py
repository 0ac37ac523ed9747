"""Retry and cancel: what goes again, what never can, and what is too late to stop."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from batchkit.errors import ValidationError
from batchkit.model import Code
from batchkit.run.retries import can_work
from batchkit.testing import Course
from tests.run.scenes import Invoice, Scene, asking


def failed(scene: Scene, **options: Any) -> Any:
    """A run whose job a is fine, b was refused as invalid, and c never fitted its schema."""
    scene.invalid("b")
    scene.answers["c"] = "nonsense"
    return scene.start(["a", "b", "c"], template=asking(Invoice), **options).execute()


def test_a_retry_buys_what_can_work_and_counts_the_rest(scene: Scene) -> None:
    run = failed(scene)
    scene.answers.clear()

    assert run.retry() == 1

    assert "1 job goes again; left out, since it cannot work as it is: invalid_request 1" in (
        scene.said.getvalue()
    )
    assert run.status()["pending"] == 1
    run.execute()
    assert run.status()["completed"] == 2
    assert scene.store.audit.problems(scene.run_id) == []


def test_a_retry_sends_nothing_by_itself(scene: Scene) -> None:
    run = failed(scene)
    before = scene.fake.calls["create"]

    run.retry()

    assert scene.fake.calls["create"] == before
    assert run.state == "running"


def test_a_reason_that_is_named_goes_again(scene: Scene) -> None:
    run = failed(scene)
    scene.answers.clear()

    assert run.retry(codes=["invalid_request"]) == 1
    assert run.execute().status()["failed_by_code"] == {"invalid_output": 1}


def test_only_the_named_keys_go_again(scene: Scene) -> None:
    run = failed(scene)

    assert run.retry(keys=["a", "zzz"]) == 0
    assert run.retry(keys=["c", "c"]) == 1


def test_more_tokens_go_with_the_retry(scene: Scene) -> None:
    sent: list[int] = []

    def answer(row: dict[str, Any]) -> Any:
        sent.append(row["max_tokens"])
        return "nonsense" if row["max_tokens"] < 500 else {"supplier": "x", "total": 1}

    scene.answers["a"] = answer
    run = scene.start(["a"], template=asking(Invoice)).execute()

    assert run.retry_failed(max_tokens=700) == 1
    run.execute()

    assert sent[-1] == 700
    assert run.state == "completed"
    assert run.get("a").attempts[-1]["change"] == {"max_tokens": 700}


def test_another_prompt_makes_a_new_revision(scene: Scene) -> None:
    run = failed(scene)

    assert run.retry(prompt="Look again.") == 2
    run.execute()

    assert run.state == "completed"
    assert run.status()["total"] == 3
    assert run.get("b").request["prompt"] == "Look again."
    assert [row.key for row in run.iter_results()].count("b") == 1
    assert scene.store.audit.problems(scene.run_id) == []


def test_another_model_is_another_lane(scene: Scene) -> None:
    run = failed(scene)
    scene.answers.clear()

    assert run.retry(model="fake-2") == 2
    run.execute()

    rows = {row.key: row for row in run.results()["completed"]}
    assert {key: row.model for key, row in rows.items()} == {
        "a": "fake-1",
        "b": "fake-2",
        "c": "fake-2",
    }
    assert scene.store.audit.problems(scene.run_id) == []


def test_a_model_without_a_price_is_refused_under_a_limit(scene: Scene) -> None:
    run = failed(scene, limits={"cost_limit": 10_000_000_000})

    with pytest.raises(ValidationError, match="'fake-2' has no known price: under a cost limit"):
        run.retry(model="fake-2")

    assert run.status()["failed"] == 2


def test_a_retry_starts_no_draft(scene: Scene) -> None:
    """Releasing is by lane; what was added and never started stays a draft."""
    run = failed(scene)
    scene.add(["later"])

    with pytest.raises(ValidationError, match="jobs that were added and not started"):
        run.retry(prompt="Look again.")

    assert run.retry() == 1
    assert run.status()["total"] == 3


def test_a_retry_that_was_killed_half_way_can_be_repeated(scene: Scene) -> None:
    """Its revisions were appended and never released."""
    run = failed(scene)
    from batchkit.run.retries import Revision, pick

    picked = pick(scene.store, scene.run_id, ("failed",), None, ["c"], {"prompt": "again"})
    half = Revision(
        scene.store,
        scene.store.runs.get(scene.run_id),
        {"prompt": "again"},
        known={"fake": scene.fake},
    )
    half._open = lambda *_: None  # type: ignore[method-assign]
    half.buy(picked.jobs, scene.clock.now())

    assert run.retry(prompt="Look again.", keys=["c"]) == 1
    run.execute()

    assert run.get("c").request["prompt"] == "Look again."
    assert run.status()["total"] == 3
    assert scene.store.audit.problems(scene.run_id) == []


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"codes": ["typo"]}, "knows no codes 'typo'"),
        ({"codes": "expired"}, "codes must be a list"),
        ({"keys": "a"}, "keys must be a list"),
        ({"states": ["completed"]}, "knows no states 'completed'"),
        ({"temperature": 1}, "knows no changes 'temperature'; known: model, max_tokens, prompt"),
        ({"max_tokens": 0}, "max_tokens must be at least 1"),
        ({"max_tokens": "many"}, "max_tokens must be a whole number"),
        ({"prompt": "  "}, "prompt must be a text that is not empty"),
    ],
)
def test_a_retry_that_cannot_be_meant_is_refused(lite: Scene, options: Any, words: str) -> None:
    with pytest.raises(ValidationError, match=words):
        lite.start(["a"]).retry(**options)


@pytest.mark.parametrize("code", list(Code))
def test_every_reason_has_a_place_in_the_rule(code: Code) -> None:
    """What changed or was gone needs to be named; what never was a request has none to send."""
    never = {Code.BAD_INPUT, Code.FILE_CHANGED, Code.REPLACED, Code.GONE}
    as_it_is = {Code.INVALID_REQUEST, Code.REFUSED, Code.CONTENT_FILTER, Code.TRUNCATED}

    assert can_work(code, asked=False, changed=False) == (code not in never | as_it_is)
    assert can_work(code, asked=False, changed=True) == (code not in never)
    assert can_work(code, asked=True, changed=False) == (code is not Code.BAD_INPUT)


def test_cancelling_keeps_what_was_answered(scene: Scene) -> None:
    run = scene.start(list("abcd"), items_per_batch=1, max_parallel_batches=2)
    scene.fake.next(Course(), Course(takes=timedelta(hours=2)), Course(takes=timedelta(hours=2)))
    with pytest.raises(TimeoutError):
        run.wait(max_wait=30)

    assert run.cancel() == []
    run.execute()

    assert run.state == "cancelled"
    assert [row.key for row in run.results()["completed"]] == ["a"]
    assert run.status()["failed_by_code"] == {"cancelled": 3}
    assert scene.fake.calls["cancel"] >= 1
    assert scene.store.audit.problems(scene.run_id) == []


def test_cancelling_before_anything_was_sent_ends_the_run(scene: Scene) -> None:
    run = scene.start(["a", "b"])

    run.cancel()

    assert run.state == "cancelled"
    assert scene.fake.calls["create"] == 0


def test_a_cancelled_run_can_be_retried(scene: Scene) -> None:
    run = scene.start(["a", "b"])
    run.cancel()

    assert run.retry() == 2
    assert run.execute().state == "completed"


def test_a_single_job_is_cancelled_while_it_waits(scene: Scene) -> None:
    run = scene.start(list("abc"), items_per_batch=1, max_parallel_batches=1)
    scene.fake.next(Course(takes=timedelta(hours=2)))
    with pytest.raises(TimeoutError):
        run.wait(max_wait=30)

    assert run.cancel(keys=["a", "b"]) == ["a"]
    run.execute()

    assert [row.key for row in run.results()["cancelled"]] == ["b"]
    assert [row.key for row in run.results()["completed"]] == ["a", "c"]
    assert "In flight or ended, so not cancelled: 1 job (a)" in scene.said.getvalue()


def test_a_key_that_is_not_there_is_named(lite: Scene) -> None:
    with pytest.raises(ValidationError, match="no job with the key 'z'"):
        lite.start(["a"]).cancel(keys=["z"])
