"""Keeping house, for the command line and for scripts: look, prove, clean up, migrate."""

from __future__ import annotations

from typing import TYPE_CHECKING

from batchkit.doors import door

if TYPE_CHECKING:
    from batchkit.upkeep.answers import Reason, failures, imported_model, written_page
    from batchkit.upkeep.books import Proof, verified
    from batchkit.upkeep.databases import revision, upgraded
    from batchkit.upkeep.removal import Removal, removed
    from batchkit.upkeep.runs import chosen, go_on, standing
    from batchkit.upkeep.times import moment, timeline

__all__ = [
    "Proof",
    "Reason",
    "Removal",
    "chosen",
    "failures",
    "go_on",
    "imported_model",
    "moment",
    "removed",
    "revision",
    "standing",
    "timeline",
    "upgraded",
    "verified",
    "written_page",
]

__getattr__ = door(
    __name__,
    answers=("Reason", "failures", "imported_model", "written_page"),
    books=("Proof", "verified"),
    databases=("revision", "upgraded"),
    removal=("Removal", "removed"),
    runs=("chosen", "go_on", "standing"),
    times=("moment", "timeline"),
)
