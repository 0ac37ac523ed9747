"""The simulator as a pytest fixture; made when asked for, so that the doubles need no pytest."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pytest

    from batchkit.simulator import Simulator


SCALE = 3600.0
"""An hour each second, unless the test gives options of its own."""


def made() -> Any:
    """Make the fixture."""
    import pytest

    @pytest.fixture(name="simulator")
    def simulator(
        request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
    ) -> Iterator[Simulator]:
        """The simulator, with both providers' base URLs, keys and batchkit's pace leading to it."""
        from batchkit.simulator import Simulator

        options = {"scale": SCALE, **getattr(request, "param", {})}
        with Simulator(**options) as running:
            monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
            monkeypatch.setenv("OPENAI_API_KEY", "simulated")
            monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_url)
            monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
            monkeypatch.setenv("BATCHKIT_PACE", f"{options['scale'] or SCALE:g}")
            yield running

    return simulator
