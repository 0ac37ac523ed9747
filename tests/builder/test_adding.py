"""What add_job takes, and what it says at once of what cannot work."""

from __future__ import annotations

import math
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

from batchkit.builder import Batch, Job
from batchkit.errors import KeyConflictError, ProviderNotFoundError, ValidationError
from batchkit.providers.anthropic import REFUSED as ANTHROPIC_REFUSED
from batchkit.providers.openai_names import CHAT_REFUSED, RESPONSES_REFUSED
from batchkit.store import Store
from batchkit.testing import FakeProvider
from tests.builder.conftest import PRICE, Make
from tests.unit.files import pdf

GPT, CLAUDE = "gpt-5-mini", "claude-sonnet-4-5"


class Invoice(BaseModel):
    """What is asked for."""

    supplier: str
    total: float


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "Neither messages nor prompt"),
        ({"prompt": "a", "messages": [{"role": "user", "content": "b"}]}, "messages and prompt"),
        ({"file": "a.txt"}, "a file was given without a prompt|A file was given without"),
        ({"file": "a.txt", "files": ["b.txt"], "prompt": "a"}, "file and files"),
        ({"file": "a.txt", "messages": [{"role": "user", "content": "b"}]}, "messages and a file"),
        ({"prompt": ""}, "prompt is empty"),
        ({"prompt": " \n"}, "prompt is empty"),
        ({"prompt": "\ud800"}, "half a character"),
        ({"prompt": "\ud800", "file": __file__}, "half a character"),
        ({"prompt": "a", "key": "bad\udcff.pdf"}, r"bad\\udcff.pdf' cannot be a key: .* Rename"),
        ({"prompt": 7}, "prompt must be text, not int"),
        ({"prompt": "a", "file": 7}, "A file must be a path, not int"),
        ({"prompt": "a", "file": "nowhere.txt"}, "nowhere.txt does not exist"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens must be a whole number above 0"),
        ({"prompt": "a", "max_tokens": 1.5}, "max_tokens must be a whole number above 0"),
        ({"prompt": "a", "max_tokens": 5, "max_output_tokens": 6}, "max_tokens is given twice"),
        ({"prompt": "a", "temperature": "hot"}, "temperature must be a number"),
        ({"prompt": "a", "temperatur": 1}, "did you mean temperature"),
        ({"prompt": "a", "respons_model": Invoice}, "did you mean response_model"),
        ({"prompt": "a", "n": 3}, "one job is one answer"),
        ({"prompt": "a", "extra_body": {"n": 3}}, "one job is one answer"),
        ({"prompt": "a", "metadata": {"at": {1, 2}}}, "metadata must be JSON"),
        (
            {"prompt": "a", "metadata": {"at": datetime(2026, 1, 1, tzinfo=UTC)}},
            "metadata must be JSON",
        ),
        ({"prompt": "a", "metadata": ["a"]}, "metadata must be a mapping"),
        ({"messages": "hello"}, "messages must be a list"),
        ({"messages": [{"role": "user", "content": object()}]}, "messages must be JSON"),
        ({"prompt": "a", "response_model": {"a": 1}}, "is not a model"),
        ({"prompt": "a", "response_model": Invoice(supplier="a", total=1)}, "is not a model"),
        ({"prompt": "a", "enable_citations": True}, "no document to cite"),
        ({"prompt": "a", "price": {"input": 1}}, "price lacks 'output'"),
        ({"prompt": "a", "price": {"input": 1, "outputs": 1}}, "did you mean 'output'"),
        ({"prompt": "a", "key": ""}, "cannot be a key"),
        ({"prompt": "a", "key": 7}, "key must be text"),
        ({"prompt": "a", "max_attempts": 0}, "max_attempts must be a whole number"),
        ({"prompt": "a", "max_usd_per_job": -1}, "max_usd_per_job must be above 0"),
    ],
)
def test_what_cannot_work_is_said_at_once(lite: Make, arguments: dict[str, Any], said: str):
    with pytest.raises(ValidationError, match=said) as caught:
        lite().add_job(**arguments)
    assert isinstance(caught.value, ValueError)
    assert "\n" not in str(caught.value)


def test_a_job_without_a_model_is_refused(migrated_sqlite_url: str):
    with pytest.raises(ValidationError, match="No model was named"):
        Batch(database=migrated_sqlite_url).add_job(prompt="a")


def test_a_model_that_nobody_serves_names_prefixes_and_the_way_out(migrated_sqlite_url: str):
    batch = Batch(database=migrated_sqlite_url)
    for ask in (
        lambda: batch.add_job(prompt="a", model="gemini-9"),
        lambda: batch.set_default_params(model="gemini-9"),
    ):
        with pytest.raises(ProviderNotFoundError, match=r"claude-.*gpt-.*provider="):
            ask()


def test_a_provider_that_is_not_there_is_named_with_those_that_are(lite: Make):
    with pytest.raises(
        ProviderNotFoundError, match=r"There is no provider 'opnai'. There are: fake"
    ):
        lite().add_job(prompt="a", provider="opnai")


@pytest.mark.parametrize(
    ("provider", "model", "name"),
    [
        *(("openai", GPT, name) for name in RESPONSES_REFUSED),
        *(("openai-chat", GPT, name) for name in CHAT_REFUSED if name != "n"),
        *(("anthropic", CLAUDE, name) for name in ANTHROPIC_REFUSED),
    ],
)
def test_what_the_provider_refuses_in_batches_is_refused_here(
    migrated_sqlite_url: str, provider: str, model: str, name: str
):
    batch = Batch(database=migrated_sqlite_url)
    with pytest.raises(ValidationError, match=f"^{name} cannot go to {provider}: "):
        batch.add_job(prompt="a", model=model, provider=provider, **dict[str, Any]({name: 1}))


def test_a_refused_default_is_caught_where_it_is_set(migrated_sqlite_url: str):
    with pytest.raises(ValidationError, match="temperature cannot go to anthropic"):
        Batch(database=migrated_sqlite_url).set_default_params(model=CLAUDE, temperature=0)


def test_a_default_that_belongs_to_one_job_is_refused(lite: Make):
    with pytest.raises(ValidationError, match="prompt belongs to one job"):
        lite().set_default_params(prompt="a")


def test_citations_need_a_provider_that_gives_them(migrated_sqlite_url: str):
    with pytest.raises(ValidationError, match="openai gives no citations"):
        Batch(database=migrated_sqlite_url).add_job(prompt="a", model=GPT, enable_citations=True)


@pytest.mark.parametrize("model", [GPT, CLAUDE])
@pytest.mark.parametrize("kind", [Invoice, list[Invoice], dict[str, float]])
def test_models_are_asked_for_in_both_dialects(migrated_sqlite_url: str, model: str, kind: Any):
    batch = Batch(database=migrated_sqlite_url)
    assert len(batch.add_job(prompt="a", model=model, max_tokens=9, response_model=kind)) == 1


def test_a_key_stands_for_one_job(lite: Make):
    batch = lite().add_job(prompt="a", key="k")
    with pytest.raises(KeyConflictError, match=r"'k' was added twice, .* with the same content"):
        batch.add_job(prompt="a", key="k")
    with pytest.raises(KeyConflictError, match=r"'k' was added twice, .* with other content"):
        batch.add_job(prompt="b", key="k")
    list(batch.jobs)
    with pytest.raises(KeyConflictError, match="with other content"):
        batch.add_job(prompt="c", key="k")
    assert len(batch) == 1


def test_keys_are_the_path_as_given_or_the_content(lite: Make):
    Path("inbox").mkdir()
    Path("inbox/a.txt").write_text("text")
    batch = lite()
    batch.add_job(file="inbox/a.txt", prompt="a").add_job(file=Path("inbox/a.txt"), prompt="b")
    batch.add_job(prompt="same").add_job(prompt="same").add_job(prompt="other")
    keys = [job.key or "" for job in batch.jobs]
    assert keys[:2] == ["inbox/a.txt", "inbox/a.txt~2"]
    assert keys[3] == f"{keys[2]}~2"
    assert len(set(keys)) == 5


def test_a_bad_input_may_become_a_failed_job(make: Make, fake: FakeProvider, tmp_path: Path):
    (tmp_path / "empty.txt").write_bytes(b"")
    batch = make(on_bad_input="fail")
    batch.add_job(file=tmp_path / "empty.txt", prompt="Read.", key="empty")
    batch.add_job(file=tmp_path / "missing.pdf", prompt="Read.", metadata={"row": 3})
    batch.add_job(prompt=" ").add_job(prompt="fine")
    run = batch.run()
    status = run.status()
    assert (status["total"], status["failed"], status["completed"]) == (4, 3, 1)
    assert status["failed_by_code"] == {"bad_input": 3}
    failed = {one.key: one for one in run.results()["failed"]}
    assert "is empty (0 bytes)" in str(failed["empty"].error)
    assert failed[str(tmp_path / "missing.pdf")].metadata == {"row": 3}
    assert {one.cost_usd for one in failed.values()} == {0}
    assert len(fake.ledger.entries) == 1


def test_half_a_character_in_a_name_or_a_prompt_is_a_failed_job_as_well(make: Make, tmp_path: Path):
    """A file name that is no UTF-8, from an old archive: it ends neither the script nor the run."""
    name = os.fsdecode(b"bad\xff.txt")
    (tmp_path / name).write_text("hello")
    batch = make(on_bad_input="fail").add_job(prompt="fine", key="fine")
    batch.add_job(file=tmp_path / name, prompt="Read.").add_job(prompt="half \ud800", key="half")
    run = batch.run()
    assert run.status()["failed_by_code"] == {"bad_input": 2}
    failed = {one.key: str(one.error) for one in run.results()["failed"]}
    assert "a name that is not UTF-8: rename it" in failed[str(tmp_path / r"bad\udcff.txt")]
    assert "half a character" in failed["half"]


def test_misuse_is_never_a_failed_job(lite: Make):
    batch = lite(on_bad_input="fail")
    with pytest.raises(ValidationError):
        batch.add_job(prompt="a", temperatur=1)
    with pytest.raises(ValidationError):
        batch.add_job(prompt="a", response_model=7)
    with pytest.raises(ProviderNotFoundError):
        batch.add_job(prompt="a", model="nobody")


def test_only_what_somebody_set_is_stored(lite: Make, migrated_sqlite_url: str):
    list(lite().add_job(prompt="a", seed=None, metadata={"a": 1}).jobs)
    opened = Store(migrated_sqlite_url)
    (row,) = list(opened.surveys.current(1))
    template = opened.jobs.template(row.template_id)
    assert template == {"provider": "fake", "model": "fake-1", "max_tokens": 100, "max_attempts": 3}
    assert (row.own, row.metadata, row.documents) == ({"prompt": "a"}, {"a": 1}, None)
    opened.close()


def test_what_is_changed_after_adding_changes_no_job(lite: Make):
    messages = [{"role": "user", "content": "one"}]
    batch = lite().add_job(messages=messages)
    messages[0]["content"] = "two"
    batch.add_job(messages=messages)
    assert [job.messages[0]["content"] for job in batch.jobs if job.messages] == ["one", "two"]


def test_defaults_apply_to_jobs_added_after_them(lite: Make):
    batch = lite().add_job(prompt="a")
    batch.set_default_params(system="Be brief.", temperature=0.5).add_job(prompt="b")
    batch.set_default_params(system=None).add_job(prompt="c", temperature=0)
    found = [(job.system, job.temperature) for job in batch.jobs]
    assert found == [(None, None), ("Be brief.", 0.5), (None, 0)]


def test_the_default_of_max_tokens_is_said_once(make: Make, capsys: pytest.CaptureFixture[str]):
    batch = make().set_default_params(max_tokens=None).set_verbosity("info")
    batch.add_job(prompt="a").run()
    batch.add_job(prompt="b").run()
    assert capsys.readouterr().err.count("max_tokens was not set") == 1


def test_figures_of_a_prompt_are_those_of_the_whole_request(migrated_sqlite_url: str):
    """The quick way (what the template has, and the prompt) equals the slow one."""
    from batchkit import requests
    from batchkit.providers import load
    from batchkit.weighing import weigh

    prompt = 'Ümlaut "quoted"\n\tand so on: 漢字 🎉'
    for model in (GPT, CLAUDE):
        place = f"{migrated_sqlite_url}-{model}"
        batch = Batch(database=place, name=model).set_default_params(model=model, max_tokens=77)
        list(batch.add_job(prompt=prompt, response_model=Invoice, system="Be brief.").jobs)
        opened = Store(place)
        (row,) = list(opened.surveys.current(1))
        template = requests.prepared(opened.jobs.template(row.template_id))
        provider = load(template["provider"])
        request = requests.assemble(template, row.own)
        weight = weigh(
            request,
            requests.price_of(template),
            provider=provider.name,
            dialect=provider.traits.dialect,
        )
        assert (row.tokens, row.bound) == (weight.tokens, weight.bound)
        assert row.bytes == len(provider.encode(request, "x" * 48))
        opened.close()


def test_a_price_that_is_not_known_is_refused_under_a_limit(lite: Make):
    limited = lite().add_cost_limit(usd=5)
    with pytest.raises(ValidationError, match=r"price of 'fake-1' .* is not known"):
        limited.add_job(prompt="a")
    limited.add_job(prompt="a", price=PRICE)
    late = lite().add_job(prompt="a").add_cost_limit(usd=5)
    with pytest.raises(ValidationError, match=r"price of 'fake-1' .* is not known"):
        late.run()


def test_what_costs_an_unknown_amount_is_refused_under_a_limit(migrated_sqlite_url: str):
    limited = Batch(database=migrated_sqlite_url).add_cost_limit(usd=5)
    with pytest.raises(ValidationError, match="service_tier"):
        limited.add_job(prompt="a", model=GPT, service_tier="priority")
    part = {"type": "input_file", "file_id": "file-123"}
    with pytest.raises(ValidationError, match="files by id or URL"):
        limited.add_job(messages=[{"role": "user", "content": [part]}], model=GPT)


@pytest.mark.parametrize("amount", [0, -1, math.nan, "much"])
def test_a_cost_limit_must_be_an_amount_above_nothing(lite: Make, amount: Any):
    with pytest.raises(ValueError, match=r"above 0|is not an amount|must be a number"):
        lite().add_cost_limit(usd=amount)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ({}, "No time was given"),
        ({"seconds": 9}, "at least 10 s"),
        ({"hours": "two"}, "hours must be a number"),
        ({"until": "8 o'clock"}, "no time of day"),
        ({"until": "08:00", "hours": 1}, "one of the two"),
    ],
)
def test_a_time_limit_must_be_a_time(lite: Make, arguments: dict[str, Any], said: str):
    with pytest.raises(ValueError, match=said):
        lite().add_time_limit(**arguments)


def test_jobs_are_values_that_can_be_written_and_read(lite: Make, tmp_path: Path):
    (tmp_path / "a.txt").write_text("text")
    job = Job(
        file=tmp_path / "a.txt",
        prompt="Read.",
        response_model=Invoice,
        key="k",
        metadata={"a": [1]},
        temperature=0.0,
        params={"seed": 3},
    )
    written = job.to_dict()
    assert written["response_model"].endswith("test_adding:Invoice")
    again = Job.from_dict(written)
    assert again == Job.from_dict(again.to_dict())
    assert (again.response_model, again.temperature) == (Invoice, 0.0)
    (stored,) = lite().add_jobs([again]).jobs
    assert (stored.key, stored.prompt, stored.params) == ("k", "Read.", {"seed": 3})
    assert (stored.response_model, stored.temperature) == (Invoice, 0.0)


def test_a_job_of_a_class_that_is_not_here_says_so(lite: Make):
    job = Job.from_dict(
        {"prompt": "a", "response_model": "nowhere:Lost", "response_schema": {"type": "object"}}
    )
    assert (job.response_model, job.response_schema) == (None, {"type": "object"})
    with pytest.raises(ValidationError, match="cannot be imported here"):
        lite().add_jobs([job])


def test_a_job_has_no_other_names():
    with pytest.raises(ValidationError, match="A job has no promt"):
        Job.from_dict({"promt": "a"})


def test_add_jobs_streams(lite: Make):
    seen: list[int] = []

    def rows() -> Any:
        for number in range(1_200):
            seen.append(number)
            yield {"prompt": f"say {number}"}

    batch = lite()
    batch.add_jobs(rows())
    assert (len(batch), len(batch.jobs), batch.jobs[-1].prompt) == (1_200, 1_200, "say 1199")
    assert len(batch._draft._buffer) < 1_000


def test_documents_are_not_what_a_draft_holds(lite: Make, tmp_path: Path):
    """Jobs wait in memory until there are many of them, or of their own words, never of files."""
    batch = lite()
    for number in range(4):
        path = tmp_path / f"{number}.pdf"
        path.write_bytes(pdf(f"page {number}") + b"\n%" + bytes(3_000_000))
        batch.add_job(file=path, prompt="Read it.")
    assert len(batch._draft._buffer) == 4
    batch.add_job(prompt="x" * 13_000_000)
    assert not batch._draft._buffer


@pytest.mark.parametrize("wrong", ["prompt", 7])
def test_add_jobs_takes_mappings_and_jobs(lite: Make, wrong: Any):
    with pytest.raises(ValidationError, match="add_jobs takes mappings"):
        lite().add_jobs([wrong])


def test_every_method_returns_the_builder(lite: Make):
    batch = lite()
    chained = (
        batch.set_state()
        .add_cost_limit(usd=1)
        .add_time_limit(hours=1)
        .set_verbosity("error")
        .raw_files(False)
        .add_job(prompt="a", price=PRICE)
        .add_jobs([])
    )
    assert chained is batch
    assert repr(batch) == "<Batch without a name, 1 job>"


@pytest.mark.parametrize(
    "settings",
    [
        {"max_parallel_batches": 0},
        {"items_per_batch": -1},
        {"max_attempts": True},
        {"max_usd_per_job": 0},
        {"on_bad_input": "ignore"},
        {"on_change": "ask"},
        {"name": " "},
        {"name": "\ud800"},
        {"project": 7},
        {"results_dir": 7},
        {"raw_files": True},
        {"raw_files": "some", "results_dir": "out"},
    ],
)
def test_settings_are_checked_as_they_are_given(settings: dict[str, Any]):
    with pytest.raises(ValidationError):
        Batch(**settings)
