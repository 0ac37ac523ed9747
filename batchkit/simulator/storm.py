"""A fault plan at work: what strikes whom, and what has struck already."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial

from batchkit.simulator.faults import Fault, Phase
from batchkit.simulator.plan import BatchRule, Pick, Plan, RequestRule, WebhookRule, chance
from batchkit.simulator.world import Batch, Strike, World


class Storm:
    """Asks a plan; counts across restarts what a rule's `most` limits."""

    def __init__(self, plan: Plan, world: World) -> None:
        self.plan, self.world = plan, world
        self.struck = Counter(strike.rule for strike in world.strikes)
        self.lock = threading.Lock()

    def consult(self, route: str, nth: int, phase: Phase) -> Fault | None:
        """Return what goes wrong with a call: the first rule that takes it."""
        for rule in self.plan.calls:
            if (
                rule.fault.phase == phase
                and rule.fits(route)
                and self._takes(rule.pick, rule.name, route, nth)
            ):
                return rule.fault
        return None

    def befall(self, batch: Batch) -> Batch:
        """Return a new batch with what the plan does to it, and write that down."""
        for rule in self.plan.batches:
            if rule.provider in (None, batch.dialect):
                of = rule.provider or "any"
                nth = 1 + sum(
                    rule.provider in (None, known.dialect) for known in self.world.batches.values()
                )
                if not batch.problems and self._takes(rule.pick, rule.name, of, nth):
                    batch = _befallen(batch, rule)
                    strike = Strike(
                        batch.created_at,
                        f"{batch.dialect}.batch",
                        nth,
                        rule.what,
                        rule.name,
                        batch.id,
                    )
                    self.world.strike(strike)
        return batch

    def mishaps_of(self, batch: object) -> Callable[[int], str] | None:
        """Return what tells the outcome that befalls the request at an index; None if none can."""
        if not isinstance(batch, Batch):
            return None
        mine = [rule for rule in self.plan.requests if rule.provider in (None, batch.dialect)]
        return partial(_mishap, mine, f"{self.plan.seed}/{batch.id}") if mine else None

    def webhook(self, nth: int, now: float) -> WebhookRule | None:
        """Return what befalls the `nth` webhook, and write that down."""
        for rule in self.plan.webhooks:
            if self._takes(rule.pick, rule.name, "webhook", nth):
                self.world.strike(Strike(now, "webhook", nth, rule.what, rule.name))
                return rule
        return None

    def _takes(self, pick: Pick, name: str, of: str, nth: int) -> bool:
        """Return whether a rule strikes, and count it if it does."""
        if not pick.takes(self.plan.seed, name, of, nth):
            return False
        with self.lock:
            if pick.most is not None and self.struck[name] >= pick.most:
                return False
            self.struck[name] += 1
        return True


def _befallen(batch: Batch, rule: BatchRule) -> Batch:
    if rule.what == "expire":
        return replace(batch, share=rule.share, expires_in=rule.seconds)
    if rule.what == "finalize":
        return replace(batch, finalizing=rule.seconds)
    message = (
        f"Enqueued token limit reached for {batch.model} in organization org-simulator. "
        "Limit: 2,000,000 enqueued tokens. Please try again "
        "once some in_progress batches have been completed."
    )
    problem = {"code": "token_limit_exceeded", "message": message, "param": None, "line": None}
    return replace(batch, problems=(problem,))


def _mishap(rules: list[RequestRule], of: str, index: int) -> str:
    for rule in rules:
        if chance(f"{of}/{rule.name}/{index}") < rule.rate:
            return rule.outcome
    return ""
