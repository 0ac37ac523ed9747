"""Answers that are a text and nothing else, to first attempts: from the line to the row at once.

Nearly all of a night is that. Whatever is not goes the long way, by its job's row and a verdict,
which makes the same of a plain one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from batchkit import outputs, pricing
from batchkit.collector.forms import Form, Forms
from batchkit.model import Outcome, Succeeded
from batchkit.store.answers import plain_row
from batchkit.store.bulk import Row
from batchkit.store.outlines import Layout

Placed: TypeAlias = Mapping[int, Outcome]
"""Outcomes by their jobs' places."""


def parted(placed: Placed, layout: Layout | None) -> tuple[dict[int, Succeeded], list[int]]:
    """Return the plain answers by their jobs' places, and the places of all others.

    ``layout`` knows the batch's jobs; without one no answer is plain.
    """
    if layout is None:
        return {}, list(placed)
    plain: dict[int, Succeeded] = {}
    others: list[int] = []
    for seq, outcome in placed.items():
        if outputs.is_plain(outcome) and layout.template_of(seq) is not None:
            plain[seq] = outcome
        else:
            others.append(seq)
    return plain, others


def are_judged_by_class(
    plain: Mapping[int, Succeeded], layout: Layout | None, forms: Forms
) -> bool:
    """Say whether the user's own code will look at some of these plain answers."""
    if layout is None or not plain:
        return False
    ids = {layout.template_of(seq) for seq in plain} if layout.one is None else {layout.one}
    return any(forms.of(one).kind is not None for one in ids if one is not None)


def rows_of(
    plain: Mapping[int, Succeeded], layout: Layout | None, forms: Forms
) -> tuple[list[Row], list[int]]:
    """Return the rows of plain answers as ``Answers.settle`` takes them.

    And the places of those that do not fit: what becomes of them is a verdict.
    """
    rows: list[Row] = []
    misfits: list[int] = []
    if layout is None:
        return rows, misfits
    shared = None if layout.one is None else forms.of(layout.one)
    for seq, answered in plain.items():
        form = shared or forms.of(layout.template_of(seq) or 0)
        used, price = answered.usage, form.price
        if used is None or not _fits(answered.text, form):
            misfits.append(seq)
            continue
        rows.append(
            plain_row(seq, answered, used, None if price is None else pricing.cost(used, price))
        )
    return rows, misfits


def _fits(text: str, form: Form) -> bool:
    if form.reads(text) is not None:
        return True
    schema = form.ready["schema"]
    return schema is None or outputs.misfit(text, schema, form.kind) is None
