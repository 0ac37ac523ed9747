"""The morning report: the right figures, in 80 columns, and a page that nobody's words break."""

from __future__ import annotations

import json
import re
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from html.parser import HTMLParser
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.model import Errored, Price
from batchkit.model import Usage as Tokens
from batchkit.pricing import cost, tier_cost
from batchkit.report import Bar, Money, Reason, Report, Step, Used
from batchkit.report.times import stretches
from batchkit.report.words import money, span, ticks
from batchkit.testing import Course
from tests.run.scenes import Scene

EVIL = "<script>alert(1)</script><img src=x onerror=alert(2)>\"'&\x1b[31m\u202e"
NOW = datetime(2026, 11, 22, 8, tzinfo=UTC)


# what it reads


def night(scene: Scene) -> Any:
    """Five answers, two refusals, one asked again; in batches of two."""
    scene.invalid("bad", EVIL)
    scene.answers["twice"] = iter(
        [Errored("", "overloaded", "overloaded", "later"), "at last"]
    ).__next__
    once = scene.answers["twice"]
    scene.answers["twice"] = lambda _: once()
    keys = ["a", "b", "c", "d", "twice", "bad", EVIL]
    run = scene.start(keys, items_per_batch=2, limits={"cost_limit": 5 * 10**9})
    return run.execute()


def test_a_report_counts_what_the_status_counts(scene: Scene) -> None:
    run = night(scene)

    report, status = run.report(), run.status()

    names = ("state", "total", "completed", "failed", "cancelled", "active", "pending")
    assert {name: getattr(report, name) for name in names} == {n: status[n] for n in names}
    assert (report.completed, report.failed, report.final) == (5, 2, 7)
    assert report.money.spent == status["cost_usd"] > 0
    assert report.money.limit == 5
    assert report.money.at_most is not None
    assert 0 < report.money.estimated <= report.money.at_most
    assert report.retries == {"overloaded": 1}
    assert len(report.batches) == status["batches_total"]
    assert sum(bar.answered for bar in report.batches) == 5
    assert sum(bar.jobs for bar in report.batches) == 8
    assert [bar.retries for bar in report.batches].count(True) == 1
    assert report.tokens("input_tokens") == sum(
        result.input_tokens or 0 for result in run.iter_results(state="completed")
    )


def test_failures_are_by_reason_with_their_words(scene: Scene) -> None:
    (reason,) = night(scene).report().reasons

    assert (reason.code, reason.state, reason.count) == ("invalid_request", "failed", 2)
    assert dict(reason.examples).keys() == {"bad", EVIL}
    assert reason.examples[0] == ("bad", "bad_request: no: bad")


def test_an_answer_taken_back_by_a_retry_is_no_failure(scene: Scene) -> None:
    run = night(scene)
    scene.answers.clear()
    run.retry(codes=["invalid_request"])

    assert run.report().reasons == ()
    assert run.execute().report().failed == 0


def test_a_report_is_there_while_it_runs(scene: Scene) -> None:
    run = scene.start(list("abcd"), items_per_batch=2)
    scene.fake.next(Course(), Course(takes=timedelta(hours=2)))
    with pytest.raises(TimeoutError):
        run.wait(max_wait=60)

    report = run.report()

    assert (report.state, report.completed, report.active) == ("running", 2, 2)
    assert report.money.reserved > 0
    flying = [bar for bar in report.batches if bar.collected is None]
    assert [(bar.state, bar.jobs) for bar in flying] == [("running", 2)]
    assert str(report.next[0].command).startswith("batchkit resume night --database ")
    assert "▶" in report.to_text()
    assert 'class="flying"' in report.to_html()


def test_a_draft_says_that_nothing_was_started(scene: Scene) -> None:
    report = scene.draft(["a", "b"]).report()

    assert (report.state, report.batches) == ("draft", ())
    assert report.next == (Step("A draft: its script has not called run() or submit() yet"),)
    assert "Batches" not in report.to_text()
    assert "<svg" not in report.to_html()


def test_what_waits_says_for_what_and_what_to_type(lite: Scene) -> None:
    run = lite.start(["a", "b", "c"], items_per_batch=1, limits={"cost_limit": 1_500})

    report = run.execute().report()

    assert report.waiting_for == "budget"
    assert report.next[0].why == "Raise the limit"
    assert str(report.next[0].command).endswith("--cost-limit USD")
    assert "Waiting for budget" in report.to_text(short=True)


async def _areport(run: Any) -> Report:
    found: Report = await run.areport()
    return found


def test_the_async_twin_says_the_same(lite: Scene) -> None:
    import asyncio

    run = lite.start(["a"]).execute()

    assert asyncio.run(_areport(run)) == run.report()


def test_it_is_plain_data_as_well(scene: Scene) -> None:
    data = json.loads(json.dumps(night(scene).report().to_dict()))

    assert data["money"]["spent"] > 0
    assert data["reasons"][0]["count"] == 2
    assert datetime.fromisoformat(data["batches"][0]["start"]).tzinfo is not None


# when it is printed


def test_a_run_that_was_to_say_lines_ends_in_its_report(lite: Scene) -> None:
    lite.invalid("b")

    lite.start(["a", "b"]).execute(print_status=True)

    said = lite.said.getvalue()
    assert said.index("2 of 2 done") < said.index("night (run-") < said.index("invalid_request")
    assert "batchkit retry night" in said
    assert "Batches" not in said


def test_a_run_that_was_not_asked_to_prints_none(lite: Scene) -> None:
    lite.start(["a"]).execute()

    assert "Money" not in lite.said.getvalue()


def test_a_run_that_is_not_done_prints_none(lite: Scene) -> None:
    lite.fake.next(Course(takes=timedelta(hours=2)))

    lite.start(["a"]).execute(print_status=True, once=True)

    assert "Money" not in lite.said.getvalue()


# how it looks


def bars(count: int, *, days: float = 0.4) -> tuple[Bar, ...]:
    start = NOW - timedelta(days=days)
    made = []
    for at in range(count):
        begin = start + timedelta(days=days * at / (count + 1))
        end = begin + timedelta(days=days / 10)
        made.append(
            Bar(
                name=f"msgbatch_{at:024x}",
                provider="anthropic",
                state="completed" if end < NOW else "running",
                jobs=1_000,
                answered=990,
                failed=at % 3,
                again=at % 2,
                retries=at % 7 == 0,
                cost=1.25,
                start=begin,
                end=end if end < NOW else None,
                collected=end + timedelta(minutes=2) if end < NOW else None,
            )
        )
    return tuple(made)


def full(count: int = 12, **changes: Any) -> Report:
    """A report in which everything is there, and whatever others wrote is hostile."""
    report = Report(
        id="run-1a2b3c4d",
        name=EVIL,
        project=EVIL,
        database=EVIL,
        state="waiting",
        at=NOW,
        opened_at=NOW - timedelta(hours=10),
        finished_at=None,
        elapsed_s=36_000.0,
        total=1_234_567,
        completed=1_200_000,
        failed=30_000,
        cancelled=4_000,
        active=500,
        pending=67,
        money=Money(812.3, 61.2, 900.0, 790.1, 2_011.5, 1_630.0, 3),
        reused=12,
        reasons=(Reason(EVIL, "failed", 30_000, ((EVIL, EVIL * 9), ("x" * 400, "no"))),),
        used=(Used("anthropic", EVIL, 1_200_000, 2 * 10**9, 10**8, 10**8, 7, 5, 700.0, 1_400.0),),
        retries={EVIL: 5, "overloaded": 17},
        batches=bars(count),
        waiting_for="budget",
        waiting_detail=EVIL,
        warnings=(EVIL,),
        next=(Step("Raise the limit", f"batchkit resume '{EVIL}' --cost-limit USD"),),
    )
    return replace(report, **changes)


class Tags(HTMLParser):
    """Collects tags and attributes, and checks that what opens is closed in order."""

    VOID = frozenset({"meta", "line", "rect", "br"})

    def __init__(self, page: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))
        if tag not in self.VOID or tag == "rect":
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)


@pytest.mark.parametrize("count", [0, 1, 12, 1_000])
def test_the_page_is_whole_and_runs_nobodys_script(count: int) -> None:
    page = full(count).to_html()

    tags = Tags(page)
    assert tags.open == []
    names = {tag for tag, _ in tags.found}
    assert names & {"script", "img", "link", "iframe", "object", "a", "base", "form"} == set()
    attributes = {name for _, found in tags.found for name in found}
    assert not {name for name in attributes if name.startswith("on") or name in ("src", "href")}
    assert re.search(r"url\(|@import|https?://", page) is None
    assert "default-src 'none'" in page
    assert not {c for c in page if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}
    assert any("<script>alert(1)</script>" in words for words in tags.words)


def test_a_thousand_batches_are_a_small_page() -> None:
    page = full(1_000).to_html()

    assert len(page) < 200_000
    assert "the first 200" in page
    assert page.count("<rect") <= 240


def test_each_of_some_batches_has_its_bar() -> None:
    page = full(12).to_html()

    assert {f"msgbatch_{at:024x}"[-12:] for at in range(12)} <= set(
        re.findall(r"[0-9a-f]{12}(?=</text>)", page)
    )


@pytest.mark.parametrize("width", [40, 80, 120])
@pytest.mark.parametrize("count", [0, 1, 20, 21, 1_000])
def test_no_line_is_too_long(count: int, width: int) -> None:
    text = full(count).to_text(width=width)

    lines = [line for line in text.splitlines() if "batchkit resume" not in line]
    assert max(map(len, lines)) <= width
    assert not {c for c in text if unicodedata.category(c) in ("Cc", "Cf") and c != "\n"}


def test_a_command_stands_on_a_line_of_its_own_and_whole() -> None:
    command = "batchkit resume " + "long-name-" * 20
    text = full(next=(Step("Go on with it", command),)).to_text()

    assert f"\n    {command}\n" in text


def test_a_price_that_is_not_known_is_not_nothing() -> None:
    report = full(money=Money(1.0, 0.0))

    assert "Full price unknown" in report.to_text()
    assert "saved" not in report.to_text()
    assert "unknown" in report.to_html()


def test_a_report_of_nothing_at_all_can_be_drawn() -> None:
    empty = full(
        0,
        total=0,
        completed=0,
        failed=0,
        cancelled=0,
        active=0,
        pending=0,
        reasons=(),
        used=(),
        retries={},
        next=(),
        warnings=(),
        waiting_for=None,
        elapsed_s=0.0,
        opened_at=None,
    )

    assert empty.to_text().startswith("<script>")
    assert Tags(empty.to_html()).open == []


# laws


@given(st.integers(0, 400_000_000), st.floats(1, 5_000_000))
def test_ticks_are_few_in_order_and_inside(start: int, seconds: float) -> None:
    begin = NOW - timedelta(seconds=start)
    end = begin + timedelta(seconds=seconds)

    found = ticks(begin, end, 8)

    assert len(found) <= 8
    assert list(found) == sorted(set(found))
    assert all(begin <= at <= end for at in found)
    assert len(found) >= 2 or seconds < 15


@given(st.integers(1, 60), st.integers(1, 40))
def test_stretches_lose_no_answer_and_no_batch(count: int, most: int) -> None:
    made = bars(count)

    found = stretches(made, NOW, most)

    assert len(found) == most
    collected = [bar for bar in made if bar.collected is not None]
    assert sum(one.answers for one in found) == sum(bar.answered for bar in collected)
    assert 1 <= max(one.flying for one in found) <= count
    assert all(one.flying >= 0 for one in found)


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(0, "0 s"), (59.6, "1 min"), (61, "1 min 1 s"), (3_600, "1 h"), (90_061, "1 d 1 h")],
)
def test_a_span_has_its_two_largest_units(seconds: float, said: str) -> None:
    assert span(seconds) == said


def test_amounts_may_be_unknown_or_below_nothing() -> None:
    assert (money(None), money(0), money(-1.5)) == ("unknown", "$0.00", "−$1.50")


def test_many_answers_of_a_tier_cost_what_each_of_them_costs() -> None:
    price = Price(1_000_000, 2_000_000, long_context_above=100, input_long=3_000_000)
    short, long = Tokens(input_tokens=100, output_tokens=7), Tokens(200, 9)

    assert tier_cost(Tokens(300, 21), price, long=False) == 3 * cost(short, price)
    assert tier_cost(Tokens(400, 18), price, long=True) == 2 * cost(long, price)
