"""Downloads that break in every way: what the wire carries, and what comes the second time."""

from __future__ import annotations

import contextlib
import gzip
import http.client
import json
import zlib

import openai
import pytest

from batchkit.simulator import KINDS, Fault
from tests.simulator.talking import outcomes, params, response_body, send, submit

HEADERS = {"authorization": "Bearer k", "anthropic-version": "2026-10-21"}


@pytest.fixture
def path(sim, ant):
    """Where 50 results stand."""
    batch = send(ant, [params(f"Name: {i}") for i in range(50)])
    sim.advance(3_600)
    assert len(outcomes(ant, batch.id)) == 50
    return f"/v1/messages/batches/{batch.id}/results"


@pytest.fixture
def get(sim, path):
    """Download with plain HTTP: status, headers, and the body or what broke it off."""
    links = []

    def download(fault=None):
        if fault is not None:
            sim.faults.add("anthropic.batches.results", fault, nth=1)
        link = http.client.HTTPConnection(sim.url.removeprefix("http://"), timeout=0.4)
        links.append(link)
        link.request("GET", path, headers=HEADERS)
        reply = link.getresponse()
        try:
            return reply, reply.read(), None
        except (http.client.HTTPException, TimeoutError) as exc:
            return reply, getattr(exc, "partial", b""), exc

    yield download
    for link in links:
        link.close()


def test_a_length_that_is_too_large(get):
    """All of it comes, and the client waits for more until the connection ends."""
    reply, body, problem = get(Fault("long"))
    assert isinstance(problem, http.client.IncompleteRead)
    assert int(reply.getheader("content-length")) > len(body)
    assert body == get()[1]


def test_chunks_without_an_end(get):
    """Half of the body in chunks, then nothing."""
    reply, body, problem = get(Fault("unended", fraction=0.5))
    assert isinstance(problem, http.client.IncompleteRead)
    assert reply.getheader("transfer-encoding") == "chunked"
    whole = get()[1]
    assert whole.startswith(body)
    assert 0 <= len(body) < len(whole)


def test_cut_at_a_lines_end_looks_whole(get):
    """No length, whole lines, too few of them: only counting tells."""
    reply, body, problem = get(Fault("line-cut", fraction=0.5))
    assert (problem, reply.getheader("content-length")) == (None, None)
    assert body.endswith(b"\n")
    lines = [json.loads(line) for line in body.splitlines()]
    assert 15 < len(lines) < 35


def test_cut_inside_a_line(get):
    """No length, and the last line is no JSON."""
    _, body, problem = get(Fault("mid-line-cut", fraction=0.5))
    assert problem is None
    lines = body.split(b"\n")
    assert all(json.loads(line) for line in lines[:-1])
    with pytest.raises(json.JSONDecodeError):
        json.loads(lines[-1])


def test_gzip_that_is_cut(get):
    """Its length fits what is sent; what is compressed does not end."""
    reply, body, problem = get(Fault("gzip-cut", fraction=0.5))
    assert problem is None
    assert reply.getheader("content-encoding") == "gzip"
    with pytest.raises(EOFError):
        gzip.decompress(body)
    assert get()[1].startswith(zlib.decompressobj(31).decompress(body))


def test_a_body_that_drips_is_whole(get):
    """Slow, and nothing is missing."""
    _, body, problem = get(Fault("drip", seconds=0.1))
    assert problem is None
    assert body == get()[1]


def test_a_stall_leaves_the_connection_open(get):
    """Half of it, then silence."""
    assert isinstance(get(Fault("stall", seconds=30))[2], TimeoutError)


def test_a_redirect_leads_to_the_same_place(sim, oai):
    """The SDK follows it; the call is carried out once."""
    sim.faults.add("openai.batches.list", Fault("redirect"))
    assert list(oai.batches.list()) == []
    assert sim.ledger().faults() == {"openai.batches.list: redirect": 1}


def test_a_redirect_may_lead_elsewhere(get):
    """So that a test can see whether the key goes along."""
    reply, _, _ = get(Fault("redirect", location="http://127.0.0.1:1/x"))
    assert (reply.status, reply.getheader("location")) == (307, "http://127.0.0.1:1/x")


def test_the_first_time_a_path_is_asked_it_fails(sim, oai, talk):
    """Each file answers 500, then goes."""
    files = [oai.files.create(file=(f"{i}.jsonl", b"{}"), purpose="batch").id for i in range(3)]
    sim.faults.add("openai.files.content", Fault("flaky", status=500))
    for file_id in files:
        with pytest.raises(openai.InternalServerError):
            oai.files.content(file_id)
        assert oai.files.content(file_id).content == b"{}"
    assert sim.ledger().faults() == {"openai.files.content: flaky": 3}


def test_a_phase_may_be_chosen(sim, oai):
    """Dropped before anything is done; refused though it was done."""
    sim.faults.add("openai.batches.create", Fault("drop", when="before"), nth=1)
    with pytest.raises(openai.APIConnectionError):
        submit(oai, [response_body("x")])
    assert sim.ledger().batches == ()
    sim.faults.add("openai.batches.create", Fault("refuse", status=503, when="after"), nth=1)
    with pytest.raises(openai.InternalServerError):
        submit(oai, [response_body("x")])
    assert len(sim.ledger().batches) == 1


def test_retry_after_may_be_a_date(sim, oai):
    """As HTTP allows."""
    fault = Fault("refuse", status=503, retry_after="date:30")
    sim.faults.add("openai.batches.list", fault, nth=1)
    with pytest.raises(openai.InternalServerError) as caught:
        oai.batches.list()
    assert caught.value.response.headers["retry-after"].endswith("GMT")


@pytest.mark.parametrize("kind", sorted(KINDS))
def test_every_kind_works_on_every_sort_of_body(sim, oai, kind):
    """Small and in memory, too: never a bug of the simulator's, and the next call goes."""
    batch = submit(oai, [response_body("x")])
    sim.faults.add(
        "openai.batches.retrieve", Fault(kind, seconds=0.01, status=500, fraction=0.3), nth=1
    )
    with contextlib.suppress(openai.APIError, ValueError):
        oai.batches.retrieve(batch.id)
    assert oai.batches.retrieve(batch.id).id == batch.id
    assert sim.bugs == []
    assert sim.ledger().faults() == {f"openai.batches.retrieve: {kind}": 1}


def test_a_last_line_without_an_end(start, chat):
    """Some files have no newline at their end."""
    sim = start(final_newline=False)
    client = chat(sim)
    batch = send(client, [params(f"Name: {i}") for i in range(3)])
    sim.advance(3_600)
    raw = client.messages.batches.with_streaming_response.results(batch.id)
    with raw as reply:
        body = b"".join(reply.iter_bytes())
    assert not body.endswith(b"\n")
    assert len(outcomes(client, batch.id)) == 3
