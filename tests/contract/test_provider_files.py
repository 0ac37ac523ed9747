"""Uploads at the provider: they expire by themselves, and go once their batch is collected."""

from __future__ import annotations

from typing import Any

import pytest

from batchkit.providers import openai_desk as adapter
from tests.contract.conftest import quiet
from tests.contract.shop import GPT, Shop, go
from tests.contract.test_files import to_the_end


def uploads(shop: Shop) -> list[Any]:
    """Return what this test has uploaded to OpenAI, deleted or not."""
    made = {knock.ref for knock in shop.knocks if knock.route == "openai.files.create"}
    return [file for file in shop.simulator.office.world.files.values() if file.id in made]


@pytest.mark.parametrize("provider", [None, "openai-chat"])
def test_an_upload_goes_once_its_batch_is_collected(shop: Shop, provider: str | None) -> None:
    """Not before: a batch that is under way needs it."""
    go(quiet(GPT, name="r").add_job(prompt="Hello.", provider=provider))
    (file,) = uploads(shop)
    assert file.deleted


def test_it_stays_where_somebody_wants_to_look_at_it(shop: Shop) -> None:
    """`keep_provider_files=True`."""
    go(quiet(GPT, name="r", keep_provider_files=True).add_job(prompt="Hello."))
    (file,) = uploads(shop)
    assert not file.deleted


def test_a_batch_under_way_keeps_its_upload(held: Shop) -> None:
    """Until its answers are booked."""
    run = quiet(GPT, name="r").add_job(prompt="Hello.").submit()
    (file,) = uploads(held)
    assert not file.deleted
    to_the_end(held, run)
    (file,) = uploads(held)
    assert file.deleted


@pytest.mark.parametrize("url", ["own", "other"])
def test_an_upload_expires_by_itself_where_the_server_knows_how(
    held: Shop, monkeypatch: pytest.MonkeyPatch, url: str
) -> None:
    """At OpenAI and Azure; servers like theirs may not know the field."""
    if url == "own":
        monkeypatch.setattr(adapter, "BASE_URL", held.simulator.openai_url)
    quiet(GPT, name="r").add_job(prompt="Hello.").submit()
    (file,) = uploads(held)
    days = 14 if url == "own" else 30
    assert file.expires_at - file.created_at == days * 24 * 3600
