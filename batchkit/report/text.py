"""A report for a terminal: no line longer than it is wide, no colours, no control characters."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime
from itertools import chain
from textwrap import wrap

from batchkit.console import counted as count
from batchkit.report.times import over, stretches, window
from batchkit.report.values import Bar, Report
from batchkit.report.words import clock, line, money, percent, span

_NARROWEST = 40
_BARS = 20
"""Batches that have a line each; more of them are told by stretches of time."""

_STRETCHES = 16
_BLOCKS = " ▏▎▍▌▋▊▉"
_KINDS = {
    "input_tokens": "input",
    "cached_tokens": "of it from a cache",
    "cache_write_tokens": "of it written to a cache",
    "output_tokens": "output",
    "reasoning_tokens": "of it reasoning",
}


def written(report: Report, *, short: bool = False, width: int = 80) -> str:
    """Return the report; ``short`` is its head, its money, its failures and what to do next."""
    width = max(width, _NARROWEST)
    parts: list[Iterator[str]] = [_head(report), _money(report), _failures(report, width, short)]
    if not short:
        parts += [_timeline(report, width), _tokens(report), _retries(report)]
    sections = [_fitted(part, width) for part in parts]
    sections.append(list(_next(report)))
    return "\n\n".join("\n".join(section) for section in sections if section) + "\n"


def _fitted(lines: Iterator[str], width: int) -> list[str]:
    """Fold what is too long; what follows stands deeper than what it belongs to."""
    return list(chain.from_iterable(_folded(one, width) for one in lines))


def _folded(one: str, width: int) -> list[str]:
    if len(one) <= width:
        return [one.rstrip()]
    depth = len(one) - len(one.lstrip())
    return wrap(
        one,
        width,
        initial_indent="",
        subsequent_indent=" " * min(depth + 4, width // 2),
        drop_whitespace=True,
        break_on_hyphens=False,
    )


def _head(report: Report) -> Iterator[str]:
    yield f"{line(report.name, 60)} ({report.id}): {report.state}"
    parts = [f"{report.completed:,} of {report.total:,} done"]
    names = ("failed", "cancelled", "active", "pending")
    words = {"active": "in flight", "pending": "waiting"}
    for name in names:
        number = getattr(report, name)
        if number:
            parts.append(f"{number:,} {words.get(name, name)}")
    if report.reused:
        parts.append(f"{report.reused:,} taken over from other runs")
    yield ", ".join(parts)
    if report.opened_at is not None:
        said = f"Started {clock(report.opened_at, day=True)}"
        if report.finished_at is not None:
            said += f", done {clock(report.finished_at, day=True)}"
        yield f"{said}, {span(report.elapsed_s)} from the first request on"
    if report.waiting_for is not None:
        detail = "" if report.waiting_detail is None else f": {line(report.waiting_detail, 400)}"
        yield f"Waiting for {report.waiting_for}{detail}"
    yield from (f"Warning: {line(warning, 400)}" for warning in report.warnings)


def _money(report: Report) -> Iterator[str]:
    paid = report.money
    rows = [("Spent", money(paid.spent))]
    if paid.limit is not None:
        rows[0] = ("Spent", f"{money(paid.spent)} of {money(paid.limit)}")
    if paid.reserved:
        rows.append(("Reserved", money(paid.reserved)))
    if paid.estimated is not None or paid.at_most is not None:
        bounds = f"about {money(paid.estimated)}, at most {money(paid.at_most)}"
        rows.append(("Estimated", bounds))
    rows.append(("Full price", _full_price(report)))
    if paid.unknown_jobs:
        rows.append(("Unknown", f"the cost of {count(paid.unknown_jobs, 'job')}"))
    yield "Money"
    yield from (f"  {name:<11}{value}" for name, value in rows)


def _full_price(report: Report) -> str:
    paid = report.money
    if paid.full_price is None or paid.saved is None:
        return "unknown: a model has no price in the table"
    share = percent(paid.saved, paid.full_price)
    saved = f", {money(paid.saved)} ({share}) saved" if paid.saved > 0 else ""
    return f"{money(paid.full_price)} without batches{saved}"


def _failures(report: Report, width: int, short: bool) -> Iterator[str]:
    if report.reasons:
        yield "Without an answer"
    for reason in report.reasons:
        yield f"  {line(reason.code, 30)}: {count(reason.count, 'job')} {reason.state}"
        for key, error in reason.examples[: 1 if short else None]:
            yield "    " + line(f"{line(key, width // 3)}: {error}", width - 4)


def _timeline(report: Report, width: int) -> Iterator[str]:
    if not report.batches:
        return
    bars, now = report.batches, report.at
    start, end = window(bars, now)
    yield (
        f"Batches: {len(bars):,}, from {clock(start, day=True, seconds=True)} "
        f"to {clock(end, day=True, seconds=True)}"
    )
    yield from _each(bars, now, width) if len(bars) <= _BARS else _many(bars, now, width)


def _each(bars: Sequence[Bar], now: datetime, width: int) -> Iterator[str]:
    start, end = window(bars, now)
    name = min(20, max(len(bar.name) for bar in bars), width // 4)
    said = [_said(bar) for bar in bars]
    room = max(8, width - 2 - name - 2 - 2 - min(30, max(map(len, said))))
    for bar, words in zip(bars, said, strict=True):
        drawn = _drawn(bar.start, over(bar, now), start, end, room, open_end=bar.collected is None)
        yield f"  {line(bar.name, name):<{name}} |{drawn}| {words}"[:width].rstrip()


def _said(bar: Bar) -> str:
    if bar.collected is None:
        return f"{bar.state}, {count(bar.jobs, 'job')}"
    lost = bar.failed + bar.again
    return count(bar.answered, "answer") + (f", {lost:,} without" if lost else "")


def _drawn(
    begin: datetime, until: datetime, start: datetime, end: datetime, room: int, *, open_end: bool
) -> str:
    length = (end - start).total_seconds()
    left = min(room - 1, int((begin - start).total_seconds() / length * room))
    right = min(room, max(left + 1, round((until - start).total_seconds() / length * room)))
    middle = "█" * (right - left - 1) + ("▶" if open_end else "█")
    return " " * left + middle + " " * (room - right)


def _many(bars: Sequence[Bar], now: datetime, width: int) -> Iterator[str]:
    """Tell of many batches by stretches of time: how many were in flight, and what came back."""
    found = stretches(bars, now, _STRETCHES)
    most = max(one.flying for one in found)
    words = [f"{one.flying:,} in flight, {count(one.answers, 'answer')}" for one in found]
    days = found[0].start.astimezone().date() != found[-1].end.astimezone().date()
    seconds = (found[0].end - found[0].start).total_seconds() < 60
    room = max(8, width - 6 - max(map(len, words)) - (19 if days else 8))
    for one, said in zip(found, words, strict=True):
        eighths = round(one.flying / most * room * 8)
        whole, rest = divmod(eighths, 8)
        drawn = "█" * whole + (_BLOCKS[rest] if rest else "")
        yield f"  {clock(one.start, day=days, seconds=seconds)} {drawn:<{room}} {said}"[:width]


def _tokens(report: Report) -> Iterator[str]:
    if not report.used:
        return
    yield "Tokens"
    for name, words in _KINDS.items():
        number = report.tokens(name)
        of = {"cached_tokens": "input_tokens", "reasoning_tokens": "output_tokens"}.get(name)
        share = f" ({percent(number, report.tokens(of))})" if of and number else ""
        if number or name in ("input_tokens", "output_tokens"):
            yield f"  {number:>15,}  {words}{share}"
    for one in report.used:
        yield (
            f"  {line(one.model, 30)} at {one.provider}: {count(one.attempts, 'request')}, "
            f"{one.input_tokens:,} in, {one.output_tokens:,} out, {money(one.cost)}"
        )


def _retries(report: Report) -> Iterator[str]:
    if report.retries:
        yield f"Asked again: {count(sum(report.retries.values()), 'time')}"
        yield from (f"  {line(code, 30)}: {number:,}" for code, number in report.retries.items())


def _next(report: Report) -> Iterator[str]:
    """Yield what to do, each command on a line of its own and whole: it is copied."""
    if report.next:
        yield "Next"
    for step in report.next:
        yield f"  {step.why}" + ("." if step.command is None else ":")
        if step.command is not None:
            yield f"    {line(step.command, 2_000)}"
