"""What a builder says about its run as a whole, checked as it is said."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

from batchkit import canaries
from batchkit.builder import keys
from batchkit.builder.identity import OnChange
from batchkit.builder.templates import Brakes
from batchkit.checks import one_of
from batchkit.errors import ConfigError, ValidationError
from batchkit.model import Json, Reserve, RunSpec

RawFiles = Literal["off", "on", "full"]

_SHORTEST = 10.0
_CLOCK = re.compile(r"([01]?\d|2[0-3]):([0-5]\d)")
_VERBOSITIES = ("debug", "info", "warn", "error")


@dataclass(slots=True)
class Wishes:
    """The settings of one builder; amounts in nano-dollars."""

    results_dir: Path | None = None
    max_parallel_batches: int = 10
    items_per_batch: int | None = None
    raw_files: RawFiles = "off"
    name: str | None = None
    project: str | None = None
    database: str | os.PathLike[str] | None = None
    max_attempts: int = 3
    max_usd_per_job: int | None = None
    prompt_caching: Literal["auto", "off"] = "auto"
    share_documents: Literal["auto", "off"] = "auto"
    canary: int | Literal["realtime"] | None = None
    canary_wait_s: float = canaries.WAIT
    on_bad_input: Literal["raise", "fail"] = "raise"
    on_change: OnChange = "error"
    keep_files: bool = False
    keep_provider_files: bool = False
    reuse_state: bool = True
    verbosity: str = "info"
    cost_limit: int | None = None
    reserve: Reserve | None = None
    time_limit_s: float | None = None
    until: str | None = None

    @property
    def run_name(self) -> str | None:
        """The name that identifies the run; None if content does."""
        if self.name is not None:
            return self.name
        return None if self.results_dir is None else str(self.results_dir)

    @property
    def brakes(self) -> Brakes:
        """What holds for each job."""
        return Brakes(self.max_attempts, self.max_usd_per_job, self.cost_limit is not None)

    @property
    def spec(self) -> Json:
        """What a later process needs to go on."""
        said = {} if self.reserve is None else {"reserve": self.reserve}
        return said | asdict(
            RunSpec(
                results_dir=None if self.results_dir is None else str(self.results_dir),
                raw_files=self.raw_files,
                max_parallel_batches=self.max_parallel_batches,
                items_per_batch=self.items_per_batch,
                max_attempts=self.max_attempts,
                max_usd_per_job=self.max_usd_per_job,
                prompt_caching=self.prompt_caching,
                share_documents=self.share_documents,
                on_bad_input=self.on_bad_input,
                keep_provider_files=self.keep_provider_files,
                verbosity=self.verbosity,
            )
        )

    def limits(self, now: datetime) -> Json:
        """Return the limits that were set, as columns of the run."""
        found: Json = {}
        if self.cost_limit is not None:
            found["cost_limit"] = self.cost_limit
        if self.time_limit_s is not None:
            found["time_limit_s"] = self.time_limit_s
        if self.until is not None:
            found["time_limit_s"] = None
            found["deadline_at"] = next_time(self.until, now)
        return found


def canary(value: Any) -> int | Literal["realtime"] | None:
    """Return how many jobs a canary has, or that it asks now; None if there is none."""
    if value is None or value is False:
        return None
    if value == "realtime":
        return "realtime"
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(
            f"canary={value!r} is no canary: give a number of jobs that go first, or "
            '"realtime" to ask some of them now, at full price.'
        )
    return value


_UNITS = {"s": 1, "m": 60, "h": 3_600, "d": 86_400}


def seconds(name: str, value: Any) -> float:
    """Return a length of time in seconds, given as ``"90s"``, ``"30m"``, ``"1h30m"`` or seconds."""
    if isinstance(value, timedelta):
        value = value.total_seconds()
    if isinstance(value, str):
        parts = re.findall(r"(\d+(?:\.\d+)?)([smhd])", value)
        if parts and "".join(number + unit for number, unit in parts) == value:
            value = sum(float(number) * _UNITS[unit] for number, unit in parts)
    if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
        raise ValidationError(f'{name}={value!r} is no length of time: write "30m" or "2h".')
    return float(value)


def next_time(until: str, now: datetime) -> datetime:
    """Return when the local clock next shows ``until``, in UTC."""
    found = _CLOCK.fullmatch(until)
    if found is None:
        raise ValidationError(f'until={until!r} is no time of day: write it like until="08:00".')
    # Without a zone it means local time, summer or winter as that day has it.
    today = now.astimezone().replace(
        tzinfo=None, hour=int(found[1]), minute=int(found[2]), second=0, microsecond=0
    )
    soon = today.astimezone(UTC)
    return soon if soon > now else (today + timedelta(days=1)).astimezone(UTC)


def time_limit(parts: Mapping[str, Any], until: str | None, now: datetime) -> float | None:
    """Return the seconds that were given, added up; None with ``until``."""
    given = {name: value for name, value in parts.items() if value is not None}
    if until is not None:
        if given:
            raise ValidationError("until and a duration were both given: give one of the two.")
        if (next_time(until, now) - now).total_seconds() < _SHORTEST:
            raise ValidationError(f"until={until!r} is less than {_SHORTEST:.0f} seconds away.")
        return None
    if not given:
        raise ValidationError("No time was given: say seconds=, minutes=, hours= or until=.")
    for name, value in given.items():
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise ValidationError(f"{name} must be a number, not {value!r}.")
    total = timedelta(**given).total_seconds()
    if not total >= _SHORTEST:
        raise ValidationError(f"A time limit must be at least {_SHORTEST:.0f} s, not {total:g} s.")
    return total


def whole(name: str, value: Any) -> int:
    """Return a whole number above 0; raise ValidationError for anything else."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ValidationError(f"{name} must be a whole number above 0, not {value!r}.")
    return value


def verbosity(value: Any) -> str:
    """Return how much is said; raise ValidationError for an unknown word."""
    return str(one_of("verbosity", value, _VERBOSITIES))


def folder(given: Any) -> Path | None:
    """Return ``results_dir``, absolute."""
    if given is None:
        return None
    if not isinstance(given, (str, os.PathLike)) or not os.fspath(given):
        raise ValidationError(f"results_dir must be the path of a folder, not {given!r}.")
    return Path(os.path.abspath(Path(os.fspath(given)).expanduser()))


def raw(given: Any, results_dir: Path | None) -> RawFiles:
    """Return how raw files are kept; by default wherever there is a ``results_dir``."""
    if given is None:
        return "off" if results_dir is None else "on"
    if given is False or given == "off":
        return "off"
    if given is not True and given not in ("on", "full"):
        raise ValidationError(f'raw_files must be True, False or "full", not {given!r}.')
    if results_dir is None:
        raise ValidationError("raw_files lie below results_dir: give Batch(results_dir=…) too.")
    return "full" if given == "full" else "on"


def name_of(what: str, value: Any) -> str | None:
    """Return a run's or project's name; raise ValidationError for what is none."""
    if value is None:
        return None
    if not isinstance(value, str) or not value.strip() or len(value) > 500 or "\x00" in value:
        raise ValidationError(f"{what}={value!r:.60} is no name: give 1 to 500 characters.")
    if value != keys.written(value):
        raise ValidationError(f"{what}={value!a:.60} is no name: it holds half a character.")
    return value


def check_folder(path: Path | None) -> None:
    """Make ``results_dir``; raise ConfigError if it cannot be written."""
    if path is None:
        return
    try:
        path.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"results_dir {path} cannot be made ({error.strerror or error}): name another folder."
        ) from error
    if not os.access(path, os.W_OK | os.X_OK):
        raise ConfigError(f"results_dir {path} cannot be written: name another folder.")
