"""Every shape through every endpoint: the real SDKs, whole runs, against the simulator.

The simulator refuses with 400 what a strict mode refuses, and gives the planted answer in the form
that the schema on the wire asks for; it comes back as the user's own class, equal to what was
planted.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft202012Validator
from pydantic import BaseModel, TypeAdapter

from batchkit import Batch, ValidationError
from batchkit.schemas import answer_schema
from batchkit.simulator import Asked, Outcome, Simulator
from tests.contract.shop import environment
from tests.unit.shapes import SHAPES as EVERY
from tests.unit.wire_answers import say

SHAPES = {name: shape for name, shape in EVERY.items() if shape[0] is not int}
"""A bare ``int`` has no fields: ``add_job`` says so."""

ENDPOINTS = {
    "openai": ("openai", "gpt-6.1-sol"),
    "openai-chat": ("openai", "gpt-6.1-sol"),
    "anthropic": ("anthropic", "claude-haiku-5-5"),
}
IN_WORDS = {
    "a recursive model",
    "a chain",
    "models that name one another",
    "a recursive generic model",
}
"""What Anthropic's strict mode cannot say."""


class Planted:
    """The answers by prompt, as the wire has them, and the bodies that asked for them."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.bodies: dict[str, Any] = {}

    def plant(self, dialect: Any, name: str, number: int, answer: Any) -> str:
        """Return the prompt that is answered so."""
        schema = answer_schema(SHAPES[name][0], dialect)
        said = say(answer, schema.marked) if schema.mode == "strict" else answer
        prompt = f"{name}, {number}."
        self.answers[prompt] = orjson.dumps(said).decode()
        return prompt

    def rule(self, asked: Asked) -> Outcome | None:
        """Give the planted answer."""
        prompt = asked.text.splitlines()[0]
        self.bodies[prompt] = asked.body
        return Outcome(answer=self.answers[prompt])


def asked_for(body: Any) -> Any:
    """Return the schema that a body has for its provider's strict mode."""
    form = body.get("response_format") or (body.get("text") or {}).get("format")
    form = form or (body.get("output_config") or {}).get("format") or {}
    return form.get("schema") or (form.get("json_schema") or {}).get("schema")


@pytest.mark.parametrize("provider", ENDPOINTS)
def test_every_shape_comes_back_as_what_was_planted(
    provider: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, migrated_sqlite_url: str
) -> None:
    """At least 40 shapes in one run for each endpoint."""
    dialect, model = ENDPOINTS[provider]
    planted = Planted()
    batch = Batch(name="shapes", database=migrated_sqlite_url).set_verbosity("error")
    batch.set_default_params(model=model, provider=provider, max_tokens=2_000)
    with Simulator(tmp_path / "sim", instant=True, rule=planted.rule) as simulator:
        for name, value in environment(simulator).items():
            monkeypatch.setenv(name, value)
        for name, (shape, answers) in SHAPES.items():
            for number, answer in enumerate(answers):
                prompt = planted.plant(dialect, name, number, answer)
                batch.add_job(prompt=prompt, response_model=shape, key=prompt)
        run = batch.run(progress_interval=0.02)
        results = {result.key: result for result in run.iter_results()}

    assert len(SHAPES) >= 40
    assert run.get_failed_jobs() == {}
    for name, (shape, answers) in SHAPES.items():
        for number, answer in enumerate(answers):
            wanted = TypeAdapter(shape).validate_json(orjson.dumps(answer))
            assert results[f"{name}, {number}."].parsed_response == wanted, name
        wire = asked_for(planted.bodies[f"{name}, 0."])
        assert (wire is None) is (provider == "anthropic" and name in IN_WORDS), name
        for number in range(len(answers)):
            planted_answer = orjson.loads(planted.answers[f"{name}, {number}."])
            Draft202012Validator(wire or {}).validate(planted_answer)


class Inner(BaseModel):
    call: Callable[[int], int]


class Outer(BaseModel):
    fine: int
    inner: list[Inner]


class Empty(BaseModel):
    pass


class HoldsEmpty(BaseModel):
    deep: dict[str, Empty]


@pytest.mark.parametrize("provider", ENDPOINTS)
@pytest.mark.parametrize(
    ("model", "words"),
    [
        (Outer, "field 'inner.call' has no JSON Schema. Change its type"),
        (Empty, "has no fields, so an answer could only be {}. Give it a field"),
        (HoldsEmpty, "field 'deep.{value}' has no fields"),
        (Any, "is not a model"),
        (int, "is not a model"),
    ],
)
def test_what_no_answer_could_fit_is_said_at_add_job(
    provider: str, model: Any, words: str, migrated_sqlite_url: str
) -> None:
    """With the field and the way out, before anything is sent."""
    batch = Batch(database=migrated_sqlite_url).set_verbosity("error")
    with pytest.raises(ValidationError) as caught:
        batch.add_job(
            prompt="a", model=ENDPOINTS[provider][1], provider=provider, response_model=model
        )
    assert words in str(caught.value)
