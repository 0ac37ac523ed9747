"""This process: the name that it holds leases by, and memory that it has no use for any more.

A process killed with SIGKILL lets go of nothing. On the same machine its successor need not wait
for the lease to run out: the name says which process it was, and the machine knows that it is gone.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import socket
import threading
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

_UNKNOWN = "?"

_left: dict[str, tuple[threading.Thread, ...]] = {}


def own_name() -> str:
    """Return a name for this process that no other ever had."""
    pid = os.getpid()
    return f"{_machine()}/{pid}/{_started(pid)}/{secrets.token_hex(3)}"


def give_back() -> None:
    """Let the machine have the memory that was freed: the C library keeps it, between what is used.

    Of a million jobs added that is some 40 MB; only glibc can be told to.
    """
    with suppress(AttributeError, OSError, TypeError):
        ctypes.CDLL(None).malloc_trim(0)


def leave(name: str, threads: Iterable[threading.Thread]) -> None:
    """Say that whoever has this name is gone from this process with the last of its threads."""
    _left[name] = tuple(threads)


def is_dead(name: str) -> bool:
    """Say whether an owner on this machine is certainly gone; False where nobody can tell."""
    if name in _left:
        return not any(thread.is_alive() for thread in _left[name])
    parts = name.rsplit("/", 3)
    if len(parts) != 4 or _UNKNOWN in name or parts[0] != _machine():
        return False
    _, pid, started, _ = parts
    return _started(int(pid)) != started


def _machine() -> str:
    """Name this boot of this machine and this process namespace: a pid means nothing beyond it."""
    boot, space = _UNKNOWN, _UNKNOWN
    with suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text(encoding="ascii").strip()
        space = Path("/proc/self/ns/pid").readlink().name.strip("pid:[]")
    return f"{socket.gethostname()}/{boot}/{space}"


def _started(pid: int) -> str:
    """Return when a process started, in the kernel's ticks; "gone" if there is none."""
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        return "gone" if Path("/proc/self/stat").exists() else _UNKNOWN
    except OSError:
        return _UNKNOWN
    fields = stat.rpartition(")")[2].split()
    return "gone" if fields[0] in ("Z", "X") else fields[19]
