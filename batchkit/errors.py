"""Every error batchkit raises.

    BatchkitError
    ├── ValidationError            also a ValueError: what was given cannot work
    ├── DocumentGone               a document cannot be read here: its job waits
    ├── DocumentChanged            a document is not the one that was added
    ├── ConfigError                settings, keys, folders, URLs
    ├── KeyConflictError           one key, two jobs
    ├── RunChangedError            the script no longer says what the run says
    ├── CostLimitExceededError     not one job fits and nothing was sent
    ├── ExhaustionError            attempts used up
    ├── AccountMismatchError       the key at hand cannot see the run's batches
    ├── StateError                 database older or newer than the code
    ├── RunNotFoundError           no such run here
    ├── IllegalMove                a broken law: a bug, never caught
    └── ProviderError              a failed call (a failed *request* is a value)
        ├── ProviderNotFoundError  no provider serves this
        ├── ProviderUnavailable    not now; ask again
        ├── ProviderRefused        understood, and no
        └── ProviderGarbled        an answer that is none

An error says what to do next.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any


class BatchkitError(Exception):
    """Catch everything batchkit raises on purpose."""


class ValidationError(BatchkitError, ValueError):
    """Name the value that cannot work and the way out; nothing was sent."""


class DocumentGone(BatchkitError):
    """Say which document cannot be read on this machine; its job can wait for it."""


class DocumentChanged(BatchkitError):
    """Say which document has another size or content than when its job was added."""


class ConfigError(BatchkitError):
    """Say which setting, key, folder or URL is missing or wrong."""


class KeyConflictError(BatchkitError):
    """Say which key stands for two jobs."""


class RunChangedError(BatchkitError):
    """Show how the script differs from the run it names; nothing was sent.

    ``differences`` is a list of ``{"key", "field", "old", "new"}`` examples and ``counts`` holds
    ``known``, ``new``, ``changed`` and ``gone``.
    """

    def __init__(
        self,
        message: str,
        *,
        counts: Mapping[str, int] | None = None,
        differences: Sequence[Mapping[str, Any]] = (),
    ) -> None:
        super().__init__(message)
        self.counts = dict(counts or {})
        self.differences = [dict(row) for row in differences]


class CostLimitExceededError(BatchkitError):
    """Say that not one job fits under the cost limit; nothing was sent."""


class ExhaustionError(BatchkitError):
    """Say that attempts are used up; ``result`` carries what was done."""

    def __init__(self, message: str, *, result: Any = None) -> None:
        super().__init__(message)
        self.result = result


class AccountMismatchError(BatchkitError):
    """Say that the key at hand cannot see the batches this run has in flight."""


class StateError(BatchkitError):
    """Say that database and code disagree, and which command mends it."""


class RunNotFoundError(BatchkitError):
    """Say that no such run is in this database and project, and which are."""


class IllegalMove(BatchkitError):
    """A move its state machine does not know: a bug in batchkit, never caught."""


class ProviderError(BatchkitError):
    """A call to a provider that failed as a whole.

    ``code`` is the provider's own word for it, ``status`` the HTTP status or None, ``maybe``
    says whether the provider may have acted all the same (a create that lost its answer).
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        maybe: bool = False,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.maybe = maybe


class ProviderNotFoundError(ProviderError):
    """Say which providers there are when none serves the model or name that was given."""


class ProviderUnavailable(ProviderError):
    """Not now: unreachable, overloaded, rate limited; ``retry_after`` in seconds if it was said.

    ``maybe=True`` unless the request certainly never arrived or was certainly turned away.
    """

    def __init__(
        self,
        message: str,
        *,
        retry_after: float | None = None,
        code: str | None = None,
        status: int | None = None,
        maybe: bool = False,
    ) -> None:
        super().__init__(message, code=code, status=status, maybe=maybe)
        self.retry_after = retry_after


class ProviderRefused(ProviderError):
    """Understood and turned away.

    ``reason`` is one of ``account`` (key, credit, access: a person mends it), ``not_found``,
    ``queue`` (the provider's queue is full), ``too_large`` and ``request`` (the call as such).
    """

    def __init__(
        self,
        message: str,
        *,
        reason: str = "request",
        code: str | None = None,
        status: int | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status)
        self.reason = reason


class ProviderGarbled(ProviderError):
    """An answer that cannot be read: half a body, HTML, another shape; may have acted.

    ``files`` are the result files that came all the same, shorter than the provider's own counts:
    what is left for a step that gives up asking. None of them is an ended batch that names no file;
    None says nothing about files.
    """

    def __init__(
        self,
        message: str,
        *,
        code: str | None = None,
        status: int | None = None,
        maybe: bool = False,
        files: Sequence[Path] | None = None,
    ) -> None:
        super().__init__(message, code=code, status=status, maybe=maybe)
        self.files = None if files is None else tuple(files)
