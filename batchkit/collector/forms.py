"""What judging and pricing many answers needs of their templates, worked out once for each."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from batchkit import outputs, requests
from batchkit.errors import ValidationError
from batchkit.model import Json, Price
from batchkit.schemas import fingerprint
from batchkit.store import Store

_MOST = 1_000


@dataclass(frozen=True, slots=True)
class Form:
    """One template: as it is stored, ``ready`` for many answers, its price, the user's class.

    ``kind`` is None where this program does not have the class, or has another one by now;
    ``reads`` is ``outputs.as_it_is`` of it.
    """

    template: Json
    ready: Json
    price: Price | None
    kind: Any
    reads: Callable[[str], Any]


class Forms:
    """The templates of one account's batches, by id; ``types`` are the classes at hand."""

    def __init__(self, store: Store, types: Mapping[str, Any]) -> None:
        self._store = store
        self._types = types
        self._known: dict[int, Form] = {}
        self._fingerprints: dict[str, str | None] = {}

    def of(self, template_id: int) -> Form:
        """Return a template's form."""
        form = self._known.get(template_id)
        if form is None:
            if len(self._known) > _MOST:
                self._known.clear()
            form = self._known[template_id] = self._made(self._store.jobs.template(template_id))
        return form

    def _made(self, template: Json) -> Form:
        ready = {**template, "schema": outputs.ready(template.get("schema"))}
        kind = self._kind(template)
        reads = outputs.as_it_is(ready["schema"], kind)
        return Form(template, ready, requests.price_of(template), kind, reads)

    def _kind(self, template: Json) -> Any:
        """Return the user's class if this program has it and it is still the one that was asked."""
        name, schema = str(template.get("response_model")), template.get("schema")
        if name not in self._types or schema is None:
            return None
        if name not in self._fingerprints:
            self._fingerprints[name] = _fingerprint(self._types[name])
        return self._types[name] if self._fingerprints[name] == schema["fingerprint"] else None


def _fingerprint(kind: Any) -> str | None:
    """Return what a class asks for now; None if no provider could be asked for it any more."""
    try:
        return fingerprint(kind)
    except ValidationError:
        return None
