"""Uploads in the store: who seals and who clears away never meet on one."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import timedelta
from typing import Any

from batchkit import states
from batchkit.store import NewUpload, RunRow, Store, UploadRow
from tests.store.scenes import (
    ACCOUNT,
    NOW,
    account,
    draft,
    job,
    lane_of,
    lease,
    opened,
    opening,
    seal,
    sealed,
    taken,
)

FAR = NOW + timedelta(days=7)


def upload(store: Store, run: RunRow, ref: str = "file-1", **other: Any) -> UploadRow:
    values: dict[str, Any] = {
        "account_id": account(store),
        "run_id": run.id,
        "content": "a" * 64,
        "name": "a.pdf",
        "ref": ref,
        "bytes": 9,
        "made_at": NOW,
        "expires_at": FAR,
        "keep": False,
    }
    return store.uploads.add(NewUpload(**{**values, **other}))


def released(store: Store) -> list[str]:
    return [one.ref for one in store.uploads.release(account(store), NOW)]


def ended(store: Store, run: RunRow, batch_id: int) -> None:
    """Nothing of a run is in flight or to come: its batch is given up and it is cancelled."""
    number = lease(store, batch_id)
    assert store.batches.void(states.DROP, batch_id, number, NOW, "test", "over")
    store.runs.end_waiting(run.id, "cancelled", "over", NOW)


def test_what_a_batch_names_stays_while_it_is_in_flight(store: Store) -> None:
    """And while its run has more to send; then it goes, once."""
    run = opened(store)
    one = upload(store, run)
    assert released(store) == []
    batch_id = sealed(store, run, uploads=[one.id])
    assert [row.ref for row in store.uploads.of_batch(batch_id)] == ["file-1"]
    assert released(store) == []
    ended(store, run, batch_id)
    assert released(store) == ["file-1"]
    assert released(store) == ["file-1"]  # nobody said that it is deleted
    store.uploads.deleted(one.id, NOW)
    assert released(store) == []
    assert not store.uploads.has_any(account(store), NOW)


def test_what_another_run_names_stays_for_it(store: Store) -> None:
    """Whoever made it."""
    first, second = opened(store, name="first"), opened(store, name="second")
    one = upload(store, first)
    sealed_first = sealed(store, first, uploads=[one.id])
    sealed_second = sealed(store, second, uploads=[one.id])
    ended(store, first, sealed_first)
    assert released(store) == []
    ended(store, second, sealed_second)
    assert released(store) == ["file-1"]


def test_an_upload_that_nobody_named_waits_for_its_run(store: Store) -> None:
    """A crash after the upload: the run may still name it. Without its run nobody will."""
    run = opened(store)
    upload(store, run)
    assert released(store) == []
    store.runs.remove(run.id)
    assert released(store) == ["file-1"]


def test_what_somebody_keeps_is_not_released(store: Store) -> None:
    """Nor what is over by itself."""
    run = opened(store)
    kept = upload(store, run, "file-kept")
    upload(store, run, "file-old", expires_at=NOW)
    store.uploads.keep(kept.id)
    store.runs.remove(run.id)
    assert released(store) == []


def test_a_batch_that_names_what_is_released_is_not_sealed(store: Store) -> None:
    """It is cut again, with another upload; nothing of it was written."""
    run = opened(store)
    one, two = upload(store, run), upload(store, run, "file-2")
    first = sealed(store, run, 0, 5, uploads=[one.id])
    assert store.uploads.lost(first, {("a" * 64, "a.pdf")}, "No such file: file-1", NOW)
    asked = seal(store, lane_of(store, run), 5, 10, uploads=[one.id, two.id])
    assert store.batches.seal(asked, NOW) is None
    assert lane_of(store, run).cursor == 5
    assert [row.ref for row in store.uploads.usable(account(store), NOW)] == ["file-2"]
    taken(store.batches.seal(seal(store, lane_of(store, run), 5, 10, uploads=[two.id]), NOW))


def test_only_what_the_provider_names_is_lost(store: Store) -> None:
    """Of a job's documents; all of them where it names none; none where the batch has none."""
    run = opened(store)
    one, two = upload(store, run), upload(store, run, "file-2", content="b" * 64)
    batch_id = sealed(store, run, uploads=[one.id, two.id])
    mine = {(row.content, row.name) for row in (one, two)}
    assert not store.uploads.lost(batch_id, {("c" * 64, "a.pdf")}, "file-1 is gone", NOW)
    assert store.uploads.lost(batch_id, mine, "file-2 is gone", NOW)
    assert [row.ref for row in store.uploads.usable(account(store), NOW)] == ["file-1"]
    assert store.uploads.lost(batch_id, mine, "a file was not found", NOW)
    assert store.uploads.usable(account(store), NOW) == []


def test_a_new_key_sees_what_its_batches_name_and_no_more(store: Store) -> None:
    """Of the rest nobody knows: it stays with the old one, and expires."""
    run = opened(store)
    one = upload(store, run)
    upload(store, run, "file-2")
    sealed(store, run, uploads=[one.id])
    other = store.accounts.known(replace(ACCOUNT, fingerprint="g" * 16)).id
    store.accounts.move(account(store), other)
    assert [row.ref for row in store.uploads.usable(other, NOW)] == ["file-1"]
    assert [row.ref for row in store.uploads.usable(account(store), NOW)] == ["file-2"]


def test_jobs_are_counted_by_documents_while_they_wait(store: Store) -> None:
    """What one job alone has is left out, unless there are several; drafts are counted apart."""
    paper, other = [{"name": "a.pdf"}], [{"name": "b.pdf"}]
    new = [job(f"a{n}", documents=paper) for n in range(3)]
    new += [job("b", documents=other), job("ab", documents=paper + other), job("plain")]
    run = draft(store, new)
    counted = [(paper, 3), (paper + other, 1)]

    def by_size(found: Any) -> list[Any]:
        return sorted(found, key=lambda one: -one[1])

    assert by_size(store.uploads.drafted(run.id, "fake")) == counted
    assert list(store.uploads.wanted(run.id, "fake")) == []
    run = store.runs.open(run.id, opening(store, run.id), NOW)
    assert by_size(store.uploads.wanted(run.id, "fake")) == counted
    assert list(store.uploads.wanted(run.id, "another")) == []
    sealed(store, run, 0, 6)
    assert list(store.uploads.wanted(run.id, "fake")) == []


def test_a_seal_and_a_release_at_the_same_time_do_not_both_land(store: Store) -> None:
    """Whichever comes first: never a batch that names what is to be deleted."""
    for turn in range(6):
        run = opened(store, name=f"night{turn}")
        over = opened(store, name=f"over{turn}")
        one = upload(store, over, f"file-{turn}")
        store.runs.end_waiting(over.id, "cancelled", "over", NOW)
        lane = lane_of(store, run)
        asked = seal(store, lane, 0, 10, uploads=[one.id])
        with ThreadPoolExecutor(2) as threads:
            batch = threads.submit(store.batches.seal, asked, NOW)
            gone = threads.submit(released, store)
        assert (one.ref in gone.result()) != bool(batch.result())
        store.uploads.deleted(one.id, NOW)
