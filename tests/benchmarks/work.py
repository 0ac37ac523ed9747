"""The job that is measured: 1 kB of prompt, a pydantic answer of 0.3 kB."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
from pydantic import BaseModel

MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-4-5"}
MAX_TOKENS = 400
PER_BATCH = {"openai": 50_000, "anthropic": 100_000}

_WORDS = (
    "The supplier delivered the goods as ordered and asks for payment within thirty days of the "
    "date above. Please find enclosed the list of articles, the agreed prices and the account. "
)
_TEXT = _WORDS * 12


class Invoice(BaseModel):
    """What is read out of each document."""

    supplier: str
    number: str
    total: float
    due: str | None
    note: str


ANSWER = orjson.dumps(
    {
        "supplier": "Meyer & Sons, Rotterdam",
        "number": "2026-11-000417",
        "total": 1284.5,
        "due": "2026-12-21",
        "note": (
            "Payment within thirty days of the date of the invoice, two per cent discount within "
            "ten. The goods remain the property of the supplier until they are paid for in full."
        ),
    }
).decode()


def prompts(count: int) -> Iterator[str]:
    """Yield prompts of 1 kB, each its own."""
    for number in range(count):
        at = number % 180
        yield f"Invoice {number:09d}. Extract the fields. {_TEXT[at : at + 962]}"


def schema() -> dict[str, Any]:
    """Return the answer's schema as strict modes want it."""
    made = Invoice.model_json_schema()
    made["additionalProperties"] = False
    made["required"] = list(made["properties"])
    return made


def bodies(provider: str, count: int) -> Iterator[dict[str, Any]]:
    """Yield each request as the provider receives it."""
    if provider == "openai":
        shape = {"type": "json_schema", "name": "Invoice", "schema": schema(), "strict": True}
        for number, prompt in enumerate(prompts(count)):
            body = {
                "model": MODELS[provider],
                "max_output_tokens": MAX_TOKENS,
                "input": prompt,
                "text": {"format": shape},
            }
            yield {
                "custom_id": f"floor-{number}",
                "method": "POST",
                "url": "/v1/responses",
                "body": body,
            }
        return
    form = {"format": {"type": "json_schema", "schema": schema()}}
    for number, prompt in enumerate(prompts(count)):
        params = {
            "model": MODELS[provider],
            "max_tokens": MAX_TOKENS,
            "messages": [{"role": "user", "content": prompt}],
            "output_config": form,
        }
        yield {"custom_id": f"floor-{number}", "params": params}


def peak_memory() -> int:
    """Return the most memory this process ever had, in bytes."""
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    return 0


def report(**figures: Any) -> None:
    """Print the figures of this process as the last line, for the one that started it."""
    used = os.times()
    found = {**figures, "cpu": used.user + used.system, "memory": peak_memory()}
    sys.stdout.write(orjson.dumps(found).decode() + "\n")
