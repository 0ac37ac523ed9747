"""What OpenAI checks of a batch: its create at once, its file in the `validating` phase."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import orjson

from batchkit.simulator.prompt import Unfit, read_openai
from batchkit.simulator.wire import Call, Json
from batchkit.simulator.world import Batch, World

if TYPE_CHECKING:
    from batchkit.simulator.office import Office

ENDPOINTS = (
    "/v1/responses",
    "/v1/chat/completions",
    "/v1/embeddings",
    "/v1/completions",
    "/v1/moderations",
    "/v1/images/generations",
    "/v1/images/edits",
    "/v1/videos",
)
_PROBLEMS_SHOWN = 100


def create_problem(body: Any, world: World, workspace: str, now: float) -> Unfit | None:
    """Return why a create is refused at once, or None."""
    if not isinstance(body, dict) or not isinstance(body.get("input_file_id"), str):
        return Unfit(
            "Missing required parameter: 'input_file_id'.",
            "input_file_id",
            "missing_required_parameter",
        )
    if body.get("endpoint") not in ENDPOINTS:
        return Unfit(f"Invalid value: '{body.get('endpoint')}'.", "endpoint", "invalid_value")
    if body.get("completion_window") != "24h":
        return Unfit(
            "Invalid value for completion_window: must be '24h'.",
            "completion_window",
            "invalid_value",
        )
    file = world.files.get(body["input_file_id"])
    if file is None or file.gone(now) or (file.dialect, file.workspace) != ("openai", workspace):
        return Unfit(
            f"Invalid input_file_id: no such file {body['input_file_id']}.",
            "input_file_id",
            "invalid_value",
        )
    if file.purpose != "batch":
        return Unfit("Invalid file purpose: must be 'batch'.", "input_file_id", "invalid_value")
    return _metadata_problem(body.get("metadata")) or _expiry_problem(
        body.get("output_expires_after")
    )


def _metadata_problem(metadata: Any) -> Unfit | None:
    if metadata is None:
        return None
    if not isinstance(metadata, dict) or len(metadata) > 16:
        return Unfit(
            "Invalid 'metadata': too many properties. Expected at most 16.",
            "metadata",
            "object_above_max_properties",
        )
    for key, value in metadata.items():
        if len(key) > 64 or not isinstance(value, str) or len(value) > 512:
            return Unfit(
                f"Invalid 'metadata.{key[:64]}': string too long.",
                "metadata",
                "string_above_max_length",
            )
    return None


def _expiry_problem(expires: Any) -> Unfit | None:
    if expires is None:
        return None
    seconds = expires.get("seconds") if isinstance(expires, dict) else None
    if (
        not isinstance(seconds, int)
        or not 3_600 <= seconds <= 2_592_000
        or expires.get("anchor") != "created_at"
    ):
        return Unfit("Invalid 'output_expires_after'.", "output_expires_after", "invalid_value")
    return None


@dataclass(slots=True)
class Survey:
    """What the validating phase finds in an input file."""

    total: int = 0
    model: str | None = None
    tokens: int = 0
    stuck: bool = False
    problems: list[Json] = field(default_factory=list)
    inputs: int = 0

    def complain(
        self, code: str, message: str, line: int | None = None, param: str | None = None
    ) -> None:
        """Add a problem, up to as many as are shown."""
        if len(self.problems) < _PROBLEMS_SHOWN:
            self.problems.append({"code": code, "message": message, "param": param, "line": line})


def survey(office: Office, call: Call, endpoint: str, file_id: str, queue: list[Batch]) -> Survey:
    """Read a batch's input file; return what is wrong with it and what it takes of the queue."""
    found, seen = Survey(), set[str]()
    with office.world.path_of(file_id).open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.isspace():
                _line(found, office, endpoint, seen, number, line)
    if not found.total:
        found.complain("empty_file", "The input file is empty.")
    most = office.settings.openai_batch_requests
    if found.total > most or (endpoint == "/v1/embeddings" and found.inputs > 50_000):
        found.complain(
            "too_many_tasks", f"The batch has {found.total} requests; the limit is {most}."
        )
    if not found.problems and office.settings.enqueued_tokens:
        _weigh(found, office, call, file_id, queue)
    return found


def _line(
    found: Survey, office: Office, endpoint: str, seen: set[str], number: int, raw: bytes
) -> None:
    found.total += 1
    try:
        line = orjson.loads(raw)
    except orjson.JSONDecodeError:
        found.complain("invalid_json_line", "This line is not parseable as valid JSON.", number)
        return
    if not isinstance(line, dict):
        found.complain("invalid_json_line", "This line is not a JSON object.", number)
        return
    for key in ("custom_id", "method", "url", "body"):
        if not line.get(key):
            found.complain(
                "missing_required_parameter", f"Missing required parameter: '{key}'.", number, key
            )
            return
    if not isinstance(line["custom_id"], str):
        found.complain(
            "invalid_request",
            "Invalid type for 'custom_id': expected a string.",
            number,
            "custom_id",
        )
        return
    _consistent(found, office, endpoint, seen, number, line)
    found.stuck = found.stuck or b"[[sim:expire" in raw


def _consistent(
    found: Survey, office: Office, endpoint: str, seen: set[str], number: int, line: Json
) -> None:
    if line["custom_id"] in seen:
        found.complain(
            "duplicate_custom_id",
            f"The custom_id '{line['custom_id']}' is not unique.",
            number,
            "custom_id",
        )
    seen.add(line["custom_id"])
    if line["url"] != endpoint:
        found.complain(
            "url_mismatch",
            f"The URL '{line['url']}' does not match the batch's '{endpoint}'.",
            number,
            "url",
        )
    if line["method"] != "POST":
        found.complain("invalid_method", "The method must be POST.", number, "method")
    body = line["body"]
    model = body.get("model") if isinstance(body, dict) else None
    if endpoint == "/v1/embeddings" and isinstance(body, dict):
        found.inputs += len(body["input"]) if isinstance(body.get("input"), list) else 1
    if found.model is None and isinstance(model, str):
        found.model = model
        if not office.settings.any_model and not office.desk(_NOBODY, "openai", 0).knows(model):
            found.complain(
                "model_not_found",
                f"The provided model '{model}' is not supported by the Batch API.",
                number,
                "body.model",
            )
    elif model != found.model:
        found.complain(
            "model_mismatch",
            "All requests of a batch must have the same model.",
            number,
            "body.model",
        )


_NOBODY = Call("", "", {}, {}, b"", 0)


def _weigh(found: Survey, office: Office, call: Call, file_id: str, queue: list[Batch]) -> None:
    model = found.model or ""
    limits = office.settings.enqueued_tokens
    limit = next(
        (limits[p] for p in sorted(limits, key=len, reverse=True) if model.startswith(p)), None
    )
    desk = office.desk(call, "openai", call.now)
    with office.world.path_of(file_id).open("rb") as lines:
        for line in lines:
            if not line.isspace():
                found.tokens += _tokens(orjson.loads(line)["body"], model, desk.fetch)
    waiting = sum(batch.tokens for batch in queue if batch.model == model)
    if limit is not None and found.tokens + waiting > limit:
        found.complain(
            "token_limit_exceeded",
            f"Enqueued token limit reached for {model} in organization org-simulator. "
            f"Limit: {limit:,} enqueued tokens. Please try again "
            "once some in_progress batches have been completed.",
        )


def _tokens(body: Json, model: str, fetch: Any) -> int:
    try:
        return read_openai(body, fetch).tokens(model)
    except Unfit:
        return 0
