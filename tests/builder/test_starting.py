"""What is looked at before a run is opened: keys, folders, databases, limits."""

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

import pytest

from batchkit import settings
from batchkit.builder import Batch
from batchkit.builder.wishes import next_time
from batchkit.errors import ConfigError, CostLimitExceededError, StateError, ValidationError
from batchkit.store import Store
from batchkit.testing import FakeProvider, ManualClock
from batchkit.upkeep.removal import removed
from tests.builder.conftest import PRICE, Make, with_jobs


def test_a_run_without_jobs_is_refused(make: Make):
    for start in (make(name="x").run, make(name="x").submit, make().run):
        with pytest.raises(ValidationError, match="There are no jobs: add some with add_job"):
            start()


@pytest.mark.parametrize(
    ("model", "variable"), [("gpt-5-mini", "OPENAI_API_KEY"), ("claude-sonnet-4-5", "ANTHROPIC")]
)
def test_a_run_without_a_key_names_the_variable(
    migrated_sqlite_url: str, model: str, variable: str
):
    batch = Batch(name="x", database=migrated_sqlite_url).set_verbosity("error")
    batch.add_job(prompt="a", model=model, max_tokens=9)
    for start in (batch.run, batch.submit, batch.test):
        with pytest.raises(ConfigError, match=variable):
            start()
    opened = Store(migrated_sqlite_url)
    assert [run.opened_at for run in opened.runs.all(None)] == [None]
    opened.close()


def test_no_key_is_needed_where_nothing_is_left_to_send(make: Make, fake: FakeProvider):
    with_jobs(make(name="x"), 2).run()
    fake.account = lambda: pytest.fail("nobody needs a key")  # type: ignore[method-assign]
    assert with_jobs(make(name="x"), 2)._start.open(None, [])


def test_a_limit_below_one_job_is_refused_and_nothing_is_sent(make: Make, fake: FakeProvider):
    batch = with_jobs(make(name="x").add_cost_limit(usd=0.0001), 3, price=PRICE)
    with pytest.raises(CostLimitExceededError, match=r"'k0', may cost up to \$0.000\d+") as caught:
        batch.run()
    assert "$0.000100 of $0.000100 is left" in str(caught.value)
    assert not fake.ledger.entries
    assert batch.add_cost_limit(usd=1).run().state == "completed"


def test_a_long_prompt_is_counted_before_it_is_refused(make: Make, fake: FakeProvider):
    """Bytes bound it four times too high; its tokens fit."""
    prompt = "The quick brown fox jumps over the lazy dog. " * 200
    batch = make(name="x").add_job(prompt=prompt, price={"input": 100, "output": 100})
    most = batch.estimate()["usd_max"]
    limited = make(name="y").add_cost_limit(usd=most * 1.01)
    limited.add_job(prompt=prompt, price={"input": 100, "output": 100})
    assert limited._start.open(None, [])


def test_limits_are_written_when_the_run_is_opened(make: Make, store: Store, clock: ManualClock):
    batch = with_jobs(make(name="x"), 1, price=PRICE)
    batch.add_cost_limit(usd=2).add_time_limit(hours=1, minutes=30)
    run = store.runs.get(batch._start.open(None, []))
    assert (run.cost_limit, run.time_limit_s) == (2_000_000_000, 5_400.0)
    batch.add_job(prompt="more", price=PRICE).add_time_limit(until="08:00")
    run = store.runs.get(batch._start.open(None, []))
    assert run.deadline_at == next_time("08:00", clock.now())


def test_until_is_the_next_such_local_time(clock: ManualClock):
    local = clock.now().astimezone()
    soon = next_time(f"{(local + timedelta(hours=1)):%H:%M}", clock.now())
    late = next_time(f"{(local - timedelta(hours=1)):%H:%M}", clock.now())
    assert timedelta(minutes=58) < soon - clock.now() <= timedelta(hours=1)
    assert timedelta(hours=22, minutes=58) < late - clock.now() <= timedelta(hours=23)


def test_a_folder_that_cannot_be_made_is_one_clear_line(tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    batch = Batch(name="x", database=tmp_path / "file" / "state.db").set_verbosity("error")
    batch.add_job(prompt="a", model="gpt-5-mini", max_tokens=9)
    with pytest.raises(ConfigError, match=r"cannot be made .* Name another place with database="):
        batch.run()


def test_a_results_dir_that_cannot_be_made_is_one_clear_line(make: Make, tmp_path: Path):
    (tmp_path / "file").write_text("in the way")
    batch = make(results_dir=tmp_path / "file" / "out").add_job(prompt="a")
    with pytest.raises(ConfigError, match=r"results_dir .* cannot be made"):
        batch.run()


def test_answers_of_a_run_that_the_database_does_not_know_are_warned_of(
    lite: Make, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """The database was deleted: buying goes on, but not without a word."""
    out = tmp_path / "out"
    first = with_jobs(lite(results_dir=out, name="x"), 2).run()
    with_jobs(lite(results_dir=out, name="other").set_verbosity("warn"), 2).run()
    assert capsys.readouterr().err == ""  # known here: a folder of its own is all it needs

    new = lite(results_dir=out, name="x", database=tmp_path / "new.db").set_verbosity("warn")
    with_jobs(new, 2).run()
    said = capsys.readouterr().err
    assert f"{out} holds answers of {first.id}, a run that this database does not know" in said
    assert "put it back: here they are bought again" in said


def test_a_database_that_cannot_be_opened_now_is_not_left_for_an_empty_one(tmp_path: Path):
    (tmp_path / "state.db").write_bytes(b"SQLite format 3\0" + b"\0" * 4080)
    (tmp_path / "state.db-wal").mkdir()
    batch = Batch(name="x", database=tmp_path / "state.db").set_verbosity("error")
    batch.add_job(prompt="a", model="gpt-5-mini", max_tokens=9)
    with pytest.raises(ConfigError, match=r"Mend it .* would be bought again"):
        batch.run()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("mysql://host/name", "keeps its state in SQLite or Postgres"),
        ("postgresql://nobody@127.0.0.1:1/none", "Cannot open the database .* bought again"),
        ("://", "database URL"),
    ],
)
def test_a_bad_database_url_is_one_clear_line(url: str, said: str):
    batch = Batch(name="x", database=url).set_verbosity("error")
    batch.add_job(prompt="a", model="gpt-5-mini", max_tokens=9)
    with pytest.raises(ConfigError, match=said):
        batch.run()


def test_a_file_that_is_no_database_is_one_clear_line(tmp_path: Path):
    (tmp_path / "notes.txt").write_text("these are notes, and quite long ones" * 100)
    batch = Batch(name="x", database=tmp_path / "notes.txt").set_verbosity("error")
    batch.add_job(prompt="a", model="gpt-5-mini", max_tokens=9)
    with pytest.raises(ConfigError, match="file is not a database"):
        batch.run()


def test_a_database_from_a_newer_version_is_refused(migrated_sqlite_url: str):
    with sqlite3.connect(migrated_sqlite_url.removeprefix("sqlite:///")) as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    batch = Batch(name="x", database=migrated_sqlite_url).set_verbosity("error")
    batch.add_job(prompt="a", model="gpt-5-mini", max_tokens=9)
    with pytest.raises(StateError, match="newer batchkit"):
        batch.run()


def test_the_database_is_where_the_settings_say(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    inner = tmp_path / "project" / "deep"
    inner.mkdir(parents=True)
    monkeypatch.chdir(inner)
    assert settings.database(create=False) == str(inner / ".batchkit" / "batchkit.db")
    assert not (inner / ".batchkit").exists()
    (tmp_path / "project" / ".batchkit").mkdir()
    found = tmp_path / "project" / ".batchkit" / "batchkit.db"
    found.touch()
    assert settings.database() == str(found)
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", "postgresql://host/name")
    assert settings.database() == "postgresql://host/name"
    assert settings.database("mine.db") == str(inner / "mine.db")


def test_set_state_counts_before_the_argument(tmp_path: Path, clock: ManualClock):
    fake = FakeProvider(clock=clock)
    batch = Batch(
        name="x", database=tmp_path / "one.db", clock=clock, providers={"fake": fake}
    ).set_state(file=tmp_path / "two.db")
    batch.set_verbosity("error").add_job(prompt="a", model="fake-1", max_tokens=9).run()
    assert (tmp_path / "two.db").exists()
    assert not (tmp_path / "one.db").exists()


def test_a_project_comes_from_the_environment(
    make: Make, store: Store, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("BATCHKIT_PROJECT", "mine")
    list(with_jobs(make(name="x"), 1).jobs)
    list(with_jobs(make(name="x", project="other"), 1).jobs)
    assert {run.project for run in store.runs.all(None)} == {"mine", "other"}


def test_a_script_that_ends_without_run_leaves_a_draft(tmp_path: Path, python: Path):
    script = tmp_path / "script.py"
    script.write_text(
        "from batchkit import Batch\n"
        "batch = Batch(name='later').set_default_params(model='gpt-5-mini', max_tokens=9)\n"
        "batch.add_job(prompt='a').add_job(prompt='b')\n"
    )
    done = subprocess.run([python, script], cwd=tmp_path, capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    opened = Store(tmp_path / ".batchkit" / "batchkit.db")
    (run,) = opened.runs.all("default")
    assert (run.name, run.next_no, run.opened_at) == ("later", 2, None)
    opened.close()


def test_the_async_twins_do_the_same(make: Make, fake: FakeProvider):
    async def both() -> None:
        batch = with_jobs(make(name="x"), 3, price=PRICE)
        assert len(await batch.atest(1)) == 1
        await batch.asubmit()
        run = await batch.arun()
        assert run.state == "completed"

    asyncio.run(both())
    assert (fake.calls["ask"], len(fake.ledger.entries)) == (1, 2)


def test_importing_the_builder_imports_no_vendor_sdk():
    code = (
        "import sys, batchkit.builder; print('openai' in sys.modules, 'anthropic' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_what_adding_a_run_again_would_cost_leaves_out_what_was_replaced(
    lite: Make, migrated_sqlite_url: str
) -> None:
    """What was paid for the answers before stays spent, and nobody would buy it again."""
    with_jobs(lite(name="x"), 2, price=PRICE).run()
    run = with_jobs(lite(name="x", on_change="replace"), 2, "tell {}", price=PRICE).run()
    (would,) = removed("x", dry_run=True, database=migrated_sqlite_url)
    assert would.answered == 2
    assert would.cost_usd == pytest.approx(run.status()["cost_usd"] / 2, rel=0.1)
