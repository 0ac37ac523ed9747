"""What came back: ``results``, ``errors``, ``show``, ``log``."""

from __future__ import annotations

import shlex
from typing import Any

import click

from batchkit.cli import screen
from batchkit.cli.options import json_option, place_options, place_words, run_argument
from batchkit.cli.runs import headline, told
from batchkit.cli.screen import usd

_TOLD = ("error_code", "error", "model", "input_tokens", "output_tokens", "source")
_STATES = ("completed", "failed", "cancelled", "pending", "active")


@click.command()
@run_argument
@click.option(
    "-o",
    "--output",
    metavar="FILE|URL",
    help="Write a file instead (.jsonl, .csv, .parquet), or a table: results.db, "
    "postgresql://host/database/table.",
)
@click.option(
    "--state",
    "states",
    multiple=True,
    type=click.Choice(_STATES),
    help="Only jobs in this state; may be repeated.",
)
@click.option("--model", "model", metavar="FILE.py:CLASS", help="Type the answers by this class.")
@click.option("--pivot", type=click.Choice(["model"]), help="One row a key, the models beside it.")
@json_option
@place_options
def results(
    run: str,
    output: str | None,
    states: tuple[str, ...],
    model: str | None,
    pivot: str | None,
    as_json: bool,
    project: str | None,
    database: str | None,
) -> None:
    """Print or export one row per job, with its state and error; while it runs, too."""
    from batchkit.export import shown
    from batchkit.upkeep import chosen, imported_model

    found = chosen(run, project=project, database=database)
    response_model = imported_model(model) if model else None
    if pivot is not None:
        _side_by_side(found, pivot, output, states, response_model, as_json)
    elif output is not None:
        count = found.export(output, states=states or None, response_model=response_model)
        screen.note(f"{screen.counted(count, 'row')} written to {shown(output)}")
    else:
        rows = found.rows(states or None, response_model=response_model)
        _print_json(rows) if as_json else _print_rows(rows)
    screen.note(_final(found.status()))


def _side_by_side(
    run: Any,
    by: str,
    output: str | None,
    states: tuple[str, ...],
    response_model: Any,
    as_json: bool,
) -> None:
    if states:
        raise click.UsageError("--pivot shows every state of a key: leave --state out.")
    found = run.pivot(by, response_model)
    if output is not None:
        screen.note(f"{screen.counted(found.export(output), 'row')} written to {output}")
    elif as_json:
        _print_json(found)
    else:
        rows = list(found)
        models = list(dict.fromkeys(model for row in rows for model in row.results))
        sides = ((row.key, *(_side(row.results.get(model)) for model in models)) for row in rows)
        screen.table(("key", *models), sides)


def _side(result: Any) -> Any:
    if result is None:
        return None
    return result.error or result.raw_response or result.state


def _final(status: dict[str, Any]) -> str:
    ended = status["completed"] + status["failed"] + status["cancelled"]
    return f"{ended:,} of {status['total']:,} final"


def _print_json(rows: Any) -> None:
    """Print one JSON array, a row a line, without holding it."""
    screen.say("[")
    line = ""
    for row in rows:
        if line:
            screen.say(f"{line},")
        line = screen.written(row.to_dict())
    if line:
        screen.say(line)
    screen.say("]")


def _print_rows(rows: Any) -> None:
    screen.table(
        ("key", "state", "cost", "answer or error"),
        [(row.key, row.state, usd(row.cost_usd), row.error or row.raw_response) for row in rows],
        widest=80,
    )


@click.command()
@run_argument
@json_option
@place_options
def errors(run: str, as_json: bool, project: str | None, database: str | None) -> None:
    """Print the failed jobs by reason, with three examples of each."""
    from batchkit.upkeep import failures

    reasons = failures(run, project=project, database=database)
    if as_json:
        screen.as_json([reason.to_dict() for reason in reasons])
        return
    if not reasons:
        screen.say("No job has failed.")
    for reason in reasons:
        screen.say(f"{reason.code}  {screen.counted(reason.count, 'job')}")
        for key, text in reason.examples:
            screen.say(f"  {screen.cell(key)}: {screen.cell(text, 300)}")
    if reasons:
        retry = f"{screen.program()} retry {shlex.quote(run)}{place_words(project, database)}"
        screen.say(f"Again, after mending the cause: {retry} --code {reasons[0].code}")


@click.command()
@run_argument
@click.option("--model", "model", metavar="FILE.py:CLASS", help="Judge by this class.")
@json_option
@place_options
def reparse(
    run: str, model: str | None, as_json: bool, project: str | None, database: str | None
) -> None:
    """Judge stored answers again after the model was mended: free, nothing is sent.

    Without --model they are judged by the JSON Schema that was stored when they were asked for.
    """
    from batchkit.upkeep import chosen, imported_model

    found = chosen(run, project=project, database=database)
    fit = found.reparse(imported_model(model) if model else None)
    state = told(found)
    if as_json:
        screen.as_json({"fit": fit, **state})
    else:
        screen.say(headline(state))


@click.command()
@run_argument
@click.argument("key")
@json_option
@place_options
def show(run: str, key: str, as_json: bool, project: str | None, database: str | None) -> None:
    """Print one job's whole story."""
    from batchkit.upkeep import chosen

    data = chosen(run, project=project, database=database).get(key).to_dict()
    if as_json:
        screen.as_json(data)
        return
    result = data["result"]
    now = data["batch"] and f"{data['batch']['state']} {data['batch']['ref'] or ''}"
    screen.facts(
        {
            "key": key,
            "state": result["state"],
            "provider": data["provider"],
            **data["request"],
            **{name: result[name] for name in _TOLD if result[name] is not None},
            "cost": usd(result["cost_usd"]),
            "batch": now,
            "raw file": _raw(data["attempts"]),
        }
    )
    _show_attempts(data["attempts"])
    for event in data["events"]:
        screen.say(screen.cell(f"{event.pop('at')}  {event.pop('action')}  {event or ''}", 400))
    if answer := result["parsed_response"] or result["raw_response"]:
        screen.say()
        screen.say(screen.printable(answer))
    _show_citations(result)


def _show_citations(result: dict[str, Any]) -> None:
    """Print what was cited: by field where the answer has fields, else one after the other."""
    rows = [
        [field, *_cited(one), "" if one["metadata"]["sure"] else "unsure"]
        for field, found in result["citation_mappings"].items()
        for one in found
    ]
    names = ["field", "source", "where", "words", ""]
    if not rows:
        rows, names = [_cited(one) for one in result["citations"]], names[1:-1]
    if rows:
        screen.say()
        screen.table(names, rows)


def _cited(one: dict[str, Any]) -> list[str]:
    place = one["metadata"] or {}
    where = "" if one["page"] is None else f"page {one['page']}"
    for name, said in (("start_char_index", "character"), ("start_block_index", "block")):
        if not where and place.get(name) is not None:
            where = f"{said} {place[name]}"
    return [screen.cell(one["source"], 60), where, screen.cell(one["text"], 100)]


def _raw(attempts: list[dict[str, Any]]) -> str | None:
    """Say where the newest kept result lies, and in which line."""
    for one in reversed(attempts):
        if one["raw_file"]:
            line = "" if one["raw_line"] is None else f", line {one['raw_line']:,}"
            return f"{one['raw_file']}{line}"
    return None


def _show_attempts(attempts: list[dict[str, Any]]) -> None:
    names = ["number", "reason", "state", "code", "finish_reason", "cost_usd", "batch", "at"]
    if any("part" in one for one in attempts):  # a document in parts
        names.insert(0, "part")
    if attempts:
        screen.say()
        shown = [{**one, "cost_usd": usd(one["cost_usd"])} for one in attempts]
        screen.table(names, [[one[name] for name in names] for one in shown])
    for one in attempts:
        for name in ("change", "error"):
            if one[name]:
                which = f"part {one['part']}, {one['number']}" if "part" in one else one["number"]
                screen.say(f"{which}: {name}: {screen.cell(one[name], 1_000)}")


@click.command()
@run_argument
@click.option("--since", metavar="TIME", help="22:00, 2026-11-20T22:00 or 2h.")
@json_option
@place_options
def log(
    run: str, since: str | None, as_json: bool, project: str | None, database: str | None
) -> None:
    """Print the run's time line."""
    from batchkit.upkeep import moment, timeline

    after = moment(since) if since else None
    events = timeline(run, after, project=project, database=database)
    if as_json:
        screen.as_json(events)
        return
    for event in events:
        screen.say(_line(event))


def _line(event: dict[str, Any]) -> str:
    at = screen.moment(event["at"])
    where = f" batch {event['batch_id']}" if event["batch_id"] else ""
    which = f" {event['key']}" if event["key"] else ""
    told = ", ".join(f"{k}: {screen.cell(v, 200)}" for k, v in event["detail"].items() if v)
    return screen.cell(f"{at}  {event['action']}{where}{which}  {told}".rstrip(), 400)
