"""From the places of citations in an answer to the fields they stand on."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Final

from batchkit.citing.passages import Passage, is_telling
from batchkit.model import Citation
from batchkit.schemas import Leaf, json_span, leaves

START: Final = "answer_start_index"
END: Final = "answer_end_index"
"""Where in the answer the cited words stand, in characters: an adapter notes both."""

SURE: Final = "sure"
FOUND: Final = "found"
BY_PLACE: Final = "place"
BY_VALUE: Final = "value"

ROOT: Final = "answer"
"""The path of an answer that is no object or list."""

_MOST_LOOKS: Final = 200_000


def mapped(text: str, citations: Sequence[Citation]) -> dict[str, list[Citation]]:
    """Return the citations of each field by its dotted path: ``total``, ``items.0.name``.

    In their metadata ``sure`` says whether their words contain the field's value, and ``found`` is
    ``place`` (it stands on the field's value) or ``value`` (it stands elsewhere; looked for where
    no sure one stands on the value). Fields without a citation are left out; so is null, which no
    words can support.
    """
    span = json_span(text) if citations else None
    if span is None:
        return {}
    fields = [leaf for leaf in leaves(text, span) if leaf.value not in (None, "")]
    ends = [leaf.end for leaf in fields]
    passages = [Passage(one.text) for one in citations]
    found: dict[int, list[Citation]] = {}
    for one, passage in zip(citations, passages, strict=True):
        for at, is_sure in _standing_on(one, passage, fields, ends):
            found.setdefault(at, []).append(_marked(one, BY_PLACE, is_sure))
    unsure = [at for at in range(len(fields)) if not any(map(_is_sure, found.get(at, ())))]
    if len(unsure) * len(passages) <= _MOST_LOOKS:
        for at in unsure:
            if holding := list(_holding(fields[at], citations, passages)):
                found.setdefault(at, []).extend(holding)
    return _by_path(fields, found)


def _standing_on(
    one: Citation, passage: Passage, fields: Sequence[Leaf], ends: Sequence[int]
) -> Iterator[tuple[int, bool]]:
    """Yield the fields that a citation stands on, each with whether its words contain the value.

    Of several fields under one citation those that its words contain, if there are any.
    """
    place = one.metadata or {}
    start, end = place.get(START), place.get(END)
    if not isinstance(start, int) or not isinstance(end, int):
        return
    under = []
    for at in range(bisect_right(ends, start), len(fields)):
        if fields[at].start >= end:
            break
        under.append(at)
    holding = [at for at in under if passage.contains(fields[at].value)]
    for at in holding or under:
        yield at, bool(holding)


def _holding(
    leaf: Leaf, citations: Sequence[Citation], passages: Sequence[Passage]
) -> Iterator[Citation]:
    """Yield the citations whose words contain a value that says enough to be known by it."""
    if not is_telling(leaf.value):
        return
    for one, passage in zip(citations, passages, strict=True):
        if passage.contains(leaf.value):
            yield _marked(one, BY_VALUE, True)


def _is_sure(one: Citation) -> bool:
    return bool((one.metadata or {}).get(SURE))


def _marked(one: Citation, found: str, is_sure: bool) -> Citation:
    return replace(one, metadata={**(one.metadata or {}), FOUND: found, SURE: is_sure})


def _by_path(fields: Sequence[Leaf], found: dict[int, list[Citation]]) -> dict[str, list[Citation]]:
    made: dict[str, list[Citation]] = {}
    for at in sorted(found):
        made.setdefault(".".join(fields[at].path) or ROOT, []).extend(found[at])
    return made
