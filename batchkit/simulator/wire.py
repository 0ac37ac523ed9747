"""What goes in and out of a route: values, no sockets."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

Json = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Upload:
    """The file part of a multipart request, already on disk at `path`."""

    fields: Mapping[str, str]
    filename: str | None
    content_type: str
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Call:
    """One HTTP request as a route sees it: header names are lower case, `now` is simulated."""

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    body: bytes
    now: float
    upload: Upload | None = None
    workspace: str = "default"
    base_url: str = ""
    request_id: str = ""

    def asked(self, name: str) -> str | None:
        """Return a query parameter's last value, or None."""
        values = self.query.get(name)
        return values[-1] if values else None

    def json(self) -> Any:
        """Return the parsed body; raise `Malformed` if it is not JSON."""
        try:
            return orjson.loads(self.body or b"{}")
        except orjson.JSONDecodeError as exc:
            raise Malformed(str(exc)) from exc


class Malformed(Exception):
    """A request body that is not what its route reads."""


@dataclass(frozen=True, slots=True)
class FileBody:
    """A reply's body that stands in a file."""

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Reply:
    """One HTTP reply; the server adds the date and a request id."""

    status: int
    body: bytes | FileBody = b""
    content_type: str = "application/json"
    headers: Mapping[str, str] = field(default_factory=dict)


def said(value: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Reply:
    """Return a JSON reply."""
    return Reply(status, orjson.dumps(value), headers=headers or {})
