"""Nine days before paid results leave the provider somebody is told."""

from __future__ import annotations

from datetime import timedelta

import pytest
from click.testing import CliRunner

from batchkit.cli import cli
from batchkit.run import BatchRun
from batchkit.testing import Course
from tests.run.scenes import Scene

DAY = timedelta(days=1)


@pytest.fixture
def flying(scene: Scene) -> BatchRun:
    """Three jobs in a batch that was accepted; the fake keeps results for 30 days."""
    scene.fake.next(Course(takes=timedelta(hours=5)))
    return scene.start(["a", "b", "c"]).execute(once=True)


def test_a_batch_nobody_asked_about_again_is_warned_of_nine_days_before(
    scene: Scene, flying: BatchRun
) -> None:
    """It may have ended long since: the process that watched it is gone."""
    scene.clock.advance(21 * DAY - timedelta(minutes=5))
    assert flying.warnings() == []
    scene.clock.advance(timedelta(minutes=10))
    [warning] = flying.warnings()
    assert warning.startswith("the results of 3 jobs in fake-batch-2 leave fake on 2026-12-20")
    scene.clock.advance(9 * DAY)
    [warning] = flying.warnings()
    assert "left fake on 2026-12-20" in warning
    assert "uncollected" in warning


def test_an_ended_batch_goes_by_what_the_provider_said(scene: Scene, flying: BatchRun) -> None:
    scene.clock.advance(6 * 3600)
    [batch] = scene.store.batches.of_run(scene.run_id)
    lease = scene.store.leases.claim(batch.id, "me", scene.clock.now())
    assert lease is not None
    status = scene.fake.poll(str(batch.ref))
    until = scene.clock.now() + 12 * DAY
    assert scene.store.batches.end(batch.id, lease, status, until, scene.clock.now())
    assert flying.warnings() == []
    scene.clock.advance(4 * DAY)
    assert len(flying.warnings()) == 1


def test_what_was_collected_is_not_warned_of(scene: Scene, flying: BatchRun) -> None:
    flying.execute()
    scene.clock.advance(300 * DAY)
    assert flying.warnings() == []


def test_the_commands_say_it(lite: Scene) -> None:
    """The command line has the real clock: the batch is dated back."""
    lite.fake.next(Course(takes=timedelta(hours=5)))
    run = lite.start(["a"]).execute(once=True)
    with lite.store.database.write() as connection:
        connection.exec_driver_sql("UPDATE batches SET accepted_at = '2026-01-01 00:00:00'")
    for words in (["ls"], ["status", run.id]):
        result = CliRunner().invoke(cli, [*words, "--database", str(lite.store.shown)])
        assert "night: the results of 1 job in" in result.stderr
        assert f"batchkit resume {run.id} --database" in result.stderr
