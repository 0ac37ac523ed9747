"""From an answer's text blocks to the fields that their citations support."""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from batchkit.citing import is_telling, mapped, placed
from batchkit.model import Citation, Succeeded
from batchkit.providers.anthropic_answers import message_outcome

Block = tuple[str, list[str]]


def answered(*blocks: Block) -> Succeeded:
    """Return what Anthropic's adapter makes of text blocks, each with what it cites."""
    content = [
        {
            "type": "text",
            "text": text,
            "citations": [
                {"type": "page_location", "cited_text": words, "document_index": 0}
                | {"document_title": "a.pdf", "start_page_number": 3, "end_page_number": 4}
                for words in cited
            ]
            or None,
        }
        for text, cited in blocks
    ]
    outcome = message_outcome("c", {"content": content, "stop_reason": "end_turn"}, None)
    assert isinstance(outcome, Succeeded)
    return outcome


def found(*blocks: Block) -> dict[str, list[tuple[str, str, bool]]]:
    """Return each field's citations as (words, how it was found, whether it is sure)."""
    outcome = answered(*blocks)
    mappings = mapped(outcome.text, outcome.citations)
    return {
        path: [(one.text, one.metadata["found"], one.metadata["sure"]) for one in many]  # type: ignore[index]
        for path, many in mappings.items()
    }


def plain(text: str) -> Block:
    return text, []


TOTAL = ("The total is 42.50.", "place", True)


@pytest.mark.parametrize(
    "blocks",
    [
        [plain('{"total":'), ("42.5", ["The total is 42.50."]), plain("}")],
        [plain("{"), ('"total": 42.5', ["The total is 42.50."]), plain("}")],
        [('{"total": 42.5}', ["The total is 42.50."])],
        [plain('{"total": 42'), (".5", ["The total is 42.50."]), plain("}")],
        [plain('```json\n{"total":'), (" 42.5", ["The total is 42.50."]), plain("}\n```")],
        [plain('As asked [1]: {"total":'), (" 42.5", ["The total is 42.50."]), plain("} Bye.")],
    ],
)
def test_a_citation_belongs_to_the_value_it_stands_on(blocks: list[Block]) -> None:
    """Wherever the provider cuts the text."""
    assert found(*blocks) == {"total": [TOTAL]}


def test_nested_fields_have_dotted_paths() -> None:
    """Lists count from 0."""
    assert found(
        plain('{"seller": {"name": "'),
        ("Acme", ["ACME Inc."]),
        plain('"}, "items": [{"total": 1}, {"total": '),
        ("42.5", ["The total is 42.50."]),
        plain("}], "),
        plain('"tags": ["a", '),
        ('"red"', ["It is Red."]),
        plain("]}"),
    ) == {
        "seller.name": [("ACME Inc.", "place", True)],
        "items.1.total": [TOTAL],
        "tags.1": [("It is Red.", "place", True)],
    }


def test_what_the_words_do_not_contain_is_unsure() -> None:
    """A verdict, a sum and a wrong page look the same from here."""
    assert found(
        plain('{"paid": '),
        ("true", ["Settled in full."]),
        plain(', "total": '),
        ("42.5", ["The total is 41.50.", "The total is 42.50."]),
        plain("}"),
    ) == {
        "paid": [("Settled in full.", "place", False)],
        "total": [("The total is 41.50.", "place", False), TOTAL],
    }


def test_a_citation_on_several_fields_goes_to_those_that_it_contains() -> None:
    """To all of them, unsure, if it contains none."""
    both = '"a": "north", "b": "south"'
    assert found(plain("{"), (both, ["Go north."]), plain("}")) == {
        "a": [("Go north.", "place", True)]
    }
    assert found(plain("{"), (both, ["Go west."]), plain("}")) == {
        "a": [("Go west.", "place", False)],
        "b": [("Go west.", "place", False)],
    }


def test_a_value_without_a_citation_is_looked_for_in_all_of_them() -> None:
    """As where a model cites first and writes the JSON afterwards; a 7 is too little for it."""
    assert found(
        ("The invoice comes from Acme.", ["Acme Inc., 7 items"]),
        plain('\n{"supplier": "Acme", "items": 7}'),
    ) == {"supplier": [("Acme Inc., 7 items", "value", True)]}


@pytest.mark.parametrize("text", ["no JSON", "", "null", '{"a": null, "b": ""}', "{", "[]"])
def test_what_has_no_values_has_no_mappings(text: str) -> None:
    """And nothing breaks."""
    assert found((text, ["words"])) == {}


def test_an_answer_that_is_one_value_is_called_answer() -> None:
    """It has no name of its own."""
    assert found(('"paid"', ["It was paid."])) == {"answer": [("It was paid.", "place", True)]}


def test_where_it_stands_in_the_answer_is_kept() -> None:
    """So that a citation of free text can be shown at its sentence."""
    outcome = answered(plain("Up. "), ("Down.", ["went down"]))
    metadata = outcome.citations[0].metadata or {}
    assert outcome.text[metadata["answer_start_index"] : metadata["answer_end_index"]] == "Down."


def test_citations_without_a_place_are_found_by_value() -> None:
    """Those of another adapter, or stored before places were kept."""
    (one,) = mapped('{"a": "north"}', [Citation("Go north.", "a.pdf")])["a"]
    assert one.metadata == {"found": "value", "sure": True}


@pytest.mark.parametrize(
    ("selection", "page", "end"),
    [(None, 3, 4), ("11-20", 13, 14), ("1-2,7", 7, 8), ("5-6,9,12-", 9, 10)],
)
def test_pages_are_those_of_the_whole_document(selection: str | None, page: int, end: int) -> None:
    """Also where only some of them were sent; images are no documents to the provider."""
    stored: dict[str, Any] = {
        "text": "x",
        "source": "a.pdf",
        "page": 3,
        "metadata": {"document_index": 0, "start_page_number": 3, "end_page_number": 4},
    }
    documents: list[dict[str, Any]] = [{"kind": "image"}, {"kind": "pdf", "selection": selection}]
    one = placed(stored, documents)
    metadata = one.metadata or {}
    assert (one.page, metadata["start_page_number"], metadata["end_page_number"]) == (
        page,
        page,
        end,
    )
    assert placed(stored, None) == Citation(**stored)
    assert placed({**stored, "metadata": None}, documents).page == 3


# Random answers: which sentence holds which value is known by how they were made.

WORDS = st.text("abcdefghij ", min_size=5, max_size=20).map(str.strip).filter(lambda w: len(w) > 4)
VALUES = st.one_of(
    WORDS,
    st.integers(1_000, 10**9).filter(lambda n: n % 10 != 0),
    st.decimals(1, 10**6, places=2).map(float).filter(lambda n: n % 1 > 0.001),
    st.dates().map(lambda day: day.isoformat()),
)


def sentence(value: Any) -> str:
    """Write a value as documents do."""
    if isinstance(value, int | float):
        return f"Number {value:,} of them."
    return f'So it says: "{value.upper()}".'


def cut(value: Any, style: int) -> list[Block]:
    """Write a value in blocks, cited: bare, in its quotes, or with its name."""
    said, cited = orjson.dumps(value).decode(), [sentence(value)]
    if style == 0 and said.startswith('"'):
        return [plain('"'), (said[1:-1], cited), plain('"')]
    return [(said, cited)]


@settings(max_examples=200)
@given(st.lists(VALUES, min_size=1, max_size=6, unique=True), st.data())
def test_every_cited_value_is_mapped_and_no_wrong_one_is_sure(
    values: list[Any], data: st.DataObject
) -> None:
    """The citations of two fields at random exchanged: only the right ones are sure."""
    owners = data.draw(st.permutations(range(len(values))))
    blocks: list[Block] = [plain("[")]
    for number, value in enumerate(values):
        blocks += [plain(", ")] if number else []
        for text, cited in cut(value, data.draw(st.integers(0, 1))):
            blocks.append((text, [sentence(values[owners[number]])] if cited else []))
    blocks.append(plain("]"))
    maps = found(*blocks)
    for number, value in enumerate(values):
        one, *others = maps[str(number)]
        alone = all(str(value) not in str(other) for other in values if other is not value)
        right = owners[number] == number
        assert one[0] == sentence(values[owners[number]])
        assert one[2] is right or not alone
        assert all(other == (sentence(value), "value", True) for other in others) or not alone
        assert right or len(others) == 1 or not alone or not is_telling(value)
