"""Exit codes and the lengths of time that options take."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import click
import pytest

from batchkit.cli import exits
from batchkit.cli.options import length
from batchkit.errors import ValidationError
from batchkit.upkeep import moment

NOW = datetime(2026, 11, 20, 21, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("state", "waiting_for", "code"),
    [
        ("completed", None, 0),
        ("failed", None, 3),
        ("cancelled", None, 3),
        ("draft", None, 4),
        ("waiting", "budget", 4),
        ("waiting", "account", 4),
        ("waiting", "review", 4),
        ("waiting", "files", 4),
        ("waiting", "canary", 4),
        ("waiting", "provider", 5),
        ("waiting", "something new", 5),
        ("running", None, 5),
        ("running", "budget", 4),
    ],
)
def test_a_status_has_an_exit_code(state: str, waiting_for: str | None, code: int) -> None:
    assert exits.of({"state": state, "waiting_for": waiting_for}) == code


def test_several_runs_have_the_highest() -> None:
    states: list[dict[str, Any]] = [
        {"state": state, "waiting_for": None} for state in ("completed", "running", "failed")
    ]

    assert exits.highest(states) == 5
    assert exits.highest([]) == 0


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("90s", timedelta(seconds=90)),
        ("45m", timedelta(minutes=45)),
        ("1.5h", timedelta(hours=1.5)),
        ("1h30m", timedelta(hours=1.5)),
        ("90d", timedelta(days=90)),
        ("2w", timedelta(weeks=2)),
    ],
)
def test_a_length_of_time_is_read(written: str, expected: timedelta) -> None:
    assert length(None, None, written) == expected


@pytest.mark.parametrize("written", ["", "10", "h", "10 hours", "-5m", "5m later"])
def test_what_is_no_length_of_time_is_a_usage_error(written: str) -> None:
    with pytest.raises(click.BadParameter, match="no length of time"):
        length(None, None, written)


@pytest.mark.parametrize(
    ("written", "expected"),
    [
        ("2h", NOW - timedelta(hours=2)),
        ("2026-11-20T20:00:00+00:00", NOW - timedelta(minutes=90)),
    ],
)
def test_a_moment_is_read(written: str, expected: datetime) -> None:
    assert moment(written, NOW) == expected


def test_a_time_of_day_is_the_last_one() -> None:
    """At half past nine ``22:00`` was yesterday; local time, as on the wall."""
    local = NOW.astimezone()
    later = (local + timedelta(minutes=30)).strftime("%H:%M")
    earlier = (local - timedelta(minutes=30)).strftime("%H:%M")

    assert moment(later, NOW) == NOW + timedelta(minutes=30) - timedelta(days=1)
    assert moment(earlier, NOW) == NOW - timedelta(minutes=30)


@pytest.mark.parametrize("written", ["soon", "25:00", "2026-13-01"])
def test_what_is_no_moment_says_how_to_write_one(written: str) -> None:
    with pytest.raises(ValidationError, match="write 22:00"):
        moment(written, NOW)
