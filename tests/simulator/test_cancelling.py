"""A cancel finds requests in flight: none, some, or all of them finish."""

from __future__ import annotations

import pytest

from tests.simulator.talking import document, outcomes, params, response_body, results, send, submit


@pytest.mark.parametrize(("share", "done"), [(0.0, 5), (0.4, 7), (1.0, 10)])
def test_openais_in_flight_requests_finish(start, talk, share, done):
    """What ran is billed, and the counts, the lines and the books agree."""
    sim = start(cancel_finishes=share, batch_seconds=(100, 100), cancelling_seconds=600)
    client = talk(sim)
    batch = submit(client, [response_body(document(i)) for i in range(10)])
    sim.advance(54)
    assert client.batches.cancel(batch.id).status == "cancelling"
    assert client.batches.retrieve(batch.id).request_counts.completed == 5
    sim.advance(400)
    assert client.batches.retrieve(batch.id).request_counts.completed == done
    assert sum(entry.billed for entry in sim.ledger().entries) == done
    sim.advance(300)
    seen = client.batches.retrieve(batch.id)
    assert (seen.status, seen.request_counts.completed) == ("cancelled", done)
    good = [line for line in results(client, batch.id).values() if line["response"]]
    assert len(good) == done
    assert sum(entry.billed for entry in sim.ledger().entries) == done


@pytest.mark.parametrize(("share", "done"), [(0.4, 7), (1.0, 10)])
def test_anthropics_cancel_may_cancel_nothing(start, chat, share, done):
    """Ended, with as many succeeded as ran."""
    sim = start(cancel_finishes=share, batch_seconds=(100, 100))
    client = chat(sim)
    batch = send(client, [params(document(i)) for i in range(10)])
    sim.advance(51)
    assert client.messages.batches.cancel(batch.id).processing_status == "canceling"
    sim.advance(100)
    seen = client.messages.batches.retrieve(batch.id)
    assert seen.processing_status == "ended"
    assert (seen.request_counts.succeeded, seen.request_counts.canceled) == (done, 10 - done)
    kinds = [one["type"] for one in outcomes(client, batch.id).values()]
    assert (kinds.count("succeeded"), kinds.count("canceled")) == (done, 10 - done)
