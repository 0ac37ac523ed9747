"""A demo on a bad night: the plan of it, the place of it, and what the books say afterwards."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from batchkit.errors import ConfigError

if TYPE_CHECKING:
    from batchkit.simulator import Plan


@dataclass(frozen=True, slots=True)
class Night:
    """What struck, by place and kind, and what it cost: answers that were there, bought again."""

    struck: Mapping[tuple[str, str], int]
    twice: int
    unreadable: int

    @property
    def faults(self) -> int:
        """How many faults struck."""
        return sum(self.struck.values())


def plan_for(faults: str | None) -> Plan | None:
    """Return the plan of a name or a file; raise ConfigError for what is wrong with it."""
    from batchkit.simulator import PlanError, plan_of

    if faults is None:
        return None
    try:
        return plan_of(faults)
    except PlanError as error:
        raise ConfigError(str(error)) from error


def place_for(place: Path, faults: str | None) -> Path:
    """Return where a demo's state lies: a bad night has a folder of its own."""
    return place if faults is None else place / f"faults-{Path(faults).stem}"


def night(place: Path, faults: str) -> Night:
    """Read the books of the simulator in ``place``, which has ended."""
    from batchkit.demo.stage import SCALE
    from batchkit.simulator import Simulator

    with Simulator(place / "simulator", scale=SCALE, faults=plan_for(faults)) as simulator:
        books = simulator.ledger()
    struck = {}
    for name, times in books.faults().items():
        where, _, kind = name.partition(": ")
        struck[where, kind] = times
    unreadable = sum(entry.billed and not entry.whole for entry in books.entries)
    return Night(struck, len(books.bought_needlessly()), unreadable)
