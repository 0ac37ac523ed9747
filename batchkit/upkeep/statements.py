"""A run's books against the provider's own objects: counts, lines, usage, unknown batches."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from batchkit import providers
from batchkit.clock import SystemClock
from batchkit.errors import AccountMismatchError, ProviderGarbled, ProviderRefused
from batchkit.model import BatchState, BatchStatus, Errored, Succeeded, Usage, Window
from batchkit.providers import Lister, Provider
from batchkit.spools import mark_of, seq_of
from batchkit.store import BatchRow, RunRow, Store

_SLACK = timedelta(hours=1)
_CLOSED = (BatchState.COLLECTED, BatchState.ABANDONED)


@dataclass(slots=True)
class Findings:
    """What does not agree, and what could not be looked at."""

    problems: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)


def compared(store: Store, run: RunRow) -> Findings:
    """Ask the provider about every accepted batch of a run, and for batches that nobody knows.

    Free: it reads. Raises ConfigError without a key, AccountMismatchError with another account's,
    ProviderUnavailable where nobody answers.
    """
    at_hand: dict[str, Provider] = {}
    try:
        return _compared(store, run, at_hand)
    finally:
        for provider in at_hand.values():
            providers.close(provider)


def _compared(store: Store, run: RunRow, at_hand: dict[str, Provider]) -> Findings:
    found = Findings()
    accepted = [one for one in store.batches.of_run(run.id) if one.ref and one.state != "void"]
    for lane in store.jobs.lanes(run.id):
        if not lane.provider:
            continue
        provider = at_hand.setdefault(lane.provider, providers.load(lane.provider))
        gone = 0
        mine = [batch for batch in accepted if batch.lane_id == lane.id]
        for batch in mine:
            gone += not _agrees(store, provider, batch, found)
        if mine and gone == len(mine):
            _refuse_stranger(store, run, provider, mine[0])
        if gone:
            found.notes.append(f"{gone} of {len(mine)} batches are not at {lane.provider} any more")
    for name, provider in at_hand.items():
        _unknown(store, run, name, provider, found)
    return found


def _refuse_stranger(store: Store, run: RunRow, provider: Provider, batch: BatchRow) -> None:
    """Another account's key sees nothing: that proves nothing about the books."""
    account = store.batches.account_of(batch)
    if account is not None and account.fingerprint != provider.account().fingerprint:
        raise AccountMismatchError(
            f"The key at hand cannot see the batches of run {run.name!r} at {account.provider}. "
            "Use the key (and base URL) that the run was started with; nothing was changed."
        )


def _agrees(store: Store, provider: Provider, batch: BatchRow, found: Findings) -> bool:
    """Compare one batch; return False if the provider does not know it (any more)."""
    try:
        status = provider.poll(str(batch.ref))
    except ProviderRefused as error:
        if error.reason != "not_found":
            raise
        return False
    if batch.kind == "range" or batch.kind == "members":
        found.problems += _counts(batch, status)
    if batch.status in _CLOSED and status.ended and batch.end_reason != "failed":
        _lines(store, provider, batch, found)
    return True


def _counts(batch: BatchRow, status: BatchStatus) -> Iterator[str]:
    """Compare the provider's counts with those that were written down."""
    told = {"requests": (status.total, batch.count)}
    if batch.status in (BatchState.ENDED, *_CLOSED) and batch.end_reason != "lost":
        told["completed"] = (status.completed, batch.provider_completed)
        told["failed"] = (status.failed, batch.provider_failed)
    for name, (theirs, ours) in told.items():
        if theirs is not None and theirs != ours:
            yield f"batch {batch.ref}: the provider counts {theirs} {name}, the books {ours}"


def _lines(store: Store, provider: Provider, batch: BatchRow, found: Findings) -> None:
    """Read the results once more, while they are there: how many, and the usage they tell."""
    with tempfile.TemporaryDirectory(prefix="batchkit-verify-") as folder:
        try:
            download = provider.download(str(batch.ref), Path(folder))
        except ProviderRefused:
            found.notes.append(f"the results of {batch.ref} are not there any more")
            return
        except ProviderGarbled as error:
            found.notes.append(f"the results of {batch.ref} could not be read: {error}")
            return
        used: dict[int, Usage | None] = {}
        for outcome in provider.outcomes(download):
            seq = seq_of(outcome.custom_id, str(batch.token))
            if seq is not None and isinstance(outcome, Succeeded | Errored):
                used.setdefault(seq, outcome.usage)
    results, read, written = store.answers.paid(batch.id)
    known = [usage for usage in used.values() if usage is not None]
    told = {
        "result lines": (len(used), results),
        "input tokens": (sum(one.input_tokens for one in known), read),
        "output tokens": (sum(one.output_tokens for one in known), written),
    }
    found.problems += [
        f"batch {batch.ref}: the provider has {theirs:,} {name}, the books {ours:,}"
        for name, (theirs, ours) in told.items()
        if theirs != ours
    ]


def _unknown(store: Store, run: RunRow, name: str, provider: Provider, found: Findings) -> None:
    """Look for batches that carry a token of this run and are in nobody's books."""
    if run.first_send_at is None:
        return
    if not isinstance(provider, Lister):
        found.notes.append(f"{name} cannot say whose its batches are: not looked for unknown ones")
        return
    account = store.accounts.known(provider.account())
    window = Window(run.first_send_at - _SLACK, _now() + _SLACK)
    mine = store.batches.of_run(run.id)
    refused = {ref for batch in mine for ref in batch.refused_refs}  # by the provider's queue
    search = provider.carrying(mark_of(run.uid), window, store.batches.refs(account.id) | refused)
    tokens = {batch.token: batch.ref for batch in mine}
    for one in search.candidates:
        twin = tokens.get(one.token) or "one that was not accepted"
        why = f"a twin of {twin}" if one.token in tokens else "not in the books at all"
        found.problems.append(f"batch {one.ref} at {name} is of this run, and {why}")
    if not search.complete:
        found.notes.append(f"{name} did not list all of its batches")


def _now() -> datetime:
    return SystemClock().now()
