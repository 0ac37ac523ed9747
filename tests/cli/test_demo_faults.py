"""The demo on a bad night: it survives, and says what happened."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

COMMAND = Path(sys.executable).parent / "batchkit"

NIGHT = """
seed: 1
faults:
  - {route: "*.batches.create", fault: drop, nth: 1}
  - {route: "*.files.create", fault: status, status: 502, nth: 1}
  - {route: "*.batches.retrieve", fault: refuse, status: 404, nth: [1, 2]}
  - {route: openai.files.content, fault: line-cut, nth: 1}
  - {route: anthropic.batches.results, fault: unended, nth: 1}
requests:
  - {outcome: duplicate, rate: 0.3}
"""


def run(folder: Path, *words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [COMMAND, "demo", *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=110,
        cwd=folder,
    )


@pytest.mark.slow
def test_a_bad_night_is_survived_and_told(tmp_path: Path) -> None:
    """All answers, nothing bought twice, and what struck; in a folder of its own."""
    (tmp_path / "night.yaml").write_text(NIGHT)
    done = run(tmp_path, "--limit", "12", "--faults", "night.yaml")

    assert done.returncode == 0, done.stdout + done.stderr
    said = " ".join(done.stdout.split())
    assert "Answers 12 of 12 documents" in said
    assert "Bought twice 0" in said
    assert "openai.batches.create drop 1" in said
    assert "openai.files.content line-cut 1" in said
    assert (tmp_path / "batchkit-demo" / "faults-night" / "state.db").exists()


@pytest.mark.parametrize(
    ("words", "code", "way_out"),
    [
        (("--faults", "strmy"), 1, "the named ones are calm, stormy"),
        (("--faults", "stormy", "--provider", "openai"), 2, "leave --provider out"),
    ],
)
def test_what_cannot_be_is_said(tmp_path: Path, words: tuple[str, ...], code: int, way_out: str):
    done = run(tmp_path, "--limit", "1", *words)

    assert done.returncode == code
    assert way_out in " ".join(done.stderr.split())
