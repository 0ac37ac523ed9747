"""Runs without a name: the content of each job is what it is known by, in all of a project.

And runs that start anew (``name~2``): which of them a restarted script goes on with.
"""

from __future__ import annotations

import re
import secrets
from collections import Counter, deque
from collections.abc import Iterable, Iterator
from datetime import datetime
from itertools import islice
from typing import Any

from batchkit.builder.drafting import Draft
from batchkit.parts import shown
from batchkit.store import RunRow, Store

ANEW = "anew"
"""The word in a run's spec that says that ``set_state(reuse_state=False)`` started it."""

_PAGE = 2_000
_Answers = dict[bytes, deque[Any]]


def new_name(now: datetime) -> str:
    """Return a name for a run that was given none."""
    return f"unnamed-{now:%Y%m%d-%H%M%S}-{secrets.token_hex(2)}"


def go_on(draft: Draft, project: str, *, anew: bool) -> None:
    """Move a draft into the unfinished nameless run that has most of its content in flight.

    Jobs of the same content are the same there, whatever their keys.
    """
    waiting = Counter(
        row.other_run for row in _elsewhere(draft, project, anew=anew) if row.state is None
    )
    if not waiting:
        return
    target = max(waiting, key=lambda run_id: (waiting[run_id], run_id))
    draft.move(target)
    _claim(draft)


def take_over(draft: Draft, project: str, now: datetime, *, anew: bool) -> int:
    """Give the draft's jobs the answers this project has bought already; return how many.

    One for one, so that two deliberate identical jobs stay two. Failures count as answers if the
    request ran: what failed is not tried again by itself.
    """
    answers = _answers(_elsewhere(draft, project, anew=anew))
    if not answers:
        return 0
    store, run_id = draft.store, draft.run_id
    names = {row.id: row.name for row in store.runs.all(project)}
    taken = 0
    pairs = _matched(store.surveys.draft_digests(run_id), answers, names)
    while page := list(islice(pairs, _PAGE)):
        store.jobs.reuse(run_id, page, now)
        taken += len(page)
    return taken


def _elsewhere(draft: Draft, project: str, *, anew: bool) -> list[Any]:
    """Return what other nameless runs know of this content; anew: only those started anew."""
    rows = draft.store.surveys.answered_elsewhere(draft.run_id, project)
    if not anew:
        return rows
    known = {row.other_run: False for row in rows}
    for run_id in known:
        known[run_id] = bool(draft.store.runs.get(run_id).spec.get(ANEW))
    return [row for row in rows if known[row.other_run]]


def _answers(rows: Iterable[Any]) -> _Answers:
    """Sort answers by content, completed ones first."""
    found: _Answers = {}
    for row in rows:
        if row.state == "completed":
            found.setdefault(row.digest, deque()).appendleft(row)
        elif row.state == "failed" and row.ran:
            found.setdefault(row.digest, deque()).append(row)
    return found


def _matched(
    mine: Iterable[tuple[bytes, int, int]], answers: _Answers, names: dict[int, str]
) -> Iterator[tuple[tuple[int, int], tuple[int, int], str]]:
    for digest, lane_id, seq in list(mine):
        left = answers.get(digest)
        if left:
            row = left.popleft()
            name = f"{names.get(row.other_run, row.other_run)}/{shown(row.key)}"
            yield (lane_id, seq), (row.lane_id, row.seq), name


def _claim(draft: Draft) -> None:
    """Drop drafts that the run holds under another key, and take those for seen."""
    store, run_id = draft.store, draft.run_id
    held: dict[bytes, deque[int]] = {}
    for _, _, no, _, digest, _ in store.surveys.released(run_id):
        if no not in draft.seen:
            held.setdefault(digest, deque()).append(no)
    doubles: list[tuple[int, int]] = []
    for lane_id, seq, no, _, digest in store.surveys.drafts(run_id):
        if no in draft.seen and held.get(digest):
            draft.seen.add(held[digest].popleft())
            doubles.append((lane_id, seq))
    store.jobs.remove(run_id, doubles)


def newest(store: Store, project: str, name: str) -> RunRow | None:
    """Return the newest of ``name``, ``name~2``, ``name~3``, …; None if there is none."""
    fits = re.compile(re.escape(name) + r"(~[0-9]+)?")
    found = [row for row in store.runs.all(project) if fits.fullmatch(row.name)]
    return max(found, key=lambda row: number(name, row.name), default=None)


def number(name: str, found: str) -> int:
    """Return 1 for ``name``, 2 for ``name~2``, …"""
    return int(found[len(name) + 1 :] or 1)


def next_name(name: str, last: RunRow | None) -> str:
    """Return the name after the newest one."""
    return name if last is None else f"{name}~{number(name, last.name) + 1}"


def is_started_anew(run: RunRow | None) -> bool:
    """Say whether ``reuse_state=False`` made this run."""
    return run is not None and bool(run.spec.get(ANEW))


def same_content(draft: Draft, other: int) -> bool:
    """Say whether another run holds exactly the draft's content, in any order."""
    store = draft.store
    mine = ((no, digest) for _, _, no, _, digest in store.surveys.drafts(draft.run_id))
    theirs = (digest for _, _, _, _, digest, _ in store.surveys.released(other))
    return _sum(digest for no, digest in mine if no in draft.seen) == _sum(theirs)


def _sum(digests: Iterable[bytes]) -> tuple[int, int]:
    count = total = 0
    for digest in digests:
        count += 1
        total += int.from_bytes(digest, "big")
    return count, total


__all__ = ["ANEW", "go_on", "new_name", "newest", "same_content", "take_over"]
