"""Runs as a whole: ``ls``, ``status``, ``watch``, ``resume``, ``cancel``, ``retry``."""

from __future__ import annotations

import sys
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import click

from batchkit.cli import exits, screen
from batchkit.cli.options import (
    json_option,
    length,
    maybe_run_argument,
    place_options,
    place_words,
    run_argument,
)
from batchkit.cli.screen import usd

if TYPE_CHECKING:
    from batchkit import BatchRun
    from batchkit.model import Reserve
    from batchkit.standing import Standing

_LISTED = ("id", "state", "done", "failed", "cost")
_WIDTH, _NARROWEST = 78, 12  # a drawn table has an edge on each side


def told(run: BatchRun | Standing) -> dict[str, Any]:
    """Return a run's status with what names it."""
    return {
        "id": run.id,
        "name": run.name,
        **run.status(),
        **run.firsts(),
        "warnings": run.warnings(),
    }


@click.command()
@click.option("--limit", default=50, show_default=True, type=click.IntRange(min=1))
@json_option
@place_options
def ls(limit: int, as_json: bool, project: str | None, database: str | None) -> None:
    """List the project's runs, newest first; drafts are not started and never sent."""
    from batchkit.standing import Standing
    from batchkit.standing.finding import newest

    store, there = newest(limit, project, database) or (None, [])
    rows = [told(Standing(store, row)) for row in there] if store else []
    if as_json:
        screen.as_json(rows)
    elif rows:
        listed = [_row(row) for row in rows]
        widths = [max(map(len, column)) for column in zip(_LISTED, *listed, strict=True)]
        room = max(_NARROWEST, _WIDTH - sum(widths) - screen.GAP * len(widths))
        named = [_tail(screen.cell(row["name"], 1_000), room) for row in rows]
        screen.table(("run", *_LISTED), [(n, *row) for n, row in zip(named, listed, strict=True)])
        for row in rows:
            _warn(row, place_words(project, database))
    else:
        screen.say("No runs here.")


def _warn(state: dict[str, Any], where: str) -> None:
    """Say what leaves the provider soon, and the command that fetches it."""
    for warning in state["warnings"]:
        screen.note(f"{state['name']}: {warning}: batchkit resume {state['id']}{where}")


def _row(status: dict[str, Any]) -> tuple[str, ...]:
    waiting = status["waiting_for"]
    ended = status["completed"] + status["failed"] + status["cancelled"]
    return (
        status["id"],
        f"{status['state']}: {waiting}" if waiting else status["state"],
        f"{ended:,} of {status['total']:,}",
        f"{status['failed']:,}",
        _cost(status),
    )


def _cost(status: dict[str, Any]) -> str:
    """Write what is known to be spent, and that more was where a price is unknown."""
    known = usd(status["cost_usd"]) or "–"
    if not status["cost_unknown_jobs"]:
        return known
    return f"{known} + unknown" if status["cost_usd"] else "unknown"


def _unknown(status: dict[str, Any]) -> str:
    count = status["cost_unknown_jobs"]
    return f" ({screen.counted(count, 'job')} at an unknown cost)" if count else ""


def _tail(name: str, widest: int) -> str:
    """Cut a name; of a path the end tells more than the start."""
    if len(name) <= widest:
        return name
    return f"…{name[1 - widest :]}" if name.startswith("/") else f"{name[: widest - 1]}…"


@click.command()
@maybe_run_argument
@json_option
@place_options
def status(run: str | None, as_json: bool, project: str | None, database: str | None) -> None:
    """Print how one run stands (the newest unfinished one unless named); exit code by state."""
    from batchkit.upkeep import standing

    found = standing(run, project=project, database=database)
    state = told(found)
    forecast = found.forecast()
    if as_json:
        screen.as_json(state | {"forecast": forecast})
    else:
        _show(state, place_words(project, database))
        _foretell(forecast)
    sys.exit(exits.of(state))


def _show(state: dict[str, Any], where: str) -> None:
    screen.say(headline(state))
    kept = {name: _readable(name, state[name]) for name in _DETAILS if state.get(name)}
    money = {name: usd(state[name]) for name in _MONEY if state.get(name) is not None}
    reasons = {f"failed: {code}": count for code, count in state["failed_by_code"].items()}
    screen.facts(kept | money | reasons | _told_first(state))
    _warn(state, where)
    if hint := next_step(state, where):
        screen.say(hint)


def _foretell(forecast: dict[str, Any] | None) -> None:
    if forecast is None:
        return
    middle, low, high = (
        screen.moment(datetime.fromisoformat(at))[:-3]
        for at in (forecast["ends_at"], *forecast["ends_between"])
    )
    known = forecast["known_batches"]
    why = f"by {screen.counted(known, 'earlier batch', 'earlier batches')}" if known else "a guess"
    spread = "" if low == high else f", probably between {low} and {high}"
    screen.say(f"It ends about {middle}{spread} ({why})")


def _told_first(state: dict[str, Any]) -> dict[str, Any]:
    """Say what went before the rest: a canary, and what was cached."""
    found: dict[str, Any] = {}
    if canary := state["canary"]:
        why = "".join(f"; {screen.cell(one)}" for one in canary["why"])
        found["canary"] = f"{canary['state']}, {screen.counted(canary['jobs'], 'job')}{why}"
    if caching := state["prompt_caching"]:
        known = screen.counted(caching["prefixes"], "prefix", "prefixes")
        found["prompt caching"] = (
            f"{caching['cached_tokens']:,} tokens read, {caching['cache_write_tokens']:,} written, "
            f"{caching['warmed']:,} of {known} cached"
        )
    return found


def _readable(name: str, value: Any) -> Any:
    if name in _TIMES:
        return screen.moment(datetime.fromisoformat(value))
    return f"{value:,.1f}" if name == "elapsed_s" else value


_TIMES = ("since", "last_progress_at", "next_poll_at")
_DETAILS = (
    *("total", "completed", "failed", "cancelled", "active", "pending"),
    *("waiting_for", "since", "batches_total", "batches_pending", "cost_unknown_jobs"),
    *("last_progress_at", "next_poll_at", "elapsed_s", "reserve"),
)
_MONEY = ("cost_usd", "reserved_usd", "cost_limit_usd", "overshoot_usd")


def headline(state: dict[str, Any]) -> str:
    """Say in one line how a run stands."""
    ended = state["completed"] + state["failed"] + state["cancelled"]
    words = [
        f"{screen.cell(state['name'])} ({state['id']}): {state['state']}",
        f"{ended:,} of {screen.counted(state['total'], 'job')} ended",
        f"{state['failed']:,} failed" if state["failed"] else "",
        f"{state['cancelled']:,} cancelled" if state["cancelled"] else "",
        f"spent {usd(state['cost_usd'])}{_unknown(state)}" if state["cost_usd"] is not None else "",
    ]
    return ", ".join(word for word in words if word)


_HINTS = {
    "budget": "The cost limit holds jobs back. Go on with: {resume} --cost-limit USD",
    "account": "The provider's account needs a person. Mend it, then: {resume}",
    "files": "Files are missing on this machine. Put them back, then: {resume}",
    "review": "Too many answers fail for one reason. Look: {errors}; then: {resume}",
    "canary": "The first answers want a look. Look: {results}; then: {resume}",
    "provider": "Unreachable since {since}; the provider is asked again while this runs: {resume}",
}


def next_step(state: dict[str, Any], where: str = "") -> str | None:
    """Say what a person can do for a run; None if nothing. ``where`` ends each command."""
    names = ("resume", "errors", "results", "retry")
    commands = {name: f"{screen.program()} {name} {state['id']}{where}" for name in names}
    if state["waiting_for"] in _HINTS:
        return _HINTS[state["waiting_for"]].format(since=_shown_since(state), **commands)
    if state["state"] == "draft":
        return "A draft: its script has not called run() or submit() yet."
    if state["state"] in ("failed", "cancelled"):
        return f"Why: {commands['errors']}\nFresh attempts: {commands['retry']}"
    if state["state"] == "running":
        return f"Go on with it: {commands['resume']}"
    return None


def _shown_since(state: dict[str, Any]) -> str:
    return "" if state["since"] is None else screen.moment(datetime.fromisoformat(state["since"]))


@click.command()
@maybe_run_argument
@click.option("--interval", default=1.0, show_default=True, type=click.FloatRange(min=0.1))
@json_option
@place_options
def watch(
    run: str | None, interval: float, as_json: bool, project: str | None, database: str | None
) -> None:
    """Watch a run until it is done or only a person moves it on; this drives nothing itself."""
    from batchkit.cli.view import follow
    from batchkit.upkeep import standing

    found = standing(run, project=project, database=database)
    resume = f"{screen.program()} resume {found.id}{place_words(project, database)}"
    state = follow(lambda: told(found), interval, resume, as_json=as_json)
    sys.exit(exits.of(state))


@click.command()
@maybe_run_argument
@click.option("--cost-limit", metavar="USD", type=float, help="The run's new cost limit.")
@click.option("--time-limit", metavar="LENGTH", callback=length, help="Such as 45m, 10h or 2d.")
@click.option(
    "--reserve", type=click.Choice(["bound", "observed"]), help="What the limit reserves for a job."
)
@click.option("--once", is_flag=True, help="Do all that can be done without waiting (for cron).")
@json_option
@place_options
def resume(
    run: str | None,
    cost_limit: float | None,
    time_limit: timedelta | None,
    reserve: Reserve | None,
    once: bool,
    as_json: bool,
    project: str | None,
    database: str | None,
) -> None:
    """Go on with one run, or with all started, unfinished ones of the project."""
    from batchkit.upkeep import go_on

    if run is None and (cost_limit, time_limit, reserve) != (None, None, None):
        raise click.UsageError("A limit belongs to one run: name it.")
    states = [
        told(found)
        for found in go_on(
            run,
            cost_limit=cost_limit,
            time_limit=time_limit,
            reserve=reserve,
            once=once,
            print_status=not as_json,
            project=project,
            database=database,
        )
    ]
    if as_json:
        screen.as_json(states if run is None else states[0])
    else:
        for state in states:
            screen.say(headline(state))
            if hint := next_step(state, place_words(project, database)):
                screen.say(hint)
        if not states:
            screen.say("Nothing to go on with: no started, unfinished run in this project.")
    sys.exit(exits.highest(states))


@click.command()
@run_argument
@click.option("--key", "keys", multiple=True, help="Only this job; may be repeated.")
@json_option
@place_options
def cancel(
    run: str, keys: tuple[str, ...], as_json: bool, project: str | None, database: str | None
) -> None:
    """Stop sending and cancel at the provider; what was answered is collected and kept."""
    from batchkit.upkeep import chosen

    found = chosen(run, project=project, database=database)
    found.cancel(keys=list(keys) or None)
    state = told(found)
    if as_json:
        screen.as_json(state)
    else:
        screen.say(headline(state))


@click.command()
@run_argument
@click.option("--code", "codes", multiple=True, help="Only this reason; may be repeated.")
@click.option("--key", "keys", multiple=True, help="Only this job; may be repeated.")
@click.option("--max-tokens", type=click.IntRange(min=1))
@click.option("--model")
@click.option("--prompt")
@json_option
@place_options
def retry(
    run: str,
    codes: tuple[str, ...],
    keys: tuple[str, ...],
    as_json: bool,
    project: str | None,
    database: str | None,
    **changes: Any,
) -> None:
    """Give failed and cancelled jobs fresh attempts; then: batchkit resume."""
    from batchkit.upkeep import chosen

    found = chosen(run, project=project, database=database)
    count = found.retry(codes=list(codes) or None, keys=list(keys) or None, **changes)
    state = told(found)
    if as_json:
        screen.as_json({"again": count, **state})
        return
    screen.say(headline(state))
    screen.say(f"Fresh attempts: {screen.counted(count, 'job')}")
    if count and (hint := next_step(state, place_words(project, database))):
        screen.say(hint)
