"""The main job end to end on real documents: what ``batchkit demo`` does, less the printing.

Everything lies in ``./batchkit-demo``: the database, the results and, unless a real provider is
named, the simulator's state. Run again, the demo finds its run there and buys nothing twice.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

from batchkit.demo.bill import full_price_usd
from batchkit.demo.material import PLACE, Item, Material, gather
from batchkit.demo.night import Night, night, place_for, plan_for
from batchkit.errors import ConfigError

if TYPE_CHECKING:
    from batchkit.builder import Batch
    from batchkit.providers import Provider

MODELS = {"openai": "gpt-6-luna", "anthropic": "claude-haiku-5-5"}
"""The cheapest model of each provider's price table."""

PER_BATCH = 10
"""Few jobs in a batch, so that there is something to watch."""

MAX_TOKENS = 4_000

__all__ = [
    "MODELS",
    "PLACE",
    "Item",
    "Material",
    "Night",
    "check_key",
    "full_price_usd",
    "gather",
    "night",
    "place_for",
    "prepared",
    "providers_for",
]


def check_key(provider: str) -> None:
    """Raise ConfigError if there is no key for a real provider, before anybody is asked to pay."""
    from batchkit import providers

    providers.load(provider).account()


@contextmanager
def providers_for(
    provider: str | None, place: Path, faults: str | None = None
) -> Iterator[Mapping[str, Provider] | None]:
    """Yield the adapters of the simulator in ``place``, or None where a real provider is named.

    ``faults`` is the name or the file of a plan of what goes wrong in the simulator.
    """
    if provider is not None:
        yield None
        return
    from batchkit.demo.stage import simulated

    plan = plan_for(faults)
    folder = place / "simulator"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder {folder.absolute()} cannot be made ({error.strerror or error}). "
            "Go to a folder that you may write in."
        ) from error
    with simulated(folder, plan) as adapters:
        yield adapters


def prepared(
    material: Material,
    *,
    place: Path,
    provider: str | None = None,
    adapters: Mapping[str, Provider] | None = None,
    cost_limit: float | None = None,
    again: str | None = None,
) -> Batch:
    """Return the demo's batch with a job for each item; half of them for each provider.

    ``again`` is what to type to go on with it: the simulator is there in a demo only.
    """
    batch = _builder(material, place, provider, adapters, again)
    if cost_limit is not None:
        batch.add_cost_limit(usd=cost_limit)
    models = cycle(MODELS.values() if provider is None else (MODELS[provider],))
    for item, model in zip(material.items, models, strict=False):
        batch.add_job(
            key=item.key,
            prompt=material.prompt,
            files=list(item.files),
            model=model,
            response_model=material.model,
        )
    return batch


def _builder(
    material: Material,
    place: Path,
    provider: str | None,
    adapters: Mapping[str, Provider] | None,
    again: str | None,
) -> Batch:
    from batchkit.builder import Batch

    return (
        Batch(
            results_dir=place / "results",
            items_per_batch=PER_BATCH,
            name=f"{material.model.__name__.lower()}s-{provider or 'simulated'}",
            project="demo",
            database=place / "state.db",
            on_bad_input="fail",
            on_change="keep",
            providers=adapters,
            again=again,
        )
        .set_default_params(max_tokens=MAX_TOKENS)
        .set_verbosity("warn")
    )
