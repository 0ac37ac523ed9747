"""`Batch`: every parameter and method, with its defaults and what bad input gets."""

from __future__ import annotations

import inspect
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from pydantic import BaseModel

import batchkit
from batchkit import Batch
from batchkit.errors import (
    BatchkitError,
    ConfigError,
    KeyConflictError,
    ProviderNotFoundError,
    ValidationError,
)
from tests.contract.conftest import quiet
from tests.contract.shop import CLAUDE, GPT, Note, Shop, go
from tests.unit.files import pdf


def words(text: str) -> list[str]:
    return text.split()


def prompts(batch: Batch, *texts: str, **options: Any) -> Batch:
    for text in texts:
        batch.add_job(prompt=text, key=text, **options)
    return batch


def test_the_constructor_has_the_parameters_and_defaults_of_the_contract() -> None:
    """`Batch(results_dir=None, max_parallel_batches=10, …, on_change="error")`."""
    found = inspect.signature(Batch).parameters
    expected = {
        "results_dir": None,
        "max_parallel_batches": 10,
        "items_per_batch": None,
        "raw_files": None,
        "name": None,
        "project": None,
        "database": None,
        "max_attempts": 3,
        "max_usd_per_job": None,
        "on_bad_input": "raise",
        "on_change": "error",
    }

    assert {name: found[name].default for name in expected} == expected
    positional = [n for n, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD]
    assert positional == list(expected)[:4]


def test_add_job_has_the_parameters_of_the_contract() -> None:
    """`add_job(messages=None, file=None, …, *, key=None, …, extra_body=None, **params)`."""
    found = inspect.signature(Batch.add_job).parameters
    positional = [n for n, p in found.items() if p.kind is p.POSITIONAL_OR_KEYWORD][1:]

    assert positional == words(
        "messages file prompt model temperature max_tokens response_model enable_citations"
    )
    keywords = {n for n, p in found.items() if p.kind is p.KEYWORD_ONLY}
    assert {*("key", "system", "files", "provider", "price", "metadata", "extra_body")} <= keywords
    assert found["enable_citations"].default is False
    assert all(found[n].default is None for n in positional if n != "enable_citations")


@pytest.mark.parametrize(
    "settings",
    [
        {"max_parallel_batches": 0},
        {"max_parallel_batches": "ten"},
        {"items_per_batch": 0},
        {"items_per_batch": -1},
        {"max_attempts": 0},
        {"max_usd_per_job": 0},
        {"max_usd_per_job": -1.0},
        {"on_bad_input": "ignore"},
        {"on_change": "maybe"},
        {"raw_files": "some"},
        {"name": ""},
    ],
)
def test_a_setting_that_cannot_be_is_a_validation_error_that_names_it(
    settings: dict[str, Any],
) -> None:
    """An error says what to do next."""
    with pytest.raises(ValidationError) as said:
        Batch(**settings)

    assert next(iter(settings)) in str(said.value)
    assert isinstance(said.value, ValueError)


def test_each_finished_job_is_a_json_file_of_its_key(shop: Shop) -> None:
    """`results_dir`: one JSON file per finished job, `<key>.json`."""
    batch = prompts(quiet(results_dir="out", name="r"), "one", "two")
    batch.add_job(prompt="[[sim:400]] three", key="three")
    go(batch)

    found = {p.name: json.loads(p.read_text()) for p in Path("out").glob("*.json")}
    assert set(found) == {"one.json", "two.json", "three.json"}
    assert {name: row["key"] for name, row in found.items()} == {
        f"{key}.json": key for key in ("one", "two", "three")
    }
    assert found["three.json"]["error"]


def test_unsafe_and_colliding_names_get_a_hash_suffix(shop: Shop) -> None:
    """… (unsafe or colliding names get a hash suffix)."""
    keys = ["a/b", "a:b", "../up", "Case", "case", "CON", "x" * 300, "ü", "a b", "a\nb", "-", "."]
    batch = quiet(results_dir="out", name="r")
    for number, key in enumerate(keys):
        batch.add_job(prompt=f"p{number}", key=key)
    run = go(batch)

    assert run.state == "completed"
    files = sorted(Path("out").rglob("*.json"))
    files = [f for f in files if "raw_files" not in f.parts]
    assert all(f.parent == Path("out") for f in files)
    assert sorted(json.loads(f.read_text())["key"] for f in files) == sorted(keys)
    assert len({f.name.lower() for f in files}) == len(keys)
    assert not Path("up.json").exists()


def test_a_second_run_gets_a_folder_of_its_own_below_the_first_ones(shop: Shop) -> None:
    """Belongs to one run, a second one gets a folder of its own below it."""
    go(prompts(quiet(results_dir="out", name="first"), "a"))
    go(prompts(quiet(results_dir="out", name="second"), "a"))

    assert [p.name for p in Path("out").glob("*.json")] == ["a.json"]
    below = [p for p in Path("out").rglob("a.json") if p.parent != Path("out")]
    assert len(below) == 1
    go(prompts(quiet(results_dir="out", name="first"), "a", "b"))
    assert sorted(p.name for p in Path("out").glob("*.json")) == ["a.json", "b.json"]


def test_without_results_dir_there_is_the_database_only(shop: Shop) -> None:
    """None: the database only."""
    go(prompts(quiet(name="r"), "a"))

    assert [p.name for p in Path().iterdir()] == [".batchkit"]


def test_max_parallel_batches_bounds_what_is_in_flight(held: Shop) -> None:
    """Most provider batches of this run in flight at once."""
    batch = quiet(name="r", max_parallel_batches=2, items_per_batch=1)
    run = prompts(batch, "a", "b", "c", "d").submit()
    assert held.sizes == [1, 1]
    assert run.status()["batches_pending"] == 2

    run = prompts(quiet(name="r", max_parallel_batches=2, items_per_batch=1), *"abcd").submit()
    assert held.sizes == [1, 1]


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_items_per_batch_bounds_one_provider_batch(held: Shop, model: str) -> None:
    """Most jobs in one provider batch. None: what the provider's limits … allow."""
    prompts(quiet(model, name="two", items_per_batch=2), "a", "b", "c", "d", "e").submit()
    assert sorted(held.sizes) == [1, 2, 2]

    held.forget()
    prompts(quiet(model, name="all"), "f", "g", "h").submit()
    assert held.sizes == [3]


@pytest.mark.parametrize(
    ("given", "folder", "bytes_kept"),
    [(None, True, False), (False, False, False), (True, True, False), ("full", True, True)],
)
@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_raw_files_are_kept_below_results_dir(
    shop: Shop, given: Any, folder: bool, bytes_kept: bool, model: str
) -> None:
    """Keep downloads, error details and uploads under `results_dir/raw_files/`, documents by
    reference; `"full"` keeps every byte. Default: on when `results_dir` is given."""
    import base64

    Path("doc.pdf").write_bytes(pdf("Title: x\nAmount: 3"))
    needle = base64.b64encode(Path("doc.pdf").read_bytes())[100:160]
    batch = quiet(model, results_dir="out", name=f"r-{given}", raw_files=given)
    batch.add_job(file="doc.pdf", prompt="read", key="k")
    go(batch)

    raw = Path("out/raw_files")
    assert raw.is_dir() == folder
    if folder:
        import gzip

        kept = [p.read_bytes() for p in raw.rglob("*") if p.is_file()]
        kept = [gzip.decompress(b) if b[:2] == b"\x1f\x8b" else b for b in kept]
        assert len(kept) >= 2
        assert any(needle in b for b in kept) == bytes_kept
        assert any(b"read" in b for b in kept)


def test_the_method_raw_files_is_as_the_parameter(shop: Shop) -> None:
    """`raw_files(…)` … as named."""
    go(prompts(quiet(results_dir="out", name="r").raw_files(False), "a"))
    assert not Path("out/raw_files").exists()

    with pytest.raises(ValidationError):
        Batch(results_dir="out").raw_files("some")  # type: ignore[arg-type]


def test_project_and_name_are_the_run(held: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """Same project and name on the same database = the same run. `project`: `BATCHKIT_PROJECT`,
    else `default`; `ls` and `resume` act on it alone."""
    one = prompts(quiet(name="r"), "a").submit()
    same = prompts(quiet(name="r", project="default"), "a").submit()
    other = prompts(quiet(name="r", project="other"), "b").submit()
    monkeypatch.setenv("BATCHKIT_PROJECT", "other")
    by_environment = prompts(quiet(name="r"), "b").submit()

    assert one.id == same.id != other.id == by_environment.id
    assert [run.id for run in batchkit.list_runs()] == [other.id]
    assert batchkit.get_run("r").id == other.id
    assert batchkit.get_run("r", project="default").id == one.id


def test_the_database_is_found_in_the_order_of_the_contract(
    held: Shop, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Order: `set_state(file=)`, `database=`, `BATCHKIT_DATABASE_URL`, the nearest
    `.batchkit/batchkit.db` in this folder or a parent, else a new one here."""
    new = Path.cwd() / ".batchkit" / "batchkit.db"
    prompts(quiet(name="r"), "here").submit()
    assert new.exists()

    Path("below/deeper").mkdir(parents=True)
    monkeypatch.chdir("below/deeper")
    prompts(quiet(name="parents"), "parent").submit()
    assert not Path(".batchkit").exists()
    assert batchkit.get_run("parents", database=new).name == "parents"

    monkeypatch.setenv("BATCHKIT_DATABASE_URL", f"sqlite:///{tmp_path / 'env.db'}")
    prompts(quiet(name="r2"), "env").submit()
    assert (tmp_path / "env.db").exists()

    prompts(quiet(name="r3", database=tmp_path / "given.db"), "given").submit()
    assert (tmp_path / "given.db").exists()

    batch = quiet(name="r4", database=tmp_path / "not.db").set_state(file=tmp_path / "state.db")
    prompts(batch, "state").submit()
    assert (tmp_path / "state.db").exists()
    assert not (tmp_path / "not.db").exists()


def test_where_the_database_lies_is_the_first_thing_a_run_says(
    held: Shop, capsys: pytest.CaptureFixture[str]
) -> None:
    """Where it lies is the first thing a run says."""
    batch = Batch(name="r").set_default_params(model=CLAUDE, max_tokens=50)
    batch.add_job(prompt="a").submit()

    said = "".join(capsys.readouterr())
    assert str(Path.cwd() / ".batchkit" / "batchkit.db") in said.splitlines()[0]


@pytest.mark.parametrize("most", [None, 1, 2])
def test_max_attempts_is_a_brake_on_retries(shop: Shop, most: int | None) -> None:
    """`max_attempts` (3): brakes on retries."""
    settings: dict[str, Any] = {} if most is None else {"max_attempts": most}
    run = go(prompts(quiet(name=f"r{most}", **settings), f"[[sim:500]] {most}"))

    (failed,) = run.results()["failed"]
    assert failed.attempts == (most or 3)
    assert failed.error_code == "server_error"
    assert len(shop.entries) == (most or 3)


def test_the_brakes_may_be_set_for_a_job(shop: Shop) -> None:
    """Brakes on retries; per job too."""
    batch = quiet(name="r").add_job(prompt="[[sim:500]] mine", key="one", max_attempts=1)
    batch.add_job(prompt="[[sim:500]] default", key="three")
    run = go(batch)

    assert {r.key: r.attempts for r in run.results()["failed"]} == {"one": 1, "three": 3}


def test_max_usd_per_job_is_a_brake_on_retries(shop: Shop) -> None:
    """A retry that would cost more than `max_usd_per_job` is not bought."""
    batch = quiet(GPT, name="r", max_usd_per_job=0.0011)
    run = go(batch.add_job(prompt="[[sim:truncate]] a", key="a"))

    (failed,) = run.results()["failed"]
    assert failed.error_code in ("max_usd", "truncated")
    assert failed.attempts == 1


@pytest.mark.parametrize("content", [None, b""])
def test_bad_input_raises_at_add_job(shop: Shop, content: bytes | None) -> None:
    """`on_bad_input`: `"raise"` at `add_job`."""
    Path("empty.txt").write_bytes(b"")
    batch = quiet(name="r")
    with pytest.raises(ValidationError, match=r"empty\.txt|missing\.txt") as said:
        batch.add_job(file="missing.txt" if content is None else "empty.txt", prompt="read")
    assert len(str(said.value).splitlines()) == 1
    assert len(batch) == 0


def test_bad_input_may_become_a_failed_job(shop: Shop) -> None:
    """`"fail"`: the document becomes a job in state failed (`bad_input`, cost 0), is in every total
    and export, and the night goes on."""
    Path("empty.txt").write_bytes(b"")
    Path("locked.pdf").write_bytes(pdf("x", encrypted=True))
    batch = quiet(name="r", on_bad_input="fail").add_cost_limit(usd=1)
    batch.add_job(file="empty.txt", prompt="read", key="empty")
    batch.add_job(file="locked.pdf", prompt="read", key="locked")
    batch.add_job(prompt="fine", key="fine")
    assert len(batch) == 3
    run = go(batch)

    status = run.status()
    assert (status["total"], status["completed"], status["failed"]) == (3, 1, 2)
    assert status["failed_by_code"] == {"bad_input": 2}
    for result in run.results()["failed"]:
        assert result.error_code == "bad_input"
        assert result.cost_usd == 0
        assert result.error
    assert len(shop.entries) == 1


def test_every_method_returns_the_same_builder(shop: Shop) -> None:
    """Every method returns the same builder, so calls chain."""
    batch = Batch(results_dir="out", name="r")

    assert batch.set_default_params(model=CLAUDE) is batch
    assert batch.set_state() is batch
    assert batch.add_cost_limit(usd=5) is batch
    assert batch.add_time_limit(hours=1) is batch
    assert batch.raw_files(True) is batch
    assert batch.set_verbosity("error") is batch
    assert batch.add_job(prompt="a") is batch
    assert batch.add_jobs([{"prompt": "b"}]) is batch


def test_defaults_apply_to_jobs_added_after_them(shop: Shop) -> None:
    """Defaults apply to jobs added after them."""
    batch = quiet(name="r").set_default_params(system="first")
    batch.add_job(prompt="a")
    batch.set_default_params(system="second", max_tokens=77, model=GPT)
    batch.add_job(prompt="b").add_job(prompt="c", max_tokens=55)
    go(batch)

    claude, *gpt = sorted(shop.bodies, key=lambda body: str(body.get("input", "")))
    assert claude["system"] in ("first", [{"type": "text", "text": "first"}])
    assert claude["max_tokens"] == 200
    assert sorted(body["max_output_tokens"] for body in gpt) == [55, 77]
    assert all("second" in json.dumps(body) for body in gpt)


def test_a_model_nobody_serves_names_the_prefixes_and_the_way_out() -> None:
    """A model that no provider serves: `ProviderNotFoundError` that names the known prefixes and
    `provider=`."""
    for wrong in (
        lambda: Batch().set_default_params(model="llama-9"),
        lambda: Batch().add_job(prompt="a", model="llama-9", max_tokens=5),
    ):
        with pytest.raises(ProviderNotFoundError) as said:
            wrong()
        assert all(w in str(said.value) for w in ("llama-9", "claude-", "gpt-", "provider="))


def test_a_job_without_a_model_says_so() -> None:
    """Bad input: an error says what to do next."""
    with pytest.raises(ValidationError, match="model"):
        Batch().add_job(prompt="a")


def test_unknown_default_parameters_are_refused_with_the_nearest_name() -> None:
    """Names in `**params` are checked … (unknown: the nearest name is suggested)."""
    with pytest.raises(ValidationError, match="max_tokens"):
        Batch().set_default_params(model=CLAUDE, max_token=5).add_job(prompt="a")
    with pytest.raises(ValidationError, match="stop_sequences"):
        quiet().add_job(prompt="a", stop_sequence=["x"])
    with pytest.raises(ValidationError, match="top_p"):
        quiet(GPT).add_job(prompt="a", topp=0.5)


def test_set_state_comes_before_the_first_job(tmp_path: Path) -> None:
    """`file`: SQLite path or database URL; before the first job."""
    batch = quiet(name="r").add_job(prompt="a")
    with pytest.raises(BatchkitError, match="before"):
        batch.set_state(file=tmp_path / "late.db")


def test_reuse_state_false_starts_anew_once_for_the_same_content(shop: Shop) -> None:
    """`reuse_state=False`: start the run anew (`name~2`), once for the same content: a restarted
    script goes on with that one."""

    def started(*texts: str) -> Any:
        batch = Batch(name="r").set_state(reuse_state=False).set_verbosity("error")
        return go(prompts(batch.set_default_params(model=CLAUDE, max_tokens=50), *texts))

    first = go(prompts(quiet(name="r"), "a", "b"))
    anew = started("a", "c")
    assert anew.name == "r~2"
    assert anew.id != first.id
    assert shop.bought == 4  # what `r` has answered is bought again: that is what anew means

    assert started("a", "c").id == anew.id
    assert shop.bought == 4


@pytest.mark.parametrize("usd", [0, -1, float("nan"), float("inf"), None, "many"])
def test_a_cost_limit_not_above_zero_is_a_value_error(usd: Any) -> None:
    """Not above 0: `ValueError`."""
    with pytest.raises(ValueError, match="dollars"):
        Batch().add_cost_limit(usd=usd)


def test_under_a_limit_a_model_without_a_known_price_is_refused_at_add_job(shop: Shop) -> None:
    """A model without a known price under a limit is refused at `add_job`; `price={"input": …,
    "output": …}` … supplies one."""
    unknown: dict[str, Any] = {"model": "my-own", "provider": "openai-chat", "max_tokens": 50}
    batch = quiet(name="r").add_cost_limit(usd=1)
    with pytest.raises(ValidationError, match="price="):
        batch.add_job(prompt="a", **unknown)
    assert len(batch) == 0

    batch.add_job(prompt="a", price={"input": 1, "output": 2}, **unknown)
    assert len(batch) == 1


def test_without_a_limit_an_unknown_price_is_none_and_never_zero(shop: Shop) -> None:
    """Unknown is None, never 0."""
    batch = Batch(name="r").set_verbosity("error")
    batch.add_job(prompt="a", model="gpt-6.2-sol", max_tokens=50)
    run = go(batch)

    (result,) = [*run.results()["completed"], *run.results()["failed"]]
    assert result.cost_usd is None
    assert run.status()["cost_unknown_jobs"] == 1


@pytest.mark.parametrize(
    "price", [{}, {"input": 1}, {"input": -1, "output": 1}, {"in": 1, "output": 1}, 5]
)
def test_a_price_that_is_none_is_refused(price: Any) -> None:
    """`price={"input": …, "output": …}` (USD per million tokens)."""
    with pytest.raises(ValidationError, match="price"):
        quiet().add_job(prompt="a", price=price)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"seconds": 9},
        {"hours": -1},
        {"until": "25:00"},
        {"until": "soon"},
        {"until": "08:00", "hours": 1},
        {"minutes": "many"},
    ],
)
def test_a_time_limit_under_ten_seconds_or_none_at_all_is_a_value_error(given: Any) -> None:
    """Under 10 s or nothing given: `ValueError`; `until="08:00"` instead."""
    with pytest.raises(ValueError, match=r"10|until|limit|minutes"):
        Batch().add_time_limit(**given)


def test_parts_of_a_time_limit_add_up() -> None:
    """They add up."""
    Batch().add_time_limit(seconds=4, minutes=0.1)
    Batch().add_time_limit(until="08:00")
    with pytest.raises(ValueError, match="10"):
        Batch().add_time_limit(seconds=3, minutes=0.1)


def test_limits_may_be_set_later_for_the_whole_run(shop: Shop) -> None:
    """Both may be set later; they are checked at `run`."""
    batch = prompts(quiet(name="r"), "a", "b").add_cost_limit(usd=3).add_time_limit(hours=2)
    assert go(batch).status()["cost_limit_usd"] == 3

    unknown = quiet(name="u").add_job(
        prompt="a", model="my-own", provider="openai-chat", max_tokens=50
    )
    shop.forget()
    with pytest.raises(BatchkitError, match="price"):
        go(unknown.add_cost_limit(usd=1))
    assert shop.nothing_sent()


def test_verbosity_is_one_of_four() -> None:
    """`set_verbosity("debug" | "info" | "warn" | "error")`."""
    for level in ("debug", "info", "warn", "error"):
        Batch().set_verbosity(level)
    with pytest.raises(ValidationError, match="debug"):
        Batch().set_verbosity("loud")  # type: ignore[arg-type]


MESSAGES = [{"role": "user", "content": "hi"}]


@pytest.mark.parametrize(
    ("given", "named"),
    [
        ({}, "prompt"),
        ({"messages": MESSAGES, "prompt": "a"}, "both"),
        ({"messages": []}, "messages"),
        ({"messages": "hi"}, "messages"),
        ({"messages": [{"role": "user"}]}, "content"),
        ({"messages": [{"role": "user", "content": " "}]}, "content"),
        ({"prompt": ""}, "prompt"),
        ({"prompt": "   "}, "prompt"),
        ({"prompt": 5}, "prompt"),
        ({"file": "doc.txt"}, "prompt"),
        ({"files": ["doc.txt"]}, "prompt"),
        ({"prompt": "a", "max_tokens": 0}, "max_tokens"),
        ({"prompt": "a", "max_tokens": "many"}, "max_tokens"),
        ({"prompt": "a", "response_model": int}, "response_model"),
        ({"prompt": "a", "response_model": dict}, "response_model"),
        ({"promt": "a"}, "did you mean prompt"),
        ({"prompt": "a", "response_model": "Note"}, "response_model"),
        ({"prompt": "a", "metadata": "text"}, "metadata"),
        ({"prompt": "a", "metadata": {"x": object()}}, "metadata"),
        ({"prompt": "a", "extra_body": "x"}, "extra_body"),
        ({"prompt": "a", "key": ""}, "key"),
        ({"prompt": "a", "provider": "nobody"}, "nobody"),
        ({"prompt": "a", "temperature": 0.5}, "temperature"),
        ({"prompt": "a", "stream": True}, "stream"),
    ],
)
def test_a_job_that_cannot_be_is_an_error_that_says_which(given: Any, named: str) -> None:
    """Both, neither, or a file without a prompt: `ValidationError` that says which."""
    Path("doc.txt").write_text("hello")
    batch = quiet(name="r")
    with pytest.raises(BatchkitError, match=named) as said:
        batch.add_job(**given)
    assert len(str(said.value).splitlines()) == 1
    assert len(batch) == 0


def test_the_provider_follows_from_the_model_or_is_named(shop: Shop) -> None:
    """`provider`: `"openai"` (Responses), `"openai-chat"` (Chat Completions …), `"anthropic"`, …;
    default by the model's name."""
    batch = Batch(name="r").set_verbosity("error").set_default_params(max_tokens=60)
    batch.add_job(prompt="a", model=CLAUDE).add_job(prompt="b", model=GPT)
    batch.add_job(prompt="c", model=GPT, provider="openai-chat")
    go(batch)

    shapes = {one.dialect: one.body for one in shop.asked if one.dialect}
    assert len(shop.bodies) == 3, shapes
    assert sum("input" in body for body in shop.bodies) == 1
    assert sum("messages" in body for body in shop.bodies) == 2


def test_a_parameter_is_sent_only_if_someone_set_it(shop: Shop) -> None:
    """A parameter is sent only if someone set it; `max_tokens` alone has a default, 2,000."""
    batch = Batch(name="r").set_verbosity("error")
    batch.add_job(prompt="a", model=CLAUDE).add_job(prompt="b", model=GPT)
    go(batch)

    claude, gpt = sorted(shop.bodies, key=lambda b: b["model"])
    assert set(claude) == {"model", "max_tokens", "messages"}
    assert claude["max_tokens"] == 2000
    assert set(gpt) - {"store"} == {"model", "max_output_tokens", "input"}
    assert gpt["max_output_tokens"] == 2000


def test_the_default_maximum_is_said_once(shop: Shop, capsys: pytest.CaptureFixture[str]) -> None:
    """`max_tokens` alone has a default, 2,000, said once."""
    batch = Batch(name="r").set_default_params(model=CLAUDE)
    for text in "abc":
        batch.add_job(prompt=text)
    go(batch)

    said = "".join(capsys.readouterr())
    assert len([line for line in said.splitlines() if "2,000" in line or "2000" in line]) == 1


def test_parameters_and_extra_body_go_out_as_given(shop: Shop) -> None:
    """Names in `**params` are checked against the provider's request type; `extra_body` passes
    unchecked."""
    batch = quiet(GPT, name="r")
    batch.add_job(prompt="a", top_p=0.5, extra_body={"metadata": {"x": "y"}})
    batch.set_default_params(model=CLAUDE)
    batch.add_job(prompt="b", stop_sequences=["END"])
    go(batch)

    gpt = next(body for body in shop.bodies if "input" in body)
    claude = next(body for body in shop.bodies if "input" not in body)
    assert (gpt["top_p"], gpt["metadata"]) == (0.5, {"x": "y"})
    assert claude["stop_sequences"] == ["END"]


def test_messages_go_out_as_given(shop: Shop) -> None:
    """`messages`, or `prompt` …"""
    talk = [
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    go(quiet(name="r").add_job(messages=talk).add_job(messages=talk, model=GPT))

    assert all(text in json.dumps(body) for body in shop.bodies for text in ("one", "two", "three"))
    assert next(b for b in shop.bodies if "messages" in b)["messages"] == talk


def test_a_file_that_changed_before_it_was_sent_fails_its_job(shop: Shop) -> None:
    """Size and hash of a file are recorded now: changed before it is sent means `failed:
    file_changed`."""
    Path("a.txt").write_text("as added")
    Path("b.txt").write_text("as added")
    batch = quiet(name="r").add_job(file="a.txt", prompt="read", key="a")
    batch.add_job(file="b.txt", prompt="read", key="b")
    Path("a.txt").write_text("changed!")
    run = go(batch)

    assert run.get("a").result.error_code == "file_changed"
    assert [r.key for r in run.results()["completed"]] == ["b"]
    assert shop.bought == 1


def test_a_file_that_is_not_found_here_means_waiting(shop: Shop) -> None:
    """Not found here means waiting (`files`)."""
    Path("a.txt").write_text("as added")
    batch = quiet(name="r").add_job(file="a.txt", prompt="read", key="a")
    Path("a.txt").rename("elsewhere.txt")
    run = go(batch)
    assert run.state == "waiting"
    assert run.status()["waiting_for"] == "files"
    assert shop.nothing_sent()

    Path("elsewhere.txt").rename("a.txt")
    run.resume()
    assert run.state == "completed"
    assert shop.bought == 1


def test_several_files_and_a_system_text_go_out(shop: Shop) -> None:
    """`prompt` with optional `file`/`files`; `system`."""
    Path("one.txt").write_text("first document")
    Path("two.txt").write_text("second document")
    for model in (CLAUDE, GPT):
        batch = quiet(model, name=f"r{model}")
        batch.add_job(prompt="compare", files=["one.txt", Path("two.txt")], system="be brief")
        go(batch)

    for body in shop.bodies:
        for text in ("first document", "second document", "compare", "be brief"):
            assert text in json.dumps(body)


def test_add_jobs_takes_mappings_as_they_come(shop: Shop) -> None:
    """The same from mappings, streamed: a million jobs never stand in memory together."""
    seen = []

    def many() -> Iterator[dict[str, Any]]:
        for number in range(3000):
            seen.append(number)
            yield {"prompt": f"p{number}", "key": f"k{number}"}

    batch = quiet(name="r").add_jobs(many())
    assert len(batch) == len(seen) == 3000
    with pytest.raises(KeyConflictError, match="k17"):
        batch.add_jobs([{"prompt": "again", "key": "k17"}])
    with pytest.raises(ValidationError, match="promt"):
        quiet(name="r2").add_jobs([{"promt": "x"}])


def test_an_estimate_says_what_the_contract_names_and_sends_nothing(shop: Shop) -> None:
    """Nothing is sent: `jobs, new_jobs, batches, waves, input_tokens, usd_expected, usd_range,
    usd_max, usd_realtime, not_within_limit`."""
    go(prompts(quiet(name="r"), "a"))
    shop.forget()
    batch = prompts(quiet(name="r"), "a", "b", "c")
    found = batch.estimate()

    assert set(found) >= set(
        words(
            "jobs new_jobs batches waves input_tokens usd_expected usd_range usd_max usd_realtime "
            "not_within_limit"
        )
    )
    assert (found["jobs"], found["new_jobs"], found["batches"]) == (3, 2, 1)
    assert found["waves"] == 1
    low, high = found["usd_range"]
    assert 0 < low <= found["usd_expected"] <= high <= found["usd_max"]
    assert found["usd_realtime"] > found["usd_expected"]
    assert found["not_within_limit"] == 0
    assert shop.nothing_sent()


def test_an_estimate_counts_what_does_not_fit_the_limit(shop: Shop) -> None:
    """`not_within_limit`."""
    batch = prompts(quiet(name="r"), *(f"p{n}" for n in range(20))).add_cost_limit(usd=0.0005)
    found = batch.estimate()
    assert 0 < found["not_within_limit"] < 20


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_test_asks_in_real_time_and_run_takes_the_answers(
    shop: Shop, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Sends n jobs through the real-time API now, at full price (said so, and counted under the
    limit), and keeps the answers: `run` takes them, a second `test` does not pay again."""
    batch = Batch(name="r").set_default_params(model=model, max_tokens=100).add_cost_limit(usd=1)
    prompts(batch, "a", "b", "c", response_model=Note)
    (tried,) = batch.test()
    assert tried.is_success
    assert isinstance(tried.parsed_response, Note)
    assert "full price" in "".join(capsys.readouterr())
    assert (shop.live, shop.entries) == (1, [])

    (again,) = batch.test()
    assert again.raw_response == tried.raw_response
    assert shop.live == 1
    assert len(batch.test(n=2)) == 2
    assert shop.live == 2

    run = go(batch)
    assert len(shop.entries) == 1
    assert run.status()["completed"] == 3
    kept = run.get(tried.key).result
    assert kept.raw_response == tried.raw_response
    total = sum(r.cost_usd or 0 for r in run.results()["completed"])
    assert run.status()["cost_usd"] == pytest.approx(total)


async def _atest(batch: Batch) -> Any:
    return await batch.atest(2)


def test_the_builders_async_twins_do_the_same(shop: Shop) -> None:
    """`atest`, `arun`, `asubmit`."""
    import asyncio

    batch = prompts(quiet(name="r"), "a", "b", "c")
    assert len(asyncio.run(_atest(batch))) == 2
    run = asyncio.run(batch.arun(progress_interval=0.02))
    assert run.state == "completed"
    assert (shop.live, shop.bought) == (2, 1)

    other = prompts(quiet(name="s"), "x")
    assert asyncio.run(other.asubmit()).id != run.id
    assert len(shop.entries) == 2


def test_real_time_prices_are_for_test_alone(shop: Shop) -> None:
    """Nothing else ever uses real-time prices unless a parameter says so."""
    batch = prompts(quiet(name="r"), "a", "[[sim:500*1]] b", "[[sim:truncate*1]] c")
    batch.estimate()
    go(batch).retry()

    assert shop.live == 0


def test_first_sends_so_many_and_the_next_run_the_rest(shop: Shop) -> None:
    """`first=10` sends ten; the next `run()` the rest."""
    batch = prompts(quiet(name="r"), *(f"p{n}" for n in range(12)))
    run = go(batch, first=10)
    assert len(shop.entries) == 10
    assert run.status()["completed"] == 10

    assert go(prompts(quiet(name="r"), *(f"p{n}" for n in range(12)))).state == "completed"
    assert len(shop.entries) == 12


def test_run_tells_the_callback(shop: Shop) -> None:
    """`run(on_progress=None, progress_interval=1.0, print_status=False, …)`."""
    told: list[Any] = []
    prompts(quiet(name="r"), "a").run(lambda *words: told.append(words), 0.02)

    stats, elapsed, batches = told[-1]
    assert stats["completed"] == 1
    assert elapsed >= 0
    (one,) = batches.values()
    assert set(one) >= set(
        words(
            "status total completed failed cost estimated_cost provider start_time completion_time "
            "error"
        )
    )
    found = inspect.signature(Batch.run).parameters
    assert found["progress_interval"].default == 1.0
    assert found["print_status"].default is False
    assert found["first"].kind is inspect.Parameter.KEYWORD_ONLY


def test_submit_returns_at_once(held: Shop) -> None:
    """Start, send what may be sent now, return."""
    run = prompts(quiet(name="r"), "a", "b").submit()

    assert run.state == "running"
    assert run.status()["active"] == 2
    assert held.sizes == [2]


def test_len_repr_and_jobs(shop: Shop) -> None:
    """`len(batch)`, `repr(batch)`, `jobs`."""
    batch = prompts(quiet(name="night"), "a", "b")

    assert len(batch) == 2
    assert "night" in repr(batch)
    assert "2" in repr(batch)
    assert [job.key for job in batch.jobs] == ["a", "b"]
    assert [job.prompt for job in batch.jobs] == ["a", "b"]
    assert len(Batch()) == 0
    assert list(Batch().jobs) == []


def test_a_run_without_jobs_is_refused(shop: Shop) -> None:
    """No jobs: an error that says what to do next."""
    with pytest.raises(ValidationError, match="add_job"):
        Batch(name="r").run()
    assert shop.nothing_sent()


def test_no_key_is_a_config_error_that_names_the_variable(
    shop: Shop, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keys … come from the SDKs' own environment variables, or a `.env` in the current folder."""
    monkeypatch.delenv("OPENAI_API_KEY")
    with pytest.raises(ConfigError, match="OPENAI_API_KEY"):
        go(prompts(quiet(GPT, name="r"), "a"))
    assert shop.nothing_sent()

    Path(".env").write_text("OPENAI_API_KEY=simulated\n")
    assert go(prompts(quiet(GPT, name="r"), "a")).state == "completed"


class Bare(BaseModel):
    """A field that JSON cannot hold."""

    pairs: type[int]


@pytest.mark.parametrize("model", [CLAUDE, GPT])
def test_a_schema_that_the_provider_refuses_is_found_at_add_job(model: str) -> None:
    """A response_model … whose schema the provider refuses (found before anything is sent)."""
    with pytest.raises(ValidationError, match="pairs"):
        quiet(model).add_job(prompt="a", response_model=Bare)


def test_citations_that_cannot_be_had_are_a_clear_error_at_add_job() -> None:
    """`enable_citations`: nothing to cite, or a provider that has none."""
    with pytest.raises(ValidationError, match="citations"):
        quiet().add_job(prompt="a", response_model=Note, enable_citations=True)
    with pytest.raises(ValidationError, match="citations"):
        quiet(GPT).add_job(prompt="a", enable_citations=True)
