"""Real signals to a real process: it detaches, says how to go on, and ends as it was told."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from batchkit.run.signals import Detach
from tests.run.scenes import Scene

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import signal, sys, threading
from datetime import timedelta
from batchkit.clock import SystemClock
from batchkit.run import get_run, BatchRun
from batchkit.store import Store
from batchkit.testing import Course, FakeProvider

class Hanging(FakeProvider):
    def create(self, spool, file_ref):
        if "hang" in sys.argv:
            print("creating", flush=True)
            threading.Event().wait(60)
        return super().create(spool, file_ref)

fake = Hanging(clock=SystemClock(), course=Course(takes=timedelta(hours=1)))
store = Store(sys.argv[1])
run = BatchRun(store, int(sys.argv[2]), providers={"fake": fake})
before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]

def told(stats, elapsed, batches):
    if any(one["status"] == "running" for one in batches.values()):
        print("driving", flush=True)

try:
    run.execute(on_progress=told, progress_interval=0.1)
    print("returned", flush=True)
except KeyboardInterrupt:
    print("KeyboardInterrupt", flush=True)
except SystemExit as end:
    print("SystemExit", end.code, flush=True)
after = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM)]
print("restored" if before == after else "changed", flush=True)
"""


@contextmanager
def driving(scene: Scene, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A process that drives the run, and is at it when this returns."""
    scene.start(["a"])
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, scene.url, str(scene.run_id), *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert child.stdout is not None
    try:
        assert child.stdout.readline() in ("driving\n", "creating\n"), child.stderr
        yield child
    finally:
        child.kill()
        child.communicate()


def ended(child: subprocess.Popen[str]) -> tuple[list[str], str]:
    out, err = child.communicate(timeout=30)
    return [line for line in out.splitlines() if line != "driving"], err


def test_ctrl_c_detaches_and_raises_keyboard_interrupt(scene: Scene) -> None:
    with driving(scene) as child:
        child.send_signal(signal.SIGINT)
        out, err = ended(child)

    assert out == ["KeyboardInterrupt", "restored"]
    assert "Go on with: batchkit resume night --database " in err
    assert scene.handle().status()["active"] == 1


def test_sigterm_detaches_and_exits_with_143(lite: Scene) -> None:
    with driving(lite) as child:
        child.send_signal(signal.SIGTERM)
        out, err = ended(child)

    assert out == ["SystemExit 143", "restored"]
    assert "Go on with: batchkit resume night" in err


def test_an_echo_of_sigterm_is_not_a_second_wish(lite: Scene) -> None:
    with driving(lite) as child:
        child.send_signal(signal.SIGTERM)
        child.send_signal(signal.SIGTERM)
        out, _ = ended(child)

    assert out == ["SystemExit 143", "restored"]


def test_a_second_ctrl_c_leaves_at_once(lite: Scene) -> None:
    """The call in hand hangs for a minute; nobody waits for it, and its intent is on the books."""
    with driving(lite, "hang") as child:
        child.send_signal(signal.SIGINT)
        assert child.stderr is not None
        assert "Ctrl-C again leaves at once" in child.stderr.readline()
        with pytest.raises(subprocess.TimeoutExpired):
            child.wait(timeout=1)
        began = time.monotonic()
        child.send_signal(signal.SIGINT)
        out, err = ended(child)

    assert out == ["KeyboardInterrupt", "restored"]
    assert time.monotonic() - began < 5
    assert "Go on with: batchkit resume night" in err
    (batch,) = lite.store.batches.of_run(lite.run_id)
    assert batch.state == "submitting"


def test_what_was_installed_before_is_restored() -> None:
    with swapped(signal.SIGTERM, lambda *_: None) as mine:
        with Detach(threading.Event(), lambda: None):
            assert signal.getsignal(signal.SIGTERM) is not mine
        assert signal.getsignal(signal.SIGTERM) is mine


def test_a_signal_that_is_ignored_stays_ignored() -> None:
    """A job that a shell put into the background has SIGINT ignored."""
    with (
        swapped(signal.SIGINT, signal.SIG_IGN),
        Detach(threading.Event(), lambda: None) as detach,
    ):
        os.kill(os.getpid(), signal.SIGINT)
        assert detach.heard is None


def test_other_threads_touch_no_handlers() -> None:
    seen: list[Any] = []

    def elsewhere() -> None:
        with Detach(threading.Event(), lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    before = signal.getsignal(signal.SIGINT)
    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()

    assert seen == [before]


def test_the_first_signal_stops_and_tells() -> None:
    stop = threading.Event()
    told: list[str] = []

    with Detach(stop, lambda: told.append("told")) as detach:
        os.kill(os.getpid(), signal.SIGTERM)
        assert stop.wait(5)

    assert told == ["told"]
    with pytest.raises(SystemExit) as end:
        detach.leave()
    assert end.value.code == 143


def test_asyncio_run_hears_ctrl_c_as_well(lite: Scene) -> None:
    """There the loop owns the main thread: its task is cancelled, and the twin detaches."""
    lite.start(["a"])
    run = lite.handle()

    async def night() -> None:
        task = asyncio.current_task()
        assert task is not None
        task.cancel()
        await run.aexecute()

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(night())


@contextmanager
def swapped(number: int, handler: Any) -> Iterator[Any]:
    before = signal.signal(number, handler)
    try:
        yield handler
    finally:
        signal.signal(number, before)
