"""Looking for a create that lost its answer."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchkit.errors import ProviderUnavailable
from batchkit.model import Candidate, Search, Window
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses
from tests.providers import made
from tests.providers.scripted import Say, Script

START = datetime(2026, 11, 1, 12, tzinfo=UTC)
WINDOW = Window(START, START + timedelta(minutes=10))


def listed(*rows: dict[str, Any], more: bool | None = False) -> Say:
    """One page of a list."""
    return Say({"object": "list", "data": list(rows), "has_more": more})


def batch(ref: str, minutes: float, **changes: Any) -> dict[str, Any]:
    """An OpenAI batch so long after the window's start."""
    at = (START + timedelta(minutes=minutes)).timestamp()
    return {"id": ref, "status": "in_progress", "created_at": int(at), **changes}


def message_batch(ref: str, minutes: float, count: int = 2, **changes: Any) -> dict[str, Any]:
    """An Anthropic batch so long after the window's start."""
    return {
        "id": ref,
        "processing_status": "in_progress",
        "request_counts": {"processing": count},
        "created_at": (START + timedelta(minutes=minutes)).isoformat(),
        **changes,
    }


@pytest.fixture
def find(openai: OpenAIResponses, tmp_path: Path) -> Any:
    """Look for a spool at OpenAI."""
    spool = made.spool(openai, tmp_path)
    spool.path.unlink()

    def look(*known: str) -> Search:
        return openai.find(spool, "file-1", WINDOW, known)

    return look


def test_the_input_file_proves_a_batch(find: Any, script: Script) -> None:
    """Each upload has its own."""
    script.says(
        listed(batch("x", 2, input_file_id="file-2"), batch("b", 1, input_file_id="file-1"))
    )
    search = find()
    assert search.candidates == [Candidate("b", "certain", START + timedelta(minutes=1))]
    assert search.complete
    assert search.now is not None


def test_the_token_proves_a_batch(find: Any, script: Script) -> None:
    """Where a server names no input file."""
    script.says(
        listed(
            batch("x", 2, metadata={"batchkit_token": "tok2"}),
            batch("y", 2, metadata=["?"]),
            batch("b", 1, metadata={"batchkit_token": "tok1"}),
        )
    )
    assert [candidate.ref for candidate in find().candidates] == ["b"]


def test_the_oldest_comes_first_and_the_known_not_at_all(find: Any, script: Script) -> None:
    """The oldest is the one to keep."""
    script.says(listed(*(batch(ref, at, input_file_id="file-1") for at, ref in enumerate("abc"))))
    assert [candidate.ref for candidate in find("b").candidates] == ["a", "c"]


def test_a_look_goes_on_until_the_list_is_older_than_the_window(find: Any, script: Script) -> None:
    """A page of old ones ends it; one old row proves no order."""
    script.says(
        listed(batch("p", 9), batch("q", -60), more=True),
        listed(batch("b", 1, input_file_id="file-1"), more=True),
        listed(batch("r", -30), batch("s", -40), more=True),
        listed(batch("never", 1)),
    )
    search = find()
    assert [candidate.ref for candidate in search.candidates] == ["b"]
    assert search.complete
    assert [heard.path for heard in script.heard] == [
        "/v1/batches?limit=100",
        "/v1/batches?after=q&limit=100",
        "/v1/batches?after=b&limit=100",
    ]


@pytest.mark.parametrize(
    ("pages", "complete"),
    [
        ([listed()], True),
        ([listed(more=None)], True),
        ([listed(more=True)], False),
        ([listed(batch("p", 1), more=None), listed(more=None)], True),
        ([listed(batch("p", 1), more=True), listed(batch("p", 1), more=True)], False),
        ([Say({"data": "?"})], False),
        ([listed({"created_at": None}, more=True)], False),
    ],
    ids=["empty", "no has_more", "more of nothing", "until empty", "a loop", "no list", "no ids"],
)
def test_a_look_says_whether_it_saw_everything(
    find: Any, script: Script, pages: list[Say], complete: bool
) -> None:
    """Only then may a create be called lost."""
    script.says(*pages)
    assert find().complete is complete


def test_a_look_that_breaks_off_is_an_error(find: Any, script: Script) -> None:
    """Half a look proves nothing."""
    script.says(listed(batch("p", 1), more=True), Say(how="drop"))
    with pytest.raises(ProviderUnavailable):
        find()


@pytest.fixture
def sweep(anthropic: Anthropic, tmp_path: Path) -> Any:
    """Look for a spool of two at Anthropic."""
    spool = made.spool(anthropic, tmp_path)
    spool.path.unlink()

    def look(*known: str) -> Search:
        return anthropic.find(spool, None, WINDOW, known)

    return look


def test_time_and_count_make_a_provisional_candidate(sweep: Any, script: Script) -> None:
    """Nothing else of a running batch can be seen."""
    script.says(
        listed(
            message_batch("late", 30),
            message_batch("known", 3),
            message_batch("three", 2, count=3),
            message_batch("b", 1),
            message_batch("early", -5),
        )
    )
    search = sweep("known")
    assert search.candidates == [Candidate("b", "provisional", START + timedelta(minutes=1))]
    assert search.complete


def ended(script: Script, **changes: Any) -> dict[str, Any]:
    """A batch of the window with results."""
    more = {"processing_status": "ended", "results_url": f"{script.url}/r", **changes}
    return message_batch("b", 1, **more)


@pytest.mark.parametrize(
    ("result", "proofs"),
    [
        (b'\n{"custom_id":"tok1-7","result":{}}\n{"cu', ["certain"]),
        (b'{"custom_id":"tok1-7","result":{}}', ["certain"]),
        (b'{"custom_id":"tok11-7","result":{}}\n', []),
        (b'{"custom_id":"theirs","result":{}}\n', []),
        (b"", ["provisional"]),
        (b"no JSON", ["provisional"]),
    ],
)
def test_results_prove_or_disprove(
    sweep: Any, script: Script, result: bytes, proofs: list[str]
) -> None:
    """By the token in their custom_ids."""
    script.says(listed(ended(script)), Say(result))
    assert [candidate.proof for candidate in sweep().candidates] == proofs


@pytest.mark.parametrize("say", [Say(status=404), Say(how="drop"), Say(status=500)])
def test_results_that_cannot_be_had_prove_nothing(sweep: Any, script: Script, say: Say) -> None:
    """It stays provisional."""
    script.says(listed(ended(script)), say)
    assert [candidate.proof for candidate in sweep().candidates] == ["provisional"]


def test_results_of_another_host_are_not_asked_for(sweep: Any, script: Script) -> None:
    """The key goes to no other host, here neither."""
    script.says(listed(ended(script, results_url="http://evil.example/r")))
    assert [candidate.proof for candidate in sweep().candidates] == ["provisional"]
    assert len(script.heard) == 1


def test_pages_follow_the_cursor(sweep: Any, script: Script) -> None:
    """By last_id."""
    page = {"data": [message_batch("p", 1, 9)], "has_more": True, "last_id": "cursor"}
    script.says(Say(page), listed(message_batch("b", 1)))
    assert [candidate.ref for candidate in sweep().candidates] == ["b"]
    assert script.heard[1].path == "/v1/messages/batches?after_id=cursor&limit=100"
