"""The project as a stranger gets it: a README that is true, a wheel that works elsewhere."""

from __future__ import annotations

import os
import re
import signal
import socket
import sqlite3
import subprocess
import sys
import sysconfig
import time
import tomllib
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import postgres

ROOT = Path(__file__).resolve().parent.parent


def first_command(heading: str) -> list[str]:
    """Return the lines of the first ```sh block below a heading of the README."""
    sections = re.split(r"^## ", (ROOT / "README.md").read_text("utf-8"), flags=re.MULTILINE)
    (section,) = [text for text in sections if text.startswith(f"{heading}\n")]
    fences = re.findall(r"^```(\w*)\n(.*?)^```$", section, flags=re.MULTILINE | re.DOTALL)
    language, block = fences[0]
    assert language == "sh"
    return str(block).splitlines()


@pytest.fixture(scope="module")
def pyproject() -> dict[str, Any]:
    return tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))


@pytest.fixture(scope="module")
def contracts(pyproject: dict[str, Any]) -> dict[str, dict[str, Any]]:
    return {
        contract["name"]: contract for contract in pyproject["tool"]["importlinter"]["contracts"]
    }


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The project's wheel, built as a release would be, less the download of the builder."""
    folder = tmp_path_factory.mktemp("wheel")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", folder, ROOT, cwd=folder)
    (built,) = folder.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of the commands of an environment of its own, with a space in its path."""
    home = tmp_path_factory.mktemp("elsewhere") / "my env"
    run(sys.executable, "-m", "venv", "--without-pip", home, cwd=wheel.parent)
    python = home / "bin" / "python"
    run(
        *(sys.executable, "-m", "pip", "--python", python),
        *("install", "--quiet", "--no-deps", "--no-index", wheel),
        cwd=wheel.parent,
    )
    # The dependencies come from the environment that the tests run in: no second download.
    (site,) = home.glob("lib/python*/site-packages")
    (site / "dependencies.pth").write_text(sysconfig.get_path("purelib") + "\n")
    return python.parent


def run(*command: str | Path, cwd: Path, **environment: str) -> str:
    """Run a command that must succeed, and return what it printed."""
    words = [str(word) for word in command]
    done = subprocess.run(
        words,
        cwd=cwd,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )
    assert done.returncode == 0, f"{' '.join(words)}\n{done.stdout}\n{done.stderr}"
    return done.stdout


def test_the_readme_has_one_line_to_try_it() -> None:
    """It ends in the demo, and needs nothing above it."""
    (line,) = first_command("Try it")

    assert line.endswith("batchkit demo")


def test_the_readme_has_one_line_to_test_it() -> None:
    """CI runs this very line."""
    (line,) = first_command("Test it")

    assert line == "sh .ci/check"


@pytest.mark.parametrize("name", ["venv", "check"])
def test_the_scripts_are_posix_sh(name: str, tmp_path: Path) -> None:
    """A bare machine may have dash and no bash."""
    run("sh", "-n", ROOT / ".ci" / name, cwd=tmp_path)


def test_the_changelog_opens_with_what_is_unreleased() -> None:
    headings = re.findall(r"^## (.*)$", (ROOT / "CHANGELOG.md").read_text("utf-8"), re.MULTILINE)

    assert headings[0] == "[Unreleased]"


def test_the_licence_is_mit(pyproject: dict[str, Any]) -> None:
    assert (ROOT / "LICENSE").read_text("utf-8").startswith("MIT License\n")
    assert pyproject["project"]["license"] == "MIT"


def test_the_simulator_is_a_stranger_to_every_room(contracts: dict[str, dict[str, Any]]) -> None:
    """The list of what it must not import names each room that has a floor."""
    floors = contracts["rooms stack one way"]["layers"]
    rooms = {f"batchkit.{room.strip()}" for floor in floors for room in floor.split("|")}

    assert set(contracts["the simulator knows no core"]["forbidden_modules"]) == rooms


@pytest.mark.slow
def test_the_wheel_holds_the_migrations_and_the_type_marker(wheel: Path) -> None:
    """What an installed batchkit reads beside its modules is in the wheel, and no test is."""
    names = zipfile.ZipFile(wheel).namelist()

    assert "batchkit/py.typed" in names
    assert "batchkit/migrations/env.py" in names
    assert [name for name in names if name.startswith("batchkit/migrations/versions/")]
    assert {name.split("/")[0].partition("-")[0] for name in names} == {"batchkit", "llm_batchkit"}


@pytest.mark.slow
def test_an_installed_batchkit_makes_its_database_from_any_folder(
    installed: Path, tmp_path: Path
) -> None:
    """The migrations come from the wheel, not from a checkout that happens to be near."""
    database = tmp_path / "some state.db"

    run(
        *(installed / "batchkit", "db", "upgrade"),
        cwd=tmp_path,
        BATCHKIT_DATABASE_URL=f"sqlite:///{database}",
    )

    with sqlite3.connect(database) as connection:
        tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    connection.close()
    assert {"alembic_version", "runs", "jobs", "batches", "attempts"} <= tables


@pytest.mark.slow
def test_an_installed_batchkit_has_the_demo(installed: Path, tmp_path: Path) -> None:
    printed = run(installed / "batchkit", "demo", "--help", cwd=tmp_path)

    assert "FOLDER" in printed.upper()
    assert "\x1b" not in printed


@pytest.mark.slow
def test_an_installed_batchkit_imports_itself(installed: Path, tmp_path: Path) -> None:
    """Not the checkout: otherwise the tests above prove nothing."""
    found = run(
        *(installed / "python", "-c", "import batchkit; print(batchkit.__file__)"), cwd=tmp_path
    )

    assert Path(found.strip()).is_relative_to(installed.parent)


# The bench itself.


def test_a_test_cannot_reach_the_network() -> None:
    """By name or by number."""
    with pytest.raises(pytest.fail.Exception, match="went out"):
        socket.create_connection(("example.com", 443))
    with socket.socket() as caller, pytest.raises(pytest.fail.Exception, match="went out"):
        caller.connect(("192.0.2.1", 443))


def test_a_test_can_reach_this_machine() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        socket.create_connection(server.getsockname()).close()


def test_a_test_sees_no_key_and_no_settings() -> None:
    assert not [name for name in os.environ if name.startswith(("OPENAI_", "ANTHROPIC_", "BATCHK"))]
    assert not list(Path.cwd().iterdir())


def test_each_test_has_an_empty_database(database_url: str) -> None:
    """What one leaves, the next does not see: this law's two cases run on both databases."""
    leave_a_table(database_url)


def test_each_test_has_an_empty_database_again(database_url: str) -> None:
    leave_a_table(database_url)


def leave_a_table(url: str) -> None:
    import sqlalchemy as sa

    engine = sa.create_engine(url)
    with engine.begin() as connection:
        assert sa.inspect(connection).get_table_names() == []
        connection.execute(sa.text("CREATE TABLE left_behind (id INTEGER)"))
    engine.dispose()


def test_a_test_can_have_batchkits_tables_at_once(migrated_url: str) -> None:
    """At the newest migration, so that opening the store has nothing to do."""
    from batchkit.store import migrate
    from batchkit.store.database import Database

    database = Database(migrated_url)

    assert migrate.current(database) == migrate.HEAD
    database.engine.dispose()


@pytest.mark.slow
def test_no_server_outlives_tests_that_were_killed(python: Path, tmp_path: Path) -> None:
    """The keeper sees the pipe close, whatever ended the tests."""
    try:
        postgres.find_binaries()
    except postgres.PostgresMissingError as missing:
        pytest.skip(str(missing))
    script = "import sys; from tests import postgres; print(postgres.start().socket, flush=True)"
    tests = subprocess.Popen(
        [python, "-c", f"{script}; sys.stdin.read()"],
        cwd=tmp_path,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with tests:
        assert tests.stdout is not None
        folder = Path(tests.stdout.readline().strip())
        assert (folder / "data").exists()
        tests.send_signal(signal.SIGKILL)

    assert comes_true(lambda: not folder.exists())


def comes_true(fact: Callable[[], bool], seconds: float = 10) -> bool:
    """Wait for another process."""
    until = time.monotonic() + seconds
    while not fact() and time.monotonic() < until:
        time.sleep(0.02)  # noqa: TID251  # another process has no clock of ours
    return fact()
