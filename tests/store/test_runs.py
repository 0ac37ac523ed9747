"""Runs: drafts that nobody sees, opened once, closed when everything has ended."""

from __future__ import annotations

from datetime import timedelta

import pytest

from batchkit.errors import RunNotFoundError
from batchkit.model import BatchState
from batchkit.store import Settled, Store
from tests.store.scenes import (
    LATER,
    NOW,
    PROJECT,
    again,
    collected,
    draft,
    drive,
    dropped,
    job,
    jobs,
    lane_of,
    lease,
    opened,
    opening,
    outcome,
    places,
    seal,
    sealed,
    settle,
    sound,
    states_of,
    taken,
)


def test_a_run_is_made_once_however_often_it_is_asked_for(store: Store) -> None:
    """Making a run of a known project and name returns the one that is there."""
    first = store.runs.create(PROJECT, "night", {"a": 1}, NOW)
    second = store.runs.create(PROJECT, "night", {"a": 2}, LATER)
    assert second == first
    assert store.runs.create("other", "night", {}, NOW).id != first.id


def test_a_run_is_found_by_name_and_by_its_short_id(store: Store) -> None:
    """Both are what a person may type; another project's run is not found."""
    run = draft(store)
    assert store.runs.find(PROJECT, "night") == run
    assert store.runs.find(PROJECT, run.uid) == run
    assert store.runs.find("other", "night") is None


def test_a_name_goes_before_another_runs_id(store: Store) -> None:
    """A run may be named like another's id: the name is what its owner typed."""
    other = draft(store, name="other")
    run = draft(store, name=other.uid)
    assert store.runs.find(PROJECT, other.uid) == run


def test_a_removed_runs_id_is_never_given_away(store: Store) -> None:
    """A handle on a removed run finds nothing, not the next run."""
    run = opened(store)
    collected(store, sealed(store, run))
    store.runs.remove(run.id)
    with pytest.raises(RunNotFoundError):
        store.runs.get(run.id)
    assert opened(store, name="next").id != run.id
    assert store.runs.find(PROJECT, "night") is None


def test_a_draft_is_in_no_list_of_unfinished_runs(store: Store) -> None:
    """Nothing but opening a run lets a step see it."""
    run = draft(store, jobs(3))
    assert store.runs.unfinished(PROJECT) == []
    store.runs.open(run.id, opening(store, run.id), NOW)
    assert [one.id for one in store.runs.unfinished(PROJECT)] == [run.id]
    collected(store, sealed(store, run, 0, 3))
    assert store.runs.unfinished(PROJECT) == []


def test_unfinished_runs_come_by_priority_then_age(store: Store) -> None:
    """A later run of a higher priority goes first."""
    low = opened(store, name="low")
    high = opened(store, name="high", priority=5)
    also = opened(store, name="also")
    assert [run.id for run in store.runs.unfinished(PROJECT)] == [high.id, low.id, also.id]
    assert [run.id for run in store.runs.all(PROJECT)] == [also.id, high.id, low.id]
    assert [run.id for run in store.runs.all(None, 1)] == [also.id]


def test_a_run_that_expects_more_is_not_complete(store: Store) -> None:
    """Between two deliveries every job may have ended; the run has not."""
    run = opened(store, 2, expects_more=True)
    collected(store, sealed(store, run, 0, 2))
    now = sound(store, run)
    assert now.ended == 2
    assert now.finished_at is None
    assert not now.is_done
    assert [one.id for one in store.runs.unfinished(PROJECT)] == [run.id]


def test_opening_again_changes_nothing(store: Store) -> None:
    """A crash after the commit leads to the same call again."""
    run = draft(store, jobs(4))
    wanted = opening(store, run.id, dropped=[(lane_of(store, run).id, 3)])
    once = store.runs.open(run.id, wanted, NOW)
    twice = store.runs.open(run.id, wanted, LATER)
    assert (once.total, once.opened_at) == (3, NOW)
    assert (twice.total, twice.opened_at) == (3, NOW)
    sound(store, run)


def test_a_released_job_can_be_dropped_while_it_waits_and_again_without_harm(store: Store) -> None:
    """Dropping counts what is there: a replay takes nothing twice off the total."""
    run = opened(store, 4)
    wanted = opening(store, run.id, dropped=places(store, run, ["j1"]))
    store.runs.open(run.id, wanted, NOW)
    assert store.runs.open(run.id, wanted, NOW).total == 3
    sound(store, run)


def test_a_job_sent_meanwhile_is_replaced_not_dropped(store: Store) -> None:
    """Between the look and the opening the submitter may have taken it: its answer is awaited."""
    run = opened(store, 2)
    store.jobs.append(run.id, [job("j0", content="new", revision=1)])
    stale = opening(store, run.id, dropped=[(lane_of(store, run).id, 0)])
    batch = sealed(store, run, 0, 2)
    after = store.runs.open(run.id, stale, NOW)
    assert (after.total, after.revisions) == (2, 1)
    collected(store, batch)
    assert states_of(store, run) == {"j1": "completed"}
    collected(store, sealed(store, run, 2, 3))
    assert sound(store, run).is_done
    assert states_of(store, run) == {"j0": "completed", "j1": "completed"}


def test_a_job_sent_meanwhile_is_not_cancelled_as_gone(store: Store) -> None:
    """What is in flight by now runs to its end."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 1)
    store.runs.open(run.id, opening(store, run.id, gone=[(lane_of(store, run).id, 0)]), NOW)
    assert states_of(store, run) == {}
    collected(store, batch)
    assert states_of(store, run) == {"j0": "completed"}
    sound(store, run)


def test_jobs_that_are_gone_end_as_cancelled(store: Store) -> None:
    """What the script no longer adds is cancelled, with its reason, if it waits."""
    run = opened(store, 3)
    after = store.runs.open(
        run.id, opening(store, run.id, gone=places(store, run, ["j0", "j2"])), NOW
    )
    assert (after.cancelled, after.total) == (2, 3)
    assert store.runs.failed_by_code(run.id) == {"gone": 2}
    collected(store, sealed(store, run, 0, 3, count=1))
    assert sound(store, run).is_done


@pytest.mark.parametrize("answered", [True, False])
def test_a_replaced_job_counts_once(store: Store, answered: bool) -> None:
    """Its old answer stays as a revision, counts no more, and its new one counts, whenever."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 2)
    if answered:
        collected(store, batch)
    store.jobs.append(run.id, [job("j0", content="new", revision=1)])
    (changed,) = store.surveys.changed(run.id)
    assert (changed.key, bool(changed.unsent)) == ("j0", False)
    old = [(changed.lane_id, changed.seq)]
    for _ in range(2):
        store.runs.open(run.id, opening(store, run.id, superseded=old), NOW)
        sound(store, run)
    if not answered:
        collected(store, batch)
    now = sound(store, run)
    assert (now.total, now.completed, now.revisions) == (2, 1, 1)
    collected(store, sealed(store, run, 2, 3))
    assert sound(store, run).is_done
    assert sorted(states_of(store, run)) == ["j0", "j1"]


def test_a_settled_but_uncollected_job_is_replaced_without_counting_it_out_twice(
    store: Store,
) -> None:
    """Its attempt is there, its count is not: the collect leaves it out."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 2)
    drive(store, batch, BatchState.ENDED)
    settle(store, batch)
    store.jobs.append(run.id, [job("j0", content="new", revision=1)])
    store.runs.open(run.id, opening(store, run.id, superseded=[(lane_of(store, run).id, 0)]), NOW)
    assert sound(store, run).completed == 0
    assert store.batches.collect(batch, lease(store, batch), NOW)
    assert sound(store, run).completed == 1


def test_a_replaced_job_is_not_bought_again(store: Store) -> None:
    """Whether its batch is given up or its attempt failed: the old content goes nowhere."""
    run = opened(store, 3)
    first, second = sealed(store, run, 0, 1), sealed(store, run, 1, 2)
    third = sealed(store, run, 2, 3)
    collected(store, third, "again")
    retry = seal(store, lane_of(store, run), 0, 1)
    members = store.batches.free_members(lane_of(store, run).id, NOW, 10)
    from tests.store.scenes import again, taken

    fourth = taken(store.batches.seal(again(store, retry.lane, members), NOW))
    new = [job(f"j{n}", content=f"new {n}", revision=1) for n in range(3)]
    store.jobs.append(run.id, new)
    old = [(row.lane_id, row.seq) for row in store.surveys.changed(run.id)]
    store.runs.open(run.id, opening(store, run.id, superseded=old), NOW)
    assert dropped(store, first)
    collected(store, second, "again")
    assert dropped(store, fourth)
    assert store.batches.free_members(lane_of(store, run).id, NOW, 10) == []
    sound(store, run)
    collected(store, sealed(store, run, 3, 6))
    assert sound(store, run).is_done


def test_bad_input_ends_when_the_run_opens(store: Store) -> None:
    """A job that could never become a request costs nothing and says why."""
    bad = job("bad", lane="", provider="", endpoint="", own={"problem": "is empty"}, bound=0)
    run = draft(store, [bad, *jobs(1)])
    now = store.runs.open(run.id, opening(store, run.id), NOW)
    assert (now.failed, now.total) == (1, 2)
    (answer,) = store.answers.ended(run.id)
    assert (answer.code, answer.error, answer.cost) == ("bad_input", "is empty", 0)
    assert store.runs.open(run.id, opening(store, run.id), NOW).failed == 1
    sound(store, run)


def test_a_run_without_jobs_is_done_when_it_opens(store: Store) -> None:
    """Nothing to do is done."""
    run = draft(store)
    assert store.runs.open(run.id, opening(store, run.id), NOW).finished_at == NOW


def test_jobs_added_to_a_finished_run_open_it_again(store: Store) -> None:
    """Next morning's files go into the same run."""
    run = opened(store, 2)
    collected(store, sealed(store, run, 0, 2))
    assert sound(store, run).finished_at is not None
    store.jobs.append(run.id, jobs(2, start=2))
    now = store.runs.open(run.id, opening(store, run.id), LATER)
    assert (now.finished_at, now.total) == (None, 4)
    collected(store, sealed(store, run, 2, 4))
    assert sound(store, run).finished_at is not None


def test_the_time_limits_clock_starts_at_the_first_send_and_stops_at_the_end(store: Store) -> None:
    """A limit of an hour does not run while a draft waits for its author."""
    run = opened(store, 1, time_limit_s=3600.0)
    batch = sealed(store, run, 0, 1)
    assert store.runs.get(run.id).deadline_at is None
    drive(store, batch, BatchState.ENDED, LATER)
    assert store.runs.get(run.id).first_send_at == LATER
    assert store.runs.get(run.id).deadline_at == LATER + timedelta(hours=1)
    settle(store, batch)
    assert store.batches.collect(batch, lease(store, batch, LATER), LATER)
    assert store.runs.get(run.id).deadline_at is None


def test_a_new_time_limit_counts_from_now_once_something_was_sent(store: Store) -> None:
    """Before the first send only the length changes; None takes the deadline away."""
    run = opened(store, 2, time_limit_s=60.0)
    assert store.runs.wake(run.id, NOW, {"time_limit_s": 120.0}).deadline_at is None
    drive(store, sealed(store, run, 0, 1), BatchState.RUNNING)
    longer = store.runs.wake(run.id, LATER, {"time_limit_s": 600.0})
    assert longer.deadline_at == LATER + timedelta(minutes=10)
    assert store.runs.wake(run.id, LATER, {"time_limit_s": None}).deadline_at is None


def test_waiting_is_noted_once_and_waking_ends_it(store: Store) -> None:
    """The time line says since when, not how often somebody looked."""
    run = opened(store)
    store.runs.wait_for(run.id, "budget", "needs $1", NOW)
    store.runs.wait_for(run.id, "budget", "needs $1", LATER)
    waiting = store.runs.get(run.id)
    assert (waiting.waiting_for, waiting.waiting_since) == ("budget", NOW)
    awake = store.runs.wake(run.id, LATER, {"cost_limit": 5_000})
    assert (awake.waiting_for, awake.waiting_since, awake.cost_limit) == (None, None, 5_000)
    store.runs.wait_for(run.id, None, None, LATER)
    actions = [event["action"] for event in store.events.of_run(run.id)]
    assert actions == ["opened", "waiting", "limits"]


def test_a_cancel_is_a_wish_that_every_live_batch_carries(store: Store) -> None:
    """The first wish counts; states do not move by it."""
    run = opened(store)
    batch = sealed(store, run, 0, 5)
    store.runs.request_cancel(run.id, NOW)
    store.runs.request_cancel(run.id, LATER)
    assert store.runs.get(run.id).cancel_requested_at == NOW
    assert store.batches.get(batch).cancel_requested_at == NOW
    assert store.batches.get(batch).status == BatchState.SEALED
    assert store.batches.seal(seal(store, lane_of(store, run), 5, 10), NOW) is None


def test_what_waits_ends_as_cancelled_and_what_flies_stays(store: Store) -> None:
    """Unsent ranges and retries alike; a live batch keeps its jobs."""
    run = opened(store, 6)
    collected(store, sealed(store, run, 0, 2), "again")
    flying = sealed(store, run, 2, 4)
    assert store.runs.end_waiting(run.id, "time_limit", "time was up", NOW) == 4
    assert store.runs.end_waiting(run.id, "time_limit", "time was up", NOW) == 0
    now = sound(store, run)
    assert (now.cancelled, now.is_done) == (4, False)
    assert store.runs.failed_by_code(run.id) == {"time_limit": 4}
    collected(store, flying)
    assert sound(store, run).is_done


def test_ending_what_waits_is_quick_on_a_large_lane(store: Store) -> None:
    """Five thousand jobs end by one statement; an answer that was tried out stays."""
    run = draft(store, jobs(5_000))
    lane = lane_of(store, run)
    store.jobs.keep_test(run.id, lane.id, outcome(17, attempt_no=0), NOW)
    store.runs.open(run.id, opening(store, run.id), NOW)
    assert store.runs.end_waiting(run.id, "cancelled", "a person said so", NOW) == 4_999
    now = sound(store, run)
    assert (now.cancelled, now.completed, now.is_done) == (4_999, 1, True)
    assert sum(1 for _ in store.answers.ended(run.id)) == 5_000


def test_single_jobs_are_cancelled_while_they_wait(store: Store) -> None:
    """What is in flight or over is named, not touched."""
    run = opened(store, 5)
    collected(store, sealed(store, run, 0, 1))
    collected(store, sealed(store, run, 1, 2), "again")
    sealed(store, run, 2, 3)
    left = store.runs.cancel_keys(run.id, ["j0", "j1", "j2", "j3", "nobody"], NOW)
    assert left == ["j0", "j2", "nobody"]
    assert states_of(store, run) == {"j0": "completed", "j1": "cancelled", "j3": "cancelled"}
    assert [row["action"] for row in store.events.of_key(run.id, "j3")] == ["cancelled"]
    sound(store, run)


def test_a_retry_gives_ended_jobs_fresh_attempts(store: Store) -> None:
    """Old attempts and their cost stay on the books; completed ones are left alone."""
    run = opened(store, 3)
    batch = sealed(store, run, 0, 3)
    drive(store, batch, BatchState.ENDED)
    rows = [outcome(0), outcome(1, "failed"), outcome(2, "failed")]
    store.answers.settle(store.batches.get(batch), rows)
    assert store.batches.collect(batch, lease(store, batch), NOW)
    assert sound(store, run).finished_at is not None
    everything = places(store, run, ["j0", "j1", "j2"])
    assert store.runs.revive(run.id, everything, {"max_tokens": 200}, LATER) == 2
    assert store.runs.revive(run.id, everything, None, LATER) == 0
    now = sound(store, run)
    assert (now.failed, now.spent, now.finished_at) == (0, 180, None)
    members = store.batches.free_members(lane_of(store, run).id, LATER, 10)
    assert [(m.seq, m.attempt_no, m.reason) for m in members] == [(1, 2, "retry"), (2, 2, "retry")]
    assert members[0].changes == {"max_tokens": 200, "fresh": True}


def test_a_retry_leaves_what_is_not_collected_or_cannot_be_asked(store: Store) -> None:
    """An outcome that is not booked yet has no count to give back; bad input stays bad."""
    bad = job("bad", lane="", provider="", endpoint="", own={"problem": "is empty"}, bound=0)
    run = draft(store, [*jobs(1), bad])
    store.runs.open(run.id, opening(store, run.id), NOW)
    batch = sealed(store, run, 0, 1)
    drive(store, batch, BatchState.ENDED)
    settle(store, batch, "failed")
    assert store.answers.ended_ids(run.id, ["failed"], None, ["j0"]) == []
    assert store.runs.revive(run.id, places(store, run, ["j0", "bad"]), None, NOW) == 0
    sound(store, run)


def test_a_job_cancelled_in_its_range_and_revived_goes_once(store: Store) -> None:
    """The range was sealed without it: its batch does not wait for it, and is not stuck by it."""
    run = opened(store, 3)
    store.runs.cancel_keys(run.id, ["j1"], NOW)
    batch = sealed(store, run, 0, 3, count=2)
    assert store.runs.revive(run.id, places(store, run, ["j1"]), None, NOW) == 1
    assert [row.seq for row in store.answers.unsettled(store.batches.get(batch))] == [0, 2]
    sound(store, run)
    collected(store, batch)
    members = store.batches.free_members(lane_of(store, run).id, NOW, 10)
    second = store.batches.seal(again(store, lane_of(store, run), members), NOW)
    collected(store, taken(second), attempt_no=2)
    assert sound(store, run).is_done


@pytest.mark.parametrize("everybody", [False, True], ids=["by key", "all that wait"])
def test_a_job_revived_and_cancelled_again_beside_its_range_is_still_not_in_it(
    store: Store, everybody: bool
) -> None:
    """Its second end is younger than the range's batch, which must not wait for its line."""
    run = opened(store, 3)
    store.runs.cancel_keys(run.id, ["j1"], NOW)
    batch = sealed(store, run, 0, 3, count=2)
    for end in range(2):
        assert store.runs.revive(run.id, places(store, run, ["j1"]), None, NOW) == 1, end
        if everybody:
            assert store.runs.end_waiting(run.id, "cancelled", "enough", NOW) == 1
        else:
            assert store.runs.cancel_keys(run.id, ["j1"], NOW) == []
        assert [row.seq for row in store.answers.unsettled(store.batches.get(batch))] == [0, 2]
        sound(store, run)
    assert store.runs.revive(run.id, places(store, run, ["j1"]), None, NOW) == 1
    collected(store, batch)
    members = store.batches.free_members(lane_of(store, run).id, NOW, 10)
    second = store.batches.seal(again(store, lane_of(store, run), members), NOW)
    collected(store, taken(second), attempt_no=4)
    assert sound(store, run).is_done


def test_a_job_cancelled_before_its_range_was_sealed_waits_there_when_revived(
    store: Store,
) -> None:
    """It is in its lane's range already: a second place in the queue would buy it twice."""
    run = opened(store, 1)
    store.runs.cancel_keys(run.id, ["j0"], NOW)
    assert store.runs.revive(run.id, places(store, run, ["j0"]), None, NOW) == 1
    assert store.batches.free_members(lane_of(store, run).id, NOW, 10) == []
    collected(store, sealed(store, run, 0, 1))
    assert sound(store, run).is_done


def test_a_job_that_failed_when_tried_out_is_not_revived_while_it_flies(store: Store) -> None:
    """Its batch may still answer: a retry now would buy it again."""
    run = opened(store, 1)
    batch = sealed(store, run, 0, 1)
    tried = outcome(0, "failed", attempt_no=0)
    store.jobs.keep_test(run.id, lane_of(store, run).id, tried, NOW)
    assert store.runs.revive(run.id, places(store, run, ["j0"]), None, NOW) == 0
    collected(store, batch)
    assert store.runs.revive(run.id, places(store, run, ["j0"]), None, NOW) == 1
    sound(store, run)


def test_a_held_run_sends_nothing_until_it_is_let_go(store: Store) -> None:
    """Holding is a wish in the guard of seal and of send."""
    run = opened(store)
    batch = sealed(store, run, 0, 5)
    store.runs.hold(run.id, LATER, "quota", NOW)
    assert store.batches.seal(seal(store, lane_of(store, run), 5, 10), NOW) is None
    assert not store.batches.send(batch, lease(store, batch), NOW)
    store.runs.hold(run.id, None, None, NOW)
    assert store.batches.send(batch, lease(store, batch), NOW)


def test_what_flies_is_counted_from_live_batches(store: Store) -> None:
    """Status reads batches, never the jobs."""
    run = opened(store)
    assert store.runs.live(run.id) == (0, 0)
    sealed(store, run, 0, 4)
    assert store.runs.live(run.id) == (4, 1)


def test_failures_are_counted_by_reason_once_they_are_booked(store: Store) -> None:
    """The sum over reasons is the run's own count."""
    run = opened(store, 4)
    batch = sealed(store, run, 0, 2)
    drive(store, batch, BatchState.ENDED)
    settle(store, batch, "failed", code="refused")
    assert store.runs.failed_by_code(run.id) == {}
    assert store.batches.collect(batch, lease(store, batch), NOW)
    assert store.runs.failed_by_code(run.id) == {"refused": 2}


def test_a_test_answers_a_draft_and_counts_when_the_run_opens(store: Store) -> None:
    """Its money is spent at once; a draft has no counters, and an open run's are not mixed up."""
    run = opened(store, 1)
    store.jobs.append(run.id, jobs(2, start=1))
    lane = lane_of(store, run)
    store.jobs.keep_test(run.id, lane.id, outcome(1, attempt_no=0), NOW)
    before = sound(store, run)
    assert (before.spent, before.completed, before.finished_at) == (60, 0, None)
    after = store.runs.open(run.id, opening(store, run.id), NOW)
    assert (after.completed, after.total) == (1, 3)
    sound(store, run)
    assert [row.seq for row in store.jobs.span(lane.id, 0, 3)] == [0, 2]


def test_a_tested_draft_is_released_into_a_run_that_had_ended(store: Store) -> None:
    """At no moment have more jobs ended than there are: the database would refuse it."""
    run = opened(store, 1)
    collected(store, sealed(store, run, 0, 1))
    store.jobs.append(run.id, jobs(1, start=1))
    store.jobs.keep_test(run.id, lane_of(store, run).id, outcome(1, attempt_no=0), NOW)
    after = store.runs.open(run.id, opening(store, run.id), NOW)
    assert (after.completed, after.total) == (2, 2)
    assert sound(store, run).is_done


def test_a_tested_draft_that_is_replaced_costs_and_counts_no_more(store: Store) -> None:
    """What was spent stays spent; the new content is asked."""
    run = draft(store, jobs(1))
    lane = lane_of(store, run)
    store.jobs.keep_test(run.id, lane.id, outcome(0, attempt_no=0), NOW)
    store.jobs.append(run.id, [job("j0", content="new")], replacing=[(lane.id, 0)])
    after = store.runs.open(run.id, opening(store, run.id), NOW)
    assert (after.spent, after.completed, after.total) == (60, 0, 1)
    collected(store, sealed(store, run, 0, 2, count=1))
    assert sound(store, run).is_done


def test_a_test_of_a_job_that_flies_is_paid_for_and_booked_once_each(store: Store) -> None:
    """Both answers cost; the first one to end the job counts."""
    run = opened(store, 2)
    batch = sealed(store, run, 0, 2)
    store.jobs.keep_test(run.id, lane_of(store, run).id, outcome(0, attempt_no=0), NOW)
    collected(store, batch)
    now = sound(store, run)
    assert (now.spent, now.completed, now.is_done) == (180, 2, True)


def test_a_test_of_a_job_that_has_ended_meanwhile_is_paid_for(store: Store) -> None:
    """The real-time call was made: its cost is on the books, the end stays what it was."""
    run = opened(store, 1)
    collected(store, sealed(store, run, 0, 1))
    store.jobs.keep_test(run.id, lane_of(store, run).id, outcome(0, attempt_no=0), NOW)
    now = sound(store, run)
    assert (now.spent, now.completed) == (120, 1)


def test_a_tested_job_that_waited_to_go_again_goes_no_more(store: Store) -> None:
    """Its place in the queue goes with its answer."""
    run = opened(store, 1)
    collected(store, sealed(store, run, 0, 1), "again")
    lane = lane_of(store, run)
    store.jobs.keep_test(run.id, lane.id, outcome(0, attempt_no=0), NOW)
    assert store.batches.free_members(lane.id, NOW, 10) == []
    assert sound(store, run).completed == 1


def test_settled_values_are_read_back_as_they_were_written(store: Store) -> None:
    """Everything an answer carries survives the database."""
    run = opened(store, 1)
    batch = sealed(store, run, 0, 1)
    row = drive(store, batch, BatchState.ENDED)
    given = Settled(
        0,
        1,
        "completed",
        answer='{"a": "ä\u2028"}',
        citations=[{"text": "t", "page": 2}],
        finish="stop",
        model="fake-1-2026",
        request_id="req",
        input_tokens=2**30,
        output_tokens=5,
        cached_tokens=1,
        cache_write_tokens=2,
        reasoning_tokens=3,
        cost=2**40,
        cost_kind="exact",
    )
    store.answers.settle(row, [given])
    assert store.batches.collect(batch, lease(store, batch), NOW)
    (answer,) = store.answers.ended(run.id)
    for name in Settled.__slots__:
        if hasattr(answer, name):
            assert getattr(answer, name) == getattr(given, name), name
    assert (answer.batch_ref, answer.attempts) == (f"ref-{batch}", 1)


def test_what_a_batch_lacks_is_found_page_by_page(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also where a whole page has its outcomes, and where the last one is just full."""
    monkeypatch.setattr("batchkit.store.gaps._NUMBERS", 3)
    monkeypatch.setattr("batchkit.store.gaps._ROWS", 2)
    run = opened(store, 9)
    row = store.batches.get(sealed(store, run, 0, 9))
    store.answers.settle(row, [Settled(seq, 1, "failed", code="invalid") for seq in (0, 1, 2, 7)])
    assert [job.seq for job in store.answers.unsettled(row)] == [3, 4, 5, 6, 8]
    rest = [Settled(seq, 1, "failed", code="invalid") for seq in (3, 4, 5, 6, 8)]
    store.answers.settle(row, rest)
    assert list(store.answers.unsettled(row)) == []
