"""Ended jobs go again: which of them can work, and how a changed one becomes a new revision."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from batchkit import providers, requests
from batchkit.errors import ValidationError
from batchkit.model import Attachment, Code, Json, Request
from batchkit.parts import count_of, document_of, keys_of, shown
from batchkit.pricing import priced_extras, table_price
from batchkit.providers import Provider
from batchkit.results import loaded
from batchkit.schemas import answer_schema
from batchkit.store import JobRow, NewJob, Opening, RunRow, Store
from batchkit.weighing import Weight, weigh

CHANGES = ("model", "max_tokens", "prompt")
RETRIED = ("failed", "cancelled")

NEVER = frozenset({Code.BAD_INPUT, Code.FILE_CHANGED, Code.REPLACED, Code.GONE})
"""No retry helps: what was added is not there any more, or never was a request."""

NEVER_AS_IT_IS = frozenset(
    {Code.INVALID_REQUEST, Code.REFUSED, Code.CONTENT_FILTER, Code.TRUNCATED}
)
"""The same request gets the same end; another model, prompt or max_tokens may not."""

_PAGE = 500


@dataclass(frozen=True, slots=True)
class Picked:
    """The jobs a retry takes, as (lane_id, seq, key), and what it leaves out, by reason."""

    jobs: Sequence[tuple[int, int, str]]
    left_out: Mapping[str, int]


def pick(
    store: Store,
    run_id: int,
    states: Sequence[str],
    codes: Sequence[str] | None,
    keys: Sequence[str] | None,
    changes: Mapping[str, Any],
) -> Picked:
    """Choose ended jobs; without ``codes``, what can never work is left out and counted."""
    _check(states, codes, changes)
    jobs: list[tuple[int, int, str]] = []
    left_out: Counter[str] = Counter()
    for chunk in _chunks(store, run_id, keys):
        for lane_id, seq, key, code in store.answers.ended_ids(run_id, states, codes, chunk):
            if can_work(code, asked=codes is not None, changed=bool(changes)):
                jobs.append((lane_id, seq, key))
            else:
                left_out[str(code)] += 1
    return Picked(jobs, left_out)


def with_parts(store: Store, run_id: int, keys: Sequence[str]) -> list[str]:
    """Return keys with those of the other parts of documents that are split."""
    found = store.jobs.lookup(run_id, keys) if store.runs.get(run_id).split else {}
    return [
        part
        for key in keys
        for part in keys_of(
            key, max((count_of(o.documents) or 1 for o in found.get(key, ())), default=1)
        )
    ]


def can_work(code: str | None, *, asked: bool, changed: bool) -> bool:
    """Say whether another attempt may end otherwise; ``asked``: somebody named this reason."""
    if code == Code.BAD_INPUT:  # there is no request to send
        return False
    if asked or code is None:
        return True
    return code not in NEVER and (changed or code not in NEVER_AS_IT_IS)


def _check(states: Sequence[str], codes: Sequence[str] | None, changes: Mapping[str, Any]) -> None:
    _known("states", states, RETRIED)
    _known("codes", codes or (), [code.value for code in Code])
    _known("changes", list(changes), CHANGES)
    tokens = changes.get("max_tokens")
    if tokens is not None and (isinstance(tokens, bool) or not isinstance(tokens, int)):
        raise ValidationError(f"max_tokens must be a whole number, not {tokens!r}")
    if tokens is not None and tokens < 1:
        raise ValidationError(f"max_tokens must be at least 1, not {tokens}")
    for name in ("model", "prompt"):
        text = changes.get(name)
        if text is not None and not (isinstance(text, str) and text.strip()):
            raise ValidationError(f"{name} must be a text that is not empty, not {text!r}")


def _known(what: str, given: Sequence[str], known: Sequence[str]) -> None:
    if isinstance(given, str):
        raise ValidationError(f"{what} must be a list, not the text {given!r}")
    for one in given:
        if one not in known:
            raise ValidationError(f"retry knows no {what} {one!r}; known: {', '.join(known)}")


def _chunks(
    store: Store, run_id: int, keys: Sequence[str] | None
) -> Iterable[Sequence[str] | None]:
    if keys is None:
        return [None]
    if isinstance(keys, str):
        raise ValidationError(f"keys must be a list, not the text {keys!r}")
    unique = with_parts(store, run_id, list(dict.fromkeys(keys)))
    return [unique[at : at + _PAGE] for at in range(0, len(unique), _PAGE)]


def documents_in(keys: Iterable[str]) -> list[str]:
    """Return the documents that jobs are parts of, each once; other jobs' keys as they are."""
    return list(dict.fromkeys(map(document_of, keys)))


class Revision:
    """Makes jobs of jobs: the same key and files with another model or prompt.

    ``known`` are providers at hand by name, ``models`` the classes of this program by their
    stored names; a job with a schema that goes to a provider of the other dialect needs its class.
    """

    def __init__(
        self,
        store: Store,
        run: RunRow,
        changes: Mapping[str, Any],
        *,
        known: Mapping[str, Provider] | None = None,
        models: Mapping[str, Any] | None = None,
    ) -> None:
        self._store = store
        self._run = run
        self._changes = changes
        self._known = known or {}
        self._models = models or {}
        self._templates: dict[int, Json] = {}

    def buy(self, picked: Sequence[tuple[int, int, str]], now: datetime) -> int:
        """Add the new revisions and release them; the old answers stay as revisions.

        Raises ValidationError, before anything is written, if a job cannot be asked that way.
        """
        old = self._rows(picked)
        new = [self._job(row, now) for row in old]
        keys = [job.key for job in new]
        replacing = self._own_drafts(keys)
        self._refuse_drafts(len(replacing))
        for at in range(0, len(new), _PAGE):
            self._store.jobs.append(self._run.id, new[at : at + _PAGE], replacing)
            replacing = []
        self._open([(row.lane_id, row.seq) for row in old], now)
        return len(new)

    def _rows(self, picked: Sequence[tuple[int, int, str]]) -> list[JobRow]:
        by_lane: dict[int, list[int]] = {}
        for lane_id, seq, _ in picked:
            by_lane.setdefault(lane_id, []).append(seq)
        return [row for lane, seqs in by_lane.items() for row in self._store.jobs.pick(lane, seqs)]

    def _own_drafts(self, keys: Sequence[str]) -> list[tuple[int, int]]:
        """Find what a retry that was killed half-way has left: it goes in favour of this one."""
        found = self._store.jobs.lookup(self._run.id, keys)
        return [
            (one.lane_id, one.seq) for known in found.values() for one in known if not one.released
        ]

    def _refuse_drafts(self, own: int) -> None:
        """Releasing is by lane: it must not start what somebody added and never started."""
        if sum(1 for _ in self._store.surveys.drafts(self._run.id)) > own:
            raise ValidationError(
                f"The run {self._run.name!r} has jobs that were added and not started: run the "
                "script that added them first, then retry with another model or prompt."
            )

    def _open(self, old: Sequence[tuple[int, int]], now: datetime) -> None:
        released = {lane.id: lane.size for lane in self._store.jobs.lanes(self._run.id)}
        opening = Opening(
            spec={},
            released=released,
            superseded=old,
            limits={"cancel_requested_at": None, "deadline_at": None},
        )
        self._store.runs.open(self._run.id, opening, now)

    def _job(self, row: JobRow, now: datetime) -> NewJob:
        template, own = self._content(row, now)
        provider = self._provider(template["provider"])
        documents = requests.documents_of(row.documents)
        whole = requests.assemble(template, own, requests.stand_ins(documents))
        request = requests.assemble(template, own, [Attachment(one, b"") for one in documents])
        problems = provider.check(whole)
        if problems:
            raise ValidationError(f"job {shown(row.key)!r}: {'; '.join(problems)}")
        weight = self._weight(request, template, provider)
        return NewJob(
            key=row.key,
            provider=template["provider"],
            model=template["model"] if provider.limits.models == "one" else "",
            endpoint=provider.traits.endpoint,
            digest=requests.digest(template, own, requests.identities(documents)),
            template=template,
            template_digest=requests.template_digest(template),
            own=own,
            documents=row.documents,
            metadata=row.metadata,
            bytes=row.bytes + _grown(row.own, own),
            tokens=weight.tokens,
            bound=weight.bound,
            revision=row.revision + 1,
        )

    def _content(self, row: JobRow, now: datetime) -> tuple[Json, Json]:
        template = self._template(row.template_id, now)
        prompt = self._changes.get("prompt")
        if prompt is None:
            return template, row.own
        if row.own.get("messages") is not None:
            raise ValidationError(f"job {row.key!r} is made of messages: it has no prompt")
        if row.own.get("prompt") is None:
            return {**template, "prompt": prompt}, row.own
        return template, {**row.own, "prompt": prompt}

    def _template(self, template_id: int, now: datetime) -> Json:
        made = self._templates.get(template_id)
        if made is None:
            old = self._store.jobs.template(template_id)
            made = self._templates[template_id] = self._changed(old, now)
        return made

    def _changed(self, old: Json, now: datetime) -> Json:
        made = dict(old)
        if self._changes.get("max_tokens") is not None:
            made["max_tokens"] = self._changes["max_tokens"]
        model = self._changes.get("model")
        if model is None or model == old["model"]:
            return made
        made["model"] = model
        made["provider"] = self._serving(model, old["provider"])
        price = table_price(made["provider"], model, now=now)
        made["price"] = None if price is None else asdict(price)
        if old.get("schema") is not None:
            made["schema"] = self._schema(old, made["provider"])
        return made

    def _serving(self, model: str, before: str) -> str:
        """Return who serves a model: who served the job before if it can, else by its name."""
        for name in (before, *self._known):
            if any(model.startswith(one) for one in self._provider(name).traits.prefixes):
                return name
        return providers.for_model(model)

    def _schema(self, old: Json, provider: str) -> Json:
        dialect = self._provider(provider).traits.dialect
        stored: Json = old["schema"]
        if dialect == self._provider(old["provider"]).traits.dialect:
            return stored
        kind = loaded(old.get("response_model"), self._models)
        if kind is None:
            raise ValidationError(
                f"{self._changes['model']} takes answers' schemas in another form than "
                f"{old['model']}: retry in the program that has the class "
                f"{old.get('response_model')}, or choose a model of the same provider."
            )
        return answer_schema(kind, dialect, plain=stored["mode"] == "plain").to_dict()

    def _provider(self, name: str) -> Provider:
        found = self._known.get(name)
        return found if found is not None else providers.load(name)

    def _weight(self, request: Request, template: Json, provider: Provider) -> Weight:
        price = requests.price_of(template)
        limited = self._run.cost_limit is not None
        unpriced = priced_extras(request.params, request.extra_body) if limited else []
        if limited and (price is None or unpriced):
            reason = "; ".join(unpriced) or f"{request.model!r} has no known price"
            raise ValidationError(f"{reason}: under a cost limit it cannot be bought.")
        dialect = provider.traits.dialect
        return weigh(request, price, provider=template["provider"], dialect=dialect)


def _grown(old: Json, new: Json) -> int:
    """Return how many bytes a new prompt adds to the line; one that shrank takes none away."""
    texts = [str(own.get("prompt") or "").encode() for own in (old, new)]
    return max(0, 2 * len(texts[1]) - len(texts[0]))


def with_tokens(changes: Mapping[str, Any]) -> Json | None:
    """Return what a plain retry sends differently."""
    tokens = changes.get("max_tokens")
    return None if tokens is None else {"max_tokens": tokens}
