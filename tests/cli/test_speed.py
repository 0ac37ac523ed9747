"""What a person waits for before anything happens."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from batchkit import Batch

HEAVY = ("sqlalchemy", "alembic", "openai", "anthropic", "rich", "pydantic", "httpx2", "tiktoken")


@pytest.mark.parametrize(
    "code",
    [
        "import batchkit",
        "from batchkit.cli import cli; cli(['--help'], standalone_mode=False)",
    ],
)
def test_neither_the_import_nor_the_help_loads_anything_heavy(code: str) -> None:
    """No SDK, no database, nothing that draws; the benchmarks' row `starts` has the seconds."""
    assert _loaded(code, HEAVY) == "LOADED []"


IDLE = (
    *("alembic", "openai", "anthropic", "rich", "pydantic", "httpx2", "tiktoken", "genai_prices"),
    *("jsonschema", "dotenv", "sqlalchemy.dialects.postgresql", "batchkit.run", "batchkit.engine"),
    *("batchkit.results", "batchkit.schemas", "batchkit.documents", "batchkit.planning"),
)
"""What nobody needs who only looks at what has ended."""


def _loaded(code: str, names: tuple[str, ...]) -> str:
    code += f"\nimport sys; print('LOADED', [name for name in {names!r} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60
    )
    return done.stdout.splitlines()[-1]


@pytest.mark.parametrize("words", [["status", "ended"], ["status"], ["ls"]])
def test_who_only_looks_loads_nothing_that_acts(
    add: Callable[..., Batch], words: list[str]
) -> None:
    """Beside click and SQLAlchemy, only what reads the rows of runs and batches."""
    add("ended", "one", "two").run()
    code = f"from batchkit.cli import cli\ntry: cli({words!r})\nexcept SystemExit: pass"

    assert _loaded(code, IDLE) == "LOADED []"


DRIVES = ("batchkit.engine", "batchkit.run", "batchkit.submitter")

ADDS = """
from batchkit import Batch
batch = Batch(database={database!r}, name="n").set_default_params(model={model!r}, max_tokens=9)
for number in range({count}):
    batch.add_job(prompt=str(number))
"""


@pytest.mark.parametrize(("sdk", "model"), [("openai", "gpt-5"), ("anthropic", "claude-haiku-4-5")])
@pytest.mark.parametrize("count", [500, 40_000])
def test_what_a_run_needs_is_imported_while_many_jobs_are_added(
    tmp_path: Path, count: int, sdk: str, model: str
) -> None:
    """The database works then; who adds few waits for nothing and imports it at ``run``."""
    code = ADDS.format(database=str(tmp_path / "runs.db"), count=count, model=model)
    wanted = (*DRIVES, sdk)

    assert _loaded(code, wanted) == f"LOADED {list(wanted) if count > 500 else []}"


def test_a_new_database_needs_no_alembic(tmp_path: Path) -> None:
    """Its tables come from what was recorded of the migrations."""
    code = f"from batchkit.store import Store; Store({str(tmp_path / 'runs.db')!r}).close()"

    assert _loaded(code, ("alembic", "mako")) == "LOADED []"


def test_the_command_is_installed() -> None:
    """By the name that the documentation uses."""
    command = Path(sys.executable).parent / "batchkit"

    done = subprocess.run(
        [command, "--version"], capture_output=True, text=True, check=True, timeout=60
    )

    assert done.stdout.startswith("batchkit, version ")
