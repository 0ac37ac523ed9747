"""Whose key is at hand and where it goes: read from the SDKs' own settings, told to nobody."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from urllib.parse import SplitResult, urljoin, urlsplit

from batchkit import settings
from batchkit.errors import ConfigError
from batchkit.model import Account


def key(title: str, given: str | None, variables: Sequence[str]) -> tuple[str, str]:
    """Return where the key was found and the key: as given, else the first variable that is set.

    Raises ConfigError that says which variable, where else, and what to type.
    """
    if given:
        return "api_key", _usable(title, given, "api_key")
    for variable in variables:
        if found := settings.read(variable):
            return variable, _usable(title, found, variable)
    name = variables[0]
    raise ConfigError(
        f"There is no key for {title}: {name} is set neither in the environment nor in a .env "
        f"file in this folder. Type: export {name}=<your key>"
    )


def _usable(title: str, found: str, source: str) -> str:
    if not found.isascii() or not found.isprintable() or " " in found:
        raise ConfigError(
            f"The key for {title} in {source} holds characters that no key has: copy it again."
        )
    return found


def base_url(given: str | None, variable: str, default: str) -> str:
    """Return where calls go, without a slash at the end; raises ConfigError for what is no URL."""
    url = (given or settings.read(variable) or default).rstrip("/")
    if not _is_url(url):
        raise ConfigError(f"{variable} is no URL: {url!r}. It starts with https:// or http://.")
    return url


def own_url(base: str, given: str) -> str | None:
    """Return a URL that lies on the host of ``base``; None for one that lies anywhere else.

    Only its path and query are taken: two parsers may see two hosts in one URL.
    """
    try:
        there, here = urlsplit(urljoin(f"{base}/", given)), urlsplit(base)
        if _origin(there) != _origin(here):
            return None
    except ValueError:
        return None
    query = f"?{there.query}" if there.query else ""
    return f"{here.scheme}://{here.netloc}{there.path}{query}"


def is_own(base: str, default: str) -> bool:
    """Say whether a URL is the provider's own, with a region in front or not, or this machine's.

    What listens on this machine stands in for the provider: a simulator, a recorder, a proxy.
    """
    host, own = urlsplit(base).hostname or "", urlsplit(default).hostname or ""
    return host == own or host.endswith(f".{own}") or is_here(base)


def is_here(base: str) -> bool:
    """Say whether a URL is one of this machine."""
    host = urlsplit(base).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _origin(url: SplitResult) -> tuple[str, str | None, int]:
    return url.scheme, url.hostname, url.port or (443 if url.scheme == "https" else 80)


def _is_url(url: str) -> bool:
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def account(provider: str, url: str, secret: str) -> Account:
    """Return the account of a key, which is known by its hash only."""
    digest = hashlib.sha256(f"{provider}\n{secret}".encode()).hexdigest()
    return Account(provider=provider, base_url=url, fingerprint=digest[:16])
