"""A provider that answers at once, in a process of its own: both APIs, as cheap as can be.

``python -m tests.benchmarks.server`` prints its URL and serves until its input closes. Requests are
not parsed: their custom ids are found by a pattern, and every answer is the same. ``/bench`` takes
the bench's own calls: what was called, and a batch that is to stay unanswered for now.
"""

from __future__ import annotations

import argparse
import re
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import orjson

from tests.benchmarks import work

_IDS = re.compile(rb'"custom_id":\s?"([^"]+)"')
_PIECE = 1 << 20

_OPENAI_TAIL = orjson.dumps(
    {
        "response": {
            "status_code": 200,
            "request_id": "req_4f6a2b9c1d",
            "body": {
                "id": "resp_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
                "object": "response",
                "created_at": 1_767_225_600,
                "status": "completed",
                "background": False,
                "error": None,
                "incomplete_details": None,
                "instructions": None,
                "max_output_tokens": work.MAX_TOKENS,
                "model": "gpt-5-mini-2025-08-07",
                "output": [
                    {
                        "id": "msg_0a1b2c3d4e5f60718293a4b5c6d7e8f9",
                        "type": "message",
                        "status": "completed",
                        "content": [
                            {
                                "type": "output_text",
                                "annotations": [],
                                "logprobs": [],
                                "text": work.ANSWER,
                            }
                        ],
                        "role": "assistant",
                    }
                ],
                "parallel_tool_calls": True,
                "previous_response_id": None,
                "service_tier": "default",
                "store": True,
                "temperature": 1.0,
                "tool_choice": "auto",
                "tools": [],
                "top_p": 1.0,
                "truncation": "disabled",
                "usage": {
                    "input_tokens": 260,
                    "input_tokens_details": {"cached_tokens": 0},
                    "output_tokens": 80,
                    "output_tokens_details": {"reasoning_tokens": 0},
                    "total_tokens": 340,
                },
                "user": None,
                "metadata": {},
            },
        },
        "error": None,
    }
)[1:]
_ANTHROPIC_TAIL = orjson.dumps(
    {
        "result": {
            "type": "succeeded",
            "message": {
                "id": "msg_014VwiXbi91y3JMjcpyGBHX5",
                "type": "message",
                "role": "assistant",
                "model": "claude-haiku-4-5-20251001",
                "content": [{"type": "text", "text": work.ANSWER}],
                "stop_reason": "end_turn",
                "stop_sequence": None,
                "usage": {
                    "input_tokens": 260,
                    "cache_creation_input_tokens": 0,
                    "cache_read_input_tokens": 0,
                    "cache_creation": {
                        "ephemeral_5m_input_tokens": 0,
                        "ephemeral_1h_input_tokens": 0,
                    },
                    "output_tokens": 80,
                    "service_tier": "batch",
                },
            },
        }
    }
)[1:]


class World:
    """What the provider has been sent; ``hold`` is how many batches it answers before it rests."""

    def __init__(self, latency: float, hold: int | None) -> None:
        self.lock = threading.Lock()
        self.latency = latency
        self.hold = hold
        self.uploads: dict[str, list[bytes]] = {}
        self.batches: dict[str, tuple[list[bytes], str, bool]] = {}
        self.times: dict[str, int] = {}
        self.calls: Counter[str] = Counter()
        self.first: float | None = None
        self.number = 0

    def numbered(self, kind: str) -> str:
        """Return a new id."""
        with self.lock:
            self.number += 1
            return f"{kind}{self.number}"

    def note(self, name: str) -> None:
        """Count a call and take the time of the first one."""
        with self.lock:
            self.calls[name] += 1
            if self.first is None:
                self.first = time.monotonic()

    def made(self, kind: str, ids: list[bytes], upload: str) -> str:
        """Take a batch; it is answered unless the provider rests by now."""
        ref = self.numbered(kind)
        with self.lock:
            rests = self.hold is not None and len(self.batches) >= self.hold
            self.batches[ref] = (ids, upload, not rests)
            self.times[ref] = int(_now().timestamp())
        return ref


class Handler(BaseHTTPRequestHandler):
    """One connection."""

    protocol_version = "HTTP/1.1"
    wbufsize = 1 << 16
    disable_nagle_algorithm = True
    world: World

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def do_POST(self) -> None:
        body = self._body()
        if self.path.startswith("/bench"):
            self._bench(body)
        elif self.path == "/v1/files":
            self._called("upload")
            self._upload(body)
        elif self.path == "/v1/batches":
            self._called("create")
            upload = orjson.loads(body)["input_file_id"]
            ids = self.world.uploads.pop(upload)
            self._say(self._openai(self.world.made("batch_", ids, upload)))
        elif self.path == "/v1/messages/batches":
            self._called("create")
            self._say(self._anthropic(self.world.made("msgbatch_", _IDS.findall(body), "")))
        else:
            self._say({"error": {"message": f"no {self.path}"}}, 404)

    def do_GET(self) -> None:
        path = self.path.partition("?")[0]
        parts = path.strip("/").split("/")
        if parts[0] == "bench":
            found = {"calls": self.world.calls, "first": self.world.first}
            self._say(found)
        elif parts[-1] == "content":
            self._called("download")
            self._results("batch_" + parts[-2].removeprefix("out_"), _OPENAI_TAIL)
        elif parts[-1] == "results":
            self._called("download")
            self._results(parts[-2], _ANTHROPIC_TAIL)
        elif parts[-1] == "batches":
            self._called("list")
            self._listed(self._anthropic if "messages" in parts else self._openai)
        elif parts[-1] in self.world.batches:
            self._called("status")
            self._say((self._anthropic if "messages" in parts else self._openai)(parts[-1]))
        else:
            self._say({"error": {"message": f"no {path}"}}, 404)

    def do_DELETE(self) -> None:
        self._called("delete")
        self._say({"id": self.path.rpartition("/")[2], "object": "file", "deleted": True})

    def _called(self, name: str) -> None:
        self.world.note(name)
        if self.world.latency:
            threading.Event().wait(self.world.latency)

    def _bench(self, body: bytes | bytearray) -> None:
        wish = orjson.loads(body)
        with self.world.lock:
            if "hold" in wish:
                self.world.hold = wish["hold"]
            if wish.get("release"):
                self.world.batches = {
                    ref: (ids, upload, True) for ref, (ids, upload, _) in self.world.batches.items()
                }
            if wish.get("forget"):
                self.world.batches.clear()
            self.world.calls.clear()
            self.world.first = None
        self._say({})

    def _upload(self, body: bytes | bytearray) -> None:
        ref = self.world.numbered("file-")
        self.world.uploads[ref] = _IDS.findall(body)
        named = body.index(b"filename=")
        start = body.index(b"\r\n\r\n", named) + 4
        self._say(
            {
                "id": ref,
                "object": "file",
                "bytes": _end(body, start),
                "created_at": int(_now().timestamp()),
                "filename": "input.jsonl",
                "purpose": "batch",
                "status": "processed",
            }
        )

    def _openai(self, ref: str) -> dict[str, Any]:
        ids, upload, done = self.world.batches[ref]
        return {
            "id": ref,
            "object": "batch",
            "endpoint": "/v1/responses",
            "errors": None,
            "input_file_id": upload,
            "completion_window": "24h",
            "status": "completed" if done else "in_progress",
            "output_file_id": f"out_{ref.removeprefix('batch_')}" if done else None,
            "error_file_id": None,
            "created_at": self.world.times[ref],
            "completed_at": self.world.times[ref] if done else None,
            "request_counts": {"total": len(ids), "completed": len(ids) * done, "failed": 0},
            "metadata": {},
        }

    def _anthropic(self, ref: str) -> dict[str, Any]:
        ids, _, done = self.world.batches[ref]
        counts = {
            "processing": 0 if done else len(ids),
            "succeeded": len(ids) if done else 0,
            "errored": 0,
            "canceled": 0,
            "expired": 0,
        }
        host = self.headers["Host"]
        began = datetime.fromtimestamp(self.world.times[ref], UTC)
        results = f"http://{host}/v1/messages/batches/{ref}/results"
        return {
            "id": ref,
            "type": "message_batch",
            "processing_status": "ended" if done else "in_progress",
            "request_counts": counts,
            "created_at": began.isoformat(),
            "expires_at": (began + timedelta(days=1)).isoformat(),
            "ended_at": began.isoformat() if done else None,
            "archived_at": None,
            "cancel_initiated_at": None,
            "results_url": results if done else None,
        }

    def _listed(self, shown: Any) -> None:
        data = [shown(ref) for ref in reversed(self.world.batches)][:100]
        ends = {"first_id": None, "last_id": None}
        self._say({"object": "list", "data": data, "has_more": False, **ends})

    def _results(self, ref: str, tail: bytes) -> None:
        ids = self.world.batches[ref][0]
        head, end = b'{"id":"batch_req_1","custom_id":"', b'",' + tail + b"\n"
        size = len(ids) * (len(head) + len(end)) + sum(map(len, ids))
        self.send_response(200)
        self.send_header("Content-Type", "application/octet-stream")
        self.send_header("Content-Length", str(size))
        self.end_headers()
        between = end + head
        for at in range(0, len(ids), 1_000):
            self.wfile.write(head + between.join(ids[at : at + 1_000]) + end)

    def _body(self) -> bytes | bytearray:
        length = self.headers.get("Content-Length")
        if length is not None:
            return self._exactly(int(length))
        pieces = []
        while size := int(self.rfile.readline().split(b";")[0], 16):
            pieces.append(self._exactly(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(pieces)

    def _exactly(self, size: int) -> bytearray:
        body = bytearray(size)
        view, at = memoryview(body), 0
        while at < size:
            got = self.rfile.readinto(view[at : at + _PIECE])
            if not got:
                break
            at += got
        return body

    def _say(self, data: Any, status: int = 200) -> None:
        body = orjson.dumps(data)
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _end(body: bytes | bytearray, start: int) -> int:
    """Return the length from ``start`` to the boundary that closes the file."""
    boundary = body[: body.index(b"\r\n")]
    return body.index(b"\r\n" + boundary, start) - start


def _now() -> datetime:
    return datetime.now(UTC)  # noqa: TID251  # a stranger has its own clock


def main() -> None:
    """Serve until the input closes."""
    asked = argparse.ArgumentParser()
    asked.add_argument("--latency", type=float, default=0.0)
    asked.add_argument("--hold", type=int)
    given = asked.parse_args()
    Handler.world = World(given.latency, given.hold)
    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    sys.stdout.write(f"http://127.0.0.1:{server.server_port}\n")
    sys.stdout.flush()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    sys.stdin.read()


if __name__ == "__main__":
    main()
