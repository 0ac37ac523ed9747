"""Who holds a lease, and whether they can still be alive."""

from __future__ import annotations

import subprocess
import sys
import threading

from batchkit import processes

NAME = "from batchkit import processes; print(processes.own_name(), flush=True); input()"


def test_this_process_is_alive_and_its_names_differ() -> None:
    assert not processes.is_dead(processes.own_name())
    assert processes.own_name() != processes.own_name()


def test_a_killed_process_of_this_machine_is_dead_at_once() -> None:
    child = subprocess.Popen(
        [sys.executable, "-c", NAME], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert child.stdin is not None
    assert child.stdout is not None
    name = child.stdout.readline().strip()
    assert not processes.is_dead(name)
    child.kill()
    child.wait()
    child.stdin.close()
    child.stdout.close()
    assert processes.is_dead(name)


def test_of_another_machine_boot_or_namespace_nobody_can_tell() -> None:
    machine, pid, started, token = processes.own_name().rsplit("/", 3)
    assert not processes.is_dead(f"elsewhere-{machine}/{pid}/{started}/{token}")
    assert not processes.is_dead("a name of another kind")


def test_a_pid_that_was_given_to_another_process_is_no_sign_of_life() -> None:
    machine, pid, started, token = processes.own_name().rsplit("/", 3)
    assert processes.is_dead(f"{machine}/{pid}/{int(started) - 1}/{token}")


def test_who_left_this_process_is_gone_with_its_last_thread() -> None:
    """An engine that could not give its leases back, since the database was what ended it."""
    name, go = processes.own_name(), threading.Event()
    thread = threading.Thread(target=go.wait)
    thread.start()
    assert not processes.is_dead(name)
    processes.leave(name, [thread])
    assert not processes.is_dead(name)
    go.set()
    thread.join()
    assert processes.is_dead(name)
