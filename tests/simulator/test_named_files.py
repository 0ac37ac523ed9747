"""Files that requests name: they weigh what they weigh inline, and are gone when they are gone."""

from __future__ import annotations

import base64
from typing import Any

import openai
import pytest

from tests.simulator.talking import CLAUDE, MODEL, outcomes, results, send, submit
from tests.unit.files import pdf, png

PDF = pdf("Name: thing 7\nVersion: 7.0", "A library, second page.")
PNG = png(600, 400)
URL = {kind: f"data:{kind};base64," for kind in ("application/pdf", "image/png")}


def _response(part: dict[str, Any]) -> dict[str, Any]:
    return {"model": MODEL, "input": [{"role": "user", "content": [part]}]}


def _message(block: dict[str, Any]) -> dict[str, Any]:
    content = [{**block, "cache_control": {"type": "ephemeral"}}]
    return {
        "model": CLAUDE,
        "max_tokens": 50,
        "messages": [{"role": "user", "content": content}],
    }


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode()


def test_a_named_file_weighs_what_it_weighs_inline_at_openai(sim, oai):
    """PDF and picture, by `user_data` with an expiry."""
    ends: Any = {"anchor": "created_at", "seconds": 7_200}
    files = [
        oai.files.create(file=(name, data, kind), purpose="user_data", expires_after=ends)
        for name, data, kind in (("a.pdf", PDF, "application/pdf"), ("a.png", PNG, "image/png"))
    ]
    assert [file.expires_at - file.created_at for file in files] == [7_200, 7_200]
    inline = URL["application/pdf"] + _encoded(PDF)
    bodies = [
        {"type": "input_file", "file_id": files[0].id},
        {"type": "input_file", "filename": "a.pdf", "file_data": inline},
        {"type": "input_image", "file_id": files[1].id, "detail": "auto"},
        {"type": "input_image", "image_url": URL["image/png"] + _encoded(PNG)},
    ]
    batch = submit(oai, map(_response, bodies))
    sim.advance(3_600)
    found = [one["response"]["body"]["usage"] for _, one in sorted(results(oai, batch.id).items())]
    assert found[0] == found[1]
    assert found[2] == found[3]


def test_a_named_file_weighs_what_it_weighs_inline_at_anthropic(sim, ant):
    """Cache marks included."""
    made = [
        ant.files.upload(file=(name, data, kind), expires_in_seconds=7_200).id
        for name, data, kind in (("a.pdf", PDF, "application/pdf"), ("a.png", PNG, "image/png"))
    ]
    blocks: list[dict[str, Any]] = []
    for kind, media, data, ref in (
        ("document", "application/pdf", PDF, made[0]),
        ("image", "image/png", PNG, made[1]),
    ):
        inline = {"type": "base64", "media_type": media, "data": _encoded(data)}
        blocks += [{"type": kind, "source": {"type": "file", "file_id": ref}}]
        blocks += [{"type": kind, "source": inline}]
    batch = send(ant, map(_message, blocks))
    sim.advance(3_600)
    usage = [one["message"]["usage"] for _, one in sorted(outcomes(ant, batch.id).items())]
    assert usage[0] == usage[1]
    assert usage[2] == usage[3]


def test_a_file_that_is_not_there_is_its_requests_error_at_openai(sim, oai):
    """Unknown, or of a purpose that no model reads: a line with its status, nothing billed."""
    other = oai.files.create(file=("x.jsonl", b"{}"), purpose="batch")
    named = ("file-nope", other.id)
    batch = submit(oai, [_response({"type": "input_file", "file_id": ref}) for ref in named])
    sim.advance(3_600)
    found = results(oai, batch.id)
    assert [found[f"r{i}"]["response"]["status_code"] for i in range(2)] == [404, 400]
    assert "file-nope" in found["r0"]["response"]["body"]["error"]["message"]
    assert not any(entry.billed for entry in sim.ledger().entries)


@pytest.mark.parametrize("late", [True, False])
def test_a_file_is_needed_until_its_request_ran_and_no_longer(start, chat, late):
    """Deleted while its batch waits: errored. Deleted after it ran: answered, whoever looks."""
    sim = start(batch_seconds=(1_000, 1_000))
    client = chat(sim)
    file = client.files.upload(file=("a.pdf", PDF, "application/pdf"))
    block = {"type": "document", "source": {"type": "file", "file_id": file.id}}
    batch = send(client, [_message(block)])
    sim.advance(5_000 if late else 1)
    client.files.delete(file.id)
    sim.advance(5_000)
    result = outcomes(client, batch.id)["r0"]
    assert result["type"] == ("succeeded" if late else "errored")


def test_a_file_of_another_workspace_is_none(start, talk):
    """Ids are no secret between workspaces, and open nothing."""
    sim = start(instant=True, workspaces={"sk-one": "one", "sk-two": "two"})
    one, two = talk(sim, "sk-one"), talk(sim, "sk-two")
    file = one.files.create(file=("a.pdf", PDF, "application/pdf"), purpose="user_data")
    part: Any = {"type": "input_file", "file_id": file.id}
    body = _response(part)
    assert one.responses.create(**body).output_text
    with pytest.raises(openai.NotFoundError):
        two.responses.create(**body)
