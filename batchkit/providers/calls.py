"""What the adapters' calls share: foreign errors become ours, replies become plain data.

No SDK is imported here: an adapter hands in its own, as a module.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import ModuleType
from typing import TYPE_CHECKING, Any

import orjson

from batchkit import pace
from batchkit.errors import (
    ProviderError,
    ProviderGarbled,
    ProviderRefused,
    ProviderUnavailable,
)
from batchkit.model import Json, Shared
from batchkit.providers import deadlines
from batchkit.providers.deadlines import Deadline

if TYPE_CHECKING:
    import httpx2

CONNECT_SECONDS = 10.0
POLL_SECONDS = 60.0
CREATE_SECONDS = 600.0
"""Waits for one read or write."""

LOOK_DEADLINE = 180.0
"""Seconds that a call has in total which asks, lists, cancels or deletes."""

SENDING_RATE = pace.SLOWEST_UPLOAD
COMING_RATE = 16_000.0
"""Bytes a second below which an upload, a download is given up after its first ten minutes."""

ACCOUNT_CODES = frozenset(
    {
        "account_deactivated",
        "billing_error",
        "billing_hard_limit_reached",
        "billing_not_active",
        "contract_spend_limit_reached",
        "enforced_spend_limit_reached",
        "insufficient_quota",
        "invalid_api_key",
    }
)
"""Codes that only a person can mend, whatever the HTTP status says."""

MEND = "Mend the key, the credit or the access, then type: batchkit resume"

_QUEUE = re.compile(r"enqueued|\bqueue\b", re.IGNORECASE)
# Anthropic sends this one as a plain invalid_request_error without a code.
_NO_CREDIT = re.compile(r"credit balance|spend(ing)? limit", re.IGNORECASE)
_KEY_LIKE = re.compile(
    r"\b(?:sk|pk|rk|key)[-_][\w*.\-]{6,}|\bbearer\s+\S+|\S*\*{2,}\S*", re.IGNORECASE
)
_WORDS = 500


@dataclass(frozen=True, slots=True)
class Call:
    """Who calls whom, for the words of an error; ``creating`` calls may act unseen.

    ``seconds`` is how long the call may take in total, whatever trickles in meanwhile.
    """

    sdk: ModuleType
    name: str
    secret: str
    seconds: float
    creating: bool = False


@dataclass(frozen=True, slots=True)
class Reply:
    """A JSON object that a provider answered; ``at`` is the provider's time."""

    body: Json
    at: datetime | None
    headers: Mapping[str, str]


@contextmanager
def calling(call: Call) -> Iterator[Call]:
    """Turn whatever an SDK or its HTTP library raises into one of our three errors.

    A call whose time is up is a ProviderUnavailable, however it ended.
    """
    with Deadline(call.seconds) as deadline:
        try:
            with _translated(call):
                yield call
        except ProviderError as error:
            if deadline.passed:
                raise _late(call) from error
            raise
    if deadline.passed:
        raise _late(call)


def coming(size: int) -> None:
    """Say that so many bytes of a body have come: the call in hand has time for more."""
    deadlines.earn(size / COMING_RATE)


@contextmanager
def _translated(call: Call) -> Iterator[None]:
    import httpx2

    try:
        yield
    except call.sdk.APIStatusError as error:
        # Not "from error": the SDK's own words may hold a piece of the key.
        raise from_status(call, error.response) from None
    except call.sdk.APIConnectionError as error:
        raise _unreachable(call, error.__cause__ or error) from error
    except call.sdk.APIError as error:
        raise ProviderGarbled(
            f"{call.name} answered something unreadable: {_clean(str(error), call.secret)}",
            maybe=call.creating,
        ) from None
    except (httpx2.HTTPError, httpx2.StreamError) as error:
        raise _unreachable(call, error) from error


@contextmanager
def tolerating(*statuses: int) -> Iterator[None]:
    """Let a call pass that was turned away because there is nothing left to do."""
    try:
        yield
    except ProviderError as error:
        if error.status not in statuses:
            raise


@contextmanager
def routed(url: str, variable: str) -> Iterator[None]:
    """Say of a route that the server does not have that the base URL is wrong, or the server.

    For calls that name no object: their 404 cannot mean that an object is gone, and waiting
    does not mend it.
    """
    try:
        yield
    except ProviderRefused as error:
        if error.status in (404, 405):
            said = str(error).rstrip(".")
            error.args = (f"{said}. {url} has no batch API at this path: check {variable}.",)
            error.reason = "account"
        raise


def for_upload(size: int) -> float:
    """Return the seconds that a call has in total which sends so many bytes."""
    return CREATE_SECONDS + size / SENDING_RATE


def waits(seconds: float) -> httpx2.Timeout:
    """Return how long to wait for a connection, and for each read and write."""
    import httpx2

    connect = min(seconds, CONNECT_SECONDS)
    return httpx2.Timeout(seconds, connect=connect, pool=connect)


def reply(call: Call, response: httpx2.Response) -> Reply:
    """Read a JSON object from a reply; raises ProviderGarbled for HTML, half a body, a list."""
    try:
        body = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        body = None
    if not isinstance(body, dict):
        raise ProviderGarbled(
            f"{call.name} answered HTTP {response.status_code} with something that is no JSON "
            f"object ({response.headers.get('content-type', 'no content type')}).",
            status=response.status_code,
            maybe=call.creating,
        )
    return Reply(body, http_date(response.headers.get("date")), response.headers)


def ref_of(call: Call, got: Reply) -> str:
    """Return the id in a reply; raises ProviderGarbled where there is none."""
    ref = got.body.get("id")
    if not isinstance(ref, str) or not ref.strip():
        raise ProviderGarbled(f"{call.name} answered without an id.", maybe=call.creating)
    return ref


def shared(call: Call, got: Reply, counted: str, size: int) -> Shared:
    """Return an upload; a reply that counts other bytes than we sent is none."""
    told = got.body.get(counted)
    if isinstance(told, int) and told and told != size:
        raise ProviderGarbled(f"{call.name} counts {told} bytes of {size} that were sent.")
    made, ends = moment(got.body.get("created_at")), moment(got.body.get("expires_at"))
    return Shared(ref_of(call, got), ends - made if made and ends else None)


def from_status(call: Call, response: httpx2.Response) -> ProviderError:
    """Say in our words what an HTTP error status means."""
    status = response.status_code
    words = _Words.of(response)
    code = words.code or words.type
    text = _sentence(call, status, words)
    if status == 429 or status in (400, 422):
        return _limit_or_request(call, response, words, text)
    if status in (401, 402, 403) or code in ACCOUNT_CODES:
        return ProviderRefused(f"{text} {MEND}", reason="account", code=code, status=status)
    if status in (404, 410):
        return ProviderRefused(text, reason="not_found", code=code, status=status)
    if status == 413:
        return ProviderRefused(text, reason="too_large", code=code, status=status)
    # 499 is a proxy's word for a client that left: the request may well have gone through.
    if status >= 500 or status in (408, 409, 425, 499):
        return ProviderUnavailable(
            text,
            retry_after=retry_after(response.headers),
            code=code,
            status=status,
            maybe=call.creating,
        )
    if status >= 400:
        return ProviderRefused(text, reason="request", code=code, status=status)
    return ProviderGarbled(text, code=code, status=status, maybe=call.creating)


def _limit_or_request(
    call: Call, response: httpx2.Response, words: _Words, text: str
) -> ProviderError:
    """Tell apart a rate limit, a full queue, an empty account and a request that is wrong."""
    status = response.status_code
    code = words.code or words.type
    if {words.code, words.type} & ACCOUNT_CODES or _NO_CREDIT.search(words.message):
        return ProviderRefused(f"{text} {MEND}", reason="account", code=code, status=status)
    if words.code == "token_limit_exceeded" or (status == 429 and _QUEUE.search(words.message)):
        return ProviderRefused(text, reason="queue", code=code, status=status)
    if status == 429:
        after = retry_after(response.headers)
        return ProviderUnavailable(text, retry_after=after, code=code, status=status)
    return ProviderRefused(text, reason="request", code=code, status=status)


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds a provider asks for; a date is taken against the reply's own Date."""
    for name, unit in (("retry-after-ms", 1000.0), ("retry-after", 1.0)):
        seconds = _number(headers.get(name))
        if seconds is not None:
            return max(0.0, seconds / unit)
    until, now = http_date(headers.get("retry-after")), http_date(headers.get("date"))
    return max(0.0, (until - now).total_seconds()) if until and now else None


def http_date(value: str | None) -> datetime | None:
    """Read an HTTP date; None for nothing and for nonsense."""
    try:
        parsed = parsedate_to_datetime(value or "")
    except (ValueError, TypeError, OverflowError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


def moment(value: Any) -> datetime | None:
    """Read a provider's time, Unix seconds or ISO; None for nothing and for nonsense."""
    try:
        if isinstance(value, bool) or value in (None, ""):
            return None
        if isinstance(value, (int, float)):
            return datetime.fromtimestamp(value, UTC)
        parsed = datetime.fromisoformat(str(value))
    except (ValueError, OverflowError, OSError):
        return None
    return parsed.replace(tzinfo=UTC) if parsed.tzinfo is None else parsed.astimezone(UTC)


@dataclass(frozen=True, slots=True)
class _Words:
    """What an error body says, in either dialect."""

    type: str | None
    code: str | None
    message: str

    @classmethod
    def of(cls, response: httpx2.Response) -> _Words:
        try:
            body = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            return cls(None, None, _plain(response))
        error = (body.get("error") or body) if isinstance(body, dict) else {}
        if not isinstance(error, dict):
            return cls(None, None, str(error))
        details = error.get("details")
        code = details.get("error_code") if isinstance(details, dict) else error.get("code")
        message = error.get("message") or error.get("detail")
        return cls(_text(error.get("type")), _text(code), _said(message))


def _plain(response: httpx2.Response) -> str:
    """Return a body that is plain text; a web page says nothing to a reader."""
    kind = response.headers.get("content-type", "").lower()
    return response.text if kind.startswith("text/plain") else ""


def _said(message: Any) -> str:
    """Return an error's words: a text, or the list that many servers in Python send."""
    if isinstance(message, list):
        return "; ".join(_said(item) for item in message[:3])
    if isinstance(message, dict) and isinstance(message.get("msg"), str):
        where = message.get("loc")
        path = ".".join(map(str, where)) + ": " if isinstance(where, list) else ""
        return f"{path}{message['msg']}"
    return _text(message) or ""


def _sentence(call: Call, status: int, words: _Words) -> str:
    known = " ".join(word for word in dict.fromkeys((words.type, words.code)) if word)
    said = _clean(words.message, call.secret) or "no readable reason"
    stop = "" if said.endswith((".", "!", "?")) else "."
    return f"{call.name} answered HTTP {status}{' ' + known if known else ''}: {said}{stop}"


def _clean(text: str, secret: str) -> str:
    """Fold a foreign text to one short line without anything that looks like a key."""
    folded = " ".join(text.split())
    if secret:
        folded = folded.replace(secret, "[key]")
    folded = _KEY_LIKE.sub("[key]", folded)
    if len(secret) >= 12:  # some servers name a key by its first or last few characters
        head, tail = re.escape(secret[:8]), re.escape(secret[-4:])
        folded = re.sub(rf"{head}\S*|\b{tail}\b", "[key]", folded)
    return folded[:_WORDS]


def _unreachable(call: Call, cause: BaseException) -> ProviderUnavailable:
    said = _clean(str(cause), call.secret) or type(cause).__name__
    return ProviderUnavailable(
        f"{call.name} could not be asked ({type(cause).__name__}: {said}).",
        maybe=call.creating and not _never_arrived(cause),
    )


def _late(call: Call) -> ProviderUnavailable:
    return ProviderUnavailable(
        f"{call.name} was given {call.seconds:g} seconds and was not done.", maybe=call.creating
    )


def _never_arrived(cause: BaseException) -> bool:
    """Say whether a failure lies before the first byte of the request."""
    import httpx2

    before = (
        httpx2.ConnectError,
        httpx2.ConnectTimeout,
        httpx2.PoolTimeout,
        httpx2.ProxyError,
        httpx2.UnsupportedProtocol,
    )
    return isinstance(cause, before)


def _number(value: str | None) -> float | None:
    try:
        number = float(value or "")
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _text(value: Any) -> str | None:
    return None if value is None else str(value)
