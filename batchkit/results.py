"""What comes out: one job's result as a value, made of stored rows and typed when it is read.

Which class an answer becomes is decided in the program that reads: the one given by hand, else the
one the builder was given in this process, else one that is loaded already under the stored name.
Nothing is imported and nothing a user wrote is run for it. Reading never changes a job's state.
"""

from __future__ import annotations

import os
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, fields
from operator import attrgetter
from typing import Any

import orjson
from pydantic import BaseModel

from batchkit.citing import mapped, placed
from batchkit.documents import ranges
from batchkit.errors import ValidationError
from batchkit.making import maker
from batchkit.model import Citation, Code, JobState, Json
from batchkit.money import dollars
from batchkit.outputs import as_it_is, misfit, parse_answer, ready, typed
from batchkit.schemas import fingerprint
from batchkit.store import Answer, RunRow, Store

_NO_SCHEMA: Json = {"original": {}, "marked": {}}
"""Reads any JSON as it is: for a class that is given by hand to jobs that had none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """One job and what came of it. Cost and tokens sum all attempts; unknown is None, never 0.

    ``state`` is ``completed``, ``failed``, ``cancelled``, or while it waits ``pending`` or
    ``active`` (in a batch); ``error_code`` is one of ``batchkit.model.Code``; ``batch_id`` is the
    provider's name of the batch; ``source`` the path of the job's file, several joined by ``; ``;
    ``source_sha256`` the hash of its bytes when it was added, likewise. ``citation_mappings`` has
    the dotted path of each field of the answer that a citation supports; ``metadata["sure"]`` of
    such a citation says whether its words contain the field's value.
    ``pages`` are the pages of a PDF that were sent, where not all of them were. Of a document that
    was sent in parts (``split_pages``) ``parsed_response`` is the list of its parts' answers in the
    order of the pages (its type says nothing of lists, so that who splits nothing need not look
    for one), and ``parts`` are the parts' own results.
    ``cursor`` is what ``iter_results(after=…)`` takes, None while the job waits.
    """

    job_id: str
    key: str
    state: str
    raw_response: str | None = None
    parsed_response: BaseModel | dict[str, Any] | None = None
    citations: list[Citation] = field(default_factory=list)
    citation_mappings: dict[str, list[Citation]] = field(default_factory=dict)
    input_tokens: int | None = None
    output_tokens: int | None = None
    cached_tokens: int | None = None
    cache_write_tokens: int | None = None
    reasoning_tokens: int | None = None
    cost_usd: float | None = None
    error: str | None = None
    error_code: str | None = None
    batch_id: str | None = None
    model: str | None = None
    source: str | None = None
    source_sha256: str | None = None
    attempts: int = 0
    finish_reason: str | None = None
    reused_from: str | None = None
    metadata: Json | None = None
    pages: str | None = None
    parts: list[JobResult] = field(default_factory=list)
    cursor: str | None = field(default=None, compare=False, repr=False)

    @property
    def is_success(self) -> bool:
        """Whether there is an answer, of the asked form where a form was asked for."""
        return self.state == JobState.COMPLETED and self.error is None

    @property
    def total_tokens(self) -> int | None:
        """Input and output together; None if either is unknown."""
        if self.input_tokens is None or self.output_tokens is None:
            return None
        return self.input_tokens + self.output_tokens

    def to_dict(self) -> Json:
        """Return it as JSON data; a typed answer as its JSON form, by alias.

        ``pages`` and ``parts`` are there where there are any.
        """
        data = dict(zip(_NAMES, _VALUES(self), strict=True))
        data["parsed_response"] = plain(self.parsed_response)
        data["citations"] = [_citation_data(one) for one in self.citations]
        data["citation_mappings"] = {
            name: [_citation_data(one) for one in found]
            for name, found in self.citation_mappings.items()
        }
        if self.pages is not None:
            data["pages"] = self.pages
        if self.parts:
            data["parts"] = [part.to_dict() for part in self.parts]
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> JobResult:
        """Return what ``to_dict`` wrote, its answer as plain data; unknown names are ignored."""
        missing = [name for name in ("job_id", "key", "state") if name not in data]
        if missing:
            raise ValidationError(f"this is no JobResult: it has no {', '.join(missing)}")
        values = {name: data[name] for name in (*_NAMES, "pages") if name in data}
        values["parts"] = [cls.from_dict(one) for one in data.get("parts") or ()]
        values["citations"] = [Citation(**one) for one in data.get("citations") or ()]
        values["citation_mappings"] = {
            name: [Citation(**one) for one in found]
            for name, found in (data.get("citation_mappings") or {}).items()
        }
        return cls(**values)

    def save_to_json(self, path: str | os.PathLike[str]) -> None:
        """Write it as one JSON file, whole or not at all; folders are made."""
        replace_file(path, written(self.to_dict()))


_made = maker(JobResult)
_SOMETIMES = ("pages", "parts", "cursor")
_NAMES = tuple(one.name for one in fields(JobResult) if one.name not in _SOMETIMES)
_VALUES = attrgetter(*_NAMES)


def _citation_data(one: Citation) -> Json:
    return {"text": one.text, "source": one.source, "page": one.page, "metadata": one.metadata}


def plain(value: Any) -> Any:
    """Return an answer as JSON data; a model that cannot write itself becomes its text."""
    if not isinstance(value, BaseModel):
        return [plain(one) for one in value] if isinstance(value, list) else value
    try:
        return value.model_dump(mode="json", by_alias=True, warnings=False)
    except Exception:  # noqa: BLE001 -- a user's own serializer may raise anything
        return {"unwritable": str(value)}


def written(data: Json) -> bytes:
    """Return a result's JSON as it stands in files: indented, with a line end."""
    options = orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE | orjson.OPT_NON_STR_KEYS
    return orjson.dumps(data, option=options, default=str)


def replace_file(path: str | os.PathLike[str], content: bytes) -> None:
    """Write a file whole or not at all; whoever reads meanwhile sees the old one. Folders are made.

    Plain calls, since a run has a million of them: beside what the disk does they cost nothing.
    """
    folder = os.path.dirname(path)
    part = os.path.join(folder, f".batchkit-{os.getpid()}-{threading.get_ident()}.part")
    try:
        _write(part, content)
    except FileNotFoundError:
        os.makedirs(folder, exist_ok=True)
        _write(part, content)
    try:
        os.replace(part, path)
    except OSError:
        _remove(part)
        raise


def _write(path: str, content: bytes) -> None:
    """Write a file; none is left where the disk refuses."""
    file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    try:
        while content:
            content = content[os.write(file, content) :]
    except OSError:
        _remove(path)
        raise
    finally:
        os.close(file)


def _remove(path: str) -> None:
    with suppress(OSError):
        os.unlink(path)


def cursor_text(answer: Answer) -> str | None:
    """Return the place of an ended job in the order of completion, as users hold it."""
    return None if answer.collected_no is None else f"{answer.collected_no}:{answer.seq}"


def cursor_place(after: str | JobResult | None) -> tuple[int, int] | None:
    """Turn a cursor, or the result that carries it, into the store's; raise ValidationError."""
    text = after.cursor if isinstance(after, JobResult) else after
    if text is None:
        return None
    number, _, seq = str(text).partition(":")
    try:
        return int(number), int(seq)
    except ValueError as error:
        raise ValidationError(
            f"after={text!r} is no cursor: take result.cursor of the last result you have"
        ) from error


@dataclass(frozen=True, slots=True)
class _Form:
    """What one template's answers are read as: ``schema`` None means text.

    ``reads`` is ``outputs.as_it_is`` of it.
    """

    schema: Json | None
    kind: Any
    model: str | None
    reads: Callable[[str], Any]


class Reader:
    """Makes results of one run's stored rows, with the classes that this program has.

    ``models`` maps the stored name ``module:Qualname`` to the class that the builder was given;
    ``response_model`` types every answer by hand.
    """

    def __init__(
        self,
        store: Store,
        run: RunRow,
        models: Mapping[str, Any] | None = None,
        response_model: Any = None,
    ) -> None:
        self._store = store
        self._run = run
        self._models = models or {}
        self._given = checked(response_model)
        self._forms: dict[tuple[int, int | None], _Form] = {}

    def result(self, answer: Answer) -> JobResult:
        """Return one job as a value."""
        place = answer.template_id, answer.asked_id
        form = self._forms.get(place) or self._form(*place)
        parsed, problem = _parsed(answer, form)
        files, cost = answer.documents or (), answer.cost
        cited = [placed(one, files) for one in answer.citations] if answer.citations else []
        is_read = form.schema is not None and parsed is not None
        return _made(  # in the order of the fields: names would cost as much as the values
            f"{self._run.uid}-{answer.no}",
            answer.key,
            str(answer.state),
            answer.answer,
            parsed,
            cited,
            mapped(answer.answer or "", cited) if is_read and cited else {},
            answer.input_tokens,
            answer.output_tokens,
            answer.cached_tokens,
            answer.cache_write_tokens,
            answer.reasoning_tokens,
            None if cost is None else dollars(cost),
            problem or answer.error,
            Code.INVALID_OUTPUT.value if problem else answer.code,
            answer.batch_ref,
            answer.model or form.model,  # a lane of many models has none
            _joined(files, "path") if files else None,
            _joined(files, "sha256") if files else None,
            answer.attempts,
            answer.finish,
            answer.reused_from,
            answer.metadata,
            _pages(files[0]) if files else None,
            [],
            cursor_text(answer),
        )

    def _form(self, template_id: int, asked_id: int | None) -> _Form:
        template = self._store.jobs.template(template_id)
        if asked_id is not None:
            asked = self._store.jobs.template(asked_id)
            template = {**template, "schema": reading_schema(template, asked)}
        form = self._forms[template_id, asked_id] = self._made(template)
        return form

    def _made(self, template: Json) -> _Form:
        schema = ready(template.get("schema"))
        model: str | None = template.get("model")
        kind = self._given
        if kind is not None:
            schema = schema or _NO_SCHEMA
        elif schema is not None:
            found = loaded(template.get("response_model"), self._models)
            kind = found if is_same(found, schema) else None
        return _Form(schema, kind, model, as_it_is(schema, kind))


def _joined(files: Sequence[Json], name: str) -> str | None:
    return "; ".join(str(one[name]) for one in files if one.get(name)) or None


def _pages(first: Json) -> str | None:
    """Return which pages were sent of a PDF; None for the whole of one that is not split."""
    if first.get("parts") is None:
        return first.get("selection")
    return first.get("selection") or ranges.written(f"1-{first['pages']}")


def _parsed(answer: Answer, form: _Form) -> tuple[Any, str | None]:
    """Return the typed answer, or why this program cannot type it."""
    if answer.state != JobState.COMPLETED or answer.answer is None or form.schema is None:
        return None, None
    if (read := form.reads(answer.answer)) is not None:
        return read, None
    try:
        value = parse_answer(answer.answer, form.schema)
        return value if form.kind is None else typed(value, form.kind), None
    except Exception as error:  # noqa: BLE001 -- a user's own validator may raise anything
        return None, misfit(answer.answer, form.schema, form.kind) or str(error)


def reading_schema(template: Mapping[str, Any], asked: Mapping[str, Any]) -> Json:
    """Return a template's schema for answers that were asked for with another template's."""
    before: Json = asked.get("schema") or _NO_SCHEMA
    return {**template["schema"], "marked": before["marked"] or before["original"]}


def answer_schemas(store: Store, run: RunRow, response_model: Any = None) -> list[Json]:
    """Return the JSON Schemas of a run's answers, each once; none for answers that are text.

    Where all documents are split, an answer is a list of such.
    """
    found = _schemas(store, run, response_model)
    if not run.split or store.parts.has_whole(run.id):
        return found
    return [{"type": "array", "items": one, "$defs": one.get("$defs", {})} for one in found]


def _schemas(store: Store, run: RunRow, response_model: Any) -> list[Json]:
    if response_model is not None:
        kind = checked(response_model)
        return [kind.model_json_schema(mode="serialization", by_alias=True)]
    found: dict[str, Json] = {}
    for template in store.reports.templates(run.id):
        if (schema := template.get("schema")) is not None:
            found.setdefault(schema["fingerprint"], schema["original"])
    return list(found.values())


def checked(response_model: Any) -> Any:
    """Return the class given by hand; raise ValidationError if it is no pydantic model."""
    if response_model is None or _is_model(response_model):
        return response_model
    raise ValidationError(f"response_model must be a pydantic model, not {response_model!r}")


def loaded(name: str | None, models: Mapping[str, Any]) -> Any:
    """Return the class of a stored name ``module:Qualname`` if this program has it by now."""
    if name is None or name in models:
        return None if name is None else models[name]
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if _is_model(found) else None


def _is_model(value: Any) -> bool:
    return isinstance(value, type) and issubclass(value, BaseModel)


def is_same(kind: Any, schema: Json) -> bool:
    """Say whether a class still asks what was asked then: another one judges no old answers."""
    try:
        return kind is not None and fingerprint(kind) == schema["fingerprint"]
    except ValidationError:
        return False
