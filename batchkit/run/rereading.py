"""Stored raw answers judged again after the user mended the model: for free, nothing is sent."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby, islice
from typing import Any

from batchkit import providers, requests
from batchkit.errors import ValidationError
from batchkit.model import Code, Json
from batchkit.outputs import misfit
from batchkit.providers import Provider
from batchkit.results import checked, loaded, reading_schema
from batchkit.schemas import answer_schema, fingerprint
from batchkit.store import Raw, Reading, RunRow, Store

REPARSED = (Code.INVALID_OUTPUT.value, Code.PARSER_CRASHED.value)
"""Reasons that a mended model may do away with: there is an answer, and it was not accepted."""

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Reread:
    """How many answers came to fit, and how many still do not."""

    fit: int
    left: int

    @property
    def said(self) -> str:
        """The two in one line."""
        words = f"{self.fit:,} {'answer fits' if self.fit == 1 else 'answers fit'} now"
        if self.left:
            words += f", {self.left:,} still {'does' if self.left == 1 else 'do'} not"
        return f"{words}. Nothing was bought."


@dataclass(frozen=True, slots=True)
class _Form:
    """What the answers of one template are judged by: ``kind`` None means the stored schema."""

    template: Json
    digest: bytes
    schema: Json
    kind: Any
    changed: bool


class Rereading:
    """Judges one run's stored answers again.

    ``given`` is the mended class; without it the class of that name that this program has; without
    that the stored schema. ``models`` are the classes at hand by stored name.
    """

    def __init__(
        self,
        store: Store,
        run: RunRow,
        *,
        known: Mapping[str, Provider] | None = None,
        models: Mapping[str, Any] | None = None,
        given: Any = None,
    ) -> None:
        self._store = store
        self._run = run
        self._known = known or {}
        self._models = dict(models or {})
        self._given = checked(given)
        self._wanted = self._asked_for() if given is not None else None
        self._forms: dict[tuple[int, int | None], _Form | None] = {}

    def read(self, now: datetime) -> Reread:
        """Judge every answer that was turned away; complete those that fit, some at a time."""
        fit = left = 0
        for page in self._pages():
            judged = [self._reading(raw) for raw in page]
            fitting = [one for one in judged if one is not None]
            fit += self._store.raws.take(self._run.id, fitting, now)
            turned_away = sum(raw.state != "completed" for raw in page)
            left += turned_away - sum(one.raw.state != "completed" for one in fitting)
        return Reread(fit, left)

    @property
    def models(self) -> dict[str, Any]:
        """The classes at hand by the names under which answers are read from now on."""
        return self._models

    def _pages(self) -> Iterator[Sequence[Raw]]:
        raws = self._store.raws.of_run(self._run.id, REPARSED, completed=self._is_changed())
        for _, lane in groupby(raws, key=lambda raw: raw.lane_id):
            while page := list(islice(lane, _PAGE)):
                yield page

    def _is_changed(self) -> bool:
        """Say whether answers that were accepted are to be read by another class as well."""
        for name, asked in self._store.raws.questions(self._run.id):
            if self._wanted is None:
                kind = loaded(name, self._models)
            else:
                kind = self._given if name == self._wanted else None
            if kind is not None and fingerprint(kind) != asked:
                return True
        return False

    def _asked_for(self) -> str:
        """Return the stored name of the class that the given one stands for."""
        names = {name for name, _ in self._store.raws.questions(self._run.id)}
        mine = self._given.__name__
        same = {name for name in names if _is_called(name, mine)} or names
        if len(same) != 1:
            listed = ", ".join(sorted(names)) or "none"
            raise ValidationError(
                f"Which answers {mine} is to judge is not clear: the run asks for {listed}. Give "
                "the class the name of the one it stands for."
            )
        return same.pop()

    def _reading(self, raw: Raw) -> Reading | None:
        """Return how an answer is read from now on; None if it does not fit, or is none of ours."""
        form = self._form(raw.template_id, raw.asked_id)
        if form is None or (raw.state == "completed" and not form.changed):
            return None
        if misfit(raw.answer, form.schema, form.kind) is not None:
            return None
        files = requests.identities(requests.documents_of(raw.documents))
        return Reading(
            raw, form.template, form.digest, requests.digest(form.template, raw.own, files)
        )

    def _form(self, template_id: int, asked_id: int | None) -> _Form | None:
        if (template_id, asked_id) not in self._forms:
            template = self._store.jobs.template(template_id)
            asked = template if asked_id is None else self._store.jobs.template(asked_id)
            self._forms[template_id, asked_id] = self._made(template, asked)
        return self._forms[template_id, asked_id]

    def _made(self, template: Json, asked: Json) -> _Form | None:
        if template.get("schema") is None:
            return None
        name = template.get("response_model")
        if self._wanted is not None and name != self._wanted:
            return None
        kind = loaded(name, self._models) if self._given is None else self._given
        renewed = template if kind is None else self._renewed(template, kind)
        digest = requests.template_digest(renewed)
        schema = reading_schema(renewed, asked)
        return _Form(renewed, digest, schema, kind, changed=renewed != template)

    def _renewed(self, template: Json, kind: Any) -> Json:
        """Let a template ask for what the class is now; the name it is found by stays."""
        self._models[str(template.get("response_model"))] = kind
        if fingerprint(kind) == template["schema"]["fingerprint"]:
            return template
        dialect = self._provider(template["provider"]).traits.dialect
        plain, cited = template["schema"]["mode"] == "plain", bool(template.get("citations"))
        renewed = answer_schema(kind, dialect, plain=plain, cited=cited)
        return {**template, "schema": renewed.to_dict()}

    def _provider(self, name: str) -> Provider:
        found = self._known.get(name)
        return found if found is not None else providers.load(name)


def _is_called(stored: str, name: str) -> bool:
    """Say whether a stored ``module:Qualname`` is of a class of this name, wherever it is now."""
    return stored.rpartition(":")[2].rpartition(".")[2] == name
