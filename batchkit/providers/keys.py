"""Whose key is at hand and where it goes: read from the SDKs' own settings, told to nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import urlsplit

from batchkit import settings
from batchkit.errors import ConfigError
from batchkit.model import Account


def key(title: str, variables: Sequence[str]) -> tuple[str, str]:
    """Return the first variable that is set, and its value.

    Raises ConfigError that says which variable, where else, and what to type.
    """
    for variable in variables:
        if found := settings.read(variable):
            return variable, usable(title, found, variable)
    name = variables[0]
    raise ConfigError(
        f"There is no key for {title}: {name} is set neither in the environment nor in a .env "
        f"file in this folder. Type: export {name}=<your key>"
    )


def usable(title: str, found: str, source: str) -> str:
    """Return a key that can stand in a header; raises ConfigError for any other."""
    if not found.isascii() or not found.isprintable() or " " in found:
        raise ConfigError(
            f"The key for {title} in {source} holds characters that no key has: copy it again."
        )
    return found


def base_url(given: str | None, variable: str, default: str) -> str:
    """Return where calls go, without a slash at the end; raises ConfigError for what is no URL."""
    url = (given or settings.read(variable) or default).rstrip("/")
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ConfigError(f"{variable} is no URL: {url!r}. It starts with https:// or http://.")
    return url


def account(provider: str, url: str, secret: str) -> Account:
    """Return the account of a key, which is known by its hash only."""
    digest = hashlib.sha256(f"{provider}\n{secret}".encode()).hexdigest()
    return Account(provider=provider, base_url=url, fingerprint=digest[:16])
