"""What went out and what came back, kept beside the results for people who want to look."""

from __future__ import annotations

import hashlib
import shutil
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from batchkit.model import Download, Json, RunSpec

_FOLDER = "raw_files"
_UPLOAD = "upload.jsonl"
_SHARED = "documents.json"
_SENT = (_UPLOAD, _SHARED)
_LONG = 100
"""Characters above which a base64 text takes more room than its reference."""


@dataclass(frozen=True, slots=True)
class Kept:
    """Where one request and its result lie, as a file and the number of its line, from 1."""

    result: Path | None = None
    result_line: int | None = None
    upload: Path | None = None
    upload_line: int | None = None


def folder_of(spec: RunSpec, token: str) -> Path | None:
    """Return where one batch's raw files lie; None if the run keeps none."""
    if spec.results_dir is None or spec.raw_files == "off":
        return None
    return Path(spec.results_dir) / _FOLDER / token


def keep(
    spec: RunSpec,
    token: str,
    upload: Path | None,
    download: Download,
    shared: Mapping[str, Json] | None = None,
) -> None:
    """Copy a batch's upload and result files; documents by their sha256 unless ``full``.

    ``shared`` says which documents its lines name, by the provider's id.
    """
    folder = folder_of(spec, token)
    if folder is None:
        return
    folder.mkdir(parents=True, exist_ok=True)
    for path in download.files:
        shutil.copyfile(path, folder / path.name)
    if shared:
        (folder / _SHARED).write_bytes(orjson.dumps(dict(shared), option=orjson.OPT_INDENT_2))
    if upload is None or not upload.exists():
        return
    if spec.raw_files == "full":
        shutil.copyfile(upload, folder / _UPLOAD)
        return
    with upload.open("rb") as lines, (folder / _UPLOAD).open("wb") as kept:
        kept.writelines(_by_reference(lines))


def find(spec: RunSpec, token: str, custom_id: str) -> Kept:
    """Return where a request of one batch is kept, among all of the batch's files.

    A result whose line names nobody, or cannot be read, has the file without a line if the batch
    has one only.
    """
    folder = folder_of(spec, token)
    if folder is None or not folder.is_dir():
        return Kept()
    results = sorted(path for path in folder.iterdir() if path.name not in _SENT)
    upload = folder / _UPLOAD
    found, line = _line_of(results, custom_id)
    if found is None and len(results) == 1:
        found = results[0]
    sent, sent_line = _line_of([upload] if upload.is_file() else [], custom_id)
    return Kept(found, line, sent, sent_line)


def _line_of(files: Iterable[Path], custom_id: str) -> tuple[Path | None, int | None]:
    """Find the line that carries an id: nothing else in it is as long and as random."""
    wanted = f'"{custom_id}"'.encode()
    for path in files:
        with path.open("rb") as lines:
            for number, line in enumerate(lines, 1):
                if wanted in line:
                    return path, number
    return None, None


def _by_reference(lines: Iterable[bytes]) -> Iterable[bytes]:
    for line in lines:
        if b"base64" not in line:
            yield line
        else:
            yield orjson.dumps(_referred(orjson.loads(line))) + b"\n"


def _referred(value: Any) -> Any:
    """Replace what is a document inside plain data by the hash of its base64 text."""
    if isinstance(value, dict):
        is_source = value.get("type") == "base64"
        return {
            name: _reference(one) if is_source and name == "data" else _referred(one)
            for name, one in value.items()
        }
    if isinstance(value, list):
        return [_referred(one) for one in value]
    if isinstance(value, str) and value.startswith("data:") and len(value) > _LONG:
        head, _, data = value.partition(",")
        return f"{head},{_reference(data)}"
    return value


def _reference(data: Any) -> Any:
    if not isinstance(data, str) or len(data) <= _LONG:
        return data
    return f"sha256 of the base64 text: {hashlib.sha256(data.encode()).hexdigest()}"
