"""Clients that are killed, and two simulators on one folder."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from urllib.parse import urlsplit

import pytest

from batchkit.simulator import FolderTaken, Simulator
from tests.simulator.talking import document, params, response_body, results, send, submit

KILLED = """
import os, signal, socket, sys
host, port, upto = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
data = sys.stdin.buffer.read()
link = socket.create_connection((host, port))
link.sendall(data[:upto])
if upto >= len(data) and sys.argv[4] == "read":
    link.recv(1)
os.kill(os.getpid(), signal.SIGKILL)
"""


def _request(path: str, kind: str, body: bytes, *, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = (
        f"POST {path} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer k\r\n"
        f"anthropic-version: 2026-10-21\r\nContent-Type: {kind}\r\n{framing}\r\n\r\n"
    )
    sent = b"%x\r\n%b\r\n0\r\n\r\n" % (len(body), body) if chunked else body
    return head.encode() + sent


CREATE = (
    b'{"requests":[{"custom_id":"a","params":{"model":"claude-sonnet-5-5",'
    b'"max_tokens":9,"messages":[{"role":"user","content":"hello"}]}}]}'
)
UPLOAD = b"\r\n".join(
    (
        b"--b",
        b'Content-Disposition: form-data; name="file"; filename="x"',
        b"",
        b"hi",
        b"--b--",
        b"",
    )
)


@pytest.mark.slow
@pytest.mark.parametrize("chunked", [False, True])
@pytest.mark.parametrize("share", [0.1, 0.6, 0.97, 1.0])
def test_a_client_killed_in_the_middle_leaves_no_half_thing(sim, ant, share, chunked):
    """SIGKILL after a part of the request: nothing is made; after all of it: one whole thing."""
    url = urlsplit(sim.url)
    for path, kind, body in (
        ("/v1/messages/batches", "application/json", CREATE),
        ("/v1/files", "multipart/form-data; boundary=b", UPLOAD),
    ):
        data = _request(path, kind, body, chunked=chunked)
        upto = int(len(data) * share)
        child = [sys.executable, "-c", KILLED, url.hostname, str(url.port), str(upto), "read"]
        done = subprocess.run(child, input=data, check=False)
        assert done.returncode == -signal.SIGKILL
    whole = int(share == 1.0)
    world = sim.office.world
    assert (len(world.batches), len(world.files), sim.bugs) == (whole, whole, [])
    sim.advance(3_600)
    assert len(sim.ledger().entries) == whole
    assert send(ant, [params("y")]).id


def test_a_client_that_does_not_read_its_download_harms_nobody(sim, oai):
    """It goes away in the middle of a reply; the next one gets all."""
    batch = submit(oai, [response_body(document(i)) for i in range(200)])
    sim.advance(3_600)
    file_id = oai.batches.retrieve(batch.id).output_file_id
    url = urlsplit(sim.url)
    for _ in range(5):
        with socket.create_connection((url.hostname, url.port)) as link:
            head = f"GET /v1/files/{file_id}/content HTTP/1.1\r\nHost: x\r\n"
            link.sendall(f"{head}Authorization: Bearer k\r\n\r\n".encode())
            link.recv(10)
    assert len(results(oai, batch.id)) == 200
    assert sim.bugs == []


def test_two_simulators_on_one_folder(sim):
    """The second says who is there, and what to do."""
    with pytest.raises(FolderTaken, match=r"process \d+.*stop it, or choose another folder"):
        Simulator(sim.folder).start()
    sim.stop()
    Simulator(sim.folder).start().stop()


HOLD = """
import sys
from batchkit.simulator import Simulator
with Simulator(sys.argv[1]):
    print("there", flush=True)
    sys.stdin.read()
"""


@pytest.mark.slow
def test_a_killed_simulators_folder_is_free(tmp_path):
    """The lock goes with the process."""
    with subprocess.Popen(
        [sys.executable, "-c", HOLD, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        cwd=__file__.split("/tests/", maxsplit=1)[0],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline()
        with pytest.raises(FolderTaken):
            Simulator(tmp_path).start()
        process.kill()
    with Simulator(tmp_path) as sim:
        assert sim.ledger().batches == ()
