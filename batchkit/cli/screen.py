"""What a person sees: tables on a terminal, plain lines elsewhere, and JSON."""

from __future__ import annotations

import re
import shlex
import shutil
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime
from enum import Enum
from pathlib import Path
from typing import Any

import click

from batchkit.console import counted as counted

GAP = 3
"""How far columns stand from each other on a terminal."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")


def say(text: str = "") -> None:
    """Print one line."""
    click.echo(text)


def note(text: str) -> None:
    """Print one line to stderr, beside what goes into a pipe."""
    click.echo(text, err=True)


def as_json(value: Any) -> None:
    """Print a value as JSON."""
    click.echo(written(value, indent=2))


def written(value: Any, indent: int | None = None) -> str:
    """Return a value as JSON; times in ISO 8601."""
    import json

    return json.dumps(value, indent=indent, ensure_ascii=False, default=_plain)


def _plain(value: Any) -> Any:
    if isinstance(value, (date, datetime)):
        return value.isoformat()
    if isinstance(value, Enum):
        return value.value
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    return str(value)


def program() -> str:
    """Return what starts batchkit here: its name, or its path where PATH does not lead to it."""
    typed = sys.argv[0]
    if Path(typed).name != "batchkit" or not Path(typed).is_file():
        return "batchkit"
    found = shutil.which("batchkit")
    return "batchkit" if found and Path(found).samefile(typed) else shlex.quote(typed)


def moment(at: datetime) -> str:
    """Write a time for people, on this machine's clock."""
    return at.astimezone().strftime("%Y-%m-%d %H:%M:%S")


def lasting(hours: float) -> str:
    """Write how long something takes, in minutes or hours, as exactly as anybody can know it."""
    if hours < 1:
        return f"{max(1, round(hours * 60))} min"
    return f"{hours:.1f} h" if hours < 10 else f"{hours:.0f} h"


def is_terminal() -> bool:
    """Say whether a person looks at stdout."""
    return sys.stdout.isatty()


def table(headers: Sequence[str], rows: Iterable[Sequence[Any]], *, widest: int = 60) -> None:
    """Print rows: drawn on a terminal, aligned words elsewhere."""
    cells = [[cell(value, widest) for value in row] for row in rows]
    right = [_is_number_column(cells, at) for at in range(len(headers))]
    if is_terminal():
        _draw(headers, cells, right)
        return
    widths = [max(map(len, column)) for column in zip(headers, *cells, strict=True)]
    for row in (headers, *cells):
        padded = (
            word.rjust(width) if to_the_right else word.ljust(width)
            for word, width, to_the_right in zip(row, widths, right, strict=True)
        )
        say("  ".join(padded).rstrip())


def facts(pairs: Mapping[str, Any]) -> None:
    """Print names and values, one a line."""
    width = max(map(len, pairs), default=0)
    for name, value in pairs.items():
        say(f"{name.ljust(width)}  {cell(value, 2_000)}")


def cell(value: Any, widest: int = 60) -> str:
    """Write a value into one line without control characters; '–' for None."""
    if value is None or value in ("", [], ()):
        return "–"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, (list, tuple)):
        value = ", ".join(cell(item, widest) for item in value)
    elif isinstance(value, int):
        value = f"{value:,}"
    text = _CONTROL.sub(" ", str(value)).strip()
    return text if len(text) <= widest else text[: widest - 1] + "…"


def printable(value: Any) -> str:
    """Write an answer for people: data as JSON, text without control characters but line ends."""
    if not isinstance(value, str):
        return written(value, indent=2)
    return "\n".join(_CONTROL.sub(" ", line) for line in value.splitlines())


def usd(amount: float | None) -> str | None:
    """Write an amount for people; None stays unknown."""
    if amount is None:
        return None
    return f"${amount:,.2f}" if amount >= 1 or amount == 0 else f"${amount:.6f}"


def _is_number_column(cells: list[list[str]], at: int) -> bool:
    column = [row[at] for row in cells if row[at] != "–"]
    return bool(column) and all(re.fullmatch(r"[$-]?[\d,.]+%?", word) for word in column)


def _draw(headers: Sequence[str], cells: list[list[str]], right: list[bool]) -> None:
    from rich import box
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    drawn = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for header, to_the_right in zip(headers, right, strict=True):
        drawn.add_column(header, justify="right" if to_the_right else "left", overflow="fold")
    for row in cells:
        drawn.add_row(*(Text(word) for word in row))
    Console(highlight=False).print(drawn)
