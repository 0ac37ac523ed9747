"""What a person can do for a run: why, and what to type."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

from batchkit.report.values import Step

_WAITING = {
    "budget": "Raise the limit",
    "account": "Mend the provider's account or key",
    "files": "Put the missing files back",
    "review": "Look at what fails, and if it is well so, go on",
    "canary": "Look at the first answers, and if they are well so, go on",
    "provider": "The provider does not answer; it is asked again while this runs",
}


def advice(status: Mapping[str, Any], command: Callable[[str], str]) -> Iterator[Step]:
    """Yield what to do next, the most pressing first."""
    state, waiting = status["state"], status["waiting_for"]
    if state == "draft":
        yield Step("A draft: its script has not called run() or submit() yet")
        return
    if waiting is not None:
        limit = " --cost-limit USD" if waiting == "budget" else ""
        yield Step(_WAITING.get(waiting, f"Waiting for {waiting}"), command("resume") + limit)
    elif state == "running":
        yield Step("Go on with it", command("resume"))
    if status["failed"] or status["cancelled"]:
        yield Step("See why jobs have no answer", command("errors"))
        yield Step("Give them fresh attempts", command("retry"))
    if status["completed"]:
        yield Step("Write the answers as a table", f"{command('results')} -o answers.csv")
