"""``demo``: the main job end to end on real documents."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from batchkit.cli import exits, screen
from batchkit.cli.runs import next_step, told
from batchkit.cli.screen import usd
from batchkit.cli.view import summary
from batchkit.clock import SystemClock

if TYPE_CHECKING:
    from batchkit import Batch, BatchRun
    from batchkit.demo import Material, Night

_SHOWN_ROWS = 15


@click.command()
@click.argument(
    "folder", required=False, type=click.Path(exists=True, file_okay=False, path_type=Path)
)
@click.option(
    "--provider",
    type=click.Choice(["openai", "anthropic"]),
    help="Buy from a real provider, with the key of the environment; else the built-in simulator.",
)
@click.option("--yes", is_flag=True, help="Do not ask before a real provider is paid.")
@click.option("--limit", metavar="N", type=click.IntRange(min=1), help="At most so many documents.")
@click.option(
    "--cost-limit",
    metavar="USD",
    default=1.0,
    show_default=True,
    type=click.FloatRange(min=0, min_open=True),
    help="The most that a real provider may be paid.",
)
@click.option(
    "--faults",
    metavar="PLAN",
    help="Let things go wrong in the simulator: stormy, or a plan's file. See docs/simulator.md.",
)
def demo(
    folder: Path | None,
    provider: str | None,
    yes: bool,
    limit: int | None,
    cost_limit: float,
    faults: str | None,
) -> None:
    """Turn real documents into typed rows: installed Python distributions, or a FOLDER.

    FOLDER may hold .txt, .md, .rst, .json, .csv, .html and .pdf files. State and results lie in
    ./batchkit-demo; the same command again goes on there and buys nothing twice.
    """
    from batchkit import demo as play

    if faults and provider:
        raise click.UsageError("--faults is for the simulator: leave --provider out.")
    material = play.gather(folder, limit)
    place = play.place_for(Path(play.PLACE), faults)
    _open(material, place, provider)
    if provider:
        play.check_key(provider)
    with play.providers_for(provider, place, faults) as adapters:
        batch = play.prepared(
            material,
            place=place,
            provider=provider,
            adapters=adapters,
            cost_limit=cost_limit if provider else None,
            again=None if provider else _again(),
        )
        _show_estimate(batch, provider, cost_limit, yes=yes)
        run = _driven(batch)
        _show_kept(run, material)
        _show_rows(run, material)
        _close(run, place, play.full_price_usd(run, SystemClock().now().date()))
        state = told(run)
    if faults:
        _show_night(play.night(place, faults), state)
    sys.exit(exits.of(state))


def _show_kept(run: Any, material: Material) -> None:
    """Say where more is held than was asked for this time: nothing bought is thrown away."""
    more = run.status()["total"] - len(material.items)
    if more > 0:
        kept = screen.counted(more, "document")
        screen.say(
            f"From an earlier demo {kept} more {'lies' if more == 1 else 'lie'} in the run, and "
            "in its results: what was bought is not thrown away. "
            "To start afresh, remove ./batchkit-demo."
        )


def _open(material: Material, place: Path, provider: str | None) -> None:
    screen.say(f"{len(material.items):,} {material.title}")
    if material.skipped:
        screen.say(f"  {material.skipped:,} left out: empty, unreadable or over 200 kB")
    who = f"{provider}, for real" if provider else "the built-in simulator: nothing is paid"
    screen.say(f"Asked of: {who}")
    screen.say(f"State and results: {place.absolute()}")


def _show_estimate(batch: Batch, provider: str | None, cost_limit: float, *, yes: bool) -> None:
    """Say what it will cost; ask before a real provider is paid."""
    told_before = batch.estimate()
    if not told_before["new_jobs"]:
        screen.say("Everything is known already: nothing to buy.")
        return
    screen.say(
        f"To buy: {screen.counted(told_before['new_jobs'], 'answer')} in "
        f"{screen.counted(told_before['batches'], 'batch', 'batches')}, about "
        f"{usd(told_before['usd_expected'])}, at most {usd(told_before['usd_max'])} "
        f"({usd(told_before['usd_realtime'])} without batching)"
    )
    if provider:
        low, high = (screen.lasting(hours) for hours in told_before["hours_range"])
        expected = screen.lasting(told_before["hours_expected"])
        screen.say(f"It takes about {expected}; in 8 of 10 nights between {low} and {high}")
    if provider and not yes:
        screen.say(f"This is real money; the cost limit is {usd(cost_limit)}.")
        if not _agreed():
            screen.note("Nothing was sent. Without being asked it goes on with --yes.")
            sys.exit(exits.ERROR)


def _agreed() -> bool:
    """Ask; nobody there is a no."""
    try:
        return click.confirm("Go on?")
    except click.Abort:
        screen.say()
        return False


def _again() -> str:
    """Return this very command."""
    return f"{screen.program()} {shlex.join(['demo', *sys.argv[2:]])}"


def _driven(batch: Batch) -> BatchRun:
    """Run it with a line for each step forward."""
    last: list[str] = [""]

    def tell(stats: dict[str, Any], elapsed: float, batches: dict[str, Any]) -> None:
        line = summary(stats)
        if line != last[0]:
            last[0] = line
            screen.say(f"{elapsed:5.1f} s  {line}")

    return batch.run(on_progress=tell, progress_interval=0.5)


def _show_rows(run: BatchRun, material: Material) -> None:
    answers = run.iter_results(state="completed", response_model=material.model)
    parsed = (result.parsed_response for result in answers)
    rows = [
        [_field(answer, name) for name in material.columns]
        for answer in islice((one for one in parsed if one is not None), _SHOWN_ROWS)
    ]
    count, columns = run.status()["completed"], len(material.columns)
    screen.say()
    screen.table(material.columns, rows, widest=34)
    screen.say(
        f"{len(rows):,} of {count:,} rows, {columns} of {len(material.model.model_fields)} fields: "
        "all of them are in the results."
    )


def _show_night(night: Night, state: Mapping[str, Any]) -> None:
    """Say what went wrong, and what the simulator's own books say came of it."""
    screen.say()
    screen.say("What went wrong:")
    rows = [[where, kind, times] for (where, kind), times in sorted(night.struck.items())]
    screen.table(("where", "what", "times"), rows)
    screen.say()
    screen.facts(
        {
            "Faults": f"{night.faults:,} struck",
            "Answers": f"{state['completed']:,} of {state['total']:,} documents",
            "Bought twice": f"{night.twice:,}, by the simulator's own books",
            "Unreadable": f"{night.unreadable:,} answers came garbled, or not at all",
        }
    )


def _field(answer: Any, name: str) -> Any:
    value = answer.get(name) if isinstance(answer, dict) else getattr(answer, name)
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


def _close(run: BatchRun, place: Path, full_price: float | None) -> None:
    state = told(run)
    screen.say()
    screen.facts(
        {
            "Cost": f"{usd(state['cost_usd'])} in batches, {usd(full_price)} at full price",
            "State": place / "state.db",
            "Results": f"{place / 'results'}, one JSON file per document",
        }
    )
    where = f" --project demo --database {place / 'state.db'}"
    program, first = screen.program(), next(run.iter_results(), None)
    screen.say("Next:")
    screen.say(f"  {program} results {run.id} -o rows.csv{where}")
    if first is not None:
        screen.say(f"  {program} show {run.id} {shlex.quote(first.key)}{where}")
    screen.say(f"  {program} verify{where}")
    screen.say(f"  {program} demo FOLDER     your own documents")
    if hint := next_step(state, where):
        screen.say(hint)
