"""The fault seam: what is done, and what the client hears of it."""

from __future__ import annotations

import http.client
import socket
from urllib.parse import urlsplit

import anthropic
import openai
import pytest

from batchkit.simulator import Fault
from tests.simulator.talking import error_of, outcomes, params, response_body, send, submit


def test_refused_before_acceptance_makes_nothing(sim, oai):
    """A status, or a closed connection; the next call goes."""
    sim.faults.add("openai.batches.create", Fault("refuse", status=503), nth=1)
    with pytest.raises(openai.InternalServerError):
        submit(oai, [response_body("x")])
    sim.faults.add("openai.batches.create", Fault("refuse", status=0), nth=1)
    with pytest.raises(openai.APIConnectionError):
        submit(oai, [response_body("x")])
    assert sim.ledger().batches == ()
    assert submit(oai, [response_body("x")]).status == "validating"


@pytest.mark.parametrize(
    "fault", [Fault("drop"), Fault("status", status=500), Fault("half"), Fault("html")]
)
def test_accepted_but_the_reply_is_lost(sim, oai, ant, fault):
    """The batch is made once; the client does not know."""
    sim.faults.add("openai.batches.create", fault, nth=1)
    sim.faults.add("anthropic.batches.create", fault, nth=1)
    replies: list[object] = []
    for make in (
        lambda: submit(oai, [response_body("x")]),
        lambda: send(ant, [params("x")]),
    ):
        try:
            replies.append(make())
        except (openai.APIError, anthropic.APIError, ValueError) as exc:
            replies.append(exc)
    assert len(sim.ledger().batches) == 2
    if fault.kind == "html":
        assert all(isinstance(reply, str) for reply in replies)
    else:
        assert all(isinstance(reply, Exception) for reply in replies)


def test_a_retrying_client_buys_twice_and_the_books_show_it(sim, talk):
    """An SDK with retries on makes two batches of a dropped reply."""
    sim.faults.add("openai.batches.create", Fault("drop"), nth=1)
    submit(talk(sim, retries=1), [response_body("x")])
    sim.advance(3_600)
    ledger = sim.ledger()
    assert [knock.retry_count for knock in ledger.creates()] == [0, 1]
    assert len(ledger.bought_twice()) == 1


def test_silence_past_the_timeout(sim, oai):
    """Accepted, then nothing is heard."""
    sim.faults.add("openai.batches.create", Fault("hang", seconds=30), nth=1)
    with pytest.raises(openai.APITimeoutError):
        submit(oai.with_options(timeout=0.2), [response_body("x")])
    assert len(sim.ledger().batches) == 1


def test_retry_after_is_sent_as_it_stands(sim, oai):
    """In seconds, as a date, or not at all."""
    sim.faults.add("openai.batches.list", Fault("refuse", status=429, retry_after="200"), nth=1)
    with pytest.raises(openai.RateLimitError) as caught:
        oai.batches.list()
    assert caught.value.response.headers["retry-after"] == "200"


@pytest.mark.parametrize("kind", ["cut", "stall"])
def test_downloads_break_off(sim, ant, kind):
    """The length is told, half is sent; the next download is whole."""
    batch = send(ant, [params(f"Name: {i}") for i in range(50)])
    sim.advance(3_600)
    sim.faults.add("anthropic.batches.results", Fault(kind, seconds=30), nth=1)
    url = urlsplit(ant.messages.batches.retrieve(batch.id).results_url)
    link = http.client.HTTPConnection(url.netloc, timeout=0.3)
    headers = {"authorization": "Bearer k", "anthropic-version": "2026-10-21"}
    link.request("GET", url.path, headers=headers)
    reply = link.getresponse()
    with pytest.raises((http.client.IncompleteRead, TimeoutError)):
        reply.read()
    link.close()
    assert len(outcomes(ant, batch.id)) == 50


def test_a_client_that_dies_in_the_middle_of_a_body_leaves_nothing(sim):
    """Half an upload and half a create are no upload and no create."""
    url = urlsplit(sim.url)
    head = "POST {} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\nanthropic-version: x\r\n"
    for path, kind in (
        ("/v1/messages/batches", "application/json"),
        ("/v1/files", "multipart/form-data; boundary=b"),
    ):
        with socket.create_connection((url.hostname, url.port)) as link:
            rest = f"Content-Type: {kind}\r\nContent-Length: 1000\r\n\r\n--b"
            link.sendall((head.format(path) + rest).encode())
    world = sim.office.world
    assert (world.batches, world.files, sim.bugs) == ({}, {}, [])


def test_a_plan_object_is_consulted_for_every_call(start, talk):
    """It gets the route's name, the number of the call and the phase."""
    asked = []

    class Plan:
        def consult(self, route, nth, phase):
            asked.append((route, nth, phase))

    client = talk(start(faults=Plan()))
    list(client.batches.list())
    list(client.batches.list())
    assert asked == [
        ("openai.batches.list", 1, "before"),
        ("openai.batches.list", 1, "after"),
        ("openai.batches.list", 2, "before"),
        ("openai.batches.list", 2, "after"),
    ]


def test_a_spend_cap_is_a_429_without_retry_after(sim, ant):
    """It is told by its code; waiting does not help."""
    fault = Fault("refuse", status=429, code="enforced_spend_limit_reached")
    sim.faults.add("anthropic.batches.create", fault, nth=1)
    with pytest.raises(anthropic.RateLimitError) as caught:
        send(ant, [params("x")])
    assert "retry-after" not in caught.value.response.headers
    assert error_of(caught.value)["details"]["error_code"] == "enforced_spend_limit_reached"
