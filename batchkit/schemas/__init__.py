"""Say a pydantic model in each provider's strict mode, and map the answers back.

``answer_schema`` runs where the class is; everything else works on plain JSON data, so that a
program that cannot import the class can restore and judge answers as well.
"""

from typing import TYPE_CHECKING

from batchkit.doors import door
from batchkit.schemas.answers import AnswerSchema, answer_schema, fingerprint
from batchkit.schemas.casing import fold_case
from batchkit.schemas.dialects import Dialect
from batchkit.schemas.restoring import Repeated, restore
from batchkit.schemas.texts import Leaf, json_span, leaves, repeated_key
from batchkit.schemas.verbatim import is_verbatim

if TYPE_CHECKING:
    from batchkit.schemas.judging import check

__all__ = [
    "AnswerSchema",
    "Dialect",
    "Leaf",
    "Repeated",
    "answer_schema",
    "check",
    "fingerprint",
    "fold_case",
    "is_verbatim",
    "json_span",
    "leaves",
    "repeated_key",
    "restore",
]

__getattr__ = door(__name__, judging=("check",))  # jsonschema: nobody needs it who has the class
