"""When one upload pays, and which of a provider's errors are about a file that is gone."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit import outputs, sharing
from batchkit.model import Document
from batchkit.providers.anthropic_answers import WINDOW as ANTHROPIC
from batchkit.providers.keys import is_own
from batchkit.providers.openai_answers import WINDOW as OPENAI

SIZES = st.integers(0, 50_000_000)
JOBS = st.integers(0, 1_000_000)
MB = 1_000_000


def document(name: str = "a.pdf", size: int = 8 * MB, **other: Any) -> dict[str, Any]:
    kinds = {"kind": "pdf", "media_type": "application/pdf", "sha256": "a" * 64, "pages": 9}
    return asdict(Document(**{"path": f"/{name}", "name": name, "size": size, **kinds, **other}))


@pytest.mark.parametrize(
    ("jobs", "size", "answer"),
    [
        (500, 8 * MB, True),
        (2, 8 * MB, True),
        (1, 8 * MB, False),
        (0, 8 * MB, False),
        (4, 1 * MB, True),
        (2, 1 * MB, False),
        (30, 100_000, False),
        (40, 100_000, True),
        (1_000_000, 9_999, False),
    ],
)
def test_an_upload_must_spare_what_its_calls_take(jobs: int, size: int, answer: bool) -> None:
    """Large or often: never small, never once."""
    assert sharing.pays(jobs, size) is answer


@given(JOBS, SIZES, JOBS, SIZES)
def test_what_pays_for_few_pays_for_more(jobs: int, size: int, more: int, larger: int) -> None:
    """More jobs or a larger document never make it worse, and it never pays at a loss."""
    if sharing.pays(jobs, size):
        assert sharing.pays(jobs + more, size + larger)
        assert jobs * sharing.in_line(size) > size


def test_documents_are_counted_by_what_is_sent_under_which_name() -> None:
    """Over all that jobs have beside it; texts are no documents here; pages make another."""
    one, other = document(), document("b.pdf", sha256="b" * 64)
    part = document(selection="1-3", cut_bytes=2 * MB)
    text = document("n.txt", kind="text", media_type="text/plain", sha256="c" * 64)
    counted = [([one], 2), ([one, other], 1), ([part], 3), ([text], 900), ([one, one], 1)]
    assert sharing.paying(counted) == {
        ("a" * 64, "a.pdf"): 4,
        ("a" * 64 + "#1-3", "a.pdf"): 3,
    }


def test_an_upload_outlives_the_window_of_every_batch_that_names_it() -> None:
    """From the cut to the send it may wait a day, and then the provider has its own."""
    assert max(ANTHROPIC, OPENAI) + timedelta(hours=4) <= sharing.TO_SEND
    assert sharing.TO_SEND + timedelta(days=1) <= sharing.TO_CUT
    assert sharing.TO_CUT * 2 <= sharing.LIFE <= timedelta(days=30)


@pytest.mark.parametrize(
    ("code", "message", "answer"),
    [
        (None, "No such File object: file-abc", True),
        (None, "Files [file-abc] were not found.", True),
        (None, "File not found: file_011", True),
        ("file_expired", "whatever", True),
        (None, "The file file_011\nhas expired", True),
        ("not_found_error", "model: claude-nope", False),
        ("invalid_request_error", "The PDF specified was not valid.", False),
        ("model_not_found", "The model `gpt-9` does not exist", False),
        (None, "profile not found", False),
        (None, None, False),
    ],
)
def test_errors_about_a_file_that_is_gone_are_known(
    code: str | None, message: str | None, answer: bool
) -> None:
    """By code or words, of either provider; others stay what they are."""
    assert sharing.is_lost(code, message) is answer


def test_after_two_losses_it_goes_in_the_line() -> None:
    """Each costs nothing and is counted beside the attempts that ran."""
    first = outputs.file_lost("file-1 was not found", {"ran": 1, "note": "old"})
    assert (first.state, first.ran, first.changes) == (
        "again",
        False,
        {"ran": 1, "lost_uploads": 1},
    )
    assert not sharing.goes_in_line(first.changes)
    assert sharing.goes_in_line(outputs.file_lost("again", first.changes).changes)


@pytest.mark.parametrize(
    ("name", "media_type", "shown"),
    [
        ("a.PDF", "application/pdf", "a.PDF"),
        ("scan", "application/pdf", "scan.pdf"),
        ("photo.jpeg", "image/jpeg", "photo.jpeg"),
        ("photo.png", "image/jpeg", "photo.png.jpg"),
    ],
)
def test_a_name_ends_as_its_content_is(name: str, media_type: str, shown: str) -> None:
    """Some providers look at nothing else."""
    told = Document(**document(name, media_type=media_type))
    assert sharing.upload_name(told) == shown


@pytest.mark.parametrize(
    ("url", "answer"),
    [
        ("https://api.openai.com/v1", True),
        ("https://eu.api.openai.com/v1", True),
        ("http://127.0.0.1:8080/v1", True),
        ("http://localhost:8080/v1", True),
        ("https://api.openai.com.evil.example/v1", False),
        ("https://notapi.openai.com/v1", False),
        ("https://r.openai.azure.com/openai/v1", False),
        ("https://gateway.example/v1", False),
    ],
)
def test_whose_server_it_is_its_host_says(url: str, answer: bool) -> None:
    """The provider's own with its regions, or what stands in for it on this machine."""
    assert is_own(url, "https://api.openai.com/v1") is answer
