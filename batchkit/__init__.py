"""Run large LLM batch jobs through provider batch APIs, with the state in a database."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from batchkit.builder import Batch, Job
    from batchkit.errors import (
        AccountMismatchError,
        BatchkitError,
        ConfigError,
        CostLimitExceededError,
        ExhaustionError,
        KeyConflictError,
        ProviderError,
        ProviderGarbled,
        ProviderNotFoundError,
        ProviderRefused,
        ProviderUnavailable,
        RunChangedError,
        RunNotFoundError,
        StateError,
        ValidationError,
    )
    from batchkit.model import Citation
    from batchkit.results import JobResult
    from batchkit.run import BatchRun, get_run, list_runs
    from batchkit.transform import Transform, TransformResult

__all__ = [
    "AccountMismatchError",
    "Batch",
    "BatchRun",
    "BatchkitError",
    "Citation",
    "ConfigError",
    "CostLimitExceededError",
    "ExhaustionError",
    "Job",
    "JobResult",
    "KeyConflictError",
    "ProviderError",
    "ProviderGarbled",
    "ProviderNotFoundError",
    "ProviderRefused",
    "ProviderUnavailable",
    "RunChangedError",
    "RunNotFoundError",
    "StateError",
    "Transform",
    "TransformResult",
    "ValidationError",
    "get_run",
    "list_runs",
]

_ROOMS = {
    "Batch": "builder",
    "BatchRun": "run",
    "Citation": "model",
    "Job": "builder",
    "JobResult": "results",
    "Transform": "transform",
    "TransformResult": "transform",
    "get_run": "run",
    "list_runs": "run",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is first asked for: ``import batchkit`` itself is quick."""
    if name == "__version__":
        from importlib.metadata import version

        return version("llm-batchkit")
    if name not in __all__:
        raise AttributeError(f"module 'batchkit' has no attribute {name!r}")
    value = getattr(import_module(f"batchkit.{_ROOMS.get(name, 'errors')}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
