"""What a night costs in calls: 40 batches over eight hours, ten of them in flight at once."""

from __future__ import annotations

import threading
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from batchkit import providers as registry
from batchkit.errors import ProviderGarbled, ProviderRefused, ProviderUnavailable
from batchkit.model import BatchStatus
from batchkit.providers import Provider, Surveyor
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from batchkit.simulator import Simulator
from batchkit.testing import Course, FakeProvider, ManualClock
from tests.engine.conftest import MakeNight
from tests.engine.nights import Night

TWO_HOURS = timedelta(hours=2)


def run_a_night(night: Night, batches: int = 10, at_once: int = 4, **template: str) -> None:
    """A few at once, each for two hours."""
    night.start(batches, items_per_batch=1, max_parallel_batches=at_once, template=template)
    assert night.drive() == "done"
    assert night.run.completed == batches


def lateness(night: Night) -> list[timedelta]:
    """How long after its end each batch's was noticed."""
    ends = [one for one in night.store.batches.of_run(night.run_id) if one.accepted_at]
    return [one.ended_at - one.accepted_at - TWO_HOURS for one in ends if one.ended_at]  # type: ignore[operator]


def test_40_batches_over_eight_hours_cost_one_upload_one_create_and_few_polls(
    migrated_sqlite_url: str, tmp_path: Path
) -> None:
    """Also of a provider that can only be asked for one batch at a time; the later ones, which
    know how long the first ten took, half as many as those, and no end is noticed later."""
    clock = ManualClock()
    fake = FakeProvider(clock=clock, course=Course(takes=TWO_HOURS))
    night = Night(migrated_sqlite_url, tmp_path, fake, clock)
    run_a_night(night, 40, 10)
    calls = fake.calls
    assert (calls["stage"], calls["create"], calls["download"]) == (40, 40, 40)
    polls = [fake._memory.batches[ref].polls for ref in fake.refs]
    assert sum(polls) == calls["poll"]
    assert max(polls) <= 60
    assert sum(polls[-10:]) < 0.6 * sum(polls[:10])
    late = lateness(night)
    assert max(late) <= timedelta(minutes=15)
    assert sum(late[-10:], timedelta()) <= sum(late[:10], timedelta())
    night.verify()
    night.store.close()


def test_a_list_tells_of_all_that_run_in_one_call(make_night: MakeNight) -> None:
    """Each batch is polled once, for its end; the rest is a few lists."""
    night = make_night(course=Course(takes=TWO_HOURS), lists=True)
    run_a_night(night)
    calls = night.fake.calls
    assert (calls["stage"], calls["create"]) == (10, 10)
    singly = [night.fake._memory.batches[ref].polls for ref in night.fake.refs]
    assert calls["poll"] < 15
    assert calls["poll"] + calls["statuses"] < sum(singly) / 2
    assert max(lateness(night)) <= timedelta(minutes=15)
    night.verify()


def test_history_is_what_batches_took_by_model_and_place(make_night: MakeNight) -> None:
    """A simulator's hours say nothing of the provider's."""
    night = make_night(course=Course(takes=TWO_HOURS))
    full = Course(takes=TWO_HOURS / 9, reason="failed", queue_full=True, error_code="full")
    night.fake.next(full)
    run_a_night(night, 5)
    told = night.store.histories.took("fake", "fake://")
    assert list(told) == ["fake-1"]
    assert len(told["fake-1"]) == 5  # the one that failed ran nothing, and was sent again
    assert all(7_200 <= one.seconds <= 8_100 and one.jobs == 1 for one in told["fake-1"])
    assert len({one.night for one in told["fake-1"]}) <= 2
    assert night.store.histories.took("fake") == told
    assert night.store.histories.took("fake", "https://elsewhere") == {}
    assert night.store.histories.took("other") == {}


class Half:
    """A list that shows but every other batch, or fails."""

    def __init__(self, fake: FakeProvider, error: Exception | None = None) -> None:
        self._fake = fake
        self._error = error
        self.asked = 0

    def __call__(self, refs: Any) -> dict[str, BatchStatus]:
        self.asked += 1
        if self._error is not None:
            raise self._error
        return {ref: self._fake.poll(ref) for ref in sorted(refs)[: len(refs) // 4]}


@pytest.mark.parametrize(
    "error",
    [
        None,
        ProviderRefused("no such route", reason="request", status=404),
        ProviderGarbled("half a page", maybe=False),
        ProviderUnavailable("no answer", maybe=False),
    ],
    ids=["shows few", "refused", "garbled", "unavailable"],
)
def test_a_list_that_does_not_help_is_left_alone_for_an_hour(
    make_night: MakeNight, error: Exception | None
) -> None:
    """Batches are asked for singly, as if there were no list."""
    night = make_night(course=Course(takes=TWO_HOURS), lists=True)
    night.fake.statuses = half = Half(night.fake, error)
    run_a_night(night, 4)
    assert 1 <= half.asked <= 4
    assert night.fake.calls["poll"] > 8
    night.verify()


def test_a_list_is_not_asked_for_one_batch(make_night: MakeNight) -> None:
    """One poll tells the same."""
    night = make_night(course=Course(takes=TWO_HOURS), lists=True)
    run_a_night(night, 1)
    assert night.fake.calls["statuses"] == 0


def test_what_a_list_says_of_an_end_is_asked_for_again(make_night: MakeNight) -> None:
    """A listing may say less of a batch than it says itself."""
    night = make_night(course=Course(takes=TWO_HOURS), lists=True)
    told = night.fake.statuses

    def bare(refs: Any) -> dict[str, BatchStatus]:
        return {ref: BatchStatus(ref, "over", ended=one.ended) for ref, one in told(refs).items()}

    night.fake.statuses = bare
    run_a_night(night, 5)
    assert all(one.word == "completed" for one in night.store.batches.of_run(night.run_id))
    night.verify()


def test_a_provider_without_a_list_is_still_a_provider() -> None:
    """The protocol has not grown; what it may have besides is known by its name."""
    assert isinstance(FakeProvider(), Provider)
    assert not isinstance(FakeProvider(), Surveyor)
    assert isinstance(FakeProvider(lists=True), Surveyor)
    for adapter in (OpenAIResponses, OpenAIChat, Anthropic):
        assert isinstance(adapter(api_key="none"), Surveyor)


class Sky(ManualClock):
    """A clock that a simulator goes by."""

    def __init__(self, simulator: Simulator) -> None:
        super().__init__(datetime.fromtimestamp(simulator.now(), UTC), pace=0)
        self._simulator = simulator

    def wait(self, seconds: float, wake: threading.Event | None = None) -> bool:
        """Let both times pass."""
        before = self.monotonic()
        woken = super().wait(seconds, wake)
        self._simulator.advance(self.monotonic() - before)
        return woken


def openai(simulator: Simulator) -> Provider:
    """OpenAI's adapter, with the real SDK."""
    return OpenAIResponses(api_key="simulated", base_url=simulator.openai_url)


def anthropic(simulator: Simulator) -> Provider:
    """Anthropic's adapter, with the real SDK."""
    return Anthropic(api_key="simulated", base_url=simulator.anthropic_url)


@pytest.mark.parametrize(
    ("make", "count", "uploads", "batches"),
    [
        (openai, 40, "openai.files.create", "openai.batches"),
        (anthropic, 12, None, "anthropic.batches"),
    ],
    ids=["openai", "anthropic"],
)
@pytest.mark.slow
def test_a_night_through_the_real_sdk_by_the_servers_count(
    make: Callable[[Simulator], Provider],
    count: int,
    uploads: str | None,
    batches: str,
    migrated_sqlite_url: str,
    tmp_path: Path,
) -> None:
    """The server counts one upload and one create a batch, and far fewer looks than 60."""
    seconds = (0.8 * 7_200, 1.2 * 7_200)
    with Simulator(tmp_path / "there", scale=0, batch_seconds=seconds, any_model=True) as there:
        provider = make(there)
        night = Night(migrated_sqlite_url, tmp_path, provider, Sky(there))  # type: ignore[arg-type]
        run_a_night(night, count, count // 4)
        registry.close(provider)
        night.verify()
        night.store.close()
        calls = there.counter.calls
    assert calls[f"{batches}.create"] == count
    assert uploads is None or calls[uploads] == count
    looks = calls[f"{batches}.list"] + calls[f"{batches}.retrieve"]
    assert looks < 20 * count  # of 60 that are allowed
