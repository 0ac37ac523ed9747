"""A document in parts is one job to its user: what it is, what goes again, what a crash leaves."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel, create_model

from batchkit import BatchRun, Job, get_run
from batchkit.builder import Batch
from batchkit.errors import RunChangedError, ValidationError
from batchkit.model import Errored, Json
from batchkit.parts import MARK
from batchkit.store import Store
from batchkit.store.batches import Batches
from batchkit.testing import FakeProvider
from tests.builder.conftest import PRICE, Make
from tests.unit.files import pdf


class First(BaseModel):
    """The number of the first page that was sent."""

    page: int


def pages_of(row: Json) -> list[int]:
    """Return the pages of the whole file that a line carries."""
    return [int(n) for n in re.findall(r"Page number (\d+)", row["documents"][0]["text"])]


@pytest.fixture
def sent(fake: FakeProvider) -> list[list[int]]:
    """The pages of each request that ran; the answer says the first of them."""
    seen: list[list[int]] = []

    def answer(row: Json) -> Any:
        if not row.get("documents"):
            return None
        seen.append(pages_of(row))
        return {"page": seen[-1][0]} if row.get("schema") else f"from page {seen[-1][0]}"

    fake.answer = answer
    return seen


def fail_at(fake: FakeProvider, page: int, sent: list[list[int]]) -> None:
    """Let the part that begins with this page be refused as invalid, until it is mended."""

    def answer(row: Json) -> Any:
        found = pages_of(row)
        sent.append(found)
        if found[0] == page:
            return Errored(row["custom_id"], "invalid", "bad_request", "no such page", status=400)
        return {"page": found[0]} if row.get("schema") else f"from page {found[0]}"

    fake.answer = answer


def written(count: int, name: str = "big.pdf") -> Path:
    path = Path(name)
    path.write_bytes(pdf(*(f"Page number {number}" for number in range(1, count + 1))))
    return path


def whole(batch: Batch, size: int | None = 2, **job: Any) -> Batch:
    """Add the document, in parts of two pages unless said otherwise."""
    given = {"file": "big.pdf", "prompt": "Read.", "response_model": First, "price": PRICE, **job}
    return batch.add_job(split_pages=size, **given)


def numbers(run: BatchRun) -> dict[str, list[int]]:
    """Return what each document's list of answers says, by key."""
    found: dict[str, list[int]] = {}
    for one in run.iter_results():
        answers: Any = one.parsed_response
        if isinstance(answers, list):
            assert answers == [part.parsed_response for part in one.parts]
            found[one.key] = [answer.page for answer in answers]
    return found


def test_one_document_one_result_and_everything_counts_it_once(
    make: Make, sent: list[list[int]], store: Store, tmp_path: Path
) -> None:
    """Counters, files, story and the builder know documents; requests and batches are parts."""
    written(5)
    batch = whole(make(name="r", results_dir=tmp_path / "out", items_per_batch=2))
    batch.add_job(prompt="say b", key="plain")
    assert len(batch) == 2
    assert batch.estimate()["jobs"] == batch.estimate()["new_jobs"] == 2
    run = batch.run()

    assert sorted(sent) == [[1, 2], [3, 4], [5]]
    assert numbers(run)["big.pdf"] == [1, 3, 5]
    status = run.status()
    assert (status["total"], status["completed"], status["pending"]) == (2, 2, 0)
    assert status["batches_total"] == 2
    assert sorted(path.name for path in (tmp_path / "out").glob("*.json")) == [
        "big.pdf.json",
        "plain.json",
    ]
    (one,) = [one for one in run.results()["completed"] if one.parts]
    assert one.cost_usd == pytest.approx(sum(part.cost_usd or 0 for part in one.parts))
    assert [part.key for part in one.parts] == ["big.pdf#1-2", "big.pdf#3-4", "big.pdf#5"]
    assert type(one).from_dict(one.to_dict()).parts[1].pages == "3-4"
    story = run.get("big.pdf")
    assert [attempt["part"] for attempt in story.attempts] == [1, 2, 3]
    assert story.result.to_dict() == one.to_dict()
    assert store.audit.problems(store.runs.all(None)[0].id) == []
    assert MARK not in repr(run.to_json()) + repr(one.to_dict()) + repr(story.to_dict())


def test_a_document_that_fits_into_one_part_is_a_list_of_one(
    lite: Make, sent: list[list[int]]
) -> None:
    written(3)
    run = whole(whole(lite(name="r"), 3), 50, key="again").run()

    assert numbers(run) == {"big.pdf": [1], "again": [1]}
    assert sent == [[1, 2, 3], [1, 2, 3]]


def test_pages_are_taken_first_and_then_split(lite: Make, sent: list[list[int]]) -> None:
    written(9)
    batch = whole(lite(name="r"), 2, pages="2-4, 8-")
    assert batch.jobs[0].to_dict()["pages"] == "2-4, 8-"
    run = batch.run()

    assert sent == [[2, 3], [4, 8], [9]]
    assert numbers(run) == {"big.pdf#2-4,8-": [2, 4, 9]}


def test_a_text_answer_is_joined_by_empty_lines(lite: Make, sent: list[list[int]]) -> None:
    written(3)
    (one,) = whole(lite(name="r"), response_model=None).run().results()["completed"]

    assert one.raw_response == "from page 1\n\nfrom page 3"
    assert one.parsed_response is None
    assert [part.raw_response for part in one.parts] == ["from page 1", "from page 3"]


def test_one_failed_part_fails_the_document_and_goes_again_alone(
    make: Make, fake: FakeProvider, sent: list[list[int]]
) -> None:
    """What was answered is kept in `parts`, and not bought again."""
    written(5)
    fail_at(fake, 3, sent)
    run = whole(make(name="r")).run()

    (one,) = run.results()["failed"]
    assert run.status()["failed_by_code"] == {one.error_code: 1}
    assert run.get_failed_jobs() == {"big.pdf": one.error}
    assert one.error == "pages 3-4: bad_request: no such page"
    assert [part.state for part in one.parts] == ["completed", "failed", "completed"]
    assert (one.parsed_response, one.raw_response) == (None, None)
    assert one.cost_usd is not None
    (reason,) = run.report().reasons
    assert (reason.count, reason.examples[0][0]) == (1, "big.pdf")

    seen, before = list(sent), one.cursor
    fail_at(fake, 0, sent)
    assert run.retry(codes=[str(one.error_code)], keys=["big.pdf"]) == 1
    assert run.status()["pending"] == 1
    assert [one.key for one in run.results()["waiting"]] == ["big.pdf"]
    run.resume()
    assert sent[len(seen) :] == [[3, 4]]
    (done,) = run.iter_results(after=before)
    assert (done.state, numbers(run)["big.pdf"]) == ("completed", [1, 3, 5])
    assert done.attempts == 4


def test_a_mended_model_judges_each_part(lite: Make, fake: FakeProvider) -> None:
    """`reparse` completes the document for free."""
    written(3)
    fake.answer = lambda row: {"page": pages_of(row)[0], "at": "x" if 3 in pages_of(row) else 1}

    class Sheet(BaseModel):
        page: int
        at: int

    run = whole(lite(name="r", max_attempts=1), response_model=Sheet).run()
    assert [one.error_code for one in run.results()["failed"]] == ["invalid_output"]

    mended = create_model("Sheet", page=(int, ...), at=(int | str, ...))
    assert run.reparse(mended) == 1
    assert numbers(run) == {"big.pdf": [1, 3]}


def test_the_same_again_is_known_and_another_layout_is_a_change(
    lite: Make, sent: list[list[int]]
) -> None:
    """The content of a document is how it is parted, too."""
    written(5)
    whole(lite(name="r")).run()
    bought = len(sent)
    whole(lite(name="r")).run()
    assert len(sent) == bought

    for changed in (
        {"size": 3},
        {"size": 9},
        {"size": 1},
        {"size": None},
        {"pages": "1-4", "key": "big.pdf"},
        {"prompt": "Read it again."},
    ):
        with pytest.raises(RunChangedError) as raised:
            whole(lite(name="r"), **changed).run()
        assert raised.value.counts == {"known": 0, "new": 0, "changed": 1, "gone": 0}
        assert MARK not in str(raised.value)
    assert len(sent) == bought


@pytest.mark.parametrize(("before", "after"), [(2, 1), (1, 2), (2, None), (None, 2)])
def test_a_changed_layout_is_kept_or_bought_as_a_whole(
    lite: Make, sent: list[list[int]], before: int | None, after: int | None
) -> None:
    """No part of one layout stays beside those of another, nor is one bought for nothing."""
    written(5)
    first = whole(lite(name="r"), before).run()
    old, bought = first.results()["completed"], len(sent)

    kept = whole(lite(name="r", on_change="keep"), after).run()
    assert kept.results()["completed"] == old
    assert len(sent) == bought

    run = whole(lite(name="r", on_change="replace"), after).run()
    (one,) = run.results()["completed"]
    starts = [found[0] for found in sent[bought:]]
    assert sorted(starts) == ([1] if after is None else list(range(1, 6, after)))
    assert len(one.parts) == (0 if after is None else len(starts))
    assert run.status()["total"] == run.status()["completed"] == 1
    left = run._store.runs.get(run._run_id).total  # requests, not documents
    assert left == max(1, len(one.parts))


def test_a_layout_that_was_never_sent_is_simply_replaced(lite: Make, sent: list[list[int]]) -> None:
    written(5)
    lite_batch = whole(lite(name="r").add_job(prompt="say a", key="a"), 1)
    lite_batch.run(first=1)
    assert sent == []
    run = whole(lite(name="r").add_job(prompt="say a", key="a"), 3).run()

    assert numbers(run)["big.pdf"] == [1, 4]
    assert run.status()["total"] == 2


def test_the_first_few_are_whole_documents(lite: Make, sent: list[list[int]]) -> None:
    written(5)
    batch = whole(whole(lite(name="r")), key="b")
    run = batch.run(first=1)

    assert run.status()["total"] == 1
    assert numbers(run) == {"big.pdf": [1, 3, 5]}
    assert numbers(batch.run()) == {"big.pdf": [1, 3, 5], "b": [1, 3, 5]}


def test_a_test_asks_for_the_first_part_and_the_run_takes_it(
    lite: Make, sent: list[list[int]], capsys: pytest.CaptureFixture[str]
) -> None:
    written(5)
    batch = whole(lite(name="r")).set_verbosity("info")
    (tried,) = batch.test()

    assert sent == [[1, 2]]
    assert [part.pages for part in tried.parts] == ["1-2"]
    assert "first is tried out alone" in capsys.readouterr().err
    status = get_run("r", database=_url(batch)).status()
    assert (status["total"], status["pending"], status["state"]) == (1, 1, "draft")
    run = batch.set_verbosity("error").run()
    assert sent == [[1, 2], [3, 4], [5]]
    assert numbers(run) == {"big.pdf": [1, 3, 5]}


def _url(batch: Batch) -> Any:
    return batch._wishes.database


class _Power(BaseException):
    """The power goes; nothing in the product catches this."""


def test_a_crash_between_parts_leaves_no_half_document(
    make: Make,
    fake: FakeProvider,
    sent: list[list[int]],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    """Dead while the second part is being collected: gone on with, each part is bought once."""
    written(5)

    def script() -> Batch:
        return whole(make(name="r", items_per_batch=1, results_dir=tmp_path / "out"))

    collect, count = Batches.collect, iter(range(100))

    def dying(self: Batches, *given: Any, **named: Any) -> Any:
        if next(count) == 1:
            raise _Power
        return collect(self, *given, **named)

    with monkeypatch.context() as patch:
        patch.setattr(Batches, "collect", dying)
        with pytest.raises(_Power):
            script().run()
    batch = script()
    between = get_run("r", database=_url(batch))
    assert list(between.iter_results()) == []
    assert [len(one.parts) for one in between.results()["waiting"]] == [3]
    assert list((tmp_path / "out").glob("*.json")) == []

    run = batch.run()
    assert numbers(run) == {"big.pdf": [1, 3, 5]}
    assert fake.ledger.bought_twice() == []
    assert len(fake.ledger.entries) == 3
    assert run.status()["completed"] == 1


def test_answers_of_parts_are_taken_over_between_runs_without_a_name(
    lite: Make, sent: list[list[int]]
) -> None:
    written(5)
    whole(lite()).run()
    bought = len(sent)
    run = whole(whole(lite()), 2, key="new", prompt="Other.").run()

    assert len(sent) == bought + 3
    assert numbers(run)["big.pdf"] == [1, 3, 5]


def test_jobs_come_back_as_they_were_given(lite: Make) -> None:
    written(5)
    batch = whole(lite(name="r"), metadata={"a": 1}, key="k")
    batch.add_jobs([Job(file="big.pdf", prompt="x", split_pages=4)])

    assert [(job.key, job.split_pages, job.pages) for job in batch.jobs] == [
        ("k", 2, None),
        ("big.pdf", 4, None),
    ]
    assert batch.jobs[0].metadata == {"a": 1}


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"split_pages": 0}, "split_pages must be a whole number of pages"),
        ({"split_pages": True}, "split_pages must be a whole number of pages"),
        ({"split_pages": 2, "file": None}, "needs one PDF to split"),
        ({"split_pages": 2, "file": None, "files": ["big.pdf"] * 2}, "add a job for each file"),
        ({"split_pages": 2, "file": "a.txt"}, "a.txt is no PDF.*leave split_pages out"),
        ({"split_pages": 2, "pages": "4-9"}, "big.pdf has 5 pages"),
        ({"split_pages": 2, "key": f"a{MARK}00002"}, "U\\+001F"),
    ],
)
def test_what_cannot_be_split_is_said_with_the_way_out(
    lite: Make, given: dict[str, Any], said: str
) -> None:
    written(5)
    Path("a.txt").write_text("words")

    with pytest.raises(ValidationError, match=said):
        lite(name="r").add_job(**{"file": "big.pdf", "prompt": "Read.", **given})


def test_a_document_that_cannot_be_split_fails_as_one(lite: Make, sent: list[list[int]]) -> None:
    """`on_bad_input="fail"`; put right, it is no change but what was meant all along."""
    Path("big.pdf").write_text("words")
    run = whole(lite(name="r", on_bad_input="fail")).run()
    (one,) = run.results()["failed"]
    assert (one.key, one.error_code, one.parts) == ("big.pdf", "bad_input", [])

    written(5)
    run = whole(lite(name="r", on_bad_input="fail")).run()
    assert numbers(run) == {"big.pdf": [1, 3, 5]}
