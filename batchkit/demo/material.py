"""Real documents that every machine has, or those of a folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from importlib.metadata import Distribution as Installed
from importlib.metadata import distributions
from pathlib import Path

from pydantic import BaseModel

from batchkit.demo.models import Distribution, Paper
from batchkit.errors import ValidationError

ENDINGS = (".txt", ".md", ".rst", ".json", ".csv", ".html", ".pdf")
"""What ``batchkit demo FOLDER`` takes."""

_LARGEST = 200_000


@dataclass(frozen=True, slots=True)
class Item:
    """One thing to ask about: its key and its files."""

    key: str
    files: tuple[Path, ...]


@dataclass(frozen=True, slots=True)
class Material:
    """What the demo works on, and what it asks."""

    title: str
    items: tuple[Item, ...]
    prompt: str
    model: type[BaseModel]
    columns: tuple[str, ...]
    skipped: int = 0


def gather(folder: Path | None = None, limit: int | None = None) -> Material:
    """Return the installed distributions' documents, or those of a folder.

    Raises ValidationError for a folder that is none, or that holds nothing to read.
    """
    return _installed(limit) if folder is None else _folder(folder, limit)


def _installed(limit: int | None) -> Material:
    found: dict[str, Item] = {}
    for installed in distributions():
        item = _item(installed)
        if item is not None:
            found.setdefault(item.key, item)
    items = tuple(found[key] for key in sorted(found, key=str.lower))
    return Material(
        title="installed Python distributions: their metadata and licence files",
        items=items[:limit],
        prompt="Describe this Python distribution from its metadata and its licence.",
        model=Distribution,
        columns=(
            "name",
            "version",
            "licence",
            "typed",
            "requires_python",
            "released",
            "summary",
        ),
    )


_CODE = (".py", ".pyc", ".pyi", ".pyd", ".so")
"""Endings of modules that may be called `copying`, as one of ours is."""


def _item(installed: Installed) -> Item | None:
    name, version = installed.metadata["Name"], installed.metadata["Version"]
    files = tuple(_files(installed))
    if not name or not files:
        return None
    return Item(f"{name}-{version}", files)


def _files(installed: Installed) -> Iterator[Path]:
    """Yield the metadata file and the first licence file, where they can be read."""
    listed = [Path(str(installed.locate_file(file))) for file in installed.files or ()]
    metadata = [p for p in listed if p.name == "METADATA" and p.parent.suffix == ".dist-info"]
    licences = [p for p in listed if p.stem.upper().startswith(("LICEN", "COPYING"))]
    for paths in (metadata[:1], sorted(p for p in licences if p.suffix not in _CODE)[:1]):
        yield from (path for path in paths if _is_readable(path))


def _folder(folder: Path, limit: int | None) -> Material:
    if not folder.is_dir():
        raise ValidationError(f"{folder} is no folder: name one that holds documents")
    files = [path for path in sorted(folder.rglob("*")) if _is_document(path, folder)]
    usable = [path for path in files if path.suffix.lower() == ".pdf" or _is_readable(path)]
    if not usable:
        raise ValidationError(f"{folder} holds none of {', '.join(ENDINGS)}: choose another folder")
    items = tuple(Item(path.relative_to(folder).as_posix(), (path,)) for path in usable)
    return Material(
        title=f"documents of {folder}",
        items=items[:limit],
        prompt="Describe this document.",
        model=Paper,
        columns=("title", "kind", "language", "written", "keywords", "summary"),
        skipped=len(files) - len(usable),
    )


def _is_document(path: Path, folder: Path) -> bool:
    inside = path.relative_to(folder)
    hidden = any(part.startswith(".") or part == PLACE for part in inside.parts)
    return not hidden and path.suffix.lower() in ENDINGS and path.is_file()


def _is_readable(path: Path) -> bool:
    try:
        return 0 < path.stat().st_size <= _LARGEST and bool(path.read_bytes().strip())
    except OSError:
        return False


PLACE = "batchkit-demo"
"""The folder, in the current one, that holds the demo's state and results."""
