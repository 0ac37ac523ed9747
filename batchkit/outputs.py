"""Text into typed data, and an outcome into a verdict: done, failed, or again and how. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeGuard

import orjson
from pydantic import BaseModel, TypeAdapter, ValidationError
from pydantic_core import SchemaValidator

from batchkit.model import Code, Errored, Json, NotRun, Outcome, Succeeded, Unreadable
from batchkit.schemas import Repeated, is_verbatim, json_span, repeated_key, restore

MOST_RAISES = 2
"""How often ``max_tokens`` is raised for an answer that was cut off."""

MOST_UNRUN = 5
"""How often a request goes again that the provider never started; each time costs nothing."""

LOST = "lost_uploads"
"""Among a job's changes: how many uploads of its documents were lost."""

_LONGEST_NOTE = 1_500
_FENCE = re.compile(r"^\s*```[a-zA-Z]*\s*\n(.*?)\n?\s*```\s*$", re.DOTALL)

_ERRORED = {
    "invalid": Code.INVALID_REQUEST,
    "file": Code.INVALID_REQUEST,
    "content_filter": Code.CONTENT_FILTER,
    "overloaded": Code.OVERLOADED,
    "rate_limited": Code.RATE_LIMITED,
    "server_error": Code.SERVER_ERROR,
    "account": Code.SERVER_ERROR,
}
_UNFINISHED = ("pause", "in_progress", "queued", "steered", "max_messages", "cancelled", "failed")
"""Words for an answer that is none yet; a word nobody knows counts as an end, as servers vary."""

_NEVER_AGAIN = ("invalid", "content_filter", "file")


@dataclass(frozen=True, slots=True)
class Rules:
    """How far retries may go, for one job.

    ``most_attempts`` counts attempts that ran; ``most_output`` is the model's own limit of output
    tokens, None where it is unknown.
    """

    most_attempts: int = 3
    most_output: int | None = None


@dataclass(frozen=True, slots=True)
class Verdict:
    """What becomes of a job: ``completed``, ``failed`` or ``again``.

    ``changes`` are for the next attempt and carry the counts so far: ``ran``, ``raised``,
    ``unrun``. ``ran`` says whether this attempt counts.
    """

    state: str
    code: str | None = None
    error: str | None = None
    changes: Json = field(default_factory=dict)
    ran: bool = True


def parse_answer(text: str, schema: Mapping[str, Any]) -> Any:
    """Turn an answer's text into plain data in the form of the original schema.

    ``schema`` is a stored ``AnswerSchema``. Where the provider did not enforce it, words around
    the JSON are passed over. Raises ValueError with a readable reason.
    """
    if schema.get("mode") == "plain":
        text = _json_among(text)
    else:
        fenced = _FENCE.match(text)
        text = fenced.group(1) if fenced else text
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError as error:
        raise ValueError(f"the answer is not JSON: {error}") from error
    return restore(value, schema)


def _json_among(text: str) -> str:
    """Return the JSON of an answer that no strict mode kept to its form."""
    span = json_span(text)
    if span is None:
        return text
    found = text[span[0] : span[1]]
    if (key := repeated_key(found)) is not None:
        raise ValueError(_twice("", key))
    return found


def _twice(place: str, key: str) -> str:
    where = f"{place}: " if place else ""
    return f"{where}the key {key!r} is there twice, with two values; give it once"


def misfit(text: str, schema: Mapping[str, Any], answer_type: Any = None) -> str | None:
    """Say why an answer does not fit; None if it does.

    Judged by ``answer_type`` where the program has it, else by the stored JSON Schema. Whatever a
    user's validator raises is a misfit, too.
    """
    if as_it_is(schema, answer_type)(text) is not None:
        return None
    try:
        value = parse_answer(text, schema)
    except ValueError as error:
        return str(error)
    if answer_type is None:
        from batchkit.schemas import check  # loads jsonschema

        problems = check(value, schema["original"])
        return (_repeated(value, ()) or "; ".join(problems[:5])) if problems else None
    try:
        typed(value, answer_type)
    except ValidationError as error:
        return _repeated(value, ()) or _told(error)
    except Exception as error:  # noqa: BLE001 -- a user's own validator may raise anything
        return f"{type(error).__name__}: {error}"
    return None


def _repeated(value: Any, path: tuple[str, ...]) -> str | None:
    """Say where a dict was said with one key twice: a judge would only say that it is a list."""
    if isinstance(value, Repeated):
        return _twice(".".join(path), value.key)
    parts: Iterable[tuple[Any, Any]] = ()
    if isinstance(value, dict):
        parts = value.items()
    elif isinstance(value, list):
        parts = enumerate(value)
    return next(
        (said for name, part in parts if (said := _repeated(part, (*path, str(name))))), None
    )


def ready(schema: Json | None) -> Json | None:
    """Return a stored ``AnswerSchema`` for many answers: ``verbatim`` if all are read as they are.

    Worked out once a template, not once an answer.
    """
    return None if schema is None else {**schema, "verbatim": is_verbatim(schema)}


def as_it_is(schema: Mapping[str, Any] | None, answer_type: Any) -> Callable[[str], Any]:
    """Return what reads answers of a ``ready`` schema with the user's class, many of them.

    It gives None for what wants a closer look: the long way makes the same of an answer, and says
    what is wrong where something is.
    """
    if answer_type is None or schema is None or not schema.get("verbatim"):
        return _nothing
    read = _json_reader(answer_type)

    def reads(text: str) -> Any:
        try:
            if "NaN" in text or "Infinity" in text:
                orjson.loads(text)  # as numbers they are no JSON, though pydantic reads them
            return read(text)
        except Exception:  # noqa: BLE001 -- a user's own validator may raise anything
            return None

    return reads


def _nothing(_text: str) -> None:
    return None


def _json_reader(answer_type: Any) -> Callable[[str], Any]:
    """Return a class's ``model_validate_json``, or what that calls where it is pydantic's own."""
    read: Callable[[str], Any] = answer_type.model_validate_json
    validator = getattr(answer_type, "__pydantic_validator__", None)
    is_own = getattr(read, "__func__", None) is not BaseModel.model_validate_json.__func__  # type: ignore[attr-defined]
    if is_own or not isinstance(validator, SchemaValidator):  # not yet built, or watched by plugins
        return read
    return validator.validate_json


def is_plain(outcome: Outcome) -> TypeGuard[Succeeded]:
    """Say whether an outcome is a text that came to its end and nothing else, at a known usage.

    If it fits its schema, its verdict is ``completed``.
    """
    return (
        type(outcome) is Succeeded
        and outcome.finish == "stop"
        and bool(outcome.text)
        and outcome.billed
        and outcome.usage is not None
        and not (outcome.citations or outcome.refusal)
    )


def typed(value: Any, answer_type: Any) -> Any:
    """Make plain data an instance of the user's type; raises what the user's type raises."""
    validate_json = getattr(answer_type, "model_validate_json", None)
    written = orjson.dumps(value)
    if validate_json is not None:
        return validate_json(written)
    return TypeAdapter(answer_type).validate_json(written)


def judge(
    outcome: Outcome,
    template: Mapping[str, Any],
    so_far: Mapping[str, Any],
    rules: Rules,
    answer_type: Any = None,
) -> Verdict:
    """Decide what becomes of a job. ``so_far`` are the changes that this attempt was sent with."""
    match outcome:
        case Succeeded():
            return _answered(outcome, template, so_far, rules, answer_type)
        case Errored():
            return _errored(outcome, so_far, rules)
        case NotRun():
            return not_run(outcome.reason, so_far)
        case Unreadable():
            return Verdict("failed", Code.UNREADABLE, outcome.problem)


def file_lost(said: str, so_far: Mapping[str, Any]) -> Verdict:
    """Decide about a request that named an upload the provider has no more: free, so again."""
    changes = {**_kept(so_far), LOST: int(so_far.get(LOST, 0)) + 1}
    why = f"its document was uploaded for many, and gone at the provider: {said}"
    return Verdict("again", Code.NOT_RUN, why, changes, ran=False)


def not_run(reason: str, so_far: Mapping[str, Any]) -> Verdict:
    """Decide about a request that never started: free, so again as it is, within reason."""
    unrun = int(so_far.get("unrun", 0)) + 1
    code = Code.EXPIRED if reason == "expired" else Code.NOT_RUN
    said = f"the provider never started it ({reason})"
    if unrun >= MOST_UNRUN:
        return Verdict("failed", code, f"{said}, {unrun} times", ran=False)
    return Verdict("again", code, said, {**_kept(so_far), "unrun": unrun}, ran=False)


def _answered(
    outcome: Succeeded,
    template: Mapping[str, Any],
    so_far: Mapping[str, Any],
    rules: Rules,
    answer_type: Any,
) -> Verdict:
    if outcome.finish == "refusal" or outcome.refusal:
        return Verdict("failed", Code.REFUSED, outcome.refusal or "the model declined to answer")
    if outcome.finish == "content_filter":
        return Verdict("failed", Code.CONTENT_FILTER, "the provider's filter stopped the answer")
    if outcome.finish == "length":
        return _truncated(template, so_far, rules)
    if outcome.finish in _UNFINISHED:
        said = f"the provider stopped before the end ({outcome.finish})"
        return _again(Code.TRUNCATED, said, so_far, rules, {})
    if not outcome.text:
        return _again(Code.EMPTY_OUTPUT, "the answer is empty", so_far, rules, {})
    schema = template.get("schema")
    wrong = misfit(outcome.text, schema, answer_type) if schema else None
    if wrong is None:
        return Verdict("completed")
    return _again(Code.INVALID_OUTPUT, wrong, so_far, rules, {"note": _note(wrong)})


def _truncated(template: Mapping[str, Any], so_far: Mapping[str, Any], rules: Rules) -> Verdict:
    allowed = int(so_far.get("max_tokens") or template["max_tokens"])
    larger = allowed * 2 if rules.most_output is None else min(allowed * 2, rules.most_output)
    raised = int(so_far.get("raised", 0))
    said = f"the answer was cut off at max_tokens={allowed:,}"
    if raised >= MOST_RAISES or larger <= allowed:
        return Verdict("failed", Code.TRUNCATED, said)
    more = {"max_tokens": larger, "raised": raised + 1}
    return _again(Code.TRUNCATED, said, so_far, rules, more)


def _errored(outcome: Errored, so_far: Mapping[str, Any], rules: Rules) -> Verdict:
    code = _ERRORED.get(outcome.kind, Code.SERVER_ERROR)
    said = f"{outcome.code}: {outcome.message}" if outcome.code else outcome.message
    if outcome.kind in _NEVER_AGAIN:
        return Verdict("failed", code, said)
    return _again(code, said, so_far, rules, {})


def _again(
    code: Code, said: str, so_far: Mapping[str, Any], rules: Rules, more: Mapping[str, Any]
) -> Verdict:
    ran = int(so_far.get("ran", 0)) + 1
    if ran >= rules.most_attempts:
        return Verdict("failed", code, said)
    return Verdict("again", code, said, {**_kept(so_far), "ran": ran, **more})


def _kept(so_far: Mapping[str, Any]) -> Json:
    """What one attempt tells the next: a larger max_tokens stays, an old note does not."""
    return {name: value for name, value in so_far.items() if name not in ("note", "fresh")}


def _note(wrong: str) -> str:
    return (
        "Your previous answer was not accepted. "
        f"What was wrong: {wrong[:_LONGEST_NOTE]}. Answer again, in the form that was asked for."
    )


def _told(error: ValidationError) -> str:
    problems = error.errors(include_url=False, include_context=False, include_input=False)
    return "; ".join(
        f"{'.'.join(map(str, problem['loc'])) or 'answer'}: {problem['msg']}"
        for problem in problems[:5]
    )
