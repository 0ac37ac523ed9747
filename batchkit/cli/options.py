"""Options that many commands share, and values that need more than a click type."""

from __future__ import annotations

import re
import shlex
from collections.abc import Callable
from datetime import timedelta
from typing import Any, TypeVar

import click

Command = TypeVar("Command", bound=Callable[..., Any])

_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days", "w": "weeks"}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)([smhdw])")

run_argument = click.argument("run", metavar="RUN")
maybe_run_argument = click.argument("run", metavar="[RUN]", required=False)
json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


def place_options(command: Command) -> Command:
    """Add --project and --database."""
    for option in (
        click.option(
            "--database",
            metavar="URL|FILE",
            help="SQLAlchemy URL or SQLite file; else BATCHKIT_DATABASE_URL, "
            "else the nearest .batchkit/batchkit.db.",
        ),
        click.option(
            "--project", metavar="NAME", help="Default: BATCHKIT_PROJECT, else 'default'."
        ),
    ):
        command = option(command)
    return command


def place_words(project: str | None, database: str | None) -> str:
    """Return what a command that goes on from here needs besides the run."""
    words = [*(("--project", project) if project else ())]
    words += ["--database", database] if database else []
    return "".join(f" {shlex.quote(word)}" for word in words)


def length(_ctx: click.Context | None, _param: Any, value: str | None) -> timedelta | None:
    """Read an option's 90s, 45m, 10h, 2d or 1h30m."""
    if value is None:
        return None
    parts = _LENGTH.findall(value)
    if not parts or "".join(number + unit for number, unit in parts) != value:
        raise click.BadParameter(
            f"{value!r} is no length of time; write 90s, 45m, 10h, 2d or 1h30m"
        )
    return sum((timedelta(**{_UNITS[unit]: float(n)}) for n, unit in parts), timedelta())
