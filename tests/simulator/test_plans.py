"""Fault plans: read from data or YAML, refused by line, followed by calls, batches and requests."""

from __future__ import annotations

from pathlib import Path

import openai
import pytest

from batchkit.simulator import (
    NIGHTS,
    Fault,
    Outcome,
    PlanError,
    named_plan,
    plan_from,
    plan_of,
    read_plan,
)
from tests.simulator.talking import (
    document,
    outcomes,
    params,
    response_body,
    results,
    send,
    submit,
)


def _many(n):
    return [response_body(document(i)) for i in range(n)]


def test_a_plan_strikes_the_calls_that_it_names(start, talk):
    """By number, by a list of them, or all; other routes are left alone."""
    plan = plan_from(
        {
            "faults": [
                {"route": "openai.batches.list", "fault": "refuse", "status": 503, "nth": [1, 3]},
                {"route": "openai.files.*", "fault": "refuse", "status": 500},
            ]
        }
    )
    client = talk(start(faults=plan))

    def listing() -> bool:
        try:
            return list(client.batches.list()) == []
        except openai.InternalServerError:
            return False

    assert [listing() for _ in range(4)] == [False, True, False, True]
    for _ in range(2):
        with pytest.raises(openai.InternalServerError):
            client.files.list()


def test_a_rate_is_drawn_from_the_seed(start, talk):
    """Equal seeds give equal nights, other seeds others; `most` is a limit."""

    def night(seed, **more):
        rule = {"route": "*.list", "fault": "refuse", "status": 503, "rate": 0.4, **more}
        client = talk(start(faults=plan_from({"seed": seed, "faults": [rule]})))
        seen = []
        for _ in range(40):
            try:
                client.batches.list()
                seen.append(True)
            except openai.InternalServerError:
                seen.append(False)
        return seen

    first = night(1)
    assert first == night(1)
    assert first != night(2)
    assert 6 < first.count(False) < 28
    assert night(1, most=3).count(False) == 3


def test_a_batch_expires_with_part_of_its_results(start, talk, chat):
    """What ran is there and billed, the rest has lines that say that it expired."""
    plan = plan_from({"batches": [{"what": "expire", "nth": 1, "share": 0.6, "seconds": 3_600}]})
    sim = start(faults=plan)
    client = talk(sim)
    batch, second = submit(client, _many(10)), submit(client, [response_body("other")])
    sim.advance(3_000)
    assert client.batches.retrieve(batch.id).status == "in_progress"
    sim.advance(700)
    seen = client.batches.retrieve(batch.id)
    assert (seen.status, seen.request_counts.completed) == ("expired", 6)
    lines = results(client, batch.id).values()
    assert sum(bool(line["error"]) for line in lines) == 4
    assert client.batches.retrieve(second.id).status == "completed"
    assert sim.ledger().batches[0].billed == 6
    assert sim.ledger().faults() == {"openai.batch: expire": 1}


def test_anthropics_batches_expire_too(start, chat):
    """Its items say so."""
    plan = plan_from({"batches": [{"what": "expire", "provider": "anthropic", "share": 0.25}]})
    sim = start(faults=plan)
    client = chat(sim)
    batch = send(client, [params(document(i)) for i in range(8)])
    sim.advance(86_500)
    kinds = sorted(one["type"] for one in outcomes(client, batch.id).values())
    assert kinds == ["expired"] * 6 + ["succeeded"] * 2


def test_a_batch_fails_for_the_queues_limit(start, talk):
    """`token_limit_exceeded`, in the validating phase; the next one goes."""
    sim = start(faults=plan_from({"batches": [{"what": "token-limit", "rate": 1.0, "most": 1}]}))
    client = talk(sim)
    one, two = submit(client, _many(2)), submit(client, _many(2))
    sim.advance(3_600)
    failed = client.batches.retrieve(one.id)
    assert (failed.status, failed.errors.data[0].code) == ("failed", "token_limit_exceeded")
    assert failed.errors.data[0].line is None
    assert client.batches.retrieve(two.id).status == "completed"


def test_finalizing_lasts_hours(start, talk):
    """All ran, nothing is there yet."""
    sim = start(faults=plan_from({"batches": [{"what": "finalize", "seconds": 7_200}]}))
    client = talk(sim)
    batch = submit(client, _many(3))
    sim.advance(3_600)
    seen = client.batches.retrieve(batch.id)
    assert (seen.status, seen.request_counts.completed) == ("finalizing", 3)
    assert seen.output_file_id is None
    sim.advance(7_200)
    assert client.batches.retrieve(batch.id).status == "completed"


def test_requests_go_wrong_at_a_rate(start, talk, chat):
    """Failures, and lines that are missing, doubled or unreadable; drawn anew the next time."""
    rules = [
        {"outcome": "500", "rate": 0.2},
        {"outcome": "missing", "rate": 0.2},
        {"outcome": "529", "rate": 1.0, "provider": "anthropic"},
    ]
    sim = start(faults=plan_from({"seed": 3, "requests": rules}))
    client, other = talk(sim), chat(sim)
    first, second = submit(client, _many(60)), submit(client, _many(60))
    third = send(other, [params(document(i)) for i in range(10)])
    sim.advance(3_600)
    one, two = results(client, first.id), results(client, second.id)
    failed = {key for key, line in one.items() if line["response"]["status_code"] == 500}
    assert 3 < len(failed) < 25
    assert 35 < len(one) < 57
    assert set(one) != set(two)
    kinds = {line["type"] for line in outcomes(other, third.id).values()}
    assert kinds <= {"errored"}
    books = sim.ledger().faults()
    assert books["request: 500"] > 5
    assert books["request: 529"] > 2


def test_what_came_unreadable_may_be_bought_again(start, talk):
    """Only an answer that was there counts as bought needlessly."""
    sim = start(faults=plan_from({"requests": [{"outcome": "missing", "rate": 0.5}]}))
    client = talk(sim)
    first = submit(client, _many(20))
    sim.advance(3_600)
    came = set(results(client, first.id))
    lost = [response_body(document(i)) for i in range(20) if f"r{i}" not in came]
    assert 0 < len(lost) < 20
    submit(client, lost)
    sim.advance(3_600)
    assert len(sim.ledger().bought_twice()) == len(lost)
    assert sim.ledger().bought_needlessly() == []
    submit(client, _many(20))
    sim.advance(3_600)
    assert sim.ledger().bought_needlessly() != []


def test_markers_and_rules_go_before_a_plan(start, talk):
    """A test that marks a request gets what it asked for."""
    sim = start(faults=plan_from({"requests": [{"outcome": "500", "rate": 1.0}]}))
    client = talk(sim)
    batch = submit(client, [response_body("a [[sim:400]]"), response_body("b")])
    sim.advance(3_600)
    seen = {key: one["response"]["status_code"] for key, one in results(client, batch.id).items()}
    assert seen == {"r0": 400, "r1": 500}


def test_a_rule_that_lets_requests_go_well_leaves_them_to_the_plan(start, talk):
    """As it switches the markers off."""
    plan = plan_from({"requests": [{"outcome": "500", "rate": 1.0}]})
    sim = start(faults=plan, rule=lambda asked: Outcome())
    client = talk(sim)
    batch = submit(client, [response_body("a [[sim:400]]")])
    sim.advance(3_600)
    assert results(client, batch.id)["r0"]["response"]["status_code"] == 500


def test_options_go_before_a_plans_settings(start):
    """The plan's hold where nothing is said."""
    plan = plan_from({"settings": {"list_lag_seconds": 60, "batch_seconds": [1, 2]}})
    sim = start(faults=plan, list_lag_seconds=5.0)
    assert (sim.settings.list_lag_seconds, sim.settings.batch_seconds) == (5.0, (1.0, 2.0))


def test_what_struck_is_remembered_across_restarts(start, talk):
    """`most` is for the folder's whole life."""
    rule = {"route": "*.batches.list", "fault": "refuse", "status": 503, "most": 1}
    plan = plan_from({"faults": [rule]})
    first = start(faults=plan)
    with pytest.raises(openai.InternalServerError):
        talk(first).batches.list()
    first.stop()
    second = start(first.folder, faults=plan)
    assert list(talk(second).batches.list()) == []
    assert second.ledger().faults() == {"openai.batches.list: refuse": 1}


def test_the_plan_made_by_hand_works_beside(start, talk):
    """`sim.faults.add` strikes where the plan does not."""
    sim = start(faults=named_plan("calm"))
    sim.faults.add("openai.batches.list", Fault("refuse", status=503), nth=1)
    with pytest.raises(openai.InternalServerError):
        talk(sim).batches.list()


WRONG = [
    ("faults:\n- route: openai.batches.crate\n  fault: drop", 2, "`openai.batches.create`?"),
    ("faults:\n- fault: dorp", 2, "did you mean `drop`?"),
    ("faults:\n- fault: drop\n  rat: 0.5", 3, "did you mean `rate`?"),
    ("faults:\n- fault: drop\n  rate: 5", 3, "`rate: 5`: it must be a number from 0 to 1"),
    ("faults:\n- fault: drop\n  nth: 0", 3, "from 1 on"),
    ("faults:\n- fault: drop\n  nth: [1, x]", 3, "from 1 on"),
    ("faults:\n- fault: drop\n  nth: 1\n  rate: 0.5", 4, "take one of them out"),
    ("faults:\n- route: '*'\n", 2, "`fault` is missing"),
    ("faults:\n- drop", 2, "no mapping"),
    ("faults: drop", 1, "begin each entry with `- `"),
    ("faults:\n- fault: drop\n  phase: during", 3, "before, after"),
    ("faults:\n- fault: refuse\n  status: 200", 3, "from 300 to 599"),
    ("faults:\n- fault: refuse\n  retry_after: soon", 3, "whole seconds"),
    ("seed: 1\nbatches:\n- what: expires", 3, "did you mean `expire`?"),
    ("batches:\n- what: finalize", 2, "`seconds` is missing"),
    ("batches:\n- what: token-limit\n  provider: anthropic", 3, "take it out"),
    ("requests:\n- outcome: '512'\n  rate: 1", 2, "the name of a marker"),
    ("requests:\n- outcome: garbled", 2, "`rate` is missing"),
    ("webhooks:\n- what: twice", 2, "duplicate, late"),
    ("settings:\n  list_lag: 3", 2, "did you mean `list_lag_seconds`?"),
    ("settings:\n  instant: 3", 2, "true or false"),
    ("settings:\n  cancel_after_end: 418", 2, "200, 400, 409"),
    ("settings:\n  batch_seconds: 3", 2, "two numbers"),
    ("settings:\n  creates_per_hour: many", 2, "whole number"),
    ("fautls: []", 1, "did you mean `faults`?"),
    ("seed: x", 1, "whole number"),
    ("seed: [", 1, "this is no YAML"),
]


@pytest.mark.parametrize(("text", "line", "way_out"), WRONG)
def test_what_is_wrong_with_a_plan_is_told_by_line(tmp_path, text, line, way_out):
    """The file, the line, the value, and the way out."""
    path = tmp_path / "plan.yaml"
    path.write_text(text)
    with pytest.raises(PlanError) as caught:
        read_plan(path)
    said = str(caught.value)
    assert said.startswith(f"{path}, line {line}: ")
    assert way_out in said


def test_plain_data_is_told_by_place():
    """There are no lines, so there are indices."""
    with pytest.raises(PlanError, match=r"^faults\[1\]: `rate: 2`"):
        plan_from({"faults": [{"fault": "drop"}, {"fault": "drop", "rate": 2}]})


def test_a_plan_that_is_not_there():
    """Neither a name nor a file."""
    with pytest.raises(PlanError, match="named ones are calm, stormy"):
        plan_of("strmy")
    with pytest.raises(PlanError, match="there are calm, stormy"):
        named_plan("windy")


def test_an_empty_file_is_a_calm_night(tmp_path: Path):
    """Nothing planned, nothing wrong."""
    (tmp_path / "plan.yaml").write_text("# nothing\n")
    assert read_plan(tmp_path / "plan.yaml") == named_plan("calm")


def test_named_plans_are_whole():
    """Each can be made; a seed makes another night of it."""
    assert list(NIGHTS) == ["calm", "stormy"]
    assert named_plan("stormy", seed=1).seed == 1
    assert {rule.what for rule in named_plan("stormy").batches} == {
        "expire",
        "token-limit",
        "finalize",
    }
    assert plan_of("stormy", 4) == named_plan("stormy", seed=4)
