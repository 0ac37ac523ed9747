"""Identity: why re-running a script is safe. Each bullet, and what it costs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import batchkit
from batchkit import Batch, BatchRun
from batchkit.errors import BatchkitError, KeyConflictError, RunChangedError
from tests.contract.conftest import quiet
from tests.contract.shop import GPT, Note, Shop, command, go


def built(texts: dict[str, str], name: str | None = "r", **settings: Any) -> Batch:
    batch = quiet(name=name, **settings)
    for key, text in texts.items():
        batch.add_job(prompt=text, key=key)
    return batch


def keyless(*texts: str, name: str | None = None, **settings: Any) -> Batch:
    batch = quiet(name=name, **settings)
    for text in texts:
        batch.add_job(prompt=text)
    return batch


def many(count: int, first: int = 0) -> dict[str, str]:
    return {f"k{n}": f"prompt {n}" for n in range(first, first + count)}


def test_jobs_never_started_are_a_draft_that_resume_does_not_send(shop: Shop) -> None:
    """Jobs that were added but never started with `run` or `submit` are a draft: `ls` shows it,
    `resume` never sends it."""
    built(many(2))
    assert batchkit.get_run("r").state == "draft"
    listed = command("ls")
    assert "r" in listed.stdout.split()
    assert "draft" in listed.stdout

    resumed = command("resume")
    assert "Traceback" not in resumed.stderr
    named = command("resume", "r")
    assert "Traceback" not in named.stderr
    assert shop.nothing_sent()
    assert batchkit.get_run("r").state == "draft"


def test_jobs_added_to_a_started_run_but_not_started_are_not_sent(shop: Shop) -> None:
    """… `resume` never sends it."""
    go(built(many(2)))
    built(many(4))

    assert command("resume", "r").returncode == 0
    assert shop.bought == 2
    assert go(built(many(4))).state == "completed"
    assert shop.bought == 4


def test_a_key_given_twice_in_one_builder_is_an_error(shop: Shop) -> None:
    """Given by the user it is theirs, and adding it twice in one builder is an error."""
    batch = built({"a": "one"})
    with pytest.raises(KeyConflictError, match="'a'") as said:
        batch.add_job(prompt="two", key="a")

    assert len(str(said.value).splitlines()) == 1
    assert [job.prompt for job in batch.jobs] == ["one"]


def test_a_key_left_out_is_the_files_path_as_given(shop: Shop) -> None:
    """Left out, it is the file's path as given … with a counter for repeats."""
    Path("in").mkdir()
    Path("in/a.txt").write_text("hello")
    batch = quiet(name="r").add_job(file="in/a.txt", prompt="one")
    batch.add_job(file=Path("in") / "a.txt", prompt="two")
    keys = [str(job.key) for job in batch.jobs]

    assert keys[0] == "in/a.txt"
    assert keys[1] != keys[0]
    assert keys[1].startswith("in/a.txt")
    run = go(batch)
    assert {r.key for r in run.results()["completed"]} == set(keys)


def test_a_key_without_a_file_is_derived_from_the_content_with_a_counter(shop: Shop) -> None:
    """Or without a file derived from the content; with a counter for repeats, so two deliberate
    identical jobs stay two."""
    run = go(keyless("same", "same", "other", name="r"))
    assert run.status()["completed"] == 3
    assert shop.bought == 3

    again = go(keyless("same", "same", "other", name="r"))
    assert again.status()["completed"] == 3
    assert shop.bought == 3
    assert sorted(r.key for r in again.results()["completed"]) == sorted(
        r.key for r in run.results()["completed"]
    )


def test_paths_prices_metadata_and_the_module_are_not_content(shop: Shop) -> None:
    """Content is what the provider would receive (files by hash). Paths, prices, metadata and the
    model class's module are not content."""
    Path("a.txt").write_text("hello")
    batch = quiet(name="r")
    batch.add_job(file="a.txt", prompt="x", key="k", response_model=Note, metadata={"n": 1})
    go(batch)

    Path("moved").mkdir()
    Path("a.txt").rename("moved/a.txt")
    moved = type("Note", (Note,), {"__module__": "elsewhere", "__doc__": Note.__doc__})
    batch = quiet(name="r")
    batch.add_job(
        file="moved/a.txt",
        prompt="x",
        key="k",
        response_model=moved,
        metadata={"n": 2},
        price={"input": 1, "output": 1},
    )
    run = go(batch)

    assert run.state == "completed"
    assert shop.bought == 1


@pytest.mark.parametrize(
    "change",
    [
        {"prompt": "other"},
        {"system": "new"},
        {"max_tokens": 99},
        {"model": GPT},
        {"response_model": Note},
        {"stop_sequences": ["x"]},
        {"extra_body": {"x": 1}},
    ],
)
def test_what_the_provider_would_receive_is_content(shop: Shop, change: dict[str, Any]) -> None:
    """*Changed*: same key, other content, already answered."""
    go(quiet(name="r").add_job(prompt="first", key="k"))
    shop.forget()
    with pytest.raises(RunChangedError) as said:
        go(quiet(name="r").add_job(**{"prompt": "first", "key": "k", **change}))

    assert "1 changed" in str(said.value)
    assert next(iter(change)) in str(said.value)
    assert shop.nothing_sent()


def test_a_files_content_is_content_and_its_path_is_not(shop: Shop) -> None:
    """Content is what the provider would receive (files by hash)."""
    Path("a.txt").write_text("hello")
    go(quiet(name="r").add_job(file="a.txt", prompt="x", key="k"))
    Path("a.txt").write_text("hello again")
    with pytest.raises(RunChangedError, match=r"1 changed"):
        go(quiet(name="r").add_job(file="a.txt", prompt="x", key="k"))
    assert shop.bought == 1


def test_without_a_name_the_results_dirs_path_is_the_name(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without a `name`, the absolute path of `results_dir` is the name."""
    first = go(built(many(2), name=None, results_dir="out"))
    assert first.name == str(Path("out").resolve())

    Path("below").mkdir()
    monkeypatch.chdir("below")
    again = go(built(many(3), name=None, results_dir="../out"))
    assert again.id == first.id
    assert shop.bought == 3


def test_nameless_runs_take_over_what_was_answered(shop: Shop) -> None:
    """Without either, identity is the content of each job: what this project's nameless runs have
    answered … is taken over, finished runs included; only new content is bought."""
    go(keyless("a", "b"))
    run = go(keyless("b", "c", "a"))

    assert shop.bought == 3
    assert run.status()["completed"] == 3
    assert {r.state for r in run.results()["completed"]} == {"completed"}
    go(keyless("a", project="other"))
    assert shop.bought == 4


def test_nameless_runs_take_over_what_is_in_flight(held: Shop) -> None:
    """… or have in flight is taken over."""
    keyless("a", "b").submit()
    run = keyless("a", "b", "c").submit()
    assert len(held.entries) == 3

    held.end()
    run.wait(max_wait=20, interval=0.02)
    assert run.status()["completed"] == 3
    assert held.bought == 3


def test_two_identical_nameless_jobs_stay_two(shop: Shop) -> None:
    """Two deliberate identical jobs stay two."""
    run = go(keyless("same", "same"))
    assert (run.status()["completed"], shop.bought) == (2, 2)
    go(keyless("same", "same"))
    assert shop.bought == 2


def test_run_says_what_it_found_before_it_sends(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Before anything is sent, `run` says what it found: `4,950 known, 50 new, 0 changed, 0
    gone`."""
    go(built(many(3)))
    capsys.readouterr()
    go(built(many(5)).set_verbosity("info"))

    assert "3 known, 2 new, 0 changed, 0 gone" in "".join(capsys.readouterr())


def test_a_job_in_flight_that_changed_is_changed(held: Shop) -> None:
    """*Changed*: same key, other content, already answered or in flight."""
    built({"a": "one"}).submit()
    held.forget()
    with pytest.raises(RunChangedError, match="1 changed"):
        built({"a": "two"}).submit()
    assert held.nothing_sent()


def test_a_job_that_was_never_sent_is_simply_replaced(held: Shop) -> None:
    """A job that was never sent is simply replaced."""
    settings: dict[str, Any] = {"items_per_batch": 1, "max_parallel_batches": 1}
    built({"a": "one", "b": "two"}, **settings).submit()
    assert len(held.entries) == 1
    (sent,) = held.entries

    run = built({"a": "one", "b": "three"}, **settings).submit()
    held.end()
    for _ in range(200):
        if run.is_complete:
            break
        held.end()
        run = built({"a": "one", "b": "three"}, **settings).submit()
    assert run.state == "completed"
    assert sorted(body["messages"][0]["content"] for body in held.bodies) == ["one", "three"]
    assert sent


def test_what_was_answered_may_leave_the_inbox(shop: Shop) -> None:
    """*Gone*: known, not yet sent, and not added this time (what was answered may leave the inbox
    as it likes)."""
    go(built(many(10)))
    run = go(built(many(2, first=9)))

    assert shop.bought == 11
    assert run.status()["total"] == 11


def waiting_run(held: Shop) -> BatchRun:
    """One of ten jobs is at the provider, nine were not sent."""
    settings: dict[str, Any] = {"items_per_batch": 1, "max_parallel_batches": 1}
    run = built(many(10), **settings).submit()
    assert len(held.entries) == 1
    held.forget()
    return run


def test_more_than_a_tenth_gone_is_an_error_with_the_differences(held: Shop) -> None:
    """With `on_change="error"`, anything changed, or more than 10 % gone, is a `RunChangedError`
    with the differences, field by field and counted, and nothing is sent."""
    waiting_run(held)
    with pytest.raises(RunChangedError) as said:
        built(many(7), items_per_batch=1, max_parallel_batches=1).submit()

    assert "3 gone" in str(said.value)
    assert "on_change" in str(said.value)
    assert held.nothing_sent()


def test_one_in_ten_may_go(held: Shop) -> None:
    """… more than 10 % gone."""
    waiting_run(held)
    built(many(9), items_per_batch=1, max_parallel_batches=1).submit()


def test_the_differences_are_counted_field_by_field(shop: Shop) -> None:
    """A `RunChangedError` with the differences, field by field and counted."""
    go(built(many(4)))
    batch = quiet(name="r").set_default_params(max_tokens=123)
    for key, text in many(4).items():
        batch.add_job(prompt=text if key != "k3" else "edited", key=key)
    with pytest.raises(RunChangedError) as said:
        go(batch)

    text = str(said.value)
    assert "4 changed" in text
    assert "max_tokens" in text
    assert "200" in text
    assert "123" in text
    assert "prompt" in text


def test_keep_lets_old_jobs_and_answers_stand(shop: Shop) -> None:
    """`"keep"` lets old jobs and answers stand."""
    first = go(built({"a": "one"}))
    run = go(built({"a": "two", "b": "new"}, on_change="keep"))

    assert shop.bought == 2
    assert run.get("a").result.raw_response == first.get("a").result.raw_response
    assert run.status()["completed"] == 2


def test_replace_buys_changed_jobs_again_and_keeps_old_answers(shop: Shop) -> None:
    """`"replace"` buys changed jobs again (old answers stay as revisions)."""
    first = go(built({"a": "one", "b": "same"}))
    paid = first.status()["cost_usd"]
    old = first.get("a").result.raw_response
    run = go(built({"a": "two", "b": "same"}, on_change="replace"))

    assert shop.bought == 3
    assert run.status()["total"] == 2
    assert run.status()["completed"] == 2
    new = run.get("a").result
    assert new.raw_response != old
    assert run.status()["cost_usd"] > paid
    shown = command("show", "r", "a", "--json")
    assert shown.returncode == 0, shown.stderr


def test_replace_cancels_gone_jobs(held: Shop) -> None:
    """… and cancels gone ones."""
    waiting_run(held)
    run = built(many(5), items_per_batch=1, max_parallel_batches=1, on_change="replace").submit()

    status = run.status()
    assert status["cancelled"] == 5
    assert {r.error_code for r in run.results()["cancelled"]} == {"gone"}


def test_an_edited_prompt_without_keys_counts_as_changed(shop: Shop) -> None:
    """Without keys and files, an edited prompt looks like n new jobs while n old ones are no
    longer added: that counts as changed."""
    texts = [f"Summarise: {n}" for n in range(6)]
    go(keyless(*texts, name="r"))
    shop.forget()
    with pytest.raises(RunChangedError, match="6 changed"):
        go(keyless(*(f"Summarise briefly: {n}" for n in range(6)), name="r"))
    assert shop.nothing_sent()


def test_an_edited_prompt_over_the_same_files_is_caught(shop: Shop) -> None:
    """A prompt edited between runs is caught before anything is sent."""
    for name in ("a.txt", "b.txt"):
        Path(name).write_text(name)

    def batch(prompt: str) -> Batch:
        made = quiet(name="r")
        for name in ("a.txt", "b.txt"):
            made.add_job(file=name, prompt=prompt)
        return made

    go(batch("Summarise."))
    shop.forget()
    with pytest.raises(RunChangedError, match="2 changed"):
        go(batch("Summarise briefly."))
    assert shop.nothing_sent()


def test_the_same_script_on_postgres(shop: Shop, migrated_url: str) -> None:
    """Everything above on SQLite by default and on Postgres."""
    first = go(built(many(3), database=migrated_url))
    assert first.state == "completed"
    go(built(many(5), database=migrated_url))
    assert shop.bought == 5
    with pytest.raises(RunChangedError):
        go(built({"k0": "edited"}, database=migrated_url))
    go(built({"k0": "edited"}, database=migrated_url, on_change="replace"))
    assert shop.bought == 6
    go(keyless("x", "x", database=migrated_url))
    go(keyless("x", "y", database=migrated_url))
    assert shop.bought == 9


class Grown(BaseModel):
    title: str
    amount: float
    extra: str | None = None


def test_run_never_revives_failed_jobs_and_says_which_command_does(
    shop: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """`run()` never revives failed or cancelled jobs; it says which command does."""
    go(built({"bad": "[[sim:400*1]] x", "good": "y"}))
    assert len(shop.entries) == 2
    capsys.readouterr()
    run = go(built({"bad": "[[sim:400*1]] x", "good": "y"}).set_verbosity("info"))

    assert run.state == "failed"
    assert len(shop.entries) == 2
    assert "batchkit retry r" in "".join(capsys.readouterr())


def test_an_unknown_name_is_an_error_that_names_it(shop: Shop) -> None:
    """An error says what to do next."""
    built(many(1))
    with pytest.raises(BatchkitError, match="nothing-like-it"):
        batchkit.get_run("nothing-like-it")
