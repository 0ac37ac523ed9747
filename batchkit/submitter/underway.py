"""One batch on its way up the line while the next one is cut."""

from __future__ import annotations

from collections.abc import Callable

from batchkit.errands import Errand


class Sending:
    """A send that is begun now: by another thread, or here and at once if ``beside`` is False."""

    def __init__(self, send: Callable[[], bool], *, beside: bool) -> None:
        self._send = send
        self._went = False
        self._errand = Errand(self._run, "batchkit-sending", may_hang=True) if beside else None
        if self._errand is None:
            self._went = send()
        else:
            self._errand.start()

    def _run(self, begun: Callable[[], object]) -> None:
        begun()
        self._went = self._send()

    def went(self) -> bool:
        """Return whether the provider has it, once that is known; raises what the send raised."""
        error = None if self._errand is None else self._errand.wait()
        if error is not None:
            raise error
        return self._went
