"""A live view: drawn again and again on a terminal, a line per change elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from batchkit.cli import exits, screen
from batchkit.clock import SystemClock


def follow(
    look: Callable[[], dict[str, Any]], interval: float, *, as_json: bool = False
) -> dict[str, Any]:
    """Look until the run has ended or waits for a person, and return its last status."""
    clock = SystemClock()
    if as_json or not screen.is_terminal():
        return _lines(look, lambda: clock.wait(interval), as_json)
    return _live(look, lambda: clock.wait(interval))


def _lines(
    look: Callable[[], dict[str, Any]], wait: Callable[[], Any], as_json: bool
) -> dict[str, Any]:
    last = ""
    while True:
        state = look()
        line = summary(state)
        if line != last:
            screen.say(screen.written(state) if as_json else line)
            last = line
        if exits.of(state) != exits.IN_FLIGHT:
            return state
        wait()


def summary(state: dict[str, Any]) -> str:
    """Say in one line how far a run is."""
    from batchkit.run import status

    return f"{state['state']}: {status.line(state)}"


def _live(look: Callable[[], dict[str, Any]], wait: Callable[[], Any]) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    state = look()
    with Live(_panel(state), console=Console(highlight=False), auto_refresh=False) as live:
        while exits.of(state) == exits.IN_FLIGHT:
            wait()
            state = look()
            live.update(_panel(state), refresh=True)
    return state


def _panel(state: dict[str, Any]) -> Any:
    from rich.console import Group
    from rich.progress_bar import ProgressBar
    from rich.text import Text

    ended = state["completed"] + state["failed"] + state["cancelled"]
    return Group(
        Text(f"{screen.cell(state['name'])} ({state['id']})"),
        ProgressBar(total=max(state["total"], 1), completed=ended, width=60),
        Text(summary(state)),
        Text(
            f"batches: {state['batches_completed']:,} of {state['batches_total']:,} done; "
            f"next look at {screen.cell(state['next_poll_at'])}"
        ),
    )
