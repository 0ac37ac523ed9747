"""The next batch is cut while one goes up the line; what was cut behind a failure is cut again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from batchkit.clock import SystemClock
from batchkit.engine import Ending, Engine
from batchkit.errors import ProviderRefused, ProviderUnavailable
from batchkit.model import Created, Spool
from batchkit.pace import Pace
from batchkit.store.batches import Batches
from batchkit.testing import FakeProvider
from tests.engine.nights import Night


class RealTime(Night):
    """A night by the machine's clock, a thousand times as fast."""

    def __init__(self, url: str, folder: Path, fake: FakeProvider) -> None:
        super().__init__(url, folder, fake, SystemClock())  # type: ignore[arg-type]

    def engine(self) -> Engine:
        return Engine(
            self.store,
            clock=self.clock,
            providers={self.fake.name: self.fake},
            spools=self.folder / "spool",
            pace=Pace(1_000.0),
        )

    def drive(self, *, max_wait: float | None = 60.0) -> Ending:
        return super().drive(max_wait=max_wait)


@pytest.fixture
def started(migrated_url: str, tmp_path: Path) -> Iterator[Callable[[FakeProvider], RealTime]]:
    """Six jobs in three batches, started."""
    made: list[RealTime] = []

    def start(fake: FakeProvider) -> RealTime:
        made.append(RealTime(migrated_url, tmp_path, fake))
        made[-1].start(6, items_per_batch=2)
        return made[-1]

    yield start
    for night in made:
        night.store.close()


@pytest.fixture
def seals(monkeypatch: pytest.MonkeyPatch) -> Callable[[int], threading.Event]:
    """Events that are set once so many batches were sealed."""
    events: dict[int, threading.Event] = {}
    count, seal = [0], Batches.seal

    def counted(self: Batches, *given: object) -> int | None:
        sealed = seal(self, *given)  # type: ignore[arg-type]
        count[0] += bool(sealed)
        for number, event in events.items():
            if count[0] >= number:
                event.set()
        return sealed

    monkeypatch.setattr(Batches, "seal", counted)
    return lambda number: events.setdefault(number, threading.Event())


class Patient(FakeProvider):
    """Answers its first create only once the batch behind it was cut."""

    def __init__(self, behind: threading.Event, error: Exception | None = None) -> None:
        super().__init__(clock=SystemClock())
        self.behind = behind
        self.error = error
        self.creates = 0

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        self.creates += 1
        if self.creates == 1:
            assert self.behind.wait(60)
            if self.error is not None:
                raise self.error
        return super().create(spool, file_ref)


def test_the_next_batch_is_cut_while_one_goes_up_the_line(
    started: Callable[[FakeProvider], RealTime], seals: Callable[[int], threading.Event]
) -> None:
    """An upload may take as long as cutting does: of documents both are minutes."""
    fake = Patient(seals(2))
    night = started(fake)

    assert night.drive() == "done"

    assert len(night.answers("completed")) == 6
    assert fake.creates == 3
    night.verify()


@pytest.mark.parametrize(
    "error",
    [
        ProviderUnavailable("503", maybe=False),
        ProviderRefused("too many bytes", reason="too_large", status=413),
        ProviderRefused("the queue is full", reason="queue", status=429),
    ],
    ids=["unavailable", "too large", "queue full"],
)
def test_what_was_cut_behind_a_batch_that_did_not_go_is_cut_again(
    started: Callable[[FakeProvider], RealTime],
    seals: Callable[[int], threading.Event],
    error: Exception,
) -> None:
    """As if it had not been cut: it would meet the same, or was cut for room that is not there."""
    fake = Patient(seals(2), error)
    night = started(fake)

    assert night.drive() == "done"

    voided = [one for one in night.store.batches.of_run(night.run_id) if one.state == "void"]
    assert "behind" in {one.error_code for one in voided}
    assert len(night.answers("completed")) == 6
    assert fake.ledger.bought_twice() == []
    assert list((night.folder / "spool").iterdir()) == []
    night.verify()


def test_one_that_is_told_to_leave_leaves_what_it_cut_ahead_to_the_next(
    started: Callable[[FakeProvider], RealTime], seals: Callable[[int], threading.Event]
) -> None:
    """The batch that is in hand goes, the one behind it is sent by whoever comes next."""
    fake = Patient(seals(2))
    night = started(fake)
    stop = threading.Event()
    create = fake.create

    def leave(spool: Spool, file_ref: str | None) -> Created:
        assert fake.behind.wait(60)
        stop.set()
        return create(spool, file_ref)

    fake.create = leave  # type: ignore[method-assign]
    assert night.engine().drive([night.run_id], stop=stop, max_wait=60.0) == "detached"
    states = [one.state for one in night.store.batches.of_run(night.run_id)]
    assert states.count("sealed") == 1
    assert fake.creates == 1

    fake.create = create  # type: ignore[method-assign]
    assert night.drive() == "done"
    assert len(night.answers("completed")) == 6
    night.verify()
