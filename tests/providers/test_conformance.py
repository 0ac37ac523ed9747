"""One suite for every adapter, through its SDK, against the simulator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from batchkit.errors import ProviderError, ProviderRefused, ProviderUnavailable
from batchkit.model import (
    BatchStatus,
    Errored,
    NotRun,
    Outcome,
    Request,
    Spool,
    Succeeded,
    Unreadable,
    Window,
)
from batchkit.providers import Provider
from batchkit.simulator import Fault, Faults, Simulator
from tests.providers import made

SCHEMA = {
    "type": "object",
    "properties": {"title": {"type": "string"}},
    "required": ["title"],
    "additionalProperties": False,
}


class World:
    """A simulator, an adapter that talks to it, and what a submitter would do."""

    def __init__(self, provider: Provider, simulator: Simulator, faults: Faults, at: Path) -> None:
        self.provider = provider
        self.simulator = simulator
        self.faults = faults
        self.folder = at
        self.dialect = provider.traits.dialect
        self.model = "claude-sonnet-5-5" if self.dialect == "anthropic" else "gpt-6.1-sol"

    def request(self, prompt: str = "Say something.", **changes: object) -> Request:
        """A request for this provider's model."""
        return replace(made.request(model=self.model, prompt=prompt), **changes)  # type: ignore[arg-type]

    def spool(self, *prompts: str, token: str = "tok1") -> Spool:
        """Lines on disk, as they are sent."""
        lines = [
            self.provider.encode(self.request(prompt), f"{token}-{n}") + b"\n"
            for n, prompt in enumerate(prompts)
        ]
        path = self.folder / f"{token}.jsonl"
        path.write_bytes(b"".join(lines))
        return Spool(
            path=path,
            token=token,
            count=len(lines),
            bytes=path.stat().st_size,
            sha256="ab" * 32,
            model=self.model,
            endpoint=self.provider.traits.endpoint,
        )

    def create(self, spool: Spool) -> str:
        """Stage and create."""
        return self.provider.create(spool, self.provider.stage(spool)).ref

    def end(self, ref: str, seconds: float = 90_000) -> BatchStatus:
        """Let time pass and poll."""
        self.simulator.advance(seconds)
        return self.provider.poll(ref)

    def outcomes(self, ref: str) -> dict[str | None, Outcome]:
        """Download and read."""
        files = self.provider.download(ref, self.folder / ref)
        return {outcome.custom_id: outcome for outcome in self.provider.outcomes(files)}

    def run(self, *prompts: str) -> dict[str | None, Outcome]:
        """All of it."""
        ref = self.create(self.spool(*prompts))
        assert self.end(ref).ended
        return self.outcomes(ref)

    def find(self, spool: Spool, file_ref: str | None, *known: str) -> list[tuple[str, str]]:
        """Look for a create of the last ten minutes; refs with their proof."""
        now = datetime.fromtimestamp(self.simulator.now(), UTC)
        window = Window(now - timedelta(minutes=10), now)
        search = self.provider.find(spool, file_ref, window, known)
        assert search.complete
        assert search.now is not None
        assert abs(search.now - now) <= timedelta(seconds=1)
        return [(candidate.ref, candidate.proof) for candidate in search.candidates]

    def live(self) -> int:
        """How many batches the provider accepted."""
        return len(self.simulator.ledger().batches)


@pytest.fixture
def world(make: Callable[[str, float], Provider], tmp_path: Path) -> Iterator[World]:
    """Each adapter with a simulator of its own."""
    faults = Faults()
    with Simulator(tmp_path / "simulator", faults=faults) as simulator:
        yield World(make(simulator.anthropic_url, 10), simulator, faults, tmp_path)


def test_a_batch_runs_from_upload_to_answers(world: World) -> None:
    """Every request is answered once, with usage."""
    spool = world.spool("One.", "Two.", "Three.")
    file_ref = world.provider.stage(spool)
    assert (file_ref is None) is not world.provider.traits.stages
    created = world.provider.create(spool, file_ref)
    now = datetime.fromtimestamp(world.simulator.now(), UTC)
    assert created.at is not None
    assert abs(created.at - now) <= timedelta(seconds=1)

    assert not world.provider.poll(created.ref).ended
    status = world.end(created.ref)
    assert (status.ended, status.reason) == (True, "completed")
    assert (status.total, status.completed, status.failed) == (3, 3, 0)
    assert status.created_at is not None
    assert status.results_until is not None

    outcomes = world.outcomes(created.ref)
    assert sorted(map(str, outcomes)) == ["tok1-0", "tok1-1", "tok1-2"]
    billed = {entry.custom_id: entry for entry in world.simulator.ledger().entries}
    for custom_id, outcome in outcomes.items():
        assert isinstance(outcome, Succeeded)
        assert outcome.text
        assert outcome.finish == "stop"
        assert outcome.usage is not None
        entry = billed[str(custom_id)]
        assert outcome.usage.input_tokens == entry.input_tokens
        assert outcome.usage.output_tokens == entry.output_tokens


def test_documents_and_a_schema_go_through(world: World) -> None:
    """Text, PDF and prompt in; JSON of the schema out."""
    schema = {"name": "Title", "wire": SCHEMA, "mode": "strict"}
    text = made.attachment("a.txt", "text", "text/plain", b"The title is Moby Dick.")
    request = world.request("Extract.", schema=schema, attachments=(text,), max_tokens=500)
    outcome = world.provider.ask(request)
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.text.startswith('{"title":')
    assert outcome.custom_id == "ask"


@pytest.mark.parametrize(
    ("marker", "finish"),
    [("refuse", "refusal"), ("truncate", "length"), ("window", "length")],
)
def test_answers_that_are_none_say_so(world: World, marker: str, finish: str) -> None:
    """Refused and truncated answers, and whether they cost."""
    outcome = world.run(f"[[sim:{marker}]]")["tok1-0"]
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.finish == finish
    (entry,) = world.simulator.ledger().entries
    assert outcome.billed == entry.billed
    assert bool(outcome.refusal) == (finish == "refusal")


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "invalid"),
        (401, "account"),
        (403, "account"),
        (404, "invalid"),
        (413, "invalid"),
        (429, "rate_limited"),
        (500, "server_error"),
        (529, "overloaded"),
    ],
)
def test_requests_that_fail_are_sorted(world: World, status: int, kind: str) -> None:
    """And leave the others alone."""
    outcomes = world.run(f"[[sim:{status}]]", "Fine.")
    failed = outcomes["tok1-0"]
    assert isinstance(failed, Errored)
    assert failed.kind == kind
    assert isinstance(outcomes["tok1-1"], Succeeded)


@pytest.mark.parametrize("marker", ["blankline", "crlf", "separators"])
def test_odd_lines_are_lines(world: World, marker: str) -> None:
    """Nothing is lost, nothing made up."""
    outcomes = world.run(f"[[sim:{marker}]]", "Fine.")
    assert set(outcomes) == {"tok1-0", "tok1-1"}
    assert all(isinstance(outcome, Succeeded) for outcome in outcomes.values())


@pytest.mark.parametrize("marker", ["garbled", "utf8"])
def test_a_spoilt_line_is_unreadable_and_alone(world: World, marker: str) -> None:
    """With its custom_id."""
    outcomes = world.run(f"[[sim:{marker}]]", "Fine.")
    assert isinstance(outcomes["tok1-0"], Unreadable)
    assert isinstance(outcomes["tok1-1"], Succeeded)


def test_a_missing_line_is_told_with_the_rest_in_hand(world: World) -> None:
    """Downloading again does not help: what is there can be taken from the error."""
    ref = world.create(world.spool("[[sim:missing]]", "Fine."))
    world.end(ref)
    with pytest.raises(ProviderError, match="1 lines of 2") as caught:
        world.provider.download(ref, world.folder / "to")
    assert [path.exists() for path in getattr(caught.value, "files", ())] == [True]


def test_what_expired_never_ran(world: World) -> None:
    """What was answered before is kept."""
    outcomes = world.run("Fine.", "[[sim:expire]]")
    assert isinstance(outcomes["tok1-0"], Succeeded)
    assert outcomes["tok1-1"] == NotRun("tok1-1", "expired")


def test_a_cancelled_batch_keeps_what_it_answered(world: World) -> None:
    """Cancelling twice, and after the end, is no error."""
    ref = world.create(world.spool(*["Say something."] * 20))
    world.simulator.advance(60)
    world.provider.cancel(ref)
    world.provider.cancel(ref)
    status = world.end(ref)
    assert (status.ended, status.reason) == (True, "cancelled")
    world.provider.cancel(ref)
    outcomes = world.outcomes(ref)
    assert len(outcomes) == 20
    cancelled = [outcome for outcome in outcomes.values() if isinstance(outcome, NotRun)]
    assert cancelled
    assert {outcome.reason for outcome in cancelled} == {"cancelled"}


def test_an_upload_that_was_deleted_makes_a_late_create_fail(world: World) -> None:
    """Deleting it twice is no error."""
    spool = world.spool("One.")
    file_ref = world.provider.stage(spool)
    if file_ref is None:
        world.provider.unstage("anything")
        return
    world.provider.unstage(file_ref)
    world.provider.unstage(file_ref)
    with pytest.raises(ProviderRefused):
        world.provider.create(spool, file_ref)
    assert world.live() == 0


ACCEPTED = ["drop", "status", "half", "html"]


@pytest.mark.parametrize("kind", ACCEPTED)
def test_a_create_that_lost_its_answer_is_found(world: World, kind: str) -> None:
    """Once, and the stranger beside it is not."""
    world.create(world.spool("Mine?", "No.", "Three.", token="tok0"))
    spool = world.spool("One.", "Two.")
    file_ref = world.provider.stage(spool)
    route = f"{world.dialect}.batches.create"
    world.faults.add(route, Fault(kind, status=502))  # type: ignore[arg-type]
    with pytest.raises(ProviderError) as caught:
        world.provider.create(spool, file_ref)
    assert caught.value.maybe
    assert world.live() == 2

    ours = {batch.id for batch in world.simulator.ledger().batches if batch.total == 2}
    proof = "certain" if world.dialect == "openai" else "provisional"
    assert world.find(spool, file_ref) == [(ref, proof) for ref in ours]
    assert world.find(spool, file_ref, *ours) == []
    assert world.simulator.ledger().retries() == []


def test_a_create_that_was_never_accepted_is_not_found(world: World) -> None:
    """And the look was complete."""
    spool = world.spool("One.", "Two.")
    file_ref = world.provider.stage(spool)
    route = f"{world.dialect}.batches.create"
    world.faults.add(route, Fault("refuse", status=0))
    with pytest.raises(ProviderUnavailable) as caught:
        world.provider.create(spool, file_ref)
    assert caught.value.maybe
    assert world.find(spool, file_ref) == []
    assert world.live() == 0


def test_results_prove_an_ended_batch(world: World) -> None:
    """A batch of the same size at the same minute is a stranger's by its custom_ids."""
    ours, theirs = world.spool("One.", "Two."), world.spool("Three.", "Four.", token="tok9")
    world.provider.create(theirs, world.provider.stage(theirs))
    file_ref = world.provider.stage(ours)
    created = world.provider.create(ours, file_ref)
    at = created.at or datetime.fromtimestamp(world.simulator.now(), UTC)
    world.simulator.advance(3_600)
    window = Window(at - timedelta(minutes=1), at + timedelta(minutes=1))
    search = world.provider.find(ours, file_ref, window, ())
    found = [(candidate.ref, candidate.proof) for candidate in search.candidates]
    assert found == [(created.ref, "certain")]


@pytest.mark.parametrize("kind", ["cut", "status", "drop", "html"])
def test_a_bad_download_converges(world: World, kind: str) -> None:
    """By asking again."""
    ref = world.create(world.spool(*["Say something."] * 30))
    world.end(ref)
    name = "batches.results" if world.dialect == "anthropic" else "files.content"
    world.faults.add(f"{world.dialect}.{name}", Fault(kind), 1)  # type: ignore[arg-type]
    with pytest.raises(ProviderError):
        world.provider.download(ref, world.folder / "to")
    assert len(world.outcomes(ref)) == 30


def test_a_wrong_key_is_the_account_s_affair(
    make: Callable[[str, float], Provider], world: World
) -> None:
    """On create and on poll."""
    ref = world.create(world.spool("One."))
    world.simulator.revoke(made.KEY)
    for call in (lambda: world.provider.poll(ref), lambda: world.create(world.spool("Two."))):
        with pytest.raises(ProviderRefused) as caught:
            call()
        assert caught.value.reason == "account"


def test_credit_that_is_gone_is_the_account_s_affair(world: World) -> None:
    """Nothing was accepted."""
    world.simulator.exhaust_credit()
    with pytest.raises(ProviderRefused) as caught:
        world.create(world.spool("One."))
    assert (caught.value.reason, caught.value.maybe) == ("account", False)


def test_citations_come_with_their_place(world: World) -> None:
    """Where the provider has them."""
    text = made.attachment("a.txt", "text", "text/plain", b"Revenue rose by 4 percent in 2026.")
    request = world.request("Summarise.", attachments=(text,), citations=True, max_tokens=500)
    if not world.provider.traits.citations:
        assert world.provider.check(request)
        return
    outcome = world.provider.ask(request)
    assert isinstance(outcome, Succeeded), outcome
    assert outcome.citations
    assert {citation.source for citation in outcome.citations} == {"a.txt"}


def test_a_full_queue_says_so(make: Callable[[str, float], Provider], tmp_path: Path) -> None:
    """At once, or as a batch that failed; either way nothing ran."""
    with Simulator(tmp_path / "full", enqueued_tokens={"": 5}, queued_requests=1) as simulator:
        world = World(make(simulator.anthropic_url, 10), simulator, Faults(), tmp_path)
        spool = world.spool("One.", "Two.")
        if world.dialect == "anthropic":
            with pytest.raises(ProviderRefused) as caught:
                world.create(spool)
            assert caught.value.reason == "queue"
            return
        status = world.end(world.create(spool), 60)
        assert (status.reason, status.queue_full, status.queue_limit) == ("failed", True, 5)
