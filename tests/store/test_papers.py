"""Which documents jobs need, on both databases."""

from __future__ import annotations

from batchkit.store import Store
from tests.store import scenes


def paper(letter: str) -> list[dict[str, str]]:
    return [{"path": "/in/a", "name": "a", "sha256": letter * 64}]


def test_the_hashes_of_documents_by_run_and_of_all(store: Store) -> None:
    """Jobs without documents have none; one that two runs share is theirs both."""
    runs = []
    for name, letters in (("one", "ab"), ("two", "bc")):
        run = store.runs.create(scenes.PROJECT, name, {}, scenes.NOW)
        store.jobs.append(run.id, [scenes.job(c, documents=paper(c)) for c in letters])
        store.jobs.append(run.id, [scenes.job("none")])
        runs.append(run.id)

    def of(letters: str) -> set[bytes]:
        return {bytes.fromhex(letter * 64) for letter in letters}

    assert store.papers.hashes(runs[:1]) == of("ab")
    assert store.papers.hashes(runs) == store.papers.hashes() == of("abc")
    store.runs.remove(runs[0])
    assert store.papers.hashes() == of("bc")
