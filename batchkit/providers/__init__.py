"""One provider's batch API behind one protocol, and how a provider is found.

Built-in adapters come in by the entry-point group ``batchkit.providers``, as anybody's do.
"""

from __future__ import annotations

from collections.abc import Collection, Container, Iterable, Iterator, Mapping
from datetime import timedelta
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Protocol, runtime_checkable

from batchkit.errors import ProviderNotFoundError
from batchkit.model import (
    Account,
    Attachment,
    BatchStatus,
    Created,
    Document,
    Download,
    Limits,
    Outcome,
    Request,
    Search,
    Shared,
    Spool,
    Traits,
    Window,
)

GROUP = "batchkit.providers"


@runtime_checkable
class Provider(Protocol):
    """One provider's batch API.

    A call returns or raises one of ``ProviderUnavailable``, ``ProviderRefused`` and
    ``ProviderGarbled``; it never retries what creates, sleeps, reads a clock or touches the
    store. It has no policy: the steps decide. It must be usable from several threads.
    """

    name: str
    limits: Limits
    traits: Traits

    def account(self) -> Account:
        """Return whose key is at hand; raise ConfigError naming the variable if there is none."""
        ...

    def check(self, request: Request) -> list[str]:
        """Say what would make the provider turn the request away, each with the way out."""
        ...

    def encode(self, request: Request, custom_id: str) -> bytes:
        """Return the line, exactly as sent, without a line end. Pure."""
        ...

    def stage(self, spool: Spool) -> str | None:
        """Upload the spool and return the file's ref; None where create takes the lines."""
        ...

    def unstage(self, file_ref: str) -> None:
        """Delete an uploaded file, so that a create still under way can only fail; idempotent."""
        ...

    def create(self, spool: Spool, file_ref: str | None) -> Created:
        """Create the batch: one attempt, no retry. ``error.maybe`` says if it may have arrived."""
        ...

    def find(
        self, spool: Spool, file_ref: str | None, window: Window, known: Container[str]
    ) -> Search:
        """Look for a batch whose create lost its answer. ``known`` refs are somebody's already.

        ``spool.path`` need not exist any more.
        """
        ...

    def poll(self, ref: str) -> BatchStatus:
        """Ask how a batch stands."""
        ...

    def download(self, ref: str, to: Path) -> Download:
        """Bring every result file into the folder ``to``, whole, checked against the counts.

        A file shorter than the provider's counts is a ProviderGarbled that carries it in ``files``:
        downloading again converges, or the step takes what there is.
        """
        ...

    def outcomes(self, files: Download) -> Iterator[Outcome]:
        """Read result files line by line; a line that cannot be read is a value, too."""
        ...

    def cancel(self, ref: str) -> None:
        """Ask the provider to stop a batch; done already is no error."""
        ...

    def ask(self, request: Request) -> Outcome:
        """Make the real-time call, once, at full price."""
        ...


@runtime_checkable
class Lister(Protocol):
    """What a provider may have besides: it can tell which batches carry our tokens."""

    def carrying(self, mark: str, window: Window, known: Container[str]) -> Search:
        """List the window's batches whose token begins with ``mark``, ``known`` refs left out.

        Only what is ``certain``; what cannot be seen yet is not among them.
        """
        ...


@runtime_checkable
class Surveyor(Protocol):
    """What a provider may have besides: it tells in one call how many batches stand."""

    def statuses(self, refs: Collection[str]) -> Mapping[str, BatchStatus]:
        """Return how those of the batches stand that are among the newest of the listing.

        Of the others it says nothing: they are polled. The status is what ``poll`` would return.
        """
        ...


@runtime_checkable
class Sharer(Protocol):
    """What a provider may have besides: a document can be uploaded once, and named in requests.

    ``encode`` then writes the ref of an attachment that has one.
    """

    def shares(self, document: Document) -> bool:
        """Say whether requests can name this one; False where nobody knows what the server does."""
        ...

    def share(self, attachment: Attachment, life: timedelta) -> Shared:
        """Upload it, to go by itself after ``life``: one attempt, no retry."""
        ...

    def unshare(self, ref: str) -> None:
        """Delete what was uploaded; gone already is no error."""
        ...


@runtime_checkable
class Preparer(Protocol):
    """What a provider may have besides: something that takes a while to load."""

    def prepare(self) -> None:
        """Load it before the first call; nothing is called."""
        ...


@runtime_checkable
class Closer(Protocol):
    """What a provider may have besides: connections to close. A call after it opens others."""

    def close(self) -> None:
        """Close the connections."""
        ...


def close(provider: Provider) -> None:
    """Let a provider that has connections close them."""
    if isinstance(provider, Closer):
        provider.close()


def names() -> list[str]:
    """Return the names of all installed providers, sorted."""
    return sorted(entry.name for entry in entry_points(group=GROUP))


def load(name: str) -> Provider:
    """Make the provider of that name; raise ProviderNotFoundError that lists the known ones."""
    return _make(_entry(name))


def for_model(model: str) -> str:
    """Return the name of the provider that serves a model, by the longest known prefix.

    Raises ProviderNotFoundError that names the known prefixes and ``provider=``.
    """
    known = dict(_prefixes())
    fitting = [prefix for prefix in known if model.startswith(prefix)]
    if not fitting:
        raise ProviderNotFoundError(
            f"No provider serves the model {model!r}. Known prefixes: {', '.join(sorted(known))}. "
            f"For another server say which API it speaks with provider= ({', '.join(names())})."
        )
    return known[max(fitting, key=len)]


def _entry(name: str) -> EntryPoint:
    for entry in entry_points(group=GROUP):
        if entry.name == name:
            return entry
    raise ProviderNotFoundError(
        f"There is no provider {name!r}. Installed: {', '.join(names()) or 'none'}."
    )


def _make(entry: EntryPoint) -> Provider:
    made = entry.load()()
    if not isinstance(made, Provider):
        raise ProviderNotFoundError(
            f"The provider {entry.name!r} ({entry.value}) does not implement batchkit's protocol."
        )
    return made


def _prefixes() -> Iterable[tuple[str, str]]:
    for entry in sorted(entry_points(group=GROUP), key=lambda one: one.name, reverse=True):
        for prefix in _make(entry).traits.prefixes:
            yield prefix, entry.name
