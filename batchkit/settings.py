"""Settings of the process: environment variables, else ``.env`` in the current folder.

Nothing is cached and ``os.environ`` is never written: a key that was mended is read at once.
"""

from __future__ import annotations

import os
from pathlib import Path

from dotenv import dotenv_values

from batchkit.errors import ConfigError


def read(name: str) -> str | None:
    """Return a setting, the environment's before that of ``.env``; blank means not set.

    Raises ConfigError when there is a ``.env`` that cannot be read.
    """
    return _word(os.environ.get(name)) or _word(_dotenv().get(name))


def _word(value: str | None) -> str | None:
    return (value or "").strip() or None


def _dotenv() -> dict[str, str | None]:
    path = Path(".env")
    if not path.is_file():
        return {}
    try:
        return dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path.resolve()} cannot be read ({type(error).__name__}): mend or remove it."
        ) from error
