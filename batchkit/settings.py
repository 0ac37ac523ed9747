"""Settings of the process: environment variables, else ``.env`` in the current folder.

Nothing is cached and ``os.environ`` is never written: a key that was mended is read at once.
"""

from __future__ import annotations

import os
from pathlib import Path

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
    from dotenv import dotenv_values

    try:
        return dotenv_values(path)
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError(
            f"{path.resolve()} cannot be read ({type(error).__name__}): mend or remove it."
        ) from error


def database(given: str | os.PathLike[str] | None = None, *, create: bool = True) -> str:
    """Return where the state lies: a URL, or the path of a SQLite file.

    ``given``, else BATCHKIT_DATABASE_URL, else the nearest ``.batchkit/batchkit.db`` in this folder
    or a parent, else a new one here, whose folder is made unless ``create`` is False. Raises
    ConfigError for a folder that cannot be written.
    """
    named = os.fspath(given) if given is not None else read("BATCHKIT_DATABASE_URL")
    path = Path(named).expanduser() if named else _nearest()
    if named and "://" in named:
        return named
    path = path.absolute()
    if create:
        _check_file(path)
    return str(path)


def files_dir(database: Path | None) -> Path | None:
    """Return where copies of documents lie: BATCHKIT_FILES_DIR, else beside the SQLite file.

    None for a database that is no file, where nobody said.
    """
    named = read("BATCHKIT_FILES_DIR")
    if named:
        return Path(named).expanduser().absolute()
    return None if database is None else database.parent / "files"


def project(given: str | None = None) -> str:
    """Return the project that runs belong to: ``given``, BATCHKIT_PROJECT, else ``default``."""
    return given or read("BATCHKIT_PROJECT") or "default"


def pace() -> float:
    """Return what batchkit's own waits are divided by: BATCHKIT_PACE, for rehearsals, else 1.

    Raises ConfigError for what is no number above 0.
    """
    given = read("BATCHKIT_PACE") or "1"
    try:
        scale = float(given)
    except ValueError:
        scale = 0.0
    if not 0 < scale < float("inf"):
        raise ConfigError(f"BATCHKIT_PACE must be a number above 0, not {given!r}.")
    return scale


def _nearest() -> Path:
    here = Path.cwd()
    for folder in (here, *here.parents):
        found = folder / ".batchkit" / "batchkit.db"
        if found.is_file():
            return found
    return here / ".batchkit" / "batchkit.db"


def _check_file(path: Path) -> None:
    """Make the folder of a SQLite file; see now whether it can be written."""
    way_out = "Name another place with database= or BATCHKIT_DATABASE_URL."
    if path.is_dir():
        raise ConfigError(f"The database {path} is a folder, not a file. {way_out}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"The folder {path.parent} for the database cannot be made "
            f"({error.strerror or error}). {way_out}"
        ) from error
    spot = path if path.exists() else path.parent
    if not os.access(spot, os.W_OK):
        raise ConfigError(f"The database {path} cannot be written: permission denied. {way_out}")
