"""A live view: drawn again and again on a terminal, a line per change elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from typing import Any

from batchkit.cli import exits, screen
from batchkit.clock import Clock, SystemClock


def follow(
    look: Callable[[], dict[str, Any]],
    interval: float,
    resume: str,
    *,
    as_json: bool = False,
    clock: Clock | None = None,
) -> dict[str, Any]:
    """Look until the run has ended or waits for a person, and return its last status.

    ``resume`` is the command that drives it: said where nobody seems to.
    """
    hint = Hint(resume, clock or SystemClock())
    if as_json or not screen.is_terminal():
        return _lines(look, hint, interval, as_json)
    return _live(look, hint, interval)


class Hint:
    """Tells whether anybody drives a run: its batches are asked about when they are due."""

    def __init__(self, resume: str, clock: Clock) -> None:
        self.clock = clock
        self._resume = resume
        self._seen: tuple[Any, ...] = ()
        self._since = clock.now()

    def read(self, state: Mapping[str, Any]) -> str | None:
        """Return what to say of a status; None where somebody seems to drive the run."""
        now = self.clock.now()
        seen = tuple(state[name] for name in _MOVING)
        if seen != self._seen:
            self._seen, self._since = seen, now
        if exits.of(state) != exits.IN_FLIGHT:
            return None
        due = datetime.fromisoformat(state["next_poll_at"]) if state["next_poll_at"] else None
        if due is not None and now - due > _LATE:
            why = f"the provider should have been asked at {screen.moment(due)}"
        elif due is None and state["pending"] and now - self._since > _LATE:
            why = "jobs wait, and none is sent"
        else:
            return None
        return f"Nobody seems to drive this run ({why}). Go on with it: {self._resume}"


_LATE = timedelta(minutes=5)  # a large upload comes before the next look
_MOVING = ("completed", "failed", "cancelled", "active", "pending", "batches_total")


def _lines(
    look: Callable[[], dict[str, Any]], hint: Hint, interval: float, as_json: bool
) -> dict[str, Any]:
    last, told = "", False
    while True:
        state = look()
        line = summary(state)
        if line != last:
            screen.say(screen.written(state) if as_json else line)
            last = line
        if not told and (said := hint.read(state)):
            screen.note(said)
            told = True
        if exits.of(state) != exits.IN_FLIGHT:
            return state
        hint.clock.wait(interval)


def summary(state: dict[str, Any]) -> str:
    """Say in one line how far a run is."""
    from batchkit.standing import status

    return f"{state['state']}: {status.line(state)}"


def _live(look: Callable[[], dict[str, Any]], hint: Hint, interval: float) -> dict[str, Any]:
    from rich.console import Console
    from rich.live import Live

    state = look()
    with Live(_panel(state, hint), console=Console(highlight=False), auto_refresh=False) as live:
        while exits.of(state) == exits.IN_FLIGHT:
            hint.clock.wait(interval)
            state = look()
            live.update(_panel(state, hint), refresh=True)
    return state


def _panel(state: dict[str, Any], hint: Hint) -> Any:
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
        *([Text(said)] if (said := hint.read(state)) else []),
    )
