"""Doubles to test with, for batchkit's own tests and for yours.

    from batchkit.testing import Course, FakeProvider, ManualClock, simulator

``FakeProvider`` keeps its batches in memory and does as it is told; ``ManualClock`` is a time that
moves only when somebody waits or says so; ``simulator`` is a pytest fixture: both providers' HTTP
on a loopback port, for the real adapters.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from batchkit.testing.answers import Answer
from batchkit.testing.clock import ManualClock
from batchkit.testing.course import Course
from batchkit.testing.ledger import Entry, Ledger
from batchkit.testing.provider import FakeProvider

if TYPE_CHECKING:
    from collections.abc import Iterator

    from batchkit.simulator import Simulator

    def simulator() -> Iterator[Simulator]:
        """Pytest fixture: the simulator, an hour each real second, moved by ``advance`` as well.

        ``OPENAI_BASE_URL``, ``OPENAI_API_KEY``, ``ANTHROPIC_BASE_URL``, ``ANTHROPIC_API_KEY`` and
        ``BATCHKIT_PACE`` lead to it while the test runs. With ``indirect=True`` a test's parameter
        is a dict of the simulator's options.
        """

else:

    def __getattr__(name: str) -> Any:
        """Make the pytest fixture when asked: who only wants the doubles needs no pytest."""
        if name != "simulator":
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        from batchkit.testing import fixture

        globals()[name] = made = fixture.made()
        return made


__all__ = ["Answer", "Course", "Entry", "FakeProvider", "Ledger", "ManualClock", "simulator"]
