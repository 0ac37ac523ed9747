"""One question to several models: a job for each of them, side by side under ``<key>@<model>``."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, TypeAlias

import orjson

from batchkit.builder import keys
from batchkit.builder.asking import paths_of, split_defaults
from batchkit.builder.job import Job
from batchkit.errors import ValidationError
from batchkit.model import Json

Models: TypeAlias = Sequence[str | Mapping[str, Any]]
"""Names, or mappings with ``model`` and what holds for that one alone: price, max_tokens, …"""


def checked(models: Any) -> list[Json]:
    """Return what each model is asked with; raise ValidationError for what is no list of models."""
    if isinstance(models, str | Mapping) or not isinstance(models, Sequence) or not models:
        raise ValidationError(
            f'models must be a list such as ["gpt-5-mini", "claude-haiku-5-5"], not {models!r:.60}.'
        )
    found = [_entry(one) for one in models]
    names = [one["model"] for one in found]
    for name in names:
        if names.count(name) > 1:
            raise ValidationError(
                f"models names {name!r} twice: its two jobs would have one key. Add the second as "
                "a job of its own, with a key of its own."
            )
    return found


def _entry(given: Any) -> Json:
    entry = {"model": given} if isinstance(given, str) else given
    if not isinstance(entry, Mapping) or not isinstance(entry.get("model"), str):
        raise ValidationError(
            "models holds names, or mappings such as "
            f'{{"model": "gpt-5-mini", "max_tokens": 900}}, not {given!r:.60}.'
        )
    split_defaults(entry)  # refuses what belongs to a single job
    return dict(entry)


def fanned(job: Job, models: Sequence[Json]) -> list[Job]:
    """Return a job for each model; what a model's entry says wins over what the job says."""
    if job.model is not None:
        raise ValidationError("model and models were both given: give one of the two.")
    return [_of(job, entry) for entry in models]


def _of(job: Job, entry: Json) -> Job:
    fields, params = split_defaults(entry)
    made = replace(job, **fields, params={**job.params, **params})
    return replace(made, price=_price(made.price, str(made.model)))


def _price(price: Any, model: str) -> Any:
    """Return a model's own price where there is one for each."""
    each = isinstance(price, Mapping) and all(isinstance(one, Mapping) for one in price.values())
    return price.get(model) if price and each else price


def base_of(job: Job) -> str:
    """Return what the keys of a job without one begin with: its files, else its question."""
    paths = paths_of(job)
    if paths:
        return keys.of_files(paths, job.pages)
    asked = orjson.dumps([job.prompt, job.messages, job.system], default=repr)
    return keys.of_question(asked)
