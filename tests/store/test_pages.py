"""Jobs by the page: a sheet leaves the rows that its jobs leave, a block is the stencil's lines."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import orjson
import pytest
from sqlalchemy import select

from batchkit.providers.openai import OpenAIResponses
from batchkit.spools import before_seq, custom_id
from batchkit.store import NewJob, Store
from batchkit.store.sheets import Row, Sheet, job_of
from batchkit.store.tables import jobs as table
from batchkit.submitter.stencils import OWN, prompt_in, stencil_of
from tests.store.scenes import NOW, draft, job, outcome

TEMPLATE = {"provider": "openai", "model": "gpt-5-mini", "max_tokens": 7, "system": "Be brief."}
TOKEN = "bkabcde0123456789a"
PROMPTS = ["plain", 'said "so"', "two\nlines \\ \u2028", "é 木 \U0001f600", "{}", "a" * 3_000]


def sheet(prompts: list[str]) -> Sheet:
    made = Sheet(replace(job("", lane="gpt-5-mini", template=TEMPLATE), own={}))
    made.rows += [row(prompt, number) for number, prompt in enumerate(prompts)]
    return made


def row(prompt: str, number: int) -> Row:
    own = orjson.dumps({"prompt": prompt}).decode()
    return f"k{number}", bytes([number]) * 16, own, 40 + number, 10 + number, 100 + number


def stored(store: Store, run_id: int) -> list[tuple[object, ...]]:
    query = select(table).where(table.c.run_id == run_id).order_by(table.c.no)
    with store.database.read() as connection:
        return [tuple(row) for row in connection.execute(query)]


def test_a_sheet_leaves_the_rows_that_its_jobs_leave(store: Store):
    made = sheet(PROMPTS)
    one, two = draft(store, name="one"), draft(store, name="two")
    assert store.jobs.append(one.id, made) == range(len(PROMPTS))
    assert store.jobs.append(two.id, list(made)) == range(len(PROMPTS))
    places = (slice(4, 9), slice(10, None))  # run, lane and template have ids of their own
    first, second = stored(store, one.id), stored(store, two.id)
    assert [[one[at] for at in places] for one in first] == [
        [two[at] for at in places] for two in second
    ]
    assert [one[2] for one in first] == [two[2] for two in second]


def test_a_sheet_takes_only_what_a_row_can_hold():
    made = sheet(["a"])
    like = job_of(made.pattern, row("b", 1))
    others = [
        replace(like, metadata={"n": 1}),
        replace(like, documents=[{"path": "a.pdf"}]),
        replace(like, template_digest=b"o" * 16),
        replace(like, model="gpt-5"),
        replace(like, problem="bad"),
    ]
    assert not any(made.take(other) for other in others)
    assert made.take(like)
    assert made.take(replace(like, key="k2", written=None))
    assert [one.key for one in made] == ["k0", "k1", "k2"]


def opened(store: Store, new: Sheet | list[NewJob]) -> tuple[int, int]:
    run = draft(store)
    store.jobs.append(run.id, new)
    (lane,) = store.jobs.lanes(run.id)
    return lane.id, store.pages.template_at(lane.id, 0, 100) or 0


def test_a_block_holds_the_lines_that_the_stencil_writes(store: Store):
    stencil = stencil_of(OpenAIResponses(), dict(TEMPLATE))
    assert stencil is not None
    lane_id, template_id = opened(store, sheet(PROMPTS))
    form = stencil.form(before_seq(TOKEN))
    block = store.pages.block(lane_id, 1, 99, template_id, form)
    assert block is not None
    expected = [
        stencil.line(custom_id(TOKEN, seq), orjson.dumps(prompt))
        for seq, prompt in enumerate(PROMPTS)
    ][1:]
    assert block.lines.split(b"\n") == expected
    sums, size = block.sums, max(map(len, expected))
    assert (block.end, sums.jobs, sums.bytes) == (6, 5, sum(map(len, expected)))
    assert size <= sums.longest <= size + 1  # as long as the longest place makes it
    assert (sums.bound, sums.unpriced) == (sum(range(101, 106)), 0)
    assert sums.tokens == sum(range(11, 16))


@pytest.mark.parametrize(
    "odd",
    [
        {"own": {"prompt": "a", "more": "b"}},
        {"own": {"messages": [{"role": "user", "content": "a"}]}},
        {"own": {"prompt": ","}},
        {"own": {"prompt": "a" * 5_000}},
        {"own": {"prompt": ["a"]}},
        {"documents": [{"path": "a.pdf"}]},
        {"template_digest": b"o" * 16},
    ],
    ids=["more", "messages", "doubtful", "long", "no-text", "document", "template"],
)
def test_with_one_job_that_is_more_than_a_prompt_there_is_no_block(
    store: Store, odd: dict[str, Any]
):
    plain = list(sheet(["a", "b"]))
    lane_id, template_id = opened(store, [*plain, replace(plain[0], key="x", written=None, **odd)])
    stencil = stencil_of(OpenAIResponses(), dict(TEMPLATE))
    assert stencil is not None
    form = stencil.form(before_seq(TOKEN))
    assert store.pages.block(lane_id, 0, 2, template_id, form) is not None
    assert store.pages.block(lane_id, 0, 3, template_id, form) is None


def test_a_block_has_no_job_twice_that_has_ended(store: Store):
    lane_id, template_id = opened(store, sheet(["a", "b"]))
    stencil = stencil_of(OpenAIResponses(), dict(TEMPLATE))
    assert stencil is not None
    run_id = store.jobs.lane(lane_id).run_id
    store.jobs.keep_test(run_id, lane_id, outcome(0, attempt_no=0), NOW)
    form = stencil.form(before_seq(TOKEN))
    assert store.pages.block(lane_id, 0, 2, template_id, form) is None
    assert store.pages.block(lane_id, 1, 2, template_id, form) is not None


def test_a_form_begins_where_a_stored_prompt_does():
    own = orjson.dumps({"prompt": "a"}).decode()
    assert own[len(OWN) : -1].encode() == prompt_in(own)
