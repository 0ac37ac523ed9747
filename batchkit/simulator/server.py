"""The simulator as one thing: a world, its clock, its faults and its server."""

from __future__ import annotations

import fcntl
import os
import tempfile
import threading
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Any, cast

import orjson

from batchkit.simulator.clock import Clock, real_now
from batchkit.simulator.faults import Counter, Fault, FaultPlan, Faults, Phase
from batchkit.simulator.handler import Server
from batchkit.simulator.ledger import Ledger, ledger_json, ledger_of
from batchkit.simulator.office import Office
from batchkit.simulator.outcomes import Rule
from batchkit.simulator.plan import Plan
from batchkit.simulator.settings import Settings
from batchkit.simulator.storm import Storm
from batchkit.simulator.webhooks import Webhooks
from batchkit.simulator.wire import Reply, said
from batchkit.simulator.world import Strike, World

VIRTUAL_START = 1_793_491_200.0
"""2026-11-01T00:00:00Z, where virtual time begins unless told otherwise."""

_TICK = 0.05


class PortTaken(Exception):
    """Another process listens on the port that was asked for."""


class FolderTaken(Exception):
    """Another simulator works on the folder that was asked for."""


class Simulator:
    """Both providers on one loopback port, as a context manager.

    Time stands still until `advance` moves it; with `scale` it runs that many times as fast as
    real time, with `instant=True` batches end when they are next looked at.
    `folder` keeps everything, for the next simulator on the same folder; without one it is
    temporary. `faults` is a `Plan`, whose settings hold where no option says otherwise, or any
    object that is consulted about every call. Other `options` are the fields of `Settings`.
    """

    def __init__(
        self,
        folder: Path | str | None = None,
        *,
        port: int = 0,
        scale: float = 0.0,
        start: float | None = None,
        rule: Rule | None = None,
        faults: FaultPlan | Plan | None = None,
        settings: Settings | None = None,
        **options: Any,
    ) -> None:
        self._temporary = (
            tempfile.TemporaryDirectory(prefix="simulator-") if folder is None else None
        )
        self.folder = Path(folder if folder is not None else cast("Any", self._temporary).name)
        self._planned = faults if isinstance(faults, Plan) else Plan()
        self.settings = replace(settings or Settings(), **{**self._planned.settings, **options})
        self.faults = Faults()
        self.bugs: list[str] = []
        self._plan = None if isinstance(faults, Plan) else faults
        self._port, self._scale, self._rule = port, scale, rule
        self._start = start if start is not None else (real_now() if scale else VIRTUAL_START)
        self._server: Server | None = None

    def start(self) -> Simulator:
        """Listen; raise `PortTaken` or `FolderTaken` if somebody else does or works there."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = _locked(self.folder)
        try:
            self._open()
        except BaseException:
            _unlocked(self._lock)
            raise
        return self

    def _open(self) -> None:
        world = World(self.folder, self.settings.seed)
        self.storm = Storm(self._planned, world)
        self.office = Office(world, self.settings, self._rule, storm=self.storm)
        self.clock = Clock(self.folder / "clock", scale=self._scale, start=self._start)
        try:
            self.webhooks = Webhooks(self.office, self.storm)
            self._server = Server(self._port, self, self._control)
        except OSError as exc:
            self._close_files()
            raise PortTaken(
                f"port {self._port} on 127.0.0.1 is taken: choose another, or 0 for any"
            ) from exc
        except ValueError:
            self._close_files()
            raise
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.05,), daemon=True
        )
        self._thread.start()
        self._ticker = threading.Thread(target=self._tick, args=(self._server,), daemon=True)
        if self._scale and self.settings.webhook_url:
            self._ticker.start()

    def stop(self) -> None:
        """Close all connections and files; the folder stays unless it was temporary."""
        if self._server is None:
            return
        self._server.shutdown()
        self._thread.join()
        self._server.hang_up()
        if self._ticker.is_alive():
            self._ticker.join()
        self._server.server_close()
        self._server = None
        self._close_files()
        _unlocked(self._lock)
        if self._temporary is not None:
            self._temporary.cleanup()

    def _close_files(self) -> None:
        self.office.world.close()
        self.clock.close()

    def _tick(self, server: Server) -> None:
        """Send webhooks as time runs by itself."""
        while not server.stopping.wait(_TICK):
            self.webhooks.send(self.now())

    def __enter__(self) -> Simulator:
        return self.start()

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def url(self) -> str:
        """Where it listens."""
        if self._server is None:
            raise RuntimeError("the simulator is not started: use `with Simulator() as sim`")
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    @property
    def openai_url(self) -> str:
        """The base URL for an OpenAI client."""
        return f"{self.url}/v1"

    @property
    def anthropic_url(self) -> str:
        """The base URL for an Anthropic client."""
        return self.url

    def now(self) -> float:
        """Return the simulated time, in unix seconds."""
        return self.clock.now()

    def advance(self, seconds: float) -> float:
        """Let simulated time pass, send the webhooks that are due, and return it."""
        now = self.clock.advance(seconds)
        self.webhooks.send(now)
        return now

    def ledger(self) -> Ledger:
        """Return the books as of now."""
        return ledger_of(self.office, self.now())

    def revoke(self, key: str) -> None:
        """Refuse a key from now on, across restarts."""
        self.office.world.bar("revoked", key)

    def reinstate(self, key: str) -> None:
        """Take a key's revocation back."""
        self.office.world.unbar("revoked", key)

    def exhaust_credit(self, workspace: str = "default") -> None:
        """Refuse what costs in a workspace: OpenAI 429 `insufficient_quota`, Anthropic 402."""
        self.office.world.bar("broke", workspace)

    def restore_credit(self, workspace: str = "default") -> None:
        """Accept what costs again."""
        self.office.world.unbar("broke", workspace)

    def cap_spend(self, workspace: str = "default") -> None:
        """Refuse what costs with a 429 without `retry-after`: the spend limit is reached."""
        self.office.world.bar("capped", workspace)

    def lift_cap(self, workspace: str = "default") -> None:
        """Accept what costs again."""
        self.office.world.unbar("capped", workspace)

    def fault_for(self, route: str, nth: int, phase: Phase) -> Fault | None:
        """Ask the plan that was given, then the one made by hand."""
        given: FaultPlan = self._plan if self._plan is not None else self.storm
        return given.consult(route, nth, phase) or self.faults.consult(route, nth, phase)

    def struck(self, route: str, nth: int, fault: Fault) -> None:
        """Write down that a fault struck a call."""
        self.office.world.strike(Strike(self.now(), route, nth, fault.kind, fault.rule))

    @property
    def counter(self) -> Counter:
        """How often each route was called."""
        return self.faults.counter

    def _control(self, method: str, path: str, body: bytes) -> Reply:
        """Answer the simulator's own routes, for other processes."""
        told = orjson.loads(body or b"{}")
        if path == "/_sim/ledger":
            return Reply(200, ledger_json(self.ledger()))
        if path == "/_sim/advance" and method == "POST":
            return said({"now": self.advance(float(told["seconds"]))})
        if path == "/_sim/state":
            return said(self._state())
        if path == "/_sim/revoke" and method == "POST":
            self.revoke(str(told["key"]))
            return said({})
        return said({"error": f"no {method} {path}"}, 404)

    def _state(self) -> dict[str, Any]:
        world = self.office.world
        return {
            "now": self.now(),
            "folder": str(self.folder),
            "batches": len(world.batches),
            "files": len(world.files),
            "knocks": len(world.knocks),
            "strikes": len(world.strikes),
            "calls": self.counter.calls,
        }


def serve(
    port: int,
    folder: Path | str,
    *,
    scale: float = 1.0,
    settings: Settings | None = None,
    **options: Any,
) -> None:
    """Serve until interrupted; raise `PortTaken` if the port is."""
    with Simulator(folder, port=port, scale=scale, settings=settings, **options) as simulator:
        simulator._thread.join()  # noqa: SLF001


def _locked(folder: Path) -> int:
    """Lock the folder for as long as this process lives; raise `FolderTaken` if it is."""
    lock = os.open(folder / "lock", os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        holder = os.pread(lock, 32, 0).decode("ascii", "replace")
        os.close(lock)
        raise FolderTaken(
            f"another simulator (process {holder or 'unknown'}) works on {folder}: "
            "stop it, or choose another folder"
        ) from exc
    os.ftruncate(lock, 0)
    os.pwrite(lock, str(os.getpid()).encode(), 0)
    return lock


def _unlocked(lock: int) -> None:
    fcntl.flock(lock, fcntl.LOCK_UN)
    os.close(lock)
