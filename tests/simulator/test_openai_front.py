"""OpenAI's files and batches, as provider-facts 12.2 lists them, through the real SDK."""

from __future__ import annotations

import json
from typing import Any

import openai
import pytest
from openai.types import BatchRequestCounts

from tests.simulator.talking import (
    MODEL,
    chat_body,
    document,
    lines,
    response_body,
    results,
    submit,
    submit_raw,
)

DAY = 86_400


def test_batch_goes_through_its_states_with_timestamps(sim, oai):
    """validating, in_progress with live counts, finalizing, completed; file ids only at the end."""
    batch = submit(oai, [response_body(document(i)) for i in range(10)], metadata={"shard": "s1"})
    assert batch.status == "validating"
    assert batch.request_counts == BatchRequestCounts(completed=0, failed=0, total=0)
    assert batch.expires_at == batch.created_at + DAY
    seen: dict[str, Any] = {}
    for _ in range(800):
        sim.advance(1)
        now = oai.batches.retrieve(batch.id)
        seen.setdefault(now.status, now)
    assert list(seen) == ["validating", "in_progress", "finalizing", "completed"]
    assert seen["finalizing"].output_file_id is None
    done = oai.batches.retrieve(batch.id)
    assert (done.request_counts.total, done.request_counts.completed) == (10, 10)
    assert done.in_progress_at < done.finalizing_at < done.completed_at
    assert (done.model, done.metadata) == (f"{MODEL}-2026-03-05", {"shard": "s1"})
    assert done.usage.total_tokens == done.usage.input_tokens + done.usage.output_tokens > 0


def test_counts_are_live_while_it_runs(sim, oai):
    """Half of the time is half of the requests."""
    batch = submit(oai, [response_body(document(i)) for i in range(10)])
    plan = sim.office.course(sim.office.world.batches[batch.id])
    sim.advance((plan.starts_at + plan.stops_at) / 2 - sim.now() + 0.1)
    assert oai.batches.retrieve(batch.id).request_counts.completed == 5


def test_answers_come_from_the_document_in_both_apis(sim, oai):
    """Labelled fields are found; the enum is one of its values."""
    for url, body in (("/v1/responses", response_body), ("/v1/chat/completions", chat_body)):
        batch = submit(oai, [body(document(i)) for i in range(3)], url)
        sim.advance(3_600)
        for custom_id, line in results(oai, batch.id).items():
            made = line["response"]["body"]
            text = (
                made["output"][0]["content"][0]["text"]
                if "output" in made
                else made["choices"][0]["message"]["content"]
            )
            i = custom_id[1:]
            wanted = {"name": f"thing {i}", "version": f"{i}.0", "kind": "Library"}
            assert json.loads(text) == wanted


def test_upload_refuses_a_name_that_is_not_jsonl(oai):
    """Raw bytes go out as `upload`, which the Batch API does not take."""
    with pytest.raises(openai.BadRequestError, match=r"Must be \.jsonl"):
        oai.files.create(file=b"{}", purpose="batch")


def test_upload_takes_malformed_lines_and_expiry(sim, oai):
    """Lines are looked at in the validating phase only."""
    expiry = {"anchor": "created_at", "seconds": 3_600}
    file = oai.files.create(file=("x.jsonl", b"nonsense"), purpose="batch", expires_after=expiry)
    assert (file.status, file.expires_at - file.created_at) == ("processed", 3_600)
    assert oai.files.content(file.id).content == b"nonsense"
    sim.advance(3_601)
    with pytest.raises(openai.NotFoundError):
        oai.files.content(file.id)


def test_batch_files_live_thirty_days_unless_told(oai):
    """`expires_at - created_at` is 30 days for purpose batch, null for user data."""
    file = oai.files.create(file=("x.jsonl", b"{}"), purpose="batch")
    assert file.expires_at - file.created_at == 2_592_000
    assert oai.files.create(file=("x.txt", b"text"), purpose="user_data").expires_at is None


def test_files_list_with_paging_order_and_purpose_and_delete(oai):
    """Newest first, pages by `after`, deleted ones are gone."""
    files = [oai.files.create(file=(f"{i}.jsonl", b"{}"), purpose="batch").id for i in range(5)]
    oai.files.create(file=("u.txt", b"x"), purpose="user_data")
    assert [f.id for f in oai.files.list(purpose="batch", limit=2)] == files[::-1]
    assert [f.id for f in oai.files.list(purpose="batch", order="asc")] == files
    assert oai.files.delete(files[0]).deleted
    with pytest.raises(openai.NotFoundError):
        oai.files.retrieve(files[0])
    assert len(list(oai.files.list())) == 5


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"input_file_id": "file-nope"}, "no such file"),
        ({"endpoint": "/v1/nope"}, "Invalid value"),
        ({"completion_window": "48h"}, "24h"),
        ({"metadata": {str(i): "x" for i in range(17)}}, "at most 16"),
        ({"metadata": {"k" * 65: "x"}}, "too long"),
        ({"metadata": {"k": "x" * 513}}, "too long"),
        ({"output_expires_after": {"anchor": "created_at", "seconds": 1}}, "output_expires_after"),
    ],
)
def test_create_refuses_at_once(oai, change, said):
    """What O3 lists is a 400 and makes no batch."""
    file = oai.files.create(file=("x.jsonl", lines([response_body("a")])), purpose="batch")
    asked = {"input_file_id": file.id, "endpoint": "/v1/responses", "completion_window": "24h"}
    with pytest.raises(openai.BadRequestError, match=said):
        oai.batches.create(**{**asked, **change})
    assert not list(oai.batches.list())


def test_create_refuses_a_file_of_another_purpose_or_a_deleted_one(oai):
    """The input must be a live batch file: deleting it stops a create that is still under way."""
    asked = {"endpoint": "/v1/responses", "completion_window": "24h"}
    other = oai.files.create(file=("x.jsonl", b"{}"), purpose="user_data")
    with pytest.raises(openai.BadRequestError, match="purpose"):
        oai.batches.create(input_file_id=other.id, **asked)
    file = oai.files.create(file=("x.jsonl", lines([response_body("a")])), purpose="batch")
    oai.files.delete(file.id)
    with pytest.raises(openai.BadRequestError, match="no such file"):
        oai.batches.create(input_file_id=file.id, **asked)


def test_creates_are_limited_per_hour(start, talk):
    """The one above the limit is a 429; an hour later it goes."""
    sim = start(creates_per_hour=2)
    client = talk(sim)
    for _ in range(2):
        submit(client, [response_body("a")])
    with pytest.raises(openai.RateLimitError):
        submit(client, [response_body("a")])
    sim.advance(3_601)
    submit(client, [response_body("a")])


def _line(**change):
    line = {"custom_id": "a", "method": "POST", "url": "/v1/responses", "body": response_body("x")}
    return json.dumps({**line, **change}).encode() + b"\n"


@pytest.mark.parametrize(
    ("data", "found"),
    [
        (b"", [("empty_file", None)]),
        (_line() + b"{oops\n", [("invalid_json_line", 2)]),
        (_line() + _line(), [("duplicate_custom_id", 2)]),
        (_line(url="/v1/embeddings"), [("url_mismatch", 1)]),
        (
            _line() + _line(custom_id="b", body={"model": "gpt-5-mini", "input": "x"}),
            [("model_mismatch", 2)],
        ),
        (_line(body={"model": "nope", "input": "x"}), [("model_not_found", 1)]),
        (_line(method=None), [("missing_required_parameter", 1)]),
        (b"x\n" + _line() + _line(), [("invalid_json_line", 1), ("duplicate_custom_id", 3)]),
    ],
)
def test_validation_fails_the_batch_as_a_whole(sim, oai, data, found):
    """Problems come with the code and the line, several at once; nothing runs."""
    batch = submit_raw(oai, data)
    assert batch.status == "validating"
    sim.advance(10)
    batch = oai.batches.retrieve(batch.id)
    assert (batch.status, batch.failed_at is not None) == ("failed", True)
    assert [(e.code, e.line) for e in batch.errors.data] == found
    assert not any(entry.executed for entry in sim.ledger().entries)


def test_too_many_requests_fail_the_batch(start, talk):
    """More than the limit is `too_many_tasks`."""
    sim = start(openai_batch_requests=2)
    client = talk(sim)
    batch = submit(client, [response_body(str(i)) for i in range(3)])
    sim.advance(10)
    assert client.batches.retrieve(batch.id).errors.data[0].code == "too_many_tasks"


def test_token_queue_fails_the_second_batch_and_frees_at_the_end(start, talk):
    """The queue is per model; what waits fails asynchronously and goes when the first ended."""
    sim = start(enqueued_tokens={"gpt-6.1": 150})
    client = talk(sim)
    bodies = [response_body(document(1))]
    first, second = submit(client, bodies), submit(client, bodies)
    sim.advance(10)
    failed = client.batches.retrieve(second.id)
    assert failed.errors.data[0].code == "token_limit_exceeded"
    assert failed.errors.data[0].line is None
    assert client.batches.retrieve(first.id).status == "in_progress"
    sim.advance(3_600)
    third = submit(client, bodies)
    sim.advance(3_600)
    assert client.batches.retrieve(third.id).status == "completed"


def test_errors_stand_in_the_error_file(sim, oai):
    """A 4xx is in `response.body.error` with `error: null`; all failed means no output file."""
    batch = submit(oai, [response_body("x [[sim:400]]"), response_body("y [[sim:500]]")])
    sim.advance(3_600)
    done = oai.batches.retrieve(batch.id)
    assert (done.status, done.output_file_id) == ("completed", None)
    assert (done.request_counts.completed, done.request_counts.failed) == (0, 2)
    line = results(oai, batch.id)["r0"]
    assert (line["error"], line["response"]["status_code"]) == (None, 400)
    assert line["response"]["body"]["error"]["type"] == "invalid_request_error"


def test_error_file_id_may_be_the_empty_string(start, talk):
    """The live service was seen to say so on a clean batch."""
    sim = start(no_file_id="empty", instant=True)
    client = talk(sim)
    batch = submit(client, [response_body("x")])
    done = client.batches.retrieve(batch.id)
    assert (done.status, done.error_file_id) == ("completed", "")


def test_cancel_keeps_what_was_done(sim, oai):
    """cancelling for a while, then cancelled; unrun lines are no failures."""
    batch = submit(oai, [response_body(document(i)) for i in range(10)])
    plan = sim.office.course(sim.office.world.batches[batch.id])
    sim.advance((plan.starts_at + plan.stops_at) / 2 - sim.now() + 0.1)
    assert oai.batches.cancel(batch.id).status == "cancelling"
    assert oai.batches.retrieve(batch.id).output_file_id is None
    sim.advance(61)
    done = oai.batches.retrieve(batch.id)
    assert (done.status, done.cancelled_at is not None) == ("cancelled", True)
    counts = done.request_counts
    assert (counts.total, counts.completed, counts.failed) == (10, 5, 0)
    found = results(oai, batch.id)
    assert len(found) == 10
    unrun = [line for line in found.values() if line["response"] is None]
    assert {line["error"]["code"] for line in unrun} == {"batch_cancelled"}
    assert oai.batches.cancel(batch.id).status == "cancelled"
    assert sum(entry.billed for entry in sim.ledger().entries) == 5


def test_cancel_while_validating_runs_nothing(sim, oai):
    """A batch cancelled at once is billed nothing."""
    batch = submit(oai, [response_body(document(i)) for i in range(4)])
    oai.batches.cancel(batch.id)
    sim.advance(100)
    done = oai.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed) == ("cancelled", 0)
    assert not any(entry.executed for entry in sim.ledger().entries)


@pytest.mark.parametrize("status", [200, 400, 409])
def test_cancel_after_the_end_answers_as_configured(start, talk, status):
    """Nobody knows what the service says."""
    sim = start(cancel_after_end=status, instant=True)
    client = talk(sim)
    batch = submit(client, [response_body("x")])
    if status == 200:
        assert client.batches.cancel(batch.id).status == "completed"
        return
    with pytest.raises(openai.APIStatusError) as caught:
        client.batches.cancel(batch.id)
    assert caught.value.status_code == status


def test_expiry_keeps_partial_results(start, talk):
    """After 24 hours the rest is `batch_expired`; what ran is there and billed."""
    sim = start(batch_seconds=(2 * DAY, 2 * DAY))
    client = talk(sim)
    batch = submit(client, [response_body(document(i)) for i in range(10)])
    sim.advance(DAY + 10)
    done = client.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed, done.request_counts.failed) == (
        "expired",
        4,
        0,
    )
    codes = [x["error"]["code"] for x in results(client, batch.id).values() if x["error"]]
    assert codes == ["batch_expired"] * 6


def test_one_stuck_request_expires_alone(sim, oai):
    """`[[sim:expire]]` holds its batch to the window's end; the others are answered."""
    batch = submit(oai, [response_body("a"), response_body("b [[sim:expire]]"), response_body("c")])
    sim.advance(3_600)
    assert oai.batches.retrieve(batch.id).status == "in_progress"
    sim.advance(DAY)
    done = oai.batches.retrieve(batch.id)
    assert (done.status, done.request_counts.completed) == ("expired", 2)
    assert results(oai, batch.id)["r1"]["error"]["code"] == "batch_expired"


def test_results_and_batches_vanish_after_their_time(sim, oai):
    """Files after 30 days, or as told; the batch object later."""
    expiry = {"anchor": "created_at", "seconds": 3_600}
    short = submit(oai, [response_body("x")], output_expires_after=expiry)
    long = submit(oai, [response_body("y")])
    sim.advance(3_600)
    short, long = oai.batches.retrieve(short.id), oai.batches.retrieve(long.id)
    sim.advance(3_600)
    with pytest.raises(openai.NotFoundError):
        oai.files.content(short.output_file_id)
    assert oai.files.content(long.output_file_id).content
    sim.advance(31 * DAY)
    with pytest.raises(openai.NotFoundError):
        oai.files.content(long.output_file_id)
    assert oai.batches.retrieve(long.id).status == "completed"
    sim.advance(180 * DAY)
    with pytest.raises(openai.NotFoundError):
        oai.batches.retrieve(long.id)


def test_list_pages_newest_first(oai):
    """Pages by `after`, until `has_more` is false."""
    made = [submit(oai, [response_body(str(i))]).id for i in range(5)]
    assert [batch.id for batch in oai.batches.list(limit=2)] == made[::-1]


def test_list_lags_and_retrieve_flaps_if_told(start, talk):
    """A fresh batch may be missing from the listing and from retrieve for a while."""
    sim = start(list_lag_seconds=60, missing_after_create_seconds=30)
    client = talk(sim)
    batch = submit(client, [response_body("x")])
    assert not list(client.batches.list())
    with pytest.raises(openai.NotFoundError):
        client.batches.retrieve(batch.id)
    sim.advance(31)
    assert client.batches.retrieve(batch.id)
    sim.advance(30)
    assert [one.id for one in client.batches.list()] == [batch.id]


def test_keys_and_workspaces_are_told_apart(start, talk):
    """A wrong key is a 401; a key of another workspace sees nothing of the first."""
    sim = start(workspaces={"sk-other": "elsewhere"})
    batch = submit(talk(sim), [response_body("x")])
    with pytest.raises(openai.AuthenticationError) as caught:
        talk(sim, "sk-wrong").batches.list()
    assert caught.value.code == "invalid_api_key"
    assert caught.value.request_id
    assert not list(talk(sim, "sk-other").batches.list())
    assert talk(sim, "sk-second").batches.retrieve(batch.id)
    sim.revoke("sk-second")
    with pytest.raises(openai.AuthenticationError):
        talk(sim, "sk-second").batches.retrieve(batch.id)


def test_credit_may_run_out(sim, oai):
    """What costs is a 429 `insufficient_quota`; polling goes on."""
    sim.exhaust_credit()
    with pytest.raises(openai.RateLimitError) as caught:
        oai.responses.create(model=MODEL, input="x")
    assert caught.value.code == "insufficient_quota"
    assert not list(oai.batches.list())
    sim.restore_credit()
    assert oai.responses.create(model=MODEL, input="x").output_text


def test_embeddings_and_unknown_models(sim, oai):
    """Embeddings are unit vectors of the text; a model nobody knows is a 404."""
    one, two = oai.embeddings.create(
        model="text-embedding-3-small", input=["a", "b"], encoding_format="float"
    ).data
    assert one.embedding != two.embedding
    assert sum(x * x for x in one.embedding) == pytest.approx(1)
    with pytest.raises(openai.NotFoundError) as caught:
        oai.responses.create(model="nope-1", input="x")
    assert caught.value.code == "model_not_found"


def test_input_tokens_are_those_of_the_answer(oai):
    """The count is free and equals what the call reports."""
    body = response_body(document(1))
    counted = oai.responses.input_tokens.count(**body)
    assert counted.input_tokens == oai.responses.create(**body).usage.input_tokens


def test_dates_are_simulated(sim, oai):
    """The Date header follows the virtual clock."""
    sim.advance(3_600)
    raw = oai.batches.with_raw_response.list()
    assert raw.headers["date"] == "Sun, 01 Nov 2026 01:00:00 GMT"
