"""Exit codes, and how a run's status becomes one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

DONE = 0
ERROR = 1
USAGE = 2
IMPERFECT = 3
PERSON = 4
IN_FLIGHT = 5
DETACHED = 130

_PERSONS = frozenset({"budget", "account", "review", "files", "canary"})
_OF_STATE = {"completed": DONE, "failed": IMPERFECT, "cancelled": IMPERFECT, "draft": PERSON}


def of(status: Mapping[str, Any]) -> int:
    """Return the exit code of one run's status; a draft needs a person to start it."""
    if status.get("waiting_for") in _PERSONS:
        return PERSON
    return _OF_STATE.get(str(status["state"]), IN_FLIGHT)


def highest(statuses: Iterable[Mapping[str, Any]]) -> int:
    """Return the exit code of several runs; 0 for none."""
    return max((of(status) for status in statuses), default=DONE)
