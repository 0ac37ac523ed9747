"""Which routes a front has: their names, as the fault plan knows them, by method and path."""

from __future__ import annotations

from collections.abc import Mapping

Routes = Mapping[str, tuple[str, str]]

OPENAI: Routes = {
    "files.create": ("POST", "files"),
    "files.list": ("GET", "files"),
    "files.retrieve": ("GET", "files/*"),
    "files.delete": ("DELETE", "files/*"),
    "files.content": ("GET", "files/*/content"),
    "batches.create": ("POST", "batches"),
    "batches.list": ("GET", "batches"),
    "batches.retrieve": ("GET", "batches/*"),
    "batches.cancel": ("POST", "batches/*/cancel"),
    "responses": ("POST", "responses"),
    "responses.input_tokens": ("POST", "responses/input_tokens"),
    "chat.completions": ("POST", "chat/completions"),
    "embeddings": ("POST", "embeddings"),
    "models": ("GET", "models"),
    "models.retrieve": ("GET", "models/*"),
}
ANTHROPIC: Routes = {
    "files.create": ("POST", "files"),
    "files.list": ("GET", "files"),
    "files.retrieve": ("GET", "files/*"),
    "files.delete": ("DELETE", "files/*"),
    "files.content": ("GET", "files/*/content"),
    "batches.create": ("POST", "messages/batches"),
    "batches.list": ("GET", "messages/batches"),
    "batches.retrieve": ("GET", "messages/batches/*"),
    "batches.delete": ("DELETE", "messages/batches/*"),
    "batches.cancel": ("POST", "messages/batches/*/cancel"),
    "batches.results": ("GET", "messages/batches/*/results"),
    "messages.create": ("POST", "messages"),
    "messages.count_tokens": ("POST", "messages/count_tokens"),
    "models": ("GET", "models"),
    "models.retrieve": ("GET", "models/*"),
}


def named(routes: Routes, method: str, path: str) -> str:
    """Return a route's name; `unknown` for what is none."""
    verb = "GET" if method == "HEAD" else method
    found = (name for name, (asked, form) in routes.items() if asked == verb and _fits(form, path))
    return next(found, "unknown")


def exists(routes: Routes, path: str) -> bool:
    """Return whether a path answers to any method."""
    return any(_fits(form, path) for _, form in routes.values())


def _fits(form: str, path: str) -> bool:
    parts, wanted = path.removeprefix("/v1/").strip("/").split("/"), form.split("/")
    return len(parts) == len(wanted) and all(
        want in ("*", part) for want, part in zip(wanted, parts, strict=True)
    )
