"""Prompts of one template by the thousand, as rows: what differs, beside what all of them share."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TypeAlias

import orjson

from batchkit.making import maker
from batchkit.store.rows import NewJob

Row: TypeAlias = tuple[str, bytes, str, int, int, "int | None"]
"""Key, digest, own part as JSON, bytes, tokens, bound: plain values, which the garbage collector
need not look at."""

ROW = ("key", "digest", "own", "bytes", "tokens", "bound")
"""The columns of a row."""

_made = maker(NewJob)


class Sheet:
    """New jobs that are ``pattern`` but for their rows."""

    __slots__ = ("pattern", "rows")

    def __init__(self, pattern: NewJob) -> None:
        self.pattern = pattern
        self.rows: list[Row] = []

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[NewJob]:
        return (job_of(self.pattern, row) for row in self.rows)

    def take(self, job: NewJob) -> bool:
        """Add a job that differs by no more than a row holds; False, with nothing done, if not."""
        own = job.written or orjson.dumps(job.own).decode()
        row = (job.key, job.digest, own, job.bytes, job.tokens, job.bound)
        if job_of(self.pattern, row) != replace(job, written=own):
            return False
        self.rows.append(row)
        return True


def job_of(pattern: NewJob, row: Row) -> NewJob:
    """Return the job that a row stands for."""
    key, digest, own, size, tokens, bound = row
    return _made(
        key,
        pattern.provider,
        pattern.model,
        pattern.endpoint,
        digest,
        pattern.template,
        pattern.template_digest,
        orjson.loads(own),
        pattern.documents,
        pattern.metadata,
        size,
        tokens,
        bound,
        pattern.revision,
        pattern.problem,
        own,
    )
