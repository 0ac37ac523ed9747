"""``simulate``: both providers on a port, for your own tests."""

from __future__ import annotations

import sys
from pathlib import Path

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
def simulate(port: int, folder: Path, scale: float, instant: bool) -> None:
    """Serve a simulator of OpenAI's and Anthropic's batch APIs until Ctrl-C."""
    import signal
    import threading

    from batchkit.errors import ConfigError
    from batchkit.simulator import FolderTaken, PortTaken, Simulator

    stop = threading.Event()
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: stop.set())
    try:
        simulator = Simulator(folder, port=port, scale=scale, instant=instant).start()
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
    say(f"State: {folder.absolute()}; {scale:g} simulated seconds in a real one; Ctrl-C ends it.")
    say()
    say(f"export BATCHKIT_PACE={scale:g}")
    say(f"export OPENAI_BASE_URL={simulator.openai_url} OPENAI_API_KEY=simulated")
    say(f"export ANTHROPIC_BASE_URL={simulator.anthropic_url} ANTHROPIC_API_KEY=simulated")
    sys.stdout.flush()
    stop.wait()
    simulator.stop()
