"""The shapes people ask answers in, each with answers in the form of the original schema."""

from __future__ import annotations

import ipaddress
import uuid
from collections import Counter, OrderedDict, defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from enum import Enum, Flag, IntEnum, StrEnum
from pathlib import Path
from typing import (
    Annotated,
    Any,
    Generic,
    Literal,
    NamedTuple,
    NotRequired,
    TypeVar,
)

from pydantic import (
    AfterValidator,
    AliasChoices,
    AnyUrl,
    AwareDatetime,
    Base64Bytes,
    BaseModel,
    ByteSize,
    ConfigDict,
    Discriminator,
    Field,
    IPvAnyAddress,
    Json,
    JsonValue,
    NaiveDatetime,
    PositiveInt,
    PrivateAttr,
    RootModel,
    SecretStr,
    StringConstraints,
    Tag,
    WithJsonSchema,
    computed_field,
    model_serializer,
    model_validator,
)
from pydantic import dataclasses as pydantic_dataclasses
from pydantic.alias_generators import to_camel
from typing_extensions import TypedDict

T = TypeVar("T")


class Status(StrEnum):
    PAID = "paid"
    OPEN = "open"


class Level(IntEnum):
    LOW = 1
    HIGH = 2


class Mixed(Enum):
    WORD = "word"
    NUMBER = 7
    NOTHING = None


class Clash(Enum):
    LOWER = "us"
    UPPER = "US"


class Line(BaseModel):
    """One line of an invoice."""

    text: str
    amount: float = Field(ge=0, description="Net, in euros")


class Invoice(BaseModel):
    supplier: str
    lines: list[Line]
    first: Line
    note: str | None


class Optionals(BaseModel):
    needed: int | None
    given: int | None = None
    fallback: int | None = 5
    old: str | None


class Unions(BaseModel):
    value: int | str | bool
    place: Line | str
    many: list[int | str]


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int


class Dog(BaseModel):
    kind: Literal["dog"] = "dog"
    tricks: list[str] = []


class Pets(BaseModel):
    favourite: Annotated[Cat | Dog, Field(discriminator="kind", description="The first")]
    others: list[Annotated[Cat | Dog, Field(discriminator="kind")]]
    late: Annotated[Cat | Dog, Field(discriminator="kind")] | None = None


def _species(value: Any) -> str:
    return "cat" if "lives" in value else "dog"


class Tagged(BaseModel):
    pet: Annotated[Annotated[Cat, Tag("cat")] | Annotated[Dog, Tag("dog")], Discriminator(_species)]


class Enums(BaseModel):
    status: Status
    level: Level
    mixed: Mixed
    also: Status = Field(description="As of today")
    maybe: Status | None = None
    fallback: Status = Status.OPEN


class Literals(BaseModel):
    word: Literal["a", "b"]
    number: Literal[1, 2]
    only: Literal["x"]
    mixed: Literal["a", 1, True, None]
    yes: Literal[True] = True


class Times(BaseModel):
    day: date
    moment: datetime
    hour: time
    span: timedelta
    local: NaiveDatetime


class Money(BaseModel):
    total: Decimal
    bounded: Decimal = Field(gt=0, max_digits=8, decimal_places=2)
    maybe: Decimal | None
    fallback: Decimal = Decimal("1.5")


class Names(BaseModel):
    id: uuid.UUID
    host: ipaddress.IPv4Address
    host6: ipaddress.IPv6Address
    net: ipaddress.IPv4Network
    link: AnyUrl
    path: Path
    secret: SecretStr
    raw: bytes


class Numbers(BaseModel):
    share: float = Field(ge=0, le=1)
    count: int = Field(gt=0, lt=100, multiple_of=5)
    negative: Annotated[int, Field(le=-1)] | None = None


class Texts(BaseModel):
    code: str = Field(pattern=r"^[A-Z]{2}\d{4}$")
    short: str = Field(min_length=2, max_length=4)
    hard: Annotated[
        str, WithJsonSchema({"type": "string", "pattern": r"^(?=.*\d)\w+$", "format": "odd"})
    ]


class Lists(BaseModel):
    few: list[int] = Field(min_length=2, max_length=3)
    some: list[str] = Field(min_length=1)
    grid: list[list[float]]
    loose: list[Any]
    bare: list  # type: ignore[type-arg]


class Dicts(BaseModel):
    counts: dict[str, int]
    lines: dict[str, Line]
    nested: dict[str, dict[str, list[Line]]]
    byday: dict[date, int]
    bynumber: dict[int, str]
    bystatus: dict[Status, int]
    byword: dict[Literal["a", "b"], int]
    bypattern: dict[Annotated[str, Field(pattern="^a")], int] = Field(min_length=1)
    fallback: dict[str, int] = {}
    maybe: dict[str, int] | None = None


class Anything(BaseModel):
    loose: Any
    thing: object
    table: dict[str, Any]
    bare: dict  # type: ignore[type-arg]
    value: JsonValue
    late: Any = None
    either: str | Any = "x"


class Point(NamedTuple):
    x: int
    y: int = 3


class Tuples(BaseModel):
    pair: tuple[int, str]
    many: tuple[int, ...]
    lines: list[tuple[str, Line]]
    nested: tuple[tuple[float, float], tuple[float, float]]
    point: Point
    maybe: tuple[int, int] | None = None
    bare: tuple  # type: ignore[type-arg]


class Sets(BaseModel):
    numbers: set[int]
    words: frozenset[str] = frozenset({"b", "a"})
    pairs: set[tuple[int, int]]


class Tree(BaseModel):
    name: str
    children: list[Tree] = []


class Chain(BaseModel):
    value: int
    next: Chain | None = Field(None, description="The rest")


class Person(BaseModel):
    name: str
    house: House | None


class House(BaseModel):
    street: str
    people: list[Person]


class Wrap(BaseModel, Generic[T]):
    item: T
    items: list[T]


class Defaults(BaseModel):
    name: str = "nobody"
    count: int = 3
    tags: list[str] = Field(default_factory=lambda: ["new"])
    line: Line = Line(text="x", amount=1)
    ratio: float = Field(0.5, ge=0, le=1, description="How much")
    nullable: int | None = 7
    made: int | None = Field(default_factory=lambda: 9)
    flag: bool = True


class Aliases(BaseModel):
    model_config = ConfigDict(populate_by_name=False)

    supplier: str = Field(alias="Supplier Name")
    total: float = Field(validation_alias=AliasChoices("sum", "total"))
    other: int = Field(serialization_alias="written", default=1)
    umlaut: str = Field("x", alias="Größe")
    dollar: int = Field(alias="$id")
    clash: int = Field(alias="Supplier_Name")


class Computed(BaseModel):
    width: int

    @computed_field
    def area(self) -> int:
        return self.width**2


class Forbids(BaseModel):
    model_config = ConfigDict(extra="forbid")

    a: int


class Allows(BaseModel):
    model_config = ConfigDict(extra="allow")

    a: int


class Extras(BaseModel):
    model_config = ConfigDict(extra="allow")
    __pydantic_extra__: dict[str, int]

    a: int


class Free(BaseModel):
    model_config = ConfigDict(extra="allow")


class HoldsFree(BaseModel):
    free: Free


class Numeric(RootModel[list[int]]):
    pass


class Lookup(RootModel[dict[str, Line]]):
    pass


class Row(TypedDict):
    a: int
    b: NotRequired[str]


class Partial(TypedDict, total=False):
    a: int | None
    b: str


class Rows(BaseModel):
    row: Row
    partial: Partial


@pydantic_dataclasses.dataclass
class Box:
    width: int
    label: str = "box"


@dataclass
class Crate:
    box: Box
    count: int


class Checked(BaseModel):
    even: Annotated[int, AfterValidator(lambda number: number * 2 // 2)]
    text: Annotated[str, Field(description="Trimmed", examples=["a", "b"])]


class Encoded(BaseModel):
    inner: Json[list[int]]


class Merged(BaseModel):
    line: Annotated[
        Line,
        WithJsonSchema(
            {
                "allOf": [
                    {
                        "properties": {
                            "text": {"type": ["string", "null"]},
                            "amount": {"minimum": 0, "type": "number"},
                        },
                        "required": ["text", "amount"],
                    }
                ]
            }
        ),
    ]


class Strict(BaseModel):
    model_config = ConfigDict(strict=True)

    day: date
    pair: tuple[int, str]
    tags: set[str]


class Result(BaseModel):
    result: str


class Deep(BaseModel):
    """Unions, dicts, tuples and optionals inside one another."""

    cells: dict[str, tuple[int, dict[str, Line | None]]]
    choice: list[dict[str, int]] | dict[str, list[int]] | None = None
    optional: list[tuple[int, str] | None]
    maybe: dict[str, list[str] | None] = Field(default_factory=dict)


class Either(BaseModel):
    """A dict or a list, where the two look alike once a dict is a list of pairs."""

    one: dict[str, int] | list[int]
    other: list[Lookup | Numeric]
    words: dict[str, str] | dict[str, int] | set[str] = {}


class Misnamed(BaseModel):
    properties: dict[str, int]
    required: list[str] = []
    type: str
    key: str
    value: int | None = None


class Containers(BaseModel):
    """The abstract and the odd ones."""

    row: Sequence[int]
    table: Mapping[str, Line]
    queue: deque[str]
    groups: defaultdict[str, list[int]]
    votes: Counter[str]
    ordered: OrderedDict[str, int]
    byid: dict[uuid.UUID, int]
    words: frozenset[Literal["a", "b"]] = frozenset()
    holes: list[list[Line | None] | None]


class Rights(Flag):
    READ = 1
    WRITE = 2


class Kinds(BaseModel):
    rights: Rights
    size: ByteSize
    count: PositiveInt | Literal["unknown"]
    raw: Base64Bytes
    at: AwareDatetime
    address: IPvAnyAddress
    step: Annotated[int, Field(multiple_of=5)]
    code: Annotated[
        str, StringConstraints(strip_whitespace=True, to_upper=True, pattern="^[a-c]+$")
    ]
    nothing: None
    many: Literal[tuple(f"v{at}" for at in range(300))]  # type: ignore[valid-type]


class Camels(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)

    first_name: str
    last_name: str | None = None
    _note: str = PrivateAttr("")


class North(BaseModel):
    class Item(BaseModel):
        height: int

    item: Item


class South(BaseModel):
    """Two classes of one name, and words of its own for a field."""

    class Item(BaseModel):
        depth: str

    item: Item
    other: North
    old: int = Field(deprecated=True)
    known: int = Field(title="Known", json_schema_extra={"minimum": 3, "x-source": "us"})


class Branch(BaseModel, Generic[T]):
    value: T
    below: list[Branch[T]] = []


class Mended(BaseModel):
    """What the class does to answers before and after."""

    total: int

    @model_validator(mode="before")
    @classmethod
    def rounded(cls, value: Any) -> Any:
        return {**value, "total": round(value["total"])} if "total" in value else value

    @model_serializer
    def shown(self) -> dict[str, Any]:
        return {"sum": self.total}


LINE = {"text": "tea", "amount": 2.5}
DAY = "2026-01-31"

SHAPES: dict[str, tuple[Any, list[Any]]] = {
    "a flat model": (Line, [LINE]),
    "nested models": (
        Invoice,
        [{"supplier": "A", "lines": [LINE, LINE], "first": LINE, "note": None}],
    ),
    "optionals, required and not": (
        Optionals,
        [
            {"needed": None, "given": None, "fallback": None, "old": None},
            {"needed": 1, "given": 2, "fallback": 3, "old": "x"},
        ],
    ),
    "unions of plain types and models": (
        Unions,
        [
            {"value": 1, "place": LINE, "many": [1, "a"]},
            {"value": True, "place": "here", "many": []},
        ],
    ),
    "discriminated unions": (
        Pets,
        [
            {
                "favourite": {"kind": "cat", "lives": 9},
                "others": [{"kind": "dog", "tricks": ["sit"]}, {"kind": "dog"}],
                "late": {"kind": "dog", "tricks": []},
            }
        ],
    ),
    "unions told apart by a function": (Tagged, [{"pet": {"kind": "cat", "lives": 1}}]),
    "enums of text, numbers and both": (
        Enums,
        [
            {"status": "paid", "level": 2, "mixed": 7, "also": "open", "maybe": "paid"},
            {"status": "open", "level": 1, "mixed": None, "also": "open", "fallback": "paid"},
        ],
    ),
    "an enum that differs in case alone": (Wrap[Clash], [{"item": "us", "items": ["US", "us"]}]),
    "literals": (
        Literals,
        [
            {"word": "a", "number": 2, "only": "x", "mixed": True, "yes": True},
            {"word": "b", "number": 1, "only": "x", "mixed": None},
        ],
    ),
    "dates and times": (
        Times,
        [
            {
                "day": DAY,
                "moment": "2026-01-31T08:00:00Z",
                "hour": "08:00:00",
                "span": "P1DT2H",
                "local": "2026-01-31T08:00:00",
            }
        ],
    ),
    "decimals": (
        Money,
        [
            {"total": 12.5, "bounded": 0.1, "maybe": None},
            {"total": -3, "bounded": 99999.99, "maybe": 0.3, "fallback": 2},
        ],
    ),
    "ids, addresses, links, paths, secrets and bytes": (
        Names,
        [
            {
                "id": "12345678-1234-5678-1234-567812345678",
                "host": "127.0.0.1",
                "host6": "::1",
                "net": "10.0.0.0/8",
                "link": "https://example.org/",
                "path": "/tmp/x",
                "secret": "s",
                "raw": "bytes",
            }
        ],
    ),
    "bounded numbers": (
        Numbers,
        [{"share": 0.5, "count": 10, "negative": -4}, {"share": 0, "count": 95}],
    ),
    "texts with patterns and lengths": (
        Texts,
        [{"code": "AB1234", "short": "abc", "hard": "a1"}],
    ),
    "lists, bounded, nested and untyped": (
        Lists,
        [
            {
                "few": [1, 2],
                "some": ["a"],
                "grid": [[1.5], []],
                "loose": [1, {"a": None}],
                "bare": ["x", [1]],
            }
        ],
    ),
    "dicts by every kind of key": (
        Dicts,
        [
            {
                "counts": {"a": 1, "": 2},
                "lines": {"x": LINE},
                "nested": {"a": {"b": [LINE], "c": []}},
                "byday": {DAY: 1},
                "bynumber": {"7": "seven"},
                "bystatus": {"paid": 1},
                "byword": {"a": 1, "b": 2},
                "bypattern": {"ab": 1},
                "fallback": {"x": 1},
                "maybe": {},
            },
            {
                "counts": {},
                "lines": {},
                "nested": {},
                "byday": {},
                "bynumber": {},
                "bystatus": {},
                "byword": {},
                "bypattern": {"a": 1},
            },
        ],
    ),
    "anything at all": (
        Anything,
        [
            {
                "loose": {"a": [1, "x", None]},
                "thing": "12",
                "table": {"a": 1, "b": {"c": [True]}, "d": "text", "e": None},
                "bare": {"k": []},
                "value": [1, {"x": "1"}],
                "late": None,
                "either": 3,
            },
            {"loose": None, "thing": 0, "table": {}, "bare": {}, "value": "null"},
        ],
    ),
    "tuples": (
        Tuples,
        [
            {
                "pair": [1, "a"],
                "many": [1, 2, 3],
                "lines": [["a", LINE]],
                "nested": [[0, 1.5], [2, 3]],
                "point": [1],
                "maybe": [1, 2],
                "bare": [1, "x"],
            },
            {
                "pair": [0, ""],
                "many": [],
                "lines": [],
                "nested": [[0, 0], [0, 0]],
                "point": [1, 2],
                "bare": [],
            },
        ],
    ),
    "sets": (
        Sets,
        [
            {"numbers": [1, 2], "words": ["a"], "pairs": [[1, 2], [2, 1]]},
            {"numbers": [], "pairs": []},
        ],
    ),
    "a recursive model": (
        Tree,
        [{"name": "a", "children": [{"name": "b", "children": []}, {"name": "c"}]}],
    ),
    "a chain": (Chain, [{"value": 1, "next": {"value": 2, "next": None}}]),
    "models that name one another": (
        Person,
        [{"name": "a", "house": {"street": "s", "people": [{"name": "b", "house": None}]}}],
    ),
    "a generic model of a model": (Wrap[Line], [{"item": LINE, "items": [LINE]}]),
    "a generic model of a generic model": (
        Wrap[Wrap[int]],
        [{"item": {"item": 1, "items": []}, "items": []}],
    ),
    "a generic model of a dict": (
        Wrap[dict[str, int]],
        [{"item": {"a": 1}, "items": [{}, {"b": 2}]}],
    ),
    "defaults and default factories": (
        Defaults,
        [
            {"nullable": 7, "made": 1},
            {
                "name": "x",
                "count": 0,
                "tags": [],
                "line": LINE,
                "ratio": 1,
                "nullable": None,
                "made": None,
                "flag": False,
            },
        ],
    ),
    "aliases, also ones no provider takes": (
        Aliases,
        [
            {"Supplier Name": "A", "sum": 1.5, "Größe": "L", "$id": 1, "Supplier_Name": 2},
            {"Supplier Name": "A", "sum": 1, "$id": 1, "Supplier_Name": 2, "other": 4},
        ],
    ),
    "computed fields": (Computed, [{"width": 3}]),
    "a model that forbids extras": (Forbids, [{"a": 1}]),
    "a model that allows extras": (Allows, [{"a": 1}]),
    "a model with typed extras": (Extras, [{"a": 1, "b": 2, "c": 3}, {"a": 1}]),
    "a model of extras alone": (Free, [{"a": 1, "b": [None]}]),
    "a field of extras alone": (HoldsFree, [{"free": {"x": {"y": 1}}}]),
    "a list": (list[Line], [[LINE, LINE], []]),
    "a root model of a list": (Numeric, [[1, 2, 3]]),
    "a root model of a dict": (Lookup, [{"a": LINE}, {}]),
    "a dict": (dict[str, int], [{"a": 1}]),
    "a tuple": (tuple[int, Line], [[1, LINE]]),
    "a union": (Cat | Dog, [{"kind": "cat", "lives": 3}, {"kind": "dog", "tricks": ["x"]}]),
    "an optional model": (Line | None, [LINE, None]),
    "an enum": (Status, ["paid"]),
    "a literal": (Literal["a", "b"], ["b"]),
    "a number": (int, [3]),
    "typed dicts": (
        Rows,
        [
            {"row": {"a": 1}, "partial": {"a": None}},
            {
                "row": {"a": 1, "b": "x"},
                "partial": {"a": 2, "b": "y"},
            },
        ],
    ),
    "a typed dict": (Row, [{"a": 1, "b": "x"}, {"a": 1}]),
    "a pydantic dataclass": (Box, [{"width": 1, "label": "b"}, {"width": 2}]),
    "a plain dataclass": (Crate, [{"box": {"width": 1}, "count": 2}]),
    "annotated validators and examples": (Checked, [{"even": 4, "text": "x"}]),
    "JSON inside a text": (Encoded, [{"inner": "[1,2]"}]),
    "a schema of the user's own": (Merged, [{"line": LINE}]),
    "a strict model": (Strict, [{"day": DAY, "pair": [1, "x"], "tags": ["a"]}]),
    "a model whose field is called result": (Result, [{"result": "x"}]),
    "containers in containers": (
        Deep,
        [
            {
                "cells": {"a": [1, {"x": LINE, "y": None}]},
                "choice": {"a": [1]},
                "optional": [[1, "a"], None],
                "maybe": {"a": ["x"], "b": None},
            },
            {"cells": {}, "choice": [{"a": 1}], "optional": []},
        ],
    ),
    "a dict or a list": (
        Either,
        [
            {"one": {}, "other": [{}, [], {"a": LINE}], "words": []},
            {"one": [], "other": [], "words": {}},
            {"one": {"a": 1}, "other": [[1]], "words": {"a": 1}},
        ],
    ),
    "fields called as JSON Schema's own words": (
        Misnamed,
        [{"properties": {"a": 1}, "required": ["x"], "type": "t", "key": "k", "value": None}],
    ),
    "containers of every name": (
        Containers,
        [
            {
                "row": [1, 2],
                "table": {"x": LINE},
                "queue": ["a"],
                "groups": {"g": [1]},
                "votes": {"yes": 2},
                "ordered": {"b": 1, "a": 2},
                "byid": {"12345678-1234-5678-1234-567812345678": 1},
                "words": ["b"],
                "holes": [None, [None, LINE]],
            }
        ],
    ),
    "pydantic's own types": (
        Kinds,
        [
            {
                "rights": 2,
                "size": 1024,
                "count": "unknown",
                "raw": "aGVsbG8=",
                "at": "2026-01-31T08:00:00+02:00",
                "address": "::1",
                "step": 15,
                "code": "abc",
                "nothing": None,
                "many": "v299",
            }
        ],
    ),
    "an alias generator and a private attribute": (
        Camels,
        [{"firstName": "a", "lastName": None}, {"firstName": "b", "lastName": "c"}],
    ),
    "two classes of one name": (
        South,
        [{"item": {"depth": "x"}, "other": {"item": {"height": 1}}, "old": 1, "known": 3}],
    ),
    "a recursive generic model": (
        Branch[Line],
        [{"value": LINE, "below": [{"value": LINE, "below": []}]}],
    ),
    "validators and serializers of the whole model": (Mended, [{"total": 4}]),
}
