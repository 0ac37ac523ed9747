"""The ledger and the folder: what was bought is known, also after a SIGKILL."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from urllib.request import Request, urlopen

import pytest

from batchkit.simulator import PortTaken, Simulator
from tests.simulator.talking import (
    CLAUDE,
    document,
    outcomes,
    params,
    response_body,
    results,
    send,
    submit,
)


def test_every_execution_and_bill_is_on_the_books(sim, oai, ant):
    """Per custom_id and per body; a body bought twice is named."""
    submit(oai, [response_body(document(1)), response_body(document(2))])
    send(ant, [params(document(1))])
    assert not any(entry.executed for entry in sim.ledger().entries)
    sim.advance(3_600)
    ledger = sim.ledger()
    assert (ledger.executed("r0"), ledger.executed("r1"), ledger.bought_twice()) == (2, 1, [])
    assert [(b.total, b.billed, b.end) for b in ledger.batches] == [
        (2, 2, "completed"),
        (1, 1, "completed"),
    ]
    submit(oai, [response_body(document(2))])
    sim.advance(3_600)
    twice = sim.ledger().bought_twice()
    assert [entry.custom_id for entry in sim.ledger().entries if entry.body_hash in twice] == [
        "r1",
        "r0",
    ]


def test_creates_and_uploads_are_noted_with_their_retry_count(sim, talk):
    """An SDK that retries a create is seen."""
    client = talk(sim)
    batch = submit(client, [response_body("x")])
    ledger = sim.ledger()
    assert [knock.ref for knock in ledger.creates()] == [batch.id]
    assert [knock.ref for knock in ledger.uploads()] == [batch.input_file_id]
    assert ledger.retries() == []


def test_a_batch_in_the_middle_has_billed_what_ran(sim, oai):
    """The books follow the clock."""
    batch = submit(oai, [response_body(document(i)) for i in range(10)])
    plan = sim.office.course(sim.office.world.batches[batch.id])
    sim.advance((plan.starts_at + plan.stops_at) / 2 - sim.now() + 0.1)
    assert sum(entry.billed for entry in sim.ledger().entries) == 5
    sim.advance(3_600)
    assert sum(entry.billed for entry in sim.ledger().entries) == 10


def test_the_folder_outlives_the_simulator(start, talk, chat):
    """Files, batches, results, clock and books are there after a restart."""
    first = start()
    one = submit(talk(first), [response_body(document(1)), response_body("y [[sim:400]]")])
    two = send(chat(first), [params(document(2))])
    first.advance(30)
    first.revoke("sk-gone")
    first.stop()
    second = start(first.folder)
    client, other = talk(second), chat(second)
    assert second.now() == first._start + 30
    assert client.batches.retrieve(one.id).status == "in_progress"
    second.advance(3_600)
    assert results(client, one.id)["r0"]["response"]["status_code"] == 200
    assert outcomes(other, two.id)["r0"]["type"] == "succeeded"
    before = second.ledger()
    second.stop()
    third = start(first.folder)
    after = third.ledger()
    assert (after.entries, after.batches, after.knocks) == (
        before.entries,
        before.batches,
        before.knocks,
    )
    assert third.office.world.revoked == {"sk-gone"}
    fresh = submit(talk(third), [response_body("z")])
    assert fresh.id not in (one.id, two.id)


SERVE = """
import sys
from batchkit.simulator import Simulator
with Simulator(sys.argv[1]) as sim:
    print(sim.url, flush=True)
    sys.stdin.read()
"""


def _served(folder):
    return subprocess.Popen(
        [sys.executable, "-c", SERVE, str(folder)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": os.getcwd() if not sys.path[0] else _root()},
    )


def _root() -> str:
    return __file__.split("/tests/")[0]


def _call(url: str, path: str, body=None):
    headers = {
        "authorization": "Bearer k",
        "anthropic-version": "2026-10-21",
        "content-type": "application/json",
    }
    data = json.dumps(body).encode() if body is not None else None
    with urlopen(Request(url + path, data=data, headers=headers)) as reply:
        return json.load(reply)


def test_what_was_answered_survives_a_sigkill(tmp_path):
    """Killed without warning, it knows every batch and file that it acknowledged."""
    process = _served(tmp_path)
    with process:
        url = process.stdout.readline().strip()
        requests = [{"custom_id": f"r{i}", "params": params(document(i))} for i in range(20)]
        made = [_call(url, "/v1/messages/batches", {"requests": requests})["id"] for _ in range(3)]
        assert _call(url, "/_sim/advance", {"seconds": 50})["now"]
        process.send_signal(signal.SIGKILL)
    with Simulator(tmp_path) as sim:
        assert [batch.id for batch in sim.ledger().batches] == made
        assert sim.now() == sim._start + 50


def test_other_processes_read_the_books_over_http(sim, oai):
    """`/_sim/ledger`, `/_sim/advance` and `/_sim/state`."""
    submit(oai, [response_body("x")])
    _call(sim.url, "/_sim/advance", {"seconds": 3_600})
    books = _call(sim.url, "/_sim/ledger")
    assert [(entry["custom_id"], entry["billed"]) for entry in books["entries"]] == [("r0", True)]
    assert _call(sim.url, "/_sim/state")["batches"] == 1


def test_a_taken_port_is_one_clear_error(sim, tmp_path):
    """No traceback of sockets: an exception of its own that says what to do."""
    port = int(sim.url.rsplit(":", 1)[1])
    with pytest.raises(PortTaken, match=f"port {port} on 127.0.0.1 is taken"):
        Simulator(tmp_path / "other", port=port).start()


def test_real_time_calls_are_on_the_books(sim, ant):
    """With their route, hash and tokens, apart from the batches' entries."""
    message = [{"role": "user", "content": "hello"}]
    ant.messages.create(model=CLAUDE, max_tokens=50, messages=message)
    knock = sim.ledger().knocks[0]
    assert (knock.route, knock.billed, knock.status) == ("anthropic.messages.create", True, 200)
    assert sim.ledger().entries == ()


def test_scaled_time_runs_by_itself(start, talk):
    """At a million to one a batch of minutes is over when one looks."""
    sim = start(scale=10_000_000.0)
    client = talk(sim)
    batch = submit(client, [response_body("x")])
    while client.batches.retrieve(batch.id).status not in ("completed", "expired"):
        assert sim.now() - batch.created_at < 86_400 * 100
    assert client.batches.retrieve(batch.id).request_counts.total == 1
