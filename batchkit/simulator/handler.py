"""The HTTP server around the two fronts: reads a request, has it answered, meets the faults."""

from __future__ import annotations

import socket
import threading
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol
from urllib.parse import parse_qs, urlsplit

from batchkit.simulator import anthropic, openai
from batchkit.simulator.clock import http_date
from batchkit.simulator.delivery import Sender, retry_after
from batchkit.simulator.faults import Counter, Fault, Phase
from batchkit.simulator.office import Office
from batchkit.simulator.settings import Settings
from batchkit.simulator.uploads import read_upload
from batchkit.simulator.wire import Call, Malformed, Reply, Upload, said

_CHUNK = 1 << 20
_AGAIN = "_redirected=1"


class Host(Protocol):
    """What the server needs to know of the simulator around it."""

    office: Office
    bugs: list[str]

    @property
    def url(self) -> str:
        """Where it listens."""

    @property
    def counter(self) -> Counter:
        """How often each route was called."""

    def now(self) -> float:
        """Return the simulated time."""

    def fault_for(self, route: str, nth: int, phase: Phase) -> Fault | None:
        """Return what goes wrong with a call."""

    def struck(self, route: str, nth: int, fault: Fault) -> None:
        """Write down that something went wrong."""


Control = Callable[[str, str, bytes], Reply]
"""Answers the simulator's own routes: method, path and body in, a reply out."""


class Server(ThreadingHTTPServer):
    """Listens on the loopback interface; every connection has a thread of its own."""

    daemon_threads = True
    block_on_close = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, port: int, host: Host, control: Control) -> None:
        self.host, self.control = host, control
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        self._asked: set[str] = set()
        super().__init__(("127.0.0.1", port), Handler)

    def server_bind(self) -> None:
        """Bind without looking the host's name up, which can take seconds."""
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        """Remember the connection, and give it its thread."""
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
        """Forget the connection."""
        with self._lock:
            self._open.discard(request)
        super().shutdown_request(request)

    def hang_up(self) -> None:
        """Wake every thread that waits for a client or for time to pass."""
        self.stopping.set()
        with self._lock:
            for request in self._open:
                try:
                    request.shutdown(socket.SHUT_RDWR)
                except OSError:
                    continue

    def is_first(self, asked: str) -> bool:
        """Return whether this was never asked before."""
        with self._lock:
            first = asked not in self._asked
            self._asked.add(asked)
        return first

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that go away; a bug in a route is told by its 500."""


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    server_version = "simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    server: Server
    _request_id = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def _handle(self) -> None:
        try:
            self._answer()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:  # noqa: BLE001 - a bug of ours must not look like a lost connection
            self.close_connection = True
            trace = traceback.format_exc()
            self.server.host.bugs.append(trace)
            self._deliver(said({"error": {"message": trace, "type": "simulator_bug"}}, 500))

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = _handle

    def _answer(self) -> None:
        host = self.server.host
        self._request_id = f"req_{host.counter.next('requests'):024d}"
        url = urlsplit(self.path)
        path = url.path.removeprefix("/openai")
        if path.startswith("/_sim/"):
            self._deliver(self.server.control(self.command, path, self._body()))
            return
        front = _front(path, self.headers)
        route = f"{front.__name__.rpartition('.')[2]}.{front.route_name(self.command, path)}"
        nth = host.counter.next(route)
        call, problem = self._call(path, parse_qs(url.query), front)
        fault = self._fault(route, nth, "before")
        if fault is not None:
            self._discard(call)
            self._deliver(_undone(fault, front), fault)
            return
        reply = problem or (front.answer(call, host.office) if call else None)
        if reply is not None:
            self._discard(call)
            self._strike(reply, self._fault(route, nth, "after"), front)

    def _fault(self, route: str, nth: int, phase: Phase) -> Fault | None:
        """Return the fault that strikes now, and write it down."""
        if _AGAIN in self.path:
            return None
        fault = self.server.host.fault_for(route, nth, phase)
        if fault is None:
            return None
        if fault.kind == "flaky" and not self.server.is_first(f"{self.command} {self.path}"):
            return None
        if fault.kind == "redirect":
            query = "&" if "?" in self.path else "?"
            fault = replace(fault, location=fault.location or f"{self.path}{query}{_AGAIN}")
        self.server.host.struck(route, nth, fault)
        return fault

    def _strike(self, reply: Reply, fault: Fault | None, front: Any) -> None:
        """Send what was done as the fault lets it."""
        if fault is not None and fault.kind in ("status", "refuse", "flaky", "redirect"):
            reply = _undone(fault, front)
        self._deliver(reply, fault)

    def _discard(self, call: Call | None) -> None:
        if call is not None and call.upload is not None:
            call.upload.path.unlink(missing_ok=True)

    def _call(self, path: str, query: Any, front: Any) -> tuple[Call | None, Reply | None]:
        """Read the request whole; return it, or why it is refused unread."""
        host, office = self.server.host, self.server.host.office
        headers = {name.lower(): value for name, value in self.headers.items()}
        limit = (
            office.settings.anthropic_batch_bytes
            if front is anthropic
            else office.settings.openai_file_bytes * 2
        )
        if "multipart/form-data" not in headers.get("content-type", "") and self._length() > limit:
            self._drain()
            return None, _too_large(office.settings)
        body, upload, problem = b"", None, None
        try:
            if "multipart/form-data" in headers.get("content-type", ""):
                upload = self._upload(headers["content-type"])
            else:
                body = self._body()
        except Malformed as exc:
            problem = front.refused(400, f"The multipart body cannot be read: {exc}")
        call = Call(
            self.command,
            path,
            query,
            headers,
            body,
            host.now(),
            upload,
            office.workspace_of(office.key_of(Call("", "", {}, headers, b"", 0))),
            host.url,
            self._request_id,
        )
        return call, problem

    def _upload(self, content_type: str) -> Upload | None:
        path = self.server.host.office.world.incoming()
        return read_upload(self._chunks(), content_type, path)

    def _length(self) -> int:
        told = self.headers.get("Content-Length", "0")
        return int(told) if told.isdigit() else 0

    def _chunks(self) -> Iterator[bytes]:
        """Yield the body, however it is framed; raise if the client goes away in its middle."""
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            yield from self._chunked()
            return
        left = self._length()
        while left:
            piece = self.rfile.read(min(left, _CHUNK))
            if not piece:
                raise ConnectionResetError("the client went away")
            left -= len(piece)
            yield piece

    def _chunked(self) -> Iterator[bytes]:
        while True:
            size = self.rfile.readline()
            if not size.endswith(b"\n"):
                raise ConnectionResetError("the client went away")
            left = int(size.split(b";")[0] or b"0", 16)
            if not left:
                break
            piece = self.rfile.read(left)
            if len(piece) < left:
                raise ConnectionResetError("the client went away")
            yield piece
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue

    def _body(self) -> bytes:
        return b"".join(self._chunks())

    def _drain(self) -> None:
        for _ in self._chunks():
            continue

    def _deliver(self, reply: Reply, fault: Fault | None = None) -> None:
        names = {
            "Date": http_date(self.server.host.now()),
            "x-request-id": self._request_id,
            "request-id": self._request_id,
        }
        sender = Sender(
            self.wfile, self.connection, self.server.stopping, names, self.close_connection
        )
        if fault is not None and reply.status == 0:
            sender.drop()
        else:
            sender.deliver(reply, fault)
        self.close_connection = sender.closing


def _undone(fault: Fault, front: Any) -> Reply:
    """Return what is answered in place of the call's own reply."""
    if fault.kind == "redirect":
        return Reply(307, headers={"Location": fault.location or "/"})
    if fault.status == 0:
        return Reply(0)
    said = fault.body.decode("utf-8", "replace") if fault.body else "the fault plan says so"
    reply: Reply = front.refused(fault.status, said, fault.code)
    return replace(reply, headers=retry_after(fault.retry_after))


def _front(path: str, headers: Any) -> Any:
    if path.startswith(("/v1/messages", "/v1/complete")) or headers.get("anthropic-version"):
        return anthropic
    return openai


def _too_large(settings: Settings) -> Reply:
    if settings.html_413:
        return Reply(
            413, b"<html><body>413 Request Entity Too Large - cloudflare</body></html>", "text/html"
        )
    return anthropic.refused(413, "Request exceeds the maximum size")
