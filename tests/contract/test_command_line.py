"""The command line: every command and option of the table, `--json`, exit codes."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner, Result

import batchkit
from batchkit.cli import cli
from tests.contract.conftest import quiet
from tests.contract.shop import Note, Shop, command, go


def call(*words: str) -> Result:
    """Call the command in this process; a traceback fails the test."""
    result = CliRunner().invoke(cli, words)
    if result.exception is not None and not isinstance(result.exception, SystemExit):
        raise result.exception
    assert "\x1b" not in result.output
    return result


def data(*words: str) -> Any:
    return json.loads(call(*words, "--json").stdout)


def mixed(name: str = "r", **settings: Any) -> batchkit.BatchRun:
    batch = quiet(name=name, **settings)
    batch.add_job(prompt="Title: good", key="good", response_model=Note)
    batch.add_job(prompt="[[sim:400]] bad", key="bad")
    return go(batch)


TABLE = {
    "demo": ("--provider",),
    "resume": ("--cost-limit", "--time-limit", "--once"),
    "ls": (),
    "status": (),
    "watch": (),
    "results": ("-o", "--state", "--model"),
    "errors": (),
    "show": (),
    "log": ("--since",),
    "cancel": ("--key",),
    "retry": ("--code", "--max-tokens", "--model"),
    "verify": (),
    "rm": ("--older-than", "--dry-run"),
    "simulate": ("--port",),
}


@pytest.mark.parametrize("name", TABLE)
def test_every_command_of_the_table_is_there_with_its_options(name: str) -> None:
    """The table of commands."""
    shown = call(name, "--help")

    assert shown.exit_code == 0
    for option in TABLE[name]:
        assert option in shown.output
    assert name in call("--help").output


@pytest.mark.parametrize("name", ["run", "worker", "serve", "attach"])
def test_reserved_words_are_no_commands_yet(name: str) -> None:
    """Reserved for later: `run`, `worker`, `serve`, `attach`; `report` has come."""
    assert call(name).exit_code == 2


def test_0_is_done_and_3_is_finished_with_failed_jobs(shop: Shop) -> None:
    """Exit codes: 0 done; … 3 finished with failed or cancelled jobs."""
    go(quiet(name="fine").add_job(prompt="a", key="a"))
    mixed()

    assert call("status", "fine").exit_code == 0
    assert call("resume", "fine").exit_code == 0
    assert call("status", "r").exit_code == 3
    assert call("resume", "r").exit_code == 3
    assert call("watch", "r").exit_code == 3


def test_1_is_an_error_and_2_is_usage(shop: Shop) -> None:
    """1 error; 2 usage."""
    mixed()
    unknown = call("status", "nothing-like-it")
    assert unknown.exit_code == 1
    assert "nothing-like-it" in unknown.stderr
    assert len(unknown.stderr.strip().splitlines()) == 1
    for words in (["nothing"], ["status", "--nothing"], ["results"], ["retry", "r", "--code"]):
        assert call(*words).exit_code == 2


@pytest.mark.slow
def test_4_is_a_person_is_needed_and_5_is_in_flight(held: Shop) -> None:
    """4 a person is needed (budget, account, review, files); 5 in flight."""
    quiet(name="flying").add_job(prompt="a", key="a").submit()
    assert call("status", "flying").exit_code == 5
    assert call("resume", "flying", "--once").exit_code == 5

    Path("a.txt").write_text("x")
    batch = quiet(name="files").add_job(prompt="a", file="a.txt", key="a")
    Path("a.txt").unlink()
    go(batch)
    assert call("status", "files").exit_code == 4
    assert call("resume", "files").exit_code == 4
    assert data("status", "files")["waiting_for"] == "files"


def test_several_runs_end_in_the_highest(held: Shop) -> None:
    """Several runs: the highest."""
    quiet(name="flying").add_job(prompt="a", key="a").submit()
    Path("a.txt").write_text("x")
    batch = quiet(name="files").add_job(prompt="a", file="a.txt", key="a")
    Path("a.txt").unlink()
    batch.submit()

    assert call("resume", "--once").exit_code == 5
    held.end()
    assert call("resume", "--once").exit_code == 4


def test_resume_goes_on_with_all_started_unfinished_runs(held: Shop) -> None:
    """Go on with one run or all started, unfinished ones of the project."""
    for name in ("one", "two"):
        quiet(name=name).add_job(prompt=name, key="a").submit()
    quiet(name="elsewhere", project="other").add_job(prompt="x", key="a").submit()
    quiet(name="draft").add_job(prompt="never", key="a")
    held.end()

    assert call("resume").exit_code == 0
    assert batchkit.get_run("one").state == batchkit.get_run("two").state == "completed"
    assert batchkit.get_run("elsewhere", project="other").state == "running"
    assert batchkit.get_run("draft").state == "draft"
    assert call("resume", "--project", "other").exit_code == 0
    assert held.bought == 3


def test_once_does_all_that_can_be_done_without_waiting(held: Shop) -> None:
    """`--once` does all that can be done without waiting (for cron)."""
    settings: dict[str, Any] = {"items_per_batch": 1, "max_parallel_batches": 1}
    batch = quiet(name="r", **settings)
    for key in "abc":
        batch.add_job(prompt=key, key=key)
    batch.submit()

    codes = []
    for _ in range(4):
        codes.append(call("resume", "r", "--once").exit_code)
        held.end()
    assert codes == [5, 5, 5, 0]
    assert held.bought == 3


def test_ls_status_and_watch_show_runs(held: Shop) -> None:
    """`ls`, `status [RUN]`, `watch [RUN]`: runs; one run; a live view."""
    run = quiet(name="r").add_job(prompt="a", key="a").submit()

    assert [row["name"] for row in data("ls")] == ["r"]
    assert data("status")["state"] == "running"
    assert set(data("status", "r")) >= set(run.status())
    held.end()
    run.wait(interval=0.02)
    assert call("watch", "r").exit_code == 0
    assert "r" in call("ls").output


def test_results_are_one_row_per_job_with_state_and_error(shop: Shop) -> None:
    """`results RUN [-o FILE.jsonl|.csv|.parquet] [--state …]`: one row per job with state and
    error."""
    mixed()
    rows = data("results", "r")
    assert {row["key"]: row["state"] for row in rows} == {"good": "completed", "bad": "failed"}

    assert call("results", "r", "-o", "out.jsonl").exit_code == 0
    lines = [json.loads(line) for line in Path("out.jsonl").read_text().splitlines()]
    assert {row["key"] for row in lines} == {"good", "bad"}
    assert next(row for row in lines if row["key"] == "bad")["error"]

    assert call("results", "r", "-o", "out.csv").exit_code == 0
    with Path("out.csv").open(newline="") as file:
        table = list(csv.DictReader(file))
    assert {row["key"]: row["state"] for row in table} == {"good": "completed", "bad": "failed"}

    assert call("results", "r", "--state", "failed", "-o", "bad.jsonl").exit_code == 0
    assert len(Path("bad.jsonl").read_text().splitlines()) == 1
    other = call("results", "r", "-o", "out.xlsx")
    assert other.exit_code in (1, 2)
    assert "out.xlsx" in other.stderr or ".xlsx" in other.stderr
    parquet = call("results", "r", "-o", "out.parquet")
    assert parquet.exit_code == 0 or "arquet" in parquet.stderr


def test_results_of_a_running_run_say_how_many_are_final(held: Shop) -> None:
    """While running too, and then it says `4,216 of 5,000 final`."""
    batch = quiet(name="r")
    for key in "abc":
        batch.add_job(prompt=key, key=key)
    batch.submit()
    shown = call("results", "r", "-o", "out.jsonl")

    assert "0 of 3 final" in shown.output
    assert len(Path("out.jsonl").read_text().splitlines()) == 3


def test_results_are_typed_by_a_class_in_a_file(shop: Shop) -> None:
    """`--model invoices.py:Invoice` types them explicitly."""
    mixed()
    Path("notes.py").write_text(
        "from pydantic import BaseModel\n"
        "class Note(BaseModel):\n    title: str\n    amount: float\n"
    )
    assert call("results", "r", "--model", "notes.py:Note", "-o", "o.jsonl").exit_code == 0
    wrong = call("results", "r", "--model", "notes.py:Nothing", "-o", "p.jsonl")
    assert wrong.exit_code in (1, 2)
    assert "Nothing" in wrong.stderr


def test_errors_show_and_log_tell_the_story(shop: Shop) -> None:
    """Failures by reason; one job's whole story; the time line."""
    mixed()

    assert "invalid_request" in call("errors", "r").output
    assert "bad" in call("errors", "r").output
    shown = call("show", "r", "bad")
    assert shown.exit_code == 0
    assert "invalid_request" in shown.output
    assert data("show", "r", "bad")["key"] == "bad"
    assert call("show", "r", "no-such-key").exit_code == 1
    assert call("log", "r").output.strip()
    assert isinstance(data("log", "r"), list)
    assert call("log", "r", "--since", "1h").exit_code == 0
    assert call("log", "r", "--since", "22:00").exit_code == 0
    assert call("log", "r", "--since", "soon").exit_code in (1, 2)


def test_cancel_and_retry_do_as_the_handle(held: Shop) -> None:
    """`cancel RUN [--key …]`, `retry RUN [--code …] [--max-tokens …] …`: as `BatchRun`."""
    batch = quiet(name="r", items_per_batch=1, max_parallel_batches=1)
    for key in "abc":
        batch.add_job(prompt=key, key=key)
    run = batch.submit()
    assert call("cancel", "r", "--key", "c").exit_code == 0
    assert run.status()["cancelled"] == 1
    assert call("cancel", "r").exit_code == 0
    held.end()
    run.wait(max_wait=20, interval=0.02)
    assert run.is_complete

    assert call("retry", "r", "--max-tokens", "99").exit_code == 0
    held.forget()
    assert call("resume", "r", "--once").exit_code == 5
    assert call("retry", "r", "--code", "nonsense").exit_code in (1, 2)


def test_verify_proves_the_books(shop: Shop) -> None:
    """`verify [RUN]`: proves the books."""
    mixed()
    mixed("s")

    assert call("verify", "r").exit_code == 0
    assert call("verify").exit_code == 0


def test_rm_refuses_what_is_in_flight_and_says_what_adding_again_would_buy(held: Shop) -> None:
    """Clean up; refuses what is in flight; says what adding it again would buy."""
    run = quiet(name="r").add_job(prompt="a", key="a").submit()
    refused = call("rm", "r")
    assert refused.exit_code == 1
    assert "in flight" in refused.stderr

    held.end()
    run.wait(interval=0.02)
    dry = call("rm", "r", "--dry-run")
    assert dry.exit_code == 0
    assert "1" in dry.output
    assert batchkit.get_run("r").state == "completed"
    young = call("rm", "r", "--older-than", "90d")
    assert batchkit.get_run("r").state == "completed", young.output
    assert call("rm", "r").exit_code == 0
    assert call("status", "r").exit_code == 1


def test_db_commands_tell_and_migrate(
    shop: Shop, postgres_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`db upgrade`, `db current`: … a Postgres database with runs in it only by this command. On
    Postgres everything lies in the schema `batchkit`."""
    mixed()
    assert call("db", "current").exit_code == 0
    assert call("db", "upgrade").exit_code == 0

    monkeypatch.setenv("BATCHKIT_DATABASE_URL", postgres_url)
    assert call("db", "upgrade").exit_code == 0
    assert mixed().status()["total"] == 2
    import psycopg

    with psycopg.connect(postgres_url.replace("+psycopg", "")) as connection:
        found = connection.execute(
            "select distinct table_schema from information_schema.tables "
            "where table_schema not in ('information_schema', 'pg_catalog')"
        ).fetchall()
    assert found == [("batchkit",)]


def test_the_command_says_no_control_codes_and_one_line_of_error(shop: Shop) -> None:
    """Human output by default; `--json` wherever state is printed."""
    mixed()
    for words in (["ls"], ["status", "r"], ["errors", "r"], ["show", "r", "bad"], ["log", "r"]):
        json.loads(call(*words, "--json").stdout)
    real = command("status", "nothing-like-it")
    assert real.returncode == 1
    assert "Traceback" not in real.stderr
    assert "\x1b" not in real.stdout + real.stderr
