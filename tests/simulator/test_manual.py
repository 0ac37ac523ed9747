"""The manual names every marker and every option."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path

from batchkit.simulator import MARKERS, Settings

MANUAL = Path(__file__).parents[2] / "docs" / "simulator.md"


def test_the_manual_is_whole():
    """Each marker with what it does, each option with its default."""
    text = MANUAL.read_text()
    assert all(f"| `[[sim:{name}]]` | {said} |" in text for name, said in MARKERS.items())
    defaults = Settings()
    assert all(
        f"| `{f.name}` | `{getattr(defaults, f.name)!r}` |" in text for f in fields(Settings)
    )
