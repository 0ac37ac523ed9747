"""The command line: parse, call one public function, print.

Heavy imports happen inside the commands, so that ``batchkit --help`` is there at once.
"""

from __future__ import annotations

import atexit
import gc
from typing import Any, NoReturn

import click

from batchkit.cli.answers import errors, log, reparse, results, show
from batchkit.cli.books import database, rm, verify
from batchkit.cli.demo import demo
from batchkit.cli.exits import DETACHED
from batchkit.cli.report import report
from batchkit.cli.runs import cancel, ls, resume, retry, status, watch
from batchkit.cli.simulator import simulate
from batchkit.errors import BatchkitError

_YOUNG = 50_000
"""Objects made before the collector looks at them; Python's own 700 suit small programs."""


class Failure(click.ClickException):
    """One clear line instead of a traceback; exit code 1."""

    def show(self, file: Any = None) -> None:
        """Print it to stderr."""
        click.echo(f"batchkit: {self.message}", err=True)


class Doors(click.Group):
    """A group whose commands end in exit codes: what went wrong on purpose has no traceback."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run a command; turn batchkit's own errors and Ctrl-C into an exit code."""
        try:
            return super().invoke(ctx)
        except BatchkitError as error:
            raise Failure(str(error)) from error
        except KeyboardInterrupt:
            ctx.exit(DETACHED)


@click.group(cls=Doors, context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="llm-batchkit", prog_name="batchkit")
def cli() -> None:
    """Documents in, typed rows out, through the batch APIs of OpenAI and Anthropic.

    \b
    Exit codes: 0 done, 1 error, 2 usage, 3 finished with failed or cancelled
    jobs, 4 a person is needed, 5 in flight, 130 or 143 detached. Several runs:
    the highest.
    """


for command in (
    *(demo, resume, ls, status, watch, results, report, errors, show, log),
    *(cancel, retry, reparse, verify, rm, database, simulate),
):
    cli.add_command(command)


def main() -> NoReturn:
    """Run the command ``batchkit``.

    What is imported stays to the end: looking for garbage in it, while it is made and once more
    when the interpreter goes, is a fifth of the time that ``batchkit ls`` takes.
    """
    gc.set_threshold(_YOUNG)
    atexit.register(gc.freeze)
    cli(prog_name="batchkit")
    raise SystemExit(0)
