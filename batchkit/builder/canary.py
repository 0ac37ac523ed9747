"""Which jobs of a draft go before the others to see whether the run is worth sending."""

from __future__ import annotations

from collections import defaultdict

from batchkit import canaries
from batchkit.store import Store

_MOST_TEMPLATES = 500


def chosen(store: Store, run_id: int, most: int, *, answered: bool = False) -> dict[int, list[int]]:
    """Choose jobs across models and sizes, by lane; nothing if there are no more than ``most``.

    The same jobs each time while the draft is the same; ``answered`` counts in those that have an
    answer already.
    """
    counts: dict[tuple[int, str], int] = defaultdict(int)
    templates: dict[tuple[int, str], list[int]] = defaultdict(list)
    for row in store.canaries.groups(run_id, answered=answered):
        group = (row.lane_id, str(store.jobs.template(row.template_id).get("model")))
        counts[group] += int(row.jobs)
        templates[group].append(row.template_id)
    if sum(counts.values()) <= most:
        return {}
    models: dict[int, int] = defaultdict(int)
    for lane_id, _ in counts:
        models[lane_id] += 1
    found: dict[int, list[int]] = defaultdict(list)
    for group, places in canaries.spread(counts, most).items():
        alone = models[group[0]] == 1 or len(templates[group]) > _MOST_TEMPLATES
        ids = None if alone else templates[group]
        found[group[0]] += store.canaries.pick(run_id, group[0], ids, places, answered=answered)
    return {lane_id: sorted(set(seqs)) for lane_id, seqs in found.items()}
