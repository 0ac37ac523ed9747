"""Lines copied out of stored jobs: of those that are a prompt and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from batchkit.model import Json
from batchkit.providers import Provider
from batchkit.spools import before_seq, custom_id
from batchkit.store import RunRow, Store
from batchkit.store.outlines import Outline
from batchkit.store.pages import Block
from batchkit.submitter.stencils import Stencil, prompt_in, stencil_of

_MOST = 1_000


class Copier:
    """Writes lines by stencils; ``template`` returns one as it is ready to be sent."""

    def __init__(self, store: Store, provider: Provider, template: Callable[[int], Json]) -> None:
        self._store = store
        self._provider = provider
        self._template = template
        self._stencils: dict[int, Stencil | None] = {}

    def line(self, run: RunRow, job: Outline, token: str) -> bytes | None:
        """Return a job's line; None where there is more to it than a prompt."""
        stencil = None if job.documents is not None else self._stencil(run, job.template_id)
        prompt = None if stencil is None else prompt_in(job.own)
        if stencil is None or prompt is None:
            return None
        return stencil.line(custom_id(token, job.seq), prompt)

    def block(self, run: RunRow, lane_id: int, lo: int, hi: int, token: str) -> Block | None:
        """Return the jobs of ``[lo, hi)`` as lines; None where they are to be looked at one by one.

        They are prompts of one template, and none of them has ended.
        """
        template_id = self._store.pages.template_at(lane_id, lo, hi)
        stencil = None if template_id is None else self._stencil(run, template_id)
        if template_id is None or stencil is None:
            return None
        form = stencil.form(before_seq(token))
        return self._store.pages.block(lane_id, lo, hi, template_id, form)

    def _stencil(self, run: RunRow, template_id: int) -> Stencil | None:
        if template_id not in self._stencils:
            if len(self._stencils) > _MOST:
                self._stencils.clear()
            template = self._template(template_id)
            own = template.get("max_usd_per_job")
            braked = own is not None or run.settings.max_usd_per_job is not None
            made = None if braked else stencil_of(self._provider, template)
            self._stencils[template_id] = made
        return self._stencils[template_id]
