"""Run large LLM batch jobs through provider batch APIs, with the state in a database."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchkit.doors import door

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

_ELSEWHERE = {
    "builder": ("Batch", "Job"),
    "model": ("Citation",),
    "results": ("JobResult",),
    "run": ("BatchRun", "get_run", "list_runs"),
    "transform": ("Transform", "TransformResult"),
}
_named = door(
    __name__,
    errors=sorted({*__all__}.difference(*_ELSEWHERE.values())),
    **_ELSEWHERE,
)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("llm-batchkit")
    return _named(name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
