"""Near-constant memory: the largest batch goes up and comes down in a process of its own."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

MB = 1_000_000
SIZE = 190 * MB
ALLOWED = 60 * MB

BLOCK = b'{"custom_id":"t-1","result":{"type":"expired"},"pad":"%s"}\n' % (b"x" * 943)

CHILD = """
import sys
from pathlib import Path

from batchkit.model import Spool
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses

url, work, folder, lines = sys.argv[1], sys.argv[2], Path(sys.argv[3]), int(sys.argv[4])
spool = Spool(folder / "spool", "t", lines, 0, "ab" * 32, "m", "/v1/responses")
small = Spool(folder / "small", "t", 1, 0, "ab" * 32, "m", "/v1/responses")
openai = OpenAIResponses(api_key="sk-1", base_url=url + "/v1")
anthropic = Anthropic(api_key="sk-1", base_url=url)

def read(name):
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith(name):
            return int(line.split()[1]) * 1024

def stage(which):
    openai.stage(which)

def create(which):
    anthropic.create(which, None)

def download(which):
    if which is spool:
        files = anthropic.download("b", folder / "to")
        assert sum(1 for _ in anthropic.outcomes(files)) == lines
    else:
        anthropic.poll("b")

do = {"stage": stage, "create": create, "download": download}[work]
do(small)
idle = read("VmRSS")
Path("/proc/self/clear_refs").write_text("5")
do(spool)
print(read("VmHWM") - idle)
"""


@pytest.fixture
def server() -> Iterator[str]:
    """Takes anything, and gives a large results file."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _Large)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("work", ["stage", "create", "download"])
def test_a_batch_of_190_mb_takes_less_than_60_mb_of_memory(
    server: str, tmp_path: Path, work: str
) -> None:
    """Above what the process takes idle, its SDK loaded."""
    lines = SIZE // len(BLOCK)
    (tmp_path / "small").write_bytes(BLOCK)
    with (tmp_path / "spool").open("wb") as file:
        for _ in range(lines if work != "download" else 1):
            file.write(BLOCK)
    command = [sys.executable, "-c", CHILD, server, work, str(tmp_path), str(lines)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert int(done.stdout) < ALLOWED


class _Large(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        left = int(self.headers["Content-Length"])
        while left:
            left -= len(self.rfile.read(min(left, MB)))
        self._say(b'{"id":"b"}')

    def do_GET(self) -> None:
        lines = SIZE // len(BLOCK)
        if self.path.endswith("/batches/b"):
            counts = b'{"expired":%d}' % lines
            state = b'"processing_status":"ended","results_url":"/results"'
            self._say(b'{"id":"b",%s,"request_counts":%s}' % (state, counts))
            return
        self.send_response(200)
        self.send_header("Content-Length", str(lines * len(BLOCK)))
        self.end_headers()
        whole, rest = divmod(lines, 1000)
        for count in [*[1000] * whole, rest]:
            self.wfile.write(BLOCK * count)

    def _say(self, body: bytes) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
