"""Tokens: o200k exactly and offline; bounds that hold and stay near."""

import base64
import json
import math
import random
import statistics
from concurrent.futures import ThreadPoolExecutor
from importlib.metadata import distributions

import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.tokens import (
    Dialect,
    Size,
    bound_tokens,
    bytes_bound,
    claude_version,
    count_bound,
    count_expected,
    count_o200k,
    counted_tokens,
    expected_from_bytes,
    expected_tokens,
    family_factor,
    image_bound,
    new_claude,
    page_bound,
)

MODELS: tuple[tuple[str, Dialect], ...] = (
    ("gpt-6.1-sol", "openai"),
    ("gpt-5-mini", "openai"),
    ("gpt-4o-mini", "openai"),
    ("llama-3-70b", "openai"),
    ("claude-haiku-4-5", "anthropic"),
    ("claude-sonnet-5-5", "anthropic"),
)
rng = random.Random(7)
NASTY = {
    "nothing": "",
    "one letter": "a",
    "blanks": " " * 20_000,
    "line ends": "\n" * 9_000,
    "indents": "\t  \t" * 2_000,
    "dashes": "-" * 9_000,
    "digits": "0123456789" * 900,
    "decimals": "3.14159,2.71828;" * 500,
    "numbers": json.dumps(list(range(3_000))),
    "chinese and japanese": "漢字かな交じり文、です。" * 300,
    "korean": "한국어 문장입니다. " * 300,
    "russian": "Русский текст здесь. " * 300,
    "hindi": "हिन्दी में पाठ। " * 300,
    "thai": "ภาษาไทยไม่มีช่องว่าง" * 300,
    "emoji": "🎉👩‍👩‍👧‍👦" * 500,
    "accents": "é" * 5_000,
    "base64": base64.b64encode(rng.randbytes(6_000)).decode(),
    "hex": rng.randbytes(4_000).hex(),
    "special tokens": "<|endoftext|><|endofprompt|>" * 200,
    "one long word": "A" * 30_000,
    "half a surrogate pair": "\ud800abc" * 50,
}


def truth(text, model):
    """Restate the simulator's rule: a quarter of the bytes, 4 a message, 8 a request."""
    base = math.ceil(len(text.encode("utf-8", "surrogatepass")) / 4) + 4 + 8
    return math.ceil(base * 13 / 10) if new_claude(model) else base


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("hello world", 2),
        ("tiktoken is great!", 6),
        ("antidisestablishmentarianism", 6),
        ("お誕生日おめでとう", 8),
        ("2 + 2 = 4", 7),
        ("<|endoftext|>", 7),
    ],
)
def test_o200k_counts_what_openai_published(text, count):
    """The cookbook's examples for o200k_base, and a special token that is only text."""
    assert count_o200k(text) == count


def test_counting_is_the_same_from_many_threads():
    """Also when they are first at once."""
    with ThreadPoolExecutor(8) as pool:
        assert set(pool.map(count_o200k, ["hello world"] * 64)) == {2}


@pytest.mark.parametrize("text", ["a" * 400_000, " " * 400_000, "\n" * 400_000, "漢" * 200_000])
def test_long_runs_are_counted_in_time_and_whole(text):
    """No stack runs out on a file of blanks."""
    assert 0 < count_o200k(text) <= len(text.encode())


@given(st.text(max_size=400))
def test_no_count_is_above_the_bytes(text):
    """A byte-level tokenizer has no token shorter than a byte; bounds are in order."""
    n_bytes = len(text.encode())
    for model, _ in MODELS:
        bound = count_bound(text, model)
        assert count_o200k(text) <= n_bytes
        assert n_bytes / 4 <= bound or n_bytes == 0
        assert count_o200k(text) <= bound <= bytes_bound(n_bytes, model) == n_bytes


@pytest.mark.parametrize(("model", "dialect"), MODELS)
@pytest.mark.parametrize("text", NASTY.values(), ids=NASTY.keys())
def test_no_bound_is_below_a_count_by_length_or_by_o200k(text, model, dialect):
    """Whichever of the two a provider uses."""
    n_bytes = len(text.encode("utf-8", "surrogatepass"))
    size = Size(text_bytes=n_bytes)
    counted = counted_tokens([text], size, model, dialect)
    assert truth(text, model) <= counted <= bound_tokens(size, model, dialect)
    assert count_o200k(text) <= counted


@pytest.mark.parametrize(("model", "dialect"), MODELS)
def test_the_counted_bound_of_plain_text_is_near_the_truth(model, dialect):
    """In the median at most 1.6 times what the simulator counts; never below."""
    texts = [d.read_text("METADATA") or "" for d in distributions()]
    ratios = []
    for text in filter(str.strip, texts):
        counted = counted_tokens([text], Size(text_bytes=len(text.encode())), model, dialect)
        ratios.append(counted / truth(text, model))
    assert len(ratios) > 10
    assert min(ratios) >= 1
    assert statistics.median(ratios) <= 1.6


@pytest.mark.parametrize(
    ("model", "version"),
    [
        ("claude-sonnet-5-5", (5, 5)),
        ("claude-opus-4-7", (4, 7)),
        ("claude-opus-4.6", (4, 6)),
        ("claude-sonnet-4-20250514", (4, 0)),
        ("claude-haiku-4-5-20251001", (4, 5)),
        ("claude-3-5-sonnet-20241022", (3, 5)),
        ("anthropic/claude-fable-5-2", (5, 2)),
        ("claude-next", (99, 0)),
        ("gpt-5", None),
    ],
)
def test_claude_versions_are_read_from_every_form_of_the_name(model, version):
    """The tokenizer changed with 4.7; a name without a version counts as new."""
    assert claude_version(model) == version


def test_factors_are_openais_one_and_claudes_more():
    """A limit's factor is never below the expected one."""
    assert family_factor("gpt-5-mini", "limit") == 1.0
    assert family_factor("claude-opus-4-6", "expected") == 1.1
    assert family_factor("claude-opus-4-7", "limit") == 1.6
    for model, _ in MODELS:
        assert family_factor(model, "limit") >= family_factor(model, "expected") >= 1


def test_estimates_lie_below_bounds():
    """On ordinary text."""
    text = "The quick brown fox jumps over the lazy dog. " * 50
    for model, dialect in MODELS:
        size = Size(text_bytes=len(text), json_bytes=400, pages=2, page_text_bytes=3_000)
        assert expected_from_bytes(len(text), model) <= count_bound(text, model) * 1.3
        assert count_expected(text, model) <= count_bound(text, model)
        assert expected_tokens(size, model, dialect) < bound_tokens(size, model, dialect)


@given(st.integers(0, 9_000), st.integers(0, 9_000))
def test_no_image_is_below_the_published_rules(width, height):
    """Anthropic's two, and OpenAI's tiles with and without scaling."""
    wide, high = width or 8_000, height or 8_000
    area = math.ceil(wide * high / 750)
    patches = math.ceil(wide / 28) * math.ceil(high / 28)
    assert image_bound(width, height, "claude-haiku-4-5", "anthropic") >= min(area, 1_600)
    new = image_bound(width, height, "claude-sonnet-5-5", "anthropic")
    assert min(max(area, patches), 4_784) == new
    tiles = min(85 + 170 * math.ceil(wide / 512) * math.ceil(high / 512), 1_445)
    for model in ("gpt-6.1-sol", "gpt-5-mini", "gpt-4o", "llama-3"):
        assert image_bound(width, height, model, "openai") >= tiles


def test_images_meet_published_and_measured_examples():
    """OpenAI's guide: 1024² is 765 tokens for gpt-4o; measured: 14,364 for 12 MP on GPT-6."""
    assert image_bound(1_024, 1_024, "gpt-4o-mini", "openai") == math.ceil(765 * 5_667 / 170)
    assert image_bound(1_024, 1_024, "gpt-4o", "openai") >= 765
    assert image_bound(4_032, 3_024, "gpt-6-astra", "openai") == 14_364
    assert image_bound(1_800, 2_400, "gpt-4.1-mini", "openai") >= 1_452 * 1.62


@pytest.mark.parametrize(("model", "dialect"), MODELS)
def test_pdf_pages_cost_their_text_and_their_picture(model, dialect):
    """1,600 and 1,445 are what the simulator takes a page; text comes on top, 3,000 at least."""
    flat = {"anthropic": 1_600, "openai": 1_445}[dialect]
    assert page_bound(model, dialect) >= flat
    scans = Size(pages=10)
    assert bound_tokens(scans, model, dialect) >= 10 * (flat + 3_000)
    text = "word " * 4_000
    size = Size(pages=1, page_text_bytes=len(text))
    counted = counted_tokens([], size, model, dialect, page_texts=[text])
    assert flat + truth(text, model) <= counted <= bound_tokens(size, model, dialect)


def test_what_providers_add_unseen_is_in_the_bound():
    """Messages, attachments, a schema, tools and citations each make it larger."""
    plain = bound_tokens(Size(text_bytes=100), "claude-opus-5-5", "anthropic")
    for more in (
        Size(text_bytes=100, messages=2),
        Size(text_bytes=100, attachments=1),
        Size(text_bytes=100, json_bytes=1),
        Size(text_bytes=100, tools=1),
        Size(text_bytes=100, citations=True),
        Size(text_bytes=100, images=((10, 10),)),
        Size(text_bytes=100, pages=1),
    ):
        assert bound_tokens(more, "claude-opus-5-5", "anthropic") > plain
