"""The first section of the contract: its script, as printed, as a real process."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path

import pytest

from tests.contract.shop import Shop, command, script
from tests.unit.files import pdf

SCRIPT = """
from pathlib import Path
from pydantic import BaseModel
from batchkit import Batch

class Invoice(BaseModel):
    supplier: str
    total: float
    due: str | None

batch = (
    Batch(results_dir="out", name="invoices")
    .set_default_params(model="claude-sonnet-5-5", max_tokens=800)
    .add_cost_limit(usd=25)
    .add_time_limit(hours=10)
)
for pdf in sorted(Path("inbox").glob("*.pdf")):
    batch.add_job(file=pdf, prompt="Extract the invoice.", response_model=Invoice, key=pdf.name)

run = batch.run(print_status=True)         # Ctrl-C detaches; the same script again goes on
for result in run.results()["completed"]:
    print(result.key, result.parsed_response.total, result.cost_usd)
"""


def arrive(first: int, last: int) -> None:
    Path("inbox").mkdir(exist_ok=True)
    for number in range(first, last):
        text = f"Supplier: Acme {number}\nTotal: {100 + number}.50\nDue: 2026-12-0{number}"
        Path(f"inbox/{number}.pdf").write_bytes(pdf(text))


def rows(printed: str) -> list[list[str]]:
    lines = (line.split() for line in printed.splitlines())
    return [words for words in lines if len(words) == 3 and words[0].endswith(".pdf")]


@pytest.mark.slow
def test_the_script_of_the_first_page_runs_and_goes_on(shop: Shop) -> None:
    """The same script again … goes on where it stopped: what was paid for is never paid for again.
    Tomorrow, with 50 new PDFs in the inbox, it buys 50."""
    arrive(1, 4)

    first = script(SCRIPT)
    assert first.returncode == 0, first.stderr
    assert [(key, total) for key, total, _ in rows(first.stdout)] == [
        ("1.pdf", "101.5"),
        ("2.pdf", "102.5"),
        ("3.pdf", "103.5"),
    ]
    assert all(float(cost) > 0 for _, _, cost in rows(first.stdout))
    assert shop.bought == 3

    again = script(SCRIPT)
    assert again.returncode == 0, again.stderr
    assert rows(again.stdout) == rows(first.stdout)
    assert shop.bought == 3

    arrive(4, 6)
    tomorrow = script(SCRIPT)
    assert tomorrow.returncode == 0, tomorrow.stderr
    assert len(rows(tomorrow.stdout)) == 5
    assert shop.bought == 5


@pytest.mark.slow
def test_a_mistake_in_the_last_line_costs_nothing(shop: Shop) -> None:
    """The same script again after … a mistake in its last line goes on where it stopped."""
    arrive(1, 3)
    wrong = script(SCRIPT.replace("parsed_response.total", "parsed_response.totl"))
    assert wrong.returncode == 1
    assert "AttributeError" in wrong.stderr
    assert shop.bought == 2

    mended = script(SCRIPT)
    assert mended.returncode == 0, mended.stderr
    assert len(rows(mended.stdout)) == 2
    assert shop.bought == 2


def test_the_distribution_is_llm_batchkit_and_the_command_batchkit() -> None:
    """Import name and command: `batchkit`. Distribution name: `llm-batchkit`."""
    distribution = importlib.metadata.distribution("llm-batchkit")

    assert [e.value for e in distribution.entry_points if e.name == "batchkit"] == [
        "batchkit.cli:main"
    ]
    shown = command("--version")
    assert shown.returncode == 0
    assert distribution.version in shown.stdout
