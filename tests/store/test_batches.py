"""Batches: each move lands once, from the right state, under the right lease, or not at all."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta, timezone
from typing import Any

import pytest

from batchkit import states
from batchkit.errors import IllegalMove
from batchkit.model import BatchState, Candidate, Created
from batchkit.store import Settled, Store
from batchkit.store.leases import LEASE
from tests.store.moves import MOVES
from tests.store.scenes import (
    ACCOUNT,
    LATER,
    ME,
    NOW,
    account,
    again,
    collected,
    draft,
    drive,
    dropped,
    jobs,
    lane_of,
    lease,
    opened,
    outcome,
    said,
    seal,
    sealed,
    settle,
    sound,
    states_of,
    taken,
)

WAYS: dict[BatchState, list[str]] = {
    BatchState.SEALED: [],
    BatchState.SUBMITTING: ["send"],
    BatchState.RUNNING: ["send", "accept"],
    BatchState.ENDED: ["send", "accept", "end"],
    BatchState.COLLECTED: ["send", "accept", "end", "collect"],
    BatchState.VOID: ["drop"],
    BatchState.ABANDONED: ["send", "accept", "abandon"],
}


def at(store: Store, state: BatchState) -> int:
    """A batch that was walked to a state, every job of it settled where it must be."""
    run = opened(store)
    batch = sealed(store, run)
    number = lease(store, batch)
    for name in WAYS[state]:
        if name in ("collect", "abandon"):
            settle(store, batch)
        assert MOVES[name][1](store, batch, number)
    assert store.batches.get(batch).status == state
    return batch


def test_every_legal_move_is_tried() -> None:
    """The table above names each move of the law."""
    assert {move.name for move, _ in MOVES.values()} == {move.name for move in states.MOVES}


@pytest.mark.parametrize("state", list(BatchState))
@pytest.mark.parametrize("name", list(MOVES))
def test_a_move_lands_from_its_sources_and_from_nowhere_else(
    store: Store, name: str, state: BatchState
) -> None:
    """A move from another state changes not one column; the books hold either way."""
    move, make = MOVES[name]
    batch = at(store, state)
    if state in (BatchState.ENDED, BatchState.RUNNING) and name in ("collect", "abandon"):
        settle(store, batch)
    number = lease(store, batch)
    before = store.batches.get(batch)
    landed = make(store, batch, number)
    after = store.batches.get(batch)
    assert landed == (state in move.sources)
    assert after.status == (move.target if landed else state)
    if not landed:
        assert after == before
    sound(store, before.run_id)


@pytest.mark.parametrize("name", list(MOVES))
def test_a_move_under_a_stale_lease_does_not_land(store: Store, name: str) -> None:
    """Somebody was paused, another took over: the first one can write nothing any more."""
    move, make = MOVES[name]
    batch = at(store, move.sources[0])
    if name in ("collect", "abandon"):
        settle(store, batch)
    old = lease(store, batch)
    new = store.leases.claim(batch, "other", NOW + LEASE)
    assert new == old + 1
    before = store.batches.get(batch)
    assert not make(store, batch, old)
    assert store.batches.get(batch) == before
    assert make(store, batch, new)


def test_a_move_writes_its_event_in_the_same_breath(store: Store) -> None:
    """The time line names each move once, with the provider's ref."""
    run = opened(store)
    batch = collected(store, sealed(store, run))
    rows = [row for row in store.events.of_run(run.id) if row["batch_id"] == batch.id]
    assert [row["action"] for row in rows] == ["sealed", "send", "accept", "end", "collect"]
    assert rows[-1]["detail"] == {
        "completed": 10,
        "failed": 0,
        "cancelled": 0,
        "again": 0,
        "ref": batch.ref,
    }
    assert store.runs.get(run.id).last_progress_at == NOW


# Leases.


def test_a_claim_holds_for_its_time_and_no_longer(store: Store) -> None:
    """Another owner gets None until then; the owner itself may renew."""
    run = opened(store)
    batch = sealed(store, run)
    first = lease(store, batch)
    assert store.leases.claim(batch, "other", NOW + LEASE - timedelta(seconds=1)) is None
    assert store.leases.claim(batch, ME, NOW) == first + 1
    assert store.leases.holds(batch, first + 1, ME)
    assert not store.leases.holds(batch, first, ME)
    assert store.leases.claim(batch, "other", NOW + LEASE) == first + 2
    assert not store.leases.holds(batch, first + 1, ME)


def test_what_is_let_go_is_free_at_once_and_only_its_holder_lets_it_go(store: Store) -> None:
    """A stale holder frees nobody else's claim."""
    run = opened(store)
    batch = sealed(store, run)
    old = lease(store, batch)
    new = store.leases.claim(batch, "other", NOW + LEASE)
    assert new is not None
    store.leases.let_go(batch, old)
    assert store.leases.holds(batch, new, "other")
    store.leases.let_go(batch, new)
    assert store.leases.claim(batch, "third", NOW) == new + 1


def test_lanes_are_claimed_like_batches(store: Store) -> None:
    """One cutter a lane at a time."""
    lane = lane_of(store, opened(store))
    number = store.leases.claim_lane(lane.id, ME, NOW)
    assert number is not None
    assert store.leases.claim_lane(lane.id, "other", NOW) is None
    store.leases.let_go_lane(lane.id, number)
    assert store.leases.claim_lane(lane.id, "other", NOW) == number + 1


# Seal: jobs, money and wishes in one statement each, or nothing.


def test_a_seal_takes_the_range_and_the_money(store: Store) -> None:
    """The cursor moves, the reservation is held by the batch and by the run."""
    run = opened(store, cost_limit=1_000)
    batch = store.batches.get(sealed(store, run, 0, 4))
    assert (batch.lo, batch.hi, batch.count, batch.reserved) == (0, 4, 4, 400)
    assert lane_of(store, run).cursor == 4
    assert sound(store, run).reserved == 400


def test_a_seal_fits_the_limit_to_the_last_nano(store: Store) -> None:
    """Exactly the limit goes; one more does not, and takes no job with it."""
    run = opened(store, cost_limit=1_000)
    sealed(store, run, 0, 9)
    lane = lane_of(store, run)
    assert store.batches.seal(seal(store, lane, 9, 10, reserved=101), NOW) is None
    assert lane_of(store, run) == lane
    assert store.batches.seal(seal(store, lane, 9, 10, reserved=100), NOW)
    assert sound(store, run).free == 0


@pytest.mark.parametrize("wish", ["draft", "cancelled", "deadline", "held", "live"])
def test_a_wish_forbids_a_seal(store: Store, wish: str) -> None:
    """The wishes are part of the guard: whoever comes later than the wish gets nothing."""
    extra: dict[str, Any] = {"deadline_at": NOW} if wish == "deadline" else {}
    run = draft(store, jobs(10), **extra) if wish == "draft" else opened(store, **extra)
    if wish == "cancelled":
        store.runs.request_cancel(run.id, NOW)
    if wish == "held":
        store.runs.hold(run.id, LATER, "quota", NOW)
    if wish == "live":
        sealed(store, run, 0, 1)
    lane = lane_of(store, run)
    asked = seal(store, lane, lane.cursor, lane.cursor + 1, max_live=1)
    assert store.batches.seal(asked, NOW) is None
    assert lane_of(store, run) == lane
    sound(store, run)


def test_a_range_is_sealed_once(store: Store) -> None:
    """Who read the cursor before somebody else moved it is too late."""
    run = opened(store)
    lane = lane_of(store, run)
    assert store.batches.seal(seal(store, lane, 0, 5), NOW)
    assert store.batches.seal(seal(store, lane, 0, 5), NOW) is None
    assert store.batches.seal(seal(store, lane, 5, 11), NOW) is None
    assert sound(store, run).reserved == 500


def test_a_token_is_used_once(store: Store) -> None:
    """The token is the batch's name in every custom_id."""
    run = opened(store)
    sealed(store, run, 0, 1, token="same")
    assert store.batches.seal(seal(store, lane_of(store, run), 1, 2, token="same"), NOW) is None


def test_a_seal_of_nothing_but_failures_makes_no_batch(store: Store) -> None:
    """Jobs whose files changed end at once; 0 says that the range is taken all the same."""
    run = opened(store, 2)
    failed = [Settled(n, 0, "failed", code="file_changed", ran=False) for n in (0, 1)]
    asked = seal(store, lane_of(store, run), 0, 2, count=0, failed=failed)
    assert store.batches.seal(asked, NOW) == 0
    assert sound(store, run).is_done
    assert store.runs.failed_by_code(run.id) == {"file_changed": 2}


def test_what_fails_or_is_away_at_the_seal_is_not_awaited_from_the_batch(store: Store) -> None:
    """The batch accounts for what went; files that are away are tried again later."""
    run = opened(store, 4)
    failed = [Settled(1, 0, "failed", code="file_changed", ran=False)]
    lane = lane_of(store, run)
    asked = seal(store, lane, 0, 4, count=2, failed=failed, absent=[2])
    batch = taken(store.batches.seal(asked, NOW))
    row = store.batches.get(batch)
    assert [job.seq for job in store.answers.unsettled(row)] == [0, 3]
    assert store.batches.waiting_members(run.id) == {"files": 1}
    sound(store, run)
    members = store.batches.free_members(lane.id, NOW, 10)
    second = taken(store.batches.seal(again(store, lane, members), NOW))
    assert [job.seq for job in store.answers.unsettled(store.batches.get(second))] == [2]
    collected(store, batch)
    collected(store, second)
    assert sound(store, run).is_done


def test_a_retry_that_fails_before_it_is_sent_is_not_offered_again(store: Store) -> None:
    """Its place in the queue goes with its end; one whose file is away keeps its place."""
    run = opened(store, 3)
    collected(store, sealed(store, run, 0, 3), "again")
    lane = lane_of(store, run)
    members = store.batches.free_members(lane.id, NOW, 10)
    failed = [Settled(0, 0, "failed", code="max_usd", ran=False)]
    asked = again(store, lane, members[2:], failed=failed, absent=[1], count=1)
    batch = taken(store.batches.seal(replace(asked, count=1), NOW))
    assert [m.seq for m in store.batches.members_of(batch)] == [2]
    (left,) = store.batches.free_members(lane.id, NOW, 10)
    assert (left.seq, left.attempt_no, left.reason) == (1, 2, "files")
    sound(store, run)
    collected(store, batch, attempt_no=2)
    collected(store, taken(store.batches.seal(again(store, lane, [left]), NOW)), attempt_no=2)
    assert sound(store, run).is_done


def test_members_are_taken_once(store: Store) -> None:
    """All of them or none: a job somebody else took leaves the others where they were."""
    run = opened(store, 3)
    collected(store, sealed(store, run, 0, 3), "again")
    lane = lane_of(store, run)
    members = store.batches.free_members(lane.id, NOW, 10)
    assert store.batches.seal(again(store, lane, members[:1]), NOW)
    assert store.batches.seal(again(store, lane, members), NOW) is None
    assert [m.seq for m in store.batches.free_members(lane.id, NOW, 10)] == [1, 2]
    sound(store, run)


# Sending.


def test_twins_of_one_size_are_not_unclear_at_once(store: Store) -> None:
    """Without metadata a lost create is found by its size: two of one size must wait."""
    run = opened(store)
    one, two = (sealed(store, run, n, n + 1, twin_guard=1) for n in (0, 1))
    other = sealed(store, run, 2, 4, twin_guard=2)
    assert store.batches.send(one, lease(store, one), NOW)
    assert not store.batches.send(two, lease(store, two), NOW)
    assert store.batches.get(two).status == BatchState.SEALED
    assert store.batches.send(other, lease(store, other), NOW)
    number = lease(store, one)
    assert store.batches.accept(one, number, Created("ref", NOW), NOW, NOW)
    assert store.batches.send(two, lease(store, two), NOW)


def test_a_stranger_cannot_be_given_back_while_a_twin_is_unclear(store: Store) -> None:
    """Two looks of one size would be mixed up: it says no and leaves everything as it is."""
    run = opened(store)
    one, two = (sealed(store, run, n, n + 1, twin_guard=1) for n in (0, 1))
    drive(store, one, BatchState.ENDED)
    assert store.batches.send(two, lease(store, two), NOW)
    number = lease(store, one)
    before = store.batches.get(one)
    assert not store.batches.disown(one, number, NOW)
    assert store.batches.get(one) == before


def test_a_strangers_batch_is_refused_for_good_and_looked_for_afresh(store: Store) -> None:
    """Its ref is remembered, nothing is booked, and looks from before prove nothing."""
    run = opened(store)
    batch = sealed(store, run)
    number = lease(store, batch)
    assert store.batches.send(batch, number, NOW)
    assert store.batches.looked(batch, number, NOW, LATER, complete=True)
    found = Candidate("theirs", "provisional", NOW)
    assert store.batches.accept(batch, number, found, NOW, NOW)
    assert store.batches.get(batch).proof == "provisional"
    assert store.batches.refs(account(store)) == {"theirs"}
    assert store.batches.end(batch, number, said("completed"), LATER, NOW)
    assert store.batches.disown(batch, number, NOW)
    row = store.batches.get(batch)
    assert (row.status, row.ref, row.proof) == (BatchState.SUBMITTING, None, None)
    assert (row.refused_refs, row.looks, row.looked_at) == (["theirs"], 0, None)
    assert sound(store, run).reserved == 1_000


def test_a_ref_belongs_to_one_batch(store: Store) -> None:
    """A look that finds what another batch has already accepted does not land."""
    run = opened(store)
    one, two = sealed(store, run, 0, 5), sealed(store, run, 5, 10)
    for batch, landed in ((one, True), (two, False)):
        number = lease(store, batch)
        assert store.batches.send(batch, number, NOW)
        receipt = Candidate("same", "certain", NOW)
        assert store.batches.accept(batch, number, receipt, NOW, NOW) == landed
    assert store.batches.get(two).status == BatchState.SUBMITTING


def test_an_uploaded_file_is_kept_or_forgotten_as_told(store: Store) -> None:
    """A create that certainly failed goes again with its file, unless that was deleted."""
    run = opened(store)
    batch = sealed(store, run)
    number = lease(store, batch)
    assert not store.batches.staged(batch, number, "file")
    assert store.batches.send(batch, number, NOW)
    assert store.batches.staged(batch, number, "file")
    assert not store.batches.staged(batch, number - 1, "other")
    assert store.batches.unsend(batch, number, NOW, keep_file=True, at=LATER)
    row = store.batches.get(batch)
    assert (row.file_ref, row.poll_at, row.intent_at, row.failures) == ("file", LATER, None, 1)
    assert store.batches.send(batch, number, NOW)
    assert store.batches.unsend(batch, number, NOW, keep_file=False, at=LATER)
    assert store.batches.get(batch).file_ref is None


def test_looks_are_counted_when_the_listing_was_complete(store: Store) -> None:
    """The first complete one is dated: two of them minutes apart let a batch go again."""
    run = opened(store)
    batch = sealed(store, run)
    number = lease(store, batch)
    assert store.batches.send(batch, number, NOW)
    assert store.batches.looked(batch, number, NOW, LATER, complete=False)
    assert (store.batches.get(batch).looks, store.batches.get(batch).looked_at) == (0, None)
    assert store.batches.looked(batch, number, NOW, LATER, complete=True)
    assert store.batches.looked(batch, number, LATER, LATER, complete=True)
    row = store.batches.get(batch)
    assert (row.looks, row.looked_at, row.poll_at) == (2, NOW, LATER)
    assert not store.batches.looked(batch, number - 1, LATER, LATER, complete=True)


def test_a_cancelled_batch_is_not_sent(store: Store) -> None:
    """The wish came between the seal and the send."""
    run = opened(store)
    batch = sealed(store, run)
    store.runs.request_cancel(run.id, NOW)
    assert not store.batches.send(batch, lease(store, batch), NOW)
    assert store.batches.get(batch).status == BatchState.SEALED


# What never ran is free again.


@pytest.mark.parametrize("name", ["drop", "refuse", "shrink"])
def test_a_void_batch_gives_money_and_jobs_back(store: Store, name: str) -> None:
    """They are sealed again, one by one, as the same attempt."""
    move, make = MOVES[name]
    run = opened(store, 3)
    batch = sealed(store, run, 0, 3)
    if move.sources != (BatchState.SEALED,):
        drive(store, batch, move.sources[0])
    assert make(store, batch, lease(store, batch))
    assert sound(store, run).reserved == 0
    assert store.batches.waiting_members(run.id) == {"recut": 3}
    lane = lane_of(store, run)
    members = store.batches.free_members(lane.id, NOW, 10)
    assert [(m.seq, m.attempt_no) for m in members] == [(0, 1), (1, 1), (2, 1)]
    for _ in range(2):
        second = taken(store.batches.seal(again(store, lane, members), NOW))
        assert store.batches.free_members(lane.id, NOW, 10) == []
        assert dropped(store, second)
        assert store.batches.free_members(lane.id, NOW, 10) == members
        sound(store, run)
    collected(store, taken(store.batches.seal(again(store, lane, members), NOW)))
    assert sound(store, run).is_done


def test_a_deferred_batch_keeps_jobs_money_and_file(store: Store) -> None:
    """The same lines go again later; the refused ref is nobody's."""
    run = opened(store)
    batch = sealed(store, run)
    number = lease(store, batch)
    assert store.batches.send(batch, number, NOW)
    assert store.batches.staged(batch, number, "file")
    assert store.batches.accept(batch, number, Created("ref", NOW), NOW, NOW)
    full = replace(said("failed", error_code="token_limit_exceeded"), queue_full=True)
    assert store.batches.defer(batch, number, full, NOW, LATER)
    row = store.batches.get(batch)
    assert (row.status, row.ref, row.file_ref, row.poll_at) == ("sealed", None, "file", LATER)
    assert (row.refused_refs, row.error_code) == (["ref"], "token_limit_exceeded")
    assert sound(store, run).reserved == 1_000


# Collecting.


def test_collecting_moves_the_money_once(store: Store) -> None:
    """Settled twice and collected twice is settled once and collected once."""
    run = opened(store)
    batch = sealed(store, run)
    drive(store, batch, BatchState.ENDED)
    row = store.batches.get(batch)
    for _ in range(2):
        store.answers.settle(row, [outcome(n) for n in range(10)])
        assert sound(store, run).spent == 0
    assert store.answers.settled_count(batch) == 10
    number = lease(store, batch)
    assert store.batches.collect(batch, number, NOW)
    once = sound(store, run)
    assert (once.spent, once.reserved, once.completed, once.collected_no) == (600, 0, 10, 1)
    store.answers.settle(row, [outcome(n, "failed", cost=99) for n in range(10)])
    assert not store.batches.collect(batch, number, NOW)
    assert not store.batches.collect(batch, lease(store, batch), LATER)
    assert sound(store, run) == once


def test_a_batch_is_not_collected_before_every_job_is_accounted_for(store: Store) -> None:
    """A job without an outcome would be lost for good: that is a bug, and says so."""
    run = opened(store)
    batch = sealed(store, run)
    row = drive(store, batch, BatchState.ENDED)
    store.answers.settle(row, [outcome(n) for n in range(9)])
    number = lease(store, batch)
    with pytest.raises(IllegalMove, match="10 jobs and 9 outcomes"):
        store.batches.collect(batch, number, NOW)
    assert store.batches.get(batch).status == BatchState.ENDED
    sound(store, run)


def test_what_goes_again_waits_with_its_changes(store: Store) -> None:
    """The next attempt's changes are released in the transaction that books this one."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 2)
    row = drive(store, batch, BatchState.ENDED)
    more = {"max_tokens": 200}
    store.answers.settle(row, [outcome(0), outcome(1, "again", code="truncated", changes=more)])
    assert store.batches.free_members(lane_of(store, run).id, NOW, 10) == []
    assert store.batches.collect(batch, lease(store, batch), NOW)
    (member,) = store.batches.free_members(lane_of(store, run).id, NOW, 10)
    assert (member.seq, member.attempt_no, member.changes) == (1, 2, more)
    assert member.reason == "truncated"
    now = sound(store, run)
    assert (now.completed, now.spent, now.is_done) == (1, 120, False)
    second = taken(store.batches.seal(again(store, lane_of(store, run), [member]), NOW))
    collected(store, second, attempt_no=2)
    (answer,) = store.answers.ended(run.id, keys=["j1"])
    assert (answer.cost, answer.input_tokens, answer.attempts) == (120, 14, 2)


def test_a_cancelled_retry_still_shows_what_its_attempts_cost(store: Store) -> None:
    """The sum over all attempts is the job's cost, however it ended."""
    run = opened(store, 1)
    collected(store, sealed(store, run, 0, 1), "again")
    store.runs.end_waiting(run.id, "cancelled", "a person said so", NOW)
    (answer,) = store.answers.ended(run.id)
    assert (answer.state, answer.cost, answer.attempts) == ("cancelled", 60, 1)
    sound(store, run)


def test_an_unknown_cost_stays_unknown(store: Store) -> None:
    """It is counted, never taken for zero."""
    run = opened(store, 2)
    collected(store, sealed(store, run, 0, 2), cost=None, cost_kind="bound")
    assert sound(store, run).cost_unknown == 2
    assert [answer.cost for answer in store.answers.ended(run.id)] == [None, None]


@pytest.mark.parametrize("state", [BatchState.RUNNING, BatchState.ENDED])
def test_abandoned_jobs_have_an_end_that_is_read(store: Store, state: BatchState) -> None:
    """Lost answers are booked at their worst and stand among the results."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 2)
    drive(store, batch, state)
    settle(store, batch, "failed", code="result_lost", cost=100, cost_kind="bound")
    assert store.batches.abandon(batch, lease(store, batch), NOW)
    now = sound(store, run)
    assert (now.failed, now.spent, now.reserved, now.is_done) == (2, 200, 0, True)
    assert [answer.code for answer in store.answers.ended(run.id)] == ["result_lost"] * 2
    assert store.audit.sums(run.id) == {"bound_attempts": 2, "bound_cost": 200}


def test_a_cost_above_its_reservation_stops_what_is_new(store: Store) -> None:
    """A bill is booked whatever it says; nothing more goes out until there is room."""
    run = opened(store, 3, cost_limit=300)
    collected(store, sealed(store, run, 0, 1), cost=250)
    assert sound(store, run).free == 50
    assert store.batches.seal(seal(store, lane_of(store, run), 1, 2), NOW) is None


# Looking.


def test_due_batches_come_when_their_time_has_come(store: Store) -> None:
    """Only the states that a step asks for, of its provider, the longest due first."""
    run = opened(store, 4)
    one, two, three = (sealed(store, run, n, n + 1) for n in range(3))
    drive(store, three, BatchState.RUNNING)
    number = lease(store, one)
    assert store.batches.later(one, number, LATER)
    due = store.batches.due
    assert [b.id for b in due([run.id], "fake", NOW, [BatchState.SEALED])] == [two]
    assert [b.id for b in due([run.id], "fake", LATER, [BatchState.SEALED])] == [two, one]
    assert [b.id for b in due([run.id], "fake", NOW, [BatchState.RUNNING])] == [three]
    assert due([run.id], "other", LATER, list(BatchState)) == []
    assert due([], "fake", LATER, list(BatchState)) == []


def test_the_next_moment_is_the_earliest_of_live_batches(store: Store) -> None:
    """A closed batch wants no attention."""
    run = opened(store, 2)
    assert store.batches.next_at([run.id]) is None
    one, two = sealed(store, run, 0, 1), sealed(store, run, 1, 2)
    assert store.batches.later(two, lease(store, two), LATER)
    assert store.batches.next_at([run.id]) == NOW
    collected(store, one)
    assert store.batches.next_at([run.id]) == LATER
    assert store.batches.next_at([run.id], "fake") == LATER
    assert store.batches.next_at([run.id], "other") is None


def test_progress_is_written_down_without_a_move(store: Store) -> None:
    """An unknown expiry leaves the known one; any zone is stored as the same instant."""
    run = opened(store)
    batch = sealed(store, run)
    drive(store, batch, BatchState.RUNNING)
    number = lease(store, batch)
    east = datetime(2026, 11, 22, 0, tzinfo=timezone(timedelta(hours=2)))
    progress = said(total=10, completed=4, failed=1, expires_at=east)
    assert store.batches.seen(batch, number, progress, LATER)
    assert store.batches.seen(batch, number, said(total=10, completed=5), LATER)
    row = store.batches.get(batch)
    assert (row.provider_total, row.provider_completed, row.poll_at) == (10, 5, LATER)
    assert row.expires_at == east
    assert not store.batches.seen(batch, number - 1, progress, LATER)
    assert store.batches.cancel_sent(batch, number, LATER)
    assert store.batches.get(batch).cancel_sent_at == LATER


def test_local_ends_are_no_batches_to_look_at(store: Store) -> None:
    """They exist for the books only."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 1)
    store.runs.end_waiting(run.id, "cancelled", "why", NOW)
    assert [row.id for row in store.batches.of_run(run.id)] == [batch]
    assert [row.id for row in store.batches.of_run(run.id, live=True)] == [batch]
    collected(store, batch)
    assert store.batches.of_run(run.id, live=True) == []
    assert states_of(store, run) == {"j0": "completed", "j1": "cancelled"}


def test_a_batch_knows_its_account(store: Store) -> None:
    """The account at hand is compared with the one that was sent on."""
    run = opened(store)
    row = store.batches.get(sealed(store, run))
    assert store.batches.account_of(row) == ACCOUNT
    assert store.batches.account_of(replace(row, account_id=None)) is None
