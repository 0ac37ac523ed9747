"""Keeping house, for the command line and for scripts: look, prove, clean up, migrate."""

from __future__ import annotations

from batchkit.upkeep.answers import Reason, failures, imported_model, written_page
from batchkit.upkeep.books import Proof, verified
from batchkit.upkeep.databases import revision, upgraded
from batchkit.upkeep.removal import Removal, removed
from batchkit.upkeep.runs import chosen, go_on
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
    "timeline",
    "upgraded",
    "verified",
    "written_page",
]
