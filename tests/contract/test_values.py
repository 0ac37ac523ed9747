"""`Job`, `JobResult`, `Citation`, and typing on reading."""

from __future__ import annotations

import inspect
import json
from dataclasses import fields
from pathlib import Path

import pytest
from pydantic import BaseModel, ConfigDict, field_validator

import batchkit
from batchkit import Citation, Job, JobResult
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, command, go, script

RESULT = (
    "job_id key state raw_response parsed_response citations citation_mappings input_tokens "
    "output_tokens cached_tokens cache_write_tokens reasoning_tokens cost_usd error error_code "
    "batch_id model source attempts finish_reason reused_from metadata"
)


def test_a_result_has_the_fields_of_the_contract(shop: Shop) -> None:
    """`JobResult`: `job_id, key, state, …, metadata`; `is_success`, `total_tokens`."""
    assert set(RESULT.split()) <= {one.name for one in fields(JobResult)}
    batch = quiet(name="r").add_job(
        prompt="Title: x\nAmount: 3", key="k", response_model=Note, metadata={"page": 4}
    )
    (result,) = go(batch).results()["completed"]

    assert result.is_success
    assert isinstance(result.parsed_response, Note)
    assert json.loads(result.raw_response or "") == result.parsed_response.model_dump()
    assert result.metadata == {"page": 4}
    assert result.model == CLAUDE
    assert (result.attempts, result.finish_reason) == (1, "stop")
    assert result.batch_id == shop.entries[0].batch_id
    assert result.total_tokens == (result.input_tokens or 0) + (result.output_tokens or 0) > 0
    assert result.citations == []
    assert result.citation_mappings == {}


def test_cost_and_tokens_sum_all_attempts(shop: Shop) -> None:
    """Cost and tokens sum all attempts."""
    run = go(quiet(name="r").add_job(prompt="[[sim:truncate*1]] sum", key="k"))
    (result,) = run.results()["completed"]
    entries = shop.entries

    assert result.attempts == 2
    assert result.input_tokens == sum(e.input_tokens for e in entries)
    assert result.output_tokens == sum(e.output_tokens for e in entries)
    expected = (0.05 * result.input_tokens + 0.25 * result.output_tokens) / 1e6
    assert result.cost_usd == pytest.approx(expected)


def test_a_result_goes_through_a_dict_and_a_file(shop: Shop) -> None:
    """`to_dict()`, `from_dict()`, `save_to_json(path)`."""
    batch = quiet(name="r").add_job(prompt="[[sim:400]]", key="bad")
    batch.add_job(prompt="good", key="good", response_model=Note)
    run = go(batch)
    for result in run.iter_results():
        data = json.loads(json.dumps(result.to_dict()))
        assert set(RESULT.split()) <= set(data)
        again = JobResult.from_dict(data)
        assert again.to_dict() == result.to_dict()
        result.save_to_json(Path("one.json"))
        assert json.loads(Path("one.json").read_text())["key"] == result.key
    bad = run.get("bad").result
    assert not bad.is_success
    assert bad.error_code == "invalid_request"


def test_success_needs_a_parsed_response_where_a_model_was_given(shop: Shop) -> None:
    """`is_success` (no error *and*, where a `response_model` was given, a parsed response)."""
    batch = quiet(name="r", max_attempts=1)
    batch.add_job(prompt="[[sim:badjson]] x", key="k", response_model=Note)
    batch.add_job(prompt="[[sim:badjson]] y", key="free")
    run = go(batch)

    assert run.get("k").result.error_code == "invalid_output"
    assert not run.get("k").result.is_success
    assert run.get("free").result.is_success
    assert run.get("free").result.parsed_response is None


def test_a_job_is_a_value(shop: Shop) -> None:
    """`Job`: what `add_job` takes, as a value, with `to_dict()`/`from_dict()`."""
    several = {"models"}  # makes a job for each of them, and is none's
    taken = set(inspect.signature(batchkit.Batch.add_job).parameters) - {"self", *several}
    assert taken <= {one.name for one in fields(Job)}

    job = Job(prompt="a", key="k", response_model=Note, model=CLAUDE, params={"top_k": 1})
    again = Job.from_dict(json.loads(json.dumps(job.to_dict())))
    assert again == job
    run = go(quiet(name="r").add_jobs([Job(prompt="a", key="k")]))
    assert run.state == "completed"


def test_a_citation_is_text_source_page_and_metadata() -> None:
    """`Citation`: `text, source, page: int | None, metadata: dict | None`."""
    one = Citation(text="t", source="s")

    assert (one.text, one.source, one.page, one.metadata) == ("t", "s", None, None)


def test_citations_of_a_free_text_answer_are_values(shop: Shop) -> None:
    """`citations` (here: citations on free-text answers)."""
    Path("a.txt").write_text("The whale is large. The sea is wide.")
    batch = quiet(name="r")
    batch.add_job(file="a.txt", prompt="what?", key="k", enable_citations=True)
    (result,) = go(batch).results()["completed"]

    assert result.citations
    assert all(isinstance(one, Citation) for one in result.citations)
    assert result.citations[0].text in Path("a.txt").read_text()
    assert "a.txt" in result.citations[0].source


@pytest.mark.parametrize("model", [CLAUDE, GPT])
@pytest.mark.slow
def test_a_program_without_the_class_checks_the_schema_and_pays_for_no_more(
    held: Shop, model: str
) -> None:
    """A program that cannot import it (`batchkit resume`) checks answers against the stored JSON
    Schema and never pays for a retry on anything beyond that."""
    done = script(PICKY.format(model=model))
    assert done.returncode == 0, done.stderr
    held.end()
    resumed = command("resume", "r")
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    assert held.bought == 2

    run = batchkit.get_run("r")
    assert run.status()["completed"] == 2
    assert {type(r.parsed_response) for r in run.iter_results()} == {dict}
    typed = list(run.iter_results(response_model=Note))
    assert all(isinstance(one.parsed_response, Note) for one in typed)


PICKY = """
from pydantic import BaseModel, field_validator
from batchkit import Batch
class Note(BaseModel):
    title: str
    amount: float
    @field_validator("title")
    @classmethod
    def never(cls, value):
        raise ValueError("no title pleases")
batch = Batch(name="r").set_default_params(model="{model}", max_tokens=200)
for key in "ab":
    batch.add_job(prompt="Title: x" + key, key=key, response_model=Note)
batch.submit()
"""


def test_whoever_collected_them_answers_are_of_the_class_that_was_given(held: Shop) -> None:
    """In the program that gave the class, they are of that class, whoever collected them."""
    quiet(name="r").add_job(prompt="Title: x", key="k", response_model=Note).submit()
    held.end()
    assert command("resume", "r").returncode == 0

    run = quiet(name="r").add_job(prompt="Title: x", key="k", response_model=Note).run()
    (result,) = run.results()["completed"]
    assert isinstance(result.parsed_response, Note)
    assert held.bought == 1


class Strict(BaseModel):
    model_config = ConfigDict(title="Shape")
    title: str

    @field_validator("title")
    @classmethod
    def _is_short(cls, value: str) -> str:
        if len(value) > 3:
            raise ValueError("too long")
        return value


class Shape(BaseModel):
    model_config = ConfigDict(title="Shape")
    title: str
    pages: int


def test_in_the_program_that_has_the_class_its_validators_count(shop: Shop) -> None:
    """Does not fit the schema: the error goes into the prompt."""
    batch = quiet(name="r")
    batch.add_job(prompt="Title: much too long", key="k", response_model=Strict)
    run = go(batch)

    assert run.get("k").result.attempts == 3
    assert any("too long" in json.dumps(body) for body in shop.bodies[1:])


def test_a_class_whose_schema_changed_is_not_used_to_judge_old_answers(shop: Shop) -> None:
    """A class whose schema has changed since is not used to judge old answers."""
    go(quiet(name="r").add_job(prompt="Title: x", key="k", response_model=Note))
    run = go(
        quiet(name="r", on_change="keep").add_job(prompt="Title: x", key="k", response_model=Shape)
    )

    (result,) = run.results()["completed"]
    assert result.state == "completed"
    assert shop.bought == 1


def test_the_list_of_error_codes_is_closed_and_documented() -> None:
    """`error_code` is a closed, documented list."""
    from typing import get_args

    from batchkit.model import Code

    page = Path(__file__).resolve().parents[2] / "docs" / "errors.md"
    names = [one.value for one in Code] if not get_args(Code) else get_args(Code)
    assert all(f"`{name}`" in page.read_text() for name in names)


@pytest.mark.parametrize(
    ("marker", "code", "attempts"),
    [
        ("refuse", "refused", 1),
        ("filter", None, 1),
        ("400", "invalid_request", 1),
        ("529", "overloaded", 3),
        ("429", "rate_limited", 3),
        ("500", "server_error", 3),
        ("badjson", "invalid_output", 3),
        ("missing", "result_missing", None),
    ],
)
@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_each_way_to_fail_has_its_code(
    shop: Shop, marker: str, code: str | None, attempts: int | None, model: str
) -> None:
    """Never again (invalid, refused, content filter); again as it is (overloaded, rate limit, 5xx);
    again changed (does not fit the schema)."""
    prompt = f"[[sim:{marker}]] {model}"
    run = go(quiet(model, name="r").add_job(prompt=prompt, key="k", response_model=Note))
    (result,) = run.results()["failed"]

    assert result.error_code in ([code] if code else ["refused", "content_filter"])
    if attempts:
        assert len(shop.entries) == attempts
    assert result.error
