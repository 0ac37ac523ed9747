"""What caching a shared prefix saves, and which jobs are marked: laws."""

from __future__ import annotations

from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.caching import (
    LEAST_SAVED,
    Choice,
    Marks,
    Shared,
    chosen,
    dearer,
    documents_digest,
    is_in_flight,
    least_tokens,
    levels_of,
    marked,
    saved,
    system_digest,
    until,
)
from batchkit.model import Attachment, Document, Level, Prefix, Price, Request, Usage
from batchkit.pricing import cost, table_price, upper_bound

NOW = datetime(2026, 11, 21, 22, tzinfo=UTC)
SONNET = Price(
    1_000_000_000,
    5_000_000_000,
    cached=50_000_000,
    cache_write=1_250_000_000,
    cache_write_1h=2_000_000_000,
)
PRICES = st.builds(
    Price,
    input=st.integers(1, 10**11),
    output=st.just(1),
    cached=st.none() | st.integers(0, 10**11),
    cache_write=st.none() | st.integers(0, 10**11),
    cache_write_1h=st.none() | st.integers(0, 10**11),
)
TOKENS = st.integers(0, 10**6)


@given(jobs=st.integers(1, 10**4), tokens=TOKENS, price=PRICES)
def test_what_is_saved_is_the_bill_without_a_cache_less_the_bill_with_it(
    jobs: int, tokens: int, price: Price
) -> None:
    """Priced by the function that books answers: one writes, the others read."""
    if price.cached is None or (price.cache_write_1h is None and price.cache_write is None):
        assert saved(jobs, tokens, price) == 0
        return
    plain = jobs * cost(Usage(input_tokens=tokens), price)
    writer = Usage(input_tokens=tokens, cache_write_tokens=tokens, cache_write_1h_tokens=tokens)
    reader = Usage(input_tokens=tokens, cached_tokens=tokens)
    primed = cost(writer, price) + (jobs - 1) * cost(reader, price)
    assert abs(saved(jobs, tokens, price, hit_rate=1.0) - (plain - primed)) <= 2 * jobs


@given(jobs=st.integers(1, 10**4), tokens=TOKENS, hit_rate=st.floats(0, 1))
def test_more_hits_never_save_less(jobs: int, tokens: int, hit_rate: float) -> None:
    assert saved(jobs, tokens, SONNET, hit_rate=hit_rate) <= saved(
        jobs, tokens, SONNET, hit_rate=1.0
    )


@pytest.mark.parametrize(("jobs", "pays"), [(1, False), (2, False), (3, True), (100, True)])
def test_a_write_at_twice_the_price_pays_from_the_third_job_on(jobs: int, pays: bool) -> None:
    assert (saved(jobs, 10_000, SONNET) > 0) is pays


def test_without_priming_marks_cost_more_than_they_save() -> None:
    """Cold requests of one batch all write: the reason for priming at all."""
    assert saved(1_000, 10_000, SONNET, hit_rate=0.0) < 0


def test_a_table_price_of_today_is_enough_to_choose_by() -> None:
    price = table_price("anthropic", "claude-sonnet-5-5", now=date(2026, 11, 21))
    assert price is not None
    assert (
        saved(100, 10_000, price) == 735_500_000
    )  # 11 of 100 write, 89 read: 26.45 instead of 100 shares


def _shared(level: Level = "system", **given: object) -> Shared:
    values = {"jobs": 100, "tokens": 10_000, "price": SONNET, "digest": level.encode()}
    rest = {"lane_id": 1, "model": "claude-sonnet-5-5", "first_seq": 0, **values, **given}
    return Shared(level=level, **rest)  # type: ignore[arg-type]


@given(
    jobs=st.integers(1, 500),
    tokens=st.integers(0, 50_000),
    inner=st.integers(0, 50_000),
    inner_jobs=st.integers(1, 500),
    price=PRICES,
)
def test_what_is_chosen_saves_and_is_long_enough(
    jobs: int, tokens: int, inner: int, inner_jobs: int, price: Price
) -> None:
    found = [
        _shared("documents", jobs=jobs, tokens=tokens + inner, price=price, within=b"system"),
        _shared("system", jobs=max(jobs, inner_jobs), tokens=inner, price=price),
    ]
    choice = chosen(found)
    assert choice == Choice() or choice.saved >= LEAST_SAVED
    assert all(one.tokens >= least_tokens(one.model) and one.jobs > 1 for one in choice.prefixes)
    alone = [saved(one.jobs, one.tokens, price) for one in found]
    assert choice.saved <= sum(max(0, gain) for gain in alone)


def test_a_document_asked_once_is_not_cached_but_the_rules_before_all_of_them_are() -> None:
    letters = [_shared("documents", jobs=1, digest=bytes([n]), within=b"system") for n in range(50)]
    rules = _shared("system", tokens=2_000, jobs=50)
    assert chosen([*letters, rules], least_saved=1).prefixes == (rules,)


def test_less_than_a_cent_is_not_worth_waiting_for() -> None:
    assert chosen([_shared(jobs=3, tokens=1_500)]) == Choice()
    assert chosen([_shared(jobs=3, tokens=1_500)], least_saved=1).prefixes


def test_models_that_nobody_told_of_have_the_longest_minimum() -> None:
    told = {name: least_tokens(f"claude-{name}") for name in ("opus-5-5", "haiku-5-5", "opus-4-6")}
    assert told == {"opus-5-5": 512, "haiku-5-5": 4_096, "opus-4-6": 4_096}


@given(tokens=TOKENS, price=PRICES, most=st.integers(0, 10_000))
def test_a_marked_request_costs_no_more_than_its_bound_and_what_is_dearer(
    tokens: int, price: Price, most: int
) -> None:
    plain = upper_bound(tokens, most, price, caching="none")
    bound = upper_bound(tokens, most, price, caching="1h")
    assert plain <= bound <= plain + dearer(tokens, price) <= bound + 1


LETTER = Document("a.txt", "a.txt", "text/plain", "text", 5, "0" * 64)


def _request(**given: object) -> Request:
    return Request("claude-sonnet-5-5", 10, **{"prompt": "Who?", **given})  # type: ignore[arg-type]


def test_a_request_is_marked_where_it_shares_something() -> None:
    files = [Attachment(LETTER, b"Hello")]
    assert levels_of(_request()) == ()
    assert levels_of(_request(system="Be brief.")) == ("system",)
    assert levels_of(_request(attachments=files)) == ("documents",)
    asked = _request(system="Be brief.", attachments=files)
    assert marked(asked, ["documents", "system"]).caching == ("documents", "system")
    assert marked(_request(), ["system"]) == _request()


@pytest.mark.parametrize(
    "given",
    [
        {"params": {"cache_control": {"type": "ephemeral"}}},
        {"params": {"tools": [{"name": "t", "cache_control": {"type": "ephemeral"}}]}},
        {
            "prompt": None,
            "messages": [{"role": "user", "content": [{"text": "a", "cache_control": {"a": 1}}]}],
        },
        {"prompt": None, "messages": [{"role": "system", "content": "Mine alone."}]},
    ],
)
def test_whoever_sets_marks_himself_or_has_a_system_prompt_of_his_own_is_left_alone(
    given: dict[str, object],
) -> None:
    assert levels_of(_request(system="Be brief.", **given)) == ()


def test_what_stands_before_the_question_tells_prefixes_apart() -> None:
    one = {"model": "m", "provider": "p", "system": "Be brief."}
    assert system_digest(one) == system_digest({**one, "prompt": "Who?", "max_tokens": 7})
    assert system_digest(one) != system_digest({**one, "system": "Be long."})
    deep = documents_digest(system_digest(one), [LETTER])
    assert deep != documents_digest(system_digest(one), [LETTER, LETTER])
    assert deep != documents_digest(b"other", [LETTER])


def _prefix(**given: object) -> Prefix:
    digest = system_digest(TEMPLATE)
    return Prefix(**{"id": 1, "level": "system", "digest": digest, "primer_seq": 3, **given})  # type: ignore[arg-type]


TEMPLATE = {"model": "m", "system": "Be brief."}


@given(
    warmed=st.none() | st.integers(-100, 100),
    lasts=st.integers(1, 60),
    cut=st.integers(-100, 100),
    seq=st.integers(0, 6),
)
def test_a_job_is_marked_if_it_is_the_primer_or_the_cache_is_warm(
    warmed: int | None, lasts: int, cut: int, seq: int
) -> None:
    """And what a batch was cut with is told the same later, when the cache has long been warm."""
    at = NOW + timedelta(minutes=cut)
    warmed_at = None if warmed is None else NOW + timedelta(minutes=warmed)
    known = warmed_at if warmed_at is not None and warmed_at <= at else None
    until_then = None if known is None else known + timedelta(minutes=lasts)
    marks = Marks([_prefix(warmed_at=known, warm_until=until_then)], at)
    is_warm = until_then is not None and at < until_then
    expected = ("system",) if seq == 3 or is_warm else ()
    assert marks.of(1, TEMPLATE, None, seq) == expected
    later = _prefix(warmed_at=warmed_at, warm_until=NOW + timedelta(days=1))
    if marks.said or not expected:
        assert Marks.again([later], marks.said, at).of(1, TEMPLATE, None, seq) == expected
    assert marks.of(2, {"model": "other"}, None, seq) == ()


def test_primers_go_first_and_alone_and_the_others_wait_for_them() -> None:
    primers = [_prefix(primer_seq=0), _prefix(id=2, primer_seq=1)]
    assert until(primers, 0, 50, waits=False, in_time=True) == 2
    assert until(primers, 1, 50, waits=True, in_time=True) == 2
    assert until(primers, 2, 50, waits=True, in_time=True) == 2
    assert until(primers, 2, 50, waits=False, in_time=True) == 50
    assert until(primers, 0, 50, waits=True, in_time=False) == 50


def test_a_primer_is_waited_for_while_it_flies_but_not_for_ever() -> None:
    hour = timedelta(hours=1)
    flying = _prefix(primed_at=NOW, flies=True)
    assert is_in_flight(flying, NOW + hour - timedelta(seconds=1), hour)
    assert not is_in_flight(flying, NOW + hour, hour)
    assert not is_in_flight(_prefix(primed_at=NOW), NOW, hour)
    assert not is_in_flight(_prefix(primed_at=NOW, flies=True, warmed_at=NOW), NOW, hour)
    assert not is_in_flight(_prefix(flies=True), NOW, hour)
