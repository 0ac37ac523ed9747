"""Options that many commands share, and values that need more than a click type."""

from __future__ import annotations

import re
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


class Length(click.ParamType):
    """A length of time such as 90s, 45m, 10h, 2d or 1h30m."""

    name = "length"

    def convert(self, value: Any, param: Any, ctx: Any) -> timedelta:
        """Return it as a timedelta."""
        if isinstance(value, timedelta):
            return value
        parts = _LENGTH.findall(str(value))
        if not parts or "".join(n + u for n, u in parts) != value:
            self.fail(f"{value!r} is no length of time; write 90s, 45m, 10h, 2d or 1h30m", param)
        return sum((timedelta(**{_UNITS[u]: float(n)}) for n, u in parts), timedelta())


LENGTH = Length()
