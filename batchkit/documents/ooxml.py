"""The words of a part of a Word or PowerPoint file, in reading order, tables as rows. Pure."""

from __future__ import annotations

from io import BytesIO
from xml.etree import ElementTree as ET

from batchkit.documents.markdown import row

_BREAKS = {"br": "\n", "cr": "\n", "tab": "\t", "noBreakHyphen": "-"}


def words(xml: bytes) -> str:
    """Return the text of a part; raise ElementTree.ParseError for what is no XML.

    Deleted text is left out, inserted text is in. Of a drawing in two versions the newer counts.
    """
    reading = _Reading()
    for event, element in ET.iterparse(BytesIO(xml), events=("start", "end")):
        name = element.tag.rpartition("}")[2] if isinstance(element.tag, str) else ""
        if event == "start":
            reading.begins(name)
        else:
            reading.ends(name, element)
    return reading.text


class _Reading:
    """Pieces of text by nesting: the page, and cells inside of rows inside of it."""

    def __init__(self) -> None:
        self._pieces: list[list[str]] = [[]]
        self._rows: list[list[str]] = []
        self._older = 0  # how deep inside of what a newer program does not show

    @property
    def text(self) -> str:
        """All of it, without empty lines at its ends."""
        lines = "".join(self._pieces[0]).split("\n")
        return "\n".join(line.rstrip() for line in lines).strip("\n")

    def begins(self, name: str) -> None:
        if name == "Fallback" or self._older:
            self._older += 1
        elif name == "tr":
            self._rows.append([])
        elif name == "tc":
            self._pieces.append([])

    def ends(self, name: str, element: ET.Element) -> None:
        if self._older:
            self._older -= 1
        elif name == "t":
            self._pieces[-1].append(element.text or "")
        elif name in _BREAKS:
            # A tab is also a stop in a paragraph's settings, which has a position.
            if not any(key.endswith("pos") for key, _ in element.items()):
                self._pieces[-1].append(_BREAKS[name])
        elif name == "p":
            self._pieces[-1].append("\n")
            element.clear()
        elif name == "tc" and len(self._pieces) > 1:
            cell = "".join(self._pieces.pop())
            if self._rows:
                self._rows[-1].append(cell)
        elif name == "tr" and self._rows:
            self._pieces[-1].append(row(self._rows.pop()) + "\n")
            element.clear()
