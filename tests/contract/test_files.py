"""Files through both providers: what each type became on the wire; pages, copies."""

from __future__ import annotations

import base64
import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from batchkit import Batch, BatchRun, documents
from batchkit.documents import office, pdf_text
from batchkit.errors import ConfigError, ValidationError
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, go
from tests.documents import made
from tests.unit.files import pdf

PROVIDERS = [(CLAUDE, None), (GPT, None), (GPT, "openai-chat")]


def user_parts(body: dict[str, Any]) -> list[dict[str, Any]]:
    """Return the blocks of what the user said, in either API's shape."""
    (message,) = [m for m in body.get("messages") or body["input"] if m["role"] == "user"]
    parts: list[dict[str, Any]] = message["content"]
    return parts


def by_prompt(shop: Shop) -> dict[str, list[dict[str, Any]]]:
    return {parts[-1]["text"]: parts for parts in map(user_parts, shop.bodies)}


def shape(model: str, provider: str | None, kind: str) -> str:
    """Return the type of the block that a document of this kind goes out as."""
    if model == CLAUDE:
        return "image" if kind == "image" else "document"
    if provider:
        return {"text": "text", "pdf": "file", "image": "image_url"}[kind]
    return {"text": "input_text", "pdf": "input_file", "image": "input_image"}[kind]


def content(part: dict[str, Any]) -> bytes:
    """Return what a block carries: text as UTF-8, a file as its bytes."""
    if "text" in part:
        return str(part["text"]).encode()
    source = part.get("source") or {}
    if source.get("type") == "text":
        return str(source["data"]).encode()
    if source:
        return base64.b64decode(source["data"])
    url = part.get("image_url") or part.get("file_data") or part["file"]["file_data"]
    url = url["url"] if isinstance(url, dict) else url
    return base64.b64decode(url.partition(";base64,")[2])


@pytest.mark.slow
@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
def test_every_type_goes_out_as_the_table_says(
    shop: Shop, model: str, provider: str | None
) -> None:
    """Text and office files as text, PDFs and images as they are: five files and more of each."""
    batch = quiet(model, name="r")
    for path, _ in made.written(Path(), made.GOOD):
        batch.add_job(file=path, prompt=f"Read {path.name}.", provider=provider)
    run = go(batch)
    assert run.state == "completed", run.get_failed_jobs()

    sent = by_prompt(shop)
    assert len(sent) == len(made.GOOD)
    for name, _, words in made.GOOD:
        seen = documents.inspect(name)
        part = sent[f"Read {name}."][0]
        carried = content(part)
        assert part["type"] == shape(model, provider, seen.kind), name
        if words:
            assert [word for word in words if word not in carried.decode()] == [], name
        else:
            assert carried == Path(name).read_bytes(), name


def test_bad_files_fail_alone_and_the_night_goes_on(shop: Shop) -> None:
    """`on_bad_input="fail"`: each is a failed job with its reason; the rest is bought."""
    batch = quiet(name="r", on_bad_input="fail")
    for path, _ in made.written(Path(), [*made.BAD, *made.TEXTS[:2]]):
        batch.add_job(file=path, prompt="Read it.")
    run = go(batch)

    failed = run.get_failed_jobs()
    assert set(failed) == {name for name, _, _ in made.BAD}
    assert [name for name, _, said in made.BAD if said not in failed[name]] == []
    results = run.results()
    assert {one.error_code for one in results["failed"]} == {"bad_input"}
    assert {one.cost_usd for one in results["failed"]} == {0}
    assert len(results["completed"]) == len(shop.bodies) == 2


TEN = pdf(*(f"Title: page {number}\nAmount: {number}" for number in range(1, 11)))


@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
def test_a_part_of_a_pdf_goes_out_as_a_pdf_of_those_pages(
    shop: Shop, model: str, provider: str | None
) -> None:
    """`pages="1-3,7"`: nothing else is sent, and the key says which."""
    Path("ten.pdf").write_bytes(TEN)
    batch = quiet(model, name="r").set_default_params(response_model=Note, provider=provider)
    for pages in ("2", "1-3, 7", "9-"):
        batch.add_job(file="ten.pdf", pages=pages, prompt=f"Pages {pages}.")
    assert [job.pages for job in batch.jobs] == ["2", "1-3,7", "9-10"]
    run = go(batch)

    assert {one.key for one in run.results()["completed"]} == {
        "ten.pdf#2",
        "ten.pdf#1-3,7",
        "ten.pdf#9-",
    }
    sent = {prompt: content(parts[0]) for prompt, parts in by_prompt(shop).items()}
    told = {prompt: [page.split("\n")[0] for page in pdf_text(d)] for prompt, d in sent.items()}
    assert told == {
        "Pages 2.": ["Title: page 2"],
        "Pages 1-3, 7.": [f"Title: page {n}" for n in (1, 2, 3, 7)],
        "Pages 9-.": ["Title: page 9", "Title: page 10"],
    }
    answer = next(one for one in run.results()["completed"] if one.key == "ten.pdf#2")
    assert answer.parsed_response == Note(title="page 2", amount=2)


def test_pages_are_part_of_what_a_job_is(shop: Shop) -> None:
    """Other pages are another content, all pages the whole, the same ones nothing new."""
    Path("ten.pdf").write_bytes(TEN)

    def ask(pages: str | None, **more: Any) -> Batch:
        batch = quiet(name="r", **more)
        return batch.add_job(file="ten.pdf", pages=pages, prompt="Read.", key="k")

    go(ask("1-3"))
    assert go(ask("1-2,3")).status()["completed"] == 1
    assert len(shop.bodies) == 1
    with pytest.raises(Exception, match=r"file was .*pages 1-3.*, is .*pages 1-4"):
        ask("1-4").run()
    go(ask(None, on_change="replace"))
    assert len(shop.bodies) == 2
    go(ask("1-10"))
    assert len(shop.bodies) == 2


def test_a_bound_counts_the_pages_that_are_sent(shop: Shop) -> None:
    """Nobody reserves for pages that stay at home."""
    Path("ten.pdf").write_bytes(TEN)
    whole, part = (
        quiet(name=name).add_job(file="ten.pdf", pages=pages, prompt="Read.").estimate()
        for name, pages in (("whole", None), ("part", "4"))
    )
    assert part["usd_max"] < whole["usd_max"] / 4
    assert part["input_tokens"] < whole["input_tokens"] / 4


@pytest.mark.parametrize(
    ("pages", "said"),
    [
        ("11", r"ten\.pdf has 10 pages, and pages=\"11\" asks for page 11"),
        ("8-12", r"ten\.pdf has 10 pages.*pages=\"8-\" goes to the end"),
        ("0", "counting from 1"),
        ("5-2", "runs backwards"),
        ("3,1", "ascending order"),
        ("1-3,2", "ascending order"),
        ("first", "is no range of pages"),
        ("", "is no range of pages"),
        (7, "is no range of pages"),
    ],
)
def test_a_bad_range_is_a_clear_error(shop: Shop, pages: Any, said: str) -> None:
    """At `add_job`, before anything is sent."""
    Path("ten.pdf").write_bytes(TEN)
    with pytest.raises(ValidationError, match=said):
        quiet().add_job(file="ten.pdf", pages=pages, prompt="Read.")


def test_pages_need_one_pdf(shop: Shop) -> None:
    """Not a text, not two files, not none."""
    Path("ten.pdf").write_bytes(TEN)
    Path("a.txt").write_text("words")
    batch = quiet(on_bad_input="fail")
    batch.add_job(file="a.txt", pages="1", prompt="Read.")
    with pytest.raises(ValidationError, match="needs one PDF"):
        batch.add_job(files=["ten.pdf", "a.txt"], pages="1", prompt="Read.")
    with pytest.raises(ValidationError, match="needs one PDF"):
        batch.add_job(prompt="Read.", pages="1")
    assert go(batch).get_failed_jobs()["a.txt#1"].startswith("a.txt is no PDF")


def test_too_many_pages_for_the_model_are_seen_at_add_job(shop: Shop) -> None:
    """600, or 100 where the window is small; a part of them goes."""
    Path("long.pdf").write_bytes(pdf(*["x"] * 601))
    batch = quiet()
    with pytest.raises(ValidationError, match=r"long\.pdf: 601 PDF pages, .* at most 600 .*pages="):
        batch.add_job(file="long.pdf", prompt="Read.")
    batch.add_job(file="long.pdf", pages="1-600", prompt="Read.")
    with pytest.raises(ValidationError, match="at most 100"):
        batch.add_job(file="long.pdf", pages="1-101", prompt="Read.", model="claude-haiku-4-5")
    batch.add_job(file="long.pdf", prompt="Read.", model=GPT)
    assert len(batch) == 2


def to_the_end(held: Shop, run: BatchRun) -> None:
    """Look again and again, an hour later each time."""
    for _ in range(10):
        held.end()
        run.execute(once=True)
        if run.is_complete:
            return


@pytest.mark.parametrize(("model", "provider"), PROVIDERS)
def test_jobs_with_files_are_retried_like_any(held: Shop, model: str, provider: str | None) -> None:
    """With another prompt, too: what is known of a document is enough to check it."""
    Path("ten.pdf").write_bytes(TEN)
    Path("a.txt").write_text("words")
    batch = quiet(model, name="r")
    batch.add_job(file="ten.pdf", pages="2-3", prompt="Read.", provider=provider)
    batch.add_job(file="a.txt", prompt="Read.", provider=provider)
    run = batch.submit()
    run.cancel()
    to_the_end(held, run)
    assert run.status()["cancelled"] == 2

    run.retry(prompt="Read it again.")
    to_the_end(held, run)
    assert run.status()["completed"] == 2


def test_a_converter_that_writes_more_by_now_reserves_more(
    held: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The bound holds for what is sent, not for what an older version would have sent."""
    made.DOCX[0][1](Path("letter.docx"))
    batch = quiet(name="r").add_cost_limit(usd=5).add_job(file="letter.docx", prompt="Read.")
    before = batch.estimate()["usd_max"]
    monkeypatch.setattr(office, "converted", lambda data, media_type: "many words " * 20_000)
    assert batch.submit().status()["reserved_usd"] > 5 * before


def copies() -> list[str]:
    return sorted(path.name for path in Path(".batchkit/files").iterdir())


def test_kept_files_let_an_inbox_move(held: Shop) -> None:
    """After `run()` has written the jobs down, batches to come read the copies."""
    Path("in").mkdir()
    for name, data in (("a.txt", b"one"), ("b.txt", b"two"), ("c.pdf", TEN)):
        Path("in", name).write_bytes(data)
    batch = quiet(name="r", keep_files=True, items_per_batch=1, max_parallel_batches=1)
    for name in ("a.txt", "b.txt"):
        batch.add_job(file=f"in/{name}", prompt="Read.")
    batch.add_job(file="in/c.pdf", pages="2-3", prompt="Read.")
    run = batch.submit()
    assert len(copies()) == 3

    shutil.rmtree("in")
    Path("in").mkdir()
    Path("in/b.txt").write_text("another file has its name now")
    to_the_end(held, run)
    done = {one.key for one in run.results()["completed"]}
    assert done == {"in/a.txt", "in/b.txt", "in/c.pdf#2-3"}
    assert any("two" in json.dumps(body) for body in held.bodies)


def test_without_copies_a_moved_inbox_is_waited_for(held: Shop) -> None:
    """So that the test above can fail."""
    Path("a.txt").write_text("one")
    Path("b.txt").write_text("two")
    batch = quiet(name="r", items_per_batch=1, max_parallel_batches=1)
    for name in ("a.txt", "b.txt"):
        batch.add_job(file=name, prompt="Read.")
    run = batch.submit()
    Path("b.txt").unlink()
    to_the_end(held, run)
    assert run.status()["waiting_for"] == "files"
    assert not Path(".batchkit/files").exists()


def test_rm_takes_the_copies_that_no_run_needs(shop: Shop) -> None:
    """What another run shares stays; what is not ours is not touched."""
    from batchkit.upkeep import removed

    for name in ("a", "b", "c"):
        Path(f"{name}.txt").write_text(name)
    for run, names in (("first", "ab"), ("second", "bc")):
        batch = quiet(name=run, keep_files=True)
        for name in names:
            batch.add_job(file=f"{name}.txt", prompt="Read.")
        go(batch)
    Path(".batchkit/files/mine.txt").write_text("not ours")
    assert len(copies()) == 4
    removed("first", dry_run=True)
    assert len(copies()) == 4
    removed("first")
    assert len(copies()) == 3
    removed("second")
    assert copies() == ["mine.txt"]


def test_copies_lie_where_the_environment_says(
    shop: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """One folder for all machines of a Postgres; a folder that cannot be written is named."""
    Path("a.txt").write_text("one")
    monkeypatch.setenv("BATCHKIT_FILES_DIR", str(tmp_path / "shared"))
    quiet(keep_files=True).add_job(file="a.txt", prompt="Read.")
    assert len(list((tmp_path / "shared").iterdir())) == 1

    (tmp_path / "blocked").write_text("")
    monkeypatch.setenv("BATCHKIT_FILES_DIR", str(tmp_path / "blocked"))
    with pytest.raises(ConfigError, match="BATCHKIT_FILES_DIR"):
        quiet(keep_files=True).add_job(file="a.txt", prompt="Read.")
    with pytest.raises(ValidationError, match="keep_files must be"):
        quiet(keep_files="yes")
