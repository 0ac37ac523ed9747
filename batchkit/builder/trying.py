"""Try a few jobs out now."""

from __future__ import annotations
from typing import Any


class Trial:
    def __init__(self, *_: Any) -> None: ...
    def run(self, n: int, notices: list[str]) -> list[Any]:
        raise NotImplementedError
