"""Errors: the tree, and the ones that a new user meets, each as a real process."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import batchkit
from batchkit import errors
from batchkit.cli import cli
from tests.contract.conftest import quiet
from tests.contract.shop import Shop, command, env, go, script

TREE = {
    "ValidationError": ("BatchkitError", "ValueError"),
    "ConfigError": ("BatchkitError",),
    "KeyConflictError": ("BatchkitError",),
    "RunChangedError": ("BatchkitError",),
    "CostLimitExceededError": ("BatchkitError",),
    "ExhaustionError": ("BatchkitError",),
    "ProviderError": ("BatchkitError",),
    "ProviderNotFoundError": ("ProviderError",),
    "ProviderUnavailable": ("ProviderError",),
    "ProviderRefused": ("ProviderError",),
    "ProviderGarbled": ("ProviderError",),
    "AccountMismatchError": ("BatchkitError",),
    "StateError": ("BatchkitError",),
}


@pytest.mark.parametrize("name", TREE)
def test_the_tree_is_as_drawn(name: str) -> None:
    """`BatchkitError` over `ValidationError` (also a `ValueError`), … `StateError`."""
    found = getattr(batchkit, name)

    assert found is getattr(errors, name)
    assert {one.__name__ for one in found.__mro__} >= {*TREE[name], "BatchkitError"}


HEAD = """
from pathlib import Path
from typing import Any
from pydantic import BaseModel
from batchkit import Batch
class Note(BaseModel):
    title: str
class Bare(BaseModel):
    pairs: type[int]
class NoModel:
    pass
batch = Batch(name="r").set_default_params(model="claude-haiku-5-5", max_tokens=50)
"""

# What the script does, and what its one line must name: the value, and the way out.
CASES: dict[str, tuple[str, list[str]]] = {
    "an unknown model": (
        "batch.add_job(prompt='a', model='llama-9').run()",
        ["llama-9", "claude-", "provider="],
    ),
    "no jobs": ("batch.run()", ["add_job"]),
    "an empty prompt": ("batch.add_job(prompt='').run()", ["prompt"]),
    "messages and prompt together": (
        "batch.add_job(messages=[{'role':'user','content':'a'}], prompt='b').run()",
        ["messages", "prompt"],
    ),
    "a misspelt parameter": (
        "batch.add_job(prompt='a', max_token=5).run()",
        ["max_token ", "did you mean max_tokens"],
    ),
    "a missing file": (
        "batch.add_job(prompt='a', file='not-there.pdf').run()",
        ["not-there.pdf"],
    ),
    "an empty file": (
        "Path('empty.txt').touch(); batch.add_job(prompt='a', file='empty.txt').run()",
        ["empty.txt", "empty"],
    ),
    "an unreadable file": (
        "Path('folder.txt').mkdir(); batch.add_job(prompt='a', file='folder.txt').run()",
        ["folder.txt"],
    ),
    "a broken file": (
        "Path('b.pdf').write_bytes(b'%PDF-1.4 no'); batch.add_job(prompt='a', file='b.pdf').run()",
        ["b.pdf"],
    ),
    "a database folder that cannot be written": (
        "Batch(name='r', database='/proc/nowhere/x.db').add_job(prompt='a', model='gpt-6.1-sol')"
        ".run()",
        ["/proc/nowhere"],
    ),
    "the same key twice": (
        "batch.add_job(prompt='a', key='k1').add_job(prompt='b', key='k1').run()",
        ["k1"],
    ),
    "a cost limit below one job's upper bound": (
        "batch.add_cost_limit(usd=0.000001).add_job(prompt='a').run()",
        ["0.000001", "cost"],
    ),
    "a response_model that is no model": (
        "batch.add_job(prompt='a', response_model=NoModel).run()",
        ["response_model", "NoModel"],
    ),
    "a schema that cannot be": (
        "batch.add_job(prompt='a', response_model=Bare).run()",
        ["pairs"],
    ),
    "temperature with today's Anthropic version": (
        "batch.add_job(prompt='a', temperature=0.2).run()",
        ["temperature", "anthropic"],
    ),
    "streaming": ("batch.add_job(prompt='a', stream=True).run()", ["stream"]),
}


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip().splitlines()[-1]


@pytest.fixture(scope="module")
def ended(
    tmp_path_factory: pytest.TempPathFactory, stand_in: object
) -> dict[str, subprocess.CompletedProcess[str]]:
    """Run the whole table in one go: each script in a process forked from one that has imported."""
    from tests.contract.shop import environment

    folder = tmp_path_factory.mktemp("errors")
    simulator = stand_in[0]  # type: ignore[index]
    children = {}
    for number, (title, (body, _)) in enumerate(CASES.items()):
        place = folder / str(number)
        place.mkdir()
        (place / "script.py").write_text(HEAD + body + "\n")
        children[title] = place
    runner = folder / "runner.py"
    runner.write_text(RUNNER)
    subprocess.run(
        [sys.executable, runner, *map(str, children.values())],
        check=True,
        env={**env(), **environment(simulator)},
        timeout=100,
    )
    return {
        title: subprocess.CompletedProcess(
            [],
            int((place / "code").read_text()),
            (place / "out").read_text(),
            (place / "err").read_text(),
        )
        for title, place in children.items()
    }


# Imports once, then forks a process for each script: what is tried is the script, not the import.
RUNNER = """
import os, runpy, sys, traceback
import batchkit, pydantic
from batchkit import Batch
for place in sys.argv[1:]:
    child = os.fork()
    if child:
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        open(os.path.join(place, "code"), "w").write(str(code))
        continue
    os.chdir(place)
    os.dup2(os.open("out", os.O_WRONLY | os.O_CREAT), 1)
    os.dup2(os.open("err", os.O_WRONLY | os.O_CREAT), 2)
    code = 0
    try:
        runpy.run_path("script.py", run_name="__main__")
    except SystemExit as end:
        code = end.code
    except BaseException:
        sys.excepthook(*sys.exc_info())
        code = 1
    sys.stdout.flush(); sys.stderr.flush()
    os._exit(code or 0)
"""


@pytest.mark.parametrize("title", CASES)
def test_a_scripts_mistake_is_one_clear_last_line(
    title: str, ended: dict[str, subprocess.CompletedProcess[str]]
) -> None:
    """Each one clear line …, exit code 2 or 1, nothing sent; an error says what to do next."""
    done = ended[title]
    line = last_line(done)

    assert done.returncode in (1, 2)
    assert line.startswith("batchkit.errors."), done.stderr
    for word in CASES[title][1]:
        assert word in line, line


def test_none_of_the_mistakes_sent_anything(
    ended: dict[str, subprocess.CompletedProcess[str]], shop: Shop
) -> None:
    """… nothing sent."""
    assert ended
    assert shop.simulator.ledger().knocks == ()


@pytest.mark.slow
def test_no_key_and_a_wrong_key_in_a_real_process(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No key; a wrong key."""
    text = HEAD + "batch.add_job(prompt='a').run()\n"
    monkeypatch.setenv("ANTHROPIC_API_KEY", "sk-wrong")
    wrong = script(text)
    assert "Traceback" not in wrong.stderr or wrong.returncode == 1
    assert "401" in wrong.stderr or "key" in wrong.stderr
    assert "batchkit resume" in wrong.stderr
    assert "sk-wrong" not in wrong.stderr

    monkeypatch.delenv("ANTHROPIC_API_KEY")
    missing = script(text)
    assert missing.returncode == 1
    assert "ANTHROPIC_API_KEY" in last_line(missing)

    resumed = command("resume", "r")
    assert resumed.returncode in (1, 2)
    assert "ANTHROPIC_API_KEY" in resumed.stderr
    assert "Traceback" not in resumed.stderr
    assert len(resumed.stderr.strip().splitlines()) == 1
    assert not shop.entries


def test_a_database_from_a_newer_version_names_what_mends_it(shop: Shop) -> None:
    """`StateError` (database older or newer than the code: names the command that mends it)."""
    import sqlite3

    go(quiet(name="r").add_job(prompt="a"))
    shop.forget()
    with sqlite3.connect(".batchkit/batchkit.db") as database:
        database.execute("update alembic_version set version_num = '9999_later'")
    database.close()
    with pytest.raises(batchkit.StateError, match="pip install") as said:
        go(quiet(name="r").add_job(prompt="b"))
    assert len(str(said.value).splitlines()) == 1

    from click.testing import CliRunner

    for words in (["ls"], ["status"], ["resume"], ["db", "upgrade"]):
        shown = CliRunner().invoke(cli, words)
        assert shown.exit_code == 1, words
        assert "Traceback" not in shown.output
        assert "9999_later" in shown.output or "newer" in shown.output
    assert shop.nothing_sent()


def test_a_cost_limit_below_one_job_sends_nothing(shop: Shop) -> None:
    """`CostLimitExceededError` (not one job fits and nothing was sent)."""
    batch = quiet(name="r").add_cost_limit(usd=0.000001).add_job(prompt="a")
    with pytest.raises(batchkit.CostLimitExceededError, match=r"0\.000001"):
        go(batch)
    assert shop.nothing_sent()


def test_another_key_cannot_see_the_runs_batches(
    held: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """`AccountMismatchError` (the key at hand cannot see the run's batches)."""
    from batchkit.simulator import Simulator

    with Simulator(workspaces={"one": "first", "two": "second"}) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.anthropic_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "one")
        run = quiet(name="r").add_job(prompt="a").submit()
        assert run.state == "running"
        monkeypatch.setenv("ANTHROPIC_API_KEY", "two")
        with pytest.raises(batchkit.AccountMismatchError, match="key"):
            batchkit.get_run("r").resume()
        assert len(simulator.ledger().batches) == 1
        monkeypatch.setenv("ANTHROPIC_API_KEY", "one")
        simulator.advance(3600)
        batchkit.get_run("r").resume(progress_interval=0.02)
    assert batchkit.get_run("r").state == "completed"


def test_keys_and_base_urls_come_from_a_dotenv_for_the_command_too(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys and base URLs come from the SDKs' own environment variables, or a `.env` in the current
    folder, for library and command alike."""
    names = ("ANTHROPIC_API_KEY", "ANTHROPIC_BASE_URL")
    import os

    Path(".env").write_text("".join(f"{name}={os.environ[name]}\n" for name in names))
    for name in names:
        monkeypatch.delenv(name)
    run = go(quiet(name="r").add_job(prompt="a"))
    assert run.state == "completed"
    assert shop.bought == 1
