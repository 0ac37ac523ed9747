"""How well citations are mapped to fields, on real PDFs.

``python -m tests.benchmarks.citations FOLDER`` asks the simulator about every PDF below a folder,
whole runs through the real SDK. Of each document's own text it plants a number, a date and a phrase
of five words, and two that no words contain: a verdict and a sentence. Once the citations are
right, once each points elsewhere.

A mapping is checked a second way, by letters and digits alone, or by the date's own parts.
"""

from __future__ import annotations

import re
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pypdfium2
from pydantic import BaseModel

from batchkit import Batch, JobResult, ValidationError
from batchkit.simulator import Asked, Outcome, Simulator
from batchkit.simulator.source import first_day

_NUMBER = re.compile(
    r"(?<![\w.,])\d{1,3}(?:,\d{3})+(?:\.\d+)?(?![\w,])|(?<![\w.,])\d{3,9}(?![\w.,])"
)
_MADE_UP = "nothing of the sort is written anywhere here"
_MOST_PAGES = 100


class Read(BaseModel):
    """What is asked for."""

    number: float | None
    day: str | None
    phrase: str | None
    verdict: bool
    summary: str


def planted(path: Path) -> dict[str, Any] | None:
    """Return an answer made of the document's own words, in the form that JSON has."""
    pages = [page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(path)]
    text = "\n".join(pages)
    if len(pages) > _MOST_PAGES or len(text.split()) < 20:
        return None
    number, day = _NUMBER.search(text), first_day(text)
    words = text.split()
    at = len(words) // 2
    phrase = " ".join(words[at : at + 5])
    return {
        "number": float(number.group().replace(",", "")) if number else None,
        "day": day[0].isoformat() if day else None,
        "phrase": phrase if phrase.isprintable() and any(map(str.isalnum, phrase)) else None,
        "verdict": True,
        "summary": _MADE_UP,
    }


def contains(passage: str, field: str, value: Any) -> bool:
    """Say whether a passage contains a planted value."""
    if field == "day":
        year, month, day = value.split("-")
        parts = re.findall(r"\d+|[A-Za-z]+", passage)
        return {year, day.lstrip("0")} <= {part.lstrip("0") for part in parts} or all(
            part in passage for part in (year, month, day)
        )
    passage = "".join(str(int(one)) if one.isdecimal() else one for one in passage)
    said = f"{value:.10f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
    letters = [re.sub(r"[\W_]", "", one).lower() for one in (said, passage)]
    return letters[0] in letters[1]


def measured(folder: Path, *, astray: bool) -> tuple[Counter[str], float]:
    """Run every PDF of a folder; return what was counted, and seconds."""
    answers: dict[str, dict[str, Any]] = {}
    counts: Counter[str] = Counter()
    marks = frozenset({"miscite"}) if astray else frozenset[str]()

    def rule(asked: Asked) -> Outcome | None:
        prompt = asked.body["messages"][0]["content"][-1]["text"]
        name = prompt.rpartition("File: ")[2]
        return Outcome(answer=answers[name], traits=marks)

    with (
        tempfile.TemporaryDirectory() as place,
        Simulator(Path(place) / "sim", instant=True, rule=rule) as simulator,
    ):
        from batchkit.providers.anthropic import Anthropic

        adapter = Anthropic(api_key="simulated", base_url=simulator.anthropic_url)
        batch = Batch(name="pdfs", database=f"{place}/b.db", providers={"anthropic": adapter})
        batch.set_verbosity("error").set_default_params(
            model="claude-haiku-5-5", response_model=Read, enable_citations=True
        )
        for path in sorted(folder.rglob("*.pdf")):
            try:
                answer = planted(path)
                if answer is not None:
                    batch.add_job(file=path, prompt=f"Read it. File: {path}", key=str(path))
                    answers[str(path)] = answer
            except (pypdfium2.PdfiumError, ValidationError, ValueError):
                counts["unreadable"] += 1
        start = time.perf_counter()
        for result in batch.run(progress_interval=0.05).iter_results():
            counts["documents"] += 1
            counts["failed"] += not result.is_success
            count(result, answers[result.key], counts)
        return counts, time.perf_counter() - start


def count(result: JobResult, answer: dict[str, Any], counts: Counter[str]) -> None:
    """Count one document's fields and mappings."""
    for field, value in answer.items():
        if value is None:
            continue
        found = result.citation_mappings.get(field, [])
        flags = [(one.metadata or {})["sure"] for one in found]
        counts[f"{field}: asked"] += 1
        counts[f"{field}: mapped"] += bool(found)
        counts[f"{field}: sure"] += any(flags)
        for one, sure in zip(found, flags, strict=True):
            holds = field != "verdict" and contains(one.text, field, value)
            counts["sure and contained"] += sure and holds
            counts["sure, not contained"] += sure and not holds
            counts["unsure, contained all the same"] += holds and not sure
            counts["unsure, not contained"] += not holds and not sure
            if sure != holds:
                print(result.key, field, repr(value), repr(one.text), sure)


if __name__ == "__main__":
    for wrong in (False, True):
        made, seconds = measured(Path(sys.argv[1]), astray=wrong)
        print("citations point elsewhere" if wrong else "citations are right", f"{seconds:.1f} s")
        for name in sorted(made):
            print(f"  {name}: {made[name]:,}")
