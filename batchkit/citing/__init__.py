"""Which citation supports which field of an answer, and how sure that is. Pure.

A provider that cites gives no structured output, so the answer's JSON is read out of text blocks,
and a citation belongs to the field on whose value it stands. Nothing here believes that: a mapping
is *sure* only if the cited words contain the field's value.
"""

from batchkit.citing.mapping import BY_PLACE, BY_VALUE, END, FOUND, START, SURE, mapped
from batchkit.citing.pages import placed
from batchkit.citing.passages import Passage, is_telling

__all__ = [
    "BY_PLACE",
    "BY_VALUE",
    "END",
    "FOUND",
    "START",
    "SURE",
    "Passage",
    "is_telling",
    "mapped",
    "placed",
]
