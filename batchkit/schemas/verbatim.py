"""Schemas whose answers need no way back: what the provider wrote is what the class reads."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from batchkit.schemas.dialects import MARK

_CHANGING = ("enum", "const")
_IDLE: Mapping[str, str] = {"absent": "null"}
"""A mark of what becomes of a field that is left out: a required one never is."""


def is_verbatim(stored: Mapping[str, Any]) -> bool:
    """Say whether ``restore`` returns every answer as it is; `stored` is a stored AnswerSchema.

    So it is where the strict mode could say the class as it stands: nothing marked, no word whose
    spelling is forgiven, every field required.
    """
    return stored.get("mode") == "strict" and _is_plain(stored["marked"] or stored["original"])


def _is_plain(node: Any) -> bool:
    if isinstance(node, list):
        return all(_is_plain(part) for part in node)
    if not isinstance(node, dict):
        return True
    if node.get(MARK, _IDLE) != _IDLE or any(name in node for name in _CHANGING):
        return False
    fields = node.get("properties")
    if isinstance(fields, dict) and not fields.keys() <= set(node.get("required", ())):
        return False
    return all(_is_plain(part) for name, part in node.items() if name != MARK)
