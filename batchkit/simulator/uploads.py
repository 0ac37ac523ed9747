"""Reads a multipart body from a socket to disk, piece by piece."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, cast

from python_multipart import MultipartParser
from python_multipart.multipart import parse_options_header

from batchkit.simulator.wire import Malformed, Upload

if TYPE_CHECKING:
    from python_multipart.multipart import MultipartCallbacks


class _Parts:
    """Collects the small parts in memory and the file on disk."""

    def __init__(self, sink: BinaryIO) -> None:
        self.fields: dict[str, str] = {}
        self.filename: str | None = None
        self.content_type = ""
        self.size = -1
        self._sink = sink
        self._header = [bytearray(), bytearray()]
        self._headers: dict[bytes, bytes] = {}
        self._value = bytearray()
        self._is_file = False

    def on_part_begin(self) -> None:
        self._headers, self._value = {}, bytearray()

    def on_header_field(self, data: bytes, start: int, end: int) -> None:
        self._header[0] += data[start:end]

    def on_header_value(self, data: bytes, start: int, end: int) -> None:
        self._header[1] += data[start:end]

    def on_header_end(self) -> None:
        self._headers[bytes(self._header[0]).lower()] = bytes(self._header[1])
        self._header = [bytearray(), bytearray()]

    def on_headers_finished(self) -> None:
        _, options = parse_options_header(self._headers.get(b"content-disposition", b""))
        self._name = options.get(b"name", b"").decode("utf-8", "replace")
        self._is_file = b"filename" in options or self._name == "file"
        if self._is_file:
            self.filename = options.get(b"filename", b"").decode("utf-8", "replace")
            self.content_type = self._headers.get(b"content-type", b"").decode("latin-1")
            self.size = 0

    def on_part_data(self, data: bytes, start: int, end: int) -> None:
        if self._is_file:
            self._sink.write(memoryview(data)[start:end])
            self.size += end - start
        else:
            self._value += data[start:end]

    def on_part_end(self) -> None:
        if not self._is_file:
            self.fields[self._name] = self._value.decode("utf-8", "replace")


def read_upload(chunks: Iterator[bytes], content_type: str, path: Path) -> Upload | None:
    """Write the file part to `path` and return it; None without one, `Malformed` if cut short."""
    _, options = parse_options_header(content_type.encode("latin-1"))
    with path.open("wb") as sink:
        parts = _Parts(sink)
        names = [name for name in dir(parts) if name.startswith("on_")]
        hooks = cast("MultipartCallbacks", {name: getattr(parts, name) for name in names})
        parser = MultipartParser(options.get(b"boundary", b"-"), hooks)
        try:
            for chunk in chunks:
                parser.write(chunk)
            parser.finalize()
        except ValueError as exc:
            raise Malformed(str(exc)) from exc
    if parts.size < 0:
        return None
    return Upload(parts.fields, parts.filename, parts.content_type, path, parts.size)
