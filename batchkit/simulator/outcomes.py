"""What happens to one request: by default it is answered, otherwise by a marker or a rule.

A marker stands anywhere in the prompt: `[[sim:refuse]]`, `[[sim:500]]`, `[[sim:reasoning=40]]`.
With `*n` it holds for the first n executions of that prompt only: `[[sim:500*1]]` fails once.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, field

from batchkit.simulator.wire import Json

_MARKER = re.compile(r"\[\[sim:([a-z0-9-]+)(?:=([^\]*]*))?(?:\*(\d+))?\]\]")

MARKERS: dict[str, str] = {
    "refuse": "OpenAI `refusal`; Anthropic `stop_reason: refusal` with details, not billed",
    "refuse-late": "Anthropic: refusal after some output, no `stop_details`, billed",
    "truncate": "the answer is cut in half and says it was the token limit",
    "window": "Anthropic: cut, `model_context_window_exceeded`; OpenAI: as `truncate`",
    "filter": "OpenAI: content filter; Anthropic: as `refuse`",
    "pause": "Anthropic: `pause_turn`; OpenAI: `in_progress`",
    "failed": "OpenAI Responses: a 200 whose body has `status: failed`; elsewhere as `500`",
    "400": "an error of that status; also 401 to 404, 408, 409, 413, 422, 429, 500 to 504, 529",
    "empty": "a 200 with an empty answer: OpenAI an empty body, Anthropic no content",
    "blank": "an answer that is the empty string",
    "badjson": "an answer that is not JSON",
    "wrongtype": "JSON in which the first field has a type the schema forbids",
    "missingfield": "JSON that lacks its first field",
    "wrongcase": "enum values in the other case",
    "extra": "an unknown field in the answer's JSON and in the message",
    "miscite": "Anthropic: citations of a structured answer point to where its values are not",
    "unknown-block": "an unknown content block or output item before the answer",
    "unknown-type": "Anthropic: an unknown `result.type`; OpenAI: an unknown `status`",
    "separators": "raw U+2028, U+2029 and U+0085 in the answer",
    "expire": "the request never runs: the batch lasts until its window closes",
    "missing": "no line in the results at all",
    "duplicate": "its result line stands twice",
    "stranger": "a second line with an unknown custom_id follows its own",
    "garbled": "its line is cut in the middle: no JSON",
    "utf8": "its line holds a byte that is not UTF-8",
    "blankline": "an empty line follows its line",
    "crlf": "its line ends in CRLF",
    "reasoning": "`=n`: so many reasoning tokens",
    "cached": "`=n`: so many input tokens were read from the cache",
    "output": "`=n`: so many output tokens are billed",
    "say": "`=text`: the answer is this text",
}

_STATUSES = frozenset({400, 401, 402, 403, 404, 408, 409, 413, 422, 429, 500, 502, 503, 504, 529})
_LINE_FAULTS = frozenset(
    {"missing", "duplicate", "stranger", "garbled", "utf8", "blankline", "crlf", "unknown-type"}
)
_NUMBERS = ("reasoning", "cached", "output")


@dataclass(frozen=True, slots=True)
class Outcome:
    """How one request ends.

    `traits` are names of `MARKERS`; `status` other than 200 is an error of that status;
    `answer` replaces the text (or, as a dict or list, the JSON) that the simulator would give.
    """

    traits: frozenset[str] = frozenset()
    status: int = 200
    answer: str | Json | list[object] | None = None
    message: str | None = None
    reasoning: int | None = None
    cached: int | None = None
    output: int | None = None

    def __contains__(self, trait: str) -> bool:
        return trait in self.traits

    @property
    def line_faults(self) -> frozenset[str]:
        """The traits that spoil the result line rather than the answer."""
        return self.traits & _LINE_FAULTS


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as a rule sees it; `custom_id` is empty in real time, `nth` counts from 1."""

    dialect: str
    custom_id: str
    model: str
    body: Json = field(repr=False)
    text: str = field(repr=False)
    nth: int = 1


Rule = Callable[[Asked], Outcome | None]
"""Decides about a request; None leaves it to the markers."""

ANSWERED = Outcome()


def outcome_of(name: str, value: str | None = None) -> Outcome:
    """Return the outcome a marker stands for; an unknown name raises `ValueError`."""
    if name in _NUMBERS:
        return Outcome(**{name: int(value or 0)})  # type: ignore[arg-type]
    if name == "say":
        return Outcome(answer=value or "")
    if name.isdigit() and int(name) in _STATUSES:
        return Outcome(status=int(name))
    if name not in MARKERS:
        raise ValueError(f"no marker [[sim:{name}]]; there are: {', '.join(MARKERS)}")
    return Outcome(traits=frozenset({name}))


def marked(text: str, nth: int) -> Outcome:
    """Return what the markers in `text` ask of its `nth` execution together."""
    if "[[sim:" not in text:
        return ANSWERED
    whole = ANSWERED
    for name, value, times in _MARKER.findall(text):
        if not times or nth <= int(times):
            whole = _both(whole, _lenient(name, value))
    return whole


def counted(text: str) -> bool:
    """Return whether `text` holds a marker that looks at how often it was executed."""
    return "[[sim:" in text and any(times for _, _, times in _MARKER.findall(text))


def _lenient(name: str, value: str) -> Outcome:
    try:
        return outcome_of(name, value)
    except ValueError:
        return ANSWERED


def _both(one: Outcome, two: Outcome) -> Outcome:
    return Outcome(
        traits=one.traits | two.traits,
        status=two.status if two.status != 200 else one.status,
        answer=two.answer if two.answer is not None else one.answer,
        message=two.message or one.message,
        reasoning=two.reasoning if two.reasoning is not None else one.reasoning,
        cached=two.cached if two.cached is not None else one.cached,
        output=two.output if two.output is not None else one.output,
    )
