"""The files of results_dir: one per job that has ended, named by its key, and they come back."""

from __future__ import annotations

import dataclasses
import errno
import os
import re
from datetime import timedelta
from pathlib import Path

import orjson
import pytest

from batchkit.export.folders import (
    MARKER,
    Names,
    ResultsFolder,
    file_name,
    own_folder,
    write_results,
)
from batchkit.results import JobResult
from batchkit.testing import Course
from tests.run.scenes import Invoice, Scene, asking


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir() if path.name != MARKER)


def test_every_ended_job_has_its_file(scene: Scene, tmp_path: Path) -> None:
    scene.invalid("b")
    run = scene.start(["a", "b"], results_dir=str(tmp_path / "out")).execute()

    assert names(tmp_path / "out") == ["a.json", "b.json"]
    data = orjson.loads((tmp_path / "out" / "b.json").read_bytes())
    assert JobResult.from_dict(data) == run.results()["failed"][0]


def test_files_are_there_while_it_runs(scene: Scene, tmp_path: Path) -> None:
    run = scene.start(list("abcd"), items_per_batch=2, results_dir=str(tmp_path / "out"))
    scene.fake.next(Course(), Course(takes=timedelta(hours=2)))

    with pytest.raises(TimeoutError):
        run.wait(max_wait=60)

    assert names(tmp_path / "out") == ["a.json", "b.json"]


def test_a_deleted_file_comes_back(scene: Scene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = scene.start(list("abc"), results_dir=str(out)).execute()
    (out / "b.json").unlink()
    (out / "c.json").write_bytes(b"")  # what a power cut may leave
    kept = (out / "a.json").stat().st_mtime_ns

    run.resume()

    assert names(out) == ["a.json", "b.json", "c.json"]
    assert orjson.loads((out / "c.json").read_bytes())["key"] == "c"
    assert (out / "a.json").stat().st_mtime_ns == kept


def test_a_deleted_folder_comes_back(lite: Scene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = lite.start(["a", "b"], results_dir=str(out)).execute()
    for path in out.iterdir():
        path.unlink()
    out.rmdir()

    assert write_results(run, out) == 2
    assert names(out) == ["a.json", "b.json"]


def test_what_was_written_is_not_written_again(lite: Scene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    run = lite.start(["a", "b"], results_dir=str(out)).execute()

    assert write_results(run, out) == 0


def test_a_retried_job_replaces_its_file(lite: Scene, tmp_path: Path) -> None:
    out = tmp_path / "out"
    lite.invalid("a")
    run = lite.start(["a"], results_dir=str(out)).execute()
    lite.answers.clear()

    run.retry(codes=["invalid_request"])
    run.execute()

    assert names(out) == ["a.json"]
    assert orjson.loads((out / "a.json").read_bytes())["state"] == "completed"


def test_a_second_run_gets_a_folder_of_its_own(lite: Scene, tmp_path: Path) -> None:
    out = str(tmp_path / "out")
    lite.start(["a"], results_dir=out, name="first").execute()

    lite.start(["b"], results_dir=out, name="second").execute()

    assert names(tmp_path / "out") == ["a.json", "second"]
    assert names(tmp_path / "out" / "second") == ["b.json"]


def test_a_third_run_of_the_same_name_is_told_apart(tmp_path: Path) -> None:
    (tmp_path / MARKER).write_text('{"run": "run-1"}')
    (tmp_path / "night").mkdir()
    (tmp_path / "night" / MARKER).write_text('{"run": "run-2"}')

    assert own_folder(tmp_path, "run-1", "x") == tmp_path
    assert own_folder(tmp_path, "run-2", "night") == tmp_path / "night"
    assert own_folder(tmp_path, "run-3", "night") == tmp_path / "night-run-3"
    assert own_folder(tmp_path, "run-4", "/home/me/out") == tmp_path / "out"


def test_a_disk_that_refuses_stops_nothing(lite: Scene, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("a file, not a folder")

    run = lite.start(["a"], results_dir=str(tmp_path / "out")).execute()

    assert run.is_complete
    assert lite.said.getvalue().count("The results cannot be written") == 1


def files(folder: Path) -> dict[str, str]:
    """Each file's key, by its place below the folder."""
    found = sorted(folder.rglob("*.json"))
    return {str(one.relative_to(folder)): orjson.loads(one.read_bytes())["key"] for one in found}


def test_many_files_lie_in_subfolders(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("batchkit.export.folders.MANY", 5)
    out = tmp_path / "out"
    keys = [f"k{n}" for n in range(8)]
    run = scene.start(keys, results_dir=str(out)).execute()

    before = files(out)
    assert sorted(before.values()) == keys
    assert all(re.fullmatch(r"part-[0-9a-f]{2}/k\d\.json", name) for name in before)
    for name in (*list(before)[:3],):
        (out / name).unlink()

    run.resume()

    assert files(out) == before


def test_a_run_that_grows_keeps_the_files_it_has(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And a retried job's file is the one it had."""
    monkeypatch.setattr("batchkit.export.folders.MANY", 2)
    monkeypatch.setattr("batchkit.export.folders._SPREAD", 2)
    out = tmp_path / "out"
    lite.invalid("A")
    run = lite.start(["a", "A"], results_dir=str(out)).execute()
    first = files(out)
    lite.add(["b", "x/y"])
    lite.open()
    run.execute()
    lite.add([f"k{n}" for n in range(5)])
    lite.open()
    run.execute()
    before = files(out)
    lite.answers.clear()

    run.retry(codes=["invalid_request"])
    run.execute()

    after = files(out)
    assert first.items() <= after.items()
    assert after == before
    assert sorted(after.values()) == sorted(["A", "a", "b", "x/y", *(f"k{n}" for n in range(5))])
    assert {name.count("/") for name in after} == {0, 1, 2}
    assert write_results(lite.handle(), out) == 0


@pytest.mark.parametrize("key", ["a", "Invoice 7.pdf", "ünïcode", "a-b_c~2", "2026-11-20"])
def test_a_harmless_key_is_its_files_name(key: str) -> None:
    assert file_name(key) == f"{key}.json"


@pytest.mark.parametrize(
    "key",
    [
        "inbox/a.pdf",
        "../../etc/passwd",
        "..",
        ".hidden",
        "a\\b",
        "con",
        "NUL.txt",
        "trailing.",
        "trailing ",
        "what?",
        "tab\there",
        "x" * 300,
        "ü" * 120,
        "\ud800",
        "looks-like-0123456789",
    ],
)
def test_any_other_key_gets_a_suffix_and_stays_in_the_folder(tmp_path: Path, key: str) -> None:
    name = file_name(key)

    assert name != f"{key}.json"
    assert len(name.encode()) < 250
    (tmp_path / name).write_text("it is a name")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_two_keys_never_share_a_file(lite: Scene, tmp_path: Path) -> None:
    """Not even on a disk that does not tell capitals apart, nor after a restart."""
    keys = ["A.pdf", "a.pdf", "A.PDF", "x/y", "x_y", "é", "e\u0301"]
    run = lite.start(keys, results_dir=str(tmp_path / "out")).execute()
    before = names(tmp_path / "out")

    for path in (tmp_path / "out").iterdir():
        path.unlink()
    run.resume()

    assert names(tmp_path / "out") == before
    assert len({name.casefold() for name in before}) == len(keys)
    found = {orjson.loads((tmp_path / "out" / name).read_bytes())["key"] for name in before}
    assert found == set(keys)


def test_a_name_stays_with_its_key(tmp_path: Path) -> None:
    first = Names(tmp_path)
    name = first.name("A")
    (tmp_path / name).write_text('{"key": "A"}')

    assert first.name("A") == name
    assert first.name("a") != name
    assert Names(tmp_path).name("A") == name
    assert Names(tmp_path).name("a") != "a.json"


def test_a_small_letters_name_is_not_given_to_capitals(tmp_path: Path) -> None:
    """Also where the file of the small letters went meanwhile."""
    first = Names(tmp_path)
    (tmp_path / first.name("a")).write_text('{"key": "a"}')
    capital = first.name("A")
    (tmp_path / capital).write_text('{"key": "A"}')
    (tmp_path / "a.json").unlink()

    assert capital != "A.json"
    assert first.name("A") == capital
    assert Names(tmp_path).name("A") == capital
    assert Names(tmp_path).name("a") == "a.json"


def test_a_key_in_dots_keeps_its_suffix(tmp_path: Path) -> None:
    """Its name is as long as one without."""
    key = "." * 11 + "abc"
    assert Names(tmp_path).name(key) == file_name(key) != f"{key}.json"


def test_who_is_told_to_leave_goes_on_from_there_the_next_time(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = scene.start(list("abcde")).execute()
    monkeypatch.setattr("batchkit.export.folders._PAGE", 2)
    told = iter([False, True])

    assert ResultsFolder(run, out).update(lambda: next(told)) == 4
    assert len(names(out)) == 4
    kept = (out / "a.json").stat().st_mtime_ns
    assert write_results(run, out) == 1
    assert names(out) == [f"{key}.json" for key in "abcde"]
    assert (out / "a.json").stat().st_mtime_ns == kept


def test_who_is_told_to_leave_while_mending_mends_the_rest_the_next_time(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = lite.start(list("abcd")).execute()
    write_results(run, out)
    for key in "abcd":
        (out / f"{key}.json").unlink()
    monkeypatch.setattr("batchkit.export.folders._PAGE", 2)

    assert ResultsFolder(run, out).mend(lambda: True) == 2
    assert ResultsFolder(run, out).mend() == 2
    assert names(out) == [f"{key}.json" for key in "abcd"]


def test_a_disk_that_fills_up_in_the_middle_leaves_whole_files_and_is_gone_on_with(
    lite: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "out"
    run = lite.start(list("abcde")).execute()
    monkeypatch.setattr("batchkit.export.folders._PAGE", 2)
    whole, wrote = os.write, 0

    def full(file: int, content: bytes) -> int:
        nonlocal wrote
        wrote += 1
        if wrote == 5:  # three files, the cursor after the second of them, and half a file
            return whole(file, content[:10])
        if wrote == 6:
            raise OSError(errno.ENOSPC, "No space left on device")
        return whole(file, content)

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_results(run, out)
    assert names(out) == ["a.json", "b.json", "c.json"]

    monkeypatch.setattr(os, "write", whole)
    assert write_results(run, out) == 3  # c once more
    assert sorted(files(out).values()) == list("abcde")


def test_a_file_says_all_there_is_of_any_end_in_the_order_of_the_fields(
    scene: Scene, tmp_path: Path
) -> None:
    scene.invalid("b")
    run = scene.start(
        list("ab"), template=asking(Invoice), results_dir=str(tmp_path / "out")
    ).execute()
    scene.add(["c"])
    scene.open()
    run.cancel()
    run.resume()

    found = {one.key: one for one in run.iter_results(response_model=Invoice)}
    assert [found[key].state for key in "abc"] == ["completed", "failed", "cancelled"]
    for key, one in found.items():
        every = [field.name for field in dataclasses.fields(one)]
        data = {name: getattr(one, name) for name in every if name not in ("pages", "cursor")}
        assert data.pop("parts") == []
        if isinstance(one.parsed_response, Invoice):
            data["parsed_response"] = one.parsed_response.model_dump(mode="json")
        expected = orjson.dumps(data, option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE)
        assert (tmp_path / "out" / f"{key}.json").read_bytes() == expected
