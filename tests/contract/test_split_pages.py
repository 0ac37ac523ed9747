"""`split_pages`: a PDF in several requests is one document to whoever reads, whoever answers."""

from __future__ import annotations

import csv
import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from batchkit import get_run
from batchkit.cli import cli
from batchkit.documents import pdf_text
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, go
from tests.contract.test_files import TEN, content, user_parts
from tests.unit.files import pdf


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_a_split_pdf_is_one_result_in_page_order(shop: Shop, model: str) -> None:
    """Each request is a PDF of its pages alone; the answers are one list."""
    Path("ten.pdf").write_bytes(TEN)
    batch = quiet(model, name="r").set_default_params(response_model=Note)
    run = go(batch.add_job(file="ten.pdf", split_pages=4, prompt="Read it."))

    (one,) = run.results()["completed"]
    answers: Any = one.parsed_response
    assert answers == [Note(title=f"page {first}", amount=first) for first in (1, 5, 9)]
    sent = [pdf_text(content(user_parts(body)[0])) for body in shop.bodies]
    titles = [[text.split("\n")[0] for text in texts] for texts in sent]
    assert sorted(titles, key=len, reverse=True) == [
        [f"Title: page {number}" for number in range(1, 5)],
        [f"Title: page {number}" for number in range(5, 9)],
        ["Title: page 9", "Title: page 10"],
    ]


def test_citations_are_those_of_the_whole_document(shop: Shop) -> None:
    """Pages count as in the file, fields by the part's place, words by the joined answer."""
    Path("ten.pdf").write_bytes(TEN)
    batch = quiet(name="r").set_default_params(response_model=Note, enable_citations=True)
    (one,) = go(batch.add_job(file="ten.pdf", split_pages=4, prompt="Read.")).results()["completed"]

    found = one.citation_mappings
    assert {name: [c.page for c in cited] for name, cited in found.items()} == {
        f"{number}.{field}": [page]
        for number, page in enumerate((1, 5, 9))
        for field in ("title", "amount")
    }
    assert all((c.metadata or {})["sure"] for cited in found.values() for c in cited)
    assert {c.page for c in one.citations} == {1, 5, 9}
    for name, cited in found.items():
        place = cited[0].metadata or {}
        said = (one.raw_response or "")[place["answer_start_index"] : place["answer_end_index"]]
        number, _, field = name.partition(".")
        assert str(getattr(one.parsed_response[int(number)], field)) in said  # type: ignore[index]


def test_the_command_and_every_export_know_documents(shop: Shop) -> None:
    """Two models, one of whose parts is refused: ls, status, results, errors, show, pivot, CSV."""
    text = "[[sim:400]]\nTitle: page 2\nAmount: 2"
    Path("two.pdf").write_bytes(pdf("Title: page 1\nAmount: 1", text))
    batch = quiet(name="r").set_default_params(response_model=Note, models=[CLAUDE, GPT])
    batch.add_job(file="two.pdf", split_pages=1, prompt="Read it.")
    run = go(batch.add_job(file="two.pdf", split_pages=2, pages="1", prompt="One.", key="one"))
    assert len(batch) == run.status()["total"] == 4

    def told(*words: str) -> str:
        found = CliRunner().invoke(cli, list(words))
        assert "\x1f" not in found.output
        return found.output

    (reason,) = json.loads(told("errors", "r", "--json"))
    keys = {f"two.pdf@{CLAUDE}", f"two.pdf@{GPT}"}
    assert {one["key"] for one in reason["examples"]} == keys
    assert reason["count"] == 2
    assert "4 of 4 jobs ended, 2 failed" in told("status", "r")
    assert "pages 2: " in told("show", "r", f"two.pdf@{GPT}")
    assert "00002" not in told("log", "r") + told("ls")
    told("results", "r", "-o", "out.csv")
    rows = list(csv.DictReader(Path("out.csv").read_text("utf-8").splitlines()))
    assert {row["key"]: row["state"] for row in rows} == {
        **dict.fromkeys(keys, "failed"),
        f"one@{CLAUDE}": "completed",
        f"one@{GPT}": "completed",
    }
    (row,) = [row for row in rows if row["key"] == f"one@{GPT}"]
    assert json.loads(row["answer"]) == [{"title": "page 1", "amount": 1.0}]
    assert "title" not in row
    sides = {row.key: row.results for row in get_run("r").pivot()}
    assert set(sides) == {"two.pdf", "one"}
    assert [len(one.parts) for one in sides["two.pdf"].values()] == [2, 2]
    answers: Any = sides["one"][GPT].parsed_response
    assert answers == [Note(title="page 1", amount=1)]


def test_a_document_is_cancelled_by_its_key(shop: Shop) -> None:
    """What waits of it is; nothing of others is."""
    Path("ten.pdf").write_bytes(TEN)
    batch = quiet(name="r").add_job(prompt="first", key="a").add_cost_limit(usd=5)
    batch.add_job(file="ten.pdf", split_pages=4, prompt="Read it.")
    run = batch.run(first=1, progress_interval=0.02)
    assert run.status()["total"] == 1
    run = batch.set_verbosity("error")._opened(None)

    assert run.cancel(keys=["ten.pdf"]) == []
    (one,) = run.results()["cancelled"]
    assert (one.key, len(one.parts)) == ("ten.pdf", 3)
    assert (run.status()["cancelled"], run.state) == (1, "cancelled")
