"""Tells a listener on this machine of the ends of OpenAI's batches, as Standard Webhooks do."""

from __future__ import annotations

import base64
import hashlib
import hmac
import http.client
import ipaddress
import threading
from collections.abc import Iterator
from dataclasses import dataclass, replace
from urllib.parse import urlsplit

import orjson

from batchkit.simulator.clock import real_now
from batchkit.simulator.office import Office
from batchkit.simulator.plan import WebhookRule
from batchkit.simulator.storm import Storm

GIVES_UP = 72 * 3_600.0
"""How long, in simulated seconds, a delivery that fails is tried again."""

_STALE, _FIRST_RETRY, _TIMEOUT = 600.0, 60.0, 5.0
_HELD = 3_600.0
_STRANGERS = ("forged", "stale", "unknown")


@dataclass(frozen=True, slots=True)
class Delivery:
    """One POST: what it said, what befell it, and what was answered (0: nothing)."""

    at: float
    webhook_id: str
    type: str
    batch_id: str
    mishap: str = ""
    status: int = 0

    @property
    def accepted(self) -> bool:
        """Whether the listener took it."""
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class _Due:
    """A webhook on its way: `behind` waits for another to go first."""

    at: float
    made_at: float
    webhook_id: str
    type: str
    batch_id: str
    mishap: str = ""
    tries: int = 0
    behind: bool = False


class Webhooks:
    """Sends what is due when it is asked to; each event until it is taken, at least once."""

    def __init__(self, office: Office, storm: Storm) -> None:
        self.sent: list[Delivery] = []
        self._office, self._storm = office, storm
        self._url, self._secret = office.settings.webhook_url, office.settings.webhook_secret
        self._waiting: list[_Due] = []
        self._known: set[str] = set()
        self._lock = threading.Lock()
        if self._url and not is_loopback(self._url):
            raise ValueError(
                f"webhook_url {self._url!r} is not on this machine: the simulator sends to "
                "http://127.0.0.1, http://[::1] and http://localhost only"
            )

    def send(self, now: float) -> None:
        """Deliver what is due by `now`."""
        if not self._url:
            return
        with self._lock:
            self._waiting += self._new(now)
            while due := self._next(now):
                self._waiting.remove(due)
                self._deliver(due, now)

    def _new(self, now: float) -> Iterator[_Due]:
        """Yield the webhooks of the batches that have ended since."""
        for known in sorted(self._office.world.batches.values(), key=lambda b: b.number):
            if known.dialect != "openai" or known.announced or known.id in self._known:
                continue
            batch = self._office.look(known, now)
            if batch.ended_at is not None:
                self._known.add(batch.id)
                end = self._office.course(batch).end
                yield from self._with_mishap(
                    _Due(
                        batch.ended_at,
                        batch.ended_at,
                        f"evt_{batch.id[6:]}",
                        f"batch.{end}",
                        batch.id,
                    )
                )

    def _with_mishap(self, due: _Due) -> Iterator[_Due]:
        rule = self._storm.webhook(len(self._known), due.at)
        what = rule.what if rule is not None else ""
        if what in _STRANGERS:
            yield _stranger(due, what)
            what = ""
        if what == "lost":
            self._office.world.change(due.batch_id, announced=True)
            return
        yield replace(due, at=_delayed(due, rule), behind=what == "out-of-order", mishap=what)
        if what == "duplicate":
            yield replace(due, mishap="again")

    def _next(self, now: float) -> _Due | None:
        ready = [due for due in self._waiting if due.at <= now]
        free = [due for due in ready if not due.behind or now - due.made_at >= _HELD]
        return min(free, key=lambda due: due.at, default=None)

    def _deliver(self, due: _Due, now: float) -> None:
        status = self._post(due)
        self.sent.append(Delivery(now, due.webhook_id, due.type, due.batch_id, due.mishap, status))
        if self.sent[-1].accepted or due.mishap in _STRANGERS:
            self._taken(due)
        elif now - due.made_at < GIVES_UP:
            later = now + _FIRST_RETRY * 2**due.tries
            self._waiting.append(replace(due, at=later, tries=due.tries + 1))

    def _taken(self, due: _Due) -> None:
        if due.mishap not in _STRANGERS:
            self._office.world.change(due.batch_id, announced=True)
        self._waiting = [
            replace(one, behind=False) if one.batch_id != due.batch_id else one
            for one in self._waiting
        ]

    def _post(self, due: _Due) -> int:
        """Send one; return the status, 0 without an answer."""
        url = urlsplit(self._url)
        body = orjson.dumps(
            {
                "id": due.webhook_id,
                "object": "event",
                "type": due.type,
                "created_at": int(due.made_at),
                "data": {"id": due.batch_id},
            }
        )
        at = int(real_now() - (_STALE if due.mishap == "stale" else 0))
        secret = "whsec_Zm9yZ2Vk" if due.mishap == "forged" else self._secret
        headers = {"content-type": "application/json", **signed(secret, due.webhook_id, at, body)}
        link = http.client.HTTPConnection(url.hostname or "", url.port or 80, timeout=_TIMEOUT)
        try:
            link.request("POST", url.path or "/", body, headers)
            return link.getresponse().status
        except (OSError, http.client.HTTPException):
            return 0
        finally:
            link.close()


def signed(secret: str, webhook_id: str, at: int, body: bytes) -> dict[str, str]:
    """Return the headers that prove a webhook; `whsec_` is followed by base64, else raw."""
    known = secret.startswith("whsec_")
    key = base64.b64decode(secret[6:]) if known else secret.encode()
    mac = hmac.new(key, f"{webhook_id}.{at}.".encode() + body, hashlib.sha256).digest()
    return {
        "webhook-id": webhook_id,
        "webhook-timestamp": str(at),
        "webhook-signature": f"v1,{base64.b64encode(mac).decode()}",
    }


def is_loopback(url: str) -> bool:
    """Return whether a URL is plain HTTP to this machine."""
    parts = urlsplit(url)
    if parts.scheme != "http" or not parts.hostname:
        return False
    if parts.hostname == "localhost":
        return True
    try:
        return ipaddress.ip_address(parts.hostname).is_loopback
    except ValueError:
        return False


def _stranger(due: _Due, what: str) -> _Due:
    kind = {"forged": "batch.failed", "unknown": "batch.new_thing"}.get(what, due.type)
    return replace(due, webhook_id=f"{due.webhook_id}_{what}", type=kind, mishap=what)


def _delayed(due: _Due, rule: WebhookRule | None) -> float:
    return due.at + rule.seconds if rule is not None and rule.what == "late" else due.at
