"""Rate limits in both dialects' headers, and money that has run out."""

from __future__ import annotations

from typing import Any

import anthropic
import openai
import pytest

from tests.simulator.talking import CLAUDE, MODEL, error_of, params, response_body, send, submit


def _said(headers, start):
    return {name: value for name, value in headers.items() if name.startswith(start)}


def test_openai_tells_live_numbers(start, talk):
    """Limits, what remains, and when it comes back; tokens of real-time calls count."""
    sim = start(requests_per_minute=10, tokens_per_minute=5_000)
    raw = talk(sim).with_raw_response
    one = _said(raw.batches.list().headers, "x-ratelimit-")
    sim.advance(15)
    reply = raw.responses.create(model=MODEL, input="hello")
    two = _said(reply.headers, "x-ratelimit-")
    assert one == {
        "x-ratelimit-limit-requests": "10",
        "x-ratelimit-remaining-requests": "9",
        "x-ratelimit-reset-requests": "1m0s",
        "x-ratelimit-limit-tokens": "5000",
        "x-ratelimit-remaining-tokens": "5000",
        "x-ratelimit-reset-tokens": "0ms",
    }
    assert two["x-ratelimit-remaining-requests"] == "8"
    assert two["x-ratelimit-reset-requests"] == "45s"
    used = reply.parse().usage.total_tokens
    assert two["x-ratelimit-remaining-tokens"] == str(5_000 - used)
    sim.advance(61)
    three = _said(raw.batches.list().headers, "x-ratelimit-")
    assert three == one


def test_anthropic_tells_live_numbers(start, chat):
    """Four rows, and times in RFC 3339."""
    sim = start(requests_per_minute=10, tokens_per_minute=5_000)
    raw = chat(sim).with_raw_response
    asked = [{"role": "user", "content": "hello"}]
    reply = raw.messages.create(model=CLAUDE, max_tokens=50, messages=asked)
    told, usage = _said(reply.headers, "anthropic-ratelimit-"), reply.parse().usage
    assert len(told) == 12
    assert told["anthropic-ratelimit-requests-remaining"] == "9"
    assert told["anthropic-ratelimit-input-tokens-remaining"] == str(5_000 - usage.input_tokens)
    assert told["anthropic-ratelimit-output-tokens-remaining"] == str(5_000 - usage.output_tokens)
    assert told["anthropic-ratelimit-requests-reset"] == "2026-11-01T00:01:00.000000Z"


def test_over_the_limit_says_when_to_come_back(start, talk, chat):
    """`retry-after` is the time until the first call falls out of the minute."""
    sim = start(requests_per_minute=2)
    client, other = talk(sim), chat(sim)
    asks: Any = (
        (client.batches.list, openai.RateLimitError),
        (other.messages.batches.list, anthropic.RateLimitError),
    )
    for ask, problem in asks:
        ask()
        sim.advance(20)
        ask()
        with pytest.raises(problem) as caught:
            ask()
        assert caught.value.response.headers["retry-after"] == "40"
        sim.advance(40)
        ask()


def test_tokens_have_a_limit_in_real_time(start, talk, chat):
    """What was used up refuses the next one."""
    sim = start(tokens_per_minute=10)
    client, other = talk(sim), chat(sim)
    asked = [{"role": "user", "content": "hello"}]
    client.responses.create(model=MODEL, input="hello")
    with pytest.raises(openai.RateLimitError):
        client.responses.create(model=MODEL, input="hello")
    other.messages.create(model=CLAUDE, max_tokens=50, messages=asked)
    with pytest.raises(anthropic.RateLimitError):
        other.messages.create(model=CLAUDE, max_tokens=50, messages=asked)


def test_a_spend_cap_refuses_what_costs(sim, oai, ant):
    """429 by its code and without `retry-after`, until it is lifted; looking costs nothing."""
    sim.cap_spend()
    with pytest.raises(anthropic.RateLimitError) as caught:
        send(ant, [params("x")])
    assert error_of(caught.value)["details"]["error_code"] == "enforced_spend_limit_reached"
    assert "retry-after" not in caught.value.response.headers
    with pytest.raises(openai.RateLimitError) as refused:
        submit(oai, [response_body("x")])
    assert refused.value.code == "billing_hard_limit_reached"
    assert "retry-after" not in refused.value.response.headers
    assert list(ant.messages.batches.list()) == []
    sim.lift_cap()
    assert send(ant, [params("x")]).id


def test_a_cap_outlives_the_simulator(start, chat):
    """It is the account's, not the process's."""
    first = start()
    first.cap_spend()
    first.stop()
    second = start(first.folder)
    with pytest.raises(anthropic.RateLimitError):
        send(chat(second), [params("x")])
