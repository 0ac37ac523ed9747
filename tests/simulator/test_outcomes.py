"""Every marker does what its row of the table says, in both dialects."""

from __future__ import annotations

import json

import anthropic
import openai
import pytest

from batchkit.simulator import MARKERS, Asked, Outcome
from tests.simulator.talking import (
    CLAUDE,
    MODEL,
    chat_body,
    document,
    outcomes,
    params,
    response_body,
    results,
    send,
    submit,
)


@pytest.fixture
def ask_openai(sim, oai):
    """Run one Responses body with a marker; return its result line."""

    def ask(marker: str, make=response_body, url="/v1/responses", **more):
        batch = submit(oai, [make(document(1, f"[[sim:{marker}]]"), **more)], url)
        sim.advance(3_600)
        return results(oai, batch.id).get("r0")

    return ask


@pytest.fixture
def ask_anthropic(sim, ant):
    """Run one Messages body with a marker; return its result."""

    def ask(marker: str, **more):
        batch = send(ant, [params(document(1, f"[[sim:{marker}]]"), **more)])
        sim.advance(3_600)
        return outcomes(ant, batch.id).get("r0")

    return ask


def _text(line):
    return line["response"]["body"]["output"][-1]["content"][0]["text"]


def _said(result):
    return result["message"]["content"][-1]["text"]


def test_refusal_has_each_api_its_own_shape(ask_openai, ask_anthropic):
    """A content part, a message field, a stop reason; Anthropic's early one is not billed."""
    part = ask_openai("refuse")["response"]["body"]["output"][0]["content"][0]
    assert part["type"] == "refusal"
    chat = ask_openai("refuse", chat_body, "/v1/chat/completions")["response"]["body"]
    assert chat["choices"][0]["message"]["refusal"]
    message = ask_anthropic("refuse")["message"]
    assert (message["stop_reason"], message["content"]) == ("refusal", [])
    assert message["stop_details"]["type"] == "refusal"
    late = ask_anthropic("refuse-late")["message"]
    assert late["content"]
    assert late["stop_details"] is None


def test_early_refusals_of_anthropic_are_not_billed(sim, ask_anthropic):
    """Mid-output they are."""
    ask_anthropic("refuse")
    ask_anthropic("refuse-late")
    assert [entry.billed for entry in sim.ledger().entries] == [False, True]


def test_truncation_by_marker_and_by_the_limit(ask_openai, ask_anthropic):
    """The status says it, the text is cut, and no more tokens are billed than the maximum."""
    for line in (ask_openai("truncate"), ask_openai("output=1", max_output_tokens=3)):
        body = line["response"]["body"]
        assert body["incomplete_details"] == {"reason": "max_output_tokens"}
        with pytest.raises(json.JSONDecodeError):
            json.loads(_text(line))
    cut = ask_openai("x", chat_body, "/v1/chat/completions", max_completion_tokens=3)
    assert cut["response"]["body"]["choices"][0]["finish_reason"] == "length"
    assert cut["response"]["body"]["usage"]["completion_tokens"] == 3
    assert ask_anthropic("truncate")["message"]["stop_reason"] == "max_tokens"
    short = ask_anthropic("x", max_tokens=4)["message"]
    assert (short["stop_reason"], short["usage"]["output_tokens"]) == ("max_tokens", 4)
    assert ask_anthropic("window")["message"]["stop_reason"] == "model_context_window_exceeded"


def test_content_filter(ask_openai):
    """A reason of its own in both OpenAI APIs."""
    body = ask_openai("filter")["response"]["body"]
    assert body["incomplete_details"]["reason"] == "content_filter"
    chat = ask_openai("filter", chat_body, "/v1/chat/completions")["response"]["body"]
    assert chat["choices"][0]["finish_reason"] == "content_filter"


@pytest.mark.parametrize("status", [400, 401, 403, 404, 413, 429, 500, 503])
def test_statuses(ask_openai, ask_anthropic, status):
    """An error of that status; not billed."""
    line = ask_openai(str(status))
    assert line["response"]["status_code"] == status
    assert line["response"]["body"]["error"]["message"]
    assert ask_anthropic(str(status))["type"] == "errored"


def test_failed_and_empty_inside_a_200(ask_openai, ask_anthropic):
    """A Responses line can be a 200 and still be nothing."""
    line = ask_openai("failed")
    assert (line["response"]["status_code"], line["response"]["body"]["status"]) == (200, "failed")
    assert ask_openai("empty")["response"]["body"] == {}
    assert ask_anthropic("empty")["message"]["content"] == []
    assert _said(ask_anthropic("blank")) == ""


def test_answers_that_break_the_schema(ask_openai, ask_anthropic):
    """No JSON, a wrong type, a missing field, the other case, an extra field."""
    for name, read in (
        (ask_openai, _text),
        (ask_anthropic, _said),
    ):
        with pytest.raises(json.JSONDecodeError):
            json.loads(read(name("badjson")))
        assert json.loads(read(name("wrongtype")))["name"] == {"unexpected": True}
        assert "name" not in json.loads(read(name("missingfield")))
        assert json.loads(read(name("wrongcase")))["kind"] == "lIBRARY"
        assert json.loads(read(name("extra")))["unasked"] == "extra"
        assert "\u2028" in read(name("separators"))
        assert read(name("say=hello there")) == "hello there"


def test_unknown_variants(ask_openai, ask_anthropic):
    """Blocks, items and types that no client knows yet."""
    assert ask_openai("unknown-block")["response"]["body"]["output"][0]["type"] == "dream"
    assert ask_openai("unknown-type")["response"]["body"]["status"] == "paused"
    assert ask_anthropic("unknown-block")["message"]["content"][0]["type"] == "dream"
    assert ask_anthropic("pause")["message"]["stop_reason"] == "pause_turn"
    assert ask_anthropic("unknown-type")["type"] == "paused"


def test_usage_can_be_set(ask_openai, ask_anthropic):
    """Reasoning, cached and billed output tokens."""
    usage = ask_openai("reasoning=40")["response"]["body"]["usage"]
    assert usage["output_tokens_details"]["reasoning_tokens"] == 40
    assert usage["output_tokens"] > 40
    usage = ask_openai("cached=7")["response"]["body"]["usage"]
    assert usage["input_tokens_details"]["cached_tokens"] == 7
    usage = ask_anthropic("cached=7")["message"]["usage"]
    assert usage["cache_read_input_tokens"] == 7
    assert ask_openai("output=99")["response"]["body"]["usage"]["output_tokens"] == 99


def _raw(sim, oai, marker):
    batch = submit(oai, [response_body(document(1, f"[[sim:{marker}]]")), response_body("y")])
    sim.advance(3_600)
    done = oai.batches.retrieve(batch.id)
    return oai.files.content(done.output_file_id).content.split(b"\n")


def test_result_lines_can_be_spoilt(start, talk):
    """Each line fault does what it says, to its own line only."""
    sim = start(shuffle=False)
    oai = talk(sim)
    assert len(_raw(sim, oai, "missing")) == 2
    one, two, *_ = _raw(sim, oai, "duplicate")
    assert one == two
    assert json.loads(_raw(sim, oai, "stranger")[1])["custom_id"] == "stranger-r0"
    with pytest.raises(json.JSONDecodeError):
        json.loads(_raw(sim, oai, "garbled")[0])
    with pytest.raises(UnicodeDecodeError):
        _raw(sim, oai, "utf8")[0].decode()
    assert _raw(sim, oai, "blankline")[1] == b""
    assert _raw(sim, oai, "crlf")[0].endswith(b"\r")


def test_a_marker_may_hold_for_the_first_times_only(sim, oai):
    """`*1` fails the first execution of that prompt; the next is answered."""
    body = response_body("Name: again [[sim:500*1]]")
    for status in (500, 200):
        batch = submit(oai, [body])
        sim.advance(3_600)
        oai.batches.retrieve(batch.id)
        assert results(oai, batch.id)["r0"]["response"]["status_code"] == status


def test_real_time_errors_are_raised_by_the_sdks(oai, ant):
    """The same markers work on the real-time endpoints."""
    with pytest.raises(openai.InternalServerError):
        oai.responses.create(model=MODEL, input="[[sim:500]]")
    message = [{"role": "user", "content": "[[sim:529]]"}]
    with pytest.raises(anthropic.APIStatusError) as caught:
        ant.messages.create(model=CLAUDE, max_tokens=5, messages=message)
    assert caught.value.status_code == 529


def test_a_rule_decides_before_the_markers(start, talk):
    """It sees the request and returns an outcome, or None."""
    seen: list[Asked] = []

    def rule(asked: Asked) -> Outcome | None:
        seen.append(asked)
        return Outcome(answer={"name": "ruled"}) if asked.custom_id == "r1" else None

    sim = start(rule=rule, instant=True)
    client = talk(sim)
    batch = submit(client, [response_body(document(0)), response_body(document(1))])
    found = results(client, batch.id)
    assert json.loads(_text(found["r1"])) == {"name": "ruled"}
    assert json.loads(_text(found["r0"]))["name"] == "thing 0"
    assert [asked.custom_id for asked in seen] == ["r0", "r1"]


def test_the_table_of_markers_is_whole():
    """Each has a line that says what it does."""
    assert all(MARKERS.values())
