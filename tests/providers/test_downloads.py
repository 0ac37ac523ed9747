"""Result files: on disk whole, or an error that downloading again mends."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import (
    ProviderError,
    ProviderGarbled,
    ProviderRefused,
    ProviderUnavailable,
)
from batchkit.providers import Provider
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses
from tests.providers import made
from tests.providers.scripted import Say, Script, serving

LINES = b"".join(b'{"custom_id":"t-%d","result":{"type":"expired"}}\n' % n for n in range(3))


def ended(results_url: str | None, total: int = 3) -> Say:
    """An Anthropic batch with so many results there."""
    return Say(
        {
            "id": "b",
            "processing_status": "ended",
            "request_counts": {"expired": total},
            "results_url": results_url,
            "created_at": "2026-11-01T00:00:00Z",
        }
    )


def completed(**changes: Any) -> Say:
    """An OpenAI batch that is done."""
    body = {
        "id": "b",
        "status": "completed",
        "output_file_id": "file-o",
        "error_file_id": "file-e",
        "request_counts": {"total": 3, "completed": 2, "failed": 1},
    }
    return Say({**body, **changes})


def test_both_files_are_brought(openai: OpenAIResponses, script: Script, tmp_path: Path) -> None:
    """Without compression, into the folder."""
    two, one = LINES[: LINES.index(b"t-2") - 14], LINES[LINES.index(b"t-2") - 14 :]
    script.says(completed(), Say(two), Say(one))
    download = openai.download("b", tmp_path / "new" / "folder")
    assert [path.name for path in download.files] == ["output.jsonl", "errors.jsonl"]
    assert b"".join(path.read_bytes() for path in download.files) == LINES
    assert download.lines == 3
    assert [heard.path for heard in script.heard[1:]] == [
        "/v1/files/file-o/content",
        "/v1/files/file-e/content",
    ]
    assert script.heard[1].headers["accept-encoding"] == "identity"
    assert not list(tmp_path.rglob("*.part"))


@pytest.mark.parametrize("absent", [None, ""])
def test_a_file_without_an_id_is_no_file(
    openai: OpenAIResponses, script: Script, tmp_path: Path, absent: str | None
) -> None:
    """An empty id was seen on the live service."""
    script.says(completed(error_file_id=absent), Say(LINES))
    assert [path.name for path in openai.download("b", tmp_path).files] == ["output.jsonl"]
    script.says(completed(output_file_id=absent), Say(LINES))
    assert [path.name for path in openai.download("b", tmp_path).files] == ["errors.jsonl"]


def test_a_failed_batch_has_nothing_to_bring(
    openai: OpenAIResponses, script: Script, tmp_path: Path
) -> None:
    """Nothing ran, nothing is missing."""
    script.says(
        completed(status="failed", output_file_id=None, error_file_id=None, request_counts=None)
    )
    assert openai.download("b", tmp_path).files == ()


@pytest.mark.parametrize("end", ["expired", "cancelled"])
def test_lines_of_what_never_ran_make_no_torn_file_of_answers_whole(
    openai: OpenAIResponses, script: Script, tmp_path: Path, end: str
) -> None:
    """OpenAI counts what ran; what did not has its lines in the other file."""
    unrun = b'{"custom_id":"t-%d","response":null,"error":{"code":"batch_' + end.encode() + b'"}}\n'
    counts = {"total": 4, "completed": 2, "failed": 0}
    whole, other = LINES[: LINES.index(b"t-2") - 14], unrun % 2 + unrun % 3
    for torn in (b"", whole[: whole.index(b"\n") + 1]):
        script.says(completed(status=end, request_counts=counts), Say(torn), Say(other))
        with pytest.raises(ProviderGarbled, match="lines of 2"):
            openai.download("b", tmp_path)
    script.says(completed(status=end, request_counts=counts), Say(whole), Say(other))
    assert openai.download("b", tmp_path).lines == 2


def test_an_empty_error_file_is_fine(
    openai: OpenAIResponses, script: Script, tmp_path: Path
) -> None:
    """Azure sends one with every good batch."""
    script.says(completed(), Say(LINES), Say(b""))
    assert openai.download("b", tmp_path).lines == 3


def test_done_without_files_is_no_answer_yet(
    openai: OpenAIResponses, script: Script, tmp_path: Path
) -> None:
    """The counts say that there is something."""
    script.says(completed(output_file_id=None, error_file_id=None))
    with pytest.raises(ProviderGarbled, match="0 lines of 3"):
        openai.download("b", tmp_path)


@pytest.mark.parametrize(
    "bad",
    [
        Say(LINES[:60], how="short"),
        Say(LINES[:60], how="torn"),
        Say(LINES[: LINES.index(b"\n") + 1], how="open"),
        Say(LINES[:60], how="open"),
        Say(LINES[:-9], how="open"),
        Say(LINES[:-9]),
        Say(LINES[: LINES.index(b"\n") + 1]),
        Say(b"<html>", headers={"Content-Type": "text/html"}),
        Say(gzip.compress(LINES)[:40], headers={"Content-Encoding": "gzip"}),
        Say(status=500),
        Say(how="drop"),
    ],
    ids=[
        "short of its length",
        "chunks without an end",
        "cut at a line end",
        "cut in a line",
        "cut in the last line",
        "cut in the last line, told as whole",
        "lines missing",
        "HTML",
        "cut gzip",
        "500",
        "drop",
    ],
)
def test_a_bad_download_is_an_error_and_the_next_one_mends_it(
    anthropic: Anthropic, script: Script, tmp_path: Path, bad: Say
) -> None:
    """Nothing half is taken for whole."""
    url = f"{script.url}/v1/messages/batches/b/results"
    script.says(ended(url), bad, ended(url), Say(LINES))
    with pytest.raises((ProviderUnavailable, ProviderGarbled)):
        anthropic.download("b", tmp_path)
    assert not list(tmp_path.glob("*.part"))
    (path,) = anthropic.download("b", tmp_path).files
    assert path.read_bytes() == LINES


def test_a_stalled_download_is_unavailable(script: Script, tmp_path: Path) -> None:
    """The timeout is per read."""
    anthropic = Anthropic(api_key="sk-1", base_url=script.url, timeout=0.1)
    script.says(ended(f"{script.url}/r"), Say(how="hang"))
    with pytest.raises(ProviderUnavailable):
        anthropic.download("b", tmp_path)


def test_what_stays_short_can_still_be_taken(
    anthropic: Anthropic, script: Script, tmp_path: Path
) -> None:
    """A step that gives up finds the files in the error."""
    script.says(ended(f"{script.url}/r", total=9), Say(LINES))
    with pytest.raises(ProviderGarbled, match="3 lines of 9") as caught:
        anthropic.download("b", tmp_path)
    files = caught.value.files
    assert files is not None
    assert [path.read_bytes() for path in files] == [LINES]


def test_blank_lines_are_not_counted(anthropic: Anthropic, script: Script, tmp_path: Path) -> None:
    """A file of them is short."""
    script.says(ended(f"{script.url}/r", total=4), Say(LINES + b"\n\r\n \n"))
    with pytest.raises(ProviderGarbled):
        anthropic.download("b", tmp_path)


def test_gzip_that_nobody_asked_for_is_unpacked(
    anthropic: Anthropic, script: Script, tmp_path: Path
) -> None:
    """Some proxies know better."""
    say = Say(gzip.compress(LINES), headers={"Content-Encoding": "gzip"})
    script.says(ended(f"{script.url}/r"), say)
    assert anthropic.download("b", tmp_path).files[0].read_bytes() == LINES


@pytest.mark.parametrize(
    "link",
    [
        lambda url: f"{url}/v1/messages/batches/b/results?a=1",
        lambda url: "/v1/messages/batches/b/results?a=1",
    ],
    ids=["absolute", "relative"],
)
def test_results_lie_on_our_own_host(
    anthropic: Anthropic, script: Script, tmp_path: Path, link: Callable[[str], str]
) -> None:
    """Said in full or from the root."""
    script.says(ended(link(script.url)), Say(LINES))
    anthropic.download("b", tmp_path)
    assert script.heard[1].path == "/v1/messages/batches/b/results?a=1"


@pytest.mark.parametrize(
    "link",
    [
        "http://localhost:{port}/r",
        "https://127.0.0.1:{port}/r",
        "http://127.0.0.1:1/r",
        "//evil.example/r",
        "http://127.0.0.1:{port}@evil.example/r",
        "ftp://127.0.0.1:{port}/r",
        "http://[/r",
        "http://127.0.0.1:bad/r",
    ],
)
def test_the_key_goes_to_no_other_host(
    anthropic: Anthropic, script: Script, tmp_path: Path, link: str
) -> None:
    """Not to another port or scheme either."""
    port = script.url.rpartition(":")[2]
    script.says(ended(link.format(port=port)), Say(LINES))
    with pytest.raises(ProviderRefused, match="key goes to no other host"):
        anthropic.download("b", tmp_path)
    assert len(script.heard) == 1


def test_a_backslash_does_not_hide_another_host(
    anthropic: Anthropic, script: Script, tmp_path: Path
) -> None:
    """Two parsers may read a URL in two ways: only its path is taken."""
    script.says(ended(f"{script.url}\\@evil.example/r"), Say(LINES))
    with pytest.raises(ProviderError):
        anthropic.download("b", tmp_path)
    assert len(script.heard) == 1


def test_a_redirect_does_not_take_the_key_along(
    provider: Provider, script: Script, tmp_path: Path
) -> None:
    """A file may lie elsewhere; the key stays here."""
    both = {**completed().body, **ended(f"{script.url}/r").body, "error_file_id": None}
    with serving() as elsewhere:
        elsewhere.says(Say(LINES))
        away = Say(status=302, headers={"Location": f"{elsewhere.url}/there"})
        script.says(Say(both), away)
        provider.download("b", tmp_path)
    heard = elsewhere.heard[0]
    assert heard.path == "/there"
    assert not any(made.KEY in value for value in heard.headers.values())


def test_no_results_any_more_is_not_found(
    anthropic: Anthropic, script: Script, tmp_path: Path
) -> None:
    """After 29 days there is no URL."""
    script.says(ended(None))
    with pytest.raises(ProviderRefused) as caught:
        anthropic.download("b", tmp_path)
    assert caught.value.reason == "not_found"


def test_a_batch_that_runs_has_no_results_yet(
    openai: OpenAIResponses, script: Script, tmp_path: Path
) -> None:
    """Which is not now, not never."""
    script.says(completed(status="finalizing"))
    with pytest.raises(ProviderUnavailable, match="finalizing"):
        openai.download("b", tmp_path)
