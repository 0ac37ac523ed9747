"""Ranges of pages: one way of writing, and pages of a part told as pages of the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.documents import ranges
from batchkit.errors import ValidationError

PAGES = st.sets(st.integers(1, 60), min_size=1, max_size=20).map(sorted)


@given(PAGES)
def test_what_is_written_means_the_same_pages(pages: list[int]) -> None:
    """And is written the same way again."""
    said = ranges.of_numbers(pages)
    assert ranges.numbers(said, 60) == pages
    assert ranges.written(said) == said


@given(PAGES)
def test_a_page_of_a_part_is_found_in_the_whole(pages: list[int]) -> None:
    """The one after the last, where a citation ends, follows the last."""
    said = ranges.of_numbers(pages)
    found = [ranges.original_page(said, number) for number in range(1, len(pages) + 2)]
    assert found == [*pages, pages[-1] + 1]
    assert ranges.original_page(None, 7) == 7


@given(st.text("0123456789-, x", max_size=12))
def test_anything_is_a_range_or_a_clear_error(said: str) -> None:
    """Never another exception, never page 0, never a page twice."""
    try:
        pages = ranges.numbers(said, 99)
    except ValidationError:
        return
    assert pages == sorted(set(pages))
    assert 1 <= pages[0] <= pages[-1] <= 99


@pytest.mark.parametrize(
    ("said", "written"),
    [("1-20", "1-20"), (" 1 - 3 , 7 ", "1-3,7"), ("1,2,3", "1-3"), ("12-", "12-"), ("4-4", "4")],
)
def test_there_is_one_way_of_writing(said: str, written: str) -> None:
    """Spaces and neighbours make no other content."""
    assert ranges.written(said) == written
