"""The model's side of an answer: its text, what it costs, and how it may go wrong."""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, MutableMapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from batchkit.simulator.caching import Cache, Shelf
from batchkit.simulator.outcomes import ANSWERED, Asked, Outcome, Rule, counted, marked, outcome_of
from batchkit.simulator.prompt import Fetch, Prompt, output_tokens
from batchkit.simulator.schema import compile_schema
from batchkit.simulator.settings import Settings
from batchkit.simulator.source import Source
from batchkit.simulator.strict import refused_by_anthropic, refused_by_openai
from batchkit.simulator.wire import Json

_KNOWN_MODELS = (
    "gpt-",
    "o1",
    "o3",
    "o4",
    "chatgpt-",
    "text-embedding-",
    "omni-moderation",
    "claude-",
    "ft:",
)
_SCHEMAS_KEPT = 512
_TOLD = "JSON Schema"


@dataclass(frozen=True, slots=True)
class Schema:
    """A compiled schema, with what each provider's strict mode has against it."""

    make: Callable[[Source], Any]
    openai_refusal: str | None
    anthropic_refusal: str | None


@dataclass(slots=True)
class Written:
    """An answer's text with its tokens; `whole` is False if the token limit cut it."""

    text: str
    tokens: int
    reasoning: int
    whole: bool


@dataclass(slots=True)
class Answer:
    """How one request ended: `status` and `body` as in real time, and what it cost.

    `stuck` means it never runs; `faults` are the spoils of its result line.
    """

    status: int
    body: Json | None
    billed: bool = False
    input_tokens: int = 0
    cached_tokens: int = 0
    output_tokens: int = 0
    reasoning_tokens: int = 0
    stuck: bool = False
    faults: frozenset[str] = frozenset()
    cache_write_tokens: int = 0


@dataclass(slots=True)
class Desk:
    """What answering needs to know besides the request.

    `cache` knows the prompt prefixes that were written to it; `counts` how often a prompt
    with a counting marker was executed before. `mishap` is what the fault plan has for the
    request at hand, `struck` what came of it.
    """

    settings: Settings
    fetch: Fetch
    rule: Rule | None = None
    schemas: dict[bytes, Schema] = field(default_factory=dict)
    cache: Cache = field(default_factory=Shelf)
    counts: MutableMapping[str, int] = field(default_factory=dict)
    now: float = 0.0
    batched: bool = False
    mishaps: Callable[[int], str] | None = None
    mishap: str = ""
    struck: str = ""

    def turn(self, index: int, now: float) -> None:
        """Come to the request at `index` of a batch, and to what the fault plan does to it."""
        self.now, self.struck = now, ""
        self.mishap = self.mishaps(index) if self.mishaps is not None else ""

    def knows(self, model: object) -> bool:
        """Return whether there is such a model."""
        return isinstance(model, str) and (
            self.settings.any_model or model.startswith(_KNOWN_MODELS)
        )

    def schema(self, schema: Json) -> Schema:
        """Compile `schema`, or take it from the last ones seen."""
        key = orjson.dumps(schema)
        found = self.schemas.get(key)
        if found is None:
            if len(self.schemas) >= _SCHEMAS_KEPT:
                self.schemas.clear()
            found = Schema(
                compile_schema(schema), refused_by_openai(schema), refused_by_anthropic(schema)
            )
            self.schemas[key] = found
        return found

    def told(self, prompt: Prompt) -> Schema | None:
        """Return the JSON Schema that the system's words ask for, as a model that reads would."""
        for text in prompt.framing:
            _, told, rest = text.rpartition(_TOLD)
            if told and "{" in rest:
                with contextlib.suppress(ValueError):
                    schema, _ = json.JSONDecoder().raw_decode(rest, rest.index("{"))
                    return self.schema(schema)
        return None

    def outcome(self, prompt: Prompt, body: Json, custom_id: str) -> Outcome:
        """Return how this execution is to end, and count it where a marker counts."""
        text = prompt.source.text
        if prompt.framing:
            text = "\n".join([text, *prompt.framing])
        nth = self._count(text) if counted(text) else 1
        decided = None
        if self.rule is not None:
            asked = Asked(prompt.dialect, custom_id, str(body.get("model")), body, text, nth)
            decided = self.rule(asked)
        outcome = marked(text, nth) if decided is None else decided
        if not self.mishap or outcome != ANSWERED:
            return outcome
        self.struck = self.mishap
        return outcome_of(self.mishap)

    def _count(self, text: str) -> int:
        key = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).hexdigest()
        self.counts[key] = self.counts.get(key, 0) + 1
        return self.counts[key]

    def write(
        self, prompt: Prompt, schema: Schema | None, outcome: Outcome, limit: int | None
    ) -> Written:
        """Write the answer, cut where `limit` output tokens end."""
        source = prompt.source
        source.wrong_case = "wrongcase" in outcome
        text = _spoilt(_text(source, schema, outcome), outcome)
        reasoning = (
            outcome.reasoning if outcome.reasoning is not None else self.settings.reasoning_tokens
        )
        return cut(text, reasoning, outcome, limit)


def cut(text: str, reasoning: int, outcome: Outcome, limit: int | None) -> Written:
    """Return `text` as far as it goes under `limit` tokens, reasoning included."""
    tokens = output_tokens(text)
    whole = not outcome.traits & {"truncate", "window"}
    if not whole:
        text = text[: len(text) // 2]
        tokens = output_tokens(text)
    if limit is not None and tokens + reasoning > limit:
        reasoning = min(reasoning, limit)
        text = text.encode("utf-8", "surrogatepass")[: 4 * (limit - reasoning)].decode(
            "utf-8", "ignore"
        )
        tokens, whole = output_tokens(text), False
    total = outcome.output if outcome.output is not None else tokens + reasoning
    return Written(text, total if limit is None else min(total, limit), reasoning, whole)


def _text(source: Source, schema: Schema | None, outcome: Outcome) -> str:
    if isinstance(outcome.answer, str):
        return outcome.answer
    if outcome.answer is None and schema is None:
        return free_text(source)
    value = (
        outcome.answer if outcome.answer is not None else schema.make(source) if schema else None
    )
    return orjson.dumps(_bent(value, outcome)).decode()


def free_text(source: Source) -> str:
    """Answer without a schema: quote the document and name its tag."""
    quote = " ".join(" ".join(source.sentences[:2]).split()[:40])
    return f'The document says: "{quote}" (ref {source.tag})'


def _bent(value: Any, outcome: Outcome) -> Any:
    if not isinstance(value, dict) or not outcome.traits:
        return value
    first = next(iter(value), None)
    if "wrongtype" in outcome and first is not None:
        value = {**value, first: {"unexpected": True}}
    if "missingfield" in outcome:
        value = {key: item for key, item in value.items() if key != first}
    return {**value, "unasked": "extra"} if "extra" in outcome else value


def _spoilt(text: str, outcome: Outcome) -> str:
    if not outcome.traits:
        return text
    if "blank" in outcome:
        return ""
    if "badjson" in outcome:
        return "Here you are: {" + text
    if "separators" in outcome:
        return _separated(text)
    return text


def _separated(text: str) -> str:
    """Put U+2028, U+2029 and U+0085 after the first letter of the first word of the values."""
    at = text.find(": ") + 3 if ": " in text else text.find('":"') + 4
    return text[:at] + "\u2028\u2029\u0085" + text[at:]
