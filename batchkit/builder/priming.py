"""Which prefixes of a draft are worth priming: what its jobs share, counted in its rows."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, field, replace
from typing import Any

from batchkit import caching, requests
from batchkit.builder.registry import Registry
from batchkit.builder.sampling import expected_tokens, request_of
from batchkit.caching import Choice, Shared
from batchkit.model import Json, Level, Request
from batchkit.store import NewPrefix, Store

_Place = tuple[int, bytes]
"""A lane and a digest."""


@dataclass(slots=True)
class _Group:
    """Jobs of a draft that share a prefix; ``tokens`` are bounds by template."""

    lane_id: int
    digest: bytes
    template_id: int
    first_seq: int
    within: bytes | None = None
    jobs: int = 0
    tokens: dict[int, int] = field(default_factory=lambda: defaultdict(int))

    def add(self, row: Any) -> None:
        """Take in jobs of one template."""
        self.jobs += int(row.jobs)
        self.tokens[row.template_id] += int(row.tokens)
        if row.first_seq < self.first_seq:
            self.first_seq, self.template_id = row.first_seq, row.template_id


@dataclass(frozen=True, slots=True)
class Priming:
    """What is primed, what that saves, and how much dearer it makes the bounds of whom.

    ``dearer`` is by (lane_id, template_id); all amounts in nano-dollars.
    """

    choice: Choice = field(default_factory=Choice)
    dearer: dict[tuple[int, int], int] = field(default_factory=dict)

    @property
    def lanes(self) -> int:
        """How many lanes have a batch of primers in front."""
        return len({one.lane_id for one in self.choice.prefixes})

    @property
    def prefixes(self) -> list[NewPrefix]:
        """As the store takes them."""
        return [
            NewPrefix(one.lane_id, one.level, one.digest, one.first_seq, one.tokens, one.jobs)
            for one in self.choice.prefixes
        ]


class Planner:
    """Works out what is worth priming in one run's draft."""

    def __init__(self, store: Store, registry: Registry) -> None:
        self._store = store
        self._registry = registry
        self._templates: dict[int, Json] = {}
        self._digests: dict[int, bytes] = {}

    def plan(self, run_id: int) -> Priming:
        """Return what is worth priming; nothing where no provider takes marks."""
        if not any(self._marks(lane) for lane in self._store.jobs.lanes(run_id)):
            return Priming()
        rows = [row for row in self._store.prefixes.by_template(run_id) if self._marks(row)]
        if sum(row.jobs for row in rows) < 2:
            return Priming()
        systems = self._systems(rows)
        lanes = {row.lane_id for row in rows}
        deep = self._documents(self._store.prefixes.by_documents(run_id, lanes))
        found = [(self._shared(group, "system"), group) for group in systems.values()]
        found += [(self._shared(group, "documents"), group) for group in deep.values()]
        groups = {(one.lane_id, one.digest): group for one, group in found if one is not None}
        choice = caching.chosen([one for one, _ in found if one is not None])
        return Priming(choice, self._dearer(choice, groups))

    def _marks(self, row: Any) -> bool:
        return bool(row.provider) and self._registry.provider(row.provider).traits.cache_marks

    def _template(self, template_id: int) -> Json:
        if template_id not in self._templates:
            stored = self._store.jobs.template(template_id)
            self._templates[template_id] = requests.prepared(stored)
            self._digests[template_id] = caching.system_digest(stored)
        return self._templates[template_id]

    def _digest(self, template_id: int) -> bytes:
        self._template(template_id)
        return self._digests[template_id]

    def _systems(self, rows: list[Any]) -> dict[_Place, _Group]:
        found: dict[_Place, _Group] = {}
        for row in rows:
            digest = self._digest(row.template_id)
            fresh = _Group(row.lane_id, digest, row.template_id, row.first_seq)
            found.setdefault((row.lane_id, digest), fresh).add(row)
        return found

    def _documents(self, rows: list[Any]) -> dict[_Place, _Group]:
        found: dict[_Place, _Group] = {}
        for row in rows:
            within = self._digest(row.template_id)
            digest = caching.documents_digest(within, requests.documents_of(row.documents))
            fresh = _Group(row.lane_id, digest, row.template_id, row.first_seq, within)
            found.setdefault((row.lane_id, digest), fresh).add(row)
        return found

    def _shared(self, group: _Group, level: Level) -> Shared | None:
        """Measure a prefix on one of its jobs; None if that cannot be marked there."""
        if group.jobs < 2:
            return None
        (job,) = self._store.jobs.pick(group.lane_id, [group.first_seq])
        template = self._template(group.template_id)
        request = self._sample(template, job, level)
        if level not in caching.levels_of(request):
            return None
        dialect = self._registry.provider(template["provider"]).traits.dialect
        return Shared(
            lane_id=group.lane_id,
            level=level,
            digest=group.digest,
            model=str(template["model"]),
            jobs=group.jobs,
            tokens=expected_tokens(caching.beginning(request, level), dialect),
            price=requests.price_of(template),
            first_seq=group.first_seq,
            within=group.within,
        )

    def _sample(self, template: Json, job: Any, level: Level) -> Request:
        """Return a job's request; its files are read only where they are counted."""
        if level == "system":
            return requests.assemble(template, job.own)
        return request_of(template, job)

    def _dearer(self, choice: Choice, groups: dict[_Place, _Group]) -> dict[tuple[int, int], int]:
        """Add up how much more the bounds are; a job is counted once, whatever it is marked at."""
        found: dict[tuple[int, int], int] = defaultdict(int)
        counted: set[_Place] = set()
        for one in sorted(choice.prefixes, key=lambda one: one.level != "system"):
            group = groups[one.lane_id, one.digest]
            if one.level == "documents" and (one.lane_id, one.within or b"") in counted:
                continue
            counted.add((one.lane_id, one.digest))
            for template_id, tokens in group.tokens.items():
                price = requests.price_of(self._template(template_id))
                if price is not None:
                    found[one.lane_id, template_id] += caching.dearer(tokens, price)
        return dict(found)


def dearer(groups: list[Any], priming: Priming) -> list[Any]:
    """Return an estimate's groups with the bounds that what is marked may come to."""

    def raised(group: Any) -> Any:
        more = priming.dearer.get((group.lane_id, group.template_id), 0)
        if not more or group.bound is None or group.counted is None:
            return group
        return replace(group, bound=group.bound + more, counted=group.counted + more)

    return [raised(group) for group in groups]
