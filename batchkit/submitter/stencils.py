"""Lines of one template that differ by prompt and custom id: written once, filled in for each.

The prompt is stored as the JSON text that the line needs, so that it is copied, not read.
"""

from __future__ import annotations

import orjson

from batchkit import requests
from batchkit.model import Json
from batchkit.providers import Provider
from batchkit.store.pages import Form

_ID = "stencil-custom-id"
_PROMPT = "stencil-prompt-7d1f0c"
_ODD = 'a "quoted" \\ line,\nél \u2028 stencil'

OWN = '{"prompt":'
"""How the own part of a job begins that is a prompt and nothing else."""

_QUOTES = 4
"""Around a name and a text; more of them are in the text, or around another name."""


class Stencil:
    """Head, middle and tail of a line, around the custom id and the prompt, both without quotes."""

    __slots__ = ("_head", "_middle", "_tail")

    def __init__(self, head: bytes, middle: bytes, tail: bytes) -> None:
        self._head = head
        self._middle = middle
        self._tail = tail

    def line(self, custom_id: str, prompt: bytes) -> bytes:
        """Return a line as ``Provider.encode`` writes it; ``prompt`` is its JSON."""
        return b"".join((self._head, custom_id.encode(), self._middle, prompt, self._tail))

    def form(self, before_seq: str) -> Form:
        """Return how the database writes such lines; custom ids are ``before_seq`` and a seq."""
        head = self._head.decode() + before_seq
        return Form(OWN, head, self._middle.decode(), self._tail.decode())


def stencil_of(provider: Provider, prepared: Json) -> Stencil | None:
    """Return the stencil of a template that is ``requests.prepared``; None where there is none.

    What it writes was compared with what the provider encodes.
    """
    if not provider.traits.plain_prompts or prepared.get("prompt") is not None:
        return None
    line = provider.encode(requests.assemble(prepared, {"prompt": _PROMPT}), _ID)
    head, found, rest = line.partition(_ID.encode())
    middle, there, tail = rest.partition(b'"' + _PROMPT.encode() + b'"')
    if not (found and there) or _ID.encode() in tail or _PROMPT.encode() in tail:
        return None
    made = Stencil(head, middle, tail)
    same = provider.encode(requests.assemble(prepared, {"prompt": _ODD}), "other-9")
    return made if made.line("other-9", orjson.dumps(_ODD)) == same else None


def prompt_in(own: str) -> bytes | None:
    """Return the prompt's JSON from a job's stored own part; None if there is more in it."""
    # Where a text ends and another name follows; a prompt that looks so is read the long way.
    if not own.startswith(OWN) or not own.endswith('"}'):
        return None
    if own.count('"') != _QUOTES and '","' in own:
        return None
    return own[len(OWN) : -1].encode()
