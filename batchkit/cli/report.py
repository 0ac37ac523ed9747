"""``report``: what a night did, what it cost, what to type next."""

from __future__ import annotations

import shutil
from pathlib import Path

import click

from batchkit.cli import screen
from batchkit.cli.options import json_option, maybe_run_argument, place_options


@click.command()
@maybe_run_argument
@click.option(
    "--html",
    "page",
    metavar="FILE",
    type=click.Path(dir_okay=False, path_type=Path),
    help="Write one HTML page that needs nothing from elsewhere.",
)
@json_option
@place_options
def report(
    run: str | None, page: Path | None, as_json: bool, project: str | None, database: str | None
) -> None:
    """Print the morning report of a run: answers, failures, money, batches, what to type next."""
    from batchkit.upkeep import chosen, written_page

    made = chosen(run, project=project, database=database).report()
    if page is not None:
        written_page(made, page)
        screen.note(f"written to {page}")
    if as_json:
        screen.as_json(made.to_dict())
    elif page is None:
        width = min(shutil.get_terminal_size((80, 24)).columns, 120)
        screen.say(made.to_text(width=width).rstrip())
