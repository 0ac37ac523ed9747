"""Runs are found by name or id, in a project, in the database at hand."""

from __future__ import annotations

from pathlib import Path

import pytest

from batchkit.errors import RunNotFoundError
from batchkit.run import get_run, list_runs
from tests.run.scenes import Scene


def test_a_run_is_found_by_name_and_by_id(scene: Scene) -> None:
    run = scene.draft(["a"], name="invoices")

    assert get_run("invoices", database=scene.url).id == run.id
    assert get_run(run.id, database=scene.url).name == "invoices"


def test_an_unknown_name_gets_similar_ones(scene: Scene) -> None:
    scene.draft(["a"], name="invoices")

    with pytest.raises(RunNotFoundError, match="Did you mean 'invoices'"):
        get_run("invoice", database=scene.url)
    with pytest.raises(RunNotFoundError, match="The latest there: 'invoices'"):
        get_run("zzz", database=scene.url)
    with pytest.raises(RunNotFoundError, match="There are none in it"):
        get_run("invoices", project="other", database=scene.url)


def test_looking_makes_no_database(tmp_path: Path) -> None:
    with pytest.raises(RunNotFoundError, match="There is no database at"):
        get_run("night", database=tmp_path / "nothing.db")

    assert list_runs(database=tmp_path / "nothing.db") == []
    assert list(tmp_path.iterdir()) == []


def test_runs_are_listed_newest_first(scene: Scene) -> None:
    for name in ("one", "two", "three"):
        scene.draft(["a"], name=name)

    assert [run.name for run in list_runs(database=scene.url)] == ["three", "two", "one"]
    assert [run.name for run in list_runs(2, database=scene.url)] == ["three", "two"]
    assert list_runs(database=scene.url, project="other") == []


def test_the_command_to_resume_says_where(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = lite.start(["a"], name="two words")
    database = tmp_path / "batchkit.db"

    command = run._driver.command()

    assert command == f"batchkit resume 'two words' --database {database}"
    monkeypatch.setenv("BATCHKIT_DATABASE_URL", lite.url)
    assert run._driver.command() == "batchkit resume 'two words'"
    monkeypatch.setenv("BATCHKIT_PROJECT", "mine")
    assert run._driver.command() == "batchkit resume 'two words' --project default"
