"""Raw files are found from a job: the very line of its result and of its request."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from click.testing import Result

from batchkit import Batch

Add = Callable[..., Batch]
Command = Callable[..., Result]
Data = Callable[..., Any]

RENT = "Title: Rent\nAmount: 900.50"


def line_of(path: str, number: int) -> Any:
    with Path(path).open("rb") as lines:
        return json.loads(next(islice(lines, number - 1, None)))


@pytest.mark.parametrize("model", ["claude-haiku-5-5", "gpt-5-mini"])
def test_each_attempt_leads_to_its_lines(
    add: Add, data: Data, command: Command, model: str
) -> None:
    """Of an answer, of a request that was asked again, and of one in the file of errors."""
    prompts = [RENT, f"{RENT} [[sim:500*1]]", f"{RENT} [[sim:400]]"]
    batch = add("raw", results_dir="out")
    for at, prompt in enumerate(prompts):
        batch.add_job(prompt=prompt, key=f"k{at}", model=model)
    batch.run(progress_interval=0.05)

    for at, (prompt, attempts) in enumerate(zip(prompts, (1, 2, 1), strict=True)):
        story = data("show", "raw", f"k{at}")
        assert len(story["attempts"]) == attempts
        assert story["raw_file"] == story["attempts"][-1]["raw_file"]
        for attempt in story["attempts"]:
            answer = line_of(attempt["raw_file"], attempt["raw_line"])
            sent = line_of(attempt["raw_upload"], attempt["raw_upload_line"])
            assert answer["custom_id"] == sent["custom_id"]
            assert json.dumps(prompt)[1:-1] in json.dumps(sent)
        last = story["attempts"][-1]
        assert (
            f"{last['raw_file']}, line {last['raw_line']}"
            in command("show", "raw", f"k{at}").stdout
        )
    errors = data("show", "raw", "k2")["raw_file"]
    assert Path(errors).name == ("errors.jsonl" if model == "gpt-5-mini" else "results.jsonl")


def test_a_job_whose_line_is_missing_has_no_line(add: Add, data: Data) -> None:
    batch = add("raw", results_dir="out", max_attempts=1)
    batch.add_job(prompt=f"{RENT} [[sim:missing]]", key="lost", model="gpt-5-mini")
    batch.add_job(prompt=RENT, key="there", model="gpt-5-mini")
    batch.run(progress_interval=0.05)

    (attempt,) = data("show", "raw", "lost")["attempts"]

    assert attempt["raw_line"] is None
    assert attempt["raw_upload_line"] == 1


def test_without_raw_files_there_is_nothing_to_find(add: Add, data: Data) -> None:
    add("raw", RENT).run(progress_interval=0.05)

    story = data("show", "raw", "k0")

    assert story["raw_file"] is None
    assert story["attempts"][0]["raw_upload"] is None
