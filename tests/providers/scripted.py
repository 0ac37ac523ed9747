"""A loopback HTTP server that says what a test scripts, well-formed or not."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson


@dataclass
class Say:
    """One reply. ``how``: ``whole``; ``drop`` the connection; ``hang`` until the test is over;
    ``short`` of its Content-Length; ``open``, without a length; ``torn``, chunks without an end."""

    body: Any = b""
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    how: str = "whole"

    @property
    def data(self) -> bytes:
        """The body as bytes."""
        return self.body if isinstance(self.body, bytes) else orjson.dumps(self.body)


@dataclass
class Heard:
    """One request as it came in."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes
    port: int = 0


class Script:
    """What the server answers, in order (the last one stays), and what it was asked."""

    def __init__(self) -> None:
        self.replies: list[Say] = []
        self.heard: list[Heard] = []
        self.over = threading.Event()
        self.url = ""

    def says(self, *replies: Say) -> None:
        """Set what comes next."""
        self.replies = list(replies)

    def next(self) -> Say:
        """Return the reply that is due."""
        return self.replies.pop(0) if len(self.replies) > 1 else self.replies[0]


@contextmanager
def serving() -> Iterator[Script]:
    """Run a scripted server."""
    script = Script()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(script))
    server.daemon_threads = True
    script.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield script
    finally:
        script.over.set()
        server.shutdown()
        server.server_close()
        thread.join()


def _handler(script: Script) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, format: str, *args: Any) -> None:
            """Keep quiet."""

        def _answer(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length") or 0))
            headers = {name.lower(): value for name, value in self.headers.items()}
            port = self.client_address[1]
            script.heard.append(Heard(self.command, self.path, headers, body, port))
            say = script.next()
            if say.how == "hang":
                script.over.wait()
            if say.how in ("hang", "drop"):
                self.close_connection = True
                return
            self._head(say)
            _TAILS.get(say.how, _whole)(self, say.data)

        def _head(self, say: Say) -> None:
            self.send_response_only(say.status)
            now = self.date_time_string()
            headers = {"Content-Type": "application/json", "Date": now, **say.headers}
            if say.how == "torn":
                headers["Transfer-Encoding"] = "chunked"
            elif say.how != "open":
                extra = 50 if say.how == "short" else 0
                headers.setdefault("Content-Length", str(len(say.data) + extra))
            for name, value in headers.items():
                self.send_header(name, value)
            self.close_connection = say.how != "whole"
            self.end_headers()

        do_GET = do_POST = do_DELETE = _answer

    return Handler


def _whole(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(data)


def _torn(handler: BaseHTTPRequestHandler, data: bytes) -> None:
    handler.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))


_TAILS: dict[str, Callable[[BaseHTTPRequestHandler, bytes], None]] = {"torn": _torn}
