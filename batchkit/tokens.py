"""Count tokens offline: OpenAI's o200k exactly, other tokenizers as a factor of it, both bounded.

``data/o200k.xz`` holds the 199,998 tokens of OpenAI's ``o200k_base`` in rank order (one length
byte each, then the tokens, LZMA). It is the file that tiktoken's loader downloads
(``o200k_base.tiktoken``, sha256 446a9538cb6c348e3516120d7c08b09f57c36495e2acfffe59a5bf8b0cfb1a2d),
stored smaller and checked again when it is read. tiktoken, and with it the vocabulary's
publication, is MIT licensed, copyright OpenAI, Shantanu Jain.

Two kinds of figures, never mixed: *expected* ones are for estimates, *bounds* are for limits and
must not be below what a provider counts. A byte-level tokenizer never makes more tokens than there
are bytes, so bytes alone are always a bound, four times too high for prose; a counted bound is
near the truth and rests on what is known of each tokenizer, which is written beside it.
"""

from __future__ import annotations

import hashlib
import lzma
import re
from collections.abc import Iterable
from dataclasses import dataclass
from fractions import Fraction
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    from tiktoken import Encoding

Purpose = Literal["expected", "limit"]
Dialect = Literal["openai", "anthropic"]

_SHA256 = "440741350e7cfa1c0f4869ce742d1b043550adbda5187adcac9e787edac6fba9"
_COUNT = 199_998
_WORD_END = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
_UPPER = r"[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]"
_LOWER = r"[\p{Ll}\p{Lm}\p{Lo}\p{M}]"
_PATTERN = "|".join(
    (
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}*{_LOWER}+{_WORD_END}",
        rf"[^\r\n\p{{L}}\p{{N}}]?{_UPPER}+{_LOWER}*{_WORD_END}",
        r"\p{N}{1,3}",
        r" ?[^\s\p{L}\p{N}]+[\r\n/]*",
        r"\s*[\r\n]+",
        r"\s+(?!\S)",
        r"\s+",
    )
)
_CHUNK = 50_000  # characters; the pattern's look-ahead runs out of stack on millions of blanks
_CJK = re.compile("[\u3000-\u9fff\uac00-\ud7af\uf900-\ufaff\uff00-\uffef]")
_PUBLISHED = re.compile(r"gpt-4o|gpt-4\.[15]|chatgpt-4o|gpt-5|o[134](?:$|-)|gpt-oss|ft:gpt-4o")
_CLAUDE_VERSION = re.compile(r"(?<![\d.])(\d{1,2})(?:[-.](\d{1,2}))?(?![\d])")
_PER_BYTE = Fraction(1, 4)


@cache
def _encoding() -> Encoding:
    """Build the encoding once, 0.25 s and 75 MB; two threads that are first at once build two."""
    from tiktoken import Encoding

    packed = lzma.decompress(files("batchkit").joinpath("data", "o200k.xz").read_bytes())
    if hashlib.sha256(packed).hexdigest() != _SHA256:
        raise RuntimeError("batchkit/data/o200k.xz is damaged: install batchkit again")
    ranks: dict[bytes, int] = {}
    at = _COUNT
    for rank, length in enumerate(packed[:_COUNT]):
        ranks[packed[at : at + length]] = rank
        at += length
    return Encoding("o200k_base", pat_str=_PATTERN, mergeable_ranks=ranks, special_tokens={})


def count_o200k(text: str) -> int:
    """Count `text` in OpenAI's o200k tokens, offline; ``<|endoftext|>`` and the like are text.

    Texts beyond 50,000 characters are counted piecewise, which adds at most a token per cut.
    """
    encoding = _encoding()
    if len(text) <= _CHUNK:
        return len(encoding.encode(text, disallowed_special=()))
    pieces = (text[at : at + _CHUNK] for at in range(0, len(text), _CHUNK))
    return sum(len(encoding.encode(piece, disallowed_special=())) for piece in pieces)


def claude_version(model: str) -> tuple[int, int] | None:
    """Read (major, minor) from a Claude model's name, old order or new; None if it is no Claude.

    A Claude name without a version that can be read counts as the newest: (99, 0).
    """
    name = model.lower()
    if "claude" not in name:
        return None
    found = _CLAUDE_VERSION.search(name)
    if found is None:
        return (99, 0)
    return (int(found[1]), int(found[2] or 0))


def new_claude(model: str) -> bool:
    """Say whether `model` is a Claude from 4.7 on, whose tokenizer makes about 30 % more tokens."""
    version = claude_version(model)
    return version is not None and version >= (4, 7)


def family_factor(model: str, purpose: Purpose) -> float:
    """Return how many of `model`'s tokens one o200k token stands for.

    OpenAI: 1.0. GPT-6's tokenizer is not published, so its limit is 1.1. Claude has no public
    tokenizer: 1.1 expected and 1.25 for limits up to 4.6, 1.35 and 1.6 from 4.7 on (Anthropic says
    1.0 to 1.35 of the older one; independent counts 1.20 to 1.47). Any other model, as an
    OpenAI-compatible server may have: 1.2 and 1.4.
    """
    limit = purpose == "limit"
    if claude_version(model) is not None:
        if new_claude(model):
            return 1.6 if limit else 1.35
        return 1.25 if limit else 1.1
    if _PUBLISHED.match(model.lower()):
        return 1.0
    if model.lower().startswith(("gpt-", "ft:gpt-")):
        return 1.1 if limit else 1.0
    return 1.4 if limit else 1.2


def bytes_bound(n_bytes: int, model: str) -> int:
    """Return the most tokens that `n_bytes` of UTF-8 text can be for `model`: one per byte.

    Every tokenizer in use falls back to single bytes and has no token shorter than one; factors
    are ratios *between* tokenizers and change nothing about that. `model` is taken so that a family
    for which this should ever not hold has its place.
    """
    del model
    return n_bytes


def expected_from_bytes(n_bytes: int, model: str) -> int:
    """Estimate the tokens of `n_bytes` of ordinary text: four bytes an o200k token (0.77 to 1.17).

    For estimates only; JSON, base64 and digits have up to twice as many.
    """
    return _ceil(Fraction(n_bytes, 4) * Fraction(str(family_factor(model, "expected"))))


def count_expected(text: str, model: str) -> int:
    """Estimate the tokens of `text` for `model`: counted in o200k, times the family's factor."""
    return _ceil(count_o200k(text) * Fraction(str(family_factor(model, "expected"))))


def count_bound(text: str, model: str) -> int:
    """Return a bound on `text`'s tokens for `model`, counted: near the truth for prose.

    The most of two, and never more than one token per byte:

    * o200k × the family's limit factor. Where the tokenizer is not o200k's, three things that o200k
      packs unusually well are added, since the factors were measured on prose and code: each
      digit may be a token of its own, each character beyond ASCII as many as its bytes but one,
      and a Chinese, Japanese or Korean one another quarter.
    * A quarter of the bytes (× 1.3 for Claude from 4.7 on): o200k puts 80 blanks into one token,
      and providers that count otherwise, or roughly by length, do not.
    """
    raw = text.encode("utf-8", "surrogatepass")
    factor = Fraction(str(family_factor(model, "limit")))
    counted = count_o200k(text) * factor
    if not _PUBLISHED.match(model.lower()):
        counted += _harder(text, raw, factor)
    return min(_ceil(max(counted, length_floor(len(raw), model))), bytes_bound(len(raw), model))


def length_floor(n_bytes: int, model: str) -> Fraction:
    """Return the tokens of `n_bytes` by length alone: a quarter, × 1.3 for Claude from 4.7 on."""
    return n_bytes * _PER_BYTE * (Fraction(13, 10) if new_claude(model) else 1)


def _harder(text: str, raw: bytes, factor: Fraction) -> Fraction:
    """Return what another tokenizer may need beyond `factor`: for digits, accents, scripts."""
    digits = len(raw) - len(raw.translate(None, b"0123456789"))
    # A third of the digits' tokens, times the factor, is in the count already.
    extra = digits * max(Fraction(0), 1 - factor / 3)
    if not text.isascii():
        cjk = len(_CJK.findall(text))
        extra += len(raw) - len(text) - cjk * Fraction(7, 4)
    return extra


def _ceil(value: Fraction) -> int:
    return -(-value.numerator // value.denominator)


@dataclass(frozen=True, slots=True)
class Size:
    """What a request is made of, as far as it costs input tokens; bytes are UTF-8.

    `text_bytes`: system, prompt, messages and text documents. `json_bytes`: the answer's schema,
    tools and whatever else is sent as JSON. `page_text_bytes`: the text of PDF pages. `images`:
    (width, height) in pixels, (0, 0) where unknown. `unsized` counts files that only the provider
    knows (by id or URL): no bound holds for those.
    """

    text_bytes: int = 0
    messages: int = 1
    attachments: int = 0
    json_bytes: int = 0
    tools: int = 0
    pages: int = 0
    page_text_bytes: int = 0
    images: tuple[tuple[int, int], ...] = ()
    citations: bool = False
    unsized: int = 0


# What providers add unseen, rounded up: role marks, document frames, the prompt that explains a
# schema (Anthropic: "slightly higher"), tools (Anthropic publishes 290 to 804) and citations.
_PER_REQUEST = 16
_PER_MESSAGE = 8
_PER_ATTACHMENT = 24
_FOR_SCHEMA = 96
_FOR_TOOLS = 900
_FOR_CITATIONS = 600
_WRAPPER_BYTES = 128  # what an adapter puts around a schema
_PAGE_TEXT = 3_000
_CLAUDE_IMAGE = 1_600
_NEW_CLAUDE_IMAGE = 4_784
_OPENAI_TILES = 1_445
_OPENAI_PAGE = 3_779
_MINI_4O = Fraction(5_667, 170)
_LARGEST_SIDE = 8_000
_OPENAI_NAME = re.compile(r"gpt-|ft:gpt-|chatgpt-|o\d")
_CAPPED = re.compile(r"gpt-4|chatgpt-4o|gpt-5(?:$|-|\.1)|gpt-5\.\d-(?:mini|nano)|o\d|ft:gpt-4")


def image_bound(width: int, height: int, model: str, dialect: Dialect) -> int:
    """Return the most tokens an image costs; pixels as in the file, 0 where unknown.

    Anthropic: patches of 28 pixels (before: width × height / 750), scaled down to at most 1,600
    tokens, 4,784 from Claude 4.7 on (its vision guide). OpenAI's rule differs by model and its own
    guide contradicts bills, so the dearest of its published ones: 85 + 170 a tile of 512 pixels, at
    most 1,445 (gpt-4o-mini 33 times as much), and patches of 32 pixels times 1.2 (mini 1.72, nano
    and unknown 2.46), at most 1,536 patches up to GPT-5.1 and in small models, as many as there are
    in newer ones (measured: 14,364 tokens for 12 megapixels).
    """
    width, height = width or _LARGEST_SIDE, height or _LARGEST_SIDE
    if dialect == "anthropic":
        patches = _parts(width, 28) * _parts(height, 28)
        most = _NEW_CLAUDE_IMAGE if new_claude(model) or "claude" not in model else _CLAUDE_IMAGE
        return min(max(patches, -(-width * height // 750)), most)
    tiles = min(85 + 170 * max(_tiles(width, height), _scaled_tiles(width, height)), _OPENAI_TILES)
    if model.startswith("gpt-4o-mini"):
        return _ceil(tiles * _MINI_4O)
    patches = _parts(width, 32) * _parts(height, 32)
    if _CAPPED.match(model):
        patches = min(patches, 1_536)
    return max(tiles, _ceil(patches * _per_patch(model)))


def page_bound(model: str, dialect: Dialect) -> int:
    """Return the most tokens the picture of a PDF page costs; its text comes on top.

    Anthropic shows pages as images, so an image's maximum. OpenAI renders pages itself at no more
    than "high" detail: 3,000 for its large models, 3,779 for the dearest other.
    """
    if dialect == "anthropic":
        return image_bound(0, 0, model, dialect)
    return _ceil(_OPENAI_TILES * _MINI_4O) if model.startswith("gpt-4o-mini") else _OPENAI_PAGE


def bound_tokens(size: Size, model: str, dialect: Dialect) -> int:
    """Return a bound on a request's input tokens from its bytes alone: cheap, far above for prose.

    A token per byte, 3,000 tokens of text a PDF page if its text is less (what Anthropic names as a
    page's most: its reader may see more than ours), plus pictures, plus what providers add.
    """
    text = bytes_bound(size.text_bytes + size.json_bytes, model)
    pages = max(bytes_bound(size.page_text_bytes, model), _PAGE_TEXT * size.pages)
    return text + pages + _pictures(size, model, dialect) + _frame(size)


def counted_tokens(
    texts: Iterable[str],
    size: Size,
    model: str,
    dialect: Dialect,
    *,
    page_texts: Iterable[str] | None = None,
    json_texts: Iterable[str] | None = None,
) -> int:
    """Return a bound on a request's input tokens, its texts counted: near the truth, not cheap.

    `texts` stand for ``size.text_bytes``, all of them; `page_texts` and `json_texts` (the schema,
    tools) for theirs, which are taken from their bytes if not given.
    """
    text = sum(count_bound(one, model) for one in texts)
    if size.citations:  # documents are cut into numbered sentences
        text = -(-text * 6 // 5)
    if json_texts is None:
        text += bytes_bound(size.json_bytes, model)
    else:
        text += sum(count_bound(one, model) for one in json_texts)
    if page_texts is None:
        pages = bytes_bound(size.page_text_bytes, model)
    else:
        pages = sum(count_bound(one, model) for one in page_texts)
    pages = max(pages, _PAGE_TEXT * size.pages)
    counted = text + pages + _pictures(size, model, dialect) + _frame(size)
    return min(counted, bound_tokens(size, model, dialect))


def expected_tokens(size: Size, model: str, dialect: Dialect) -> int:
    """Estimate a request's input tokens from its bytes, for people and never for limits."""
    text = size.text_bytes + size.json_bytes + size.page_text_bytes
    pages = size.pages * (_CLAUDE_IMAGE if dialect == "anthropic" else _OPENAI_TILES)
    pictures = _pictures(size, model, dialect) - size.pages * page_bound(model, dialect)
    return expected_from_bytes(text, model) + pages + pictures + 4 * size.messages + 8


def _pictures(size: Size, model: str, dialect: Dialect) -> int:
    images = sum(image_bound(width, height, model, dialect) for width, height in size.images)
    return images + size.pages * page_bound(model, dialect)


def _frame(size: Size) -> int:
    """Return the tokens that providers add unseen."""
    schema = _FOR_SCHEMA + _WRAPPER_BYTES // 2 if size.json_bytes else 0
    return (
        _PER_REQUEST
        + _PER_MESSAGE * size.messages
        + _PER_ATTACHMENT * size.attachments
        + schema
        + (_FOR_TOOLS if size.tools else 0)
        + (_FOR_CITATIONS if size.citations else 0)
    )


def _parts(length: int, part: int) -> int:
    return -(-length // part)


def _tiles(width: int, height: int) -> int:
    return _parts(width, 512) * _parts(height, 512)


def _scaled_tiles(width: int, height: int) -> int:
    """Return the tiles of an image whose short side was brought to 768 pixels: two rows of them."""
    return 2 * min(4, _parts(768 * max(width, height), 512 * min(width, height)))


def _per_patch(model: str) -> Fraction:
    if "nano" in model or "luna" in model or not _OPENAI_NAME.match(model):
        return Fraction(246, 100)
    return Fraction(172, 100) if "mini" in model else Fraction(12, 10)
