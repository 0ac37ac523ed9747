"""Sets of numbers that stay small: a builder remembers a million keys."""

from __future__ import annotations

from array import array

_FIRST = 1_024


class Marks:
    """A set of 64-bit numbers, at eight bytes a place and half of the places taken.

    A set of a million Python integers takes 100 MB, this one 17.
    """

    def __init__(self) -> None:
        self._places = array("q", bytes(8 * _FIRST))
        self._count = 0

    def add(self, mark: int) -> bool:
        """Take a number in; False if it was there."""
        mark = mark or 1  # 0 is an empty place
        places = self._places
        last = len(places) - 1
        at = mark & last
        while found := places[at]:
            if found == mark:
                return False
            at = (at + 1) & last
        places[at] = mark
        self._count += 1
        if self._count * 2 > last:
            self._grow()
        return True

    def _grow(self) -> None:
        old = self._places
        self._places = array("q", bytes(8 * 2 * len(old)))
        self._count = 0
        for mark in old:
            if mark:
                self.add(mark)


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
