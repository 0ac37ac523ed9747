"""Runs without a name, and runs that start anew: known by content."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit.errors import RunChangedError
from batchkit.model import Errored, Json
from batchkit.store import Store
from batchkit.testing import Course, FakeProvider, ManualClock
from tests.builder.conftest import Make, keyless, with_jobs

SLOW = Course(polls=10_000)


def bought(fake: FakeProvider) -> int:
    """Return how many requests were accepted."""
    return len(fake.ledger.entries)


def test_the_same_script_again_takes_the_answers_over(make: Make, fake: FakeProvider):
    first = keyless(make(), 5).run()
    again = keyless(make(), 5).run()
    assert bought(fake) == 5
    results = again.results()["completed"]
    assert (len(results), again.status()["total"], again.state) == (5, 5, "completed")
    assert results[0].reused_from == f"{first.name}/{results[0].key}"
    assert {one.cost_usd for one in results} == {0}


def test_only_new_content_is_bought(make: Make, fake: FakeProvider):
    keyless(make(), 5).run()
    run = keyless(make(), 8).run()
    assert (bought(fake), run.status()["total"]) == (8, 8)


def test_answers_are_taken_over_one_for_one(make: Make, fake: FakeProvider):
    make().add_job(prompt="roll a die").run()
    run = make().add_job(prompt="roll a die").add_job(prompt="roll a die").run()
    assert (bought(fake), run.status()["completed"]) == (2, 2)
    make().add_job(prompt="roll a die").add_job(prompt="roll a die").run()
    assert bought(fake) == 2


def test_what_is_in_flight_is_gone_on_with(make: Make, fake: FakeProvider, store: Store):
    fake.next(SLOW)
    first = keyless(make(), 5).submit()
    again = keyless(make(), 7).submit()
    assert again.id == first.id
    assert (bought(fake), again.status()["total"]) == (7, 7)
    assert [row.name for row in store.runs.all(None)] == [first.name]


def test_other_keys_and_paths_are_the_same_content(make: Make, fake: FakeProvider, tmp_path: Path):
    path = tmp_path / "a.txt"
    path.write_text("text")
    fake.next(SLOW)
    first = make().add_job(file=path, prompt="Read.").submit()
    again = make().add_job(file=path, prompt="Read.", key="mine").submit()
    assert again.id == first.id
    assert (bought(fake), again.status()["total"]) == (1, 1)


def test_an_edited_prompt_in_flight_is_a_change(make: Make, fake: FakeProvider):
    fake.next(SLOW)
    keyless(make(), 5).submit()
    edited = keyless(make(), 2).add_job(prompt="edited")
    with pytest.raises(RunChangedError) as caught:
        edited.submit()
    assert caught.value.counts == {"known": 2, "new": 0, "changed": 1, "gone": 0}
    assert bought(fake) == 5


def test_another_script_is_another_run(make: Make, fake: FakeProvider):
    fake.next(SLOW)
    first = keyless(make(), 5).submit()
    other = keyless(make(), 3, prompt="other {}").submit()
    assert other.id != first.id
    assert bought(fake) == 8


def test_another_project_shares_nothing(make: Make, fake: FakeProvider):
    keyless(make(project="one"), 3).run()
    keyless(make(project="two"), 3).run()
    assert bought(fake) == 6


def test_what_failed_is_not_tried_again_by_itself(
    make: Make, clock: ManualClock, fake: FakeProvider
):
    def refuse(line: Json) -> Errored:
        return Errored(line["custom_id"], "invalid", "bad", "no such thing", 400)

    fake.answer = refuse
    keyless(make(), 2).run()
    run = keyless(make(), 2).run()
    assert (bought(fake), run.status()["failed"], run.state) == (2, 2, "failed")


def test_a_named_run_takes_nothing_over(make: Make, fake: FakeProvider):
    keyless(make(), 3).run()
    keyless(make(name="mine"), 3).run()
    assert bought(fake) == 6


def test_a_results_dir_names_the_run(make: Make, fake: FakeProvider, tmp_path: Path):
    first = with_jobs(make(results_dir=tmp_path / "out"), 3).run()
    again = with_jobs(make(results_dir=tmp_path / "out"), 3).run()
    assert first.name == again.name == str(tmp_path / "out")
    assert bought(fake) == 3
    assert (tmp_path / "out" / "k0.json").exists()


def test_a_second_run_has_a_folder_of_its_own(make: Make, tmp_path: Path):
    with_jobs(make(results_dir=tmp_path / "out", name="one"), 1).run()
    with_jobs(make(results_dir=tmp_path / "out", name="two"), 1, prompt="other {}").run()
    assert (tmp_path / "out" / "two" / "k0.json").exists()


def test_starting_anew_buys_the_same_again_once(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 3).run()
    anew = with_jobs(make(name="x").set_state(reuse_state=False), 3).run()
    assert (anew.name, bought(fake)) == ("x~2", 6)
    restarted = with_jobs(make(name="x").set_state(reuse_state=False), 3).run()
    assert (restarted.name, bought(fake)) == ("x~2", 6)


def test_starting_anew_with_other_content_is_another_run(make: Make, fake: FakeProvider):
    for count, name in ((3, "x"), (3, "x"), (4, "x~2"), (4, "x~2"), (5, "x~3")):
        run = with_jobs(make(name="x").set_state(reuse_state=False), count).run()
        assert run.name == name
    assert bought(fake) == 3 + 4 + 5


def test_a_restarted_script_goes_on_with_what_it_started_anew(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 3).run()
    fake.next(SLOW)
    first = with_jobs(make(name="x").set_state(reuse_state=False), 3).submit()
    again = with_jobs(make(name="x").set_state(reuse_state=False), 4).submit()
    assert (first.name, again.name, bought(fake)) == ("x~2", "x~2", 7)


def test_a_nameless_run_can_start_anew_once(make: Make, fake: FakeProvider):
    keyless(make(), 3).run()
    keyless(make().set_state(reuse_state=False), 3).run()
    assert bought(fake) == 6
    keyless(make().set_state(reuse_state=False), 3).run()
    assert bought(fake) == 6


def test_the_state_is_named_before_the_first_job(lite: Make):
    with pytest.raises(ValueError, match="before the first add_job"):
        lite().add_job(prompt="a").set_state(reuse_state=False)
