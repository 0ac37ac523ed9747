"""Keys and base URLs: where they come from, and that they are told to nobody."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from batchkit import settings
from batchkit.errors import ConfigError
from batchkit.providers import Provider
from batchkit.providers.anthropic import Anthropic
from batchkit.providers.openai import OpenAIChat, OpenAIResponses
from tests.providers import made
from tests.providers.scripted import Say, Script


def test_the_environment_goes_before_dotenv(monkeypatch: pytest.MonkeyPatch) -> None:
    """And a blank variable is none."""
    Path(".env").write_text('OPENAI_API_KEY="sk-file"\nOPENAI_BASE_URL=http://file/v1\n')
    monkeypatch.setenv("OPENAI_API_KEY", "sk-environment")
    monkeypatch.setenv("OPENAI_BASE_URL", " ")
    assert settings.read("OPENAI_API_KEY") == "sk-environment"
    assert settings.read("OPENAI_BASE_URL") == "http://file/v1"
    assert settings.read("OPENAI_ORG_ID") is None


def test_reading_dotenv_leaves_the_environment_alone() -> None:
    """Nothing is written to os.environ."""
    Path(".env").write_text("OPENAI_API_KEY=sk-file\n")
    before = dict(os.environ)
    OpenAIResponses().account()
    assert dict(os.environ) == before


def test_a_dotenv_that_cannot_be_read_is_named() -> None:
    """It says which file."""
    Path(".env").write_bytes(b"A=\xff\xfe\n")
    with pytest.raises(ConfigError, match=r"\.env cannot be read"):
        settings.read("A")


@pytest.mark.parametrize(
    ("adapter", "variable"),
    [
        (OpenAIResponses(), "OPENAI_API_KEY"),
        (OpenAIChat(), "OPENAI_API_KEY"),
        (Anthropic(), "ANTHROPIC_API_KEY"),
    ],
)
def test_a_missing_key_says_what_to_type(adapter: Provider, variable: str) -> None:
    """The variable, the file, the command."""
    with pytest.raises(ConfigError, match=rf"{variable}.*\.env.*export {variable}="):
        adapter.account()


def test_settings_are_read_at_first_use(monkeypatch: pytest.MonkeyPatch) -> None:
    """Construction needs none; afterwards client and account stay one."""
    adapter = Anthropic()
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", "http://127.0.0.1:1/")
    first = adapter.account()
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-2")
    assert adapter.account() == first
    assert first.base_url == "http://127.0.0.1:1"
    assert Anthropic().account() != first


def test_a_fingerprint_tells_keys_apart_and_tells_no_key() -> None:
    """It is a hash."""
    first = OpenAIResponses(api_key=made.KEY).account()
    assert first == OpenAIChat(api_key=made.KEY).account()
    assert first != OpenAIResponses(api_key="sk-other").account()
    assert not any(part in first.fingerprint for part in (made.KEY, made.KEY[-4:]))


@pytest.mark.parametrize("key", ["sk-a\nb", "sk-ä", "sk a"])
def test_a_key_that_is_none_is_said_without_showing_it(key: str) -> None:
    """A pasted line end would otherwise fail deep in the HTTP library."""
    with pytest.raises(ConfigError) as caught:
        OpenAIResponses(api_key=key).account()
    assert key not in str(caught.value)


@pytest.mark.parametrize("url", ["127.0.0.1:80", "ftp://host", "https://", "http://host:99999"])
def test_a_base_url_that_is_none_is_said(url: str) -> None:
    """With the variable's name."""
    with pytest.raises(ConfigError, match="OPENAI_BASE_URL"):
        OpenAIResponses(api_key=made.KEY, base_url=url).account()


def test_an_auth_token_serves_where_there_is_no_key(
    monkeypatch: pytest.MonkeyPatch, script: Script
) -> None:
    """As in the SDK itself."""
    monkeypatch.setenv("ANTHROPIC_AUTH_TOKEN", "token-1")
    monkeypatch.setenv("ANTHROPIC_BASE_URL", script.url)
    script.says(Say({"id": "b", "processing_status": "in_progress"}))
    Anthropic().poll("b")
    assert script.heard[0].headers["authorization"] == "Bearer token-1"


def test_organization_and_project_come_from_the_same_settings(
    openai: OpenAIResponses, script: Script
) -> None:
    """A .env holds for them, too."""
    Path(".env").write_text("OPENAI_ORG_ID=org-1\nOPENAI_PROJECT_ID=proj-1\n")
    script.says(Say({"id": "b", "status": "in_progress"}))
    openai.poll("b")
    headers = script.heard[0].headers
    assert (headers["openai-organization"], headers["openai-project"]) == ("org-1", "proj-1")
