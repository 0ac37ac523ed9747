"""Threads and other frames of speech: the server is one for all."""

from __future__ import annotations

import asyncio
import http.client
from concurrent.futures import ThreadPoolExecutor

import anthropic
import openai

from tests.simulator.talking import (
    CLAUDE,
    MODEL,
    document,
    outcomes,
    params,
    response_body,
    results,
    send,
    submit,
)


def test_clients_in_many_threads_get_their_own(sim, oai, ant):
    """Creates, looks and downloads at once; every batch is whole and bought once."""

    def night(i: int) -> tuple[int, int]:
        one = submit(oai, [response_body(document(100 * i + n)) for n in range(20)])
        two = send(ant, [params(document(100 * i + n)) for n in range(20)])
        sim.advance(700)
        return len(results(oai, one.id)), len(outcomes(ant, two.id))

    with ThreadPoolExecutor(12) as pool:
        assert set(pool.map(night, range(24))) == {(20, 20)}
    ledger = sim.ledger()
    assert (len(ledger.batches), len(ledger.entries)) == (48, 960)
    assert (ledger.bought_twice(), sim.bugs) == ([], [])
    assert len({batch.id for batch in ledger.batches}) == 48


def test_the_async_clients_work_too(sim):
    """By base_url alone."""

    async def talk() -> tuple[str, int]:
        async with (
            openai.AsyncOpenAI(base_url=sim.openai_url, api_key="k") as one,
            anthropic.AsyncAnthropic(base_url=sim.anthropic_url, api_key="k") as two,
        ):
            said = await one.responses.create(model=MODEL, input="Name: x")
            message = await two.messages.create(
                model=CLAUDE, max_tokens=50, messages=[{"role": "user", "content": "Name: x"}]
            )
            return said.output_text, message.usage.output_tokens

    text, tokens = asyncio.run(talk())
    assert "Name x" in text
    assert tokens > 0


def test_chunked_requests_and_long_lived_connections(sim):
    """A body without Content-Length is read; the connection goes on."""
    link = http.client.HTTPConnection(sim.url.removeprefix("http://"))
    headers = {"Authorization": "Bearer k", "Content-Type": "application/json"}
    for _ in range(3):
        body = iter([b'{"model": "gpt-6.1-sol",', b' "input": "hello"}'])
        link.request("POST", "/v1/responses", body, headers, encode_chunked=True)
        reply = link.getresponse()
        assert reply.status == 200
        assert reply.read()
    link.request("GET", "/v1/nowhere", headers=headers)
    reply = link.getresponse()
    assert (reply.status, reply.getheader("connection")) == (404, None)
    link.close()


def test_a_body_that_is_no_json_is_a_400_in_both_dialects(sim):
    """Not a lost connection."""
    link = http.client.HTTPConnection(sim.url.removeprefix("http://"))
    for path, extra in (
        ("/v1/batches", {}),
        ("/v1/messages/batches", {"anthropic-version": "2026-10-21"}),
    ):
        link.request("POST", path, b"{oops", {"Authorization": "Bearer k", **extra})
        reply = link.getresponse()
        assert reply.status == 400
        assert b"JSON" in reply.read()
    link.close()
