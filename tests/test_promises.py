"""The page of promises names tests that are there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
NAMED = re.compile(r"`(tests/[\w/.]*)(?:::(\w+))?`")


def named() -> list[tuple[str, str]]:
    """Every file or folder, and every test, that the page names."""
    return sorted(set(NAMED.findall((ROOT / "docs" / "promises.md").read_text())))


@pytest.mark.parametrize(("path", "test"), named())
def test_what_proves_a_promise_is_there(path: str, test: str) -> None:
    assert (ROOT / path).exists(), path
    if test:
        assert f"def {test}(" in (ROOT / path).read_text(), f"{path} has no test {test}"
    elif path.endswith("/"):
        assert list((ROOT / path).rglob("test_*.py")), path


def test_the_page_names_tests() -> None:
    """The pattern still finds them."""
    assert len(named()) > 40
