"""The page about testing is a file of tests that pass, and its tables are the code's."""

from __future__ import annotations

import dataclasses
import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchkit.testing import Course, FakeProvider, ManualClock

ROOT = Path(__file__).resolve().parents[2]
PAGE = (ROOT / "docs" / "testing.md").read_text("utf-8")


@pytest.mark.slow
def test_the_pages_tests_pass(tmp_path: Path) -> None:
    """In a process of its own, as at a user's: with no configuration of ours."""
    blocks = re.findall(r"^```python\n(.*?)^```$", PAGE, re.M | re.S)
    (tmp_path / "test_page.py").write_text("\n\n".join(blocks), "utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", tmp_path],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=100,
    )

    assert done.returncode == 0, done.stdout + done.stderr
    assert f"{PAGE.count('def test_')} passed" in done.stdout


def test_the_page_has_each_field_of_a_course() -> None:
    rows = re.findall(r"^\| `(\w+)` \| `(.+?)` \|", PAGE, re.M)

    assert rows == [
        (one.name, repr(one.default).replace("'", '"')) for one in dataclasses.fields(Course)
    ]


@pytest.mark.parametrize(("name", "double"), [("fake", FakeProvider), ("clock", ManualClock)])
def test_the_pages_members_are_there(name: str, double: type) -> None:
    named = set(re.findall(rf"`{name}\.(\w+)", PAGE))

    assert named
    assert [one for one in named if not hasattr(double(), one)] == []
