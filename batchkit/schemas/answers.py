"""The schema of one kind of answer, as it is sent and as it is judged."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

import orjson

from batchkit.schemas.dialects import RULES, Dialect, Node, UnsayableError
from batchkit.schemas.limits import fitted
from batchkit.schemas.sources import source_schema
from batchkit.schemas.wire import bare, marked_schema

_INSTRUCTION: Final = (
    "Answer with one JSON value that fits the following JSON Schema, and with nothing else: "
    "no words around it, no code fence.\n"
)
_CITED: Final = (
    "Cite the documents inside of that JSON: each value that you take from a document is supported "
    "by a citation of its own, of the passage in which that value is written.\n"
)


@dataclass(frozen=True, slots=True)
class AnswerSchema:
    """What is sent to ask for an answer, and what is kept to read it.

    ``original`` judges answers where the class cannot be imported; ``wire`` is what the strict
    mode is sent, and empty in mode ``plain``; ``marked`` is ``wire`` with the notes that
    ``restore`` follows; ``instruction`` belongs at the end of the system prompt in mode
    ``plain``, and ``reason`` says why it came to that.
    """

    name: str
    original: Node
    wire: Node
    marked: Node
    mode: Literal["strict", "plain"]
    instruction: str | None
    reason: str | None
    fingerprint: str

    def to_dict(self) -> dict[str, Any]:
        """Return all of it but ``wire``, which follows from ``marked``, as JSON data."""
        return {
            "name": self.name,
            "original": self.original,
            "marked": self.marked,
            "mode": self.mode,
            "instruction": self.instruction,
            "reason": self.reason,
            "fingerprint": self.fingerprint,
        }

    @classmethod
    def from_dict(cls, stored: Mapping[str, Any]) -> AnswerSchema:
        """Return what ``to_dict`` stored."""
        return cls(**{**stored, "wire": bare(stored["marked"])})


def answer_schema(
    model: Any, dialect: Dialect, *, plain: bool = False, cited: bool = False
) -> AnswerSchema:
    """Say `model` (a pydantic model, or any type pydantic validates) in a dialect's strict mode.

    Where the strict mode has no words for it, and where `plain` or `cited` ask for it, the mode is
    ``plain``: Anthropic refuses strict answers with citations, so that the schema goes into the
    prompt and the JSON comes in text that cites. Takes milliseconds: callers keep the result.
    Raises ``ValidationError`` that names the field when no answer could ever fit.
    """
    original = source_schema(model)
    marked: Node = {}
    plain = plain or cited
    reason = "citations" if cited else "asked for" if plain else None
    try:
        found = fitted(marked_schema(original, RULES[dialect]), RULES[dialect])
    except UnsayableError as error:
        reason = reason or str(error)
    else:
        marked = {} if plain else found
    return AnswerSchema(
        name=_name(model, original),
        original=original,
        wire=bare(marked),
        marked=marked,
        mode="strict" if marked else "plain",
        instruction=None if marked else _instruction(original, cited=cited),
        reason=reason,
        fingerprint=_digest(original),
    )


def fingerprint(model: Any) -> str:
    """Return the hex SHA-256 of the model's own schema: another one is another question."""
    return _digest(source_schema(model))


def _instruction(original: Node, *, cited: bool) -> str:
    asked = _INSTRUCTION + (_CITED if cited else "")
    return asked + orjson.dumps(original).decode()


def _digest(original: Node) -> str:
    return hashlib.sha256(orjson.dumps(original, option=orjson.OPT_SORT_KEYS)).hexdigest()


def _name(model: Any, original: Node) -> str:
    given = model.__name__ if isinstance(model, type) else original.get("title", "answer")
    return re.sub(r"[^A-Za-z0-9_-]+", "_", given).strip("_")[:64] or "answer"
