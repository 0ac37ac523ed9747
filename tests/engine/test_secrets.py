"""No key, no part of one and no header stands anywhere after nights with faults."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from pathlib import Path

import orjson
import pytest

from batchkit import Batch
from batchkit.run import BatchRun
from batchkit.simulator import Fault, Simulator
from tests import postgres

KEYS = {
    "openai": "sk-proj-Zq7Wn4Xk9Tb2Vm6Rj3Lp8Hs5Dc1Fg0Ay",
    "anthropic": "sk-ant-api03-Yw5Qe8Ru2Ti9Op1As4Df7Gh3Jk6Lz0",
}
PREFIXES = ("sk-proj-", "sk-ant-api03-")
MODELS = {"openai": "gpt-5-mini", "anthropic": "claude-haiku-5-5"}


def _fragments(key: str) -> set[bytes]:
    """Every run of eight characters of the secret part, and the key as base64 headers have it."""
    for prefix in PREFIXES:
        key = key.removeprefix(prefix)
    return {key[at : at + 8].encode() for at in range(len(key) - 7)}


def _echo(provider: str) -> bytes:
    """A provider that repeats the key it turns away, as some do."""
    key = KEYS[provider]
    return f"Incorrect API key provided: {key}, {key[:12]}****{key[-4:]}. x-api-key={key}".encode()


@pytest.fixture(params=["openai", "anthropic"])
def provider(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def simulated(
    tmp_path: Path, provider: str, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Simulator]:
    """Faults at every kind of call; the key is told back again and again."""
    with Simulator(tmp_path / "provider", scale=600.0, batch_seconds=(100.0, 100.0)) as running:
        monkeypatch.setenv("OPENAI_BASE_URL", running.openai_url)
        monkeypatch.setenv("ANTHROPIC_BASE_URL", running.anthropic_url)
        for name, key in KEYS.items():
            monkeypatch.setenv(f"{name.upper()}_API_KEY", key)
        monkeypatch.setenv("BATCHKIT_PACE", "600")
        monkeypatch.setenv("BATCHKIT_SPOOL_DIR", str(tmp_path / "spool"))
        results = "files.content" if provider == "openai" else "batches.results"
        echo = _echo(provider)
        plan = {
            "batches.create": [Fault("refuse", 401, body=echo), Fault("drop"), Fault("html")],
            "batches.retrieve": [Fault("refuse", s, body=echo) for s in (500, 404, 401)],
            "batches.list": [Fault("refuse", 403, body=echo)],
            results: [Fault("cut"), Fault("refuse", 502, body=echo), Fault("html")],
        }
        for route, faults in plan.items():
            for nth, fault in enumerate(faults, 1):
                running.faults.add(f"{provider}.{route}", fault, nth)
        yield running


def _written(folder: Path) -> Iterator[tuple[str, bytes]]:
    """Everything on disk but what the provider itself keeps."""
    for path in sorted(folder.rglob("*")):
        if path.is_file() and "provider" not in path.relative_to(folder).parts:
            yield str(path), path.read_bytes()


def _dump(cluster: postgres.Cluster, url: str) -> bytes:
    from sqlalchemy import create_engine, text

    engine = create_engine(url.replace("postgresql://", "postgresql+psycopg://"))
    rows: list[str] = []
    with engine.connect() as connection:
        names = connection.execute(
            text("SELECT table_name FROM information_schema.tables WHERE table_schema='batchkit'")
        )
        for name in list(names.scalars()):
            found = connection.execute(text(f'SELECT t::text FROM batchkit."{name}" t'))
            rows += [str(row) for row in found.scalars()]
    engine.dispose()
    assert rows
    return "\n".join(rows).encode()


def _through(run: BatchRun) -> BatchRun:
    """Go on as a person does who believes that the key is right."""
    for _ in range(20):
        if run.is_complete:
            return run
        run.resume(progress_interval=0.05)
    raise AssertionError(run.status())


def test_the_search_sees_a_part_of_a_key() -> None:
    key = KEYS["openai"]
    assert any(part in key[-9:].encode() for part in _fragments(key))
    assert not any(part in b"sk-proj-****" for part in _fragments(key))


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_no_key_stands_anywhere_after_a_bad_night(
    request: pytest.FixtureRequest,
    simulated: Simulator,
    provider: str,
    kind: str,
    tmp_path: Path,
    caplog: pytest.LogCaptureFixture,
    capfd: pytest.CaptureFixture[str],
) -> None:
    caplog.set_level(logging.DEBUG)
    url = request.getfixturevalue(f"migrated_{kind}_url")
    folder = tmp_path / "out"
    batch = Batch(folder, items_per_batch=2, name="night", database=url, raw_files="full")
    batch.set_verbosity("debug").set_default_params(model=MODELS[provider], max_tokens=200)
    for number in range(4):
        batch.add_job(prompt=f"Number {number}", key=f"k{number}")
    run = batch.submit()
    blocked = run.to_json()
    _through(run)
    assert run.status()["completed"] == 4

    told: list[tuple[str, bytes]] = list(_written(tmp_path))
    if kind == "postgres":
        cluster = request.getfixturevalue("postgres_cluster")
        told.append(("the database", _dump(cluster, url)))
    told.append(("logs", caplog.text.encode()))
    out, err = capfd.readouterr()
    told.append(("said", (out + err).encode()))
    stories = [run.get(f"k{number}").to_dict() for number in range(4)]
    told.append(("state", orjson.dumps([blocked, run.to_json(), run.status(), stories])))
    told.append(("log", repr(_events(url, run)).encode()))
    assert any(b"Incorrect API key provided" in text for _, text in told), told[-1]
    fragments = _fragments(KEYS[provider])
    leaks = {name for name, text in told if any(part in text for part in fragments)}
    assert leaks == set()
    headers = {
        name
        for name, text in told
        if b"bearer " in text.lower() or (b"authorization" in text.lower() and name != "logs")
    }
    assert headers == set()
    assert len([name for name, _ in told if "raw_files" in name]) >= 1
    assert not simulated.ledger().bought_twice()


def _events(url: str, run: BatchRun) -> object:
    from batchkit.upkeep import timeline

    return timeline(run.id, database=url)
