"""Sets of numbers that stay small: a builder remembers a million keys."""

from __future__ import annotations

from array import array

_FIRST = 1_024
_EMPTY = array("q", (0,))


class Marks:
    """A set of 64-bit numbers, at eight bytes a place and half of the places taken.

    A set of a million Python integers takes 100 MB, this one 17.
    """

    def __init__(self) -> None:
        self._places = _EMPTY * _FIRST
        self._last = _FIRST - 1
        self._free = _FIRST // 2

    def add(self, mark: int) -> bool:
        """Take a number in; False if it was there."""
        mark = mark or 1  # 0 is an empty place
        places, last = self._places, self._last
        at = mark & last
        while found := places[at]:
            if found == mark:
                return False
            at = (at + 1) & last
        places[at] = mark
        self._free -= 1
        if not self._free:
            self._grow()
        return True

    def _grow(self) -> None:
        old, size = self._places, 2 * len(self._places)
        places = self._places = _EMPTY * size
        last = self._last = size - 1
        self._free = size // 2 - len(old) // 2
        for mark in old:
            if mark:
                at = mark & last
                while places[at]:
                    at = (at + 1) & last
                places[at] = mark


class Bits:
    """A set of small numbers, one bit each."""

    def __init__(self) -> None:
        self._bits = bytearray()

    def add(self, number: int) -> None:
        """Take a number in."""
        self._reach(number)
        self._bits[number >> 3] |= 1 << (number & 7)

    def add_all(self, first: int, end: int) -> None:
        """Take in every number from ``first`` up to ``end``, which is left out."""
        if end <= first:
            return
        self._reach(end - 1)
        whole, after = -(-first // 8), end // 8
        if whole < after:
            self._bits[whole:after] = b"\xff" * (after - whole)
        for number in (*range(first, min(whole * 8, end)), *range(max(after * 8, first), end)):
            self._bits[number >> 3] |= 1 << (number & 7)

    def __len__(self) -> int:
        return int.from_bytes(self._bits, "little").bit_count()

    def __contains__(self, number: int) -> bool:
        return number >> 3 < len(self._bits) and bool(self._bits[number >> 3] & 1 << (number & 7))

    def _reach(self, number: int) -> None:
        missing = (number >> 3) + 1 - len(self._bits)
        if missing > 0:
            self._bits.extend(bytes(missing))
