"""The same script again: what is known, new, changed and gone, and what that costs."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import event

from batchkit import leaving
from batchkit.builder import Batch
from batchkit.errors import RunChangedError, StateError
from batchkit.store import Store
from batchkit.testing import Course, FakeProvider
from tests.builder.conftest import Make, keyless, with_jobs


def bought(fake: FakeProvider) -> int:
    """Return how many requests were accepted."""
    return len(fake.ledger.entries)


def test_the_same_script_again_buys_nothing(make: Make, fake: FakeProvider):
    first = with_jobs(make(name="x"), 20).run()
    again = with_jobs(make(name="x"), 20).run()
    assert again.id == first.id
    assert bought(fake) == 20
    assert len(again.results()["completed"]) == 20


def test_tomorrow_it_buys_what_is_new(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 20).run()
    run = with_jobs(make(name="x"), 25).run()
    assert bought(fake) == 25
    assert run.status()["total"] == 25


def test_what_was_answered_may_leave_the_inbox(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 20).run()
    run = make(name="x").add_job(prompt="say 30", key="k30").run()
    assert (bought(fake), run.status()["total"]) == (21, 21)


def test_an_edited_prompt_is_caught_before_anything_is_sent(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 8).run()
    edited = with_jobs(make(name="x"), 9, prompt="tell {}")
    with pytest.raises(RunChangedError, match="k0: prompt was 'say 0', is 'tell 0'") as caught:
        edited.run()
    assert caught.value.counts == {"known": 0, "new": 1, "changed": 8, "gone": 0}
    assert caught.value.differences[0] == {
        "key": "k0",
        "field": "prompt",
        "old": "say 0",
        "new": "tell 0",
    }
    assert "3 more changed" in str(caught.value)
    assert bought(fake) == 8


def test_after_the_refusal_the_old_script_goes_on_as_before(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 8).run()
    with pytest.raises(RunChangedError):
        with_jobs(make(name="x"), 8, prompt="tell {}").run()
    run = with_jobs(make(name="x"), 9).run()
    assert (bought(fake), run.status()["total"], run.state) == (9, 9, "completed")


def test_keep_lets_old_answers_stand_and_buys_what_is_new(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 8).run()
    run = with_jobs(make(name="x", on_change="keep"), 9, prompt="tell {}").run()
    assert bought(fake) == 9
    answers = {one.key: one.raw_response for one in run.results()["completed"]}
    assert (answers["k0"], answers["k8"]) == ("say 0", "tell 8")


def test_replace_buys_changed_jobs_again(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 8).run()
    run = with_jobs(make(name="x", on_change="replace"), 8, prompt="tell {}").run()
    assert bought(fake) == 16
    assert (run.status()["total"], run.status()["completed"]) == (8, 8)
    assert {one.raw_response for one in run.results()["completed"]} == {
        f"tell {number}" for number in range(8)
    }


def test_a_replaced_job_can_be_changed_back(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 2).run()
    with_jobs(make(name="x", on_change="replace"), 2, prompt="tell {}").run()
    run = with_jobs(make(name="x", on_change="replace"), 2).run()
    assert run.status()["completed"] == 2
    assert {one.raw_response for one in run.results()["completed"]} == {"say 0", "say 1"}


def test_a_job_that_was_never_sent_is_simply_replaced(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 8).run(first=3)
    run = with_jobs(make(name="x"), 3)
    for number in range(3, 8):
        run.add_job(prompt=f"tell {number}", key=f"k{number}")
    handle = run.run()
    assert (bought(fake), handle.status()["total"]) == (8, 8)


def test_another_model_or_schema_is_a_change_too(make: Make):
    with_jobs(make(name="x"), 1).run()
    batch = make(name="x").set_default_params(max_tokens=200)
    with pytest.raises(RunChangedError, match="max_tokens was 100, is 200"):
        with_jobs(batch, 1).run()


def test_prices_metadata_and_paths_are_no_content(
    make: Make, fake: FakeProvider, tmp_path: Path, store: Store
):
    (tmp_path / "a.txt").write_text("some text")
    (tmp_path / "moved.txt").write_text("some text")
    make(name="x").add_job(file=tmp_path / "a.txt", prompt="Read.", key="a").run()
    again = make(name="x").add_job(
        file=tmp_path / "moved.txt",
        prompt="Read.",
        key="a",
        price={"input": 1, "output": 2},
        metadata={"page": 1},
    )
    run = again.run()
    assert bought(fake) == 1
    (result,) = run.results()["completed"]
    assert result.metadata == {"page": 1}
    assert result.source == str(tmp_path / "moved.txt")


def test_a_file_with_other_content_is_a_change(make: Make, tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("one")
    make(name="x").add_job(file=path, prompt="Read.").run()
    path.write_text("two")
    with pytest.raises(RunChangedError, match=r"file was 'a.txt \("):
        make(name="x").add_job(file=path, prompt="Read.").run()


def test_too_many_gone_are_refused_and_few_are_not(make: Make, fake: FakeProvider):
    fake.next(Course(polls=10_000))
    with_jobs(make(name="x", items_per_batch=1, max_parallel_batches=1), 20).submit()
    with pytest.raises(RunChangedError) as caught:
        with_jobs(make(name="x"), 15).submit()
    assert caught.value.counts["gone"] == 5
    with_jobs(make(name="x", items_per_batch=1, max_parallel_batches=1), 19).submit()


def test_replace_cancels_what_is_gone(make: Make, fake: FakeProvider):
    fake.next(Course(polls=10_000))
    settings = {"name": "x", "items_per_batch": 1, "max_parallel_batches": 1}
    with_jobs(make(**settings), 20).submit()
    run = with_jobs(make(**settings, on_change="replace"), 15).submit()
    status = run.status()
    assert (status["total"], status["cancelled"]) == (20, 5)
    assert status["failed_by_code"] == {"gone": 5}


def test_without_keys_an_edited_prompt_is_a_change(make: Make, fake: FakeProvider):
    keyless(make(name="x"), 6).run()
    with pytest.raises(RunChangedError, match="give each a key=") as caught:
        keyless(make(name="x"), 6, prompt="tell {}").run()
    assert caught.value.counts == {"known": 0, "new": 0, "changed": 6, "gone": 0}
    assert bought(fake) == 6


def test_without_keys_more_of_the_same_is_new(make: Make, fake: FakeProvider):
    keyless(make(name="x"), 6).run()
    run = keyless(make(name="x"), 9).run()
    assert (bought(fake), run.status()["total"]) == (9, 9)


def test_without_keys_replace_buys_again_and_keep_does_not(make: Make, fake: FakeProvider):
    keyless(make(name="x"), 6).run()
    kept = keyless(make(name="x", on_change="keep"), 6, prompt="tell {}").run()
    assert (bought(fake), kept.status()["total"]) == (6, 6)
    replaced = keyless(make(name="x", on_change="replace"), 6, prompt="tell {}").run()
    assert (bought(fake), replaced.status()["total"]) == (12, 6)


def test_two_deliberate_identical_jobs_stay_two(make: Make, fake: FakeProvider):
    for _ in range(2):
        batch = make(name="x")
        batch.add_job(prompt="roll a die").add_job(prompt="roll a die").run()
    assert bought(fake) == 2


def test_the_first_ten_then_the_rest(make: Make, fake: FakeProvider):
    run = with_jobs(make(name="x"), 30).run(first=10)
    assert (bought(fake), run.status()["total"]) == (10, 10)
    assert {one.key for one in run.results()["completed"]} == {f"k{n}" for n in range(10)}
    run = with_jobs(make(name="x"), 30).run()
    assert (bought(fake), run.status()["total"]) == (30, 30)


def test_one_builder_may_run_more_than_once(make: Make, fake: FakeProvider):
    batch = with_jobs(make(name="x"), 5)
    batch.run(first=2)
    batch.run()
    batch.add_job(prompt="one more").run()
    assert bought(fake) == 6


def test_a_draft_is_kept_when_the_script_ends_without_run(make: Make, store: Store):
    with_jobs(make(name="x"), 3)
    leaving.write_down_gone()  # as the end of the process does, and whoever looks next
    (run,) = store.runs.all(None)
    assert (run.name, run.opened_at, run.next_no) == ("x", None, 3)


def test_jobs_of_a_draft_that_are_not_added_again_are_not_sent(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 5)
    run = with_jobs(make(name="x"), 3).run()
    assert (bought(fake), run.status()["total"]) == (3, 3)


def test_a_draft_that_somebody_else_started_without_these_jobs_is_refused(make: Make):
    mine = with_jobs(make(name="x"), 5)
    list(mine.jobs)
    make(name="x").add_job(prompt="mine alone", key="other").run()
    with pytest.raises(StateError, match="5 of the jobs added here are no longer in the run 'x'"):
        mine.run()


def test_two_scripts_that_add_the_same_at_once_buy_it_once(make: Make, fake: FakeProvider):
    one, other = make(name="x"), make(name="x")
    for number in range(3):
        one.add_job(prompt=f"say {number}", key=f"k{number}")
        other.add_job(prompt=f"say {number}", key=f"k{number}")
    one.run()
    other.run()
    assert bought(fake) == 3


def test_a_bad_input_that_was_mended_is_simply_replaced(
    make: Make, fake: FakeProvider, tmp_path: Path
):
    path = tmp_path / "late.txt"
    run = make(name="x", on_bad_input="fail").add_job(file=path, prompt="Read.").run()
    assert run.state == "failed"
    path.write_text("here now")
    run = make(name="x", on_bad_input="fail").add_job(file=path, prompt="Read.").run()
    assert (run.state, run.status()["total"], bought(fake)) == ("completed", 1, 1)


def test_a_file_that_is_gone_after_its_answer_changes_nothing(
    make: Make, fake: FakeProvider, tmp_path: Path
):
    path = tmp_path / "a.txt"
    path.write_text("text")
    make(name="x", on_bad_input="fail").add_job(file=path, prompt="Read.").run()
    path.unlink()
    run = make(name="x", on_bad_input="fail").add_job(file=path, prompt="Read.").run()
    assert (run.state, bought(fake)) == ("completed", 1)


def test_what_was_found_is_said(make: Make, capsys: pytest.CaptureFixture[str]):
    with_jobs(make(name="x"), 4).run()
    capsys.readouterr()
    with_jobs(make(name="x").set_verbosity("info"), 5).run()
    said = capsys.readouterr().err.splitlines()
    assert said[0].startswith("State: ")
    assert "4 known, 1 new, 0 changed, 0 gone" in said[1]


SCRIPT = [*range(12)]


@pytest.mark.parametrize(
    ("again", "said"),
    [
        (SCRIPT, "12 known, 0 new"),
        (SCRIPT[::-1], "12 known, 0 new"),
        ([*SCRIPT[6:], *SCRIPT[:6]], "12 known, 0 new"),
        ([11, *SCRIPT[:11]], "12 known, 0 new"),
        ([20, *SCRIPT[:5], 21, 22, *SCRIPT[5:], 23], "12 known, 4 new"),
        ([20, 21, 22, 23, 24, *SCRIPT], "12 known, 5 new"),
        ([*SCRIPT[:2], *SCRIPT[9:], 20], "5 known, 1 new"),
        ([*SCRIPT[:2], 20, *SCRIPT[3:], 2], "12 known, 1 new"),
    ],
)
def test_a_job_is_known_wherever_the_script_adds_it(
    lite: Make,
    fake: FakeProvider,
    again: list[int],
    said: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
):
    """Of two lanes, in pages of three."""
    monkeypatch.setattr("batchkit.builder.drafting._MOST", 3)
    _say(lite(name="x"), SCRIPT).run()
    builder = _say(lite(name="x").set_verbosity("info"), again)
    capsys.readouterr()
    builder.run()
    assert f"{said}, 0 changed, 0 gone" in capsys.readouterr().err
    assert bought(fake) == len({*SCRIPT, *again})


def _say(builder: Batch, numbers: list[int]) -> Batch:
    for number in numbers:
        model = f"fake-{1 + number % 2}"
        builder.add_job(prompt=f"say {number}", key=f"k{number}", model=model)
    return builder


def test_only_another_order_is_looked_up_by_key(make: Make, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr("batchkit.builder.drafting._MOST", 3)
    keyless(make(name="x"), 10).run()
    assert _looked_up(make(name="x"), range(10)) == 0
    assert _looked_up(make(name="x"), range(9, -1, -1)) > 0


def _looked_up(builder: Batch, numbers: Iterable[int]) -> int:
    """Run it; return how many statements named keys."""
    asked: list[str] = []
    engine = builder._draft.store.database.engine
    event.listen(engine, "before_cursor_execute", lambda *given: asked.append(given[2]))
    for number in numbers:
        builder.add_job(prompt=f"say {number}")
    builder.run()
    return sum('key" IN (' in one or "key IN (" in one for one in asked)


def test_jobs_that_another_script_starts_meanwhile_are_seen(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 3).run()
    again = with_jobs(make(name="x"), 3)
    list(again.jobs)
    fake.next(Course(takes=timedelta(hours=2)))
    other = make(name="x", max_parallel_batches=1, items_per_batch=1)
    for number in range(10, 13):
        other.add_job(prompt=f"say {number}", key=f"k{number}")
    other.submit()
    with pytest.raises(RunChangedError) as caught:
        again.run()
    assert caught.value.counts == {"known": 3, "new": 0, "changed": 0, "gone": 2}


def test_a_job_that_another_script_replaces_meanwhile_is_seen(make: Make):
    with_jobs(make(name="x"), 3).run()
    other = with_jobs(make(name="x", on_change="replace"), 2)
    other.add_job(prompt="another", key="k2")
    list(other.jobs)
    again = with_jobs(make(name="x"), 3)
    list(again.jobs)
    other.run()
    with pytest.raises(StateError, match="1 of the jobs added here are no longer in the run 'x'"):
        again.run()
