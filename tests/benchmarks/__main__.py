"""``python -m tests.benchmarks [--rows openai,anthropic] [--jobs 100000] [--repeat 3]``."""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
from pathlib import Path

from tests.benchmarks import processes
from tests.benchmarks.bench import Bench
from tests.benchmarks.rows import ROWS
from tests.benchmarks.table import Line, shown


def main() -> int:
    """Print the table; exit 1 if a row does not hold."""
    given = _arguments()
    names = given.rows.split(",") if given.rows else list(ROWS)
    unknown = [name for name in names if name not in ROWS]
    if unknown:
        sys.stderr.write(f"no row {', '.join(unknown)}; known: {', '.join(ROWS)}\n")
        return 2
    lines: list[Line] = []
    with (
        tempfile.TemporaryDirectory(prefix="bench-", dir=given.folder) as folder,
        processes.provider() as provider,
    ):
        bench = Bench(provider, given.jobs, given.million, given.repeat, given.pdfs, Path(folder))
        for name in names:
            sys.stderr.write(f"{name}\n")
            for line in ROWS[name](bench):
                lines.append(line)
                sys.stderr.write(f"{shown([line]).splitlines()[-1]}\n")
    print(f"{platform.platform()}, Python {platform.python_version()}, best of {given.repeat}\n")
    print(shown(lines))
    return int(any(line.holds is False for line in lines))


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser(prog="python -m tests.benchmarks")
    asked.add_argument("--rows", help=f"of {','.join(ROWS)}; all by default")
    asked.add_argument("--jobs", type=int, default=100_000)
    asked.add_argument("--million", type=int, default=1_000_000, help="the large run")
    asked.add_argument("--pdfs", type=int, default=200, help="the target speaks of 2000")
    asked.add_argument("--repeat", type=int, default=3)
    asked.add_argument("--folder", type=Path, help="where to work; the system's own by default")
    return asked.parse_args()


if __name__ == "__main__":
    sys.exit(main())
