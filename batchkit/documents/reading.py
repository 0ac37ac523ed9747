"""Documents read again, as they are sent: still the ones that were added, or an error."""

from __future__ import annotations

import errno
import hashlib
import os
from pathlib import Path

from batchkit.documents import office, pdf, text
from batchkit.documents.unfit import Unfit
from batchkit.errors import DocumentChanged, DocumentGone
from batchkit.model import Attachment, Document


def load(document: Document, copies: Path | None = None) -> Attachment:
    """Read `document` again, as it is to be sent: text as UTF-8 without a mark, office files as
    their text, the selected pages of a PDF as a PDF, the rest as it is.

    Line ends stay as they are, HTML stays HTML. Where it lies no more, its copy among `copies` will
    do. Raise DocumentGone if it cannot be read here, and DocumentChanged if it is another file by
    now, by size or hash.
    """
    return Reader(copies).load(document)


def measured(document: Document, copies: Path | None = None) -> Attachment:
    """Read a document for its tokens; of what is gone or changed its figures say enough."""
    try:
        return load(document, copies)
    except (DocumentGone, DocumentChanged):
        return Attachment(document, b"")


class Reader:
    """Reads documents one after the other, as ``load`` does; the same one again is at hand."""

    def __init__(self, copies: Path | None) -> None:
        self._copies = copies
        self._last: Attachment | None = None

    def load(self, document: Document) -> Attachment:
        """Return a document as it is sent; raises DocumentGone and DocumentChanged."""
        if self._last is None or self._last.document != document:
            self._last = None  # one less in memory
            self._last = _as_sent(document, _again(document, self._copies))
        return self._last


def reason(error: OSError | ValueError) -> str:
    """Return in words why a file cannot be read."""
    if isinstance(error, OSError) and error.errno is not None:
        return "permission denied" if error.errno == errno.EACCES else os.strerror(error.errno)
    return str(error)


def _as_sent(document: Document, data: bytes) -> Attachment:
    try:
        if document.media_type in office.CONVERTED:
            data = office.converted(data, document.media_type).encode()
        elif document.kind == "text":
            data = text.decoded(data).encode()
        elif document.selection is not None:
            data = pdf.cut(data, document.selection)
    except Unfit as error:
        # It passed when it was added: what reads it here is missing, or is another version.
        raise DocumentGone(f"{document.name} {error}") from error
    return Attachment(document, data)


def _again(document: Document, copies: Path | None) -> bytes:
    """Return a document's bytes from where it lay, else from its copy."""
    gone: OSError | ValueError | None = None
    try:
        data = _same(document, Path(document.path))
    except (OSError, ValueError) as error:
        data, gone = None, error
    if data is None and copies is not None:
        try:
            data = _same(document, copies / document.sha256)
        except (OSError, ValueError):
            data = None
    if data is not None:
        return data
    if gone is not None:
        raise DocumentGone(
            f"{document.name} cannot be read at {document.path} ({reason(gone)}): put it back "
            "or go on where it lies"
        ) from gone
    raise DocumentChanged(
        f"{document.name} has changed since it was added ({document.path}): put the old file "
        "back or add it again"
    )


def _same(document: Document, path: Path) -> bytes | None:
    """Return what lies at `path` if it is this document; raise OSError if nothing does."""
    data = _found(document, path)
    same = len(data) == document.size and hashlib.sha256(data).hexdigest() == document.sha256
    return data if same else None


def _found(document: Document, path: Path) -> bytes:
    """Return what lies at `path`, no more than what tells a longer file from the document."""
    with open(path, "rb") as file:
        return file.read(document.size + 1)
