"""A server that trickles: every call ends when its time is up, and says what that means."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from batchkit.clock import SystemClock
from batchkit.errors import ProviderUnavailable
from batchkit.model import Window
from batchkit.providers import Closer, Provider, calls, close
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses
from tests.providers import made
from tests.providers.scripted import Say, Script

DEADLINE = 0.3
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
BODIES = {
    "its headers": b"HTTP/1.1 200 OK\r\nX-Slow: " + b"y" * 10_000,
    "a body of known length": HEAD + b"Content-Length: 10000\r\n\r\n" + b" " * 10_000,
    "a body without a length": HEAD + b"Connection: close\r\n\r\n" + b'{"id":"b1"}' + b" " * 10_000,
}
"""What is sent a byte at a time; the last one is a whole answer after eleven bytes."""


class Trickle:
    """A server that takes every request and answers a byte every few milliseconds."""

    def __init__(self, data: bytes, at_once: int) -> None:
        self._data, self._at_once = data, at_once
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._over = threading.Event()
        self.dropped = threading.Event()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def serve(self) -> None:
        with suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                threading.Thread(target=self._answer, args=(connection,), daemon=True).start()

    def end(self) -> None:
        self._over.set()
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _answer(self, connection: socket.socket) -> None:
        with connection:
            connection.recv(65_536)
            try:
                connection.sendall(self._data[: self._at_once])
                for byte in self._data[self._at_once :]:
                    connection.sendall(bytes([byte]))
                    if self._over.wait(0.01):
                        return
            except OSError:
                self.dropped.set()


@contextmanager
def trickling(data: bytes, at_once: int = 0) -> Iterator[Trickle]:
    server = Trickle(data, at_once)
    thread = threading.Thread(target=server.serve)
    thread.start()
    try:
        yield server
    finally:
        server.end()
        thread.join()


def adapter(name: str, url: str, deadline: float = DEADLINE) -> Provider:
    if name == "openai":
        return OpenAIResponses(api_key=made.KEY, base_url=f"{url}/v1", deadline=deadline)
    return Anthropic(api_key=made.KEY, base_url=url, deadline=deadline)


def late(call: Callable[[], Any]) -> ProviderUnavailable:
    """Make a call whose time is up before it is done."""
    began = SystemClock().monotonic()
    with pytest.raises(ProviderUnavailable, match=r"was given 0.3 seconds") as caught:
        call()
    assert SystemClock().monotonic() - began < 5
    return caught.value


@pytest.mark.parametrize("name", ["openai", "anthropic"])
@pytest.mark.parametrize("what", BODIES)
def test_a_call_that_is_answered_byte_by_byte_ends_at_its_deadline(
    name: str, what: str, tmp_path: Path
) -> None:
    """Each byte comes long before a read's timeout, and the last one in hours."""
    now = SystemClock().now()
    with trickling(BODIES[what]) as server:
        provider = adapter(name, server.url)
        spool = made.spool(provider, tmp_path)
        asked: dict[str, Callable[[], Any]] = {
            "poll": lambda: provider.poll("b1"),
            "find": lambda: provider.find(spool, "f1", Window(now, now), ()),
            "cancel": lambda: provider.cancel("b1"),
            "download": lambda: provider.download("b1", tmp_path / "down"),
        }
        for call in asked.values():
            assert not late(call).maybe
        assert late(lambda: provider.create(spool, "f1")).maybe, "it may have been created"
        assert late(lambda: provider.ask(made.request())).maybe
        assert server.dropped.wait(5), "the connection was closed"
        close(provider)


def test_an_upload_that_is_answered_byte_by_byte_ends_too(tmp_path: Path) -> None:
    with trickling(BODIES["its headers"]) as server:
        provider = adapter("openai", server.url)
        late(lambda: provider.stage(made.spool(provider, tmp_path)))
        close(provider)


def test_a_download_has_time_as_long_as_bytes_come_in_earnest(
    monkeypatch: pytest.MonkeyPatch, script: Script, tmp_path: Path
) -> None:
    """What came buys time for more; a drip buys none."""
    rows = b'{"custom_id":"tok1-0"}\n' * 60
    whole = HEAD + b"Content-Length: %d\r\n\r\n" % len(rows) + rows
    head = len(whole) - len(rows)
    body = {
        "id": "b1",
        "processing_status": "ended",
        "request_counts": {"succeeded": 60},
    }
    with trickling(whole, at_once=head + len(rows) - 60) as server:
        provider = Anthropic(api_key=made.KEY, base_url=script.url, deadline=DEADLINE)
        script.says(Say({**body, "results_url": f"{script.url}/results"}))
        monkeypatch.setattr(provider, "_results_url", lambda _: f"{server.url}/results")
        late(lambda: provider.download("b1", tmp_path / "slow"))
        assert list((tmp_path / "slow").iterdir()) == []

        monkeypatch.setattr(calls, "COMING_RATE", 100.0)
        assert provider.download("b1", tmp_path / "quick").lines == 60
        close(provider)


def test_a_deadline_grows_with_what_is_sent() -> None:
    assert calls.for_upload(0) == calls.CREATE_SECONDS
    assert calls.for_upload(200_000_000) == calls.CREATE_SECONDS + 2_000


def test_no_connection_waits_for_the_next_call_and_a_closed_adapter_can_be_used_again(
    provider: Provider, script: Script
) -> None:
    """A create on a connection that the server dropped meanwhile would be an unclear create."""
    script.says(Say({"id": "b1", "status": "in_progress", "processing_status": "in_progress"}))
    assert isinstance(provider, Closer)
    provider.poll("b1")
    provider.poll("b1")
    close(provider)
    close(provider)
    provider.poll("b1")
    assert len({heard.port for heard in script.heard}) == 3
