"""Children: the provider, and one process for each thing that is measured."""

from __future__ import annotations

import os
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import orjson

ROOT = Path(__file__).resolve().parents[2]
_LONGEST = 1_800.0


class Child:
    """One process and what it reported: seconds, bytes, and how long it was there in all."""

    def __init__(self, module: str, *words: object, **environment: str) -> None:
        began = time.perf_counter()
        done = subprocess.run(
            [sys.executable, "-m", f"tests.benchmarks.{module}", *map(str, words)],
            cwd=ROOT,
            env={**bare(), **environment},
            stdout=subprocess.PIPE,
            check=True,
            text=True,
            timeout=_LONGEST,
        )
        self.wall = time.perf_counter() - began
        self.figures: dict[str, Any] = orjson.loads(done.stdout.splitlines()[-1])

    def __getitem__(self, name: str) -> float:
        return float(self.figures[name])


class Provider:
    """The provider's process, from outside."""

    def __init__(self, url: str) -> None:
        self.url = url

    def tell(self, **wish: Any) -> None:
        """Reset the counts; ``hold=2`` answers two more batches, ``release=True`` all."""
        request = urllib.request.Request(f"{self.url}/bench", orjson.dumps(wish), method="POST")
        with urllib.request.urlopen(request) as reply:
            reply.read()

    def seen(self) -> dict[str, Any]:
        """Return ``calls`` by name, and ``first``: when the first one came, monotonic."""
        with urllib.request.urlopen(f"{self.url}/bench") as reply:
            found: dict[str, Any] = orjson.loads(reply.read())
            return found


@contextmanager
def provider(latency: float = 0.0) -> Iterator[Provider]:
    """Start a provider that answers at once, and end it."""
    child = subprocess.Popen(
        [sys.executable, "-m", "tests.benchmarks.server", "--latency", str(latency)],
        cwd=ROOT,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        yield Provider(child.stdout.readline().strip())
    finally:
        child.stdin.close()
        child.wait(timeout=30)
        child.stdout.close()


def seconds_of(*command: object, **environment: str) -> float:
    """Return how long a command takes, whatever it prints."""
    began = time.perf_counter()
    subprocess.run(
        list(map(str, command)),
        cwd=ROOT,
        env={**bare(), **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        check=False,
        timeout=_LONGEST,
    )
    return time.perf_counter() - began


def bare() -> dict[str, str]:
    """Return the environment without what would point batchkit or an SDK elsewhere."""
    ours = ("BATCHKIT_", "OPENAI_", "ANTHROPIC_")
    return {name: value for name, value in os.environ.items() if not name.startswith(ours)}
