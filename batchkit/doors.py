"""Packages whose public names are imported when they are first asked for."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any


def door(package: str, **rooms: Sequence[str]) -> Callable[[str], Any]:
    """Return the ``__getattr__`` of a package; ``rooms`` says what each of its modules is for."""
    found = {name: room for room, names in rooms.items() for name in names}

    def get(name: str) -> Any:
        if name not in found:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        value = getattr(import_module(f"{package}.{found[name]}"), name)
        setattr(sys.modules[package], name, value)
        return value

    return get
