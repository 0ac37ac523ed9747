"""Jobs that are a prompt and nothing else: what their template settles is worked out once."""

from __future__ import annotations

from collections.abc import Callable, Hashable
from datetime import date

import orjson

from batchkit import pricing, requests
from batchkit.builder.templates import Template
from batchkit.store import NewJob
from batchkit.store.sheets import Row

Named = Callable[["str | None", bytes], str]
"""Gives a job its key: the user's own (None: derived from the content), and the content."""

_SLACK = 65_536
"""Bytes that a provider's ``check`` may count beyond what we count here."""

_MILLION = 1_000_000
_MOST = 1_000


class Mould:
    """Makes rows of one template out of prompts; every check that does not depend on the prompt
    was made when the template was. ``pattern`` is what the rows share."""

    def __init__(self, template: Template) -> None:
        self._digest = requests.PromptDigest(template.data).of
        shared = 2 * len(orjson.dumps(template.data, default=str))
        self._longest = template.provider.limits.request_bytes - shared - _SLACK
        self._line = template.line
        self._tokens = template.tokens
        self._rates = _rates(template)
        self.pattern = NewJob(
            key="",
            provider=template.provider.name,
            model=template.lane_model,
            endpoint=template.provider.traits.endpoint,
            digest=b"",
            template=template.data,
            template_digest=template.digest,
            own={},
            documents=None,
            metadata=None,
            bytes=0,
            tokens=0,
            bound=None,
        )

    def row(self, prompt: str, key: str | None, named: Named) -> Row | None:
        """Return the row of a job; None, with nothing done, if the prompt wants a closer look."""
        try:
            written = orjson.dumps(prompt)
        except TypeError:  # half a character
            return None
        size = len(written)
        if size > self._longest or not prompt.strip():
            return None
        tokens = self._tokens + (len(prompt) if prompt.isascii() else len(prompt.encode()))
        digest = self._digest(written)
        own = f'{{"prompt":{written.decode()}}}'
        return named(key, digest), digest, own, self._line + size, tokens, self._bound(tokens)

    def _bound(self, tokens: int) -> int | None:
        if self._rates is None:
            return None
        above, (low, low_output), (high, high_output) = self._rates
        if above is None or tokens <= above:
            return -(-(tokens * low + low_output) // _MILLION)
        return -(-(tokens * high + high_output) // _MILLION)


_Rate = tuple[int, int]
"""Nano-dollars per million input tokens, and all that the output may cost times a million."""


def _rates(template: Template) -> tuple[int | None, _Rate, _Rate] | None:
    """Return where long contexts begin, and the rates below and above; None without a bound."""
    price = template.price
    if price is None or template.unbounded:
        return None
    above, most = price.long_context_above, int(template.data["max_tokens"])
    found = []
    for tokens in (0, (above or 0) + 1):
        dearest = pricing.bound_price(price, tokens, caching=template.caching)
        found.append((dearest.input, most * dearest.output))
    return above, found[0], found[1]


class Moulds:
    """The moulds of one builder, by what a job asks beside its prompt.

    Each holds for one day, since prices change, and with or without a cost limit.
    """

    def __init__(self) -> None:
        self._made: dict[Hashable, Mould] = {}
        self._looked_at: set[Hashable] = set()
        self._day: date | None = None
        self._limited = False

    def find(self, asked: Hashable, day: date, limited: bool) -> Mould | None:
        """Return the mould of jobs that ask the same; None before ``learn``, or without one."""
        if day != self._day or limited is not self._limited:
            self.forget()
            self._day, self._limited = day, limited
        try:
            return self._made.get(asked)
        except TypeError:  # a response model that cannot be hashed
            return None

    def learn(self, asked: Hashable, make: Callable[[], Mould | None]) -> None:
        """Make the mould of a job that has just passed every check."""
        try:
            if asked in self._looked_at:
                return
        except TypeError:
            return
        if len(self._looked_at) >= _MOST:
            self.forget()
        self._looked_at.add(asked)
        made = make()
        if made is not None:
            self._made[asked] = made

    def forget(self) -> None:
        """Start anew: the defaults are others now."""
        self._made.clear()
        self._looked_at.clear()
