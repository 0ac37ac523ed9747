"""How a reply goes over the wire: whole, or in one of the ways that networks spoil it."""

from __future__ import annotations

import gzip
import http
import os
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Protocol

from batchkit.simulator.clock import http_date, real_now
from batchkit.simulator.faults import Fault
from batchkit.simulator.wire import FileBody, Reply

_HTML = b"<html><head><title>502 Bad Gateway</title></head><body>cloudflare</body></html>"
_PIECE = 1 << 16
_DRIPS = 20
_TOO_LONG = 1_000


class _Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...

    def flush(self) -> object: ...


@dataclass(slots=True)
class Sender:
    """One connection with the headers of one reply; `closing` says that it ends with it."""

    sink: _Sink
    connection: socket.socket
    stopping: threading.Event
    names: Mapping[str, str]
    closing: bool = False

    def send(self, reply: Reply) -> None:
        """Send a reply whole."""
        self._send(reply, size_of(reply))

    def deliver(self, reply: Reply, fault: Fault | None) -> None:
        """Send a reply as well as the fault lets it."""
        if fault is None:
            self.send(reply)
        else:
            _WAYS[fault.kind](self, reply, fault)

    def drop(self) -> None:
        """Close the connection."""
        self.closing = True
        self.sink.flush()
        try:
            self.connection.shutdown(socket.SHUT_RDWR)
        except OSError:
            return

    def _send(self, reply: Reply, upto: int, length: int | None = None) -> None:
        """Send the body up to a byte, under the length that is told, by default its own."""
        told = size_of(reply) if length is None else length
        head = self._head(reply, {"Content-Length": str(told)})
        if isinstance(reply.body, bytes):
            self.sink.write(head + reply.body[:upto])
        else:
            self.sink.write(head)
            self._send_file(reply.body, upto)

    def _send_file(self, body: FileBody, upto: int) -> None:
        self.sink.flush()
        if upto:
            with body.path.open("rb") as file:
                self.connection.sendfile(file, 0, upto)

    def _head(self, reply: Reply, framing: Mapping[str, str]) -> bytes:
        names = {
            **self.names,
            "Content-Type": reply.content_type,
            **framing,
            **reply.headers,
            **({"Connection": "close"} if self.closing else {}),
        }
        lines = "".join(f"{name}: {value}\r\n" for name, value in names.items())
        return f"HTTP/1.1 {reply.status} {_reason(reply.status)}\r\n{lines}\r\n".encode("latin-1")

    # What each kind of fault does once the reply is known.

    def as_told(self, reply: Reply, fault: Fault) -> None:
        """Send it: the fault chose the reply."""
        self.send(reply)

    def silent(self, reply: Reply, fault: Fault) -> None:
        """Send nothing."""
        self.drop()

    def late(self, reply: Reply, fault: Fault) -> None:
        """Send it late."""
        self.stopping.wait(fault.seconds)
        self.send(reply)

    def halved(self, reply: Reply, fault: Fault) -> None:
        """Send a part, and say that it is all."""
        part = int(size_of(reply) * fault.fraction)
        self._send(replace(reply, status=200), part, part)

    def html(self, reply: Reply, fault: Fault) -> None:
        """Send a page."""
        self.send(Reply(200, fault.body or _HTML, "text/html"))

    def cut(self, reply: Reply, fault: Fault) -> None:
        """Send a part, and break off."""
        self._send(reply, int(size_of(reply) * fault.fraction))
        if fault.kind == "stall":
            self.stopping.wait(fault.seconds)
        self.drop()

    def dripped(self, reply: Reply, fault: Fault) -> None:
        """Send it slowly."""
        size = size_of(reply)
        self.sink.write(self._head(reply, {"Content-Length": str(size)}))
        for start, end in _spans(size, max(1, -(-size // _DRIPS))):
            self.sink.write(piece_of(reply, start, end))
            self.stopping.wait(fault.seconds / _DRIPS)

    def overlong(self, reply: Reply, fault: Fault) -> None:
        """Say that more will come, and break off."""
        self._send(reply, size_of(reply), size_of(reply) + _TOO_LONG)
        self.drop()

    def unended(self, reply: Reply, fault: Fault) -> None:
        """Send chunks, and break off."""
        self.sink.write(self._head(reply, {"Transfer-Encoding": "chunked"}))
        for start, end in _spans(int(size_of(reply) * fault.fraction), _PIECE):
            self.sink.write(b"%x\r\n%b\r\n" % (end - start, piece_of(reply, start, end)))
        self.drop()

    def unmeasured(self, reply: Reply, fault: Fault) -> None:
        """Send a part without saying how much it is."""
        self.closing = True
        self.sink.write(self._head(reply, {}))
        at = line_end(reply, int(size_of(reply) * fault.fraction))
        if fault.kind == "mid-line-cut":
            at = _middle_of_line(reply, at)
        for start, end in _spans(at, _PIECE):
            self.sink.write(piece_of(reply, start, end))
        self.drop()

    def gzipped(self, reply: Reply, fault: Fault) -> None:
        """Send the beginning of it, compressed."""
        data = gzip.compress(piece_of(reply, 0, size_of(reply)), 1)
        headers = {**reply.headers, "Content-Encoding": "gzip"}
        cut = data[: max(1, int(len(data) * fault.fraction))]
        self.send(replace(reply, body=cut, headers=headers))


_WAYS: dict[str, Callable[[Sender, Reply, Fault], None]] = {
    "refuse": Sender.as_told,
    "flaky": Sender.as_told,
    "redirect": Sender.as_told,
    "status": Sender.as_told,
    "drop": Sender.silent,
    "hang": Sender.late,
    "half": Sender.halved,
    "html": Sender.html,
    "cut": Sender.cut,
    "stall": Sender.cut,
    "drip": Sender.dripped,
    "long": Sender.overlong,
    "unended": Sender.unended,
    "line-cut": Sender.unmeasured,
    "mid-line-cut": Sender.unmeasured,
    "gzip-cut": Sender.gzipped,
}


def size_of(reply: Reply) -> int:
    """Return the size of a reply's body."""
    return reply.body.size if isinstance(reply.body, FileBody) else len(reply.body)


def piece_of(reply: Reply, start: int, end: int) -> bytes:
    """Return some bytes of a reply's body."""
    if isinstance(reply.body, bytes):
        return reply.body[start:end]
    with reply.body.path.open("rb") as file:
        return os.pread(file.fileno(), end - start, start)


def line_end(reply: Reply, at: int) -> int:
    """Return where the last line ends that is whole before `at`; 0 if there is none."""
    start = max(0, at - (1 << 20))
    return start + piece_of(reply, start, at).rfind(b"\n") + 1


def _middle_of_line(reply: Reply, start: int) -> int:
    line = piece_of(reply, start, start + (1 << 20))
    length = line.find(b"\n") if b"\n" in line else len(line)
    return start + length // 2


def _spans(size: int, step: int) -> Iterator[tuple[int, int]]:
    for start in range(0, size, step):
        yield start, min(start + step, size)


def retry_after(told: str | None) -> dict[str, str]:
    """Return the header that a fault asks for; `date:30` is the date in 30 seconds."""
    if told is None:
        return {}
    if told.startswith("date:"):
        return {"retry-after": http_date(real_now() + float(told[5:]))}
    return {"retry-after": told}


def _reason(status: int) -> str:
    return http.HTTPStatus(status).phrase if status in set(http.HTTPStatus) else "Overloaded"
