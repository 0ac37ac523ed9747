"""The quick start works as it is printed."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from batchkit.simulator import Simulator

PAGE = Path(__file__).resolve().parents[2] / "docs" / "quick_start.md"
COMMAND = Path(sys.executable).parent / "batchkit"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```$", PAGE.read_text("utf-8"), re.M | re.S)


@pytest.mark.slow
def test_the_quick_start_works_as_it_is_printed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its Python blocks as one script, then its last commands, against the simulator."""
    monkeypatch.chdir(tmp_path)
    script = tmp_path / "invoices.py"
    script.write_text("\n".join(blocks("python")))
    with Simulator(tmp_path / "simulator", scale=600, batch_seconds=(60.0, 120.0)) as simulator:
        monkeypatch.setenv("BATCHKIT_PACE", "600")
        monkeypatch.setenv("OPENAI_BASE_URL", simulator.openai_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.anthropic_url)
        monkeypatch.setenv("OPENAI_API_KEY", "simulated")
        monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
        done = subprocess.run(
            [sys.executable, script], capture_output=True, text=True, check=False, timeout=90
        )
        assert done.returncode == 0, done.stderr
        assert done.stdout.count("invoice-") == 4
        assert len(list(Path("out").glob("*.json"))) == 5
        assert simulator.ledger().bought_twice() == []

    for line in blocks("sh")[-1].splitlines():
        words = [str(COMMAND), *line.split()[1:]]
        looked = subprocess.run(words, capture_output=True, text=True, check=False, timeout=60)
        assert looked.returncode == 0, (line, looked.stderr)
        assert "Traceback" not in looked.stderr
    assert Path("invoices.csv").read_text().count("\n") == 6
