"""Anthropic's batches and files, as provider-facts 12.3 lists them, through the real SDK."""

from __future__ import annotations

import json
from typing import Any
from urllib.request import Request, urlopen

import anthropic
import pytest

from tests.simulator.talking import CLAUDE, SCHEMA, document, error_of, outcomes, params, send

DAY = 86_400
OLD = {"anthropic-version": "2023-06-01"}


def test_batch_shows_nothing_until_it_ended(sim, ant):
    """All counters but `processing` are 0 until the end; then the sum is the same."""
    batch = send(ant, [params(document(i)) for i in range(4)])
    assert batch.expires_at.timestamp() - batch.created_at.timestamp() == DAY
    sim.advance(60)
    half = ant.messages.batches.retrieve(batch.id)
    assert half.processing_status == "in_progress"
    assert half.request_counts.to_dict() == {
        "processing": 4,
        "succeeded": 0,
        "errored": 0,
        "canceled": 0,
        "expired": 0,
    }
    assert (half.results_url, half.ended_at) == (None, None)
    sim.advance(3_600)
    done = ant.messages.batches.retrieve(batch.id)
    assert (done.processing_status, done.request_counts.succeeded) == ("ended", 4)
    assert done.results_url.startswith(sim.url)


def test_results_stream_with_structured_text(sim, ant):
    """One line per request, in another order; the text is JSON from the document."""
    batch = send(ant, [params(document(i)) for i in range(50)])
    sim.advance(3_600)
    found = outcomes(ant, batch.id)
    assert set(found) == {f"r{i}" for i in range(50)}
    assert list(found) != [f"r{i}" for i in range(50)]
    message = found["r7"]["message"]
    assert json.loads(message["content"][0]["text"])["name"] == "thing 7"
    assert (message["stop_reason"], message["usage"]["service_tier"]) == ("end_turn", "batch")


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (
            {"custom_id": "x" * 65, "params": {}},
            "requests.0.custom_id: String should have at most 64",
        ),
        ({"custom_id": "a b", "params": {}}, "should match pattern"),
        ({"custom_id": "a"}, "requests.0.params: Field required"),
        ({"params": {}}, "requests.0.custom_id: Field required"),
    ],
)
def test_envelope_errors_fail_the_create(ant, request_, said):
    """What is wrong around `params` is a 400 at once."""
    with pytest.raises(anthropic.BadRequestError, match=said):
        ant.messages.batches.create(requests=[request_])


def test_empty_and_duplicate_requests_fail_the_create(ant):
    """An empty list and a custom_id that stands twice are refused at once."""
    with pytest.raises(anthropic.BadRequestError, match="at least 1"):
        ant.messages.batches.create(requests=[])
    twice = [{"custom_id": "a", "params": params("x")}] * 2
    with pytest.raises(anthropic.BadRequestError, match="duplicate"):
        ant.messages.batches.create(requests=twice)
    assert not list(ant.messages.batches.list())


@pytest.mark.parametrize(
    "change",
    [
        {"model": "nope"},
        {"max_tokens": 0},
        {"messages": []},
        {"stream": True},
        {"speed": "fast"},
        {"store": True},
        {"cache_hint": {}},
        {"fallbacks": []},
        {"temperature": 1.0},
        {"top_p": 1},
        {"top_k": 5},
        {"billing_policy": {"bill_to": "user_profile"}},
    ],
)
def test_wrong_params_are_errored_at_the_end(sim, ant, change):
    """What is inside `params` is looked at asynchronously, and not billed."""
    batch = send(ant, [{**params("x"), **change}, params("y")])
    sim.advance(3_600)
    found = outcomes(ant, batch.id)
    assert found["r0"]["type"] == "errored"
    kind = "not_found_error" if "model" in change else "invalid_request_error"
    assert found["r0"]["error"]["error"]["type"] == kind
    assert found["r0"]["error"]["request_id"].startswith("req_")
    assert found["r1"]["type"] == "succeeded"
    assert [entry.billed for entry in sim.ledger().entries] == [False, True]


def test_sampling_is_allowed_with_the_old_version(sim, ant):
    """`temperature` is refused from version 2026-10-21 on only; `?beta=true` is accepted."""
    requests = [{"custom_id": "a", "params": {**params("x"), "temperature": 0.5}}]
    batch = ant.messages.batches.create(
        requests=requests, extra_headers=OLD, extra_query={"beta": "true"}
    )
    sim.advance(3_600)
    assert outcomes(ant, batch.id)["a"]["type"] == "succeeded"


def test_sampling_may_fail_the_create(start, chat):
    """Nobody knows whether the service refuses at once or per item: an option."""
    client = chat(start(sampling_refused="create"))
    with pytest.raises(anthropic.BadRequestError, match="temperature"):
        send(client, [{**params("x"), "temperature": 1.0}])


def test_both_ways_to_send_a_key_are_accepted(sim):
    """The SDK 2.x sends a bearer token, older ones `x-api-key`; no key is a 401."""
    for headers in ({"authorization": "Bearer k"}, {"x-api-key": "k"}):
        request = Request(f"{sim.url}/v1/messages/batches", headers={**OLD, **headers})
        with urlopen(request) as reply:
            assert json.load(reply)["data"] == []
            assert reply.headers["request-id"]


def test_a_wrong_key_is_a_401_in_the_dialect(sim, chat):
    """The body names the type and the request."""
    with pytest.raises(anthropic.AuthenticationError) as caught:
        chat(sim, "sk-invalid").messages.batches.list()
    assert error_of(caught.value)["type"] == "authentication_error"
    assert str(caught.value.request_id) in str(caught.value.body)


def test_cancel_mixes_succeeded_and_canceled(sim, ant):
    """canceling, then ended; what ran is billed."""
    batch = send(ant, [params(document(i)) for i in range(10)])
    sim.advance(sim.office.world.batches[batch.id].runs_for / 2 + 0.1)
    assert ant.messages.batches.cancel(batch.id).processing_status == "canceling"
    sim.advance(61)
    done = ant.messages.batches.retrieve(batch.id)
    assert done.processing_status == "ended"
    assert (done.request_counts.succeeded, done.request_counts.canceled) == (5, 5)
    kinds = [one["type"] for one in outcomes(ant, batch.id).values()]
    assert (kinds.count("succeeded"), kinds.count("canceled")) == (5, 5)


def test_expired_requests_are_expired_items(start, chat):
    """After 24 hours the batch ends with what ran."""
    sim = start(batch_seconds=(2 * DAY, 2 * DAY))
    client = chat(sim)
    batch = send(client, [params(document(i)) for i in range(10)])
    sim.advance(DAY + 1)
    done = client.messages.batches.retrieve(batch.id)
    assert (done.request_counts.succeeded, done.request_counts.expired) == (5, 5)


def test_results_are_archived_after_29_days(sim, ant):
    """Counted from the creation; the batch can still be seen."""
    batch = send(ant, [params("x")])
    sim.advance(29 * DAY - 1)
    assert outcomes(ant, batch.id)
    sim.advance(2)
    archived = ant.messages.batches.retrieve(batch.id)
    assert archived.archived_at is not None
    assert archived.results_url is None
    with pytest.raises(anthropic.AnthropicError):
        list(ant.messages.batches.results(batch.id))


@pytest.mark.parametrize("kind", ["absolute", "relative", "null", "foreign", "missing"])
def test_results_url_may_be_strange(start, chat, kind):
    """Absolute on this host by default; relative, null, of another host, or 404 if told."""
    sim = start(results_url=kind, instant=True)
    client = chat(sim)
    batch = send(client, [params("x")])
    url = client.messages.batches.retrieve(batch.id).results_url
    begin = {
        "absolute": sim.url,
        "relative": "/v1",
        "foreign": "http://results.invalid",
        "missing": sim.url,
    }
    assert url is None if kind == "null" else url.startswith(begin[kind])
    if kind in ("absolute", "relative"):
        assert outcomes(client, batch.id)
    if kind == "missing":
        with pytest.raises(anthropic.NotFoundError):
            outcomes(client, batch.id)


def test_delete_only_after_the_end(sim, ant):
    """A running batch stays; a deleted one is gone from the listing."""
    batch = send(ant, [params("x")])
    with pytest.raises(anthropic.BadRequestError):
        ant.messages.batches.delete(batch.id)
    sim.advance(3_600)
    assert ant.messages.batches.delete(batch.id).type == "message_batch_deleted"
    assert not list(ant.messages.batches.list())
    with pytest.raises(anthropic.NotFoundError):
        ant.messages.batches.retrieve(batch.id)


def test_list_pages_both_ways(ant):
    """Newest first; `after_id` and `before_id` end where `has_more` says."""
    made = [send(ant, [params(str(i))]).id for i in range(5)][::-1]
    assert [batch.id for batch in ant.messages.batches.list(limit=2)] == made
    newer = ant.messages.batches.list(limit=2, before_id=made[4])
    assert ([b.id for b in newer.data], newer.has_more) == (made[2:4], True)


def test_retrieve_may_flap(start, chat):
    """A 404 between good polls, as was seen on the real service."""
    client = chat(start(missing_every=2))
    batch = send(client, [params("x")])
    assert client.messages.batches.retrieve(batch.id)
    with pytest.raises(anthropic.NotFoundError):
        client.messages.batches.retrieve(batch.id)
    assert client.messages.batches.retrieve(batch.id)


def test_the_queue_counts_requests(start, chat):
    """What does not fit is a 429 at create; ended batches make room."""
    sim = start(queued_requests=3)
    client = chat(sim)
    send(client, [params("x"), params("y")])
    with pytest.raises(anthropic.RateLimitError):
        send(client, [params("x"), params("y")])
    sim.advance(3_600)
    assert send(client, [params("x"), params("y")])


def test_credit_may_run_out(sim, ant):
    """What costs is a 402."""
    sim.exhaust_credit()
    with pytest.raises(anthropic.APIStatusError) as caught:
        send(ant, [params("x")])
    assert caught.value.status_code == 402


@pytest.mark.parametrize("html", [False, True])
def test_a_body_too_large_is_a_413(start, chat, html):
    """Cloudflare's answer may not be JSON."""
    client = chat(start(anthropic_batch_bytes=1_000, html_413=html))
    with pytest.raises(anthropic.APIStatusError) as caught:
        send(client, [params("x" * 2_000)])
    assert caught.value.status_code == 413
    assert isinstance(caught.value.body, dict) is not html


def test_files_upload_list_expire_and_delete(sim, ant):
    """Multipart with `expires_in_seconds`, pages by `next_page`, no download of uploads."""
    files = [
        ant.files.upload(file=(f"{i}.txt", b"Name: filed\n", "text/plain")).id for i in range(3)
    ]
    assert [file.id for file in ant.files.list(limit=2)] == files[::-1]
    short = ant.files.upload(file=("s.txt", b"Name: short", "text/plain"), expires_in_seconds=3_600)
    assert short.size_bytes == 11
    with pytest.raises(anthropic.BadRequestError):
        ant.files.download(short.id)
    batch = send(
        ant,
        [
            params([{"type": "document", "source": {"type": "file", "file_id": one}}])
            for one in (short.id, files[0], "file_nope")
        ],
    )
    sim.advance(3_601)
    found = outcomes(ant, batch.id)
    assert json.loads(found["r1"]["message"]["content"][0]["text"])["name"] == "filed"
    assert found["r2"]["error"]["error"]["type"] == "not_found_error"
    with pytest.raises(anthropic.NotFoundError) as caught:
        ant.files.retrieve_metadata(short.id)
    assert error_of(caught.value)["details"]["error_code"] == "file_expired"
    ant.files.delete(files[0])
    assert [file.id for file in ant.files.list()] == files[:0:-1]


def test_an_expired_file_makes_its_request_errored(start, chat):
    """The file must outlive the batch."""
    sim = start(batch_seconds=(8_000, 8_000))
    client = chat(sim)
    short = client.files.upload(file=("s.txt", b"x", "text/plain"), expires_in_seconds=3_600)
    block = {"type": "document", "source": {"type": "file", "file_id": short.id}}
    batch = send(client, [params([block])])
    sim.advance(9_000)
    error = outcomes(client, batch.id)["r0"]["error"]["error"]
    assert error["details"]["error_code"] == "file_expired"


def test_count_tokens_is_what_the_message_reports(start, chat):
    """The estimate equals the usage; it has a rate limit of its own."""
    client = chat(start(counts_per_minute=1))
    body = params(document(1))
    counted = client.messages.count_tokens(**{k: v for k, v in body.items() if k != "max_tokens"})
    assert counted.input_tokens == client.messages.create(**body).usage.input_tokens
    with pytest.raises(anthropic.RateLimitError):
        client.messages.count_tokens(model=CLAUDE, messages=body["messages"])


def _cached(i: int, ttl: str) -> dict[str, Any]:
    system = [
        {
            "type": "text",
            "text": "Long rules. " * 600,
            "cache_control": {"type": "ephemeral", "ttl": ttl},
        }
    ]
    return params(document(i), system=system)


@pytest.mark.parametrize("ttl", ["5m", "1h"])
def test_requests_of_one_batch_do_not_see_each_others_cache(sim, ant, ttl):
    """All write: `input_tokens` leaves the cache out, the total is the same for all."""
    batch = send(ant, [_cached(i, ttl) for i in range(3)])
    sim.advance(700)
    for usage in _usages(ant, batch):
        assert usage["cache_creation"][f"ephemeral_{ttl}_input_tokens"] > 1_500
        assert usage["cache_read_input_tokens"] == 0


@pytest.mark.parametrize(("after", "reads"), [(100, True), (3_000, True), (3_700, False)])
def test_a_later_batch_reads_what_an_earlier_one_wrote_within_the_hour(sim, ant, after, reads):
    """Cold, a batch writes; one after it reads; when the hour is over it is cold again."""
    first = send(ant, [_cached(0, "1h")])
    sim.advance(700)
    (written,) = _usages(ant, first)
    sim.advance(after)
    second = send(ant, [_cached(i, "1h") for i in range(1, 4)])
    sim.advance(700)
    for usage in _usages(ant, second):
        wrote = written["cache_creation_input_tokens"]
        found = (usage["cache_read_input_tokens"], usage["cache_creation_input_tokens"])
        assert found == ((wrote, 0) if reads else (0, wrote))
    entries = sim.ledger().entries
    assert [(e.cached_tokens > 0, e.cache_write_tokens > 0) for e in entries] == [
        (False, True),
        *[(reads, not reads)] * 3,
    ]


def test_a_read_gives_the_entry_its_hour_again(sim, ant):
    """Three batches, each within an hour of the one before."""
    for number in range(3):
        batch = send(ant, [_cached(number, "1h")])
        sim.advance(2_500)
        assert bool(_usages(ant, batch)[0]["cache_read_input_tokens"]) is (number > 0)


def test_of_two_marks_the_longest_known_is_read_and_the_rest_written(sim, ant):
    """The rules are known, the document behind them is not: it alone is written."""
    first = send(ant, [_cached(0, "1h")])
    sim.advance(700)
    wrote = _usages(ant, first)[0]["cache_creation_input_tokens"]
    body = _cached(1, "1h")
    mark = {"cache_control": {"type": "ephemeral", "ttl": "1h"}}
    source = {"type": "text", "media_type": "text/plain", "data": "Long letter. " * 600}
    letter = {"type": "document", "source": source, **mark}
    body["messages"][0]["content"] = [letter, {"type": "text", "text": "Who wrote it?"}]
    second = send(ant, [body])
    sim.advance(700)
    usage = _usages(ant, second)[0]
    assert usage["cache_read_input_tokens"] == wrote
    assert usage["cache_creation"]["ephemeral_1h_input_tokens"] > 1_500
    assert usage["input_tokens"] < 120


def _usages(ant, batch) -> list[dict[str, Any]]:
    found = outcomes(ant, batch.id)
    return [found[name]["message"]["usage"] for name in sorted(found)]


def test_a_cache_may_miss(start, chat):
    """The hit rate is an option."""
    sim = start(cache_hit_rate=0.0, instant=True)
    client = chat(sim)
    batch = send(client, [_cached(i, "1h") for i in range(3)])
    for one in outcomes(client, batch.id).values():
        assert one["message"]["usage"]["cache_read_input_tokens"] == 0


TEXT = {
    "type": "text",
    "media_type": "text/plain",
    "data": "Sales rose by four percent. Costs fell a little bit.",
}
CUSTOM = {"type": "content", "content": [{"type": "text", "text": "First block of the content."}]}


def _cited(*sources: dict[str, Any], **more: object) -> dict[str, Any]:
    content = [
        {"type": "document", "source": source, "title": f"d{i}", "citations": {"enabled": True}}
        for i, source in enumerate(sources)
    ]
    content.append({"type": "text", "text": "What happened?"})
    return {
        "model": CLAUDE,
        "max_tokens": 500,
        "messages": [{"role": "user", "content": content}],
        **more,
    }


def test_citations_stand_in_the_documents(ant):
    """Several text blocks; each cited text is found at its indices."""
    message = ant.messages.create(**_cited(TEXT, CUSTOM))
    cited = [block.citations[0] for block in message.content if block.citations]
    assert len(message.content) > 3
    text, custom = cited
    span = TEXT["data"][text.start_char_index : text.end_char_index]
    assert (text.type, text.cited_text, text.document_index) == ("char_location", span, 0)
    assert (custom.type, custom.cited_text) == (
        "content_block_location",
        "First block of the content.",
    )
    assert (custom.start_block_index, custom.end_block_index, custom.document_title) == (0, 1, "d1")


def test_citations_and_structured_output_exclude_each_other(sim, ant):
    """The request is errored; so is one with citations on some documents only."""
    both = _cited(TEXT, output_config=params("x")["output_config"])
    some = _cited(TEXT, CUSTOM)
    del some["messages"][0]["content"][0]["citations"]
    batch = send(ant, [both, some])
    sim.advance(3_600)
    found = outcomes(ant, batch.id)
    assert {one["error"]["error"]["type"] for one in found.values()} == {"invalid_request_error"}


WORDS = (
    'Answer with JSON that fits this JSON Schema: {"type": "object", "properties": {"sales": '
    '{"type": "string"}, "share": {"type": "number"}, "told": {"type": "array", "items": '
    '{"type": "string"}}}, "required": ["sales", "share", "told"]}'
)
SALES = {**TEXT, "data": "Sales: two hats\nShare: 0.25 of all\nTold: Ann, Bob\n"}


def test_a_schema_in_the_system_s_words_is_answered_in_blocks_that_cite(ant):
    """They join to the JSON; each cited block's sentence holds its value."""
    message = ant.messages.create(**_cited(SALES, system=WORDS))
    answer = json.loads("".join(block.text for block in message.content))
    assert (answer["sales"], answer["share"], answer["told"]) == ("two hats", 0.25, ["Ann", "Bob"])
    cited = [block for block in message.content if block.citations]
    assert len(cited) == 4
    for block in cited:
        value = block.text.rpartition(":")[2].strip('"')
        assert value in block.citations[0].cited_text


def test_a_schema_in_the_system_s_words_is_answered_without_documents(ant, oai):
    """As a model would that reads it, whoever the provider is."""
    said = {"role": "user", "content": SALES["data"]}
    message = ant.messages.create(model=CLAUDE, max_tokens=500, system=WORDS, messages=[said])
    assert json.loads(message.content[0].text)["sales"] == "two hats"
    reply = oai.responses.create(model="gpt-6.1-sol", instructions=WORDS, input=SALES["data"])
    assert json.loads(reply.output_text)["sales"] == "two hats"


def test_wrong_citations_can_be_asked_for(ant):
    """They stand in the document, and their values do not stand in them."""
    message = ant.messages.create(
        **_cited({**SALES, "data": "[[sim:miscite]]\n" + SALES["data"]}, system=WORDS)
    )
    cited = [block for block in message.content if block.citations]
    assert cited
    assert all(
        "two hats" not in block.citations[0].cited_text
        for block in cited
        if "two hats" in block.text
    )


def test_a_forced_tool_is_answered_by_its_schema(ant):
    """tool_use with an input that fits."""
    tool = {"name": "take", "input_schema": SCHEMA, "strict": True}
    message = ant.messages.create(
        model=CLAUDE,
        max_tokens=500,
        tools=[tool],
        tool_choice={"type": "tool", "name": "take"},
        messages=[{"role": "user", "content": document(3)}],
    )
    assert message.stop_reason == "tool_use"
    assert message.content[0].input["version"] == "3.0"
