"""How two jobs differ, field by field, for people."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from batchkit.model import Json
from batchkit.requests import CONTENT
from batchkit.store import JobRow, Store

_WIDEST = 60


@dataclass(frozen=True, slots=True)
class Difference:
    """One field of one job: what the run says and what the script says."""

    key: str
    field: str
    old: Any
    new: Any

    def __str__(self) -> str:
        if self.field == "job":
            return f"{self.key}: known, not sent, and no longer added"
        old, new = _shortened(self.old, self.new)
        return f"{self.key}: {self.field} was {old}, is {new}"

    def to_dict(self) -> Json:
        """Return it as ``RunChangedError.differences`` holds it."""
        return {"key": self.key, "field": self.field, "old": self.old, "new": self.new}


def gone(key: str) -> Difference:
    """Return what stands for a job that is no longer added."""
    return Difference(key, "job", "added", None)


def named(store: Store, key: str, old: tuple[int, int], new: tuple[int, int]) -> list[Difference]:
    """Return every field in which two rows differ."""
    before, after = _fields(store, old), _fields(store, new)
    names = [*before, *(name for name in after if name not in before)]
    found = [
        Difference(key, name, before.get(name), after.get(name))
        for name in names
        if before.get(name) != after.get(name)
    ]
    return found or [Difference(key, "content", None, None)]


def _fields(store: Store, place: tuple[int, int]) -> Json:
    rows = store.jobs.pick(place[0], [place[1]])
    return dict(_of_row(store, rows[0])) if rows else {}


def _of_row(store: Store, row: JobRow) -> Iterator[tuple[str, Any]]:
    template = store.jobs.template(row.template_id)
    for name in CONTENT:
        value = template.get(name)
        if name in ("params", "extra_body"):
            for inner, one in (value or {}).items():
                yield (inner if name == "params" else f"extra_body.{inner}"), one
        elif value is not None:
            yield name, value
    schema = template.get("schema")
    if schema is not None:
        yield "response_model", f"{schema['name']} ({schema['fingerprint'][:8]})"
    for name, value in row.own.items():
        if value is not None:
            yield name, value
    files = [_file(one) for one in row.documents or ()]
    if files:
        yield ("file" if len(files) == 1 else "files"), ", ".join(files)


def _file(document: Json) -> str:
    pages = document.get("selection")
    which = document["sha256"][:8] + (f", pages {pages}" if pages else "")
    if document.get("parts"):
        which += f", part {document['part']} of {document['parts']}"
    return f"{document['name']} ({which})"


def _shortened(old: Any, new: Any) -> tuple[str, str]:
    """Show two values from shortly before where they part."""
    before, after = str(old), str(new)
    parted = next(
        (at for at, (a, b) in enumerate(zip(before, after, strict=False)) if a != b),
        min(len(before), len(after)),
    )
    start = max(0, parted - _WIDEST // 3) if max(len(before), len(after)) > _WIDEST else 0
    return _part(old, before, start), _part(new, after, start)


def _part(value: Any, text: str, start: int) -> str:
    if value is None:
        return "not set"
    shown = text[start : start + _WIDEST]
    shown = f"{'…' if start else ''}{shown}{'…' if start + _WIDEST < len(text) else ''}"
    return repr(shown) if isinstance(value, str) else shown
