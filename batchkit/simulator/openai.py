"""OpenAI's front: files, batches, and the real-time endpoints."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

from batchkit.simulator import azure, limits, openai_bodies, routes
from batchkit.simulator.course import Course, duration
from batchkit.simulator.office import Office, cancelled, retry_count
from batchkit.simulator.openai_validation import create_problem, survey
from batchkit.simulator.prompt import Unfit
from batchkit.simulator.settings import DAY
from batchkit.simulator.wire import Call, Json, Malformed, Reply, said
from batchkit.simulator.world import Batch, Knock, StoredFile

_MODELS = ("gpt-6.1-sol", "gpt-6-luna", "gpt-5.4-mini", "gpt-4o-mini")
_PURPOSES = ("assistants", "batch", "evals", "fine-tune", "user_data", "vision")


def refused(status: int, message: str, code: str | None = None, param: str | None = None) -> Reply:
    """Return an error reply."""
    headers = {"retry-after": "1"} if status in (429, 503) else {}
    return said(openai_bodies.error_body(status, message, code, param), status, headers)


def answer(call: Call, office: Office) -> Reply:
    """Answer a call."""
    key = office.key_of(call)
    if not office.admits(key):
        if office.settings.azure:
            return azure.refused_key()
        masked = f"{key[:3]}***{key[-4:]}" if key else "none"
        return refused(401, f"Incorrect API key provided: {masked}.", "invalid_api_key")
    settings, meter = office.settings, office.meter("openai", call.workspace)
    full = meter.admit(call.now, settings.requests_per_minute)
    if full is None:
        reply = _answered(call, office)
    else:
        reply = refused(429, "Rate limit reached for requests.", "rate_limit_exceeded")
        reply = replace(reply, headers=limits.wait(full))
    told = limits.openai_headers(
        meter, call.now, settings.requests_per_minute, settings.tokens_per_minute
    )
    return replace(reply, headers={**told, **reply.headers})


def _answered(call: Call, office: Office) -> Reply:
    try:
        return _dispatch(call, office, call.path.removeprefix("/v1/").strip("/").split("/"))
    except Malformed as exc:
        return refused(400, f"We could not parse the JSON body of your request. {exc}")


def route_name(method: str, path: str) -> str:
    """Return a route's name, as the fault plan knows it."""
    return routes.named(routes.OPENAI, method, path)


def _dispatch(call: Call, office: Office, parts: list[str]) -> Reply:
    head, rest = parts[0], parts[1:]
    if route_name(call.method, call.path) == "unknown":
        return _no_route(call)
    if head == "files":
        return _files(call, office, rest)
    if head == "batches":
        return _batches(call, office, rest)
    if head == "models":
        return _models(call, office, rest)
    if parts == ["responses", "input_tokens"]:
        return _count(call, office)
    return _ask(call, office, "/v1/" + "/".join(parts))


def _no_route(call: Call) -> Reply:
    if routes.exists(routes.OPENAI, call.path):
        return refused(405, f"Not allowed to {call.method} on {call.path}.", "method_not_supported")
    return refused(404, f"Invalid URL ({call.method} {call.path})")


def _models(call: Call, office: Office, rest: list[str]) -> Reply:
    if rest and not office.desk(call, "openai", call.now).knows(rest[0]):
        return refused(404, f"The model '{rest[0]}' does not exist", "model_not_found", "model")
    data = [
        {"id": name, "object": "model", "created": 1_760_000_000, "owned_by": "openai"}
        for name in rest or _MODELS
    ]
    return said(data[0] if rest else {"object": "list", "data": data})


def _ask(call: Call, office: Office, endpoint: str) -> Reply:
    problem = _unpaid(call, office) or _over_tokens(call, office)
    if problem is not None:
        return problem
    body = call.json()
    answer = openai_bodies.answer(endpoint, body, office.desk(call, "openai", call.now))
    office.note_answer(call, f"openai.{endpoint[4:].replace('/', '.')}", body, answer)
    if answer.stuck:
        return refused(
            500, "The server had an error while processing your request.", "server_error"
        )
    return said(answer.body, answer.status)


def _unpaid(call: Call, office: Office) -> Reply | None:
    """Return the refusal of what costs, where there is no money left; None where there is."""
    if call.workspace in office.world.broke:
        return refused(429, "You exceeded your current quota.", "insufficient_quota")
    if call.workspace in office.world.capped:
        reply = refused(429, "Billing hard limit has been reached.", "billing_hard_limit_reached")
        return replace(reply, headers={})
    return None


def _over_tokens(call: Call, office: Office) -> Reply | None:
    limit, meter = office.settings.tokens_per_minute, office.meter("openai", call.workspace)
    _, tokens_in, tokens_out, frees = meter.used(call.now)
    if not limit or tokens_in + tokens_out < limit:
        return None
    reply = refused(429, "Rate limit reached for tokens.", "rate_limit_exceeded")
    return replace(reply, headers=limits.wait(frees))


def _count(call: Call, office: Office) -> Reply:
    try:
        tokens = openai_bodies.count(call.json(), office.desk(call, "openai", call.now))
    except Unfit as why:
        return refused(why.status, why.message, why.code, why.param)
    return said({"object": "response.input_tokens", "input_tokens": tokens})


# Files


def _files(call: Call, office: Office, rest: list[str]) -> Reply:
    if not rest:
        return _upload(call, office) if call.method == "POST" else _list_files(call, office)
    file = office.world.files.get(rest[0])
    if (
        file is None
        or file.gone(call.now)
        or (file.dialect, file.workspace) != ("openai", call.workspace)
    ):
        return refused(404, f"No such File object: {rest[0]}", param="id")
    if rest[1:] == ["content"]:
        return office.serve_file(file.id, file.size, "application/octet-stream")
    if call.method == "DELETE":
        office.world.keep(replace(file, deleted=True, deleted_at=call.now))
        return said({"id": file.id, "object": "file", "deleted": True})
    return said(file_object(file))


def _upload(call: Call, office: Office) -> Reply:
    problem = _upload_problem(call, office)
    if problem is not None:
        return problem
    assert call.upload is not None
    upload, (file_id, number) = call.upload, office.world.new_id("file-")
    purpose = upload.fields["purpose"]
    lives = upload.fields.get("expires_after[seconds]") or (
        30 * DAY if purpose == "batch" else None
    )
    file = office.store(
        call,
        StoredFile(
            file_id,
            "openai",
            call.workspace,
            upload.filename or "upload",
            purpose,
            upload.content_type,
            upload.size,
            call.now,
            call.now + float(lives) if lives else None,
            number=number,
        ),
    )
    office.world.note(Knock(call.now, "openai.files.create", 200, retry_count(call), file.id))
    return said(file_object(file))


def _upload_problem(call: Call, office: Office) -> Reply | None:
    upload = call.upload
    if upload is None or not upload.fields.get("purpose"):
        return refused(400, "Missing required parameter: 'purpose' or 'file'.", param="purpose")
    purpose = upload.fields["purpose"]
    if purpose not in _PURPOSES:
        message = f"'{purpose}' is not one of {list(_PURPOSES)} - 'purpose'"
        return refused(400, message, param="purpose")
    batch = purpose == "batch"
    if batch and not (upload.filename or "").endswith(".jsonl"):
        return refused(400, "Invalid file format for Batch API. Must be .jsonl")
    if upload.size > (
        office.settings.openai_batch_bytes if batch else office.settings.openai_file_bytes
    ):
        return refused(413, "The file is too large.")
    lives = upload.fields.get("expires_after[seconds]")
    anchored = upload.fields.get("expires_after[anchor]", "created_at") == "created_at"
    if not anchored or (lives and not (lives.isdigit() and 3_600 <= int(lives) <= 30 * DAY)):
        return refused(400, "Invalid 'expires_after'.", param="expires_after")
    return None


def file_object(file: StoredFile) -> Json:
    """Return a file as OpenAI shows it."""
    return {
        "id": file.id,
        "object": "file",
        "bytes": file.size,
        "created_at": int(file.created_at),
        "filename": file.filename,
        "purpose": file.purpose,
        "status": "processed",
        "expires_at": int(file.expires_at) if file.expires_at else None,
        "status_details": None,
    }


def _list_files(call: Call, office: Office) -> Reply:
    mine = [
        f
        for f in list(office.world.files.values())
        if (f.dialect, f.workspace) == ("openai", call.workspace)
        and not f.gone(call.now)
        and call.asked("purpose") in (None, f.purpose)
    ]
    mine.sort(key=lambda f: f.number, reverse=call.asked("order") != "asc")
    return _page(call, [file_object(f) for f in mine], 10_000, 10_000)


def _page(call: Call, items: list[Json], default: int, most: int) -> Reply:
    told = call.asked("limit") or str(default)
    if not told.isdigit() or not 1 <= int(told) <= most:
        return refused(400, f"Invalid 'limit': must be between 1 and {most}.", param="limit")
    after = call.asked("after")
    places = [i for i, item in enumerate(items) if item["id"] == after]
    items = items[places[0] + 1 :] if places else items
    page = items[: int(told)]
    return said(
        {
            "object": "list",
            "data": page,
            "first_id": page[0]["id"] if page else None,
            "last_id": page[-1]["id"] if page else None,
            "has_more": len(items) > len(page),
        }
    )


# Batches


def _batches(call: Call, office: Office, rest: list[str]) -> Reply:
    if not rest:
        return _create(call, office) if call.method == "POST" else _list_batches(call, office)
    batch = office.find(call, "openai", rest[0])
    if batch is None:
        return refused(404, f"No batch found with id '{rest[0]}'.", param="id")
    if rest[1:] == ["cancel"] and call.method == "POST":
        return _cancel(call, office, batch)
    return said(batch_object(batch, office, call.now))


def _list_batches(call: Call, office: Office) -> Reply:
    shown = office.shown("openai", call.workspace, call.now)
    page = _page(call, [{"id": batch.id} for batch in shown], 20, 100)
    if page.status != 200:
        return page
    listed: Any = Call(
        "GET", "", {}, {}, page.body if isinstance(page.body, bytes) else b"", 0
    ).json()
    batches = [office.look(office.world.batches[item["id"]], call.now) for item in listed["data"]]
    return said({**listed, "data": [batch_object(batch, office, call.now) for batch in batches]})


def _create(call: Call, office: Office) -> Reply:
    body = call.json()
    unpaid = _unpaid(call, office)
    if unpaid is not None:
        return unpaid
    problem = create_problem(body, office.world, call.workspace, call.now)
    if problem is not None:
        return refused(400, problem.message, problem.code, problem.param)
    if office.over_rate(
        f"openai.creates/{call.workspace}", office.settings.creates_per_hour, 3_600, call.now
    ):
        return refused(429, "Rate limit reached for batch creation.", "rate_limit_exceeded")
    with office.world.lock:
        batch = office.storm.befall(_new_batch(call, office, body))
        office.world.keep(batch)
        office.world.note(
            Knock(call.now, "openai.batches.create", 200, retry_count(call), batch.id)
        )
    return said(batch_object(batch, office, call.now, fresh=True))


def _new_batch(call: Call, office: Office, body: Json) -> Batch:
    batch_id, number = office.world.new_id("batch_")
    queue = office.enqueued(call.workspace, "openai", call.now)
    found = survey(office, call, body["endpoint"], body["input_file_id"], queue)
    expires = body.get("output_expires_after") or {}
    return Batch(
        batch_id,
        "openai",
        call.workspace,
        call.now,
        found.total,
        duration(batch_id, office.settings),
        body["endpoint"],
        body["input_file_id"],
        body.get("metadata"),
        expires.get("seconds"),
        model=found.model,
        problems=tuple(found.problems),
        tokens=found.tokens,
        stuck=found.stuck,
        number=number,
    )


def _cancel(call: Call, office: Office, batch: Batch) -> Reply:
    plan = office.course(batch)
    if batch.cancel_at is None and call.now >= plan.ends_at:
        status = office.settings.cancel_after_end
        if status != 200:
            message = f"Cannot cancel a batch with status '{plan.end}'."
            return refused(status, message, "invalid_request" if status == 400 else "conflict")
    elif batch.cancel_at is None:
        with office.world.lock:
            office.runs.pop(batch.id, None)
            batch = office.world.keep(cancelled(batch, call.now))
        office.world.note(
            Knock(call.now, "openai.batches.cancel", 200, retry_count(call), batch.id)
        )
    return said(batch_object(office.look(batch, call.now), office, call.now))


def batch_object(batch: Batch, office: Office, now: float, *, fresh: bool = False) -> Json:
    """Return a batch as OpenAI shows it; `fresh` is the reply to its create."""
    plan = office.course(batch)
    status = "validating" if fresh else _status(batch, plan, now)
    done, failed = (0, 0) if status in ("validating", "failed") else office.progress(batch, now)
    over = batch.ended_at is not None
    shown = {
        "id": batch.id,
        "object": "batch",
        "endpoint": batch.endpoint,
        "model": openai_bodies.resolved(batch.model)
        if batch.model and status != "validating"
        else None,
        "errors": {"object": "list", "data": list(batch.problems)} if status == "failed" else None,
        "input_file_id": batch.input_file_id,
        "completion_window": "24h",
        "status": status,
        "output_file_id": batch.output_file_id if over else None,
        "error_file_id": batch.error_file_id if over else None,
        "created_at": int(batch.created_at),
        "expires_at": None if plan.expires_at == math.inf else int(plan.expires_at),
        **_stamps(batch, plan, status, now),
        "request_counts": {
            "total": 0 if status in ("validating", "failed") else batch.total,
            "completed": done,
            "failed": failed,
        },
        "usage": _usage(batch) if over and status != "failed" else None,
        "metadata": batch.metadata,
    }
    return azure.dressed(shown) if office.settings.azure else shown


def _status(batch: Batch, plan: Course, now: float) -> str:
    if now >= plan.ends_at and batch.ended_at is not None:
        return plan.end
    if batch.cancel_at is not None and plan.end == "cancelled":
        return "cancelling"
    if now < plan.starts_at:
        return "validating"
    return "in_progress" if now < plan.stops_at else "finalizing"


def _stamps(batch: Batch, plan: Course, status: str, now: float) -> Json:
    began = status not in ("validating", "failed") and plan.starts_at <= plan.stops_at
    finalized = plan.stops_at <= now and plan.end in ("completed", "expired") and began
    stamps: dict[str, float | None] = {
        "in_progress_at": plan.starts_at if began else None,
        "finalizing_at": plan.stops_at if finalized and status != "in_progress" else None,
        "cancelling_at": batch.cancel_at if plan.end == "cancelled" else None,
    }
    for end in ("completed", "failed", "expired", "cancelled"):
        stamps[f"{end}_at"] = plan.ends_at if status == end else None
    return {name: int(at) if at is not None else None for name, at in stamps.items()}


def _usage(batch: Batch) -> Json:
    tally = batch.tally
    return {
        "input_tokens": tally.input_tokens,
        "input_tokens_details": {"cached_tokens": tally.cached_tokens},
        "output_tokens": tally.output_tokens,
        "output_tokens_details": {"reasoning_tokens": tally.reasoning_tokens},
        "total_tokens": tally.input_tokens + tally.output_tokens,
    }
