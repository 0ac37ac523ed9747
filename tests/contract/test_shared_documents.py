"""A document that many jobs ask about: uploaded once where that pays, through both real SDKs."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from batchkit import Batch, sharing
from batchkit.errors import ProviderRefused, ProviderUnavailable, ValidationError
from batchkit.providers.openai import OpenAIResponses
from batchkit.simulator import Fault
from batchkit.store.batches import Batches
from batchkit.store.uploads import Uploads
from batchkit.submitter.lending import Lender
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Shop, go
from tests.contract.test_files import to_the_end, user_parts
from tests.unit.files import pdf, png

MODELS = [GPT, CLAUDE]
REPORT = pdf("Title: report\nAmount: 12", "Second page", "Third page")
LIMITS = {name: getattr(sharing, name) for name in ("LEAST_SIZE", "LEAST_SAVED")}


class Died(BaseException):
    """The process is gone, as far as anybody can tell from its rows."""


@pytest.fixture(autouse=True)
def pays_early(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let tiny documents be large ones."""
    for name in LIMITS:
        monkeypatch.setattr(sharing, name, 1)


@pytest.fixture
def report() -> Path:
    path = Path("report.pdf")
    path.write_bytes(REPORT)
    return path


def asking(path: Path, model: str, count: int = 4, name: str = "r", **settings: Any) -> Batch:
    batch = quiet(model, name=name, **settings)
    for number in range(count):
        batch.add_job(file=path, prompt=f"Question {number}?", key=f"q{number}")
    return batch


def documents(shop: Shop) -> list[Any]:
    """Return what this test uploaded for models to read, deleted or not."""
    made = {knock.ref for knock in shop.knocks if knock.route.endswith("files.create")}
    files = shop.simulator.office.world.files.values()
    return [file for file in files if file.id in made and file.purpose != "batch"]


def named(shop: Shop) -> list[str | None]:
    """Return the files that executed requests named, None for each that carried its own."""
    parts = [user_parts(body)[0] for body in shop.bodies]
    return [(part.get("source") or part).get("file_id") for part in parts]


def answers(batch: Batch) -> dict[str, tuple[Any, ...]]:
    results = go(batch).results()
    assert not results["failed"], results["failed"][0].error
    return {
        one.key: (one.raw_response, one.input_tokens, one.cost_usd) for one in results["completed"]
    }


def bought_once(shop: Shop, count: int) -> None:
    assert shop.bought == count
    assert len(documents(shop)) >= 1


@pytest.mark.parametrize("model", MODELS)
def test_it_goes_up_once_and_every_line_names_it(shop: Shop, report: Path, model: str) -> None:
    """Answers, tokens and cost are what they are inline; the upload is gone at the end."""
    shared = answers(asking(report, model))
    (file,) = documents(shop)
    assert named(shop) == [file.id] * 4
    assert (file.filename, file.size, file.deleted) == ("report.pdf", len(REPORT), True)
    assert file.expires_at - file.created_at == 7 * 24 * 3600
    assert file.purpose == ("user_data" if model == GPT else "user")

    shop.forget()
    assert answers(asking(report, model, name="inline", share_documents="off")) == shared
    assert named(shop) == [None] * 4
    assert documents(shop) == []


@pytest.mark.parametrize("model", MODELS)
def test_how_it_travels_is_no_part_of_who_a_job_is(shop: Shop, report: Path, model: str) -> None:
    """The same script again buys and uploads nothing, whichever way it says now."""
    go(asking(report, model))
    shop.forget()
    for way in ("auto", "off"):
        go(asking(report, model, share_documents=way))
    assert shop.nothing_sent()


@pytest.mark.parametrize("model", MODELS)
def test_pictures_and_parts_of_a_pdf_are_documents_too(shop: Shop, model: str) -> None:
    """A part is an upload of its own; an ending that the name lacks is put behind it."""
    Path("plan").write_bytes(png(300, 200))
    Path("report.pdf").write_bytes(REPORT)
    batch = quiet(model, name="r")
    for number in range(2):
        batch.add_job(file="plan", prompt=f"Picture {number}?")
        batch.add_job(file="report.pdf", pages="2-3", prompt=f"Part {number}?")
        batch.add_job(file="report.pdf", prompt=f"Whole {number}?")
    answers(batch)
    files = {file.filename: file for file in documents(shop)}
    assert len(documents(shop)) == 3
    assert set(files) == {"plan.png", "report.pdf"}
    assert len(set(named(shop))) == 3
    assert None not in named(shop)


def test_parts_that_several_jobs_ask_about_go_up_once_each(shop: Shop, report: Path) -> None:
    """`split_pages`: every part is a document of its own."""
    batch = quiet(GPT, name="r")
    for number in range(2):
        batch.add_job(file=report, split_pages=2, prompt=f"Question {number}?", key=f"q{number}")
    assert len(answers(batch)) == 2
    files = [file.id for file in documents(shop)]
    assert len(files) == 2
    assert sorted(named(shop), key=str) == sorted([*files, *files])


def test_citations_and_cache_marks_work_with_a_named_document(shop: Shop, report: Path) -> None:
    """Both stand beside the source, whatever it is."""
    batch = quiet(CLAUDE, name="r")
    prices = {"input": 1.0, "output": 5.0, "cached": 0.1, "cache_write_1h": 2.0}
    for number in range(4):
        batch.add_job(
            file=report,
            prompt=f"Question {number}?",
            enable_citations=True,
            model="claude-sonnet-5-5",
            price=prices,
        )
    results = go(batch).results()["completed"]
    assert len(results) == 4
    assert all(one.citations and one.citations[0].source == "report.pdf" for one in results)
    assert {one.citations[0].page for one in results} <= {1, 2, 3}
    assert None not in named(shop)


def test_where_it_does_not_pay_it_goes_inline(
    shop: Shop, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Small, or asked about once, or a text."""
    Path("notes.txt").write_text("Title: notes\nAmount: 3\n")
    batch = asking(report, GPT, 1)
    for number in range(3):
        batch.add_job(file="notes.txt", prompt=f"Note {number}?", key=f"n{number}")
    answers(batch)
    assert documents(shop) == []
    for name, value in LIMITS.items():
        monkeypatch.setattr(sharing, name, value)
    answers(asking(report, GPT, 5, name="small"))
    assert documents(shop) == []


def test_a_server_that_only_speaks_like_openai_gets_it_inline(shop: Shop, report: Path) -> None:
    """Nobody knows what it makes of a file's id."""
    batch = quiet(GPT, name="r")
    for number in range(4):
        batch.add_job(file=report, prompt=f"Question {number}?", provider="openai-chat")
    answers(batch)
    assert documents(shop) == []


def test_what_share_documents_can_be_is_said() -> None:
    """Before anything is sent."""
    with pytest.raises(ValidationError, match="share_documents"):
        Batch(share_documents="always")  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("where", "what", "uploads", "model"),
    [
        (Uploads, "add", 2, GPT),  # it is there, and nobody wrote it down
        (Batches, "seal", 1, CLAUDE),  # written down, and no line names it
        (Uploads, "deleted", 1, GPT),  # all is collected; gone there, and nobody wrote it down
    ],
)
def test_a_death_at_any_point_loses_nothing_and_buys_nothing_twice(
    shop: Shop,
    report: Path,
    monkeypatch: pytest.MonkeyPatch,
    where: type,
    what: str,
    uploads: int,
    model: str,
) -> None:
    """At worst an upload is left that goes when its time is over."""

    def die(*_: Any, **__: Any) -> Any:
        raise Died

    with monkeypatch.context() as patched:
        patched.setattr(where, what, die)
        # Whoever clears away may be left behind by a run that is over.
        with suppress(Died) if what == "deleted" else pytest.raises(Died):
            go(asking(report, model))
    answers(asking(report, model))
    go(quiet(model, name="next").add_job(prompt="Anything left?"))
    files = documents(shop)
    assert len(files) == uploads
    assert [file.expires_at is not None for file in files] == [True] * uploads
    assert [file.deleted for file in files] == [False, True][2 - uploads :]
    assert shop.bought == 5


@pytest.mark.parametrize("model", MODELS)
def test_an_upload_that_is_lost_costs_nothing_and_is_made_again(
    held: Shop, report: Path, model: str
) -> None:
    """The requests that named it did not run; they go again with another."""
    batch = asking(report, model)
    run = batch.submit()
    lose(held, documents(held)[0].id)
    to_the_end(held, run)
    first, second = documents(held)
    assert named(held) == [second.id] * 4
    assert second.deleted
    bought_once(held, 4)
    attempts = run.get("q0").attempts
    assert [one["code"] for one in attempts] == ["not_run", None]
    assert (attempts[0]["cost_usd"], first.id in attempts[0]["error"]) == (0, True)


def test_a_batch_turned_away_for_a_lost_upload_goes_again(held: Shop, report: Path) -> None:
    """Where the provider sees it before a single request runs: nothing fails by it."""
    run = asking(report, GPT).submit()
    (file,) = documents(held)
    lose(held, file.id)
    (made,) = [knock.ref for knock in held.knocks if knock.route.endswith("batches.create")]
    words = f"File {file.id} was not found."
    problem = {"code": "invalid_request", "message": words, "param": None, "line": None}
    held.simulator.office.world.change(str(made), problems=(problem,))
    to_the_end(held, run)
    assert (run.status()["completed"], run.get_failed_jobs()) == (4, {})
    assert len(documents(held)) == 2


@pytest.mark.parametrize("model", MODELS)
def test_what_is_lost_twice_goes_inline(held: Shop, report: Path, model: str) -> None:
    """Bounded: who deletes files at the provider all the time cannot keep a run from its end."""
    run = asking(report, model).submit()
    for _ in range(2):
        lose(held, documents(held)[-1].id)
        held.end()
        run.execute(once=True)
    to_the_end(held, run)
    assert len(documents(held)) == 2
    assert named(held) == [None] * 4
    bought_once(held, 4)


def lose(shop: Shop, ref: str) -> None:
    """Delete a file at the provider, as a person does in its console."""
    world = shop.simulator.office.world
    world.keep(replace(world.files[ref], deleted=True, deleted_at=shop.simulator.now()))


def test_an_upload_that_is_refused_goes_inline(
    shop: Shop, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A key without the right to files, a gateway without a route: the run goes on."""

    def refuse(*_: Any) -> Any:
        raise ProviderRefused("no such route", reason="not_found", status=404)

    monkeypatch.setattr(OpenAIResponses, "share", refuse)
    answers(asking(report, GPT))
    assert named(shop) == [None] * 4


@pytest.mark.parametrize("model", MODELS)
def test_an_upload_that_gets_no_answer_is_tried_again(shop: Shop, report: Path, model: str) -> None:
    """Nothing is sent without it, and nothing fails."""
    front = "openai" if model == GPT else "anthropic"
    shop.simulator.faults.add(f"{front}.files.create", Fault("refuse", status=503), nth=1)
    shop.simulator.faults.add(f"{front}.files.create", Fault("drop"), nth=2)
    answers(asking(report, model))
    assert len(documents(shop)) == 2
    bought_once(shop, 4)


def test_told_to_leave_during_an_upload_it_is_the_last_call(
    shop: Shop, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No other document goes up, and no batch goes out; who comes back sends them."""
    Path("other.pdf").write_bytes(pdf("Title: other\nAmount: 3"))
    batch = quiet(GPT, name="r")
    for number in range(4):
        path = report if number < 2 else Path("other.pdf")
        batch.add_job(file=path, prompt=f"Question {number}?", key=f"q{number}")
    stop = threading.Event()
    share = OpenAIResponses.share

    def silent(*_: Any) -> Any:
        raise ProviderUnavailable("not now")

    def leaving(*args: Any) -> Any:
        stop.set()
        return share(*args)

    monkeypatch.setattr(OpenAIResponses, "share", silent)
    run = batch.submit()
    assert shop.nothing_sent()
    monkeypatch.setattr(OpenAIResponses, "share", leaving)
    run.execute(stop=stop)
    assert [knock.route for knock in shop.knocks] == ["openai.files.create"]
    go(batch)
    assert len(documents(shop)) == 2
    bought_once(shop, 4)


def test_another_run_in_flight_keeps_what_both_name(held: Shop, report: Path) -> None:
    """Cleared away by whoever ends last."""
    first = asking(report, CLAUDE, 3, name="first").submit()
    second = asking(report, CLAUDE, 4, name="second").submit()
    (file,) = documents(held)
    first.cancel()
    to_the_end(held, first)
    assert not documents(held)[0].deleted
    to_the_end(held, second)
    assert documents(held)[0].deleted
    assert {ref for ref in named(held) if ref} == {file.id}


def test_a_cancelled_run_leaves_nothing_behind(held: Shop, report: Path) -> None:
    """Its batch is stopped at the provider, and then its upload goes."""
    run = asking(report, GPT).submit()
    run.cancel()
    to_the_end(held, run)
    assert [file.deleted for file in documents(held)] == [True]


@pytest.mark.parametrize("model", MODELS)
def test_the_estimate_counts_batches_of_what_goes_up(shop: Shop, model: str) -> None:
    """40 questions about 8 MB were some batches of 190 or 255 MB; now they are one."""
    Path("large.pdf").write_bytes(REPORT + b"\n%" + bytes(8_000_000))
    inline, shared = (
        asking(Path("large.pdf"), model, 40, name=way, share_documents=way).estimate()
        for way in ("off", "auto")
    )
    assert (inline["batches"] > 1, shared["batches"]) == (True, 1)
    assert inline["usd_max"] == shared["usd_max"]
    assert inline["input_tokens"] == shared["input_tokens"]


@pytest.mark.parametrize("raw_files", [True, "full"])
def test_raw_files_say_which_document_a_line_names(
    shop: Shop, report: Path, raw_files: Any
) -> None:
    """By its name and hash; where every byte is kept, it stands in its lines."""
    run = go(asking(report, GPT, results_dir="out", raw_files=raw_files))
    sent = Path(run.get("q1").attempts[0]["raw_upload"])
    kept = sent.with_name("documents.json")
    if raw_files == "full":
        assert base64.b64encode(REPORT) in sent.read_bytes()
        assert not kept.exists()
    else:
        (file,) = documents(shop)
        digest = hashlib.sha256(REPORT).hexdigest()
        assert json.loads(kept.read_bytes()) == {file.id: {"name": "report.pdf", "sha256": digest}}
        assert file.id in sent.read_text()
    assert run.get("q1").request["files"] == [str(report.absolute())]


def test_it_stays_where_somebody_wants_to_look_at_it(shop: Shop, report: Path) -> None:
    """`keep_provider_files=True`: until its time is over."""
    answers(asking(report, CLAUDE, keep_provider_files=True))
    (file,) = documents(shop)
    assert not file.deleted


def test_a_batch_whose_upload_will_not_last_is_cut_again(
    shop: Shop, report: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It waited too long to be sent: the provider would read it when the document is gone."""
    known: Callable[..., bool] = Lender.is_good
    looks: list[bool] = []

    def first_not(*args: Any) -> bool:
        looks.append(known(*args))
        return len(looks) > 1 and looks[-1]

    monkeypatch.setattr(Lender, "is_good", first_not)
    answers(asking(report, GPT))
    assert looks == [True, True]
    bought_once(shop, 4)


def test_a_file_that_moved_after_its_upload_is_still_asked_about(held: Shop, report: Path) -> None:
    """What is sent is what was added: the provider has it."""
    batch = asking(report, CLAUDE, 4, items_per_batch=2, max_parallel_batches=1)
    run = batch.submit()
    os.replace(report, "moved.pdf")
    to_the_end(held, run)
    bought_once(held, 4)


def test_under_a_tight_limit_its_tokens_are_counted_as_ever(shop: Shop, report: Path) -> None:
    """The bound is of what the model reads, not of what goes up the line."""
    least = asking(report, CLAUDE, name="asked").estimate()["usd_max"]
    run = go(asking(report, CLAUDE).add_cost_limit(usd=least))
    assert run.state == "completed"
    assert len(documents(shop)) == 1
    assert run.status()["cost_usd"] <= least
