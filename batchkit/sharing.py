"""Documents that many jobs ask about: when one upload pays, how long it lives, when it is lost.

Pure. A document in a line is base64, a third larger than it is. One that is uploaded once is named
there instead; it costs two calls (up and away again) and can be gone when the provider reads it.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from datetime import timedelta
from typing import TypeAlias

from batchkit import outputs, requests
from batchkit.model import Document, Json

LEAST_SIZE = 10_000
"""Bytes below which a document goes in its line, however many jobs have it."""

LEAST_SAVED = 4_000_000
"""Bytes that an upload must spare the line: what goes up it in the time that its two calls take."""

LIFE = timedelta(days=7)
"""After which an upload goes by itself, where nobody comes back to delete it."""

TO_CUT = timedelta(hours=60)
"""How long an upload must still live for a new batch to name it: a day and a half in the queue."""

TO_SEND = timedelta(hours=28)
"""How long it must still live when the batch goes out: the provider's window and its overrun."""

MOST_LOST = 2
"""Uploads of one job's document that may be lost: from then on it goes in the line."""

Key: TypeAlias = tuple[str, str]
"""What is sent (hash and pages), and the name under which the model sees it."""

_CODES = frozenset({"file_expired", "file_not_found", "invalid_file_id"})
_GONE = re.compile(
    r"\bfiles?\b.*\b(not found|expired|not exist|deleted|no longer)|\bno such file\b",
    re.IGNORECASE | re.DOTALL,
)


def key_of(document: Document) -> Key:
    """Return what tells one upload from another."""
    return requests.identities([document])[0], document.name


def in_line(size: int) -> int:
    """Return how many bytes of a line a document of ``size`` bytes takes."""
    return -(-size // 3) * 4


def spared(jobs: int, size: int) -> int:
    """Return how many bytes less go up the line if ``jobs`` name one upload of ``size`` bytes."""
    return jobs * in_line(size) - size


def pays(jobs: int, size: int) -> bool:
    """Say whether a document of ``size`` bytes is uploaded once for ``jobs`` that ask about it."""
    return jobs > 1 and size >= LEAST_SIZE and spared(jobs, size) >= LEAST_SAVED


def paying(counted: Iterable[tuple[Sequence[Json], int]]) -> dict[Key, int]:
    """Return the documents that pay, and how many jobs have each.

    ``counted`` are stored documents of jobs, with the number of jobs that have just these.
    """
    jobs: dict[Key, int] = defaultdict(int)
    sizes: dict[Key, int] = {}
    for listed, number in counted:
        for key, size in {key_of(one): requests.sent_bytes(one) for one in _read(listed)}.items():
            jobs[key] += number
            sizes[key] = size
    return {key: number for key, number in jobs.items() if pays(number, sizes[key])}


def _read(listed: Sequence[Json]) -> list[Document]:
    return [one for one in requests.documents_of(listed) if one.kind != "text"]


def is_lost(code: str | None, message: str | None) -> bool:
    """Say whether a provider's error is about a file that it does not have (any more)."""
    return code in _CODES or bool(_GONE.search(message or ""))


def goes_in_line(changes: Mapping[str, object]) -> bool:
    """Say whether a job has lost enough uploads."""
    lost = changes.get(outputs.LOST)
    return isinstance(lost, int) and lost >= MOST_LOST


def upload_name(document: Document) -> str:
    """Return a document's name with an ending that says what it is: some look at nothing else."""
    endings = _ENDINGS.get(document.media_type, ())
    if not endings or document.name.lower().endswith(endings):
        return document.name
    return f"{document.name}{endings[0]}"


_ENDINGS: dict[str, tuple[str, ...]] = {
    "application/pdf": (".pdf",),
    "image/png": (".png",),
    "image/jpeg": (".jpg", ".jpeg"),
    "image/gif": (".gif",),
    "image/webp": (".webp",),
}
