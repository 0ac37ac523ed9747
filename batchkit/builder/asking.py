"""Is what was asked a job at all? Shapes and types of arguments, before anything is looked up."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import fields as dataclass_fields
from dataclasses import replace
from difflib import get_close_matches
from typing import Any, get_origin

import orjson

from batchkit.builder.job import FilePath, Job
from batchkit.documents import ranges
from batchkit.errors import ValidationError
from batchkit.model import Json

DEFAULT_MAX_TOKENS = 2_000

_OUTPUT_NAMES = ("max_output_tokens", "max_completion_tokens", "max_tokens_to_sample")
_STRICT = orjson.OPT_PASSTHROUGH_DATETIME | orjson.OPT_PASSTHROUGH_DATACLASS
_DEFAULTABLE = (
    "model",
    "temperature",
    "max_tokens",
    "response_model",
    "enable_citations",
    "system",
    "provider",
    "price",
    "extra_body",
)
"""What ``set_default_params`` may set besides the provider's own parameters."""

_SPEAKERS = ("user", "system", "developer")
_OF_ONE_JOB = (
    "messages",
    "prompt",
    "file",
    "files",
    "pages",
    "split_pages",
    "key",
    "metadata",
)


class BadInput(ValidationError):
    """This one document or prompt cannot be asked about; the next one may be fine."""


def split_defaults(given: Mapping[str, Any]) -> tuple[Json, Json]:
    """Part defaults into a job's fields and the provider's parameters; refuse what is no default.

    Raises ValidationError for what belongs to a single job.
    """
    for name in given:
        if name in _OF_ONE_JOB:
            raise ValidationError(f"{name} belongs to one job: give it to add_job.")
    fields = {name: value for name, value in given.items() if name in _DEFAULTABLE}
    params = {name: value for name, value in given.items() if name not in _DEFAULTABLE}
    return fields, params


def with_defaults(job: Job, fields: Mapping[str, Any], params: Mapping[str, Any]) -> Job:
    """Fill what a job leaves open; one ``max_tokens`` under whatever name it came.

    ``temperature`` is a parameter like any other from here on.
    """
    wanted = {name: value for name, value in fields.items() if _is_open(getattr(job, name))}
    default = wanted.pop("temperature", None)
    mixed = {**params, "temperature": default, **job.params}
    if job.temperature is not None:
        mixed["temperature"] = job.temperature
    own = next((mixed[name] for name in _OUTPUT_NAMES if mixed.get(name) is not None), None)
    if own is not None:
        if job.max_tokens not in (None, own):
            raise ValidationError(f"max_tokens is given twice, {job.max_tokens} and {own}.")
        wanted["max_tokens"] = own
    kept = {n: v for n, v in mixed.items() if v is not None and n not in _OUTPUT_NAMES}
    return replace(job, **wanted, temperature=None, params=kept)


def _is_open(value: Any) -> bool:
    return value is None or value is False


def check_shape(job: Job) -> None:
    """Raise ValidationError if the arguments contradict each other or are of the wrong type."""
    _check_question(job)
    _check_texts(job)
    _check_numbers(job)
    _check_mappings(job)
    _check_pages(job)
    _check_split(job)
    if job.params.get("n") not in (None, 1) or (job.extra_body or {}).get("n") not in (None, 1):
        raise ValidationError("n: one job is one answer; add it n times instead.")


def check_citable(job: Job) -> None:
    """Raise ValidationError if citations are asked for and there is no document to cite."""
    if job.enable_citations and job.messages is None and not paths_of(job):
        raise ValidationError(
            "enable_citations: there is no document to cite. Give file= (or document blocks in "
            "messages), or leave enable_citations out."
        )


def _check_question(job: Job) -> None:
    has_files = job.file is not None or job.files is not None
    if job.messages is not None and job.prompt is not None:
        raise ValidationError("messages and prompt were both given: give one of the two.")
    if job.messages is not None and has_files:
        raise ValidationError(
            "messages and a file were both given: use prompt= with the file, or put the file into "
            "the messages."
        )
    if job.messages is None and job.prompt is None:
        if has_files:
            raise ValidationError("A file was given without a prompt: say what to do with prompt=.")
        raise ValidationError(
            f"Neither messages nor prompt was given: give one of the two.{_misspelt(job)}"
        )
    if job.file is not None and job.files is not None:
        raise ValidationError("file and files were both given: put all of them into files.")


def _check_pages(job: Job) -> None:
    if job.pages is None:
        return
    if len(paths_of(job)) != 1:
        raise ValidationError(
            f"pages={job.pages!r} needs one PDF to take pages from: give file=, or add a job for "
            "each file."
        )
    ranges.parsed(job.pages)


def _check_split(job: Job) -> None:
    size = job.split_pages
    if size is None:
        return
    if isinstance(size, bool) or not isinstance(size, int) or size < 1:
        raise ValidationError(
            f"split_pages must be a whole number of pages, 1 or more, not {size!r}."
        )
    if len(paths_of(job)) != 1:
        raise ValidationError(
            f"split_pages={size} needs one PDF to split: give file=, or add a job for each file."
        )


def _misspelt(job: Job) -> str:
    """Say which of the given names may have been meant for one of ours."""
    for name in job.params:
        near = get_close_matches(name, [one.name for one in dataclass_fields(Job)], n=1)
        if near:
            return f" {name} is no parameter: did you mean {near[0]}?"
    return ""


def _check_texts(job: Job) -> None:
    for name in ("prompt", "model", "system", "provider"):
        value = getattr(job, name)
        if value is not None and not isinstance(value, str):
            raise ValidationError(f"{name} must be text, not {type(value).__name__}.")
    if not job.model:
        raise ValidationError(
            "No model was named: give model= here or in set_default_params(model=…)."
        )
    for path in paths_of(job):
        if not isinstance(path, (str, os.PathLike)):
            raise ValidationError(f"A file must be a path, not {type(path).__name__}: {path!r:.60}")
    if job.messages is not None and not isinstance(job.messages, (list, tuple)):
        raise ValidationError(
            f"messages must be a list of mappings with role and content, not "
            f"{type(job.messages).__name__}."
        )
    for number, message in enumerate(job.messages or ()):
        if _is_empty(message):
            raise ValidationError(
                f"messages[{number}] of role {message['role']!r} has no content: give it some, or "
                "leave it out."
            )


def _is_empty(message: Any) -> bool:
    """Say whether a message that must have content has none; tool calls and the like may."""
    if not isinstance(message, Mapping) or message.get("role") not in _SPEAKERS:
        return False
    content = message.get("content")
    return not (content.strip() if isinstance(content, str) else content)


def _check_numbers(job: Job) -> None:
    most = job.max_tokens
    if most is not None and (isinstance(most, bool) or not isinstance(most, int) or most < 1):
        raise ValidationError(f"max_tokens must be a whole number above 0, not {most!r}.")
    warmth = job.params.get("temperature")
    if warmth is not None and (isinstance(warmth, bool) or not isinstance(warmth, (int, float))):
        raise ValidationError(f"temperature must be a number, not {warmth!r}.")


def _check_mappings(job: Job) -> None:
    for name in ("metadata", "extra_body", "price"):
        value = getattr(job, name)
        if value is not None and not isinstance(value, Mapping):
            raise ValidationError(f"{name} must be a mapping, not {type(value).__name__}.")
    if job.response_model is not None and not _is_model(job.response_model):
        raise ValidationError(
            f"response_model={job.response_model!r:.80} is not a model. Give a pydantic model "
            "class, for example: class Invoice(BaseModel): total: float"
        )


def _is_model(given: Any) -> bool:
    """Say whether answers could be of this type: a bare ``int`` or ``dict`` has no fields."""
    bare = isinstance(given, type) and get_origin(given) is None
    return not bare or given.__module__ != "builtins"


def paths_of(job: Job) -> list[FilePath]:
    """Return the files of a job, in order."""
    if job.file is not None:
        return [job.file]
    if isinstance(job.files, (str, os.PathLike)):
        return [job.files]
    return list(job.files or ())


def json_copy(name: str, value: Any) -> Any:
    """Return a copy as plain JSON data, safe from later changes; raise ValidationError."""
    try:
        return orjson.loads(orjson.dumps(value, option=_STRICT))
    except (TypeError, ValueError) as error:
        raise ValidationError(
            f"{name} must be JSON (texts, numbers, lists, mappings with text keys): {error}."
        ) from error
