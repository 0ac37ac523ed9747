"""The time line, and how a person writes a moment."""

from __future__ import annotations

import re
from datetime import datetime, timedelta
from typing import Any

from batchkit import settings
from batchkit.clock import SystemClock
from batchkit.errors import ValidationError
from batchkit.model import Json
from batchkit.money import dollars
from batchkit.parts import shown
from batchkit.upkeep.places import picked, store_of

_AGO = re.compile(r"(\d+(?:\.\d+)?)([smhd])")
_UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def timeline(
    run: str,
    since: datetime | None = None,
    *,
    project: str | None = None,
    database: str | None = None,
) -> list[Json]:
    """Return what happened to a run and its batches, oldest first."""
    with store_of(database) as store:
        row = picked(store, settings.project(project), run)
        names = ("at", "action", "batch_id", "key", "detail")
        found = store.events.of_run(row.id, since)
        return [{name: event[name] for name in names} | _of(event) for event in found]


def _of(event: Any) -> Json:
    """Return an event's key and detail for people: amounts in US dollars."""
    key, told = event["key"], dict(event["detail"])
    for name in [name for name in told if name.endswith("_nano")]:
        told[f"{name.removesuffix('_nano')}_usd"] = dollars(told.pop(name))
    return {"key": None if key is None else shown(key), "detail": told}


def moment(written: str, now: datetime | None = None) -> datetime:
    """Read ``22:00`` (the last one, local time), an ISO date or time, or ``2h`` ago.

    Raises ValidationError for anything else.
    """
    now = now or SystemClock().now()
    if ago := _AGO.fullmatch(written):
        return now - timedelta(**{_UNITS[ago[2]]: float(ago[1])})
    local = now.astimezone()
    try:
        if re.fullmatch(r"\d{1,2}:\d{2}", written):
            hour, minute = (int(part) for part in written.split(":"))
            today = local.replace(hour=hour, minute=minute, second=0, microsecond=0)
            return today if today <= local else today - timedelta(days=1)
        read = datetime.fromisoformat(written)
    except ValueError as error:
        raise ValidationError(
            f"{written!r} is no time: write 22:00, 2026-11-20, 2026-11-20T22:00 or 2h"
        ) from error
    return read if read.tzinfo is not None else read.replace(tzinfo=local.tzinfo)
