"""What a provider may do, as plans that users can write: each is a night that batchkit survives.

The letters are those of the simulator's checklist. Each plan is read from YAML, given to the pytest
fixture, and played through the real SDKs.
"""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from batchkit import Batch
from batchkit.run import BatchRun
from batchkit.simulator import Simulator, plan_from, plan_of
from batchkit.testing import simulator as simulator  # a fixture

GPT, CLAUDE = "gpt-5-mini", "claude-sonnet-4-5"
BOTH = (GPT, CLAUDE)


def _calls(route: str, *faults: dict[str, Any]) -> dict[str, Any]:
    """Let the first calls of a route go wrong, one after the other."""
    return {"faults": [{"route": route, "nth": n, **one} for n, one in enumerate(faults, 1)]}


def _refused(*answers: dict[str, Any]) -> list[dict[str, Any]]:
    return [{"fault": "refuse", "status": 429, **one} for one in answers]


_BODIES = ("long", "unended", "line-cut", "mid-line-cut", "gzip-cut")
_CUT = [{"fault": kind} for kind in _BODIES]

NIGHTS: dict[str, tuple[tuple[str, ...], dict[str, Any]]] = {
    "C3 retry-after, and none": (
        BOTH,
        _calls("*.batches.create", *_refused({"retry_after": 1}, {})),
    ),
    "C4 a create is taken and not answered": (
        BOTH,
        _calls("*.batches.create", {"fault": "drop"}, {"fault": "half"}, {"fault": "html"}),
    ),
    "C4 a create is taken and answers an error": (
        BOTH,
        _calls("*.batches.create", *({"fault": "status", "status": n} for n in (500, 409, 529))),
    ),
    "C5 downloads break at OpenAI": ((GPT,), _calls("openai.files.content", *_CUT)),
    "C5 downloads break at Anthropic": ((CLAUDE,), _calls("anthropic.batches.results", *_CUT)),
    "C5 lines come twice, and the last has no end": (
        BOTH,
        {
            "settings": {"final_newline": False},
            "requests": [{"outcome": "duplicate", "rate": 1.0}],
        },
    ),
    "C6 and O9 and A6 a batch expires with a part of it done": (
        BOTH,
        {"batches": [{"what": "expire", "nth": 1, "share": 0.5, "seconds": 1800}]},
    ),
    "C7 requests fail and go again": (
        BOTH,
        {"seed": 2, "requests": [{"outcome": "500", "rate": 0.4}]},
    ),
    "C8 tokens for thinking": ((GPT,), {"settings": {"reasoning_tokens": 3}}),
    "O5 the queue is full": (
        (GPT,),
        {"batches": [{"what": "token-limit", "nth": [1, 2]}]},
    ),
    "O6 an empty id where there is no file": ((GPT,), {"settings": {"no_file_id": "empty"}}),
    "O15 Azure": ((GPT,), {"settings": {"azure": True}}),
    "A7 a relative results_url": ((CLAUDE,), {"settings": {"results_url": "relative"}}),
    "A11 the queue counts requests": ((CLAUDE,), {"settings": {"queued_requests": 3}}),
    "A11 overloaded": ((CLAUDE,), _calls("anthropic.*", *_refused({"status": 529}, {}))),
}


def _param(name: str, model: str) -> Any:
    options = {"faults": plan_from(NIGHTS[name][1])}
    return pytest.param(options, model, id=f"{name}: {model}")


def _batch(model: str, folder: Path) -> Batch:
    batch = Batch(name="night", items_per_batch=2, database=folder / "state.db", max_attempts=9)
    batch.set_verbosity("error").set_default_params(model=model, max_tokens=50)
    for number in range(6):
        batch.add_job(prompt=f"Say what {number} is", key=f"k{number}")
    return batch


def _balanced(run: BatchRun, simulator: Simulator) -> None:
    assert run.status()["completed"] == 6
    assert simulator.ledger().bought_needlessly() == []


@pytest.mark.parametrize(
    ("simulator", "model"),
    [_param(name, model) for name, (models, _) in NIGHTS.items() for model in models],
    indirect=["simulator"],
)
def test_a_planned_night_is_survived(simulator: Simulator, model: str, tmp_path: Path) -> None:
    run = _batch(model, tmp_path).run(progress_interval=0.05)
    _balanced(run, simulator)


WAITS: dict[str, tuple[str, dict[str, Any]]] = {
    "A11 a spend cap": (
        CLAUDE,
        {
            "faults": [
                {
                    "route": "anthropic.batches.create",
                    "fault": "refuse",
                    "status": 429,
                    "code": "enforced_spend_limit_reached",
                }
            ]
        },
    ),
    "A11 no credit": (
        CLAUDE,
        {"faults": [{"route": "anthropic.batches.create", "fault": "refuse", "status": 402}]},
    ),
    "O3 a key that may not": (
        GPT,
        {"faults": [{"route": "openai.batches.create", "fault": "refuse", "status": 401}]},
    ),
}


@pytest.mark.parametrize(
    ("simulator", "model"),
    [
        pytest.param({"faults": plan_from(plan)}, model, id=f"{name}: {model}")
        for name, (model, plan) in WAITS.items()
    ],
    indirect=["simulator"],
)
def test_what_only_a_person_can_mend_is_waited_for(
    simulator: Simulator, model: str, tmp_path: Path
) -> None:
    """Nothing is bought and nothing fails."""
    run = _batch(model, tmp_path).run(progress_interval=0.05)
    status = run.status()
    assert status["waiting_for"] == "account"
    assert status["failed"] == 0
    assert simulator.ledger().bought_twice() == []


@pytest.mark.parametrize("where", ["foreign", "null"])
def test_results_that_are_not_to_be_had_are_asked_for_again_and_said(
    where: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A7: the key goes to no other host; no job's state changes, and `status` says why."""
    plan = plan_from({"settings": {"results_url": where}})
    with Simulator(tmp_path / "provider", scale=3600.0, faults=plan) as simulator:
        monkeypatch.setenv("ANTHROPIC_BASE_URL", simulator.anthropic_url)
        monkeypatch.setenv("ANTHROPIC_API_KEY", "simulated")
        monkeypatch.setenv("BATCHKIT_PACE", "36000")
        run = _batch(CLAUDE, tmp_path).submit()
        for _ in range(200):
            with suppress(TimeoutError):
                run.wait(max_wait=0.1, interval=0.05)
            if len(run.warnings()) == 3:
                break
        status = run.status()
        assert (status["active"], status["failed"], status["cost_usd"]) == (6, 0, 0)
        said = "the key goes to no other host" if where == "foreign" else "has no results"
        assert all(said in warning for warning in run.warnings())
        assert simulator.ledger().bought_twice() == []


@pytest.mark.parametrize("name", NIGHTS)
def test_each_is_read_from_yaml_as_well(name: str, tmp_path: Path) -> None:
    """As `batchkit simulate --faults` takes it."""
    path = tmp_path / "night.yaml"
    path.write_text(json.dumps(NIGHTS[name][1]))
    assert plan_of(str(path)) == plan_from(NIGHTS[name][1])


@pytest.mark.parametrize(
    ("simulator", "model"),
    [
        pytest.param({"faults": plan_from({"settings": told})}, model, id=f"{name}: {model}")
        for name, model, told in (
            ("O8 a cancel after the end is a 409", GPT, {"cancel_after_end": 409}),
            ("O8 a cancel that takes ten minutes", GPT, {"cancelling_seconds": 600}),
            ("A5 a cancel that half of it outruns", CLAUDE, {"cancel_finishes": 0.5}),
            ("A5 a cancel that cancels nothing", CLAUDE, {"cancel_finishes": 1.0}),
        )
    ],
    indirect=["simulator"],
)
def test_a_cancel_keeps_what_ran(simulator: Simulator, model: str, tmp_path: Path) -> None:
    run = _batch(model, tmp_path).submit()
    run.cancel()
    run.wait(interval=0.05)
    status = run.status()
    assert status["completed"] + status["cancelled"] == 6
    assert status["completed"] == sum(one.billed for one in simulator.ledger().entries)
