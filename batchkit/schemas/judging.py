"""Judge an answer by the stored JSON Schema, where the class cannot be imported."""

from __future__ import annotations

import re
from datetime import datetime
from functools import lru_cache
from typing import Any, Final

import orjson
from jsonschema import Draft202012Validator, FormatChecker
from jsonschema.exceptions import ValidationError as Misfit
from jsonschema.exceptions import best_match
from referencing import Registry
from referencing.exceptions import Unresolvable

from batchkit.schemas.dialects import Node

_MOST: Final = 20
_WIDEST: Final = 300
_DECIMAL: Final = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?")

_FORMATS: Final = FormatChecker(formats=["date", "email", "ipv4", "ipv6", "uuid"])


@_FORMATS.checks("date-time", raises=ValueError)
def _is_date_time(value: object) -> bool:
    return not isinstance(value, str) or bool(datetime.fromisoformat(value))


@_FORMATS.checks("decimal", raises=ValueError)
def _is_decimal(value: object) -> bool:
    return not isinstance(value, str) or bool(_DECIMAL.fullmatch(value.strip()))


def check(value: Any, original: Node) -> list[str]:
    """Return what is wrong with `value` by its stored schema, each problem with its place.

    Empty means that it fits. Never raises: a schema that cannot be used is a problem, too.
    """
    try:
        validator = _validator(orjson.dumps(original))
        return [_told(misfit) for misfit in _first(validator.iter_errors(value))]
    except (Unresolvable, RecursionError, TypeError, ValueError, KeyError, re.error) as error:
        return [f"the stored schema cannot judge this answer: {error}"]


@lru_cache(maxsize=64)
def _validator(schema: bytes) -> Draft202012Validator:
    # An empty registry: without one, jsonschema would fetch what a foreign reference names.
    return Draft202012Validator(
        _readable(orjson.loads(schema)), format_checker=_FORMATS, registry=Registry()
    )


def _first(misfits: Any) -> list[Misfit]:
    return [misfit for misfit, _ in zip(misfits, range(_MOST), strict=False)]


def _told(misfit: Misfit) -> str:
    # Of a union, the misfit of the branch that came closest says more than "none of these".
    closest = best_match([misfit]) or misfit
    place = "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in closest.absolute_path
    )
    return f"{place.lstrip('.') or 'the answer'}: {closest.message}"[:_WIDEST]


def _readable(node: Any) -> Any:
    """Leave out patterns that Python cannot read: pydantic's are written for Rust."""
    if isinstance(node, list):
        return [_readable(part) for part in node]
    if not isinstance(node, dict):
        return node
    return {
        key: _readable(part)
        for key, part in node.items()
        if key != "pattern" or not isinstance(part, str) or _compiles(part)
    }


def _compiles(pattern: str) -> bool:
    try:
        re.compile(pattern)
    except re.error:
        return False
    return True
