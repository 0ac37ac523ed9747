"""A document as something to take values from: labels, numbers, dates, lists, words."""

from __future__ import annotations

import re
import zlib
from datetime import date, timedelta
from functools import lru_cache

_READ_AT_MOST = 200_000
# A line up to its first separator: without backtracking, since every document is read by it.
_LABEL = re.compile(r"^([^:=|\n]{1,60})[:=|]([^\n]+)", re.M)
_CELL = re.compile(r"^[ \t]*\|([^|\n]{1,60})\|([^|\n]+)", re.M)
_PAIR = re.compile(
    r'"([A-Za-z][\w \-]{0,40})"\s*:\s*("(?:[^"\\\n]|\\.)*"|-?\d[\d.eE+-]*|true|false)'
)
_BULLET = re.compile(r"^[ \t]*(?:[-*•]|\d{1,3}[.)])[ \t]+(\S.*?)[ \t\r]*$", re.M)
# The first character is looked for before what must not stand in front of it: that is fast.
_NUMBER = re.compile(r"[-\d](?<![\w.][-\d])[\d,.]*\w*")
_WORD = re.compile(r"[^\W\d_][\w'’-]*")
_SENTENCE = re.compile(r"\S[^.!?\n]*[.!?]?")
_TAG = re.compile(r"<[^<>\n]{1,500}>")
_HEAD = re.compile(r"^ *\"?[A-Za-z][\w \-]{0,30}\"? *\r?$")
_NOT_NAME = re.compile(r"[^a-z0-9]+")
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_MONTH = r"(Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)[a-z]*\.?"
_DATE = re.compile(
    rf"\b(\d{{4}})[-/.](\d{{1,2}})[-/.](\d{{1,2}})\b"
    rf"|\b(\d{{1,2}})(?:st|nd|rd|th)?\s+{_MONTH},?\s+(\d{{4}})\b"
    rf"|\b{_MONTH}\s+(\d{{1,2}})(?:st|nd|rd|th)?,?\s+(\d{{4}})\b"
)
_FIRST_DAY = date(2000, 1, 1)


@lru_cache(maxsize=4096)
def norm(name: str) -> str:
    """Reduce a label or a field name to what they have in common: lower-case letters and digits."""
    return _NOT_NAME.sub("", name.lower())


class Source:
    """The text of one request, read lazily; equal texts give equal values everywhere.

    The properties keep what they find by hand: `cached_property` takes a lock each time, and
    this is where answering spends its time.
    """

    __slots__ = (
        "_bullets",
        "_dates",
        "_labels",
        "_lower",
        "_numbers",
        "_plain",
        "_sentences",
        "_words",
        "seed",
        "text",
        "wrong_case",
    )

    def __init__(self, text: str) -> None:
        self.text = text[:_READ_AT_MOST]
        self.seed = zlib.crc32(text.encode("utf-8", "surrogatepass"))
        self.wrong_case = False
        self._plain: str | None = None
        self._lower: str | None = None
        self._labels: dict[str, list[str]] | None = None
        self._numbers: list[float] | None = None
        self._dates: list[date] | None = None
        self._bullets: list[str] | None = None
        self._words: list[str] | None = None
        self._sentences: list[str] | None = None

    @property
    def plain(self) -> str:
        """The text without HTML tags."""
        if self._plain is None:
            self._plain = _TAG.sub(" ", self.text) if "</" in self.text else self.text
        return self._plain

    @property
    def lower(self) -> str:
        """The text for a search that ignores case."""
        if self._lower is None:
            self._lower = self.plain.lower()
        return self._lower

    @property
    def labels(self) -> dict[str, list[str]]:
        """Every `Label: value`, `"label": value` and CSV column, by normalised label."""
        if self._labels is None:
            self._labels = _labels_in(self.plain)
        return self._labels

    @property
    def numbers(self) -> list[float]:
        """Every number in the text, in order, at most 200."""
        if self._numbers is None:
            self._numbers = numbers_in(self.plain)
        return self._numbers

    @property
    def dates(self) -> list[date]:
        """Every date in the text that exists in the calendar, in order."""
        if self._dates is None:
            self._dates = dates_in(self.plain)
        return self._dates

    @property
    def bullets(self) -> list[str]:
        """The items of bulleted and numbered lists."""
        if self._bullets is None:
            self._bullets = [clean(item) for item in _BULLET.findall(self.plain)[:200]]
        return self._bullets

    @property
    def words(self) -> list[str]:
        """The words of the text, at most 2,000."""
        if self._words is None:
            self._words = _WORD.findall(self.plain[:20_000])[:2_000] or [self.tag]
        return self._words

    @property
    def sentences(self) -> list[str]:
        """Lines and sentences that hold at least three words."""
        if self._sentences is None:
            found = (s.strip() for s in _SENTENCE.findall(self.plain[:20_000]))
            kept = [s for s in found if s.count(" ") >= 2]
            self._sentences = kept or [" ".join(self.words[:12])]
        return self._sentences

    @property
    def tag(self) -> str:
        """Six characters that tell this text from others."""
        return f"{self.seed:08x}"[:6]

    def pick(self, key: str, among: int) -> int:
        """Return a number below `among`, fixed by the text and `key`."""
        return zlib.crc32(key.encode(), self.seed) % among

    def label(self, names: tuple[str, ...], at: int) -> str | None:
        """Return the value that stands after the first of `names`; its `at`-th, if it recurs."""
        labels = self.labels if self._labels is None else self._labels
        for name in names:
            values = labels.get(name)
            if values:
                return values[at % len(values)]
        return None

    def label_all(self, names: tuple[str, ...]) -> list[str]:
        """Return all values after the first of `names` that occurs."""
        return next((self.labels[name] for name in names if name in self.labels), [])

    def day(self, key: str) -> date:
        """Return a date of the text, or one that follows from it."""
        if self.dates:
            return self.dates[self.pick(key, len(self.dates))]
        return _FIRST_DAY + timedelta(days=self.pick(key, 9_000))


def clean(value: str) -> str:
    """Strip what surrounds a value in JSON, YAML, tables and Markdown."""
    value = value.strip(" \t\r\n").rstrip(",;| ").strip("*_ ")
    while len(value) > 1 and value[0] == value[-1] and value[0] in "\"'`":
        value = value[1:-1]
    return value


def dates_in(text: str) -> list[date]:
    """Return the dates written in `text`, in order, at most 100."""
    found = []
    for match in _DATE.finditer(text):
        day = _date_of(match)
        if day is not None:
            found.append(day)
        if len(found) == 100:
            break
    return found


def first_day(text: str, start: int = 0) -> tuple[date, tuple[int, int]] | None:
    """Return the first date from `start` on that exists in the calendar, and where it stands."""
    for match in _DATE.finditer(text, start):
        day = _date_of(match)
        if day is not None:
            return day, match.span()
    return None


def numbers_in(text: str) -> list[float]:
    """Return the numbers in `text`, in order, at most 200; versions and codes are none."""
    found = []
    for token in _NUMBER.findall(text):
        try:
            found.append(float(token.rstrip(".,").replace(",", "")))
        except ValueError:
            continue
    return found[:200]


def first_number(text: str) -> float | None:
    """Return the first number in `text`."""
    return next(iter(numbers_in(text)), None)


def _labels_in(text: str) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for label, value in _LABEL.findall(text):
        if "{" not in label:
            _add(found, label, value)
    if '"' in text:
        for label, value in _PAIR.findall(text):
            _add(found, label, value)
    if "|" in text:
        for label, value in _CELL.findall(text):
            _add(found, label, value)
    if "," in text:
        _add_columns(found, text)
    return found


def _add(found: dict[str, list[str]], label: str, value: str) -> None:
    value = clean(value)
    values = found.setdefault(label if label.isalpha() and label.islower() else norm(label), [])
    if value and len(values) < 100 and value not in values:
        values.append(value)


def _add_columns(found: dict[str, list[str]], text: str) -> None:
    lines = [line for line in text[:20_000].splitlines() if line.count(",")][:50]
    heads = lines[0].split(",") if len(lines) > 1 else []
    if not all(_HEAD.match(head) for head in heads):
        return
    for line in lines[1:]:
        cells = line.split(",")
        if len(cells) == len(heads):
            for head, cell in zip(heads, cells, strict=True):
                _add(found, head, cell)


def _date_of(match: re.Match[str]) -> date | None:
    year, month, day, day2, name2, year2, name3, day3, year3 = match.groups()
    if name2:
        year, month, day = year2, str(_month(name2)), day2
    elif name3:
        year, month, day = year3, str(_month(name3)), day3
    try:
        return date(int(year), int(month), int(day))
    except ValueError:
        return None


def _month(name: str) -> int:
    return _MONTHS.index(name.lower()) + 1
