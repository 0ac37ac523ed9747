"""Each command on a run that is there, and on one that is not."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from batchkit import Batch
from batchkit.clock import SystemClock
from batchkit.store import Store

Add = Callable[..., Batch]
Command = Callable[..., Result]
Data = Callable[..., Any]

PROMPTS = ("Title: Rent\nAmount: 900.50", "Title: Power\nAmount: 60.25")
REFUSED = "Title: Bribe\nAmount: 5 [[sim:refuse]]"


@pytest.fixture
def done(add: Add) -> str:
    """A run with two answers."""
    return add("done", *PROMPTS).run(progress_interval=0.05).id


@pytest.fixture
def mixed(add: Add) -> str:
    """A run with an answer and a refusal."""
    return add("mixed", PROMPTS[0], REFUSED).run(progress_interval=0.05).id


@pytest.fixture
def flying(add: Add, monkeypatch: pytest.MonkeyPatch) -> str:
    """A run whose batch is at the provider, and is not asked for within the submit."""
    with monkeypatch.context() as patch:
        patch.setenv("BATCHKIT_PACE", "20")
        return add("flying", *PROMPTS).submit().id


@pytest.fixture
def draft(add: Add) -> Batch:
    """Jobs that were added and not started."""
    batch = add("draft", *PROMPTS)
    batch.estimate()
    return batch


# looking


def test_ls_lists_runs_newest_first(done: str, mixed: str, data: Data, command: Command) -> None:
    assert [run["id"] for run in data("ls")] == [mixed, done]

    lines = command("ls").stdout.splitlines()

    assert lines[0].split() == ["run", "id", "state", "done", "failed", "cost"]
    assert lines[1].split()[:7] == ["mixed", mixed, "failed", "2", "of", "2", "1"]
    assert lines[2].split()[:7] == ["done", done, "completed", "2", "of", "2", "0"]


def test_ls_fits_into_80_columns(add: Add, command: Command) -> None:
    """Of a path the end is shown, which tells more."""
    add("/home/somebody/" + "very-long-folder/" * 5 + "november", *PROMPTS).submit()
    add("x" * 200, *PROMPTS).estimate()

    lines = command("ls").stdout.splitlines()

    assert max(map(len, lines)) <= 80
    assert any(line.startswith("…") and "r/november  run-" in line for line in lines)
    assert any(line.startswith("xxxxx") and "x…  run-" in line for line in lines)


def test_ls_is_empty_where_nothing_was_started(command: Command, data: Data) -> None:
    """And makes no database for it."""
    assert data("ls") == []
    assert command("ls").exit_code == 0
    assert not Path(".batchkit").exists()


def test_ls_keeps_to_its_project(done: str, data: Data, monkeypatch: pytest.MonkeyPatch) -> None:
    assert data("ls", "--project", "other") == []
    monkeypatch.setenv("BATCHKIT_PROJECT", "other")
    assert data("ls") == []
    assert [run["id"] for run in data("ls", "--project", "default")] == [done]


@pytest.mark.parametrize(
    ("fixture", "state", "code"),
    [("done", "completed", 0), ("mixed", "failed", 3), ("flying", "running", 5)],
)
def test_status_tells_the_state_by_name_id_and_exit_code(
    fixture: str, state: str, code: int, request: pytest.FixtureRequest, command: Command
) -> None:
    run = request.getfixturevalue(fixture)

    for named in (fixture, run):
        result = command("status", named, "--json")
        assert result.exit_code == code
        assert json.loads(result.stdout)["state"] == state
        plain = command("status", named)
        assert plain.exit_code == code
        assert f"{fixture} ({run}): {state}" in plain.stdout


def test_a_draft_needs_a_person(draft: Batch, command: Command) -> None:
    result = command("status", "draft")

    assert result.exit_code == 4
    assert "has not called run()" in result.stdout


def test_status_without_a_name_is_the_newest_unfinished_run(
    flying: str, done: str, data: Data
) -> None:
    assert data("status")["id"] == flying


def test_status_without_a_name_is_else_the_newest(done: str, mixed: str, data: Data) -> None:
    assert data("status")["id"] == mixed


def test_watch_ends_with_the_run(done: str, command: Command) -> None:
    result = command("watch", "done")

    assert result.exit_code == 0
    assert result.stdout.startswith("completed: 2 of 2")


def test_results_has_a_row_for_every_job(mixed: str, data: Data, command: Command) -> None:
    rows = {row["key"]: row for row in data("results", "mixed")}

    assert rows["k0"]["state"] == "completed"
    assert rows["k0"]["parsed_response"] == {"title": "Rent", "amount": 900.5}
    assert rows["k1"]["error_code"] == "refused"
    assert command("results", "mixed").stderr == "2 of 2 final\n"


def test_results_while_it_runs_says_how_many_are_final(flying: str, command: Command) -> None:
    result = command("results", "flying", "--json")

    assert result.stderr == "0 of 2 final\n"
    assert {row["state"] for row in json.loads(result.stdout)} == {"active"}


def test_results_writes_what_the_suffix_says(mixed: str, command: Command) -> None:
    for name in ("rows.jsonl", "rows.csv"):
        result = command("results", "mixed", "-o", name)
        assert result.stdout == ""
        assert result.stderr == f"2 rows written to {name}\n2 of 2 final\n"

    lines = Path("rows.jsonl").read_text().splitlines()
    assert {json.loads(line)["key"] for line in lines} == {"k0", "k1"}
    with Path("rows.csv").open(newline="") as file:
        table = {row["key"]: row for row in csv.DictReader(file)}
    assert table["k0"]["title"] == "Rent"
    assert table["k1"]["error_code"] == "refused"


def test_results_of_one_state(mixed: str, data: Data) -> None:
    assert [row["key"] for row in data("results", "mixed", "--state", "failed")] == ["k1"]


def test_results_refuses_a_suffix_it_cannot_write(done: str, command: Command) -> None:
    result = command("results", "done", "-o", "rows.xlsx")

    assert result.exit_code == 1
    assert ".jsonl" in result.stderr


def test_results_are_typed_by_a_class_in_a_file(done: str, data: Data) -> None:
    """The file is executed as a module: its main part is not run."""
    Path("notes.py").write_text(
        "from pydantic import BaseModel, field_validator\n"
        "class Note(BaseModel):\n"
        "    title: str\n"
        "    amount: float\n"
        "    @field_validator('title')\n"
        "    @classmethod\n"
        "    def loud(cls, title: str) -> str:\n"
        "        return title.upper()\n"
        "if __name__ == '__main__':\n"
        "    raise SystemExit('ran')\n"
    )

    rows = data("results", "done", "--model", "notes.py:Note")

    assert {row["parsed_response"]["title"] for row in rows} == {"RENT", "POWER"}


@pytest.mark.parametrize("written", ["notes.py", "nowhere.py:Note", "no.such.module:Note"])
def test_a_class_that_is_not_there_is_one_clear_line(
    done: str, command: Command, written: str
) -> None:
    result = command("results", "done", "--model", written)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_errors_groups_by_reason_with_examples(add: Add, command: Command, data: Data) -> None:
    refused = [f"{REFUSED} number {number}" for number in range(5)]
    add("refusals", PROMPTS[0], *refused).run(progress_interval=0.05)

    (reason,) = data("errors", "refusals")

    assert (reason["code"], reason["count"]) == ("refused", 5)
    assert len(reason["examples"]) == 3
    assert command("errors", "refusals").stdout.startswith("refused  5 jobs\n")


def test_errors_of_a_run_without_any(done: str, command: Command) -> None:
    assert command("errors", "done").stdout == "No job has failed.\n"


def test_show_tells_a_jobs_whole_story(mixed: str, command: Command, data: Data) -> None:
    story = data("show", "mixed", "k1")

    assert story["key"] == "k1"
    assert story["result"]["error_code"] == "refused"
    assert [attempt["code"] for attempt in story["attempts"]] == ["refused"]
    shown = command("show", "mixed", "k0").stdout
    assert "claude-haiku-5-5" in shown
    assert '"title": "Rent"' in shown


def test_show_of_a_key_that_is_not_there(done: str, command: Command) -> None:
    result = command("show", "done", "k9")

    assert result.exit_code == 1
    assert "k9" in result.stderr


def test_log_is_a_time_line(done: str, command: Command, data: Data) -> None:
    events = data("log", "done")

    actions = [event["action"] for event in events]
    assert actions[0] == "opened"
    assert actions[-1] == "finished"
    assert [event["at"] for event in events] == sorted(event["at"] for event in events)
    assert len(command("log", "done").stdout.splitlines()) == len(events)


def test_log_since(done: str, data: Data) -> None:
    later = (SystemClock().now() + timedelta(hours=1)).isoformat()

    assert data("log", "done", "--since", later) == []
    assert data("log", "done", "--since", "1h") == data("log", "done")


@pytest.mark.parametrize(
    "words",
    [
        ("status", "nix"),
        ("watch", "nix"),
        ("resume", "nix"),
        ("results", "nix"),
        ("errors", "nix"),
        ("show", "nix", "k"),
        ("log", "nix"),
        ("cancel", "nix"),
        ("retry", "nix"),
        ("verify", "nix"),
        ("rm", "nix"),
    ],
)
def test_a_run_that_is_not_there_is_one_clear_line(
    done: str, command: Command, words: tuple[str, ...]
) -> None:
    """It names those that are; without a database it says where that was looked for."""
    result = command(*words)

    assert (result.exit_code, result.stdout) == (1, "")
    assert result.stderr.startswith("batchkit: There is no run 'nix'")
    assert "done" in result.stderr

    nowhere = command(*words, "--database", "nowhere.db")

    assert nowhere.exit_code == 1
    assert "nowhere.db" in nowhere.stderr
    assert not Path("nowhere.db").exists()


@pytest.mark.parametrize(
    "words",
    [
        ("nonsense",),
        ("show", "done"),
        ("ls", "--nonsense"),
        ("rm",),
        ("resume", "--cost-limit", "5"),
        ("resume", "done", "--time-limit", "soon"),
        ("results", "done", "--state", "happy"),
        ("demo", "nowhere"),
    ],
)
def test_wrong_usage_is_exit_code_2(command: Command, words: tuple[str, ...]) -> None:
    result = command(*words)

    assert result.exit_code == 2
    assert result.stdout == ""


# acting


def test_resume_goes_on_with_one_run(flying: str, command: Command, data: Data) -> None:
    result = command("resume", "flying")

    assert result.exit_code == 0
    assert f"flying ({flying}): completed" in result.stdout
    assert data("status", "flying")["completed"] == 2


def test_resume_goes_on_with_all_but_drafts(
    flying: str, draft: Batch, add: Add, data: Data, command: Command
) -> None:
    """And its exit code is the highest."""
    add("later", REFUSED).submit()

    result = command("resume", "--json")

    assert result.exit_code == 3
    assert {run["name"]: run["state"] for run in json.loads(result.stdout)} == {
        "flying": "completed",
        "later": "failed",
    }
    assert data("status", "draft")["state"] == "draft"


def test_resume_with_nothing_to_do(done: str, command: Command, data: Data) -> None:
    assert command("resume").exit_code == 0
    assert data("resume") == []


def test_resume_once_does_what_needs_no_waiting(
    add: Add, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """For cron: the first call sends, a later one collects."""
    monkeypatch.setenv("BATCHKIT_PACE", "1")
    add("cron", *PROMPTS).submit()

    assert command("resume", "--once").exit_code == 5


def test_resume_raises_a_cost_limit(add: Add, command: Command, data: Data) -> None:
    batch = add("poor", *PROMPTS, items_per_batch=1).add_cost_limit(usd=0.0003)
    batch.run(progress_interval=0.05)
    held = data("status", "poor")
    assert command("status", "poor").exit_code in (0, 4)
    if held["waiting_for"] == "budget":
        assert "--cost-limit" in command("status", "poor").stdout

    result = command("resume", "poor", "--cost-limit", "5")

    assert result.exit_code == 0
    assert data("status", "poor")["cost_limit_usd"] == 5.0


def test_resume_says_anew_what_is_reserved(add: Add, command: Command, data: Data) -> None:
    """And ``status`` and ``log`` say what is; amounts there are US dollars."""
    batch = add("tight", *PROMPTS).add_cost_limit(usd=5, reserve="observed")
    run = batch.run(progress_interval=0.05)
    state = data("status", "tight")
    assert (state["reserve"], state["overshoot_usd"]) == ("observed", 0)
    assert "observed" in command("status", "tight").stdout
    with closing(Store(".batchkit/batchkit.db")) as store:
        row = store.runs.find("default", "tight")
        assert row is not None
        told = {"cost_nano": 120, "reserved_nano": 2_500_000_000}
        store.events.add(row.id, SystemClock().now(), "exceeded", **told)

    assert command("resume", "tight", "--reserve", "bound").exit_code == 0
    assert "reserve" not in data("status", "tight")
    assert run.state == "completed"
    *_, exceeded, changed = data("log", "tight")
    assert exceeded["detail"] == {"cost_usd": 1.2e-7, "reserved_usd": 2.5}
    assert changed["detail"] == {"changed": {"reserve": "bound"}}
    assert command("resume", "--reserve", "bound").exit_code == 2
    assert command("resume", "tight", "--reserve", "p99").exit_code == 2


def test_one_run_without_a_key_keeps_no_other_from_going_on(
    flying: str, add: Add, command: Command, data: Data, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = add("openai")
    other.add_job(prompt="Title: X\nAmount: 1", key="x", model="gpt-6-luna")
    other.submit()
    monkeypatch.delenv("OPENAI_API_KEY")

    result = command("resume")

    assert result.exit_code == 1
    assert "OPENAI_API_KEY" in result.stderr
    assert data("status", "flying")["state"] == "completed"


def test_cancel_stops_a_run(flying: str, command: Command, data: Data) -> None:
    assert command("cancel", "flying").exit_code == 0

    command("resume", "flying")

    state = data("status", "flying")
    assert state["completed"] + state["cancelled"] == 2


def test_retry_gives_fresh_attempts(mixed: str, command: Command, data: Data) -> None:
    """Without --code, what can never work is left out."""
    result = command("retry", "mixed", "--code", "refused", "--json")

    assert json.loads(result.stdout)["again"] == 1
    assert command("resume", "mixed").exit_code == 3
    assert len(data("show", "mixed", "k1")["attempts"]) == 2


# keeping house


def test_verify_proves_the_books(done: str, mixed: str, command: Command, data: Data) -> None:
    proofs = data("verify")

    assert [proof["holds"] for proof in proofs] == [True, True]
    assert proofs[1]["exact_usd"] == pytest.approx(data("status", "done")["cost_usd"])
    assert command("verify", "done").exit_code == 0


def test_verify_finds_what_cannot_be(done: str, command: Command) -> None:
    """Whoever edits the database by hand is told."""
    import sqlite3

    with sqlite3.connect(".batchkit/batchkit.db") as connection:
        connection.execute("UPDATE runs SET spent = spent + 1")
    connection.close()

    result = command("verify", "done")

    assert result.exit_code == 1
    assert "add up to" in result.stdout


def test_rm_says_what_adding_it_again_would_buy(done: str, command: Command, data: Data) -> None:
    spent = data("status", "done")["cost_usd"]

    (would,) = data("rm", "done", "--dry-run")
    assert (would["answered"], would["cost_usd"]) == (2, pytest.approx(spent))
    assert data("status", "done")["id"] == done

    said = command("rm", "done").stdout

    assert "would buy 2 answers again" in said
    assert command("status", "done").exit_code == 1


def test_rm_refuses_what_is_in_flight(flying: str, command: Command, data: Data) -> None:
    result = command("rm", "flying")

    assert result.exit_code == 1
    assert "in flight" in result.stderr
    assert data("status", "flying")["id"] == flying


def test_rm_by_age(done: str, flying: str, command: Command, data: Data) -> None:
    """Only what has ended, and that long ago."""
    assert data("rm", "--older-than", "1d") == []
    assert [gone["id"] for gone in data("rm", "--older-than", "0s")] == [done]
    assert [run["id"] for run in data("ls")] == [flying]


def test_db_upgrade_makes_the_tables(command: Command, data: Data, tmp_path: Path) -> None:
    database = str(tmp_path / "new" / "state.db")

    assert data("db", "current", "--database", database)["revision"] is None
    assert command("db", "upgrade", "--database", database).exit_code == 0
    told = data("db", "current", "--database", database)
    assert told["revision"] == told["needed"]
    assert told["database"] == database


def test_a_database_that_cannot_be_written_is_one_clear_line(
    command: Command, tmp_path: Path
) -> None:
    if os.geteuid() == 0:
        place = "/proc/nowhere/state.db"
    else:
        tmp_path.chmod(0o500)
        place = str(tmp_path / "in" / "state.db")

    result = command("db", "upgrade", "--database", place)

    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 1


def test_a_newer_database_names_the_way_out(done: str, command: Command) -> None:
    import sqlite3

    with sqlite3.connect(".batchkit/batchkit.db") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()

    result = command("ls")

    assert result.exit_code == 1
    assert "pip install --upgrade llm-batchkit" in result.stderr


def test_status_says_when_a_run_is_likely_to_end(
    flying: str, done: str, command: Command, data: Data
) -> None:
    """Of what is in flight; what is done has ended."""
    assert "It ends about " in command("status", flying).stdout
    assert data("status", flying)["forecast"]["ends_at"]
    assert "It ends about " not in command("status", done).stdout
    assert data("status", done)["forecast"] is None
