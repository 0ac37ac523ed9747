"""A stored citation as people mean it: by the pages of the whole document, not of what was sent."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from batchkit.documents.ranges import original_page
from batchkit.model import Citation, Json

_FIRST: Final = "start_page_number"
_END: Final = "end_page_number"


def placed(stored: Mapping[str, Any], documents: Sequence[Mapping[str, Any]] | None) -> Citation:
    """Return a stored citation; ``documents`` are its job's, as they are stored.

    Where only some pages of a PDF were sent, its pages count as in the file.
    """
    one = Citation(**stored)
    metadata = one.metadata or {}
    selection = _selection(metadata.get("document_index"), documents or ())
    first, end = metadata.get(_FIRST), metadata.get(_END)
    if selection is None or not isinstance(first, int):
        return one
    page = original_page(selection, first)
    shifted: Json = {**metadata, _FIRST: page}
    if isinstance(end, int):
        # The end is exclusive: the page before it is one that was sent.
        shifted[_END] = original_page(selection, max(first, end - 1)) + 1
    return Citation(one.text, one.source, page, shifted)


def _selection(index: object, documents: Sequence[Mapping[str, Any]]) -> str | None:
    citable = [document for document in documents if document.get("kind") != "image"]
    if not isinstance(index, int) or not 0 <= index < len(citable):
        return None
    found = citable[index].get("selection")
    return None if found is None else str(found)
