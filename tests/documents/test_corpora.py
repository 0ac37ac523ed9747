"""Thousands of real files through both providers: only where BATCHKIT_CORPORA names their folder.

``tests/documents/corpora.py`` fetches them.
"""

from __future__ import annotations

import hashlib
import os
import resource
import time
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from batchkit import documents
from batchkit.errors import ValidationError
from batchkit.simulator import Asked, Simulator
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, environment
from tests.contract.test_files import content, shape, user_parts

FOLDER = os.environ.get("BATCHKIT_CORPORA")
FEWER = int(os.environ.get("BATCHKIT_CORPORA_FILES", "120"))
"""Of each type, through each endpoint."""

SMALL = ("txt", "md", "csv", "json")  # ten times as many of these

TYPES = ("pdf", "txt", "md", "html", "csv", "json", "docx", "xlsx", "pptx", "rtf")
PICTURES = ("png", "jpg", "jpeg", "gif", "webp")
AT_MOST = 1_500
"""Of each type; times are this process's own, so that a busy machine does not spoil them."""

pytestmark = [
    pytest.mark.skipif(FOLDER is None, reason="BATCHKIT_CORPORA names no folder"),
    pytest.mark.timeout(3_600),
]


def corpus(at_most: int = AT_MOST) -> dict[str, list[Path]]:
    """Return the real files of each type, in order, at most so many."""
    found: dict[str, list[Path]] = {ending: [] for ending in (*TYPES, *PICTURES)}
    for path in sorted(Path(str(FOLDER), "files").rglob("*")):
        ending = path.suffix.lower().lstrip(".")
        most = at_most * 10 if ending in SMALL else at_most
        if ending in found and path.is_file() and len(found[ending]) < most:
            found[ending].append(path)
    return found


def peak() -> int:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024


@pytest.mark.parametrize("ending", [*TYPES, *PICTURES])
def test_every_real_file_is_taken_or_refused_in_one_line(ending: str) -> None:
    """And what is taken is read again as what it was measured as."""
    files = corpus()[ending]
    refused: Counter[str] = Counter()
    size = 0
    start = time.process_time()
    for path in files:
        size += path.stat().st_size
        try:
            seen = documents.inspect(path)
        except ValidationError as error:
            said = str(error)
            assert said.startswith(path.name)
            assert "\n" not in said
            refused[said.removeprefix(path.name).partition(":")[0][:60]] += 1
            continue
        sent = documents.load(seen)
        assert len(sent.data) == (seen.size if seen.kind != "text" else seen.text_bytes)
    took = time.process_time() - start
    print(
        f"\n{ending}: {len(files)} files, {size / 1e6:.1f} MB, {refused.total()} refused, "
        f"{len(files) / took:,.0f} files a CPU second added and read again, peak {peak()} MB"
    )
    for why, count in refused.most_common():
        print(f"    {count} {why}")
    assert len(files) - refused.total() >= 5


@pytest.mark.parametrize(("model", "provider"), [(CLAUDE, None), (GPT, None), (GPT, "openai-chat")])
def test_real_files_go_out_as_what_the_table_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, model: str, provider: str | None
) -> None:
    """Whole runs through the SDKs and the simulator; every body is compared with its file."""
    wire: dict[str, tuple[str, str, str]] = {}

    def note(asked: Asked) -> Any:
        parts = user_parts(asked.body)
        text = content(parts[0])
        wire[parts[-1]["text"]] = (
            parts[0]["type"],
            hashlib.sha256(text).hexdigest(),
            text.decode("utf-8", "replace") if "text" in parts[0] else "",
        )

    files = [path for some in corpus(FEWER).values() for path in some]
    monkeypatch.chdir(tmp_path)
    with Simulator(tmp_path / "sim", instant=True, rule=note) as simulator:
        for name, value in environment(simulator).items():
            monkeypatch.setenv(name, value)
        start = time.process_time()
        batch = quiet(model, name="corpus", on_bad_input="fail")
        for number, path in enumerate(files):
            batch.add_job(file=path, prompt=f"Read {number}.", provider=provider, key=str(number))
        added = time.process_time() - start
        run = batch.run(progress_interval=0.05)
        took = time.process_time() - start
        state = run.status()
        failed = run.results()["failed"]
    refused = {one.key: str(one.error) for one in failed if one.error_code == "bad_input"}
    print(
        f"\n{model} {provider or ''}: {len(files)} files, {state['completed']} answered, "
        f"{state['failed']} refused, {len(files) / added:,.0f} added a CPU second, "
        f"{len(files) / took:,.0f} a CPU second over all, peak {peak()} MB (with the simulator)"
    )
    assert state["completed"] + state["failed"] == len(files)
    for one in failed:
        if one.key not in refused:  # it went out all the same
            print(f"    {files[int(one.key)].name}: {one.error_code} {one.error!s:.100}")
    assert len(wire) == len(files) - len(refused)
    for number, path in enumerate(files):
        if str(number) in refused:
            assert path.name in refused[str(number)]
            continue
        kind, digest, text = wire[f"Read {number}."]
        document = documents.inspect(path)
        sent = documents.load(document).data
        assert kind == shape(model, provider, document.kind), path
        if text:
            assert sent.decode() in text, path
        else:
            assert digest == hashlib.sha256(sent).hexdigest(), path
