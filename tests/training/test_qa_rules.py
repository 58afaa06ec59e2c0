"""What rules ask about a passage: its tables, lines, headings and sentences, each answer where it is said to stand."""

import re
from importlib.resources import files

import pytest

from lorag.documents.chunking import split
from lorag.documents.load import load_documents
from lorag.training.data.qa_rules import rule_pairs
from lorag.types import Chunk


def made(text, heading="", table_header=""):
    chunk = Chunk("a.md", "v", 100, 100 + len(text), text, heading, table_header)
    pairs = rule_pairs(chunk)
    for pair in pairs:
        assert pair.document_id == "a.md"
        assert 100 <= pair.start < pair.end <= 100 + len(text)
    return [(pair.question, pair.answer, text[pair.start - 100 : pair.end - 100]) for pair in pairs]


def asked(text, *more):
    return {question: answer for question, answer, _ in made(text, *more)}


TABLE = "| Plan | Price per month | Users |\n| --- | --- | --- |\n| Mooring | EUR 19 | 3 |\n| Harbour | EUR 54 | 3 |\n"


def test_every_cell_is_asked_by_row_and_column_and_a_row_by_what_only_it_has():
    found = asked(TABLE, "Plans")
    assert found["What is the price per month of plan Harbour?"] == "EUR 54"
    assert found["plan Mooring: what is given as users?"] == "The users of plan Mooring is 3."
    assert found["Which plan has the price per month EUR 19?"] == "Mooring"
    assert not any(question.startswith("Which plan has the users") for question in found)  # both have three
    assert len(found) == 4 * 3 + 2
    assert made(TABLE)[0][2] == "| Mooring | EUR 19 | 3 |"


def test_rows_of_a_table_that_was_cut_know_their_columns():
    found = made("| Coastline | EUR 138 | 9 |\n", "Plans", "| Plan | Price per month | Users |")
    assert ("What is the users of plan Coastline?", "9", "| Coastline | EUR 138 | 9 |") in found


def test_ragged_and_empty_cells_are_passed_over():
    assert asked("| A | B |\n| --- | --- |\n| x |\n|  | y |\n| z | - |\n") == {}


def test_lines_of_key_and_value_are_asked_and_terms_explained():
    found = asked(
        "**basin**: a group of gauges.\n\n- Head office: Vlissingen\n\n- Go 1.2: released. Latest version: 1.2.4.",
        "Notes",
    )
    assert found["What is meant by basin?"] == "a group of gauges."
    assert found["Notes: what does the word basin mean?"] == "Basin means a group of gauges."
    assert found["Notes: what is given for Head office?"] == "Vlissingen"
    assert found["What is the latest version of Go 1.2?"] == "1.2.4"
    assert found["Go 1.2: latest version?"] == "The latest version of Go 1.2 is 1.2.4."


def test_a_heading_that_asks_is_answered_by_what_stands_below_it():
    found = asked(
        "# Warranty\n\n## How long does it last?\n\nIt lasts 28 months from delivery. A card helps nobody.\n",
        "Warranty",
    )
    assert found["How long does it last?"] == "It lasts 28 months from delivery."
    assert found["Warranty: what belongs into the gap? It lasts ___ from delivery."] == "28 months"


def test_sentences_define_and_leave_gaps():
    text = (
        "The Korrin P2 is a submerged gauge of 1.9 kg. It is a fine one. In 1988 Ilse Vandermoor\nfounded it for good."
    )
    found = made(text, "Gauges > P2")
    assert ("What is the Korrin P2?", "The Korrin P2 is a submerged gauge of 1.9 kg.", text[:45]) in found
    gaps = {answer: span for question, answer, span in found if "gap" in question}
    assert gaps == {"1.9 kg": "1.9 kg", "1988": "1988", "Ilse Vandermoor": "Ilse Vandermoor"}
    assert not any(question.startswith("What is it") for question, *_ in found)


@pytest.mark.parametrize(
    "text", ["", "\n\n", "Hm.", "```\n| a | b |\n```\n", "# Only a heading\n", "日本語だけの文です。"]
)
def test_of_nothing_nothing_is_made(text):
    assert made(text) == []


def test_of_every_bundled_document_something_true_is_asked():
    documents = load_documents(str(files("lorag") / "corpus" / "docs")).documents
    total = 0
    for document in documents:
        pairs = [p for chunk in split(document, 200, lambda text: len(text.split())) for p in rule_pairs(chunk)]
        total += len(pairs)
        for pair in pairs:
            held = re.findall(r"\w+", document.text[pair.start : pair.end].lower())
            said = [
                word
                for word in re.findall(r"\w+", pair.answer.lower())
                if word not in re.findall(r"\w+", pair.question.lower())
            ]
            assert set(said) - {"the", "of", "is", "means"} <= set(held), pair
    assert len(documents) < 450 < total
