"""The simulated providers of a demo: always the same ones, so that a second run finds its batches.

A run's batches belong to an account, and a base URL is part of that: the port of the first time is
kept beside the simulator's state.
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from batchkit.errors import ConfigError
from batchkit.providers import Provider
from batchkit.simulator import FolderTaken, Outcome, Plan, PortTaken, Simulator

SCALE = float(os.environ.get("BATCHKIT_DEMO_SCALE") or 60.0)
"""Simulated seconds in a real one: an hour's batch takes a minute. Tests are in a hurry."""

_FIRST_PORT, _PORTS = 20_000, 10_000
_BATCH_SECONDS = (120.0, 420.0)
_WINDOW_SECONDS = 480.0


@contextmanager
def simulated(folder: Path, faults: Plan | None = None) -> Iterator[Mapping[str, Provider]]:
    """Serve both providers from ``folder`` and yield adapters that talk to them.

    ``faults`` is what goes wrong there. Raises ConfigError if another demo works on this folder.
    """
    from batchkit.providers.anthropic import Anthropic
    from batchkit.providers.openai import OpenAIResponses

    simulator = _started(folder, faults)
    try:
        with _pace():
            yield {
                "openai": OpenAIResponses(api_key="demo", base_url=simulator.openai_url),
                "anthropic": Anthropic(api_key="demo", base_url=simulator.anthropic_url),
            }
    finally:
        simulator.stop()


@contextmanager
def _pace() -> Iterator[None]:
    """Let the engine look as often as the simulator's clock runs fast."""
    before = os.environ.get("BATCHKIT_PACE")
    os.environ["BATCHKIT_PACE"] = f"{SCALE:g}"
    try:
        yield
    finally:
        if before is None:
            del os.environ["BATCHKIT_PACE"]
        else:
            os.environ["BATCHKIT_PACE"] = before


def _started(folder: Path, faults: Plan | None) -> Simulator:
    kept = folder / "port"
    if kept.exists():
        return _listening(folder, int(kept.read_text()), faults)
    first = zlib.crc32(str(folder.absolute()).encode()) % _PORTS
    for step in range(20):
        port = _FIRST_PORT + (first + step) % _PORTS
        try:
            simulator = _new(folder, port, faults).start()
        except PortTaken:
            continue
        kept.write_text(str(port))
        return simulator
    raise ConfigError("No free port was found for the demo's simulator between 20000 and 30000.")


def _listening(folder: Path, port: int, faults: Plan | None) -> Simulator:
    try:
        return _new(folder, port, faults).start()
    except FolderTaken as error:
        raise ConfigError(
            f"Another demo runs in {folder.parent}: wait for it, or stop it first."
        ) from error
    except PortTaken as error:
        raise ConfigError(
            f"Port {port}, where this demo's simulator served before, is taken by another program. "
            f"End that, or start afresh: rm -r {folder.parent}"
        ) from error


def _new(folder: Path, port: int, faults: Plan | None) -> Simulator:
    # A document that happens to hold the simulator's markers is only a document: a rule goes before
    # them, and the short window ends a batch that `[[sim:expire]]` would keep open for a day.
    return Simulator(
        folder,
        port=port,
        scale=SCALE,
        rule=lambda asked: Outcome(),
        faults=faults,
        batch_seconds=_BATCH_SECONDS,
        window_seconds=_WINDOW_SECONDS,
    )
