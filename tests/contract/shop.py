"""What scripts buy from and what it saw of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from pydantic import BaseModel

from batchkit import Batch, BatchRun
from batchkit.simulator import Asked, Entry, Knock, Simulator

ROOT = Path(__file__).resolve().parents[2]
CLAUDE, GPT = "claude-haiku-5-5", "gpt-6.1-sol"
QUICK: dict[str, Any] = {"progress_interval": 0.02}


class Note(BaseModel):
    """What the scripts ask for."""

    title: str
    amount: float


def environment(simulator: Simulator) -> dict[str, str]:
    """Return the variables that lead to the simulator."""
    return {
        "BATCHKIT_PACE": "400",
        "OPENAI_BASE_URL": simulator.openai_url,
        "ANTHROPIC_BASE_URL": simulator.anthropic_url,
        "OPENAI_API_KEY": "simulated",
        "ANTHROPIC_API_KEY": "simulated",
    }


class Shop:
    """The simulator and what it was sent since this was made."""

    def __init__(self, simulator: Simulator, asked: list[Asked]) -> None:
        self.simulator = simulator
        self._asked = asked
        self.forget()

    def forget(self) -> None:
        """Count from here on."""
        ledger = self.simulator.ledger()
        self._before = len(self._asked), len(ledger.entries), len(ledger.knocks)

    @property
    def asked(self) -> list[Asked]:
        """The requests that were executed, in real time too."""
        return self._asked[self._before[0] :]

    @property
    def bodies(self) -> list[dict[str, Any]]:
        """What stood on the wire, of the requests that were executed."""
        return [one.body for one in self.asked]

    @property
    def entries(self) -> list[Entry]:
        """Requests in accepted batches."""
        return list(self.simulator.ledger().entries[self._before[1] :])

    @property
    def knocks(self) -> list[Knock]:
        """Calls that make, change or cost something."""
        return list(self.simulator.ledger().knocks[self._before[2] :])

    @property
    def sizes(self) -> list[int]:
        """The sizes of accepted batches, in order."""
        made = {knock.ref for knock in self.knocks if knock.route.endswith("batches.create")}
        return [b.total for b in self.simulator.ledger().batches if b.id in made]

    @property
    def bought(self) -> int:
        """How many requests of batches were billed."""
        return sum(entry.billed for entry in self.entries)

    @property
    def live(self) -> int:
        """How many requests' answers this was asked for at once."""
        routes = ("responses", "chat.completions", "messages.create")
        return sum(k.billed for k in self.knocks if k.route.split(".", 1)[1] in routes)

    def nothing_sent(self) -> bool:
        """Say whether not one call came that makes, changes or costs something."""
        return not self.knocks and not self.entries

    def end(self) -> None:
        """Let every batch end."""
        self.simulator.advance(3600)


def go(batch: Batch, **options: Any) -> BatchRun:
    """Run and look often."""
    return batch.run(**QUICK, **options)


def script(
    text: str, *words: str, name: str = "script.py", timeout: float = 40
) -> subprocess.CompletedProcess[str]:
    """Run a script in the current folder as a real process, as a user does."""
    Path(name).write_text(text)
    return process([sys.executable, name, *words], timeout=timeout)


def command(*words: str, timeout: float = 40) -> subprocess.CompletedProcess[str]:
    """Run the command as a real process."""
    return process([str(Path(sys.executable).parent / "batchkit"), *words], timeout=timeout)


def process(words: list[str], timeout: float = 40) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        words, capture_output=True, text=True, check=False, timeout=timeout, env=env()
    )


def env() -> dict[str, str]:
    """Return the environment of a child, which finds batchkit from any folder."""
    return {**os.environ, "PYTHONPATH": str(ROOT)}
