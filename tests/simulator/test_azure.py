"""Azure's front: the same calls, other names, times and numbers."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import openai
import pytest

from tests.simulator.talking import document, response_body, results, submit


@pytest.fixture
def azure(start):
    """A simulator that speaks as Azure, and a client with its base URL."""
    sim = start(azure=True)
    client = openai.OpenAI(
        base_url=f"{sim.url}/openai/v1",
        api_key="unused-wrong",
        default_headers={"api-key": "k"},
        max_retries=0,
    )
    yield sim, client
    client.close()


def test_statuses_are_capitalised_times_are_iso_and_counts_null(azure):
    """Until it ends; there is no expiry."""
    sim, client = azure
    batch: Any = submit(client, [response_body(document(i)) for i in range(3)])
    assert batch.status == "Validating"
    assert batch.request_counts.to_dict() == {"total": None, "completed": None, "failed": None}
    assert datetime.fromisoformat(batch.created_at[:19]) == datetime(2026, 11, 1)  # noqa: DTZ001
    assert batch.expires_at is None
    sim.advance(60)
    seen = client.batches.retrieve(batch.id)
    assert (seen.status, seen.request_counts.total) == ("In_progress", None)
    sim.advance(3_600)
    seen = client.batches.retrieve(batch.id)
    assert (seen.status, seen.request_counts.completed) == ("Completed", 3)
    assert [one.status for one in client.batches.list()] == ["Completed"]


def test_a_success_has_an_empty_error_file(azure):
    """It is there, and holds nothing."""
    sim, client = azure
    batch = submit(client, [response_body(document(1))])
    sim.advance(3_600)
    seen = client.batches.retrieve(batch.id)
    assert client.files.content(seen.error_file_id).content == b""
    assert len(results(client, batch.id)) == 1


def test_nothing_expires(azure):
    """A request that never runs keeps its batch going until it is cancelled."""
    sim, client = azure
    batch = submit(client, [response_body("x [[sim:expire]]"), response_body("y")])
    sim.advance(10 * 86_400)
    assert client.batches.retrieve(batch.id).status == "In_progress"
    client.batches.cancel(batch.id)
    sim.advance(100)
    assert client.batches.retrieve(batch.id).status == "Cancelled"


def test_a_wrong_key_is_told_in_azures_words(azure):
    """By the `api-key` header."""
    _, client = azure
    with pytest.raises(openai.AuthenticationError) as caught:
        client.with_options(default_headers={"api-key": "wrong"}).batches.list()
    assert caught.value.code == "401"
