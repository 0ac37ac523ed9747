"""What is done once for a hundred thousand jobs makes the same as what is done for each."""

from __future__ import annotations

from dataclasses import FrozenInstanceError, dataclass, fields, replace
from datetime import date
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from batchkit.builder import Job
from batchkit.builder.adding import Adding
from batchkit.builder.asking import BadInput
from batchkit.builder.marks import Bits, Marks
from batchkit.builder.registry import Registry
from batchkit.builder.templates import Brakes, Templates
from batchkit.making import maker
from batchkit.model import Document, Request, Succeeded, Usage
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from batchkit.requests import PromptDigest, digest
from batchkit.results import JobResult
from batchkit.store import Answer, NewJob
from batchkit.store.outlines import Layout
from batchkit.store.sheets import job_of
from batchkit.submitter.stencils import prompt_in, stencil_of
from batchkit.testing import FakeProvider

NUMBERS = st.integers(min_value=-(2**63), max_value=2**63 - 1)
PROMPTS = st.text(st.characters(exclude_categories=["Cs"]), max_size=60)
TEMPLATES = Templates(Registry(None))
TEMPLATE = {"provider": "openai", "model": "gpt-5-mini", "max_tokens": 7, "system": "Be brief."}


@pytest.mark.parametrize("kind", [JobResult, Answer, NewJob, Succeeded, Usage, Document])
def test_a_value_made_quickly_is_like_any_other(kind: Any) -> None:
    names = [one.name for one in fields(kind)]
    made = maker(kind)(*range(len(names)))
    usual = kind(**{name: number for number, name in enumerate(names)})
    assert type(made) is kind
    assert made == usual
    assert hash(made) == hash(usual)
    with pytest.raises(FrozenInstanceError):
        setattr(made, names[0], "other")


def test_a_value_that_looks_at_its_fields_is_not_made_quickly() -> None:
    @dataclass(frozen=True, slots=True)
    class Careful:
        one: int

        def __post_init__(self) -> None:
            pass

    with pytest.raises(TypeError, match="Careful does more than hold its fields"):
        maker(Careful)


@given(st.lists(st.one_of(NUMBERS, st.integers(-3, 3)), max_size=3_000))
def test_marks_are_a_set_of_numbers(numbers: list[int]) -> None:
    marks = Marks()
    seen: set[int] = set()
    for number in numbers:
        assert marks.add(number) is ((number or 1) not in seen)  # 0 and 1 are one place
        seen.add(number or 1)


@given(st.lists(st.tuples(st.integers(0, 80), st.integers(0, 40)), max_size=8))
def test_bits_are_a_set_of_small_numbers(spans: list[tuple[int, int]]) -> None:
    bits = Bits()
    seen: set[int] = set()
    for first, count in spans:
        bits.add_all(first, first + count)
        seen.update(range(first, first + count))
        bits.add(first + 50)
        seen.add(first + 50)
    assert {number for number in range(200) if number in bits} == seen


@pytest.mark.parametrize(
    "provider", [OpenAIResponses(), OpenAIChat(), Anthropic(), FakeProvider()], ids=lambda p: p.name
)
@given(prompt=PROMPTS, number=st.integers(0, 10**9))
def test_a_stencil_writes_the_line_that_the_adapter_encodes(
    provider: Any, prompt: str, number: int
) -> None:
    stencil = stencil_of(provider, dict(TEMPLATE))
    if stencil is None:
        assert not provider.traits.plain_prompts
        return
    request = Request("gpt-5-mini", 7, prompt=prompt, system="Be brief.")
    line = stencil.line(f"bk-{number}", orjson.dumps(prompt))
    assert line == provider.encode(request, f"bk-{number}")


@pytest.mark.parametrize("limited", [True, False])
@pytest.mark.parametrize("model", ["gpt-5-mini", "claude-haiku-4-5", "gpt-99-unheard-of"])
@given(prompt=st.one_of(PROMPTS, st.sampled_from(["\ud800", " ", "x" * 5_000])))
def test_a_mould_makes_the_row_that_every_check_makes(
    model: str, limited: bool, prompt: str
) -> None:
    adding = Adding(TEMPLATES, lambda: None)
    brakes, day = Brakes(limited=limited), date(2026, 11, 20)
    price = {"input": 1.0, "output": 5.0} if "99" in model else None
    like = Job(prompt="another", model=model, max_tokens=9, system="Be brief.", price=price)
    mould = adding.mould(like, brakes, day)
    assert mould is not None
    made = mould.row(prompt, None, lambda _, digest: digest.hex())
    try:
        (usual,) = adding.rows(
            replace(like, prompt=prompt), brakes, day, lambda _, __, digest: digest.hex()
        )
    except BadInput:
        assert made is None
        return
    assert made is not None
    assert replace(job_of(mould.pattern, made), written=None) == usual


@given(PROMPTS)
def test_the_prompt_is_copied_out_of_a_stored_job(prompt: str) -> None:
    found = prompt_in(orjson.dumps({"prompt": prompt}).decode())
    assert found in (orjson.dumps(prompt), None)
    if '"' not in prompt:
        assert found is not None


@given(PROMPTS, st.dictionaries(st.text(max_size=4), PROMPTS, min_size=1, max_size=2))
def test_a_stored_job_with_more_than_a_prompt_is_read(prompt: str, more: dict[str, str]) -> None:
    own = {"prompt": prompt, **{f"x{name}": value for name, value in more.items()}}
    assert prompt_in(orjson.dumps(own).decode()) is None


@given(PROMPTS)
def test_what_prompts_share_is_hashed_once(prompt: str) -> None:
    found = PromptDigest(TEMPLATE).of(orjson.dumps(prompt))
    assert found == digest(TEMPLATE, {"prompt": prompt}, [])


def test_a_layout_knows_the_templates_of_its_range() -> None:
    from array import array

    same, mixed = Layout(5, 8, 3), Layout(5, 8, None, array("q", [3, 0, 4]))
    assert [same.template_of(seq) for seq in range(4, 9)] == [None, 3, 3, 3, None]
    assert [mixed.template_of(seq) for seq in range(4, 9)] == [None, 3, None, 4, None]
