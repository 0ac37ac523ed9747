"""The note of which rows a user's class is about to judge, so that a death has a name."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from batchkit.model import Outcome
from batchkit.store.answers import Answers
from batchkit.store.rows import BatchRow, JobRow
from batchkit.suspects import Suspects


class Watch:
    """Writes down which rows a user's class is about to judge, so that a death has a name."""

    def __init__(self, answers: Answers, batch: BatchRow, lease: int) -> None:
        self._answers = answers
        self._batch_id = batch.id
        self._lease = lease
        self._has_noted = batch.judging is not None
        self.suspects = Suspects.after(batch.judging)
        if batch.judging is not None:  # who dies now, before a row is judged, dies of nothing here
            self._note(self.suspects)

    def split(
        self, pairs: Sequence[tuple[JobRow, Outcome]]
    ) -> tuple[list[tuple[JobRow, Outcome]], list[tuple[JobRow, Outcome]]]:
        """Part rows into those to judge alone and the others; settled ones are left out."""
        if not self.suspects.rows:
            return [], list(pairs)
        done = self._answers.settled(self._batch_id, [job.seq for job, _ in pairs])
        left = [pair for pair in pairs if pair[0].seq not in done]
        suspected = [pair for pair in left if self.suspects.is_suspected(pair[0].seq)]
        return suspected, [pair for pair in left if not self.suspects.is_suspected(pair[0].seq)]

    def alone(self, row: int) -> None:
        """Note one row before it is judged."""
        self._note(self.suspects.judging_alone(row))

    def survived(self) -> None:
        """Note that the row before was judged and did no harm."""
        self._note(self.suspects)

    def together(self, rows: Iterable[int]) -> None:
        """Note many rows before they are judged."""
        self._note(self.suspects.judging(rows))

    def over(self) -> None:
        """Take the note back: every row was judged."""
        if self._has_noted:
            self._answers.note_judging(self._batch_id, self._lease, None)

    def _note(self, suspects: Suspects) -> None:
        self._has_noted = True
        self._answers.note_judging(self._batch_id, self._lease, suspects.to_json())
