"""One job's arguments into a row: every check that can be made before anything is sent."""

from __future__ import annotations

import os
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from datetime import date
from pathlib import Path
from typing import Any

import orjson

from batchkit import documents, pricing, requests
from batchkit.builder import keys
from batchkit.builder.asking import (
    DEFAULT_MAX_TOKENS,
    BadInput,
    check_shape,
    json_copy,
    paths_of,
)
from batchkit.builder.job import FilePath, Job
from batchkit.builder.moulds import Mould
from batchkit.builder.templates import CUSTOM_ID, Brakes, Template, Templates
from batchkit.errors import ValidationError
from batchkit.model import Attachment, Document, Json, Request
from batchkit.parts import key_of
from batchkit.store import NewJob
from batchkit.weighing import weigh

_CACHED = 256

Named = Callable[[Job, str, bytes], str]
"""Gives a job its key: the user's own, else the derived one it is handed; and the content."""


class Adding:
    """Makes rows of jobs whose defaults are filled in."""

    def __init__(self, templates: Templates, copies: Callable[[], Path | None]) -> None:
        self._templates = templates
        self._copies = copies
        self._seen: OrderedDict[tuple[Any, ...], Document] = OrderedDict()

    def rows(self, job: Job, brakes: Brakes, day: date, named: Named) -> list[NewJob]:
        """Return the row of a job; of a document that is split, one for each of its parts.

        Raises BadInput for what only this document or prompt is to blame for, ValidationError and
        ProviderNotFoundError for the rest.
        """
        check_shape(job)
        paths = paths_of(job)
        template = self._templates.of(job, job.prompt if paths else None, brakes, day)
        _check_prompt(job.prompt)
        if job.split_pages is None:
            found = [self._inspected(path, job.pages) for path in paths]
            return [_row(job, template, brakes, found, named)]
        parts = self._split(paths[0], job.split_pages, job.pages)
        whole = [_row(job, template, brakes, [one], _unnamed) for one in parts]
        key = named(job, keys.of_files(paths, job.pages), whole[0].digest)
        return [replace(row, key=key_of(key, number)) for number, row in enumerate(whole, 1)]

    def mould(self, job: Job, brakes: Brakes, day: date) -> Mould | None:
        """Return what makes rows of prompts like this job's; None where each is looked at."""
        if job.prompt is None or paths_of(job):
            return None
        template = self._templates.of(job, None, brakes, day)
        return Mould(template) if template.provider.traits.plain_prompts else None

    def _split(self, path: FilePath, size: int, pages: str | None) -> list[Document]:
        try:
            return documents.split(Path(path), size, pages=pages, keep=self._copies())
        except ValidationError as error:
            raise BadInput(str(error)) from error

    def _inspected(self, path: FilePath, pages: str | None) -> Document:
        at: tuple[Any, ...]
        try:
            found = os.stat(path)
            at = (os.path.abspath(path), found.st_mtime_ns, found.st_size, found.st_ino, pages)
        except (OSError, ValueError):
            at = ()
        if at and at in self._seen:
            self._seen.move_to_end(at)
            return self._seen[at]
        try:
            document = documents.inspect(Path(path), pages=pages, keep=self._copies())
        except ValidationError as error:
            raise BadInput(str(error)) from error
        if at:
            self._seen[at] = document
            if len(self._seen) > _CACHED:
                self._seen.popitem(last=False)
        return document


def _row(
    job: Job, template: Template, brakes: Brakes, found: list[Document], named: Named
) -> NewJob:
    paths = paths_of(job)
    metadata = None if job.metadata is None else json_copy("metadata", dict(job.metadata))
    own = _own(job, paths)
    request = _request(template, own, found)
    _check(template, request)
    size = _size(template, own, found)
    unbounded = template.unbounded or _unsized(request, brakes)
    digest = requests.digest(template.data, own, requests.identities(found))
    derived = keys.of_files(paths, job.pages) if paths else keys.of_content(digest)
    return NewJob(
        key=named(job, derived, digest),
        provider=template.provider.name,
        model=template.lane_model,
        endpoint=template.provider.traits.endpoint,
        digest=digest,
        template=template.data,
        template_digest=template.digest,
        own=own,
        documents=[_stored(one) for one in found] or None,
        metadata=metadata,
        bytes=size.bytes,
        tokens=size.tokens,
        bound=None if unbounded else size.bound,
    )


def _unnamed(_job: Job, _derived: str, _digest: bytes) -> str:
    return ""


def _stored(document: Document) -> Json:
    values = ((one.name, getattr(document, one.name)) for one in fields(document))
    return {name: value for name, value in values if value is not None}


def failed_row(job: Job, problem: str, named: Named) -> NewJob:
    """Return the row of a job that cannot become a request: it ends as failed, at no cost."""
    paths = [os.fspath(path) for path in paths_of(job)]
    template: Json = {
        "provider": "",
        "model": job.model,
        "max_tokens": job.max_tokens or DEFAULT_MAX_TOKENS,
    }
    asked: Json = {"prompt": job.prompt, "files": paths}
    if job.pages is not None:
        asked["pages"] = job.pages
    if job.split_pages is not None:
        asked["split_pages"] = job.split_pages
    if job.messages is not None:
        asked["messages"] = json_copy("messages", list(job.messages))
    digest = requests.digest(template, asked, [])
    metadata = None if job.metadata is None else json_copy("metadata", dict(job.metadata))
    return NewJob(
        key=named(
            job, keys.of_files(paths, job.pages) if paths else keys.of_content(digest), digest
        ),
        provider="",
        model="",
        endpoint="",
        digest=digest,
        template=template,
        template_digest=requests.template_digest(template),
        own={"problem": problem, **asked},
        documents=None,
        metadata=metadata,
        bytes=0,
        tokens=0,
        bound=0,
        problem=problem,
    )


def _check_prompt(prompt: str | None) -> None:
    if prompt is None:
        return
    if not prompt.strip():
        raise BadInput("The prompt is empty: say what to do with prompt=.")
    try:
        prompt.encode()
    except UnicodeEncodeError as error:
        raise BadInput(
            f"The prompt holds half a character at position {error.start}, which is no UTF-8: "
            "decode its source with errors='replace'."
        ) from error


def _own(job: Job, paths: list[FilePath]) -> Json:
    if job.messages is not None:
        return {"messages": json_copy("messages", list(job.messages))}
    return {} if paths else {"prompt": job.prompt}


def _request(template: Template, own: Json, found: list[Document]) -> Request:
    """Put together what is checked; zeros stand in for the files, which are read when sent."""
    return requests.assemble(template.prepared, own, requests.stand_ins(found))


def _check(template: Template, request: Request) -> None:
    """The template passed alone, so what is wrong here is this job's own doing."""
    problems = template.provider.check(request)
    if problems:
        raise BadInput(" ".join(problems))


def _unsized(request: Request, brakes: Brakes) -> str | None:
    """Say which part of the messages has a size that nobody here knows."""
    if request.messages is None or not pricing.measure(request).unsized:
        return None
    why = (
        "The messages name files by id or URL, whose size is not known, and the run has a cost "
        "limit: put the files themselves into file= or the messages, or leave add_cost_limit out."
    )
    if brakes.limited:
        raise ValidationError(why)
    return why


@dataclass(frozen=True, slots=True)
class _Size:
    bytes: int
    tokens: int
    bound: int | None


def _size(template: Template, own: Json, found: list[Document]) -> _Size:
    """Bound a request; one that is a prompt and nothing else by what its template has already."""
    prompt = own.get("prompt")
    if prompt is not None:
        tokens = template.tokens_of(prompt)
        return _Size(template.line + len(orjson.dumps(prompt)), tokens, template.bound_of(tokens))
    request = requests.assemble(template.prepared, own, [Attachment(one, b"") for one in found])
    weight = weigh(
        request,
        template.price,
        provider=template.provider.name,
        dialect=template.provider.traits.dialect,
    )
    line = template.provider.encode(requests.assemble(template.prepared, own), CUSTOM_ID)
    size = len(line) + sum(map(requests.line_bytes, found))
    return _Size(size, weight.tokens, weight.bound)
