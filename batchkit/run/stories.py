"""A run's jobs, each once; and one job's whole story: what was asked, every attempt, its end."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from batchkit.errors import ValidationError
from batchkit.merging import Merging
from batchkit.model import FINAL_JOB_STATES, JobState, Json, RunSpec
from batchkit.money import optional_dollars
from batchkit.parts import count_of, is_tail, keys_of, number_of
from batchkit.rawfiles import Kept, find
from batchkit.results import JobResult
from batchkit.spools import custom_id
from batchkit.standing.status import stamp
from batchkit.store import Answer, BatchRow, JobRow, RunRow, Store

_SENT = ("max_tokens", "note")
"""The changes that are sent; the others are what attempts tell each other."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobStory:
    """What ``BatchRun.get`` returns.

    ``attempts`` are oldest first, each with ``number``, ``reason`` (why it was made: ``first``,
    ``retry``, or the code of the attempt before), ``change`` (what it was sent with that the one
    before was not), ``state``, ``code``, ``error``, ``cost_usd``, ``cost_kind``, ``batch`` (the
    provider's ref), ``request_id``, ``finish_reason``, tokens, ``at``, and where raw files are kept
    ``raw_file`` and ``raw_line`` of its result, ``raw_upload`` and ``raw_upload_line`` of its
    request, and ``part`` of a document in parts. ``batch`` is the batch the job is in right now,
    ``raw_file`` the newest attempt's.
    """

    key: str
    result: JobResult
    attempts: list[Json] = field(default_factory=list)
    provider: str | None = None
    batch: Json | None = None
    raw_file: str | None = None
    request: Json = field(default_factory=dict)
    events: list[Json] = field(default_factory=list)

    def to_dict(self) -> Json:
        """Return it as JSON data."""
        return {
            "key": self.key,
            "result": self.result.to_dict(),
            "attempts": self.attempts,
            "provider": self.provider,
            "batch": self.batch,
            "raw_file": self.raw_file,
            "request": self.request,
            "events": self.events,
        }


def story_of(store: Store, run: RunRow, key: str, merging: Merging) -> JobStory:
    """Tell one job's story; raise ValidationError if the run has no job under that key.

    That of a document in parts is told part by part.
    """
    job = None if is_tail(key) else store.jobs.by_key(run.id, key)
    if job is None:
        raise ValidationError(f"The run {run.name!r} has no job with the key {key!r}.")
    jobs = [job, *_tails(store, run, job)]
    rows = {one.key: store.answers.attempts_of(one.lane_id, one.seq) for one in jobs}
    attempts = [attempt for one in jobs for attempt in _attempts(store, run, one, rows[one.key])]
    live = next((b for one in jobs if (b := store.answers.live_batch_of(one))), None)
    lane = store.jobs.lane(job.lane_id)
    return JobStory(
        key=key,
        result=merging.one([_answer(store, run, one) for one in jobs]),
        attempts=attempts,
        provider=lane.provider or None,
        batch=_batch(store, live, [row for one in jobs for row in rows[one.key]]),
        raw_file=next((one["raw_file"] for one in reversed(attempts) if one["raw_file"]), None),
        request=_request(store, job),
        events=[
            {"at": stamp(row["at"]), "action": row["action"], **row["detail"]}
            for one in jobs
            for row in store.events.of_key(run.id, one.key)
        ],
    )


def _tails(store: Store, run: RunRow, job: JobRow) -> list[JobRow]:
    """Return the other parts of a job's document, in order; none where nothing is split."""
    keys = keys_of(job.key, count_of(job.documents) or 1)[1:]
    found = (store.jobs.by_key(run.id, key) for key in keys)
    return [one for one in found if one is not None]


def _attempts(
    store: Store, run: RunRow, job: JobRow, rows: Sequence[Mapping[str, Any]]
) -> Iterator[Json]:
    part = {} if count_of(job.documents) is None else {"part": number_of(job.key)}
    for number, row in enumerate(rows, 1):
        yield {**_attempt(store, run.settings, number, row), **part}


def answers_of(store: Store, run: RunRow, states: Sequence[str] | None) -> Iterator[Answer]:
    """Stream every job once, those that wait first: one that ends meanwhile is not lost."""
    if run.opened_at is None:
        yield from _draft_answers(store, run, states)
        return
    waiting: set[int] = set()
    for answer in store.answers.waiting(run.id):
        waiting.add(answer.no)
        if states is None or answer.state in states:
            yield answer
    ended = None if states is None else [one for one in states if one in FINAL_JOB_STATES]
    if ended is None or ended:
        for answer in store.answers.ended(run.id, ended):
            if answer.no not in waiting:
                yield answer


def _draft_answers(store: Store, run: RunRow, states: Sequence[str] | None) -> Iterator[Answer]:
    """Stream a draft: what was tried out has an answer, the rest is pending."""
    ended = {answer.no: answer for answer in store.answers.ended(run.id)}
    lanes = {lane.id: lane for lane in store.jobs.lanes(run.id)}
    for draft in store.surveys.drafts(run.id):
        lane = lanes[draft[0]]
        answer = ended.get(draft[2])
        if answer is None:
            (job,) = store.jobs.pick(lane.id, [draft[1]])
            answer = pending(job, model=lane.model, provider=lane.provider)
        if states is None or answer.state in states:
            yield answer


def pending(
    job: JobRow, *, model: str, provider: str, state: JobState = JobState.PENDING
) -> Answer:
    """Return a job that has not ended as a row of answers."""
    return Answer(
        key=job.key,
        no=job.no,
        lane_id=job.lane_id,
        seq=job.seq,
        state=state.value,
        model=model,
        provider=provider,
        metadata=job.metadata,
        documents=job.documents,
        template_id=job.template_id,
    )


def _answer(store: Store, run: RunRow, job: JobRow) -> Answer:
    for answer in store.answers.ended(run.id, keys=[job.key]):
        return answer
    lane = store.jobs.lane(job.lane_id)
    state = JobState.PENDING if store.answers.live_batch_of(job) is None else JobState.ACTIVE
    return pending(job, model=lane.model, provider=lane.provider, state=state)


def _attempt(store: Store, spec: RunSpec, number: int, row: Mapping[str, Any]) -> Json:
    reason, change = _why(store, row)
    token = row["token"] or ""
    raw = find(spec, token, custom_id(token, row["seq"])) if token else Kept()
    return {
        "number": number,
        "reason": reason,
        "change": change,
        "state": row["state"],
        "code": row["code"],
        "error": row["error"],
        "cost_usd": optional_dollars(row["cost"]),
        "cost_kind": row["cost_kind"],
        "batch": row["ref"],
        "request_id": row["request_id"],
        "finish_reason": row["finish"],
        "input_tokens": row["input_tokens"],
        "output_tokens": row["output_tokens"],
        "at": stamp(row["collected_at"]),
        "raw_file": None if raw.result is None else str(raw.result),
        "raw_line": raw.result_line,
        "raw_upload": None if raw.upload is None else str(raw.upload),
        "raw_upload_line": raw.upload_line,
    }


def _batch(store: Store, live: BatchRow | None, rows: Sequence[Mapping[str, Any]]) -> Json | None:
    """Describe the batch that holds a job, else the last one that did."""
    last = next((row["batch_id"] for row in reversed(rows) if row["ref"]), None)
    found = store.batches.get(last) if live is None and last is not None else live
    return None if found is None else {"ref": found.ref, "state": found.state, "jobs": found.count}


def _why(store: Store, row: Mapping[str, Any]) -> tuple[str, Json]:
    """Say why an attempt was made and what it was sent with."""
    if row["kind"] == "local":
        return "local", {}
    if row["kind"] == "range":
        return "first", {}
    for member in store.batches.members_of(row["batch_id"]):
        if member.seq == row["seq"]:
            sent = member.changes or {}
            return member.reason, {name: sent[name] for name in _SENT if name in sent}
    return "again", {}


def _request(store: Store, job: JobRow) -> Json:
    template = store.jobs.template(job.template_id)
    shown = {name: template.get(name) for name in ("model", "max_tokens", "system", "params")}
    shown["prompt"] = job.own.get("prompt") or template.get("prompt")
    shown["messages"] = job.own.get("messages")
    shown["files"] = [one["path"] for one in job.documents or ()] or None
    pages = "selection" if count_of(job.documents) is None else "split_from"
    shown["pages"] = next((one.get(pages) for one in job.documents or ()), None)
    shown["split_pages"] = next((one.get("split_pages") for one in job.documents or ()), None)
    shown["response_model"] = template.get("response_model")
    return {name: value for name, value in shown.items() if value}
