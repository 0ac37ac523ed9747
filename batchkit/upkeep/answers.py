"""What went wrong by reason, and a model class by its file."""

from __future__ import annotations

import importlib
import importlib.util
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

from pydantic import BaseModel

from batchkit import settings
from batchkit.errors import ConfigError, ValidationError
from batchkit.model import Json
from batchkit.report import Report
from batchkit.results import replace_file
from batchkit.store import Answer, Store
from batchkit.upkeep.places import picked, store_of

_EXAMPLES = 3


@dataclass(frozen=True, slots=True)
class Reason:
    """One reason, how many jobs ended for it, and the first of them with their words."""

    code: str
    count: int
    examples: tuple[tuple[str, str], ...]

    def to_dict(self) -> Json:
        """Return it as plain data."""
        examples = [{"key": key, "error": error} for key, error in self.examples]
        return {"code": self.code, "count": self.count, "examples": examples}


def failures(run: str, *, project: str | None = None, database: str | None = None) -> list[Reason]:
    """Return the reasons for which a run's jobs failed or were cancelled, commonest first."""
    found: dict[str, list[tuple[str, str]]] = {}
    counts: dict[str, int] = {}
    with store_of(database) as store:
        row = picked(store, settings.project(project), run)
        ended = store.parts.unanswered(row.id) if row.split else _ended(store, row.id)
        for answer in ended:
            code = answer.code or "unknown"
            counts[code] = counts.get(code, 0) + 1
            examples = found.setdefault(code, [])
            if len(examples) < _EXAMPLES:
                examples.append((answer.key, answer.error or ""))
    ordered = sorted(counts, key=lambda code: -counts[code])
    return [Reason(code, counts[code], tuple(found[code])) for code in ordered]


def _ended(store: Store, run_id: int) -> Iterator[Answer]:
    return store.answers.ended(run_id, ("failed", "cancelled"))


def written_page(report: Report, path: Path) -> None:
    """Write a report as an HTML page, whole or not at all; raise ConfigError if it cannot be."""
    try:
        replace_file(path, report.to_html().encode())
    except OSError as error:
        raise ConfigError(f"Cannot write {path}: {error.strerror or error}") from error


def imported_model(written: str) -> type[BaseModel]:
    """Import ``invoices.py:Invoice`` or ``package.module:Invoice``.

    The file is executed as a module, not as ``__main__``. Raises ValidationError if it is not
    there or no pydantic model.
    """
    place, _, name = written.rpartition(":")
    if not place or not name:
        raise ValidationError(f"{written!r} names no class: write invoices.py:Invoice")
    found = getattr(_module(place), name, None)
    if not (isinstance(found, type) and issubclass(found, BaseModel)):
        raise ValidationError(f"{place} has no pydantic model {name!r}")
    return found


def _module(place: str) -> ModuleType:
    if not place.endswith(".py"):
        try:
            return importlib.import_module(place)
        except ImportError as error:
            raise ValidationError(f"{place} cannot be imported: {error}") from error
    path = Path(place)
    if not path.is_file():
        raise ValidationError(f"{place} is not there")
    spec = importlib.util.spec_from_file_location(path.stem, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[path.stem] = module
    spec.loader.exec_module(module)
    return module
