"""What the demo asks of each document: models with fields of every kind."""

from __future__ import annotations

from datetime import date
from enum import StrEnum

from pydantic import BaseModel, Field


class Licence(StrEnum):
    """The family of a licence."""

    MIT = "MIT"
    BSD = "BSD"
    APACHE = "Apache"
    MPL = "MPL"
    LGPL = "LGPL"
    GPL = "GPL"
    PSF = "PSF"
    OTHER = "other"


class Links(BaseModel):
    """Where a distribution lives."""

    homepage: str | None = Field(description="From Project-URL or Home-page")
    author: str | None = Field(description="A person, from Author or Author-email")


class Distribution(BaseModel):
    """A Python distribution, as its metadata and its licence file describe it."""

    name: str
    version: str
    summary: str = Field(description="The Summary line")
    licence: Licence = Field(description="From License-Expression or License or Classifier")
    permissive: bool = Field(description="Whether the licence allows closed-source use")
    requires_python: str | None = Field(description="The Requires-Python line")
    minimum_python: float = Field(ge=2, le=4, description="The number in Requires-Python")
    copyright_year: int | None = Field(ge=1970, le=2100, description="The first Copyright year")
    released: date | None = Field(description="A date of release, if one is told")
    requires: list[str] = Field(description="The Requires-Dist lines")
    keywords: list[str] = Field(description="The Keywords line")
    links: Links


class Kind(StrEnum):
    """What sort of document it is."""

    INVOICE = "invoice"
    CONTRACT = "contract"
    LETTER = "letter"
    REPORT = "report"
    MANUAL = "manual"
    DATA = "data"
    ARTICLE = "article"
    NOTES = "notes"
    OTHER = "other"


class Language(StrEnum):
    """The language of a document."""

    ENGLISH = "English"
    GERMAN = "German"
    FRENCH = "French"
    SPANISH = "Spanish"
    OTHER = "other"


class Amount(BaseModel):
    """A sum of money, or any other quantity that matters."""

    value: float
    unit: str = Field(description="Currency or unit")


class Paper(BaseModel):
    """Any document of a folder."""

    title: str
    kind: Kind
    language: Language
    summary: str = Field(description="In one sentence")
    author: str | None = Field(description="Author or From")
    written: date | None = Field(description="Date of the document")
    people: list[str] = Field(description="Names of people")
    keywords: list[str]
    sections: int = Field(ge=0, le=1_000, description="How many sections it has")
    main_amount: Amount | None
    confidential: bool
    reading_minutes: float = Field(ge=0, le=10_000)
