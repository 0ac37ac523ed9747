"""How much less goes up the line than jobs weigh, because documents are uploaded once."""

from __future__ import annotations

from collections.abc import Sequence

from batchkit import requests, sharing
from batchkit.builder.wishes import Wishes
from batchkit.model import Document, Json
from batchkit.providers import Provider, Sharer
from batchkit.store import Store


def spared(store: Store, provider: Provider, run_id: int, wishes: Wishes) -> int:
    """Return the bytes of base64 that the lines of a run's draft will not hold."""
    if not isinstance(provider, Sharer):
        return 0
    if wishes.share_documents == "off" or wishes.raw_files == "full":
        return 0
    paying = sharing.paying(store.uploads.drafted(run_id, provider.name))
    if not paying:
        return 0
    return sum(
        number * sharing.in_line(requests.sent_bytes(one))
        for listed, number in store.uploads.drafted(run_id, provider.name)
        for one in _shared(listed, paying, provider)
    )


def _shared(
    listed: Sequence[Json], paying: dict[sharing.Key, int], provider: Sharer
) -> list[Document]:
    found = requests.documents_of(listed)
    return [one for one in found if sharing.key_of(one) in paying and provider.shares(one)]
