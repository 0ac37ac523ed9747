"""PDFs of 1 MB: memory, and the speed of a bare loop that reads, encodes and sends the same.

``python -m tests.benchmarks.papers bare|batchkit FOLDER --url URL`` does one of the two.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from base64 import b64encode
from collections.abc import Iterator
from pathlib import Path
from random import Random

import orjson

from tests.benchmarks import work
from tests.benchmarks.bench import MB, Bench, tell
from tests.benchmarks.processes import Child
from tests.benchmarks.table import Line, megabytes, repeated

PROMPT = "Extract the fields of this invoice."
_SIZE = 1_000_000
_UPLOAD = 190_000_000
_TEXT = "Invoice {}\nThe supplier delivered the goods as ordered and asks for payment."


def papers(bench: Bench) -> Iterator[Line]:
    """Add, hash, read again, encode and send; against a loop that only does the last three."""
    count = bench.pdfs
    with bench.scratch() as name:
        folder = Path(name) / "inbox"
        made(folder, count)
        peaks: list[float] = []

        def once(what: str) -> float:
            bench.provider.tell(forget=True)
            child = Child("papers", what, folder, "--url", bench.provider.url)
            tell(f"{count:,} PDFs, {what}", child)
            if what == "batchkit":
                peaks.append(child["memory"])
            return child["total"]

        bare = repeated(bench.repeat, lambda: once("bare"))
        ours = repeated(bench.repeat, lambda: once("batchkit"))
    share = bare.best / ours.best
    of = "" if count == 2_000 else " (--pdfs 2000 for all that the target speaks of)"
    yield Line(
        what=f"{count:,} PDFs of 1 MB{of}: speed",
        asked="70 % of a bare loop's, or more",
        found=f"{count * _SIZE / MB / ours.best:.0f} MB/s = {share:.0%}",
        floor=f"{count * _SIZE / MB / bare.best:.0f} MB/s",
        holds=share >= 0.7,
        noise=f"{ours.noise}; floor {bare.noise}",
    )
    yield Line(
        what=f"{count:,} PDFs of 1 MB{of}: peak memory",
        asked="250 MB",
        found=megabytes(max(peaks)),
        holds=max(peaks) <= 250 * MB,
    )


def made(folder: Path, count: int) -> None:
    """Write PDFs as scanners do: a page that is a picture of 1 MB, with its text behind it."""
    folder.mkdir(parents=True)
    noise = bytearray(Random(5).randbytes(_SIZE))  # the same files each time, no two alike
    for number in range(count):
        noise[:8] = number.to_bytes(8)
        made = scan(_TEXT.format(number), bytes(noise), _SIZE)
        (folder / f"{number:05d}.pdf").write_bytes(made)


def scan(text: str, picture: bytes, size: int) -> bytes:
    """Return a PDF of a page of ``size`` bytes: as much of a picture as there is room for."""
    lines = "".join(f"({line}) Tj T* " for line in text.split("\n"))
    said = f"q 595 0 0 842 0 0 cm /Im1 Do Q BT /F1 12 Tf 14 TL 40 780 Td {lines}ET".encode()
    shown = b"/Resources << /Font << /F1 3 0 R >> /XObject << /Im1 6 0 R >> >>"
    kind = b"/Type /XObject /Subtype /Image /Width 1240 /Height 1754 /BitsPerComponent 8 "
    kind += b"/ColorSpace /DeviceGray /Filter /DCTDecode"
    objects = [
        b"<< /Type /Catalog /Pages 2 0 R >>",
        b"<< /Type /Pages /Kids [5 0 R] /Count 1 >>",
        b"<< /Type /Font /Subtype /Type1 /BaseFont /Helvetica >>",
        b"<< /Length %d >>\nstream\n%s\nendstream" % (len(said), said),
        b"<< /Type /Page /Parent 2 0 R /MediaBox [0 0 595 842] /Contents 4 0 R %s >>" % shown,
        b"<< %s /Length %d >>\nstream\n%s\nendstream",
    ]
    room = size - sum(map(len, objects)) - len(kind) - 420
    objects[-1] %= kind, room, picture[:room]
    body, table = b"%PDF-1.4\n", b""
    for number, content in enumerate(objects, 1):
        table += b"%010d 00000 n \n" % len(body)
        body += b"%d 0 obj\n%s\nendobj\n" % (number, content)
    ends = b"trailer\n<< /Size 7 /Root 1 0 R >>\nstartxref\n%d\n%%%%EOF\n" % len(body)
    return body + b"xref\n0 7\n0000000000 65535 f \n" + table + ends


def bare(folder: Path, url: str) -> int:
    """Read, encode, write lines, and upload files of 190 MB; nothing is kept or looked at."""
    from openai import OpenAI

    client = OpenAI(api_key="sk-floor", base_url=f"{url}/v1", max_retries=0)
    paths = sorted(folder.iterdir())
    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        lines = Path(scratch) / "in.jsonl"
        left = iter(paths)
        path = next(left, None)
        while path is not None:
            size = 0
            with lines.open("wb") as file:
                while path is not None and size < _UPLOAD - 2 * _SIZE:
                    size += file.write(_line(path))
                    path = next(left, None)
            _sent(client, lines)
    return len(paths)


def _line(path: Path) -> bytes:
    data = f"data:application/pdf;base64,{b64encode(path.read_bytes()).decode()}"
    parts = [
        {"type": "input_file", "filename": path.name, "file_data": data},
        {"type": "input_text", "text": PROMPT},
    ]
    shape = {"type": "json_schema", "name": "Invoice", "schema": work.schema(), "strict": True}
    body = {
        "model": work.MODELS["openai"],
        "max_output_tokens": work.MAX_TOKENS,
        "input": [{"role": "user", "content": parts}],
        "text": {"format": shape},
    }
    row = {"custom_id": path.stem, "method": "POST", "url": "/v1/responses", "body": body}
    return orjson.dumps(row) + b"\n"


def _sent(client: object, lines: Path) -> None:
    from openai import OpenAI

    assert isinstance(client, OpenAI)
    with lines.open("rb") as body:
        upload = client.files.create(file=body, purpose="batch")
    batch = client.batches.create(
        input_file_id=upload.id, endpoint="/v1/responses", completion_window="24h"
    )
    while batch.status != "completed":
        batch = client.batches.retrieve(batch.id)
    client.files.content(str(batch.output_file_id)).read()


def ours(folder: Path, url: str) -> int:
    """Do the same by batchkit: a job for each file, and the typed results read back."""
    os.environ["OPENAI_API_KEY"], os.environ["OPENAI_BASE_URL"] = "sk-bench", f"{url}/v1"
    os.environ.setdefault("BATCHKIT_PACE", "1000")
    from batchkit import Batch

    with tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        batch = Batch(name="papers", raw_files=False, database=f"{scratch}/papers.db")
        batch.set_verbosity("error").set_default_params(
            model=work.MODELS["openai"],
            max_tokens=work.MAX_TOKENS,
            response_model=work.Invoice,
        )
        for path in sorted(folder.iterdir()):
            batch.add_job(file=path, prompt=PROMPT, key=path.name)
        run = batch.run()
        return sum(1 for one in run.iter_results("completed") if one.is_success)


def main() -> None:
    """Measure one of the two in this process."""
    began = time.perf_counter()
    asked = argparse.ArgumentParser()
    asked.add_argument("what", choices=["bare", "batchkit"])
    asked.add_argument("folder", type=Path)
    asked.add_argument("--url", required=True)
    given = asked.parse_args()
    count = (bare if given.what == "bare" else ours)(given.folder, given.url)
    assert count == len(list(given.folder.iterdir())), count
    work.report(total=time.perf_counter() - began, count=count)


if __name__ == "__main__":
    main()
