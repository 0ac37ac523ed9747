"""A builder's jobs as values, read back from the rows when somebody looks."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Any, overload

from batchkit.builder.drafting import Draft
from batchkit.builder.job import Job
from batchkit.model import Json
from batchkit.parts import count_of, is_tail
from batchkit.store import JobRow

_PAGE = 500


class Jobs(Sequence[Job]):
    """The jobs of one builder in order of adding; streamed, so that a million may be looped over.

    Prices and classes come back as far as rows hold them: a class that this program has not given
    comes back as ``response_schema``.
    """

    def __init__(self, draft: Draft, models: dict[str, Any]) -> None:
        self._draft = draft
        self._models = models

    def __len__(self) -> int:
        return self._draft.added

    def __iter__(self) -> Iterator[Job]:
        if not self._draft.added:
            return
        self._draft.flush()
        store = self._draft.store
        templates: dict[int, Json] = {}
        for row in store.surveys.current(self._draft.run_id):
            if row.no not in self._draft.seen or is_tail(row.key):
                continue
            if row.template_id not in templates:
                templates[row.template_id] = store.jobs.template(row.template_id)
            yield _job(row, templates[row.template_id], self._models)

    @overload
    def __getitem__(self, index: int) -> Job: ...
    @overload
    def __getitem__(self, index: slice) -> list[Job]: ...
    def __getitem__(self, index: int | slice) -> Job | list[Job]:
        if isinstance(index, slice):
            return list(self)[index]
        wanted = index + len(self) if index < 0 else index
        found = list(islice(iter(self), wanted, wanted + 1)) if wanted >= 0 else []
        if not found:
            raise IndexError(f"there is no job {index}")
        return found[0]


def _job(row: JobRow, template: Json, models: dict[str, Any]) -> Job:
    params = dict(template.get("params") or {})
    found = row.documents or ()
    paths = [one["path"] for one in found] or list(row.own.get("files") or ())
    named = "selection" if count_of(row.documents) is None else "split_from"
    selected = [one[named] for one in found if one.get(named)]
    schema = template.get("schema")
    model = models.get(str(template.get("response_model")))
    return Job(
        key=row.key,
        messages=row.own.get("messages"),
        prompt=row.own.get("prompt") or template.get("prompt"),
        file=paths[0] if len(paths) == 1 else None,
        files=paths if len(paths) > 1 else None,
        pages=selected[0] if selected else row.own.get("pages"),
        split_pages=found[0].get("split_pages") if found else row.own.get("split_pages"),
        model=template.get("model"),
        provider=template.get("provider") or None,
        max_tokens=template.get("max_tokens"),
        temperature=params.pop("temperature", None),
        system=template.get("system"),
        response_model=model,
        response_schema=schema["original"] if schema is not None and model is None else None,
        enable_citations=bool(template.get("citations")),
        metadata=row.metadata,
        extra_body=template.get("extra_body"),
        params=params,
    )
