"""How much of a document Anthropic looks at in one request. Pure."""

from __future__ import annotations

from batchkit.model import Request
from batchkit.tokens import claude_version

_PAGES = 600
_PAGES_OF_SMALL = 100
_FIRST_LARGE = (4, 6)
"""From here on models have a window of a million tokens; unknown ones are given the benefit."""


def too_many(request: Request) -> list[str]:
    """Say which limit on PDF pages or images a request is over, with the way out."""
    version = claude_version(request.model)
    small = version is not None and version < _FIRST_LARGE
    most = _PAGES_OF_SMALL if small else _PAGES
    pages = sum(one.document.pages or 0 for one in request.attachments)
    images = sum(one.document.kind == "image" for one in request.attachments)
    names = ", ".join(one.document.name for one in request.attachments[:3])
    found = []
    if pages > most:
        found.append(
            f"{names}: {pages:,} PDF pages, and {request.model} takes at most {most} in a request: "
            f'send a part of them with pages="1-{most}", or a PDF in parts with split_pages={most}.'
        )
    if images > most:
        found.append(
            f"{names} and more: {images:,} images, and {request.model} takes at most {most} in a "
            "request: make several jobs of them."
        )
    return found
