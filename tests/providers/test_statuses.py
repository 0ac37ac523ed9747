"""One list call tells how many batches stand; what it does not show is not told."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from batchkit.model import BatchStatus
from batchkit.providers.calls import Reply
from batchkit.providers.searching import survey

NOW = datetime(2026, 11, 22, tzinfo=UTC)


def read(body: dict[str, Any]) -> BatchStatus:
    return BatchStatus(str(body["id"]), str(body["status"]), ended=False)


class Pages:
    """A listing of so many batches, a hundred a page, the newest first."""

    def __init__(self, *rows: dict[str, Any], size: int = 100) -> None:
        self.rows = list(rows)
        self.size = size
        self.asked: list[str | None] = []

    def __call__(self, after: str | None) -> Reply:
        self.asked.append(after)
        ids = [row.get("id") for row in self.rows]
        begin = 0 if after is None else ids.index(after) + 1
        shown = self.rows[begin : begin + self.size]
        more = begin + self.size < len(self.rows)
        last = shown[-1].get("id") if shown else None
        return Reply({"data": shown, "has_more": more, "last_id": last}, NOW, {})


def rows(count: int) -> list[dict[str, Any]]:
    return [{"id": f"b{n}", "status": "in_progress"} for n in range(count)]


def test_one_page_is_enough_where_all_are_on_it() -> None:
    pages = Pages(*rows(250))
    told = survey(pages, read, "status", {"b3", "b99"})
    assert set(told) == {"b3", "b99"}
    assert pages.asked == [None]


def test_what_is_further_back_is_not_searched_for() -> None:
    """One page, and one more for each fifty that are asked for."""
    pages = Pages(*rows(1_000))
    assert survey(pages, read, "status", {"b1", "b500"}).keys() == {"b1"}
    assert len(pages.asked) == 1
    many = {f"b{n}" for n in range(120)} | {"b900"}
    assert survey(pages, read, "status", many).keys() == many - {"b900"}
    assert len(pages.asked) == 1 + 3


def test_rows_that_say_too_little_tell_nothing() -> None:
    """Without an id or a status; and a list that is none."""
    pages = Pages({"id": "a"}, {"status": "in_progress"}, {"id": "b", "status": "validating"})
    assert survey(pages, read, "status", {"a", "b", "c"}).keys() == {"b"}
    empty = lambda _: Reply({"data": "what"}, NOW, {})  # noqa: E731
    assert survey(empty, read, "status", {"a"}) == {}
