"""`batchkit reparse` on answers from the simulator."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result
from pydantic import BaseModel, field_validator

from batchkit import Batch

MENDED = """
from pydantic import BaseModel

class Bill(BaseModel):
    title: str
    amount: float
"""


class Bill(BaseModel):
    """A class with a mistake in it: no amount is good enough."""

    title: str
    amount: float

    @field_validator("amount")
    @classmethod
    def _none(cls, value: float) -> float:
        raise ValueError("no")


@pytest.fixture
def failed(providers: Any) -> str:
    """A run whose answers were paid for and not accepted."""
    batch = Batch(name="bills", max_attempts=1).set_verbosity("error")
    batch.set_default_params(model="claude-haiku-5-5", max_tokens=300)
    batch.add_job(prompt="Title: Rent\nAmount: 900.50", key="rent", response_model=Bill)
    return batch.run(progress_interval=0.05).id


def test_reparse_by_a_mended_class_completes_for_free(
    failed: str, command: Callable[..., Result], data: Callable[..., Any], tmp_path: Path
) -> None:
    cost = data("status", failed)["cost_usd"]
    (tmp_path / "bills.py").write_text(MENDED)
    done = data("reparse", failed, "--model", f"{tmp_path / 'bills.py'}:Bill")
    assert (done["fit"], done["state"], done["cost_usd"]) == (1, "completed", cost)
    [row] = data("results", failed)
    assert row["parsed_response"] == {"title": "Rent", "amount": 900.5}
    assert command("verify", failed).exit_code == 0
    again = command("reparse", failed)
    assert (again.exit_code, "1 of 1 job ended" in again.output) == (0, True)


def test_reparse_of_a_class_that_is_not_there_is_one_clear_line(
    failed: str, command: Callable[..., Result]
) -> None:
    result = command("reparse", failed, "--model", "nowhere.py:Bill")
    assert result.exit_code == 1
    assert result.stderr.startswith("batchkit: nowhere.py is not there")
