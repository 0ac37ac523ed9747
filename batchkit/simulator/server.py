"""The HTTP server around the two fronts."""

from __future__ import annotations

import http
import socket
import tempfile
import threading
import traceback
from collections.abc import Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, cast
from urllib.parse import parse_qs, urlsplit

import orjson

from batchkit.simulator import anthropic, openai
from batchkit.simulator.clock import Clock, http_date, real_now
from batchkit.simulator.faults import Counter, Fault, FaultPlan, Faults
from batchkit.simulator.ledger import Ledger, ledger_json, ledger_of
from batchkit.simulator.office import Office
from batchkit.simulator.outcomes import Rule
from batchkit.simulator.settings import Settings
from batchkit.simulator.uploads import read_upload
from batchkit.simulator.wire import Call, FileBody, Malformed, Reply, Upload, said
from batchkit.simulator.world import World

VIRTUAL_START = 1_793_491_200.0
"""2026-11-01T00:00:00Z, where virtual time begins unless told otherwise."""

_CHUNK = 1 << 20
_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"


class PortTaken(Exception):
    """Another process listens on the port that was asked for."""


class Simulator:
    """Both providers on one loopback port, as a context manager.

    Time stands still until `advance` moves it; with `scale` it runs that many times as fast as
    real time, with `instant=True` batches end when they are next looked at.
    `folder` keeps everything, for the next simulator on the same folder; without one it is
    temporary. Other `options` are the fields of `Settings`.
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        port: int = 0,
        scale: float = 0.0,
        start: float | None = None,
        rule: Rule | None = None,
        faults: FaultPlan | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="simulator-") if folder is None else None
        )
        self.folder = Path(folder if folder is not None else cast("Any", self._temporary).name)
        self.settings = settings or Settings(**options)
        self.faults = Faults()
        self.bugs: list[str] = []
        self._plan = faults
        self._port, self._scale, self._rule = port, scale, rule
        self._start = start if start is not None else (real_now() if scale else VIRTUAL_START)
        self._server: _Server | None = None

    def start(self) -> Simulator:
        """Listen; raise `PortTaken` if somebody else does."""
        self.folder.mkdir(parents=True, exist_ok=True)
        world = World(self.folder, self.settings.seed)
        self.office = Office(world, self.settings, self._rule)
        self.clock = Clock(self.folder / "clock", scale=self._scale, start=self._start)
        try:
            self._server = _Server(self._port, self)
        except OSError as exc:
            self._close_files()
            raise PortTaken(
                f"port {self._port} on 127.0.0.1 is taken: choose another, or 0 for any"
            ) from exc
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        return self

    def stop(self) -> None:
        """Close all connections and files; the folder stays unless it was temporary."""
        if self._server is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        self._server.server_close()
        self._server = None
        self._close_files()
        if self._temporary is not None:
            self._temporary.cleanup()

    def _close_files(self) -> None:
        self.office.world.close()
        self.clock.close()

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the simulator is not started: use `with Simulator() as sim`")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for an Anthropic client."""
        return self.url

    def now(self) -> float:
        """Return the simulated time, in unix seconds."""
        return self.clock.now()

    def advance(self, seconds: float) -> float:
        """Let simulated time pass, and return it."""
        return self.clock.advance(seconds)

    def ledger(self) -> Ledger:
        """Return the books as of now."""
        return ledger_of(self.office, self.now())

    def revoke(self, key: str) -> None:
        """Refuse a key from now on, across restarts."""
        world = self.office.world
        world.set_account(revoked={*world.revoked, key}, broke=world.broke)

    def reinstate(self, key: str) -> None:
        """Take a key's revocation back."""
        world = self.office.world
        world.set_account(revoked=world.revoked - {key}, broke=world.broke)

    def exhaust_credit(self, workspace: str = "default") -> None:
        """Refuse what costs in a workspace: OpenAI 429 `insufficient_quota`, Anthropic 402."""
        world = self.office.world
        world.set_account(revoked=world.revoked, broke={*world.broke, workspace})

    def restore_credit(self, workspace: str = "default") -> None:
        """Accept what costs again."""
        world = self.office.world
        world.set_account(revoked=world.revoked, broke=world.broke - {workspace})

    def fault_for(self, route: str, nth: int, phase: Any) -> Fault | None:
        """Ask the plan that was given, then the one made by hand."""
        planned = self._plan.consult(route, nth, phase) if self._plan is not None else None
        return planned or self.faults.consult(route, nth, phase)

    @property
    def counter(self) -> Counter:
        """How often each route was called."""
        return self.faults.counter


def serve(
    port: int,
    folder: Path | str,
    *,
    scale: float = 1.0,
    settings: Settings | None = None,
    **options: Any,
) -> None:
    """Serve until interrupted; raise `PortTaken` if the port is."""
    with Simulator(folder, port=port, scale=scale, settings=settings, **options) as simulator:
        simulator._thread.join()  # noqa: SLF001


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = True
    request_queue_size = 256
    allow_reuse_address = True

    def __init__(self, port: int, simulator: Simulator) -> None:
        self.simulator = simulator
        self.stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._lock = threading.Lock()
        super().__init__(("127.0.0.1", port), _Handler)

    def server_bind(self) -> None:
        # HTTPServer would look the host's name up, which can take seconds.
        self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.socket.bind(self.server_address)
        self.server_address = self.socket.getsockname()
        self.server_name, self.server_port = "127.0.0.1", self.server_address[1]

    def process_request(self, request: Any, client_address: Any) -> None:
        with self._lock:
            self._open.add(request)
        super().process_request(request, client_address)

    def shutdown_request(self, request: Any) -> None:
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

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Stay silent about clients that go away; a bug in a route is told by its 500."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_version = "simulator"
    sys_version = ""
    disable_nagle_algorithm = True
    server: _Server
    _request_id = ""

    def log_message(self, format: str, *args: Any) -> None:
        """Say nothing."""

    def date_time_string(self, timestamp: float | None = None) -> str:
        """Return the simulated date for the Date header."""
        return http_date(self.server.simulator.now() if timestamp is None else timestamp)

    def _handle(self) -> None:
        try:
            self._answer()
        except (ConnectionError, TimeoutError):
            self.close_connection = True
        except Exception:  # noqa: BLE001 - a bug of ours must not look like a lost connection
            self.close_connection = True
            trace = traceback.format_exc()
            self.server.simulator.bugs.append(trace)
            self._send(said({"error": {"message": trace, "type": "simulator_bug"}}, 500))

    do_GET = do_POST = do_DELETE = do_PUT = do_PATCH = do_HEAD = _handle

    def _answer(self) -> None:
        simulator = self.server.simulator
        self._request_id = f"req_{simulator.counter.next('requests'):024d}"
        url = urlsplit(self.path)
        path = url.path.removeprefix("/openai")
        if path.startswith("/_sim/"):
            self._send(_controlled(simulator, self.command, path, self._body()))
            return
        front = _front(path, self.headers)
        route = f"{front.__name__.rpartition('.')[2]}.{front.route_name(self.command, path)}"
        nth = simulator.counter.next(route)
        call, problem = self._call(path, parse_qs(url.query), front)
        fault = simulator.fault_for(route, nth, "before")
        if fault is not None:
            self._refuse(fault, front)
            return
        reply = problem or (front.answer(call, simulator.office) if call else None)
        if reply is None:
            return
        if call is not None and call.upload is not None:
            call.upload.path.unlink(missing_ok=True)
        self._deliver(reply, simulator.fault_for(route, nth, "after"), front)

    def _call(
        self, path: str, query: dict[str, list[str]], front: Any
    ) -> tuple[Call | None, Reply | None]:
        """Read the request whole; return it, or why it is refused unread."""
        simulator, office = self.server.simulator, self.server.simulator.office
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
            simulator.now(),
            upload,
            office.workspace_of(office.key_of(Call("", "", {}, headers, b"", 0))),
            simulator.url,
            self._request_id,
        )
        return call, problem

    def _upload(self, content_type: str) -> Upload | None:
        path = self.server.simulator.office.world.incoming()
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
        while size := int(self.rfile.readline().split(b";")[0] or b"0", 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        while self.rfile.readline().strip():
            continue

    def _body(self) -> bytes:
        return b"".join(self._chunks())

    def _drain(self) -> None:
        for _ in self._chunks():
            continue

    def _send(self, reply: Reply, *, send: float = 1.0) -> None:
        """Send a reply, or the first part of its body under its full length."""
        size = reply.body.size if isinstance(reply.body, FileBody) else len(reply.body)
        head = self._head(reply, size)
        if isinstance(reply.body, bytes):
            self.wfile.write(head + reply.body[: int(size * send)])
        else:
            self.wfile.write(head)
            with reply.body.path.open("rb") as file:
                self._send_file(file, int(size * send))

    def _send_file(self, file: Any, size: int) -> None:
        self.wfile.flush()
        if size:
            self.connection.sendfile(file, 0, size)

    def _head(self, reply: Reply, size: int) -> bytes:
        names = {
            "Date": self.date_time_string(),
            "Content-Type": reply.content_type,
            "Content-Length": str(size),
            "x-request-id": self._request_id,
            "request-id": self._request_id,
            **reply.headers,
        }
        if self.close_connection:
            names["Connection"] = "close"
        lines = "".join(f"{name}: {value}\r\n" for name, value in names.items())
        return f"HTTP/1.1 {reply.status} {_reason(reply.status)}\r\n{lines}\r\n".encode("latin-1")

    def _refuse(self, fault: Fault, front: Any) -> None:
        if fault.status == 0:
            self._drop()
            return
        self._send(
            _with_retry_after(
                front.refused(fault.status, "refused by the fault plan", fault.code), fault
            )
        )

    def _deliver(self, reply: Reply, fault: Fault | None, front: Any) -> None:
        kind = fault.kind if fault is not None else None
        if fault is None or kind is None:
            self._send(reply)
        elif kind == "drop":
            self._drop()
        elif kind == "status":
            self._send(
                _with_retry_after(
                    front.refused(fault.status, "the fault plan says so", fault.code), fault
                )
            )
        elif kind == "hang":
            self.server.stopping.wait(fault.seconds)
            self._send(reply)
        elif kind == "half" and isinstance(reply.body, bytes):
            self._send(Reply(200, reply.body[: len(reply.body) // 2]))
        elif kind == "html":
            self._send(Reply(200, fault.body or _HTML, "text/html"))
        else:
            self._break_off(reply, fault)

    def _break_off(self, reply: Reply, fault: Fault) -> None:
        self._send(reply, send=fault.fraction)
        if fault.kind == "stall":
            self.server.stopping.wait(fault.seconds)
        self._drop()

    def _drop(self) -> None:
        self.close_connection = True
        self.wfile.flush()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return


def _front(path: str, headers: Any) -> Any:
    if path.startswith(("/v1/messages", "/v1/complete")) or headers.get("anthropic-version"):
        return anthropic
    return openai


def _reason(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else "Overloaded"


def _too_large(settings: Settings) -> Reply:
    if settings.html_413:
        return Reply(
            413, b"<html><body>413 Request Entity Too Large - cloudflare</body></html>", "text/html"
        )
    return anthropic.refused(413, "Request exceeds the maximum size")


def _with_retry_after(reply: Reply, fault: Fault) -> Reply:
    headers: Mapping[str, str] = {"retry-after": fault.retry_after} if fault.retry_after else {}
    return Reply(reply.status, reply.body, reply.content_type, headers)


def _controlled(simulator: Simulator, method: str, path: str, body: bytes) -> Reply:
    """Answer the simulator's own routes, for other processes."""
    told = orjson.loads(body or b"{}")
    if path == "/_sim/ledger":
        return Reply(200, ledger_json(simulator.ledger()))
    if path == "/_sim/advance" and method == "POST":
        return said({"now": simulator.advance(float(told["seconds"]))})
    if path == "/_sim/state":
        return said(_state(simulator))
    if path == "/_sim/revoke" and method == "POST":
        simulator.revoke(str(told["key"]))
        return said({})
    return said({"error": f"no {method} {path}"}, 404)


def _state(simulator: Simulator) -> dict[str, Any]:
    world = simulator.office.world
    return {
        "now": simulator.now(),
        "folder": str(simulator.folder),
        "batches": len(world.batches),
        "files": len(world.files),
        "knocks": len(world.knocks),
        "calls": simulator.counter.calls,
    }
