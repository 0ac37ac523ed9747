"""Jobs that are a prompt and nothing else: what their template settles is worked out once."""

from __future__ import annotations

from collections.abc import Callable, Hashable

import orjson

from batchkit import pricing, requests
from batchkit.builder.templates import Template
from batchkit.making import maker
from batchkit.store import NewJob

Named = Callable[["str | None", bytes], str]
"""Gives a job its key: the user's own (None: derived from the content), and the content."""

_SLACK = 65_536
"""Bytes that a provider's ``check`` may count beyond what we count here."""

_made = maker(NewJob)
_MILLION = 1_000_000
_MOST = 1_000


class Mould:
    """Makes rows of one template out of prompts; every check that does not depend on the prompt
    was made when the template was."""

    def __init__(self, template: Template) -> None:
        self._template = template
        self._digest = requests.PromptDigest(template.data)
        self._lane_model = template.lane_model
        self._endpoint = template.provider.traits.endpoint
        shared = 2 * len(orjson.dumps(template.data, default=str))
        self._longest = template.provider.limits.request_bytes - shared - _SLACK
        self._rates = _rates(template)

    def row(self, prompt: str, key: str | None, named: Named) -> NewJob | None:
        """Return the row of a job; None, with nothing done, if the prompt wants a closer look."""
        try:
            written = orjson.dumps(prompt)
        except TypeError:  # half a character
            return None
        if len(written) > self._longest or not prompt.strip():
            return None
        template = self._template
        size = len(prompt) if prompt.isascii() else len(prompt.encode())
        tokens = template.tokens + size
        digest = self._digest.of(written)
        return _made(
            named(key, digest),
            template.provider.name,
            self._lane_model,
            self._endpoint,
            digest,
            template.data,
            template.digest,
            {"prompt": prompt},
            None,
            None,
            template.line + len(written),
            tokens,
            self._bound(tokens),
            0,
            None,
            f'{{"prompt":{written.decode()}}}',
        )

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
    """The moulds of one builder, by what a job asks beside its prompt."""

    def __init__(self) -> None:
        self._made: dict[Hashable, Mould] = {}
        self._looked_at: set[Hashable] = set()

    def find(self, asked: Hashable) -> Mould | None:
        """Return the mould of jobs that ask the same; None before ``learn``, or without one."""
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
