"""What a request costs: the price table, the most it can cost, what it did cost.

Money is an integer of nano-dollars, a price an integer of nano-dollars per million tokens. Every
amount is rounded up, once per answer. What is unknown is None and never 0.

Batch prices come from genai-prices' bundled data, and only where it has a verified batch rate.
"""

from __future__ import annotations

import binascii
import re
from base64 import b64decode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime
from decimal import ROUND_CEILING, Decimal, InvalidOperation
from difflib import get_close_matches
from functools import cache
from typing import Any, Literal

import orjson

from batchkit import documents
from batchkit.errors import ValidationError
from batchkit.model import Attachment, Price, Request, Usage
from batchkit.tokens import Size

Caching = Literal["none", "5m", "1h"]
"""The longest-lived cache that a request may write: it decides how dear its input can get."""

_MILLION = 1_000_000
_NANO = 1_000_000_000
_FIRST_VERIFIED = date(2026, 10, 15)  # earlier dates silently give standard prices
_TABLES = {"openai": "openai", "openai-chat": "openai", "anthropic": "anthropic"}
_KEYS = {
    "input": "input_mtok",
    "output": "output_mtok",
    "cached": "cache_read_mtok",
    "cache_write": "cache_write_mtok",
    "cache_write_1h": "cache_write_1h_mtok",
}
_GIVEN = (*_KEYS, "long_context_above", *(f"{key}_long" for key in _KEYS))


def table_price(provider: str, model: str, *, now: date) -> Price | None:
    """Return what `model` costs in `provider`'s batch API on the day of `now`.

    None if the table does not know the model, or knows no verified batch rate for it: half the
    standard price is the rule, but a rule is no price. Days before the table's first verified
    batch rates (2026-10-15) are taken as that day.
    """
    return _table(provider, model, max(date(now.year, now.month, now.day), _FIRST_VERIFIED))[0]


def full_price(provider: str, model: str, *, now: date) -> Price | None:
    """Return what `model` costs outside of batches, for comparison and real-time calls."""
    return _table(provider, model, max(date(now.year, now.month, now.day), _FIRST_VERIFIED))[1]


@cache
def _table(provider: str, model: str, day: date) -> tuple[Price | None, Price | None]:
    """Return the batch and the standard price of a day."""
    table = _TABLES.get(provider)
    if table is None:
        return None, None
    from genai_prices import Usage as Tokens
    from genai_prices import __version__, calc_price

    at = datetime(day.year, day.month, day.day, 12, tzinfo=UTC)
    one = Tokens(input_tokens=1, output_tokens=1)
    try:
        standard = calc_price(one, model, provider_id=table, genai_request_timestamp=at)
        batch = calc_price(
            one,
            model,
            provider_id=table,
            genai_request_timestamp=at,
            price_context={"processing": "batch"},
        )
    except LookupError:
        return None, None
    source = f"genai-prices {__version__}, {standard.model.id}, {day.isoformat()}"
    full = _from_table(standard.model_price, f"{source}, standard")
    half = _from_table(batch.model_price, f"{source}, batch")
    if full is None or half is None or not _verified(half, full):
        return None, full
    return half, full


def _verified(batch: Price, full: Price) -> bool:
    """Say whether the table has a batch rate: without one it gives the standard price, silently."""
    return batch.input != full.input and batch.output != full.output


def _from_table(table: Any, source: str) -> Price | None:
    """Turn a genai-prices ModelPrice into ours; None if it prices no text, or in many tiers.

    Several tiers are taken as one at the dearest price from the first threshold on.
    """
    base: dict[str, Any] = {}
    long: dict[str, Any] = {}
    starts: list[int] = []
    for ours, theirs in _KEYS.items():
        value = getattr(table, theirs)
        if value is None:
            continue
        tiers = getattr(value, "tiers", ())
        base[ours] = _per_million(getattr(value, "base", value))
        if tiers:
            starts.append(min(tier.start for tier in tiers))
            long[f"{ours}_long"] = max(_per_million(tier.price) for tier in tiers)
    if "input" not in base or "output" not in base:
        return None
    made = Price(base["input"], base["output"], source=source)
    return replace(made, **base, **long, long_context_above=min(starts, default=None))


def _per_million(dollars: Decimal) -> int:
    return int((Decimal(dollars) * _NANO).to_integral_value(ROUND_CEILING))


def price_from(given: Mapping[str, Any]) -> Price:
    """Turn ``price={"input": 1.0, "output": 5.0}`` into a Price: USD per million tokens, as billed.

    Also taken: ``cached``, ``cache_write``, ``cache_write_1h``, and with ``long_context_above``
    (tokens) each of the five with ``_long``. Raise ValidationError that names the value.
    """
    if not isinstance(given, Mapping):
        raise ValidationError(f'price must be like {{"input": 1.0, "output": 5.0}}, not {given!r}')
    for key in given:
        if key not in _GIVEN:
            near = get_close_matches(str(key), _GIVEN, 1)
            hint = f"did you mean {near[0]!r}?" if near else f"known: {', '.join(_GIVEN[:5])}"
            raise ValidationError(f"price has no {key!r}; {hint}")
    for key in ("input", "output"):
        if given.get(key) is None:
            raise ValidationError(f"price lacks {key!r}, in USD per million tokens")
    made: dict[str, Any] = {
        key: _given(key, value) for key, value in given.items() if value is not None
    }
    if any(key.endswith("_long") for key in made) and "long_context_above" not in made:
        raise ValidationError("price has …_long without 'long_context_above', in tokens")
    return replace(Price(made["input"], made["output"]), **made)


def _given(key: str, value: Any) -> int:
    if key == "long_context_above":
        if isinstance(value, bool) or not isinstance(value, int) or value < 0:
            raise ValidationError(f"price[{key!r}] must be a number of tokens, not {value!r}")
        return value
    try:
        amount = Decimal(str(value)) if not isinstance(value, bool) else Decimal("nan")
    except InvalidOperation:
        amount = Decimal("nan")
    if not amount.is_finite() or amount < 0:
        raise ValidationError(f"price[{key!r}] must be USD per million tokens, not {value!r}")
    return _per_million(amount)


def cost(usage: Usage, price: Price) -> int:
    """Return what one answer cost, in nano-dollars, from the usage its provider reported.

    Cached tokens at the cached price, cache writes at theirs, the rest of the input at the input
    price, all of it at the long-context prices where the request's input is beyond the threshold.
    ``cache_write_tokens`` counts all writes, of which ``cache_write_1h_tokens`` live an hour.
    """
    at = _tier(price, usage.input_tokens)
    hour = usage.cache_write_1h_tokens
    if not (usage.cached_tokens or usage.cache_write_tokens or hour):
        return -(-(usage.input_tokens * at.input + usage.output_tokens * at.output) // _MILLION)
    short = max(0, usage.cache_write_tokens - hour)
    fresh = max(0, usage.input_tokens - usage.cached_tokens - short - hour)
    total = (
        fresh * at.input
        + usage.cached_tokens * _or(at.cached, at.input)
        + short * _or(at.cache_write, at.input)
        + hour * _or(at.cache_write_1h, _or(at.cache_write, at.input))
        + usage.output_tokens * at.output
    )
    return -(-total // _MILLION)


def tier_cost(usage: Usage, price: Price, *, long: bool) -> int:
    """Return what many answers of one tier cost together, their usage added up."""
    at = price
    if long and price.long_context_above is not None:
        at = _tier(price, price.long_context_above + 1)
    return cost(usage, replace(at, long_context_above=None))


def _tier(price: Price, input_tokens: int) -> Price:
    """Return the prices of a request with that much input."""
    if price.long_context_above is None or input_tokens <= price.long_context_above:
        return price
    return replace(
        price,
        input=_or(price.input_long, price.input),
        output=_or(price.output_long, price.output),
        cached=price.cached if price.cached_long is None else price.cached_long,
        cache_write=price.cache_write if price.cache_write_long is None else price.cache_write_long,
        cache_write_1h=(
            price.cache_write_1h if price.cache_write_1h_long is None else price.cache_write_1h_long
        ),
    )


def _or(value: int | None, other: int) -> int:
    return other if value is None else value


def bound_price(price: Price, input_tokens: int, *, caching: Caching = "1h") -> Price:
    """Return the dearest input and output prices that a request of up to `input_tokens` can meet.

    Of input, cached input, cache writes up to `caching`, and the long-context tier if the input
    may reach it (the dearer of both tiers then, since it may also stay below).
    """
    tiers = [price]
    if price.long_context_above is not None and input_tokens > price.long_context_above:
        tiers.append(_tier(price, input_tokens))
    return Price(
        input=max(_dearest(tier, caching) for tier in tiers),
        output=max(tier.output for tier in tiers),
        source=price.source,
    )


def _dearest(tier: Price, caching: Caching) -> int:
    kinds = [tier.input, tier.cached]
    if caching != "none":
        kinds.append(tier.cache_write)
    if caching == "1h":
        kinds.append(tier.cache_write_1h)
    return max(value for value in kinds if value is not None)


def upper_bound(
    input_tokens: int, max_tokens: int, price: Price, *, n: int = 1, caching: Caching = "1h"
) -> int:
    """Return the most that a request can cost, in nano-dollars.

    `input_tokens` is a bound itself (see batchkit.tokens), `max_tokens` holds reasoning too, `n` is
    the number of answers asked for; input is counted `n` times as well, since not every server says
    that it bills it once.
    """
    dearest = bound_price(price, input_tokens, caching=caching)
    total = n * (input_tokens * dearest.input + max_tokens * dearest.output)
    return -(-total // _MILLION)


def expected(input_tokens: int, output_tokens: int, price: Price, *, n: int = 1) -> int:
    """Return what a request likely costs, in nano-dollars: no cache, input once, `n` answers."""
    return cost(Usage(input_tokens=input_tokens, output_tokens=n * output_tokens), price)


def expected_output(max_tokens: int) -> int:
    """Guess an answer's tokens while nothing is known of it: a third of what it may have."""
    return -(-max_tokens // 3)


def caching_of(provider: str, body: Any) -> Caching:
    """Return what a request may write to a cache, for `upper_bound`.

    Anthropic writes only where the request says ``cache_control``; OpenAI writes by itself
    (billed from GPT-5.6 on). `body` is anything made of mappings, sequences and strings: messages,
    parameters, the whole request.
    """
    if _TABLES.get(provider) != "anthropic":
        return "1h"
    found = list(_controls(body))
    if not found:
        return "none"
    return "1h" if any(control.get("ttl", "5m") != "5m" for control in found) else "5m"


def _controls(value: Any) -> list[Mapping[str, Any]]:
    if isinstance(value, Mapping):
        here = value.get("cache_control")
        found = [here] if isinstance(here, Mapping) else []
        return found + [one for part in value.values() for one in _controls(part)]
    if isinstance(value, list | tuple):
        return [one for part in value for one in _controls(part)]
    return []


_UNKNOWN = {
    "audio": "audio tokens have a price of their own",
    "container": "code execution is billed by the hour",
    "context_management": "the provider may run the model more than once",
    "conversation": "the size of the stored conversation is unknown",
    "mcp_servers": "tools that the provider runs add input without limit",
    "prediction": "rejected predictions are billed beyond max_tokens",
    "previous_response_id": "the size of the stored conversation is unknown",
    "prompt": "the size of the stored prompt is unknown",
    "web_search_options": "searches are billed one by one",
}
_OWN_TOOLS = ("function", "custom")
_CHEAP_VALUES: Mapping[str, tuple[Any, ...]] = {
    "service_tier": ("auto", "default", "standard_only", "batch"),
    "speed": ("standard",),
    "inference_geo": ("global",),
    "modalities": (["text"], ("text",)),
}
_BODY_ONLY = re.compile(
    r"max_(output_|completion_)?tokens(_to_sample)?$|model$|messages$|input$|n$"
)


def priced_extras(
    params: Mapping[str, Any], extra_body: Mapping[str, Any] | None = None
) -> list[str]:
    """Return the parameters whose price is unknown, each as ``name: why``; [] if there are none.

    Under a cost limit they are refused. `n` is not among them: it multiplies. In `extra_body`,
    which nobody checks, whatever could undo the bound is named too (``max_tokens``, ``model``, …).
    """
    extra = extra_body or {}
    found = [why for name, value in params.items() for why in _unpriced(name, value)]
    found += [why for name, value in extra.items() for why in _unpriced(name, value)]
    found += [
        f"{name}: set it as a parameter, not in extra_body"
        for name in extra
        if _BODY_ONLY.match(name)
    ]
    return found


def _unpriced(name: str, value: Any) -> list[str]:
    if value is None:
        return []
    if name in _UNKNOWN:
        return [f"{name}: {_UNKNOWN[name]}"]
    if name in _CHEAP_VALUES and value not in _CHEAP_VALUES[name]:
        return [f"{name}: {value!r} has another price"]
    if name == "tools" and isinstance(value, list | tuple):
        kinds = [str(tool.get("type", "custom")) for tool in value if isinstance(tool, Mapping)]
        return [
            f"tools: the provider runs {kind!r} and bills it apart"
            for kind in kinds
            if kind not in _OWN_TOOLS
        ]
    return []


def choices(params: Mapping[str, Any]) -> int:
    """Return how many answers a request asks for: `n` where it is a whole number, else 1."""
    asked = params.get("n")
    return asked if isinstance(asked, int) and asked > 1 else 1


@dataclass(slots=True)
class Measured:
    """A request's texts and size: what `tokens.bound_tokens` and `counted_tokens` take."""

    texts: list[str] = field(default_factory=list)
    json_texts: list[str] = field(default_factory=list)
    page_texts: list[str] = field(default_factory=list)
    images: list[tuple[int, int]] = field(default_factory=list)
    text_bytes: int = 0
    page_text_bytes: int = 0
    pages: int = 0
    messages: int = 0
    attachments: int = 0
    tools: int = 0
    unsized: int = 0
    citations: bool = False

    @property
    def size(self) -> Size:
        """The figures without the texts."""
        return Size(
            text_bytes=self.text_bytes + sum(map(_weight, self.texts)),
            messages=self.messages,
            attachments=self.attachments,
            json_bytes=sum(map(_weight, self.json_texts)),
            tools=self.tools,
            pages=self.pages,
            page_text_bytes=self.page_text_bytes + sum(map(_weight, self.page_texts)),
            images=tuple(self.images),
            citations=self.citations,
            unsized=self.unsized,
        )


def measure(request: Request) -> Measured:
    """Find in `request` all that costs input tokens.

    An attachment without its bytes (``data=b""``) is taken by its document's figures: then its text
    is in `text_bytes` and `page_text_bytes` only, and cannot be counted. Files inside `messages` as
    base64 are opened; those by id or URL are `unsized`.
    """
    found = Measured(citations=request.citations)
    found.texts += [text for text in (request.system, request.prompt) if text]
    found.messages = len(found.texts)
    for message in request.messages or ():
        found.messages += 1
        _walk(message, found)
    for attachment in request.attachments:
        _attach(attachment, found)
    _ask(request.schema, found)
    sent = [*request.params.values(), *request.extra_body.values()]
    found.json_texts += [orjson.dumps(one, default=str).decode() for one in sent if one]
    found.tools = len(request.params.get("tools") or request.extra_body.get("tools") or ())
    return found


def _ask(schema: Mapping[str, Any] | None, found: Measured) -> None:
    """Count what asks for the answer's form: a strict schema, or words in the system prompt."""
    if schema is None:
        return
    if schema.get("mode") == "plain":
        found.messages += 1
        found.texts.append(str(schema.get("instruction") or ""))
    else:  # the marked schema is the sent one and a few notes
        sent = schema.get("wire") or schema.get("marked") or schema
        found.json_texts.append(orjson.dumps(sent, default=str).decode() + str(schema.get("name")))


def _weight(text: str) -> int:
    return len(text.encode("utf-8", "surrogatepass"))


def _attach(attachment: Attachment, found: Measured) -> None:
    document = attachment.document
    found.attachments += 1
    # Where a provider has no place for a text's name, it stands above and below the text.
    found.texts.append(f"Document: {document.name}\n\nEnd of document: {document.name}")
    if document.kind == "image":
        found.images.append((document.width or 0, document.height or 0))
    elif document.kind == "pdf":
        found.pages += document.pages or 0
        if attachment.data:
            found.page_texts += documents.pdf_text(attachment.data)
        else:
            found.page_text_bytes += document.text_bytes or 0
    elif attachment.data:
        found.texts.append(attachment.data.decode("utf-8", "replace"))
    else:
        found.text_bytes += document.size if document.text_bytes is None else document.text_bytes


_REMOTE = ("file_id", "file_url")


def _walk(value: Any, found: Measured, name: str = "") -> None:
    """Collect what a message in a provider's own shape says and shows."""
    if isinstance(value, Mapping):
        inline = value.get("type") == "base64" and isinstance(value.get("data"), str)
        for key, part in value.items():
            if key == "data" and inline:
                _inline(part, found)
            else:
                _walk(part, found, str(key))
    elif isinstance(value, list | tuple):
        for part in value:
            _walk(part, found, name)
    elif isinstance(value, str):
        _said(value, found, name)


def _said(value: str, found: Measured, name: str) -> None:
    if value.startswith("data:") and ";base64," in value[:200]:
        _inline(value.partition(",")[2], found)
    elif name in _REMOTE or (name in ("url", "image_url") and value.startswith("http")):
        found.unsized += 1
    elif name == "file_data":
        _inline(value, found)
    else:
        found.texts.append(value)


def _inline(encoded: str, found: Measured) -> None:
    """Measure a file that stands in a message as base64; one that is none counts as text."""
    found.attachments += 1
    try:
        data = b64decode(encoded, validate=True)
    except (binascii.Error, ValueError):
        found.texts.append(encoded)
        return
    if b"%PDF-" in data[:1024]:
        try:
            pages = documents.pdf_text(data)
        except ValidationError:
            found.unsized += 1
            return
        found.pages += len(pages)
        found.page_texts += pages
    elif size := documents.image_size(data):
        found.images.append(size)
    else:
        found.texts.append(data.decode("utf-8", "replace"))
