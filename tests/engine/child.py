"""The process that is killed: forked from a server that has everything imported, once a case.

Run as ``python -m tests.engine.child``: a task as one line of JSON on stdin, what became of the
process as one line on stdout. A task drives one run with the real adapters, and names the point at
which the process kills itself with SIGKILL. Points lie before and after every commit of the store
and every call to a provider; the proxies that know them live here, not in the product.
"""

from __future__ import annotations

import gc
import os
import signal
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import Any

import anthropic
import openai
import orjson
import psycopg

from batchkit import submitter
from batchkit.clock import SystemClock
from batchkit.collector import Collector
from batchkit.engine import Engine
from batchkit.errors import ProviderUnavailable
from batchkit.pace import Pace
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIResponses
from batchkit.store import BatchRow, Store, leases
from batchkit.store.batches import Batches
from batchkit.store.database import Database
from batchkit.tokens import count_o200k
from tests.engine.crashes import KEY
from tests.engine.mutants import MUTANTS
from tests.engine.sharing import SharedClock

CALLS = ("stage", "unstage", "create", "find", "poll", "download", "cancel", "share", "unshare")
_STORE = f"{os.sep}batchkit{os.sep}store{os.sep}"
_PRELOADED = (anthropic, openai, psycopg, Collector)


@dataclass(slots=True)
class Points:
    """Counts the points that are passed; kills the process at one of them.

    A kill without a name is the n-th point of all.
    """

    kill: tuple[str, int] | None
    stop: tuple[str, int] | None = None
    told: Path | None = None
    passed: Counter[str] = field(default_factory=Counter)

    def at(self, name: str) -> None:
        """Pass a point, die there, or stand still there until somebody says SIGCONT."""
        self.passed[name] += 1
        if self.told is not None and self.stop == (name, self.passed[name]):
            self.told.write_text(str(os.getpid()))
            os.kill(os.getpid(), signal.SIGSTOP)
        if self.kill in ((name, self.passed[name]), ("", self.passed.total())):
            os.kill(os.getpid(), signal.SIGKILL)


class Proxy:
    """An adapter with a point before and after every call to the network."""

    def __init__(self, provider: Any, points: Points) -> None:
        self._provider = provider
        self._points = points

    def __getattr__(self, name: str) -> Any:
        value = getattr(self._provider, name)
        if name not in CALLS or (name in ("stage", "unstage") and not self._provider.traits.stages):
            return value

        def call(*args: Any, **options: Any) -> Any:
            self._points.at(f"before {name}")
            try:
                return value(*args, **options)
            finally:
                self._points.at(f"after {name}")

        return call


def watch_writes(points: Points) -> None:
    """Put a point before and after every commit."""
    write = Database.write

    @contextmanager
    def watched(self: Database, *, durable: bool = False, roomy: bool = False) -> Iterator[Any]:
        name = _caller()
        with write(self, durable=durable, roomy=roomy) as connection:
            yield connection
            points.at(f"before the commit of {name}")
        points.at(f"after the commit of {name}")

    Database.write = watched  # type: ignore[method-assign]
    due = Batches.due

    def listed(self: Batches, *args: Any) -> list[BatchRow]:
        found = due(self, *args)
        points.at(f"after listing what is {', '.join(args[-1])}")
        return found

    Batches.due = listed  # type: ignore[assignment,method-assign]


def _caller() -> str:
    """Return the store's method that writes: ``batches.seal``."""
    frame = sys._getframe(2)
    while frame is not None and _STORE not in frame.f_code.co_filename:
        frame = frame.f_back  # type: ignore[assignment]
    if frame is None:
        return "?"
    return f"{Path(frame.f_code.co_filename).stem}.{frame.f_code.co_name}"


def drive(task: dict[str, Any]) -> dict[str, Any]:
    """Drive the task's run until it ends or time is up."""
    points = Points(_point(task.get("kill")), _point(task.get("stop")))
    points.told = Path(task["spools"]) / "stopped"
    leases.LEASE = timedelta(seconds=task.get("lease", 90))
    for name in task.get("mutants", ()):
        MUTANTS[name]()
    watch_writes(points)
    submitter._TWO_HANDED = (SystemClock, SharedClock)
    url = task["simulator"]
    timeout = task.get("timeout")
    made: dict[str, Any] = {
        "openai": OpenAIResponses(api_key=KEY, base_url=f"{url}/v1", timeout=timeout),
        "anthropic": Anthropic(api_key=KEY, base_url=url, timeout=timeout),
    }
    store = Store(task["database"])
    engine = Engine(
        store,
        clock=SystemClock() if "pace" in task else SharedClock(url, skew=task.get("skew", 0.0)),
        pace=Pace(task.get("pace", 1.0)),
        providers={name: Proxy(provider, points) for name, provider in made.items()},
        spools=Path(task["spools"]),
    )
    stop = threading.Event()
    wait = task["max_wait"]
    ending = engine.drive([task["run"]], stop=stop, max_wait=wait, interval=0.05)
    store.close()
    return {"ending": ending, "points": dict(points.passed)}


def _point(told: Any) -> tuple[str, int] | None:
    return (str(told[0]), int(told[1])) if told else None


def _fork(task: dict[str, Any]) -> dict[str, Any]:
    """Do a task in a process of its own; return how that ended."""
    out, into = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(out)
        _live(task, into)
    os.close(into)
    with os.fdopen(out, "rb") as told:
        said = told.read()
    _, status = os.waitpid(pid, 0)
    if os.WIFSIGNALED(status):
        return {"signal": os.WTERMSIG(status)}
    return {"signal": 0, **(orjson.loads(said) if said else {"error": "it said nothing"})}


def _live(task: dict[str, Any], into: int) -> None:
    try:
        told = drive(task)
    except BaseException as error:  # noqa: BLE001 -- told to the test, with its trace
        import traceback

        told = {"error": f"{type(error).__name__}: {error}", "trace": traceback.format_exc()}
    with os.fdopen(into, "wb") as pipe:
        pipe.write(orjson.dumps(told))
    os._exit(0)


def warm_up() -> None:
    """Load what is loaded when first used, so that a fork starts at once."""
    count_o200k("warm")
    nowhere = "http://127.0.0.1:9"
    for provider in (
        OpenAIResponses(api_key="none", base_url=f"{nowhere}/v1"),
        Anthropic(api_key="none", base_url=nowhere),
    ):
        with suppress(ProviderUnavailable):
            provider.poll("nothing")


def serve() -> None:
    """Fork a process for every line on stdin."""
    warm_up()
    gc.collect()
    gc.freeze()  # a child that collects garbage would copy every page it was given
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(orjson.dumps(_fork(orjson.loads(line))) + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    serve()
