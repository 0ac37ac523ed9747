"""Keeping house: ``verify``, ``rm``, ``db``."""

from __future__ import annotations

import sys
from datetime import timedelta

import click

from batchkit.cli import exits, screen
from batchkit.cli.options import json_option, length, maybe_run_argument, place_options
from batchkit.cli.screen import usd


@click.command()
@maybe_run_argument
@click.option("--provider", is_flag=True, help="Ask the provider, too: counts, lines, usage.")
@json_option
@place_options
def verify(
    run: str | None, provider: bool, as_json: bool, project: str | None, database: str | None
) -> None:
    """Prove the books of one run, or of all of the project, from the rows alone."""
    from batchkit.upkeep import verified

    proofs = verified(run, provider=provider, project=project, database=database)
    if as_json:
        screen.as_json([proof.to_dict() for proof in proofs])
    else:
        for proof in proofs:
            verdict = "the books are right" if proof.holds else "THE BOOKS ARE WRONG"
            screen.say(f"{screen.cell(proof.name)} ({proof.id}): {verdict}")
            screen.say(
                f"  {screen.counted(proof.total, 'job')}, "
                f"{screen.counted(proof.outcomes, 'outcome')}; "
                f"exact {usd(proof.exact_usd)}, "
                f"at their bound {usd(proof.bound_usd)}, reserved {usd(proof.reserved_usd)}"
            )
            for line in (*proof.problems, *proof.notes):
                screen.say(f"  {screen.cell(line, 500)}")
        if not proofs:
            screen.say("No runs here.")
    sys.exit(exits.DONE if all(proof.holds for proof in proofs) else exits.ERROR)


@click.command()
@maybe_run_argument
@click.option(
    "--older-than", metavar="LENGTH", callback=length, help="All ended that long ago: 90d."
)
@click.option("--dry-run", is_flag=True, help="Only say what would go.")
@json_option
@place_options
def rm(
    run: str | None,
    older_than: timedelta | None,
    dry_run: bool,
    as_json: bool,
    project: str | None,
    database: str | None,
) -> None:
    """Remove a run and its answers from the database; refuses what is in flight."""
    from batchkit.upkeep import removed

    if run is None and older_than is None:
        raise click.UsageError("Say what to remove: a RUN, or --older-than 90d.")
    goodbyes = removed(
        run, older_than=older_than, dry_run=dry_run, project=project, database=database
    )
    if as_json:
        screen.as_json([goodbye.to_dict() for goodbye in goodbyes])
        return
    for goodbye in goodbyes:
        answers = screen.counted(goodbye.answered, "answer")
        screen.say(
            f"{'would remove' if dry_run else 'removed'} {goodbye.name} ({goodbye.id}): "
            f"{screen.counted(goodbye.jobs, 'job')}. Adding it again would buy {answers} "
            f"again, which cost {usd(goodbye.cost_usd)}."
        )
    if not goodbyes:
        screen.say("Nothing to remove.")


@click.group("db")
def database() -> None:
    """The database's migrations."""


@database.command()
@place_options
def upgrade(project: str | None, database: str | None) -> None:
    """Bring the database to this batchkit's schema; a SQLite file is copied first."""
    from batchkit.upkeep import upgraded

    before, after, where = upgraded(database)
    screen.say(f"{where}: {after}" + ("" if before == after else f" (was {before or 'empty'})"))


@database.command()
@json_option
@place_options
def current(as_json: bool, project: str | None, database: str | None) -> None:
    """Print the database's revision and the one this batchkit needs."""
    from batchkit.upkeep import revision

    at, needed, where = revision(database)
    if as_json:
        screen.as_json({"database": where, "revision": at, "needed": needed})
        return
    screen.say(f"{where}: {at or 'empty'} (this batchkit needs {needed})")
