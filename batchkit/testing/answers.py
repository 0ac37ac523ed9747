"""What the FakeProvider answers to a line, and how its result lines are written and read."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import orjson

from batchkit.model import Citation, Errored, Json, NotRun, Outcome, Succeeded, Unreadable, Usage
from batchkit.schemas import AnswerSchema
from batchkit.testing.memory import Accepted

Answer: TypeAlias = Outcome | str | Mapping[str, Any] | Sequence[Any] | None
"""What an answering function may return: an outcome, a text, JSON data, or None for the default."""

_KINDS = {kind.__name__: kind for kind in (Succeeded, Errored, NotRun, Unreadable)}


class Answerer:
    """Answer lines: as the user's function says, else by the schema, else with the prompt."""

    def __init__(self, answer: Callable[[Json], Answer]) -> None:
        self._answer = answer
        self._schemas: dict[bytes, Callable[[Any], Any]] = {}

    def outcome(self, row: Json) -> Outcome:
        """Return how a request goes."""
        given = self._answer(row)
        if isinstance(given, Succeeded | Errored | NotRun | Unreadable):
            return replace(given, custom_id=row["custom_id"])
        if given is None:
            given = self._default(row)
        text = given if isinstance(given, str) else orjson.dumps(given).decode()
        usage = Usage(input_tokens=len(orjson.dumps(row)) // 4, output_tokens=len(text) // 4 + 1)
        return Succeeded(row["custom_id"], text, usage, row.get("model"), "stop")

    def _default(self, row: Json) -> Any:
        said = [str(m.get("content")) for m in row.get("messages") or ()]
        said += [str(d["text"]) for d in row.get("documents") or ()]
        text = "\n".join([*said, row.get("prompt") or ""])
        if row.get("schema") is None:
            return text
        return self._maker(row["schema"])(text)

    def _maker(self, schema: Json) -> Callable[[str], Any]:
        from batchkit.simulator.schema import compile_schema
        from batchkit.simulator.source import Source

        key = orjson.dumps(schema)
        if key not in self._schemas:
            known = AnswerSchema.from_dict(schema)
            self._schemas[key] = compile_schema(known.wire or known.original)
        made = self._schemas[key]
        return lambda text: made(Source(text))


def results(batch: Accepted, outcome: Callable[[Json], Outcome]) -> Iterator[bytes]:
    """Return an ended batch's result lines, with what its course does to them."""
    course = batch.course
    for number, line in enumerate(batch.lines):
        if number in course.missing or batch.reason == "failed":
            continue
        written = _result(line, batch, number, outcome)
        yield written[: len(written) // 2] if number in course.unreadable else written
        if number in course.duplicated:
            yield written
    for number in range(course.unknown):
        yield _written(NotRun(f"unknown-{number}", "expired"))


def _result(line: bytes, batch: Accepted, number: int, outcome: Callable[[Json], Outcome]) -> bytes:
    row = orjson.loads(line)
    if number < batch.ran:
        return _written(outcome(row))
    reason = "cancelled" if batch.reason == "cancelled" else "expired"
    return _written(NotRun(row["custom_id"], reason))


def _written(outcome: Outcome) -> bytes:
    return orjson.dumps({"kind": type(outcome).__name__, "outcome": outcome})


def read(line: bytes) -> Outcome:
    """Read one result line."""
    try:
        row = orjson.loads(line)
    except orjson.JSONDecodeError as error:
        return Unreadable(None, line.decode("utf-8", "replace").rstrip("\n"), f"no JSON: {error}")
    values = row["outcome"]
    if values.get("usage") is not None:
        values["usage"] = Usage(**values["usage"])
    if "citations" in values:
        values["citations"] = tuple(Citation(**one) for one in values["citations"])
    made: Outcome = _KINDS[row["kind"]](**values)
    return made
