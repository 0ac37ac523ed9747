"""What clients met that are not today's SDKs: wrong methods, other shapes, older paging."""

from __future__ import annotations

from typing import Any

import httpx2
import orjson
import pytest

from batchkit.simulator import Simulator

OPENAI = {"authorization": "Bearer sk-good"}
ANTHROPIC = {"x-api-key": "sk-good", "anthropic-version": "2023-06-01"}
LINE = {
    "custom_id": "a",
    "method": "POST",
    "url": "/v1/chat/completions",
    "body": {"model": "gpt-4o-mini", "messages": [{"role": "user", "content": "hi"}]},
}


def ask(sim: Simulator, method: str, path: str, **more: Any) -> httpx2.Response:
    """Make a call with the headers of the path's dialect."""
    headers = ANTHROPIC if path.startswith("/v1/messages") else OPENAI
    given = more.pop("headers", {})
    return httpx2.request(method, sim.url + path, headers={**headers, **given}, **more)


def upload(sim: Simulator, line: Any, purpose: str = "batch") -> httpx2.Response:
    """Upload a file of one line, as curl -F does."""
    return ask(
        sim,
        "POST",
        "/v1/files",
        data={"purpose": purpose},
        files={"file": ("in.jsonl", orjson.dumps(line))},
    )


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("DELETE", "/v1/batches/batch_x", 405),
        ("PUT", "/v1/batches", 405),
        ("PATCH", "/v1/files", 405),
        ("GET", "/v1/batches/batch_x/cancel", 405),
        ("DELETE", "/v1/files/file-x/content", 405),
        ("GET", "/v1/chat/completions", 405),
        ("GET", "/v1/batches/batch_x/nonsense", 404),
        ("GET", "/v1/files/file-x/nonsense", 404),
        ("PUT", "/v1/messages/batches", 405),
        ("POST", "/v1/messages/batches/msgbatch_x", 405),
        ("GET", "/v1/messages/batches/msgbatch_x/cancel", 405),
        ("GET", "/v1/messages/batches/msgbatch_x/nonsense", 404),
        ("GET", "/v1/messages", 405),
    ],
)
def test_a_method_that_a_route_has_not_is_refused(
    sim: Simulator, method: str, path: str, status: int
) -> None:
    """A stray DELETE must not look like a success."""
    assert ask(sim, method, path).status_code == status
    assert sim.bugs == []


def test_a_head_is_answered_as_a_get(sim: Simulator) -> None:
    """Health checks send one."""
    assert ask(sim, "HEAD", "/v1/batches").status_code == 200


def test_one_model_is_shown_or_missing(sim: Simulator) -> None:
    """In both dialects; clients look a model up before they use it."""
    assert ask(sim, "GET", "/v1/models/gpt-4o-mini").json()["id"] == "gpt-4o-mini"
    assert ask(sim, "GET", "/v1/models/nonsense").status_code == 404
    claude = ask(sim, "GET", "/v1/models/claude-sonnet-5-5", headers=ANTHROPIC)
    assert claude.json()["type"] == "model"
    assert ask(sim, "GET", "/v1/models/nonsense", headers=ANTHROPIC).status_code == 404


def test_a_purpose_that_nobody_knows_is_refused(sim: Simulator) -> None:
    """With the list of those there are."""
    reply = upload(sim, LINE, "nonsense")
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "purpose")


def test_a_wrong_key_is_an_invalid_request_at_openai(sim: Simulator) -> None:
    """Its code says more than its type."""
    reply = ask(sim, "GET", "/v1/batches", headers={"authorization": "Bearer wrong"})
    error = reply.json()["error"]
    assert (error["type"], error["code"]) == ("invalid_request_error", "invalid_api_key")


@pytest.mark.parametrize("custom_id", [5, ["a"], {"a": 1}])
def test_a_custom_id_that_is_no_text_fails_the_batch(sim: Simulator, custom_id: Any) -> None:
    """In the validating phase, with its line."""
    file_id = upload(sim, {**LINE, "custom_id": custom_id}).json()["id"]
    body = {
        "input_file_id": file_id,
        "endpoint": "/v1/chat/completions",
        "completion_window": "24h",
    }
    batch = ask(sim, "POST", "/v1/batches", json=body).json()
    sim.advance(60)
    seen = ask(sim, "GET", f"/v1/batches/{batch['id']}").json()
    assert (seen["status"], seen["errors"]["data"][0]["line"]) == ("failed", 1)
    assert sim.bugs == []


@pytest.mark.parametrize("given", [{"a": 1}, [[1]], [5], 7])
def test_an_input_of_another_type_is_refused(sim: Simulator, given: Any) -> None:
    """Not answered as if it were empty."""
    reply = ask(sim, "POST", "/v1/responses", json={"model": "gpt-4o-mini", "input": given})
    assert (reply.status_code, reply.json()["error"]["param"]) == (400, "input")


@pytest.mark.parametrize("path", ["/v1/messages", "/v1/messages/count_tokens"])
def test_a_body_that_is_a_list_is_refused(sim: Simulator, path: str) -> None:
    """In words, not with a traceback."""
    assert ask(sim, "POST", path, json=[]).status_code == 400
    assert sim.bugs == []


def test_files_are_paged_by_id_for_older_clients(sim: Simulator) -> None:
    """The beta's list has `has_more`; today's has `next_page`."""
    for name in ("a.txt", "b.txt", "c.txt"):
        ask(sim, "POST", "/v1/files", headers=ANTHROPIC, files={"file": (name, b"x")})
    beta = {**ANTHROPIC, "anthropic-beta": "files-api-2025-04-14"}
    names: list[str] = []
    after: dict[str, str] = {}
    while len(names) < 9:
        page = ask(sim, "GET", "/v1/files", headers=beta, params={"limit": 2, **after}).json()
        names += [file["filename"] for file in page["data"]]
        after = {"after_id": page["last_id"]}
        if not page["has_more"]:
            break
    assert names == ["c.txt", "b.txt", "a.txt"]
    assert "next_page" in ask(sim, "GET", "/v1/files", headers=ANTHROPIC).json()
