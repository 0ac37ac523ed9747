"""Anthropic's front: message batches, messages, token counts and files."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import orjson

from batchkit.simulator import anthropic_bodies, limits, routes
from batchkit.simulator.clock import rfc3339
from batchkit.simulator.course import duration
from batchkit.simulator.office import Office, cancelled, retry_count
from batchkit.simulator.prompt import Unfit
from batchkit.simulator.wire import Call, FileBody, Json, Malformed, Reply, said
from batchkit.simulator.world import Batch, Knock, StoredFile

_CUSTOM_ID = re.compile(r"^[a-zA-Z0-9_-]{1,64}$")
_DAY = 86_400
_MODELS = ("claude-opus-5-5", "claude-sonnet-5-5", "claude-haiku-5-5", "claude-haiku-4-5")
_FILES_BETA = "files-api-2025-04-14"
_MAGIC = (
    (b"%PDF-", "application/pdf"),
    (b"\x89PNG", "image/png"),
    (b"\xff\xd8", "image/jpeg"),
    (b"GIF8", "image/gif"),
)


def refused(
    status: int, message: str, code: str | None = None, headers: dict[str, str] | None = None
) -> Reply:
    """Return an error reply; the server fills in the request id."""
    if headers is None:
        headers = {"retry-after": "1"} if status in (429, 529) else {}
    return said(anthropic_bodies.error_body(status, message, code=code), status, headers)


def answer(call: Call, office: Office) -> Reply:
    """Answer a call; an error's body carries the request id of its header."""
    reply = _answer(call, office)
    if reply.status < 400 or not isinstance(reply.body, bytes):
        return reply
    named = reply.body.replace(b'"request_id":null', f'"request_id":"{call.request_id}"'.encode())
    return replace(reply, body=named)


def _answer(call: Call, office: Office) -> Reply:
    key = office.key_of(call)
    if not office.admits(key):
        return refused(401, "invalid x-api-key" if key else "x-api-key header is required")
    if not call.headers.get("anthropic-version"):
        return refused(400, "anthropic-version: header is required")
    settings, meter = office.settings, office.meter("anthropic", call.workspace)
    parts = call.path.removeprefix("/v1/").strip("/").split("/")
    limited = parts[:2] == ["messages", "batches"]
    full = meter.admit(call.now, settings.requests_per_minute if limited else 0)
    reply = _answered(call, office, parts) if full is None else _over_rate(full)
    told = limits.anthropic_headers(
        meter, call.now, settings.requests_per_minute, settings.tokens_per_minute
    )
    return replace(reply, headers={**told, **reply.headers})


def _over_rate(seconds: float) -> Reply:
    message = "This request would exceed your organization's rate limit."
    return refused(429, message, headers=limits.wait(seconds))


def _answered(call: Call, office: Office, parts: list[str]) -> Reply:
    try:
        return _dispatch(call, office, parts)
    except Malformed as exc:
        return refused(400, f"The request body is not valid JSON: {exc}")


def route_name(method: str, path: str) -> str:
    """Return a route's name, as the fault plan knows it."""
    return routes.named(routes.ANTHROPIC, method, path)


def _dispatch(call: Call, office: Office, parts: list[str]) -> Reply:
    if route_name(call.method, call.path) == "unknown":
        known = routes.exists(routes.ANTHROPIC, call.path)
        return refused(405, "Method Not Allowed") if known else refused(404, "Not Found")
    if parts[0] == "files":
        return _files(call, office, parts[1:])
    if parts[0] == "models":
        return _models(call, office, parts[1:])
    if parts[1:] == ["count_tokens"]:
        return _count(call, office)
    if parts[1:]:
        return _batches(call, office, parts[2:])
    return _ask(call, office)


def _models(call: Call, office: Office, rest: list[str]) -> Reply:
    if rest and not office.desk(call, "anthropic", call.now).knows(rest[0]):
        return refused(404, f"model: {rest[0]}")
    data = [
        {"type": "model", "id": name, "display_name": name, "created_at": "2026-01-01T00:00:00Z"}
        for name in rest or _MODELS
    ]
    ends = {"has_more": False, "first_id": _MODELS[0], "last_id": _MODELS[-1]}
    return said(data[0] if rest else {"data": data, **ends})


def _version(call: Call) -> str:
    return call.headers.get("anthropic-version", "")


def _ask(call: Call, office: Office) -> Reply:
    unpaid = _unpaid(call, office) or _over_tokens(call, office)
    if unpaid is not None:
        return unpaid
    params = call.json()
    answer = anthropic_bodies.answer(
        params, office.desk(call, "anthropic", call.now), _version(call)
    )
    office.note_answer(call, "anthropic.messages.create", params, answer)
    if answer.stuck:
        return refused(529, "Overloaded")
    return said(answer.body, answer.status)


def _unpaid(call: Call, office: Office) -> Reply | None:
    """Return the refusal of what costs, where there is no money left; None where there is."""
    if call.workspace in office.world.broke:
        return refused(402, "Your credit balance is too low to access the Anthropic API.")
    if call.workspace in office.world.capped:
        message = "You have reached the spend limit of your organization's tier."
        return refused(429, message, "enforced_spend_limit_reached", {})
    return None


def _over_tokens(call: Call, office: Office) -> Reply | None:
    limit, meter = office.settings.tokens_per_minute, office.meter("anthropic", call.workspace)
    _, tokens_in, tokens_out, frees = meter.used(call.now)
    return _over_rate(frees) if limit and tokens_in + tokens_out >= limit else None


def _count(call: Call, office: Office) -> Reply:
    if office.over_rate(f"count/{call.workspace}", office.settings.counts_per_minute, 60, call.now):
        return refused(429, "Token counting rate limit exceeded.")
    try:
        tokens = anthropic_bodies.count(
            call.json(), office.desk(call, "anthropic", call.now), _version(call)
        )
    except Unfit as why:
        return refused(why.status, why.message, why.code)
    return said({"input_tokens": tokens})


# Batches


def _batches(call: Call, office: Office, rest: list[str]) -> Reply:
    if not rest:
        return _create(call, office) if call.method == "POST" else _list_batches(call, office)
    batch = office.find(call, "anthropic", rest[0])
    if batch is None:
        return refused(404, f"Message batch {rest[0]} not found.")
    if rest[1:] == ["results"]:
        return _results(call, office, batch)
    if rest[1:] == ["cancel"] and call.method == "POST":
        return _cancel(call, office, batch)
    if call.method == "DELETE":
        return _delete(call, office, batch)
    return said(batch_object(batch, office, call))


def _create(call: Call, office: Office) -> Reply:
    unpaid = _unpaid(call, office)
    if unpaid is not None:
        return unpaid
    body = call.json()
    problem = _create_problem(call, office, body)
    if problem is not None:
        return problem
    return said(batch_object(_new_batch(call, office, body["requests"]), office, call, fresh=True))


def _create_problem(call: Call, office: Office, body: Any) -> Reply | None:
    requests = body.get("requests") if isinstance(body, dict) else None
    if not isinstance(requests, list) or not requests:
        return refused(400, "requests: List should have at least 1 item after validation, not 0")
    if len(requests) > office.settings.anthropic_batch_requests:
        return refused(
            400,
            f"requests: List should have at most {office.settings.anthropic_batch_requests} items",
        )
    envelope = _envelope_problem(requests)
    if envelope is not None:
        return refused(400, envelope)
    if (
        office.settings.sampling_refused == "create"
        and _version(call) >= anthropic_bodies.STRICT_VERSION
    ):
        for i, request in enumerate(requests):
            for key in anthropic_bodies.SAMPLING:
                if key in request["params"]:
                    return refused(
                        400, f"requests.{i}.params.{key}: not supported with this anthropic-version"
                    )
    queued = sum(batch.total for batch in office.enqueued(call.workspace, "anthropic", call.now))
    if office.settings.queued_requests and queued + len(requests) > office.settings.queued_requests:
        return refused(
            429, "This request would exceed the number of batch requests in your processing queue."
        )
    return None


def _envelope_problem(requests: list[Any]) -> str | None:
    seen = set()
    for i, request in enumerate(requests):
        if not isinstance(request, dict):
            return f"requests.{i}: Input should be a valid dictionary"
        custom_id = request.get("custom_id")
        if not isinstance(custom_id, str):
            return f"requests.{i}.custom_id: Field required"
        if not isinstance(request.get("params"), dict):
            return f"requests.{i}.params: Field required"
        if len(custom_id) > 64:
            return f"requests.{i}.custom_id: String should have at most 64 characters"
        if not _CUSTOM_ID.match(custom_id):
            return f"requests.{i}.custom_id: String should match pattern '^[a-zA-Z0-9_-]{{1,64}}$'"
        if custom_id in seen:
            return f"requests.{i}.custom_id: duplicate custom_id '{custom_id}'"
        seen.add(custom_id)
    return None


def _new_batch(call: Call, office: Office, requests: list[Json]) -> Batch:
    world = office.world
    batch_id, number = world.new_id("msgbatch_")
    stuck = False
    with world.run_path(batch_id, "in").open("wb") as lines:
        for request in requests:
            line = orjson.dumps(request, option=orjson.OPT_APPEND_NEWLINE)
            stuck = stuck or b"[[sim:expire" in line
            lines.write(line)
    batch = Batch(
        batch_id,
        "anthropic",
        call.workspace,
        call.now,
        len(requests),
        duration(batch_id, office.settings),
        version=_version(call),
        stuck=stuck,
        number=number,
    )
    with world.lock:
        batch = office.storm.befall(batch)
        world.keep(batch)
        world.note(Knock(call.now, "anthropic.batches.create", 200, retry_count(call), batch.id))
    return batch


def _list_batches(call: Call, office: Office) -> Reply:
    shown = office.shown("anthropic", call.workspace, call.now)
    told = call.asked("limit") or "20"
    if not told.isdigit() or not 1 <= int(told) <= 1_000:
        return refused(400, "limit: Input should be between 1 and 1000")
    page, more = _page(shown, call.asked("after_id"), call.asked("before_id"), int(told))
    data = [batch_object(office.look(batch, call.now), office, call) for batch in page]
    return said(
        {
            "data": data,
            "has_more": more,
            "first_id": data[0]["id"] if data else None,
            "last_id": data[-1]["id"] if data else None,
        }
    )


def _page(
    shown: list[Batch], after: str | None, before: str | None, limit: int
) -> tuple[list[Batch], bool]:
    ids = [batch.id for batch in shown]
    if before is not None and before in ids:
        newer = shown[: ids.index(before)]
        return newer[-limit:], len(newer) > limit
    older = shown[ids.index(after) + 1 :] if after in ids else shown
    return older[:limit], len(older) > limit


def _cancel(call: Call, office: Office, batch: Batch) -> Reply:
    if batch.ended_at is not None:
        status = office.settings.cancel_after_end
        if batch.cancel_at is None and status != 200:
            return refused(status, f"Batch {batch.id} cannot be canceled: it has ended.")
    elif batch.cancel_at is None:
        with office.world.lock:
            office.runs.pop(batch.id, None)
            batch = office.world.keep(cancelled(batch, call.now))
        office.world.note(
            Knock(call.now, "anthropic.batches.cancel", 200, retry_count(call), batch.id)
        )
        return said(batch_object(batch, office, call))
    return said(batch_object(office.look(batch, call.now), office, call))


def _delete(call: Call, office: Office, batch: Batch) -> Reply:
    if batch.ended_at is None:
        return refused(400, f"Batch {batch.id} cannot be deleted while it is in progress.")
    office.world.change(batch.id, deleted=True)
    return said({"id": batch.id, "type": "message_batch_deleted"})


def _archived_at(batch: Batch, office: Office) -> float:
    return batch.created_at + office.settings.anthropic_retention


def _results(call: Call, office: Office, batch: Batch) -> Reply:
    if batch.ended_at is None:
        return refused(404, f"Batch {batch.id} has no available results: it has not ended.")
    if call.now >= _archived_at(batch, office) or office.settings.results_url == "missing":
        return refused(404, f"Batch {batch.id} has no available results.")
    path = office.world.run_path(batch.id, "out")
    return Reply(200, FileBody(path, path.stat().st_size), "application/x-jsonl")


def batch_object(batch: Batch, office: Office, call: Call, *, fresh: bool = False) -> Json:
    """Return a batch as Anthropic shows it; `fresh` is the reply to its create."""
    plan, ended = office.course(batch), batch.ended_at is not None and not fresh
    archived = ended and call.now >= _archived_at(batch, office)
    status = "ended" if ended else "canceling" if batch.cancel_at is not None else "in_progress"
    return {
        "id": batch.id,
        "type": "message_batch",
        "processing_status": status,
        "request_counts": _counts(batch, plan.end)
        if ended
        else {**_NOTHING, "processing": batch.total},
        "created_at": rfc3339(batch.created_at),
        "expires_at": rfc3339(plan.expires_at),
        "ended_at": rfc3339(plan.ends_at) if ended else None,
        "cancel_initiated_at": rfc3339(batch.cancel_at) if batch.cancel_at is not None else None,
        "archived_at": rfc3339(_archived_at(batch, office)) if archived else None,
        "results_url": _results_url(batch, office, call) if ended and not archived else None,
    }


_NOTHING = {"processing": 0, "succeeded": 0, "errored": 0, "canceled": 0, "expired": 0}


def _counts(batch: Batch, end: str) -> dict[str, int]:
    unrun = batch.total - batch.tally.ran
    rest = {"canceled": unrun} if end == "cancelled" else {"expired": unrun}
    return {**_NOTHING, "succeeded": batch.tally.succeeded, "errored": batch.tally.errored, **rest}


def _results_url(batch: Batch, office: Office, call: Call) -> str | None:
    path, kind = f"/v1/messages/batches/{batch.id}/results", office.settings.results_url
    if kind == "null":
        return None
    if kind == "relative":
        return path
    return f"http://results.invalid{path}" if kind == "foreign" else call.base_url + path


# Files


def _files(call: Call, office: Office, rest: list[str]) -> Reply:
    if not rest:
        return _upload(call, office) if call.method == "POST" else _list_files(call, office)
    file = office.world.files.get(rest[0])
    if (
        file is None
        or file.deleted
        or (file.dialect, file.workspace) != ("anthropic", call.workspace)
    ):
        return refused(404, f"File not found: {rest[0]}")
    if file.expired(call.now):
        return refused(404, f"File expired: {rest[0]}", "file_expired")
    if rest[1:] == ["content"]:
        return refused(400, "This file is not downloadable: uploaded files cannot be downloaded.")
    if call.method == "DELETE":
        office.world.keep(replace(file, deleted=True, deleted_at=call.now))
        return said({"id": file.id, "type": "file_deleted"})
    return said(file_object(file))


def _upload(call: Call, office: Office) -> Reply:
    upload = call.upload
    if upload is None:
        return refused(400, "file: Field required")
    lives = upload.fields.get("expires_in_seconds")
    if lives and not (lives.isdigit() and 3_600 <= int(lives) <= 90 * _DAY):
        return refused(400, "expires_in_seconds: Input should be between 3600 and 7776000")
    file_id, number = office.world.new_id("file_")
    file = office.store(
        call,
        StoredFile(
            file_id,
            "anthropic",
            call.workspace,
            upload.filename or "upload",
            "user",
            _media_type(upload.path, upload.content_type),
            upload.size,
            call.now,
            call.now + int(lives) if lives else None,
            number=number,
        ),
    )
    office.world.note(Knock(call.now, "anthropic.files.create", 200, retry_count(call), file.id))
    return said(file_object(file))


def _media_type(path: Any, told: str) -> str:
    with path.open("rb") as file:
        head = file.read(8)
    return next((media for magic, media in _MAGIC if head.startswith(magic)), told or "text/plain")


def file_object(file: StoredFile) -> Json:
    """Return a file as Anthropic shows it."""
    return {
        "id": file.id,
        "type": "file",
        "filename": file.filename,
        "mime_type": file.media_type,
        "size_bytes": file.size,
        "created_at": rfc3339(file.created_at),
        "downloadable": False,
        "expires_at": rfc3339(file.expires_at) if file.expires_at else None,
    }


def _list_files(call: Call, office: Office) -> Reply:
    files = [
        f
        for f in list(office.world.files.values())
        if (f.dialect, f.workspace) == ("anthropic", call.workspace) and not f.gone(call.now)
    ]
    files.sort(key=lambda f: f.number, reverse=True)
    wanted = call.query.get("ids[]") or call.query.get("ids")
    if wanted:
        return said({"data": [file_object(f) for f in files if f.id in wanted], "next_page": None})
    limit, start = call.asked("limit") or "20", call.asked("page") or "0"
    if not (limit.isdigit() and 1 <= int(limit) <= 1_000 and start.removeprefix("page_").isdigit()):
        return refused(400, "limit: Input should be between 1 and 1000")
    if _FILES_BETA in call.headers.get("anthropic-beta", ""):
        return _list_files_as_in_the_beta(call, files, int(limit))
    first = int(start.removeprefix("page_"))
    page = files[first : first + int(limit)]
    more = f"page_{first + len(page)}" if first + len(page) < len(files) else None
    return said({"data": [file_object(f) for f in page], "next_page": more})


def _list_files_as_in_the_beta(call: Call, files: list[StoredFile], limit: int) -> Reply:
    """Page by id, as SDKs before 2.0 expect it."""
    ids = [file.id for file in files]
    after = call.asked("after_id")
    rest = files[ids.index(after) + 1 :] if after in ids else files
    page = rest[:limit]
    ends = {
        "has_more": len(rest) > len(page),
        "first_id": page[0].id if page else None,
        "last_id": page[-1].id if page else None,
    }
    return said({"data": [file_object(file) for file in page], **ends})
