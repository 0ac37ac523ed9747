"""The how-to pages work as they are printed."""

from __future__ import annotations

import re
import runpy
from collections.abc import Callable
from pathlib import Path

import pytest
from click.testing import Result

PAGES = Path(__file__).resolve().parents[2] / "docs" / "how-to"


def blocks(page: str, language: str) -> list[str]:
    text = (PAGES / page).read_text("utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```$", text, re.M | re.S)


@pytest.mark.slow
@pytest.mark.parametrize("page", [path.name for path in sorted(PAGES.glob("*.md"))])
def test_a_page_works_as_it_is_printed(page: str, command: Callable[..., Result]) -> None:
    """Its Python blocks as one script, then its commands, against the simulator."""
    script = Path("page.py")
    script.write_text("\n".join(blocks(page, "python")))
    runpy.run_path(str(script), run_name="page")

    for line in "\n".join(blocks(page, "sh")).splitlines():
        assert command(*line.split()[1:]).exit_code == 0, line
