"""Answers with citations: whole runs through the real SDK against the simulator."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner
from pydantic import BaseModel

from batchkit import Batch, JobResult, ValidationError
from batchkit.cli import cli
from batchkit.simulator import Asked, Simulator
from tests.contract.shop import environment
from tests.unit.files import pdf, png

CLAUDE = "claude-haiku-5-5"


class Line(BaseModel):
    name: str
    price: float


class Invoice(BaseModel):
    supplier: str
    number: str
    total: float
    due: str
    lines: list[Line]
    paid: bool


FACTS = "Supplier: Acme Inc.\nNumber: A-4711\n"
SUMS = "Name: copper wire\nPrice: 1,234.50\nTotal: 1,500.25 euros in all\nDue: 3 March 2026\n"


class Provider:
    """The simulator, and the bodies it was sent."""

    def __init__(self, folder: Path) -> None:
        self.bodies: list[Any] = []
        self.simulator = Simulator(folder, instant=True, rule=self._seen)

    def _seen(self, asked: Asked) -> None:
        self.bodies.append(asked.body)


@pytest.fixture
def provider(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    """Both providers, found by the environment."""
    made = Provider(tmp_path / "sim")
    with made.simulator as simulator:
        for name, value in environment(simulator).items():
            monkeypatch.setenv(name, value)
        yield made


def asked(url: str, *jobs: dict[str, Any], **settings: Any) -> list[JobResult]:
    """Run jobs with citations; return their results in order of adding."""
    batch = Batch(name="cited", database=url, **settings).set_verbosity("error")
    batch.set_default_params(model=CLAUDE, max_tokens=1_000, enable_citations=True)
    for number, job in enumerate(jobs):
        batch.add_job(**{"key": f"k{number}", "prompt": "Extract it.", **job})
    run = batch.run(progress_interval=0.02)
    assert run.get_failed_jobs() == {}
    return sorted(run.iter_results(), key=lambda result: result.key)


def sure(result: JobResult) -> dict[str, list[bool]]:
    """Return for each mapped field which of its citations are sure."""
    return {
        field: [(one.metadata or {})["sure"] for one in found]
        for field, found in result.citation_mappings.items()
    }


def contains(passage: str, value: Any) -> bool:
    """Say it a second way: by letters and digits alone, dates and sums as they stand above."""
    written = f"{value:.2f}" if isinstance(value, float) else str(value)
    said = {"2026-03-03": "3 March 2026"}.get(written, written)
    return _letters(said) in _letters(passage)


def _letters(text: str) -> str:
    return re.sub(r"[\W_]", "", text).lower()


def test_fields_are_mapped_to_the_pages_that_hold_their_values(
    provider: Provider, migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """Schema in the words, citations on every document, JSON in text blocks: one request."""
    Path("a.pdf").write_bytes(pdf("A cover.", FACTS.strip(), SUMS.strip()))
    Path("a.txt").write_text(f"A cover.\n{FACTS}{SUMS}")
    jobs = [{"file": name, "response_model": Invoice} for name in ("a.pdf", "a.txt")]
    paged, texted = asked(migrated_sqlite_url, *jobs, results_dir=str(tmp_path / "out"))

    assert len(provider.bodies) == 2
    for body in provider.bodies:
        assert "output_config" not in body
        assert "Cite the documents" in body["system"]
        assert body["messages"][0]["content"][0]["citations"] == {"enabled": True}
    for result in (paged, texted):
        invoice = result.parsed_response
        assert isinstance(invoice, Invoice)
        assert (invoice.supplier, invoice.total) == ("Acme Inc.", 1500.25)
        mapped = result.citation_mappings
        assert {"supplier", "number", "total", "lines.0.name", "lines.0.price"} <= mapped.keys()
        assert "paid" not in mapped
        assert all(all(found) for found in sure(result).values())
        assert contains(mapped["total"][0].text, 1500.25)
        assert contains(mapped["number"][0].text, "A-4711")
    pages = {field: found[0].page for field, found in paged.citation_mappings.items()}
    assert (pages["supplier"], pages["total"], pages["lines.0.price"]) == (2, 3, 3)
    one = texted.citation_mappings["total"][0]
    where = one.metadata or {}
    text = Path("a.txt").read_text()
    assert (one.source, one.page) == ("a.txt", None)
    assert text[where["start_char_index"] : where["end_char_index"]] == one.text

    written = json.loads((tmp_path / "out" / "k0.json").read_text())
    assert written["citation_mappings"]["total"][0]["page"] == 3
    assert JobResult.from_dict(written).citation_mappings == paged.citation_mappings
    place = ["--database", migrated_sqlite_url]
    shown = CliRunner().invoke(cli, ["show", "cited", "k0", *place], catch_exceptions=False)
    assert re.search(r"^lines\.0\.price +a\.pdf +page 3 +Price: 1,234\.50", shown.output, re.M)
    exported = str(tmp_path / "all.jsonl")
    CliRunner().invoke(cli, ["results", "cited", "-o", exported, *place], catch_exceptions=False)
    rows = map(json.loads, Path(exported).read_text().splitlines())
    assert all(row["citation_mappings"] and row["citations"] for row in rows)


def test_citations_that_point_elsewhere_are_unsure(
    provider: Provider, migrated_sqlite_url: str
) -> None:
    """Nothing is claimed that the cited words do not say."""
    Path("a.txt").write_text(f"{FACTS}{SUMS}")
    job = {"file": "a.txt", "prompt": "Extract [[sim:miscite]]", "response_model": Invoice}
    (result,) = asked(migrated_sqlite_url, job)

    invoice = result.parsed_response
    assert isinstance(invoice, Invoice)
    assert result.citation_mappings
    for field, found in result.citation_mappings.items():
        value: Any = invoice.model_dump()
        for step in field.split("."):
            value = value[int(step)] if step.isdigit() else value[step]
        for one in found:
            assert (one.metadata or {})["sure"] is contains(one.text, value), field
    assert any(not all(flags) for flags in sure(result).values())


def test_a_part_of_a_document_is_cited_by_the_pages_of_the_whole(
    provider: Provider, migrated_sqlite_url: str
) -> None:
    """What `pages=` left out counts."""
    Path("a.pdf").write_bytes(pdf("One.", "Two.", "Three.", FACTS.strip(), SUMS.strip()))
    (result,) = asked(
        migrated_sqlite_url, {"file": "a.pdf", "pages": "2,4-5", "response_model": Invoice}
    )
    pages = {field: found[0].page for field, found in result.citation_mappings.items()}
    assert (pages["number"], pages["total"]) == (4, 5)


def test_blocks_of_custom_content_in_messages_are_cited(
    provider: Provider, migrated_sqlite_url: str
) -> None:
    """The switch is turned on in the user's own document blocks, which stay as they are."""
    parts = [{"type": "text", "text": text} for text in ("A cover.", FACTS, SUMS)]
    block = {"type": "document", "source": {"type": "content", "content": parts}}
    message = {"role": "user", "content": [block, {"type": "text", "text": "Extract it."}]}
    (result,) = asked(
        migrated_sqlite_url, {"prompt": None, "messages": [message], "response_model": Invoice}
    )
    (total,) = result.citation_mappings["total"]
    assert (total.metadata or {})["start_block_index"] == 2
    assert "citations" not in block


def test_a_free_text_says_which_of_its_words_are_cited(
    provider: Provider, migrated_sqlite_url: str
) -> None:
    """No schema, no fields: the place in the answer."""
    Path("a.txt").write_text("The whale is large. The sea is wide.")
    (result,) = asked(migrated_sqlite_url, {"file": "a.txt"})
    assert result.citation_mappings == {}
    for one in result.citations:
        where = one.metadata or {}
        said = (result.raw_response or "")[where["answer_start_index"] : where["answer_end_index"]]
        assert said == one.text.strip()


def test_what_cannot_be_cited_is_said_at_add_job(
    provider: Provider, migrated_sqlite_url: str
) -> None:
    """With the way out."""
    Path("a.png").write_bytes(png(9, 9))
    Path("a.txt").write_text(FACTS)
    batch = Batch(database=migrated_sqlite_url).set_verbosity("error")
    batch.set_default_params(model=CLAUDE, enable_citations=True, response_model=Invoice)
    with pytest.raises(ValidationError, match="no document to cite"):
        batch.add_job(prompt="a")
    with pytest.raises(ValidationError, match="nothing to cite, only images"):
        batch.add_job(prompt="a", file="a.png")
    with pytest.raises(ValidationError, match="nothing to cite"):
        batch.add_job(messages=[{"role": "user", "content": "hello"}])
    with pytest.raises(ValidationError, match="gives no citations"):
        batch.add_job(prompt="a", file="a.txt", model="gpt-6.1-sol")
    form = {"format": {"type": "json_schema", "schema": {}}}
    with pytest.raises(ValidationError, match="together with structured output"):
        batch.add_job(prompt="a", file="a.txt", output_config=form)
    assert len(batch) == 0


def test_the_estimate_is_that_of_one_request(migrated_sqlite_url: str, provider: Provider) -> None:
    """There is no second pass: citations cost the words that ask for them, and what they add."""
    Path("a.txt").write_text(FACTS * 200)
    bounds = []
    for number, cited in enumerate((False, True)):
        batch = Batch(name=f"e{number}", database=migrated_sqlite_url).set_verbosity("error")
        batch.add_job(
            file="a.txt", prompt="a", model=CLAUDE, response_model=Invoice, enable_citations=cited
        )
        found = batch.estimate()
        assert (found["jobs"], found["batches"]) == (1, 1)
        bounds.append(found["usd_max"])
    assert bounds[0] < bounds[1] < 1.5 * bounds[0]
