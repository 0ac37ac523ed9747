"""Read result files: one JSON object a line, and what kind of failure a line reports."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator
from itertools import chain
from pathlib import Path

import orjson

from batchkit.errors import ProviderRefused
from batchkit.model import Download, Errored, Json, Outcome, Unreadable
from batchkit.sharing import is_lost

# Anchored on a bare quote: inside a JSON string the quotes of a quoted line are escaped.
_ID = re.compile(rb'(?<!\\)"custom_id"\s*:\s*"([\w.:\-]{1,128})"')
_BOM = b"\xef\xbb\xbf"
_BUFFER = 1 << 18

_FILTERED = frozenset({"content_filter", "content_policy_violation"})
_ACCOUNT = frozenset(
    {
        "authentication_error",
        "billing_error",
        "billing_hard_limit_reached",
        "insufficient_quota",
        "invalid_api_key",
        "permission_error",
    }
)
_LIMITED = frozenset({"rate_limit_error", "rate_limit_exceeded", "rate_limit_reached"})
_OVERLOADED = frozenset({"overloaded", "overloaded_error", "slow_down"})
_BROKEN = frozenset({"api_error", "internal_error", "server_error", "timeout_error"})
_INVALID = frozenset(
    {
        "context_length_exceeded",
        "invalid_prompt",
        "invalid_request",
        "invalid_request_error",
        "model_not_found",
        "not_found_error",
        "request_too_large",
    }
)
_BY_WORD = (
    ("content_filter", _FILTERED),
    ("account", _ACCOUNT),
    ("rate_limited", _LIMITED),
    ("overloaded", _OVERLOADED),
    ("server_error", _BROKEN),
    ("invalid", _INVALID),
)
_BY_STATUS = {
    401: "account",
    402: "account",
    403: "account",
    408: "server_error",
    409: "server_error",
    429: "rate_limited",
    503: "overloaded",
    529: "overloaded",
}


def outcomes(files: Download, read: Callable[[Json, str], Outcome]) -> Iterator[Outcome]:
    """Read every line of every file; ``read`` gets the row and its custom_id."""
    for path in files.files:
        for row in rows(path):
            if isinstance(row, Unreadable):
                yield row
                continue
            custom_id = row.get("custom_id")
            if type(custom_id) is not str or not custom_id:
                yield unreadable(None, row, "no custom_id")
                continue
            try:
                found = read(row, custom_id)
            # A shape nobody has seen must cost its own row and no other.
            except (AttributeError, KeyError, TypeError, ValueError, IndexError) as error:
                found = unreadable(custom_id, row, f"unknown shape: {type(error).__name__}")
            yield found


def rows(path: Path) -> Iterator[Json | Unreadable]:
    """Yield the JSON objects of a file, one a line; a line that is none is an Unreadable.

    Lines end at ``\\n`` alone: U+2028, U+0085 and their like are legal inside a JSON string.
    """
    with path.open("rb", buffering=_BUFFER) as file:
        for raw in chain((file.readline().removeprefix(_BOM),), file):
            try:
                row = orjson.loads(raw)
            except orjson.JSONDecodeError:
                row = None
            if type(row) is dict:
                yield row
            elif line := raw.strip(b" \t\r\n"):
                yield _row(line)


def custom_id_in(line: bytes) -> str | None:
    """Find the custom_id in a line, readable as a whole or not."""
    found = _ID.search(line)
    return found[1].decode("ascii", "replace") if found else None


def known_kind(*words: str | None) -> str | None:
    """Sort a failure by the provider's code and type; None if no word is known."""
    for kind, known in _BY_WORD:
        if any(word in known for word in words if word):
            return kind
    return None


def kind_of(status: int | None, *words: str | None) -> str:
    """Sort a failure by its words and status into one of ``Errored``'s kinds.

    The status goes before general types such as ``invalid_request_error``, which OpenAI puts on
    nearly everything; the specific words go before the status.
    """
    kind = known_kind(*words)
    if kind in ("content_filter", "account") or status is None:
        return kind or "server_error"
    if status in _BY_STATUS:
        return _BY_STATUS[status]
    if status >= 500:
        return "overloaded" if kind == "overloaded" else "server_error"
    return "invalid" if status >= 400 else kind or "server_error"


def errored(
    custom_id: str, error: object, status: int | None = None, request_id: str | None = None
) -> Errored:
    """Make an Errored of an error object (``{type, code, message}``), of a text or of nothing."""
    if not isinstance(error, dict):
        error = {"message": str(error)} if error else {}
    code, kind = word(error.get("code")), word(error.get("type"))
    details = error.get("details")
    code = code or (word(details.get("error_code")) if isinstance(details, dict) else None)
    message = word(error.get("message") or error.get("detail")) or "The provider gave no reason."
    sort = kind_of(status, code, kind)
    return Errored(
        custom_id=custom_id,
        kind="file" if sort == "invalid" and is_lost(code, message) else sort,
        code=code or kind or (f"http_{status}" if status else "unknown"),
        message=message,
        status=status,
        request_id=request_id,
    )


def refused(custom_id: str, error: ProviderRefused) -> Errored:
    """Make an Errored of a real-time request that was turned away as such.

    Raises the error again where it is about the account or the queue, not the request.
    """
    if error.reason in ("account", "queue"):
        raise error
    code = error.code or error.reason
    return Errored(custom_id, kind_of(error.status, error.code), code, str(error), error.status)


def unreadable(custom_id: str | None, row: Json, problem: str) -> Unreadable:
    """Say of a row that is JSON but makes no sense what is wrong with it."""
    return Unreadable(custom_id, orjson.dumps(row).decode(), problem)


def word(value: object) -> str | None:
    """Return a provider's word as text; None for nothing."""
    return None if value is None or value == "" else str(value)


def count(value: object) -> int:
    """Return a provider's number as a count; 0 for nothing and for nonsense."""
    if not value:
        return 0
    if type(value) is int:
        return value if value > 0 else 0
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        return 0
    return max(0, int(value))


def _row(line: bytes) -> Json | Unreadable:
    try:
        row = _parsed(line)
    except (ValueError, RecursionError) as error:
        problem = f"no JSON: {error}"
        return Unreadable(custom_id_in(line), line.decode("utf-8", "replace"), problem)
    if isinstance(row, dict):
        return row
    return Unreadable(None, line.decode("utf-8", "replace"), "not a JSON object")


def _parsed(line: bytes) -> object:
    """Parse a line, also one that is JSON to Python only: NaN, or half of a surrogate pair.

    An answer cut in the middle of an emoji has such a half; it was paid for and is kept.
    """
    try:
        return orjson.loads(line)
    except orjson.JSONDecodeError:
        loose = json.loads(line, parse_constant=lambda _: None)
        return orjson.loads(json.dumps(loose, ensure_ascii=False).encode("utf-8", "replace"))
