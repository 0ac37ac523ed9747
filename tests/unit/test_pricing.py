"""Pricing: what the table says, what an answer cost, and that no bound is below any cost."""

import base64
from dataclasses import replace
from datetime import UTC, date, datetime
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.documents import inspect, load
from batchkit.errors import ValidationError
from batchkit.model import Attachment, Price, Request, Usage
from batchkit.money import usd
from batchkit.pricing import (
    bound_price,
    caching_of,
    choices,
    cost,
    expected,
    expected_output,
    full_price,
    measure,
    price_from,
    priced_extras,
    table_price,
    upper_bound,
)
from batchkit.tokens import Dialect, bound_tokens, counted_tokens
from tests.unit.files import jpeg, pdf, png

DAY = date(2026, 11, 22)
PER_TOKEN = 1_000  # nano-dollars a token at 1 USD per million


def batch_price(provider, model, now=DAY):
    """Return a price that is there."""
    price = table_price(provider, model, now=now)
    assert price is not None
    return price


def standard_price(provider, model):
    """Return a full price that is there."""
    price = full_price(provider, model, now=DAY)
    assert price is not None
    return price


def dollars(price, *names):
    return tuple(getattr(price, name) / 1e9 for name in names)


@pytest.mark.parametrize(
    ("provider", "model", "wanted"),
    [
        ("openai", "gpt-6-astra", (5, 25, 0.5, 6.25)),
        ("openai", "gpt-6.1-sol", (1, 5, 0.05, 1.25)),
        ("openai-chat", "gpt-6-luna", (0.05, 0.25, 0.005, 0.0625)),
        ("anthropic", "claude-sonnet-5-5", (1, 5, 0.05, 1.25)),
        ("anthropic", "claude-haiku-5-5", (0.05, 0.25, 0.005, 0.0625)),
        ("anthropic", "claude-opus-5", (2.5, 12.5, 0.25, 3.125)),
    ],
)
def test_the_table_has_todays_batch_prices(provider, model, wanted):
    """As published on 2026-11-21; standard prices are twice as much."""
    price = batch_price(provider, model)
    assert dollars(price, "input", "output", "cached", "cache_write") == wanted
    assert "batch" in price.source
    full = standard_price(provider, model)
    assert (full.input, full.output) == (2 * price.input, 2 * price.output)


def test_no_verified_batch_rate_is_no_price():
    """The table answers with the standard price there, silently; we do not."""
    assert table_price("openai", "gpt-5.3-codex", now=DAY) is None
    assert full_price("openai", "gpt-5.3-codex", now=DAY) is not None


@pytest.mark.parametrize(
    ("provider", "model"), [("openai", "gpt-6.2-sol"), ("openai", ""), ("mistral", "large")]
)
def test_unknown_models_and_providers_have_no_price(provider, model):
    """None, never a guess and never zero."""
    assert table_price(provider, model, now=DAY) is None
    assert full_price(provider, model, now=DAY) is None


def test_a_clock_before_the_first_verified_rates_changes_nothing():
    """Dates before 2026-10-14 give standard prices in the table's own functions."""
    early = batch_price("openai", "gpt-6.1-sol", datetime(2020, 1, 1, tzinfo=UTC))
    assert early == replace(batch_price("openai", "gpt-6.1-sol"), source=early.source)


def test_long_contexts_are_in_the_price():
    """Above 272,000 tokens all of a request's tokens are dearer."""
    price = batch_price("openai", "gpt-6.1-sol")
    assert price.long_context_above == 272_000
    at = cost(Usage(input_tokens=272_000, output_tokens=0), price)
    above = cost(Usage(input_tokens=272_001, output_tokens=0), price)
    assert at == 272_000 * PER_TOKEN
    assert above == 272_001 * 2 * PER_TOKEN


def test_a_price_of_ones_own_is_usd_per_million():
    """As billed in batch."""
    assert price_from({"input": 0.1, "output": "2.5", "cached": Decimal("0.01")}) == Price(
        100_000_000, 2_500_000_000, cached=10_000_000
    )
    long = price_from({"input": 1, "output": 2, "long_context_above": 5, "input_long": 3})
    assert cost(Usage(input_tokens=6), long) == 6 * 3 * PER_TOKEN
    assert price_from({"input": 0, "output": 0}).input == 0


@pytest.mark.parametrize(
    ("given_price", "said"),
    [
        (3.0, "price must be like"),
        ({"input": 1}, "lacks 'output'"),
        ({"input": 1, "output": None}, "lacks 'output'"),
        ({"input": -1, "output": 1}, r"price\['input'\].*-1"),
        ({"input": 1, "output": "cheap"}, r"price\['output'\].*'cheap'"),
        ({"input": True, "output": 1}, r"price\['input'\].*True"),
        ({"input": float("nan"), "output": 1}, r"price\['input'\].*nan"),
        ({"input": 1, "output": 1, "cachd": 1}, "did you mean 'cached'"),
        ({"input": 1, "output": 1, "xyz": 1}, "known: input"),
        ({"input": 1, "output": 1, "input_long": 1}, "long_context_above"),
        ({"input": 1, "output": 1, "long_context_above": 1.5}, "number of tokens"),
    ],
)
def test_a_price_that_cannot_be_is_named(given_price, said):
    """With the value and what it should be."""
    with pytest.raises(ValidationError, match=said):
        price_from(given_price)


def test_each_kind_of_token_has_its_price():
    """Cached, written for 5 minutes, written for an hour, fresh, output; 1,000 of each."""
    price = Price(1_000, 2_000, cached=10, cache_write=300, cache_write_1h=4_000)
    usage = Usage(
        input_tokens=4_000_000,
        cached_tokens=1_000_000,
        cache_write_tokens=2_000_000,
        cache_write_1h_tokens=1_000_000,
        output_tokens=1_000_000,
        reasoning_tokens=500_000,
    )
    assert cost(usage, price) == 1_000 + 10 + 300 + 4_000 + 2_000


def test_a_missing_cache_price_is_the_input_price():
    """And an hour's write costs at least a short one's."""
    usage = Usage(input_tokens=2_000_000, cached_tokens=1_000_000, cache_write_tokens=1_000_000)
    assert cost(usage, Price(7, 9)) == 14
    hour = Usage(input_tokens=10**6, cache_write_tokens=10**6, cache_write_1h_tokens=10**6)
    assert cost(hour, Price(7, 9, cache_write=11)) == 11


def test_costs_are_rounded_up_once_per_answer():
    """A cheap answer is never free, and three fractions do not make three roundings."""
    assert cost(Usage(input_tokens=1), Price(1, 1)) == 1
    assert cost(Usage(input_tokens=1, cached_tokens=0, output_tokens=1), Price(400_000, 1)) == 1
    assert cost(Usage(), Price(1, 1)) == 0


def test_the_price_of_a_known_answer():
    """10,000 tokens in and 500 out of claude-sonnet-5-5 in batch: 1.25 cents."""
    price = batch_price("anthropic", "claude-sonnet-5-5")
    usage = Usage(input_tokens=10_000, output_tokens=500)
    assert cost(usage, price) == usd("0.0125")
    assert cost(usage, standard_price("anthropic", "claude-sonnet-5-5")) == usd("0.025")
    assert expected(10_000, 500, price) == usd("0.0125")


rates = st.integers(0, 10**11)
prices = st.builds(
    Price,
    input=rates,
    output=rates,
    cached=st.none() | rates,
    cache_write=st.none() | rates,
    cache_write_1h=st.none() | rates,
    long_context_above=st.none() | st.integers(0, 2_000),
    input_long=st.none() | rates,
    output_long=st.none() | rates,
    cached_long=st.none() | rates,
    cache_write_long=st.none() | rates,
    cache_write_1h_long=st.none() | rates,
)


@st.composite
def usages(draw, caching):
    """Any usage of up to 4,000 tokens that a provider could report."""
    cached = draw(st.integers(0, 1_000))
    hour = draw(st.integers(0, 1_000)) if caching == "1h" else 0
    short = draw(st.integers(0, 1_000)) if caching != "none" else 0
    fresh = draw(st.integers(0, 1_000))
    return Usage(
        input_tokens=cached + hour + short + fresh,
        output_tokens=draw(st.integers(0, 1_000)),
        cached_tokens=cached,
        cache_write_tokens=short + hour,
        cache_write_1h_tokens=hour,
    )


@given(
    st.data(),
    prices,
    st.integers(0, 500),
    st.integers(0, 500),
    st.sampled_from(["none", "5m", "1h"]),
)
def test_no_cost_is_above_its_bound(data, price, spare_in, spare_out, caching):
    """Whenever the usage is within the bounds, at any price, in any tier, cached or not."""
    usage = data.draw(usages(caching))
    bound = upper_bound(
        usage.input_tokens + spare_in, usage.output_tokens + spare_out, price, caching=caching
    )
    assert cost(usage, price) <= bound
    assert (
        3 * cost(usage, price)
        <= upper_bound(usage.input_tokens, usage.output_tokens, price, n=3, caching=caching) + 3
    )


@given(prices, st.integers(0, 4_000), st.integers(0, 4_000))
def test_the_dearest_price_is_one_of_the_prices(price, tokens, output):
    """A bound is no invention; more input never makes it cheaper."""
    dearest = bound_price(price, tokens)
    known = {value for value in vars_of(price) if value is not None}
    assert {dearest.input, dearest.output} <= known
    assert upper_bound(tokens, output, price) <= upper_bound(tokens + 1, output, price)
    assert expected(tokens, output, price) <= upper_bound(tokens, output, price)


def vars_of(price):
    return [
        getattr(price, name)
        for name in price.__slots__
        if name not in ("source", "long_context_above")
    ]


def test_the_hours_cache_is_in_the_bound_only_where_it_can_be_written():
    """Anthropic writes where the request says so, OpenAI by itself."""
    price = batch_price("anthropic", "claude-sonnet-5-5")
    assert upper_bound(1_000, 0, price, caching="none") == 1_000 * PER_TOKEN
    assert upper_bound(1_000, 0, price, caching="5m") == 1_250 * PER_TOKEN
    assert upper_bound(1_000, 0, price) == 2_000 * PER_TOKEN
    control = {"type": "ephemeral"}
    marked = [{"role": "user", "content": [{"text": "x", "cache_control": control}]}]
    assert caching_of("anthropic", [{"role": "user", "content": "x"}]) == "none"
    assert caching_of("anthropic", {"messages": marked}) == "5m"
    control["ttl"] = "1h"
    assert caching_of("anthropic", {"messages": marked}) == "1h"
    assert caching_of("openai", []) == "1h"
    assert caching_of("somebody", []) == "1h"


@pytest.mark.parametrize(
    ("params", "name"),
    [
        ({"tools": [{"type": "web_search_20250305", "name": "web_search"}]}, "tools"),
        ({"tools": [{"type": "code_interpreter"}]}, "tools"),
        ({"service_tier": "priority"}, "service_tier"),
        ({"speed": "fast"}, "speed"),
        ({"inference_geo": "us"}, "inference_geo"),
        ({"modalities": ["text", "audio"]}, "modalities"),
        ({"web_search_options": {}}, "web_search_options"),
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"prediction": {"type": "content"}}, "prediction"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_parameters_with_an_unknown_price_are_named(params, name):
    """As parameters and in extra_body alike."""
    for found in (priced_extras(params), priced_extras({}, params)):
        assert len(found) == 1
        assert found[0].startswith(f"{name}: ")


def test_ordinary_parameters_have_a_price():
    """Functions are text, `n` multiplies; but nothing may undo the bound through extra_body."""
    plain = {
        "temperature": 0.1,
        "tools": [{"type": "function", "name": "f"}, {"name": "g", "input_schema": {}}],
        "service_tier": "auto",
        "n": 3,
        "prompt": None,
    }
    assert priced_extras(plain, {"top_k": 3}) == []
    assert choices(plain) == 3
    assert choices({}) == choices({"n": "many"}) == choices({"n": None}) == 1
    assert len(priced_extras({}, {"max_tokens": 10**6, "n": 5, "model": "gpt-6-astra"})) == 3


def test_a_guess_at_an_answers_length_is_within_its_limit():
    """A third, rounded up."""
    assert expected_output(2_000) == 667
    assert expected_output(1) == 1


@pytest.fixture
def documents(tmp_path):
    """One document of each kind, loaded."""
    found = []
    for name, data in (
        ("a.txt", "Zwölf Boxkämpfer jagen Viktor. ".encode() * 40),
        ("b.pdf", pdf("First page of three", "Second", "Third")),
        ("c.png", png(300, 200)),
    ):
        (tmp_path / name).write_bytes(data)
        found.append(load(inspect(tmp_path / name)))
    return found


def test_a_request_is_measured_with_or_without_its_documents_bytes(documents):
    """The figures recorded at add are those of the loaded files."""
    request = Request(
        "claude-opus-5-5",
        100,
        prompt="What?",
        system="Be brief.",
        attachments=documents,
        schema={"type": "object"},
        params={"tools": [{"name": "f"}]},
        citations=True,
    )
    loaded = measure(request).size
    figures = [Attachment(one.document, b"") for one in documents]
    bare = measure(replace(request, attachments=figures)).size
    assert bare == loaded
    assert (loaded.pages, loaded.images, loaded.messages) == (3, ((300, 200),), 2)
    assert (loaded.attachments, loaded.tools, loaded.citations) == (3, 1, True)
    assert loaded.json_bytes > 0


def test_a_schema_is_measured_as_it_is_sent():
    """The sent one in strict mode, in plain mode its words; not what is kept beside it."""
    kept = {"name": "Answer", "original": {"$defs": "x" * 9_000}, "fingerprint": "f" * 64}
    wire = {"type": "object"}
    strict = kept | {"mode": "strict", "marked": wire, "instruction": None}
    size = measure(Request("gpt-5", 10, prompt="x", schema=strict)).size
    assert len(str(wire)) <= size.json_bytes < 100
    plain = kept | {"mode": "plain", "marked": {}, "instruction": "Answer in JSON."}
    size = measure(Request("gpt-5", 10, prompt="x", schema=plain)).size
    assert (size.json_bytes, size.text_bytes, size.messages) == (0, 16, 2)


def test_files_inside_messages_are_opened():
    """Data URLs and base64 sources of both dialects; what only the provider knows is unsized."""
    paper = base64.b64encode(pdf("one", "two")).decode()
    photo = base64.b64encode(jpeg(640, 480)).decode()
    content = [
        {"type": "input_text", "text": "What is this?"},
        {"type": "input_image", "image_url": f"data:image/jpeg;base64,{photo}"},
        {"type": "image_url", "image_url": {"url": "https://example.org/a.png"}},
        {"type": "image", "source": {"type": "base64", "media_type": "image/jpeg", "data": photo}},
        {"type": "document", "source": {"type": "base64", "data": paper}},
        {"type": "document", "source": {"type": "text", "data": "plain words"}},
        {"type": "input_file", "filename": "a.pdf", "file_data": paper},
        {"type": "input_file", "file_id": "file-1"},
        {"type": "input_file", "file_data": "not base64!"},
        {"type": "image", "source": {"type": "base64", "data": base64.b64encode(b"hi").decode()}},
    ]
    found = measure(Request("gpt-5", 10, messages=[{"role": "user", "content": content}]))
    size = found.size
    assert size.images == ((640, 480), (640, 480))
    assert (size.pages, size.unsized, size.messages) == (4, 2, 1)
    assert {"What is this?", "plain words", "not base64!", "hi"} <= set(found.texts)
    assert not any(photo in text or paper in text for text in found.texts)


@pytest.mark.parametrize(
    "model", ["gpt-6.1-sol", "gpt-5-mini", "claude-haiku-4-5", "claude-opus-5-5"]
)
def test_no_bound_is_below_what_the_simulator_counts(documents, model):
    """For every kind of document, with a schema, from bytes and counted."""
    from batchkit.simulator.prompt import read_anthropic, read_openai

    schema = {"type": "object", "properties": {"total": {"type": "number"}}, "required": ["total"]}
    claude = "claude" in model
    dialect: Dialect = "anthropic" if claude else "openai"
    for some in ([], *([one] for one in documents), documents):
        request = Request(
            model, 100, prompt="Read it.", system="Hi.", attachments=some, schema=schema
        )
        body = anthropic_body(request) if claude else openai_body(request)
        counted = (read_anthropic if claude else read_openai)(body, no_files).tokens(model)
        found = measure(request)
        near = counted_tokens(
            found.texts,
            found.size,
            model,
            dialect,
            page_texts=found.page_texts,
            json_texts=found.json_texts,
        )
        assert counted <= near <= bound_tokens(found.size, model, dialect)


def no_files(file_id):
    raise LookupError(file_id)


def anthropic_body(request):
    blocks = []
    for one in request.attachments:
        media, encoded = one.document.media_type, base64.b64encode(one.data).decode()
        source = {"type": "base64", "media_type": media, "data": encoded}
        if one.document.kind == "text":
            source = {"type": "text", "media_type": "text/plain", "data": one.data.decode()}
        kind = "image" if one.document.kind == "image" else "document"
        blocks.append({"type": kind, "source": source})
    blocks.append({"type": "text", "text": request.prompt})
    return {
        "model": request.model,
        "system": request.system,
        "messages": [{"role": "user", "content": blocks}],
        "output_config": {"format": {"type": "json_schema", "schema": request.schema}},
    }


def openai_body(request):
    parts = [{"type": "input_text", "text": request.prompt}]
    for one in request.attachments:
        url = f"data:{one.document.media_type};base64,{base64.b64encode(one.data).decode()}"
        if one.document.kind == "text":
            parts.append({"type": "input_text", "text": one.data.decode()})
        elif one.document.kind == "image":
            parts.append({"type": "input_image", "image_url": url})
        else:
            parts.append({"type": "input_file", "filename": "a.pdf", "file_data": url})
    form = {"type": "json_schema", "name": "answer", "strict": True, "schema": request.schema}
    return {
        "model": request.model,
        "instructions": request.system,
        "input": [{"role": "user", "content": parts}],
        "text": {"format": form},
    }
