"""Office files as zip archives of XML: opened with care, since anybody may have made them.

Everything is bounded before a parser sees it. Office never writes a DTD, and without one XML holds
no entities that could grow or reach out.
"""

from __future__ import annotations

import posixpath
import zlib
from dataclasses import dataclass, field
from io import BytesIO
from xml.etree import ElementTree as ET
from zipfile import BadZipFile, ZipFile

from batchkit.documents.unfit import READS, Unfit

MAX_XML = 100_000_000
"""Most bytes of XML, unpacked: far above what any request could hold as text."""

MAX_UNPACKED = 500_000_000
"""Most bytes of all parts, pictures included; those are never unpacked."""

_MAX_PARTS = 20_000
_SMALL = 10_000_000  # below it, nobody minds how well a file packs
_MAX_RATIO = 200
_CODES = ("ascii", "utf-16-le", "utf-16-be")
_DTD = tuple(mark.encode(code) for mark in ("<!DOCTYPE", "<!ENTITY") for code in _CODES)
_DAMAGE = (BadZipFile, zlib.error, EOFError, NotImplementedError, OSError, ValueError, LookupError)
_SPLIT = "split it, or export the part that matters as CSV, text or PDF"

DOCX = "application/vnd.openxmlformats-officedocument.wordprocessingml.document"
XLSX = "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet"
PPTX = "application/vnd.openxmlformats-officedocument.presentationml.presentation"

NAMES = {
    DOCX: "a Word document",
    XLSX: "an Excel workbook",
    PPTX: "a PowerPoint presentation",
}
_FOLDERS = {"word/": DOCX, "xl/": XLSX, "ppt/": PPTX}
_MAIN = {DOCX: "word/document.xml", XLSX: "xl/workbook.xml", PPTX: "ppt/presentation.xml"}
_BY_ENDING = {
    ".docx": DOCX,
    ".docm": DOCX,
    ".dotx": DOCX,
    ".xlsx": XLSX,
    ".xlsm": XLSX,
    ".xltx": XLSX,
    ".pptx": PPTX,
    ".pptm": PPTX,
    ".ppsx": PPTX,
}
_OTHERS = {
    b"application/vnd.oasis.opendocument.text": "an OpenDocument text",
    b"application/vnd.oasis.opendocument.spreadsheet": "an OpenDocument table",
    b"application/vnd.oasis.opendocument.presentation": "an OpenDocument presentation",
    b"application/epub+zip": "an e-book",
}
_OTHER_ENDINGS = {
    ".odt": "an OpenDocument text",
    ".ods": "an OpenDocument table",
    ".odp": "an OpenDocument presentation",
    ".epub": "an e-book",
}


@dataclass(slots=True)
class Package:
    """An office file that passed: its bytes, what it is, its parts by name."""

    data: bytes
    media_type: str
    archive: ZipFile
    names: dict[str, str] = field(default_factory=dict)
    """Parts by their name in lower case: some programs write other letters than they refer to."""

    @property
    def main(self) -> str:
        """The part that everything hangs on."""
        for target in self.targets("", "officeDocument"):
            return target
        return _MAIN[self.media_type]

    def has(self, name: str) -> bool:
        """Say whether there is a part of this name."""
        return name.lower() in self.names

    def part(self, name: str) -> bytes:
        """Return a part's bytes; raise Unfit if it is missing or damaged."""
        try:
            return self.archive.read(self.names[name.lower()])
        except (*_DAMAGE, RuntimeError) as error:
            raise Unfit(broken(self.media_type)) from error

    def tree(self, name: str) -> ET.Element:
        """Return a part as XML; raise Unfit if it is none."""
        try:
            return ET.fromstring(self.part(name))
        except (ET.ParseError, ValueError, LookupError) as error:
            raise Unfit(broken(self.media_type)) from error

    def related(self, source: str) -> dict[str, tuple[str, str]]:
        """Return ``{id: (kind, part)}`` of what `source` refers to inside; '' is the package."""
        folder, base = posixpath.split(source)
        at = posixpath.join(folder, "_rels", f"{base}.rels")
        if not self.has(at):
            return {}
        found = {}
        for one in self.tree(at):
            if one.get("TargetMode") == "External" or not one.get("Target"):
                continue
            target = posixpath.normpath(posixpath.join("/", folder, str(one.get("Target"))))
            kind = str(one.get("Type")).rpartition("/")[2]
            found[str(one.get("Id"))] = (kind, target.lstrip("/"))
        return found

    def targets(self, source: str, kind: str) -> list[str]:
        """Return the parts of one kind that `source` refers to and that are there."""
        found = self.related(source).values()
        return [part for what, part in found if what == kind and self.has(part)]


def opened(data: bytes, ending: str) -> Package:
    """Open an office file, checked; raise Unfit for another archive, a broken one, or a bomb."""
    try:
        archive = ZipFile(BytesIO(data))
    except _DAMAGE as error:
        raise Unfit(_unopened(data, ending)) from error
    names = {name.replace("\\", "/").lower(): name for name in archive.namelist()}
    media_type = _media_type(archive, names, ending)
    _check_size(archive, media_type, len(data))
    package = Package(data, media_type, archive, names)
    _check_parts(package)
    if not package.has(package.main):
        raise Unfit(broken(media_type))
    return package


def broken(media_type: str) -> str:
    """Say what is wrong with a damaged office file, and the way out."""
    return f"is {NAMES[media_type]} that is broken: open it in its program and save it again"


def _media_type(archive: ZipFile, names: dict[str, str], ending: str) -> str:
    if "mimetype" in names:
        said = _mimetype(archive, names["mimetype"])
        for begin, what in _OTHERS.items():
            if said.startswith(begin):
                raise Unfit(f"is {what}; {READS}: save it as PDF or DOCX")
    if "[content_types].xml" in names:
        counts = {kind: _count(names, folder) for folder, kind in _FOLDERS.items()}
        best = max(counts, key=lambda kind: (counts[kind], _BY_ENDING.get(ending) == kind))
        if counts[best]:
            return best
    raise Unfit(_unopened(b"", ending))


def _mimetype(archive: ZipFile, name: str) -> bytes:
    try:
        with archive.open(name) as part:
            return part.read(200)
    except (*_DAMAGE, RuntimeError):
        return b""


def _count(names: dict[str, str], folder: str) -> int:
    """Count the parts of a kind that stand at its top; what is embedded lies in other folders."""
    return sum(name.startswith(folder) for name in names)


def _unopened(data: bytes, ending: str) -> str:
    """Say what an archive is that holds no office file, or cannot be opened as one."""
    inside = next((kind for folder, kind in _FOLDERS.items() if folder.encode() in data), None)
    kind = inside or _BY_ENDING.get(ending)
    if kind is not None:
        return broken(kind)
    if ending in _OTHER_ENDINGS:
        return f"is {_OTHER_ENDINGS[ending]}; {READS}: save it as PDF or DOCX"
    return f"is a zip archive; {READS}: unpack it and add the files in it"


def _check_size(archive: ZipFile, media_type: str, size: int) -> None:
    """Raise for what would fill the memory; the archive's own word binds whoever unpacks it."""
    parts = archive.infolist()
    total = sum(part.file_size for part in parts)
    xml = sum(part.file_size for part in parts if _is_xml(part.filename))
    what = NAMES[media_type]
    if total > _SMALL and total > _MAX_RATIO * size:
        raise Unfit(
            f"is {what} that grows {total / size:,.0f} times when it is unpacked, to "
            f"{total / 1e6:,.0f} MB (a zip bomb, or nothing but repetitions): leave it out, or "
            f"{_SPLIT}"
        )
    if xml > MAX_XML or total > MAX_UNPACKED or len(parts) > _MAX_PARTS:
        raise Unfit(
            f"is {what} of {total / 1e6:,.0f} MB in {len(parts):,} parts when it is unpacked, more "
            f"than any request can hold: {_SPLIT}"
        )


def _check_parts(package: Package) -> None:
    """Unpack every part of XML once: damage, passwords and DTDs are found here."""
    for part in package.archive.infolist():
        if part.flag_bits & 0x1:
            raise Unfit(
                f"is {NAMES[package.media_type]} in an archive with a password: save a copy "
                "without the password"
            )
        if not _is_xml(part.filename):
            continue
        try:
            content = package.archive.read(part)
        except (*_DAMAGE, RuntimeError) as error:
            raise Unfit(broken(package.media_type)) from error
        if any(mark in content for mark in _DTD):
            raise Unfit(
                f"is {NAMES[package.media_type]} with a DTD in {part.filename}, which no office "
                "program writes (an XML bomb?): open it in its program and save it again"
            )


def _is_xml(name: str) -> bool:
    return name.lower().endswith((".xml", ".rels", ".vml"))
