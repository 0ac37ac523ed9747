"""Whole runs against a provider in memory, on both databases."""

from __future__ import annotations

import threading
from datetime import timedelta
from typing import Any

import pytest

from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import Errored, Succeeded, Usage
from batchkit.testing import Course
from tests.engine.conftest import MakeNight
from tests.engine.nights import Night


def test_every_job_ends_with_one_answer(night: Night) -> None:
    night.start(45, items_per_batch=10)
    assert night.drive() == "done"
    assert (night.run.completed, night.run.failed, night.run.total) == (45, 0, 45)
    assert len(night.fake.refs) == 5
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_answers_are_read_in_the_order_of_completion_without_a_gap(night: Night) -> None:
    night.start(25, items_per_batch=5, max_parallel_batches=2)
    night.drive()
    cursors = [(a.collected_no, a.seq) for a in night.answers()]
    assert cursors == sorted(cursors)
    assert [a.seq for a in night.answers()] == list(range(25))


def test_no_more_batches_are_in_flight_than_allowed(make_night: MakeNight) -> None:
    night = make_night(course=Course(takes=timedelta(hours=1)))
    night.start(50, items_per_batch=5, max_parallel_batches=3)
    engine = night.engine()
    engine.tick([night.run_id])
    assert night.store.runs.live(night.run_id) == (15, 3)


def test_a_run_that_is_done_is_never_sent_again(night: Night) -> None:
    night.start(5)
    night.drive()
    before = dict(night.fake.calls)
    assert night.drive() == "done"
    assert dict(night.fake.calls) == before


LOST = ProviderUnavailable("the connection dropped", maybe=True)
NEVER = ProviderUnavailable("connection refused", maybe=False)


@pytest.mark.parametrize("metadata", [True, False], ids=["found by file", "found by count"])
@pytest.mark.parametrize("accepted", [True, False], ids=["accepted", "not accepted"])
@pytest.mark.parametrize(
    "error",
    [LOST, ProviderGarbled("half a body", maybe=True)],
    ids=["dropped", "garbled"],
)
def test_a_create_that_lost_its_answer_is_looked_up_and_bought_once(
    make_night: MakeNight, metadata: bool, accepted: bool, error: Exception
) -> None:
    night = make_night(metadata=metadata, stages=metadata)
    night.fake.fail("create", error, accept=accepted)
    night.start(10)
    assert night.drive() == "done"
    assert night.run.completed == 10
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_a_create_that_certainly_never_arrived_is_made_again(night: Night) -> None:
    night.fake.fail("create", NEVER, times=3)
    night.start(10)
    assert night.drive() == "done"
    assert night.fake.calls["find"] == 1  # for the provider's time, before the first create
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_a_listing_that_lags_does_not_make_a_second_batch(make_night: MakeNight) -> None:
    night = make_night(lag=timedelta(seconds=90))
    night.fake.fail("create", LOST, accept=True)
    night.start(10)
    assert night.drive() == "done"
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_a_strangers_batch_is_given_back_and_ours_is_found(make_night: MakeNight) -> None:
    """A stranger with the same count at the same minute is adopted provisionally, then disowned."""
    night = make_night(metadata=False, stages=False)
    night.fake.fail("create", LOST, accept=True)
    theirs = night.fake.stranger(10, reason="completed")
    night.start(10)
    assert night.drive() == "done"
    assert night.run.completed == 10
    assert night.fake.ledger.bought_twice() == []
    assert night.fake.calls["cancel"] == 0
    assert theirs not in [b.ref for b in night.store.batches.of_run(night.run_id)]
    night.verify()


def test_an_expired_batch_keeps_what_was_answered_and_only_the_rest_goes_again(
    night: Night,
) -> None:
    night.fake.next(Course(reason="expired", done=0.9))
    night.start(10)
    assert night.drive() == "done"
    assert night.run.completed == 10
    assert [batch.count for batch in night.store.batches.of_run(night.run_id)] == [10, 1]
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_a_detach_in_the_middle_of_a_pass_sends_no_more_batches(night: Night) -> None:
    """Ctrl-C while the third of ten batches is created: the call in hand is the last one."""
    night.start(10, items_per_batch=1, max_parallel_batches=10)
    stop, create = threading.Event(), night.fake.create

    def third(*given: Any) -> Any:
        made = create(*given)
        if night.fake.calls["create"] == 3:
            stop.set()
        return made

    night.fake.create = third  # type: ignore[assignment,method-assign]
    night.engine().drive([night.run_id], stop=stop, once=True)
    assert night.fake.calls["create"] == 3
    assert night.drive() == "done"
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_an_expired_batch_that_lacks_the_line_of_a_request_that_ran_buys_nothing_twice(
    night: Night,
) -> None:
    night.fake.next(Course(reason="expired", done=0.9, missing={2}))
    night.start(10)
    assert night.drive() == "done"
    assert night.fake.ledger.bought_twice() == []
    ended = {answer.seq: answer.code for answer in night.answers() if answer.code}
    assert ended.pop(2) == "result_missing"
    assert set(ended.values()) <= {"result_missing"}
    night.verify()


def test_a_full_queue_sends_the_same_lines_later_and_counts_no_attempt(night: Night) -> None:
    night.fake.next(Course(reason="failed", queue_full=True, error_code="token_limit_exceeded"))
    night.start(10)
    assert night.drive() == "done"
    assert night.run.completed == 10
    assert [batch.attempt_no for batch in night.store.batches.of_run(night.run_id)] == [1]
    night.verify()


def test_a_batch_larger_than_the_learnt_queue_is_cut_smaller(night: Night) -> None:
    full = Course(
        reason="failed", queue_full=True, queue_limit=400, error_code="token_limit_exceeded"
    )
    night.fake.next(full)
    night.start(20)
    assert night.drive() == "done"
    assert night.run.completed == 20
    night.verify()


@pytest.mark.parametrize(
    ("course", "code"),
    [
        (Course(missing={2}, duplicated={1}, unknown=3), "result_missing"),
        (Course(unreadable={2}, duplicated={1}, unknown=3), "unreadable"),
    ],
)
def test_lines_that_are_missing_twice_or_strange_each_have_an_end(
    night: Night, course: Course, code: str
) -> None:
    night.fake.next(course)
    night.start(10)
    assert night.drive() == "done"
    ended = {answer.seq: answer for answer in night.answers()}
    assert ended[1].state == "completed"
    assert (ended[2].code, ended[2].cost) == (code, 1_000)
    assert night.run.completed == 9
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def test_an_outage_of_hours_changes_no_state(make_night: MakeNight) -> None:
    night = make_night(course=Course(takes=timedelta(hours=5)))
    night.fake.fail("poll", ProviderUnavailable("unreachable"), times=20)
    night.start(10)
    assert night.drive() == "done"
    assert night.run.completed == 10
    assert len(night.fake.refs) == 1
    night.verify()


def test_a_404_that_flaps_loses_nothing(night: Night) -> None:
    gone = ProviderRefused("no such batch", reason="not_found", status=404)
    night.fake.fail("poll", gone, times=4)
    night.fake.fail("download", gone, times=2)
    night.start(10)
    assert night.drive() == "done"
    assert night.run.completed == 10
    night.verify()


def test_a_revoked_key_leaves_the_jobs_pending_and_waits_for_a_person(night: Night) -> None:
    revoked = ProviderRefused("invalid api key", reason="account", status=401)
    night.fake.fail("create", revoked)
    night.start(10)
    assert night.drive() == "waiting"
    assert night.run.waiting_for == "account"
    assert "invalid api key" in str(night.run.waiting_detail)
    assert (night.run.completed, night.run.failed) == (0, 0)
    [account] = night.store.accounts.of_run(night.run_id)
    night.store.accounts.unblock(account.id)
    assert night.drive() == "done"
    assert night.fake.ledger.bought_twice() == []
    night.verify()


def _cut(line: dict[str, Any]) -> Succeeded:
    finish = "stop" if line["max_tokens"] >= 400 else "length"
    usage = Usage(input_tokens=10, output_tokens=line["max_tokens"])
    return Succeeded(line["custom_id"], "text", usage, "fake-1", finish)


def test_a_truncated_answer_goes_again_with_a_larger_max_tokens(make_night: MakeNight) -> None:
    night = make_night(answer=_cut)
    night.start(3)
    assert night.drive() == "done"
    assert night.run.completed == 3
    [answer, *_] = night.answers()
    assert answer.attempts == 3
    assert answer.output_tokens == 100 + 200 + 400
    assert answer.cost == (30 + 700) * 1_000
    assert night.run.spent == 3 * 730_000
    night.verify()


def test_a_document_that_never_fits_is_not_sent_for_ever(make_night: MakeNight) -> None:
    def never(line: dict[str, Any]) -> Succeeded:
        return Succeeded(line["custom_id"], "x", Usage(1, 1), "fake-1", "length")

    night = make_night(answer=never)
    night.start(1, max_attempts=10)
    night.drive()
    assert night.answers()[0].code == "truncated"
    assert len(night.fake.refs) == 3


@pytest.mark.parametrize(
    ("kind", "code", "batches"),
    [
        ("invalid", "invalid_request", 1),
        ("content_filter", "content_filter", 1),
        ("server_error", "server_error", 3),
        ("overloaded", "overloaded", 3),
        ("rate_limited", "rate_limited", 3),
    ],
)
def test_a_failed_request_goes_again_only_where_that_can_help(
    make_night: MakeNight, kind: str, code: str, batches: int
) -> None:
    def fails(line: dict[str, Any]) -> Errored:
        return Errored(line["custom_id"], kind, "why", "the provider's words")

    night = make_night(answer=fails)
    night.start(2)
    assert night.drive() == "done"
    assert [answer.code for answer in night.answers()] == [code, code]
    assert len(night.fake.refs) == batches
    assert night.run.spent == 0
    night.verify()


def test_what_does_not_fit_the_budget_waits_and_goes_out_as_money_comes_back(
    night: Night,
) -> None:
    """Bounds are four times what is spent: the run goes in waves and finishes."""
    night.start(30, bound=400_000, limits={"cost_limit": 1_000_000})
    assert night.drive() == "done"
    assert night.run.completed == 30
    assert night.run.spent <= 1_000_000
    assert len(night.fake.refs) > 1
    night.verify()


def test_a_job_that_fits_no_more_waits_for_budget_and_says_what_it_needs(night: Night) -> None:
    night.start(30, bound=400_000, limits={"cost_limit": 300_000})
    assert night.drive() == "waiting"
    run = night.run
    assert run.waiting_for == "budget"
    assert "the cheapest of 23 jobs that wait needs $0.0001" in str(run.waiting_detail)
    assert run.spent + run.reserved <= 300_000
    night.store.runs.wake(night.run_id, night.clock.now(), {"cost_limit": 50_000_000})
    assert night.drive() == "done"
    assert night.run.completed == 30
    night.verify()


def test_the_time_limit_stops_sending_cancels_collects_and_ends_the_rest(
    make_night: MakeNight,
) -> None:
    night = make_night(course=Course(takes=timedelta(hours=5), done_at_cancel=0.5))
    night.start(20, items_per_batch=10, max_parallel_batches=1, limits={"time_limit_s": 3600.0})
    assert night.drive() == "done"
    assert night.run.completed == 5
    codes = {answer.code for answer in night.answers("cancelled")}
    assert codes == {"time_limit"}
    assert night.run.cancelled == 15
    night.verify()


def test_cancelling_keeps_what_was_answered(make_night: MakeNight) -> None:
    night = make_night(course=Course(takes=timedelta(hours=5), done_at_cancel=0.5))
    night.start(20, items_per_batch=10, max_parallel_batches=1)
    night.engine().tick([night.run_id])
    night.store.runs.request_cancel(night.run_id, night.clock.now())
    assert night.drive() == "done"
    assert (night.run.completed, night.run.cancelled) == (5, 15)
    night.verify()


def test_an_answer_that_does_not_fit_is_asked_for_again_with_the_reason(
    make_night: MakeNight,
) -> None:
    schema = _schema()

    def answer(line: dict[str, Any]) -> Any:
        return {"total": 1} if "not accepted" in line["prompt"] else {"total": "many"}

    night = make_night(answer=answer)
    night.start(2, template={"schema": schema})
    assert night.drive() == "done"
    assert night.run.completed == 2
    assert {a.attempts for a in night.answers()} == {2}
    night.verify()


def _schema() -> dict[str, Any]:
    from pydantic import BaseModel

    from batchkit.schemas import answer_schema

    class Invoice(BaseModel):
        total: int

    return answer_schema(Invoice, "openai").to_dict()


def test_a_mistake_that_repeats_is_not_paid_for_again_until_a_person_looked(
    make_night: MakeNight,
) -> None:
    """More than a tenth of the answers, and 20 at least, fail for one reason: review."""

    def answer(line: dict[str, Any]) -> Any:
        number = int(line["prompt"].split()[1])
        return {"total": "many"} if number < 30 else {"total": number}

    night = make_night(answer=answer)
    night.start(100, template={"schema": _schema()})
    assert night.drive() == "waiting"
    assert (night.run.completed, night.run.failed) == (70, 0)
    assert night.run.waiting_for == "review"
    assert "30 of 100 answers are invalid_output, such as doc-0000: " in str(
        night.run.waiting_detail
    )
    assert len(night.fake.refs) == 1
    night.store.runs.wake(night.run_id, night.clock.now(), reviewed=True)
    assert night.drive() == "done"
    assert (night.run.completed, night.run.failed) == (70, 30)
    night.verify()


def test_a_learnt_queue_below_the_smallest_job_stops_nothing(make_night: MakeNight) -> None:
    """Bounds are above the truth: an empty queue is offered one job all the same."""
    night = make_night()
    night.start(3)
    night.engine().tick([night.run_id])
    [account] = night.store.accounts.of_run(night.run_id)
    night.store.accounts.learn(account.id, "queue_requests", 0)
    assert night.drive() == "done"
    assert night.run.completed == 3


def test_uploads_that_are_answered_oddly_again_and_again_are_shown_to_a_person(
    night: Night,
) -> None:
    night.fake.fail("stage", ProviderGarbled("the server tells another size"), times=8)
    night.start(3)
    assert night.drive() == "waiting"
    assert night.run.waiting_for == "review"
    assert "the server tells another size" in str(night.run.waiting_detail)
    night.store.runs.wake(night.run_id, night.clock.now(), reviewed=True)
    assert night.drive() == "done"
    assert night.fake.ledger.bought_twice() == []


def test_a_batch_that_the_provider_turns_away_as_such_waits_for_a_person(night: Night) -> None:
    refused = ProviderRefused("completion_window: 24h is not offered", status=400)
    night.fake.fail("create", refused)
    night.start(3)
    assert night.drive() == "waiting"
    assert night.run.waiting_for == "review"
    assert (night.run.completed, night.run.failed) == (0, 0)
    night.store.runs.wake(night.run_id, night.clock.now(), reviewed=True)
    assert night.drive() == "done"
    night.verify()


def test_a_server_that_lists_no_batches_is_sent_to_all_the_same(make_night: MakeNight) -> None:
    night = make_night(metadata=False, stages=False)
    missing = ProviderRefused("no route GET /batches", reason="account", status=404)
    night.fake.fail("find", missing, times=99)
    night.start(3)
    assert night.drive() == "done"
    assert night.run.completed == 3
