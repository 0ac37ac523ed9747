"""The simulator as a pytest fixture; made when asked for, so that the doubles need no pytest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from batchkit.simulator import Simulator


def made() -> Any:
    """Make the fixture."""
    import pytest

    @pytest.fixture(name="simulator")
    def simulator(monkeypatch: pytest.MonkeyPatch) -> Iterator[Simulator]:
        """The simulator, with both providers' base URLs and keys leading to it."""
        from batchkit.simulator import Simulator

        with Simulator() as running:
            monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
            monkeypatch.setenv("OPENAI_API_KEY", "simulated")
            monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_url)
            monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
            yield running

    return simulator
