"""A report as one HTML page that needs nothing from elsewhere; all that others wrote is escaped."""

from __future__ import annotations

from functools import cache
from importlib.resources import files
from typing import Any

from batchkit.console import counted
from batchkit.report import words
from batchkit.report.pictures import picture
from batchkit.report.values import Report

_LISTED = 200
_LONGEST = 2_000


def drawn(report: Report) -> str:
    """Return the page."""
    return str(
        _template().render(
            report=report,
            picture=picture(report),
            listed=report.batches[:_LISTED],
            counts=_counts(report),
        )
    )


def _counts(report: Report) -> list[tuple[str, int, str]]:
    """Return the parts of the whole as (word, jobs, class), those that there are."""
    found = [
        ("done", report.completed, "done"),
        ("failed", report.failed, "lost"),
        ("cancelled", report.cancelled, "cancelled"),
        ("in flight", report.active, "flying"),
        ("waiting", report.pending, "waiting"),
    ]
    return [one for one in found if one[1]]


@cache
def _template() -> Any:
    from jinja2 import Environment, StrictUndefined

    made = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    made.filters |= {
        "money": words.money,
        "span": words.span,
        "number": lambda number: f"{number:,}",
        "moment": lambda at: words.clock(at, day=True),
        "clock": words.clock,
        "line": lambda text: words.line(str(text), _LONGEST),
    }
    made.globals |= {"percent": words.percent, "count": counted}
    return made.from_string(files("batchkit.report").joinpath("page.html").read_text("utf-8"))
