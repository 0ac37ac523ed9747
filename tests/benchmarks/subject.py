"""The same work by batchkit, in a process of its own; the database stays in the folder."""

from __future__ import annotations

import argparse
import os
import time
from pathlib import Path

from tests.benchmarks import work


def main() -> None:
    """Add, run, and read the typed results back."""
    began = time.perf_counter()
    given = _arguments()
    key = {"openai": "OPENAI", "anthropic": "ANTHROPIC"}[given.provider]
    os.environ[f"{key}_API_KEY"] = "sk-bench"
    os.environ[f"{key}_BASE_URL"] = given.url + ("/v1" if given.provider == "openai" else "")
    os.environ.setdefault("BATCHKIT_PACE", "1000")  # waits between polls are not what is measured
    if given.spool:
        os.environ["BATCHKIT_SPOOL_DIR"] = str(given.spool)
    from batchkit import Batch

    batch = (
        Batch(
            results_dir=given.results,
            raw_files=False,
            name="bench",
            database=given.database,
            items_per_batch=given.items,
        )
        .set_verbosity("error")
        .set_default_params(
            model=work.MODELS[given.provider],
            max_tokens=work.MAX_TOKENS,
            response_model=work.Invoice,
        )
    )
    for prompt in work.prompts(given.jobs):
        batch.add_job(prompt=prompt)
    added = time.perf_counter()
    if given.open:  # started, for others to drive
        batch._opened(None)
        work.report(add=added - began, count=0)
        return
    if given.leave:  # send everything, collect what is answered by now, and go
        batch.submit()
        work.report(add=added - began, count=0)
        return
    run = batch.run()
    ran = time.perf_counter()
    count = 0
    for result in run.iter_results("completed"):
        assert isinstance(result.parsed_response, work.Invoice)
        count += 1
    done = time.perf_counter()
    work.report(
        add=added - began, run=ran - added, read=done - ran, total=done - began, count=count
    )


def _arguments() -> argparse.Namespace:
    asked = argparse.ArgumentParser()
    asked.add_argument("provider", choices=["openai", "anthropic"])
    asked.add_argument("--jobs", type=int, required=True)
    asked.add_argument("--url", required=True)
    asked.add_argument("--database", required=True)
    asked.add_argument("--results", type=Path)
    asked.add_argument("--spool", type=Path)
    asked.add_argument("--items", type=int)
    asked.add_argument("--open", action="store_true")
    asked.add_argument("--leave", action="store_true")
    return asked.parse_args()


if __name__ == "__main__":
    main()
