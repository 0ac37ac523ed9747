"""What the demo asks of each document: models with fields of every kind.

No bounds on numbers: strict modes do not know them, and an answer outside would be paid again.
"""

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


class Origin(BaseModel):
    """Where a distribution comes from."""

    project_urls: list[str] = Field(description="the Project-URL lines")
    author: str | None = Field(description="a person, from Author or Author-email")


class Distribution(BaseModel):
    """A Python distribution, as its metadata and its licence file describe it."""

    name: str
    version: str
    summary: str = Field(description="the Summary line")
    licence: Licence = Field(description="from License-Expression or License or Classifier")
    typed: bool = Field(description="whether a Classifier line says Typed")
    requires_python: str | None = Field(description="the Requires-Python line")
    metadata_version: float = Field(description="the Metadata-Version line, a number")
    copyright_year: int | None = Field(description="the first year after the word Copyright")
    released: date | None = Field(description="of this version, if it is told")
    requires: list[str] = Field(description="the Requires-Dist lines")
    keywords: list[str] = Field(description="the Keywords line")
    origin: Origin


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
    unit: str = Field(description="currency or unit")


class Paper(BaseModel):
    """Any document of a folder."""

    title: str
    kind: Kind
    language: Language
    summary: str = Field(description="in one sentence")
    author: str | None = Field(description="from Author or From or By")
    written: date | None = Field(description="the document's own Date")
    people: list[str] = Field(description="names of people")
    keywords: list[str]
    sections: int = Field(description="how many sections it has")
    main_amount: Amount | None
    confidential: bool
    reading_minutes: float
