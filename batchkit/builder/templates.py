"""What many jobs share: worked out and checked once, then taken from memory."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import date
from difflib import get_close_matches
from typing import Any

import orjson

from batchkit import pricing, requests
from batchkit.builder.asking import DEFAULT_MAX_TOKENS, check_citable, json_copy
from batchkit.builder.job import Job, model_name
from batchkit.builder.registry import Registry
from batchkit.errors import ValidationError
from batchkit.model import Json, Price
from batchkit.money import usd
from batchkit.providers import Provider
from batchkit.schemas import AnswerSchema, Dialect, answer_schema
from batchkit.weighing import weigh

CUSTOM_ID = "x" * 48
"""Stands in for a custom_id where only a line's size counts."""

_MOST = 1_000
_NEUTRAL = "?"
_ARGUMENTS = (
    "messages",
    "file",
    "prompt",
    "model",
    "temperature",
    "max_tokens",
    "response_model",
    "enable_citations",
    "key",
    "system",
    "files",
    "pages",
    "split_pages",
    "provider",
    "price",
    "metadata",
    "extra_body",
    "max_attempts",
    "max_usd_per_job",
)


@dataclass(frozen=True, slots=True)
class Brakes:
    """What the run says about each of its jobs. ``limited``: there is a cost limit."""

    max_attempts: int = 3
    max_usd_per_job: int | None = None
    limited: bool = False


@dataclass(frozen=True, slots=True)
class Template:
    """A stored template with what follows from it. ``unbounded`` says why no bound is known.

    ``tokens`` and ``line`` are what a request with an empty prompt has, a bound and bytes.
    """

    data: Json
    digest: bytes
    prepared: Json
    provider: Provider
    price: Price | None
    unbounded: str | None
    tokens: int
    line: int
    caching: pricing.Caching

    @property
    def lane_model(self) -> str:
        """The model of the lane; empty where a batch may mix models."""
        one = self.provider.limits.models == "one"
        return str(self.data["model"]) if one else ""

    def tokens_of(self, prompt: str) -> int:
        """Return a bound on the tokens of a request with nothing but this prompt."""
        return self.tokens + len(prompt.encode("utf-8", "surrogatepass"))

    def bound_of(self, tokens: int) -> int | None:
        """Return the most a request of so many tokens costs, in nano-dollars."""
        if self.price is None or self.unbounded:
            return None
        most = int(self.data["max_tokens"])
        return pricing.upper_bound(tokens, most, self.price, caching=self.caching)


class Templates:
    """Makes templates of jobs; ``models`` are the classes they were given, by stored name."""

    def __init__(self, registry: Registry) -> None:
        self._registry = registry
        self._made: dict[Hashable, Template] = {}
        self._schemas: dict[Hashable, AnswerSchema] = {}
        self.models: dict[str, Any] = {}
        self.took_default = False

    def of(self, job: Job, prompt: str | None, brakes: Brakes, day: date) -> Template:
        """Return the template of a job, checked; ``prompt`` is part of it where jobs share it.

        Raises ValidationError for parameters the provider refuses or does not know, and under a
        cost limit for a price that is not known; ProviderNotFoundError for the model.
        """
        at = _key(job, prompt, brakes, day)
        found = self._made.get(at)
        if found is None:
            found = self._make(job, prompt, brakes, day)
            if len(self._made) >= _MOST:
                self._made.clear()
            self._made[at] = found
        check_citable(job)
        if job.max_tokens is None:
            self.took_default = True
        if brakes.limited and found.unbounded:
            raise ValidationError(found.unbounded)
        return found

    def provider_of(self, job: Job) -> Provider:
        """Return who serves a job: as it says, else by the name of its model."""
        if job.provider is not None:
            return self._registry.provider(job.provider)
        return self._registry.serving(str(job.model))

    def check_defaults(self, fields: Json, params: Json) -> None:
        """Raise for defaults that can never work, as far as their provider is known."""
        if fields.get("provider") is not None:
            self._registry.provider(fields["provider"])
        if fields.get("model") is not None:
            job = Job(model=fields["model"], provider=fields.get("provider"))
            named = {name: value for name, value in params.items() if value is not None}
            if fields.get("temperature") is not None:
                named["temperature"] = fields["temperature"]
            check_names({n: v for n, v in named.items() if n not in _OURS}, self.provider_of(job))

    def _make(self, job: Job, prompt: str | None, brakes: Brakes, day: date) -> Template:
        provider = self.provider_of(job)
        params = dict(job.params)
        own_brakes = _own_brakes(params, brakes)
        check_names(params, provider)
        params = json_copy("The parameters", params)
        if job.enable_citations and not provider.traits.citations:
            raise ValidationError(
                f"{provider.name} gives no citations: leave enable_citations out, or take a model "
                "that gives them (Anthropic's do)."
            )
        data: Json = {
            "provider": provider.name,
            "model": job.model,
            "max_tokens": job.max_tokens or DEFAULT_MAX_TOKENS,
            "system": job.system or None,
            "params": params or None,
            "extra_body": json_copy("extra_body", dict(job.extra_body or {})) or None,
            "schema": self._schema(job, provider.traits.dialect),
            "citations": job.enable_citations or None,
            "prompt": prompt,
            "price": self._price(job, provider, day),
            "response_model": self._named(job.response_model),
            "max_attempts": own_brakes.max_attempts,
            "max_usd_per_job": own_brakes.max_usd_per_job,
        }
        data = {name: value for name, value in data.items() if value is not None}
        return self._checked(data, provider)

    def _checked(self, data: Json, provider: Provider) -> Template:
        prepared = requests.prepared(data)
        neutral = requests.assemble(prepared, {"prompt": _NEUTRAL})
        problems = provider.check(neutral)
        if problems:
            raise ValidationError(" ".join(problems))
        price = requests.price_of(data)
        weight = weigh(neutral, None, provider=provider.name, dialect=provider.traits.dialect)
        body = {"params": neutral.params, "extra": neutral.extra_body}
        return Template(
            data=data,
            digest=requests.template_digest(data),
            prepared=prepared,
            provider=provider,
            price=price,
            unbounded=unbounded(data, price),
            tokens=weight.tokens - len(_NEUTRAL),
            line=len(provider.encode(neutral, CUSTOM_ID)) - len(orjson.dumps(_NEUTRAL)),
            caching=pricing.caching_of(provider.name, body),
        )

    def _schema(self, job: Job, dialect: Dialect) -> Json | None:
        if job.response_model is None:
            return None
        at: Hashable = (_hashable(job.response_model), dialect, job.enable_citations)
        if at not in self._schemas:
            self._schemas[at] = answer_schema(
                job.response_model, dialect, cited=job.enable_citations
            )
        return self._schemas[at].to_dict()

    def _named(self, model: Any) -> str | None:
        if model is None:
            return None
        name = model_name(model)
        self.models[name] = model
        return name

    def _price(self, job: Job, provider: Provider, day: date) -> Json | None:
        if job.price is not None:
            return asdict(pricing.price_from(job.price))
        return self._registry.price(provider.name, str(job.model), day)


_OURS = ("max_attempts", "max_usd_per_job", "max_output_tokens", "max_completion_tokens")


def check_names(params: Mapping[str, Any], provider: Provider) -> None:
    """Raise ValidationError for parameters that cannot go into a batch, or that nobody knows."""
    traits = provider.traits
    for name in params:
        if name in traits.refused:
            raise ValidationError(f"{name} cannot go to {provider.name}: {traits.refused[name]}.")
        if name not in traits.parameters:
            near = get_close_matches(name, [*traits.parameters, *_ARGUMENTS], n=1)
            hint = f"did you mean {near[0]}?" if near else "extra_body= passes it unchecked."
            raise ValidationError(
                f"{name} is no parameter of {provider.name} ({traits.endpoint}): {hint}"
            )


def _own_brakes(params: Json, brakes: Brakes) -> Brakes:
    """Take a job's own brakes out of its parameters."""
    attempts, most = params.pop("max_attempts", None), params.pop("max_usd_per_job", None)
    if attempts is not None:
        brakes = replace(brakes, max_attempts=checked_attempts(attempts))
    if most is not None:
        brakes = replace(brakes, max_usd_per_job=checked_amount("max_usd_per_job", most))
    return brakes


def checked_attempts(value: Any) -> int:
    """Return ``max_attempts``; raise ValidationError if it is no whole number above 0."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"max_attempts must be a whole number above 0, not {value!r}.")
    return value


def checked_amount(name: str, value: Any) -> int:
    """Return dollars as nano-dollars; raise ValidationError if they are not above 0."""
    if isinstance(value, (bool, str)):
        raise ValidationError(f"{name} must be a number of US dollars, not {value!r}.")
    amount = usd(value)
    if amount <= 0:
        raise ValidationError(f"{name} must be above 0 US dollars, not {value!r}.")
    return amount


def unbounded(data: Json, price: Price | None) -> str | None:
    """Say why nobody knows what a template's requests cost at most; None if it is known."""
    if price is None:
        return (
            f"The price of {data['model']!r} ({data['provider']}) is not known, and the run has a "
            'cost limit: check the name, or give price={"input": …, "output": …} (USD per million '
            "tokens, as billed in batch), or leave add_cost_limit out."
        )
    extras = pricing.priced_extras(data.get("params") or {}, data.get("extra_body"))
    if extras:
        return (
            f"What this may cost is not known, and the run has a cost limit: {'; '.join(extras)}. "
            "Leave it out, or leave add_cost_limit out."
        )
    return None


def _key(job: Job, prompt: str | None, brakes: Brakes, day: date) -> Hashable:
    written = [job.params, job.extra_body, job.price]
    try:
        rest: Any = orjson.dumps(written, default=repr)
    except TypeError:
        rest = repr(written)
    return (
        job.provider,
        job.model,
        job.max_tokens,
        job.system,
        rest,
        _hashable(job.response_model),
        job.enable_citations,
        prompt,
        brakes.max_attempts,
        brakes.max_usd_per_job,
        day,
    )


def _hashable(model: Any) -> Hashable:
    try:
        hash(model)
    except TypeError:
        return id(model)
    kept: Hashable = model
    return kept
