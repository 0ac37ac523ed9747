"""What ``add_job`` takes, as a value that can be written down and read again."""

from __future__ import annotations

import importlib
import os
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, TypeAlias

from batchkit.errors import ValidationError
from batchkit.model import Json
from batchkit.schemas.sources import source_schema

FilePath: TypeAlias = str | os.PathLike[str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One request with one answer, as it is added: ``batch.add_jobs([Job(prompt=…), …])``.

    What is None is left to the builder's defaults. ``pages`` are those of its PDF
    that are sent, ``split_pages`` how many go into each request. ``params`` are the provider's own
    parameters; ``response_schema`` is the JSON Schema of the answer where its class is not at hand.
    """

    messages: Sequence[Mapping[str, Any]] | None = None
    file: FilePath | None = None
    prompt: str | None = None
    model: str | None = None
    temperature: float | None = None
    max_tokens: int | None = None
    response_model: Any = None
    enable_citations: bool = False
    key: str | None = None
    system: str | None = None
    files: Sequence[FilePath] | None = None
    pages: str | None = None
    split_pages: int | None = None
    provider: str | None = None
    price: Mapping[str, Any] | None = None
    metadata: Mapping[str, Any] | None = None
    extra_body: Mapping[str, Any] | None = None
    params: Mapping[str, Any] = field(default_factory=dict)
    response_schema: Mapping[str, Any] | None = None

    def to_dict(self) -> Json:
        """Return it as JSON data: what was given, the class as ``module:Qualname`` and schema."""
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        data = {
            name: value
            for name, value in data.items()
            if value is not None and value is not False and value != {}
        }
        if self.file is not None:
            data["file"] = os.fspath(self.file)
        if self.files is not None:
            data["files"] = [os.fspath(path) for path in self.files]
        if self.response_model is not None:
            data["response_model"] = model_name(self.response_model)
            data["response_schema"] = source_schema(self.response_model)
        return data

    @classmethod
    def from_dict(cls, data: Mapping[str, Any]) -> Job:
        """Return what ``to_dict`` wrote; the class is imported if its module can be.

        Where it cannot, ``response_model`` is None and ``response_schema`` still says what was
        asked. Raises ValidationError for names that no job has.
        """
        known = {one.name for one in fields(cls)}
        unknown = sorted(set(data) - known)
        if unknown:
            raise ValidationError(
                f"A job has no {', '.join(unknown)}: the provider's own parameters stand in params."
            )
        values = dict(data)
        named = values.get("response_model")
        if isinstance(named, str):
            found = find_model(named)
            values["response_model"] = found
            if found is not None:
                values.pop("response_schema", None)
        return cls(**values)

    @classmethod
    def of_arguments(cls, arguments: Mapping[str, Any]) -> Job:
        """Return what ``add_job`` makes of these; what is no field is the provider's parameter."""
        known = {one.name for one in fields(cls)} - {"params", "response_schema"}
        own = {name: value for name, value in arguments.items() if name in known}
        params = {name: value for name, value in arguments.items() if name not in known}
        return cls(**own, params=params)

    def arguments(self) -> Json:
        """Return it as keyword arguments for ``add_job``."""
        if self.response_model is None and self.response_schema is not None:
            raise ValidationError(
                "The class of this job's response_model cannot be imported here: give "
                "response_model= the class itself."
            )
        data = {one.name: getattr(self, one.name) for one in fields(self)}
        del data["response_schema"]
        return {**data.pop("params"), **data}


def model_name(model: Any) -> str:
    """Return the name a class is stored under: ``module:Qualname``; of a generic, its words."""
    if isinstance(model, type):
        return f"{model.__module__}:{model.__qualname__}"
    return f"typing:{model!r}"


def find_model(name: str) -> Any:
    """Return the class of a stored name, its module imported if it must; None if there is none.

    The program itself (``__main__``) is looked into and never imported.
    """
    module, _, path = name.partition(":")
    found: Any = sys.modules.get(module)
    if found is None and module != "__main__":
        try:
            found = importlib.import_module(module)
        except ImportError:
            return None
    for part in path.split("."):
        found = getattr(found, part, None)
    return found if isinstance(found, type) else None
