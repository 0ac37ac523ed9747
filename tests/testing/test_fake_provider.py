"""The provider in memory keeps the protocol, and does what it is told to."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from batchkit.errors import ProviderRefused, ProviderUnavailable
from batchkit.model import (
    BatchStatus,
    Errored,
    NotRun,
    Outcome,
    Request,
    Search,
    Spool,
    Succeeded,
    Unreadable,
    Window,
)
from batchkit.providers import Provider
from batchkit.schemas import answer_schema
from batchkit.testing import Course, Entry, FakeProvider, ManualClock

HOUR = timedelta(hours=1)


class Desk:
    """A provider with a folder for spools and results."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.folder = folder
        self.clock = ManualClock()
        self.fake = FakeProvider(clock=self.clock, **options)
        self.lines = 0

    def spool(self, count: int = 4, token: str = "mine", prompt: str = "say {}") -> Spool:
        lines = [
            self.fake.encode(Request("fake-1", 100, prompt=prompt.format(n)), f"{token}-{n}")
            for n in range(count)
        ]
        path = self.folder / f"{token}.jsonl"
        path.write_bytes(b"".join(line + b"\n" for line in lines))
        data = path.read_bytes()
        return Spool(
            path=path,
            token=token,
            count=count,
            bytes=len(data),
            sha256=hashlib.sha256(data).hexdigest(),
            model="fake-1",
            endpoint="/fake",
            batch_id=1,
            run_id=1,
        )

    def send(self, count: int = 4, **options: Any) -> str:
        spool = self.spool(count, **options)
        return self.fake.create(spool, self.fake.stage(spool)).ref

    def results(self, ref: str) -> list[Outcome]:
        return list(self.fake.outcomes(self.fake.download(ref, self.folder / ref)))

    def ended(self, count: int = 4) -> tuple[BatchStatus, list[Outcome]]:
        ref = self.send(count)
        return self.fake.poll(ref), self.results(ref)

    def find(self, spool: Spool, file_ref: str | None, known: tuple[str, ...] = ()) -> Search:
        now = self.clock.now()
        return self.fake.find(spool, file_ref, Window(now - HOUR, now + HOUR), known)


@pytest.fixture
def desk(tmp_path: Path) -> Desk:
    return Desk(tmp_path)


def kinds(outcomes: list[Outcome]) -> list[type[Outcome]]:
    return [type(one) for one in outcomes]


def test_it_is_a_provider() -> None:
    assert isinstance(FakeProvider(), Provider)


def test_two_names_are_two_accounts() -> None:
    one, other = FakeProvider("one").account(), FakeProvider("two").account()

    assert (one.provider, other.provider) == ("one", "two")
    assert one.fingerprint != other.fingerprint
    assert FakeProvider("one").account() == one


def test_a_batch_goes_from_upload_to_answers(desk: Desk) -> None:
    spool = desk.spool(2)
    file_ref = desk.fake.stage(spool)
    ref = desk.fake.create(spool, file_ref).ref
    status = desk.fake.poll(ref)

    assert (status.ended, status.reason, status.total, status.completed) == (
        True,
        "completed",
        2,
        2,
    )
    assert [one.text for one in desk.results(ref) if isinstance(one, Succeeded)] == [
        "say 0",
        "say 1",
    ]
    assert desk.fake.files == [file_ref]
    assert desk.fake.calls == {"stage": 1, "create": 1, "poll": 1, "download": 1}


def test_what_a_batch_cannot_do_is_told_before_it_is_sent() -> None:
    request = Request("fake-1", 10, prompt="a", params={"stream": True})

    assert FakeProvider().check(request) == ["stream: a batch cannot stream: leave it out."]
    assert FakeProvider().check(Request("fake-1", 10, prompt="a")) == []


def test_an_upload_can_be_deleted_and_then_nothing_is_created(desk: Desk) -> None:
    spool = desk.spool()
    file_ref = desk.fake.stage(spool)
    assert file_ref is not None
    desk.fake.unstage(file_ref)
    desk.fake.unstage(file_ref)

    with pytest.raises(ProviderRefused, match="no file") as caught:
        desk.fake.create(spool, file_ref)
    assert caught.value.reason == "not_found"
    assert desk.fake.files == []


def test_without_stages_create_takes_the_lines(tmp_path: Path) -> None:
    desk = Desk(tmp_path, stages=False)

    assert desk.fake.stage(desk.spool()) is None
    assert len(desk.ended(3)[1]) == 3


# What it answers.


@pytest.mark.parametrize(
    ("given", "text"),
    [
        ("a text", "a text"),
        ({"total": 1}, '{"total":1}'),
        ([1, 2], "[1,2]"),
        (None, "say 0"),
    ],
)
def test_an_answer_is_a_text_or_data_or_the_default(tmp_path: Path, given: Any, text: str) -> None:
    _, [outcome] = Desk(tmp_path, answer=lambda line: given).ended(1)

    assert isinstance(outcome, Succeeded)
    assert (outcome.text, outcome.custom_id) == (text, "mine-0")
    assert outcome.usage is not None
    assert outcome.usage.output_tokens > 0


@pytest.mark.parametrize(
    "given",
    [
        Errored("", "server_error", "500", "no"),
        NotRun("", "expired"),
        Succeeded("", "text", None, None, "length"),
    ],
    ids=lambda given: type(given).__name__,
)
def test_an_answer_may_be_an_outcome_and_gets_its_lines_id(tmp_path: Path, given: Outcome) -> None:
    _, [outcome] = Desk(tmp_path, answer=lambda line: given).ended(1)

    assert outcome == replace(given, custom_id="mine-0")


def test_the_answer_may_be_changed_on_the_way(desk: Desk) -> None:
    first = desk.send(1, token="first")
    desk.fake.poll(first)
    desk.fake.answer = lambda line: f"{line['prompt']}!"

    assert [one.text for one in desk.results(first) if isinstance(one, Succeeded)] == ["say 0!"]


def test_a_default_answer_fits_the_schema(desk: Desk) -> None:
    class Invoice(BaseModel):
        supplier: str
        total: float

    schema = answer_schema(Invoice, "openai").to_dict()
    outcome = desk.fake.ask(Request("fake-1", 100, prompt="Supplier: ACME", schema=schema))

    assert isinstance(outcome, Succeeded)
    assert outcome.text is not None
    assert Invoice.model_validate_json(outcome.text).supplier == "ACME"
    assert desk.fake.ledger.asked == 1


# How a batch goes.


def test_a_course_may_take_its_time(desk: Desk) -> None:
    desk.fake.next(Course(takes=HOUR))
    ref = desk.send()
    assert desk.fake.poll(ref).word == "in_progress"
    with pytest.raises(ProviderUnavailable, match="no results yet"):
        desk.results(ref)
    desk.clock.advance(HOUR)

    assert desk.fake.poll(ref).ended_at == desk.clock.now()


def test_a_course_may_end_at_a_later_poll(desk: Desk) -> None:
    desk.fake.next(Course(polls=3))
    ref = desk.send()

    assert [desk.fake.poll(ref).ended for _ in range(4)] == [False, False, True, True]


def test_a_course_is_for_one_batch_and_the_providers_for_the_others(tmp_path: Path) -> None:
    desk = Desk(tmp_path, course=Course(reason="expired"))
    desk.fake.next(Course(), Course(reason="failed"))
    reasons = [desk.fake.poll(desk.send(token=token)).reason for token in "abc"]

    assert reasons == ["completed", "failed", "expired"]


def test_an_expired_batch_has_run_in_part(desk: Desk) -> None:
    desk.fake.next(Course(reason="expired", done=0.5))
    status, outcomes = desk.ended(4)

    assert (status.reason, status.completed) == ("expired", 2)
    assert kinds(outcomes) == [Succeeded, Succeeded, NotRun, NotRun]
    assert outcomes[-1] == NotRun("mine-3", "expired")


def test_a_failed_batch_has_not_run_and_says_why(desk: Desk) -> None:
    desk.fake.next(Course(reason="failed", done=0.5, error_code="bad", error_message="line 1"))
    status, outcomes = desk.ended()

    assert (status.completed, status.error_code, status.error_message) == (0, "bad", "line 1")
    assert not status.queue_full
    assert outcomes == []


def test_a_cancelled_batch_has_run_in_part(desk: Desk) -> None:
    desk.fake.next(Course(takes=HOUR, done_at_cancel=0.25))
    ref = desk.send(4)
    desk.fake.cancel(ref)
    desk.fake.cancel(ref)
    status = desk.fake.poll(ref)

    assert (status.reason, status.completed) == ("cancelled", 1)
    assert desk.results(ref)[1:] == [NotRun(f"mine-{n}", "cancelled") for n in (1, 2, 3)]


def test_a_batch_may_not_heed_a_cancel(desk: Desk) -> None:
    desk.fake.next(Course(takes=HOUR, heeds_cancel=False))
    ref = desk.send()
    desk.fake.cancel(ref)
    assert desk.fake.poll(ref).word == "cancelling"
    desk.clock.advance(HOUR)

    assert desk.fake.poll(ref).reason == "completed"


def test_a_cancel_after_the_end_changes_nothing(desk: Desk) -> None:
    ref = desk.send()
    desk.fake.poll(ref)
    desk.fake.cancel(ref)

    assert desk.fake.poll(ref).reason == "completed"


def test_lines_may_be_missing_double_cut_and_strange(desk: Desk) -> None:
    desk.fake.next(Course(missing={0}, duplicated={1}, unreadable={2}, unknown=2))
    _, outcomes = desk.ended(4)

    assert kinds(outcomes) == [Succeeded, Succeeded, Unreadable, Succeeded, NotRun, NotRun]
    assert outcomes[0] == outcomes[1]
    assert [one.custom_id for one in outcomes] == [
        *("mine-1", "mine-1", None, "mine-3"),
        *("unknown-0", "unknown-1"),
    ]


def test_a_full_queue_is_a_failed_batch_that_may_go_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path, queue=5, course=Course(takes=HOUR))
    desk.send(4, token="a")
    full = desk.fake.poll(desk.send(4, token="b"))

    assert (full.reason, full.queue_full, full.queue_limit) == ("failed", True, 5)
    desk.clock.advance(HOUR)
    desk.fake.poll(desk.fake.refs[0])
    assert not desk.fake.poll(desk.send(4, token="c")).ended


def test_a_course_may_say_that_the_queue_is_full(desk: Desk) -> None:
    desk.fake.next(Course(reason="failed", queue_full=True, queue_limit=7))
    status, _ = desk.ended()

    assert (status.queue_full, status.queue_limit) == (True, 7)


# What goes wrong with calls.


def test_a_failed_call_does_nothing(desk: Desk) -> None:
    desk.fake.fail("create", ProviderUnavailable("away", maybe=True))
    with pytest.raises(ProviderUnavailable, match="away"):
        desk.send()
    assert desk.fake.refs == []

    assert desk.send() == desk.fake.refs[0]
    assert desk.fake.calls["create"] == 2


def test_an_accepted_call_is_done_and_only_its_answer_is_lost(desk: Desk) -> None:
    desk.fake.fail("create", ProviderUnavailable("dropped", maybe=True), accept=True)
    with pytest.raises(ProviderUnavailable, match="dropped"):
        desk.send()

    assert len(desk.fake.refs) == 1


def test_the_nth_call_fails_and_as_many_after_it(desk: Desk) -> None:
    ref = desk.send()
    desk.fake.fail("poll", ProviderUnavailable("away"), nth=2, times=2)
    heard: list[bool | None] = []
    for _ in range(4):
        try:
            heard.append(desk.fake.poll(ref).ended)
        except ProviderUnavailable:
            heard.append(None)

    assert heard == [True, None, None, True]


def test_faults_strike_one_after_the_other(desk: Desk) -> None:
    ref = desk.send()
    desk.fake.fail("poll", ProviderUnavailable("first"))
    desk.fake.fail("poll", ProviderUnavailable("second"))

    for word in ("first", "second"):
        with pytest.raises(ProviderUnavailable, match=word):
            desk.fake.poll(ref)
    assert desk.fake.poll(ref).ended


@pytest.mark.parametrize("call", ["poll", "download", "cancel"])
def test_a_forgotten_batch_is_not_found(desk: Desk, call: str) -> None:
    ref = desk.send()
    desk.fake.forget(ref)
    more = (desk.folder,) if call == "download" else ()

    with pytest.raises(ProviderRefused, match="no batch") as caught:
        getattr(desk.fake, call)(ref, *more)
    assert (caught.value.reason, caught.value.status) == ("not_found", 404)


# What the listing shows.


def test_with_metadata_a_lost_create_is_found_by_its_file_and_token(desk: Desk) -> None:
    spool, other = desk.spool(), desk.spool(token="other")
    file_ref = desk.fake.stage(spool)
    ref = desk.fake.create(spool, file_ref).ref

    assert [(c.ref, c.proof) for c in desk.find(spool, file_ref).candidates] == [(ref, "certain")]
    assert desk.find(spool, "another file").candidates == []
    assert desk.find(other, None).candidates == []
    assert desk.find(spool, file_ref, (ref,)).candidates == []


def test_without_metadata_it_is_found_by_count_and_time_and_proven_by_its_results(
    tmp_path: Path,
) -> None:
    desk = Desk(tmp_path, metadata=False, stages=False)
    theirs = desk.fake.stranger(4)
    desk.fake.stranger(5)
    desk.fake.stranger(4, at=desk.clock.now() - 5 * HOUR)
    spool = desk.spool()
    mine = desk.fake.create(spool, None).ref

    found = {c.ref: c.proof for c in desk.find(spool, None).candidates}
    assert found == {theirs: "provisional", mine: "provisional"}
    desk.fake.poll(mine)
    desk.fake.poll(theirs)
    assert {c.ref: c.proof for c in desk.find(spool, None).candidates} == {mine: "certain"}


def test_the_listing_lags(tmp_path: Path) -> None:
    desk = Desk(tmp_path, lag=timedelta(seconds=90))
    spool = desk.spool()
    desk.fake.create(spool, desk.fake.stage(spool))

    looked = desk.find(spool, None)
    assert (looked.candidates, looked.complete) == ([], True)
    desk.clock.advance(90)
    assert len(desk.find(spool, None).candidates) == 1


def test_a_listing_may_be_lost_in_the_middle(desk: Desk) -> None:
    desk.fake.incomplete_looks = 2

    assert [desk.find(desk.spool(), None).complete for _ in range(3)] == [False, False, True]


def test_a_stranger_may_have_ended_and_is_not_on_the_ledger(desk: Desk) -> None:
    ref = desk.fake.stranger(3, reason="completed")

    assert desk.fake.poll(ref).reason == "completed"
    assert {one.custom_id for one in desk.results(ref)} == {
        "stranger-0",
        "stranger-1",
        "stranger-2",
    }
    assert (desk.fake.refs, desk.fake.ledger.entries) == ([ref], [])


# The ledger.


def test_the_ledger_tells_what_waits_what_ran_and_what_did_not(desk: Desk) -> None:
    desk.fake.next(Course(reason="expired", done=0.5))
    ref = desk.send(2)
    assert [one.state for one in desk.fake.ledger.entries] == ["waiting", "waiting"]
    desk.fake.poll(ref)
    first, second = desk.fake.ledger.entries

    assert (first.state, second.state) == ("ran", "not_run")
    assert (first.ref, first.custom_id) == (ref, "mine-0")
    assert (desk.fake.ledger.ran("mine-0"), desk.fake.ledger.ran("mine-1")) == (1, 0)


def test_the_ledger_sees_what_is_bought_twice_under_whatever_id(desk: Desk) -> None:
    desk.send(2, token="a")
    assert desk.fake.ledger.bought_twice() == []
    desk.send(1, token="b")
    ledger = desk.fake.ledger

    assert sorted(ledger.by_body().values()) == [1, 2]
    assert len(ledger.bought_twice()) == 1


def test_what_did_not_run_was_not_bought(desk: Desk) -> None:
    desk.fake.next(Course(reason="expired"))
    desk.fake.poll(desk.send(2, token="a"))
    desk.send(2, token="b")

    assert desk.fake.ledger.bought_twice() == []


def test_a_body_is_the_line_without_its_id(desk: Desk) -> None:
    desk.send(1)
    [entry] = desk.fake.ledger.entries
    row = orjson.loads(desk.spool(1).path.read_bytes())
    row.pop("custom_id")

    assert entry == Entry(
        entry.ref, "mine-0", hashlib.sha256(orjson.dumps(row)).hexdigest(), "waiting"
    )


def test_batches_end_by_the_providers_clock(desk: Desk) -> None:
    desk.fake.next(Course(takes=HOUR))
    ref = desk.send()
    desk.clock.advance(2 * HOUR)
    status = desk.fake.poll(ref)

    assert status.created_at is not None
    assert status.expires_at == status.created_at + timedelta(hours=24)
    assert status.results_until == status.created_at + timedelta(days=30)
