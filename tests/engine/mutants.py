"""What is taken out of the product, in the process that is killed, to see that the matrix sees."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchkit.model import Search
from batchkit.store import batches


def without_find() -> None:
    """A lost create is never looked for: taken as not there."""
    from batchkit.providers.anthropic import Anthropic
    from batchkit.providers.openai import OpenAIResponses

    def blind(*_: Any) -> Search:
        return Search([], complete=True)

    OpenAIResponses.find = blind  # type: ignore[assignment,method-assign]
    Anthropic.find = blind  # type: ignore[assignment,method-assign]


MUTANTS: dict[str, Callable[[], None]] = {"find removed": without_find}
