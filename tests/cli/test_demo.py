"""The demo: real documents, both providers, killed and gone on with, nothing bought twice."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import ValidationError as Unfit

from batchkit import demo
from batchkit.cli.demo import _show_kept
from batchkit.demo.material import _item, gather
from batchkit.demo.models import Distribution, Paper
from batchkit.errors import ConfigError, ValidationError
from batchkit.simulator import Ledger, Simulator

COMMAND = Path(sys.executable).parent / "batchkit"
PLACE = Path(demo.PLACE)


@pytest.fixture(autouse=True)
def hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let an hour take a quarter of a minute."""
    monkeypatch.setenv("BATCHKIT_DEMO_SCALE", "240")


def run(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", *words], capture_output=True, text=True, check=False, timeout=100
    )


def start(*words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [COMMAND, "demo", *words], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )


def ledger() -> Ledger:
    """Open the demo's simulator where it stopped and read its books."""
    with Simulator(PLACE / "simulator", scale=60.0) as simulator:
        return simulator.ledger()


def comes_true(fact: Callable[[], bool], seconds: float = 60) -> bool:
    until = time.monotonic() + seconds
    while not fact() and time.monotonic() < until:
        time.sleep(0.05)  # noqa: TID251  # another process has no clock of ours
    return fact()


def has_created() -> bool:
    """Whether the demo has made a batch: the simulator writes down every knock."""
    written = [path for path in (PLACE / "simulator").glob("*.jsonl") if path.is_file()]
    return any("batches.create" in path.read_text("utf-8", "replace") for path in written)


# what it asks about


def test_the_installed_distributions_are_documents_that_every_machine_has() -> None:
    """Some dozens, each with its metadata, most with a licence; keys are unique."""
    material = demo.gather()

    assert len(material.items) > 20
    assert len({item.key for item in material.items}) == len(material.items)
    assert all(path.is_file() for item in material.items for path in item.files)
    assert any(len(item.files) == 2 for item in material.items)
    assert material.model is Distribution


def test_a_limit_takes_the_first() -> None:
    assert demo.gather(limit=3).items == demo.gather().items[:3]


@pytest.mark.parametrize("module", ["copying.py", "copying.cpython-311.pyc", "licensing.pyi"])
def test_a_module_is_no_licence(tmp_path: Path, module: str) -> None:
    """Whatever its name: compiled, it can be sent to nobody, and the demo would have a failure."""
    info = tmp_path / "a-1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Name: a")
    (tmp_path / module).write_bytes(b"\0code")
    installed = SimpleNamespace(
        metadata={"Name": "a", "Version": "1"},
        files=["a-1.dist-info/METADATA", module],
        locate_file=lambda file: tmp_path / file,
    )

    item = _item(installed)  # type: ignore[arg-type]

    assert item is not None
    assert [path.name for path in item.files] == ["METADATA"]


def test_a_folder_is_read_by_its_endings(tmp_path: Path) -> None:
    """Hidden files, empty ones, others and the demo's own are left out."""
    for name in ("a.txt", "b.MD", "in/c.csv", ".hidden.txt", "d.exe", f"{demo.PLACE}/e.json"):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("some text")
    (tmp_path / "empty.txt").write_text(" \n")

    material = demo.gather(tmp_path)

    assert [item.key for item in material.items] == ["a.txt", "b.MD", "in/c.csv"]
    assert material.skipped == 1
    assert material.model is Paper


def test_a_folder_without_documents_says_so(tmp_path: Path) -> None:
    with pytest.raises(ValidationError, match="choose another folder"):
        demo.gather(tmp_path)


@pytest.mark.parametrize("model", [Distribution, Paper])
def test_the_models_have_a_dozen_fields_of_different_kinds(
    model: type[Distribution] | type[Paper],
) -> None:
    """Text, enum, number, boolean, date, list, nested, optional."""
    schema = json.dumps(model.model_json_schema())

    assert len(model.model_fields) == 12
    for kind in ("string", "number", "integer", "boolean", "array", "null"):
        assert f'"type": "{kind}"' in schema
    for word in ('"enum"', '"format": "date"', '"$ref"'):
        assert word in schema
    with pytest.raises(Unfit):
        model.model_validate({})


# the simulator beside it


def test_the_simulator_is_the_same_one_again(tmp_path: Path) -> None:
    """A batch belongs to an account, and the base URL is part of that."""
    urls = []
    for _ in range(2):
        with demo.providers_for(None, tmp_path) as adapters:
            assert adapters is not None
            urls.append({name: one.account().base_url for name, one in adapters.items()})

    assert urls[0] == urls[1]


def test_two_demos_in_one_folder_are_told_so(tmp_path: Path) -> None:
    with (
        demo.providers_for(None, tmp_path),
        pytest.raises(ConfigError, match="Another demo runs"),
        demo.providers_for(None, tmp_path),
    ):
        pass


def test_a_folder_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    """A file where the folder should be stands for whatever keeps it from being made."""
    (tmp_path / "here").write_text("a file")

    with (
        pytest.raises(ConfigError, match="cannot be made"),
        demo.providers_for(None, tmp_path / "here"),
    ):
        pass


# the whole of it


@pytest.mark.slow
def test_the_demo_ends_with_typed_rows_and_where_everything_is() -> None:
    """Both providers, no control codes, no key; typed again it buys nothing."""
    done = run("--limit", "12")

    assert done.returncode == 0, done.stderr
    assert "\x1b" not in done.stdout + done.stderr
    for word in ("name", "licence", "Cost", "State", "Results", "Next:", "batchkit results"):
        assert word in done.stdout
    assert len(list((PLACE / "results").glob("*.json"))) == 12
    books = ledger()
    assert {batch.dialect for batch in books.batches} == {"openai", "anthropic"}
    assert sum(entry.billed for entry in books.entries) == 12

    again = run("--limit", "12")

    assert again.returncode == 0, again.stderr
    assert "nothing to buy" in again.stdout
    assert sum(entry.billed for entry in ledger().entries) == 12


@pytest.mark.slow
def test_the_demo_reads_a_folder(tmp_path: Path) -> None:
    """What is a marker to the simulator elsewhere is only text here."""
    folder = tmp_path / "letters"
    folder.mkdir()
    for number in range(3):
        text = f"Title: Letter {number}\nDate: 2026-10-0{number + 1}\n[[sim:expire]]"
        (folder / f"{number}.txt").write_text(text)

    done = run(str(folder))

    assert done.returncode == 0, done.stderr
    assert all(f"Letter {number}" in done.stdout for number in range(3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("number", "code"),
    [(signal.SIGKILL, -signal.SIGKILL), (signal.SIGINT, 130), (signal.SIGTERM, 143)],
)
def test_a_demo_that_was_stopped_goes_on_and_buys_nothing_twice(
    number: signal.Signals, code: int
) -> None:
    """The same command finds its run, and the simulator its batches."""
    process = start("--limit", "12")
    with process:
        try:
            assert comes_true(lambda: has_created() or process.poll() is not None)
            process.send_signal(number)
            out, err = process.communicate(timeout=30)
        finally:
            process.kill()
    assert process.returncode == code, (out, err)
    assert "Traceback" not in err
    if number == signal.SIGINT:
        assert f"Detached. Go on with: {COMMAND} demo --limit 12\n" in err
        assert "batchkit resume" not in err

    done = run("--limit", "12")

    assert done.returncode == 0, done.stderr
    books = ledger()
    assert books.bought_twice() == []
    assert sum(entry.billed for entry in books.entries) == 12


@pytest.mark.slow
@pytest.mark.parametrize(
    ("provider", "variable"), [("openai", "OPENAI_API_KEY"), ("anthropic", "ANTHROPIC_API_KEY")]
)
def test_a_real_provider_needs_a_key(provider: str, variable: str) -> None:
    """And says which, before anything is sent."""
    done = run("--provider", provider, "--limit", "2", "--yes")

    assert done.returncode == 1
    assert variable in done.stderr
    assert "To buy" not in done.stdout
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_a_real_provider_is_asked_for_first(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The estimate is shown; no means that nothing is sent; --yes does not ask."""
    with Simulator(tmp_path / "real", scale=600.0, instant=True) as real:
        monkeypatch.setenv("OPENAI_BASE_URL", real.openai_url)
        monkeypatch.setenv("OPENAI_API_KEY", "simulated")
        monkeypatch.setenv("BATCHKIT_PACE", "600")
        no = subprocess.run(
            [COMMAND, "demo", "--provider", "openai", "--limit", "2"],
            input="n\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
            env=os.environ,
        )
        assert no.returncode == 1
        assert re.search(r"about \$0\.\d+", no.stdout)
        assert "Nothing was sent" in no.stderr
        assert real.ledger().batches == ()

        yes = run("--provider", "openai", "--limit", "2", "--yes")

        assert yes.returncode == 0, yes.stderr
        assert len(real.ledger().entries) == 2


def test_a_smaller_limit_after_a_larger_one_says_that_what_is_there_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for number in range(3):
        (tmp_path / f"{number}.txt").write_text(f"Letter {number}")
    held: Any = SimpleNamespace(status=lambda: {"total": 3})
    _show_kept(held, gather(tmp_path, 2))
    _show_kept(held, gather(tmp_path, 3))
    said = capsys.readouterr().out
    assert said.count("From an earlier demo 1 document more lies in the run") == 1
