"""A type's own JSON Schema, and a clear word where it has none."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, ClassVar, get_args, get_origin

import orjson
from pydantic import AliasChoices, AliasPath, BaseModel, TypeAdapter
from pydantic.errors import PydanticInvalidForJsonSchema, PydanticUserError
from pydantic.fields import FieldInfo
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, JsonSchemaWarningKind
from pydantic_core import core_schema

from batchkit.errors import ValidationError
from batchkit.schemas.dialects import Node

_FIXED = "Change its type to one that JSON has, or take it out of the model."


class _Source(GenerateJsonSchema):
    """Pydantic's generator, with what it knows but does not say about decimals and naive times."""

    ignored_warning_kinds: ClassVar[set[JsonSchemaWarningKind]] = {  # type: ignore[misc]
        "skipped-choice",
        "non-serializable-default",
    }

    def decimal_schema(self, schema: core_schema.DecimalSchema) -> JsonSchemaValue:
        found = super().decimal_schema(schema)
        for branch in found.get("anyOf", []):
            if branch.get("type") == "string":
                # Without it, Decimal cannot be told from `float | str`.
                branch["format"] = "decimal"
        return found

    def datetime_schema(self, schema: core_schema.DatetimeSchema) -> JsonSchemaValue:
        if schema.get("tz_constraint") == "naive":
            # Format date-time demands a zone, which such a field refuses: no answer would fit.
            return {"type": "string", "format": "naive-date-time"}
        return super().datetime_schema(schema)

    def is_subclass_schema(self, schema: core_schema.IsSubclassSchema) -> JsonSchemaValue:
        return self.handle_invalid_for_json_schema(schema, "a class is not JSON")


def source_schema(model: Any) -> Node:
    """Return the JSON Schema of what `model` accepts, by alias, the same in every process.

    Raises ``ValidationError`` that names the field when there is none.
    """
    adapter = _adapter(model)
    try:
        schema = adapter.json_schema(by_alias=True, mode="validation", schema_generator=_Source)
    except (PydanticInvalidForJsonSchema, PydanticUserError) as error:
        path = _culprit(model)
        where = f"field {path!r}" if path else _title(model)
        raise ValidationError(f"response_model: {where} has no JSON Schema. {_FIXED}") from error
    _refuse_unreachable(model)
    plain: Node = orjson.loads(orjson.dumps(schema))
    _settle(plain)
    return plain


def _adapter(model: Any) -> TypeAdapter[Any]:
    if model is None or model is Any or model is object or not _is_type(model):
        raise ValidationError(
            f"response_model={model!r:.80} is not a model. Give a pydantic model class, for "
            "example: class Invoice(BaseModel): total: float"
        )
    try:
        return TypeAdapter(model)
    except (PydanticUserError, NameError, TypeError) as error:
        raise ValidationError(
            f"response_model={_title(model)} is not something pydantic can validate: "
            f"{str(error).splitlines()[0]}"
        ) from error


def _is_type(model: Any) -> bool:
    """Say whether this is a class or a typing construct, rather than a value."""
    named = hasattr(model, "__supertype__") or hasattr(model, "__value__")
    return isinstance(model, type) or get_origin(model) is not None or named


def _title(model: Any) -> str:
    return getattr(model, "__name__", None) or repr(model)


def _culprit(model: Any, seen: tuple[Any, ...] = ()) -> str:
    """Return the path of the first field that alone has no schema, or nothing."""
    for part in _parts(model):
        for name, field in _fields(part):
            if part not in seen and not _has_schema(field.annotation):
                inner = _culprit(field.annotation, (*seen, part))
                return f"{name}.{inner}" if inner else name
    return ""


def _has_schema(annotation: Any) -> bool:
    try:
        TypeAdapter(annotation).json_schema(schema_generator=_Source)
    except (PydanticInvalidForJsonSchema, PydanticUserError):
        return False
    return True


def _refuse_unreachable(model: Any) -> None:
    """Refuse fields that the schema calls by a name which the model then does not accept."""
    for owner in _models(model, {}):
        for name, field in _fields(owner):
            if not _is_reachable(owner, field):
                raise ValidationError(
                    f"response_model: field {name!r} of {owner.__name__} can only be read under "
                    "an alias that a flat JSON object cannot have. Give it a plain alias, or set "
                    "ConfigDict(validate_by_name=True)."
                )


def _is_reachable(owner: type[BaseModel], field: FieldInfo) -> bool:
    alias, config = field.validation_alias, owner.model_config
    if alias is None:
        return True
    if config.get("validate_by_alias") is False:
        return False
    if isinstance(alias, str) or config.get("populate_by_name") or config.get("validate_by_name"):
        return True
    choices = alias.choices if isinstance(alias, AliasChoices) else [alias]
    return any(not isinstance(one, AliasPath) or len(one.path) == 1 for one in choices)


def _models(model: Any, seen: dict[type[BaseModel], None]) -> dict[type[BaseModel], None]:
    for part in _parts(model):
        if part not in seen:
            seen[part] = None
            for _, field in _fields(part):
                _models(field.annotation, seen)
    return seen


def _parts(annotation: Any) -> Iterator[type[BaseModel]]:
    """Yield the pydantic models that an annotation names."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    else:
        for part in get_args(annotation):
            yield from _parts(part)


def _fields(model: Any) -> Iterator[tuple[str, FieldInfo]]:
    if isinstance(model, type) and issubclass(model, BaseModel):
        yield from model.model_fields.items()


def _settle(node: Any) -> None:
    """Sort the defaults of sets: their order differs from process to process."""
    if isinstance(node, dict):
        if node.get("uniqueItems") and isinstance(node.get("default"), list):
            node["default"].sort(key=orjson.dumps)
        for part in node.values():
            _settle(part)
    elif isinstance(node, list):
        for part in node:
            _settle(part)
