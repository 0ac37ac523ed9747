"""Work done by another thread while this one goes on; what goes wrong with it is handed over."""

from __future__ import annotations

import threading
from collections.abc import Callable

from batchkit.errands import Errand


def test_this_thread_goes_on_once_no_python_is_needed():
    may_end, done = threading.Event(), []

    def work(begun: Callable[[], object]) -> None:
        begun()
        assert may_end.wait(60)
        done.append(threading.current_thread().name)

    errand = Errand(work, "hand")
    errand.start()
    assert done == []
    may_end.set()
    assert errand.wait() is None
    assert done == ["hand"]


def test_it_is_done_once_and_its_error_handed_over():
    calls = []

    def work(begun: Callable[[], object]) -> None:
        calls.append(1)
        raise OSError("full")

    errand = Errand(work, "hand")
    errand.start()
    assert isinstance(errand.wait(), OSError)
    assert isinstance(errand.wait(), OSError)
    assert calls == [1]


def test_without_a_thread_whoever_waits_does_it():
    done = []
    errand = Errand(lambda begun: done.append(threading.current_thread()), "hand")
    assert errand.wait() is None
    assert done == [threading.current_thread()]


def test_after_a_fork_the_child_does_not_wait_for_the_parents_thread():
    done = []
    errand = Errand(lambda begun: done.append(1), "hand")
    errand._claim.acquire()  # as the parent's thread had it
    errand._pid -= 1
    assert errand.wait() is None
    assert done == [1]


def test_giving_way_lets_the_other_thread_work_and_waits_for_nothing_that_is_done():
    may_end = threading.Event()

    def work(begun: Callable[[], object]) -> None:
        begun()
        assert may_end.wait(60)

    errand = Errand(work, "hand")
    errand.start()
    errand.give_way()  # comes back though the work goes on
    may_end.set()
    errand.wait()
    errand.give_way()
