"""How runs stand, for whoever only looks: what can be done with a run is not imported here."""

from __future__ import annotations

from collections.abc import Mapping

from batchkit.clock import Clock, SystemClock
from batchkit.model import BatchState, Json
from batchkit.providers import Provider
from batchkit.standing.expiry import warnings
from batchkit.standing.status import Gauge
from batchkit.store import RunRow, Store


class Standing:
    """One run, looked at: each member reads its rows again."""

    def __init__(
        self,
        store: Store,
        row: RunRow,
        *,
        clock: Clock | None = None,
        providers: Mapping[str, Provider] | None = None,
    ) -> None:
        self.id = row.uid
        self.name = row.name
        self._store = store
        self._run_id = row.id
        self._clock = clock or SystemClock()
        self._providers = providers
        self._gauge = Gauge(store, row.id, self._clock)

    def status(self) -> Json:
        """Return the status as ``BatchRun.status`` promises it."""
        return self._gauge.read()

    def firsts(self) -> Json:
        """Return what went before the rest: ``canary`` and ``prompt_caching``, None where none."""
        return self._gauge.firsts()

    def warnings(self) -> list[str]:
        """Return what leaves the provider within nine days, or has left it, uncollected."""
        return warnings(self._store, self._run_id, self._clock.now(), self._providers)

    def forecast(self) -> Json | None:
        """Return when what is in flight and waits will have ended, as `standing.forecast` says."""
        live = self._store.batches.of_run(self._run_id, live=True)
        running = [batch for batch in live if batch.state != BatchState.ENDED]
        if not running:
            return None
        from batchkit.standing.forecast import forecast

        run = self._store.runs.get(self._run_id)
        return forecast(self._store, run, running, self._clock.now())
