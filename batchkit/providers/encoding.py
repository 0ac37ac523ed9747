"""What every adapter needs to turn a request into JSON. Pure."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Mapping
from typing import Any

import orjson

from batchkit.errors import ValidationError
from batchkit.model import Attachment, Json, Request


def as_line(row: Json) -> bytes:
    """Return a row as one line, without a line end; raises ValidationError for what is no JSON."""
    try:
        return orjson.dumps(row)
    except TypeError as error:
        raise ValidationError(f"The request cannot be written as JSON: {error}.") from error


def strict(request: Request) -> Mapping[str, Any] | None:
    """Return the schema the provider itself shall enforce, if there is one."""
    schema = request.schema
    return schema if schema is not None and schema.get("mode") == "strict" else None


def instruction(request: Request) -> str | None:
    """Return the words that ask for the schema where the provider does not enforce it."""
    schema = request.schema
    return None if schema is None or strict(request) else schema.get("instruction")


def joined(*parts: Any) -> str:
    """Join the texts among ``parts``, a blank line between two."""
    return "\n\n".join(part for part in parts if isinstance(part, str) and part)


def mapping(value: object) -> Json:
    """Return a mapping as a dict of its own, anything else as an empty one."""
    return dict(value) if isinstance(value, Mapping) else {}


def plain_text(attachment: Attachment) -> str:
    """Return a text document's text, without a byte order mark."""
    return attachment.data.decode("utf-8-sig", "replace")


def base64_text(attachment: Attachment) -> str:
    """Return a document's bytes in base64."""
    return b64encode(attachment.data).decode("ascii")
