"""Texts with columns in them: Jinja, in a sandbox that changes nothing and forgives nothing."""

from __future__ import annotations

import re
from collections.abc import Mapping
from difflib import get_close_matches
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from batchkit.errors import ValidationError

if TYPE_CHECKING:
    from jinja2.sandbox import ImmutableSandboxedEnvironment

_LONGEST = 20_000_000
"""Characters that one ``*`` may make of a text."""

_WHOLE = "row"
_OF_ROW = re.compile(r"'dict object' has no attribute '(.*)'")


class MissingColumn(ValidationError):
    """A row lacks a column that a text needs."""


class Wording:
    """One text with placeholders: ``{{ text }}``, or ``{{ row["Review text"] }}``.

    ``what`` is the argument it was given as. Raises ValidationError for a text that is no template.
    """

    def __init__(self, what: str, text: str) -> None:
        from jinja2 import TemplateError, TemplateSyntaxError, UndefinedError, meta

        if not isinstance(text, str):
            raise ValidationError(f"{what} must be text, not {type(text).__name__}.")
        environment = _environment()
        try:
            self._template = environment.from_string(text)
            self._names = meta.find_undeclared_variables(environment.parse(text)) - {_WHOLE}
        except TemplateSyntaxError as error:
            raise ValidationError(
                f"{what} is no template (line {error.lineno}: {error.message}). A column stands in "
                "double braces, {{ text }}; braces as such stand in {% raw %}…{% endraw %}."
            ) from error
        self._what = what
        self._undefined, self._wrong = UndefinedError, TemplateError

    def filled(self, row: Mapping[str, Any]) -> str:
        """Return the text with a row's values; nothing (None) becomes an empty text.

        Raises MissingColumn, and ValidationError for a template that fails otherwise.
        """
        try:
            return self._template.render({_WHOLE: row, **row})
        except self._undefined as error:
            raise MissingColumn(self._missing(row, error)) from error
        except (self._wrong, ArithmeticError, LookupError, TypeError, ValueError) as error:
            raise ValidationError(f"{self._what} cannot be filled in: {error}.") from error

    def _missing(self, row: Mapping[str, Any], error: Exception) -> str:
        missing = sorted(self._names - set(row)) or _OF_ROW.findall(str(error))
        if not missing:
            return f"{self._what} cannot be filled in: {error}."
        return lacking(missing[0], f"{self._what} needs", row)


def lacking(name: str, wants: str, row: Mapping[str, Any]) -> str:
    """Say that a row has no such column, what wants it, and which column may have been meant."""
    called = {str(there).casefold(): str(there) for there in row}
    near = get_close_matches(name.casefold(), called, n=1)
    there = ", ".join(map(str, list(row)[:20])) or "none"
    hint = f"Did you mean {called[near[0]]!r}?" if near else f"The columns are: {there}."
    return f"there is no column {name!r}, which {wants}. {hint}"


@lru_cache(maxsize=1)
def _environment() -> ImmutableSandboxedEnvironment:
    from jinja2 import StrictUndefined
    from jinja2.exceptions import SecurityError
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class Environment(ImmutableSandboxedEnvironment):
        """``'a' * 10**9`` is refused before it fills the memory."""

        intercepted_binops = frozenset({"*"})

        def call_binop(self, context: Any, operator: str, left: Any, right: Any) -> Any:
            for text, times in ((left, right), (right, left)):
                longest = hasattr(text, "__len__") and isinstance(times, int)
                if longest and len(text) * times > _LONGEST:
                    raise SecurityError("a text or list is repeated too often")
            return super().call_binop(context, operator, left, right)

    made = Environment(
        undefined=StrictUndefined,
        autoescape=False,
        keep_trailing_newline=True,
        finalize=lambda value: "" if value is None else value,
    )
    made.globals.clear()  # a column that is missing must not be found as Jinja's own `range`
    return made
