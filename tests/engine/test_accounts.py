"""Whose key: through the real SDKs against the simulator, whose keys lead into workspaces."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from batchkit import Batch, get_run
from batchkit.cli import cli
from batchkit.errors import AccountMismatchError
from batchkit.run import BatchRun
from batchkit.simulator import Fault, Simulator
from batchkit.store import Store

# The adapters of a handle that is gone leave their sockets to the collector of garbage.
pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")

MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-5-5"}
FIRST, SECOND, FOREIGN = "sk-first-0123456789", "sk-second-0123456789", "sk-foreign-0123456789"
SPACES = {FIRST: "ours", SECOND: "ours", FOREIGN: "theirs"}


@pytest.fixture(params=list(MODELS))
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def use(provider: str, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Put a key into the environment."""
    return lambda key: monkeypatch.setenv(f"{provider.upper()}_API_KEY", key)


@pytest.fixture
def simulated(
    tmp_path: Path, use: Callable[[str], None], monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    with Simulator(
        tmp_path / "provider", scale=600.0, batch_seconds=(300.0, 300.0), workspaces=SPACES
    ) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_url)
        monkeypatch.setenv("BATCHKIT_PACE", "600")
        monkeypatch.setenv("BATCHKIT_DATABASE_URL", f"sqlite:///{tmp_path / 'runs.db'}")
        use(FIRST)
        yield running


def _batch(provider: str) -> Batch:
    batch = Batch(name="night", items_per_batch=2).set_verbosity("error")
    batch.set_default_params(model=MODELS[provider], max_tokens=200)
    for number in range(4):
        batch.add_job(prompt=f"Number {number}", key=f"k{number}")
    return batch


def _rows(tmp_path: Path) -> list[tuple[str, str | None, int | None]]:
    store = Store(tmp_path / "runs.db")
    try:
        [run] = store.runs.all("default")
        return [(one.state, one.ref, one.account_id) for one in store.batches.of_run(run.id)]
    finally:
        store.close()


def _finished(run: BatchRun, simulated: Simulator) -> None:
    assert run.status()["completed"] == 4
    assert not simulated.ledger().bought_twice()
    assert CliRunner().invoke(cli, ["verify", "night"]).exit_code == 0


def test_a_new_key_that_sees_the_batches_goes_on(
    simulated: Simulator, provider: str, use: Callable[[str], None]
) -> None:
    _batch(provider).submit()
    use(SECOND)
    simulated.revoke(FIRST)
    _finished(get_run("night").resume(progress_interval=0.05), simulated)


def test_a_key_that_cannot_see_them_buys_nothing_and_changes_nothing(
    simulated: Simulator, provider: str, use: Callable[[str], None], tmp_path: Path
) -> None:
    _batch(provider).submit()
    before, entries = _rows(tmp_path), len(simulated.ledger().entries)
    status = get_run("night").status()
    use(FOREIGN)
    with pytest.raises(AccountMismatchError, match="cannot see the batches of run 'night'"):
        get_run("night").resume(progress_interval=0.05)
    result = CliRunner().invoke(cli, ["resume", "night"])
    assert result.exit_code == 1
    assert result.stderr.startswith("batchkit: The key at hand cannot see")
    assert _rows(tmp_path) == before
    now = get_run("night").status()
    names = ("pending", "active", "failed")
    assert [now[name] for name in names] == [status[name] for name in names]
    assert len(simulated.ledger().entries) == entries
    assert CliRunner().invoke(cli, ["verify", "night", "--provider"]).exit_code == 1
    use(FIRST)
    _finished(get_run("night").resume(progress_interval=0.05), simulated)


Trouble = tuple[Callable[[Simulator, str], None], Callable[[Simulator, str], None], str]

TROUBLES: dict[str, Trouble] = {
    "the key was revoked": (lambda s, _: s.revoke(FIRST), lambda s, _: s.reinstate(FIRST), "key"),
    "the credit is gone": (
        lambda s, _: s.exhaust_credit("ours"),
        lambda s, _: s.restore_credit("ours"),
        "credit|quota",
    ),
    "the model is not ours any more": (
        lambda s, p: s.faults.add(
            f"{p}.batches.create",
            Fault("refuse", 403, code="model_not_found", body=b"no access to this model"),
        ),
        lambda s, p: s.faults.always.clear(),
        "no access to this model",
    ),
}


@pytest.mark.parametrize("name", list(TROUBLES))
def test_what_only_a_person_mends_leaves_the_jobs_pending(
    simulated: Simulator, provider: str, name: str
) -> None:
    trouble, mend, words = TROUBLES[name]
    trouble(simulated, provider)
    run = _batch(provider).run(progress_interval=0.05)
    status = run.status()
    assert (status["waiting_for"], status["pending"], status["failed"]) == ("account", 4, 0), (
        run.to_json()["batches"]
    )
    detail = str(run.to_json()["waiting_detail"])
    assert re.search(words, detail), detail
    assert "batchkit resume" in detail
    assert CliRunner().invoke(cli, ["resume", "night"]).exit_code == 4
    assert not any(entry.billed for entry in simulated.ledger().entries)
    mend(simulated, provider)
    result = CliRunner().invoke(cli, ["resume", "night"])
    assert (result.exit_code, "4 of 4" in result.output) == (0, True)
    _finished(run, simulated)


def test_a_key_revoked_while_batches_fly_loses_nothing(simulated: Simulator, provider: str) -> None:
    _batch(provider).submit()
    simulated.revoke(FIRST)
    run = get_run("night").resume(progress_interval=0.05)
    assert run.status()["waiting_for"] == "account"
    assert run.status()["failed"] == 0
    simulated.reinstate(FIRST)
    _finished(run.resume(progress_interval=0.05), simulated)
