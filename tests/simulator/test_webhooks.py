"""Webhooks: signed as the SDK checks it, and everything that may be wrong with them."""

from __future__ import annotations

import json
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import openai
import pytest

from batchkit.simulator import Simulator, plan_from
from tests.simulator.talking import document, response_body, submit

SECRET = "whsec_c2ltdWxhdG9yLXdlYmhvb2stc2VjcmV0"


class Ear:
    """A listener that remembers what it heard, and answers as it is told."""

    def __init__(self):
        self.heard: list[tuple[dict[str, str], bytes]] = []
        self.answers: list[int] = []
        self.open = True
        ear = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = self.rfile.read(int(self.headers["content-length"]))
                ear.heard.append((dict(self.headers), body))
                self.send_response(ear.answers.pop(0) if ear.answers else 204)
                self.end_headers()

            def log_message(self, *args):
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/hook"
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))
        self.thread.start()

    def types(self):
        return [json.loads(body)["type"] for _, body in self.heard]

    def ids(self):
        return [json.loads(body)["data"]["id"] for _, body in self.heard]

    def close(self):
        if not self.open:
            return
        self.open = False
        self.server.shutdown()
        self.thread.join()
        self.server.server_close()


@pytest.fixture
def ear():
    """Something that listens on this machine."""
    one = Ear()
    yield one
    one.close()


def _genuine(client, headers, body):
    try:
        return client.webhooks.unwrap(body, headers, secret=SECRET)
    except openai.InvalidWebhookSignatureError:
        return None


def _plan(what, **more):
    return plan_from({"webhooks": [{"what": what, "nth": 1, **more}]})


def test_the_sdk_takes_it(start, talk, ear):
    """One for each batch that ended, with its id, once."""
    sim = start(webhook_url=ear.url)
    client = talk(sim)
    good = submit(client, [response_body("x")])
    bad = submit(client, [{"model": "nobody", "input": "x"}])
    sim.advance(3_600)
    sim.advance(3_600)
    events = [_genuine(client, *heard) for heard in ear.heard]
    assert {(event.type, event.data.id) for event in events} == {
        ("batch.completed", good.id),
        ("batch.failed", bad.id),
    }
    assert len({event.id for event in events}) == 2
    assert all(one.accepted for one in sim.webhooks.sent)


def test_a_refusal_is_tried_again_for_three_days(start, talk, ear):
    """With pauses that grow."""
    sim = start(webhook_url=ear.url)
    submit(talk(sim), [response_body("x")])
    ear.answers = [500, 302]
    sim.advance(3_600)
    sim.advance(30)
    assert len(ear.heard) == 1
    sim.advance(60)
    sim.advance(120)
    assert len(ear.heard) == 3
    assert len({headers["webhook-id"] for headers, _ in ear.heard}) == 1


def test_nobody_listening_is_given_up_in_the_end(start, talk, ear):
    """It never stops the simulator."""
    ear.close()
    sim = start(webhook_url=ear.url)
    submit(talk(sim), [response_body("x")])
    for _ in range(80):
        sim.advance(3_600)
    tries = len(sim.webhooks.sent)
    sim.advance(90 * 86_400)
    assert 5 < tries == len(sim.webhooks.sent)


def test_duplicates_have_one_id(start, talk, ear):
    """So that a listener can tell."""
    sim = start(webhook_url=ear.url, faults=_plan("duplicate"))
    submit(talk(sim), [response_body("x")])
    sim.advance(3_600)
    assert len(ear.heard) == 2
    assert len({headers["webhook-id"] for headers, _ in ear.heard}) == 1


def test_one_is_late(start, talk, ear):
    """An hour after the end."""
    sim = start(webhook_url=ear.url, faults=_plan("late", seconds=7_200))
    submit(talk(sim), [response_body("x")])
    sim.advance(3_600)
    assert ear.heard == []
    sim.advance(7_200)
    assert len(ear.heard) == 1


def test_one_is_overtaken(start, talk, ear):
    """It waits until another has gone."""
    sim = start(webhook_url=ear.url, faults=_plan("out-of-order"))
    client = talk(sim)
    first = submit(client, [response_body("x")])
    sim.advance(1_000)
    second = submit(client, [response_body("y")])
    assert ear.heard == []
    sim.advance(1_000)
    assert ear.ids() == [second.id, first.id]


@pytest.mark.parametrize("what", ["forged", "stale"])
def test_what_is_not_genuine_is_refused_by_the_sdk(start, talk, ear, what):
    """The wrong one comes first, then the true one."""
    sim = start(webhook_url=ear.url, faults=_plan(what))
    client = talk(sim)
    submit(client, [response_body("x")])
    sim.advance(3_600)
    assert [_genuine(client, *heard) is not None for heard in ear.heard] == [False, True]


def test_an_unknown_type_comes_too(start, talk, ear):
    """Genuine, and of no use."""
    sim = start(webhook_url=ear.url, faults=_plan("unknown"))
    client = talk(sim)
    submit(client, [response_body("x")])
    sim.advance(3_600)
    assert ear.types() == ["batch.new_thing", "batch.completed"]
    assert all(_genuine(client, *heard) for heard in ear.heard)


def test_one_is_lost(start, talk, ear):
    """Polling must find out."""
    sim = start(webhook_url=ear.url, faults=_plan("lost"))
    submit(talk(sim), [response_body("x")])
    sim.advance(3_600)
    assert ear.heard == []


def test_scaled_time_sends_by_itself(start, talk, ear):
    """Nobody has to look."""
    sim = start(webhook_url=ear.url, scale=100_000.0)
    submit(talk(sim), [response_body("x")])
    deadline = threading.Event()
    for _ in range(200):
        if ear.heard:
            break
        deadline.wait(0.02)
    assert ear.types() == ["batch.completed"]


def test_what_was_taken_is_not_sent_after_a_restart(start, talk, ear):
    """What was not, is."""
    sim = start(webhook_url=ear.url)
    client = talk(sim)
    submit(client, [response_body(document(1))])
    sim.advance(3_600)
    ear.answers = [500]
    submit(client, [response_body(document(2))])
    sim.advance(3_600)
    assert len(ear.heard) == 2
    sim.stop()
    again = start(sim.folder, webhook_url=ear.url)
    again.advance(1)
    assert ear.ids()[2:] == ear.ids()[1:2]


@pytest.mark.parametrize("url", ["https://example.org/x", "http://10.0.0.1/", "ftp://localhost/"])
def test_it_sends_to_this_machine_only(tmp_path, url):
    """A simulator knocks at nobody else's door."""
    with pytest.raises(ValueError, match="is not on this machine"):
        Simulator(tmp_path, webhook_url=url).start()
    Simulator(tmp_path).start().stop()
