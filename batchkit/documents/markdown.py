"""HTML that a converter wrote, as Markdown: shorter, and what a model quotes is what stands there.

Pure.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from html.parser import HTMLParser

_HEADINGS = {f"h{level}": "#" * level for level in range(1, 7)}
_MARKS = {"strong": "**", "b": "**", "em": "*", "i": "*", "s": "~~"}
_BLOCKS = ("p", "pre", "blockquote", "dt", "dd")
_BLANK = re.compile(r"\n{3,}")


def row(cells: Sequence[str]) -> str:
    """Return a table's row: one line, whatever stands in its cells."""
    return f"| {' | '.join(' '.join(cell.split()).replace('|', '/') for cell in cells)} |"


def from_html(html: str) -> str:
    """Return a converter's HTML as Markdown: headings, lists, tables, links, emphasis."""
    reading = _Reading()
    reading.feed(html)
    reading.close()
    return reading.text


class _Reading(HTMLParser):
    """One pass over the tags; a table's cell collects its own text."""

    def __init__(self) -> None:
        super().__init__(convert_charrefs=True)
        self._pieces: list[list[str]] = [[]]
        self._rows: list[list[str]] = []
        self._tables: list[int] = []  # rows so far, for each open table
        self._lists: list[int | None] = []  # the next number; None for bullets
        self._links: list[str] = []

    @property
    def text(self) -> str:
        """What was read so far."""
        lines = [line.rstrip() for line in "".join(self._pieces[0]).split("\n")]
        return _BLANK.sub("\n\n", "\n".join(lines)).strip("\n")

    def handle_data(self, data: str) -> None:
        self._put(data)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag in _MARKS:
            self._put(_MARKS[tag])
        elif tag in _HEADINGS:
            self._put(f"\n\n{_HEADINGS[tag]} ")
        elif tag == "br":
            self._put("\n")
        elif tag == "img":
            alt = (dict(attrs).get("alt") or "").strip()
            self._put(f"[image: {alt}]" if alt else "")
        elif tag == "a":
            self._links.append(dict(attrs).get("href") or "")
            self._put("[" if self._is_outside() else "")
        else:
            self._open(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag in _MARKS:
            self._put(_MARKS[tag])
        elif tag in _HEADINGS or tag in _BLOCKS:
            self._put("\n\n" if not self._lists else "\n")
        elif tag == "a" and self._links:
            outside = self._is_outside()
            href = self._links.pop()
            self._put(f"]({href})" if outside else "")
        else:
            self._close(tag)

    def _open(self, tag: str) -> None:
        if tag in ("ul", "ol"):
            self._lists.append(1 if tag == "ol" else None)
            self._put("\n")
        elif tag == "li":
            self._item()
        elif tag == "table":
            self._tables.append(0)
            self._put("\n\n")
        elif tag == "tr":
            self._rows.append([])
        elif tag in ("td", "th"):
            self._pieces.append([])

    def _close(self, tag: str) -> None:
        if tag in ("ul", "ol") and self._lists:
            self._lists.pop()
            self._put("\n" if self._lists else "\n\n")
        elif tag == "li":
            self._put("\n")
        elif tag in ("td", "th") and len(self._pieces) > 1:
            cell = "".join(self._pieces.pop())
            if self._rows:
                self._rows[-1].append(cell)
        elif tag == "tr" and self._rows:
            self._end_row(self._rows.pop())
        elif tag == "table" and self._tables:
            self._tables.pop()
            self._put("\n")

    def _end_row(self, cells: list[str]) -> None:
        self._put(f"{row(cells)}\n")
        if self._tables:
            if self._tables[-1] == 0:
                self._put(f"|{' --- |' * max(len(cells), 1)}\n")
            self._tables[-1] += 1

    def _item(self) -> None:
        depth = "  " * (len(self._lists) - 1)
        number = self._lists[-1] if self._lists else None
        if number is None:
            self._put(f"\n{depth}- ")
        else:
            self._put(f"\n{depth}{number}. ")
            self._lists[-1] = number + 1

    def _is_outside(self) -> bool:
        return self._links[-1].startswith(("http://", "https://", "mailto:"))

    def _put(self, text: str) -> None:
        if text:
            self._pieces[-1].append(text)
