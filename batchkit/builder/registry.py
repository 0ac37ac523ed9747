"""Which provider serves a job, and what its model costs: looked up once each."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from datetime import date

from batchkit import pricing
from batchkit import providers as installed
from batchkit.errors import ProviderNotFoundError
from batchkit.model import Json
from batchkit.providers import Provider


class Registry:
    """Providers by name, made when they are first used; ``given`` ones replace all installed."""

    def __init__(self, given: Mapping[str, Provider] | None = None) -> None:
        self._given = given
        self._loaded: dict[str, Provider] = dict(given or {})
        self._names: dict[str, str] = {}
        self._prices: dict[tuple[str, str, date], Json | None] = {}

    def provider(self, name: str) -> Provider:
        """Return a provider; raise ProviderNotFoundError that lists those there are."""
        if name not in self._loaded:
            if self._given is not None:
                raise ProviderNotFoundError(
                    f"There is no provider {name!r}. There are: {', '.join(sorted(self._given))}."
                )
            self._loaded[name] = installed.load(name)
        return self._loaded[name]

    @property
    def loaded(self) -> list[Provider]:
        """The providers that were asked for so far."""
        return list(self._loaded.values())

    def serving(self, model: str) -> Provider:
        """Return the provider of a model's name; raise ProviderNotFoundError naming prefixes."""
        if model not in self._names:
            self._names[model] = self._name_for(model)
        return self.provider(self._names[model])

    def price(self, provider: str, model: str, day: date) -> Json | None:
        """Return what the table says a model costs in batch; None if it does not know."""
        at = (provider, model, day)
        if at not in self._prices:
            found = pricing.table_price(provider, model, now=day)
            self._prices[at] = None if found is None else asdict(found)
        return self._prices[at]

    def _name_for(self, model: str) -> str:
        if self._given is None:
            return installed.for_model(model)
        known = {
            prefix: name for name, one in self._given.items() for prefix in one.traits.prefixes
        }
        fitting = [prefix for prefix in known if model.startswith(prefix)]
        if not fitting:
            raise ProviderNotFoundError(
                f"No provider serves the model {model!r}. Known prefixes: "
                f"{', '.join(sorted(known))}. Say which API it speaks with provider= "
                f"({', '.join(sorted(self._given))})."
            )
        return known[max(fitting, key=len)]
