"""The time line as figures for a picture: where bars stand, how wide they are, which words."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from batchkit.console import counted as count
from batchkit.report.times import over, stretches, window
from batchkit.report.values import Bar, Report
from batchkit.report.words import clock, money, span, ticks

_BARS = 40
"""Batches that have a bar each; more of them are drawn by stretches of time."""

_STRETCHES = 120
_WIDTH, _LEFT, _RIGHT = 960, 200, 10
_ROW, _TOP = 22, 26
_HIGH, _GAP = 120, 44
_TICKS = 8


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle: its class says what it means, its title what a pointer is told."""

    x: float
    y: float
    width: float
    height: float
    kind: str
    title: str = ""


@dataclass(frozen=True, slots=True)
class Label:
    """A word in the picture."""

    x: float
    y: float
    text: str
    anchor: str = "start"


@dataclass(frozen=True, slots=True)
class Picture:
    """All that is drawn, in pixels of a picture ``width`` × ``height``."""

    width: int
    height: float
    boxes: tuple[Box, ...]
    labels: tuple[Label, ...]
    lines: tuple[float, ...]
    title: str
    one_by_one: bool


def picture(report: Report) -> Picture | None:
    """Return the picture of a report's batches; None if there are none."""
    if not report.batches:
        return None
    bars, now = report.batches, report.at
    return _each(bars, now) if len(bars) <= _BARS else _many(bars, now)


@dataclass(frozen=True, slots=True)
class _Scale:
    start: datetime
    end: datetime

    def x(self, at: datetime) -> float:
        share = (at - self.start) / (self.end - self.start)
        return round(_LEFT + share * (_WIDTH - _LEFT - _RIGHT), 1)


def _axis(scale: _Scale) -> tuple[list[float], list[Label]]:
    seconds = (scale.end - scale.start).total_seconds() < 8 * 60
    days = scale.start.astimezone().date() != scale.end.astimezone().date()
    lines, labels = [], []
    for at in ticks(scale.start, scale.end, _TICKS):
        x = scale.x(at)
        is_midnight = days and clock(at) == "00:00"
        said = f"{at.astimezone():%a %d}" if is_midnight else clock(at, seconds=seconds)
        anchor = "end" if x > _WIDTH - 40 else "middle"
        lines.append(x)
        labels.append(Label(x, 14, said, anchor))
    return lines, labels


def _each(bars: Sequence[Bar], now: datetime) -> Picture:
    scale = _Scale(*window(bars, now))
    lines, labels = _axis(scale)
    boxes: list[Box] = []
    for at, bar in enumerate(bars):
        y = _TOP + at * _ROW
        name = bar.name if len(bar.name) <= 24 else f"{bar.name[:11]}…{bar.name[-12:]}"
        labels.append(Label(_LEFT - 10, y + 14, name, "end"))
        boxes += _boxes(scale, bar, y, now)
    height = _TOP + len(bars) * _ROW + 8
    title = f"Time line of {count(len(bars), 'batch', 'batches')}"
    return Picture(_WIDTH, height, tuple(boxes), tuple(labels), tuple(lines), title, True)


def _boxes(scale: _Scale, bar: Bar, y: float, now: datetime) -> list[Box]:
    """Return a batch's bars: at the provider, and from its end until it was collected."""
    until = over(bar, now)
    ended = until if bar.end is None else min(max(bar.end, bar.start), until)
    title = told(bar, now)
    start, end, last = scale.x(bar.start), scale.x(ended), scale.x(until)
    made = [Box(start, y + 3, max(2, end - start), _ROW - 6, _kind(bar), title)]
    if last - end >= 1:
        made.append(Box(end, y + 3, last - end, _ROW - 6, "fetching", title))
    return made


def _kind(bar: Bar) -> str:
    if bar.collected is None:
        return "flying"
    if not bar.answered:
        return "lost"
    return "partly" if bar.failed or bar.again else "done"


def told(bar: Bar, now: datetime) -> str:
    """Say one batch in a line."""
    if bar.collected is None:
        return (
            f"{bar.name}: {bar.state} for {span((now - bar.start).total_seconds())}, "
            f"{count(bar.jobs, 'job')}, {money(bar.cost)} reserved"
        )
    return (
        f"{bar.name}: {clock(bar.start)} to {clock(bar.collected)}, {bar.answered:,} of "
        f"{count(bar.jobs, 'job')} answered, {money(bar.cost)}"
    )


def _many(bars: Sequence[Bar], now: datetime) -> Picture:
    """Draw many batches: above how many were in flight, below the answers that came in."""
    found = stretches(bars, now, _STRETCHES)
    scale = _Scale(found[0].start, found[-1].end)
    lines, labels = _axis(scale)
    flying = max(one.flying for one in found)
    answers = max(1, *(one.answers for one in found))
    below = _TOP + _HIGH + _GAP
    boxes: list[Box] = []
    for one in found:
        x, width = scale.x(one.start), scale.x(one.end) - scale.x(one.start)
        when = f"{clock(one.start)} to {clock(one.end)}"
        for share, base, kind, said in (
            (
                one.flying / flying,
                _TOP + _HIGH,
                "done",
                f"{count(one.flying, 'batch', 'batches')} in flight",
            ),
            (one.answers / answers, below + _HIGH, "fetching", count(one.answers, "answer")),
        ):
            high = round(share * _HIGH, 1)
            if high:
                boxes.append(Box(x, base - high, width, high, kind, f"{when}: {said}"))
    for y, words in (
        (_TOP, (f"{flying:,}", "batches in flight")),
        (below, (f"{answers:,}", "answers collected")),
    ):
        labels.append(Label(_LEFT - 10, y + 10, words[0], "end"))
        labels.append(Label(_LEFT - 10, y + _HIGH / 2, words[1], "end"))
        labels.append(Label(_LEFT - 10, y + _HIGH, "0", "end"))
    title = f"Time line of {count(len(bars), 'batch', 'batches')}"
    height = below + _HIGH + 10
    return Picture(_WIDTH, height, tuple(boxes), tuple(labels), tuple(lines), title, False)
