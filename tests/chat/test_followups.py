"""A question that leans on earlier ones is searched for with them; one that stands alone is left as it is."""

import json
from importlib.resources import as_file, files
from pathlib import Path

import pytest

from lorag.chat.followups import search_query, stands_alone
from lorag.documents.load import load_documents
from lorag.retrieval.knowledge import Knowledge
from lorag.settings import ChunkSettings, RetrievalSettings
from lorag.types import Message

FOLLOWUPS = Path(__file__).parents[2] / "benchmarks" / "followups.jsonl"


def asked(*questions):
    return [turn for q in questions for turn in (Message("user", q), Message("assistant", "It is so."))]


@pytest.mark.parametrize("question", ["Who founded Korrin?", "How many bubbles per minute does the B3 make?"])
def test_a_question_that_stands_alone_is_left_alone(question):
    assert stands_alone(question)
    assert search_query(question, asked("How long does the warranty last?")) == question
    assert search_query(question, []) == question


@pytest.mark.parametrize("question", ["And how heavy is it?", "What about batteries for radar gauges?", "Since when?"])
def test_a_question_that_leans_is_searched_for_with_the_one_it_leans_on(question):
    assert not stands_alone(question)
    assert search_query(question, asked("Who made tide staffs?", "Which gauge do bridges have?")) == (
        f"Which gauge do bridges have? {question}"
    )
    assert search_query(question, []) == question


def test_a_chain_of_leaning_questions_goes_back_to_one_that_stands_alone_or_three_at_most():
    chain = asked("Which gauge do bridges have?", "How heavy is it?", "And its beam?")
    assert search_query("And its price?", chain) == (
        "Which gauge do bridges have? How heavy is it? And its beam? And its price?"
    )
    assert search_query("And its price?", asked(*["And then?"] * 9)) == "And then? And then? And then? And its price?"


def test_followups_over_the_bundled_documents_find_their_document(tmp_path, embedder):
    rows = [json.loads(line) for line in FOLLOWUPS.read_text().splitlines()]
    knowledge = Knowledge.open(tmp_path, embedder, ChunkSettings(), RetrievalSettings())
    with as_file(files("lorag") / "corpus" / "docs") as folder:
        knowledge.sync(load_documents(folder).documents)

    def found(queries):
        hits = knowledge.retrieve(queries, 3)
        return sum(r["doc_id"] in {h.chunk.document_id for h in each} for r, each in zip(rows, hits, strict=True))

    plain = found([row["followup"] for row in rows])
    searched = found([search_query(row["followup"], asked(row["question"])) for row in rows])
    assert plain <= 42
    assert searched >= 47
