"""The public API as mypy sees it: this file is checked, not executed."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any, assert_type

from pydantic import BaseModel

import batchkit
from batchkit import (
    Batch,
    BatchkitError,
    BatchRun,
    Citation,
    Job,
    JobResult,
    Transform,
    TransformResult,
    get_run,
    list_runs,
)


class Invoice(BaseModel):
    supplier: str
    total: float


def build() -> Batch:
    """Every method of the builder returns the same builder."""
    batch = (
        Batch(results_dir=Path("out"), name="invoices", max_parallel_batches=3)
        .set_default_params(model="claude-sonnet-5-5", max_tokens=800)
        .set_state(file="state.db")
        .add_cost_limit(usd=25)
        .add_time_limit(hours=10)
        .set_verbosity("warn")
    )
    for path in Path("inbox").glob("*.pdf"):
        batch.add_job(file=path, prompt="Extract.", response_model=Invoice, key=path.name)
    batch.add_job(messages=[{"role": "user", "content": "Hello"}], temperature=0.5)
    batch.add_jobs([{"prompt": "Hello"}, Job(prompt="Hello")])
    return assert_type(batch, Batch)


def run(batch: Batch) -> None:
    """A run is a handle, its results are values."""
    started = assert_type(batch.run(print_status=True), BatchRun)
    assert_type(batch.submit(), BatchRun)
    assert_type(batch.test(2), list[JobResult])
    assert_type(len(batch), int)
    assert_type(started.id, str)
    assert_type(started.is_complete, bool)
    assert_type(started.results(), dict[str, list[JobResult]])
    assert_type(started.iter_results(state="completed"), Iterator[JobResult])
    assert_type(started.get_failed_jobs(), dict[str, str])
    assert_type(get_run("invoices", project="p", database="x.db"), BatchRun)
    assert_type(list_runs(limit=5), list[BatchRun])


async def run_async(batch: Batch) -> None:
    """The async twins return what the others return."""
    started = assert_type(await batch.arun(), BatchRun)
    assert_type(await batch.asubmit(), BatchRun)
    assert_type(await batch.atest(), list[JobResult])
    assert_type(await started.aresults(), dict[str, list[JobResult]])


def read(result: JobResult) -> None:
    """What is unknown is None."""
    assert_type(result.key, str)
    assert_type(result.raw_response, str | None)
    assert_type(result.parsed_response, BaseModel | dict[str, Any] | None)
    assert_type(result.cost_usd, float | None)
    assert_type(result.total_tokens, int | None)
    assert_type(result.is_success, bool)
    assert_type(result.citations, list[Citation])
    assert_type(result.to_dict(), dict[str, Any])
    assert_type(JobResult.from_dict({}), JobResult)


def fail() -> None:
    """One tree of errors; what was given wrong is a ValueError, too."""
    try:
        build().run()
    except batchkit.RunChangedError as error:
        assert_type(error.counts, dict[str, int])
    except batchkit.ValidationError as error:
        wrong: ValueError = error
        raise wrong from None
    except BatchkitError:
        raise


def sources(batch: Batch) -> Batch:
    """Folders, tables and several models."""
    batch.add_folder("inbox", pattern="**/*.pdf", prompt="Extract.", response_model=Invoice)
    batch.add_rows("rows.csv", prompt="Classify: {{ text }}", key="{{ id }}", metadata=["id"])
    batch.add_rows(({"id": n} for n in range(3)), prompt="{{ id }}", models=["gpt-5-mini"])
    return batch.add_rows(sql="SELECT 1 AS id", url="shop.db", prompt="{{ id }}")


def transform(rows: list[dict[str, Any]]) -> None:
    """The outputs are of the class that was given."""
    made = Transform("Extract.", Invoice, batch_size=5)
    result = assert_type(made.run("gpt-5-mini", data=rows), TransformResult[Invoice])
    assert_type(result.data, list[Invoice])
    assert_type(made.test("gpt-5-mini", data=rows), TransformResult[Invoice])


def out(run: BatchRun) -> None:
    """Results elsewhere, and the morning report."""
    assert_type(run.export("rows.parquet", states="completed"), int)
    assert_type(run.to_frame("polars", response_model=Invoice), Any)
    report = run.report()
    assert_type(report.money.full_price, float | None)
    assert_type(report.to_text(short=True, width=60), str)
    assert_type(report.to_html(), str)
