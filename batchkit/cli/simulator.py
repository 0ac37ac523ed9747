"""``simulate``: both providers on a port, for your own tests."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click

from batchkit.cli.screen import say


@click.command()
@click.option("--port", default=8901, show_default=True, type=click.IntRange(0, 65_535))
@click.option(
    "--folder",
    default=".batchkit/simulator",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where it keeps its state; it goes on from there.",
)
@click.option(
    "--scale",
    default=60.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="Simulated seconds in a real one.",
)
@click.option("--instant", is_flag=True, help="Batches end when they are next looked at.")
@click.option(
    "--faults",
    metavar="PLAN",
    help="Let things go wrong: stormy, or a plan's file. See docs/simulator.md.",
)
@click.option("--seed", type=click.IntRange(min=0), help="Another night of the same plan.")
def simulate(
    port: int, folder: Path, scale: float, instant: bool, faults: str | None, seed: int | None
) -> None:
    """Serve a simulator of OpenAI's and Anthropic's batch APIs until Ctrl-C."""
    import signal
    import threading

    from batchkit.errors import ConfigError
    from batchkit.simulator import FolderTaken, PlanError, PortTaken, Simulator, plan_of

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        plan = plan_of(faults, seed) if faults else None
        options: dict[str, Any] = {"instant": True} if instant else {}
        simulator = Simulator(folder, port=port, scale=scale, faults=plan, **options).start()
    except PlanError as error:
        raise ConfigError(str(error)) from error
    except PortTaken as error:
        raise ConfigError(
            f"Port {port} is taken by another program: choose another with --port, or --port 0 "
            "for any that is free."
        ) from error
    except FolderTaken as error:
        raise ConfigError(
            f"Another simulator serves {folder}: stop it, or choose another with --folder."
        ) from error
    except OSError as error:
        raise ConfigError(f"{folder} cannot be used: {error.strerror}") from error
    say(f"OpenAI:    {simulator.openai_url}")
    say(f"Anthropic: {simulator.anthropic_url}")
    if faults:
        say(f"Faults:    {faults}")
    say(f"State: {folder.absolute()}; {scale:g} simulated seconds in a real one; Ctrl-C ends it.")
    say()
    say(f"export BATCHKIT_PACE={scale:g}")
    say(f"export OPENAI_BASE_URL={simulator.openai_url} OPENAI_API_KEY=simulated")
    say(f"export ANTHROPIC_BASE_URL={simulator.anthropic_url} ANTHROPIC_API_KEY=simulated")
    sys.stdout.flush()
    stop.wait()
    simulator.stop()
